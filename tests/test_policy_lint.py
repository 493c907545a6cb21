"""Which policies can stand in one book. The checks inside a file are in `test_policy_file`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from yibao_core.errors import PolicyError
from yibao_core.policy import Policy, Span
from yibao_core.policy_file import builtin_ids, builtin_text, check_book, lint_file, read_policy


def book(*changes: Mapping[str, object]) -> list[Policy]:
    """Return copies of Weihai 2019 named a, b, c …, without predecessor, each with its changes."""
    base = replace(read_policy("weihai-2019"), supersedes=())
    return [replace(base, **{"id": name, **change}) for name, change in zip("abcd", changes, strict=False)]  # type: ignore[arg-type]


def test_a_book_of_all_built_in_policies_stands() -> None:
    check_book([read_policy(policy_id) for policy_id in builtin_ids()])
    check_book([])


def test_a_policy_that_supersedes_another_may_overlap_it() -> None:
    check_book(book({}, {"supersedes": ("a",)}, {"supersedes": ("b",)}))  # c supersedes a through b
    check_book(book({}, {"region": "37"}))
    check_book(book({"in_force": Span(date(2018, 1, 1), date(2018, 12, 31))}, {}))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([{}, {"id": "a"}], 'policies[1]: expected each id once, got "a" again'),
        ([{}, {}], "a and b: expected one to supersede the other, got two rules for region 3710 from 2019-01-01, both known from 2019-09-01"),
        ([{"in_force": Span(date(2018, 1, 1), date(2019, 1, 1))}, {}], "a and b: expected one to supersede"),
        ([{"supersedes": ("b",)}, {"supersedes": ("a",)}], "a: supersedes: expected no way back to the policy itself, got a circle of a, b"),
        ([{"supersedes": ("x",)}, {"supersedes": ("x",)}], "a and b: expected one to supersede"),
    ],
)  # fmt: skip
def test_a_book_that_cannot_stand_says_why(changes: list[Mapping[str, object]], line: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_book(book(*changes))
    assert any(fault.startswith(line) for fault in caught.value.faults), caught.value.faults


def test_no_account_is_named_like_the_one_that_counts_stays(tmp_path: Path) -> None:
    """Decision 0004: all rules of basic insurance count on one meter, and nothing else does."""
    layer = 'name = "catastrophic"\n'
    text = builtin_text("demo-county").replace(layer, layer + 'account = "basic_deductible"\n')
    file = tmp_path / "county.toml"
    file.write_text(text, encoding="utf-8")
    assert lint_file(file) == [
        f'{file}: layers[1].account: expected another name: basic_deductible counts the stays of basic, got "basic_deductible"'
    ]
    county, weihai = read_policy("demo-county"), read_policy("weihai-2019")
    layers = tuple(
        replace(each, account="basic_deductible") if each.name == "catastrophic" else each for each in weihai.layers
    )
    check_book([county, weihai])
    with pytest.raises(
        PolicyError, match=r"weihai-2019: layers\[1\]\.account: expected another name: .* of demo-county"
    ):
        check_book([county, replace(weihai, layers=layers)])
