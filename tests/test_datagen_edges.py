"""The city on the edges: what stands on an edge of a policy is paid as the documents' oracle pays it."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import agreement
import oracle
import yibao
import yibao_datagen
from agreement_runs import dropped_of
from yibao_datagen.columns import fen_of
from yibao_datagen.edges import edges

ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
POLICIES = {
    "weihai-2019": ASSISTANCE,
    "shandong-2017": ASSISTANCE,
    "linyi-2019": {},
    "linyi-2020": {},
    "wenzhou-2019": {"catastrophic_deductible": "20000"},
    "fuxin-2020": {"disposable_income": "30000"},
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_tier_of_every_category_is_met_from_both_sides(name: str) -> None:
    policy = yibao.load_policy(name, POLICIES[name])
    ledger = edges(policy)
    result = yibao.settle_ledger(ledger, policy)
    assert result.summary["rejected"] == 0
    cases = ledger["case"].to_pylist()
    for category in policy.favour:
        for rule in policy.layer("catastrophic").rules[:1]:
            if category in rule.who and all(name in policy.values for name in rule.parameters):
                for word in ("one fen below", "on it", "one fen above", "passed by the second bill"):
                    found = [case for case in cases if case.startswith(f"{category}, catastrophic, {rule.id}, ")]
                    assert len([case for case in found if case.endswith(word)]) >= len(rule.tiers)


@pytest.mark.parametrize("name", POLICIES)
def test_the_oracle_pays_every_edge_the_same(name: str) -> None:
    engine, judge = agreement.books([name], {name: POLICIES[name]})
    ledger = edges(engine[0])
    result = yibao.settle_ledger(ledger, engine)
    rows = as_rows(ledger)
    expected = oracle.settle_ledger(rows, set(rows[0]), judge)
    assert agreement.row_differences(result.table, expected.outcomes) == []
    assert agreement.closing_differences(result.closing, expected.closing, dropped_of(ledger.column_names)) == []


def as_rows(ledger: pa.Table) -> list[dict[str, Any]]:
    """Return a ledger as the oracle reads it: money in fen."""
    return [
        {name: int(cell.scaleb(2)) if isinstance(cell, Decimal) else cell for name, cell in row.items()}
        for row in ledger.to_pylist()
    ]


def test_the_oracle_pays_a_city_the_same() -> None:
    """Reversals, new bills, referrals, ties and mid-year recognitions as the generator makes them, in the book of both rules."""
    ids = ("shandong-2017", "weihai-2019")
    engine, judge = agreement.books(ids, dict.fromkeys(ids, ASSISTANCE))
    ledger = yibao_datagen.city(4_000, seed=5)
    result = yibao.settle_ledger(ledger, engine, as_known="settled_at")
    rows = as_rows(ledger)
    expected = oracle.settle_ledger(rows, set(rows[0]), judge, as_known="settled_at")
    assert agreement.row_differences(result.table, expected.outcomes) == []
    assert agreement.closing_differences(result.closing, expected.closing, dropped_of(ledger.column_names)) == []
    assert sum(row["catastrophic_paid"] > 0 for row in result.table.select(["catastrophic_paid"]).to_pylist()) > 5


def test_weihais_edges_lie_where_the_notice_puts_them() -> None:
    policy = yibao.load_policy("weihai-2019")
    ledger = edges(policy)
    table = yibao.settle_ledger(ledger, policy).table
    paid = dict(zip(ledger["case"].to_pylist(), table["catastrophic_paid"].to_pylist(), strict=True))
    case = "ordinary, catastrophic, everyone_else, from 18000.00: "
    found = {key.removeprefix(case): amount for key, amount in paid.items() if key.startswith(case)}
    assert set(found) == {"one fen below", "on it", "one fen above", "passed by the second bill"}
    # 二(二): above 18,000 60 %: a fen above pays 0.6 of a fen, rounded to one.
    assert found["one fen below"] == found["on it"] == Decimal("0.00")
    assert found["one fen above"] == found["passed by the second bill"] == Decimal("0.01")
    hardship = [key for key in paid if key.startswith("dibao, catastrophic") and " from 5000.00" in key]
    assert hardship
    capped = [amount for key, amount in paid.items() if "at most 400000.00" in key and "catastrophic" in key]
    assert max(capped) == Decimal(400_000)
    assert Decimal("399999.99") in capped


def test_two_bills_are_paid_what_one_is() -> None:
    """Payments follow the year's total: whoever passes an edge with a second bill of two fen ends as with one bill."""
    policy = yibao.load_policy("shandong-2017")
    ledger = edges(policy)
    table = yibao.settle_ledger(ledger, policy).table
    sums: dict[str, int] = {}
    for case, amount in zip(ledger["case"].to_pylist(), fen_of(table["catastrophic_paid"]).tolist(), strict=True):
        sums[case] = sums.get(case, 0) + amount
    passed = [case for case in sums if case.endswith("passed by the second bill") and "catastrophic" in case]
    assert len(passed) > 30
    for case in passed:
        assert sums[case] == sums[case.replace("passed by the second bill", "one fen above")]


def test_birthdays_are_met_from_both_sides() -> None:
    policy = yibao.load_policy("linyi-2019")
    ledger = edges(policy)
    days = ledger.filter(pc.match_substring(ledger["case"], "birthday"))
    assert len(days) >= 2
    paid = dict(
        zip(days["case"].to_pylist(), yibao.settle_ledger(days, policy).table["pku_paid"].to_pylist(), strict=True)
    )
    ends = ("eve of the birthday", ": birthday")
    eve, day = (
        next(amount for case, amount in paid.items() if "19 years" in case and case.endswith(end)) for end in ends
    )
    assert (eve, day) == (Decimal(7_500), Decimal(7_000))  # 二(二)3: 75 % to 18 years, 70 % above


def test_the_table_is_a_ledger() -> None:
    ledger = edges(yibao.load_policy("weihai-2019"))
    assert ledger.schema.field("total_fee").type == pa.decimal128(18, 2)
    assert pc.count_distinct(ledger["settlement_id"]).as_py() == len(ledger)
