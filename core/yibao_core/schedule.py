"""One layer's schedule by itself, at the speed of memory: where its rule lies in the plan, and what its tiers give.

The numbers are the plan's own and the formula is `tiers`' own; what differs is the loop. Tiers are taken four at a time from
places that do not depend on the row, and the quotient by 10,000 comes from a product, so that all of it runs on vectors.
"""

from fractions import Fraction
from typing import NamedTuple

from yibao_core._jit import Words, far_place, helper, kernel, place, routine
from yibao_core.errors import ParameterError, PolicyError
from yibao_core.instructions import LINE_WORDS, fused, prefetch, stream_line, streamed
from yibao_core.money import BP, YEAR_MAX_FEN
from yibao_core.plan import (
    CELL_END_STEP,
    CELL_FIRST_STEP,
    CELL_NEED,
    CELL_WIDTH,
    COMPUTED,
    EXTENDED,
    HEAD_WIDTH,
    NO_LIMIT_FEN,
    PLACES,
    POLICY_BY_PLACE,
    POLICY_CELLS,
    POLICY_HALF_FEN_BP,
    RULE_CAP_FEN,
    RULE_FIRST_TIER,
    RULE_LIMIT_FEN,
    RULE_ORDINAL,
    RULE_TIERS,
    STEP_LAYER,
    STEP_MODE,
    STEP_RULE,
    STEP_WIDTH,
    TIER_LOWER_FEN,
    TIER_RATE_BP,
    TIER_UPPER_FEN,
    TIER_WIDTH,
    CompiledBook,
)
from yibao_core.policy import CARE_TYPES, CATEGORIES, LAYERS

BLOCK_ROWS = 512
SLOTS = 4
RECIPROCAL = 1 / BP
RECIPROCAL_REST = float(Fraction(1, BP) - Fraction(RECIPROCAL))
"""What the double nearest to 1 / BP lacks."""


class Found(NamedTuple):
    """Where a schedule lies in the plan: offset of its rule block, the half that rounds up, which rule it is."""

    rule: int
    half_fen_bp: int
    ordinal: int


def find_schedule(book: CompiledBook, layer: str, category: str, care_type: str) -> Found:
    """Return the yearly schedule of a book of one policy for a layer, category and care type.

    PolicyError where there is none, where it is not one for all ages and places, or where more than the cumulative base
    decides (rules per stay, ceilings, shared limits); ParameterError where a required parameter has no value.
    """
    words, policy = book.words, book.policies[0]
    where = f"{policy.id}: layers.{layer}: {category}, {care_type}"
    cells = int(words[HEAD_WIDTH + POLICY_CELLS])
    own = CATEGORIES.index(category) * len(CARE_TYPES) + CARE_TYPES.index(care_type)
    found = set()
    for at_place in range(len(PLACES) if words[HEAD_WIDTH + POLICY_BY_PLACE] else 1):
        cell = cells + (at_place * len(CATEGORIES) * len(CARE_TYPES) + own) * CELL_WIDTH
        if words[cell + CELL_NEED]:
            lacking = book.needs[int(words[cell + CELL_NEED]) - 1].lacking
            names = sorted({name for rule, name in lacking if rule in policy.layer(layer).rules})
            if names:
                raise ParameterError(f"{where}: expected values for {', '.join(names)}, got none")
        for step in range(int(words[cell + CELL_FIRST_STEP]), int(words[cell + CELL_END_STEP]), STEP_WIDTH):
            if words[step + STEP_LAYER] == LAYERS.index(layer):
                found.add((int(words[step + STEP_MODE]), int(words[step + STEP_RULE])))
    modes = {mode for mode, _ in found}
    if not modes & {COMPUTED, EXTENDED}:
        raise PolicyError(f"{where}: expected a rule that computes the layer, got none")
    if len(found) > 1:
        raise PolicyError(f"{where}: expected one schedule, got {len(found)} that differ by age or place of treatment")
    ((mode, rule),) = found
    if mode == EXTENDED or words[rule + RULE_LIMIT_FEN] != NO_LIMIT_FEN:
        raise PolicyError(
            f"{where}: expected a schedule on the year's cumulative base alone, got one per stay, with a ceiling or with a "
            "limit shared with other rules: settle the whole ledger"
        )
    return Found(rule, int(words[HEAD_WIDTH + POLICY_HALF_FEN_BP]), int(words[rule + RULE_ORDINAL]))


