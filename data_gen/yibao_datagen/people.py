"""The enrolled residents: who they are, with whom they live, what they suffer from, how poor, how often they come.

Everybody is a function of the seed and their own number, and of the block of 64 people that shares households among
itself: more people beside them change nothing. What changes in their lives changes in the profile's base year.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yibao_core._jit import helper, kernel, routine
from yibao_core.policy import CARE_TYPES
from yibao_datagen.plan import (
    BACKDATED,
    BIRTH_RATE,
    DAILY,
    ENDED,
    GROWN_UP,
    MARRIED,
    OLD_FROM,
    RECOGNISED,
    SEVERITY,
    SOCIAL_CARD,
    STUDENT_FROM,
    STUDENT_TO,
    SUPPLEMENT,
    Plan,
)  # fmt: skip
from yibao_datagen.profile_rules import CONDITIONS
from yibao_datagen.streams import below, draw, fine_unit, gamma, normal, unit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BLOCK = 64
PEOPLE_MAX = 182_500_000
"""So many ids of 18 letters are different: a day of the year, two digits of a birthplace, a number, a wrong check letter."""
PLACE_STEP = 98_765_431  # has no divisor in common with PEOPLE_MAX: every person gets another place
DAYS_OF_YEAR = 365
NEVER, ALWAYS = 2**31 - 1, -(2**31 - 1)  # days

FIELDS = 14
(
    HOUSEHOLD,  # number of its first member
    FEMALE,
    BIRTH_DAY,
    DEATH_DAY,  # NEVER: not in the base year
    DISTRICT,  # index
    CATEGORY,  # index of cells; 0: ordinary
    KNOWN_DAY,  # from then on the ledger shows it
    VALID_DAY,  # from then on it holds: earlier than known where a recognition is backdated
    LAST_DAY,
    HAS,  # bits of CONDITIONS
    HAS_SUPPLEMENT,
    HAS_CARD,
    STUDENT,
    ID_PLACE,  # below PEOPLE_MAX / DAYS_OF_YEAR
) = range(FIELDS)
SEVERE = len(CARE_TYPES)  # row of rates: how dear a person's bills are

# Purposes of a person's blocks; those of claims follow, year by year.
WHO, MORE, HOME, HOME_MORE, SINGLE_CASE, AILMENTS, SEVERITY_OF, FRAILTY = 0, 1, 2, 3, 4, 5, 6, 8
PURPOSES = 16

# Room to put the households of a block together.
AGE, WOMAN, HEAD, PARTNER, CHILDREN = range(5)
ROOM = 5
ALONE = -2  # no partner, and none wanted


class People(NamedTuple):
    """People in the order of their numbers, from `first` on (numbers begin with 1)."""

    first: int
    fields: Ints  # (FIELDS, people)
    rates: Floats  # (care type, then SEVERE; people): visits expected in a year

    @property
    def size(self) -> int:
        return int(self.fields.shape[1])

    @property
    def numbers(self) -> Ints:
        return np.arange(self.first, self.first + self.size, dtype=np.int64)


def make_people(plan: Plan, seed: int, base_year: int, first: int, count: int) -> People:
    """Return the people with the numbers first, first + 1, …"""
    fields = np.zeros((FIELDS, count), dtype=np.int64)
    rates = np.zeros((SEVERE + 1, count))
    write_people(plan, seed, base_year, first - 1, fields, rates, np.zeros(BLOCK * ROOM, dtype=np.int64))
    return People(first, fields, rates)


@helper
def first_day(year: int) -> int:
    """Return 1 January of a year, counted from 1970-01-01."""
    before = year - 1
    return 365 * (year - 1970) + (before // 4 - before // 100 + before // 400) - 477


@routine
def age_of(plan: Plan, share: float, born: float) -> int:
    """Return the age, at the eve of the base year, below which a share of people lies; −1: born within the year."""
    if born < plan.numbers[BIRTH_RATE]:
        return -1
    first, last = 0, plan.ages.size - 1
    while first < last:
        middle = (first + last) >> 1
        if share >= plan.ages[middle]:
            first = middle + 1
        else:
            last = middle
    return first


@routine
def form_households(plan: Plan, seed: int, block: int, room: Ints) -> None:
    """Write who lives with whom: couples of like age, children with a couple some decades older, everybody else alone."""
    for member in range(BLOCK):
        word_0, word_1, word_2, word_3 = draw(seed, block * BLOCK + member, WHO, 0)
        age = age_of(plan, unit(word_0), unit(word_1))
        room[AGE * BLOCK + member] = age
        room[WOMAN * BLOCK + member] = unit(word_2) < plan.female[max(age, 0)]
        room[HEAD * BLOCK + member] = -1
        room[PARTNER * BLOCK + member] = -1 if unit(word_3) < plan.numbers[MARRIED] else ALONE
        room[CHILDREN * BLOCK + member] = 0
    for member in range(BLOCK):
        age = room[AGE * BLOCK + member]
        if age < 22 or not room[WOMAN * BLOCK + member] or room[PARTNER * BLOCK + member] == ALONE:
            continue
        best, distance = -1, 9
        for other in range(BLOCK):
            if room[WOMAN * BLOCK + other] or room[AGE * BLOCK + other] < 22 or room[PARTNER * BLOCK + other] != -1:
                continue
            apart = abs(room[AGE * BLOCK + other] - age - 1)
            if apart < distance:
                best, distance = other, apart
        if best >= 0:
            room[PARTNER * BLOCK + member] = best
            room[PARTNER * BLOCK + best] = member
            head = min(member, best)
            room[HEAD * BLOCK + member] = head
            room[HEAD * BLOCK + best] = head
    for member in range(BLOCK):
        age = room[AGE * BLOCK + member]
        if age >= 22 or room[HEAD * BLOCK + member] >= 0:
            continue
        best, fewest = -1, 1_000
        for other in range(BLOCK):
            gap = room[AGE * BLOCK + other] - age
            if not room[WOMAN * BLOCK + other] or room[AGE * BLOCK + other] < 22 or not 20 <= gap <= 60:
                continue
            # First young couples with few children, then women alone, then grandparents.
            rank = room[CHILDREN * BLOCK + other] * 4
            rank += 0 if room[PARTNER * BLOCK + other] >= 0 else 6
            rank += 0 if gap <= 40 else 9
            if rank < fewest:
                best, fewest = other, rank
        if best >= 0:
            room[CHILDREN * BLOCK + best] += 1
            head = room[HEAD * BLOCK + best]
            room[HEAD * BLOCK + member] = best if head < 0 else head
            room[HEAD * BLOCK + best] = best if head < 0 else head
    for member in range(BLOCK):
        if room[HEAD * BLOCK + member] < 0:
            room[HEAD * BLOCK + member] = member


@helper
def between(word: int, begin: int, end: int) -> int:
    """Return a day from `begin` up to but without `end`."""
    return begin + below(word, end - begin)


@routine
def write_category(
    plan: Plan, seed: int, base_year: int, person: int, head: int, age: int, home: float, fields: Ints, at: int
) -> None:
    """Write a person's category and since when it is known and holds: that of the household (`home`: its share), unless the
    person has one."""
    new_year, end = first_day(base_year), first_day(base_year + 1)
    kind = 0
    while kind < plan.households.size and home >= plan.households[kind]:
        kind += 1
    cell = plan.household_cells[kind] if kind < plan.households.size else 0
    owner = head
    share = unit(draw(seed, person, SINGLE_CASE, 0)[0])
    column = 0 if age < GROWN_UP else 2 if age >= OLD_FROM else 1
    purpose, turn = HOME_MORE, 0
    for single in range(plan.single_cells.size):
        chance = plan.singles[single, column]
        if share < chance:
            cell, owner = plan.single_cells[single], person
            purpose, turn = SINGLE_CASE, 1
            break
        share -= chance
    known, valid, last = ALWAYS, ALWAYS, NEVER
    if cell:
        word_0, word_1, word_2, word_3 = draw(seed, owner, purpose, turn)
        if unit(word_0) < plan.numbers[RECOGNISED]:
            known = between(word_1, new_year + 31, end - 31)
            valid = new_year if unit(word_3) < plan.numbers[BACKDATED] else known
        elif unit(word_2) < plan.numbers[ENDED]:
            last = between(word_1, new_year + 31, end - 31)
    fields[CATEGORY, at] = cell
    fields[KNOWN_DAY, at], fields[VALID_DAY, at], fields[LAST_DAY, at] = known, valid, last


@routine
def write_rates(plan: Plan, seed: int, person: int, age: int, dies: int, fields: Ints, rates: Floats, at: int) -> None:
    """Write how often a person is expected to come for each kind of care, and how dear the bills are."""
    has = fields[HAS, at]
    for care in range(len(CARE_TYPES)):
        weight = plan.activity[care, age]
        for condition in range(len(CONDITIONS)):
            if has >> condition & 1 and condition != DAILY:
                weight += plan.burden[care, condition]
        rate = 0.0
        if weight > 0:
            rate = weight * gamma(plan.frailty[care], seed, person, FRAILTY + care)
        if has >> DAILY & 1:
            word_0, word_1, _, _ = draw(seed, person, SEVERITY_OF, 1)
            rate += plan.burden[care, DAILY] * np.exp(0.5 * normal(fine_unit(word_0, word_1)) - 0.125)
        if dies:
            rate *= plan.last_year[care]
        rates[care, at] = rate * plan.rates[care]
    word_0, word_1, _, _ = draw(seed, person, SEVERITY_OF, 0)
    spread = plan.numbers[SEVERITY]
    rates[SEVERE, at] = spread * normal(fine_unit(word_0, word_1)) - spread * spread / 2


@routine
def ailments(plan: Plan, seed: int, person: int, age: int) -> int:
    """Return a bit for each of CONDITIONS that a person has: what one has stays, because ever more do with age."""
    word_0, word_1, word_2, word_3 = draw(seed, person, AILMENTS, 0)
    word_4, word_5, _, _ = draw(seed, person, AILMENTS, 1)
    has = 0
    for condition, word in enumerate((word_0, word_1, word_2, word_3, word_4, word_5)):
        has |= int(unit(word) < plan.prevalence[condition, age]) << condition
    return has


@kernel
def write_people(plan: Plan, seed: int, base_year: int, begin: int, fields: Ints, rates: Floats, room: Ints) -> None:
    """Write the people begin, begin + 1, … (from 0): (FIELDS, people), and (care type, then SEVERE; people)."""
    new_year, days = first_day(base_year), first_day(base_year + 1) - first_day(base_year)
    block = -1
    for at in range(fields.shape[1]):
        person = begin + at
        if person // BLOCK != block:
            block = person // BLOCK
            form_households(plan, seed, block, room)
        member = person - block * BLOCK
        age = room[AGE * BLOCK + member]
        years = max(age, 0)
        head = block * BLOCK + room[HEAD * BLOCK + member]
        fields[HOUSEHOLD, at] = head + 1
        fields[FEMALE, at] = room[WOMAN * BLOCK + member]
        place = (person * PLACE_STEP + seed % PEOPLE_MAX) % PEOPLE_MAX
        fields[ID_PLACE, at] = place // DAYS_OF_YEAR
        fields[BIRTH_DAY, at] = first_day(base_year - 1 - age) + place % DAYS_OF_YEAR

        word_0, word_1, word_2, word_3 = draw(seed, person, MORE, 0)
        dies = 1 if age >= 0 and unit(word_0) < plan.death[years] else 0
        fields[DEATH_DAY, at] = new_year + below(word_1, days) if dies else NEVER
        fields[HAS_CARD, at] = unit(word_2) < plan.numbers[SOCIAL_CARD]
        at_school = plan.numbers[STUDENT_FROM] <= age < plan.numbers[STUDENT_TO]
        fields[STUDENT, at] = at_school or (plan.numbers[STUDENT_TO] <= age < 23 and word_3 & 1)

        home_0, home_1, home_2, _ = draw(seed, head, HOME, 0)
        share = unit(home_1)
        district = 0
        while share >= plan.district_edges[district] and district < plan.districts.size - 1:
            district += 1
        fields[DISTRICT, at] = district
        write_category(plan, seed, base_year, person, head, age, unit(home_0), fields, at)
        if plan.alone[fields[CATEGORY, at]]:  # an orphan is in nobody's household of this block
            fields[HOUSEHOLD, at] = person + 1
        poor = plan.poor_supplement[fields[CATEGORY, at]] != 0
        fields[HAS_SUPPLEMENT, at] = poor and unit(home_2) < plan.numbers[SUPPLEMENT]

        fields[HAS, at] = ailments(plan, seed, person, years)
        write_rates(plan, seed, person, years, dies, fields, rates, at)
