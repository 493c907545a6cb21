"""A new policy file: from the template, from a built-in policy, or from questions and answers."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

from yibao.words import CATEGORY_WORDS
from yibao_core.errors import PolicyError
from yibao_core.policy import CATEGORIES, LAYERS, LEVELS, METERED
from yibao_core.policy_file import TEMPLATE, builtin_ids, builtin_text
from yibao_core.toml_values import hint, percent_to_bp, yuan, yuan_to_fen

Ask = Callable[[str, str], str | None]
"""Puts a question with a default and returns the answer; None: whoever answers has gone."""
TODO = "TODO"
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
    """Return a built-in policy's text with TODO for what names it and for every sentence that it cites."""
    if policy not in builtin_ids():
        known = builtin_ids()
        raise PolicyError(f"--from: expected one of {', '.join(known)}, got {policy!r}{hint(policy, known)}")
    text = re.sub(r"(?m)^supersedes = .*\n", "", builtin_text(policy))
    for key in ("id", "title", "document", "region"):
        text = re.sub(rf'(?m)^{key} = "(.*)"$', rf'{key} = "TODO"  # {policy} has: \1', text, count=1)
    for block in ("in_force", "known"):
        text = re.sub(rf"(?m)^(\[{block}\]\nfrom = )(.*)$", rf'\1"TODO"  # {policy} has: \2', text, count=1)
    return re.sub(r'(?m)^(source = )(".*")$', rf'\1"TODO"  # {policy} has: \2', text)


class _Questions:
    """Asks until an answer can be used. No answer is TODO: lint asks for it again, with the sentence to look for."""

    def __init__(self, ask: Ask, say: Callable[[str], None]) -> None:
        self._ask, self._say = ask, say
        self._gone = False

    def one(self, question: str, read: Callable[[str], str], default: str = "") -> str:
        """Return an answer as `read` gives it, TODO for none. `default`: what no answer means instead."""
        while not self._gone:
            answer = self._ask(question, default)
            if answer is None:
                self._gone = True
                self._say("  the rest is left open")
                break
            answer = answer.strip() or default
            if not answer:
                return TODO
            try:
                return read(answer)
            except ValueError as error:
                self._say(f"  {error}")
        return default or TODO


def from_answers(ask: Ask, say: Callable[[str], None]) -> str:
    """Return a policy made of answers; a wrong answer is told and asked for again, no answer stays TODO."""
    questions = _Questions(ask, say)
    text = from_template()
    for key, question, pattern in (
        ("id", "id, such as my-city-2020 (letters, digits and -)", "[a-z0-9-]+"),
        ("title", "title, as people call it", ".+"),
        ("document", "number of the document", ".+"),
        ("region", "administrative code (2, 4 or 6 digits)", "[0-9]{2}|[0-9]{4}|[0-9]{6}"),
    ):
        answer = questions.one(question, _matches(pattern))
        line = f"{key} = {_quoted(answer)}".replace("\\", "\\\\")
        text = re.sub(rf'(?m)^{key} = "TODO".*$', line, text, count=1)
    for block, question in (("in_force", "in force for service dates from"), ("known", "settled under it from")):
        answer = questions.one(f"{question} (a date)", _day)
        if answer != TODO:
            text = re.sub(rf'(?m)^(\[{block}\].*\nfrom = )"TODO".*$', rf"\g<1>{answer}", text, count=1)
    poor = questions.one("categories in hardship, such as 特困, 低保 (also: destitute, dibao)", _categories)
    if poor != TODO:
        text = re.sub(r"(?m)^categories = \[.*\]$", f"categories = [{poor}]", text, count=1)
    head = text.partition(_LAYERS_MARK)[0].rstrip()
    return f"{head}\n\n" + "\n".join(_layer(name, questions) for name in LAYERS)


def _layer(name: str, questions: _Questions) -> str:
    computed = "computed" if name == "catastrophic" else "recorded"
    choice = questions.one(f"{name}: recorded or computed", _matches("recorded|computed"), computed)
    # Basic insurance is asked for by stay: what it pays for outpatients stays with the ledger.
    otherwise = "zero" if choice == "computed" and name != METERED else "recorded"
    lines = ["[[layers]]", f'name = "{name}"', f"care_types = {_CARE.get(name, _INPATIENT)}"]
    lines += ['base = ["total_fee"] # PKU food lies outside the catalogue'] if name == "pku" else []
    lines += [f'otherwise = "{otherwise}"', 'source = "TODO"', ""]
    if choice == "computed":
        lines += _stay_rules(questions) if name == METERED else _year_rules(name, questions)
    return "\n".join(lines)


def _year_rules(name: str, questions: _Questions) -> list[str]:
    lines = []
    for rule, who in (("hardship", '["hardship"]'), ("everyone_else", '"everyone"')):
        lines += ["[[layers.rules]]", f'id = "{rule}"', f"who = {who}"]
        lines += [*_amounts(f"{name}, {rule}", questions), 'source = "TODO"', ""]
    return lines


