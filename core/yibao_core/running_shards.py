"""One layer on the running totals of rows in any order: people in shards that fit the cache, settled where they lie.

Most people never reach the first tier: in each shard sums of absolute bases tell who might, and only their rows are put in
the order of time.
"""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place, routine
from yibao_core.running import GUARD, LINE_GOES_ON, LINE_PAID, pay_block
from yibao_core.running_records import RANKED, RANKED_BITS, Records, narrow_bucket, wide_bucket
from yibao_core.schedule import BLOCK_ROWS

ROOM_SPARE = 2 * RANKED

# The lines of a shard: its rows that may be paid.
(
    LINE_AT,  # where the record begins
    LINE_BUCKET,
    LINE_PERSON,
    LINE_KEY,  # by which a bucket's rows are ordered
    LINE_WORD,  # base and row
    LINE_MOVED,
    ROOM_LINES,
) = range(7)


@helper
def choose_rows(
    work: Words, records: Records, segments: NDArray[np.int64], least_fen: int, sums: Words, room: NDArray[np.int64]
) -> int:
    """List the records of a shard whose people might be paid; return how many.

    `segments`: where its records begin and end, one pair for each part of the rows, in the order of the rows.
    """
    width, chosen = records.width, room[LINE_AT]
    for bucket in range(1 << records.bucket_bits):
        sums[bucket] = 0
    for part in range(segments.shape[0]):
        begin, end = far_place(segments[part, 0] * width), far_place(segments[part, 1] * width)
        if width == 2:
            add_narrow(work[begin:end], records, sums)
        else:
            add_wide(work[begin:end], records, sums)
    count = 0
    for part in range(segments.shape[0]):
        begin, end = far_place(segments[part, 0] * width), far_place(segments[part, 1] * width)
        if width == 2:
            count = list_narrow(work[begin:end], begin, records, least_fen, sums, count, chosen)
        else:
            count = list_wide(work[begin:end], begin, records, least_fen, sums, count, chosen)
    return count


# Narrow records have loops of their own: with one for both, every row asked for the width, a third of their time.
@routine
def add_narrow(own: Words, records: Records, sums: Words) -> None:
    """Add the absolute bases of some records to the sums of their buckets."""
    for at in range(0, own.size, 2):
        sums[narrow_bucket(own[at], records)] += abs((own[at + 1] >> records.row_bits) + records.base_least)


@routine
def add_wide(own: Words, records: Records, sums: Words) -> None:
    """Do what `add_narrow` does."""
    for at in range(0, own.size, 3):
        sums[wide_bucket(own[at], records)] += abs((own[at + 2] >> records.row_bits) + records.base_least)


@routine
def list_narrow(
    own: Words, first: int, records: Records, least_fen: int, sums: Words, count: int, chosen: Words
) -> int:
    """List the records whose buckets' sums exceed `least_fen` behind the `count` there are; return how many there are then."""
    for at in range(0, own.size, 2):
        chosen[far_place(count)] = first + at
        count += 1 if sums[narrow_bucket(own[at], records)] > least_fen else 0
    return count


@routine
def list_wide(own: Words, first: int, records: Records, least_fen: int, sums: Words, count: int, chosen: Words) -> int:
    """Do what `list_narrow` does."""
    for at in range(0, own.size, 3):
        chosen[far_place(count)] = first + at
        count += 1 if sums[wide_bucket(own[at], records)] > least_fen else 0
    return count


@helper
def group_rows(work: Words, records: Records, count: int, starts: Words, room: NDArray[np.int64]) -> None:
    """Write the chosen records to the lines of the room, bucket by bucket; starts[b] ends bucket b."""
    for bucket in range((1 << records.bucket_bits) + 1):
        starts[bucket] = 0
    if records.width == 2:
        count_chosen_narrow(work, records, count, room[LINE_AT], room[LINE_BUCKET], starts)
    else:
        count_chosen_wide(work, records, count, room[LINE_AT], room[LINE_BUCKET], starts)
    rows = 0
    for bucket in range(1 << records.bucket_bits):
        rows += starts[bucket + 1]
        starts[bucket + 1] = rows
    if records.width == 2:
        group_narrow(work, count, room[LINE_AT], room[LINE_BUCKET], starts, room[LINE_KEY], room[LINE_WORD])
    else:
        group_wide(work, count, room[LINE_AT], room[LINE_BUCKET], starts, room)


