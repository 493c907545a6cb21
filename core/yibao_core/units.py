"""Plain rows settled: each person's year in order, through the programs of their cells.

What a program pays is what `layers` pays: `base_fen` and `pay_layer` are the waterfall's own. A person with a marked row, with
two equal ids or with very many rows is left to `full`, which every row can go through.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, helper, kernel, place, routine
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
from yibao_core.order import Texts
from yibao_core.people import (
    COMPARED,
    GUARD,
    LINE_BASIC,
    LINE_BOUND,
    LINE_BOUNDS,
    LINE_ELIGIBLE,
    LINE_ELIGIBLE_PAID,
    LINE_FIRST,
    LINE_ID,
    LINE_KEY,
    LINE_LEAVE,
    LINE_LEFT,
    LINE_MARKED,
    LINE_MARKS,
    LINE_ORDER,
    LINE_OWN_ELIGIBLE,
    LINE_OWN_TOTAL,
    LINE_PERSON,
    LINE_RECORD,
    LINE_RESULT,
    LINE_TAG,
    LINE_TODO,
    LINE_TOTAL,
    LINE_TOTAL_PAID,
    LINE_WORDS,
    SUSPECT,
    end_of_chunk,
    group_rows,
    mark_rows,
    part_people,
    put_in_order,
    read_chunk,
    sort_by,
)
from yibao_core.plan import (
    BOUND_ELIGIBLE,
    BOUND_TOTAL,
    COMPUTED,
    HEAD_ACCOUNTS,
    HEAD_PROGRAMS,
    PROGRAM_CHARGED_TOTAL,
    PROGRAM_FEEDS,
    PROGRAM_FEES,
    PROGRAM_FIRST_FEN,
    PROGRAM_FIRST_STEP,
    PROGRAM_HALF_FEN_BP,
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
from yibao_core.short import (
    AMOUNT_BITS,
    AMOUNT_MAX_FEN,
    FULL,
    KEEPS_BASIC,
    OLD,
    SHIFT_BOUND,
    SHIFT_PROGRAM,
    Layout,
    optional_of,
    value_of,
)
from yibao_core.tiers import entitled_fen

ROWS_MAX = 64  # of a person: ids are compared pair by pair, times put in order by insertion
assert ROWS_MAX * AMOUNT_MAX_FEN < YEAR_MAX_FEN  # no year of a plain person is out of range
BASIC = LAYERS.index(METERED)
assert BASIC == 0  # what basic insurance has paid stands in the first word of a result
TOTAL_MASK, SELF_FUNDED_MASK, OVER_LIMIT_MASK, FIRST_PAY_MASK = (
    1 << FEES.index(fee) for fee in ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee")
)

# A result: the payments (fen) of two layers a word. Bit 62 of the first word says that the payments reach the eligible fee,
# a negative first word (its complement then holds the payments) that nothing is left to the person.
REACHES = 62
NOT_HERE = -(2**63)  # the person's rows are in the list for `full`

# What a call has found.
FOUND_GROUPS, FOUND_LISTED, FOUND_UNSORTED, FOUND_VIOLATIONS, FOUNDS = range(5)


class Room(NamedTuple):
    """What one thread works in, and what a piece of work writes."""

    buckets: NDArray[np.int32]  # one cell for each bucket and one more
    slots: NDArray[np.int32]  # of a shard's rows
    chunk: NDArray[np.int64]  # CHUNK_LINES x CHUNK_WIDTH
    results: NDArray[np.int64]  # `result_words` words for each short record of a shard
    groups: NDArray[np.int64]  # the person-years
    listed: NDArray[np.int64]  # the rows of people who are left to `full`, person by person
    found: NDArray[np.int64]  # FOUNDS


@kernel
def settle_units(
    book: Words,
    layout: Layout,
    reaccount: bool,
    keep: bool,
    least_fen: int,
    lines: Words,
    result_words: int,
    work: Words,
    start: Words,
    lo: int,
    hi: int,
    mask: int,
    texts: Texts,
    room: Room,
) -> None:
    """Settle the people of shards lo..hi; what is found is counted in `found`.

    `lines` tells which payment of a result belongs to which layer (-1: none does). `least_fen`: up to this yearly base
    no program pays. Every record gets a result; person-years are written of all people (`keep`), or of those who are
    or were paid something computed. The results of a shard end up at the front of its records.
    """
    buckets, slots, chunk = room.buckets, room.slots, room.chunk
    for shard in range(lo, hi):
        base, rows = start[shard], start[shard + 1] - start[shard]
        group_rows(work, layout, base, rows, mask, buckets, slots)
        bucket, first = 0, 0
        while first < rows:
            behind = end_of_chunk(buckets, bucket, mask, first)
            if behind == bucket:
                end = int(buckets[bucket])
                list_bucket(work, layout, base, first, end, result_words, room)
                bucket, first = bucket + 1, end
                continue
            end = int(buckets[behind - 1])
            read_chunk(work, layout, base, slots, first, 0, end - first, chunk)
            part_people(work, layout, base, slots, mask, first, end - first, chunk)
            mark_rows(end - first, chunk)
            leave_rows(end - first, lines, result_words, chunk, room.results)
            people = find_people(end - first, chunk)
            for index in range(choose_people(people, keep, least_fen, chunk)):
                person = place(chunk[LINE_TODO, index])
                settle_person(
                    book, layout, reaccount, keep, lines, result_words, work, base,
                    place(chunk[LINE_FIRST, person]), place(chunk[LINE_FIRST, person + 1]), texts, room,
                )  # fmt: skip
            bucket, first = behind, end
        front, words = far_place(base * layout.width), rows * result_words
        for word in range(words):
            work[front + place(word)] = room.results[place(word)]


@helper
def list_bucket(work: Words, layout: Layout, base: int, first: int, end: int, result_words: int, room: Room) -> None:
    """List the rows of a bucket that is longer than a chunk, of whatever people."""
    at = room.found[FOUND_LISTED]
    for index in range(first, end):
        slot = int(room.slots[index])
        room.listed[at + index - first] = value_of(work, far_place((base + slot) * layout.width), layout.row)
        room.results[place(slot * result_words)] = NOT_HERE
    room.found[FOUND_LISTED] = at + end - first
    room.found[FOUND_UNSORTED] += 1


@helper
def leave_rows(rows: int, lines: Words, result_words: int, chunk: NDArray[np.int64], results: Words) -> None:
    """Write the result of each row of a chunk as it is where nothing computed is paid."""
    places, leave = chunk[LINE_RESULT], chunk[LINE_LEAVE]
    bound_rows(
        chunk[LINE_TAG, GUARD:], chunk[LINE_TOTAL, GUARD:], chunk[LINE_ELIGIBLE, GUARD:], chunk[LINE_BASIC, GUARD:], rows,
        lines[BASIC] == 0, chunk[LINE_BOUND, GUARD:], leave[GUARD:],
    )  # fmt: skip
    for at in range(GUARD, GUARD + rows):
        result = place(places[at] * result_words)
        results[result] = leave[at]
        for word in range(1, result_words):
            results[result + word] = 0


@routine
def bound_rows(
    tags: Words, totals: Words, eligibles: Words, basics: Words, rows: int, has_basic: bool, bounds: Words, leave: Words
) -> None:
    """Write what no base of each row exceeds, and its result where nothing computed is paid. Without a branch."""
    for index in range(rows):
        tag, total, eligible, basic = tags[index], totals[index], eligibles[index], basics[index]
        kind = tag >> SHIFT_BOUND & 3
        less = eligible - basic
        less = less if less > 0 else 0
        bound = eligible if kind == BOUND_ELIGIBLE else less
        bounds[index] = total if kind == BOUND_TOTAL else bound
        paid = basic if tag & KEEPS_BASIC else 0
        word = paid if has_basic else 0
        word |= 1 << REACHES if (eligible > 0) & (paid >= eligible) else 0
        leave[index] = ~word if (total > 0) & (paid >= total) else word


@helper
def find_people(rows: int, chunk: NDArray[np.int64]) -> int:
    """Note the first row of each person of a chunk, and sums over the rows before each row; return the number of people."""
    persons, firsts, bound_line, mark_line = chunk[LINE_PERSON], chunk[LINE_FIRST], chunk[LINE_BOUND], chunk[LINE_MARKS]
    bounds, marked = chunk[LINE_BOUNDS], chunk[LINE_MARKED]
    bound, mark, people = 0, 0, 0
    before = persons[GUARD] ^ 1
    for at in range(GUARD, GUARD + rows):
        bounds[at], marked[at], firsts[people] = bound, mark, at
        bound += bound_line[at]
        mark += 1 if mark_line[at] != 0 else 0
        people = place(people + (1 if persons[at] != before else 0))
        before = persons[at]
    end = GUARD + rows
    bounds[end], marked[end], firsts[people] = bound, mark, end
    return people


@helper
def with_reach(word: int, total: int, eligible: int, paid: int) -> int:
    """Return the first word of a result, marked where the payments reach the eligible or the total fee."""
    word |= 1 << REACHES if (eligible > 0) & (paid >= eligible) else 0
    return ~word if (total > 0) & (paid >= total) else word


@helper
def choose_people(people: int, keep: bool, least_fen: int, chunk: NDArray[np.int64]) -> int:
    """List the people of a chunk whom their unmarked, few rows and small sums do not settle already; return how many."""
    firsts, bounds, marked, todo = chunk[LINE_FIRST], chunk[LINE_BOUNDS], chunk[LINE_MARKED], chunk[LINE_TODO]
    count = 0
    for person in range(people):
        first, end = place(firsts[person]), place(firsts[person + 1])
        left = (end - first <= COMPARED) & (marked[end] == marked[first]) & (bounds[end] - bounds[first] <= least_fen)
        todo[count] = person
        count = place(count + (0 if left & (not keep) else 1))
    return count


@helper
def settle_person(
    book: Words,
    layout: Layout,
    reaccount: bool,
    keep: bool,
    lines: Words,
    result_words: int,
    work: Words,
    base: int,
    first: int,
    end: int,
    texts: Texts,
    room: Room,
) -> None:
    """Settle one person's rows first..end of the chunk, or list them."""
    programs, chunk, found = book[HEAD_PROGRAMS], room.chunk, room.found
    records, order, keys = chunk[LINE_RECORD], chunk[LINE_ORDER], chunk[LINE_KEY]
    marks, differ, id_row, first_fen = 0, 0, 2**62, 2 * YEAR_MAX_FEN
    key = optional_of(work, far_place(records[first]), layout.key)
    for at in range(first, end):
        record = far_place(records[at])
        program = place(book[place(programs + (chunk[LINE_TAG, at] >> SHIFT_PROGRAM))])
        marks |= chunk[LINE_MARKS, at]
        first_fen = min(first_fen, book[program + PROGRAM_FIRST_FEN])
        differ |= optional_of(work, record, layout.key) ^ key
        id_row = min(id_row, value_of(work, record, layout.row))
    rows = end - first
    if (
        marks & FULL
        or rows > ROWS_MAX
        or ((marks & SUSPECT or rows > COMPARED) and have_equal_ids(chunk[LINE_ID], first, end))
    ):
        list_person(work, layout, first, end, result_words, room)
        return
    bound = chunk[LINE_BOUNDS, end] - chunk[LINE_BOUNDS, first]
    if bound <= first_fen and not keep and not marks & OLD:
        return  # no schedule is reached: nothing is paid, in whatever order, and nothing was
    for index in range(rows):
        order[index] = first + index
    if differ != 0:
        for index in range(rows):
            keys[index] = value_of(work, far_place(records[first + index]), layout.key)
        sort_by(keys, order, 0, rows)
    unit = 0
    while unit < rows:
        unit_end = rows
        if differ != 0:
            key = value_of(work, far_place(records[place(order[unit])]), layout.key)
            unit_end = unit + 1
            while unit_end < rows and key == value_of(work, far_place(records[place(order[unit_end])]), layout.key):
                unit_end = place(unit_end + 1)
        if unit_end - unit > 1 and (bound > first_fen or reaccount):
            put_in_order(work, layout, chunk, unit, unit_end, texts)
        settle_unit(book, layout, lines, result_words, work, unit, unit_end, room)
        at = place(found[FOUND_GROUPS] * (GROUP_BALANCES + 2 * book[HEAD_ACCOUNTS]))
        groups = room.groups
        groups[at + GROUP_KEY] = key + layout.key.least
        groups[at + GROUP_PERSON] = base + chunk[LINE_RESULT, first]
        groups[at + GROUP_ID_ROW] = id_row
        groups[at + GROUP_LAST_ROW] = -1
        if reaccount:
            last = far_place(records[place(order[unit_end - 1])])
            groups[at + GROUP_LAST_ROW] = value_of(work, last, layout.row)
        groups[at + GROUP_HOLD] = 0
        groups[at + GROUP_ROWS] = unit_end - unit
        found[FOUND_GROUPS] += 1
        unit = unit_end


