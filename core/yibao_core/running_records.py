"""Short records of rows in any order: how they lie, which shard and bucket they belong to, writing them to their shards."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place, routine
from yibao_core.errors import LedgerError
from yibao_core.instructions import prefetch
from yibao_core.money import ROW_MAX_FEN
from yibao_core.plain import MIX_BITS, mix_person
from yibao_core.running import Rows
from yibao_core.schedule import BLOCK_ROWS

SHARD_BYTES = 200_000
SHARD_BITS_MAX = 12
BUCKET_BITS_MAX = 14
WORD_BITS = 63  # of a word with several fields: none of them touches its sign
RANKED = 8
RANKED_BITS = 5
RANKED_MAX = 1 << RANKED_BITS  # longer runs are merged
BASE_BITS = (2 * ROW_MAX_FEN).bit_length()
PERSON_BITS_MAX = 32
KEY_BITS = WORD_BITS - RANKED_BITS
AHEAD = 2

# The lines of a block of rows on their way into records.
BLOCK_KEY, BLOCK_PLACE, WRITE_LINES = range(3)


class Records(NamedTuple):
    """How records lie, and how keys tell shards and buckets.

    A record is (person | time, base | row); where a person and a time need more than a word, it is wide: person, time,
    base | row. The key of a person is a word of its own in narrow records, perhaps shared by several people in wide ones:
    its lowest bits are the shard, the next the bucket.
    """

    width: int
    person_bits: int
    person_least: int
    time_bits: int
    time_least: int
    base_least: int
    row_bits: int
    shard_bits: int
    bucket_bits: int
    ranked_max: int  # rows of a bucket that are put in order by their ranks


def lay_out(ranges: list[tuple[int, int]], rows: int, timed: bool) -> Records:
    """Return the records for `rows` rows whose persons, times and bases have these ranges."""
    (person_least, person_most), (time_least, time_most), (base_least, base_most) = ranges
    person_bits = max(1, (person_most - person_least).bit_length())
    time_bits = (time_most - time_least).bit_length() if timed else 0
    row_bits = max(1, (rows - 1).bit_length())
    if row_bits + (base_most - base_least).bit_length() > WORD_BITS:
        raise LedgerError(f"base_fen: expected fewer than {1 << (WORD_BITS - BASE_BITS)} rows in one call, got {rows}")
    for width in (2, 3):
        shard_bits = min(SHARD_BITS_MAX, max(0, (rows * width * 8 // SHARD_BYTES).bit_length()))
        key_bits = person_bits if width == 2 else MIX_BITS
        shard_bits = min(shard_bits, key_bits)
        bits_left = key_bits - shard_bits
        if width == 3 or (person_bits <= PERSON_BITS_MAX and bits_left + time_bits <= KEY_BITS):
            break
    expected = max(1, (rows >> shard_bits) >> 1).bit_length()
    bucket_bits = min(BUCKET_BITS_MAX, bits_left, max(expected, bits_left if bits_left <= expected + 1 else 0))
    ranked = width == 2 or time_bits <= KEY_BITS
    return Records(
        width, person_bits, person_least, time_bits, time_least if ranked else 0, base_least, row_bits, shard_bits, bucket_bits,
        RANKED_MAX if ranked else 0,
    )  # fmt: skip


@helper
def key_of(person: int, records: Records) -> int:
    """Return a person's key: well-mixed bits, in narrow records different for different people. No product wraps."""
    if records.width == 3:
        return mix_person(person)
    mask = (1 << records.person_bits) - 1
    mixed = ((person - records.person_least) * 1_640_531_527) & mask
    return mixed ^ (mixed >> ((records.person_bits + 1) >> 1))


@routine
def find_keys(person: Words, records: Records, keys: Words) -> None:
    """Write the keys of a block of rows."""
    for index in range(person.size):
        keys[index] = key_of(person[index], records)


@kernel
def count_people(person: Words, lo: int, hi: int, records: Records, counts: Words, keys: Words) -> None:
    """Count rows lo..hi by shard."""
    mask = (1 << records.shard_bits) - 1
    for begin in range(lo, hi, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, hi)
        find_keys(person[begin:end], records, keys)
        for index in range(end - begin):
            counts[keys[index] & mask] += 1


@kernel
def write_records(
    rows: Rows, lo: int, hi: int, records: Records, cursors: Words, work: Words, block: NDArray[np.int64]
) -> None:
    """Write rows lo..hi as records to their shards, each at its shard's cursor."""
    mask, width, timed = (1 << records.shard_bits) - 1, records.width, rows.time.size > 0
    keys, places = block[BLOCK_KEY], block[BLOCK_PLACE]
    for begin in range(lo, hi, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, hi)
        find_keys(rows.person[begin:end], records, keys)
        for index in range(end - begin):
            shard = keys[index] & mask
            at = cursors[shard]
            cursors[shard] = at + 1
            places[index] = at * width
            prefetch(work, far_place((at + AHEAD) * width))
        for index in range(end - begin):
            row = far_place(begin + index)
            at = far_place(places[index])
            time = rows.time[row] if timed else records.time_least
            if width == 2:
                work[at] = (keys[index] >> records.shard_bits) << records.time_bits | (time - records.time_least)
            else:
                work[at], work[at + 1] = rows.person[row], time - records.time_least
            work[at + width - 1] = (rows.base_fen[row] - records.base_least) << records.row_bits | row


@helper
def narrow_bucket(word: int, records: Records) -> int:
    """Return the bucket of a narrow record by its first word."""
    return place(word >> records.time_bits & ((1 << records.bucket_bits) - 1))


@helper
def wide_bucket(person: int, records: Records) -> int:
    """Return the bucket of a wide record by its person."""
    return place(mix_person(person) >> records.shard_bits & ((1 << records.bucket_bits) - 1))
