"""The JSON Schemas for editors say what the reader says."""

from __future__ import annotations

import tomllib
from typing import Any

import jsonschema
import pytest

from yibao_core import policy_file
from yibao_core.policy_file import BUILTIN_CASES, TEMPLATE, builtin_ids, builtin_text
from yibao_core.policy_schema import cases_schema, policy_schema

CHECK = jsonschema.Draft7Validator(policy_schema())
CHECK_CASES = jsonschema.Draft7Validator(cases_schema())


@pytest.mark.parametrize("policy", builtin_ids())
def test_every_built_in_policy_fits_the_schema(policy: str) -> None:
    assert [error.message for error in CHECK.iter_errors(tomllib.loads(builtin_text(policy)))] == []


@pytest.mark.parametrize("name", [file.name for file in sorted(BUILTIN_CASES.glob("*.toml"))])
def test_every_built_in_case_file_fits_the_schema(name: str) -> None:
    data = tomllib.loads((BUILTIN_CASES / name).read_text(encoding="utf-8"))
    assert [error.message for error in CHECK_CASES.iter_errors(data)] == []


def test_schema_and_reader_know_the_same_keys() -> None:
    top = policy_schema()["properties"]
    layer = top["layers"]["items"]["properties"]
    pairs = {
        "_TOP": top,
        "_SPAN": top["in_force"]["properties"],
        "_ROUTING": top["routing"]["properties"],
        "_PARAMETER": top["parameters"]["additionalProperties"]["properties"],
        "_RATIO": top["ratios"]["items"]["properties"],
        "_LAYER": layer,
        "_RULE": layer["rules"]["items"]["properties"],
    }
    for name, properties in pairs.items():
        assert set(getattr(policy_file, name)) == set(properties), name


def test_the_template_fits_but_for_what_is_still_to_do() -> None:
    """Only where a pattern or a word is asked for does TODO itself not fit."""
    data = tomllib.loads(TEMPLATE.read_text(encoding="utf-8"))
    wrong = {".".join(map(str, error.absolute_path)) for error in CHECK.iter_errors(data)}
    assert {path.rpartition(".")[2] for path in wrong} <= {"id", "region", "deductible", "cap", "from", "rate"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('rate = "65 %"', "rate = 0.65"),
        ('rate = "65 %"', 'rate = "65"'),
        ('cap = "none"', 'cap = "no"'),
        ('cap = "none"', ""),
        ('otherwise = "zero"', 'otherwise = "nothing"'),
        ('deductible = "5000"', "deductible = 5000.5"),
        ('region = "9901"', 'region = "99011"'),
        ('who = ["hardship"]', "who = []"),
        ('id = "demo-city"', 'id = "Demo City"'),
        ('stay_cap = "30000"', 'stay_cp = "30000"'),
        ('per = "stay"', 'per = "visit"'),
    ],
)
def test_what_lint_rejects_by_shape_the_schema_rejects(old: str, new: str) -> None:
    text = builtin_text("demo-city")
    assert old in text
    data: Any = tomllib.loads(text.replace(old, new, 1))
    assert not CHECK.is_valid(data)
