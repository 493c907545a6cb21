"""Ids: text or integers, never floats; normalised and counted; compared exactly."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import ledgers
import yibao

NATIONAL = "37100219900101001X"


def ledger(**columns: Any) -> pa.Table:
    """Return bills of one person on following days; `columns` replace its own."""
    return ledgers.bills(**{"person_id": ["P"] * len(next(iter(columns.values())))} | columns)


def settle(table: pa.Table, **options: Any) -> yibao.LedgerResult:
    result: yibao.LedgerResult = yibao.settle_ledger(table, yibao.load_policy("weihai-2019"), **options)
    return result


def paid(table: pa.Table) -> list[Decimal]:
    """Two bills of one person are paid 7,200 and 18,000; of two persons 7,200 each."""
    return settle(table).table["catastrophic_paid"].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["settlement_id", "person_id", "reverses", "hospital_id", "insured_region"])
@pytest.mark.parametrize("ids", [pa.array([3.7100219900101e17]), pa.array([Decimal("371002199001010011")])])
def test_ids_that_went_through_a_spreadsheet_as_numbers_are_refused_with_that_hint(name: str, ids: pa.Array) -> None:
    """Ledger page: 18-digit ids that went through a spreadsheet are refused with that hint."""
    table = ledger(**{name: ids})
    if name in ("hospital_id", "insured_region"):
        with pytest.raises(yibao.LedgerError, match=f"{name}: expected"):
            reaccounted(table)
        return
    with pytest.raises(
        yibao.LedgerError, match=rf"{name}: expected text or integers, got .*spreadsheet.*export them as text"
    ):
        settle(table)


def reaccounted(table: pa.Table) -> yibao.Reaccount:
    more = {"catastrophic_paid": ["0"], "has_social_card_account": [True], "institution_reduction_paid": ["9000"]}
    for name, cells in more.items():
        table = table.append_column(name, pa.array(cells))
    policy = yibao.load_policy("weihai-2019")
    return yibao.reaccount(table, policy, missing_paid="zero", recorded_after_change="implied_rate")


@pytest.mark.parametrize(
    "other",
    [
        "３７１００２１９９００１０１００１Ｘ",  # full-width
        "37100219900101001x",
        " 37100219900101001X\t",
        "371002 19900101 001X",
        "37100219900101001\u00a0X",
        "\ufeff37100219900101001X",
        "\u300037100219900101001ｘ",
        *(
            f"371002{blank}19900101001X{blank}"
            for blank in "\x0b\x1c\x1f\x85\u1680\u2003\u2009\u2028\u2029\u202f\u205f"
        ),
    ],
)
def test_blanks_full_width_digits_and_a_lower_case_check_letter_are_normalised_and_counted(other: str) -> None:
    """Ledger page: blanks, full-width digits and a lower-case check letter are normalised; their number is reported."""
    table = ledger(person_id=[NATIONAL, other])
    assert paid(table) == [7_200, 18_000]
    assert settle(table).summary["ids_normalised"] == 1
    assert settle(table).table["person_id"].to_pylist() == [NATIONAL, other]  # the ledger's own column stays
    assert set(settle(table).closing["person_id"].to_pylist()) == {NATIONAL}


def test_settlement_ids_are_normalised_too() -> None:
    """Ledger page: a duplicate under a blank is a duplicate; a reversal finds its original."""
    table = ledger(settlement_id=["1001", " 1001"])
    assert settle(table).table["status"].to_pylist() == ["DUPLICATE_SETTLEMENT"] * 2
    fees = ["30000", "-30000"]
    table = ledger(settlement_id=["１００１", "1002"], reverses=[None, "1001 "], total_fee=fees, eligible_fee=fees)
    assert paid(table) == [7_200, -7_200]
    assert settle(table).summary["ids_normalised"] == 2


def test_what_is_no_number_keeps_its_inner_blanks_and_letters() -> None:
    """Ids compare exactly: only what is named is normalised."""
    for first, second in (("A 1", "A1"), ("ax", "aX"), ("0123", "123"), ("1234x", "1234X")):
        assert paid(ledger(person_id=[first, second])) == [7_200, 7_200]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
)
def test_every_kind_of_text_is_read(kind: pa.DataType) -> None:
    """The public surface: anything Arrow."""
    ids = pa.array(["A", "A", "B"])
    ids = ids.cast(kind.value_type).dictionary_encode() if pa.types.is_dictionary(kind) else ids.cast(kind)
    assert paid(ledger(person_id=ids)) == [7_200, 18_000, 7_200]


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.uint64(), pa.int8()])
def test_every_kind_of_integer_is_read(kind: pa.DataType) -> None:
    """Ledger page: string or int64."""
    assert paid(ledger(person_id=pa.array([5, 5, 7], kind), settlement_id=pa.array([1, 2, 3], kind))) == [
        7_200,
        18_000,
        7_200,
    ]


def test_18_digit_integers_are_told_apart() -> None:
    """Ids are never floats: neighbours that share a float64 are two persons."""
    assert paid(ledger(person_id=pa.array([371002199001010011, 371002199001010012]))) == [7_200, 7_200]
    with pytest.raises(yibao.LedgerError, match=r"person_id: expected ids below 2\*\*63"):
        settle(ledger(person_id=pa.array([2**63], pa.uint64())))


@pytest.mark.parametrize("name", ["settlement_id", "person_id"])
@pytest.mark.parametrize("blank", [None, "", "  ", "\u3000"])
def test_a_blank_id_is_a_missing_one(name: str, blank: str | None) -> None:
    """Section 8: a null required cell is MISSING_VALUE. Two of them are no duplicates of each other."""
    table = ledger(**{name: [blank, blank, "X"]})
    assert settle(table).table["status"].to_pylist() == ["MISSING_VALUE", "MISSING_VALUE", "SETTLED"]
    assert paid(table)[2] == 7_200


def test_integer_ids_of_a_ledger_and_text_ids_of_the_balances_meet() -> None:
    """Ids: between files the same person may be a number here and text there."""
    opening = settle(ledger(person_id=pa.array([7]))).closing
    opening = opening.set_column(0, "person_id", opening["person_id"].cast(pa.string()))
    second = settle(ledger(person_id=pa.array([7]), settlement_id=["T"]), opening=opening)
    assert second.table["catastrophic_paid"].to_pylist() == [18_000]


def test_many_text_ids_are_kept_apart() -> None:
    """Ids are encoded exactly: no two different ones share an account."""
    ids = [f"{number:018d}" for number in range(10_000)]
    result = settle(ledger(
        person_id=ids, settlement_id=ids, settled_at=[datetime(2019, 3, 1)] * len(ids),
    ))  # fmt: skip
    assert set(result.table["catastrophic_paid"].to_pylist()) == {7_200}


@pytest.mark.parametrize(
    ("first", "second"),
    [(pa.array([7]), pa.array(["7"])), (pa.array(["7"]), pa.array([7], pa.uint16()))],
)
def test_runs_with_ids_of_another_kind_meet(first: pa.Array, second: pa.Array) -> None:
    """Sections 4 and 5: balances, history and earlier transfers find the same person, whatever type the file gave."""
    january = settle(ledger(person_id=first, settlement_id=["A"]))
    later = ledger(person_id=second, settlement_id=["B"])
    assert settle(later, opening=january.closing).table["catastrophic_paid"].to_pylist() == [18_000]
    negative = later.set_column(later.column_names.index("total_fee"), "total_fee", pa.array(["-30000"]))
    negative = negative.set_column(negative.column_names.index("eligible_fee"), "eligible_fee", pa.array(["-30000"]))
    slip = negative.append_column("reverses", pa.array(["A"]))
    slip = slip.set_column(slip.column_names.index("settled_at"), "settled_at", pa.array([datetime(2019, 4, 1)]))
    back = settle(slip, opening=january.closing, history=january.table)
    assert back.table["status"].to_pylist() == ["SETTLED"]
    assert back.table["catastrophic_paid"].to_pylist() == [-7_200]
