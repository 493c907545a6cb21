"""Which rows of a person are the same settlement, and which cancel which."""

from yibao_core._jit import Words, helper, kernel, place
from yibao_core.claim import cell_of
from yibao_core.errors import RowStatus
from yibao_core.order import Texts, comes_before, compare_ids, names_original
from yibao_core.plan import AGE_UNKNOWN, CELL_NEEDS, NEEDS_AGE, NO_POLICY_INDEX
from yibao_core.policy import FEES, LAYERS
from yibao_core.records import (
    FIELD_FEE,
    FIELD_LAYER,
    FIELD_REVERSES,
    FIELD_TOTAL,
    FROZEN,
    GROUP,
    HEAD,
    ID,
    NORMAL,
    OPENING,
    ORIGINAL_NOT_SEEN,
    REPLAYED,
    REVERSAL,
    REVERSED,
    ROW,
    SHIFT_AGE,
    SHIFT_FLAGS,
    SHIFT_KIND,
    SHIFT_MODE,
    SHIFT_POLICY,
    SHIFT_WINDOW,
    TAKEN_OUT,
    UNPLACED_FLAGS,
)

FEES_COUNT, LAYERS_COUNT = len(FEES), len(LAYERS)
PAIRWISE_MAX = 24
SETTLED = int(RowStatus.SETTLED)
MISSING_VALUE = int(RowStatus.MISSING_VALUE)
NO_POLICY = int(RowStatus.NO_POLICY)
BIRTH_DATE_MISSING = int(RowStatus.BIRTH_DATE_MISSING)
DUPLICATE_SETTLEMENT = int(RowStatus.DUPLICATE_SETTLEMENT)
REVERSAL_WITHOUT_ORIGINAL = int(RowStatus.REVERSAL_WITHOUT_ORIGINAL)
REVERSAL_NOT_WHOLE = int(RowStatus.REVERSAL_NOT_WHOLE)
PAID_EXCEEDS_TOTAL = int(RowStatus.PAID_EXCEEDS_TOTAL)
NOT_SEEN = -1


@helper
def status_of(work: Words, record: int) -> int:
    return work[record + HEAD] & 255


@helper
def kind_of(work: Words, record: int) -> int:
    return work[record + HEAD] >> SHIFT_KIND & 15


@helper
def set_status(work: Words, record: int, status: int) -> None:
    work[record + HEAD] = work[record + HEAD] & ~255 | status


@helper
def add_flags(work: Words, record: int, flags: int) -> None:
    work[record + HEAD] = work[record + HEAD] | flags << SHIFT_FLAGS


@helper
def set_mode(work: Words, record: int, mode: int) -> None:
    work[record + HEAD] = work[record + HEAD] | mode << SHIFT_MODE


@helper
def mode_of(work: Words, record: int) -> int:
    return work[record + HEAD] >> SHIFT_MODE & 15


@helper
def mark_pair(work: Words, record: int, other: int, history_rows: int, texts: Texts) -> None:
    """Reject two rows of one person where they carry the same settlement id; rows of the history stay."""
    if work[record + ID] != work[other + ID] or kind_of(work, record) == OPENING or kind_of(work, other) == OPENING:
        return
    if compare_ids(work, record, other, texts) != 0:
        return
    for row in (record, other):
        if work[row + ROW] < history_rows and status_of(work, row) != SETTLED:
            return  # rejected in an earlier run: it may come again, corrected
    for row in (record, other):
        if work[row + ROW] >= history_rows and status_of(work, row) != MISSING_VALUE:
            set_status(work, row, DUPLICATE_SETTLEMENT)


