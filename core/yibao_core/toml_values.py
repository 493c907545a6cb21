"""A parsed TOML file read key by key; whatever is wrong is collected, with its path, until the end."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from yibao_core.policy import Amount, Derived, Rate

NAME = r"[a-z][a-z0-9_]*"
# What a yearly account can hold (settlement contract, section 1): no amount of a policy needs more.
MONEY_MAX_FEN = 900_000_000_000

_YUAN = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_PERCENT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))? ?%")
_YUAN_KIND = 'yuan as text or a whole number, such as "18000"'
_RATE_KIND = 'a rate such as "65 %"'


class Faults:
    """Lines `path: expected X, got Y`, and which paths they spoil for later checks."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._paths: list[str] = []

    def add(self, path: str, expected: str, got: str) -> None:
        self.line(path, f"expected {expected}, got {got}")

    def line(self, path: str, message: str) -> None:
        self.lines.append(f"{path}: {message}")
        self._paths.append(path)

    def spoiled(self, *paths: str) -> bool:
        """Return whether a fault stands at one of `paths` or inside it."""
        inside = tuple(path + mark for path in paths for mark in ".[")
        return any(fault in paths or fault.startswith(inside) for fault in self._paths)


def yuan_to_fen(value: object) -> int:
    """Return yuan (text, whole number, Decimal) as fen. ValueError says what was expected."""
    text = value
    if isinstance(value, float):
        raise ValueError(f'expected {_YUAN_KIND}, got {value!r} (a float is not exact: write "{value!r}")')
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 30:
        text = f"{value:f}"
    match = _YUAN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected {_YUAN_KIND}, got {shown(value)}")
    sign, whole, part = match.group(1), match.group(2), match.group(3) or ""
    if sign:
        raise ValueError(f"expected 0 yuan or more, got {text}")
    if len(part) > 2:
        raise ValueError(f"expected yuan with at most 2 decimals, got {text}")
    # Length first: int() refuses thousands of digits with an error of its own.
    fen = int(whole + part.ljust(2, "0")) if len(whole.lstrip("0")) < 15 else MONEY_MAX_FEN + 1
    if fen > MONEY_MAX_FEN:
        raise ValueError(f"expected at most {yuan(MONEY_MAX_FEN)} yuan, got {text}")
    return fen


def percent_to_bp(value: object) -> int:
    """Return text such as "65 %" as basis points. ValueError says what was expected."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        hint = ' (a float is not exact: write text such as "65 %")' if isinstance(value, float) else ""
        raise ValueError(f"expected {_RATE_KIND}, got {shown(value)}{hint}")
    sign, whole, part = match.group(1), match.group(2), match.group(3) or ""
    if len(part) > 2:
        raise ValueError(f"expected a rate in steps of 0.01 %, got {value}")
    rate_bp = int(whole + part.ljust(2, "0")) if len(whole.lstrip("0")) < 5 else 10_001
    if sign or rate_bp > 10_000:
        raise ValueError(f"expected a rate between 0 % and 100 %, got {value}")
    return rate_bp


def yuan(amount: Amount) -> str:
    """Return an amount as a person writes it: 5000, 0.50, 50 % of an income."""
    if isinstance(amount, Derived):
        return f"{percent(amount.share_bp)} of {amount.parameter}" if amount.share_bp != 10_000 else amount.parameter
    return f"{amount // 100}" if amount % 100 == 0 else f"{amount // 100}.{amount % 100:02}"


def percent(rate_bp: int) -> str:
    """Return basis points as a person writes them: 65 %, 2.50 %."""
    return f"{yuan(rate_bp)} %"


def shown(value: object) -> str:
    """Return how a found value is named in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return str(value)


def hint(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for a name close to a known one, else nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.6)
    if len(close) == 2:  # the second only where the first is hardly closer
        first, second = (difflib.SequenceMatcher(None, other, str(name)).ratio() for other in close)
        close = close[:1] if first - second > 0.1 else close
    return f"; did you mean {' or '.join(close)}?" if close else ""


