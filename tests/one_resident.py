"""Bills of one resident, settled in the order given: what tests by hand say, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

import yibao


def settled(policy: str, parameters: Mapping[str, Any], *rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settle bills; each needs only what differs from an ordinary stay of 30,000."""
    year = 2020 if policy.endswith("2020") else 2019
    full = [
        {
            "settlement_id": number,
            "person_id": 1,
            "settled_at": datetime(year, 3, 1, number),
            "service_date": date(year, 3, 1),
            "category": "ordinary",
            "care_type": "inpatient",
            "birth_date": date(1990, 1, 1),
            "total_fee": "30000",
            "eligible_fee": row.get("total_fee", "30000"),
            **{f"{layer}_paid": "0" for layer in ("basic", "catastrophic", "special_drug", "assistance")},
            **{f"{layer}_paid": "0" for layer in ("institution_reduction", "commercial", "reassistance", "pku")},
        }
        | dict(row)
        for number, row in enumerate(rows)
    ]
    table = pa.table({name: [row[name] for row in full] for name in full[0]})
    result = yibao.settle_ledger(table, yibao.load_policy(policy, parameters=parameters))
    assert set(result.table["status"].to_pylist()) == {"SETTLED"}
    assert result.summary["violations"] == 0
    found: list[dict[str, Any]] = result.table.to_pylist()
    return found


def paid(layer: str, policy: str, parameters: Mapping[str, Any], *rows: Mapping[str, Any]) -> list[Decimal]:
    """Return what one layer pays of each bill."""
    return [row[f"{layer}_paid"] for row in settled(policy, parameters, *rows)]
