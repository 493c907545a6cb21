"""Balances of one person as a mapping: what a Settlement closes with and the next one opens with."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Any

from yibao.money import yuan
from yibao_core.money import YEAR_MAX_FEN

Account = tuple[int, int, str] | tuple[int, int, str, str | int]
Accounts = Mapping[Account, tuple[Decimal, Decimal | int]]
"""(benefit year, insured city, account) → (cumulative base, paid), yuan. Of the account that counts stays: (deductible
borne, number of stays), with one more entry (year, city, account, episode id) for each episode."""

Words = tuple[int, int, bool]
"""Base (fen), then what was paid (fen); True: the second is a number of stays."""
Groups = dict[int, dict[str, Words]]
"""Benefit year x 10,000 + city → account → its balances."""

Slot = tuple[int, Sequence[int]]
"""Benefit year x 10,000 + city, and the balances of its accounts, two words each."""

_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
_HUNDRED = Decimal(100)


class Balance(tuple[Decimal, "Decimal | int"]):
    """A pair of balances that remembers the integers it was made of."""

    words: Words


class Closing(Accounts):
    """A closing: a mapping that nobody can change, so that whoever gives it back as an opening need not wait until six
    Decimals are read again. It remembers the integers of its claim's year and city."""

    __slots__ = ("_balances", "_key", "_names", "_words")

    def __init__(self, balances: dict[Account, tuple[Decimal, "Decimal | int"]]) -> None:
        self._balances = balances
        self._key = -1  # nothing is remembered
        self._names: tuple[str, ...] = ()
        self._words: tuple[int, ...] = ()

    def __getitem__(self, account: Account) -> tuple[Decimal, "Decimal | int"]:
        return self._balances[account]

    def __iter__(self) -> Iterator[Account]:
        return iter(self._balances)

    def __len__(self) -> int:
        return len(self._balances)

    def __repr__(self) -> str:
        return f"Closing({self._balances})"

    def remember(self, key: int, names: tuple[str, ...], words: tuple[int, ...]) -> None:
        """Keep the balances of a year and city, two words for each name; none of them counts stays."""
        self._key, self._names, self._words = key, names, words

    def recall(self, key: int, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Return them, None where others are meant."""
        return self._words if self._key == key and self._names == names else None


def balance_of(words: Words) -> Balance:
    """Return integers as the pair of an account."""
    base, second, counted = words
    pair = Balance((yuan(base), second if counted else yuan(second)))
    pair.words = words
    return pair


def words_of(pair: tuple[Any, Any]) -> Words | None:
    """Return a pair of balances as integers, None where it is no pair of yuan within a year's range."""
    if type(pair) is Balance:
        return pair.words
    try:
        base, second = pair
        counted = type(second) is int
        words = _fen(base), second if counted else _fen(second), counted
    except (TypeError, ValueError, DecimalException):
        return None
    most = 65_535 if counted else YEAR_MAX_FEN
    return words if abs(words[0]) <= YEAR_MAX_FEN and abs(words[1]) <= most else None


def _fen(amount: Decimal) -> int:
    """Return yuan as fen. ValueError for what is no Decimal, or no whole number of fen."""
    if type(amount) is not Decimal or not amount.is_finite():
        raise ValueError
    fen = _EXACT.multiply(amount, _HUNDRED)
    whole = int(fen)
    if whole != fen:
        raise ValueError
    return whole


def grouped(accounts: Accounts) -> Groups:
    """Return balances by benefit year and city. Each is a pair that `words_of` can read, and of no episode."""
    groups: Groups = {}
    for account, pair in accounts.items():
        words = words_of(pair)
        assert words is not None
        groups.setdefault(account[0] * 10_000 + account[1], {})[account[2]] = words
    return groups


def in_order(groups: Groups, accounts: Sequence[str]) -> dict[Account, tuple[Decimal, Decimal | int]]:
    """Return the balances as a closing names them: by year and city, account by account, without empty ones.

    A year without any balance keeps its place under the first account.
    """
    found: dict[Account, tuple[Decimal, Decimal | int]] = {}
    for key in sorted(groups):
        own = groups[key]
        kept = [name for name in accounts if name in own and (own[name][0] or own[name][1])]
        for name in kept or accounts[:1]:
            found[key // 10_000, key % 10_000, name] = balance_of(own.get(name, (0, 0, False)))
    return found


def of_slots(names: Sequence[str], meters: Container[str], slots: Iterable[Slot]) -> Accounts:
    """Return a person's balances as they are held: two words for each name."""
    groups: Groups = {}
    for key, words in slots:
        pairs = zip(names, words[::2], words[1::2], strict=True)
        groups[key] = {name: (base, second, name in meters) for name, base, second in pairs}
    return in_order(groups, names)
