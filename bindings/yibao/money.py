"""Money at the door: Arrow columns and Python values to whole fen and back. Nothing is computed with it here."""

from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao import memory
from yibao.ids import words
from yibao_core.errors import LedgerError
from yibao_core.money import NOT_FEN, NULL_FEN, ROW_MAX_FEN

_EXACT = Context(prec=40)  # whatever the caller's own context is
FLOAT_TOLERANCE = 1e-4  # of a fen: what a sum of two-decimal floats may be off
_to_yuan, _NOTHING = _EXACT.scaleb, Decimal("0.00")
_OFF = Decimal(str(FLOAT_TOLERANCE))
_ARROW_TYPES = {"decimal128": pa.decimal128(18, 2), "decimal64": pa.decimal64(18, 2), "int64_fen": pa.int64()}
MONEY_TYPES = tuple(_ARROW_TYPES)
_PLAIN = r"^[+-]?[0-9]{1,15}(\.[0-9]{1,2})?$"


def to_fen(column: pa.ChunkedArray, name: str, limit_fen: int = ROW_MAX_FEN) -> NDArray[np.int64]:
    """Return a money column as read-only int64 fen: NULL_FEN for null, NOT_FEN for what is no whole fen.

    Decimals with scale <= 2, floats within 1e-4 fen, text in yuan, integers in a column `<name>_fen`; LedgerError
    for anything else. What lies beyond `limit_fen` may come back as any amount beyond it. `decimal64(18, 2)` and integers without nulls are viewed, not copied.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_integer(kind):
        if not name.endswith("_fen"):
            raise LedgerError(
                f"{name}: expected decimal yuan, or integers in a column named {name}_fen, got {kind} without a unit"
            )
        return _from_integers(column, limit_fen)
    if name.endswith("_fen") and not pa.types.is_null(kind):
        raise LedgerError(f"{name}: expected integers of fen, got {kind}")
    if pa.types.is_null(kind):
        return _frozen(np.full(len(column), NULL_FEN, dtype=np.int64))
    if pa.types.is_decimal(kind):
        if not 0 <= kind.scale <= 2:
            raise LedgerError(f"{name}: expected yuan with at most 2 decimals, got {kind}")
        return _from_decimal(column, kind, limit_fen)
    if pa.types.is_floating(kind):
        return _from_float(column.cast(pa.float64()), limit_fen)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_text(column.cast(pa.large_string()), limit_fen)
    raise LedgerError(f"{name}: expected money (decimal, text, float or {name}_fen), got {kind}")


def _frozen(array: NDArray[np.int64]) -> NDArray[np.int64]:
    array.flags.writeable = False
    return array


def _from_integers(column: pa.ChunkedArray, limit_fen: int) -> NDArray[np.int64]:
    given = words(pc.fill_null(column, 0) if column.null_count else column)
    if pa.types.is_uint64(column.type):
        given = np.minimum(given, np.uint64(limit_fen + 1))
    amounts: NDArray[np.int64] = given.astype(np.int64, copy=False)
    if column.null_count or (len(amounts) and amounts.min() <= NOT_FEN):  # what stands for null must not be an amount
        amounts = np.maximum(amounts, -limit_fen - 1)
        amounts[pc.is_null(column).to_numpy()] = NULL_FEN
    return _frozen(amounts)


def _scaled(amounts: NDArray[np.int64], factor: int, limit_fen: int) -> NDArray[np.int64]:
    bounded = np.clip(amounts, -limit_fen - 1, limit_fen + 1)
    return bounded * factor


def _from_decimal(column: pa.ChunkedArray, kind: pa.DataType, limit_fen: int) -> NDArray[np.int64]:
    factor = 10 ** (2 - kind.scale)
    if kind.bit_width > 128:
        column = column.cast(pa.decimal128(38, kind.scale))
    chunks = []
    for chunk in column.chunks:
        if not len(chunk):
            continue
        width = chunk.type.bit_width // 8
        data = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)[
            chunk.offset * width : (chunk.offset + len(chunk)) * width
        ]
        if width == 16:
            low_high = data.view(np.int64).reshape(-1, 2)
            if chunk.type.precision <= 18 and factor == 1 and not chunk.null_count:
                chunks.append(low_high[:, 0])  # as it lies: every second word
                continue
            amounts = np.ascontiguousarray(low_high[:, 0])
            if chunk.type.precision > 18:
                beyond = low_high[:, 1] != amounts >> 63  # does not fit 64 bits
                if beyond.any():
                    amounts[beyond] = np.where(low_high[beyond, 1] < 0, -limit_fen - 1, limit_fen + 1)
        else:
            amounts = data.view(np.int64 if width == 8 else np.int32).astype(np.int64, copy=False)
        if factor != 1:
            amounts = _scaled(amounts, factor, limit_fen)
        if chunk.null_count:
            amounts = np.where(chunk.is_null().to_numpy(zero_copy_only=False), NULL_FEN, amounts)
        chunks.append(amounts)
    joined = chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, dtype=np.int64), *chunks])
    return _frozen(joined)


def _from_float(column: pa.ChunkedArray, limit_fen: int) -> NDArray[np.int64]:
    null = pc.is_null(column).to_numpy()
    yuan = words(pc.fill_null(column, 0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        fen = yuan * 100.0
        whole = np.rint(fen)
        exact = np.isfinite(fen) & (np.abs(fen - whole) <= FLOAT_TOLERANCE)
        bounded = np.clip(np.where(exact, whole, 0.0), -limit_fen - 1, limit_fen + 1)
    amounts = np.where(exact, bounded.astype(np.int64), NOT_FEN)
    return _frozen(np.where(null, NULL_FEN, amounts))


def _from_text(column: pa.ChunkedArray, limit_fen: int) -> NDArray[np.int64]:
    column = pc.utf8_trim_whitespace(column)
    null = pc.fill_null(pc.equal(pc.binary_length(column), 0), True).to_numpy()
    plain = pc.fill_null(pc.match_substring_regex(column, _PLAIN), False)
    amounts = np.full(len(column), NULL_FEN, dtype=np.int64)
    rows = np.flatnonzero(plain.to_numpy())
    decimals = pc.replace_substring_regex(column.filter(plain), r"^\+", "").cast(pa.decimal128(20, 2))
    amounts[rows] = np.clip(_from_decimal(decimals, decimals.type, limit_fen), -limit_fen - 1, limit_fen + 1)
    odd = np.flatnonzero(~plain.to_numpy() & ~null)
    if len(odd):
        amounts[odd] = [_odd_text(text, limit_fen) for text in column.take(pa.array(odd)).to_pylist()]
    return _frozen(amounts)


def _odd_text(text: str, limit_fen: int) -> int:
    """Return fen for text such as 46.620000000000005 or 1.5e3, by the rule for floats; NOT_FEN for what is no number."""
    if "_" in text:  # Python's digits, nobody else's
        return NOT_FEN
    try:
        yuan_given = Decimal(text)
        if not yuan_given.is_finite():
            return NOT_FEN
        if yuan_given.adjusted() > 20:
            return limit_fen + 1 if yuan_given > 0 else -limit_fen - 1
        fen = _EXACT.multiply(yuan_given, 100)
        whole = fen.to_integral_value(context=_EXACT)
        off = _EXACT.subtract(fen, whole).copy_abs()
    except ArithmeticError:
        return NOT_FEN
    if whole.copy_abs() > limit_fen:
        return limit_fen + 1 if whole > 0 else -limit_fen - 1
    return int(whole) if off <= _OFF else NOT_FEN


def from_fen(
    amounts_fen: NDArray[np.int64], money: str = "decimal128", null: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return fen as an Arrow array of yuan with two decimals (or as int64 fen), null where `null` says so."""
    amounts = np.ascontiguousarray(amounts_fen, dtype=np.int64)
    if money != "decimal128":
        return _money_array(amounts, len(amounts), money, null)
    pairs = memory.words(2 * len(amounts)).reshape(-1, 2)
    pairs[:, 0] = amounts
    np.right_shift(amounts, 63, out=pairs[:, 1])
    return _money_array(pairs, len(amounts), money, null)


