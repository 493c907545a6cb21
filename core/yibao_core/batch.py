"""One shard of people: each person's rows in their order, through the waterfall.

A kernel sees only its shard; people share nothing, so shards run at once and in any order.
"""

import numpy as np

from yibao_core._jit import Words, kernel
from yibao_core.accumulators import (
    GROUP_BALANCES,
    GROUP_HOLD,
    GROUP_ID_ROW,
    GROUP_KEY,
    GROUP_LAST_ROW,
    GROUP_PERSON,
    GROUP_ROWS,
    HOLD_NOT_RECONCILED,
    HOLD_REJECTED,
    find_group,
)
from yibao_core.claim import (
    COUNT_STALE_ROWS,
    OPTION_HISTORY_ROWS,
    OPTION_REACCOUNT,
    OPTION_TRACE_ROW,
    SCRATCH,
    SCRATCH_DIFFERS,
    SCRATCH_LEFT,
    carry_claim,
    cell_of,
    return_to_funds,
    settle_claim,
)
from yibao_core.errors import RowStatus
from yibao_core.order import SORT_BY_TIME, Texts, comes_before, sort_records
from yibao_core.plan import AGE_UNKNOWN, CELL_NEEDS_AGE, HEAD_ACCOUNTS
from yibao_core.records import (
    AFTER_REJECT,
    CHANGED,
    FIELD_ELIGIBLE,
    FIELD_REVERSES,
    FIELD_TOTAL,
    FIELD_WIDTH,
    FROZEN,
    FULL_REIMBURSEMENT,
    GROUP,
    HEAD,
    NO_RULE,
    NOBODY,
    NORMAL,
    OPENING,
    ORIGINAL_NOT_SEEN,
    PAID_DOES_NOT_ADD_UP,
    PERSON,
    REVERSAL,
    REVERSED,
    ROW,
    SHIFT_AGE,
    SHIFT_FLAGS,
    SHIFT_MODE,
    SHIFT_NULLS,
    SHIFT_POLICY,
    SHIFT_SUPPLEMENT,
    SHIFT_WINDOW,
    TIME,
    STALE_AFTER_REVERSAL,
    TAKEN_OUT,
    ZERO_PERSONAL_PAYMENT,
)
from yibao_core.reversals import (
    NOT_SEEN,
    check_pair,
    exceeds_total,
    find_original,
    kind_of,
    mark_duplicates,
    mirror_payments,
    negate,
    paid_sum,
    set_status,
    status_of,
)

SETTLED = int(RowStatus.SETTLED)
NO_POLICY = int(RowStatus.NO_POLICY)
BIRTH_DATE_MISSING = int(RowStatus.BIRTH_DATE_MISSING)
REVERSAL_WITHOUT_ORIGINAL = int(RowStatus.REVERSAL_WITHOUT_ORIGINAL)
PAID_EXCEEDS_TOTAL = int(RowStatus.PAID_EXCEEDS_TOTAL)
NO_POLICY_INDEX = 63
ALL_NULL = 255


@kernel
def add_flags(work: Words, record: int, flags: int) -> None:
    work[record + HEAD] = work[record + HEAD] | flags << SHIFT_FLAGS


@kernel
def set_mode(work: Words, record: int, mode: int) -> None:
    work[record + HEAD] = work[record + HEAD] | mode << SHIFT_MODE


@kernel
def mode_of(work: Words, record: int) -> int:
    return work[record + HEAD] >> SHIFT_MODE & 15


