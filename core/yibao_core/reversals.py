"""Which rows of a person are the same settlement, and which cancel which."""

from yibao_core._jit import Words, kernel
from yibao_core.errors import RowStatus
from yibao_core.order import SORT_BY_ID, Texts, compare_ids, names_original, sort_records
from yibao_core.policy import FEES, LAYERS
from yibao_core.records import (
    FIELD_FEE,
    FIELD_LAYER,
    FIELD_REVERSES,
    FIELD_TOTAL,
    HEAD,
    ID,
    NORMAL,
    OPENING,
    ROW,
    SHIFT_KIND,
)

FEES_COUNT, LAYERS_COUNT = len(FEES), len(LAYERS)
PAIRWISE_MAX = 24
SETTLED = int(RowStatus.SETTLED)
MISSING_VALUE = int(RowStatus.MISSING_VALUE)
DUPLICATE_SETTLEMENT = int(RowStatus.DUPLICATE_SETTLEMENT)
REVERSAL_WITHOUT_ORIGINAL = int(RowStatus.REVERSAL_WITHOUT_ORIGINAL)
REVERSAL_NOT_WHOLE = int(RowStatus.REVERSAL_NOT_WHOLE)
NOT_SEEN = -1


@kernel
def status_of(work: Words, record: int) -> int:
    return work[record + HEAD] & 255


@kernel
def kind_of(work: Words, record: int) -> int:
    return work[record + HEAD] >> SHIFT_KIND & 15


@kernel
def set_status(work: Words, record: int, status: int) -> None:
    work[record + HEAD] = work[record + HEAD] & ~255 | status


@kernel
def mark_pair(work: Words, record: int, other: int, history_rows: int, texts: Texts) -> None:
    """Reject two rows of one person where they carry the same settlement id; rows of the history stay."""
    if compare_ids(work, record, other, texts) != 0:
        return
    for row in (record, other):
        if work[row + ROW] >= history_rows and status_of(work, row) != MISSING_VALUE:
            set_status(work, row, DUPLICATE_SETTLEMENT)


@kernel
def mark_duplicates(
    work: Words, order: Words, first: int, end: int, by_id: Words, spare: Words, history_rows: int, texts: Texts
) -> None:
    """Reject every row of a person whose settlement id stands twice, the first one too.

    `by_id` is filled with the person's records by id word where there are many (see `find_original`).
    """
    if end - first <= PAIRWISE_MAX:
        for index in range(first, end):
            if kind_of(work, order[index]) == OPENING:
                continue
            for other in range(index + 1, end):
                if work[order[index] + ID] == work[order[other] + ID] and kind_of(work, order[other]) != OPENING:
                    mark_pair(work, order[index], order[other], history_rows, texts)
        return
    for index in range(first, end):
        by_id[index] = order[index]
    sort_records(work, by_id, first, end, spare, texts, SORT_BY_ID)
    for index in range(first, end):
        if kind_of(work, by_id[index]) == OPENING:
            continue
        other = index + 1
        while other < end and work[by_id[other] + ID] == work[by_id[index] + ID]:
            if kind_of(work, by_id[other]) != OPENING:
                mark_pair(work, by_id[index], by_id[other], history_rows, texts)
            other += 1


@kernel
def find_original(
    work: Words, fields: Words, order: Words, first: int, end: int, by_id: Words, reversal: int, texts: Texts
) -> int:
    """Return the record that a reversal names among its person's records, or NOT_SEEN.

    Of several with that id (then all but a row of the history are rejected) the one that is settled.
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
        if kind_of(work, candidate) != OPENING and names_original(work, reversal, reverses, candidate, texts):
            if found == NOT_SEEN or status_of(work, candidate) == SETTLED:
                found = candidate
    return found


@kernel
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


@kernel
def mirror_payments(work: Words, fields: Words, original: int, reversal: int) -> None:
    """Write the original's payments, negated, as the reversal's."""
    for layer in range(LAYERS_COUNT):
        word = fields[FIELD_LAYER + layer]
        if word >= 0:
            work[reversal + word] = -work[original + word]


@kernel
def negate(work: Words, fields: Words, record: int) -> None:
    """Turn the signs of a record's amounts, fees and payments."""
    for field in range(FIELD_FEE, FIELD_LAYER + LAYERS_COUNT):
        if fields[field] >= 0:
            work[record + fields[field]] = -work[record + fields[field]]


@kernel
def paid_sum(work: Words, fields: Words, record: int) -> int:
    """Return the sum of a record's payments."""
    paid = 0
    for layer in range(LAYERS_COUNT):
        if fields[FIELD_LAYER + layer] >= 0:
            paid += work[record + fields[FIELD_LAYER + layer]]
    return paid


@kernel
def exceeds_total(work: Words, fields: Words, record: int) -> bool:
    """Return whether the payments of a record are larger in sum than its total fee (signs apart)."""
    return abs(paid_sum(work, fields, record)) > abs(work[record + fields[FIELD_TOTAL]])

