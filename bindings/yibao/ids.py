"""Ids: text or integers, never floats; normalised, encoded exactly, masked where people read them."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao_core.errors import LedgerError

_FULL_WIDTH = str.maketrans("０１２３４５６７８９Ｘｘ", "0123456789Xx")
_BLANKS = re.compile(r"[\s\u00a0\u200b\ufeff\u3000]+")
_NATIONAL = re.compile(r"[0-9]{17}x")
_NUMBER = re.compile(r"[0-9]+[Xx]?")
_SUSPECT = r"[\s\x{a0}\x{200b}\x{feff}\x{3000}０-９ｘＸ]|^[0-9]{17}x$"


def normal_id(text: str) -> str:
    """Return an id as it is compared: no blanks around it (none at all in a number), ASCII digits, an upper-case X."""
    text = text.translate(_FULL_WIDTH).strip(" \t\r\n\u00a0\u200b\ufeff\u3000")
    closed = _BLANKS.sub("", text)
    if _NUMBER.fullmatch(closed):
        text = closed
    return text[:-1] + "X" if _NATIONAL.fullmatch(text) else text


def read_ids(column: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, int]:
    """Return an id column as int64 or large_string, and how many ids were normalised. Blank ids become null.

    LedgerError for floats: an 18-digit id that went through a spreadsheet has lost its last digits.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_integer(kind):
        try:
            return column.cast(pa.int64()), 0
        except pa.ArrowInvalid:
            raise LedgerError(f"{name}: expected ids below 2**63, got larger integers: pass them as text") from None
    if pa.types.is_null(kind):
        return column.cast(pa.int64()), 0
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        raise LedgerError(
            f"{name}: expected text or integers, got {kind}: ids that went through a spreadsheet as numbers "
            "have lost digits; export them as text"
        )
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise LedgerError(f"{name}: expected text or integers, got {kind}")
    column = column.cast(pa.large_string())
    changed = 0
    chunks = []
    for chunk in column.chunks:
        if len(chunk) and _is_suspect(chunk):
            chunk, fixed = _normalised(chunk)
            changed += fixed
        chunks.append(chunk)
    return pa.chunked_array(chunks, pa.large_string()), changed


def _is_suspect(chunk: pa.Array) -> bool:
    offsets, data = text_buffers(chunk)
    if (np.diff(offsets) == 0).any():
        return True
    return bool(((data <= 32) | (data >= 128) | (data == ord("x"))).any())


def _normalised(chunk: pa.Array) -> tuple[pa.Array, int]:
    suspect = pc.or_(pc.match_substring_regex(chunk, _SUSPECT), pc.equal(pc.binary_length(chunk), 0))
    rows = np.flatnonzero(pc.fill_null(suspect, False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return chunk, 0
    values = chunk.take(pa.array(rows)).to_pylist()
    normal = [normal_id(value) for value in values]
    mask = np.zeros(len(chunk), dtype=bool)
    mask[rows] = True
    fixed = pc.replace_with_mask(
        chunk, pa.array(mask), pa.array([value or None for value in normal], pa.large_string())
    )
    return fixed, sum(before != after for before, after in zip(values, normal, strict=True) if after)


def text_buffers(chunk: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the offsets and the bytes of a large_string array, without a copy; offsets count from the buffer's start."""
    _, offsets_buffer, data_buffer = chunk.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, dtype=np.uint8)
    return offsets, data[: offsets[-1]] if len(offsets) else data


def same_kind(columns: list[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    """Return id columns of one kind: all integers, or all text where one of them is text."""
    if all(pa.types.is_int64(column.type) for column in columns):
        return columns
    return [column.cast(pa.large_string()) for column in columns]


def as_integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text ids as the integers that a ledger with integer ids means by them.

    LedgerError where one is no plain integer: it could name none of the ledger's settlements.
    """
    if pa.types.is_int64(column.type):
        return column
    plain = pc.fill_null(pc.match_substring_regex(column, r"^(0|-?[1-9][0-9]{0,17})$"), True)
    odd = len(column) - pc.sum(plain).as_py() if len(column) else 0
    if odd:
        raise LedgerError(
            f"reverses, history: expected integer ids as in the ledger's settlement_id, got {odd} other texts"
        )
    return column.cast(pa.int64())


def encode(columns: list[pa.ChunkedArray]) -> NDArray[np.int64]:
    """Return one int64 for each id of several columns, end to end: the integer itself, else a code by exact equality.

    Null ids have the word 0; the caller knows which they are.
    """
    joined = pa.chunked_array(
        [chunk for column in same_kind(columns) for chunk in column.chunks], same_kind(columns)[0].type
    )
    if not pa.types.is_int64(joined.type):
        joined = pc.dictionary_encode(joined).combine_chunks()
        if isinstance(joined, pa.ChunkedArray):
            joined = (
                joined.chunk(0) if joined.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.large_string()))
            )
        joined = pa.chunked_array([joined.indices.cast(pa.int64())])
    if joined.null_count:
        joined = pc.fill_null(joined, 0)
    return words(joined)


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def words(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    """Return a column without nulls as one contiguous read-only array; no copy where it is one chunk."""
    array: NDArray[Any] = one_chunk(column).to_numpy(zero_copy_only=False)
    if array.flags.writeable:
        array.flags.writeable = False
    return array


def taken(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> pa.Array:
    """Return a column's cells at some rows as one array."""
    return one_chunk(column.take(pa.array(rows)))


def mask_id(value: Any) -> str:
    """Return an id as it may stand in a report: its last four characters, of a short one the last."""
    text = "" if value is None else str(value).strip()
    shown = 4 if len(text) >= 8 else 1
    return "*" * (len(text) - shown) + text[len(text) - shown :] if len(text) > shown else "*" * len(text)
