"""What people bring to the counter: visits and stays with dates, hospitals and fees, one entry a claim."""

from dataclasses import dataclass, fields

import numpy as np

from yibao_datagen.people import Bools, Floats, Ints, People, day_number, pick
from yibao_datagen.regions import ELSEWHERE, districts_of

CARE_TYPES = ("inpatient", "outpatient", "chronic_outpatient", "special_drug", "pku")
INPATIENT, OUTPATIENT, CHRONIC, SPECIAL_DRUG, PKU = range(len(CARE_TYPES))

# One number a care type, in the order of CARE_TYPES.
CARE_SHARES = (0.047, 0.610, 0.342, 0.001, 0.0)  # PKU food goes to those who have PKU
OUTSIDE_SHARES = (0.10, 0.02, 0.02, 0.15, 0.05)
MEDIAN_TOTAL_FEN = (700_000, 14_000, 26_000, 1_100_000, 180_000)
TOTAL_SIGMA = (0.95, 0.80, 0.65, 0.50, 0.40)
HEAVY_SHARES = (0.045, 0.0, 0.002, 0.0, 0.0)  # bills that a lognormal does not know: Pareto on top
HEAVY_EXPONENT = 1.4
LARGEST_TOTAL_FEN = 200_000_000

LEVELS = np.array([1, 2, 3, 9], dtype=np.int8)  # 9: no level, as village clinics
LEVEL_SHARES = (
    (0.20, 0.45, 0.34, 0.01),
    (0.35, 0.20, 0.15, 0.30),
    (0.40, 0.35, 0.20, 0.05),
    (0, 0.1, 0.9, 0),
    (0, 0.2, 0.8, 0),
)
LEVEL_SHARES_OUTSIDE = (0.03, 0.12, 0.84, 0.01)
LEVEL_COST = np.array([0.6, 1.0, 1.7, 0.5])
HOSPITALS_PER_LEVEL = np.array([30, 8, 3, 200])  # in each district

# Basic insurance by rule of thumb, by hospital level (index 0 to 9) or care type.
INPATIENT_DEDUCTIBLE_FEN = np.array([0, 20_000, 50_000, 100_000, 0, 0, 0, 0, 0, 20_000])
INPATIENT_RATE_BP = np.array([0, 8_500, 7_200, 6_000, 0, 0, 0, 0, 0, 8_500])
OUTSIDE_LESS_BP = 1_000
OTHER_RATE_BP = np.array([0, 5_000, 6_000, 0, 0])
LARGEST_BASIC_FEN = np.array([15_000_000, 8_000, 150_000, 0, 0])

DAY_US = 86_400_000_000
SECOND_US = 1_000_000


@dataclass(frozen=True)
class Claims:
    """Arrays with one entry a row. `person` indexes `People`, `care` indexes `CARE_TYPES`.

    Money is fen, days count from 1970-01-01, `settled_us` microseconds from there. `reverses` is the entry that a
    row takes back, −1 for none. Total = self-funded + over limit + first pay + eligible.
    """

    person: Ints
    care: Ints
    treated_region: Ints
    hospital: Ints
    level: Ints
    service_day: Ints
    settled_us: Ints
    total_fen: Ints
    self_funded_fen: Ints
    over_limit_fen: Ints
    first_pay_fen: Ints
    eligible_fen: Ints
    basic_fen: Ints
    reverses: Ints

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: Ints) -> "Claims":
        return Claims(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


def join(parts: list[Claims]) -> Claims:
    """Return the rows of all parts, one after the other."""
    return Claims(
        **{column.name: np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Claims)}
    )


def make_claims(people: People, count: int, seed: int, year: int, region: int, months: int) -> Claims:
    """Return exactly `count` claims discharged in the first `months` of the year, person by person."""
    rng = np.random.default_rng([seed, 2])
    # Gamma rates and a given total: negative binomial counts, seen from one person.
    per_person = rng.multinomial(count, people.claim_weight / people.claim_weight.sum())
    person = np.repeat(np.arange(len(people), dtype=np.int32), per_person)
    care = pick(rng, CARE_SHARES, count)
    care[people.has_pku[person] & (rng.random(count) < 0.8)] = PKU

    outside = rng.random(count) < np.array(OUTSIDE_SHARES)[care]
    service_day, settled_us = _dates(rng, care, outside, year, months)
    treated_region, level, hospital = _hospitals(rng, care, outside, people.district[person], region)
    total_fen = _totals(rng, care, level)
    self_funded_fen, over_limit_fen, first_pay_fen = _outside_policy_range(rng, care, total_fen)
    eligible_fen = total_fen - self_funded_fen - over_limit_fen - first_pay_fen
    return Claims(
        person=person,
        care=care,
        treated_region=treated_region,
        hospital=hospital,
        level=level,
        service_day=service_day,
        settled_us=settled_us,
        total_fen=total_fen,
        self_funded_fen=self_funded_fen,
        over_limit_fen=over_limit_fen,
        first_pay_fen=first_pay_fen,
        eligible_fen=eligible_fen,
        basic_fen=basic_paid_fen(eligible_fen, care, level, outside),
        reverses=np.full(count, -1, dtype=np.int64),
    )


