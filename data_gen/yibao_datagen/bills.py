"""One bill: where and when it arose and was settled, what it costs, what basic insurance pays of it by rule of thumb."""

import math

import numpy as np
import numpy.typing as npt

from yibao_core._jit import helper, routine
from yibao_core.policy import CARE_TYPES
from yibao_datagen.people import Ints
from yibao_datagen.plan import (
    CHRONIC,
    COLLECTED,
    DAYS_STAY,
    FIRST_PAY_BP,
    GUIDE,
    INPATIENT,
    LARGEST_FEN,
    LATE,
    LEVELS,
    OUTPATIENT,
    OVER_LIMIT_BP,
    PKU,
    SAME_DAY,
    SELF_FUNDED_BP,
    Plan,
)
from yibao_datagen.rows import (
    BASIC,
    CARE,
    DAY_US,
    ELIGIBLE,
    FIRST_PAY,
    HOSPITAL,
    LEVEL,
    OVER_LIMIT,
    SECOND_US,
    SELF_FUNDED,
    TOTAL,
    TREATED,
)
from yibao_datagen.streams import below, draw, fine_unit, normal, unit

HOSPITALS = np.array([30, 8, 3, 200])  # in each district, by level
# Basic insurance by rule of thumb, by place of the level among LEVELS, or by care type.
DEDUCTIBLES_FEN = np.array([20_000, 50_000, 100_000, 20_000])
STAY_RATES_BP = np.array([8_500, 7_200, 6_000, 8_500])
OUTSIDE_LESS_BP = 1_000
OTHER_RATES_BP = np.array([0, 5_000, 6_000, 0, 0])
LARGEST_BASIC_FEN = np.array([15_000_000, 8_000, 150_000, 0, 0])


@helper
def day_of(plan: Plan, care: int, share: float) -> int:
    """Return the day of the year up to which a share of a kind of care has come."""
    day: int = plan.guide[care, int(share * GUIDE)]
    while share >= plan.days[care, day]:
        day += 1
    return day


@helper
def place_among(edges: npt.NDArray[np.float64], row: int, share: float) -> int:
    """Return the place whose share it is."""
    place = 0
    while share >= edges[row, place] and place < edges.shape[1] - 1:
        place += 1
    return place


@routine
def fees_of(
    plan: Plan, seed: int, person: int, purpose: int, turn: int, care: int, level: int, severity: float, row: Ints
) -> None:
    """Write a bill's total and its parts, which add up to it, to the end of a row; `turn` is that of the bill's first block."""
    word_0, word_1, word_2, word_3 = draw(seed, person, purpose, turn)
    total = math.exp(plan.medians[care, level] + plan.sigma[care] * normal(fine_unit(word_0, word_1)) + severity)
    if unit(word_2) < plan.heavy[care]:
        total *= 2.0 * unit(word_3) ** (-1.0 / plan.heavy_exponent[care])
    total_fen = int(min(max(total, 100.0), plan.numbers[LARGEST_FEN]))
    word_0, word_1, word_2, _ = draw(seed, person, purpose, turn + 1)
    if care == PKU:  # food is in no catalogue
        self_funded_bp, over_bp, first_bp = 10_000, 0, 0
    else:
        self_funded_bp = below(word_0, 2 * int(plan.numbers[SELF_FUNDED_BP]) + 1)
        # Three bills in four have nothing above a price limit.
        over_bp = max(
            0, below(word_1, 32 * int(plan.numbers[OVER_LIMIT_BP]) + 1) - 24 * int(plan.numbers[OVER_LIMIT_BP])
        )
        first_bp = below(word_2, 2 * int(plan.numbers[FIRST_PAY_BP]) + 1)
    row[TOTAL] = total_fen
    row[SELF_FUNDED] = total_fen * self_funded_bp // 10_000
    row[OVER_LIMIT] = total_fen * over_bp // 10_000
    row[FIRST_PAY] = total_fen * first_bp // 10_000


@routine
def settle_basic(row: Ints, level: int, outside: bool) -> None:
    """Write the eligible fee, and what basic insurance pays of it by rule of thumb, in whole fen."""
    care = row[CARE]
    eligible = row[TOTAL] - row[SELF_FUNDED] - row[OVER_LIMIT] - row[FIRST_PAY]
    row[ELIGIBLE] = eligible
    base, rate_bp = eligible, OTHER_RATES_BP[care]
    if care == INPATIENT:
        base = max(eligible - DEDUCTIBLES_FEN[level], 0)
        rate_bp = STAY_RATES_BP[level] - (OUTSIDE_LESS_BP if outside else 0)
    row[BASIC] = min(base * rate_bp // 10_000, LARGEST_BASIC_FEN[care])


@routine
def house(plan: Plan, care: int, outside: bool, own: int, words: tuple[int, int, int, int], row: Ints) -> int:
    """Write where a claim was treated; return the place of the level among LEVELS."""
    word_0, word_1, word_2, word_3 = words
    level = place_among(plan.levels, len(CARE_TYPES) if outside else care, unit(word_0))
    if outside:
        row[TREATED] = plan.elsewhere[below(word_2, plan.elsewhere.size)]
    else:
        row[TREATED] = plan.districts[own if unit(word_3) < 0.8 else below(word_2, plan.districts.size)]
    write_house(row, level, word_1)
    return level


@helper
def write_house(row: Ints, level: int, word: int) -> None:
    """Write level and hospital (region, level, three digits): a district has a few large houses and many small ones."""
    share = unit(word)
    row[LEVEL] = LEVELS[level]
    row[HOSPITAL] = row[TREATED] * 10_000 + LEVELS[level] * 1_000 + int(share * share * HOSPITALS[level]) + 1


@routine
def settled_us(plan: Plan, care: int, outside: bool, new_year: int, day: int, word_1: int, word_2: int) -> int:
    """Return when a claim is settled: most at once, some later, some with all others of their kind in the next month."""
    second = 8 * 3600 + below(word_2, 10 * 3600)
    if outside:
        lag = 5 + below(word_1, 56)
    elif care == INPATIENT:
        lag = below(word_1, 6)
    else:
        share = unit(word_1)
        collected, late = plan.numbers[COLLECTED], plan.numbers[LATE]
        if share < collected and care in (OUTPATIENT, CHRONIC):
            fifth: int = plan.collected[day - new_year]
            return (new_year + fifth) * DAY_US + 9 * 3600 * SECOND_US
        if collected <= share < collected + late:
            lag = 30 + int(151 * (share - collected) / late)
        elif share < collected + late + (1 - collected - late) * plan.numbers[SAME_DAY]:
            lag = 0
        else:
            lag = 1 + word_1 % 3
    return (day + lag) * DAY_US + second * SECOND_US


@helper
def level_of(row: Ints) -> int:
    """Return the place of a row's level among LEVELS."""
    level: int = min(row[LEVEL], 4) - 1
    return level


@helper
def stay_days(plan: Plan, total_fen: int, level: int, word: int) -> int:
    """Return the days of a stay: dearer ones are longer."""
    usual = math.exp(plan.medians[INPATIENT, level])
    days = plan.numbers[DAYS_STAY] * (0.55 + 0.9 * unit(word)) * math.sqrt(total_fen / usual) * 0.9
    return min(max(1, int(days)), 180)
