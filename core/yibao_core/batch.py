"""The people of a shard: each person's rows in their order, through the waterfall.

A kernel sees only its shard; people share nothing, so shards run at once and in any order.
"""

from yibao_core._jit import Words, helper, kernel, place
from yibao_core.accumulators import (
    GROUP_BALANCES,
    GROUP_BEGAN,
    GROUP_HOLD,
    GROUP_ID_ROW,
    GROUP_KEY,
    GROUP_LAST_ROW,
    GROUP_PERSON,
    GROUP_ROWS,
    HOLD_NOT_RECONCILED,
    HOLD_REJECTED,
    find_episode,
    find_group,
)
from yibao_core.claim import (
    COUNT_STALE_ROWS,
    OPTION_HISTORY_ROWS,
    OPTION_REACCOUNT,
    OPTION_TRACE_ROW,
    SCRATCH_DIFFERS,
    SCRATCH_EPISODE,
    SCRATCH_LEFT,
    SCRATCH_STAY,
    SCRATCH_STAY_RULE,
    carry_claim,
    return_to_funds,
    settle_claim,
)
from yibao_core.errors import RowStatus
from yibao_core.order import Texts
from yibao_core.plan import HEAD_ACCOUNTS
from yibao_core.records import (
    AFTER_REJECT,
    CHANGED,
    FIELD_ELIGIBLE,
    FIELD_EPISODE,
    FIELD_STAY,
    FIELD_TOTAL,
    FROZEN,
    FULL_REIMBURSEMENT,
    GROUP,
    HEAD,
    NO_EPISODE,
    NO_RULE,
    NO_STAY,
    NORMAL,
    NUMBER_NONE,
    OPENING,
    ORIGINAL_NOT_SEEN,
    PAID_DOES_NOT_ADD_UP,
    PERSON,
    REVERSAL,
    REVERSED,
    ROW,
    SHIFT_BORNE,
    SHIFT_FLAGS,
    SHIFT_KIND,
    SHIFT_MODE,
    SHIFT_NULLS,
    SHIFT_SUPPLEMENT,
    SHIFT_WINDOW,
    STALE_AFTER_REVERSAL,
    TAKEN_OUT,
    TIME,
    UNPLACED_FLAGS,
    ZERO_PERSONAL_PAYMENT,
)
from yibao_core.reversals import (
    NOT_SEEN,
    add_flags,
    check_pair,
    exceeds_total,
    find_original,
    follow,
    kind_of,
    mirror_payments,
    mode_of,
    negate,
    paid_sum,
    set_mode,
    set_status,
    status_of,
    unseen_status,
    unusable_original,
    window_mode,
)
from yibao_core.stays import move_meter

SETTLED = int(RowStatus.SETTLED)
NO_POLICY = int(RowStatus.NO_POLICY)
ELIGIBLE_EXCEEDS_TOTAL = int(RowStatus.ELIGIBLE_EXCEEDS_TOTAL)
BIRTH_DATE_MISSING = int(RowStatus.BIRTH_DATE_MISSING)
REVERSAL_WITHOUT_ORIGINAL = int(RowStatus.REVERSAL_WITHOUT_ORIGINAL)
PAID_EXCEEDS_TOTAL = int(RowStatus.PAID_EXCEEDS_TOTAL)
ALL_NULL = 255


@helper
def open_group(groups: Words, first: int, end: int, width: int, key: int, person: int, row: int) -> int:
    """Return the group of a person's groups first..end with the key; a new one at `end` where there is none."""
    group = find_group(groups, first, end, width, key)
    if group >= 0:
        return group
    at = place(end * width)
    for word in range(width):
        groups[at + word] = 0
    groups[at + GROUP_KEY] = key
    groups[at + GROUP_PERSON] = person
    groups[at + GROUP_ID_ROW] = row
    groups[at + GROUP_LAST_ROW] = -1
    return end


@helper
def open_episode(
    fields: Words,
    work: Words,
    record: int,
    groups: Words,
    first: int,
    end: int,
    width: int,
    key: int,
    person: int,
    row: int,
) -> tuple[int, int]:
    """Return the offset of the balances of a record's episode (-1: it has none) and the new end of the person's groups.

    `key` (benefit year and city) is where an episode begins that the person has not had yet.
    """
    episode = work[record + place(fields[FIELD_EPISODE])]
    if episode == NO_EPISODE:
        return -1, end
    group = find_episode(groups, first, end, width, -1 - episode, key % 10_000)
    if group < 0:
        group = end
        open_group(groups, end, end, width, -1 - episode, person, row)
        groups[place(group * width) + GROUP_BEGAN] = key
        end += 1
    return place(group * width) + GROUP_BALANCES, end


@helper
def mirrored_stay(stay: int) -> int:
    """Return the stay of a reversal: what its original bore of its deductible, negated."""
    return stay if stay == NO_STAY else -(stay >> SHIFT_BORNE) << SHIFT_BORNE | NUMBER_NONE


