"""One row as the kernels hold it: a record of int64 words, as short as the ledger allows.

Records of one person lie close together while the person is settled, so that a row costs one or
two cache lines. Payments come in as recorded and go out, in the same words, as settled.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from yibao_core.policy import FEES, LAYERS

# Words that every record has.
(
    ID,  # settlement id, or its hash where ids are text
    ROW,  # row in the input, behind the rows of the history
    GROUP,  # benefit year x 10,000 + city
    # Not first: `pack_rows` writes this word and the record's last one ahead of the others, and needs 0.25 s for
    # 5 million rows where it took 0.31 s with the person in front.
    PERSON,  # in: the person's id word; out: the index of the row's group in its shard, -1: none
    TIME,  # in: settled_at in microseconds, UNREADABLE_TIME; out: what is left to the person, in fen
    HEAD,  # packed small fields, see below
    FIXED_WORDS,
) = range(7)

# Words that a record has where the ledger or the policy needs them: FIELDS tells where, or -1.
FIELD_REVERSES = 0
FIELD_FEE = 1  # the five fee components, total first
FIELD_LAYER = FIELD_FEE + len(FEES)
FIELD_STAY = FIELD_LAYER + len(LAYERS)  # where stays are counted: what the stay bore and its number
FIELD_EPISODE = FIELD_STAY + 1  # its episode, NO_EPISODE for none
FIELD_WIDTH = FIELD_EPISODE + 1
FIELDS = FIELD_WIDTH + 1

FIELD_TOTAL = FIELD_FEE + FEES.index("total_fee")
FIELD_ELIGIBLE = FIELD_FEE + FEES.index("eligible_fee")

# HEAD, from the lowest bit: status 8, flags 12, place 4, kind 4, mode 4, care 4, category 4, policy 6, in window 1,
# supplement 1, null payments 8, age 7. The place is 0 where the policy does not go by it.
SHIFT_PLACE = 20
FLAG_BITS = (1 << 12) - 1
SHIFT_FLAGS, SHIFT_KIND, SHIFT_MODE, SHIFT_CARE, SHIFT_CATEGORY, SHIFT_POLICY = 8, 24, 28, 32, 36, 40
SHIFT_WINDOW, SHIFT_SUPPLEMENT, SHIFT_NULLS, SHIFT_AGE = 46, 47, 48, 56
POLICIES_MAX = 64

NORMAL, REVERSAL, OPENING, NOBODY = range(4)  # kinds of rows; NOBODY has no readable person
REPLAYED, FROZEN, TAKEN_OUT = range(3)  # what was done with a row
REVERSED, CHANGED = 4, 8  # added to the mode: of a bill that was cancelled; of a replayed row that is paid otherwise

(
    AFTER_REJECT,
    FEES_DO_NOT_ADD_UP,
    FULL_REIMBURSEMENT,
    NO_RULE,
    ORIGINAL_NOT_SEEN,
    PAID_DOES_NOT_ADD_UP,
    STALE_AFTER_REVERSAL,
    ZERO_PERSONAL_PAYMENT,
) = (1 << bit for bit in range(8))
FLAGS = (
    "AFTER_REJECT",
    "FEES_DO_NOT_ADD_UP",
    "FULL_REIMBURSEMENT",
    "NO_RULE",
    "ORIGINAL_NOT_SEEN",
    "PAID_DOES_NOT_ADD_UP",
    "STALE_AFTER_REVERSAL",
    "ZERO_PERSONAL_PAYMENT",
)
UNPLACED_SHIFT = 8
"""Flags of a row that is rejected for its place: from this bit on NEEDS_LEVEL and NEEDS_TREATED, as they are lacking."""
UNPLACED_FLAGS = FLAG_BITS >> UNPLACED_SHIFT << UNPLACED_SHIFT
UNREADABLE_TIME = -(2**63)

# The word of a stay: the deductible borne (fen), then 16 bits for its number in the year; 0: it went on with an
# episode, NUMBER_NONE: it is a reversal's.
SHIFT_BORNE = 16
NUMBER_NONE = (1 << 16) - 1
NO_STAY = -(2**63)
NO_EPISODE = -1


def record_fields(
    fees: Collection[str], layers: Collection[str], reversals: bool, stays: bool = False
) -> NDArray[np.int64]:
    """Return FIELDS words: where each optional word stands in a record (-1: it has none), and the record's width."""
    fields = np.full(FIELDS, -1, dtype=np.int64)
    width = FIXED_WORDS
    wanted = [reversals, *(fee in fees for fee in FEES), *(layer in layers for layer in LAYERS), stays, stays]
    for field, present in enumerate(wanted):
        if present:
            fields[field] = width
            width += 1
    fields[FIELD_WIDTH] = width
    fields.flags.writeable = False
    return fields