def no_money(rows: int, money: str = "decimal128", null: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return so many zeros as `from_fen` would: of memory that nobody has written to, which the system has only one page of."""
    return _money_array(np.zeros(2 * rows if money == "decimal128" else rows, dtype=np.int64), rows, money, null)


def _money_array(words: NDArray[np.int64], rows: int, money: str, null: NDArray[np.bool_] | None) -> pa.Array:
    validity, nulls = None, 0
    if null is not None and null.any():
        validity = pa.py_buffer(np.packbits(~null, bitorder="little"))
        nulls = int(null.sum())
    return pa.Array.from_buffers(_ARROW_TYPES[money], rows, [validity, pa.py_buffer(words)], nulls)


def narrow_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which decimals of at most 18 digits take 8 bytes; other types as they are."""
    return pa.decimal64(kind.precision, kind.scale) if pa.types.is_decimal128(kind) and kind.precision <= 18 else kind


def narrow(array: pa.Array) -> pa.Array:
    """Return an array in its `narrow_type`, its cells checked before (`validate(full=True)`); their validity is not copied."""
    kind = narrow_type(array.type)
    if kind == array.type:
        return array
    if not len(array):
        return pa.array([], kind)
    validity, pairs = array.buffers()
    before = array.offset % 8  # a bitmap begins at a byte
    first = array.offset - before
    low = memory.words(before + len(array))
    low[:] = np.frombuffer(pairs, dtype=np.int64)[2 * first : 2 * (array.offset + len(array)) : 2]
    if validity is not None:
        validity = validity.slice(first // 8)
    return pa.Array.from_buffers(kind, len(array), [validity, pa.py_buffer(low)], array.null_count, before)


def money_name(name: str, money: str) -> str:
    """Return what a column of results is called in this type of money: integers carry their unit."""
    return f"{name}_fen" if money == "int64_fen" else name


def check_money(money: str) -> None:
    """Raise LedgerError where `money` names no output type."""
    if money not in MONEY_TYPES:
        raise LedgerError(f"money: expected one of {', '.join(MONEY_TYPES)}, got {money!r}")


def yuan(amount_fen: Any) -> Decimal:
    """Return fen as Decimal yuan with two decimals."""
    return _to_yuan(Decimal(int(amount_fen)), -2) if amount_fen else _NOTHING  # most layers pay most people nothing
