"""Ids: text or integers, never floats; normalised, encoded exactly, masked where people read them."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao import memory
from yibao_core.errors import LedgerError
from yibao_core.texts import first_rows, first_rows_of_codes, odd_rows

_FULL_WIDTH = str.maketrans("０１２３４５６７８９Ｘｘ", "0123456789Xx")
BLANKS = " \t\r\n\u00a0\u200b\ufeff\u3000"
"""What does not count around an id: a text of nothing else is none."""
_BLANKS = re.compile(r"[\s\u00a0\u200b\ufeff\u3000]+")
_NATIONAL = re.compile(r"[0-9]{17}x")
_NUMBER = re.compile(r"[0-9]+[Xx]?")
FEW = 20_000
"""So few texts are told apart by Arrow's own table, for which nothing need be compiled."""
# All blanks that Python knows: `\s` alone means those of ASCII here, and not all of these.
_SUSPECT = (
    r"[\s\x{0b}\x{1c}-\x{1f}\x{85}\x{a0}\x{1680}\x{2000}-\x{200b}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}０-９ｘＸ]"
    r"|^[0-9]{17}x$"
)


def normal_id(text: str) -> str:
    """Return an id as it is compared: no blanks around it (none at all in a number), ASCII digits, an upper-case X."""
    text = text.translate(_FULL_WIDTH).strip(BLANKS)
    closed = _BLANKS.sub("", text)
    if _NUMBER.fullmatch(closed):
        text = closed
    return text[:-1] + "X" if _NATIONAL.fullmatch(text) else text


def read_ids(column: pa.ChunkedArray, name: str, dictionary: bool = False) -> tuple[pa.ChunkedArray, int]:
    """Return an id column as int64 or large_string, and how many ids were normalised. Blank ids become null.

    `dictionary`: texts that lie in dictionaries stay there (dictionary<int32, large_string>, no index of a null text).
    LedgerError for floats: an 18-digit id that went through a spreadsheet has lost its last digits.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        if dictionary and _is_text(kind.value_type):
            return _read_dictionaries(column)
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
    if not _is_text(kind):
        raise LedgerError(f"{name}: expected text or integers, got {kind}")
    chunks, changed = [], 0
    for chunk in column.cast(pa.large_string()).chunks:
        normal, rows = _normalised(chunk)
        chunks.append(normal)
        changed += len(rows)
    return pa.chunked_array(chunks, pa.large_string()), changed


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _read_dictionaries(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    chunks, changed = [], 0
    read: dict[Any, tuple[pa.Array, NDArray[np.int64]]] = {}
    for chunk in column.chunks:
        key = _buffers_of(chunk.dictionary)
        if key not in read:
            read[key] = _normalised(chunk.dictionary.cast(pa.large_string()))
        texts, rows = read[key]
        codes = chunk.indices.cast(pa.int32())
        if len(rows):
            is_changed = np.zeros(len(texts), dtype=bool)
            is_changed[rows] = True
            changed += int(is_changed[codes.drop_null().to_numpy()].sum())
        if texts.null_count:
            codes = pc.if_else(texts.is_valid().take(codes), codes, pa.scalar(None, pa.int32()))
        chunks.append(pa.DictionaryArray.from_arrays(codes, texts))
    return pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.large_string())), changed


def _normalised(chunk: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return a large_string array of normal ids, and the rows that were others and are not blank."""
    rows = odd_rows(*text_buffers(chunk))
    if len(rows):
        candidates = chunk.take(pa.array(rows))
        suspect = pc.or_(pc.match_substring_regex(candidates, _SUSPECT), pc.equal(pc.binary_length(candidates), 0))
        rows = rows[pc.fill_null(suspect, False).to_numpy(zero_copy_only=False)]
    if not len(rows):
        return chunk, rows
    values = chunk.take(pa.array(rows)).to_pylist()
    normal = [normal_id(value) for value in values]
    mask = np.zeros(len(chunk), dtype=bool)
    mask[rows] = True
    fixed = pc.replace_with_mask(
        chunk, pa.array(mask), pa.array([value or None for value in normal], pa.large_string())
    )
    changed = [bool(after) and before != after for before, after in zip(values, normal, strict=True)]
    return fixed, rows[changed]


