"""The engine's results against the oracle's, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

import oracle
import yibao

PARAMETERS = {
    "weihai-2019": {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"},
    "shandong-2017": {"assistance_deductible": "300", "assistance_rate": "65.5 %", "assistance_limit": "8000.01"},
    "demo-city": {"orphan_deductible": "3000", "marginal_deductible": {"low_income": "500"},
                  "marginal_rate": {"low_income": "50 %"}, "marginal_limit": {"low_income": "4000"}},
}  # fmt: skip
ORACLES = {
    "weihai-2019": oracle.WEIHAI_2019,
    "shandong-2017": oracle.SHANDONG_2017,
    "demo-city": oracle.DEMO_CITY,
}


def books(ids: Sequence[str], parameters: Mapping[str, Any] | None = None) -> tuple[list[Any], list[Any]]:
    """Return the engine's book and the oracle's, with the same parameters."""
    values = PARAMETERS if parameters is None else parameters
    engine = [yibao.load_policy(name, parameters=values.get(name)) for name in ids]
    judge = [ORACLES[name].with_parameters(values.get(name) or {}) for name in ids]
    return engine, judge


def fen(column: pa.ChunkedArray) -> list[int | None]:
    return [None if cell is None else int(cell.scaleb(2)) for cell in column.to_pylist()]


def row_differences(table: pa.Table, outcomes: Sequence[oracle.Outcome]) -> list[str]:
    """Return a line for each cell in which a settled table and the oracle's outcomes differ."""
    found = []
    status = table["status"].to_pylist()
    flags = [frozenset(filter(None, cell.split(";"))) for cell in table["flags"].to_pylist()]
    columns = {layer: fen(table[f"{layer}_paid"]) for layer in oracle.LAYERS}
    personal = fen(table["personal_paid"])
    for row, expected in enumerate(outcomes):
        if status[row] != expected.status:
            found.append(f"row {row}: status: expected {expected.status}, got {status[row]}")
        elif expected.paid is not None:
            got = {layer: columns[layer][row] for layer in oracle.LAYERS}
            if got != expected.paid or personal[row] != expected.personal:
                found.append(f"row {row}: expected {expected.paid} {expected.personal}, got {got} {personal[row]}")
        if flags[row] != expected.flags:
            found.append(f"row {row}: flags: expected {sorted(expected.flags)}, got {sorted(flags[row])}")
    return found


def closing_of(table: pa.Table) -> dict[tuple[Any, int, int], dict[str, tuple[int, int]]]:
    """Return a closing table in the oracle's shape, without empty accounts."""
    found: dict[tuple[Any, int, int], dict[str, tuple[int, int]]] = {}
    for row in table.to_pylist():
        accounts = found.setdefault((row["person_id"], row["benefit_year"], row["insured_city"]), {})
        balance = (int(row["base"].scaleb(2)), int(row["paid"].scaleb(2)))
        if balance != (0, 0):
            accounts[row["account"]] = balance
    return found


def oracle_closing(closing: Mapping[Any, Mapping[str, tuple[int, int]]]) -> dict[Any, dict[str, tuple[int, int]]]:
    return {
        key: {account: tuple(balance) for account, balance in accounts.items() if tuple(balance) != (0, 0)}
        for key, accounts in closing.items()
    }
