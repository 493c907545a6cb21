"""People and claims as Arrow tables: the ledger page's columns, without a Python object a row."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from yibao_core.policy import CARE_TYPES
from yibao_datagen import columns
from yibao_datagen.columns import Ints
from yibao_datagen.ids import national_looking, settlement_numbers, settlement_text
from yibao_datagen.people import (
    ALWAYS,
    BIRTH_DAY,
    CATEGORY,
    DEATH_DAY,
    DISTRICT,
    FEMALE,
    HAS,
    HAS_CARD,
    HAS_SUPPLEMENT,
    HOUSEHOLD,
    KNOWN_DAY,
    LAST_DAY,
    NEVER,
    STUDENT,
    VALID_DAY,
    People,
)  # fmt: skip
from yibao_datagen.plan import names_of
from yibao_datagen.profile_rules import CONDITIONS
from yibao_datagen.rows import (
    ADMISSION_DAY,
    BASIC,
    CARE,
    ELIGIBLE,
    EPISODE,
    FIRST_PAY,
    HOSPITAL,
    LEVEL,
    NUMBER,
    OVER_LIMIT,
    PERSON,
    REVERSES,
    SELF_FUNDED,
    SERVICE_DAY,
    SETTLED_US,
    SHOWN_DAY,
    TOTAL,
    TREATED,
)  # fmt: skip

if TYPE_CHECKING:
    from yibao_datagen.city import City


def ledger_of(people: People, rows: Ints, city: "City") -> pa.Table:
    """Return the ledger of people's rows, in their order."""
    person = rows[PERSON]
    of_people = people.fields
    as_text = city.ids == "text"
    numbers = settlement_text if as_text else settlement_numbers
    cells: dict[str, Any] = {
        "settlement_id": numbers(rows[NUMBER]),
        "reverses": numbers(rows[REVERSES], rows[REVERSES] >= 0),
        "person_id": person_ids(people, city).take(pa.array(person)),
        "settled_at": pa.array(rows[SETTLED_US].view("M8[us]"), pa.timestamp("us")),
        "service_date": days(rows[SERVICE_DAY]),
        "admission_date": days(rows[ADMISSION_DAY]),
        "insured_region": pa.array(city.plan.districts[of_people[DISTRICT][person]], pa.int32()),
        "treated_region": pa.array(rows[TREATED], pa.int32()),
        "hospital_id": pa.array(rows[HOSPITAL], pa.int64()),
        "hospital_level": pa.array(rows[LEVEL], pa.int8()),
        "episode_id": numbers(rows[EPISODE], rows[EPISODE] >= 0),
        "category": columns.labels(_categories(of_people, rows), city.cells),
        "birth_date": days(of_people[BIRTH_DAY][person]),
        "care_type": columns.labels(rows[CARE], CARE_TYPES),
        "total_fee": columns.money(rows[TOTAL]),
        "self_funded_fee": columns.money(rows[SELF_FUNDED]),
        "over_limit_fee": columns.money(rows[OVER_LIMIT]),
        "first_pay_fee": columns.money(rows[FIRST_PAY]),
        "eligible_fee": columns.money(rows[ELIGIBLE]),
        "basic_paid": columns.money(rows[BASIC]),
        "has_commercial_supplement": pa.array(of_people[HAS_SUPPLEMENT][person] != 0),
        "has_social_card_account": pa.array(of_people[HAS_CARD][person] != 0),
    }
    return pa.table(cells)


def _categories(of_people: Ints, rows: Ints) -> Ints:
    """Return the cell that each row shows: what held on the service date, as far as it was known then."""
    person, service = rows[PERSON], rows[SERVICE_DAY]
    category: Ints = of_people[CATEGORY][person]
    poor = np.flatnonzero(category)
    of_poor = of_people[:, person[poor]]
    shown = (of_poor[VALID_DAY] <= service[poor]) & (service[poor] <= of_poor[LAST_DAY])
    shown &= of_poor[KNOWN_DAY] <= rows[SHOWN_DAY][poor]
    category[poor[~shown]] = 0
    return category


def person_ids(people: People, city: "City") -> Any:
    """Return the ids of people: numbers, or 18 letters that no person can have."""
    if city.ids == "text":
        return columns.text(national_looking(people, city.region))
    return pa.array(people.numbers)


def days(numbers: Ints) -> Any:
    """Return days as dates; NEVER and ALWAYS are null."""
    missing = (numbers == NEVER) | (numbers == ALWAYS)
    return pa.array(numbers, pa.int32(), mask=missing if missing.any() else None).view(pa.date32())


def people_of(people: People, city: "City") -> pa.Table:
    """Return one row a person."""
    of_people = people.fields
    cells: dict[str, Any] = {
        "person_id": person_ids(people, city),
        "household_id": pa.array(of_people[HOUSEHOLD]),
        "sex": columns.labels(of_people[FEMALE], ("male", "female")),
        "birth_date": days(of_people[BIRTH_DAY]),
        "death_date": days(of_people[DEATH_DAY]),
        "insured_region": pa.array(city.plan.districts[of_people[DISTRICT]], pa.int32()),
        "category": columns.labels(of_people[CATEGORY], city.cells),
        "category_from": days(of_people[VALID_DAY]),
        "category_to": days(of_people[LAST_DAY]),
        "category_known_from": days(of_people[KNOWN_DAY]),
        "is_student": pa.array(of_people[STUDENT] != 0),
        "has_commercial_supplement": pa.array(of_people[HAS_SUPPLEMENT] != 0),
        "has_social_card_account": pa.array(of_people[HAS_CARD] != 0),
    }
    for bit, name in enumerate(CONDITIONS):
        cells[f"has_{name}"] = pa.array((of_people[HAS] >> bit & 1) != 0)
    return pa.table(cells)


def roster_of(people: People, city: "City") -> pa.Table:
    """Return an entry for each category that a person has."""
    poor = np.flatnonzero(people.fields[CATEGORY])
    of_poor = people.fields[:, poor]
    names = [names_of(cell) for cell in city.cells]
    counts = np.array([len(each) for each in names])[of_poor[CATEGORY]]
    entry = np.repeat(np.arange(len(poor)), counts)
    # From birth at the earliest; nothing that would begin after death.
    begin = np.where(of_poor[VALID_DAY] == ALWAYS, ALWAYS, np.maximum(of_poor[VALID_DAY], of_poor[BIRTH_DAY]))
    kept = (of_poor[VALID_DAY] <= of_poor[DEATH_DAY]) & (begin <= of_poor[LAST_DAY])
    entry = entry[kept[entry]]
    categories = [
        name
        for cell, is_kept in zip(of_poor[CATEGORY].tolist(), kept.tolist(), strict=True)
        if is_kept
        for name in names[cell]
    ]
    return pa.table(
        {
            "person_id": person_ids(people, city).take(pa.array(poor)).take(pa.array(entry)),
            "category": pa.array(categories, pa.string()),
            "from": days(begin[entry]),
            "to": days(of_poor[LAST_DAY][entry]),
        }
    )
