"""The ledger's columns into records: every check that one row alone allows, and the row's policy.

Rows are streamed in their own order and written to the shard of their person, so that a person's
rows end up together. Nothing is judged twice: what needs the other rows of the person (duplicates,
reversals, cumulative range) is left to `batch`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, kernel
from yibao_core.errors import RowStatus
from yibao_core.money import NOT_FEN, NULL_FEN, ROW_MAX_FEN
from yibao_core.plan import (
    AGE_UNKNOWN,
    CELL_NEEDS_AGE,
    CELL_NO_RULE,
    CELL_RECORDED_MASK,
    CELL_WIDTH,
    HEAD_POLICIES,
    HEAD_WIDTH,
    POLICY_CELLS,
    POLICY_FAVOUR,
    POLICY_FROM_DAY,
    POLICY_KNOWN_DAY,
    POLICY_REGION,
    POLICY_REGION_DIVISOR,
    POLICY_TO_DAY,
    POLICY_WIDTH,
    POLICY_WINDOW_FROM_DAY,
    POLICY_WINDOW_TO_DAY,
    POLICY_YEAR_BY_SETTLED,
)
from yibao_core.policy import CARE_TYPES, FEES, LAYERS
from yibao_core.records import (
    FEES_DO_NOT_ADD_UP,
    FIELD_FEE,
    FIELD_LAYER,
    FIELD_REVERSES,
    GROUP,
    HEAD,
    ID,
    NO_RULE,
    NOBODY,
    NORMAL,
    PAID_DOES_NOT_ADD_UP,
    PERSON,
    REVERSAL,
    ROW,
    SHIFT_AGE,
    SHIFT_CARE,
    SHIFT_CATEGORY,
    SHIFT_FLAGS,
    SHIFT_KIND,
    SHIFT_NULLS,
    SHIFT_POLICY,
    SHIFT_SUPPLEMENT,
    SHIFT_WINDOW,
    TIME,
)

MISSING_CELL, MISSING_PERSON, MISSING_DAY = 1, 2, 4
NO_ORIGINAL = -(2**63)
NO_DAY = -(2**31)
NO_POLICY_INDEX = 63
SUPPLEMENT_CATEGORY = 2  # the set {registered_poor}
DAY_US = 86_400_000_000

# What can be wrong with a money cell.
NULL_AMOUNT, BROKEN_AMOUNT, HUGE_AMOUNT, SIGN_AMOUNT = 1, 2, 4, 8
UNUSABLE = NULL_AMOUNT | BROKEN_AMOUNT | HUGE_AMOUNT

# Settings of the intake.
(
    INTAKE_REACCOUNT,
    INTAKE_BOOK,  # 0: one policy alone, applied to every row in its time in force
    INTAKE_KNOWN_DAY,
    INTAKE_KNOWN_AS_SETTLED,
    INTAKES,
) = range(5)

FEES_COUNT, LAYERS_COUNT, CARE_COUNT = len(FEES), len(LAYERS), len(CARE_TYPES)
PERSONAL = FEES_COUNT + LAYERS_COUNT
MONEY_COLUMNS = (*FEES, *(f"{layer}_paid" for layer in LAYERS), "personal_paid")

OK = int(RowStatus.SETTLED)
MISSING_VALUE = int(RowStatus.MISSING_VALUE)
AMOUNT_NOT_FEN = int(RowStatus.AMOUNT_NOT_FEN)
AMOUNT_OUT_OF_RANGE = int(RowStatus.AMOUNT_OUT_OF_RANGE)
WRONG_SIGN = int(RowStatus.WRONG_SIGN)
UNKNOWN_CATEGORY = int(RowStatus.UNKNOWN_CATEGORY)
UNKNOWN_CARE_TYPE = int(RowStatus.UNKNOWN_CARE_TYPE)
NO_POLICY = int(RowStatus.NO_POLICY)
ELIGIBLE_EXCEEDS_TOTAL = int(RowStatus.ELIGIBLE_EXCEEDS_TOTAL)
BIRTH_DATE_MISSING = int(RowStatus.BIRTH_DATE_MISSING)
PAID_EXCEEDS_TOTAL = int(RowStatus.PAID_EXCEEDS_TOTAL)


class Columns(NamedTuple):
    """A ledger as arrays of one length; an optional column that the ledger lacks is empty. All read-only."""

    person: NDArray[np.int64]
    time: NDArray[np.int64]  # microseconds; UNREADABLE_TIME
    id: NDArray[np.int64]  # the id, or its hash
    reverses: NDArray[np.int64]  # optional; NO_ORIGINAL where null
    missing: NDArray[np.uint8]  # optional; bits MISSING_*
    day: NDArray[np.int32]
    category_mask: NDArray[np.int16]  # one bit a category; 0: unknown
    care: NDArray[np.int8]  # -1: unknown
    region: NDArray[np.int32]  # optional; six digits, 0: none
    birth: NDArray[np.int32]  # optional; NO_DAY: null
    supplement: NDArray[np.int8]  # optional
    money: tuple[NDArray[np.int64], ...]  # MONEY_COLUMNS, each optional; NULL_FEN, NOT_FEN


@kernel
def year_month_day(day: int) -> tuple[int, int, int]:
    """Return the Gregorian date of a day counted from 1970-01-01."""
    # Years are counted from March, so that the leap day is a year's last.
    shifted = day + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day_of_month


@kernel
def completed_years(birth_day: int, day: int) -> int:
    """Return the age on `day`: 18 until the eve of the 19th birthday; 29 February turns on 1 March."""
    if birth_day == NO_DAY or birth_day > day:
        return AGE_UNKNOWN
    born_year, born_month, born_on = year_month_day(birth_day)
    year, month, on = year_month_day(day)
    years = year - born_year
    if month < born_month or (month == born_month and on < born_on):
        years -= 1
    return min(years, AGE_UNKNOWN - 1)


@kernel
def find_policy(book: Words, region: int, day: int, known_day: int, by_region: bool) -> int:
    """Return the index of the first policy in order of precedence that fits, or NO_POLICY_INDEX."""
    for index in range(book[HEAD_POLICIES]):
        policy = HEAD_WIDTH + index * POLICY_WIDTH
        if not book[policy + POLICY_FROM_DAY] <= day <= book[policy + POLICY_TO_DAY]:
            continue
        if not by_region:
            return index
        of_region = region // book[policy + POLICY_REGION_DIVISOR] == book[policy + POLICY_REGION]
        if of_region and book[policy + POLICY_KNOWN_DAY] <= known_day:
            return index
    return NO_POLICY_INDEX


@kernel
def shard_of(person: int, bits: int) -> int:
    """Return a person's shard among 2**bits: the upper bits of a product that never wraps."""
    folded = (person ^ (person >> 31) ^ (person >> 62)) & 0x7FFFFFFF
    mixed = (folded * 1_640_531_527) & ((1 << 61) - 1)
    folded = (mixed ^ (mixed >> 29)) & 0x7FFFFFFF
    return ((folded * 1_640_531_527) >> 31 & 0x3FFFFFFF) >> (30 - bits)