@helper
def list_person(work: Words, layout: Layout, first: int, end: int, result_words: int, room: Room) -> None:
    """List the rows of one person for `full`."""
    at = room.found[FOUND_LISTED]
    for index in range(first, end):
        room.listed[at + index - first] = value_of(work, far_place(room.chunk[LINE_RECORD, index]), layout.row)
        room.results[place(room.chunk[LINE_RESULT, index] * result_words)] = NOT_HERE
    room.found[FOUND_LISTED] = at + end - first


@helper
def have_equal_ids(ids: Words, first: int, end: int) -> bool:
    """Return whether two of a person's rows carry the same id word."""
    equal = 0
    for index in range(first + 1, end):
        for other in range(first, index):
            equal += 1 if ids[other] == ids[index] else 0
    return equal > 0


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
def pay_plain(
    book: Words,
    program: int,
    layout: Layout,
    lines: Words,
    result_words: int,
    work: Words,
    record: int,
    balances: Words,
    at: int,
    results: Words,
    result: int,
) -> int:
    """Settle one plain row: move the balances at `at`, write its payments to its result; return the violations."""
    total, eligible = value_of(work, record, layout.total), value_of(work, record, layout.eligible)
    half_fen_bp = book[program + PROGRAM_HALF_FEN_BP]
    left, eligible_paid, total_paid = total, 0, 0
    least = 0
    for word in range(result_words):
        results[result + word] = 0
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
            results[result + place(line >> 1)] |= paid << (line & 1) * AMOUNT_BITS
        step = place(step + PROGRAM_STEP_WIDTH)
    results[result] = with_reach(results[result], total, eligible, total - left)
    return 1 if least < 0 or left < 0 else 0


