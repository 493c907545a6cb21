"""The results of plain rows back to columns, in the order in which the rows came.

Rows are walked in their own order, each taking the next result of its shard. A result is prefetched when the one
AHEAD of it is taken: without that the walk over 1,024 shards waited for memory, 14.8 ns a row and not 9.6.
"""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, far_place, kernel, routine
from yibao_core.instructions import prefetch
from yibao_core.intake import FEES_COUNT, Columns
from yibao_core.money import NULL_FEN
from yibao_core.plain import MIX_BITS
from yibao_core.policy import LAYERS
from yibao_core.records import CHANGED, FULL_REIMBURSEMENT, ZERO_PERSONAL_PAYMENT
from yibao_core.short import AMOUNT_BITS, AMOUNT_MAX_FEN
from yibao_core.units import REACHES

BLOCK_ROWS = 128
AHEAD = 8
# A block: the words of its results, and what differs from what was recorded.
BLOCK_DIFFER = (len(LAYERS) + 1) // 2
BLOCK_LINES = BLOCK_DIFFER + 1


@kernel
def collect_plain(
    columns: Columns,
    computed: Words,
    reaccount: bool,
    lo: int,
    hi: int,
    first_row: int,
    mixed: Words,
    bits: int,
    cursors: Words,
    results: Words,
    width: int,
    flags: Words,
    mode: Words,
    paid: NDArray[np.int64],
    block: NDArray[np.int64],
) -> None:
    """Walk rows lo..hi, taking each row's result (`width` words) from its shard's next place, which `cursors` say.

    Rows that are not here get anything at all.

    `computed` names the layers of the lines of `paid`. `block`: room to work in, BLOCK_LINES x BLOCK_ROWS.
    """
    shift = MIX_BITS - bits
    for row in range(lo, min(hi, first_row)):
        cursors[mixed[row] >> shift] += width
    for begin in range(max(lo, first_row), hi, BLOCK_ROWS):
        count = min(BLOCK_ROWS, hi - begin)
        out = begin - first_row
        for index in range(count):
            shard = mixed[far_place(begin + index)] >> shift
            at = far_place(cursors[shard])
            cursors[shard] = at + width
            prefetch(results, far_place(at + AHEAD * width))
            for word in range(width):
                block[word, index] = results[at + word]
        take_marks(block[0], count, flags[out:])
        for line in range(paid.shape[0]):
            take_line(block[line >> 1], (line & 1) * AMOUNT_BITS, paid[line, out : out + count])
        if reaccount:
            differ = block[BLOCK_DIFFER]
            for index in range(count):
                differ[index] = 0
            for line in range(paid.shape[0]):
                column = FEES_COUNT + computed[line]
                amounts, new = columns.money[column], paid[line, out : out + count]
                if amounts.size == 0:
                    compare_with_nothing(new, differ)
                elif columns.money_shift[column] == 0:
                    compare_dense(amounts[begin : begin + count], new, differ)
                else:
                    compare_pairs(amounts[2 * begin : 2 * (begin + count)], new, differ)
            mark_changes(differ, count, mode[out:])


@routine
def take_marks(words: Words, count: int, flags: Words) -> None:
    """Turn the marks of a block's first words to flags, and the words to plain payments."""
    for index in range(count):
        word = words[index]
        nothing_left = word < 0
        word = ~word if nothing_left else word
        flag = ZERO_PERSONAL_PAYMENT if nothing_left else 0
        flag |= FULL_REIMBURSEMENT if word >> REACHES & 1 else 0
        words[index] = word & ((1 << REACHES) - 1)
        flags[index] |= flag


@routine
def take_line(words: Words, shift: int, amounts: Words) -> None:
    """Write one payment of each result of a block."""
    for index in range(amounts.size):
        amounts[index] = words[index] >> shift & AMOUNT_MAX_FEN


@routine
def compare_with_nothing(amounts: Words, differ: Words) -> None:
    """Note the rows of a block that are paid something: the ledger has no column for it."""
    for index in range(amounts.size):
        differ[index] |= amounts[index]


@routine
def compare_dense(recorded: Words, amounts: Words, differ: Words) -> None:
    """Note the rows of a block whose payment is another than recorded; null is nothing."""
    for index in range(amounts.size):
        old = recorded[index]
        differ[index] |= (0 if old == NULL_FEN else old) ^ amounts[index]


@routine
def compare_pairs(recorded: Words, amounts: Words, differ: Words) -> None:
    """Do what `compare_dense` does with decimal128 as it lies, (low, high) words of amounts without a null."""
    for index in range(amounts.size):
        differ[index] |= (recorded[2 * index] ^ amounts[index]) | (recorded[2 * index + 1] ^ (amounts[index] >> 63))


@routine
def mark_changes(differ: Words, count: int, mode: Words) -> None:
    """Mark the rows of a block that differ."""
    for index in range(count):
        mode[index] |= CHANGED if differ[index] != 0 else 0