def _dates(rng: np.random.Generator, care: Ints, outside: Bools, year: int, months: int) -> tuple[Ints, Ints]:
    """Return day of service (of discharge: a stay may have begun in the month before) and time of settlement.

    Visits are settled within three days, stays within five, slips from outside after up to two months. One visit
    in twelve is handed in collected and settled at nine on the fifth of the next month, with all others of its kind.
    """
    count = len(care)
    first_day, end_day = day_number(year, 1), day_number(year, months + 1)
    service_day = rng.integers(first_day, end_day, count, dtype=np.int32)
    lag_days = rng.integers(0, np.where(care == INPATIENT, 6, 4), dtype=np.int32)
    lag_days[outside] = rng.integers(5, 61, int(outside.sum()), dtype=np.int32)
    second = rng.integers(8 * 3600, 18 * 3600, count, dtype=np.int32)
    settled_us = (service_day + lag_days) * np.int64(DAY_US) + second * np.int64(SECOND_US)

    collected = np.flatnonzero(np.isin(care, (OUTPATIENT, CHRONIC)) & ~outside & (rng.random(count) < 1 / 12))
    next_month = service_day[collected].astype("M8[D]").astype("M8[M]") + 1
    settled_us[collected] = (next_month.astype("M8[D]").astype(np.int64) + 4) * DAY_US + 9 * 3600 * SECOND_US
    return service_day, settled_us


def _hospitals(
    rng: np.random.Generator, care: Ints, outside: Bools, district: Ints, region: int
) -> tuple[Ints, Ints, Ints]:
    """Return treated region (6 digits), hospital level and hospital id (region, level, three digits)."""
    count = len(care)
    other = np.array(districts_of(region), dtype=np.int32)[rng.integers(0, len(districts_of(region)), count)]
    treated = np.where(rng.random(count) < 0.8, district, other)
    treated[outside] = np.array(ELSEWHERE, dtype=np.int32)[rng.integers(0, len(ELSEWHERE), int(outside.sum()))]

    shares = np.array([*LEVEL_SHARES, LEVEL_SHARES_OUTSIDE])
    edges = np.cumsum(shares, axis=1)[:, :-1]
    kind = np.where(outside, len(CARE_TYPES), care)
    drawn = rng.random(count)
    place = sum((drawn >= edges[kind, step]).astype(np.int8) for step in range(edges.shape[1]))
    # Squared: a district has a few large houses and many small ones.
    number = (rng.random(count) ** 2 * HOSPITALS_PER_LEVEL[place]).astype(np.int64)
    level = LEVELS[place]
    return treated, level, treated * np.int64(10_000) + level * np.int64(1_000) + number + 1


def _totals(rng: np.random.Generator, care: Ints, level: Ints) -> Ints:
    """Return total fees in fen: lognormal by care type and level, and a Pareto tail on a few."""
    count = len(care)
    totals: Floats = rng.standard_normal(count)
    totals *= np.array(TOTAL_SIGMA)[care]
    np.exp(totals, out=totals)
    cost_of_level = np.zeros(10)
    cost_of_level[LEVELS] = LEVEL_COST
    totals *= np.array(MEDIAN_TOTAL_FEN)[care] * cost_of_level[level]
    heavy = np.flatnonzero(rng.random(count) < np.array(HEAVY_SHARES)[care])
    totals[heavy] *= 2 * (1 + rng.pareto(HEAVY_EXPONENT, len(heavy)))
    return np.clip(totals, 100, LARGEST_TOTAL_FEN).astype(np.int64)


def _outside_policy_range(rng: np.random.Generator, care: Ints, total_fen: Ints) -> tuple[Ints, Ints, Ints]:
    """Return self-funded, over-limit and first-pay fen; PKU food lies outside the catalogue altogether."""
    count = len(care)
    self_funded_bp = rng.integers(0, 2_001, count)
    over_limit_bp = np.maximum(rng.integers(-1_200, 401, count), 0)  # most bills have nothing above a price limit
    first_pay_bp = rng.integers(0, 1_501, count)
    food = care == PKU
    self_funded_bp[food] = 10_000
    over_limit_bp[food] = 0
    first_pay_bp[food] = 0
    return (
        total_fen * self_funded_bp // 10_000,
        total_fen * over_limit_bp // 10_000,
        total_fen * first_pay_bp // 10_000,
    )


def basic_paid_fen(eligible_fen: Ints, care: Ints, level: Ints, outside: Bools) -> Ints:
    """Return what basic insurance pays, by rule of thumb in whole fen: at most the eligible fee."""
    inpatient = care == INPATIENT
    deductible_fen = np.where(inpatient, INPATIENT_DEDUCTIBLE_FEN[level], 0)
    rate_bp = np.where(inpatient, INPATIENT_RATE_BP[level] - outside * OUTSIDE_LESS_BP, OTHER_RATE_BP[care])
    paid_fen = np.maximum(eligible_fen - deductible_fen, 0) * rate_bp // 10_000
    capped_fen: Ints = np.minimum(paid_fen, LARGEST_BASIC_FEN[care])
    return capped_fen
