"""A small city that stands on every edge of a policy: amounts one fen below, on and one fen above, for every category."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from yibao_datagen import columns

HIGHEST_FEN = 900_000_000
"""No edge of a policy that lies above this base (9 million yuan) is looked for: a bill may be that large, and no year's sum passes it."""
USUAL_AGE = 40
ELSEWHERE = 110_105


class Spot(NamedTuple):
    """One edge, and the amount of a single bill that comes to lie on it."""

    case: str
    claim: dict[str, Any]
    amount_fen: int


def edges(policy: Any) -> pa.Table:
    """Return a ledger for `policy` (what `yibao.load_policy` gives, parameters given): settle it with that policy alone.

    For every category, layer and rule: each tier's lower bound and the base at which the cap is reached, as one bill a fen
    below, on and above, and as two bills that pass it by a fen; where a rule asks for an age, a bill on the eve of the
    birthday and on it. The column `case` says which. Bases are reached through the engine, because earlier layers' payments
    lower them.
    """
    rows: list[dict[str, Any]] = []
    for spot in _spots(policy):
        for fen, word in ((-1, "one fen below"), (0, "on it"), (1, "one fen above")):
            _add(rows, spot, f"{spot.case}: {word}", [spot.amount_fen + fen])
        _add(rows, spot, f"{spot.case}: passed by the second bill", [spot.amount_fen - 1, 2])
    for case, claim in _birthdays(policy):
        _add(rows, Spot(case, claim, 0), case, [1_000_000])
    return _table(rows)


def _spots(policy: Any) -> Iterator[Spot]:
    seen: set[str] = set()
    for category in policy.favour:
        for layer in policy.layers:
            for rule in layer.rules:
                if category not in rule.who or not _is_given(policy, rule, category):
                    continue
                for what, bound_fen, reached in _bounds(policy, layer, rule, category):
                    found = _met(policy, layer, rule, category, bound_fen, reached)
                    case = f"{category}, {layer.name}, {rule.id}, {what} {bound_fen / 100:.2f}"
                    if found is not None and case not in seen:
                        seen.add(case)
                        yield Spot(case, *found)


def _met(
    policy: Any, layer: Any, rule: Any, category: str, bound_fen: int, reached: Callable[[Any], int]
) -> tuple[dict[str, Any], int] | None:
    """Return a claim of the first kind of care that comes to a bound, and its amount; None where no kind does.

    Some cannot be settled: another layer wants a parameter for them that nobody has given.
    """
    for care in rule.care_types:
        claim = _claim(policy, rule, category) | {"care_type": care}
        if rule is _applied(layer, category, claim):
            amount = _least(policy, claim, reached, bound_fen)
            if amount is not None:
                return claim, amount
    return None


def _applied(layer: Any, category: str, claim: dict[str, Any]) -> Any:
    """Return the rule that a claim gets from a layer: the first that covers it."""
    treated = "inside" if claim["treated_region"] == claim["insured_region"] else "outside"
    covering = (
        rule
        for rule in layer.rules
        if category in rule.who
        and claim["care_type"] in rule.care_types
        and rule.age_from <= claim["age"] <= rule.age_to
        and rule.covers_place(claim["hospital_level"], treated)
    )
    return next(covering, None)


def _bounds(policy: Any, layer: Any, rule: Any, category: str) -> Iterator[tuple[str, int, Callable[[Any], int]]]:
    """Give a rule's edges in fen, and what tells how far a settled claim has come towards them."""
    deductible = _resolved(policy, rule.deductible_fen, category)
    earlier = [name for name in rule.less if name != layer.name]

    def base_fen(settled: Any) -> int:
        field = "total_fee" if rule.base == ("total_fee",) else "eligible_fee"
        return int(settled.claim[f"{field}_fen"]) - sum(int(settled.paid[name] * 100) for name in earlier)

    def paid_fen(settled: Any) -> int:
        return int(settled.paid[layer.name] * 100)

    lower = [_resolved(policy, tier.lower_fen, category) for tier in rule.tiers]
    absolute = [bound + deductible if rule.edges_above_deductible else max(bound, deductible) for bound in lower]
    for bound in dict.fromkeys([deductible, *absolute]):
        if bound > 0:
            yield "from", bound, base_fen
    caps = [rule.cap_fen, rule.shared_limit.limit_fen if rule.shared_limit else None]
    for cap in caps:
        if cap is not None:
            yield "at most", _resolved(policy, cap, category), paid_fen


