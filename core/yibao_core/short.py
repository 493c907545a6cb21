"""Short records: the fields of a plain row, side by side in as few words as hold them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, helper, place
from yibao_core.money import ROW_MAX_FEN
from yibao_core.policy import FEES

AMOUNT_BITS = 31
AMOUNT_MAX_FEN = (1 << AMOUNT_BITS) - 1
assert AMOUNT_MAX_FEN < ROW_MAX_FEN

BUCKET_BITS = 14
# A tag, from the lowest bit: the bucket of the person; FULL: the person goes to `full`; OLD: a computed layer had paid
# something; KEEPS_BASIC and the bound of the program; the program.
FULL, OLD, KEEPS_BASIC = 1 << BUCKET_BITS, 2 << BUCKET_BITS, 4 << BUCKET_BITS
SHIFT_BOUND, SHIFT_PROGRAM = BUCKET_BITS + 3, BUCKET_BITS + 5
WORD_BITS = 63  # of a word with several fields: none of them touches its sign


# What a pass over the columns finds: the ranges of fields, over the rows that can be plain.
(
    RANGE_PERSON, RANGE_TIME, RANGE_ID, RANGE_DAY, RANGE_REGION, RANGES,
) = (0, 2, 4, 6, 8, 10)  # fmt: skip
_NO_RANGE = (2**62, -(2**62))


class Field(NamedTuple):
    """Where a field of a short record stands, and the value from which it counts."""

    word: int = -1  # -1: all records have the value `least`
    shift: int = 0
    mask: int = 0
    least: int = 0


class Layout(NamedTuple):
    """The fields of short records. A tuple, not an array: kernels hold all of it in registers."""

    width: int
    person: Field
    time: Field
    id: Field
    row: Field
    tag: Field  # bucket of the person, marks, program
    key: Field  # benefit year x 10,000 + city
    basic: Field  # what basic insurance has paid, as recorded
    total: Field
    eligible: Field
    self_funded: Field
    over_limit: Field
    first_pay: Field


def no_ranges() -> NDArray[np.int64]:
    """Return ranges that hold nothing yet: least and most of each field."""
    return np.array(_NO_RANGE * (RANGES // 2), dtype=np.int64)


def lay_out(
    ranges: NDArray[np.int64], rows: int, programs: int, fees: frozenset[str], has_basic: bool, key: int | None
) -> Layout:
    """Return the shortest record for fields of these ranges. `key`: the one that all rows share, None where they do not."""
    bits: dict[str, tuple[int, int]] = {}  # field -> bits, least
    for field, at in (("person", RANGE_PERSON), ("time", RANGE_TIME), ("id", RANGE_ID)):
        least, most = int(ranges[at]), int(ranges[at + 1])
        wide = max(1, (most - least).bit_length())
        bits[field] = (wide, least) if least <= most and wide <= WORD_BITS else (WORD_BITS + 1, 0)
    bits["row"] = (max(1, rows.bit_length()), 0)
    bits["tag"] = (SHIFT_PROGRAM + max(1, programs.bit_length()), 0)
    if key is None:
        bits["key"] = ((9_999 * 10_000 + 9_999).bit_length(), 0)
    if has_basic:
        bits["basic"] = (AMOUNT_BITS, 0)
    for fee in FEES:
        if fee in fees | {"total_fee", "eligible_fee"}:
            bits[fee.removesuffix("_fee")] = (AMOUNT_BITS, 0)
    return _placed(bits, key or 0)


def _placed(bits: Mapping[str, tuple[int, int]], key: int) -> Layout:
    """Return fields in as few words as the first fit gives, the widest first."""
    fields = {name: Field() for name in Layout._fields if name != "width"} | {"key": Field(least=key)}
    used: list[int] = []
    for name, (wide, least) in sorted(bits.items(), key=lambda item: -item[1][0]):
        word = next((word for word, taken in enumerate(used) if taken + wide <= WORD_BITS), len(used))
        if word == len(used):
            used.append(0)
        fields[name] = Field(word, used[word], -1 if wide > WORD_BITS else (1 << wide) - 1, least)
        used[word] += wide
    return Layout(len(used), **fields)


@helper
def value_of(work: Words, record: int, field: Field) -> int:
    """Return a field of a short record that stands in a word, counted from its least value."""
    return work[record + place(field.word)] >> field.shift & field.mask


@helper
def optional_of(work: Words, record: int, field: Field) -> int:
    """Return a field of a short record, 0 where it stands in no word."""
    return value_of(work, record, field) if field.word >= 0 else 0
