"""What the profile asks for beside what is generated."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import numpy as np

from yibao.in_turn import in_turn
from yibao_core.policy import CARE_TYPES
from yibao_core.threads import threads_to_use
from yibao_datagen.city import PART_PEOPLE, City
from yibao_datagen.columns import Bools, Floats, Ints, fen_of
from yibao_datagen.people import (
    ALWAYS,
    BIRTH_DAY,
    CATEGORY,
    DEATH_DAY,
    FEMALE,
    HAS,
    HAS_CARD,
    KNOWN_DAY,
    LAST_DAY,
    NEVER,
    People,
)  # fmt: skip
from yibao_datagen.plan import (
    BIRTH_RATE,
    INPATIENT,
)
from yibao_datagen.profile_rules import CONDITIONS
from yibao_datagen.rows import BASIC, CARE, NUMBER, PERSON, REVERSES, SERVICE_DAY, TOTAL
from yibao_datagen.tables import ledger_of

SIGMAS = 4.0
RELATIVE = 0.02
MILLION = 1_000_000


@dataclass(frozen=True)
class Target:
    """A figure that the city should have, between two bounds, and the one that it has."""

    name: str
    least: float
    most: float
    found: float
    source: str

    @property
    def is_met(self) -> bool:
        return self.least <= self.found <= self.most


class Found(NamedTuple):
    """What a generated city has come to."""

    city: City
    targets: list[Target]
    cost: Floats  # yuan, by person
    rows: Ints  # by person
    ages: Ints  # people by year of age on 1 January, newborns first
    days: Ints  # (care type, day of the year)


class _Part(NamedTuple):
    """What is kept of a part of the people."""

    fields: Ints
    cost: Floats
    rows: Ints
    bills: Ints  # (care type, person): those that stand
    days: Ints
    stay_fen: int
    basic_fen: int
    catastrophic_fen: int


def measure(city: City) -> Found:
    """Generate a city, and the year after it for what persists, and compare it with its profile."""
    jobs = list(city.parts(PART_PEOPLE))
    parts = list(in_turn(threads_to_use(None), lambda job: _part_of(city, job), jobs))
    later = City(city.people_count, city.seed, profile=city.profile, year=city.base_year + 1, region=city.region)
    after = np.concatenate(list(in_turn(threads_to_use(None), lambda job: _cost_of(later, job), jobs)))
    fields = np.concatenate([part.fields for part in parts], axis=1)
    cost = np.concatenate([part.cost for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    bills = np.concatenate([part.bills for part in parts], axis=1)
    new_year = int(np.datetime64(f"{city.base_year}-01-01", "D").astype(int))
    ages = np.maximum((new_year - fields[BIRTH_DAY]) // 365.2425, -1).astype(np.int64)
    stays = int(bills[INPATIENT].sum())
    targets = [
        *_of_people(city, fields, ages),
        *_of_visits(city, bills),
        *_of_financing(city, sum(part.basic_fen for part in parts), sum(part.catastrophic_fen for part in parts)),
        *_of_money(city, cost, after, rows, sum(part.stay_fen for part in parts) / max(stays, 1) / 100),
    ]
    days = np.sum([part.days for part in parts], axis=0)
    return Found(city, targets, cost, rows, np.bincount(ages + 1), days)


def check_lines(targets: list[Target]) -> Iterator[str]:
    """Give lines to print: each figure with the bounds that it should lie in."""
    width = max(_cells(target.name) for target in targets)
    yield f"{'':{width}}  {'from':>12}  {'to':>12}  {'generated':>12}"
    for target in targets:
        numbers = "  ".join(f"{number:>12.6g}" for number in (target.least, target.most, target.found))
        name = target.name + " " * (width - _cells(target.name))
        yield f"{name}  {numbers}  {'' if target.is_met else 'MISSED'}".rstrip()
    missed = sum(not target.is_met for target in targets)
    yield f"{len(targets)} figures, {missed} missed"


def _cells(text: str) -> int:
    """Return how wide a text is on a terminal: Chinese letters take two places."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _part_of(city: City, job: tuple[int, int]) -> _Part:
    people = city.residents(*job)
    rows = city.claims(people)
    person, care = rows[PERSON], rows[CARE]
    standing = stands(rows)
    count = people.size
    bills = np.bincount(care[standing] * count + person[standing], minlength=len(CARE_TYPES) * count)
    day = rows[SERVICE_DAY] - city.window.begin
    inside = standing & (day < 366)
    days = np.bincount(care[inside] * 366 + day[inside], minlength=len(CARE_TYPES) * 366)
    stay = standing & (care == INPATIENT)
    return _Part(
        people.fields,
        _yuan_of(rows, count),
        np.bincount(person, minlength=count),
        bills.reshape(len(CARE_TYPES), count),
        days.reshape(len(CARE_TYPES), 366),
        int(rows[TOTAL][stay].sum()),
        int(rows[BASIC].sum()),
        _catastrophic_fen(city, people, rows),
    )