@helper
def check_unseen(book: Words, fields: Words, work: Words, reversal: int) -> int:
    """Return whether a reversal whose original nobody has seen can be settled by its own recorded payments."""
    status = unseen_status(book, work, reversal)
    if status != SETTLED:
        return status
    if work[reversal + HEAD] >> SHIFT_NULLS & ALL_NULL == ALL_NULL:
        return REVERSAL_WITHOUT_ORIGINAL
    if exceeds_total(work, fields, reversal):
        return PAID_EXCEEDS_TOTAL
    return SETTLED


@helper
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


@helper
def reimbursement_flags(total_fen: int, eligible_fen: int, paid_fen: int, personal_fen: int) -> int:
    """Return the flags for what 三(三) of 鲁医保发〔2019〕69号 forbids aiming at."""
    flags = 0
    if eligible_fen > 0 and paid_fen >= eligible_fen:
        flags |= FULL_REIMBURSEMENT
    if total_fen > 0 and personal_fen <= 0:
        flags |= ZERO_PERSONAL_PAYMENT
    return flags


@helper
def carry_recorded(
    book: Words,
    fields: Words,
    work: Words,
    record: int,
    head: int,
    original: int,
    groups: Words,
    at: int,
    scratch: Words,
) -> tuple[int, int]:
    """Settle a row by payments as they stand; return its status and its new head.

    A bill outside the window by its own; a reversal by its original's, negated, or by its own where nobody
    has seen the original.
    """
    if head >> SHIFT_KIND & 15 == NORMAL:
        source, sign = record, 1
        head |= FROZEN << SHIFT_MODE
    elif original != NOT_SEEN:
        source, sign = original, -1
    else:
        source, sign = record, -1
        status = check_unseen(book, fields, work, record)
        if status != SETTLED:
            return status, head
        head |= ORIGINAL_NOT_SEEN << SHIFT_FLAGS
        negate(work, fields, record)
    status = carry_claim(book, fields, work, source, groups, at, sign, scratch)
    if sign < 0:
        if source == record:
            negate(work, fields, record)
        else:
            mirror_payments(work, fields, original, record)
        scratch[SCRATCH_LEFT] = -scratch[SCRATCH_LEFT]
        if fields[FIELD_STAY] >= 0:
            work[record + place(fields[FIELD_STAY])] = mirrored_stay(scratch[SCRATCH_STAY])
    return status, head


