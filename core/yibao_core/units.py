"""The people of a shard of short records: each person's year in order, through the programs of their cells.

What a program pays is what `layers` pays: `base_fen` and `pay_layer` are the waterfall's own. A person with a marked row, with
two equal ids, with very many rows or very much money is left to `full`, which every row can go through.
"""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place
from yibao_core.accumulators import (
    GROUP_BALANCES,
    GROUP_HOLD,
    GROUP_ID_ROW,
    GROUP_KEY,
    GROUP_LAST_ROW,
    GROUP_PERSON,
    GROUP_ROWS,
    feed,
)
from yibao_core.layers import ELIGIBLE_MASK, base_fen, cut_fen, is_below, pay_layer
from yibao_core.money import YEAR_MAX_FEN
from yibao_core.order import Texts, compare_texts
from yibao_core.plain import AMOUNT_BITS, FULL, OLD, SHIFT_PROGRAM, Layout, optional_of, value_of
from yibao_core.plan import (
    BOUND_ELIGIBLE,
    BOUND_TOTAL,
    COMPUTED,
    HEAD_ACCOUNTS,
    HEAD_PROGRAMS,
    PROGRAM_BOUND,
    PROGRAM_CHARGED_TOTAL,
    PROGRAM_FEEDS,
    PROGRAM_FEES,
    PROGRAM_FIRST_FEN,
    PROGRAM_FIRST_STEP,
    PROGRAM_HALF_FEN_BP,
    PROGRAM_KEEPS_BASIC,
    PROGRAM_LAYER,
    PROGRAM_MODE,
    PROGRAM_RULE,
    PROGRAM_STEP_WIDTH,
    PROGRAM_STEPS,
    RECORDED,
    RULE_ACCOUNT,
    RULE_CAP_FEN,
    RULE_LIMIT_ACCOUNT,
    RULE_LIMIT_FEN,
)
from yibao_core.policy import FEES, LAYERS, METERED
from yibao_core.tiers import entitled_fen

RANKED = 8
ROWS_MAX = 64  # of a person: ids are compared pair by pair, times put in order by insertion
BASIC = LAYERS.index(METERED)
TOTAL_MASK, SELF_FUNDED_MASK, OVER_LIMIT_MASK, FIRST_PAY_MASK = (
    1 << FEES.index(fee) for fee in ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee")
)

# A result: the payments (fen) of two layers a word. Bit 62 of the first word says that the payments reach the eligible fee,
# a negative first word (its complement then holds the payments) that nothing is left to the person.
REACHES = 62
NOT_HERE = -(2**63)  # the person's rows are in the list for `full`

# What a call has found.
FOUND_GROUPS, FOUND_LISTED, FOUND_VIOLATIONS, FOUNDS = range(4)


@helper
def fees_of(work: Words, record: int, layout: Layout, mask: int, total: int, eligible: int) -> int:
    """Return the sum of the fees in `mask`."""
    if mask == ELIGIBLE_MASK:
        return eligible
    if mask == TOTAL_MASK:
        return total
    amount_fen = eligible if mask & ELIGIBLE_MASK else 0
    amount_fen += value_of(work, record, layout.self_funded) if mask & SELF_FUNDED_MASK else 0
    amount_fen += value_of(work, record, layout.over_limit) if mask & OVER_LIMIT_MASK else 0
    amount_fen += value_of(work, record, layout.first_pay) if mask & FIRST_PAY_MASK else 0
    return amount_fen


@helper
def bound_of(book: Words, program: int, total: int, eligible: int, basic: int) -> int:
    """Return what no base of the row's computed layers exceeds."""
    bound = book[program + PROGRAM_BOUND]
    if bound == BOUND_TOTAL:
        return total
    return eligible if bound == BOUND_ELIGIBLE else max(0, eligible - basic)


