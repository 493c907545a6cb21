"""Reject codes of section 8: what produces each, which one wins, and what the rejects say."""

from __future__ import annotations

import random
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import agreement
import ledgers
import oracle
import yibao

ID = "SETTLEMENT-0042"


def bill(settlement_id: str | None = ID, **cells: Any) -> dict[str, Any]:
    """Return a bill of 200 yuan, every known fault of which is one cell away."""
    return {
        "settlement_id": settlement_id,
        "reverses": None,
        "person_id": "PERSON-0007",
        "settled_at": datetime(2019, 3, 2),
        "service_date": date(2019, 3, 1),
        "insured_region": "990101",
        "category": "ordinary",
        "birth_date": date(1980, 1, 1),
        "care_type": "inpatient",
        "total_fee": "200",
        "self_funded_fee": "50",
        "eligible_fee": "150",
        "basic_paid": "100",
        "catastrophic_paid": "0",
        "personal_paid": "100",
    } | cells


def settle(*rows: dict[str, Any], **options: Any) -> yibao.LedgerResult:
    """Settle rows under demo-city, which has a rule for every feature."""
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    policy = yibao.load_policy("demo-city", parameters={"orphan_deductible": "3000"})
    result: yibao.LedgerResult = yibao.settle_ledger(table, policy, **options)
    return result


def back(number: str, **cells: Any) -> dict[str, Any]:
    """Return the whole reversal of `bill()`."""
    amounts = {
        "total_fee": "-200",
        "self_funded_fee": "-50",
        "eligible_fee": "-150",
        "basic_paid": "-100",
        "personal_paid": "-100",
    }
    return bill(number, reverses=ID, settled_at=datetime(2019, 3, 3)) | amounts | cells


FAULTS: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("MISSING_VALUE", {"settlement_id": None}, "settlement_id", None),
    ("MISSING_VALUE", {"person_id": None}, "person_id", None),
    ("MISSING_VALUE", {"settled_at": None}, "settled_at", None),
    ("MISSING_VALUE", {"service_date": None}, "service_date", None),
    ("MISSING_VALUE", {"category": None}, "category", None),
    ("MISSING_VALUE", {"care_type": None}, "care_type", None),
    ("MISSING_VALUE", {"total_fee": None}, "total_fee", None),
    ("MISSING_VALUE", {"eligible_fee": None}, "eligible_fee", None),
    ("AMOUNT_NOT_FEN", {"total_fee": "200.001"}, "total_fee", "200.001"),
    ("AMOUNT_NOT_FEN", {"basic_paid": "ten"}, "basic_paid", "ten"),
    ("AMOUNT_NOT_FEN", {"personal_paid": "0.005"}, "personal_paid", "0.005"),
    ("AMOUNT_OUT_OF_RANGE", {"total_fee": "100000000.01"}, "total_fee", "100000000.01"),
    ("AMOUNT_OUT_OF_RANGE", {"self_funded_fee": "99999999999999999999"}, "self_funded_fee", "99999999999999999999"),
    ("AMOUNT_OUT_OF_RANGE", {"personal_paid": "-100000000.01"}, "personal_paid", "-100000000.01"),
    ("WRONG_SIGN", {"total_fee": "-200"}, "total_fee", "-200"),
    ("WRONG_SIGN", {"catastrophic_paid": "-0.01"}, "catastrophic_paid", "-0.01"),
    ("UNKNOWN_CATEGORY", {"category": ""}, "category", ""),
    ("UNKNOWN_CATEGORY", {"category": "低保,外地"}, "category", "低保,外地"),
    ("UNKNOWN_CARE_TYPE", {"care_type": "dental"}, "care_type", "dental"),
    ("NO_POLICY", {"service_date": date(2017, 12, 31)}, "service_date", "2017-12-31"),
    ("ELIGIBLE_EXCEEDS_TOTAL", {"eligible_fee": "200.01"}, "eligible_fee", "200.01"),
    ("BIRTH_DATE_MISSING", {"birth_date": None, "care_type": "pku"}, "birth_date", None),
    ("REVERSAL_WITHOUT_ORIGINAL", back(ID, reverses="SETTLEMENT-0001", basic_paid=None, catastrophic_paid=None), "reverses", "***********0001"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "cells", "column", "value"), FAULTS)