@kernel
def count_shards(person: Words, lo: int, hi: int, bits: int, shard: Words, counts: Words) -> None:
    """Write each row's shard and count the rows of each."""
    for row in range(lo, hi):
        index = shard_of(person[row], bits)
        shard[row] = index
        counts[index] += 1


def years_of_days() -> NDArray[np.int16]:
    """Return the year of each day from 1970-01-01 to 2099-12-31: a look-up where the calendar would cost a row's time."""
    days = np.arange("1970-01-01", "2100-01-01", dtype="datetime64[D]")
    return days.astype("datetime64[Y]").astype(np.int16) + np.int16(1970)


@kernel
def cell_of_column(amounts: Words, row: int) -> int:
    """Return a money cell, NULL_FEN where the ledger has no such column."""
    return amounts[row] if amounts.size > 0 else NULL_FEN


@kernel
def judge(amount: int, sign: int) -> int:
    """Return what is wrong with a money cell that should have the sign: bits *_AMOUNT, 0 for nothing."""
    if amount == NULL_FEN:
        return NULL_AMOUNT
    if amount == NOT_FEN:
        return BROKEN_AMOUNT
    if amount > ROW_MAX_FEN or amount < -ROW_MAX_FEN:
        return HUGE_AMOUNT
    return SIGN_AMOUNT if amount * sign < 0 else 0


