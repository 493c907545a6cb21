"""The people of a shard of short records, told apart: rows by bucket, a chunk of buckets into lines, lines by person."""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, place, routine
from yibao_core.order import Texts, compare_texts
from yibao_core.policy import LAYERS
from yibao_core.short import FULL, OLD, Layout, optional_of, value_of

CHUNK_ROWS = 512  # all lines of a chunk fit the first two caches
RANKED = 8
LAST = 2**63 - 1
COMPARED = 8  # rows of a person whose ids are all compared here
GUARD = 8  # cells before the first of a line and behind the last
SUSPECT = 1  # a mark: perhaps the same id as a row shortly before; beside FULL and OLD

# The lines of a chunk: one cell for each of its rows in the order of buckets, then of people.
(
    LINE_RECORD,  # where the short record begins
    LINE_RESULT,  # where the result goes, counted in the shard
    LINE_TAG,
    LINE_PERSON,
    LINE_ID,
    LINE_TOTAL,
    LINE_ELIGIBLE,
    LINE_BASIC,
    LINE_MARKS,
    LINE_LEAVE,  # the word of the result that holds what basic insurance has paid
    LINE_BOUND,  # what no base exceeds
    LINE_FIRST,  # of each person: the first row
    LINE_BOUNDS,  # the bounds of all rows before it together
    LINE_MARKED,  # rows with a mark before it
    LINE_TODO,  # people to look at one by one
    # Of the person-year that is settled: its rows in their order, and what is kept of each while one layer after the
    # other is paid.
    LINE_ORDER,
    LINE_KEY,
    LINE_SPARE,
    LINE_OWN_TOTAL,
    LINE_OWN_ELIGIBLE,
    LINE_ELIGIBLE_PAID,
    LINE_TOTAL_PAID,
    LINE_LEFT,
    LINE_WORDS,  # the words of the results, one line each
) = range(24)
CHUNK_LINES = LINE_WORDS + (len(LAYERS) + 1) // 2
CHUNK_WIDTH = CHUNK_ROWS + 2 * GUARD


@helper
def group_rows(work: Words, layout: Layout, base: int, rows: int, mask: int, buckets: Words, slots: Words) -> None:
    """Write a shard's records to `slots`, bucket by bucket, each in the order it came; buckets[b] ends bucket b."""
    for bucket in range(mask + 2):
        buckets[bucket] = 0
    for index in range(rows):
        buckets[(value_of(work, far_place((base + index) * layout.width), layout.tag) & mask) + 1] += 1
    for bucket in range(mask + 1):
        buckets[bucket + 1] += buckets[bucket]
    for index in range(rows):
        bucket = value_of(work, far_place((base + index) * layout.width), layout.tag) & mask
        at = place(int(buckets[bucket]))
        buckets[bucket] = at + 1
        slots[at] = index


@helper
def end_of_chunk(buckets: Words, bucket: int, mask: int, first: int) -> int:
    """Return the bucket behind the last that fits a chunk with the rows from `first`, the first row of `bucket`."""
    low, high = bucket, mask + 1
    while low < high:
        middle = (low + high) >> 1
        if buckets[middle] - first <= CHUNK_ROWS:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def read_chunk(
    work: Words, layout: Layout, base: int, slots: Words, first: int, lo: int, hi: int, chunk: NDArray[np.int64]
) -> None:
    """Fill the lines of a chunk that begins with slot `first`, its rows lo..hi."""
    records, results, tags, persons = chunk[LINE_RECORD], chunk[LINE_RESULT], chunk[LINE_TAG], chunk[LINE_PERSON]
    ids, totals, eligibles, basics = chunk[LINE_ID], chunk[LINE_TOTAL], chunk[LINE_ELIGIBLE], chunk[LINE_BASIC]
    for index in range(lo, hi):
        slot = int(slots[place(first + index)])
        record = far_place((base + slot) * layout.width)
        at = place(GUARD + index)
        records[at], results[at] = record, slot
        tags[at] = value_of(work, record, layout.tag)
        persons[at] = value_of(work, record, layout.person)
        ids[at] = value_of(work, record, layout.id)
        totals[at] = value_of(work, record, layout.total)
        eligibles[at] = value_of(work, record, layout.eligible)
        basics[at] = optional_of(work, record, layout.basic)


@helper
def part_people(
    work: Words, layout: Layout, base: int, slots: Words, mask: int, first: int, rows: int, chunk: NDArray[np.int64]
) -> None:
    """Sort the rows of each bucket with several people by person, rows of a person in the order they came."""
    tags, persons, breaks = chunk[LINE_TAG], chunk[LINE_PERSON], chunk[LINE_SPARE]
    find_breaks(tags[GUARD - 1 :], tags[GUARD:], persons[GUARD - 1 :], persons[GUARD:], mask, rows, breaks)
    parted = 0
    for index in range(1, rows):
        if breaks[index] == 0 or index < parted:
            continue
        begin, end = GUARD + index - 1, GUARD + index + 1
        while begin > GUARD and (tags[place(begin - 1)] ^ tags[begin]) & mask == 0:
            begin = place(begin - 1)
        while end < GUARD + rows and (tags[end] ^ tags[begin]) & mask == 0:
            end = place(end + 1)
        for one in range(begin + 1, end):
            at = one
            while at > begin and persons[place(at - 1)] > persons[at]:
                before = place(at - 1)
                persons[before], persons[at] = persons[at], persons[before]
                slot = place(first + before - GUARD)
                slots[slot], slots[slot + 1] = slots[slot + 1], slots[slot]
                at = before
        read_chunk(work, layout, base, slots, first, begin - GUARD, end - GUARD, chunk)
        parted = end - GUARD


