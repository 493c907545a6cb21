"""The ledger's columns into records: every check that one row alone allows, and the row's policy.

Rows are streamed in their own order and written to the shard of their person, so that a person's
rows end up together. Nothing is judged twice: what needs the other rows of the person (duplicates,
reversals, cumulative range) is left to `batch`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place, routine
from yibao_core.calendar import completed_years, year_month_day
from yibao_core.errors import RowStatus
from yibao_core.money import NOT_FEN, NULL_FEN, ROW_MAX_FEN
from yibao_core.plan import (
    AGE_UNKNOWN,
    CELL_NEEDS,
    CELL_NO_RULE,
    CELL_RECORDED_MASK,
    CELL_WIDTH,
    HEAD_POLICIES,
    HEAD_WIDTH,
    NEEDS_AGE,
    NEEDS_LEVEL,
    NO_POLICY_INDEX,
    POLICY_BY_PLACE,
    POLICY_CELLS,
    POLICY_FAVOUR,
    POLICY_FROM_DAY,
    POLICY_KNOWN_DAY,
    POLICY_REGION,
    POLICY_REGION_DIVISOR,
    POLICY_SUPPLEMENT,
    POLICY_TO_DAY,
    POLICY_WIDTH,
    POLICY_WINDOW_FROM_DAY,
    POLICY_WINDOW_TO_DAY,
    POLICY_YEAR_BY_SETTLED,
    UNGRADED,
)
from yibao_core.policy import CARE_TYPES, CATEGORIES, FEES, LAYERS
from yibao_core.records import (
    FEES_DO_NOT_ADD_UP,
    FIELD_EPISODE,
    FIELD_FEE,
    FIELD_REVERSES,
    FIELD_STAY,
    FIXED_WORDS,
    GROUP,
    HEAD,
    ID,
    NO_EPISODE,
    NO_RULE,
    NO_STAY,
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
    SHIFT_PLACE,
    SHIFT_POLICY,
    SHIFT_SUPPLEMENT,
    SHIFT_WINDOW,
    TIME,
    UNPLACED_SHIFT,
    UNREADABLE_TIME,
)

MISSING_CELL, MISSING_PERSON, MISSING_DAY = 1, 2, 4
BROKEN_STAY, HUGE_STAY = 8, 16  # what a row shows as its deductible borne is no whole fen, or out of range
NO_ORIGINAL = -(2**63)
# A cell of `place`: a place of the plan, and whether the level or one of the regions could not be read.
PLACE, LEVEL_UNKNOWN, TREATED_UNKNOWN = 7, 8, 16
DAY_US = 86_400_000_000

# Settings of the intake.
(
    INTAKE_REACCOUNT,
    INTAKE_BOOK,  # 0: one policy alone, applied to every row in its time in force
    INTAKE_KNOWN_DAY,
    INTAKE_KNOWN_AS_SETTLED,
    INTAKES,
) = range(5)

FEES_COUNT, LAYERS_COUNT, CARE_COUNT, CATEGORIES_COUNT = len(FEES), len(LAYERS), len(CARE_TYPES), len(CATEGORIES)
PERSONAL = FEES_COUNT + LAYERS_COUNT
MONEY_COLUMNS = (*FEES, *(f"{layer}_paid" for layer in LAYERS), "personal_paid")
TOTAL, ELIGIBLE = FEES.index("total_fee"), FEES.index("eligible_fee")
CATASTROPHIC = FEES_COUNT + LAYERS.index("catastrophic")
MONEY_COUNT = len(MONEY_COLUMNS)
ALL_LAYERS = (1 << LAYERS_COUNT) - 1

# What can be wrong with a row's money cells; of the nulls, one bit a column.
BROKEN_AMOUNT, HUGE_AMOUNT, SIGN_AMOUNT, NULL_AMOUNT = 1, 2, 4, 8
NULL_SHIFT = 3

COMPONENTS_NULL = NULL_AMOUNT << 1 | NULL_AMOUNT << 2 | NULL_AMOUNT << 3
FAULTY = BROKEN_AMOUNT | HUGE_AMOUNT | SIGN_AMOUNT

# A block of rows: a line a money column, then these. It fits the first-level cache.
BLOCK_ROWS = 128
(
    BLOCK_COMPONENTS,
    BLOCK_PAID,
    BLOCK_NO_SUM,
    BLOCK_SIGN,
    BLOCK_NO_SIGN,
    BLOCK_FAULTS,
    BLOCK_RECORD,
    BLOCK_RAW,
    BLOCK_LINES,
) = range(MONEY_COUNT, MONEY_COUNT + 9)

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
    missing: NDArray[np.uint8]  # optional; bits MISSING_*, BROKEN_STAY, HUGE_STAY
    day: NDArray[np.int32]
    category_mask: NDArray[np.int16]  # one bit a category; 0: unknown
    care: NDArray[np.int8]  # -1: unknown
    region: NDArray[np.int32]  # optional; six digits, 0: none
    birth: NDArray[np.int32]  # optional; NO_DAY: null
    supplement: NDArray[np.int8]  # optional
    place: NDArray[np.int8]  # optional; a place of the plan, LEVEL_UNKNOWN, TREATED_UNKNOWN
    policy: NDArray[
        np.int8
    ]  # optional; the policy that settled the row, NO_POLICY_INDEX: none of these; -1: to be found
    stay: NDArray[np.int64]  # optional; of settled rows: what the stay bore and its number, NO_STAY
    episode: NDArray[np.int64]  # optional; a number >= 0 for each episode id, NO_EPISODE
    money: tuple[NDArray[np.int64], ...]  # MONEY_COLUMNS, each optional; NULL_FEN, NOT_FEN
    money_shift: NDArray[np.int64]  # 1: a column's amounts are every second word (decimal128 as it lies), 0: every one

    def amounts(self, name: str) -> NDArray[np.int64]:
        """Return a money column by its name, one amount a row; empty where it is absent."""
        index = MONEY_COLUMNS.index(name)
        return self.money[index][:: 1 << int(self.money_shift[index])]


@routine
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


@helper
def year_of(years: Words, day: int) -> int:
    """Return the year of a day; `years` is the look-up, days outside it are computed."""
    return int(years[day]) if 0 <= day < years.size else year_month_day(day)[0]


@helper
def row_flags(
    faults: int, components: int, total: int, paid: int, personal: int, has_paid: bool, recorded_mask: int, no_rule: int
) -> int:
    """Return the flags that a bill's own cells give it.

    `recorded_mask` and `no_rule` are its cell's, 0 where its payments are the ledger's and not the run's.
    """
    flags = FEES_DO_NOT_ADD_UP if (faults & COMPONENTS_NULL == 0) & (components != total) else 0
    known = faults & NULL_AMOUNT << PERSONAL == 0
    flags |= PAID_DOES_NOT_ADD_UP if has_paid & known & (paid + personal != total) else 0
    nulls = faults >> (NULL_SHIFT + FEES_COUNT) & recorded_mask
    return flags | (NO_RULE if nulls | no_rule else 0)


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
    for row in range(far_place(lo), hi):
        index = shard_of(person[row], bits)
        shard[row] = index
        counts[index] += 1


@routine
def judge_column(
    amounts: Words, shift: int, rows: int, signs: Words, null_bit: int, cells: Words, sums: Words, faults: Words
) -> None:
    """Copy a block of a money column to `cells` (0 where it is unusable), add it to `sums` and its faults to `faults`.

    A cell should have its row's sign: 1 or -1, 0 for any. Written without a branch, so that it runs on vectors.
    """
    for index in range(rows):
        amount = amounts[index << shift]
        usable = -ROW_MAX_FEN <= amount <= ROW_MAX_FEN
        fault = null_bit if amount == NULL_FEN else (BROKEN_AMOUNT if amount == NOT_FEN else HUGE_AMOUNT)
        cell = amount if usable else 0
        wrong = SIGN_AMOUNT if cell * signs[index] < 0 else 0
        cells[index] = cell
        sums[index] += cell
        faults[index] |= wrong if usable else fault


@routine
def judge_money(columns: Columns, rows: Words, begin: int, end: int, block: NDArray[np.int64]) -> None:
    """Fill a block with the money cells of rows begin..end, their faults and sums; of rows[begin:end] where rows are listed."""
    absent = 0
    for column in range(MONEY_COUNT):
        if columns.money[column].size == 0:
            absent |= NULL_AMOUNT << column
    has_reverses = columns.reverses.size > 0
    for index in range(end - begin):
        row = rows[begin + index] if rows.size > 0 else begin + index
        block[BLOCK_SIGN, index] = -1 if has_reverses and columns.reverses[row] != NO_ORIGINAL else 1
        block[BLOCK_FAULTS, index] = absent
        block[BLOCK_COMPONENTS, index] = 0
        block[BLOCK_PAID, index] = 0
    for column in range(MONEY_COUNT):
        amounts = columns.money[column]
        if amounts.size == 0:
            continue
        sums = BLOCK_PAID if column >= FEES_COUNT else BLOCK_COMPONENTS
        if column in (TOTAL, PERSONAL):
            sums = BLOCK_NO_SUM
        signed = BLOCK_NO_SIGN if column == PERSONAL else BLOCK_SIGN  # a personal share may have any sign
        null_bit = NULL_AMOUNT << column
        shift = columns.money_shift[column]
        lines = block[column], block[sums], block[BLOCK_FAULTS]
        if rows.size > 0:
            for index in range(end - begin):
                block[BLOCK_RAW, index] = amounts[rows[begin + index] << shift]
            judge_column(block[BLOCK_RAW], 0, end - begin, block[signed], null_bit, lines[0], lines[1], lines[2])
        else:
            part = amounts[begin << shift : end << shift]
            judge_column(part, shift, end - begin, block[signed], null_bit, lines[0], lines[1], lines[2])


@routine
def find_records(shard: Words, cursors: Words, width: int, work: Words, block: NDArray[np.int64]) -> None:
    """Give each row of a block the next place of its shard, and write both ends of its record.

    The memory of the whole block is then under way before the first row is judged.
    """
    for index in range(shard.size):
        at = cursors[shard[index]]
        cursors[shard[index]] = at + 1
        record = far_place(at * width)
        block[BLOCK_RECORD, index] = record
        work[record + PERSON] = 0
        work[record + far_place(width - 1)] = 0


@kernel
def pack_rows(
    book: Words,
    fields: Words,
    settings: Words,
    columns: Columns,
    listed: Words,
    lo: int,
    hi: int,
    years: Words,
    shard: Words,
    cursors: Words,
    width: int,
    work: Words,
    block: NDArray[np.int64],
) -> None:
    """Write rows lo..hi as records to their shards, each at its shard's cursor, with what one row alone tells.

    Where rows are listed, they are listed[lo:hi], and their records follow each other. `block` is room to work in: BLOCK_LINES x BLOCK_ROWS, zero.
    """
    reaccount = settings[INTAKE_REACCOUNT] != 0
    by_region = settings[INTAKE_BOOK] != 0
    set_known_day = settings[INTAKE_KNOWN_DAY]
    known_as_settled = settings[INTAKE_KNOWN_AS_SETTLED] != 0
    # One name a column: reaching into the tuple inside the loop costs more than the row.
    person, times, ids, reverses_ids, missing_bits, days, masks, cares, regions, births, supplements = columns[:11]
    places, policies, stays, episodes = columns.place, columns.policy, columns.stay, columns.episode
    has_reverses, has_missing, has_region = reverses_ids.size > 0, missing_bits.size > 0, regions.size > 0
    has_birth, has_supplement = births.size > 0, supplements.size > 0
    has_place, has_policy, has_stay, has_episode = places.size > 0, policies.size > 0, stays.size > 0, episodes.size > 0
    stay_word, episode_word = fields[FIELD_STAY], fields[FIELD_EPISODE]
    reverses_word = fields[FIELD_REVERSES]
    has_paid = False
    for column in range(FEES_COUNT, PERSONAL):
        has_paid |= columns.money[column].size > 0
    required = NULL_AMOUNT << TOTAL | NULL_AMOUNT << ELIGIBLE
    if reaccount:
        required |= NULL_AMOUNT << CATASTROPHIC

    for begin in range(lo, hi, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, hi)
        judge_money(columns, listed, begin, end, block)
        if listed.size > 0:
            for index in range(end - begin):
                block[BLOCK_RECORD, index] = (begin - lo + index) * width
        else:
            find_records(shard[begin:end], cursors, width, work, block)
        for index in range(end - begin):
            row = far_place(listed[begin + index] if listed.size > 0 else begin + index)
            record = far_place(block[BLOCK_RECORD, index])
            missing = int(missing_bits[row]) if has_missing else 0
            faults = block[BLOCK_FAULTS, index]
            bill = block[BLOCK_SIGN, index] > 0
            total, eligible = block[TOTAL, index], block[ELIGIBLE, index]
            paid = block[BLOCK_PAID, index]
            nulls = faults >> (NULL_SHIFT + FEES_COUNT) & ALL_LAYERS

            # Whose, when, under which policy.
            mask = int(masks[row])
            care = int(cares[row])
            region = int(regions[row]) if has_region else 0
            day = int(days[row])
            time = times[row]
            day_missing = missing & MISSING_DAY != 0
            known_day = time // DAY_US if known_as_settled else set_known_day
            policy_index = NO_POLICY_INDEX
            if has_policy and policies[row] >= 0:
                policy_index = int(policies[row])
            elif not day_missing:
                policy_index = find_policy(book, region, day, known_day, by_region)
            policy = place(HEAD_WIDTH + (0 if policy_index == NO_POLICY_INDEX else policy_index) * POLICY_WIDTH)
            category = book[place(book[policy + POLICY_FAVOUR] + mask)]
            where = LEVEL_UNKNOWN | TREATED_UNKNOWN | UNGRADED
            if has_place:
                where = int(places[row])
            spot = where & PLACE if book[policy + POLICY_BY_PLACE] else 0
            cell_number = (spot * CATEGORIES_COUNT + max(0, category)) * CARE_COUNT + max(0, care)
            cell = place(book[policy + POLICY_CELLS]) + cell_number * CELL_WIDTH
            needs = book[cell + CELL_NEEDS]
            needs_age = needs & NEEDS_AGE != 0
            unknown = needs & (where // LEVEL_UNKNOWN * NEEDS_LEVEL)
            unplaced = bill and unknown != 0 and category >= 0 and care >= 0 and policy_index != NO_POLICY_INDEX
            unplaced = unplaced and missing & MISSING_CELL == 0  # else it is rejected anyway, as in an earlier run
            age = AGE_UNKNOWN
            if needs_age and has_birth:
                age = completed_years(int(births[row]), day)
            in_window = policy_index != NO_POLICY_INDEX and (
                book[policy + POLICY_WINDOW_FROM_DAY] <= day <= book[policy + POLICY_WINDOW_TO_DAY]
            )
            year = 0
            by_settled = book[policy + POLICY_YEAR_BY_SETTLED] != 0
            if not day_missing and not (by_settled and time == UNREADABLE_TIME):
                year = year_of(years, time // DAY_US if by_settled else day)

            # The first code that fits wins; a reversal takes policy and age from its original.
            status = OK
            if missing & MISSING_CELL or faults & required or unplaced:
                status = MISSING_VALUE
            elif faults & BROKEN_AMOUNT or missing & BROKEN_STAY:
                status = AMOUNT_NOT_FEN
            elif faults & HUGE_AMOUNT or missing & HUGE_STAY:
                status = AMOUNT_OUT_OF_RANGE
            elif faults & SIGN_AMOUNT:
                status = WRONG_SIGN
            elif category < 0:
                status = UNKNOWN_CATEGORY
            elif care < 0:
                status = UNKNOWN_CARE_TYPE
            elif bill and policy_index == NO_POLICY_INDEX:
                status = NO_POLICY
            elif abs(eligible) > abs(total):
                status = ELIGIBLE_EXCEEDS_TOTAL
            elif bill and needs_age and age == AGE_UNKNOWN:
                status = BIRTH_DATE_MISSING
            elif bill and reaccount and paid > total:
                status = PAID_EXCEEDS_TOTAL

            flags = unknown << UNPLACED_SHIFT if unplaced else 0
            if status == OK and bill:
                components, personal = block[BLOCK_COMPONENTS, index], block[PERSONAL, index]
                recorded_mask, no_rule = 0, 0
                if in_window or not reaccount:
                    recorded_mask, no_rule = book[cell + CELL_RECORDED_MASK], book[cell + CELL_NO_RULE]
                flags |= row_flags(faults, components, total, paid, personal, has_paid, recorded_mask, no_rule)
            kind = NORMAL if bill else REVERSAL
            if missing & MISSING_PERSON:
                kind = NOBODY
            supplement = 0
            if has_supplement and supplements[row] > 0 and mask & book[policy + POLICY_SUPPLEMENT]:
                supplement = 1

            work[record + PERSON] = person[row]
            work[record + TIME] = time
            work[record + ID] = ids[row]
            work[record + ROW] = row
            work[record + GROUP] = year * 10_000 + region // 100
            work[record + HEAD] = (
                status
                | flags << SHIFT_FLAGS
                | spot << SHIFT_PLACE
                | kind << SHIFT_KIND
                | max(0, care) << SHIFT_CARE
                | max(0, category) << SHIFT_CATEGORY
                | policy_index << SHIFT_POLICY
                | int(in_window) << SHIFT_WINDOW
                | supplement << SHIFT_SUPPLEMENT
                | nulls << SHIFT_NULLS
                | age << SHIFT_AGE
            )
            word = FIXED_WORDS
            if reverses_word >= 0:
                work[record + place(reverses_word)] = reverses_ids[row] if has_reverses else NO_ORIGINAL
                word += 1
            for column in range(PERSONAL):
                if fields[FIELD_FEE + column] >= 0:
                    work[record + place(word)] = block[column, index]
                    word += 1
            if stay_word >= 0:
                work[record + place(stay_word)] = stays[row] if has_stay else NO_STAY
                work[record + place(episode_word)] = episodes[row] if has_episode else NO_EPISODE
