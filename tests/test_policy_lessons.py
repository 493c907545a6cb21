"""What lint teaches beside a fault: every key of the format has a lesson."""

from __future__ import annotations

import pytest

from yibao_core import policy_file
from yibao_core.policy_lessons import lesson, taught

KEYS = {
    key
    for name, keys in vars(policy_file).items()
    if name in ("_TOP", "_SPAN", "_ROUTING", "_PARAMETER", "_RATIO", "_LAYER", "_RULE")
    for key in keys
} - {"assistance_inside", "assistance_outside", "supplement_categories", "layer"}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_of_the_format_has_a_lesson(key: str) -> None:
    found = lesson(f"layers[0].rules[1].{key}")
    assert found is not None
    assert found is not lesson("layers[0].rules[1]") or key == "rules"


def test_the_lesson_is_that_of_the_innermost_key() -> None:
    assert lesson("layers[2].rules[0].tiers[1].from") is lesson("from")
    assert lesson("parameters.area_rate.minimum") is lesson("minimum")
    assert lesson("nothing.here") is None


def test_a_fault_is_taught_with_the_sentence_to_cite() -> None:
    line = taught('layers[1].rules[0].cap: expected "none", yuan or a parameter, got nothing')
    assert line == (
        'the most that is paid a year, or "none"; its source cites a sentence such as "封顶线, 年度最高支付限额; 不设封顶线"'
    )
    assert taught("file: expected a readable TOML file") is None
