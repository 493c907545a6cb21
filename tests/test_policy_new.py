"""Beginning a policy of one's own: template, copy, questions; what lint says of what is still to do."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

import yibao
from yibao.policy_writing import from_answers, from_policy, from_template, write_new
from yibao_core.policy_file import builtin_ids, builtin_text, lint_file, read_policy


def filled_in(text: str) -> str:
    """Return the text as a tired person would fill it in."""
    values = {
        "id": '"my-city"', "title": '"my city"', "document": '"no document"', "region": '"3799"', "from": "2020-01-01",
        "deductible": '"5000"', "cap": '"none"', "source": '"二(一): …"',
    }  # fmt: skip
    text = text.replace('{ from = "TODO", rate = "TODO" }', '{ from = "5000", rate = "60 %" }')
    return re.sub(r'(?m)^(\w+) = "TODO"', lambda found: f"{found[1]} = {values[found[1]]}", text)


def test_the_template_names_everything_that_is_still_to_do(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    write_new(file, from_template())
    faults = lint_file(file)
    assert len(faults) == from_template().count('"TODO"')
    assert all("got 'TODO'" in fault for fault in faults)
    assert any("layers[1].rules[0].cap: expected the most that is paid a year" in fault for fault in faults)


def test_the_template_filled_in_is_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    write_new(file, filled_in(from_template()))
    assert lint_file(file) == []
    assert read_policy(file).layer("catastrophic").rules[0].deductible_fen == 500_000


def test_the_examples_in_the_templates_comments_are_rules_too(tmp_path: Path) -> None:
    """Each commented rule is taken in where it stands; what explains it is a comment of TOML itself."""
    paragraphs = filled_in(from_template()).split("\n\n")
    rules = 0
    for index, paragraph in enumerate(paragraphs):
        text, marks, example = paragraph.partition("# [[layers.rules]]")
        if marks:
            paragraphs[index] = text + re.sub("(?m)^# ", "", marks + example)
            rules += 1
    assert rules == 4
    file = tmp_path / "city.toml"
    write_new(file, "\n\n".join(paragraphs))
    assert lint_file(file) == []


@pytest.mark.parametrize("policy", builtin_ids())
def test_a_copy_asks_for_what_names_it_and_for_every_sentence_and_keeps_the_rest(policy: str, tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    write_new(file, from_policy(policy))
    asked = {fault.split(": ")[1] for fault in lint_file(file)}
    assert {path for path in asked if not path.endswith("source")} == {
        "id", "title", "document", "region", "in_force.from", "known.from",
    }  # fmt: skip
    assert len(asked) == 6 + builtin_text(policy).count("\nsource = ")
    text = filled_in(from_policy(policy)).replace("2020-01-01", "2017-01-01")
    file.write_text(text, encoding="utf-8")
    copied = [replace(rule, source="") for layer in read_policy(file).layers for rule in layer.rules]
    assert copied == [replace(rule, source="") for layer in read_policy(policy).layers for rule in layer.rules]


def answered(answers: list[str], told: list[str]) -> str:
    """Return the policy of these answers; there are no more and no fewer questions."""
    waiting = iter(answers)
    text = from_answers(lambda question, default: next(waiting), told.append)
    assert next(waiting, None) is None
    return text


def test_answers_make_a_policy_and_wrong_ones_are_asked_again(tmp_path: Path) -> None:
    told: list[str] = []
    text = answered(
        ["My City", "my-city", 'the "new" rules', "doc 1", "37", "2020-02-30", "2020年2月3日", "2020/1/1", "dibao, destitut", "低保",
         "", "", "4000", "4000 65 %, 100000 75", "none", "18000.001", "18000", "18000 60 %", "400000", "maybe", "",
         "", "", "", "", ""],
        told,
    )  # fmt: skip
    assert len(told) == 5
    assert "expected a date such as 2020-01-01, got '2020-02-30'" in told[1]
    assert "did you mean destitute" in told[2]
    file = tmp_path / "city.toml"
    write_new(file, text.replace('"TODO"', '"…"'))
    policy = read_policy(file)
    assert (policy.id, policy.title, policy.region) == ("my-city", 'the "new" rules', "37")
    assert (policy.in_force.start, policy.known_from) == (date(2020, 2, 3), date(2020, 1, 1))
    hardship, everyone = policy.layer("catastrophic").rules
    assert hardship.who == ("dibao",)
    assert [tier.rate_bp for tier in hardship.tiers] == [6_500, 7_500]
    assert everyone.cap_fen == 40_000_000


def test_answers_make_basic_insurance_by_stay_and_level(tmp_path: Path) -> None:
    told: list[str] = []
    text = answered(
        ["my-city", "t", "d", "37", "2020-01-01", "2020-01-01", "特困、低保",
         "computed", "1 4; 2", "1 9; 2,3", "100,50", "inside", "300", "300 80", "none", "800", "800 60, 20000 70", "200000",
         "recorded", "", "", "", "", "", ""],
        told,
    )  # fmt: skip
    assert told == ["  expected hospital levels among 1, 2, 3, 9, got 4"]
    file = tmp_path / "city.toml"
    write_new(file, text.replace('"TODO"', '"…"'))
    basic = read_policy(file).layer("basic")
    assert basic.otherwise == "recorded"
    assert [rule.levels for rule in basic.rules] == [(1, 9), (2, 3)]
    assert [rule.stay.later_bp for rule in basic.rules if rule.stay] == [(10_000, 5_000)] * 2
    assert {rule.stay.referral for rule in basic.rules if rule.stay} == {"inside"}


def test_no_answer_invents_nothing(tmp_path: Path) -> None:
    """Enter, to every question: not a number stands in the file, and lint asks for each."""
    asked: list[str] = []

    def enter(question: str, default: str) -> str:
        asked.append(question)
        return ""

    file = tmp_path / "city.toml"
    write_new(file, from_answers(enter, asked.append))
    open_places = [line.split(": ")[1] for line in lint_file(file) if "got 'TODO'" in line]
    assert len(asked) == 21
    assert {"id", "region", "in_force.from", "layers[1].rules[0].tiers[0].rate", "layers[1].rules[1].cap"} <= set(
        open_places
    )
    stripped = re.sub("(?m)#.*$", "", file.read_text(encoding="utf-8"))
    assert re.findall(r"[0-9]+", stripped) == ["1"]  # format = 1


def test_who_goes_away_leaves_the_rest_open(tmp_path: Path) -> None:
    answers = iter(["my-city", "our city"])
    told: list[str] = []
    text = from_answers(lambda question, default: next(answers, None), told.append)
    assert told == ["  the rest is left open"]
    assert 'title = "our city"' in text
    assert 'document = "TODO"' in text


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "city.toml"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(yibao.PolicyError, match="expected a new file"):
        write_new(file, from_template())
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_copy_of_an_unknown_policy_is_refused_with_a_hint() -> None:
    with pytest.raises(yibao.PolicyError, match="did you mean linyi-2019"):
        from_policy("linyi-219")
