"""The enrolled residents of a city: who they are, how poor, and how often they fall ill."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yibao_datagen.regions import districts_of

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# What a category cell may hold → share of residents, in basis points. The rest is ordinary.
CATEGORY_SHARES_BP: dict[str, int] = {
    "ordinary": 0,
    "registered_poor": 170,
    "destitute": 35,
    "dibao": 130,
    "dibao_marginal": 15,
    "severe_disability": 75,
    "low_income": 10,
    "illness_poverty": 10,
    "orphan": 5,
    "低保,特困": 6,
    "建档立卡、低保": 6,
    "registered_poor,severe_disability": 5,
}
CATEGORY_CELLS: tuple[str, ...] = tuple(CATEGORY_SHARES_BP)
ORDINARY = CATEGORY_CELLS.index("ordinary")
IS_REGISTERED_POOR: Bools = np.array(["registered_poor" in cell or "建档立卡" in cell for cell in CATEGORY_CELLS])

# Residents' insurance holds children, farmers and the old: (from age, up to age, share, claims relative to the mean).
AGE_BANDS = ((0, 18, 0.19, 0.7), (18, 60, 0.45, 0.7), (60, 80, 0.30, 1.5), (80, 100, 0.06, 1.9))
CLAIMS_DISPERSION = 0.9  # gamma shape of a person's claim rate: below 1 some never go, some every week
PKU_SCREENED_FROM = 1990
PKU_SHARE = 1 / 5_000


@dataclass(frozen=True)
class People:
    """Arrays with one entry a person. Days count from 1970-01-01; categories index `CATEGORY_CELLS`.

    From `change_day` on a person's category is `later_category`; most people never change.
    """

    number: Ints
    birth_day: Ints
    district: Ints
    category: Ints
    later_category: Ints
    change_day: Ints
    has_supplement: Bools
    has_social_card: Bools
    has_pku: Bools
    claim_weight: Floats

    def __len__(self) -> int:
        return len(self.number)


def make_people(count: int, seed: int, year: int, region: int) -> People:
    """Return `count` residents of the city, all born before `year`."""
    rng = np.random.default_rng([seed, 1])
    new_year = day_number(year, 1)
    band = pick(rng, [share for *_, share, _ in AGE_BANDS], count)
    youngest, oldest = (np.array([ages[end] for ages in AGE_BANDS])[band] for end in (0, 1))
    age_days = ((youngest + rng.random(count) * (oldest - youngest)) * 365.25).astype(np.int64)
    birth_day = (new_year - 1 - age_days).astype(np.int32)

    category, later, change_day = _categories(rng, count, new_year)
    poor = category != ORDINARY
    activity = np.array([band_activity for *_, band_activity in AGE_BANDS])[band]
    ever_registered_poor = IS_REGISTERED_POOR[category] | IS_REGISTERED_POOR[later]
    return People(
        number=np.arange(1, count + 1, dtype=np.int64),
        birth_day=birth_day,
        district=np.array(districts_of(region), dtype=np.int32)[rng.integers(0, len(districts_of(region)), count)],
        category=category,
        later_category=later,
        change_day=change_day,
        has_supplement=ever_registered_poor & (rng.random(count) < 0.9),
        has_social_card=rng.random(count) < np.where(band == 0, 0.7, 0.93),
        has_pku=(birth_day >= day_number(PKU_SCREENED_FROM, 1)) & (rng.random(count) < PKU_SHARE),
        claim_weight=activity * np.where(poor, 1.6, 1.0) * rng.standard_gamma(CLAIMS_DISPERSION, count),
    )


def _categories(rng: np.random.Generator, count: int, new_year: int) -> tuple[Ints, Ints, Ints]:
    """Return category, later category and day of the change; a few are recognised as poor in mid-year, or no longer."""
    poor_bp = np.array(list(CATEGORY_SHARES_BP.values()))
    all_bp = poor_bp.copy()
    all_bp[ORDINARY] = 10_000 - poor_bp.sum()
    category = pick(rng, all_bp, count)
    changes = rng.random(count) < np.where(category == ORDINARY, 0.003, 0.05)
    leaves = (category != ORDINARY) & (rng.random(count) < 0.6)
    later = np.where(leaves, ORDINARY, pick(rng, poor_bp, count))
    later = np.where(changes, later, category).astype(np.int8)
    change_day = new_year + rng.integers(31, 241, count)
    return category, later, change_day.astype(np.int32)


def pick(rng: np.random.Generator, weights: npt.ArrayLike, count: int) -> npt.NDArray[np.int8]:
    """Return `count` indices into `weights` (fewer than 128), each as likely as its weight says."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    return np.searchsorted(edges[:-1] / edges[-1], rng.random(count), side="right").astype(np.int8)


def day_number(year: int, month: int) -> int:
    """Return the first day of a month (1 to 13, where 13 is next January), counted from 1970-01-01."""
    return int(np.datetime64(f"{year + (month - 1) // 12}-{(month - 1) % 12 + 1:02d}-01", "D").astype(np.int64))