@kernel
def join_people(work: Words, records: int, width: int, order: Words, person_start: Words) -> int:
    """Fill `order` with the shard's records, person by person, and `person_start`; return the number of people.

    Records without a person are left out: they stand behind person_start[people].
    """
    size = 4
    while size < 2 * records:
        size *= 2
    table = np.full(size, -1, dtype=np.int64)  # slot -> person
    first_of = np.empty(records, dtype=np.int64)  # person -> its first record
    person_of = np.empty(records, dtype=np.int64)  # record number -> person
    people = 0
    for number in range(records):
        record = number * width
        if kind_of(work, record) == NOBODY:
            person_of[number] = -1
            continue
        person = work[record + PERSON]
        slot = (((person ^ (person >> 31)) & 0x7FFFFFFF) * 1_540_483_477 >> 7) & (size - 1)
        while table[slot] >= 0 and work[first_of[table[slot]] + PERSON] != person:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = people
            first_of[people] = record
            person_start[people + 1] = 0
            people += 1
        person_of[number] = table[slot]
        person_start[table[slot] + 1] += 1
    person_start[0] = 0
    for person in range(people):
        first_of[person] = person_start[person]
        person_start[person + 1] += person_start[person]
    for number in range(records):
        person = person_of[number]
        if person >= 0:
            order[first_of[person]] = number * width
            first_of[person] += 1
    return people


@kernel
def open_group(
    groups: Words, first: int, end: int, width: int, key: int, person: int, row: int
) -> int:
    """Return the group of a person's groups first..end with the key; a new one at `end` where there is none."""
    group = find_group(groups, first, end, width, key)
    if group >= 0:
        return group
    at = end * width
    for word in range(width):
        groups[at + word] = 0
    groups[at + GROUP_KEY] = key
    groups[at + GROUP_PERSON] = person
    groups[at + GROUP_ID_ROW] = row
    groups[at + GROUP_LAST_ROW] = -1
    return end


@kernel
def unseen_status(book: Words, work: Words, reversal: int) -> int:
    """Return what a reversal's own cells say where its original was not seen."""
    head = work[reversal + HEAD]
    if head >> SHIFT_POLICY & NO_POLICY_INDEX == NO_POLICY_INDEX:
        return NO_POLICY
    if book[cell_of(book, head) + CELL_NEEDS_AGE] and head >> SHIFT_AGE & 127 == AGE_UNKNOWN:
        return BIRTH_DATE_MISSING
    return SETTLED


@kernel
def window_mode(work: Words, record: int) -> int:
    """Return FROZEN for a row outside the re-accounting window, else REPLAYED."""
    return 0 if work[record + HEAD] >> SHIFT_WINDOW & 1 else FROZEN


@kernel
def take_out_pairs(
    book: Words,
    work: Words, fields: Words, order: Words, first: int, end: int, by_id: Words, history_rows: int, texts: Texts
) -> None:
    """For a re-accounting: mark originals and their reversals as taken out, before anything is replayed."""
    for index in range(first, end):
        reversal = order[index]
        if kind_of(work, reversal) != REVERSAL or status_of(work, reversal) != SETTLED:
            continue
        original = find_original(work, fields, order, first, end, by_id, reversal, texts)
        if original == NOT_SEEN:
            status = unseen_status(book, work, reversal)
            if status == SETTLED and exceeds_total(work, fields, reversal):
                status = PAID_EXCEEDS_TOTAL
            if status != SETTLED:
                set_status(work, reversal, status)
                continue
            add_flags(work, reversal, ORIGINAL_NOT_SEEN)
            set_mode(work, reversal, TAKEN_OUT | window_mode(work, reversal))
            continue
        work[reversal + GROUP] = work[original + GROUP]  # the year it belongs to, rejected or not
        status = check_pair(
            work, fields, original, reversal,
            comes_before(work, original, reversal, texts, SORT_BY_TIME),
            mode_of(work, original) & REVERSED != 0,
        )  # fmt: skip
        if status == SETTLED and exceeds_total(work, fields, reversal):
            status = PAID_EXCEEDS_TOTAL
        if status != SETTLED:
            set_status(work, reversal, status)
            continue
        set_mode(work, reversal, TAKEN_OUT | window_mode(work, original))
        set_mode(work, original, TAKEN_OUT | REVERSED)