def _least(policy: Any, claim: dict[str, Any], reached: Callable[[Any], int], bound_fen: int) -> int | None:
    """Return the least bill that comes as far as a bound, None where none does."""
    import yibao

    def comes(amount: int) -> bool:
        return reached(yibao.settle(_with_amount(claim, amount), policy)) >= bound_fen

    try:
        if not comes(HIGHEST_FEN):
            return None
    except yibao.ParameterError:  # another rule that the bill reaches lacks a value
        return None
    below, least = 0, HIGHEST_FEN
    while least - below > 1:
        middle = (below + least) // 2
        below, least = (below, middle) if comes(middle) else (middle, least)
    return least


def _birthdays(policy: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for layer in policy.layers:
        for rule in layer.rules:
            if not all(_is_given(policy, rule, name) for name in rule.who):
                continue
            for age in (rule.age_from, rule.age_to + 1):
                if not 0 < age <= 120:
                    continue
                claim = _claim(policy, rule, next(name for name in policy.favour if name in rule.who))
                day: date = claim["service_date"]
                for late, word in ((1, "eve of the birthday"), (0, "birthday")):
                    birth = day.replace(year=day.year - age) + timedelta(days=late)
                    yield f"{layer.name}, {rule.id}, {age} years: {word}", claim | {"birth_date": birth}


def _claim(policy: Any, rule: Any, category: str) -> dict[str, Any]:
    """Return a claim that a rule covers, without amounts."""
    day = policy.in_force.start + timedelta(days=90)
    if (day.month, day.day) == (2, 29):  # few years have such a birthday
        day += timedelta(days=1)
    region = int(f"{policy.region:0<4}02"[:6]) if len(policy.region) <= 4 else int(policy.region)
    age = USUAL_AGE if rule.age_from <= USUAL_AGE <= rule.age_to else max(rule.age_from, min(USUAL_AGE, rule.age_to))
    return {
        "settlement_id": 0,
        "person_id": 0,
        "settled_at": day,
        "service_date": day,
        "insured_region": region,
        "treated_region": region if "inside" in rule.treated else ELSEWHERE,
        "hospital_level": rule.levels[0],
        "category": category,
        "birth_date": day.replace(year=day.year - age) - timedelta(days=1),
        "care_type": rule.care_types[0],
        "outside_catalogue": rule.base == ("total_fee",),
        "age": age,
    }


def _with_amount(claim: dict[str, Any], amount_fen: int) -> dict[str, Any]:
    given = {name: cell for name, cell in claim.items() if name not in ("outside_catalogue", "age")}
    eligible = 0 if claim["outside_catalogue"] else amount_fen
    return given | {"total_fee_fen": amount_fen, "eligible_fee_fen": eligible, "basic_paid_fen": 0}


def _add(rows: list[dict[str, Any]], spot: Spot, case: str, amounts: list[int]) -> None:
    person = rows[-1]["person_id"] + 1 if rows else 1
    for number, amount in enumerate(amounts):
        if amount > 0:
            later = timedelta(days=number)
            claim = _with_amount(spot.claim, amount) | {
                "case": case,
                "person_id": person,
                "settlement_id": len(rows) + 1,
            }
            claim["settled_at"] += later
            rows.append(claim)


def _is_given(policy: Any, rule: Any, category: str) -> bool:
    """Return whether a rule has values for all that it leaves to parameters."""
    values = [policy.values.get(name, {}) for name in rule.parameters]
    return all(category in one or "" in one for one in values)


def _resolved(policy: Any, amount: Any, category: str) -> int:
    """Return an amount in fen; of a parameter, its value for the category."""
    if isinstance(amount, int):
        return amount
    values = policy.values[amount.parameter]
    value = values.get(category, values.get(""))
    return int((value * amount.share_bp * 2 + 10_000) // 20_000)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    cells: dict[str, Any] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        if name.endswith("_fen"):
            cells[name.removesuffix("_fen")] = columns.money(np.array(values, dtype=np.int64))
        else:
            cells[name] = pa.array(values)
    return pa.table(cells)
