"""Plain rows: bills that short records can settle, and the short records.

Most rows of a ledger are bills like any other: no reversal, nothing to reject, no amount above 21 million yuan, no
figure recorded in a layer of which the ledger's figure stands, a cell of the plan that a program does. Such a row fits
four to six words. Everything else leaves the same short record with its mark FULL, and sends all rows of its person to
`full`, where records hold every column.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place
from yibao_core.intake import (
    ALL_LAYERS,
    BLOCK_COMPONENTS,
    BLOCK_FAULTS,
    BLOCK_LINES,
    BLOCK_PAID,
    BLOCK_ROWS,
    BLOCK_SIGN,
    CATASTROPHIC,
    DAY_US,
    ELIGIBLE,
    FAULTY,
    FEES_COUNT,
    INTAKE_BOOK,
    INTAKE_KNOWN_AS_SETTLED,
    INTAKE_KNOWN_DAY,
    INTAKE_REACCOUNT,
    LAYERS_COUNT,
    NULL_AMOUNT,
    PERSONAL,
    TOTAL,
    Columns,
    find_policy,
    judge_money,
    row_flags,
    year_of,
)
from yibao_core.money import ROW_MAX_FEN
from yibao_core.plan import (
    CARE_CODES,
    HEAD_WIDTH,
    NO_POLICY_INDEX,
    PLAIN_ADDS_FEES,
    PLAIN_CELL_RECORDED,
    PLAIN_COMPUTED,
    PLAIN_NO_RULE,
    PLAIN_RECORDED,
    POLICY_FROM_DAY,
    POLICY_PLAIN,
    POLICY_SUPPLEMENT,
    POLICY_TO_DAY,
    POLICY_WIDTH,
    POLICY_WINDOW_FROM_DAY,
    POLICY_WINDOW_TO_DAY,
    POLICY_YEAR_BY_SETTLED,
    PROGRAMS_MAX,
)
from yibao_core.policy import FEES, LAYERS, METERED
from yibao_core.records import PAID_DOES_NOT_ADD_UP

BASIC = FEES_COUNT + LAYERS.index(METERED)
SELF_FUNDED, OVER_LIMIT, FIRST_PAY = (FEES.index(fee) for fee in ("self_funded_fee", "over_limit_fee", "first_pay_fee"))
AMOUNT_BITS = 31
AMOUNT_MAX_FEN = (1 << AMOUNT_BITS) - 1
assert AMOUNT_MAX_FEN < ROW_MAX_FEN

BUCKET_BITS = 14
FULL, OLD = 1 << BUCKET_BITS, 2 << BUCKET_BITS  # the person goes to `full`; a computed layer had paid something
SHIFT_PROGRAM = BUCKET_BITS + 2
WORD_BITS = 63  # of a word with several fields: none of them touches its sign
MIX_BITS = 30

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


@kernel
def mix_person(person: int) -> int:
    """Return MIX_BITS well-mixed bits of a person's word: the upper ones tell the shard, the lower ones the bucket.

    No product wraps: each factor has at most 31 bits.
    """
    folded = (person ^ (person >> 31) ^ (person >> 62)) & 0x7FFFFFFF
    mixed = (folded * 1_640_531_527) & ((1 << 61) - 1)
    folded = (mixed ^ (mixed >> 29)) & 0x7FFFFFFF
    return (folded * 1_640_531_527) >> 31 & ((1 << MIX_BITS) - 1)


@kernel
def mix_people(person: Words, lo: int, hi: int, bits: int, mixed: Words, counts: Words) -> None:
    """Write the mixed bits of each row's person and count the rows of each shard; `mixed` has the place of `person`."""
    shift = MIX_BITS - bits
    for begin in range(lo, hi, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, hi)
        for row in range(far_place(begin), end):
            mixed[row] = mix_person(person[row])
        for row in range(far_place(begin), end):
            counts[mixed[row] >> shift] += 1