def _catastrophic_fen(city: City, people: People, rows: Ints) -> int:
    """Return what catastrophic insurance pays for the rows under the profile's policy."""
    import yibao

    if "financing.policy" not in city.profile.figures:
        return 0
    settled = yibao.settle_ledger(
        ledger_of(people, rows, city), yibao.load_policy(city.profile["financing.policy"]), threads=1
    )
    return int(fen_of(settled.table["catastrophic_paid"]).sum())


def _cost_of(city: City, job: tuple[int, int]) -> Floats:
    people = city.residents(*job)
    rows = city.claims(people)
    return _yuan_of(rows, people.size)


def _yuan_of(rows: Ints, people: int) -> Floats:
    """Return what each person's rows come to, those taken back with them."""
    return np.bincount(rows[PERSON], weights=rows[TOTAL] / 100, minlength=people).astype(np.float64)


def stands(rows: Ints) -> Bools:
    """Return which rows are bills that nobody has taken back."""
    found: Bools = (rows[REVERSES] < 0) & ~np.isin(rows[NUMBER], rows[REVERSES][rows[REVERSES] >= 0])
    return found


def _near(name: str, wanted: float, found: float, deviation: float, source: str) -> Target:
    """Return a target that may be missed by so many standard deviations of a city of its size, and two hundredths."""
    room = SIGMAS * deviation + RELATIVE * abs(wanted)
    return Target(name, max(wanted - room, 0.0), wanted + room, found, source)


def _share(city: City, name: str, wanted: float, found: float, figure: str) -> Target:
    deviation = math.sqrt(max(wanted * (1 - wanted), 0.0) / city.people_count)
    return _near(name, wanted, found, deviation, city.profile.figures[figure].source)


def _of_people(city: City, fields: Ints, ages: Ints) -> Iterator[Target]:
    profile, plan = city.profile, city.plan
    born = float(plan.numbers[BIRTH_RATE])
    bands = profile["people.age_bands"]
    for begin, end, share in zip(bands, bands[1:], profile["people.age_shares"], strict=False):
        found = float(np.mean((ages >= begin) & (ages < end)))
        yield _share(city, f"age {begin} to {end - 1}", share * (1 - born), found, "people.age_shares")
    yield _share(city, "born in the year", born, float(np.mean(ages < 0)), "people.birth_rate")
    by_age = np.diff(plan.ages, prepend=0.0)
    yield _share(city, "women", float(by_age @ plan.female), float(fields[FEMALE].mean()), "people.female_shares")
    died = float(np.mean(fields[DEATH_DAY] != NEVER))
    yield _share(city, "died in the year", profile["people.death_rate"], died, "people.death_rate")
    yield _share(
        city,
        "social card",
        profile["people.social_card_share"],
        float(fields[HAS_CARD].mean()),
        "people.social_card_share",
    )
    for cell, name in enumerate(city.cells[1:], start=1):
        figure = f"people.categories.{name}"
        wanted = float(profile[figure])
        # Households share what they have: their members are not drawn one by one.
        deviation = math.sqrt(4 * wanted / city.people_count)
        yield _near(name, wanted, float(np.mean(fields[CATEGORY] == cell)), deviation, profile.figures[figure].source)
    poor = fields[CATEGORY] != 0
    count = max(int(poor.sum()), 1)
    for name, figure, mask in (
        ("recognised in the year, of the poor", "recognised_in_year", fields[KNOWN_DAY] != ALWAYS),
        ("ended in the year, of the poor", "ended_in_year", fields[LAST_DAY] != NEVER),
    ):
        wanted = float(profile[f"people.changes.{figure}"])
        if figure == "ended_in_year":
            wanted *= 1 - float(profile["people.changes.recognised_in_year"])
        deviation = math.sqrt(3 * wanted / count)
        found = float(np.mean(mask[poor])) if poor.any() else 0.0
        yield _near(name, wanted, found, deviation, profile.figures[f"people.changes.{figure}"].source)
    for bit, name in enumerate(CONDITIONS):
        wanted = float(by_age @ plan.prevalence[bit]) * (1 - born)
        yield _share(
            city, f"has {name}", wanted, float(np.mean(fields[HAS] >> bit & 1)), f"conditions.{name}.prevalence"
        )


