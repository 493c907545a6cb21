"""Many people's balances in memory, and claims that move them: for a service that settles while the person waits.

A claim is one call of the kernel. What is not plain goes the way of `settle`, with the person's balances as its opening.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from struct import error as StructError
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa

from yibao.accounts import Accounts
from yibao.balances import Balances
from yibao.book import as_book
from yibao.claim_form import ALWAYS, EPOCH, NOWHERE, Form, Forms, is_id, plain_id, region_of
from yibao.dates import day_number
from yibao.held import Held, PersonId, text_of
from yibao.ledger import IDS
from yibao.one_row import settle_row
from yibao.single import NOTHING, OWN, Before, Settlement, as_settled
from yibao.stays import place_of
from yibao.words import care_index, category_mask
from yibao_core.calendar import NO_DAY
from yibao_core.errors import ClaimError, LedgerError
from yibao_core.intake import MONEY_COLUMNS
from yibao_core.money import NULL_FEN
from yibao_core.one import HELD_END, NO_SLOT, SLOT_NEXT, settle_one
from yibao_core.policy import CARE_TYPES, CATEGORIES, LEVELS, Policy

_LAST_DAY, _FIRST_DAY = date.max.toordinal() - EPOCH, date.min.toordinal() - EPOCH


class PaidFen(NamedTuple):
    """What a claim is paid, in fen, and what is left to the person."""

    basic: int
    catastrophic: int
    special_drug: int
    assistance: int
    institution_reduction: int
    commercial: int
    reassistance: int
    pku: int
    personal: int


_paid_fen: Callable[[Sequence[int]], PaidFen] = partial(tuple.__new__, PaidFen)
"""As `PaidFen._make`, for what has its length: one call of Python less, a twentieth of a claim."""


class Settler:
    """Settles claims in the order they come, each with the balances that the person's earlier ones have left.

    Any thread may call it; one claim is settled at a time. A claim that is refused moves nothing. Settlement ids are
    remembered, so that a request that comes twice is a DUPLICATE_SETTLEMENT and not paid twice: of claims settled here,
    not of those behind `opening`. Claims are not kept: a reversal needs its `original`.
    """

    def __init__(
        self,
        policy: Policy | Sequence[Policy],
        *,
        opening: Any = None,
        amounts: Sequence[str] = ("total_fee", "eligible_fee", "basic_paid"),
        remember_ids: bool = True,
    ) -> None:
        """`opening`: a `closing` table, of a ledger or of a settler. `amounts`: the ledger's money columns that `settle_fen`
        takes, in its order. LedgerError where `opening` is no such table, or `amounts` are not such columns."""
        self._book = as_book(policy)
        unknown = [name for name in amounts if name not in MONEY_COLUMNS]
        lacking = [name for name in ("total_fee", "eligible_fee") if name not in amounts]
        if unknown or lacking or len(set(amounts)) < len(amounts):
            raise LedgerError(
                f"amounts: expected total_fee, eligible_fee and others of {', '.join(MONEY_COLUMNS)}, "
                f"each once, got {', '.join(amounts)}"
            )
        self.amounts = tuple(amounts)
        self._lock = Lock()
        self._held = Held()
        self._seen: set[tuple[str, str]] | None = set() if remember_ids else None
        self._reversed: set[tuple[str, str]] = set()
        balances = Balances(opening) if opening is not None else None
        self._account_for(balances.accounts_in(self._book) if balances else ())
        if balances:
            self._held.open(balances)

    def __len__(self) -> int:
        """The number of people with balances."""
        return len(self._held.first)

    def settle(
        self,
        claim: Mapping[str, Any],
        *,
        original: "Settlement | Mapping[str, Any] | None" = None,
        commit: bool = True,
    ) -> Settlement:
        """Settle a claim as `yibao.settle` takes it, and move its person's balances; not with `commit=False` (a preview).

        `original`: for a reversal, the Settlement (or the row as settled) that it cancels. Raises ClaimError with the
        reject code where a ledger would reject the row; then nothing has moved.
        """
        with self._lock:
            if original is None:
                settled = self._settle_plain(claim, commit)
                if settled is not None:
                    return settled
            return self._settle_row(claim, original, commit)

    def settle_fen(
        self,
        person_id: PersonId,
        service_day: int,
        categories: int,
        care_type: int,
        *amounts_fen: int,
        region: int = 0,
        settled_day: int | None = None,
        birth_day: int = NO_DAY,
        hospital_level: int | None = None,
        treated_region: int = 0,
        commit: bool = True,
    ) -> PaidFen:
        """Settle a claim of integers, and move its person's balances: the fast door, without duplicates and reversals.

        Days count from 1970-01-01 (`day_of`), `categories` is `categories_of` and `care_type` `care_type_of` what a ledger
        calls them, `region` and `treated_region` have six digits (0: none), amounts are those of `amounts`, in fen.
        `settled_day` is the service day where nothing is said. Raises ClaimError as `settle`, TypeError for another
        number of amounts.
        """
        with self._lock:
            held = self._held
            # Only ids of Python's own types: 1.0 and True are equal to 1, and ids of nobody.
            kind = type(person_id)
            slot = held.first.get(person_id) if kind is str or kind is int else None
            if slot is None:
                person_id = plain_id(person_id)
                if is_id(person_id):
                    person_id = held.id_of(person_id)
                    slot = held.first.get(person_id, NO_SLOT)
            end = held.words[HELD_END]
            if end > held.room:
                held.grow()
            form = self._fen_form
            where = NOWHERE
            if hospital_level is not None or treated_region:
                level = LEVELS.index(hospital_level) if hospital_level in LEVELS else -1
                where = place_of(level, region_of(treated_region), region)
            closer = 1
            is_day = settled_day is None or _FIRST_DAY <= settled_day <= _LAST_DAY
            settled_day = service_day if settled_day is None else settled_day  # its year is the kernel's to look at
            try:
                form.put(
                    self._fen_view, form.claim_at, slot if slot is not None else NO_SLOT, commit, service_day, settled_day,
                    categories, care_type, region, birth_day, where, *amounts_fen,
                )  # fmt: skip
            except StructError:
                self._check_numbers(amounts_fen)
            else:
                if slot is not None and is_day and NULL_FEN not in amounts_fen:  # which would count as null
                    closer = settle_one(form.plan.words, held.array, self._fen_desk)
            if closer:
                return self._settle_fen_row(
                    person_id,
                    (service_day, settled_day, birth_day),
                    (categories, care_type),
                    (region, hospital_level, treated_region),
                    amounts_fen,
                    commit,
                )
            if slot == NO_SLOT and commit:
                held.first[person_id] = end
            return _paid_fen(form.take_payments(self._fen_view, form.result_at))

    @staticmethod
    def day_of(day: date) -> int:
        """Return a date as `settle_fen` takes it."""
        return day_number(day)

    @staticmethod
    def categories_of(cell: str) -> int:
        """Return what a ledger's cell of categories says as `settle_fen` takes it; 0 for unknown ones."""
        return category_mask(cell)

    @staticmethod
    def care_type_of(cell: str) -> int:
        """Return what a ledger's cell of a care type says as `settle_fen` takes it; -1 for an unknown one."""
        return care_index(cell)

    def balances(self, person_id: PersonId) -> Accounts:
        """Return a person's balances, as `opening` of `yibao.settle` takes them; none for a person that is not known."""
        with self._lock:
            return self._held.balances(self._held.look(person_id))

    @property
    def closing(self) -> pa.Table:
        """All balances, person by person in the order they came: columns as of a ledger's `closing`."""
        with self._lock:
            return self._held.table()

    def _settle_plain(self, claim: Mapping[str, Any], commit: bool) -> Settlement | None:
        """Return the claim settled by one call of the kernel, None where it needs a table."""
        found = self._forms.read(claim)
        if found is None:
            return None
        form, read = found
        held = self._held
        if form.accounts != held.accounts:  # the columns bring accounts that nothing was held in so far
            self._account_for(form.accounts)
            return self._settle_plain(claim, commit)
        person = claim["person_id"]
        slot = held.first.get(person)
        if slot is None:
            person = held.id_of(person)
            slot = held.first.get(person, NO_SLOT)
        if held.episodes and person in held.episodes:
            return None
        key = None
        if self._seen is not None:
            key = (str(person), text_of(claim["settlement_id"]))
            if key in self._seen:
                return None
        end = held.words[HELD_END]
        if end > held.room:
            held.grow()
        try:
            desk, view = form.desks.pop()
        except IndexError:
            desk, view = form.new_desk()
        try:
            form.put(view, form.claim_at, slot, commit, *read)
        except StructError:  # an amount beyond 64 bits
            return None
        closer = settle_one(form.plan.words, held.array, desk)
        told: bytes = form.take(view, form.result_at)[0]
        moved = view[form.moved_at]
        form.desks.append((desk, view))
        if closer:
            return None
        before = NOTHING
        if slot != NO_SLOT:
            if moved == slot and held.words[slot + SLOT_NEXT] == NO_SLOT:
                before = OWN
            else:
                others = [held.slot(one) for one in held.slots_of(person) if one != moved]
                before = Before(moved not in (NO_SLOT, end), others)
        if commit:
            if slot == NO_SLOT:
                held.first[person] = end
            if key is not None and self._seen is not None:
                self._seen.add(key)
        return Settlement(claim, before, form, told)

    def _settle_row(self, claim: Mapping[str, Any], original: Any, commit: bool, remembers: bool = True) -> Settlement:
        """Return the claim settled as a ledger of one row."""
        claim = {name: plain_id(value) if name in IDS else value for name, value in claim.items()}
        shown = claim.get("person_id")
        opening = self._held.balances(self._held.look(shown)) if is_id(shown) else {}
        twice = remembers and _key(claim, "settlement_id") in (self._seen or ())
        try:
            told = settle_row(claim, self._book, opening, as_settled(original))
        except ClaimError as refusal:
            if twice and refusal.code != "MISSING_VALUE":
                raise _duplicate(claim) from None
            raise
        if twice:
            raise _duplicate(claim)
        cancelled = _key(claim, "reverses")
        if remembers and cancelled in self._reversed:
            raise ClaimError("REVERSAL_NOT_WHOLE", f"reverses: got {claim['reverses']}, which is cancelled already")
        settled = Settlement(claim, opening, None, told)
        if commit:
            new = [
                name
                for name in dict.fromkeys(account[2] for account in settled.closing)
                if name not in self._held.accounts
            ]
            if new:
                self._account_for((*self._held.accounts, *new))
            self._held.move(self._held.id_of(shown), settled.closing)
            key = _key(claim, "settlement_id")
            if remembers and self._seen is not None and key is not None:
                self._seen.add(key)
                self._reversed |= set() if cancelled is None else {cancelled}
        return settled

    def _settle_fen_row(
        self,
        person_id: PersonId,
        days: tuple[int, int, int],
        who: tuple[int, int],
        where: tuple[int, int | None, int],
        amounts_fen: Sequence[int],
        commit: bool,
    ) -> PaidFen:
        """Settle the claim of `settle_fen` as a ledger of one row: it says what is wrong with it."""
        service_day, settled_day, birth_day = days
        categories, care_type = who
        region, hospital_level, treated_region = where
        names = [name for bit, name in enumerate(CATEGORIES) if categories >> bit & 1]
        claim: dict[str, Any] = {
            "settlement_id": 0,
            "person_id": person_id,
            "settled_at": _date_of(settled_day),
            "service_date": _date_of(service_day),
            "category": ",".join(names) if 0 < categories < 1 << len(CATEGORIES) else "?",
            "care_type": CARE_TYPES[care_type] if 0 <= care_type < len(CARE_TYPES) else "?",
            "insured_region": region or None,
            "birth_date": _date_of(birth_day),
            "hospital_level": hospital_level,
            "treated_region": treated_region or None,
        } | {f"{name}_fen": amount for name, amount in zip(self.amounts, amounts_fen, strict=True)}
        outcome = self._settle_row(claim, None, commit, remembers=False)._outcome
        return PaidFen._make((*outcome.paid_fen, outcome.personal_fen))

    def _check_numbers(self, amounts_fen: Sequence[int]) -> None:
        """Raise TypeError where `settle_fen` was not given one whole number for each amount."""
        if len(amounts_fen) != len(self.amounts) or not all(type(amount) is int for amount in amounts_fen):
            got = ", ".join(type(amount).__name__ for amount in amounts_fen) or "none"
            raise TypeError(f"settle_fen: expected whole fen for {', '.join(self.amounts)}, got {got}")

    def _account_for(self, accounts: tuple[str, ...]) -> None:
        """Hold `accounts`, which begin with those that are held; plans then number them as slots do."""
        columns = (*ALWAYS, "insured_region", "birth_date", "hospital_level", "treated_region")
        form = Form(self._book, (*columns, *(f"{name}_fen" for name in self.amounts)), accounts)
        meters = tuple(dict.fromkeys(policy.meter for policy in self._book if policy.meter in form.accounts))
        self._held.widen(form.accounts, tuple(name for name in meters if name is not None))
        self._forms = Forms(self._book, form.accounts)
        self._fen_form = form
        self._fen_desk, self._fen_view = form.new_desk()


def _key(claim: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    """Return the claim's person with one of its settlement ids, None where they are none."""
    person, value = (claim.get(column) for column in ("person_id", name))
    return (text_of(person), text_of(value)) if is_id(person) and is_id(value) else None


def _duplicate(claim: Mapping[str, Any]) -> ClaimError:
    return ClaimError("DUPLICATE_SETTLEMENT", f"settlement_id: got {claim['settlement_id']}")


def _date_of(day: int) -> date | None:
    return date.fromordinal(day + EPOCH) if _FIRST_DAY <= day <= _LAST_DAY else None