@kernel
def reverse_unseen(
    book: Words, fields: Words, work: Words, reversal: int, balances: Words, at: int, scratch: Words
) -> int:
    """Settle a reversal whose original nobody has seen by its own recorded payments; return its status."""
    status = unseen_status(book, work, reversal)
    if status != SETTLED:
        return status
    head = work[reversal + HEAD]
    if head >> SHIFT_NULLS & ALL_NULL == ALL_NULL:
        return REVERSAL_WITHOUT_ORIGINAL
    if exceeds_total(work, fields, reversal):
        return PAID_EXCEEDS_TOTAL
    negate(work, fields, reversal)
    status = carry_claim(book, fields, work, reversal, balances, at, -1, scratch)
    negate(work, fields, reversal)
    add_flags(work, reversal, ORIGINAL_NOT_SEEN)
    return status


@kernel
def stale_rows(work: Words, order: Words, first: int, index: int, original: int) -> int:
    """Return how many settled rows of the original's group stand between it and order[index]; -1: it is not earlier."""
    stale = 0
    for earlier in range(index - 1, first - 1, -1):
        record = order[earlier]
        if record == original:
            return stale
        if kind_of(work, record) != OPENING and status_of(work, record) == SETTLED:
            stale += 1 if work[record + GROUP] == work[original + GROUP] else 0
    return -1


@kernel
def reimbursement_flags(total_fen: int, eligible_fen: int, paid_fen: int, personal_fen: int) -> int:
    """Return the flags for what 三(三) of 鲁医保发〔2019〕69号 forbids aiming at."""
    flags = 0
    if eligible_fen > 0 and paid_fen >= eligible_fen:
        flags |= FULL_REIMBURSEMENT
    if total_fen > 0 and personal_fen <= 0:
        flags |= ZERO_PERSONAL_PAYMENT
    return flags