def _of_visits(city: City, bills: Ints) -> Iterator[Target]:
    for row, care in enumerate(CARE_TYPES):
        figure = city.profile.figures[f"visits.{care}.rate"]
        wanted = float(figure.value)
        # Of rare kinds, a dozen people come again and again: a city of a few of them does not show how they spread.
        spread = max(float(bills[row].std()), math.sqrt(20 * wanted))
        deviation = spread / math.sqrt(city.people_count)
        if care == "outpatient":  # a visit may leave two slips
            wanted *= 1 + float(city.profile["settling.two_slips"])
        if care == "inpatient":  # a referral is a stay of its own
            wanted *= 1 + float(city.profile["settling.referred"]) * 0.75
        if care == "special_drug":  # some come with stays
            continue
        yield _near(f"{care} bills a head", wanted, float(bills[row].mean()), deviation, figure.source)


def _of_financing(city: City, basic_fen: int, catastrophic_fen: int) -> Iterator[Target]:
    if "financing.policy" not in city.profile.figures:
        return
    income = {name: 100 * city.profile.number(f"financing.{name}") for name in ("catastrophic", "treasury", "personal")}
    basic_income = income["treasury"] + income["personal"] - income["catastrophic"]
    for name, spent, earned in (
        ("basic_share_of_financing", basic_fen, basic_income),
        ("catastrophic_share_of_financing", catastrophic_fen, income["catastrophic"]),
    ):
        if f"targets.{name}" not in city.profile.figures:
            continue
        least, most = city.profile.numbers(f"targets.{name}", 2)
        share = spent / city.people_count / earned
        yield Target(name.replace("_", " "), least, most, share, city.profile.figures[f"targets.{name}"].source)


def _of_money(city: City, cost: Floats, after: Floats, rows: Ints, stay_mean: float) -> Iterator[Target]:
    dearest = np.sort(cost)[::-1]
    total = float(dearest.sum()) or 1.0  # a village may have had no bill at all
    tenth = max(len(cost) // 10, 1)
    first, second = (set(np.argsort(-year, kind="stable")[:tenth].tolist()) for year in (cost, after))
    found: dict[str, Any] = {
        "top_1_percent_share": float(dearest[: max(len(cost) // 100, 1)].sum()) / total,
        "top_10_percent_share": float(dearest[:tenth].sum()) / total,
        "over_18000_share": float(np.mean(cost > 18_000)),
        "cost_per_head": float(cost.mean()),
        "retained_top_10_percent": len(first & second) / tenth,
        "stay_mean": stay_mean,
    }
    if city.people_count >= MILLION:
        found["largest_person_rows_per_million"] = float(rows[:MILLION].max())
    for name, value in found.items():
        figure = city.profile.figures.get(f"targets.{name}")
        if figure is not None:
            least, most = city.profile.numbers(f"targets.{name}", 2)
            yield Target(name.replace("_", " "), least, most, value, figure.source)
