"""Plain rows: bills that short records can settle, and the short records.

Most rows of a ledger are bills like any other: no reversal, nothing to reject, no amount above 21 million yuan, no
figure recorded in a layer of which the ledger's figure stands, a cell of the plan that a program does. Such a row fits
four to six words. Everything else leaves the same short record with its mark FULL, and sends all rows of its person to
`full`, where records hold every column.
"""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place, routine
from yibao_core.instructions import prefetch
from yibao_core.intake import (
    ALL_LAYERS,
    BLOCK_COMPONENTS,
    BLOCK_FAULTS,
    BLOCK_LINES,
    BLOCK_NO_SUM,
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
    NO_ORIGINAL,
    NULL_AMOUNT,
    PERSONAL,
    TOTAL,
    Columns,
    find_policy,
    judge_money,
    row_flags,
    year_of,
)
from yibao_core.plan import (
    CARE_CODES,
    HEAD_WIDTH,
    NO_POLICY_INDEX,
    PLAIN_ADDS_FEES,
    PLAIN_BOUND,
    PLAIN_CELL_RECORDED,
    PLAIN_COMPUTED,
    PLAIN_KEEPS_BASIC,
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
from yibao_core.short import (
    AMOUNT_BITS,
    AMOUNT_MAX_FEN,
    BUCKET_BITS,
    FULL,
    KEEPS_BASIC,
    OLD,
    RANGE_DAY,
    RANGE_ID,
    RANGE_PERSON,
    RANGE_REGION,
    RANGE_TIME,
    RANGES,
    SHIFT_BOUND,
    SHIFT_PROGRAM,
    Field,
    Layout,
)

BASIC = FEES_COUNT + LAYERS.index(METERED)
SELF_FUNDED, OVER_LIMIT, FIRST_PAY = (FEES.index(fee) for fee in ("self_funded_fee", "over_limit_fee", "first_pay_fee"))
MIX_BITS = 30


@routine
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
    LINE_PLACE,
    LINE_CELL,  # what the plan says of the row's cell
    LINE_FLAGS,
    LINE_WORDS,
) = range(BLOCK_LINES, BLOCK_LINES + 9)
PLAIN_LINES = LINE_WORDS + len(Layout._fields) - 1


@routine
def read_dense(amounts: Words, rows: int, bit: int, cells: Words, sums: Words, nonzero: Words) -> int:
    """Copy a block of a money column to `cells`, add it to `sums`, put `bit` to `nonzero` where there is a figure.

    Returns all cells or-ed: none is negative, null or above 21 million yuan where that shows no upper bit.
    """
    together = 0
    for index in range(rows):
        amount = amounts[index]
        together |= amount
        small = amount & AMOUNT_MAX_FEN  # another amount would leave 64 bits in the sum; its block is judged again
        cells[index] = small
        sums[index] += small
        nonzero[index] |= bit if amount != 0 else 0
    return together


@routine
def read_pairs(amounts: Words, rows: int, bit: int, cells: Words, sums: Words, nonzero: Words) -> int:
    """Do what `read_dense` does with decimal128 as it lies: (low, high) words.

    Both words are read: whole lines go to vectors, single words would be gathered one by one, in three times the time.
    """
    together = 0
    for index in range(rows):
        amount = amounts[2 * index]
        together |= amount | amounts[2 * index + 1]
        small = amount & AMOUNT_MAX_FEN
        cells[index] = small
        sums[index] += small
        nonzero[index] |= bit if amount != 0 else 0
    return together


@helper
def read_money(columns: Columns, begin: int, end: int, block: NDArray[np.int64]) -> bool:
    """Fill a block's money lines where all its rows are bills of small amounts without a null; False where they are not.

    What `judge_money` would find, without looking at each cell for each fault.
    """
    rows = end - begin
    if columns.reverses.size > 0:
        for row in range(begin, end):
            if columns.reverses[row] != NO_ORIGINAL:
                return False
    absent, together = 0, 0
    components, paid, nonzero = block[BLOCK_COMPONENTS], block[BLOCK_PAID], block[LINE_NONZERO]
    for index in range(rows):
        components[index], paid[index], nonzero[index] = 0, 0, 0
    for column in range(PERSONAL):
        amounts, shift = columns.money[column], columns.money_shift[column]
        if amounts.size == 0:
            absent |= NULL_AMOUNT << column
            continue
        bit = 1 << (column - FEES_COUNT) if column >= FEES_COUNT else 0
        sums = BLOCK_NO_SUM if column == TOTAL else (BLOCK_PAID if column >= FEES_COUNT else BLOCK_COMPONENTS)
        part = amounts[begin << shift : end << shift]
        if shift == 0:
            together |= read_dense(part, rows, bit, block[column], block[sums], nonzero)
        else:
            together |= read_pairs(part, rows, bit, block[column], block[sums], nonzero)
    amounts, shift = columns.money[PERSONAL], columns.money_shift[PERSONAL]
    if amounts.size == 0:
        absent |= NULL_AMOUNT << PERSONAL
    else:  # a personal share may have any sign
        for index in range(rows):
            amount = amounts[(begin + index) << shift]
            block[PERSONAL, index] = amount
            together |= 0 if -AMOUNT_MAX_FEN <= amount <= AMOUNT_MAX_FEN else -1
    faults, sign = block[BLOCK_FAULTS], block[BLOCK_SIGN]
    for index in range(rows):
        faults[index], sign[index] = absent, 1
    return together >> AMOUNT_BITS == 0


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