@routine
def find_breaks(
    tags_before: Words, tags: Words, persons_before: Words, persons: Words, mask: int, rows: int, breaks: Words
) -> None:
    """Note the rows with the bucket of the row before, but another person."""
    for index in range(rows):
        same_bucket = (tags_before[index] ^ tags[index]) & mask == 0
        breaks[index] = 1 if same_bucket & (persons_before[index] != persons[index]) else 0


@helper
def mark_rows(rows: int, chunk: NDArray[np.int64]) -> None:
    """Note each row's marks: those of its tag, and whether one of the rows shortly before has the same id."""
    ids = chunk[LINE_ID]
    mark_same(
        ids[GUARD:], ids[GUARD - 1 :], ids[GUARD - 2 :], ids[GUARD - 3 :], ids[GUARD - 4 :], ids[GUARD - 5 :],
        ids[GUARD - 6 :], ids[GUARD - 7 :], chunk[LINE_TAG, GUARD:], rows, chunk[LINE_MARKS, GUARD:],
    )  # fmt: skip


@routine
def mark_same(
    ids: Words, by1: Words, by2: Words, by3: Words, by4: Words, by5: Words, by6: Words, by7: Words, tags: Words, rows: int,
    marks: Words,
) -> None:  # fmt: skip
    """Do what `mark_rows` does; the ids of the rows before come as lines of their own, which vectors read."""
    for index in range(rows):
        own = ids[index]
        same = (own == by1[index]) | (own == by2[index]) | (own == by3[index]) | (own == by4[index])
        same |= (own == by5[index]) | (own == by6[index]) | (own == by7[index])
        marks[index] = (tags[index] & (FULL | OLD)) | (SUSPECT if same else 0)


@helper
def put_in_order(work: Words, layout: Layout, chunk: NDArray[np.int64], first: int, end: int, texts: Texts) -> None:
    """Put the rows order[first:end] of one person-year in their order: by time, then by id."""
    records, order, keys = chunk[LINE_RECORD], chunk[LINE_ORDER], chunk[LINE_KEY]
    for index in range(first, end):
        keys[index] = value_of(work, far_place(records[place(order[index])]), layout.time)
    if end - first <= RANKED and rank(keys, order, first, end, chunk[LINE_SPARE]):
        return
    sort_by(keys, order, first, end)
    for index in range(first + 1, end):
        at = index
        while at > first and keys[place(at - 1)] == keys[at]:
            one, other = place(order[place(at - 1)]), place(order[at])
            if not id_before(work, layout, far_place(records[other]), far_place(records[one]), texts):
                break
            order[place(at - 1)], order[at] = other, one
            at = place(at - 1)


@helper
def rank(keys: Words, order: Words, first: int, end: int, spare: Words) -> bool:
    """Sort order[first:end], at most RANKED places, by different keys; False, nothing moved, where two are equal.

    A place's rank is the number of smaller keys: no branch to guess. `keys` has RANKED cells more than are used.
    """
    for behind in range(RANKED):
        keys[end + behind] = LAST
    ranks = 0
    for index in range(first, end):
        key, own = keys[index], 0
        for other in range(RANKED):
            own += 1 if keys[first + other] < key else 0
        spare[own] = order[index]
        ranks += own
    if ranks != (end - first) * (end - first - 1) // 2:
        return False
    for index in range(end - first):
        order[first + index] = spare[index]
    return True


@helper
def sort_by(keys: Words, places: Words, first: int, end: int) -> None:
    """Sort places[first:end] by their keys, stably, in place."""
    for index in range(first + 1, end):
        key, moved = keys[index], places[index]
        at = index
        while at > first and keys[place(at - 1)] > key:
            keys[at] = keys[place(at - 1)]
            places[at] = places[place(at - 1)]
            at = place(at - 1)
        keys[at] = key
        places[at] = moved


@helper
def id_before(work: Words, layout: Layout, record: int, other: int, texts: Texts) -> bool:
    """Return whether a record's settlement id stands before another's."""
    if texts.id_offsets.size == 0:
        return value_of(work, record, layout.id) < value_of(work, other, layout.id)
    row, other_row = value_of(work, record, layout.row), value_of(work, other, layout.row)
    return compare_texts(texts.id_bytes, texts.id_offsets, row, texts.id_bytes, texts.id_offsets, other_row) < 0
