"""The numbers that a document leaves open: filled in by the caller, looked up by category."""

import itertools
from collections.abc import Iterator, Mapping

from yibao_core.errors import ParameterError
from yibao_core.policy import METERED, Amount, Derived, Parameter, Policy, Rate, Rule
from yibao_core.toml_values import Faults, hint, percent, percent_to_bp, shown, yuan, yuan_to_fen

Values = dict[str, dict[str, int]]


def resolve(amount: Amount | Rate, policy: Policy, category: str) -> int | None:
    """Return an amount or rate for a person of `category`: fen or basis points; None where its parameter has no value.

    A share of a parameter is rounded half up to the fen (settlement contract, section 2).
    """
    return _looked_up(amount, policy.values, category)


def is_usable(policy: Policy, rule: Rule, category: str | None = None) -> bool:
    """Return whether the rule has its optional parameters, for one category or for any of its own."""
    required = {parameter.name for parameter in policy.parameters if parameter.required}
    optional = [name for name in rule.parameters if name not in required]
    whom = rule.who if category is None else (category,)
    return any(all(_looked_up(Derived(name), policy.values, who) is not None for name in optional) for who in whom)


def goes_by_place(policy: Policy) -> bool:
    """Return whether a usable rule asks for the hospital's level or where the treatment was."""
    return any(rule.goes_by_place and is_usable(policy, rule) for layer in policy.layers for rule in layer.rules)


def counts_stays(policy: Policy) -> bool:
    """Return whether basic insurance is computed per stay, so that stays and their deductibles are counted."""
    rules = policy.layer(METERED).rules
    return any(rule.stay is not None and is_usable(policy, rule) for rule in rules)


def refers(policy: Policy) -> bool:
    """Return whether a usable rule goes on with the deductible through an episode of referrals."""
    rules = policy.layer(METERED).rules
    return any(rule.stay is not None and bool(rule.stay.referral) and is_usable(policy, rule) for rule in rules)


def uses(rule: Rule) -> Iterator[tuple[str, Derived, str]]:
    """Yield each value of `rule` that comes from a parameter: its path inside the rule, itself, its unit."""
    places: list[tuple[str, Amount | None, str]] = [("deductible", rule.deductible_fen, "yuan")]
    for index, tier in enumerate(rule.tiers):
        places.append((f"tiers[{index}].from", tier.lower_fen, "yuan"))
        places.append((f"tiers[{index}].rate", tier.rate_bp, "percent"))
    places.append(("cap", rule.cap_fen, "yuan"))
    if rule.shared_limit is not None:
        places.append(("shared_limit.limit", rule.shared_limit.limit_fen, "yuan"))
    places.append(("ceiling", rule.ceiling_bp, "percent"))
    if rule.stay is not None:
        places.append(("stay_cap", rule.stay.cap_fen, "yuan"))
        places.append(("deductible_limit", rule.stay.deductible_limit_fen, "yuan"))
    yield from ((path, value, unit) for path, value, unit in places if isinstance(value, Derived))


def bind(policy: Policy, given: Mapping[str, object] | None) -> Values:
    """Return parameter → category ("" where one value serves everybody) → fen or basis points.

    ParameterError lists every fault of `given`. A parameter without value and default is left out.
    """
    faults = Faults()
    if given is not None and not isinstance(given, Mapping):
        raise ParameterError(f"{policy.id}: parameters: expected a mapping of names to values, got {shown(given)}")
    explicit = _explicit(policy, given or {}, faults)
    _check_complete(policy, explicit, faults)
    values = {parameter.name: _with_default(parameter, explicit) for parameter in policy.parameters}
    values = {name: by_category for name, by_category in values.items() if by_category}
    _check_maxima(policy, values, faults)
    if not faults.lines:
        _check_tiers(policy, values, faults)
    if faults.lines:
        raise ParameterError([f"{policy.id}: {line}" for line in faults.lines])
    return values


def _looked_up(amount: Amount | Rate, values: Mapping[str, Mapping[str, int]], category: str) -> int | None:
    if isinstance(amount, int):
        return amount
    by_category = values.get(amount.parameter, {})
    value = by_category.get(category, by_category.get(""))
    return None if value is None else (value * amount.share_bp + 5_000) // 10_000


def _explicit(policy: Policy, given: Mapping[str, object], faults: Faults) -> Values:
    """Return what the caller gave, spread over categories."""
    declared = {parameter.name: parameter for parameter in policy.parameters}
    explicit: Values = {}
    for name, value in given.items():
        path = f"parameters.{name}"
        if name not in declared:
            expected = f"one of {', '.join(declared)}" if declared else "no parameters: this policy has none"
            faults.add(path, expected, f"an unknown parameter{hint(name, declared)}")
            continue
        parameter = declared[name]
        if not isinstance(value, Mapping):
            number = _number(parameter, value, path, faults)
            if number is not None:
                explicit[name] = dict.fromkeys(parameter.per_category or ("",), number)
        elif not parameter.per_category:
            faults.add(path, "one value for everybody", "a value per category")
        else:
            explicit[name] = _per_category(parameter, value, path, faults)
    return explicit