def tiers_of(book: CompiledBook, rule: int) -> list[tuple[int, int, int]]:
    """Return (lower fen, upper fen, basis points) of each tier; the last upper edge is YEAR_MAX_FEN."""
    first = rule + RULE_FIRST_TIER
    tiers = [first + tier * TIER_WIDTH for tier in range(int(book.words[rule + RULE_TIERS]))]
    return [
        (int(book.words[at + TIER_LOWER_FEN]), int(book.words[at + TIER_UPPER_FEN]), int(book.words[at + TIER_RATE_BP]))
        for at in tiers
    ]


def cap_of(book: CompiledBook, rule: int) -> int:
    """Return what a rule pays a year at most (fen); YEAR_MAX_FEN is no cap."""
    return int(book.words[rule + RULE_CAP_FEN])


def first_paid_fen(book: CompiledBook, rule: int) -> int:
    """Return the cumulative amount up to which a rule pays nothing."""
    return min((lower for lower, _, rate_bp in tiers_of(book, rule) if rate_bp), default=YEAR_MAX_FEN)


class Slots(NamedTuple):
    """Four tiers: each pays on what lies above its lower edge what its rate has more than the rate before."""

    lower0: float
    lower1: float
    lower2: float
    lower3: float
    more0: float
    more1: float
    more2: float
    more3: float
    edges: float  # what the four would pay on their own lower edges


@helper
def lower_of(book: Words, rule: int, tier: int) -> float:
    """Return a tier's lower edge (fen), YEAR_MAX_FEN where the rule has no so many."""
    if tier >= book[rule + RULE_TIERS]:
        return float(YEAR_MAX_FEN)
    return float(book[place(rule + RULE_FIRST_TIER + tier * TIER_WIDTH + TIER_LOWER_FEN)])


@helper
def more_of(book: Words, rule: int, tier: int) -> float:
    """Return by how much a tier's rate (basis points) exceeds that of the tier before."""
    if tier >= book[rule + RULE_TIERS]:
        return 0.0
    at = place(rule + RULE_FIRST_TIER + tier * TIER_WIDTH + TIER_RATE_BP)
    return float(book[at] - (book[at - TIER_WIDTH] if tier > 0 else 0))


@helper
def slots_of(book: Words, rule: int, first: int) -> Slots:
    """Return four tiers of a rule from the first on."""
    lower0, more0 = lower_of(book, rule, first), more_of(book, rule, first)
    lower1, more1 = lower_of(book, rule, first + 1), more_of(book, rule, first + 1)
    lower2, more2 = lower_of(book, rule, first + 2), more_of(book, rule, first + 2)
    lower3, more3 = lower_of(book, rule, first + 3), more_of(book, rule, first + 3)
    edges = lower0 * more0 + lower1 * more1 + lower2 * more2 + lower3 * more3
    return Slots(lower0, lower1, lower2, lower3, more0, more1, more2, more3, edges)


@helper
def pay_slots(amount: float, slots: Slots, start: float) -> float:
    """Return start + what four tiers pay, in fen x basis points: `sum_tiers`, with edges counted from zero.

    `start` less `edges` is handed in, so that each tier is one comparison and one fused product. With amounts within
    YEAR_MAX_FEN and rates within BP every product is at most 9e15, and so is every sum: below 2**53, where doubles are
    integers. (A sum up to a tier is its rate x the amount, or its rate x its edge less what the tiers before pay between.)
    """
    part0 = amount if amount > slots.lower0 else slots.lower0
    part1 = amount if amount > slots.lower1 else slots.lower1
    part2 = amount if amount > slots.lower2 else slots.lower2
    part3 = amount if amount > slots.lower3 else slots.lower3
    paid = fused(part0, slots.more0, start)
    paid = fused(part1, slots.more1, paid)
    paid = fused(part2, slots.more2, paid)
    return fused(part3, slots.more3, paid)