@kernel
def mark_duplicates(
    work: Words, order: Words, person_start: Words, people: int, ids: Words, history_rows: int, texts: Texts
) -> None:
    """Reject every row whose settlement id stands twice under its person, the first one too.

    `ids` holds the people's id words side by side, each person's in any order: records are only read where two are
    alike. People of more than PAIRWISE_MAX rows are left to `mark_long_duplicates`.
    """
    for person in range(people):
        first = place(person_start[person])
        count = person_start[person + 1] - first
        if count > PAIRWISE_MAX:
            continue
        alike = 0
        for index in range(first + 1, first + count):
            for other in range(first, index):
                alike += 1 if ids[other] == ids[index] else 0
        if alike == 0:
            continue
        for index in range(first, first + count):
            for other in range(index + 1, first + count):
                mark_pair(work, order[index], order[other], history_rows, texts)


@kernel
def mark_long_duplicates(
    work: Words,
    order: Words,
    person_start: Words,
    people: int,
    by_id: Words,
    spare: Words,
    history_rows: int,
    texts: Texts,
) -> None:
    """Do what `mark_duplicates` leaves: people of more than PAIRWISE_MAX rows; `by_id` keeps their records by id."""
    for person in range(people):
        first, end = person_start[person], person_start[person + 1]
        if end - first <= PAIRWISE_MAX:
            continue
        for index in range(first, end):
            by_id[index] = order[index]
        sort_by_id(work, by_id, first, end, spare)
        for index in range(first, end):
            other = index + 1
            while other < end and work[by_id[other] + ID] == work[by_id[index] + ID]:
                mark_pair(work, by_id[index], by_id[other], history_rows, texts)
                other += 1


@helper
def sort_by_id(work: Words, by_id: Words, first: int, end: int, spare: Words) -> None:
    """Sort by_id[first:end] (offsets of records) by the id word, stably, by merging."""
    run = 1
    while run < end - first:
        for start in range(first, end, 2 * run):
            middle, stop = min(start + run, end), min(start + 2 * run, end)
            left, right = start, middle
            for index in range(start, stop):
                if right < stop and (left >= middle or work[by_id[right] + ID] < work[by_id[left] + ID]):
                    spare[index] = by_id[right]
                    right += 1
                else:
                    spare[index] = by_id[left]
                    left += 1
        for index in range(first, end):
            by_id[index] = spare[index]
        run *= 2


@helper
def find_original(
    work: Words, fields: Words, order: Words, first: int, end: int, by_id: Words, reversal: int, texts: Texts
) -> int:
    """Return the record that a reversal names among its person's records, or NOT_SEEN.

    Of several with that id (then all but a row of the history are rejected) the one that is settled, else the last.
    """
    reverses = reversal + fields[FIELD_REVERSES]
    found = NOT_SEEN
    low, high, rows = first, end, order
    if end - first > PAIRWISE_MAX:
        rows = by_id
        stop = end
        while low < stop:
            middle = (low + stop) // 2
            if work[by_id[middle] + ID] < work[reverses]:
                low = middle + 1
            else:
                stop = middle
        high = low
        while high < end and work[by_id[high] + ID] == work[reverses]:
            high += 1
    for index in range(low, high):
        candidate = rows[index]
        wanted = found == NOT_SEEN or status_of(work, found) != SETTLED or status_of(work, candidate) == SETTLED
        if (
            wanted
            and kind_of(work, candidate) != OPENING
            and names_original(work, reversal, reverses, candidate, texts)
        ):
            found = candidate
    return found


@helper
def unusable_original(work: Words, original: int, history_rows: int) -> int:
    """Return why an original from the history, settled in its day, cannot be taken back now; SETTLED where it can.

    Its policy is not in this run's book, or the history does not show what the policy's rules go by.
    """
    status = status_of(work, original)
    if work[original + ROW] >= history_rows:
        return SETTLED
    unplaced = work[original + HEAD] >> SHIFT_FLAGS & UNPLACED_FLAGS != 0
    if status in (NO_POLICY, BIRTH_DATE_MISSING) or (status == MISSING_VALUE and unplaced):
        return status
    return SETTLED


