"""The plan: policies as one flat array of integers, the only form that kernels read. How it is laid out; `compiler` makes it.

For each policy, category and care type the plan holds a *cell*: a list of
steps, one a layer, in the policy's order. A step says whether the layer is computed, recorded or
zero there, and points to a rule block: base, account, limits, tiers. A policy that goes by place (the hospital's
level, treatment inside or outside the city) has a set of cells for each place.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core.money import YEAR_MAX_FEN
from yibao_core.policy import AGE_MAX, CATEGORIES, LEVELS, TREATED, Layer, Policy, Rule

# Head of the plan: the number of policies and of accounts, where the table of programs stands; policy blocks follow.
HEAD_POLICIES, HEAD_ACCOUNTS, HEAD_PROGRAMS, HEAD_WIDTH = range(4)

# A policy block. Days count from 1970-01-01.
(
    POLICY_REGION,
    POLICY_REGION_DIVISOR,
    POLICY_FROM_DAY,
    POLICY_TO_DAY,
    POLICY_KNOWN_DAY,
    POLICY_WINDOW_FROM_DAY,
    POLICY_WINDOW_TO_DAY,
    POLICY_YEAR_BY_SETTLED,
    POLICY_HALF_FEN_BP,
    POLICY_FAVOUR,  # offset of 512 categories, one for each set of categories
    POLICY_CELLS,  # offset of the cells, category by category
    POLICY_SUPPLEMENT,  # the set of categories whose supplement rows pay nothing to the person
    POLICY_BY_PLACE,  # 1: a set of cells for each place, in the order of PLACES
    POLICY_PLAIN,  # offset of a PLAIN_ word for each set of categories and care type (CARE_CODES a set), as `plain` looks them up
    POLICY_WIDTH,
) = range(15)

# A cell. The masks have one bit a layer.
(
    CELL_FIRST_STEP,
    CELL_END_STEP,
    CELL_NEEDS,  # NEEDS_ bits: what a row must show to be settled here
    CELL_NEED,  # index into CompiledBook.needs plus one; 0: nothing is missing
    CELL_RECORDED_MASK,  # recorded here and covering the care type: a null cell is NO_RULE
    CELL_NO_RULE,  # the ledger has no such column, though the layer has a rule for others
    CELL_PROGRAM,  # which of the programs does for plain rows what the steps do; -1: none does
    CELL_WIDTH,
) = range(8)

# A word of POLICY_PLAIN, -1 where no row of these categories and care type is plain. From the lowest bit: program 16,
# and the masks of its cell and its program that flags and marks go by, 8 bits each: CELL_RECORDED_MASK,
# PROGRAM_RECORDED_MASK, PROGRAM_COMPUTED_MASK, then CELL_NO_RULE, PROGRAM_ADDS_FEES, PROGRAM_KEEPS_BASIC and PROGRAM_BOUND.
CARE_CODES = 8  # an unknown care type is the last
PLAIN_CELL_RECORDED, PLAIN_RECORDED, PLAIN_COMPUTED, PLAIN_NO_RULE, PLAIN_ADDS_FEES, PLAIN_KEEPS_BASIC = (
    16,
    24,
    32,
    40,
    41,
    42,
)
PLAIN_BOUND = 43

(
    STEP_LAYER,
    STEP_MODE,
    STEP_RULE,
    STEP_FEEDS,
    STEP_CHARGED_TOTAL,
    STEP_AGE_FROM,
    STEP_AGE_TO,
    STEP_WIDTH,
) = range(8)

# EXTENDED is computed, too: per stay, or with a ceiling. A mode of its own, so that other rules do not pay for it.
ZERO, RECORDED, COMPUTED, EXTENDED = range(4)
NEEDS_AGE, NEEDS_LEVEL, NEEDS_TREATED = 1, 2, 4

# A place: the hospital's level as its index in LEVELS, plus OUTSIDE.
PLACES = tuple((level, treated) for treated in TREATED for level in LEVELS)
OUTSIDE = len(LEVELS)
UNGRADED = LEVELS.index(9)

# A program: the steps of a cell that only has yearly rules without ceiling, less all that was paid before, for every
# age and place. Rows that such a cell can settle are *plain*; `plain` says what else they must be.
(
    PROGRAM_RECORDED_MASK,  # layers whose recorded figure is paid here, basic insurance apart: in a plain row it is 0
    PROGRAM_COMPUTED_MASK,  # layers whose recorded figure is not
    PROGRAM_BOUND,  # what no base of a computed layer exceeds: BOUND_
    PROGRAM_KEEPS_BASIC,  # 1: what basic insurance has paid stands
    PROGRAM_ADDS_FEES,  # 1: some base is a sum of fees; a plain row's components are its total at most
    PROGRAM_FIRST_FEN,  # up to this yearly base nothing is paid
    PROGRAM_HALF_FEN_BP,
    PROGRAM_STEPS,
    PROGRAM_FIRST_STEP,  # then PROGRAM_STEP_WIDTH words for each step
) = range(9)
(
    PROGRAM_LAYER,
    PROGRAM_MODE,
    PROGRAM_RULE,
    PROGRAM_FEEDS,
    PROGRAM_CHARGED_TOTAL,
    PROGRAM_FEES,  # the fees of its base, one bit each
    PROGRAM_STEP_WIDTH,
) = range(7)
BOUND_TOTAL, BOUND_ELIGIBLE, BOUND_ELIGIBLE_LESS_BASIC = range(3)
PROGRAMS_MAX = 1 << 16

(
    RULE_ORDINAL,
    RULE_BASE_MASK,
    RULE_LESS_MASK,
    RULE_LESS_ALL,
    RULE_ACCOUNT,
    RULE_LIMIT_ACCOUNT,  # the rule's own account where no limit is shared
    RULE_LIMIT_FEN,
    RULE_CAP_FEN,
    RULE_EXTENSION,  # offset of what an EXTENDED rule says more, else 0
    RULE_TIERS,
    RULE_FIRST_TIER,  # then (lower_fen, upper_fen, rate_bp) for each tier
) = range(11)
TIER_LOWER_FEN, TIER_UPPER_FEN, TIER_RATE_BP, TIER_WIDTH = range(4)

(
    EXTENSION_PER_STAY,  # 0: a yearly schedule with a ceiling
    EXTENSION_CEILING_BP,  # -1: none
    EXTENSION_CAP_FEN,  # of one stay
    EXTENSION_DEDUCTIBLE_FEN,
    EXTENSION_ABOVE,  # tiers count above the deductible
    EXTENSION_WHOLE,
    EXTENSION_METER,  # the account that counts stays, -1: the rule looks at no other stay
    EXTENSION_ONCE,
    EXTENSION_REFERRAL,
    EXTENSION_LIMIT_FEN,  # on the deductibles of a year
    EXTENSION_SHARES,
    EXTENSION_FIRST_SHARE,  # basis points of the deductible: first stay, second, …
) = range(12)

FOREVER_DAY = 10**7
AGE_UNKNOWN = 127
NO_LIMIT_FEN = 2 * YEAR_MAX_FEN  # less what an account was paid, it still leaves more than a row can cost
NO_POLICY_INDEX = 63  # stands for no policy where a row carries the index of its own
MASKS = 1 << len(CATEGORIES)


class Need(NamedTuple):
    """Required parameters without a value for a category, each with the rule that cannot do without it."""

    policy_id: str
    category: str
    lacking: tuple[tuple[Rule, str], ...]


class RuleRef(NamedTuple):
    """Where a rule block comes from; `rule` is None for what no rule reaches."""

    policy: Policy
    layer: Layer
    rule: Rule | None


class CompiledBook(NamedTuple):
    """A plan and what its numbers stand for."""

    words: NDArray[np.int64]
    policies: tuple[Policy, ...]  # rows carry the index
    accounts: tuple[str, ...]
    rules: tuple[RuleRef, ...]
    needs: tuple[Need, ...]
    active: tuple[bool, ...]  # layers that have a step anywhere
    tiers_max: int
    needs_age: bool
    fees_used: frozenset[str]
    meters: tuple[str, ...]  # the accounts that count stays
    programs: int
    program_fees: frozenset[str]  # of the bases of all programs

    @property
    def counts_stays(self) -> bool:
        return bool(self.meters)


assert AGE_MAX < AGE_UNKNOWN