@kernel
def widen(values: Words, least: int, most: int) -> tuple[int, int]:
    """Return the range of some values and an earlier one."""
    for index in range(values.size):
        value = int(values[index])
        least, most = min(least, value), max(most, value)
    return least, most


@kernel
def find_ranges(columns: Columns, lo: int, hi: int, ranges: Words) -> None:
    """Widen the ranges by rows lo..hi; rows that miss something do not count, whatever stands in their cells."""
    has_missing, has_region = columns.missing.size > 0, columns.region.size > 0
    ranges[RANGE_PERSON], ranges[RANGE_PERSON + 1] = widen(
        columns.person[lo:hi], ranges[RANGE_PERSON], ranges[RANGE_PERSON + 1]
    )
    if not has_missing:
        ranges[RANGE_TIME], ranges[RANGE_TIME + 1] = widen(
            columns.time[lo:hi], ranges[RANGE_TIME], ranges[RANGE_TIME + 1]
        )
        ranges[RANGE_ID], ranges[RANGE_ID + 1] = widen(columns.id[lo:hi], ranges[RANGE_ID], ranges[RANGE_ID + 1])
        ranges[RANGE_DAY], ranges[RANGE_DAY + 1] = widen(columns.day[lo:hi], ranges[RANGE_DAY], ranges[RANGE_DAY + 1])
        if has_region:
            ranges[RANGE_REGION], ranges[RANGE_REGION + 1] = widen(
                columns.region[lo:hi], ranges[RANGE_REGION], ranges[RANGE_REGION + 1]
            )
        return
    for row in range(lo, hi):
        if columns.missing[row]:
            continue
        for at in range(RANGE_TIME, RANGES, 2):
            value = columns.time[row]
            if at == RANGE_ID:
                value = columns.id[row]
            elif at == RANGE_DAY:
                value = int(columns.day[row])
            elif at == RANGE_REGION:
                value = int(columns.region[row]) if has_region else 0
            ranges[at], ranges[at + 1] = min(ranges[at], value), max(ranges[at + 1], value)


# A block of rows: the lines of `judge_money`, then these, then the words of the records.
(
    LINE_NONZERO,  # layers with a recorded figure, one bit each
    LINE_POLICY,  # offset of the row's policy in the plan
    LINE_GOOD,  # 1: nothing speaks against the row yet
    LINE_TAG,
    LINE_KEY,
    LINE_WORDS,
) = range(BLOCK_LINES, BLOCK_LINES + 6)
PLAIN_LINES = LINE_WORDS + len(Layout._fields) - 1


@helper
def find_figures(columns: Columns, rows: int, block: NDArray[np.int64]) -> None:
    """Note which layers have a recorded figure in each row of a judged block."""
    nonzero = block[LINE_NONZERO]
    for index in range(rows):
        nonzero[index] = 0
    for layer in range(LAYERS_COUNT):
        if columns.money[FEES_COUNT + layer].size > 0:
            cells = block[FEES_COUNT + layer]
            for index in range(rows):
                nonzero[index] |= 1 << layer if cells[index] != 0 else 0


@helper
def judge_plain(refused: int, reaccount: bool, rows: int, block: NDArray[np.int64]) -> None:
    """Note in which rows of a judged block no amount speaks against a short record."""
    good, faults, sign = block[LINE_GOOD], block[BLOCK_FAULTS], block[BLOCK_SIGN]
    total, eligible, basic, paid = block[TOTAL], block[ELIGIBLE], block[BASIC], block[BLOCK_PAID]
    for index in range(rows):
        whole = total[index]
        fits = (
            (faults[index] & refused == 0) & (sign[index] > 0) & (eligible[index] <= whole) & (whole <= AMOUNT_MAX_FEN)
        )
        fits &= (basic[index] <= whole) & ((paid[index] <= whole) | (not reaccount))
        good[index] = 1 if fits else 0


