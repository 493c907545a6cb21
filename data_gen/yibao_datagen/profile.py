"""A city's figures, read from a TOML file: each a value with the source that it comes from."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from yibao_datagen.profile_rules import faults_of

BUILT_IN = Path(__file__).with_name("profiles")


@dataclass(frozen=True)
class Figure:
    """A figure of a profile and where it comes from."""

    value: Any
    source: str


class Profile:
    """A city's figures by their dotted names: `profile["visits.inpatient.rate"]`."""

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        """ValueError where a figure is not `{ value = …, source = "…" }`, has another name or value than it may, or is missing."""
        self.name = name
        self.figures = dict(_figures(content, ""))
        faults = faults_of({name: figure.value for name, figure in self.figures.items()})
        if faults:
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise ValueError(f"profile {name}: {'; '.join(faults[:5])}{more}")
        self.title = str(content.get("title", name))

    def __getitem__(self, figure: str) -> Any:
        """Return a figure's value. ValueError where the profile does not have it."""
        if figure not in self.figures:
            raise ValueError(f"profile {self.name}: expected a figure {figure}, got none")
        return self.figures[figure].value

    def get(self, figure: str, otherwise: Any) -> Any:
        """Return a figure's value, `otherwise` where the profile does not have it."""
        return self.figures[figure].value if figure in self.figures else otherwise

    def numbers(self, figure: str, count: int) -> list[float]:
        """Return a figure of so many numbers. ValueError for anything else."""
        found = self[figure]
        if not isinstance(found, list) or len(found) != count or not all(_is_number(one) for one in found):
            raise ValueError(f"profile {self.name}: {figure}: expected {count} numbers, got {found}")
        return [float(one) for one in found]

    def number(self, figure: str, least: float = 0.0, most: float = float("inf")) -> float:
        """Return a figure that is one number between two others. ValueError for anything else."""
        found = self[figure]
        if not _is_number(found) or not least <= found <= most:
            raise ValueError(
                f"profile {self.name}: {figure}: expected a number from {least:g} to {most:g}, got {found}"
            )
        return float(found)

    def below(self, prefix: str) -> Iterator[tuple[str, Figure]]:
        """Give the figures whose names begin with `prefix` and a dot, by the rest of their names."""
        for name, figure in self.figures.items():
            if name.startswith(f"{prefix}."):
                yield name[len(prefix) + 1 :], figure


def read_profile(source: str | Path) -> Profile:
    """Return a built-in profile by its name, or one from a TOML file. ValueError where there is none such."""
    path = BUILT_IN / f"{source}.toml"
    if not path.is_file():
        path = Path(source)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.toml")))
        raise ValueError(f"profile: expected {known} or a file, got {source}")
    return _read(str(path.resolve()), path.stat().st_mtime_ns)


@cache
def _read(source: str, _written_ns: int) -> Profile:
    """Return a file's profile; as long as it is not written again, the same one."""
    path = Path(source)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"profile {path}: {error}") from None
    return Profile(path.stem, content)


def _figures(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Figure]]:
    for name, cell in content.items():
        dotted = f"{prefix}{name}"
        if not isinstance(cell, dict):
            if prefix or name not in ("title", "region", "base_year"):
                raise ValueError(f'profile: {dotted}: expected {{ value = …, source = "…" }}, got {cell!r}')
            yield dotted, Figure(cell, "the profile")
        elif "source" in cell or "value" in cell:
            if set(cell) != {"value", "source"} or not str(cell["source"]).strip():
                raise ValueError(f"profile: {dotted}: expected a value and its source, got {', '.join(cell)}")
            yield dotted, Figure(cell["value"], cell["source"])
        else:
            yield from _figures(cell, f"{dotted}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
