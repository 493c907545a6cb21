"""Checks of a policy that look at several values at once; each fault carries its path in the file."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import product

from yibao_core.parameters import uses
from yibao_core.policy import CATEGORIES, LAYERS, METERED, Amount, Derived, Parameter, Policy, Rule, SharedLimit
from yibao_core.toml_values import Faults, hint, percent, shown, yuan


def check_policy(policy: Policy, data: Mapping[str, object], faults: Faults) -> None:
    """Add every fault between the values of a policy; values that are faulty themselves are left out.

    `data` is the file as parsed: a parameter counts as used wherever it is mentioned, even in a faulty rule.
    """
    _check_head(policy, faults)
    _check_layers(policy, faults)
    for path, _, rule in _rules(policy):
        _check_tiers(path, rule, faults)
    _check_reach(policy, faults)
    _check_parameters(policy, set(_mentioned(data.get("layers"))), faults)
    _check_shared_limits(policy, faults)
    for path, account in _accounts(policy):
        if account == policy.meter:
            faults.add(path, f"another name: {account} counts the stays of {METERED}", shown(account))


def book_faults(policies: Sequence[Policy]) -> list[str]:
    """Return why `policies` cannot stand in one book: doubled ids, cycles, two rules for one day.

    Both time axes: of two policies known from some day on, both are known from the later day on for good,
    so two policies of one region overlap where their times in force do.
    """
    faults = Faults()
    seen: dict[str, Policy] = {}
    for index, policy in enumerate(policies):
        if policy.id in seen:
            faults.add(f"policies[{index}]", "each id once", f"{shown(policy.id)} again")
        seen.setdefault(policy.id, policy)
    above = {name: _superseded(name, seen) for name in seen}
    for name in seen:
        if name in above[name]:
            others = ", ".join(sorted(other for other in above[name] if name in above.get(other, set())))
            faults.add(f"{name}: supersedes", "no way back to the policy itself", f"a circle of {others}")
    book = list(seen.values())
    meters = {policy.meter: policy.id for policy in book if policy.meter}
    for policy in book:
        for path, account in _accounts(policy):
            if account in meters and account != policy.meter:  # its own is a fault of the file
                expected = f"another name: {account} counts the stays of {meters[account]}"
                faults.add(f"{policy.id}: {path}", expected, shown(account))
    for index, first in enumerate(book):
        for second in book[index + 1 :]:
            ordered = second.id in above[first.id] or first.id in above[second.id]
            if first.region == second.region and first.in_force.overlaps(second.in_force) and not ordered:
                since, known = (
                    max(first.in_force.start, second.in_force.start),
                    max(first.known_from, second.known_from),
                )
                got = f"two rules for region {first.region} from {since}, both known from {known}"
                faults.add(f"{first.id} and {second.id}", "one to supersede the other", got)
    return faults.lines


def _superseded(name: str, book: dict[str, Policy]) -> set[str]:
    """Return every id that the policy supersedes, directly or through others of the book."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        policy = book.get(waiting.pop())
        fresh = [other for other in policy.supersedes if other not in found] if policy is not None else []
        found.update(fresh)
        waiting.extend(fresh)
    return found


def _rules(policy: Policy) -> Iterator[tuple[str, str, Rule]]:
    """Yield each rule with its path and its layer's name."""
    for layer_index, layer in enumerate(policy.layers):
        for rule_index, rule in enumerate(layer.rules):
            yield f"layers[{layer_index}].rules[{rule_index}]", layer.name, rule