def text_buffers(chunk: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes and the offsets of a large_string array, read-only, without a copy; offsets count from the buffer's start."""
    _, offsets_buffer, text_buffer = chunk.buffers()
    text, offsets = np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    if len(chunk):
        offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    if text_buffer is not None and text_buffer.size:
        text = np.frombuffer(text_buffer, dtype=np.uint8)
    for array in (text, offsets):
        array.flags.writeable = False
    return text, offsets


def same_kind(columns: list[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    """Return id columns of one kind: all integers, or all text where one of them is text, or all texts in dictionaries."""
    for is_kind in (pa.types.is_int64, pa.types.is_dictionary):
        if all(is_kind(column.type) for column in columns):
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


class Ids:
    """Ids of several columns, end to end, and a word for each of them."""

    def __init__(self, columns: list[pa.ChunkedArray]) -> None:
        columns = same_kind(columns)
        joined = pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
        self._column = _one_dictionary(joined) if pa.types.is_dictionary(joined.type) else joined

    @property
    def are_text(self) -> bool:
        return not pa.types.is_int64(self._column.type)

    def words(self, threads: int = 1) -> NDArray[np.int64]:
        """Return one int64 for each id: the integer itself, of a text the first row that has it.

        Null ids have the word 0; the caller knows which they are.
        """
        column = self._column
        if pa.types.is_int64(column.type):
            return words(pc.fill_null(column, 0) if column.null_count else column)
        if pa.types.is_dictionary(column.type):
            found = _words_of_codes(column.chunk(0), threads)
        else:
            found = words_of_texts(one_chunk(column), threads)
        if column.null_count:
            found[np.flatnonzero(pc.is_null(column).to_numpy())] = 0
        found.flags.writeable = False
        return found

    def take(self, rows: pa.Array) -> pa.ChunkedArray:
        """Return the ids of some rows as int64 or large_string."""
        return _decoded(self._column.take(rows))

    def slice(self, offset: int, length: int) -> pa.ChunkedArray:
        """Return ids side by side as int64 or large_string."""
        return _decoded(self._column.slice(offset, length))


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.large_string()) if pa.types.is_dictionary(column.type) else column


def words_of_texts(array: pa.Array, threads: int = 1) -> NDArray[np.int64]:
    """Return for each text of a large_string array the first row that has it; anything for nulls."""
    if FEW <= len(array) < 2**31:
        if array.null_count and np.diff(text_buffers(array)[1])[array.is_null().to_numpy(zero_copy_only=False)].any():
            array = array.fill_null("")  # null slots may hold anything, even an id that comes later
        own = first_rows(*text_buffers(array), threads, memory.words)
        if own is not None:
            return own
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    rows = np.flatnonzero(codes >= 0)[::-1]
    first = np.zeros(len(encoded.dictionary) + 1, dtype=np.int64)
    first[codes[rows]] = rows  # backwards: the first row comes last, and stays
    found: NDArray[np.int64] = first[codes]
    return found


def _one_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts in dictionaries as one array: the dictionaries end to end, whatever they share."""
    texts: list[pa.Array] = []
    begins: dict[Any, int] = {}
    codes = []
    size = 0
    for chunk in column.chunks:
        key = _buffers_of(chunk.dictionary)
        if key not in begins:
            begins[key] = size
            texts.append(chunk.dictionary)
            size += len(chunk.dictionary)
        codes.append(
            pc.add_checked(chunk.indices, pa.scalar(begins[key], pa.int32())) if begins[key] else chunk.indices
        )
    if len(codes) == 1:
        return column
    joined = pa.concat_arrays(codes) if codes else pa.array([], pa.int32())
    all_texts = pa.concat_arrays(texts) if texts else pa.array([], pa.large_string())
    return pa.chunked_array([pa.DictionaryArray.from_arrays(joined, all_texts)])


def _buffers_of(array: pa.Array) -> Any:
    """Return what two arrays have in common only where they lie at the same place in memory."""
    return array.offset, len(array), tuple(None if part is None else part.address for part in array.buffers())


def _words_of_codes(array: pa.DictionaryArray, threads: int) -> NDArray[np.int64]:
    """Return for each row of an array of texts in a dictionary the first row that has the same text; anything for nulls."""
    same = words_of_texts(array.dictionary, threads)
    codes = array.indices
    if codes.null_count:
        same = np.append(same, len(same))  # one more code, of the nulls
        codes = codes.fill_null(len(same) - 1)
    return first_rows_of_codes(words(codes), same, threads, memory.words)


def episode_array(ids: Sequence[Any]) -> pa.Array:
    """Return ids of episodes, None where there is none, as int64; as text where one of them is: so ledgers compare them."""
    if any(isinstance(each, str) for each in ids):
        return pa.array([None if each is None else str(each) for each in ids], pa.large_string())
    return pa.array(ids, pa.int64())


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if not column.num_chunks:
        return pa.array([], column.type)
    try:
        return pa.concat_arrays(column.chunks)
    except pa.ArrowInvalid:
        if not pa.types.is_dictionary(column.type):
            raise
        # All words of the chunks together are more than indices of this type can tell apart.
        kind = pa.dictionary(pa.int32(), column.type.value_type, column.type.ordered)
        return pa.concat_arrays([chunk.cast(kind) for chunk in column.chunks])


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
