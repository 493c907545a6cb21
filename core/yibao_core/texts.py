"""Which texts of a column are the same: a hash finds the candidate, the bytes decide.

A column is its UTF-8 bytes and offsets, one text a row. Rows go to parts by the hash of their text, each part finds the
first row of each hash, and every row is then compared with that first row byte by byte, in the order of the rows.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place
from yibao_core.instructions import eight_bytes, low_product, prefetch
from yibao_core.room import Memory
from yibao_core.threads import Run, Workers

HASH_BITS = 31
SIZE_MAX = 64
"""The bytes of the longest text whose rows are told apart here."""

AHEAD = 8
PART_ROWS = 8_000  # records and table of a part fit the second cache
PART_BITS_MAX = 12
ROWS_PER_THREAD = 20_000

# The head of a record, from the lowest bit: row, size, what fits of the hash. Heads that differ above the row are of
# different texts.
HEAD_ROW = (1 << 32) - 1
NO_ROW = HEAD_ROW
HEAD_SIZE_SHIFT, HEAD_SIZE = 32, 127
HEAD_HASH_SHIFT, HEAD_HASH = 39, (1 << 24) - 1

_FACTOR, _OTHER_FACTOR = 0x1E35_A7BD_3C6E_F363, 0x27D4_EB2F_1656_67C5
_LANES = 0x0001_0001_0001_0001  # four bytes of a word, each with room above it


@helper
def mixed(value: int, word: int) -> int:
    """Return a hash of 63 bits with one more word in it; the word's upper half also goes to the lower one, or its sign is lost."""
    value = low_product(value ^ word ^ (word >> 32), _FACTOR)
    return value ^ (value >> 32)


@helper
def short_word(text: Words, at: int, size: int) -> int:
    """Return fewer than eight bytes as one word."""
    word = 0
    for index in range(size):
        word |= int(text[far_place(at + index)]) << (8 * index)
    return word


@helper
def hash_text(text: Words, at: int, size: int) -> int:
    """Return a hash of some bytes, HASH_BITS long; equal texts have equal hashes, no more."""
    value = int(size)
    if size < 8:
        value = mixed(value, short_word(text, at, size))
    else:
        last = at + size - 8
        while at < last:
            value = mixed(value, eight_bytes(text, far_place(at)))
            at += 8
        value = mixed(value, eight_bytes(text, far_place(last)))
    return low_product(value, _OTHER_FACTOR) >> (63 - HASH_BITS)


@helper
def odd_lanes(lanes: int) -> int:
    """Return a word that is not 0 where one of four bytes is below 33, above 127 or an x. No lane touches the next one."""
    low = ~(lanes + (256 - 33) * _LANES) & (256 * _LANES)
    letter = (256 * _LANES - (lanes ^ (ord("x") * _LANES))) & (256 * _LANES)
    return low | (lanes & (128 * _LANES)) | letter


@helper
def odd_bytes(text: Words, first: int, end: int) -> int:
    """Return a word that is not 0 where one of the bytes first..end is odd."""
    odd = 0
    words = (end - first) >> 3
    for index in range(words):
        word = eight_bytes(text, far_place(first + 8 * index))
        odd |= odd_lanes(word & (255 * _LANES)) | odd_lanes((word >> 8) & (255 * _LANES))
    for at in range(first + 8 * words, end):
        odd |= odd_lanes(int(text[far_place(at)]) | (ord("0") * (_LANES - 1)))
    return odd


@kernel
def has_oddities(text: Words, offsets: Words) -> bool:
    """Return whether some text is empty or has a blank, a control character, an x, or a byte beyond ASCII."""
    empty = 0
    for row in range(offsets.size - 1):
        empty |= 1 if offsets[row] == offsets[row + 1] else 0
    return empty != 0 or odd_bytes(text, offsets[0], offsets[offsets.size - 1]) != 0


@kernel
def mark_oddities(text: Words, offsets: Words, marks: Words) -> None:
    """Mark each text for which `has_oddities` would be true."""
    for row in range(offsets.size - 1):
        at, end = offsets[row], offsets[row + 1]
        marks[row] = 1 if at == end or odd_bytes(text, at, end) != 0 else 0


