"""A claim as a mapping, read to integers without a table: what claims of one set of columns share is found out once.

Only what is plainly right is read here. Anything else (a null, a strange type, a text in another shape) is no fault yet:
the way through a table judges it, and words the error.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from numbers import Integral
from operator import itemgetter
from struct import Struct
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from yibao.columns import region_code
from yibao.dates import day_of_text, moment_of_text
from yibao.ids import BLANKS
from yibao.ledger import IDS, KNOWN, PAID, UNITED
from yibao.run import compiled
from yibao.stays import place_of
from yibao.words import care_index, category_mask, level_index
from yibao_core import keys
from yibao_core.calendar import NO_DAY
from yibao_core.compiler import accounts_of
from yibao_core.errors import PolicyError
from yibao_core.intake import DAY_US, MONEY_COLUMNS
from yibao_core.money import NULL_FEN
from yibao_core.one import (
    CLAIM_MONEY,
    DESK_CLAIM,
    RESULT_BALANCES,
    RESULT_SLOT,
    SLOT_BALANCES,
    new_desk,
    result_of,
    slot_of,
)
from yibao_core.parameters import goes_by_place
from yibao_core.policy import LAYERS, LEVELS, Policy

ALWAYS = ("settlement_id", "person_id", "settled_at", "service_date", "category", "care_type")
EPOCH = date(1970, 1, 1).toordinal()
NOWHERE = place_of(-1, 0, 0)
YEARS: list[int] = keys.YEARS.tolist()
TEXTS_MAX = 10_000  # so many different texts of one kind are remembered
FORMS_MAX = 256


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


def read_day(value: Any) -> int:
    """Return the day of a date, of a moment without a time zone, or of a text. ValueError for anything else."""
    kind = type(value)
    if kind is date or (kind is datetime and value.tzinfo is None):
        return int(value.toordinal()) - EPOCH
    if kind is not str:
        raise ValueError
    return DAYS[value]


def read_settled_day(value: Any) -> int:
    """Return the day of a moment of settlement. ValueError as in `read_day`."""
    if type(value) is not str:
        return read_day(value)
    moment = moment_of_text(value.strip())
    if moment is None:
        raise ValueError
    return moment // DAY_US


def is_id(value: Any) -> TypeGuard[str | int]:
    """Return whether a value is an id: an integer of 64 bits, or a text that is not blank and could be written to a file."""
    kind = type(value)
    if kind is str:
        return bool(value.isalnum() or (value.strip(BLANKS) and (value.isascii() or _is_whole(value))))
    return kind is int and -(2**63) < value < 2**63


def plain_id(value: Any) -> Any:
    """Return an id as text or integer of Python's own, where it is of a type derived from them or NumPy's: a table reads it
    so. Anything else is returned as it is."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value