@helper
def check_pair(work: Words, fields: Words, original: int, reversal: int, earlier: bool, reversed_before: bool) -> int:
    """Return the status of a reversal whose original was found."""
    if status_of(work, original) != SETTLED or kind_of(work, original) != NORMAL or not earlier:
        return REVERSAL_WITHOUT_ORIGINAL
    if reversed_before:
        return REVERSAL_NOT_WHOLE
    for fee in range(FEES_COUNT):
        word = fields[FIELD_FEE + fee]
        if word >= 0 and work[original + word] != -work[reversal + word]:
            return REVERSAL_NOT_WHOLE
    return SETTLED


@helper
def follow(work: Words, original: int, reversal: int) -> None:
    """Give a reversal its original's policy and group: it belongs to that year, rejected or not."""
    policy = work[original + HEAD] & (NO_POLICY_INDEX << SHIFT_POLICY)
    work[reversal + HEAD] = work[reversal + HEAD] & ~(NO_POLICY_INDEX << SHIFT_POLICY) | policy
    work[reversal + GROUP] = work[original + GROUP]


@helper
def mirror_payments(work: Words, fields: Words, original: int, reversal: int) -> None:
    """Write the original's payments, negated, as the reversal's."""
    for layer in range(LAYERS_COUNT):
        word = fields[FIELD_LAYER + layer]
        if word >= 0:
            work[reversal + word] = -work[original + word]


@helper
def negate(work: Words, fields: Words, record: int) -> None:
    """Turn the signs of a record's amounts, fees and payments."""
    for field in range(FIELD_FEE, FIELD_LAYER + LAYERS_COUNT):
        if fields[field] >= 0:
            work[record + fields[field]] = -work[record + fields[field]]


@helper
def paid_sum(work: Words, fields: Words, record: int) -> int:
    """Return the sum of a record's payments."""
    paid = 0
    for layer in range(LAYERS_COUNT):
        if fields[FIELD_LAYER + layer] >= 0:
            paid += work[record + place(fields[FIELD_LAYER + layer])]
    return paid


@helper
def exceeds_total(work: Words, fields: Words, record: int) -> bool:
    """Return whether the payments of a record are larger in sum than its total fee (signs apart)."""
    return abs(paid_sum(work, fields, record)) > abs(work[record + fields[FIELD_TOTAL]])


@helper
def unseen_status(book: Words, work: Words, reversal: int) -> int:
    """Return what a reversal's own cells say where its original was not seen."""
    head = work[reversal + HEAD]
    if head >> SHIFT_POLICY & NO_POLICY_INDEX == NO_POLICY_INDEX:
        return NO_POLICY
    if book[cell_of(book, head) + CELL_NEEDS] & NEEDS_AGE and head >> SHIFT_AGE & 127 == AGE_UNKNOWN:
        return BIRTH_DATE_MISSING
    return SETTLED


@helper
def window_mode(work: Words, record: int) -> int:
    """Return FROZEN for a row outside the re-accounting window, else REPLAYED."""
    return REPLAYED if work[record + HEAD] >> SHIFT_WINDOW & 1 else FROZEN


@kernel
def take_out_pairs(
    book: Words,
    work: Words,
    fields: Words,
    order: Words,
    person_start: Words,
    people: int,
    by_id: Words,
    history_rows: int,
    texts: Texts,
) -> None:
    """For a re-accounting: mark originals and their reversals as taken out, before anything is replayed."""
    for person in range(people):
        first, end = person_start[person], person_start[person + 1]
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
            follow(work, original, reversal)
            if unusable_original(work, original, history_rows) != SETTLED:
                set_status(work, original, SETTLED)  # it was settled in its day, and nothing is replayed of it
            status = check_pair(
                work, fields, original, reversal,
                comes_before(work, original, reversal, texts),
                mode_of(work, original) & REVERSED != 0,
            )  # fmt: skip
            if status == SETTLED and exceeds_total(work, fields, reversal):
                status = PAID_EXCEEDS_TOTAL
            if status != SETTLED:
                set_status(work, reversal, status)
                continue
            set_mode(work, reversal, TAKEN_OUT | window_mode(work, original))
            set_mode(work, original, TAKEN_OUT | REVERSED)
