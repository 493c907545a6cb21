"""The main job on a payer's claims that nobody here made up: Synthea's files as a ledger, engine against oracle.

Not part of the product: looked for beside the project (or in YIBAO_REAL_DATA), skipped where it is not there.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

import agreement
import ledgers
import oracle
import oracle_reaccount
import synthea
import yibao

FOLDER = Path(os.environ.get("YIBAO_REAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "synthea"
MISSING = [name for name in synthea.FILES if not (FOLDER / name).exists()]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"Synthea's claims are not there: {', '.join(MISSING)}")

PERSONS, CLAIMS, IN_TIES, ALIKE = 11, 561, 274, 50
EVER = date(1977, 1, 1)  # before the first claim


class Case(NamedTuple):
    """What the claims are settled under, from which day on it is in force, and how many of them that are."""

    policy: str
    since: date
    region: int
    rows_in_force: int
    catastrophic: str | None  # what all of them are paid, where that is computed by hand
    parameters: dict[str, Any]

    def policies(self, folder: Path) -> tuple[yibao.Policy, oracle.OraclePolicy]:
        """Return the engine's policy and the oracle's; one of another time in force is written to the folder."""
        judge = agreement.ORACLES[self.policy]
        name = self.policy
        if judge.in_force_from != self.since:
            text = (files("yibao_core") / "policies" / f"{name}.toml").read_text(encoding="utf-8")
            line = "[in_force]\nfrom = {}"
            assert line.format(judge.in_force_from) in text
            name = str(folder / "ever.toml")
            Path(name).write_text(
                text.replace(line.format(judge.in_force_from), line.format(self.since)), encoding="utf-8"
            )
            judge = replace(judge, in_force_from=self.since)
        return yibao.load_policy(name, parameters=self.parameters), judge.with_parameters(self.parameters)


CASES = {
    # Since 2019 nobody has had to bear 20,000 in a year.
    "wenzhou": Case("wenzhou-2019", date(2019, 1, 1), 330302, 224, "0.00", {"catastrophic_deductible": "20000"}),
    # Had it always been so: one person, 35,337.90 in 2015 and 32,228.14 in 2018, 60 % of what is above 20,000.
    "wenzhou_ever": Case("wenzhou-2019", EVER, 330302, CLAIMS, "16539.62", {"catastrophic_deductible": "20000"}),
    "wenzhou_low": Case("wenzhou-2019", EVER, 330302, CLAIMS, None, {"catastrophic_deductible": "999.99"}),
    # Basic insurance is computed: levels, stays, an episode.
    "county": Case("demo-county", date(2018, 1, 1), 990201, 279, None, {}),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def ledger(case: Case) -> pa.Table:
    return synthea.read_ledger(FOLDER, case.region)


def orders(rows: int) -> list[list[int]]:
    """Return the input's order, the reverse, and two at random."""
    rng = random.Random(7)
    return [list(range(rows)), list(range(rows))[::-1], *(rng.sample(range(rows), rows) for _ in range(2))]


def back(table: pa.Table, order: Sequence[int]) -> pa.Table:
    return table.take(pa.array(np.argsort(order)))


def test_the_files_are_what_they_are_said_to_be(ledger: pa.Table) -> None:
    """11 persons, 561 claims out of order, half tied with another of their person and time, a tenth alike but for the id."""
    rows = ledger.to_pylist()
    assert len(rows) == len({row["settlement_id"] for row in rows}) == CLAIMS
    assert len({row["person_id"] for row in rows}) == PERSONS
    ties = Counter((row["person_id"], row["settled_at"]) for row in rows)
    assert sum(count for count in ties.values() if count > 1) == IN_TIES
    alike = Counter(tuple(cell for name, cell in row.items() if name != "settlement_id") for row in rows)
    assert sum(count for count in alike.values() if count > 1) == ALIKE
    times = [row["settled_at"] for row in rows]
    assert times != sorted(times)
    assert {len(row["settlement_id"]) for row in rows} == {len(row["person_id"]) for row in rows} == {36}
    assert Counter(row["hospital_level"] for row in rows) == {1: 516, 2: 2, 3: 43}
    assert len({row["episode_id"] for row in rows} - {None}) == 1
    assert all(0 <= row["basic_paid"] <= row["total_fee"] == row["eligible_fee"] for row in rows)