def test_a_fault_gives_its_code_and_names_the_column_and_the_value(
    code: str, cells: dict[str, Any], column: str, value: str | None
) -> None:
    """Section 8: rejects carry row number, settlement id, code and the offending value."""
    good = bill("SETTLEMENT-0099", person_id="PERSON-0008")
    result = settle(good, bill() | cells)
    masked = None if cells.get("settlement_id", ID) is None else "***********0042"
    assert result.table["status"].to_pylist() == ["SETTLED", code]
    assert result.rejects.to_pylist() == [
        {"row": 1, "settlement_id": masked, "code": code, "column": column, "value": value}
    ]
    assert result.table["personal_paid"].to_pylist()[1] is None
    assert (result.summary["settled"], result.summary["rejected"], result.summary["rejects"]) == (1, 1, {code: 1})


@pytest.mark.parametrize(
    ("cells", "column", "value"),
    [
        ({"settlement_id": "  "}, "settlement_id", None),
        ({"person_id": ""}, "person_id", None),
        ({"eligible_fee": None, "self_funded_fee": None}, "eligible_fee", None),
        ({"settled_at": "soon"}, "settled_at", "soon"),
        ({"service_date": "2019-02-30"}, "service_date", "2019-02-30"),
        ({"category": None}, "category", None),
        ({"care_type": None}, "care_type", None),
        ({"total_fee": " "}, "total_fee", " "),
    ],
)
def test_a_missing_value_in_a_text_file_is_named_by_its_own_column(
    cells: dict[str, Any], column: str, value: str | None
) -> None:
    """Section 8: MISSING_VALUE is about required cells; null fee components count as 0 and are not to blame."""
    text = {"settled_at": "2019-03-02 08:00:00", "service_date": "2019-03-01"}
    (reject,) = settle(bill() | text | cells).rejects.to_pylist()
    assert (reject["code"], reject["column"]) == ("MISSING_VALUE", column)
    assert (reject["value"] or "").strip() == (value or "").strip()


def test_a_null_catastrophic_payment_is_missing_in_a_reaccounting_only() -> None:
    """Section 8: in a re-accounting also a null catastrophic_paid."""
    row = bill(catastrophic_paid=None, basic_paid=None, self_funded_fee=None)
    assert settle(row).table["status"].to_pylist() == ["SETTLED"]
    table = pa.table({name: [cell] for name, cell in row.items()})
    policy = yibao.load_policy("demo-city", parameters={"orphan_deductible": "3000"})
    a = yibao.reaccount(table, policy, missing_paid="zero")
    assert [(r["code"], r["column"]) for r in a.rejects.to_pylist()] == [("MISSING_VALUE", "catastrophic_paid")]


def test_every_row_of_a_person_with_the_same_id_is_a_duplicate() -> None:
    """Section 8: exactly; an id shared by two persons and identical amounts under different ids are settled."""
    rows = [bill(), bill(settled_at=datetime(2019, 9, 9)), bill("B"), bill(person_id="OTHER"), bill("C")]
    result = settle(*rows, show_ids=True)
    assert result.table["status"].to_pylist() == ["DUPLICATE_SETTLEMENT"] * 2 + ["SETTLED"] * 3
    assert [(r["row"], r["column"], r["value"]) for r in result.rejects.to_pylist()] == [
        (0, "settlement_id", ID),
        (1, "settlement_id", ID),
    ]


def test_a_row_that_the_history_holds_already_is_a_duplicate() -> None:
    """Section 8 with history: the id stands in an earlier run under the same person."""
    history = settle(bill()).table
    assert settle(bill(), history=history).table["status"].to_pylist() == ["DUPLICATE_SETTLEMENT"]
    assert settle(bill(person_id="OTHER"), history=history).table["status"].to_pylist() == ["SETTLED"]


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"basic_paid": None, "catastrophic_paid": None, "reverses": "X"}, "REVERSAL_WITHOUT_ORIGINAL"),
        ({"settled_at": datetime(2019, 3, 1)}, "REVERSAL_WITHOUT_ORIGINAL"),  # the original comes later
        ({"eligible_fee": "-149.99"}, "REVERSAL_NOT_WHOLE"),
        ({"self_funded_fee": None}, "REVERSAL_NOT_WHOLE"),
        ({"basic_paid": "100"}, "WRONG_SIGN"),
        ({"total_fee": "200"}, "WRONG_SIGN"),
        ({"reverses": "X", "basic_paid": "-200.01"}, "PAID_EXCEEDS_TOTAL"),
        ({}, "SETTLED"),
    ],
)
def test_reversals_are_rejected_for_what_is_wrong_with_them(cells: dict[str, Any], code: str) -> None:
    """Sections 5 and 8."""
    assert settle(bill(), back("B", **cells)).table["status"].to_pylist() == ["SETTLED", code]


