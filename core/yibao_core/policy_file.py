"""A policy from a TOML file: read, checked as a whole, parameters filled in."""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from yibao_core.errors import PolicyError
from yibao_core.parameters import bind
from yibao_core.policy import (
    AGE_MAX,
    CARE_TYPES,
    CATEGORIES,
    FEES,
    LAYERS,
    LEVELS,
    METERED,
    TREATED,
    Amount,
    Layer,
    Parameter,
    Policy,
    Ratio,
    Routing,
    Rule,
    SharedLimit,
    Span,
    Stay,
    Tier,
)
from yibao_core.policy_advice import notes
from yibao_core.policy_lessons import taught, todos
from yibao_core.policy_lint import book_faults, check_policy
from yibao_core.toml_values import NAME, Faults, Table, hint, shown

FORMAT = 1
_FOLDER = Path(__file__).parent / "policies"
BUILTIN_CASES = _FOLDER / "cases"
"""Worked examples of the built-in policies, file by file."""
TEMPLATE = _FOLDER / "templates" / "city.toml"
"""A policy with TODO for everything that only the document can say."""
_ID = "[a-z0-9-]+"
_TOP = (
    "format", "id", "title", "document", "region", "supersedes", "rounding", "year_follows", "note",
    "in_force", "known", "window", "favour", "groups", "routing", "financing", "parameters", "ratios", "layers",
)  # fmt: skip
_SPAN = ("from", "to", "source")
_ROUTING = ("assistance_inside", "assistance_outside", "supplement_categories", "source")
_PARAMETER = ("unit", "meaning", "required", "source", "per_category", "default", "minimum", "maximum")
_RATIO = ("layer", "care_types", "target", "source")
_LAYER = ("name", "care_types", "otherwise", "source", "charged_to", "base", "less", "account", "rules")
_RULE = (
    "id", "who", "source", "tiers", "deductible", "edges", "cap", "base", "less", "account", "shared_limit", "age",
    "care_types", "levels", "treated", "ceiling", "per", "schedule", "stay_cap", "later_stays", "deductible_limit",
    "deductible_once", "referral",
)  # fmt: skip
_PER_STAY = ("schedule", "stay_cap", "later_stays", "deductible_limit", "deductible_once", "referral")
_METER = _PER_STAY[2:]
_Groups = Mapping[str, tuple[str, ...]]


def builtin_ids() -> list[str]:
    """Return the ids of the policies that come with the engine."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def builtin_text(policy: str) -> str:
    """Return the file of a built-in policy as text."""
    return (_FOLDER / f"{policy}.toml").read_text(encoding="utf-8")


def read_policy(source: str | os.PathLike[str], parameters: Mapping[str, object] | None = None) -> Policy:
    """Return the policy of a built-in id or of a TOML file, with `parameters` and the defaults in `values`.

    PolicyError lists every fault of the file, ParameterError every fault of the parameters.
    A required parameter without a value is no fault here: only rows that reach its rule need it.
    """
    path, label = _locate(source)
    data, policy, faults = _read(path)
    if policy is None:
        raise PolicyError([f"{label}: {line}" for line in faults])
    values = bind(policy, parameters)
    return replace(policy, values=values, digest=_digest(data, values))


def lint_file(path: str | os.PathLike[str]) -> list[str]:
    """Return the faults of a policy file, one line each; empty when it can be used."""
    return [f"{os.fspath(path)}: {line}" for line in _read(Path(path))[2]]


def lint_lines(source: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return each fault of a policy (a file, or a built-in id) with what it teaches (None: nothing), and notes where it has none."""
    path, label = _locate(source) if source in builtin_ids() else (Path(source), source)
    data, policy, faults = _read(path)
    lines = [(f"{label}: {line}", taught(line, data)) for line in faults]
    return lines, [] if policy is None else [f"{label}: note: {line}" for line in notes(policy)]


def check_book(policies: Sequence[Policy]) -> None:
    """Raise PolicyError with every reason why `policies` cannot stand in one book."""
    faults = book_faults(policies)
    if faults:
        raise PolicyError(faults)


def _locate(source: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the file behind `source` and its name in messages."""
    text = os.fspath(source)
    known = builtin_ids()
    if not isinstance(source, str) or text.endswith(".toml") or os.sep in text or "/" in text:
        return Path(text), text
    if text not in known:
        expected = f"one of {', '.join(known)}, or a path to a .toml file"
        raise PolicyError(f"policy: expected {expected}, got {shown(text)}{hint(text, known)}")
    return _FOLDER / f"{text}.toml", f"{text}.toml"


def _read(path: Path) -> tuple[dict[str, object], Policy | None, list[str]]:
    """Return a file's data, its policy (None when there are faults) and its faults."""
    try:
        # utf-8-sig: Windows editors put a byte order mark first.
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        return {}, None, [f"file: expected a readable TOML file, got {error.strerror}"]
    except UnicodeDecodeError as error:
        return {}, None, [f"file: expected UTF-8 text, got other bytes at byte {error.start}"]
    except ValueError as error:  # TOMLDecodeError is one; a number of 5,000 digits raises the bare kind
        return {}, None, [_syntax_fault(str(error))]
    faults = Faults()
    policy = _policy(Table(data, "", faults, _TOP))
    check_policy(policy, data, faults)
    open_places = dict(todos(data))
    if open_places:  # what else is wrong at these places is that nothing stands there yet
        rest = [line for line in faults.lines if line.partition(": ")[0] not in open_places]
        return data, None, [*open_places.values(), *rest]
    return data, None if faults.lines else policy, faults.lines


def _syntax_fault(message: str) -> str:
    """Return tomllib's message with its place in front."""
    what, _, place = message.rpartition(" (at ")
    return f"{place.removesuffix(')')}: expected TOML, got a syntax error: {what}"


def _digest(data: Mapping[str, object], values: Mapping[str, Mapping[str, int]]) -> str:
    """Return SHA-256 over what the file says (not how it is laid out) and the parameters' values."""
    content = {"policy": data, "values": values}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=date.isoformat)
    return hashlib.sha256(text.encode()).hexdigest()


