"""Rules that look at one stay, and rules with a ceiling: what EXTENDED steps pay. Contract: decision 0004.

The meter is an account that counts a year's stays and the deductibles they bore; an episode of referrals has a
meter of its own, in a group of its own, because it may cross New Year.
"""

from yibao_core._jit import Words, helper, place
from yibao_core.accumulators import GROUP_BALANCES, GROUP_BEGAN
from yibao_core.layers import (
    TRACE_BORNE_FEN,
    TRACE_CEILING_LEFT_FEN,
    TRACE_CREDIT_FEN,
    TRACE_DEDUCTIBLE_FEN,
    TRACE_DEDUCTIBLE_LEFT_FEN,
    TRACE_PER_STAY,
    TRACE_STAY_CAP_FEN,
    TRACE_STAY_GOES_ON,
    TRACE_STAY_NUMBER,
    TRACE_STAY_SHARE_BP,
    base_fen,
    cap_left_fen,
    limit_left_fen,
    pay_layer,
)
from yibao_core.money import BP, YEAR_MAX_FEN, round_fen
from yibao_core.plan import (
    EXTENSION_ABOVE,
    EXTENSION_CAP_FEN,
    EXTENSION_CEILING_BP,
    EXTENSION_DEDUCTIBLE_FEN,
    EXTENSION_FIRST_SHARE,
    EXTENSION_LIMIT_FEN,
    EXTENSION_METER,
    EXTENSION_ONCE,
    EXTENSION_PER_STAY,
    EXTENSION_REFERRAL,
    EXTENSION_SHARES,
    EXTENSION_WHOLE,
    RULE_EXTENSION,
    RULE_FIRST_TIER,
    RULE_TIERS,
    TIER_LOWER_FEN,
    TIER_RATE_BP,
    TIER_WIDTH,
)
from yibao_core.records import NO_STAY, NUMBER_NONE, SHIFT_BORNE
from yibao_core.tiers import sum_tiers