def _per_category(parameter: Parameter, given: Mapping[str, object], path: str, faults: Faults) -> dict[str, int]:
    found: dict[str, int] = {}
    for category, value in given.items():
        if category not in parameter.per_category:
            expected = f"one of {', '.join(parameter.per_category)}"
            faults.add(f"{path}.{category}", expected, f"{shown(category)}{hint(category, parameter.per_category)}")
            continue
        number = _number(parameter, value, f"{path}.{category}", faults)
        if number is not None:
            found[category] = number
    return found


def _number(parameter: Parameter, value: object, path: str, faults: Faults) -> int | None:
    money = parameter.unit == "yuan"
    try:
        number = yuan_to_fen(value) if money else percent_to_bp(value)
    except ValueError as error:
        faults.line(path, str(error))
        return None
    written = yuan if money else percent
    if parameter.minimum is not None and number < parameter.minimum:
        faults.add(path, f"{written(parameter.minimum)} or more ({parameter.source})", written(number))
    if isinstance(parameter.maximum, int) and number > parameter.maximum:
        faults.add(path, f"{written(parameter.maximum)} or less ({parameter.source})", written(number))
    return number


def _check_complete(policy: Policy, explicit: Values, faults: Faults) -> None:
    """Report rules of which a category got some optional parameters, but not all.

    A value for a parameter that has a default asks for no other rule than those that need nothing else.
    """
    optional = {item.name for item in policy.parameters if not item.required}
    defaulted = {item.name for item in policy.parameters if item.default is not None}
    open_ended = optional - defaulted
    asks_nothing = {
        name
        for layer in policy.layers
        for rule in layer.rules
        if open_ended.isdisjoint(rule.parameters)
        for name in rule.parameters
    }
    for layer in policy.layers:
        for rule in layer.rules:
            needed = [name for name in rule.parameters if name in optional and name not in defaulted & asks_nothing]
            lacking: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
            for category in rule.who:
                got = tuple(name for name in needed if _looked_up(Derived(name), explicit, category) is not None)
                missing = tuple(name for name in needed if name not in got and name not in defaulted)
                if got and missing:
                    lacking.setdefault((got, missing), []).append(category)
            for (got, missing), categories in lacking.items():
                for name in missing:
                    whom = "everyone" if len(categories) == len(policy.favour) else ", ".join(categories)
                    reason = f"a value too, for rule {layer.name}.{rule.id} ({whom})"
                    faults.add(f"parameters.{name}", reason, f"only {', '.join(got)}")


def _with_default(parameter: Parameter, explicit: Values) -> dict[str, int]:
    found = explicit.get(parameter.name, {})
    if parameter.default is None:
        return found
    return {category: parameter.default for category in parameter.per_category or ("",)} | found


def _check_maxima(policy: Policy, values: Values, faults: Faults) -> None:
    """Report values above the share of another parameter that bounds them, and bounds that nobody gave."""
    declared = {parameter.name: parameter for parameter in policy.parameters}
    for name, by_category in values.items():
        parameter = declared[name]
        if not isinstance(parameter.maximum, Derived):
            continue
        written = yuan if parameter.unit == "yuan" else percent
        bound, most = declared[parameter.maximum.parameter], _looked_up(parameter.maximum, values, "")
        if most is None:
            faults.add(f"parameters.{bound.name}", f"{bound.meaning} ({bound.source}), which bounds {name}", "no value")
            continue
        for category, value in by_category.items():
            if value > most:
                path = f"parameters.{name}.{category}" if category else f"parameters.{name}"
                faults.add(path, f"{written(most)} or less ({parameter.source})", written(value))


def _check_tiers(policy: Policy, values: Values, faults: Faults) -> None:
    """Report tiers that the parameters' values put out of order: no file check can see those."""
    for layer in policy.layers:
        for rule in layer.rules:
            if not any(isinstance(tier.lower_fen, Derived) for tier in rule.tiers):
                continue
            for category in rule.who:
                edges = [_looked_up(tier.lower_fen, values, category) for tier in rule.tiers]
                for index, (before, edge) in enumerate(itertools.pairwise(edges), start=1):
                    if before is not None and edge is not None and edge <= before:
                        path = f"{layer.name}.{rule.id}.tiers[{index}].from ({category})"
                        faults.add(path, f"more than {yuan(before)} (the tier before)", yuan(edge))
