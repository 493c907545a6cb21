"""One claim without a ledger around it: integers on a desk in, payments and balances out.

`settle_one` puts a claim into the record that the waterfall reads, and is careful: where anything about the claim is
odd (a reject, a missing parameter, an amount out of range) it moves nothing and returns LOOK_CLOSER; the way through a
ledger then says what is wrong. No rule stands here: payments are `settle_claim`'s.
"""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place
from yibao_core.batch import reimbursement_flags
from yibao_core.calendar import YEAR_FIRST, YEAR_LAST, completed_years, year_month_day
from yibao_core.claim import (
    OPTIONS,
    SCRATCH,
    SCRATCH_EPISODE,
    SCRATCH_LEFT,
    SCRATCH_STAY,
    SCRATCH_STAY_RULE,
    cell_of,
    settle_claim,
)
from yibao_core.errors import RowStatus
from yibao_core.intake import (
    ELIGIBLE,
    FEES_COUNT,
    LEVEL_UNKNOWN,
    MONEY_COUNT,
    NULL_AMOUNT,
    PERSONAL,
    PLACE,
    TOTAL,
    TREATED_UNKNOWN,
    find_policy,
    row_flags,
)
from yibao_core.money import NULL_FEN, ROW_MAX_FEN
from yibao_core.plan import (
    AGE_UNKNOWN,
    CELL_NEED,
    CELL_NEEDS,
    CELL_NO_RULE,
    CELL_RECORDED_MASK,
    FOREVER_DAY,
    HEAD_WIDTH,
    MASKS,
    NEEDS_AGE,
    NEEDS_LEVEL,
    NO_POLICY_INDEX,
    POLICY_BY_PLACE,
    POLICY_FAVOUR,
    POLICY_WIDTH,
    POLICY_YEAR_BY_SETTLED,
)
from yibao_core.policy import CARE_TYPES, FEES, LAYERS
from yibao_core.records import (
    FIELD_STAY,
    FIELD_WIDTH,
    FIXED_WORDS,
    HEAD,
    NO_EPISODE,
    NO_STAY,
    SHIFT_AGE,
    SHIFT_CARE,
    SHIFT_CATEGORY,
    SHIFT_PLACE,
    SHIFT_POLICY,
    record_fields,
)
from yibao_core.stays import move_meter

# Balances of many people, and a desk, begin with these two words. A slot is a person's year in one city.
HELD_WIDTH, HELD_END, HELD_FIRST = 0, 1, 2  # words of a slot; where the next new slot will lie
SLOT_KEY, SLOT_NEXT, SLOT_BALANCES = range(
    3
)  # benefit year x 10,000 + city; the person's next slot, NO_SLOT; then as in a group
NO_SLOT = -1

FIELDS = record_fields(FEES, LAYERS, reversals=False, stays=True)
RECORD_WIDTH = int(FIELDS[FIELD_WIDTH])
FIRST_LAYER = FIXED_WORDS + FEES_COUNT
OPTIONS_OF_ONE = np.zeros(OPTIONS, dtype=np.int64)
OPTIONS_OF_ONE.flags.writeable = False
STAY_WORD = int(FIELDS[FIELD_STAY])

# A desk, behind HELD_FIRST: what all claims of one form share, room to work in, then the claim.
DESK_COLUMNS = HELD_FIRST  # for each money column the word of the desk that holds its amount; DESK_NULL: it is absent
DESK_NULL = DESK_COLUMNS + MONEY_COUNT  # NULL_FEN
DESK_BY_REGION = DESK_NULL + 1  # 1: a book, 0: one policy alone
DESK_HAS_PAID = DESK_BY_REGION + 1  # 1: some payment is recorded
DESK_RESULT = DESK_HAS_PAID + 1  # where the results lie
DESK_RECORD = DESK_RESULT + 1
DESK_SCRATCH = DESK_RECORD + RECORD_WIDTH
DESK_CLAIM = DESK_SCRATCH + SCRATCH

# The claim. Its amounts follow, NULL_FEN where a cell is null.
(
    CLAIM_SLOT,  # the person's first slot, NO_SLOT: none is held
    CLAIM_KEEP,  # 1: move the balances that are held, 0: only say what they would be
    CLAIM_DAY,
    CLAIM_SETTLED_DAY,
    CLAIM_MASK,  # set of categories
    CLAIM_CARE,
    CLAIM_REGION,  # 0: none
    CLAIM_BIRTH,  # NO_DAY: unknown
    CLAIM_PLACE,  # as a cell of `Columns.place`
    CLAIM_MONEY,
) = range(10)

