"""The main job on claims that nobody here made up: the MEPS panel as a ledger, engine against oracle.

Not part of the product: looked for beside the project (or in YIBAO_REAL_DATA), skipped where it is not there.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import agreement
import ledgers
import oracle
import oracle_reaccount
import yibao

FOLDER = Path(os.environ.get("YIBAO_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
PANEL = FOLDER / "meps" / "meps_person_panel.parquet"
needs_panel = pytest.mark.skipif(not PANEL.exists(), reason=f"the MEPS panel is not there: {PANEL.name}")

COLUMNS = (
    "settlement_id", "reverses", "person_id", "settled_at", "service_date", "insured_region", "category", "care_type",
    "total_fee", "eligible_fee", "basic_paid", "has_social_card_account",
)  # fmt: skip


def panel_rows() -> list[dict[str, Any]]:
    """Return one row a person and year: 30 June of 2018 + (panel − 23) + (year − 1), whole dollars read as yuan."""
    rows = []
    for person in pq.read_table(PANEL, columns=["DUPERSID", "PANEL", "TOTEXPY1", "TOTEXPY2"]).to_pylist():
        for year in (1, 2):
            service = date(2018 + (int(person["PANEL"]) - 23) + (year - 1), 6, 30)
            spent = int(person[f"TOTEXPY{year}"]) * 100
            rows.append(
                {
                    "settlement_id": f"{int(person['DUPERSID'])}-{year}",
                    "reverses": None,
                    "person_id": int(person["DUPERSID"]),
                    "settled_at": datetime.combine(service, datetime.min.time()),
                    "service_date": service,
                    "insured_region": 371002,
                    "category": "ordinary",
                    "care_type": "inpatient",
                    "total_fee": spent,
                    "eligible_fee": spent,
                    "basic_paid": 0,
                    "has_social_card_account": True,
                }
            )
    return rows


def figures(rows: list[dict[str, Any]], status: list[str], catastrophic: list[int | None]) -> Counter[Any]:
    """Return rows, rejects and payments by year."""
    counted: Counter[Any] = Counter()
    for row, code, paid in zip(rows, status, catastrophic, strict=True):
        counted["rows", row["service_date"].year] += 1
        counted[code, row["service_date"].year] += 1
        counted["catastrophic", row["service_date"].year] += paid or 0
    return counted


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return panel_rows()


@pytest.fixture(scope="module")
def ledger(rows: list[dict[str, Any]]) -> pa.Table:
    return ledgers.to_arrow(rows, COLUMNS)


@needs_panel
@pytest.mark.parametrize("as_known", [None, "settled_at"])
def test_the_panel_settles_as_the_oracle_says(
    rows: list[dict[str, Any]], ledger: pa.Table, as_known: str | None
) -> None:
    """62,276 person-years; 2018 falls to the Shandong rule, later years to Weihai's; the −1 codes are rejects."""
    engine, judge = agreement.books(["shandong-2017", "weihai-2019"], {})
    result = yibao.settle_ledger(ledger, engine, as_known=as_known)
    expected = oracle.settle_ledger(rows, set(COLUMNS), judge, as_known=as_known)
    assert agreement.row_differences(result.table, expected.outcomes) == []
    assert agreement.closing_differences(result.closing, expected.closing, ledgers.PAID) == []
    assert result.summary["rows"] == 62_276
    assert result.summary["rejects"] == {"WRONG_SIGN": 59 + 479}
    assert set(result.rejects["value"].to_pylist()) == {"-1.00"}
    got = figures(rows, result.table["status"].to_pylist(), agreement.fen(result.table["catastrophic_paid"]))
    judged = [None if outcome.paid is None else outcome.paid["catastrophic"] for outcome in expected.outcomes]
    assert got == figures(rows, [outcome.status for outcome in expected.outcomes], judged)
    assert got["catastrophic", 2019] > 0
    assert result.summary["violations"] == 0


@needs_panel
def test_the_panel_is_reaccounted_as_the_oracle_says(rows: list[dict[str, Any]], ledger: pa.Table) -> None:
    """Paid as each day knew it, then recomputed: only 2019's first half changes, and every difference is routed."""
    engine, judge = agreement.books(["shandong-2017", "weihai-2019"], {})
    as_paid = yibao.settle_ledger(ledger, engine, as_known="settled_at").table
    good = [index for index, code in enumerate(as_paid["status"].to_pylist()) if code == "SETTLED"]
    paid = agreement.fen(as_paid["catastrophic_paid"])
    recorded = [{**row, "catastrophic_paid": paid[index] or 0} for index, row in enumerate(rows)]
    columns = (*COLUMNS, "catastrophic_paid")
    a = yibao.reaccount(ledgers.to_arrow(recorded, columns), engine, missing_paid="zero")
    expected = oracle_reaccount.reaccount(recorded, set(columns), judge)
    assert agreement.reaccount_differences(a, expected, recorded) == []
    assert a.summary["rejected"] == len(rows) - len(good)
    assert a.summary["payments"]["identity_violations"] == 0
    years = {row["benefit_year"] for row in a.transfers.to_pylist()}
    assert years == {2019}