@helper
def find_policies(
    book: Words, settings: Words, columns: Columns, begin: int, rows: int, policies: Words, block: NDArray[np.int64]
) -> None:
    """Write the offset of each row's policy to LINE_POLICY and its index to `policies`; without one a row is not good."""
    good, found = block[LINE_GOOD], block[LINE_POLICY]
    days, times, regions = columns.day, columns.time, columns.region
    if settings[INTAKE_BOOK] == 0:
        first, last = book[HEAD_WIDTH + POLICY_FROM_DAY], book[HEAD_WIDTH + POLICY_TO_DAY]
        for index in range(rows):
            day = int(days[begin + index])
            good[index] &= 1 if first <= day <= last else 0
            found[index] = HEAD_WIDTH
        return
    known_as_settled, set_known_day = settings[INTAKE_KNOWN_AS_SETTLED] != 0, settings[INTAKE_KNOWN_DAY]
    for index in range(rows):
        row = far_place(begin + index)
        known_day = times[row] // DAY_US if known_as_settled else set_known_day
        policy = find_policy(book, int(regions[row]), int(days[row]), known_day, True)
        if policy == NO_POLICY_INDEX:
            good[index], policy = 0, 0
        found[index] = HEAD_WIDTH + policy * POLICY_WIDTH
        if policies.size > 0:
            policies[index] = policy


@helper
def find_keys(book: Words, columns: Columns, years: Words, begin: int, rows: int, block: NDArray[np.int64]) -> None:
    """Write benefit year x 10,000 + city of each good row of a block."""
    for index in range(rows):
        row = far_place(begin + index)
        block[LINE_KEY, index] = 0
        if block[LINE_GOOD, index]:
            by_settled = book[place(block[LINE_POLICY, index]) + POLICY_YEAR_BY_SETTLED] != 0
            day = columns.time[row] // DAY_US if by_settled else int(columns.day[row])
            city = int(columns.region[row]) // 100 if columns.region.size > 0 else 0
            block[LINE_KEY, index] = year_of(years, day) * 10_000 + city


@helper
def find_tags(
    book: Words,
    columns: Columns,
    reaccount: bool,
    begin: int,
    rows: int,
    has_paid: bool,
    mixed: Words,
    flags: Words,
    block: NDArray[np.int64],
) -> None:
    """Write the tag of each row of a block, and the flags that plain rows have by themselves."""
    masks, cares, days = columns.category_mask, columns.care, columns.day
    has_supplement = reaccount and columns.supplement.size > 0
    bucket_mask = (1 << BUCKET_BITS) - 1
    for index in range(rows):
        row = far_place(begin + index)
        policy = place(block[LINE_POLICY, index])
        mask, care = int(masks[row]), int(cares[row])
        word = book[place(book[policy + POLICY_PLAIN] + mask * CARE_CODES + (care & (CARE_CODES - 1)))]
        faults, nonzero = block[BLOCK_FAULTS, index], block[LINE_NONZERO, index]
        total, components = block[TOTAL, index], block[BLOCK_COMPONENTS, index]
        flag = row_flags(
            faults, components, total, block[BLOCK_PAID, index], block[PERSONAL, index], has_paid,
            word >> PLAIN_CELL_RECORDED & ALL_LAYERS, word >> PLAIN_NO_RULE & 1,
        )  # fmt: skip
        good = (block[LINE_GOOD, index] != 0) & (word >= 0) & (nonzero & (word >> PLAIN_RECORDED) & ALL_LAYERS == 0)
        good &= (word >> PLAIN_ADDS_FEES & 1 == 0) | (components <= total)
        if reaccount:
            day = int(days[row])
            good &= (book[policy + POLICY_WINDOW_FROM_DAY] <= day) & (day <= book[policy + POLICY_WINDOW_TO_DAY])
            good &= flag & PAID_DOES_NOT_ADD_UP == 0
            if has_supplement and columns.supplement[row] > 0:
                good &= mask & book[policy + POLICY_SUPPLEMENT] == 0
        old = OLD if nonzero & (word >> PLAIN_COMPUTED) & ALL_LAYERS else 0
        tag = (word & (PROGRAMS_MAX - 1)) << SHIFT_PROGRAM | old
        block[LINE_TAG, index] = mixed[row] & bucket_mask | (tag if good else FULL)
        if flags.size > 0:
            flags[index] = flag