@routine
def count_chosen_narrow(
    work: Words, records: Records, count: int, chosen: Words, buckets: Words, starts: Words
) -> None:
    """Note the bucket of each chosen record and count the records of each, one cell further."""
    for index in range(count):
        bucket = narrow_bucket(work[far_place(chosen[index])], records)
        buckets[index] = bucket
        starts[bucket + 1] += 1


@routine
def count_chosen_wide(work: Words, records: Records, count: int, chosen: Words, buckets: Words, starts: Words) -> None:
    """Do what `count_chosen_narrow` does."""
    for index in range(count):
        bucket = wide_bucket(work[far_place(chosen[index])], records)
        buckets[index] = bucket
        starts[bucket + 1] += 1


@routine
def group_narrow(
    work: Words, count: int, chosen: Words, buckets: Words, starts: Words, keys: Words, words: Words
) -> None:
    """Write the chosen records to their buckets' next lines."""
    for index in range(count):
        at, bucket = far_place(chosen[index]), place(buckets[index])
        to = far_place(starts[bucket])
        starts[bucket] = to + 1
        keys[to], words[to] = work[at], work[at + 1]


@routine
def group_wide(work: Words, count: int, chosen: Words, buckets: Words, starts: Words, room: NDArray[np.int64]) -> None:
    """Do what `group_narrow` does."""
    people, keys, words = room[LINE_PERSON], room[LINE_KEY], room[LINE_WORD]
    for index in range(count):
        at, bucket = far_place(chosen[index]), place(buckets[index])
        to = far_place(starts[bucket])
        starts[bucket] = to + 1
        people[to], keys[to], words[to] = work[at], work[at + 1], work[at + 2]


@helper
def order_rows(records: Records, ends: Words, room: NDArray[np.int64]) -> None:
    """Put the rows of each bucket in their order; ends[b] ends bucket b."""
    begin = 0
    for bucket in range(1 << records.bucket_bits):
        end = far_place(ends[bucket])
        if end - begin > 1:
            order_bucket(begin, end, records, room)
        begin = end


@helper
def order_bucket(first: int, end: int, records: Records, room: NDArray[np.int64]) -> None:
    """Put lines first..end in the order of person and time, rows of one time as they came.

    A row's rank is the number of smaller keys: no branch to guess. Keys are made different by the place.
    """
    keys, people, words = room[LINE_KEY], room[LINE_PERSON], room[LINE_WORD]
    rows, wide = end - first, records.width == 3
    if rows > records.ranked_max:
        merge_rows(first, end, wide, room)
        return
    ranks, unique, moved = room[LINE_BUCKET], room[LINE_AT], room[LINE_MOVED]
    for index in range(rows):
        unique[index] = keys[first + index] << RANKED_BITS | index
    for lane in range(0, rows, RANKED):
        for index in range(lane, lane + RANKED):
            ranks[index] = 0
        for other in range(rows):
            key = unique[other]
            for index in range(lane, lane + RANKED):
                ranks[index] += 1 if key < unique[index] else 0
    for index in range(rows):
        moved[place(ranks[index])] = words[first + index]
        keys[first + place(ranks[index])] = unique[index] >> RANKED_BITS
    for index in range(rows):
        words[first + index] = moved[index]
    if wide:
        for index in range(rows):
            moved[place(ranks[index])] = people[first + index]
        for index in range(rows):
            people[first + index] = moved[index]
        part_people(first, end, people, words)


@helper
def part_people(first: int, end: int, people: Words, words: Words) -> None:
    """Sort lines first..end by person, the rows of a person as they came."""
    for index in range(first + 1, end):
        person, word = people[index], words[index]
        at = index
        while at > first and people[far_place(at - 1)] > person:
            before = far_place(at - 1)
            people[at], words[at] = people[before], words[before]
            at = before
        people[at], words[at] = person, word