def test_a_reversal_of_a_rejected_row_of_a_reversal_or_a_second_one_is_rejected() -> None:
    """Section 8: a reversal of a rejected row is rejected; section 5: so is a second reversal of one original."""
    assert settle(bill(category="?"), back("B")).table["status"].to_pylist() == [
        "UNKNOWN_CATEGORY",
        "REVERSAL_WITHOUT_ORIGINAL",
    ]
    second = back("C", settled_at=datetime(2019, 3, 4))
    assert settle(bill(), back("B"), second).table["status"].to_pylist() == ["SETTLED", "SETTLED", "REVERSAL_NOT_WHOLE"]
    of_reversal = second | {"reverses": "B"}
    assert settle(bill(), back("B"), of_reversal).table["status"].to_pylist()[2] == "REVERSAL_WITHOUT_ORIGINAL"


def test_recorded_payments_above_the_total_reject_a_row_of_a_reaccounting() -> None:
    """Section 6.2: PAID_EXCEEDS_TOTAL names the total."""
    row = bill(basic_paid="200.01")
    table = pa.table({name: [cell] for name, cell in row.items()})
    policy = yibao.load_policy("demo-city", parameters={"orphan_deductible": "3000"})
    (reject,) = yibao.reaccount(table, policy, missing_paid="zero").rejects.to_pylist()
    assert (reject["code"], reject["column"], reject["value"]) == ("PAID_EXCEEDS_TOTAL", "total_fee", "200")
    assert settle(row).table["basic_paid"].to_pylist() == [200]  # plain settlement cuts it


def test_a_row_that_would_carry_a_year_beyond_its_range_is_rejected_and_says_which_amount() -> None:
    """Section 1: a row that would take a yearly cumulative beyond 9×10^11 fen is rejected; section 8: with its value."""
    most = {"total_fee": "100000000", "eligible_fee": "100000000", "self_funded_fee": "0", "basic_paid": "0"}
    rows = [bill(f"S{n:03}", **most) for n in range(91)]
    result = settle(*rows)
    assert result.table["status"].to_pylist() == ["SETTLED"] * 90 + ["AMOUNT_OUT_OF_RANGE"]
    (reject,) = result.rejects.to_pylist()
    assert (reject["row"], reject["column"], reject["value"]) == (90, "eligible_fee", "100000000")


LADDER: list[tuple[str, dict[str, Any]]] = [
    ("MISSING_VALUE", {"eligible_fee": None}),
    ("AMOUNT_NOT_FEN", {"basic_paid": "1.001"}),
    ("AMOUNT_OUT_OF_RANGE", {"personal_paid": "100000000.01"}),
    ("WRONG_SIGN", {"catastrophic_paid": "-1"}),
    ("UNKNOWN_CATEGORY", {"category": "?"}),
    ("UNKNOWN_CARE_TYPE", {"care_type": "?"}),
    ("NO_POLICY", {"service_date": date(2001, 1, 1)}),
    ("ELIGIBLE_EXCEEDS_TOTAL", {"total_fee": "140"}),
    ("BIRTH_DATE_MISSING", {"birth_date": None}),
]


@pytest.mark.parametrize("first", range(len(LADDER)))
def test_the_first_code_in_the_stated_order_wins(first: int) -> None:
    """Section 8: codes, first match wins. A row has its own fault and every later one."""
    row = bill(care_type="pku")
    for _, cells in reversed(LADDER[first:]):
        row |= cells
    assert settle(row).table["status"].to_pylist() == [LADDER[first][0]]


def test_a_duplicate_wins_over_everything_but_a_missing_value() -> None:
    """Section 8: codes, first match wins."""
    rows = [bill(basic_paid="1.001"), bill(category="?"), bill(eligible_fee=None)]
    assert settle(*rows).table["status"].to_pylist() == [
        "DUPLICATE_SETTLEMENT",
        "DUPLICATE_SETTLEMENT",
        "MISSING_VALUE",
    ]


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"eligible_fee": None, "reverses": "X"}, "MISSING_VALUE"),
        ({"category": "?", "reverses": "X"}, "UNKNOWN_CATEGORY"),
        ({"settled_at": datetime(2019, 3, 1), "total_fee": "-201"}, "REVERSAL_WITHOUT_ORIGINAL"),
        ({"total_fee": "-99", "eligible_fee": "-99", "self_funded_fee": "0"}, "REVERSAL_NOT_WHOLE"),
    ],
)
def test_reversal_codes_stand_in_the_stated_order_too(cells: dict[str, Any], code: str) -> None:
    """Section 8: after the codes of the row itself, and before PAID_EXCEEDS_TOTAL."""
    assert settle(bill(), back("B", **cells)).table["status"].to_pylist()[1] == code