@kernel
def settle_shard(
    book: Words,
    fields: Words,
    options: Words,
    work: Words,
    records: int,
    texts: Texts,
    person_base: int,
    groups: Words,
    counters: Words,
    trace: Words,
) -> int:
    """Settle all records of a shard in place; return the number of groups written to `groups`.

    Out: payments over the recorded ones, status, flags and mode in HEAD, the group's index in PERSON.
    `person_base` makes the people of this shard different from those of the others.
    """
    width = fields[FIELD_WIDTH]
    group_width = GROUP_BALANCES + 2 * book[HEAD_ACCOUNTS]
    reaccount = options[OPTION_REACCOUNT] != 0
    history_rows = options[OPTION_HISTORY_ROWS]
    order = np.empty(records, dtype=np.int64)
    by_id = np.empty(records, dtype=np.int64)
    spare = np.empty(records, dtype=np.int64)
    person_start = np.empty(records + 1, dtype=np.int64)
    scratch = np.zeros(SCRATCH, dtype=np.int64)
    no_trace = np.empty(0, dtype=np.int64)
    people = join_people(work, records, width, order, person_start)
    for number in range(records):
        if kind_of(work, number * width) == NOBODY:
            work[number * width + PERSON] = -1
    group_end = 0
    for person in range(people):
        first, end = person_start[person], person_start[person + 1]
        group_first = group_end
        rejected = 0  # benefit years of rejected rows so far, kept in `spare`
        sort_records(work, order, first, end, spare, texts, SORT_BY_TIME)
        mark_duplicates(work, order, first, end, by_id, spare, history_rows, texts)
        if reaccount and fields[FIELD_REVERSES] >= 0:
            take_out_pairs(book, work, fields, order, first, end, by_id, history_rows, texts)

        for index in range(first, end):
            record = order[index]
            row = work[record + ROW]
            kind = kind_of(work, record)
            status = status_of(work, record)
            if row < history_rows:
                if kind == REVERSAL and status == SETTLED:
                    original = find_original(work, fields, order, first, end, by_id, record, texts)
                    if original != NOT_SEEN:
                        work[record + GROUP] = work[original + GROUP]
                        set_mode(work, original, REVERSED)
                work[record + PERSON] = -1
                continue
            original = NOT_SEEN
            if status == SETTLED and kind == REVERSAL and not reaccount:
                original = find_original(work, fields, order, first, end, by_id, record, texts)
                if original != NOT_SEEN:
                    work[record + GROUP] = work[original + GROUP]  # the year it belongs to, rejected or not
                    stale = stale_rows(work, order, first, index, original)
                    reversed_before = mode_of(work, original) & REVERSED != 0
                    status = check_pair(work, fields, original, record, stale >= 0, reversed_before)
                    if status == SETTLED:
                        set_mode(work, original, REVERSED)
                        if stale > 0:
                            add_flags(work, record, STALE_AFTER_REVERSAL)
                            counters[COUNT_STALE_ROWS] += stale

            key = work[record + GROUP]
            group = open_group(groups, group_first, group_end, group_width, key, person_base + person, row)
            group_end = max(group_end, group + 1)
            work[record + PERSON] = group
            at = group * group_width + GROUP_BALANCES
            if kind == OPENING:
                account = work[record + HEAD] >> SHIFT_NULLS
                groups[at + 2 * account] += work[record + fields[FIELD_TOTAL]]
                groups[at + 2 * account + 1] += work[record + fields[FIELD_ELIGIBLE]]
                groups[group * group_width + GROUP_ROWS] += 1
                continue

            head = work[record + HEAD]
            total = work[record + fields[FIELD_TOTAL]]
            if status == SETTLED and head >> SHIFT_MODE & TAKEN_OUT:
                personal = total - paid_sum(work, fields, record)
                work[record + TIME] = personal
                if kind == NORMAL:
                    eligible = work[record + fields[FIELD_ELIGIBLE]]
                    head |= reimbursement_flags(total, eligible, total - personal, personal) << SHIFT_FLAGS
                    head = head & ~(NO_RULE << SHIFT_FLAGS) | window_mode(work, record) << SHIFT_MODE
                    work[record + HEAD] = head
            elif status == SETTLED:
                unrouted = 0
                if kind == NORMAL and reaccount and not head >> SHIFT_WINDOW & 1:
                    status = carry_claim(book, fields, work, record, groups, at, 1, scratch)
                    head |= FROZEN << SHIFT_MODE
                elif kind == NORMAL:
                    traced = trace if row == options[OPTION_TRACE_ROW] else no_trace
                    status = settle_claim(book, fields, options, work, record, groups, at, scratch, counters, traced)
                    if status == SETTLED and reaccount:
                        groups[group * group_width + GROUP_LAST_ROW] = row
                        head |= scratch[SCRATCH_DIFFERS] * CHANGED << SHIFT_MODE
                        if head >> SHIFT_SUPPLEMENT & 1:
                            unrouted = return_to_funds(book, fields, work, record, groups, at, scratch)
                elif original == NOT_SEEN:
                    status = reverse_unseen(book, fields, work, record, groups, at, scratch)
                    head = work[record + HEAD]
                    scratch[SCRATCH_LEFT] = -scratch[SCRATCH_LEFT]
                else:
                    status = carry_claim(book, fields, work, original, groups, at, -1, scratch)
                    mirror_payments(work, fields, original, record)
                    scratch[SCRATCH_LEFT] = -scratch[SCRATCH_LEFT]
                personal = scratch[SCRATCH_LEFT]
                work[record + TIME] = personal
                if kind == NORMAL and status == SETTLED:
                    eligible = work[record + fields[FIELD_ELIGIBLE]]
                    head |= reimbursement_flags(total, eligible, total - personal + unrouted, personal) << SHIFT_FLAGS
                    if head >> SHIFT_FLAGS & PAID_DOES_NOT_ADD_UP:
                        groups[group * group_width + GROUP_HOLD] |= HOLD_NOT_RECONCILED
                work[record + HEAD] = head

            year = key // 10_000
            if status != SETTLED:
                set_status(work, record, status)
                spare[first + rejected] = year
                rejected += 1
                continue
            groups[group * group_width + GROUP_ROWS] += 1
            for earlier in range(first, first + rejected):
                if spare[earlier] == year or spare[earlier] == 0:
                    add_flags(work, record, AFTER_REJECT)
                    break

        for group in range(group_first, group_end):
            for earlier in range(first, first + rejected):
                if spare[earlier] == groups[group * group_width + GROUP_KEY] // 10_000 or spare[earlier] == 0:
                    groups[group * group_width + GROUP_HOLD] |= HOLD_REJECTED
    return group_end