@helper
def pay_plain(
    book: Words,
    program: int,
    layout: Layout,
    work: Words,
    record: int,
    balances: Words,
    at: int,
    lines: Words,
    out: Words,
) -> int:
    """Settle one plain row: move the balances at `at`, write its payments to its result `out`; return the violations.

    `lines` tells which payment of a result belongs to which layer (-1: none does).
    """
    total, eligible = value_of(work, record, layout.total), value_of(work, record, layout.eligible)
    half_fen_bp = book[program + PROGRAM_HALF_FEN_BP]
    left, eligible_paid, total_paid = total, 0, 0
    least = 0
    for word in range(out.size):
        out[word] = 0
    step = place(program + PROGRAM_FIRST_STEP)
    for _ in range(book[program + PROGRAM_STEPS]):
        layer, mode, rule = book[step + PROGRAM_LAYER], book[step + PROGRAM_MODE], place(book[step + PROGRAM_RULE])
        fees = fees_of(work, record, layout, book[step + PROGRAM_FEES], total, eligible)
        base = base_fen(fees, total, eligible_paid, total_paid)
        paid = 0
        if mode == COMPUTED:
            before = balances[at + 2 * place(book[rule + RULE_ACCOUNT])]
            paid = pay_layer(book, rule, half_fen_bp, balances, at, before, base, left)
        elif mode == RECORDED and layer == BASIC:
            paid = min(optional_of(work, record, layout.basic), left)
        if book[step + PROGRAM_FEEDS]:
            feed(balances, at, book, rule, base, paid)
        if book[step + PROGRAM_CHARGED_TOTAL]:
            total_paid += paid
        else:
            eligible_paid += paid
        left -= paid
        least = min(least, paid)
        line = lines[layer]
        if line >= 0:
            out[line >> 1] |= paid << (line & 1) * AMOUNT_BITS
        step = place(step + PROGRAM_STEP_WIDTH)
    note_reach(out, total, eligible, total - left)
    return 1 if least < 0 or left < 0 else 0


@helper
def note_reach(out: Words, total: int, eligible: int, paid: int) -> None:
    """Mark a result whose payments reach the eligible or the total fee."""
    if eligible > 0 and paid >= eligible:
        out[0] |= 1 << REACHES
    if total > 0 and paid >= total:
        out[0] = ~out[0]


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
def put_in_order(
    people: Words, layout: Layout, order: Words, keys: Words, first: int, end: int, texts: Texts, spare: Words
) -> None:
    """Put the records order[first:end] of one person in their order: by time, then by id."""
    for index in range(first, end):
        keys[index] = value_of(people, place(order[index] * layout.width), layout.time)
    if end - first <= RANKED and rank(keys, order, first, end, spare):
        return
    sort_by(keys, order, first, end)
    for index in range(first + 1, end):
        at = index
        while at > first and keys[place(at - 1)] == keys[at]:
            one, other = order[place(at - 1)], order[at]
            if not id_before(people, layout, other, one, texts):
                break
            order[place(at - 1)], order[at] = other, one
            at = place(at - 1)


@helper
def rank(keys: Words, order: Words, first: int, end: int, spare: Words) -> bool:
    """Sort order[first:end], at most RANKED places, by different keys; False, nothing moved, where two are equal.

    A place's rank is the number of smaller keys: no branch to guess. `keys` has RANKED cells more than are used; `spare`
    is room for RANKED places.
    """
    ranks = 0
    for index in range(first, end):
        key = keys[index]
        own = 0
        for other in range(RANKED):
            own += 1 if (keys[first + other] < key) & (first + other < end) else 0
        spare[own] = order[index]
        ranks += own
    if ranks != (end - first) * (end - first - 1) // 2:
        return False
    for index in range(end - first):
        order[first + index] = spare[index]
    return True


@helper
def id_before(people: Words, layout: Layout, index: int, other_index: int, texts: Texts) -> bool:
    """Return whether a record's settlement id stands before another's."""
    record, other = place(index * layout.width), place(other_index * layout.width)
    if texts.id_offsets.size == 0:
        return value_of(people, record, layout.id) < value_of(people, other, layout.id)
    row, other_row = value_of(people, record, layout.row), value_of(people, other, layout.row)
    return compare_texts(texts.id_bytes, texts.id_offsets, row, texts.id_bytes, texts.id_offsets, other_row) < 0


@helper
def have_equal_ids(people: Words, layout: Layout, first: int, end: int) -> bool:
    """Return whether two of a person's records carry the same id word."""
    equal = 0
    for index in range(first + 1, end):
        own = value_of(people, place(index * layout.width), layout.id)
        for other in range(first, index):
            equal += 1 if value_of(people, place(other * layout.width), layout.id) == own else 0
    return equal > 0