@kernel
def put(work: Words, record: int, word: int, amount: int, bits: int) -> int:
    """Write an amount (0 where it is unusable) to its word, if the record has one; return it."""
    usable = amount if bits & UNUSABLE == 0 else 0
    if word >= 0:
        work[record + word] = usable
    return usable


@kernel
def pack_rows(
    book: Words,
    fields: Words,
    settings: Words,
    columns: Columns,
    lo: int,
    hi: int,
    years: Words,
    shard: Words,
    cursors: Words,
    width: int,
    work: Words,
) -> None:
    """Write rows lo..hi as records to their shards, each at its shard's cursor, with what one row alone tells."""
    reaccount = settings[INTAKE_REACCOUNT] != 0
    # One name a column: reaching into the tuple inside the loop costs more than the row.
    person, times, ids, reverses_ids, missing_bits, days, masks, cares, regions, births, supplements, money = columns
    has_reverses, has_missing, has_region = reverses_ids.size > 0, missing_bits.size > 0, regions.size > 0
    has_birth, has_supplement = births.size > 0, supplements.size > 0
    total_fee, self_funded, over_limit, first_pay, eligible_fee = money[:FEES_COUNT]
    paid_0, paid_1, paid_2, paid_3, paid_4, paid_5, paid_6, paid_7 = money[FEES_COUNT:PERSONAL]
    personal_paid = money[PERSONAL]
    has_paid = (
        paid_0.size + paid_1.size + paid_2.size + paid_3.size + paid_4.size + paid_5.size + paid_6.size + paid_7.size > 0
    )

    for row in range(lo, hi):
        record = cursors[shard[row]] * width
        cursors[shard[row]] += 1
        missing = missing_bits[row] if has_missing else 0
        reverses = reverses_ids[row] if has_reverses else NO_ORIGINAL
        bill = reverses == NO_ORIGINAL
        sign = 1 if bill else -1

        # Money: what is null, what is no fen, what is out of range, what has the wrong sign.
        amount = cell_of_column(total_fee, row)
        total_bits = judge(amount, sign)
        total = put(work, record, fields[FIELD_FEE], amount, total_bits)
        amount = cell_of_column(eligible_fee, row)
        eligible_bits = judge(amount, sign)
        eligible = put(work, record, fields[FIELD_FEE + 4], amount, eligible_bits)

        amount = cell_of_column(self_funded, row)
        component_bits = judge(amount, sign)
        components = eligible + put(work, record, fields[FIELD_FEE + 1], amount, component_bits)
        amount = cell_of_column(over_limit, row)
        bits = judge(amount, sign)
        components += put(work, record, fields[FIELD_FEE + 2], amount, bits)
        component_bits |= bits
        amount = cell_of_column(first_pay, row)
        bits = judge(amount, sign)
        components += put(work, record, fields[FIELD_FEE + 3], amount, bits)
        component_bits |= bits

        amount = cell_of_column(paid_0, row)
        bits = judge(amount, sign)
        paid = put(work, record, fields[FIELD_LAYER], amount, bits)
        paid_bits, nulls = bits, bits & 1
        amount = cell_of_column(paid_1, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 1], amount, bits)
        paid_bits, nulls, catastrophic_bits = paid_bits | bits, nulls | (bits & 1) << 1, bits
        amount = cell_of_column(paid_2, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 2], amount, bits)
        paid_bits, nulls = paid_bits | bits, nulls | (bits & 1) << 2
        amount = cell_of_column(paid_3, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 3], amount, bits)
        paid_bits, nulls = paid_bits | bits, nulls | (bits & 1) << 3
        amount = cell_of_column(paid_4, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 4], amount, bits)
        paid_bits, nulls = paid_bits | bits, nulls | (bits & 1) << 4
        amount = cell_of_column(paid_5, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 5], amount, bits)
        paid_bits, nulls = paid_bits | bits, nulls | (bits & 1) << 5
        amount = cell_of_column(paid_6, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 6], amount, bits)
        paid_bits, nulls = paid_bits | bits, nulls | (bits & 1) << 6
        amount = cell_of_column(paid_7, row)
        bits = judge(amount, sign)
        paid += put(work, record, fields[FIELD_LAYER + 7], amount, bits)
        paid_bits, nulls = paid_bits | bits, nulls | (bits & 1) << 7
        personal = cell_of_column(personal_paid, row)
        personal_bits = judge(personal, sign) & ~SIGN_AMOUNT
        any_bits = total_bits | eligible_bits | component_bits | paid_bits | personal_bits

        # Whose, when, under which policy.
        mask = int(masks[row])
        care = int(cares[row])
        region = int(regions[row]) if has_region else 0
        day = int(days[row])
        time = times[row]
        day_missing = missing & MISSING_DAY != 0
        known_day = settings[INTAKE_KNOWN_DAY]
        if settings[INTAKE_KNOWN_AS_SETTLED]:
            known_day = time // DAY_US
        index = NO_POLICY_INDEX
        if not day_missing:
            index = find_policy(book, region, day, known_day, settings[INTAKE_BOOK] != 0)
        policy = HEAD_WIDTH + (0 if index == NO_POLICY_INDEX else index) * POLICY_WIDTH
        category = book[book[policy + POLICY_FAVOUR] + mask]
        cell = book[policy + POLICY_CELLS] + (max(0, category) * CARE_COUNT + max(0, care)) * CELL_WIDTH
        age = AGE_UNKNOWN
        if book[cell + CELL_NEEDS_AGE] and has_birth:
            age = completed_years(int(births[row]), day)
        in_window = index != NO_POLICY_INDEX and (
            book[policy + POLICY_WINDOW_FROM_DAY] <= day <= book[policy + POLICY_WINDOW_TO_DAY]
        )
        year = 0
        if not day_missing:
            year_day = time // DAY_US if book[policy + POLICY_YEAR_BY_SETTLED] else day
            year = years[year_day] if 0 <= year_day < years.size else year_month_day(year_day)[0]

        # The first code that fits wins; a reversal takes policy and age from its original.
        status = OK
        if missing & MISSING_CELL or (total_bits | eligible_bits) & 1 or (reaccount and catastrophic_bits & 1):
            status = MISSING_VALUE
        elif any_bits & BROKEN_AMOUNT:
            status = AMOUNT_NOT_FEN
        elif any_bits & HUGE_AMOUNT:
            status = AMOUNT_OUT_OF_RANGE
        elif any_bits & SIGN_AMOUNT:
            status = WRONG_SIGN
        elif category < 0:
            status = UNKNOWN_CATEGORY
        elif care < 0:
            status = UNKNOWN_CARE_TYPE
        elif bill and index == NO_POLICY_INDEX:
            status = NO_POLICY
        elif abs(eligible) > abs(total):
            status = ELIGIBLE_EXCEEDS_TOTAL
        elif bill and book[cell + CELL_NEEDS_AGE] and age == AGE_UNKNOWN:
            status = BIRTH_DATE_MISSING
        elif bill and reaccount and paid > total:
            status = PAID_EXCEEDS_TOTAL

        flags = 0
        if status == OK and bill:
            if component_bits & 1 == 0 and components != total:
                flags |= FEES_DO_NOT_ADD_UP
            if has_paid and personal_bits & 1 == 0 and paid + personal != total:
                flags |= PAID_DOES_NOT_ADD_UP
            if (nulls & book[cell + CELL_RECORDED_MASK] or book[cell + CELL_NO_RULE]) and (in_window or not reaccount):
                flags |= NO_RULE
        kind = NORMAL if bill else REVERSAL
        if missing & MISSING_PERSON:
            kind = NOBODY
        supplement = 0
        if has_supplement and supplements[row] and mask & SUPPLEMENT_CATEGORY:
            supplement = 1

        work[record + PERSON] = person[row]
        work[record + TIME] = time
        work[record + ID] = ids[row]
        work[record + ROW] = row
        work[record + GROUP] = year * 10_000 + region // 100
        work[record + HEAD] = (
            status
            | flags << SHIFT_FLAGS
            | kind << SHIFT_KIND
            | max(0, care) << SHIFT_CARE
            | max(0, category) << SHIFT_CATEGORY
            | index << SHIFT_POLICY
            | int(in_window) << SHIFT_WINDOW
            | supplement << SHIFT_SUPPLEMENT
            | nulls << SHIFT_NULLS
            | age << SHIFT_AGE
        )
        if fields[FIELD_REVERSES] >= 0:
            work[record + fields[FIELD_REVERSES]] = reverses
