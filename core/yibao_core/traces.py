"""The schedule's steps of a traced row, tier by tier, from the same functions that paid.

The waterfall writes down what it saw (rule, base, cumulative amounts, what a stay bore); here the rest is filled in
once, so that the waterfall, which runs for every row, does not carry it.
"""

from yibao_core._jit import Words, kernel
from yibao_core.layers import (
    TRACE_BASE_AFTER_FEN,
    TRACE_BASE_BEFORE_FEN,
    TRACE_BASE_FEN,
    TRACE_BORNE_FEN,
    TRACE_CAPPED,
    TRACE_ENTITLED_AFTER_FEN,
    TRACE_ENTITLED_BEFORE_FEN,
    TRACE_FIRST_TIER,
    TRACE_LAYER,
    TRACE_MODE,
    TRACE_PER_STAY,
    TRACE_RULE_AT,
    TRACE_TIER_AMOUNT_FEN_BP,
    TRACE_TIER_LOWER_FEN,
    TRACE_TIER_PART_FEN,
    TRACE_TIER_RATE_BP,
    TRACE_TIER_UPPER_FEN,
    TRACE_TIER_WIDTH,
    TRACE_TIERS,
    TRACE_TIERS_AFTER_FEN_BP,
    TRACE_TIERS_BEFORE_FEN_BP,
)
from yibao_core.money import BP
from yibao_core.plan import (
    COMPUTED,
    EXTENDED,
    EXTENSION_ABOVE,
    EXTENSION_WHOLE,
    RULE_CAP_FEN,
    RULE_EXTENSION,
    RULE_FIRST_TIER,
    RULE_TIERS,
    TIER_LOWER_FEN,
    TIER_RATE_BP,
    TIER_UPPER_FEN,
    TIER_WIDTH,
)
from yibao_core.stays import stay_entitled_fen, tier_of_all
from yibao_core.tiers import entitled_fen, pay_tiers, sum_tiers, tier_part


@kernel
def fill_trace(book: Words, half_fen_bp: int, stride: int, trace: Words) -> None:
    """Fill in entitlements and tiers of each computed layer of a trace, `stride` words a layer."""
    for out in range(0, trace.size, stride):
        mode = trace[out + TRACE_MODE]
        if trace[out + TRACE_LAYER] < 0 or (mode != COMPUTED and mode != EXTENDED):
            continue
        rule = trace[out + TRACE_RULE_AT]
        before, after = trace[out + TRACE_BASE_BEFORE_FEN], trace[out + TRACE_BASE_AFTER_FEN]
        all_in, whole = -1, 0  # the one tier that pays on all of the stay, and how much that is
        if trace[out + TRACE_PER_STAY] == 1:
            base, borne = trace[out + TRACE_BASE_FEN], trace[out + TRACE_BORNE_FEN]
            extension = book[rule + RULE_EXTENSION]
            above = book[extension + EXTENSION_ABOVE] != 0
            before = 0 if above else borne
            after = before + base - borne
            if book[extension + EXTENSION_WHOLE]:
                all_in, whole = tier_of_all(book, rule, base - borne if above else base), base - borne
            trace[out + TRACE_ENTITLED_BEFORE_FEN] = 0
            trace[out + TRACE_ENTITLED_AFTER_FEN] = stay_entitled_fen(book, rule, extension, half_fen_bp, base, borne)
        else:
            trace[out + TRACE_TIERS_BEFORE_FEN_BP] = pay_tiers(before, book, rule)
            trace[out + TRACE_TIERS_AFTER_FEN_BP] = pay_tiers(after, book, rule)
            trace[out + TRACE_CAPPED] = 1 if sum_tiers(after, book, rule) > book[rule + RULE_CAP_FEN] * BP else 0
            trace[out + TRACE_ENTITLED_BEFORE_FEN] = entitled_fen(before, book, rule, half_fen_bp)
            trace[out + TRACE_ENTITLED_AFTER_FEN] = entitled_fen(after, book, rule, half_fen_bp)
        trace[out + TRACE_TIERS] = book[rule + RULE_TIERS]
        tier = rule + RULE_FIRST_TIER
        line = out + TRACE_FIRST_TIER
        for _ in range(book[rule + RULE_TIERS]):
            lower, upper = book[tier + TIER_LOWER_FEN], book[tier + TIER_UPPER_FEN]
            part = tier_part(after, lower, upper) - tier_part(before, lower, upper)
            if all_in >= 0:
                part = whole if tier == all_in else 0
            per_stay = trace[out + TRACE_PER_STAY] == 1
            trace[line + TRACE_TIER_LOWER_FEN] = max(lower, before) if per_stay else lower
            trace[line + TRACE_TIER_UPPER_FEN] = upper
            trace[line + TRACE_TIER_RATE_BP] = book[tier + TIER_RATE_BP]
            trace[line + TRACE_TIER_PART_FEN] = part
            trace[line + TRACE_TIER_AMOUNT_FEN_BP] = part * book[tier + TIER_RATE_BP]
            tier += TIER_WIDTH
            line += TRACE_TIER_WIDTH