@helper
def group_people(
    work: Words, layout: Layout, base: int, rows: int, mask: int, buckets: Words, people: Words, slots: Words
) -> None:
    """Copy a shard's records to `people`, bucket by bucket; buckets[b] ends bucket b, `slots` tells whence a record came."""
    width = layout.width
    for bucket in range(mask + 2):
        buckets[bucket] = 0
    for index in range(rows):
        buckets[(value_of(work, far_place((base + index) * width), layout.tag) & mask) + 1] += 1
    for bucket in range(mask + 1):
        buckets[bucket + 1] += buckets[bucket]
    for index in range(rows):
        record = far_place((base + index) * width)
        bucket = value_of(work, record, layout.tag) & mask
        at = place(int(buckets[bucket]))
        buckets[bucket] = at + 1
        slots[at] = index
        copy = place(at * width)
        for word in range(width):
            people[copy + word] = work[record + word]


@helper
def part_people(people: Words, layout: Layout, slots: Words, keys: Words, order: Words, first: int, end: int) -> None:
    """Sort the records first..end of a bucket by person, where it holds several."""
    width = layout.width
    for index in range(first, end):
        keys[index] = value_of(people, place(index * width), layout.person)
        order[index] = index
    # A record moves with its slot, word by word; a bucket holds few.
    for index in range(first + 1, end):
        at = index
        while at > first and keys[place(at - 1)] > keys[at]:
            before = place(at - 1)
            keys[before], keys[at] = keys[at], keys[before]
            slots[before], slots[at] = slots[at], slots[before]
            for word in range(width):
                one, other = place(before * width + word), place(at * width + word)
                people[one], people[other] = people[other], people[one]
            at = before


@kernel
def settle_units(
    book: Words,
    layout: Layout,
    reaccount: bool,
    keep: bool,
    lines: Words,
    work: Words,
    start: Words,
    lo: int,
    hi: int,
    mask: int,
    buckets: Words,
    people: Words,
    slots: Words,
    keys: Words,
    order: Words,
    texts: Texts,
    groups: Words,
    results: NDArray[np.int64],
    listed: Words,
    found: Words,
    room: NDArray[np.int64],
) -> None:
    """Settle the people of shards lo..hi; what is found is counted in `found`.

    `room`: ROW_LINES x ROWS_MAX words to work in. `results` gets a line for each record, `groups` the person-years (unless `keep`, only of people who are or were paid
    something computed), `listed` the rows of people who are left to `full`, person by person.
    """
    for shard in range(lo, hi):
        base, rows = start[shard], start[shard + 1] - start[shard]
        group_people(work, layout, base, rows, mask, buckets, people, slots)
        own = results[base : base + rows]
        bucket_first = 0
        for bucket in range(mask + 1):
            bucket_end = place(int(buckets[bucket]))
            first = bucket_first
            while first < bucket_end:
                end, differ = bucket_end, 0
                person = value_of(people, place(first * layout.width), layout.person)
                for index in range(first + 1, bucket_end):
                    differ |= value_of(people, place(index * layout.width), layout.person) ^ person
                if differ != 0:
                    if first == bucket_first:
                        part_people(people, layout, slots, keys, order, first, bucket_end)
                        person = value_of(people, place(first * layout.width), layout.person)
                    end = first + 1
                    while end < bucket_end and value_of(people, place(end * layout.width), layout.person) == person:
                        end = place(end + 1)
                settle_person(
                    book, layout, reaccount, keep, lines, people, base, slots, keys, order, first, end, texts, groups, own,
                    listed, found, room,
                )  # fmt: skip
                first = end
            bucket_first = bucket_end