def _policy(top: Table) -> Policy:
    top.exactly("format", FORMAT)
    known = top.table("known", ("from", "issued", "source"))
    groups = _groups(top)
    favour = top.table("favour", ("order", "source"))
    return Policy(
        id=top.text("id", _ID),
        title=top.text("title"),
        document=top.text("document"),
        region=top.text("region", "[0-9]{2}|[0-9]{4}|[0-9]{6}"),
        in_force=_span(top, "in_force") or Span(date.min),
        known_from=(known.day("from") if known is not None else None) or date.min,
        issued=known.day("issued", required=False) if known is not None else None,
        known_source=known.text("source") if known is not None else "",
        window=_span(top, "window", required=False),
        favour=favour.names("order", CATEGORIES) if favour is not None else (),
        favour_source=favour.text("source") if favour is not None else "",
        supersedes=top.words("supersedes", _ID),
        rounding=top.choice("rounding", ("half_up", "down"), "half_up"),
        year_follows=top.choice("year_follows", ("service_date", "settled_at"), "service_date"),
        note=top.text("note", default=""),
        routing=_routing(top, groups),
        financing_fen=_financing(top),
        parameters=tuple(_parameter(name, table, groups) for name, table in _named(top, "parameters", _PARAMETER)),
        ratios=tuple(_ratio(table) for table in top.tables("ratios", _RATIO, required=False)),
        layers=_layers(top, groups),
    )


def _ratio(block: Table) -> Ratio:
    return Ratio(
        layer=block.choice("layer", LAYERS),
        care_types=block.names("care_types", CARE_TYPES),
        target_bp=block.number("target", "percent"),
        source=block.text("source"),
    )


def _named(top: Table, key: str, keys: Sequence[str]) -> list[tuple[str, Table]]:
    return list(top.named_tables(key, keys).items())


def _span(top: Table, key: str, required: bool = True) -> Span | None:
    block = top.table(key, _SPAN, required)
    if block is None:
        return None
    start, end = block.day("from"), block.day("to", required=False)
    if start is not None and end is not None and end < start:
        block.fault("to", f"{start} (from) or later", str(end))
    return Span(start or date.min, end, block.text("source"))


def _routing(top: Table, groups: _Groups) -> Routing:
    """Return what the file says about payees; the contract's own where it says nothing."""
    block = top.table("routing", _ROUTING, required=False)
    if block is None:
        return Routing()
    return Routing(
        assistance_inside=block.choice("assistance_inside", ("institution", "district"), "institution"),
        assistance_outside=block.choice("assistance_outside", ("institution", "district"), "district"),
        supplement_categories=_who(block, "supplement_categories", groups) if "supplement_categories" in block else (),
        source=block.text("source"),
    )


def _financing(top: Table) -> int | None:
    block = top.table("financing", ("per_enrollee", "source"), required=False)
    if block is None:
        return None
    block.text("source")
    return block.number("per_enrollee", "yuan")


def _groups(top: Table) -> _Groups:
    groups = {}
    for name, block in _named(top, "groups", ("categories", "source")):
        block.text("source")
        if name in (*CATEGORIES, "everyone"):
            top.fault(f"groups.{name}", "a name that is neither a category nor everyone", shown(name))
            continue
        groups[name] = block.names("categories", CATEGORIES)
    return groups


def _who(block: Table, key: str, groups: _Groups, instead: str = "") -> tuple[str, ...]:
    """Return the categories behind a list of categories and groups, in the house order."""
    names = block.names(key, (*CATEGORIES, *groups), instead=instead)
    chosen = {category for name in names for category in groups.get(name, (name,))}
    return tuple(category for category in CATEGORIES if category in chosen)


def _parameter(name: str, block: Table, groups: _Groups) -> Parameter:
    unit = block.choice("unit", ("yuan", "percent"))
    bounds = {key: block.number(key, unit) for key in ("default", "minimum") if unit and key in block}
    maximum: Amount | None = None
    if unit and "maximum" in block:
        maximum = block.amount("maximum") if unit == "yuan" else block.number("maximum", unit)
    return Parameter(
        name=name,
        unit=unit,
        meaning=block.text("meaning"),
        required=block.flag("required"),
        source=block.text("source"),
        per_category=_who(block, "per_category", groups) if "per_category" in block else (),
        default=bounds.get("default"),
        minimum=bounds.get("minimum"),
        maximum=maximum,
    )