@helper
def put_field(values: Words, rows: int, field: Field, block: NDArray[np.int64]) -> None:
    """Put a block's values of one field where the layout has it."""
    if field.word < 0:
        return
    word = block[LINE_WORDS + place(field.word)]
    for index in range(rows):
        word[index] |= (int(values[index]) - field.least & field.mask) << field.shift


@helper
def put_rows(first: int, rows: int, field: Field, block: NDArray[np.int64]) -> None:
    """Put the numbers of a block's rows where the layout has them."""
    word = block[LINE_WORDS + place(field.word)]
    for index in range(rows):
        word[index] |= first + index << field.shift


@kernel
def pack_plain(
    book: Words,
    layout: Layout,
    settings: Words,
    history_rows: int,
    columns: Columns,
    lo: int,
    hi: int,
    years: Words,
    mixed: Words,
    bits: int,
    cursors: Words,
    work: Words,
    flags: Words,
    policies: Words,
    block: NDArray[np.int64],
) -> None:
    """Write rows lo..hi as short records to the shards of their people, each at its shard's cursor.

    `flags` and `policies` (a cell for each row behind the history) get what is final for plain rows. `block` is room to
    work in: PLAIN_LINES x BLOCK_ROWS, zero.
    """
    reaccount = settings[INTAKE_REACCOUNT] != 0
    has_paid = False
    for column in range(FEES_COUNT, PERSONAL):
        has_paid |= columns.money[column].size > 0
    refused = FAULTY | NULL_AMOUNT << TOTAL | NULL_AMOUNT << ELIGIBLE
    if reaccount:
        refused |= NULL_AMOUNT << CATASTROPHIC
    no_list = columns.person[:0]
    width = layout.width
    shard_shift = MIX_BITS - bits

    for begin in range(lo, hi, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, hi)
        rows = end - begin
        judge_money(columns, no_list, begin, end, block)
        find_figures(columns, rows, block)
        judge_plain(refused, reaccount, rows, block)
        if columns.missing.size > 0:
            for index in range(rows):
                block[LINE_GOOD, index] &= 1 if columns.missing[begin + index] == 0 else 0
        own_flags, own_policies = flags[:0], policies[:0]
        if begin >= history_rows:
            own_flags, own_policies = flags[begin - history_rows :], policies[begin - history_rows :]
        else:  # a block of the history has no outputs, and none of its rows is plain
            for index in range(rows):
                block[LINE_GOOD, index] = 0
        find_policies(book, settings, columns, begin, rows, own_policies, block)
        find_tags(book, columns, reaccount, begin, rows, has_paid, mixed, own_flags, block)
        if layout.key.word >= 0:
            find_keys(book, columns, years, begin, rows, block)

        for word in range(width):
            for index in range(rows):
                block[LINE_WORDS + word, index] = 0
        put_field(columns.person[begin:end], rows, layout.person, block)
        put_field(columns.time[begin:end], rows, layout.time, block)
        put_field(columns.id[begin:end], rows, layout.id, block)
        put_field(block[LINE_TAG], rows, layout.tag, block)
        put_field(block[LINE_KEY], rows, layout.key, block)
        put_field(block[BASIC], rows, layout.basic, block)
        put_field(block[TOTAL], rows, layout.total, block)
        put_field(block[ELIGIBLE], rows, layout.eligible, block)
        put_field(block[SELF_FUNDED], rows, layout.self_funded, block)
        put_field(block[OVER_LIMIT], rows, layout.over_limit, block)
        put_field(block[FIRST_PAY], rows, layout.first_pay, block)
        put_rows(begin, rows, layout.row, block)
        for index in range(rows):
            shard = mixed[far_place(begin + index)] >> shard_shift
            at = cursors[shard]
            cursors[shard] = at + 1
            record = far_place(at * width)
            for word in range(width):
                work[record + word] = block[LINE_WORDS + word, index]