@helper
def settle_unit(
    book: Words,
    layout: Layout,
    lines: Words,
    result_words: int,
    work: Words,
    first: int,
    end: int,
    room: Room,
) -> None:
    """Settle one person-year of plain rows, order[first:end], on the balances of the next group."""
    chunk, groups, found = room.chunk, room.groups, room.found
    order, tags = chunk[LINE_ORDER], chunk[LINE_TAG]
    group_width = GROUP_BALANCES + 2 * book[HEAD_ACCOUNTS]
    balances = place(found[FOUND_GROUPS] * group_width + GROUP_BALANCES)
    for word in range(group_width - GROUP_BALANCES):
        groups[balances + word] = 0
    own = tags[place(order[first])] >> SHIFT_PROGRAM
    differ = 0
    for index in range(first + 1, end):
        differ |= tags[place(order[index])] >> SHIFT_PROGRAM ^ own
    if differ == 0:
        program = place(book[place(book[HEAD_PROGRAMS] + own)])
        found[FOUND_VIOLATIONS] += pay_alike(
            book, program, layout, lines, result_words, work, first, end, groups, balances, chunk, room.results
        )
        return
    for index in range(first, end):
        at = place(order[index])
        program = place(book[place(book[HEAD_PROGRAMS] + (tags[at] >> SHIFT_PROGRAM))])
        result = place(chunk[LINE_RESULT, at] * result_words)
        found[FOUND_VIOLATIONS] += pay_plain(
            book, program, layout, lines, result_words, work, far_place(chunk[LINE_RECORD, at]), groups, balances,
            room.results, result,
        )  # fmt: skip