@helper
def settle_person(
    book: Words,
    layout: Layout,
    reaccount: bool,
    keep: bool,
    lines: Words,
    people: Words,
    base: int,
    slots: Words,
    keys: Words,
    order: Words,
    first: int,
    end: int,
    texts: Texts,
    groups: Words,
    results: NDArray[np.int64],
    listed: Words,
    found: Words,
    room: NDArray[np.int64],
) -> None:
    """Settle one person's records first..end, or list their rows."""
    programs = book[HEAD_PROGRAMS]
    marks, differ, id_row = 0, 0, 2**62
    seen, twice = 0, 0
    total_sum, bound_sum, first_fen = 0, 0, 2 * YEAR_MAX_FEN
    key = optional_of(people, place(first * layout.width), layout.key)
    for index in range(first, end):
        record = place(index * layout.width)
        tag = value_of(people, record, layout.tag)
        program = place(book[place(programs + (tag >> SHIFT_PROGRAM))])
        total, eligible = value_of(people, record, layout.total), value_of(people, record, layout.eligible)
        marks |= tag
        total_sum += total
        bound_sum += bound_of(book, program, total, eligible, optional_of(people, record, layout.basic))
        first_fen = min(first_fen, book[program + PROGRAM_FIRST_FEN])
        differ |= optional_of(people, record, layout.key) ^ key
        id_row = min(id_row, value_of(people, record, layout.row))
        bit = 1 << (value_of(people, record, layout.id) & 31)
        twice |= seen & bit
        seen |= bit
    if (
        marks & FULL
        or total_sum > YEAR_MAX_FEN
        or end - first > ROWS_MAX
        or (twice != 0 and have_equal_ids(people, layout, first, end))
    ):
        at = found[FOUND_LISTED]
        for index in range(first, end):
            listed[at + index - first] = value_of(people, place(index * layout.width), layout.row)
            results[place(slots[index]), 0] = NOT_HERE
        found[FOUND_LISTED] = at + end - first
        return
    if bound_sum <= first_fen and not keep and not marks & OLD:
        # No schedule is reached: nothing is paid, in whatever order, and nothing was.
        for index in range(first, end):
            leave_plain(
                book, programs, layout, people, place(index * layout.width), lines, results[place(slots[index])]
            )
        return
    for index in range(first, end):
        order[index] = index
    if differ != 0:
        for index in range(first, end):
            keys[index] = value_of(people, place(index * layout.width), layout.key)
        sort_by(keys, order, first, end)
    unit = first
    while unit < end:
        unit_end = end
        if differ != 0:
            key = value_of(people, place(order[unit] * layout.width), layout.key)
            unit_end = unit + 1
            while unit_end < end and key == value_of(people, place(order[unit_end] * layout.width), layout.key):
                unit_end = place(unit_end + 1)
        if unit_end - unit > 1 and (bound_sum > first_fen or reaccount):
            put_in_order(people, layout, order, keys, unit, unit_end, texts, room[ROW_PLACE])
        settle_unit(book, layout, lines, people, slots, order, unit, unit_end, groups, results, found, room)
        at = place(found[FOUND_GROUPS] * (GROUP_BALANCES + 2 * book[HEAD_ACCOUNTS]))
        groups[at + GROUP_KEY] = key + layout.key.least
        groups[at + GROUP_PERSON] = base + first
        groups[at + GROUP_ID_ROW] = id_row
        groups[at + GROUP_LAST_ROW] = -1
        if reaccount:
            groups[at + GROUP_LAST_ROW] = value_of(people, place(order[unit_end - 1] * layout.width), layout.row)
        groups[at + GROUP_HOLD] = 0
        groups[at + GROUP_ROWS] = unit_end - unit
        found[FOUND_GROUPS] += 1
        unit = unit_end


@helper
def leave_plain(
    book: Words, programs: int, layout: Layout, people: Words, record: int, lines: Words, out: Words
) -> None:
    """Write the result of a row for which nothing computed is paid."""
    tag = value_of(people, record, layout.tag)
    program = place(book[place(programs + (tag >> SHIFT_PROGRAM))])
    paid = 0
    if book[program + PROGRAM_KEEPS_BASIC]:
        paid = optional_of(people, record, layout.basic)
    for word in range(out.size):
        out[word] = 0
    if lines[BASIC] >= 0:
        out[lines[BASIC] >> 1] = paid << (lines[BASIC] & 1) * AMOUNT_BITS
    total, eligible = value_of(people, record, layout.total), value_of(people, record, layout.eligible)
    note_reach(out, total, eligible, paid)


@helper
def settle_unit(
    book: Words,
    layout: Layout,
    lines: Words,
    people: Words,
    slots: Words,
    order: Words,
    first: int,
    end: int,
    groups: Words,
    results: NDArray[np.int64],
    found: Words,
    rows: NDArray[np.int64],
) -> None:
    """Settle one person-year of plain rows, the records order[first:end], on the balances of the next group."""
    group_width = GROUP_BALANCES + 2 * book[HEAD_ACCOUNTS]
    at = place(found[FOUND_GROUPS] * group_width)
    for word in range(GROUP_BALANCES, group_width):
        groups[at + word] = 0
    own = value_of(people, place(order[first] * layout.width), layout.tag) >> SHIFT_PROGRAM
    differ = 0
    for index in range(first + 1, end):
        differ |= value_of(people, place(order[index] * layout.width), layout.tag) >> SHIFT_PROGRAM ^ own
    if differ == 0:
        program = place(book[place(book[HEAD_PROGRAMS] + own)])
        found[FOUND_VIOLATIONS] += pay_alike(
            book, program, layout, people, slots, order, first, end, groups, at + GROUP_BALANCES, lines, results, rows
        )
        return
    for index in range(first, end):
        record = place(order[index] * layout.width)
        tag = value_of(people, record, layout.tag)
        program = place(book[place(book[HEAD_PROGRAMS] + (tag >> SHIFT_PROGRAM))])
        out = results[place(slots[place(order[index])])]
        found[FOUND_VIOLATIONS] += pay_plain(
            book, program, layout, people, record, groups, at + GROUP_BALANCES, lines, out
        )


