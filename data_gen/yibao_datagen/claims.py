"""What people bring to the counter: visits and stays with dates, hospitals and fees, and what is taken back of them.

A person's claims of a year are a function of the seed, the person and the year. They are numbered as they are drawn; a
reversal stands behind its original and a new bill behind the reversal, so that ids tell the order where times tie.
"""

from typing import NamedTuple

import numpy as np

from yibao_core._jit import helper, kernel, routine
from yibao_core.policy import CARE_TYPES
from yibao_datagen.bills import day_of, fees_of, house, level_of, settle_basic, settled_us, stay_days, write_house
from yibao_datagen.people import BIRTH_DAY, DEATH_DAY, DISTRICT, HAS, PURPOSES, SEVERE, Floats, Ints, People, first_day
from yibao_datagen.plan import (
    BILLED_AGAIN,
    CANCER,
    DRUG_IN_STAY,
    INPATIENT,
    LARGEST_FEN,
    OUTPATIENT,
    REFERRED,
    REVERSED_LATE,
    SPECIAL_DRUG,
    TWO_SLIPS,
    Plan,
)
from yibao_datagen.rows import (
    ADMISSION_DAY,
    BASIC,
    CARE,
    COLUMNS,
    DAY_US,
    EPISODE,
    NONE,
    NUMBER,
    PERSON,
    REVERSES,
    SECOND_US,
    SELF_FUNDED,
    SERVICE_DAY,
    SETTLED_US,
    SHOWN_DAY,
    TOTAL,
)
from yibao_datagen.streams import below, draw, fine_unit, poisson, unit

NUMBERS_A_YEAR = 100_000
"""A settlement's number: person, two digits of the year, five of the claim."""
TURNS = 16
"""Blocks of a claim, each for one thing. A bill takes two, so do a reversal with its new bill, and a referral one and its bill two."""
DAY_AND_PLACE, HOUSE, BILL, TAKEN_BACK, SECOND_BILL, REFERRAL, REFERRED_BILL = 0, 1, 2, 4, 6, 8, 11
ROWS_OF_CLAIM = 12  # at most: two slips, or a stay with two referrals and a drug, each taken back and billed again
ROWS_OF_CARE = 40_000
ROWS_AT_ONCE = 2_000_000


class Window(NamedTuple):
    """Which rows are written: service days from `begin` up to but without `end`; others are numbered all the same."""

    begin: int
    end: int
    reversals: int


def make_claims(plan: Plan, seed: int, year: int, people: People, window: Window) -> Ints:
    """Return the rows of people in a year, person by person: (COLUMNS, rows)."""
    expected = float(people.rates[:SEVERE].sum())
    parts = []
    row = np.empty(COLUMNS, dtype=np.int64)
    person = 0
    room = min(int(expected * 1.1), ROWS_AT_ONCE) + ROWS_OF_CARE
    while person < people.size:
        rows = np.empty((COLUMNS, room), dtype=np.int64)
        person, count = write_claims(
            plan, seed, year, people.first - 1, people.fields, people.rates, window, person, row, rows
        )
        parts.append(rows[:, :count])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


@helper
def put(row: Ints, rows: Ints, at: int, window: Window) -> int:
    """Copy a row to the others if it is wanted; return where the next one goes."""
    if row[REVERSES] == NONE:
        row[SHOWN_DAY] = row[SETTLED_US] // DAY_US
    if not window.begin <= row[SERVICE_DAY] < window.end:
        return at
    for column in range(COLUMNS):
        rows[column, at] = row[column]
    return at + 1


