"""A profile as the arrays that kernels read: shares by year of age, days of the year, what bills cost."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core.policy import CARE_TYPES
from yibao_datagen.profile import Profile
from yibao_datagen.profile_rules import CONDITIONS
from yibao_datagen.regions import ELSEWHERE

Floats = NDArray[np.float64]
Words = NDArray[np.int64]

INPATIENT, OUTPATIENT, CHRONIC, SPECIAL_DRUG, PKU = range(len(CARE_TYPES))
CANCER, DAILY = CONDITIONS.index("cancer"), CONDITIONS.index("daily")
LEVELS = (1, 2, 3, 9)
AGES = 111
DAYS = 366
GUIDE = 1_024

# Who has these is one person; any other category is that of a whole household.
SINGLE = ("destitute", "severe_disability", "orphan")
OLD_FROM, GROWN_UP = 60, 18

(
    BIRTH_RATE, MARRIED, SOCIAL_CARD, SUPPLEMENT, RECOGNISED, ENDED, BACKDATED, STUDENT_FROM, STUDENT_TO, SEVERITY, LARGEST_FEN,
    SELF_FUNDED_BP, OVER_LIMIT_BP, FIRST_PAY_BP, DAYS_STAY, SAME_DAY, COLLECTED, LATE, BILLED_AGAIN, REVERSED_LATE, TWO_SLIPS,
    REFERRED, DRUG_IN_STAY,
) = range(23)  # fmt: skip


class Plan(NamedTuple):
    """What kernels know of a city in one year. Edges are sums of shares up to and with an entry; the last is 1."""

    ages: Floats  # edges by year of age
    female: Floats  # share, by age
    death: Floats  # within the base year, by age
    prevalence: Floats  # (condition, age), never falling with age; 0 past the oldest
    households: Floats  # edges of categories that households have; beyond them they are ordinary
    household_cells: Words  # which category that is
    singles: Floats  # (category, young, middle, old): chance of a person of that age
    single_cells: Words
    poor_supplement: Words  # by category: 1, may have the supplement
    alone: Words  # by category: 1, who has it lives apart from the household
    districts: Words
    district_edges: Floats
    elsewhere: Words
    activity: Floats  # (care type, age)
    burden: Floats  # (care type, condition): what a condition adds
    rates: Floats  # by care type: visits for a weight of 1
    frailty: Floats
    outside: Floats
    last_year: Floats
    levels: Floats  # (care type, then outside; level): edges
    medians: Floats  # (care type, level): logarithm of the median bill in fen
    sigma: Floats
    heavy: Floats
    heavy_exponent: Floats
    reversed: Floats  # by care type
    days: Floats  # (care type, day of the year): edges
    collected: Words  # by day of the year: when slips handed in together are settled, counted from 1 January
    guide: Words  # (care type, GUIDE): the first day that may be meant by a share
    numbers: Floats  # by the names above


@lru_cache(maxsize=16)
def plan_of(profile: Profile, year: int, region: int, districts: tuple[int, ...]) -> Plan:
    """Return the plan of a profile for a year; a region of its own has districts of equal size. ValueError for bad figures."""
    age_share, female = _by_age(profile)
    activity, burden, rates = _visits(profile, age_share)
    sigma = np.array([profile.number(f"costs.{care}.sigma", 0.0, 3.0) for care in CARE_TYPES])
    heavy = np.array([float(profile.get(f"costs.{care}.heavy", 0.0)) for care in CARE_TYPES])
    exponent = np.array(
        [
            profile.number(f"costs.{care}.heavy_exponent", 1.05, 100.0) if heavy[row] else 2.0
            for row, care in enumerate(CARE_TYPES)
        ]
    )
    days = _days(profile, year)
    shares = {int(code): share for code, share in profile["districts"].items()}
    if region != profile["region"]:
        shares = dict.fromkeys(districts, 1.0)
    if set(shares) != set(districts):
        known = ", ".join(map(str, districts))
        raise ValueError(f"profile {profile.name}: districts: expected {known}, got {', '.join(map(str, shares))}")
    categories = cells_of(profile)
    households, singles = _categories(profile, age_share)
    return Plan(
        ages=np.cumsum(age_share),
        female=female,
        death=_deaths(profile, age_share),
        prevalence=_prevalence(profile),
        households=np.cumsum(np.array([share for _, share in households], dtype=np.float64)),
        household_cells=np.array([cell for cell, _ in households], dtype=np.int64),
        singles=np.array([chances for _, chances in singles], dtype=np.float64).reshape(-1, 3),
        single_cells=np.array([cell for cell, _ in singles], dtype=np.int64),
        poor_supplement=np.array([_is_registered_poor(cell) for cell in categories], dtype=np.int64),
        alone=np.array(["orphan" in cell for cell in categories], dtype=np.int64),
        districts=np.array(districts, dtype=np.int64),
        district_edges=_edges([shares[code] for code in districts]),
        elsewhere=np.array([code for code in ELSEWHERE if code // 100 != region], dtype=np.int64),
        activity=activity,
        burden=burden,
        rates=rates,
        frailty=np.array([profile.number(f"visits.{care}.frailty", 0.05, 1_000.0) for care in CARE_TYPES]),
        outside=np.array([profile.number(f"visits.{care}.outside", 0.0, 1.0) for care in CARE_TYPES]),
        last_year=np.array([_last_year(profile, care) if year == profile["base_year"] else 1.0 for care in CARE_TYPES]),
        levels=_levels(profile),
        medians=_medians(profile, sigma, heavy, exponent),
        sigma=sigma,
        heavy=heavy,
        heavy_exponent=exponent,
        reversed=_reversed(profile),
        days=days,
        collected=_fifth_of_next_month(year),
        guide=_guide(days),
        numbers=_numbers(profile),
    )


def cells_of(profile: Profile) -> tuple[str, ...]:
    """Return what a category cell may hold: ordinary first."""
    return ("ordinary", *(name for name, _ in profile.below("people.categories")))


def names_of(cell: str) -> list[str]:
    """Return the categories that a cell names, several in one."""
    for separator in "，、；;":
        cell = cell.replace(separator, ",")
    return [name.strip() for name in cell.split(",")]


def _by_age(profile: Profile) -> tuple[Floats, Floats]:
    """Return shares of people and of women among them by year of age."""
    bands = [int(age) for age in profile["people.age_bands"]]
    shares = profile.numbers("people.age_shares", len(bands) - 1)
    women = profile.numbers("people.female_shares", len(bands) - 1)
    age_share, female = np.zeros(AGES), np.zeros(AGES)
    for begin, end, share, woman in zip(bands, bands[1:], shares, women, strict=False):
        age_share[begin:end] = share / (end - begin)
        female[begin:end] = woman
    return age_share / age_share.sum(), female


def _stepped(ages: Sequence[float], values: Sequence[float]) -> Floats:
    """Return what holds from an age on, by year of age."""
    at = np.searchsorted(np.asarray(ages), np.arange(AGES), side="right") - 1
    return np.asarray(values, dtype=np.float64)[np.maximum(at, 0)]


def _prevalence(profile: Profile) -> Floats:
    found = np.zeros((len(CONDITIONS), AGES))
    for row, name in enumerate(CONDITIONS):
        ages = profile[f"conditions.{name}.ages"]
        values = profile.numbers(f"conditions.{name}.prevalence", len(ages))
        found[row] = np.maximum.accumulate(np.interp(np.arange(AGES), ages, values))
        found[row, int(profile.get(f"conditions.{name}.oldest", AGES)) :] = 0.0
    return found


def _visits(profile: Profile, age_share: Floats) -> tuple[Floats, Floats, Floats]:
    """Return weights by age, what conditions add, and visits for a weight of 1, so that a head has `rate` of them."""
    prevalence = _prevalence(profile)
    activity = np.zeros((len(CARE_TYPES), AGES))
    burden = np.zeros((len(CARE_TYPES), len(CONDITIONS)))
    rates = np.zeros(len(CARE_TYPES))
    for row, care in enumerate(CARE_TYPES):
        ages = profile[f"visits.{care}.ages"]
        activity[row] = _stepped(ages, profile.numbers(f"visits.{care}.by_age", len(ages)))
        for name, factor in profile[f"visits.{care}.conditions"].items():
            burden[row, CONDITIONS.index(name)] = factor
        # Who dies comes oftener before, and has half of the year to do so.
        dying = _deaths(profile, age_share) * (_last_year(profile, care) / 2 - 1)
        weight = float(age_share @ ((activity[row] + burden[row] @ prevalence) * (1 + dying)))
        rates[row] = profile.number(f"visits.{care}.rate", 0.0, 1_000.0) / weight if weight > 0 else 0.0
    return activity, burden, rates


def _last_year(profile: Profile, care: str) -> float:
    """Return how much oftener people come in the year of their death."""
    return float(profile.get(f"visits.{care}.last_year", 1.0))


def _deaths(profile: Profile, age_share: Floats) -> Floats:
    """Return the chance to die within the base year by age: growing, and on average as published."""
    grown = np.exp(profile.number("people.death_growth") * np.arange(AGES))
    rate: Floats = np.minimum(grown * profile.number("people.death_rate", 0.0, 1.0) / float(age_share @ grown), 0.9)
    return rate


def _categories(
    profile: Profile, age_share: Floats
) -> tuple[list[tuple[int, float]], list[tuple[int, tuple[float, float, float]]]]:
    """Return the categories of households with their shares, and those of persons with the chance of each age to have them."""
    young, old = float(age_share[:GROWN_UP].sum()), float(age_share[OLD_FROM:].sum())
    households: list[tuple[int, float]] = []
    singles: list[tuple[int, tuple[float, float, float]]] = []
    for cell, (name, figure) in enumerate(profile.below("people.categories"), start=1):
        share = float(figure.value)
        if name == "destitute":
            singles.append((cell, (0.0, 0.0, share / old if old else 0.0)))
        elif name == "orphan":
            singles.append((cell, (share / young if young else 0.0, 0.0, 0.0)))
        elif any(one in name for one in SINGLE):
            singles.append((cell, (share, share, share)))
        else:
            households.append((cell, share))
    return households, singles


def _is_registered_poor(cell: str) -> bool:
    return "registered_poor" in cell or "建档立卡" in cell


def _edges(shares: Sequence[float]) -> Floats:
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    edges /= edges[-1]
    edges[-1] = 1.0
    return edges


def _levels(profile: Profile) -> Floats:
    figures = [*(f"costs.{care}.levels" for care in CARE_TYPES), "costs.levels_outside"]
    return np.array([_edges(profile.numbers(figure, len(LEVELS))) for figure in figures])


def _medians(profile: Profile, sigma: Floats, heavy: Floats, exponent: Floats) -> Floats:
    """Return logarithms of median bills in fen, such that bills are on average what the profile says."""
    found = np.zeros((len(CARE_TYPES), len(LEVELS)))
    for row, care in enumerate(CARE_TYPES):
        mean_fen = 100 * np.array(profile.numbers(f"costs.{care}.means", len(LEVELS)))
        # Of the heavy ones each is twice a Pareto number times the usual bill.
        larger = 1 + heavy[row] * (2 * exponent[row] / (exponent[row] - 1) - 1)
        found[row] = np.log(mean_fen / larger) - sigma[row] ** 2 / 2
    return found


def _reversed(profile: Profile) -> Floats:
    """Return the share of rows that are taken back by care type: half of them stays and special drugs."""
    rates = np.array([profile.number(f"visits.{care}.rate") for care in CARE_TYPES])
    share = profile.number("settling.reversed", 0.0, 0.5)
    costly = np.isin(np.arange(len(CARE_TYPES)), (INPATIENT, SPECIAL_DRUG))
    half = share * rates.sum() / 2
    found: Floats = np.minimum(np.where(costly, half / rates[costly].sum(), half / rates[~costly].sum()), 0.5)
    return found


def _days(profile: Profile, year: int) -> Floats:
    """Return edges of the days of a year by care type: seasons, weekends, month ends, holidays, an epidemic wave."""
    first = np.datetime64(f"{year}-01-01", "D")
    days = first + np.arange(DAYS)
    inside = days.astype("datetime64[Y]") == first.astype("datetime64[Y]")
    month = days.astype("datetime64[M]").astype(int) % 12
    weight = np.array(profile.numbers("calendar.months", 12))[month]
    to_end = ((days.astype("datetime64[M]") + 1).astype("datetime64[D]") - days).astype(int)
    weight = weight * np.where(to_end <= 3, profile.number("calendar.month_end"), 1.0)
    weekday = (days.astype(int) + 3) % 7  # 1970-01-01 was a Thursday
    rest = np.where(weekday >= 5, profile.number("calendar.weekend"), 1.0)
    holidays = np.isin(days, np.array(profile["calendar.holidays"], dtype="datetime64[D]"))
    rest = np.where(holidays, profile.number("calendar.holiday"), rest)
    wave: Mapping[str, Any] = profile["calendar.epidemic"]
    peak = np.datetime64(str(wave["peak"]), "D")
    height = 1 + wave["strength"] * np.exp(-0.5 * ((days - peak).astype(int) / wave["days"]) ** 2)
    found = np.zeros((len(CARE_TYPES), DAYS))
    for row, care in enumerate(CARE_TYPES):
        own = weight * (1.0 if care == "inpatient" else rest) * (height if care in wave["of"] else 1.0) * inside
        found[row] = np.cumsum(own) / own.sum()
        found[row, int(inside.sum()) - 1 :] = 1.0
    return found


def _fifth_of_next_month(year: int) -> Words:
    first = np.datetime64(f"{year}-01-01", "D")
    months = (first + np.arange(DAYS)).astype("datetime64[M]") + 1
    return (months.astype("datetime64[D]") + 4 - first).astype(np.int64)


def _guide(days: Floats) -> Words:
    shares = np.arange(GUIDE) / GUIDE
    return np.array([np.searchsorted(edges, shares, side="right") for edges in days], dtype=np.int64)


def _numbers(profile: Profile) -> Floats:
    share = {
        MARRIED: "people.married_share", SOCIAL_CARD: "people.social_card_share", SUPPLEMENT: "people.supplement_share",
        BIRTH_RATE: "people.birth_rate", RECOGNISED: "people.changes.recognised_in_year", ENDED: "people.changes.ended_in_year",
        BACKDATED: "people.changes.backdated", SAME_DAY: "settling.same_day", COLLECTED: "settling.collected",
        LATE: "settling.late", BILLED_AGAIN: "settling.billed_again", REVERSED_LATE: "settling.reversed_late",
        TWO_SLIPS: "settling.two_slips", REFERRED: "settling.referred", DRUG_IN_STAY: "settling.drug_in_stay",
    }  # fmt: skip
    found = np.zeros(DRUG_IN_STAY + 1)
    for at, name in share.items():
        found[at] = profile.number(name, 0.0, 1.0)
    found[STUDENT_FROM], found[STUDENT_TO] = profile.numbers("people.student_ages", 2)
    found[SEVERITY] = profile.number("costs.severity", 0.0, 3.0)
    found[LARGEST_FEN] = 100 * math.floor(profile.number("costs.largest", 1.0, 1e8))
    for at, name in ((SELF_FUNDED_BP, "self_funded"), (OVER_LIMIT_BP, "over_limit"), (FIRST_PAY_BP, "first_pay")):
        found[at] = round(10_000 * profile.number(f"costs.{name}", 0.0, 0.2))
    found[DAYS_STAY] = profile.number("costs.days_stay", 1.0)
    return found
