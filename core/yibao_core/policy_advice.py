"""What a policy may say and seldom means: lint tells it as a note, because no document forbids it."""

from collections.abc import Callable, Iterator
from itertools import combinations, product

from yibao_core.policy import CATEGORIES, LEVELS, METERED, TREATED, Layer, Policy, Rule, Stay
from yibao_core.toml_values import yuan


def notes(policy: Policy) -> list[str]:
    """Return a line for each place where a policy that has no fault is likely not what its document says."""
    return [line for layer in policy.layers for line in (*_shared_accounts(layer), *_uneven_stays(layer))]


def _shared_accounts(layer: Layer) -> Iterator[str]:
    """Tell of kinds of care that add up on one account although each has a yearly cap of its own."""
    for first, second in combinations(layer.rules, 2):
        apart = set(first.care_types).isdisjoint(second.care_types)
        together = first.account == second.account and set(first.who) & set(second.who)
        if apart and together and first.cap_fen != second.cap_fen:
            yield (
                f"{layer.name}: rules {first.id} ({', '.join(first.care_types)}; {_cap(first)}) and {second.id} "
                f"({', '.join(second.care_types)}; {_cap(second)}) add up on one account, {first.account}: what one pays "
                'counts against the cap of the other. Apart, each has its own: account = "…"'
            )


def _cap(rule: Rule) -> str:
    return "no cap" if rule.cap_fen is None else f"cap {yuan(rule.cap_fen)}"


def _uneven_stays(layer: Layer) -> Iterator[str]:
    """Tell of rules for one person that count his stays together, where one says something of later stays and another nothing."""
    told: set[tuple[str, str]] = set()
    for category, treated in product(CATEGORIES, TREATED) if layer.name == METERED else ():
        reached = _reached(layer, category, treated)
        for key, has in _OF_LATER_STAYS.items():
            without = [rule.id for rule in reached if rule.stay is not None and not has(rule.stay)]
            having = [rule.id for rule in reached if rule.stay is not None and has(rule.stay)]
            if having and without and (key, without[0]) not in told:
                told.add((key, without[0]))
                yield (
                    f"{layer.name}: {', '.join(without)} (for {category}, {treated}) without {key}, which "
                    f"{', '.join(having)} has: their stays are counted together"
                )


_OF_LATER_STAYS: dict[str, Callable[[Stay], bool]] = {
    "later_stays": lambda stay: bool(stay.later_bp) or stay.once,
    "deductible_limit": lambda stay: stay.deductible_limit_fen is not None or stay.once,
    "referral": lambda stay: bool(stay.referral),
}


def _reached(layer: Layer, category: str, treated: str) -> list[Rule]:
    """Return the rules that a category's rows reach at some level and kind of care, each once."""
    found: dict[str, Rule] = {}
    for care, level in product(layer.care_types, LEVELS):
        for rule in layer.rules:
            covers = care in rule.care_types and level in rule.levels and treated in rule.treated and rule.any_age
            if category in rule.who and covers:
                found[rule.id] = rule
                break
    return list(found.values())