# The results: payments layer by layer, then these, then the balances of the slot after the claim, and before it.
(
    RESULT_LEFT,  # what is left to the person
    RESULT_FLAGS,
    RESULT_POLICY,
    RESULT_KEY,
    RESULT_SLOT,  # the slot that was moved; of a preview the one that would be, NO_SLOT: a new one
    RESULT_STAY,  # NO_STAY, or what the stay bore and its number
    RESULT_BALANCES,
) = range(len(LAYERS), len(LAYERS) + 7)

DONE, LOOK_CLOSER = 0, 1
SETTLED = int(RowStatus.SETTLED)
LAYERS_COUNT, CARE_COUNT, PLACES_END = len(LAYERS), len(CARE_TYPES), 2 * TREATED_UNKNOWN
REQUIRED_FAULTS = NULL_AMOUNT << TOTAL | NULL_AMOUNT << ELIGIBLE


def new_desk(columns: list[int], by_region: bool, accounts: int) -> NDArray[np.int64]:
    """Return a desk for claims that show the money columns `columns`, in this order, and plans of so many accounts.

    Behind the claim's amounts is room for a slot, at `slot_of(columns)`, for who brings balances along.
    """
    width = SLOT_BALANCES + 2 * accounts
    result = slot_of(len(columns)) + width
    desk = np.zeros(result + RESULT_BALANCES + 4 * accounts, dtype=np.int64)
    desk[HELD_WIDTH] = width
    desk[DESK_COLUMNS : DESK_COLUMNS + MONEY_COUNT] = DESK_NULL
    for index, column in enumerate(columns):
        desk[DESK_COLUMNS + column] = DESK_CLAIM + CLAIM_MONEY + index
    desk[DESK_NULL] = NULL_FEN
    desk[DESK_BY_REGION] = by_region
    desk[DESK_HAS_PAID] = any(FEES_COUNT <= column < PERSONAL for column in columns)
    desk[DESK_RESULT] = result
    return desk


def slot_of(amounts: int) -> int:
    """Return where the desk's own slot lies behind so many amounts."""
    return DESK_CLAIM + CLAIM_MONEY + amounts


def result_of(amounts: int, accounts: int) -> int:
    """Return where the results lie on the desk."""
    return slot_of(amounts) + SLOT_BALANCES + 2 * accounts


@helper
def read_amounts(desk: Words) -> tuple[int, int, int, int]:
    """Write the claim's amounts to the record; return nulls as `judge_column` marks them (-1: some amount is odd), the sum
    of the components, that of recorded payments, and the personal share."""
    faults, components, paid, personal = 0, 0, 0, 0
    for column in range(MONEY_COUNT):
        amount = desk[place(desk[DESK_COLUMNS + column])]
        if amount == NULL_FEN:
            faults |= NULL_AMOUNT << column
            amount = 0
        if amount > ROW_MAX_FEN or amount < (-ROW_MAX_FEN if column == PERSONAL else 0):
            return -1, 0, 0, 0
        if column == PERSONAL:
            personal = amount
        else:
            desk[DESK_RECORD + FIXED_WORDS + column] = amount
            if column >= FEES_COUNT:
                paid += amount
            elif column != TOTAL:
                components += amount
    if faults & REQUIRED_FAULTS:
        return -1, 0, 0, 0
    return faults, components, paid, personal


