"""A claim as a mapping, read to integers without a table: what claims of one set of columns share is found out once.

Only what is plainly right is read here. Anything else (a null, a strange type, a text in another shape) is no fault yet:
the way through a table judges it, and words the error.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yibao.columns import region_code
from yibao.dates import day_of_text, moment_of_text
from yibao.ids import normal_id
from yibao.ledger import KNOWN, PAID, UNITED
from yibao.run import compiled
from yibao.stays import place_of
from yibao.words import care_index, category_mask, level_index
from yibao_core.calendar import NO_DAY
from yibao_core.compiler import accounts_of
from yibao_core.intake import DAY_US, MONEY_COLUMNS
from yibao_core.money import NULL_FEN
from yibao_core.one import CLAIM_MONEY, DESK_CLAIM, RESULT_BALANCES, SLOT_BALANCES, new_desk, result_of, slot_of
from yibao_core.parameters import goes_by_place
from yibao_core.policy import LAYERS, LEVELS, Policy

ALWAYS = ("settlement_id", "person_id", "settled_at", "service_date", "category", "care_type")
EPOCH = date(1970, 1, 1).toordinal()
NOWHERE = place_of(-1, 0, 0)
TEXTS_MAX = 10_000  # so many different texts of one kind are remembered
FORMS_MAX = 256

Read = tuple[int, ...]
"""Day of service and of settlement, categories, care type, region, day of birth, place, then the form's amounts."""


class Memory(dict[str, int]):
    """What texts mean, each asked once; a text that means nothing is not kept."""

    def __init__(self, meaning: Callable[[str], int | None]) -> None:
        self._meaning = meaning

    def __missing__(self, text: str) -> int:
        """Return what a text means that is seen the first time; ValueError where it means nothing."""
        found = self._meaning(text)
        if found is None:
            raise ValueError
        if len(self) >= TEXTS_MAX:
            self.clear()
        self[text] = found
        return found


DAYS = Memory(lambda text: day_of_text(text.strip()))
MASKS = Memory(lambda text: category_mask(text) or None)
REGIONS = Memory(lambda text: region_code(text) or None)


def _known(code: int) -> int | None:
    return code if code >= 0 else None


CARES = Memory(lambda text: _known(care_index(text)))


def plain_fen(text: str) -> int | None:
    """Return the fen of a text such as "60000.00" or "60000", None for one in another shape."""
    if len(text) > 3 and text[-3] == ".":
        digits = text.replace(".", "", 1)
    elif text.isdecimal():
        digits = text + "00"
    else:
        return None
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 18 else None


def read_day(value: Any) -> int | None:
    """Return the day of a date, of a moment without a time zone, or of a text; None where it is none of these."""
    kind = type(value)
    if kind is date or (kind is datetime and value.tzinfo is None):
        return int(value.toordinal()) - EPOCH
    return DAYS[value] if kind is str else None


def read_settled_day(value: Any) -> int | None:
    """Return the day of a moment of settlement like `read_day`."""
    if type(value) is not str:
        return read_day(value)
    moment = moment_of_text(value.strip())
    return None if moment is None else moment // DAY_US


def is_id(value: Any) -> bool:
    """Return whether a value is an id: an integer of 64 bits, or a text that is not blank."""
    kind = type(value)
    if kind is str:
        return bool(value.isalnum() or normal_id(value))
    return kind is int and -(2**63) < value < 2**63


def region_of(value: Any) -> int | None:
    """Return a region of six digits, 0 for none; None for what is neither a number nor a text."""
    kind = type(value)
    if kind is int:
        if 100_000 <= value <= 999_999:
            return int(value)
        return region_code(str(value)) if 0 <= value < 10**12 else None
    if kind is str:
        return region_code(value)
    return 0 if value is None else None


def level_of(value: Any) -> int | None:
    """Return a hospital level as its place among LEVELS, -1 for none; None for what is neither a number nor a text."""
    kind = type(value)
    if kind is int:
        return LEVELS.index(value) if value in LEVELS else -1
    if kind is str:
        return level_index(value)
    return -1 if value is None else None


