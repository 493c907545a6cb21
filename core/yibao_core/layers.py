"""One benefit layer: what its base is, and what it pays on it."""

from yibao_core._jit import Words, helper, place
from yibao_core.plan import (
    RULE_ACCOUNT,
    RULE_CAP_FEN,
    RULE_FIRST_TIER,
    RULE_LIMIT_ACCOUNT,
    RULE_LIMIT_FEN,
    RULE_TIERS,
    TIER_LOWER_FEN,
)
from yibao_core.policy import FEES
from yibao_core.records import FIELD_ELIGIBLE, FIELD_FEE
from yibao_core.tiers import entitled_fen

ELIGIBLE_MASK = 1 << FEES.index("eligible_fee")
FEES_COUNT = len(FEES)

# What the kernel says of one layer of one row; tiers follow, TRACE_TIER_WIDTH words each. What depends on the schedule
# alone (the words marked *) is filled in by `traces`, for the one row that is traced.
(
    TRACE_LAYER,
    TRACE_MODE,
    TRACE_RULE,
    TRACE_RULE_AT,  # where the rule's block lies in the plan
    TRACE_COMPONENT_FEN,
    TRACE_BASE_FEN,
    TRACE_BASE_BEFORE_FEN,
    TRACE_BASE_AFTER_FEN,
    TRACE_TIERS_BEFORE_FEN_BP,  # *
    TRACE_TIERS_AFTER_FEN_BP,  # *
    TRACE_ENTITLED_BEFORE_FEN,  # *
    TRACE_ENTITLED_AFTER_FEN,  # *
    TRACE_CAPPED,  # * 1: the tiers would pay more than the yearly cap
    TRACE_CAP_LEFT_FEN,
    TRACE_LIMIT_LEFT_FEN,
    TRACE_LEFT_FEN,
    TRACE_RECORDED_FEN,
    TRACE_PAID_FEN,
    TRACE_CEILING_LEFT_FEN,
    TRACE_PER_STAY,  # 1: the words up to TRACE_STAY_CAP_FEN are filled, entitlements are the stay's own
    TRACE_DEDUCTIBLE_FEN,  # as the rule has it
    TRACE_STAY_NUMBER,  # in the year; 0: stays are not counted
    TRACE_STAY_SHARE_BP,  # of the deductible, for a later stay
    TRACE_CREDIT_FEN,  # borne earlier in the episode, or in the year
    TRACE_BORNE_FEN,
    TRACE_STAY_GOES_ON,  # 1: with an episode's deductible, it began no stay
    TRACE_DEDUCTIBLE_LEFT_FEN,  # of the limit on the year's deductibles, -1: there is none
    TRACE_STAY_CAP_FEN,
    TRACE_TIERS,  # *
    TRACE_FIRST_TIER,
) = range(30)
(
    TRACE_TIER_LOWER_FEN,
    TRACE_TIER_UPPER_FEN,
    TRACE_TIER_RATE_BP,
    TRACE_TIER_PART_FEN,
    TRACE_TIER_AMOUNT_FEN_BP,
    TRACE_TIER_WIDTH,
) = range(6)


@helper
def component_fen(fields: Words, work: Words, record: int, mask: int) -> int:
    """Return the sum of the fee components in `mask`; a component that the ledger lacks counts as 0."""
    if mask == ELIGIBLE_MASK:
        return work[record + place(fields[FIELD_ELIGIBLE])]
    amount_fen = 0
    for fee in range(FEES_COUNT):
        if mask >> fee & 1 and fields[FIELD_FEE + fee] >= 0:
            amount_fen += work[record + place(fields[FIELD_FEE + fee])]
    return amount_fen


@helper
def base_fen(component: int, total: int, charged_eligible: int, charged_total: int) -> int:
    """Return a component less what earlier layers paid on it, never below 0.

    Payments charged to the total go first against what lies outside the component; so no base is
    ever larger than what is left of the row.
    """
    inside = max(0, charged_total - (total - component))
    return max(0, component - charged_eligible - inside)


@helper
def pay_layer(
    book: Words,
    rule: int,
    half_fen_bp: int,
    balances: Words,
    at: int,
    before: int,
    base: int,
    left: int,
) -> int:
    """Return what a computed layer pays on a row's base. `before` is the account's cumulative base."""
    if base == 0 or is_below(book, rule, before + base):
        return 0
    entitled_before = entitled_fen(before, book, rule, half_fen_bp)
    entitled_after = entitled_fen(before + base, book, rule, half_fen_bp)
    return cut_fen(
        entitled_after - entitled_before, cap_left_fen(book, rule, balances, at), limit_left_fen(book, rule, balances, at), left
    )  # fmt: skip


@helper
def is_below(book: Words, rule: int, cumulative: int) -> bool:
    """Return whether a cumulative base does not reach the first tier: nothing is paid, and few people ever reach it."""
    return book[rule + RULE_TIERS] == 0 or cumulative <= book[rule + RULE_FIRST_TIER + TIER_LOWER_FEN]


@helper
def cut_fen(entitled: int, cap_left: int, limit_left: int, left: int) -> int:
    """Return what of R(F(after)) - R(F(before)) is paid: the cuts are what the yearly cap leaves, what a shared limit
    leaves, what the row leaves."""
    return max(0, min(entitled, cap_left, limit_left, left))


@helper
def cap_left_fen(book: Words, rule: int, balances: Words, at: int) -> int:
    """Return what the rule's yearly cap leaves after this year's payments from its account."""
    return max(0, book[rule + RULE_CAP_FEN] - balances[at + 2 * place(book[rule + RULE_ACCOUNT]) + 1])


@helper
def limit_left_fen(book: Words, rule: int, balances: Words, at: int) -> int:
    """Return what the limit leaves that the rule shares with others; where it shares none, more than any row can cost."""
    return max(0, book[rule + RULE_LIMIT_FEN] - balances[at + 2 * place(book[rule + RULE_LIMIT_ACCOUNT]) + 1])