@helper
def find_cell(book: Words, desk: Words) -> tuple[int, int]:
    """Return the claim's policy, and the head of its record with what tells its cell; NO_POLICY_INDEX where that is not all plain."""
    day, region, birth = desk[DESK_CLAIM + CLAIM_DAY], desk[DESK_CLAIM + CLAIM_REGION], desk[DESK_CLAIM + CLAIM_BIRTH]
    mask, care, where = desk[DESK_CLAIM + CLAIM_MASK], desk[DESK_CLAIM + CLAIM_CARE], desk[DESK_CLAIM + CLAIM_PLACE]
    if not (0 < mask < MASKS and 0 <= care < CARE_COUNT and 0 <= where < PLACES_END):
        return NO_POLICY_INDEX, 0
    if region != 0 and not 100_000 <= region < 1_000_000:
        return NO_POLICY_INDEX, 0
    index = find_policy(book, region, day, FOREVER_DAY, desk[DESK_BY_REGION] != 0)
    if index == NO_POLICY_INDEX:
        return NO_POLICY_INDEX, 0
    policy = place(HEAD_WIDTH + index * POLICY_WIDTH)
    category = book[place(book[policy + POLICY_FAVOUR] + mask)]
    if category < 0:
        return NO_POLICY_INDEX, 0
    spot = where & PLACE if book[policy + POLICY_BY_PLACE] else 0
    head = spot << SHIFT_PLACE | care << SHIFT_CARE | category << SHIFT_CATEGORY | index << SHIFT_POLICY
    cell = cell_of(book, head)
    needs = book[cell + CELL_NEEDS]
    if book[cell + CELL_NEED] or needs & (where // LEVEL_UNKNOWN * NEEDS_LEVEL):
        return NO_POLICY_INDEX, 0
    age = AGE_UNKNOWN
    if needs & NEEDS_AGE:
        if -FOREVER_DAY < birth < FOREVER_DAY:
            age = completed_years(birth, day)
        if age == AGE_UNKNOWN:
            return NO_POLICY_INDEX, 0
    return index, head | age << SHIFT_AGE


@kernel
def settle_one(book: Words, held: Words, desk: Words) -> int:
    """Settle the claim on the desk with its person's balances in `held` (may be the desk itself); return DONE or LOOK_CLOSER.

    The results are written to the desk; balances in `held` move only where the claim is settled and says so.
    """
    index, head = find_cell(book, desk)
    if index == NO_POLICY_INDEX:
        return LOOK_CLOSER
    faults, components, recorded, personal = read_amounts(desk)
    total, eligible = desk[DESK_RECORD + FIXED_WORDS + TOTAL], desk[DESK_RECORD + FIXED_WORDS + ELIGIBLE]
    if faults < 0 or eligible > total:
        return LOOK_CLOSER
    desk[DESK_RECORD + HEAD] = head
    desk[DESK_RECORD + STAY_WORD] = NO_STAY
    desk[DESK_RECORD + STAY_WORD + 1] = NO_EPISODE

    day = desk[DESK_CLAIM + CLAIM_DAY]
    if book[place(HEAD_WIDTH + index * POLICY_WIDTH) + POLICY_YEAR_BY_SETTLED]:
        day = desk[DESK_CLAIM + CLAIM_SETTLED_DAY]
        if not -FOREVER_DAY < day < FOREVER_DAY:
            return LOOK_CLOSER
    year = year_month_day(day)[0]
    if not YEAR_FIRST <= year <= YEAR_LAST:
        return LOOK_CLOSER
    key = year * 10_000 + desk[DESK_CLAIM + CLAIM_REGION] // 100
    width = held[HELD_WIDTH]
    words = width - SLOT_BALANCES
    result = place(desk[DESK_RESULT])
    after = result + RESULT_BALANCES
    slot, last = desk[DESK_CLAIM + CLAIM_SLOT], NO_SLOT
    while slot != NO_SLOT and held[far_place(slot) + SLOT_KEY] != key:
        slot, last = held[far_place(slot) + SLOT_NEXT], slot
    for word in range(words):
        balance = held[far_place(slot) + SLOT_BALANCES + word] if slot != NO_SLOT else 0
        desk[after + word] = balance
        desk[after + words + word] = balance

    scratch = desk[DESK_SCRATCH : DESK_SCRATCH + SCRATCH]
    scratch[SCRATCH_EPISODE] = -1
    nothing = desk[:0]
    status = settle_claim(book, FIELDS, OPTIONS_OF_ONE, desk, DESK_RECORD, desk, after, scratch, nothing, nothing)
    if status != SETTLED:
        return LOOK_CLOSER
    stay = scratch[SCRATCH_STAY]
    if stay != NO_STAY:
        move_meter(book, scratch[SCRATCH_STAY_RULE], desk, after, -1, key, stay, 1)
    left = scratch[SCRATCH_LEFT]
    cell = cell_of(book, head)
    flags = row_flags(
        faults, components, total, recorded, personal, desk[DESK_HAS_PAID] != 0,
        book[cell + CELL_RECORDED_MASK], book[cell + CELL_NO_RULE],
    )  # fmt: skip
    flags |= reimbursement_flags(total, eligible, total - left, left)

    if desk[DESK_CLAIM + CLAIM_KEEP]:
        if slot == NO_SLOT:
            slot = held[HELD_END]
            held[HELD_END] = slot + width
            held[far_place(slot) + SLOT_KEY] = key
            held[far_place(slot) + SLOT_NEXT] = NO_SLOT
            if last != NO_SLOT:
                held[far_place(last) + SLOT_NEXT] = slot
        for word in range(words):
            held[far_place(slot) + SLOT_BALANCES + word] = desk[after + word]
    for layer in range(LAYERS_COUNT):
        desk[result + layer] = desk[DESK_RECORD + FIRST_LAYER + layer]
    desk[result + RESULT_LEFT] = left
    desk[result + RESULT_FLAGS] = flags
    desk[result + RESULT_POLICY] = index
    desk[result + RESULT_KEY] = key
    desk[result + RESULT_SLOT] = slot
    desk[result + RESULT_STAY] = stay
    return DONE