@helper
def pay_alike(
    book: Words,
    program: int,
    layout: Layout,
    lines: Words,
    result_words: int,
    work: Words,
    first: int,
    end: int,
    balances: Words,
    at: int,
    chunk: NDArray[np.int64],
    results: Words,
) -> int:
    """Settle the rows of one program in their order, layer by layer; return the violations. What `pay_plain` does, faster."""
    order, total, eligible = chunk[LINE_ORDER], chunk[LINE_OWN_TOTAL], chunk[LINE_OWN_ELIGIBLE]
    eligible_paid, total_paid, left = chunk[LINE_ELIGIBLE_PAID], chunk[LINE_TOTAL_PAID], chunk[LINE_LEFT]
    for index in range(first, end):
        row = place(order[index])
        total[index], eligible[index] = chunk[LINE_TOTAL, row], chunk[LINE_ELIGIBLE, row]
        eligible_paid[index], total_paid[index], left[index] = 0, 0, total[index]
        for word in range(result_words):
            chunk[LINE_WORDS + word, index] = 0
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
        words = chunk[LINE_WORDS + place(max(0, line) >> 1)]
        shift = (line & 1) * AMOUNT_BITS
        for index in range(first, end):
            fees = eligible[index]
            if fees_mask != ELIGIBLE_MASK:
                record = far_place(chunk[LINE_RECORD, place(order[index])])
                fees = fees_of(work, record, layout, fees_mask, total[index], eligible[index])
            base_of_row = base_fen(fees, total[index], eligible_paid[index], total_paid[index])
            paid = 0
            if mode == COMPUTED:
                if base_of_row > 0 and not is_below(book, rule, before + base_of_row):
                    if entitled_before < 0:
                        entitled_before = entitled_fen(before, book, rule, half_fen_bp)
                    entitled_after = entitled_fen(before + base_of_row, book, rule, half_fen_bp)
                    cap_left = max(0, book[rule + RULE_CAP_FEN] - balances[account + 1])
                    limit_left = max(0, book[rule + RULE_LIMIT_FEN] - balances[limit])
                    paid = cut_fen(entitled_after - entitled_before, cap_left, limit_left, left[index])
                    entitled_before = entitled_after
            elif mode == RECORDED and layer == BASIC:
                paid = min(chunk[LINE_BASIC, place(order[index])], left[index])
            if book[step + PROGRAM_FEEDS]:
                feed(balances, at, book, rule, base_of_row, paid)
                before += base_of_row
            if charged_total:
                total_paid[index] += paid
            else:
                eligible_paid[index] += paid
            left[index] -= paid
            least = min(least, paid, left[index])
            words[index] |= paid << shift if line >= 0 else 0
        step = place(step + PROGRAM_STEP_WIDTH)
    for index in range(first, end):
        result = place(chunk[LINE_RESULT, place(order[index])] * result_words)
        for word in range(result_words):
            results[result + word] = chunk[LINE_WORDS + word, index]
        results[result] = with_reach(results[result], total[index], eligible[index], total[index] - left[index])
    return 1 if least < 0 else 0