@routine
def put_and_take_back(
    plan: Plan,
    seed: int,
    person: int,
    purpose: int,
    turn: int,
    outside: bool,
    row: Ints,
    rows: Ints,
    at: int,
    window: Window,
) -> int:
    """Write a row; where it is taken back, its reversal and mostly a new bill behind it. Return where the next one goes."""
    at = put(row, rows, at, window)
    word_0, word_1, word_2, word_3 = draw(seed, person, purpose, turn)
    if unit(word_0) >= plan.reversed[row[CARE]]:
        return at
    original = row[NUMBER]
    late = unit(word_1) < plan.numbers[REVERSED_LATE]
    lag = 20 + below(word_2, 101) if late else 1 + below(word_2, 5)
    row[SETTLED_US] += lag * DAY_US + below(word_3, 600) * SECOND_US
    for column in range(TOTAL, COLUMNS):
        row[column] = -row[column]
    row[NUMBER], row[REVERSES] = original + 1, original
    if window.reversals:
        at = put(row, rows, at, window)
    for column in range(TOTAL, COLUMNS):
        row[column] = -row[column]
    row[REVERSES] = NONE
    row[NUMBER] = original + 2
    word_0, word_1, word_2, word_3 = draw(seed, person, purpose, turn + 1)
    if unit(word_0) >= plan.numbers[BILLED_AGAIN] or not window.reversals:
        return at
    # A quarter of the new bills leaves the counter in the same second: only the id tells the order.
    row[SETTLED_US] += max(0, below(word_1, 2_400) - 600) * SECOND_US
    change_bp = 100 + below(word_2, 3_901)
    may_rise = row[TOTAL] * (10_000 + change_bp) < 10_000 * plan.numbers[LARGEST_FEN]
    factor_bp = 10_000 + (change_bp if word_3 & 1 and may_rise else -change_bp)
    changed = 0
    for fee in range(SELF_FUNDED, BASIC):
        fee_fen = row[fee] * factor_bp // 10_000
        changed += fee_fen
        row[fee] = fee_fen
    if changed == row[TOTAL] or changed <= 0:
        row[SELF_FUNDED] += 1
        changed += 1
    row[TOTAL] = changed
    settle_basic(row, level_of(row), outside)
    return put(row, rows, at, window)


