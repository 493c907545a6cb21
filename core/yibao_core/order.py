"""A person's rows in their order, and which of them are the same settlement.

The order is (settled_at, settlement id): integer ids as integers, text ids by their UTF-8 bytes. A
text id stands in its record as a hash; equality of hashes is always confirmed on the bytes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, kernel
from yibao_core.records import HEAD, ID, OPENING, ROW, SHIFT_KIND, TIME, UNREADABLE_TIME

SORT_BY_TIME, SORT_BY_ID = range(2)
INSERTION_MAX = 24  # longer runs are merged: one person of a province has over a thousand rows


class Texts(NamedTuple):
    """UTF-8 bytes of settlement ids and of the ids they reverse, with offsets by row; all empty for integer ids."""

    id_bytes: NDArray[np.uint8]
    id_offsets: NDArray[np.int64]
    reverses_bytes: NDArray[np.uint8]
    reverses_offsets: NDArray[np.int64]


def no_texts() -> Texts:
    """Return what stands for the texts of integer ids."""
    no_bytes = np.empty(0, dtype=np.uint8)
    no_offsets = np.empty(0, dtype=np.int64)
    for array in (no_bytes, no_offsets):
        array.flags.writeable = False
    return Texts(no_bytes, no_offsets, no_bytes, no_offsets)


@kernel
def compare_bytes(first: Words, at: int, size: int, second: Words, other_at: int, other_size: int) -> int:
    """Return -1, 0 or 1: the bytes of one text against another's."""
    for index in range(min(size, other_size)):
        one, two = first[at + index], second[other_at + index]
        if one != two:  # bytes are unsigned: their difference would wrap
            return -1 if one < two else 1
    return 0 if size == other_size else (-1 if size < other_size else 1)


@kernel
def hash_bytes(text: Words, at: int, size: int) -> int:
    """Return a 47-bit hash of some bytes; equal texts have equal hashes, no more. No product wraps."""
    value = size
    for index in range(size):
        value = (value * 131 + int(text[at + index])) & ((1 << 47) - 1)
    return value


@kernel
def hash_texts(text: Words, offsets: Words, hashes: Words) -> None:
    """Write the hash of each text of a column."""
    for row in range(offsets.size - 1):
        hashes[row] = hash_bytes(text, offsets[row], offsets[row + 1] - offsets[row])


@kernel
def compare_ids(work: Words, record: int, other: int, texts: Texts) -> int:
    """Return -1, 0 or 1: one record's settlement id against another's."""
    if texts.id_offsets.size == 0:
        first, second = work[record + ID], work[other + ID]
        return -1 if first < second else (1 if first > second else 0)
    row, other_row = work[record + ROW], work[other + ROW]
    at, other_at = texts.id_offsets[row], texts.id_offsets[other_row]
    return compare_bytes(
        texts.id_bytes, at, texts.id_offsets[row + 1] - at,
        texts.id_bytes, other_at, texts.id_offsets[other_row + 1] - other_at,
    )  # fmt: skip


@kernel
def names_original(work: Words, reversal: int, reverses: int, original: int, texts: Texts) -> bool:
    """Return whether a reversal (its `reverses` word at `reverses`) names the record `original`."""
    if work[reverses] != work[original + ID]:
        return False
    if texts.id_offsets.size == 0:
        return True
    row, other_row = work[reversal + ROW], work[original + ROW]
    at, other_at = texts.reverses_offsets[row], texts.id_offsets[other_row]
    return (
        compare_bytes(
            texts.reverses_bytes, at, texts.reverses_offsets[row + 1] - at,
            texts.id_bytes, other_at, texts.id_offsets[other_row + 1] - other_at,
        )
        == 0
    )  # fmt: skip


@kernel
def comes_before(work: Words, record: int, other: int, texts: Texts, key: int) -> bool:
    """Return whether a record stands before another: by (time, id), or by id word alone to bring equal ids together."""
    if key == SORT_BY_ID:
        return work[record + ID] < work[other + ID]
    time, other_time = work[record + TIME], work[other + TIME]
    if time != other_time:
        return time < other_time
    if time == UNREADABLE_TIME:
        opening = work[record + HEAD] >> SHIFT_KIND & 15 == OPENING
        other_opening = work[other + HEAD] >> SHIFT_KIND & 15 == OPENING
        if opening or other_opening:  # opening balances come before everything
            return opening and not other_opening
    return compare_ids(work, record, other, texts) < 0


@kernel
def sort_records(work: Words, order: Words, first: int, end: int, spare: Words, texts: Texts, key: int) -> None:
    """Sort order[first:end] (offsets of records) in place, stably; `spare` is as long as `order`."""
    for start in range(first, end, INSERTION_MAX):
        for index in range(start + 1, min(start + INSERTION_MAX, end)):
            record = order[index]
            place = index
            while place > start and comes_before(work, record, order[place - 1], texts, key):
                order[place] = order[place - 1]
                place -= 1
            order[place] = record
    run = INSERTION_MAX
    while run < end - first:
        for start in range(first, end, 2 * run):
            middle, stop = min(start + run, end), min(start + 2 * run, end)
            left, right = start, middle
            for index in range(start, stop):
                if right < stop and (left >= middle or comes_before(work, order[right], order[left], texts, key)):
                    spare[index] = order[right]
                    right += 1
                else:
                    spare[index] = order[left]
                    left += 1
        for index in range(first, end):
            order[index] = spare[index]
        run *= 2
