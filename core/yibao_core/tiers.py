"""An amount through one piecewise schedule."""

from yibao_core._jit import Words, helper, place
from yibao_core.money import BP, round_fen
from yibao_core.plan import (
    RULE_CAP_FEN,
    RULE_FIRST_TIER,
    RULE_TIERS,
    TIER_LOWER_FEN,
    TIER_RATE_BP,
    TIER_UPPER_FEN,
    TIER_WIDTH,
)


@helper
def tier_part(amount_fen: int, lower_fen: int, upper_fen: int) -> int:
    """Return the part of a cumulative amount that lies inside one tier."""
    return max(0, min(amount_fen, upper_fen) - lower_fen)


@helper
def sum_tiers(amount_fen: int, book: Words, rule: int) -> int:
    """Return what all tiers pay together on an amount, in fen x basis points.

    Exact for 0 <= amount <= 9e11 (below 2**53). Nothing is paid on amounts below zero.
    """
    paid_fen_bp = 0
    tier = rule + RULE_FIRST_TIER
    for _ in range(book[rule + RULE_TIERS]):
        if amount_fen <= book[tier + TIER_LOWER_FEN]:
            break
        part_fen = tier_part(amount_fen, book[tier + TIER_LOWER_FEN], book[tier + TIER_UPPER_FEN])
        paid_fen_bp += part_fen * book[tier + TIER_RATE_BP]
        tier = place(tier + TIER_WIDTH)
    return paid_fen_bp


@helper
def pay_tiers(amount_fen: int, book: Words, rule: int) -> int:
    """Return F(amount) in fen x basis points: what all tiers pay together, at most the cap."""
    return min(sum_tiers(amount_fen, book, rule), book[rule + RULE_CAP_FEN] * BP)


@helper
def entitled_fen(amount_fen: int, book: Words, rule: int, half_fen_bp: int) -> int:
    """Return R(F(amount)): the entitlement on a cumulative base, in fen, rounded once."""
    return round_fen(pay_tiers(amount_fen, book, rule), half_fen_bp)