@routine
def write_claim(
    plan: Plan, seed: int, person: int, purpose: int, turn: int, care: int, new_year: int, year_end: int, fields: Ints, at_person: int,
    severity: float, row: Ints, rows: Ints, at: int, window: Window,
) -> int:  # fmt: skip
    """Write the rows of one claim, numbered from `row[NUMBER]` on; return where the next one goes."""
    word_0, word_1, word_2, word_3 = draw(seed, person, purpose, turn + DAY_AND_PLACE)
    day = new_year + day_of(plan, care, unit(word_0))
    if day < fields[BIRTH_DAY, at_person] or day > fields[DEATH_DAY, at_person]:
        return at
    outside = unit(word_3) < plan.outside[care]
    row[CARE], row[SERVICE_DAY], row[ADMISSION_DAY] = care, day, day
    row[REVERSES], row[EPISODE] = NONE, NONE
    level = house(plan, care, outside, fields[DISTRICT, at_person], draw(seed, person, purpose, turn + HOUSE), row)
    row[SETTLED_US] = settled_us(plan, care, outside, new_year, day, word_1, word_2)
    fees_of(plan, seed, person, purpose, turn + BILL, care, level, severity, row)
    settle_basic(row, level, outside)
    first, settled = row[NUMBER], row[SETTLED_US]
    word_0, word_1, word_2, word_3 = draw(seed, person, purpose, turn + REFERRAL)
    if care != INPATIENT:
        at = put_and_take_back(plan, seed, person, purpose, turn + TAKEN_BACK, outside, row, rows, at, window)
        if care == OUTPATIENT and unit(word_0) < plan.numbers[TWO_SLIPS]:
            # A second slip of the same visit and second; one in five is the same to the fen, and right all the same.
            same = word_1 % 5 == 0
            row[NUMBER], row[REVERSES] = first + 3, NONE
            row[SETTLED_US] = settled
            fees_of(plan, seed, person, purpose, turn + (BILL if same else SECOND_BILL), care, level, severity, row)
            settle_basic(row, level, outside)
            at = put(row, rows, at, window)
        return at

    days = stay_days(plan, row[TOTAL], level, word_2)
    row[ADMISSION_DAY] = max(day - days, fields[BIRTH_DAY, at_person])
    may_have_drug = fields[HAS, at_person] >> CANCER & 1 and 1 <= level <= 2  # small houses have none
    with_drug = may_have_drug and unit(word_3) < plan.numbers[DRUG_IN_STAY]
    # Who is sent on arrives within the year and alive: legs of the next year would be nobody's.
    last_day = min(year_end - 1, fields[DEATH_DAY, at_person])
    leg = draw(seed, person, purpose, turn + REFERRAL + 1)
    goes_on = level < 2 and not outside and unit(word_0) < plan.numbers[REFERRED] and day + leg_days(leg) <= last_day
    if goes_on:
        row[EPISODE] = first
    at = put_and_take_back(plan, seed, person, purpose, turn + TAKEN_BACK, outside, row, rows, at, window)
    row[REVERSES] = NONE
    if with_drug:
        row[NUMBER], row[CARE], row[SETTLED_US] = first + 3, SPECIAL_DRUG, settled
        fees_of(plan, seed, person, purpose, turn + SECOND_BILL, SPECIAL_DRUG, level, severity, row)
        settle_basic(row, level, outside)
        at = put(row, rows, at, window)
    step = 0
    while goes_on:
        level += 1
        row[CARE], row[NUMBER] = INPATIENT, first + 4 + step
        row[ADMISSION_DAY] = row[SERVICE_DAY]
        row[SERVICE_DAY] += leg_days(leg)
        # At the counter's hours, and behind the stay before it.
        row[SETTLED_US] = (
            max(settled // DAY_US, row[SERVICE_DAY]) * DAY_US + (12 * 3600 + below(leg[3], 6 * 3600)) * SECOND_US
        )
        row[SETTLED_US] = max(row[SETTLED_US], settled + SECOND_US)
        write_house(row, level, leg[1])
        fees_of(plan, seed, person, purpose, turn + REFERRED_BILL + 2 * step, INPATIENT, level, severity, row)
        settle_basic(row, level, outside)
        at = put(row, rows, at, window)
        settled = row[SETTLED_US]
        step += 1
        goes_on = level < 2 and unit(leg[0]) < 0.3
        leg = draw(seed, person, purpose, turn + REFERRAL + 1 + step)
        goes_on = goes_on and row[SERVICE_DAY] + leg_days(leg) <= last_day
    return at


@helper
def leg_days(leg: tuple[int, int, int, int]) -> int:
    """Return the days of the next stay of an episode."""
    return 3 + below(leg[2], 12)


@kernel
def write_claims(
    plan: Plan,
    seed: int,
    year: int,
    before: int,
    fields: Ints,
    rates: Floats,
    window: Window,
    begin: int,
    row: Ints,
    rows: Ints,
) -> tuple[int, int]:
    """Write the rows of people from place `begin` on, while there is room for a person; return the next place, and the rows.

    `before`: people before those of `fields`. `row`: room for one.
    """
    new_year, year_end = first_day(year), first_day(year + 1)
    at = 0
    for person_at in range(begin, fields.shape[1]):
        if rows.shape[1] - at < ROWS_OF_CARE:
            return person_at, at
        person = before + person_at
        row[PERSON] = person_at
        number = ((person + 1) * 100 + year % 100) * NUMBERS_A_YEAR
        left = ROWS_OF_CARE // ROWS_OF_CLAIM
        for care in range(len(CARE_TYPES)):
            rate = rates[care, person_at]
            if rate <= 0.0:
                continue
            purpose = (year * 2 + 1) * PURPOSES + care
            word_0, word_1, _, _ = draw(seed, person, year * 2 * PURPOSES + care, 0)
            count = min(poisson(rate, fine_unit(word_0, word_1)), left)
            left -= count
            for claim in range(count):
                row[NUMBER] = number
                at = write_claim(
                    plan, seed, person, purpose, claim * TURNS, care, new_year, year_end, fields, person_at,
                    rates[SEVERE, person_at], row, rows, at, window,
                )  # fmt: skip
                number += 6
    return fields.shape[1], at