@routine
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
    days = columns.day[begin : begin + rows]
    if settings[INTAKE_BOOK] == 0:
        first, last = book[HEAD_WIDTH + POLICY_FROM_DAY], book[HEAD_WIDTH + POLICY_TO_DAY]
        for index in range(rows):
            good[index] &= 1 if (first <= days[index]) & (days[index] <= last) else 0
            found[index] = HEAD_WIDTH
        return
    times, regions = columns.time[begin : begin + rows], columns.region[begin : begin + rows]
    known_as_settled, set_known_day = settings[INTAKE_KNOWN_AS_SETTLED] != 0, settings[INTAKE_KNOWN_DAY]
    for index in range(rows):
        known_day = times[index] // DAY_US if known_as_settled else set_known_day
        policy = find_policy(book, int(regions[index]), int(days[index]), known_day, True)
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
def find_cells(
    book: Words, columns: Columns, reaccount: bool, one_policy: bool, begin: int, rows: int, block: NDArray[np.int64]
) -> None:
    """Write what the plan says of each row's cell to LINE_CELL; what speaks against a row outside its amounts counts."""
    cell, good, policies = block[LINE_CELL], block[LINE_GOOD], block[LINE_POLICY]
    masks, cares = columns.category_mask[begin : begin + rows], columns.care[begin : begin + rows]
    table = book[HEAD_WIDTH + POLICY_PLAIN]
    for index in range(rows):
        if not one_policy:
            table = book[place(policies[index]) + POLICY_PLAIN]
        cell[index] = book[place(table + int(masks[index]) * CARE_CODES + (int(cares[index]) & (CARE_CODES - 1)))]
    if not reaccount:
        return
    days = columns.day[begin : begin + rows]
    if one_policy:
        first, last = book[HEAD_WIDTH + POLICY_WINDOW_FROM_DAY], book[HEAD_WIDTH + POLICY_WINDOW_TO_DAY]
        for index in range(rows):
            good[index] &= 1 if (first <= days[index]) & (days[index] <= last) else 0
    else:
        for index in range(rows):
            policy, day = place(policies[index]), int(days[index])
            in_window = book[policy + POLICY_WINDOW_FROM_DAY] <= day <= book[policy + POLICY_WINDOW_TO_DAY]
            good[index] &= 1 if in_window else 0
    if columns.supplement.size > 0:
        for index in range(rows):
            asked = book[place(policies[index]) + POLICY_SUPPLEMENT] & int(masks[index]) != 0
            good[index] &= 0 if asked and columns.supplement[begin + index] > 0 else 1


@routine
def find_tags(
    reaccount: bool, has_paid: bool, rows: int, mixed: Words, block: NDArray[np.int64], tags: Words, flags: Words
) -> None:
    """Write the tag of each row of a block, and the flags that plain rows have by themselves. Without a branch."""
    cells, goods, faults, nonzero = block[LINE_CELL], block[LINE_GOOD], block[BLOCK_FAULTS], block[LINE_NONZERO]
    totals, components = block[TOTAL], block[BLOCK_COMPONENTS]
    paid, personal = block[BLOCK_PAID], block[PERSONAL]
    refused = PAID_DOES_NOT_ADD_UP if reaccount else 0
    for index in range(rows):
        cell, total = cells[index], totals[index]
        flag = row_flags(
            faults[index], components[index], total, paid[index], personal[index], has_paid,
            cell >> PLAIN_CELL_RECORDED & ALL_LAYERS, cell >> PLAIN_NO_RULE & 1,
        )  # fmt: skip
        flags[index] = flag
        good = (goods[index] != 0) & (cell >= 0) & (nonzero[index] & (cell >> PLAIN_RECORDED) & ALL_LAYERS == 0)
        good &= (cell >> PLAIN_ADDS_FEES & 1 == 0) | (components[index] <= total)
        good &= flag & refused == 0
        old = OLD if nonzero[index] & (cell >> PLAIN_COMPUTED) & ALL_LAYERS else 0
        tag = (cell & (PROGRAMS_MAX - 1)) << SHIFT_PROGRAM | (cell >> PLAIN_BOUND & 3) << SHIFT_BOUND | old
        tag |= KEEPS_BASIC if cell >> PLAIN_KEEPS_BASIC & 1 else 0
        tags[index] = mixed[index] & ((1 << BUCKET_BITS) - 1) | (tag if good else FULL)


@routine
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
    reaccount, one_policy = settings[INTAKE_REACCOUNT] != 0, settings[INTAKE_BOOK] == 0
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
        # The memory of the block's records is under way while its rows are judged.
        places, own_mixed = block[LINE_PLACE], mixed[begin:end]
        for index in range(rows):
            shard = own_mixed[index] >> shard_shift
            at = cursors[shard]
            cursors[shard] = at + 1
            places[index] = at * width
            prefetch(work, far_place((at + 2) * width))
        if not read_money(columns, begin, end, block):
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
        find_cells(book, columns, reaccount, one_policy, begin, rows, block)
        flag_line = block[LINE_FLAGS]
        find_tags(reaccount, has_paid, rows, own_mixed, block, block[LINE_TAG], flag_line)
        if own_flags.size > 0:
            for index in range(rows):
                own_flags[index] = flag_line[index]
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
        # Write the records
        for word in range(width):
            line = block[LINE_WORDS + word]
            for index in range(rows):
                work[far_place(places[index]) + word] = line[index]
