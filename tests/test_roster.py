"""Rosters: identity periods that a re-accounting joins to the ledger. Point 11 of section 6. Amounts in yuan, by hand."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao

LAYERS = (
    "basic", "catastrophic", "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
)  # fmt: skip
RATES = {
    "assistance_deductible": "0",
    "assistance_rate": {"registered_poor": "10 %", "destitute": "20 %", "dibao": "30 %", "severe_disability": "40 %"},
    "assistance_limit": "10000",
}


def bill(number: int, month: int, day: int = 1, total: str = "30000", **cells: Any) -> dict[str, Any]:
    """Return a bill of an ordinary resident of Weihai as the new rule settles it: 7,200 on the year's first 30,000."""
    row: dict[str, Any] = {
        "settlement_id": number,
        "person_id": "P1",
        "settled_at": datetime(2019, month, day, 12),
        "service_date": date(2019, month, day),
        "insured_region": 371002,
        "treated_region": 371002,
        "hospital_id": "H1",
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": total,
        "eligible_fee": total,
        "has_social_card_account": True,
        "has_commercial_supplement": False,
    }
    return row | {f"{layer}_paid": "0" for layer in LAYERS} | {"catastrophic_paid": "7200"} | cells


def entry(category: str, start: Any, end: Any, person: Any = "P1") -> dict[str, Any]:
    return {"person_id": person, "category": category, "from": start, "to": end}


def roster(*entries: dict[str, Any]) -> pa.Table:
    return pa.table({name: [row[name] for row in entries] for name in ("person_id", "category", "from", "to")})


def again(*rows: dict[str, Any], listed: Any, parameters: Any = None, **options: Any) -> yibao.Reaccount:
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    policy = yibao.load_policy("weihai-2019", parameters=parameters)
    result: yibao.Reaccount = yibao.reaccount(table, policy, roster=listed, **options)
    return result


def paid(a: yibao.Reaccount) -> list[Decimal]:
    return a.settled["catastrophic_paid"].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("start", "end", "covered"),
    [
        (date(2019, 3, 5), date(2019, 3, 5), True),  # both days included
        (date(2019, 3, 6), date(2019, 12, 31), False),
        (date(2019, 1, 1), date(2019, 3, 4), False),
        (None, date(2019, 3, 5), True),
        (None, date(2019, 3, 4), False),
        (date(2019, 3, 5), None, True),
        (date(2019, 3, 6), None, False),
        (None, None, True),
    ],
)
def test_an_entry_covers_both_its_days_and_an_empty_one_is_open(start: Any, end: Any, covered: bool) -> None:
    """Point 11: both days included, empty = open; by service date."""
    a = again(bill(1, 3, 5), listed=roster(entry("dibao", start, end)))
    assert paid(a) == [16_250 if covered else 7_200]


def test_the_service_date_counts_not_the_day_of_settlement() -> None:
    """Point 11: the entries that cover a row's service date."""
    row = bill(1, 3, 5, settled_at=datetime(2019, 5, 1))
    assert paid(again(row, listed=roster(entry("dibao", date(2019, 4, 1), None)))) == [7_200]
    assert paid(again(row, listed=roster(entry("dibao", date(2019, 3, 5), date(2019, 3, 5))))) == [16_250]


def test_entries_are_added_to_the_ledgers_categories_and_the_order_of_favour_picks() -> None:
    """Point 11 with section 2: the first in the policy's order counts."""

    def assistance(category: str, *listed: str) -> Decimal:
        rows = roster(*(entry(name, None, None) for name in listed))
        row = bill(1, 3, total="3000", category=category, catastrophic_paid="0")
        return again(row, listed=rows, parameters=RATES).settled["assistance_paid"].to_pylist()[0]  # type: ignore[no-any-return]

    assert assistance("dibao", "destitute") == 600
    assert assistance("dibao", "severe_disability") == 900
    assert assistance("ordinary", "severe_disability", "低保") == 900
    assert assistance("low_income", "低保,建档立卡") == 300


def test_replacing_puts_the_roster_in_the_ledgers_place_where_it_covers_a_row() -> None:
    """Point 11: roster_mode="replace": they replace them."""
    rows = [
        bill(1, 3, category="dibao", catastrophic_paid="16250"),
        bill(1, 3, category="dibao", person_id="P2", catastrophic_paid="16250"),
    ]
    listed = roster(entry("ordinary", None, None))
    assert paid(again(*rows, listed=listed)) == [16_250, 16_250]
    assert paid(again(*rows, listed=listed, roster_mode="replace")) == [7_200, 16_250]
    with pytest.raises(yibao.LedgerError, match="roster_mode: expected one of add, replace, got 'drop'"):
        again(*rows, listed=listed, roster_mode="drop")


