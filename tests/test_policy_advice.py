"""Notes of lint: what no document forbids and hardly any means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yibao_core.policy import Policy, Rule
from yibao_core.policy_advice import notes
from yibao_core.policy_file import builtin_ids, read_policy

CITY = read_policy("demo-city")


def with_assistance(**second: object) -> Policy:
    """Return the demo city with two rules of assistance, for stays and for outpatients, on one account."""
    (rule, *_) = CITY.layer("assistance").rules
    common = {"who": ("dibao",), "account": "assistance", "shared_limit": None}
    stays = replace(rule, id="stays", care_types=("inpatient",), cap_fen=6_000_000, **common)  # type: ignore[arg-type]
    visits: Rule = replace(stays, id="visits", care_types=("outpatient",), **second)  # type: ignore[arg-type]
    layers = [replace(each, rules=(stays, visits)) if each.name == "assistance" else each for each in CITY.layers]
    return replace(CITY, layers=tuple(layers))


def test_kinds_of_care_with_a_cap_each_on_one_account_are_told() -> None:
    (note,) = (line for line in notes(with_assistance(cap_fen=300_000)) if line.startswith("assistance"))
    assert "stays (inpatient; cap 60000) and visits (outpatient; cap 3000) add up on one account, assistance" in note


@pytest.mark.parametrize("apart", [{"account": "visits"}, {"cap_fen": 6_000_000}, {"who": ("orphan",)}])
def test_an_account_or_a_cap_or_people_of_their_own_are_not(apart: dict[str, object]) -> None:
    found = notes(with_assistance(**{"cap_fen": 300_000, **apart}))
    assert not [line for line in found if line.startswith("assistance")]


@pytest.mark.parametrize("policy", [name for name in builtin_ids() if not name.startswith("demo")])
def test_the_documents_give_no_cause_for_a_note(policy: str) -> None:
    assert notes(read_policy(policy)) == []
