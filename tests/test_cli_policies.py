"""The commands with which an office writes a policy: what they answer, with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from yibao.cli import app
from yibao_core.errors import PolicyError
from yibao_core.policy_file import BUILTIN_CASES, builtin_text


def run(*arguments: object, answers: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answers)


def test_a_new_policy_is_written_and_lint_says_what_is_to_do(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    written = run("policies", "new", file)
    assert (written.exit_code, f"yibao lint {file}" in written.output) == (0, True)
    linted = run("lint", file)
    assert linted.exit_code == 2
    assert "layers[1].rules[0].deductible: expected what the person bears first, got 'TODO'" in linted.output
    assert (
        '    in rule hardship of catastrophic; its source cites a sentence such as "起付线, 起付标准"' in linted.output
    )


def test_a_new_policy_never_replaces_a_file(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    file.write_text("mine", encoding="utf-8")
    assert run("policies", "new", file).exit_code == 2
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_new_policy_from_another_or_from_answers_not_both(tmp_path: Path) -> None:
    assert run("policies", "new", tmp_path / "a.toml", "--from", "weihai-2019", "--ask").exit_code == 2
    assert run("policies", "new", tmp_path / "b.toml", "--from", "weihai-2019").exit_code == 0
    asked = run("policies", "new", tmp_path / "c.toml", "--ask", answers="My City\nmy-city\n" + "\n" * 40)
    assert asked.exit_code == 0
    assert "expected text that matches [a-z0-9-]+, got 'My City'" in asked.output
    assert 'id = "my-city"' in (tmp_path / "c.toml").read_text(encoding="utf-8")


def test_answers_that_end_too_early_leave_the_rest_open(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    done = run("policies", "new", file, "--ask", answers="my-city\n")
    assert (done.exit_code, "the rest is left open" in done.output) == (0, True)
    assert 'id = "my-city"' in file.read_text(encoding="utf-8")
    assert run("lint", file).exit_code == 2


def test_lint_names_rules_by_their_ids_and_notes_what_is_seldom_meant(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    file.write_text(builtin_text("weihai-2019").replace('rate = "75 %"', "rate = 0.75", 1), encoding="utf-8")
    done = run("lint", file)
    assert done.exit_code == 2
    assert "    in rule hardship of catastrophic; " in done.output
    noted = run("lint", Path(BUILTIN_CASES).parent / "demo-county.toml")
    assert noted.exit_code == 0
    assert "note: basic: hardship_county (for registered_poor, inside) without later_stays" in noted.output


@pytest.mark.parametrize("option", [[], ["--cases"]])
def test_the_schema_is_json(option: list[str]) -> None:
    shown = run("policies", "schema", *option)
    assert json.loads(shown.output)["type"] == "object"


def test_examples_that_pass_end_with_0() -> None:
    done = run("test", "weihai-2019")
    assert done.exit_code == 0
    assert done.output.endswith("8 cases, 0 differ\n")


def test_an_example_that_differs_ends_with_1_and_shows_both_sides(tmp_path: Path) -> None:
    text = (BUILTIN_CASES / "shandong-2017.toml").read_text(encoding="utf-8")
    cases = tmp_path / "cases.toml"
    cases.write_text(text.replace("personal = ", "personal = ", 1).replace('policy = "shandong-2017"', 'policy = "x"'))
    policy = tmp_path / "city.toml"
    policy.write_text(builtin_text("shandong-2017").replace('rate = "50 %"', 'rate = "51 %"'), encoding="utf-8")
    done = run("test", policy, "--cases", cases)
    assert done.exit_code == 1
    assert "differs  cases.toml: An ordinary resident's year" in done.output
    assert "catastrophic: expected " in done.output
    assert "      | " in done.output


def test_a_policy_without_examples_says_where_they_belong(tmp_path: Path) -> None:
    policy = tmp_path / "city.toml"
    policy.write_text(builtin_text("shandong-2017"), encoding="utf-8")
    done = run("test", policy)
    assert isinstance(done.exception, PolicyError)
    assert "city.cases.toml or cases/*.toml beside it" in str(done.exception)