@kernel
def hash_texts(text: Words, offsets: Words, lo: int, hi: int, hashes: Words) -> int:
    """Write HASH_BITS of the hash of each text lo..hi; return the size of the longest."""
    longest = 0
    for row in range(lo, hi):
        at = offsets[row]
        size = offsets[row + 1] - at
        longest = max(longest, size)
        hashes[row] = hash_text(text, at, size)
    return longest


@kernel
def count_parts(hashes: Words, lo: int, hi: int, bits: int, counts: Words) -> None:
    """Count the rows lo..hi of each of 2**bits parts."""
    for row in range(lo, hi):
        counts[place(hashes[row] >> (HASH_BITS - bits))] += 1


@kernel
def scatter_texts(
    text: Words, offsets: Words, hashes: Words, lo: int, hi: int, bits: int, width: int, cursors: Words, records: Words
) -> None:
    """Write a record of each row lo..hi at the cursor of its part: hash, size and row in a word, then the text itself.

    Texts of eight bytes or more end with their last eight bytes, even where these are partly in the word before.
    """
    for row in range(lo, hi):
        hashed = hashes[row]
        part = place(hashed >> (HASH_BITS - bits))
        number = cursors[part]
        cursors[part] = number + 1
        record = far_place(number * width)
        for line in range(0, width, 8):
            prefetch(records, record + AHEAD * width + line)
        at = offsets[row]
        size = offsets[row + 1] - at
        records[record] = (hashed & HEAD_HASH) << HEAD_HASH_SHIFT | size << HEAD_SIZE_SHIFT | row
        record += 1
        if size < 8:
            records[record] = short_word(text, at, size)
        else:
            last = at + size - 8
            while at < last:
                records[record] = eight_bytes(text, far_place(at))
                record += 1
                at += 8
            records[record] = eight_bytes(text, far_place(last))


@kernel
def find_firsts(records: Words, width: int, start: Words, lo: int, hi: int, table: Words, firsts: Words) -> None:
    """Write for each record of the parts lo..hi the first row with its text.

    The records of a part come in the order of their rows. `table` is room for a power of two of slots, at least twice the
    records of any of the parts.
    """
    for part in range(lo, hi):
        begin, count = start[part], start[part + 1] - start[part]
        slots = 2
        while slots < 2 * count:
            slots *= 2
        for slot in range(slots):
            table[slot] = -1
        for index in range(count):
            record = far_place((begin + index) * width)
            head = records[record]
            words = place(((head >> HEAD_SIZE_SHIFT & HEAD_SIZE) + 7) >> 3)
            slot = place((head >> HEAD_HASH_SHIFT) & (slots - 1))
            found = False
            while table[slot] >= 0 and not found:
                other = far_place((begin + table[slot]) * width)
                different = (records[other] ^ head) >> HEAD_SIZE_SHIFT
                if different == 0:
                    for word in range(1, words + 1):
                        different |= records[other + word] ^ records[record + word]
                found = different == 0
                if not found:
                    slot = place((slot + 1) & (slots - 1))
            if not found:
                table[slot] = index
            firsts[far_place(begin + index)] = records[far_place((begin + table[slot]) * width)] & HEAD_ROW


@kernel
def take_firsts(hashes: Words, lo: int, hi: int, bits: int, cursors: Words, firsts: Words) -> None:
    """Write what was found for each row lo..hi, from its part's next place, in place of its hash."""
    for row in range(lo, hi):
        part = place(hashes[row] >> (HASH_BITS - bits))
        at = far_place(cursors[part])
        cursors[part] = at + 1
        hashes[row] = firsts[at]
        prefetch(firsts, at + 2 * AHEAD)


@kernel
def first_of_codes(codes: Words, lo: int, hi: int, firsts: Words) -> None:
    """Write for each code the first of rows lo..hi that has it, where nothing is written yet (NO_ROW)."""
    for row in range(lo, hi):
        code = place(int(codes[row]))
        if firsts[code] == NO_ROW:
            firsts[code] = row


@kernel
def take_of_codes(codes: Words, lo: int, hi: int, firsts: Words, words: Words) -> None:
    """Write what stands for the code of each row lo..hi."""
    for row in range(lo, hi):
        words[row] = firsts[place(int(codes[row]))]