def _stay_rules(questions: _Questions) -> list[str]:
    groups = questions.one("basic: hospital levels with one rule each, such as 1 9; 2; 3 (9: not graded)", _levels)
    later = questions.one(
        "basic: deductible of the first, second, third … stay, such as 100, 70, 50 %, or none", _shares
    )
    referral = questions.one("basic: referrals go on with the deductible: inside, anywhere or none", _referral)
    lines = []
    for levels in [TODO] if groups == TODO else groups.split(";"):
        name = f"level_{levels.split(',')[0].strip()}" if levels != TODO else "level"
        lines += ["[[layers.rules]]", f'id = "{name}"', 'who = "everyone"', 'care_types = ["inpatient"]']
        lines += [f"levels = [{levels}]" if levels != TODO else 'levels = ["TODO"]', 'per = "stay"']
        lines += _amounts(f"basic, hospitals of level {levels}", questions)
        lines += [f"later_stays = [{later}]"] if later not in ("", TODO) else []
        lines += [f'referral = "{referral}"'] if referral not in ("", TODO) else []
        lines += ['source = "TODO"', ""]
    return lines


def _amounts(what: str, questions: _Questions) -> list[str]:
    deductible = questions.one(f"{what}: deductible in yuan (0: none)", _yuan)
    first = "5000" if deductible == TODO else deductible
    tiers = questions.one(
        f"{what}: from which amount which rate, such as {first} 60 %, {yuan(yuan_to_fen(first) + 5_000_000)} 70 %",
        lambda answer: _tiers(answer, deductible),
    )
    cap = questions.one(f"{what}: yearly cap in yuan, or none", _cap)
    steps = f'{{ from = "{deductible}", rate = "TODO" }}' if tiers == TODO else tiers
    return [f'deductible = "{deductible}"', f"tiers = [{steps}]", f'cap = "{cap}"']


def _matches(pattern: str) -> Callable[[str], str]:
    def read(answer: str) -> str:
        if not re.fullmatch(pattern, answer):
            raise ValueError(f"expected text that matches {pattern}, got {answer!r}")
        return answer

    return read


def _day(answer: str) -> str:
    """Return a date as TOML has it, from 2020-01-01, 2020/1/1, 2020.1.1 or 2020年1月1日."""
    parts = re.fullmatch(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?", answer)
    try:
        if parts is None:
            raise ValueError
        return date(*map(int, parts.groups())).isoformat()
    except ValueError:
        raise ValueError(f"expected a date such as 2020-01-01, got {answer!r}") from None


def _categories(answer: str) -> str:
    names = []
    for word in filter(None, map(str.strip, re.split("[,，、;；]", answer))):
        name = CATEGORY_WORDS.get(word)
        if name is None:
            raise ValueError(f"expected some of {', '.join(CATEGORIES)}, got {word!r}{hint(word, CATEGORY_WORDS)}")
        names.append(name)
    if not names:
        raise ValueError("expected at least one category, got none")
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names))


def _levels(answer: str) -> str:
    groups = [re.findall("[0-9]+", part) for part in re.split("[;；]", answer)]
    named = [level for group in groups for level in group]
    for level in named:
        if int(level) not in LEVELS:
            raise ValueError(f"expected hospital levels among {', '.join(map(str, LEVELS))}, got {level}")
    if len(set(named)) < len(named):
        raise ValueError(f"expected each level once, got {answer!r}")
    if not all(groups):
        raise ValueError(f"expected levels such as 1 9; 2; 3, got {answer!r}")
    return ";".join(", ".join(group) for group in groups)


def _shares(answer: str) -> str:
    if answer == "none":
        return ""
    shares = [part.strip().removesuffix("%").strip() + " %" for part in re.split("[,，、]", answer)]
    for share in shares:
        percent_to_bp(share)
    return ", ".join(f'"{share}"' for share in shares)


def _referral(answer: str) -> str:
    return "" if answer == "none" else _matches("inside|anywhere")(answer)


def _yuan(answer: str) -> str:
    return yuan(yuan_to_fen(answer))


def _tiers(answer: str, deductible: str) -> str:
    steps: list[str] = []
    last_fen = -1
    for part in re.split("[,，、]", answer):
        start, _, rate = part.strip().partition(" ")
        rate = rate.strip().removesuffix("%").strip() + " %"
        percent_to_bp(rate)
        if not steps and deductible not in (TODO, _yuan(start)):
            raise ValueError(f"expected the first amount to be the deductible, {deductible}, got {start}")
        if yuan_to_fen(start) <= last_fen:
            raise ValueError(f"expected ascending amounts, got {start} behind {yuan(last_fen)}")
        last_fen = yuan_to_fen(start)
        steps.append(f'{{ from = "{_yuan(start)}", rate = "{rate}" }}')
    return ", ".join(steps)


def _cap(answer: str) -> str:
    return answer if answer == "none" else _yuan(answer)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
