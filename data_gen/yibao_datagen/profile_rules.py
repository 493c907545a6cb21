"""What a profile's figures have to be: every name that there is, with its kind and bounds."""

from collections.abc import Callable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any

from yibao_core.policy import CARE_TYPES

Check = Callable[[Any], str | None]
"""A value → what was expected, None where it is right."""

CONDITIONS = ("hypertension", "diabetes", "cancer", "dialysis", "pku", "daily")
ORDINARY = 1
"""The bit of ordinary people in a set of categories."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(least: float = 0.0, most: float = 1.0) -> Check:
    def check(value: Any) -> str | None:
        right = _is_number(value) and least <= value <= most
        return None if right else f"a number from {least:g} to {most:g}"

    return check


def whole(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if right else f"a whole number from {least} to {most}"

    return check


def numbers(least: float, most: float, count: int | None = None) -> Check:
    def check(value: Any) -> str | None:
        right = isinstance(value, list) and len(value) > 0 and (count is None or len(value) == count)
        right = right and all(_is_number(one) and least <= one <= most for one in value)
        return None if right else f"{count if count else 'some'} numbers from {least:g} to {most:g}"

    return check


def shares_of_one(count: int) -> Check:
    def check(value: Any) -> str | None:
        fault = numbers(0.0, 1.0, count)(value)
        return fault or (None if abs(sum(value) - 1) < 1e-6 else f"{count} shares that add up to 1")

    return check


def ages(value: Any) -> str | None:
    right = isinstance(value, list) and all(isinstance(one, int) and 0 <= one <= 110 for one in value)
    right = right and value[:1] == [0] and sorted(set(value)) == value
    return None if right else "ascending whole ages, the first of them 0"


def bounds(value: Any) -> str | None:
    return numbers(0.0, 1e9, 2)(value) or (None if value[0] <= value[1] else "two numbers, the lower one first")


def weights(names: tuple[str, ...]) -> Check:
    def check(value: Any) -> str | None:
        right = isinstance(value, Mapping) and set(value) <= set(names)
        right = right and all(_is_number(one) and 0 <= one <= 10_000 for one in value.values())
        return None if right else f"numbers from 0 to 10000 by any of {', '.join(names)}"

    return check


def districts(value: Any) -> str | None:
    right = isinstance(value, Mapping) and len(value) > 0
    right = right and all(
        str(code).isdecimal() and len(str(code)) == 6 and _is_number(one) and one >= 0 for code, one in value.items()
    )
    return None if right and sum(value.values()) > 0 else "shares by codes of six digits"


def _day(value: Any) -> bool:
    try:
        return isinstance(value, date) or bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def days(value: Any) -> str | None:
    right = isinstance(value, list) and all(_day(one) for one in value)
    return None if right else "days such as 2019-10-01"


def epidemic(value: Any) -> str | None:
    right = isinstance(value, Mapping) and set(value) == {"peak", "days", "strength", "of"} and _day(value["peak"])
    right = right and number(1, 366)(value["days"]) is None and number(0, 20)(value["strength"]) is None
    right = right and isinstance(value["of"], list) and set(value["of"]) <= set(CARE_TYPES)
    return None if right else f"peak (a day), days, strength, and of: some of {', '.join(CARE_TYPES)}"


def text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "a text"


REQUIRED: dict[str, Check] = {
    "region": whole(1_000, 9_999),
    "base_year": whole(1_980, 2_089),
    "districts": districts,
    "people.age_bands": ages,
    "people.age_shares": numbers(0, 1),
    "people.female_shares": numbers(0, 1),
    "people.birth_rate": number(),
    "people.death_rate": number(0, 0.5),
    "people.death_growth": number(0, 0.3),
    "people.student_ages": numbers(0, 110, 2),
    "people.married_share": number(),
    "people.social_card_share": number(),
    "people.supplement_share": number(),
    "people.changes.recognised_in_year": number(),
    "people.changes.ended_in_year": number(),
    "people.changes.backdated": number(),
    "costs.levels_outside": shares_of_one(4),
    "costs.severity": number(0, 2),
    "costs.largest": number(1, 99_999_999),
    "costs.self_funded": number(0, 0.5),
    "costs.over_limit": number(0, 0.125),
    "costs.first_pay": number(0, 0.5),
    "costs.days_stay": number(1, 180),
    "calendar.months": numbers(0.001, 1_000, 12),
    "calendar.weekend": number(0, 10),
    "calendar.month_end": number(0.001, 10),
    "calendar.epidemic": epidemic,
    "calendar.holidays": days,
    "calendar.holiday": number(0, 10),
    "settling.same_day": number(),
    "settling.collected": number(),
    "settling.late": number(),
    "settling.reversed": number(0, 0.5),
    "settling.billed_again": number(),
    "settling.reversed_late": number(),
    "settling.two_slips": number(),
    "settling.referred": number(),
    "settling.drug_in_stay": number(),
}
for _name in CONDITIONS:
    REQUIRED |= {f"conditions.{_name}.ages": ages, f"conditions.{_name}.prevalence": numbers(0, 1)}
for _name in CARE_TYPES:
    REQUIRED |= {
        f"visits.{_name}.rate": number(0, 1_000),
        f"visits.{_name}.ages": ages,
        f"visits.{_name}.by_age": numbers(0, 10_000),
        f"visits.{_name}.conditions": weights(CONDITIONS),
        f"visits.{_name}.frailty": number(0.05, 1_000),
        f"visits.{_name}.outside": number(),
        f"costs.{_name}.levels": shares_of_one(4),
        f"costs.{_name}.means": numbers(0.01, 1e8, 4),
        f"costs.{_name}.sigma": number(0, 3),
    }
OPTIONAL: dict[str, Check] = {
    "title": text,
    "financing.policy": text,
    **{f"conditions.{name}.oldest": whole(0, 110) for name in CONDITIONS},
    **{f"visits.{name}.last_year": number(0, 100) for name in CARE_TYPES},
    **{f"costs.{name}.heavy": number(0, 1) for name in CARE_TYPES},
    **{f"costs.{name}.heavy_exponent": number(1.05, 100) for name in CARE_TYPES},
    **{f"financing.{name}": number(0.01, 100_000) for name in ("catastrophic", "treasury", "personal")},
    **{
        f"targets.{name}": bounds
        for name in (
            "top_1_percent_share", "top_10_percent_share", "over_18000_share", "cost_per_head", "retained_top_10_percent",
            "stay_mean", "basic_share_of_financing", "catastrophic_share_of_financing", "largest_person_rows_per_million",
        )
    },
}  # fmt: skip
PAIRS = [
    *((f"conditions.{name}.ages", f"conditions.{name}.prevalence", 0) for name in CONDITIONS),
    *((f"visits.{name}.ages", f"visits.{name}.by_age", 0) for name in CARE_TYPES),
    ("people.age_bands", "people.age_shares", 1),
    ("people.age_bands", "people.female_shares", 1),
]
"""Figures that go together: the second has as many numbers as the first, less so many."""


def faults_of(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a profile's figures, by their dotted names; nothing where all is right."""
    from yibao import Settler

    faults: list[str] = []
    for name, value in values.items():
        if name.startswith("people.categories."):
            cell = name.removeprefix("people.categories.")
            held = Settler.categories_of(cell)
            if not held or held & ORDINARY:
                faults.append(f"{name}: expected categories of a ledger but ordinary, got {cell}")
            check: Check | None = number(0, 0.5)
        else:
            check = REQUIRED.get(name) or OPTIONAL.get(name)
        if check is None:
            near = get_close_matches(name, [*REQUIRED, *OPTIONAL], 1)
            faults.append(f"{name}: no such figure{f'; perhaps {near[0]}' if near else ''}")
            continue
        expected = check(value)
        if expected is not None:
            faults.append(f"{name}: expected {expected}, got {value!r}")
    faults += [f"{name}: expected it, got no such figure" for name in REQUIRED if name not in values]
    if not faults:
        faults += _faults_together(values)
    return faults


def _faults_together(values: Mapping[str, Any]) -> list[str]:
    faults = [
        f"{second}: expected {len(values[first]) - less} numbers, as {first} has, got {len(values[second])}"
        for first, second, less in PAIRS
        if len(values[second]) != len(values[first]) - less
    ]
    if abs(sum(values["people.age_shares"]) - 1) > 1e-6:
        faults.append(f"people.age_shares: expected shares that add up to 1, got {sum(values['people.age_shares']):g}")
    if sum(value for name, value in values.items() if name.startswith("people.categories.")) > 0.9:
        faults.append("people.categories: expected shares of at most 0.9 in all")
    most = 2 * values["costs.self_funded"] + 8 * values["costs.over_limit"] + 2 * values["costs.first_pay"]
    if most > 1:
        faults.append(
            f"costs: expected 2 x self_funded + 8 x over_limit + 2 x first_pay of at most 1, got {most:g}: largest parts"
        )
    if values["settling.collected"] + values["settling.late"] > 1:
        faults.append("settling: expected collected and late of at most 1 together")
    return faults