def parts_of(rows: int, threads: int) -> list[tuple[int, int]]:
    """Return ranges of rows for threads to share out: one each, fewer where they are short."""
    count = max(1, min(threads, rows // ROWS_PER_THREAD))
    return list(pairwise(rows * part // count for part in range(count + 1)))


def first_rows(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], threads: int, memory: Memory
) -> NDArray[np.int64] | None:
    """Return for each row the first row with its text; None where a text has more than SIZE_MAX bytes.

    `text` and `offsets` are read-only, with fewer than 2**32 rows. The result is the same for every number of threads.
    """
    rows = len(offsets) - 1
    ranges = parts_of(rows, threads)
    each = range(len(ranges))
    bits = min(PART_BITS_MAX, (rows // PART_ROWS).bit_length())
    hashes = memory(rows)
    counts = np.zeros((len(ranges), 1 << bits), dtype=np.int64)

    def hash_and_count(part: int) -> int:
        longest = hash_texts(text, offsets, *ranges[part], hashes)
        count_parts(hashes, *ranges[part], bits, counts[part])
        return longest

    with Workers(len(ranges)) as run:
        longest = max(run(hash_and_count, each))
        if longest > SIZE_MAX:
            return None
        start = np.concatenate(([0], np.cumsum(counts.sum(axis=0))))
        first = start[:-1] + np.cumsum(counts, axis=0) - counts  # of each range of rows in each part
        width = 1 + max(1, (longest + 7) // 8)
        records = memory(rows * width)

        def scatter(part: int) -> None:
            cursors = first[part].copy()
            scatter_texts(text, offsets, hashes, *ranges[part], bits, width, cursors, records)

        run(scatter, each)
        firsts = memory((rows + 1) // 2).view(np.uint32)[:rows]
        _find(records, width, start, len(ranges), run, firsts)
        run(lambda part: take_firsts(hashes, *ranges[part], bits, first[part].copy(), firsts), each)
    return hashes


def _find(
    records: NDArray[np.int64], width: int, start: NDArray[np.int64], threads: int, run: Run, firsts: NDArray[np.uint32]
) -> None:
    """Find the first rows of all parts, threads taking pieces of several."""
    parts = len(start) - 1
    pieces = min(parts, 8 * threads)
    edges = [parts * piece // pieces for piece in range(pieces + 1)]
    slots = 2 << int(np.diff(start).max()).bit_length()
    tables = [np.empty(slots, dtype=np.int32) for _ in range(threads)]

    def find(piece: int) -> None:
        table = tables.pop()
        find_firsts(records, width, start, edges[piece], edges[piece + 1], table, firsts)
        tables.append(table)

    run(find, range(pieces))


def odd_rows(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows whose text is empty or has a blank, a control character, an x, or a byte beyond ASCII: mostly none."""
    if not has_oddities(text, offsets):
        return np.empty(0, dtype=np.int64)
    marks = np.empty(len(offsets) - 1, dtype=np.uint8)
    mark_oddities(text, offsets, marks)
    return np.flatnonzero(marks)


def hashes_of(text: NDArray[np.uint8], offsets: NDArray[np.int64], threads: int, memory: Memory) -> NDArray[np.int64]:
    """Return a hash of each text, HASH_BITS long: short, because it stands in every record. All input is read-only."""
    ranges = parts_of(len(offsets) - 1, threads)
    hashes = memory(len(offsets) - 1)
    with Workers(len(ranges)) as run:
        run(lambda part: hash_texts(text, offsets, *ranges[part], hashes), range(len(ranges)))
    return hashes


def first_rows_of_codes(
    codes: NDArray[np.int32], same: NDArray[np.int64], threads: int, memory: Memory
) -> NDArray[np.int64]:
    """Return for each row the first row whose code has the same text; `same` tells for each code the first with its text.

    `codes` is read-only, with fewer than 2**32 rows.
    """
    ranges = parts_of(len(codes), threads)
    firsts = np.full((len(ranges), len(same)), NO_ROW, dtype=np.uint32)
    words = memory(len(codes))
    with Workers(len(ranges)) as run:
        run(lambda part: first_of_codes(codes, *ranges[part], firsts[part]), range(len(ranges)))
        first = firsts.min(axis=0)
        repeated = np.flatnonzero(same != np.arange(len(same)))  # seldom any: a dictionary has each text once
        np.minimum.at(first, same[repeated], first[repeated])
        first[repeated] = first[same[repeated]]
        run(lambda part: take_of_codes(codes, *ranges[part], first, words), range(len(ranges)))
    return words