def _is_whole(text: str) -> bool:
    """Return whether a text has no halves of characters, which JSON can bring."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def region_of(value: Any) -> int:
    """Return a region of six digits, 0 for none. ValueError for what is neither a number nor a text."""
    kind = type(value)
    if kind is int and 0 <= value < 10**12:
        return int(value) if 100_000 <= value <= 999_999 else region_code(str(value))
    if kind is str:
        return region_code(value)
    if value is not None:
        raise ValueError
    return 0


def level_of(value: Any) -> int:
    """Return a hospital level as its place among LEVELS, -1 for none. ValueError for what is neither a number nor a text."""
    kind = type(value)
    if kind is int:
        return LEVELS.index(value) if value in LEVELS else -1
    if kind is str:
        return level_index(value)
    if value is not None:
        raise ValueError
    return -1


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
        self.meters = frozenset(self.plan.meters)
        by_settled = {policy.year_follows == "settled_at" for policy in book}
        self.by_settled = by_settled.pop() if len(by_settled) == 1 else None  # None: it depends on the policy
        in_yuan = [name for name in amounts if not name.endswith("_fen")]
        in_fen = [name for name in amounts if name.endswith("_fen")]
        self._columns = [MONEY_COLUMNS.index(amounts[name]) for name in (*in_yuan, *in_fen)]
        rest = [name for name in columns if name not in (*ALWAYS, *amounts)]
        names = (*ALWAYS, *in_yuan, *in_fen, *rest)
        at = {name: index for index, name in enumerate(names)}
        self.count = len(names)
        self._pick = itemgetter(*names)
        self._yuan_end = len(ALWAYS) + len(in_yuan)
        self._fen_end = self._yuan_end + len(in_fen)
        self._region_at = at.get("insured_region", 0)  # 0: there is none
        self._birth_at = at.get("birth_date", 0)
        self._place_at = (at.get("hospital_level", 0), at.get("treated_region", 0))
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
        result = result_of(len(amounts), len(self.accounts))
        self.result_at, self.moved_at = 8 * result, result + RESULT_SLOT
        self.take = Struct(f"{8 * (RESULT_BALANCES + 2 * self.words)}s").unpack_from
        self.numbers = Struct(f"{RESULT_BALANCES + 2 * self.words}q").unpack
        self.take_payments = Struct(f"{len(LAYERS) + 1}q").unpack_from
        self._orders: dict[frozenset[str], tuple[str, ...]] = {}
        self.desks: list[tuple[NDArray[np.int64], memoryview]] = []  # that nobody uses now: to take one is atomic

    def order_of(self, brought: frozenset[str]) -> tuple[str, ...]:
        """Return the accounts as a ledger's closing orders them that was opened with these."""
        if brought not in self._orders:
            accounts = tuple(name for name in accounts_of(self.book) if name in brought)
            self._orders[brought] = compiled(self.book, self.recorded, frozenset(), accounts).accounts
        return self._orders[brought]

    def new_desk(self) -> tuple[NDArray[np.int64], memoryview]:
        """Return a desk, and a view of it that Python reads faster."""
        desk = new_desk(self._columns, len(self.book) > 1, len(self.accounts))
        return desk, desk.data

    def read(self, claim: Mapping[str, Any]) -> list[int] | None:
        """Return the claim's integers, None where anything about it is not plain.

        They are: day of service and of settlement, categories, care type, region, day of birth, place, amounts.
        """
        values = self._pick(claim)
        settlement, person, settled, service, category, care = values[:6]
        if not (is_id(settlement) and is_id(person) and type(category) is str and type(care) is str):
            return None
        region, birth, where = 0, NO_DAY, NOWHERE
        try:
            day = service.toordinal() - EPOCH if type(service) is date else read_day(service)
            kind = type(settled)
            if kind is date or (kind is datetime and settled.tzinfo is None):
                settled_day = settled.toordinal() - EPOCH
            else:
                settled_day = read_settled_day(settled)
            if self._region_at:
                region = values[self._region_at]
                region = REGIONS[region] if type(region) is str else region_of(region)
            if self._rest:
                birth, where = self._read_rest(values, region)
            read = [day, settled_day, MASKS[category], CARES[care], region, birth, where]
            for amount in values[6 : self._yuan_end]:
                if type(amount) is str:
                    text = amount
                elif type(amount) is Decimal:
                    text = str(amount)
                elif amount is None:
                    read.append(NULL_FEN)
                    continue
                else:
                    return None
                digits, point, cents = text.partition(".")
                if len(cents) == 2:
                    digits += cents
                elif digits and not point:  # no text is no 0
                    digits += "00"
                else:
                    return None
                if not digits.isdecimal():
                    return None
                read.append(int(digits))
        except ValueError:
            return None
        for amount in values[self._yuan_end : self._fen_end]:
            if amount is None:
                read.append(NULL_FEN)
            elif type(amount) is not int or amount == NULL_FEN:
                return None
            else:
                read.append(amount)
        return read

    def _read_rest(self, values: tuple[Any, ...], region: int) -> tuple[int, int]:
        """Return the day of birth and the place, where the plan asks for them. ValueError where a cell needs a closer look."""
        for at, check in self._rest:
            if not check(values[at]):
                raise ValueError
        birth, where = NO_DAY, NOWHERE
        if self.plan.needs_age and self._birth_at and values[self._birth_at] is not None:
            birth = read_day(values[self._birth_at])
        if self._by_place:
            level_at, treated_at = self._place_at
            level = level_of(values[level_at]) if level_at else -1
            where = place_of(level, region_of(values[treated_at]) if treated_at else 0, region)
        return birth, where

    def _check_of(self, name: str) -> Callable[[Any], bool]:
        """Return what tells whether a cell of a column needs no closer look."""
        if name in ("reverses", "stay_number", "deductible_borne", "deductible_borne_fen"):
            return _is_none
        if name == "episode_id" and self.plan.counts_stays:
            return _is_none
        if name == "birth_date":
            return _is_birth
        if name in IDS:
            return _is_id_cell
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


def _is_id_cell(value: Any) -> bool:
    return type(value) is not bool and _is_simple(value)


def _is_anything(value: Any) -> bool:
    """Columns of the caller's own are left alone, but a table would not hold a larger integer."""
    return type(value) is not int or abs(value) < 2**63


class Forms:
    """The forms of claims that were seen under one book."""

    def __init__(self, book: tuple[Policy, ...], first: tuple[str, ...] = ()) -> None:
        """`first`: accounts that stand first in the plans."""
        self.book, self.first = book, first
        self._known: dict[tuple[str, ...], Form | None] = {}
        self._latest: Form | None = None

    def read(self, claim: Mapping[str, Any]) -> tuple[Form, list[int]] | None:
        """Return a claim's form and its integers, None where it needs a table."""
        form = self._latest
        if form is None or len(claim) != form.count or type(claim) is not dict:
            form = self._of(claim)
            if form is None:
                return None
        try:
            read = form.read(claim)
        except KeyError:  # as many columns, but others
            form = self._of(claim)
            if form is None:
                return None
            read = form.read(claim)
        return None if read is None else (form, read)

    def _of(self, claim: Mapping[str, Any]) -> Form | None:
        columns = tuple(claim)
        if columns in self._known:
            form = self._known.get(columns)  # None: or another thread has cleared them
        else:
            try:
                form = Form(self.book, columns, self.first)
            except (ValueError, PolicyError):
                form = None
            if len(self._known) >= FORMS_MAX:
                self._known.clear()
            self._known[columns] = form
        if form is not None:
            self._latest = form
        return form
