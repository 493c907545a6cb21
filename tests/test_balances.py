"""Opening and closing balances: a year in several runs is the year in one."""

from __future__ import annotations

import random
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import agreement
import ledgers
import yibao

PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}


def bill(number: int, total: str, **cells: Any) -> dict[str, Any]:
    row = {
        "settlement_id": number,
        "person_id": "P1",
        "settled_at": datetime(2019, 3, number),
        "service_date": date(2019, 3, 1),
        "insured_region": 371002,
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": total,
        "eligible_fee": total,
    }
    return row | cells


def settle(*rows: dict[str, Any], **options: Any) -> yibao.LedgerResult:
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    result: yibao.LedgerResult = yibao.settle_ledger(table, yibao.load_policy("weihai-2019"), **options)
    return result


def test_closing_holds_base_and_paid_of_each_account() -> None:
    """Section 4: one entry for each person, benefit year, insured city and account."""
    closing = settle(bill(1, "30000"), bill(2, "20000", person_id="P2"), bill(3, "20000")).closing
    found = [tuple(row.values()) for row in closing.to_pylist() if row["account"] == "catastrophic"]
    assert closing.column_names == ["person_id", "benefit_year", "insured_city", "account", "base", "paid"]
    assert sorted(found) == [
        ("P1", 2019, 3710, "catastrophic", Decimal(50_000), Decimal(19_200)),
        ("P2", 2019, 3710, "catastrophic", Decimal(20_000), Decimal(1_200)),
    ]


def test_a_run_goes_on_where_the_last_one_ended() -> None:
    """The public surface: opening is the closing of an earlier run."""
    first = settle(bill(1, "30000"))
    second = settle(bill(2, "20000"), opening=first.closing)
    assert second.table["catastrophic_paid"].to_pylist() == [12_000]
    assert second.closing.to_pylist() == settle(bill(1, "30000"), bill(2, "20000")).closing.to_pylist()


def test_an_opening_counts_for_its_own_person_year_and_city_only() -> None:
    """Section 2: accumulators belong to (person, year, insured city)."""
    opening = settle(bill(1, "30000")).closing
    rows = [
        bill(2, "20000", person_id="P2"),
        bill(3, "20000", service_date=date(2020, 1, 1)),
        bill(4, "20000", insured_region=370602),
        bill(5, "20000", insured_region=371083),  # another district of the same city
    ]
    result = settle(*rows, opening=opening)
    assert result.table["catastrophic_paid"].to_pylist() == [1_200, 1_200, 1_200, 12_000]


def test_balances_of_people_without_rows_are_carried_over() -> None:
    """Section 4 and 5: balances come from opening, so a month without a bill must not lose them."""
    first = settle(bill(1, "30000"), bill(1, "30000", person_id="P2"))
    second = settle(bill(2, "20000"), opening=first.closing)
    third = settle(bill(3, "20000", person_id="P2"), opening=second.closing)
    assert third.table["catastrophic_paid"].to_pylist() == [12_000]


def test_the_opening_excludes_the_visit_itself() -> None:
    """Ledger page: national accumulators exclude the visit itself; so do opening balances."""
    policy = yibao.load_policy("weihai-2019")
    first = yibao.settle(bill(1, "30000"), policy)
    second = yibao.settle(bill(2, "20000"), policy, opening=first.closing)
    assert second.opening == first.closing
    assert first.opening == {}
    assert first.closing[2019, 3710, "catastrophic"] == (Decimal(30_000), Decimal(7_200))
    assert second.closing[2019, 3710, "catastrophic"] == (Decimal(50_000), Decimal(19_200))


def test_the_cap_counts_what_earlier_runs_paid() -> None:
    """Section 2: at most max(0, cap − paid this year in this layer)."""
    opening = settle(bill(1, "587733.32")).closing  # 399,999.99
    assert settle(bill(2, "100"), opening=opening).table["catastrophic_paid"].to_pylist() == [Decimal("0.01")]


@pytest.mark.parametrize(
    ("column", "values", "fault"),
    [
        ("base", pa.array([1.005]), "base: expected yuan"),
        ("paid", pa.array([None], pa.decimal128(18, 2)), "paid: expected yuan"),
        ("paid", pa.array(["9000000000.01"]), "paid: expected yuan"),
        ("account", pa.array(["nonsense"]), "account: expected one of"),
        ("person_id", pa.array([None], pa.string()), "person_id: expected no null"),
        ("person_id", pa.array([1.0]), "have lost digits"),
        ("benefit_year", pa.array([None], pa.int32()), "benefit_year: expected"),
        ("insured_city", pa.array([None], pa.int32()), "insured_city: expected"),
        ("insured_city", pa.array([371002]), "insured_city: expected"),
    ],
)
def test_an_opening_that_cannot_be_read_is_refused(column: str, values: pa.Array, fault: str) -> None:
    """Section 8: a file that cannot be read fails at once, naming the fault and what was expected."""
    closing = settle(bill(1, "30000")).closing
    closing = closing.filter(pa.compute.equal(closing["account"], "catastrophic"))
    opening = closing.set_column(closing.column_names.index(column), column, values)
    with pytest.raises(yibao.LedgerError, match=f"opening: {column}.*" if "digits" in fault else f"opening: {fault}"):
        settle(bill(2, "20000"), opening=opening)
    with pytest.raises(yibao.LedgerError, match=f"opening: {column}: expected a column"):
        settle(bill(2, "20000"), opening=closing.drop_columns([column]))