@routine
def merge_rows(first: int, end: int, wide: bool, room: NDArray[np.int64]) -> None:
    """Do what `order_bucket` does by merging, for many rows."""
    people, keys, words = room[LINE_PERSON], room[LINE_KEY], room[LINE_WORD]
    here, there = room[LINE_AT], room[LINE_BUCKET]
    for index in range(first, end):
        here[index] = index
    size = 1
    while size < end - first:
        for begin in range(first, end, 2 * size):
            left, middle = begin, min(begin + size, end)
            right, last = middle, min(begin + 2 * size, end)
            for to in range(begin, last):
                take_right = left == middle
                if not take_right and right < last:
                    one, other = here[left], here[right]
                    take_right = keys[other] < keys[one]
                    if wide and people[other] != people[one]:
                        take_right = people[other] < people[one]
                if take_right:
                    there[to] = here[right]
                    right += 1
                else:
                    there[to] = here[left]
                    left += 1
        here, there = there, here
        size *= 2
    for line in (keys, words, people):
        for index in range(first, end):
            there[index] = line[here[index]]
        for index in range(first, end):
            line[index] = there[index]


@routine
def find_same(before: Words, own: Words, shift: int, goes_on: Words) -> None:
    """Note with -1 the rows that have the person of the row before."""
    for index in range(own.size):
        goes_on[index] = -1 if own[index] >> shift == before[index] >> shift else 0


@helper
def pay_ordered(
    book: Words,
    rule: int,
    half_fen_bp: int,
    records: Records,
    count: int,
    room: NDArray[np.int64],
    block: NDArray[np.int64],
    paid: Words,
) -> bool:
    """Pay the first `count` lines of the room, people in order; True where a total is out of range."""
    words, goes_on = room[LINE_WORD], block[LINE_GOES_ON]
    people, shift = (room[LINE_KEY], records.time_bits) if records.width == 2 else (room[LINE_PERSON], 0)
    bases, places, amounts = room[LINE_MOVED], room[LINE_AT], block[LINE_PAID]
    row_mask = (1 << records.row_bits) - 1
    beyond = False
    for begin in range(0, count, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, count)
        for index in range(end - begin):
            bases[index] = (words[far_place(begin + index)] >> records.row_bits) + records.base_least
        skipped = 1 if begin == 0 else 0
        goes_on[GUARD] = 0
        own = people[begin + skipped : end]
        find_same(people[begin + skipped - 1 :], own, shift, goes_on[GUARD + skipped :])
        beyond |= pay_block(book, rule, half_fen_bp, bases[: end - begin], block)
        some = 0
        for index in range(end - begin):
            amount = amounts[GUARD + index]
            places[some] = words[far_place(begin + index)] & row_mask
            bases[some] = amount
            some = place(some + (1 if amount != 0 else 0))
        for index in range(some):
            paid[far_place(places[index])] = bases[index]
    return beyond


@kernel
def pay_shards(
    book: Words,
    rule: int,
    half_fen_bp: int,
    records: Records,
    least_fen: int,
    segments: NDArray[np.int64],
    work: Words,
    sums: Words,
    room: NDArray[np.int64],
    block: NDArray[np.int64],
    paid: Words,
) -> bool:
    """Settle some shards: write what is paid to the rows' places in `paid`, which is zero; True where a total is out of range.

    `segments`: shards x parts x (begin, end), in records. `sums` has a cell for each bucket and two more; `room`
    (ROOM_LINES lines) one for each row of the largest shard, at least BLOCK_ROWS, and ROOM_SPARE more; `block` is zero.
    """
    beyond = False
    for shard in range(segments.shape[0]):
        count = choose_rows(work, records, segments[shard], least_fen, sums, room)
        group_rows(work, records, count, sums, room)
        order_rows(records, sums, room)
        beyond |= pay_ordered(book, rule, half_fen_bp, records, count, room, block, paid)
    return beyond
