"""A new policy file: from the template, from a built-in policy, or from questions and answers."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

from yibao_core.errors import PolicyError
from yibao_core.policy import CATEGORIES, LAYERS
from yibao_core.policy_file import TEMPLATE, builtin_ids, builtin_text
from yibao_core.toml_values import hint, percent_to_bp, yuan_to_fen

Ask = Callable[[str, str], str]
"""Puts a question with a default and returns the answer."""
_LAYERS_MARK = "# --- The eight layers"
_INPATIENT = '["inpatient"]'
_CARE = {
    "basic": '["inpatient", "outpatient", "chronic_outpatient", "special_drug", "pku"]',
    "catastrophic": '["inpatient", "outpatient", "chronic_outpatient"]',
    "special_drug": '["special_drug"]',
    "assistance": '["inpatient", "outpatient", "chronic_outpatient"]',
    "pku": '["pku"]',
}


def write_new(file: Path, text: str) -> None:
    """Write a new file. PolicyError where something stands there already."""
    try:
        with file.open("x", encoding="utf-8", newline="\n") as out:
            out.write(text)
    except FileExistsError:
        raise PolicyError(f"{file}: expected a new file, got one that is there already") from None


def from_template() -> str:
    """Return the commented template: TODO stands for what only the document can say."""
    return TEMPLATE.read_text(encoding="utf-8")


def from_policy(policy: str) -> str:
    """Return a built-in policy's text with TODO for what names it."""
    if policy not in builtin_ids():
        known = builtin_ids()
        raise PolicyError(f"--from: expected one of {', '.join(known)}, got {policy!r}{hint(policy, known)}")
    text = re.sub(r"(?m)^supersedes = .*\n", "", builtin_text(policy))
    for key in ("id", "title", "document", "region"):
        text = re.sub(rf'(?m)^{key} = "(.*)"$', rf'{key} = "TODO"  # {policy} has: \1', text, count=1)
    for block in ("in_force", "known"):
        text = re.sub(rf"(?m)^(\[{block}\]\nfrom = )(.*)$", rf'\1"TODO"  # {policy} has: \2', text, count=1)
    return text


def from_answers(ask: Ask, say: Callable[[str], None]) -> str:
    """Return a policy made of answers; a wrong answer is told and asked for again."""

    def until(question: str, default: str, check: Callable[[str], object]) -> str:
        while True:
            answer = ask(question, default).strip() or default
            try:
                check(answer)
            except ValueError as error:
                say(f"  {error}")
            else:
                return answer

    text = from_template()
    for key, question, default, pattern in (
        ("id", "id (letters, digits and -)", "my-city-2020", "[a-z0-9-]+"),
        ("title", "title", "my city", ".+"),
        ("document", "number of the document", "no document", ".+"),
        ("region", "administrative code (2, 4 or 6 digits)", "9999", "[0-9]{2}|[0-9]{4}|[0-9]{6}"),
    ):
        answer = until(question, default, _matches(pattern))
        line = f"{key} = {_quoted(answer)}".replace("\\", "\\\\")
        text = re.sub(rf'(?m)^{key} = "TODO".*$', line, text, count=1)
    for block, question in (("in_force", "in force for service dates from"), ("known", "known from")):
        answer = until(f"{question} (a date)", "2020-01-01", date.fromisoformat)
        text = re.sub(rf'(?m)^(\[{block}\].*\nfrom = )"TODO".*$', rf"\g<1>{answer}", text, count=1)
    poor = until("categories in hardship", "destitute, dibao, registered_poor, severe_disability", _categories)
    listed = ", ".join(f'"{name}"' for name in _categories(poor))
    text = re.sub(r"(?m)^categories = \[.*\]$", f"categories = [{listed}]", text, count=1)
    head = text.partition(_LAYERS_MARK)[0].rstrip()
    layers = [_layer(name, until) for name in LAYERS]
    return f"{head}\n\n" + "\n".join(layers)


def _layer(name: str, until: Callable[[str, str, Callable[[str], object]], str]) -> str:
    computed = "computed" if name == "catastrophic" else "recorded"
    choice = until(f"{name}: recorded or computed", computed, _matches("recorded|computed"))
    otherwise = "zero" if choice == "computed" else "recorded"
    lines = ["[[layers]]", f'name = "{name}"', f"care_types = {_CARE.get(name, _INPATIENT)}"]
    lines += [f'otherwise = "{otherwise}"', 'source = "TODO"', ""]
    if choice == "recorded":
        return "\n".join(lines)
    for rule, who, least in (("hardship", '["hardship"]', "5000"), ("everyone_else", '"everyone"', "10000")):
        deductible = until(f"{name}, {rule}: deductible in yuan", least, yuan_to_fen)
        tiers = until(f"{name}, {rule}: tiers (from rate, from rate, …)", f"{deductible} 60 %", _tiers)
        cap = until(f"{name}, {rule}: yearly cap in yuan, or none", "none", _cap)
        steps = ", ".join(f'{{ from = "{start}", rate = "{rate}" }}' for start, rate in _tiers(tiers))
        lines += ["[[layers.rules]]", f'id = "{rule}"', f"who = {who}", f'deductible = "{deductible}"']
        lines += [f"tiers = [{steps}]", f'cap = "{cap}"', 'source = "TODO"', ""]
    return "\n".join(lines)


def _matches(pattern: str) -> Callable[[str], object]:
    def check(answer: str) -> None:
        if not re.fullmatch(pattern, answer):
            raise ValueError(f"expected text that matches {pattern}, got {answer!r}")

    return check


def _categories(answer: str) -> list[str]:
    names = [name.strip() for name in answer.split(",") if name.strip()]
    for name in names:
        if name not in CATEGORIES:
            raise ValueError(f"expected some of {', '.join(CATEGORIES)}, got {name!r}{hint(name, CATEGORIES)}")
    if not names:
        raise ValueError("expected at least one category, got none")
    return names


def _tiers(answer: str) -> list[tuple[str, str]]:
    steps = []
    for part in answer.split(","):
        start, _, rate = part.strip().partition(" ")
        rate = rate.strip() if rate.strip().endswith("%") else f"{rate.strip()} %"
        yuan_to_fen(start)
        percent_to_bp(rate)
        steps.append((start, rate))
    return steps


def _cap(answer: str) -> None:
    if answer != "none":
        yuan_to_fen(answer)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
