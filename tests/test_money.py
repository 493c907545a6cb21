"""Money at the door: what is accepted, what rejects its row, what is refused as a column, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import yibao
from yibao.money import MONEY_TYPES, from_fen, narrow, no_money


def table(**columns: Any) -> pa.Table:
    """Return a ledger of as many people as `total_fee` has cells, one inpatient bill each."""
    rows = len(next(iter(columns.values())))
    cells: dict[str, Any] = {
        "settlement_id": [f"S{number}" for number in range(rows)],
        "person_id": [f"P{number}" for number in range(rows)],
        "settled_at": [datetime(2019, 3, 1)] * rows,
        "service_date": [date(2019, 3, 1)] * rows,
        "category": ["ordinary"] * rows,
        "care_type": ["inpatient"] * rows,
    }
    return pa.table(cells | columns)


def settle(ledger: pa.Table, **options: Any) -> yibao.LedgerResult:
    result: yibao.LedgerResult = yibao.settle_ledger(ledger, yibao.load_policy("weihai-2019"), **options)
    return result


def both(amounts: pa.Array) -> yibao.LedgerResult:
    """Settle bills with these amounts as total and eligible fee."""
    return settle(table(total_fee=amounts, eligible_fee=amounts))


def outcome(result: yibao.LedgerResult) -> list[Any]:
    """Return total fee (payments and rest) of each row, or its reject code."""
    rows = result.table.to_pylist()
    paid = [sum(row[name] for name in row if name.endswith("_paid") and row[name] is not None) for row in rows]
    return [amount if row["status"] == "SETTLED" else row["status"] for row, amount in zip(rows, paid, strict=True)]


def decimals(
    kind: Callable[[int, int], pa.DataType], precision: int, scale: int, cells: tuple[str | None, ...]
) -> pa.Array:
    wide = pa.array([None if cell is None else Decimal(cell) for cell in cells], pa.decimal128(38, scale))
    return wide.cast(kind(precision, scale))


@pytest.mark.parametrize(
    ("kind", "precision", "scale", "cells"),
    [
        (pa.decimal128, 18, 2, ("30000", "0", "12.34", "100000000")),
        (pa.decimal128, 38, 1, ("30000", "0", "12.3", "100000000")),
        (pa.decimal128, 12, 0, ("30000", "0", "12", "100000000")),
        (pa.decimal64, 18, 2, ("30000", "0", "12.34", "100000000")),
        (pa.decimal64, 18, 1, ("30000", "0", "12.3", "100000000")),
        (pa.decimal64, 12, 0, ("30000", "0", "12", "100000000")),
        (pa.decimal32, 9, 2, ("30000", "0", "12.34", "9999999.99")),
        (pa.decimal32, 9, 1, ("30000", "0", "12.3", "99999999.9")),
        (pa.decimal32, 9, 0, ("30000", "0", "12", "100000000")),
        (pa.decimal256, 40, 2, ("30000", "0", "12.34", "100000000")),
    ],
)
def test_decimals_of_every_width_with_scale_0_to_2_are_read_exactly(
    kind: Callable[[int, int], pa.DataType], precision: int, scale: int, cells: tuple[str, ...]
) -> None:
    """Section 1: any decimal with scale ≤ 2."""
    result = both(decimals(kind, precision, scale, cells))
    assert outcome(result) == [Decimal(cell) for cell in cells]
    assert result.table["catastrophic_paid"].to_pylist()[0] == 7_200


def test_null_slots_of_decimals_are_null_whatever_lies_under_them() -> None:
    """Section 8: a null required cell is MISSING_VALUE, a null fee component counts as 0."""
    amounts = decimals(pa.decimal64, 18, 2, ("30000", None, "20000"))
    assert outcome(both(amounts)) == [30_000, "MISSING_VALUE", 20_000]
    cells = b"\xf0" + bytes(15) + b"\xff" * 16  # 2.40, and rubbish that the validity bits hide
    dirty = pa.Array.from_buffers(pa.decimal128(18, 2), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(cells)])
    fees = decimals(pa.decimal128, 18, 2, ("30000", "20000"))
    result = settle(table(total_fee=fees, eligible_fee=fees, basic_paid=dirty))
    assert result.table["basic_paid"].to_pylist() == [Decimal("2.40"), 0]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((0.1 + 0.2,), [Decimal("0.30")]),
        ((46.620000000000005,), [Decimal("46.62")]),
        ((12.3400009,), [Decimal("12.34")]),  # 0.00009 of a fen off
        ((12.340002,), ["AMOUNT_NOT_FEN"]),  # 0.0002 of a fen off
        ((12.345,), ["AMOUNT_NOT_FEN"]),
        ((float("nan"), float("inf"), 1.0), ["AMOUNT_NOT_FEN", "AMOUNT_NOT_FEN", 1]),
        ((100_000_000.0, 100_000_000.01, 1e300), [100_000_000, "AMOUNT_OUT_OF_RANGE", "AMOUNT_OUT_OF_RANGE"]),
        ((None, 5.0), ["MISSING_VALUE", 5]),
    ],
)
def test_floats_only_where_they_mean_whole_fen(cells: tuple[float | None, ...], expected: list[Any]) -> None:
    """Section 1: float64 only where a value × 100 lies within 1e-4 of a whole number, any other rejects its row."""
    assert outcome(both(pa.array(cells, pa.float64()))) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("30000", 30_000),
        (" 30000.5 ", Decimal("30000.5")),
        ("+12.34", Decimal("12.34")),
        ("0012.30", Decimal("12.3")),
        ("1.5e3", 1_500),
        ("46.620000000000005", Decimal("46.62")),
        ("12.340", Decimal("12.34")),
        ("12.345", "AMOUNT_NOT_FEN"),
        ("1,234.00", "AMOUNT_NOT_FEN"),
        ("3_0000", "AMOUNT_NOT_FEN"),
        ("1e1000000", "AMOUNT_OUT_OF_RANGE"),
        ("¥12", "AMOUNT_NOT_FEN"),
        ("NaN", "AMOUNT_NOT_FEN"),
        ("Infinity", "AMOUNT_NOT_FEN"),
        ("100000000.01", "AMOUNT_OUT_OF_RANGE"),
        ("9" * 40, "AMOUNT_OUT_OF_RANGE"),
        ("-5", "WRONG_SIGN"),
        ("", "MISSING_VALUE"),
        (None, "MISSING_VALUE"),
    ],
)
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_in_yuan_is_read_exactly(kind: pa.DataType, cell: str | None, expected: Any) -> None:
    """Section 1, and files of text: a number with at most two decimals, floats' tails by the floats' rule."""
    values = pa.array([cell, "1"], pa.string())
    amounts = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
    assert outcome(both(amounts)) == [expected, 1]


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.uint32()])
def test_integers_are_fen_under_a_name_that_says_so(kind: pa.DataType) -> None:
    """Section 1: int64 with a declared unit."""
    fen = pa.array([3_000_000, 1_234, None], kind)
    result = settle(table(total_fee_fen=fen, eligible_fee_fen=fen, basic_paid_fen=pa.array([0, 1, 0], kind)))
    assert outcome(result) == [30_000, Decimal("12.34"), "MISSING_VALUE"]
    assert result.table["basic_paid"].to_pylist()[:2] == [0, Decimal("0.01")]


@pytest.mark.parametrize(
    ("name", "amounts", "message"),
    [
        (
            "total_fee",
            pa.array([30_000]),
            "total_fee: expected decimal yuan, or integers in a column named total_fee_fen",
        ),
        ("total_fee_fen", pa.array(["30000"]), "total_fee_fen: expected integers of fen, got string"),
        ("total_fee_fen", pa.array([1.0]), "total_fee_fen: expected integers of fen, got double"),
        ("total_fee", pa.array([Decimal("1.000")], pa.decimal128(18, 3)), "at most 2 decimals, got decimal128"),
        ("total_fee", pa.array([Decimal(1_000)], pa.decimal128(18, 0)).cast(pa.decimal128(20, 0)), None),
        ("total_fee", pa.array([True]), "total_fee: expected money .*got bool"),
        ("total_fee", pa.array([date(2019, 1, 1)]), "total_fee: expected money .*got date32"),
        ("total_fee", pa.array([[1]]), "total_fee: expected money .*got list"),
    ],
)
def test_a_column_that_is_no_money_is_refused_by_name(name: str, amounts: pa.Array, message: str | None) -> None:
    """Section 8: a wrong type fails at once, naming what was expected."""
    ledger = table(**{name: amounts, "eligible_fee": pa.array(["0"])})
    if message is None:
        assert outcome(settle(ledger)) == [1_000]
        return
    with pytest.raises(yibao.LedgerError, match=message):
        settle(ledger)


def test_every_fault_of_a_table_is_named_before_any_work() -> None:
    """Section 8: fails at once, before any work, naming every fault."""
    ledger = table(total_fee=pa.array([1]), eligible_fee=pa.array([True]), basic_paid=pa.array([date(2019, 1, 1)]))
    with pytest.raises(yibao.LedgerError) as caught:
        settle(ledger)
    assert [fault.split(": ")[1] for fault in caught.value.faults] == ["total_fee", "eligible_fee", "basic_paid"]


@pytest.mark.parametrize(
    ("money", "name", "kind", "value"),
    [
        ("decimal128", "catastrophic_paid", pa.decimal128(18, 2), Decimal("7200.00")),
        ("decimal64", "catastrophic_paid", pa.decimal64(18, 2), Decimal("7200.00")),
        ("int64_fen", "catastrophic_paid_fen", pa.int64(), 720_000),
    ],
)
def test_money_comes_out_in_the_type_that_was_asked_for(money: str, name: str, kind: pa.DataType, value: Any) -> None:
    """Section 1: out decimal128(18, 2), or decimal64, or int64 fen; rejected rows are null."""
    fees = pa.array(["30000", "x"])
    column = settle(table(total_fee=fees, eligible_fee=fees), money=money).table[name]
    assert column.type == kind
    assert column.to_pylist() == [value, None]


def test_an_unknown_money_type_is_refused() -> None:
    """Section 1 names three."""
    one = table(total_fee=pa.array(["1"]), eligible_fee=pa.array(["1"]))
    with pytest.raises(yibao.LedgerError, match="money: expected one of decimal128, decimal64, int64_fen, got 'float'"):
        settle(one, money="float")


CLAIM: dict[str, Any] = {
    "settlement_id": 1,
    "person_id": 1,
    "settled_at": datetime(2019, 3, 1),
    "service_date": date(2019, 3, 1),
    "category": "ordinary",
    "care_type": "inpatient",
    "total_fee": "50000",
    "eligible_fee": "50000",
}


@pytest.mark.parametrize(
    "cells",
    [
        {"basic_paid": Decimal("20000.00")},
        {"basic_paid": "20000"},
        {"basic_paid_fen": 2_000_000},
        {"basic_paid": Decimal("2E+4")},
    ],
)
def test_one_claim_takes_decimal_text_or_fen(cells: dict[str, Any]) -> None:
    """Section 1: in a mapping money is Decimal or str yuan; an integer only under <name>_fen."""
    one = yibao.settle(CLAIM | cells, yibao.load_policy("weihai-2019"))
    assert [one.paid["basic"], one.paid["catastrophic"], one.personal_paid] == [20_000, 7_200, 22_800]
    assert isinstance(one.personal_paid, Decimal)


@pytest.mark.parametrize("cells", [{"basic_paid": 20_000}, {"basic_paid": 20_000.0}, {"basic_paid": True}])
def test_one_claim_refuses_numbers_without_a_unit(cells: dict[str, Any]) -> None:
    """Section 1: an integer only under <name>_fen."""
    with pytest.raises(yibao.ClaimError, match="basic_paid: expected Decimal or text in yuan"):
        yibao.settle(CLAIM | cells, yibao.load_policy("weihai-2019"))


@pytest.mark.parametrize("amount", [Decimal(2_000_000), 2_000_000.0, "2000000"])
def test_one_claim_refuses_fen_that_are_no_integer_instead_of_leaving_them_out(amount: Any) -> None:
    """Section 1: under <name>_fen an integer; nothing that the caller wrote may be dropped silently."""
    with pytest.raises(yibao.SettlementError, match="basic_paid_fen"):
        yibao.settle(CLAIM | {"basic_paid_fen": amount}, yibao.load_policy("weihai-2019"))


@pytest.mark.parametrize("kind", MONEY_TYPES)
def test_zeros_that_nobody_has_written_are_zeros(kind: str) -> None:
    null = np.array([False, True, False])
    for given in (None, null):
        assert no_money(3, kind, given).equals(from_fen(np.zeros(3, dtype=np.int64), kind, given))


def test_decimals_are_narrowed_without_a_change() -> None:
    amounts = pa.array([Decimal("1.10"), None, Decimal("-9999999999999999.99"), Decimal("0.01")], pa.decimal128(18, 2))
    many = pa.concat_arrays([amounts] * 5)
    for array in (amounts, amounts.slice(1), amounts.slice(1, 2), amounts.slice(4), many.slice(9, 7), many.slice(16)):
        short = narrow(array)
        assert short.type == pa.decimal64(18, 2)
        assert short.to_pylist() == array.to_pylist()
    long = amounts.cast(pa.decimal128(19, 2))
    assert narrow(long) is long


@pytest.mark.parametrize("text", ["6.000012e4", "60000.120000000001", "６００００.１２"])
def test_a_caller_with_little_precision_has_the_same_amounts(text: str) -> None:
    cells = {"total_fee": [text], "eligible_fee": [text]}
    policy = yibao.load_policy("weihai-2019")
    with localcontext() as context:
        context.prec = 3
        found = yibao.settle_ledger(table(**cells), policy).table["catastrophic_paid"].to_pylist()
    assert (
        found
        == yibao.settle_ledger(table(total_fee=["60000.12"], eligible_fee=["60000.12"]), policy)
        .table["catastrophic_paid"]
        .to_pylist()
    )
