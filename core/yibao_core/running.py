"""What one layer pays on people's running totals: rows that come person by person, in the order of time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, routine
from yibao_core.instructions import LINE_WORDS, prefetch, streamed
from yibao_core.money import ROW_MAX_FEN
from yibao_core.schedule import BLOCK_ROWS, entitle_block, stream_block

# A block: the running totals, what they entitle to, which rows go on with the person of the row before, the payments.
LINE_TOTAL, LINE_ENTITLED, LINE_GOES_ON, LINE_PAID, BLOCK_LINES = range(5)
GUARD = LINE_WORDS  # the cell before the first row of a line holds the row before
BLOCK_WIDTH = GUARD + BLOCK_ROWS

# How far a walk came.
WALK_DONE, WALK_UNSORTED, WALK_BASE, WALK_TOTAL = range(4)


class Rows(NamedTuple):
    """The rows: one int64 column each; `time` has no cell where rows are in their order already."""

    person: NDArray[np.int64]
    time: NDArray[np.int64]
    base_fen: NDArray[np.int64]


@routine
def are_beyond(amounts: Words, limit_fen: int) -> bool:
    """Return whether an amount lies outside -limit..limit."""
    least, most = 0, 0
    for index in range(amounts.size):
        least, most = min(least, amounts[index]), max(most, amounts[index])
    return least < -limit_fen or most > limit_fen


@routine
def find_people(before: Words, person: Words, goes_on: Words) -> bool:
    """Note with -1 the rows that have the person of the row before; True where one has a smaller person."""
    smaller = 0
    for index in range(person.size):
        goes_on[index] = -1 if person[index] == before[index] else 0
        smaller |= 1 if person[index] < before[index] else 0
    return smaller != 0


@routine
def are_late(before: Words, time: Words, goes_on: Words) -> bool:
    """Return whether a row is earlier than the row before of its person."""
    late = 0
    for index in range(time.size):
        late |= goes_on[index] if time[index] < before[index] else 0
    return late != 0


@routine
def add_up(bases: Words, goes_on: Words, total: int, totals: Words) -> None:
    """Write the running totals of people; `total` is that of the row before the first."""
    for index in range(bases.size):
        total = bases[index] + (total & goes_on[index])
        totals[index] = total


@routine
def take_differences(before: Words, entitled: Words, goes_on: Words, paid: Words) -> None:
    """Write what each row adds to its person's entitlement; nobody has one before his first row."""
    for index in range(goes_on.size):
        paid[index] = entitled[index] - (before[index] & goes_on[index])


@helper
def pay_block(book: Words, rule: int, half_fen_bp: int, bases: Words, block: NDArray[np.int64]) -> bool:
    """Pay the rows of a block whose LINE_GOES_ON is written; True where a total is out of range.

    The cells GUARD - 1 of totals and entitlements hold the row before, and get the last row.
    """
    end = GUARD + bases.size
    totals, entitled, goes_on = block[LINE_TOTAL], block[LINE_ENTITLED], block[LINE_GOES_ON, GUARD:end]
    add_up(bases, goes_on, totals[GUARD - 1], totals[GUARD:])
    beyond = entitle_block(book, rule, half_fen_bp, totals[GUARD:end], entitled[GUARD:])
    take_differences(entitled[GUARD - 1 :], entitled[GUARD:], goes_on, block[LINE_PAID, GUARD:])
    totals[GUARD - 1], entitled[GUARD - 1] = totals[end - 1], entitled[end - 1]
    return beyond


@kernel
def pay_sorted(
    book: Words, rule: int, half_fen_bp: int, rows: Rows, lo: int, hi: int, paid: Words, block: NDArray[np.int64]
) -> int:
    """Pay rows lo..hi as they come, the first of them a person's first; return how the walk ended (WALK_).

    Anything but WALK_DONE leaves `paid` unfinished. `block`: room to work in, BLOCK_LINES x BLOCK_WIDTH, zero.
    `paid[0]` begins a line of the cache.
    """
    goes_on, timed = block[LINE_GOES_ON], rows.time.size > 0
    begin = lo
    while begin < hi:
        end = min(begin + BLOCK_ROWS, hi)
        if begin % LINE_WORDS:  # up to the next line of what is written
            end = min((begin + LINE_WORDS) & -LINE_WORDS, hi)
        for ahead in range(end, min(end + BLOCK_ROWS, hi), LINE_WORDS):
            prefetch(rows.person, far_place(ahead))
            prefetch(rows.base_fen, far_place(ahead))
            if timed:
                prefetch(rows.time, far_place(ahead))
        skipped = 0
        if begin == lo:  # has no row before that counts
            goes_on[GUARD], skipped = 0, 1
        person = rows.person[begin + skipped : end]
        if find_people(rows.person[begin + skipped - 1 :], person, goes_on[GUARD + skipped :]):
            return WALK_UNSORTED
        if timed:
            time = rows.time[begin + skipped : end]
            if are_late(rows.time[begin + skipped - 1 :], time, goes_on[GUARD + skipped :]):
                return WALK_UNSORTED
        if are_beyond(rows.base_fen[begin:end], ROW_MAX_FEN):
            return WALK_BASE
        if pay_block(book, rule, half_fen_bp, rows.base_fen[begin:end], block):
            return WALK_TOTAL
        stream_block(block[LINE_PAID, GUARD:], end - begin, paid[begin:end])
        begin = end
    streamed()
    return WALK_DONE