class Form:
    """Claims with one set of columns, under one book: which plan they need, and how they are read."""

    def __init__(self, book: tuple[Policy, ...], columns: tuple[str, ...], first: tuple[str, ...] = ()) -> None:
        """`first`: accounts that stand first in the plan. ValueError where such claims need a table."""
        amounts = {name: _unit_free(name) for name in columns if _unit_free(name) in MONEY_COLUMNS}
        if len(set(amounts.values())) < len(amounts) or not all(isinstance(name, str) for name in columns):
            raise ValueError
        if not {*ALWAYS, "total_fee", "eligible_fee"} <= {*columns, *amounts.values()}:
            raise ValueError
        if len(book) > 1 and "insured_region" not in columns:
            raise ValueError
        self.book = book
        self.recorded = frozenset(layer for layer, paid in zip(LAYERS, PAID, strict=True) if paid in amounts.values())
        self.plan = compiled(book, self.recorded, first=first)
        self.accounts = self.plan.accounts
        self.account_at = {name: 2 * index for index, name in enumerate(self.accounts)}
        self.names = frozenset(accounts_of(book))
        by_settled = {policy.year_follows == "settled_at" for policy in book}
        self.by_settled = by_settled.pop() if len(by_settled) == 1 else None  # None: it depends on the policy
        self._columns = [MONEY_COLUMNS.index(name) for name in amounts.values()]
        rest = [name for name in columns if name not in (*ALWAYS, *amounts)]
        names = (*ALWAYS, *amounts, *rest)
        at = {name: index for index, name in enumerate(names)}
        self._pick = itemgetter(*names)
        self._amounts = tuple((at[name], name.endswith("_fen")) for name in amounts)
        self._amounts_end = len(ALWAYS) + len(amounts)
        self._region_at = at.get("insured_region", -1)
        self._birth_at = at.get("birth_date", -1)
        self._place_at = (at.get("hospital_level", -1), at.get("treated_region", -1))
        self._by_place = any(map(goes_by_place, book))
        self._rest = tuple((at[name], self._check_of(name)) for name in rest if name != "insured_region")
        self.words = 2 * len(self.accounts)
        self.no_balances = [0] * self.words
        self.own_slot = slot_of(len(amounts))
        width = SLOT_BALANCES + self.words
        count = CLAIM_MONEY + len(amounts)
        self.put = Struct(f"{count}q").pack_into
        self.put_with_slot = Struct(f"{count + width}q").pack_into
        self.claim_at = 8 * DESK_CLAIM
        self.result_at = 8 * result_of(len(amounts), len(self.accounts))
        self.take = Struct(f"{8 * (RESULT_BALANCES + 2 * self.words)}s").unpack_from
        self.numbers = Struct(f"{RESULT_BALANCES + 2 * self.words}q").unpack
        self.take_payments = Struct(f"{len(LAYERS) + 1}q").unpack_from
        self._desks: list[tuple[NDArray[np.int64], memoryview]] = []

    def desk(self) -> tuple[NDArray[np.int64], memoryview]:
        """Return a desk that nobody else uses, and its bytes; to be given back."""
        try:
            return self._desks.pop()
        except IndexError:
            desk = new_desk(self._columns, len(self.book) > 1, len(self.accounts))
            return desk, memoryview(desk).cast("B")

    def give_back(self, desk: tuple[NDArray[np.int64], memoryview]) -> None:
        self._desks.append(desk)

    def read(self, claim: Mapping[str, Any]) -> Read | None:
        """Return the claim's integers, None where anything about it is not plain."""
        values = self._pick(claim)
        settlement, person, settled, service, category, care = values[:6]
        if not ((type(settlement) is str and settlement.isalnum()) or is_id(settlement)):
            return None
        if not ((type(person) is str and person.isalnum()) or is_id(person)):
            return None
        if type(category) is not str or type(care) is not str:
            return None
        try:
            day = service.toordinal() - EPOCH if type(service) is date else read_day(service)
            settled_day = settled.toordinal() - EPOCH if type(settled) is date else read_settled_day(settled)
            region = 0
            if self._region_at >= 0:
                region = values[self._region_at]
                region = REGIONS[region] if type(region) is str else region_of(region)
            if day is None or settled_day is None or region is None:
                return None
            birth, where = NO_DAY, NOWHERE
            if self._rest:
                for at, check in self._rest:
                    if not check(values[at]):
                        return None
                if self.plan.needs_age and self._birth_at >= 0 and values[self._birth_at] is not None:
                    birth = read_day(values[self._birth_at])
                if self._by_place:
                    where = self._where(values, region)
                if birth is None or where is None:
                    return None
            read = [day, settled_day, MASKS[category], CARES[care], region, birth, where]
        except ValueError:
            return None
        for at, is_fen in self._amounts:
            amount = values[at]
            kind = type(amount)
            if amount is None:
                read.append(NULL_FEN)
            elif is_fen:
                if kind is not int or amount == NULL_FEN:
                    return None
                read.append(amount)
            else:
                if kind is Decimal:
                    amount = str(amount)
                elif kind is not str:
                    return None
                amount = plain_fen(amount)
                if amount is None:
                    return None
                read.append(amount)
        return tuple(read)

    def _where(self, values: tuple[Any, ...], region: int) -> int | None:
        level_at, treated_at = self._place_at
        level = level_of(values[level_at]) if level_at >= 0 else -1
        treated = region_of(values[treated_at]) if treated_at >= 0 else 0
        return None if level is None or treated is None else place_of(level, treated, region)

    def _check_of(self, name: str) -> Callable[[Any], bool]:
        """Return what tells whether a cell of a column needs no closer look."""
        if name in ("reverses", "stay_number", "deductible_borne", "deductible_borne_fen"):
            return _is_none
        if name == "episode_id" and self.plan.counts_stays:
            return _is_none
        if name == "birth_date":
            return _is_birth
        return _is_simple if name in KNOWN else _is_anything


def _unit_free(name: Any) -> Any:
    """Return the column that a name stands for: amounts may be given as `<name>_fen`."""
    plain = name.removesuffix("_fen") if isinstance(name, str) else name
    return plain if plain in UNITED else name


def _is_none(value: Any) -> bool:
    return value is None


def _is_birth(value: Any) -> bool:
    return value is None or type(value) in (date, datetime, str)


def _is_simple(value: Any) -> bool:
    kind = type(value)
    return value is None or kind is str or kind is bool or (kind is int and abs(value) < 2**63)


def _is_anything(value: Any) -> bool:
    """Columns of the caller's own are left alone, but a table would not hold a larger integer."""
    return type(value) is not int or abs(value) < 2**63