class Table:
    """One TOML table at its path. A value that is missing or wrong is a fault and reads as an empty one."""

    def __init__(self, data: Mapping[str, object], path: str, faults: Faults, keys: Sequence[str] = ()) -> None:
        self._data, self.path, self.faults = data, path, faults
        for key in data:
            if keys and key not in keys:
                self.fault(key, f"one of {', '.join(keys)}", f"an unknown key{hint(key, keys)}")

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def fault(self, key: str, expected: str, got: str) -> None:
        self.faults.add(self.at(key), expected, got)

    def is_word(self, key: str, word: str) -> bool:
        return self._data.get(key) == word

    def text(self, key: str, pattern: str = "", default: str | None = None) -> str:
        if key not in self and default is not None:
            return default
        value = self._data.get(key)
        if not isinstance(value, str) or not value.strip():
            self.fault(key, "text", shown(value))
        elif pattern and not re.fullmatch(pattern, value):
            self.fault(key, f"text that matches {pattern}", shown(value))
        else:
            return value
        return ""

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        if key not in self and default is not None:
            return default
        value = self._data.get(key)
        if isinstance(value, str) and value in choices:
            return value
        self.fault(key, f"one of {', '.join(choices)}", shown(value) + hint(value, choices))
        return ""

    def whole(self, key: str, default: int, maximum: int) -> int:
        value = self._data.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum:
            return value
        self.fault(key, f"a whole number from 0 to {maximum}", shown(value))
        return default

    def exactly(self, key: str, expected: int) -> None:
        value = self._data.get(key)
        if value != expected or isinstance(value, bool | float):
            self.fault(key, str(expected), shown(value))

    def flag(self, key: str) -> bool:
        value = self._data.get(key)
        if not isinstance(value, bool):
            self.fault(key, "true or false", shown(value))
        return value is True

    def day(self, key: str, required: bool = True) -> date | None:
        value = self._data.get(key)
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if required or key in self:
            self.fault(key, "a date such as 2019-01-01, without quotes", shown(value))
        return None

    def words(self, key: str, pattern: str) -> tuple[str, ...]:
        """Return a list of distinct texts that match `pattern`; an absent list is an empty one."""
        accepts = re.compile(pattern).fullmatch
        return self._listed(key, self._data.get(key, []), accepts, f"text that matches {pattern}", ())

    def names(
        self,
        key: str,
        known: Sequence[str],
        default: tuple[str, ...] | None = None,
        empty: bool = False,
        instead: str = "",
    ) -> tuple[str, ...]:
        """Return a list of distinct known names; `instead` names in messages what else could stand here."""
        if key not in self and default is not None:
            return default
        if instead and not isinstance(self._data.get(key), list):
            self.fault(key, f"{instead}a list of {', '.join(known)}", shown(self._data.get(key)))
            return ()
        found = self._listed(key, self._data.get(key), known.__contains__, f"one of {', '.join(known)}", known)
        if self._data.get(key) == [] and not empty:
            self.fault(key, f"at least one of {', '.join(known)}", "an empty list")
        return found

    def narrow(self, key: str, names: Iterable[str], allowed: Sequence[str], expected: str) -> None:
        """Report each of `names` (read from `key`) that is not among `allowed`."""
        written = self._data.get(key)
        if isinstance(written, list):
            for name in names:
                if name not in allowed:
                    self.fault(f"{key}[{written.index(name)}]", expected, shown(name))

    def amount(self, key: str, default: Amount | None = None) -> Amount:
        if key not in self and default is not None:
            return default
        derived = self._derived(key, ("parameter", "share"))
        if derived is not None:
            return derived
        return self.number(key, "yuan")

    def cap(self, key: str) -> Amount | None:
        if key not in self:
            self.fault(key, '"none", yuan or a parameter', "nothing")
        value = self._data.get(key)
        if value is None or value == "none":
            return None
        if isinstance(value, str) and not _YUAN.fullmatch(value):
            self.fault(key, '"none", yuan or a parameter', shown(value) + hint(value, ["none"]))
            return None
        return self.amount(key)

    def rate(self, key: str) -> Rate:
        derived = self._derived(key, ("parameter",))
        return self.number(key, "percent") if derived is None else derived

    def rates(self, key: str) -> tuple[int, ...]:
        """Return a list of rates in basis points; an absent list is an empty one."""
        value = self._data.get(key, [])
        if not isinstance(value, list) or (not value and key in self):
            self.fault(key, 'a list of rates such as ["100 %", "70 %"]', shown(value))
            return ()
        found = []
        for index, item in enumerate(value):
            try:
                found.append(percent_to_bp(item))
            except ValueError as error:
                self.faults.line(f"{self.at(key)}[{index}]", str(error))
        return tuple(found)

    def numbers(self, key: str, known: Sequence[int]) -> tuple[int, ...]:
        """Return a list of distinct known whole numbers, in the order of `known`; all of them where it is absent."""
        value = self._data.get(key, list(known))
        expected = ", ".join(map(str, known))
        if not isinstance(value, list) or not value:
            self.fault(key, f"a list of {expected}", shown(value))
            return tuple(known)
        for index, item in enumerate(value):
            if isinstance(item, bool) or not isinstance(item, int) or item not in known:
                self.fault(f"{key}[{index}]", f"one of {expected}", shown(item))
            elif item in value[:index]:
                self.fault(f"{key}[{index}]", "each number once", f"{item} again")
        return tuple(number for number in known if number in value)

    def number(self, key: str, unit: str) -> int:
        """Return fen or basis points."""
        try:
            return yuan_to_fen(self._data.get(key)) if unit == "yuan" else percent_to_bp(self._data.get(key))
        except ValueError as error:
            self.faults.line(self.at(key), str(error))
            return 0

    def table(self, key: str, keys: Sequence[str], required: bool = True) -> "Table | None":
        value = self._data.get(key)
        if isinstance(value, dict):
            return Table(value, self.at(key), self.faults, keys)
        if required or key in self:
            self.fault(key, f"a table with {', '.join(keys)}", shown(value))
        return None

    def named_tables(self, key: str, keys: Sequence[str]) -> "dict[str, Table]":
        """Return the tables inside the table `key`, by name."""
        value = self._data.get(key, {})
        if not isinstance(value, dict):
            self.fault(key, f"tables [{self.at(key)}.NAME]", shown(value))
            return {}
        outer = Table(value, self.at(key), self.faults)
        for name in value:
            if not re.fullmatch(NAME, name):
                outer.fault(name, f"a name that matches {NAME}", shown(name))
        inner = {name: outer.table(name, keys) for name in value}
        return {name: table for name, table in inner.items() if table is not None}

    def tables(self, key: str, keys: Sequence[str], required: bool = True) -> "list[Table]":
        """Return a list of tables, or none at all if one of them is no table, so that positions hold."""
        value = self._data.get(key)
        inside = f" with {', '.join(keys)}" if keys else ""
        if not isinstance(value, list) or (required and not value):
            if required or key in self:
                self.fault(key, f"a list of tables{inside}", shown(value))
            return []
        wrong = [index for index, item in enumerate(value) if not isinstance(item, dict)]
        for index in wrong:
            self.fault(f"{key}[{index}]", f"a table{inside}", shown(value[index]))
        if wrong:
            return []
        return [Table(item, f"{self.at(key)}[{index}]", self.faults, keys) for index, item in enumerate(value)]

    def _derived(self, key: str, keys: Sequence[str]) -> Derived | None:
        if not isinstance(self._data.get(key), dict):
            return None
        inner = self.table(key, keys)
        assert inner is not None
        share_bp = inner.number("share", "percent") if "share" in inner else 10_000
        return Derived(inner.text("parameter"), share_bp)

    def _listed(
        self, key: str, value: object, accepts: Callable[[str], object], expected: str, known: Sequence[str]
    ) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.fault(key, f"a list of {expected.removeprefix('one of ')}", shown(value))
            return ()
        found: list[str] = []
        for index, item in enumerate(value):
            if not isinstance(item, str) or not accepts(item):
                self.fault(f"{key}[{index}]", expected, shown(item) + hint(item, known))
            elif item in found:
                self.fault(f"{key}[{index}]", "each name once", f"{shown(item)} again")
            else:
                found.append(item)
        return tuple(found)