@helper
def quotient_fen(amount_fen_bp: float) -> int:
    """Return a whole amount of 0 to 2**53 divided by BP, rounded down: what `round_fen` divides, without a division.

    The fused product is the quotient as the nearest double. A whole quotient is a double itself; any other is 1e-4 or more
    below the next whole number, and the nearest double is at most 6.1e-5 away.
    """
    return int(fused(amount_fen_bp, RECIPROCAL, amount_fen_bp * RECIPROCAL_REST))


@routine
def entitle_four(book: Words, rule: int, half_fen_bp: int, amounts: Words, entitled: Words) -> bool:
    """Do what `entitle_block` does for a rule of up to four tiers."""
    slots = slots_of(book, rule, 0)
    start, cap = half_fen_bp - slots.edges, float(book[rule + RULE_CAP_FEN] * BP + half_fen_bp)
    least, most = 0, 0
    for index in range(amounts.size):
        amount = amounts[index]
        least, most = min(least, amount), max(most, amount)
        paid = pay_slots(float(amount), slots, start)
        entitled[index] = quotient_fen(paid if paid < cap else cap)
    return least < -YEAR_MAX_FEN or most > YEAR_MAX_FEN


@routine
def add_four(book: Words, rule: int, first: int, amounts: Words, sums: Words) -> None:
    """Add to the sums (fen x basis points) what four tiers from the first on add to what the tiers before pay."""
    slots = slots_of(book, rule, first)
    for index in range(amounts.size):
        sums[index] += int(pay_slots(float(amounts[index]), slots, -slots.edges))


@routine
def cap_sums(cap_fen_bp: int, half_fen_bp: int, amounts: Words, sums: Words) -> bool:
    """Turn sums of tiers to entitlements; True where an amount lies beyond YEAR_MAX_FEN."""
    least, most = 0, 0
    for index in range(amounts.size):
        least, most = min(least, amounts[index]), max(most, amounts[index])
        sums[index] = quotient_fen(float(min(sums[index], cap_fen_bp) + half_fen_bp))
    return least < -YEAR_MAX_FEN or most > YEAR_MAX_FEN


@helper
def entitle_block(book: Words, rule: int, half_fen_bp: int, amounts: Words, entitled: Words) -> bool:
    """Write R(F(amount)) of each amount of a block; True where one lies beyond YEAR_MAX_FEN, and results are no results."""
    tiers = book[rule + RULE_TIERS]
    if tiers <= SLOTS:
        return entitle_four(book, rule, half_fen_bp, amounts, entitled)
    for index in range(amounts.size):
        entitled[index] = 0
    for first in range(0, tiers, SLOTS):
        add_four(book, rule, first, amounts, entitled)
    return cap_sums(book[rule + RULE_CAP_FEN] * BP, half_fen_bp, amounts, entitled)


@routine
def stream_block(block: Words, rows: int, target: Words) -> None:
    """Copy a block to a target that begins a line of the cache, whole lines past the caches."""
    whole = rows & -LINE_WORDS
    for at in range(0, whole, LINE_WORDS):
        stream_line(block, at, target, at)
    for at in range(whole, rows):
        target[at] = block[at]


@kernel
def entitle(book: Words, rule: int, half_fen_bp: int, amounts: Words, entitled: Words, block: Words) -> bool:
    """Write the entitlement on each cumulative amount; False where one lies beyond YEAR_MAX_FEN.

    `entitled` begins a line of the cache. `block`: room to work in, BLOCK_ROWS.
    """
    for begin in range(0, amounts.size, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, amounts.size)
        for ahead in range(begin + BLOCK_ROWS, min(begin + 2 * BLOCK_ROWS, amounts.size), LINE_WORDS):
            prefetch(amounts, far_place(ahead))
        if entitle_block(book, rule, half_fen_bp, amounts[begin:end], block):
            return False
        stream_block(block, end - begin, entitled[begin:end])
    streamed()
    return True