def test_ids_are_masked_unless_asked_for() -> None:
    """Section 8 and the ledger page: ids are masked in rejects and reports unless asked for."""
    rows = [bill(category="?"), back("B")]
    assert "PERSON" not in str(settle(*rows).rejects.to_pylist())
    assert settle(*rows).rejects["value"].to_pylist() == ["?", "***********0042"]
    shown = settle(*rows, show_ids=True).rejects
    assert shown["settlement_id"].to_pylist() == [ID, "B"]
    assert shown["value"].to_pylist() == ["?", ID]


def test_later_rows_of_the_person_year_are_flagged_after_a_reject() -> None:
    """Section 8: later rows of the same person-year are settled and flagged AFTER_REJECT."""
    rows = [
        bill("A", settled_at=datetime(2019, 3, 1)),
        bill("B", settled_at=datetime(2019, 3, 2), category="?"),
        bill("C", settled_at=datetime(2019, 3, 2)),
        bill("D", settled_at=datetime(2019, 3, 3), service_date=date(2020, 1, 1)),
        bill("E", settled_at=datetime(2019, 3, 4), person_id="OTHER"),
    ]
    flags = ["AFTER_REJECT" in cell for cell in settle(*rows).table["flags"].to_pylist()]
    assert flags == [False, False, True, False, False]
    no_day = settle(*rows, bill("F", service_date=None, settled_at=datetime(2019, 1, 1)))
    assert ["AFTER_REJECT" in cell for cell in no_day.table["flags"].to_pylist()] == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]


def test_strict_raises_the_first_reject() -> None:
    """Style page: in a table a bad row gets a status; strict=True raises."""
    with pytest.raises(yibao.ClaimError, match="row 1: category: got \\?; 1 more") as caught:
        settle(bill("A"), bill("B", category="?"), bill("C", care_type="?"), strict=True)
    assert caught.value.code == "UNKNOWN_CATEGORY"
    settle(bill("A"), strict=True)


@pytest.mark.parametrize(
    ("code", "cells", "column", "value"), [fault for fault in FAULTS if fault[0] != "REVERSAL_WITHOUT_ORIGINAL"]
)
def test_one_claim_raises_the_code_that_a_ledger_gives(
    code: str, cells: dict[str, Any], column: str, value: str | None
) -> None:
    """`settle` raises ClaimError with the reject code where a ledger would reject the row."""
    with pytest.raises(yibao.ClaimError) as caught:
        yibao.settle(bill() | cells, yibao.load_policy("demo-city", parameters={"orphan_deductible": "3000"}))
    assert caught.value.code == code
    assert column in str(caught.value)


ROTTEN: tuple[dict[str, Any], ...] = (
    {"settlement_id": None},
    {"person_id": None},
    {"settled_at": None},
    {"service_date": None},
    {"service_date": date(2001, 1, 1)},
    {"category": None},
    {"category": "?"},
    {"care_type": ""},
    {"total_fee": -5},
    {"eligible_fee": None},
    {"eligible_fee": 10**10},
    {"basic_paid": oracle.NOT_FEN},
    {"personal_paid": 10**10 + 1},
)


def test_rotten_rows_leave_the_others_as_if_they_had_not_been_there() -> None:
    """Section 8: a bad row never poisons a run; input rows = settled + rejected."""
    clean = ledgers.random_rows(random.Random(8), 20_000, 2_000, reversals=0.0)
    rotten = range(37, 20_000, 100)
    spoilt = [
        row | ROTTEN[number // 100 % len(ROTTEN)] if number in rotten else row for number, row in enumerate(clean)
    ]
    kept = [row for number, row in enumerate(clean) if number not in rotten]
    assistance = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
    policy = yibao.load_policy("weihai-2019", parameters=assistance)
    result = yibao.settle_ledger(ledgers.to_arrow(spoilt), policy)
    alone = yibao.settle_ledger(ledgers.to_arrow(kept), policy)
    assert (result.summary["rows"], result.summary["rejected"], result.summary["settled"]) == (20_000, 200, 19_800)
    assert sum(result.summary["rejects"].values()) == len(result.rejects) == 200
    assert result.rejects["row"].to_pylist() == list(rotten)
    good = result.table.filter(pc.equal(result.table["status"].cast(pa.string()), "SETTLED"))
    names = ["settlement_id", *ledgers.PAID, "personal_paid", "status"]
    assert good.select(names).to_pylist() == alone.table.select(names).to_pylist()
    flags = [";".join(part for part in cell.split(";") if part != "AFTER_REJECT") for cell in good["flags"].to_pylist()]
    assert flags == alone.table["flags"].to_pylist()
    assert agreement.closing_of(result.closing) == agreement.closing_of(alone.closing)
    assert result.summary["paid"] == alone.summary["paid"]
