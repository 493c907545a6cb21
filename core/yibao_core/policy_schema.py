"""The formats of policy files and case files as JSON Schemas, for editors. Shapes only; `yibao lint` checks the rest."""

from collections.abc import Mapping
from typing import Any

from yibao_core import policy_file as keys
from yibao_core.errors import RowStatus
from yibao_core.policy import AGE_MAX, CARE_TYPES, CATEGORIES, FEES, LAYERS, LEVELS, TREATED
from yibao_core.policy_lessons import lesson

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_DATE: Schema = {}  # a TOML date, which JSON Schema has no word for
_YUAN: Schema = {
    "anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,2})?$"}, {"type": "integer", "minimum": 0}]
}
_RATE: Schema = {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})? ?%$"}
_ID: Schema = {"type": "string", "pattern": "^[a-z0-9-]+$"}
_NAME: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}


def policy_schema() -> Schema:
    """Return the JSON Schema of policy files."""
    top = {
        "format": {"const": keys.FORMAT},
        "id": _ID,
        "title": _TEXT,
        "document": _TEXT,
        "region": {"type": "string", "pattern": "^([0-9]{2}|[0-9]{4}|[0-9]{6})$"},
        "supersedes": _list(_ID, 0),
        "rounding": {"enum": ["half_up", "down"]},
        "year_follows": {"enum": ["service_date", "settled_at"]},
        "note": _TEXT,
        "in_force": _span(),
        "known": _table({"from": _DATE, "issued": _DATE, "source": _TEXT}, ("from", "source")),
        "window": _span(),
        "favour": _table({"order": _list({"enum": list(CATEGORIES)}, len(CATEGORIES)), "source": _TEXT}, None),
        "groups": _named(_table({"categories": _list({"enum": list(CATEGORIES)}), "source": _TEXT}, None)),
        "routing": _table(
            {
                "assistance_inside": {"enum": ["institution", "district"]},
                "assistance_outside": {"enum": ["institution", "district"]},
                "supplement_categories": _list(_NAME),
                "source": _TEXT,
            },
            ("source",),
        ),
        "financing": _table({"per_enrollee": _YUAN, "source": _TEXT}, None),
        "parameters": _named(_parameter()),
        "ratios": _list(
            _table(
                {
                    "layer": {"enum": list(LAYERS)},
                    "care_types": _list({"enum": list(CARE_TYPES)}),
                    "target": _RATE,
                    "source": _TEXT,
                },
                None,
            )
        ),
        "layers": _list(_layer(), len(LAYERS)),
    }
    needed = ("format", "id", "title", "document", "region", "in_force", "known", "favour", "layers")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "a policy of residents' medical insurance",
        **_table(top, needed),
    }


def cases_schema() -> Schema:
    """Return the JSON Schema of case files."""
    signed = {"anyOf": [{"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,2})?$"}, {"type": "integer"}]}
    amounts = dict.fromkeys((*LAYERS, "personal", "deductible_borne"), signed)
    expected = _table(
        {
            **amounts,
            "stay_number": {"type": "integer", "minimum": 0},
            "status": {"enum": [status.name for status in RowStatus]},
            "flags": _list(_TEXT, 0),
        },
        (),
    )
    case = _table(
        {
            "title": _TEXT,
            "source": _TEXT,
            "parameters": {"type": "object"},
            "given": _list({"type": "object"}),
            "expected": _list(expected),
        },
        ("title", "source", "given", "expected"),
    )
    top = {"policy": _ID, "assumed": {"type": "object"}, "cases": _list(case)}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "worked examples of a policy",
        **_table(top, ("policy", "cases")),
    }


def _described(name: str, schema: Schema) -> Schema:
    found = lesson(name)
    return schema if found is None else {**schema, "description": found.meaning}


def _table(properties: Mapping[str, Schema], required: tuple[str, ...] | None) -> Schema:
    """Return a table of these keys and no others; `required` None: all of them."""
    return {
        "type": "object",
        "properties": {name: _described(name, schema) for name, schema in properties.items()},
        "required": list(properties if required is None else required),
        "additionalProperties": False,
    }


def _named(schema: Schema) -> Schema:
    return {"type": "object", "propertyNames": _NAME, "additionalProperties": schema}


def _list(items: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _span() -> Schema:
    return _table({"from": _DATE, "to": _DATE, "source": _TEXT}, ("from", "source"))


def _amount() -> Schema:
    derived = _table({"parameter": _NAME, "share": _RATE}, ("parameter",))
    return {"anyOf": [*_YUAN["anyOf"], derived]}


def _rate() -> Schema:
    return {"anyOf": [_RATE, _table({"parameter": _NAME}, None)]}


def _cap() -> Schema:
    return {"anyOf": [{"const": "none"}, *_amount()["anyOf"]]}


def _parameter() -> Schema:
    number: Schema = {"anyOf": [*_YUAN["anyOf"], _RATE]}
    properties = {
        "unit": {"enum": ["yuan", "percent"]},
        "meaning": _TEXT,
        "required": {"type": "boolean"},
        "source": _TEXT,
        "per_category": _list(_NAME),
        "default": number,
        "minimum": number,
        "maximum": {"anyOf": [*number["anyOf"], *_amount()["anyOf"][-1:]]},
    }
    return _table(properties, ("unit", "meaning", "required", "source"))


def _layer() -> Schema:
    properties = {
        "name": {"enum": list(LAYERS)},
        "care_types": _list({"enum": list(CARE_TYPES)}),
        "otherwise": {"enum": ["recorded", "zero"]},
        "source": _TEXT,
        "charged_to": {"enum": ["eligible", "total"]},
        "base": _list({"enum": list(FEES)}),
        "less": _list({"enum": list(LAYERS)}, 0),
        "account": _TEXT,
        "rules": _list(_rule()),
    }
    return _table(properties, ("name", "care_types", "otherwise", "source"))


def _rule() -> Schema:
    age = {"type": "integer", "minimum": 0, "maximum": AGE_MAX}
    properties = {
        "id": _NAME,
        "who": {"anyOf": [{"const": "everyone"}, _list(_NAME)]},
        "source": _TEXT,
        "tiers": _list(_table({"from": _amount(), "rate": _rate()}, None)),
        "deductible": _amount(),
        "edges": {"enum": ["including_deductible", "above_deductible"]},
        "cap": _cap(),
        "base": _list({"enum": list(FEES)}),
        "less": _list({"enum": list(LAYERS)}, 0),
        "account": _TEXT,
        "shared_limit": _table({"account": _TEXT, "limit": _amount()}, None),
        "age": _table({"from": age, "to": age}, ()),
        "care_types": _list({"enum": list(CARE_TYPES)}),
        "levels": _list({"enum": list(LEVELS)}),
        "treated": {"enum": list(TREATED)},
        "ceiling": _rate(),
        "per": {"enum": ["year", "stay"]},
        "schedule": {"enum": ["marginal", "whole"]},
        "stay_cap": _cap(),
        "later_stays": _list(_RATE),
        "deductible_limit": _amount(),
        "deductible_once": {"type": "boolean"},
        "referral": {"enum": ["inside", "anywhere"]},
    }
    return _table(properties, ("id", "who", "source", "tiers", "cap"))