def _layers(top: Table, groups: _Groups) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for block in top.tables("layers", _LAYER):
        earlier = tuple(layer.name for layer in layers if layer.name)
        layers.append(_layer(block, earlier, groups))
    return tuple(layers)


def _layer(block: Table, earlier: tuple[str, ...], groups: _Groups) -> Layer:
    name = block.choice("name", LAYERS)
    layer = Layer(
        name=name,
        care_types=block.names("care_types", CARE_TYPES),
        otherwise=block.choice("otherwise", ("recorded", "zero")),
        source=block.text("source"),
        charged_to=block.choice("charged_to", ("eligible", "total"), "eligible"),
        base=_base(block, ("eligible_fee",)),
        less=_less(block, earlier, earlier),
        account=block.text("account", default=name),
    )
    rules = tuple(_rule(rule, layer, earlier, groups) for rule in block.tables("rules", _RULE, required=False))
    return replace(layer, rules=rules)


def _base(block: Table, default: tuple[str, ...]) -> tuple[str, ...]:
    base = block.names("base", FEES, default)
    if "total_fee" in base and len(base) > 1:
        block.fault("base", "total_fee alone (it contains the others)", ", ".join(base))
    return base


def _less(block: Table, earlier: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    less = block.names("less", LAYERS, default, empty=True)
    block.narrow("less", less, earlier, f"a layer that stands before this one ({', '.join(earlier) or 'none does'})")
    return less


def _rule(block: Table, layer: Layer, earlier: tuple[str, ...], groups: _Groups) -> Rule:
    care_types = block.names("care_types", CARE_TYPES, layer.care_types)
    if layer.care_types:
        expected = f"a care type of the layer ({', '.join(layer.care_types)})"
        block.narrow("care_types", care_types, layer.care_types, expected)
    edges = block.choice("edges", ("including_deductible", "above_deductible"), "including_deductible")
    age_from, age_to = _ages(block)
    return Rule(
        id=block.text("id", NAME),
        who=_everyone_or(block, groups),
        care_types=care_types,
        tiers=tuple(Tier(tier.amount("from"), tier.rate("rate")) for tier in block.tables("tiers", ("from", "rate"))),
        source=block.text("source"),
        deductible_fen=block.amount("deductible", 0),
        edges_above_deductible=edges == "above_deductible",
        cap_fen=block.cap("cap"),
        base=_base(block, layer.base),
        less=_less(block, earlier, layer.less),
        account=block.text("account", default=layer.account),
        shared_limit=_shared_limit(block),
        age_from=age_from,
        age_to=age_to,
        levels=block.numbers("levels", LEVELS),
        treated=(treated,) if (treated := block.choice("treated", TREATED, "")) else TREATED,
        ceiling_bp=block.rate("ceiling") if "ceiling" in block else None,
        stay=_stay(block, layer.name),
    )


def _stay(block: Table, layer: str) -> Stay | None:
    """Return what the rule says of single stays, None for a rule that goes by the year."""
    per = block.choice("per", ("year", "stay"), "year")
    if per != "stay":
        for key in _PER_STAY if per else ():
            if key in block:
                block.fault(key, 'nothing, or per = "stay" beside it', "a word of rules per stay")
        return None
    for key in _METER:
        if key in block and layer != METERED:
            block.fault(key, f"a rule of layer {METERED}, whose stays are counted", f"a rule of layer {layer}")
    stay = Stay(
        whole=block.choice("schedule", ("marginal", "whole"), "marginal") == "whole",
        cap_fen=block.cap("stay_cap") if "stay_cap" in block else None,
        later_bp=block.rates("later_stays"),
        deductible_limit_fen=block.amount("deductible_limit") if "deductible_limit" in block else None,
        once=block.flag("deductible_once") if "deductible_once" in block else False,
        referral=block.choice("referral", ("inside", "anywhere"), ""),
    )
    for key in ("later_stays", "deductible_limit"):
        if stay.once and key in block:
            block.fault(key, "nothing beside deductible_once = true", "both")
    return stay


def _everyone_or(block: Table, groups: _Groups) -> tuple[str, ...]:
    if block.is_word("who", "everyone"):
        return CATEGORIES
    return _who(block, "who", groups, '"everyone" or ')


def _shared_limit(block: Table) -> SharedLimit | None:
    inner = block.table("shared_limit", ("account", "limit"), required=False)
    return None if inner is None else SharedLimit(inner.text("account"), inner.amount("limit"))


def _ages(block: Table) -> tuple[int, int]:
    inner = block.table("age", ("from", "to"), required=False)
    if inner is None:
        return 0, AGE_MAX
    age_from, age_to = inner.whole("from", 0, AGE_MAX), inner.whole("to", AGE_MAX, AGE_MAX)
    if age_to < age_from:
        inner.fault("to", f"{age_from} (from) or more", str(age_to))
    return age_from, age_to