def test_the_claims_settle_as_the_oracle_says_in_any_order(case: Case, ledger: pa.Table, tmp_path: Path) -> None:
    """Every row, flag and balance; UUIDs kept apart, duplicates but for their id settled."""
    policy, judge = case.policies(tmp_path)
    rows = synthea.oracle_rows(ledger)
    expected = oracle.settle_ledger(rows, set(ledger.column_names), [judge])
    first = yibao.settle_ledger(ledger, policy)
    assert agreement.row_differences(first.table, expected.outcomes) == []
    assert agreement.meter_differences(first.table, expected.outcomes) == []
    assert agreement.closing_differences(first.closing, expected.closing, ledgers.PAID) == []
    assert agreement.episode_differences(first.closing, expected.episodes) == []
    late = [row["service_date"] < case.since for row in rows]
    assert first.summary["rejects"] == ({"NO_POLICY": sum(late)} if any(late) else {})
    assert first.summary["no_policy"]["not_in_force"] == sum(late)
    assert first.summary["settled"] == CLAIMS - sum(late) == case.rows_in_force
    assert first.summary["ids_normalised"] == first.summary["violations"] == 0
    assert case.catastrophic in (None, first.summary["paid"]["catastrophic"])
    assert (case.catastrophic is None) <= (Decimal(first.summary["paid"]["catastrophic"]) > 5_000)
    years = Counter(str(row["service_date"].year) for row in rows if row["service_date"] >= case.since)
    assert first.summary["policies"][case.policy]["by_year"] == years
    insured = {row["person_id"] for row in rows if row["service_date"] >= case.since}
    assert set(first.closing["person_id"].to_pylist()) == insured
    for order in orders(CLAIMS):
        again = yibao.settle_ledger(ledger.take(pa.array(order)), policy, threads=2)
        assert back(again.table, order).equals(first.table)


def test_tied_claims_are_taken_in_the_order_of_their_ids_bytes(tmp_path: Path) -> None:
    """Section 4: (settled_at, settlement_id), text by UTF-8 bytes. By hand: 60 % of what a year has above 999.99."""
    case = CASES["wenzhou_low"]
    ledger = synthea.read_ledger(FOLDER, case.region)
    result = yibao.settle_ledger(ledger, case.policies(tmp_path)[0])
    paid = dict(zip(ledger["settlement_id"].to_pylist(), agreement.fen(result.table["catastrophic_paid"]), strict=True))
    rows = synthea.oracle_rows(ledger)
    assert paid == _by_hand(rows, turned=False)
    assert paid != _by_hand(rows, turned=True)  # the order of ties shows


def _by_hand(rows: list[dict[str, Any]], turned: bool) -> dict[str, int]:
    """Return what each claim is paid; `turned`: ties in the wrong order."""
    year_to_date: Counter[tuple[str, int]] = Counter()
    paid = {}
    in_order = sorted(rows, key=lambda row: row["settlement_id"].encode(), reverse=turned)
    for row in sorted(in_order, key=lambda row: row["settled_at"]):
        key = row["person_id"], row["service_date"].year
        before = year_to_date[key]
        year_to_date[key] += row["eligible_fee"] - row["basic_paid"]
        entitled = [(max(0, base - 99_999) * 60 + 50) // 100 for base in (before, year_to_date[key])]
        paid[row["settlement_id"]] = entitled[1] - entitled[0]
    return paid


def test_the_claims_are_reaccounted_as_the_oracle_says_in_any_order(
    case: Case, ledger: pa.Table, tmp_path: Path
) -> None:
    """Their payments as recorded: the insurer's, and no catastrophic insurance; all that is due goes to the persons."""
    policy, judge = case.policies(tmp_path)
    rows = synthea.oracle_rows(ledger)
    expected = oracle_reaccount.reaccount(rows, set(ledger.column_names), [judge])
    assert expected.check_identity() == []
    assert (sum(expected.due.values()) == 0) == (case.catastrophic == "0.00")
    for order in orders(CLAIMS):
        a = yibao.reaccount(ledger.take(pa.array(order)), policy, missing_paid="zero", on_reject="hold")
        judged = oracle_reaccount.reaccount([rows[at] for at in order], set(ledger.column_names), [judge])
        assert agreement.reaccount_differences(a, judged, [rows[at] for at in order]) == []
        assert a.summary["payments"]["identity_violations"] == a.summary["violations"] == 0
        assert a.summary["payments"]["payer_delta"] == str(Decimal(sum(expected.due.values())).scaleb(-2))
        assert a.summary["rows_in_window"] == case.rows_in_force


def test_a_ledger_that_was_paid_right_is_owed_nothing(case: Case, ledger: pa.Table, tmp_path: Path) -> None:
    """Settled, then re-accounted under the same policy: no row changes, computed basic insurance included."""
    policy, _ = case.policies(tmp_path)
    settled = yibao.settle_ledger(ledger, policy)
    good = settled.table.filter(pa.array([code == "SETTLED" for code in settled.table["status"].to_pylist()]))
    a = yibao.reaccount(good, policy)
    assert a.summary["rows_changed"] == len(a.transfers) == 0
    assert a.settled["catastrophic_paid"].equals(good["catastrophic_paid"])
