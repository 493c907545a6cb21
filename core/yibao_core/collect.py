"""Settled records back to columns, in the order in which the rows came."""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, kernel
from yibao_core.errors import RowStatus
from yibao_core.records import (
    HEAD,
    PERSON,
    SHIFT_FLAGS,
    SHIFT_MODE,
    SHIFT_POLICY,
    SHIFT_SUPPLEMENT,
    TIME,
)

SETTLED = int(RowStatus.SETTLED)


@kernel
def collect_rows(
    total_word: int,
    layer_words: Words,
    lo: int,
    hi: int,
    first_row: int,
    shard: Words,
    cursors: Words,
    group_start: Words,
    width: int,
    work: Words,
    status: Words,
    flags: Words,
    mode: Words,
    policy: Words,
    group: Words,
    personal: Words,
    paid: NDArray[np.int64],
) -> int:
    """Walk rows lo..hi, taking each row's record from its shard's next place; return the violations of the contract.

    Results are written behind `first_row` (rows of the history have none); `paid` has one line for
    each layer that records hold. A violation is a settled row with a payment or a rest on the wrong side of
    zero; rows of the supplement rule may pay more than there is (what is unrouted).
    """
    violations = 0
    for row in range(lo, hi):
        record = cursors[shard[row]] * width
        cursors[shard[row]] += 1
        if row < first_row:
            continue
        out = row - first_row
        head = work[record + HEAD]
        status[out] = head & 255
        flags[out] = head >> SHIFT_FLAGS & 0x7FFF
        mode[out] = head >> SHIFT_MODE & 15
        policy[out] = head >> SHIFT_POLICY & 63
        group[out] = -1
        if work[record + PERSON] >= 0:
            group[out] = group_start[shard[row]] + work[record + PERSON]
        if head & 255 != SETTLED:
            personal[out] = 0
            for line in range(paid.shape[0]):
                paid[line, out] = 0
            continue
        left = work[record + total_word]
        sign = -1 if left < 0 else 1
        wrong = False
        for line in range(layer_words.size):
            amount = work[record + layer_words[line]]
            paid[line, out] = amount
            left -= amount
            wrong |= amount * sign < 0
        personal[out] = work[record + TIME]
        wrong |= personal[out] * sign < 0
        wrong |= left != personal[out] and not head >> SHIFT_SUPPLEMENT & 1
        violations += 1 if wrong else 0
    return violations
