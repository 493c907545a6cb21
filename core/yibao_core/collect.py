"""Settled records back to columns, in the order in which the rows came."""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, kernel, place
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


BLOCK_ROWS = 128
BLOCK_PLACE, BLOCK_HEAD, BLOCK_LEFT, BLOCK_SIGNS, BLOCK_LINES = range(5)
MINUS, PLUS = 1, 2  # which signs a row's payments and rest have


@kernel
def sign_of(amount: int) -> int:
    """Return MINUS, PLUS, or 0 for nothing."""
    return MINUS if amount < 0 else (PLUS if amount > 0 else 0)


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
    block: NDArray[np.int64],
) -> int:
    """Walk rows lo..hi, taking each row's record from its shard's next place; return the violations of the contract.

    Results are written behind `first_row` (rows of the history have none); `paid` has one line for
    each layer that records hold. A violation is a settled row with a payment or a rest on the wrong side of
    zero; rows of the supplement rule may pay more than there is (what is unrouted). `block`: room to work in,
    BLOCK_LINES x BLOCK_ROWS.
    """
    for row in range(lo, min(hi, first_row)):
        cursors[shard[row]] += 1
    violations = 0
    for begin in range(max(lo, first_row), hi, BLOCK_ROWS):
        count = min(BLOCK_ROWS, hi - begin)
        out = begin - first_row
        find_records(shard[begin : begin + count], cursors, group_start, width, work, total_word, group[out:], block)
        unpack_heads(block[BLOCK_HEAD, :count], status[out:], flags[out:], mode[out:], policy[out:])
        for line in range(layer_words.size):
            take_payments(work, layer_words[line], block, paid[line, out : out + count])
        violations += take_personal(work, total_word, block, personal[out : out + count])
    return violations


@kernel
def find_records(
    shard: Words,
    cursors: Words,
    group_start: Words,
    width: int,
    work: Words,
    total_word: int,
    group: Words,
    block: NDArray[np.int64],
) -> None:
    """Fill a block with the places of its rows' records, their heads and totals, and `group`.

    A short loop over many records: the processor then waits for many of them at once.
    """
    for index in range(shard.size):
        at = cursors[shard[index]]
        cursors[shard[index]] = at + 1
        record = far_place(at * width)
        block[BLOCK_PLACE, index] = record
        block[BLOCK_HEAD, index] = work[record + HEAD]
        block[BLOCK_LEFT, index] = work[record + place(total_word)]
        own = work[record + PERSON]
        group[index] = group_start[shard[index]] + own if own >= 0 else -1
        block[BLOCK_SIGNS, index] = 0


@kernel
def unpack_heads(heads: Words, status: Words, flags: Words, mode: Words, policy: Words) -> None:
    """Write what the heads of a block hold to its columns."""
    for index in range(heads.size):
        head = heads[index]
        status[index] = head & 255
        flags[index] = head >> SHIFT_FLAGS & 0x7FFF
        mode[index] = head >> SHIFT_MODE & 15
        policy[index] = head >> SHIFT_POLICY & 63


@kernel
def take_payments(work: Words, word: int, block: NDArray[np.int64], paid: Words) -> None:
    """Write one layer's payments of a block, 0 for rejected rows; take them off what is left."""
    for index in range(paid.size):
        amount = work[far_place(block[BLOCK_PLACE, index] + word)]
        if block[BLOCK_HEAD, index] & 255 != SETTLED:
            amount = 0
        paid[index] = amount
        block[BLOCK_LEFT, index] -= amount
        block[BLOCK_SIGNS, index] |= sign_of(amount)


@kernel
def take_personal(work: Words, total_word: int, block: NDArray[np.int64], personal: Words) -> int:
    """Write what is left to the persons of a block; return how many settled rows break the contract."""
    violations = 0
    for index in range(personal.size):
        record, head = far_place(block[BLOCK_PLACE, index]), block[BLOCK_HEAD, index]
        settled = head & 255 == SETTLED
        rest = work[record + TIME] if settled else 0
        personal[index] = rest
        signs = block[BLOCK_SIGNS, index] | sign_of(rest)
        wrong = signs & (PLUS if work[record + place(total_word)] < 0 else MINUS) != 0
        wrong |= block[BLOCK_LEFT, index] != rest and not head >> SHIFT_SUPPLEMENT & 1
        violations += 1 if wrong and settled else 0
    return violations