def test_an_opening_that_names_an_account_twice_is_refused() -> None:
    """Section 4: two closings in one file would count twice, or one of them not at all."""
    closing = settle(bill(1, "30000")).closing
    with pytest.raises(yibao.LedgerError, match="opening: expected one entry a person"):
        settle(bill(2, "20000"), opening=pa.concat_tables([closing, closing]))


@pytest.mark.parametrize(
    ("period", "least", "count"), [("%Y-%m", 12, 4_000), pytest.param("%Y-%m-%d", 365, 1_500, marks=pytest.mark.big)]
)
def test_a_year_in_many_runs_is_the_year_in_one_reversals_included(period: str, least: int, count: int) -> None:
    """Sections 4 and 5: opening = closing of the run before, history = the rows of all runs before."""
    rows = ledgers.random_rows(random.Random(12), count, count // 16, reversals=0.08)
    bills = {row["settlement_id"]: row for row in rows if row["reverses"] is None}
    # Runs one after another cannot know that a reversal comes before its original, or cancels what was rejected.
    rows = [
        row
        for row in rows
        if row["reverses"] is None
        or (row["reverses"] in bills and row["settled_at"] > bills[row["reverses"]]["settled_at"])
    ]
    policy = yibao.load_policy("weihai-2019", parameters=PARAMETERS)
    whole = yibao.settle_ledger(ledgers.to_arrow(rows), policy)
    assert whole.summary["flags"]["STALE_AFTER_REVERSAL"] > 20

    periods: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        periods.setdefault(row["settled_at"].strftime(period), []).append(number)
    assert len(periods) >= least
    opening, history = None, None
    found: dict[int, dict[str, Any]] = {}
    for each in sorted(periods):
        numbers = periods[each]
        result = yibao.settle_ledger(
            ledgers.to_arrow([rows[number] for number in numbers]), policy, opening=opening, history=history
        )
        found |= dict(zip(numbers, result.table.to_pylist(), strict=True))
        opening = result.closing
        history = (
            result.table if history is None else pa.concat_tables([history, result.table], promote_options="permissive")
        )

    names = ("settlement_id", "status", *ledgers.PAID, "personal_paid")
    for number, expected in enumerate(whole.table.to_pylist()):
        assert [found[number][name] for name in names] == [expected[name] for name in names]
        own, joint = (
            set(filter(None, row["flags"].split(";"))) - {"AFTER_REJECT"} for row in (found[number], expected)
        )
        assert own == joint
    assert opening is not None
    assert agreement.closing_of(opening) == agreement.closing_of(whole.closing)


def test_an_account_that_a_later_ledger_has_no_column_for_is_carried_through() -> None:
    """The public surface, settle(next_claim, policy, opening=s.closing): the next claim need not show every column."""
    first = settle(bill(1, "40000", basic_paid="10000", special_drug_paid="0"))
    second = settle(bill(2, "20000"), opening=first.closing)
    assert second.table["catastrophic_paid"].to_pylist() == [12_000]
    accounts = {row["account"]: (row["base"], row["paid"]) for row in second.closing.to_pylist()}
    assert accounts["basic"][1] == 10_000
    policy = yibao.load_policy("weihai-2019")
    one = yibao.settle(bill(1, "40000", basic_paid="10000"), policy)
    assert yibao.settle(bill(2, "20000"), policy, opening=one.closing).paid["catastrophic"] == 12_000


def test_balances_come_back_exactly_from_a_file_of_text() -> None:
    """Section 1: a yearly cumulative may reach 9×10^11 fen, far beyond a row's amount; nothing is cut on the way in."""
    big = {"total_fee": "100000000", "eligible_fee": "100000000"}
    first = settle(*(bill(number, "0", **big) for number in (1, 2, 3)))
    text = pa.table({name: first.closing[name].cast(pa.string()) for name in ("person_id", "account", "base", "paid")})
    for name in ("benefit_year", "insured_city"):
        text = text.append_column(name, first.closing[name])
    second = settle(bill(4, "20000"), opening=text)
    assert second.closing.to_pylist() == settle(bill(4, "20000"), opening=first.closing).closing.to_pylist()