# What is kept of each row while one layer after the other is paid.
ROW_TOTAL, ROW_ELIGIBLE, ROW_ELIGIBLE_PAID, ROW_TOTAL_PAID, ROW_LEFT, ROW_PLACE, ROW_LINES = range(7)


@helper
def pay_alike(
    book: Words,
    program: int,
    layout: Layout,
    people: Words,
    slots: Words,
    order: Words,
    first: int,
    end: int,
    balances: Words,
    at: int,
    lines: Words,
    results: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> int:
    """Settle the rows of one program in their order, layer by layer; return the violations. What `pay_plain` does, faster."""
    total, eligible = rows[ROW_TOTAL], rows[ROW_ELIGIBLE]
    eligible_paid, total_paid, left = rows[ROW_ELIGIBLE_PAID], rows[ROW_TOTAL_PAID], rows[ROW_LEFT]
    count = end - first
    for index in range(count):
        record = place(order[first + index] * layout.width)
        total[index], eligible[index] = (
            value_of(people, record, layout.total),
            value_of(people, record, layout.eligible),
        )
        eligible_paid[index], total_paid[index], left[index] = 0, 0, total[index]
        for word in range(results.shape[1]):
            results[place(slots[place(order[first + index])]), word] = 0
    half_fen_bp = book[program + PROGRAM_HALF_FEN_BP]
    least = 0
    step = place(program + PROGRAM_FIRST_STEP)
    for _ in range(book[program + PROGRAM_STEPS]):
        layer, mode, rule = book[step + PROGRAM_LAYER], book[step + PROGRAM_MODE], place(book[step + PROGRAM_RULE])
        fees_mask, charged_total = book[step + PROGRAM_FEES], book[step + PROGRAM_CHARGED_TOTAL] != 0
        account = place(at + 2 * place(book[rule + RULE_ACCOUNT]))
        limit = place(at + 2 * place(book[rule + RULE_LIMIT_ACCOUNT]) + 1)
        before, entitled_before = balances[account], -1
        line = lines[layer]
        for index in range(count):
            fees = eligible[index]
            if fees_mask != ELIGIBLE_MASK:
                record = place(order[first + index] * layout.width)
                fees = fees_of(people, record, layout, fees_mask, total[index], eligible[index])
            base = base_fen(fees, total[index], eligible_paid[index], total_paid[index])
            paid = 0
            if mode == COMPUTED:
                if base > 0 and not is_below(book, rule, before + base):
                    if entitled_before < 0:
                        entitled_before = entitled_fen(before, book, rule, half_fen_bp)
                    entitled_after = entitled_fen(before + base, book, rule, half_fen_bp)
                    cap_left = max(0, book[rule + RULE_CAP_FEN] - balances[account + 1])
                    limit_left = max(0, book[rule + RULE_LIMIT_FEN] - balances[limit])
                    paid = cut_fen(entitled_after - entitled_before, cap_left, limit_left, left[index])
                    entitled_before = entitled_after
            elif mode == RECORDED and layer == BASIC:
                paid = min(optional_of(people, place(order[first + index] * layout.width), layout.basic), left[index])
            if book[step + PROGRAM_FEEDS]:
                feed(balances, at, book, rule, base, paid)
                before += base
            if charged_total:
                total_paid[index] += paid
            else:
                eligible_paid[index] += paid
            left[index] -= paid
            least = min(least, paid, left[index])
            if line >= 0 and paid != 0:
                results[place(slots[place(order[first + index])]), line >> 1] |= paid << (line & 1) * AMOUNT_BITS
        step = place(step + PROGRAM_STEP_WIDTH)
    for index in range(count):
        out = results[place(slots[place(order[first + index])])]
        note_reach(out, total[index], eligible[index], total[index] - left[index])
    return 1 if least < 0 else 0
