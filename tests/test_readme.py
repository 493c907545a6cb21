"""The README's Python runs as it stands there, and its commands exist."""

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    examples = blocks("python")
    assert examples
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "README.md", "exec"), names)
    assert "16,250.00" in capsys.readouterr().out


def test_every_command_of_the_readme_exists() -> None:
    from yibao.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {str(group.name) for group in app.registered_groups}
    listed = next(block for block in blocks("") if block.startswith("yibao"))
    assert set(re.findall(r"^yibao ([\w-]+)", listed, flags=re.MULTILINE)) == commands


def test_every_make_command_of_the_texts_exists() -> None:
    root = README.parent
    if not (root / "Makefile").exists():
        pytest.skip("away from the tree there is no Makefile")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (root / name).read_text(encoding="utf-8")
        assert set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", text, flags=re.MULTILINE))
        for pair in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", text, flags=re.MULTILINE):
            assert "".join(pair) in targets, (name, pair)


def test_every_link_of_the_readme_leads_somewhere() -> None:
    if not (README.parent / "Makefile").exists():
        pytest.skip("away from the tree only the README is there")
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (README.parent / target).exists(), target
    for folder in ("core/yibao_core/policies", "core/decisions", "data_gen/demo/parameters.toml"):
        assert folder in TEXT
        assert (README.parent / folder).exists(), folder


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_lines_are_of_readable_length(name: str) -> None:
    path = README.parent / name
    if not path.exists():
        pytest.skip(f"away from the tree there is no {name}")
    long = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 200]
    assert not long