def _accounts(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield every place that names an account, and the name."""
    for index, layer in enumerate(policy.layers):
        yield f"layers[{index}].account", layer.account
        for number, rule in enumerate(layer.rules):
            if rule.account != layer.account:
                yield f"layers[{index}].rules[{number}].account", rule.account
            if rule.shared_limit is not None:
                yield f"layers[{index}].rules[{number}].shared_limit.account", rule.shared_limit.account


def _check_head(policy: Policy, faults: Faults) -> None:
    if policy.id in policy.supersedes and policy.id:
        faults.add(f"supersedes[{policy.supersedes.index(policy.id)}]", "another policy", "this policy itself")
    missing = [category for category in CATEGORIES if category not in policy.favour]
    if missing and not faults.spoiled("favour"):
        faults.add("favour.order", "all nine categories", f"a list without {', '.join(missing)}")
    window, in_force = policy.window, policy.in_force
    if window is None or faults.spoiled("window", "in_force"):
        return
    if window.start < in_force.start:
        faults.add("window.from", f"{in_force.start} (in_force.from) or later", str(window.start))
    if in_force.end is not None and (window.end or date.max) > in_force.end:
        faults.add("window.to", f"{in_force.end} (in_force.to) or earlier", str(window.end or "an open end"))


def _check_layers(policy: Policy, faults: Faults) -> None:
    first: dict[str, int] = {}
    for index, layer in enumerate(policy.layers):
        if layer.name in first:
            got = f"{shown(layer.name)} again (layers[{first[layer.name]}])"
            faults.add(f"layers[{index}].name", "each layer once", got)
        elif layer.name:
            first[layer.name] = index
        if not layer.rules and layer.otherwise == "zero" and not faults.spoiled(f"layers[{index}].rules"):
            faults.add(f"layers[{index}].otherwise", '"recorded" in a layer without rules', '"zero"')
        ids = [rule.id for rule in layer.rules]
        for rule, name in enumerate(ids):
            if name and name in ids[:rule]:
                faults.add(f"layers[{index}].rules[{rule}].id", "each id of the layer once", f"{shown(name)} again")
    missing = [name for name in LAYERS if name not in first]
    if missing and policy.layers:
        faults.add("layers", "all eight layers", f"no {', '.join(missing)}")


def _check_tiers(path: str, rule: Rule, faults: Faults) -> None:
    for index, tier in enumerate(rule.tiers):
        place = f"{path}.tiers[{index}].from"
        if faults.spoiled(place):
            continue
        if index:
            before = rule.tiers[index - 1].lower_fen
            if not faults.spoiled(f"{path}.tiers[{index - 1}].from") and _not_above(tier.lower_fen, before):
                faults.add(place, f"more than {yuan(before)} (the tier before)", yuan(tier.lower_fen))
        elif not faults.spoiled(f"{path}.edges", f"{path}.deductible"):
            start: Amount = 0 if rule.edges_above_deductible else rule.deductible_fen
            if tier.lower_fen != start:
                reason = "edges above the deductible" if rule.edges_above_deductible else "the deductible"
                faults.add(place, f"{yuan(start)} ({reason})", yuan(tier.lower_fen))


def _not_above(amount: Amount, before: Amount) -> bool:
    """Return whether `amount` is surely at or below `before`; a parameter and a number cannot be compared yet."""
    if isinstance(amount, Derived) and isinstance(before, Derived):
        return amount.parameter == before.parameter and amount.share_bp <= before.share_bp
    return isinstance(amount, int) and isinstance(before, int) and amount <= before


def _check_reach(policy: Policy, faults: Faults) -> None:
    """Report rules all of whose categories, care types, ages and places earlier rules of the layer cover.

    An earlier rule that needs an optional parameter covers nothing: without the value, rows pass it by.
    """
    optional = {item.name for item in policy.parameters if not item.required and item.default is None}
    for layer_index, layer in enumerate(policy.layers):
        covered: dict[tuple[object, ...], int] = {}  # ages as the bits of one number
        for rule_index, rule in enumerate(layer.rules):
            path = f"layers[{layer_index}].rules[{rule_index}]"
            cells = list(product(rule.who, rule.care_types, rule.levels, rule.treated))
            where = ("who", "care_types", "age", "levels", "treated")
            if not cells or faults.spoiled(*(f"{path}.{key}" for key in where)):
                continue
            ages = (1 << (rule.age_to + 1)) - (1 << rule.age_from)
            if all(ages & ~covered.get(cell, 0) == 0 for cell in cells):
                got = f"{shown(rule.id)}, all of it covered by earlier rules"
                faults.add(path, "a rule that some row can reach", got)
            if optional.isdisjoint(rule.parameters):
                covered.update({cell: covered.get(cell, 0) | ages for cell in cells})


def _mentioned(value: object) -> Iterator[str]:
    """Yield every NAME of a { parameter = "NAME" } inside `value`."""
    if isinstance(value, dict):
        name = value.get("parameter")
        if isinstance(name, str):
            yield name
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mentioned(inner)


def _check_parameters(policy: Policy, mentioned: set[str], faults: Faults) -> None:
    declared = {parameter.name: parameter for parameter in policy.parameters}
    for path, _, rule in _rules(policy):
        for inside, derived, unit in uses(rule):
            place = f"{path}.{inside}"
            parameter = declared.get(derived.parameter)
            if faults.spoiled(place, f"parameters.{derived.parameter}"):
                continue
            if parameter is None:
                known = f"a declared parameter ({', '.join(declared) or 'there is none'})"
                faults.add(f"{place}.parameter", known, shown(derived.parameter) + hint(derived.parameter, declared))
                continue
            if parameter.unit != unit:
                faults.add(f"{place}.parameter", f"a parameter in {unit}", f"{derived.parameter} in {parameter.unit}")
            outside = [category for category in rule.who if category not in parameter.per_category]
            if parameter.per_category and outside and not faults.spoiled(f"{path}.who"):
                got = f"{derived.parameter}, which is for {', '.join(parameter.per_category)}"
                faults.add(f"{place}.parameter", f"a parameter for {', '.join(outside)} too", got)
    for parameter in policy.parameters:
        _check_maximum(parameter, declared, faults)
        if isinstance(parameter.maximum, Derived):
            mentioned = mentioned | {parameter.maximum.parameter}
    for name, parameter in declared.items():
        if name not in mentioned:
            faults.add(f"parameters.{name}", "a parameter that some rule uses", "one that none does")
        if not faults.spoiled(f"parameters.{name}"):
            _check_bounds(parameter, faults)


def _check_maximum(parameter: Parameter, declared: Mapping[str, Parameter], faults: Faults) -> None:
    """Report a maximum that is a share of something other than a declared parameter in the same unit."""
    maximum, place = parameter.maximum, f"parameters.{parameter.name}.maximum"
    if not isinstance(maximum, Derived) or faults.spoiled(place):
        return
    other = declared.get(maximum.parameter)
    if other is None or other is parameter:
        got = shown(maximum.parameter) + hint(maximum.parameter, declared)
        faults.add(f"{place}.parameter", "another declared parameter", got)
    elif other.unit != parameter.unit or other.per_category:
        whom = ", one value for everybody" if other.per_category else ""
        faults.add(f"{place}.parameter", f"a parameter in {parameter.unit}{whom}", maximum.parameter)


def _check_bounds(parameter: Parameter, faults: Faults) -> None:
    path, written = f"parameters.{parameter.name}", yuan if parameter.unit == "yuan" else percent
    low, default = parameter.minimum, parameter.default
    high = None if isinstance(parameter.maximum, Derived) else parameter.maximum  # else known with the values
    if low is not None and high is not None and high < low:
        faults.add(f"{path}.maximum", f"{written(low)} (minimum) or more", written(high))
    if default is None:
        return
    if parameter.required:
        faults.add(f"{path}.default", "no default for a required parameter", written(default))
    if low is not None and default < low:
        faults.add(f"{path}.default", f"{written(low)} (minimum) or more", written(default))
    if high is not None and default > high:
        faults.add(f"{path}.default", f"{written(high)} (maximum) or less", written(default))


def _check_shared_limits(policy: Policy, faults: Faults) -> None:
    """Report an account that two rules limit otherwise for one and the same category."""
    first: dict[tuple[str, str], tuple[str, SharedLimit]] = {}
    for path, _, rule in _rules(policy):
        limit = rule.shared_limit
        if limit is None or faults.spoiled(f"{path}.shared_limit"):
            continue
        for category in rule.who:
            where, other = first.setdefault((limit.account, category), (path, limit))
            if other != limit:
                expected = f"{yuan(other.limit_fen)}, the limit of {limit.account} in {where} for {category}"
                faults.add(f"{path}.shared_limit.limit", expected, yuan(limit.limit_fen))
                break