def test_backdated_recognition_is_replayed_row_by_row() -> None:
    """Section 2 and point 11: the row's own category picks the schedule for both terms."""
    rows = [bill(1, 2), bill(2, 4, catastrophic_paid="18000"), bill(3, 9, 2, catastrophic_paid="18000")]
    a = again(*rows, listed=roster(entry("dibao", date(2019, 3, 1), None)))
    # February stays ordinary; in April 60,000 less 30,000 by the terms of hardship: 35,750 − 16,250; September is outside.
    assert paid(a) == [7_200, 19_500, 18_000]
    (transfer,) = a.transfers.to_pylist()
    assert (transfer["fund"], transfer["amount"]) == ("person", 1_500)


def test_a_roster_also_decides_on_the_commercial_supplement() -> None:
    """Point 6: whose categories, roster applied, include registered_poor."""
    row = bill(1, 3, has_commercial_supplement=True, commercial_paid="10000")
    a = again(row, listed=roster(entry("registered_poor", None, None)))
    # 16,250 instead of 7,200; the person's 12,800 stay, commercial insurance gets 9,050 back.
    assert [(t["payee_kind"], t["amount"]) for t in a.transfers.to_pylist()] == [("commercial_fund", 9_050)]
    assert a.settled["personal_paid"].to_pylist() == [12_800]
    kept = again(row, listed=roster(entry("dibao", None, None)), recorded_after_change="keep")
    assert [t["payee_kind"] for t in kept.transfers.to_pylist()] == ["person_social_card"]


def test_ids_of_a_roster_are_normalised_and_may_be_of_another_type() -> None:
    """Ledger page: blanks, full-width digits and a lower-case letter are the same id."""
    for own, theirs in (("37100219900101001X", "３７１００２19900101001x "), (12, "12"), ("12", 12)):
        a = again(bill(1, 3, person_id=own), listed=roster(entry("dibao", None, None, theirs)))
        assert paid(a) == [16_250]
    assert paid(again(bill(1, 3), listed=roster(entry("dibao", None, None, "P11")))) == [7_200]


def test_days_of_a_roster_may_be_text_and_an_empty_cell_is_open() -> None:
    """Point 11: empty = open, in a file of text too."""
    for start, end, amount in (("2019-03-01", "", 16_250), ("", "2019/02/28", 7_200), (" ", "2019-03-01", 16_250)):
        assert paid(again(bill(1, 3), listed=roster(entry("dibao", start, end)))) == [amount]


def test_a_row_whose_own_category_is_unreadable_stays_rejected() -> None:
    """Section 8: an empty category is UNKNOWN_CATEGORY, a null one MISSING_VALUE; a roster adds, it does not repair."""
    listed = roster(entry("dibao", None, None))
    for category, code in (("", "UNKNOWN_CATEGORY"), ("?", "UNKNOWN_CATEGORY"), (None, "MISSING_VALUE")):
        a = again(bill(1, 3, category=category), bill(2, 4), listed=listed)
        assert a.settled["status"].to_pylist() == [code, "SETTLED"]


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        (
            roster(entry("poor", None, None)),
            "roster: category: expected known categories, got something else in 1 rows, first in row 0",
        ),
        (roster(entry("dibao", None, None, None)), "roster: person_id: expected no null, got 1"),
        (roster(entry("dibao", date(2019, 2, 1), date(2019, 1, 1))), "roster: row 0: expected from <= to"),
        (roster(entry("dibao", "2019-13-01", "")), "roster: from: expected dates or nothing, got 1"),
        (roster(entry("dibao", None, None)).drop_columns(["to"]), "roster: to: expected a column"),
        (roster(entry("dibao", None, None, 1.5)), "roster: person_id: expected text or integers"),
        ([1, 2], "roster: expected an Arrow table"),
    ],
)
def test_a_roster_that_cannot_be_read_is_refused(listed: Any, fault: str) -> None:
    """Section 8: fails at once, naming the fault and what was expected."""
    with pytest.raises(yibao.LedgerError, match=fault):
        again(bill(1, 3), listed=listed)


def test_days_of_a_roster_may_be_dictionary_encoded() -> None:
    """Point 11: files of few days come so."""
    listed = roster(entry("registered_poor", "2019-03-01", "2019-03-31"))
    for name in ("from", "to", "category"):
        listed = listed.set_column(listed.column_names.index(name), name, listed[name].dictionary_encode())
    a = again(bill(1, 3), bill(2, 4), listed=listed)
    assert paid(a) == [16_250, 18_000]


def test_an_empty_roster_changes_nothing() -> None:
    """Point 11 without entries."""
    assert paid(again(bill(1, 3), listed=roster(entry("dibao", None, None)).slice(0, 0))) == [7_200]


def test_an_orphan_by_roster_needs_the_orphans_parameter() -> None:
    """Section 4: a required parameter is required by the rows that reach its rule, roster applied."""
    table = pa.table({name: [cell] for name, cell in bill(1, 3, insured_region=990101).items()})
    demo = yibao.load_policy("demo-city")
    keep: dict[str, Any] = {"recorded_after_change": "keep"}
    assert len(yibao.reaccount(table, demo, **keep).deltas) == 1
    with pytest.raises(yibao.ParameterError, match="orphan_deductible"):
        yibao.reaccount(table, demo, roster=roster(entry("orphan", None, None)), **keep)