@helper
def stay_of(
    book: Words, extension: int, balances: Words, at: int, episode_at: int, base: int
) -> tuple[int, int, int, int, int]:
    """Return what a stay bears of its deductible, its number, whether it begins, its share and what counts as borne already."""
    deductible = book[extension + EXTENSION_DEDUCTIBLE_FEN]
    meter = book[extension + EXTENSION_METER]
    if meter < 0 or base == 0:
        return min(base, deductible), 0, 0, BP, 0
    year = place(at + 2 * meter)
    number = max(0, balances[year + 1]) + 1
    begins = 1
    credit = 0
    if episode_at >= 0 and book[extension + EXTENSION_REFERRAL]:
        episode = place(episode_at + 2 * meter)
        credit = max(0, balances[episode])
        if balances[episode + 1] > 0:
            number, begins = balances[episode + 1], 0
    share = BP
    shares = book[extension + EXTENSION_SHARES]
    if shares > 0:
        share = book[place(extension + EXTENSION_FIRST_SHARE + min(number, shares) - 1)]
        deductible = round_fen(deductible * share, BP // 2)
    if book[extension + EXTENSION_ONCE]:
        credit = max(credit, balances[year])
    limit_left = book[extension + EXTENSION_LIMIT_FEN] - max(0, balances[year])  # below 0 after refunds of unseen stays
    due = min(max(0, deductible - credit), max(0, limit_left))
    return min(base, due), number, begins, share, credit


@helper
def move_meter(
    book: Words, rule: int, balances: Words, at: int, episode_at: int, key: int, stay: int, sign: int
) -> None:
    """Count a stay, or with `sign` -1 take it back: `stay` is what its record says, `key` its benefit year and city."""
    extension = place(book[rule + RULE_EXTENSION])
    borne = stay >> SHIFT_BORNE
    number = stay & NUMBER_NONE
    begins = 0 < number < NUMBER_NONE
    year = place(at + 2 * book[extension + EXTENSION_METER])
    balances[year] += sign * borne
    if begins:
        balances[year + 1] += sign
    if episode_at >= 0 and book[extension + EXTENSION_REFERRAL]:
        episode = place(episode_at + 2 * book[extension + EXTENSION_METER])
        balances[episode] += sign * borne
        if begins:
            balances[episode + 1] = number if sign > 0 else 0
            balances[place(episode_at - GROUP_BALANCES + GROUP_BEGAN)] = key


@helper
def ceiling_left_fen(
    book: Words, extension: int, component: int, total: int, charged_eligible: int, charged_total: int
) -> int:
    """Return what a ceiling leaves of a component after the payments of all earlier layers on it; at most, so rounded down."""
    if book[extension + EXTENSION_CEILING_BP] < 0:
        return component
    paid_before = component - base_fen(component, total, charged_eligible, charged_total)
    return max(0, component * book[extension + EXTENSION_CEILING_BP] // BP - paid_before)


@helper
def tier_of_all(book: Words, rule: int, reached: int) -> int:
    """Return the offset of the one tier that pays on all of a stay: the last whose edge is reached."""
    found = place(rule + RULE_FIRST_TIER)
    tier = found
    for _ in range(book[rule + RULE_TIERS]):
        if reached >= book[tier + TIER_LOWER_FEN]:
            found = tier
        tier = place(tier + TIER_WIDTH)
    return found


@helper
def stay_entitled_fen(book: Words, rule: int, extension: int, half_fen_bp: int, base: int, borne: int) -> int:
    """Return what the tiers pay on the part of a stay above what it bore, rounded once."""
    if book[rule + RULE_TIERS] == 0:
        return 0
    above = book[extension + EXTENSION_ABOVE] != 0
    if book[extension + EXTENSION_WHOLE]:
        tier = tier_of_all(book, rule, base - borne if above else base)
        return round_fen((base - borne) * book[tier + TIER_RATE_BP], half_fen_bp)
    start = 0 if above else borne
    end = start + base - borne
    return round_fen(sum_tiers(end, book, rule) - sum_tiers(start, book, rule), half_fen_bp)


@helper
def pay_extended(
    book: Words,
    rule: int,
    half_fen_bp: int,
    balances: Words,
    at: int,
    episode_at: int,
    before: int,
    base: int,
    component: int,
    total: int,
    charged_eligible: int,
    charged_total: int,
    left: int,
    trace: Words,
    out: int,
) -> tuple[int, int]:
    """Return what an EXTENDED rule pays, and the stay as its record keeps it (NO_STAY where none was counted).

    `charged_eligible` and `charged_total` are the payments of all earlier layers. The cuts, in order: the stay's cap, the year's, the
    shared limit, the ceiling, what is left of the row.
    """
    extension = place(book[rule + RULE_EXTENSION])
    ceiling_left = ceiling_left_fen(book, extension, component, total, charged_eligible, charged_total)
    traced = trace.size > 0
    if book[extension + EXTENSION_PER_STAY] == 0:
        if traced:
            trace[out + TRACE_CEILING_LEFT_FEN] = ceiling_left
        return min(pay_layer(book, rule, half_fen_bp, balances, at, before, base, left), ceiling_left), NO_STAY
    borne, number, begins, share, credit = stay_of(book, extension, balances, at, episode_at, base)
    entitled = stay_entitled_fen(book, rule, extension, half_fen_bp, base, borne)
    if traced:
        trace[out + TRACE_PER_STAY] = 1
        if book[extension + EXTENSION_CEILING_BP] >= 0:
            trace[out + TRACE_CEILING_LEFT_FEN] = ceiling_left
        trace[out + TRACE_DEDUCTIBLE_FEN] = book[extension + EXTENSION_DEDUCTIBLE_FEN]
        trace[out + TRACE_STAY_NUMBER] = number
        trace[out + TRACE_STAY_SHARE_BP] = share
        trace[out + TRACE_CREDIT_FEN] = credit
        trace[out + TRACE_BORNE_FEN] = borne
        trace[out + TRACE_STAY_GOES_ON] = 1 if number > 0 and not begins else 0
        limit = book[extension + EXTENSION_LIMIT_FEN]
        if number > 0 and limit < YEAR_MAX_FEN:
            borne_before = balances[place(at + 2 * book[extension + EXTENSION_METER])]
            trace[out + TRACE_DEDUCTIBLE_LEFT_FEN] = max(0, limit - max(0, borne_before))
        trace[out + TRACE_STAY_CAP_FEN] = book[extension + EXTENSION_CAP_FEN]
    paid = min(
        entitled,
        book[extension + EXTENSION_CAP_FEN],
        cap_left_fen(book, rule, balances, at),
        limit_left_fen(book, rule, balances, at),
        ceiling_left,
        left,
    )
    stay = NO_STAY
    if book[extension + EXTENSION_METER] >= 0 and base > 0:
        stay = borne << SHIFT_BORNE | (min(number, NUMBER_NONE - 1) if begins else 0)
    return max(0, paid), stay