@kernel
def settle_people(
    book: Words,
    fields: Words,
    options: Words,
    work: Words,
    order: Words,
    person_start: Words,
    people: int,
    by_id: Words,
    rejected_years: Words,
    texts: Texts,
    person_base: int,
    groups: Words,
    scratch: Words,
    counters: Words,
    trace: Words,
) -> int:
    """Settle the rows of each person in their order, in place; return the number of groups written to `groups`.

    Out: payments over the recorded ones, status, flags and mode in HEAD, the group's index in PERSON, what is
    left to the person in TIME. `person_base` makes the people of this shard different from those of the others.
    """
    group_width = GROUP_BALANCES + 2 * book[HEAD_ACCOUNTS]
    reaccount = options[OPTION_REACCOUNT] != 0
    history_rows = options[OPTION_HISTORY_ROWS]
    no_trace = trace[:0]
    has_stays = fields[FIELD_EPISODE] >= 0
    scratch[SCRATCH_EPISODE] = -1
    group_end = 0
    for person in range(people):
        first, end = place(person_start[person]), person_start[person + 1]
        group_first = group_end
        rejected = 0
        id_row = work[place(order[first]) + ROW]
        for index in range(first + 1, end):
            id_row = min(id_row, work[place(order[index]) + ROW])
        for index in range(first, end):
            record = place(order[index])
            row = work[record + ROW]
            kind = kind_of(work, record)
            status = status_of(work, record)
            original = NOT_SEEN
            if status == ELIGIBLE_EXCEEDS_TOTAL and kind == REVERSAL:
                # Its year is its original's; only where nobody has seen that does it need a policy, and that code wins.
                named = find_original(work, fields, order, first, end, by_id, record, texts)
                if named != NOT_SEEN:
                    follow(work, named, record)
                elif unseen_status(book, work, record) == NO_POLICY:
                    status = NO_POLICY
            if kind == REVERSAL and status == SETTLED and (row < history_rows or not reaccount):
                original = find_original(work, fields, order, first, end, by_id, record, texts)
            if row < history_rows:
                if original != NOT_SEEN:
                    work[record + GROUP] = work[original + GROUP]
                    set_mode(work, original, REVERSED)
                work[record + PERSON] = -1
                continue
            if original != NOT_SEEN:
                follow(work, original, record)
                stale = stale_rows(work, order, first, index, original)
                reversed_before = mode_of(work, original) & REVERSED != 0
                status = unusable_original(work, original, history_rows)
                if status != SETTLED:
                    add_flags(work, record, work[original + HEAD] >> SHIFT_FLAGS & UNPLACED_FLAGS)
                else:
                    status = check_pair(work, fields, original, record, stale >= 0, reversed_before)
                if status == SETTLED:
                    set_mode(work, original, REVERSED)
                    if stale > 0:
                        add_flags(work, record, STALE_AFTER_REVERSAL)
                        counters[COUNT_STALE_ROWS] += stale

            key = work[record + GROUP]
            group = open_group(groups, group_first, group_end, group_width, key, person_base + person, id_row)
            group_end = max(group_end, group + 1)
            work[record + PERSON] = group
            group_at = place(group * group_width)
            at = group_at + GROUP_BALANCES
            episode_at = -1
            if has_stays:
                source = original if original != NOT_SEEN else record
                episode_at, group_end = open_episode(
                    fields, work, source, groups, group_first, group_end, group_width, key, person_base + person, row
                )
                scratch[SCRATCH_EPISODE] = episode_at
            if kind == OPENING:
                account = work[record + HEAD] >> SHIFT_NULLS
                if episode_at >= 0:
                    at = episode_at
                    group_at = at - GROUP_BALANCES
                groups[at + 2 * account] += work[record + place(fields[FIELD_TOTAL])]
                groups[at + 2 * account + 1] += work[record + place(fields[FIELD_ELIGIBLE])]
                groups[group_at + GROUP_ROWS] += 1
                continue

            head = work[record + HEAD]
            total = work[record + place(fields[FIELD_TOTAL])]
            if status == SETTLED and head >> SHIFT_MODE & TAKEN_OUT:
                personal = total - paid_sum(work, fields, record)
                work[record + TIME] = personal
                if kind == NORMAL:
                    eligible = work[record + place(fields[FIELD_ELIGIBLE])]
                    head |= reimbursement_flags(total, eligible, total - personal, personal) << SHIFT_FLAGS
                    head = head & ~(NO_RULE << SHIFT_FLAGS) | window_mode(work, record) << SHIFT_MODE
                    work[record + HEAD] = head
            elif status == SETTLED:
                unrouted = 0
                if kind == NORMAL and (not reaccount or head >> SHIFT_WINDOW & 1):
                    if has_stays:
                        work[record + place(fields[FIELD_STAY])] = NO_STAY  # a ledger settled before shows the old one
                    traced = trace if row == options[OPTION_TRACE_ROW] else no_trace
                    status = settle_claim(book, fields, options, work, record, groups, at, scratch, counters, traced)
                    if status == SETTLED and reaccount:
                        groups[group_at + GROUP_LAST_ROW] = row
                        head |= scratch[SCRATCH_DIFFERS] * CHANGED << SHIFT_MODE
                        if head >> SHIFT_SUPPLEMENT & 1:
                            unrouted = return_to_funds(book, fields, work, record, groups, at, scratch)
                else:
                    status, head = carry_recorded(book, fields, work, record, head, original, groups, at, scratch)
                if has_stays and status == SETTLED and scratch[SCRATCH_STAY] != NO_STAY:
                    sign = 1 if kind == NORMAL else -1
                    move_meter(
                        book, scratch[SCRATCH_STAY_RULE], groups, at, episode_at, key, scratch[SCRATCH_STAY], sign
                    )
                personal = scratch[SCRATCH_LEFT]
                work[record + TIME] = personal
                if kind == NORMAL and status == SETTLED:
                    eligible = work[record + place(fields[FIELD_ELIGIBLE])]
                    head |= reimbursement_flags(total, eligible, total - personal + unrouted, personal) << SHIFT_FLAGS
                    if head >> SHIFT_FLAGS & PAID_DOES_NOT_ADD_UP:
                        groups[group_at + GROUP_HOLD] |= HOLD_NOT_RECONCILED
                work[record + HEAD] = head

            if status != SETTLED:
                set_status(work, record, status)
                rejected_years[rejected] = key // 10_000
                rejected += 1
                continue
            groups[group_at + GROUP_ROWS] += 1
            if rejected > 0 and holds_year(rejected_years, rejected, key // 10_000):
                add_flags(work, record, AFTER_REJECT)

        if rejected > 0:
            for group in range(group_first, group_end):
                if holds_year(rejected_years, rejected, groups[group * group_width + GROUP_KEY] // 10_000):
                    groups[group * group_width + GROUP_HOLD] |= HOLD_REJECTED
    return group_end


@helper
def holds_year(rejected_years: Words, rejected: int, year: int) -> bool:
    """Return whether a benefit year is among those of a person's rejected rows; an unreadable one (0) is every year."""
    found = False
    for index in range(rejected):
        found |= rejected_years[index] == year or rejected_years[index] == 0
    return found
