"""Many people's balances in memory, and claims that move them: for a service that settles while the person waits.

Balances are integers in one array, a person's years and cities one behind the other; a claim is one call of the kernel.
What is not plain goes the way of `settle`, with the person's balances as its opening.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from struct import error as StructError
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.accounts import Account, Accounts, Slot, balance_of, grouped, of_slots
from yibao.balances import Balances
from yibao.book import as_book
from yibao.claim_form import ALWAYS, EPOCH, NOWHERE, Form, Forms, is_id, region_of
from yibao.dates import day_number
from yibao.ids import normal_id
from yibao.money import from_fen
from yibao.single import Before, Settlement, settle_row
from yibao.stays import place_of
from yibao.words import care_index, category_mask
from yibao_core.calendar import NO_DAY
from yibao_core.errors import ClaimError, LedgerError
from yibao_core.intake import MONEY_COLUMNS
from yibao_core.one import HELD_END, HELD_FIRST, HELD_WIDTH, NO_SLOT, SLOT_BALANCES, SLOT_KEY, SLOT_NEXT, settle_one
from yibao_core.policy import CARE_TYPES, CATEGORIES, LEVELS, Policy

SLOTS_AT_FIRST = 1_024
NOTHING, OWN = Before(False, ()), Before(True, ())
_LAST_DAY, _FIRST_DAY = date.max.toordinal() - EPOCH, date.min.toordinal() - EPOCH

PersonId = str | int


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
        self._slots: dict[PersonId, int] = {}  # person → first slot
        self._as_text = False  # ids are text
        self._episodes: dict[PersonId, dict[Account, Any]] = {}
        self._seen: set[tuple[PersonId, str]] | None = set() if remember_ids else None
        self._reversed: set[tuple[PersonId, str]] = set()
        self._accounts: tuple[str, ...] = ()
        self._set_held(np.zeros(HELD_FIRST + SLOTS_AT_FIRST * SLOT_BALANCES, dtype=np.int64))
        self._held[HELD_WIDTH], self._held[HELD_END] = SLOT_BALANCES, HELD_FIRST
        balances = Balances(opening) if opening is not None else None
        self._account_for(balances.accounts_in(self._book) if balances else ())
        if balances:
            self._open(balances)

    def __len__(self) -> int:
        """The number of people with balances."""
        return len(self._slots)

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
            slot = self._slots.get(person_id)
            if slot is None:
                person_id = self._id(person_id)
                slot = self._slots.get(person_id, NO_SLOT)
            held = self._words
            end = held[HELD_END]
            if end >= self._room:
                self._grow()
                held = self._words
            form = self._fen_form
            where = NOWHERE
            if hospital_level is not None or treated_region:
                level = LEVELS.index(hospital_level) if hospital_level in LEVELS else -1
                where = place_of(level, region_of(treated_region), region)
            try:
                form.put(
                    self._fen_view, form.claim_at, slot, commit, service_day,
                    service_day if settled_day is None else settled_day, categories, care_type, region, birth_day, where,
                    *amounts_fen,
                )  # fmt: skip
            except StructError:
                self._check_numbers(amounts_fen)
                closer = 1
            else:
                closer = settle_one(form.plan.words, self._held, self._fen_desk)
            if closer:
                cells = (service_day, service_day if settled_day is None else settled_day, categories, care_type)
                places = (region, birth_day, hospital_level, treated_region)
                return self._settle_fen_row(person_id, cells, places, amounts_fen, commit)
            if slot == NO_SLOT and commit:
                self._slots[person_id] = end
            return PaidFen._make(form.take_payments(self._fen_view, form.result_at))

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
            return self._balances(self._id(person_id))

    @property
    def closing(self) -> pa.Table:
        """All balances, person by person in the order they came: columns as of a ledger's `closing`."""
        with self._lock:
            return self._table()

    def _settle_plain(self, claim: Mapping[str, Any], commit: bool) -> Settlement | None:
        """Return the claim settled by one call of the kernel, None where it needs a table."""
        found = self._forms.read(claim)
        if found is None:
            return None
        form, read = found
        if form.accounts is not self._accounts:
            if form.accounts != self._accounts:
                self._account_for(form.accounts)
                return self._settle_plain(claim, commit)
            form.accounts = self._accounts
        person = claim["person_id"]
        slot = self._slots.get(person)
        if slot is None:
            person = self._id(person)
            slot = self._slots.get(person, NO_SLOT)
        if self._episodes and person in self._episodes:
            return None
        key = None
        if self._seen is not None:
            key = (person, _text_of(claim["settlement_id"]))
            if key in self._seen:
                return None
        end = self._words[HELD_END]
        if end >= self._room:
            self._grow()
        desk, view = form.desk()
        try:
            form.put(view, form.claim_at, slot, commit, *read)
        except StructError:  # an amount beyond 64 bits
            return None
        closer = settle_one(form.plan.words, self._held, desk)
        told: bytes = form.take(view, form.result_at)[0]
        moved = view[form.moved_at]
        form.give_back(desk, view)
        if closer:
            return None
        before = NOTHING
        if slot != NO_SLOT:
            if moved == slot and self._words[slot + SLOT_NEXT] == NO_SLOT:
                before = OWN
            else:
                others = [self._slot(one) for one in self._slots_of(person) if one != moved]
                before = Before(moved not in (NO_SLOT, end), others)
        if commit:
            if slot == NO_SLOT:
                self._slots[person] = end
            if key is not None and self._seen is not None:
                self._seen.add(key)
        return Settlement(claim, before, form, told)

    def _settle_row(self, claim: Mapping[str, Any], original: Any, commit: bool, remembers: bool = True) -> Settlement:
        """Return the claim settled as a ledger of one row."""
        shown = claim.get("person_id")
        opening = self._balances(self._id(shown)) if is_id(shown) else {}
        twice = remembers and self._is_known(claim, "settlement_id", self._seen)
        try:
            told = settle_row(claim, self._book, opening, original)
        except ClaimError as refusal:
            if not twice or refusal.code == "MISSING_VALUE":
                raise
        if twice:
            raise ClaimError("DUPLICATE_SETTLEMENT", f"settlement_id: got {claim['settlement_id']}")
        if remembers and self._is_known(claim, "reverses", self._reversed):
            raise ClaimError("REVERSAL_NOT_WHOLE", f"reverses: got {claim['reverses']}, which is cancelled already")
        settled = Settlement(claim, opening, None, told)
        if commit:
            person = self._id(shown)
            self._move(person, settled.closing)
            if remembers and self._seen is not None:
                self._seen.add((person, _text_of(claim["settlement_id"])))
                if claim.get("reverses") is not None:
                    self._reversed.add((person, _text_of(claim["reverses"])))
        return settled

    def _is_known(self, claim: Mapping[str, Any], name: str, known: set[tuple[PersonId, str]] | None) -> bool:
        person, value = claim.get("person_id"), claim.get(name)
        return bool(known) and is_id(person) and is_id(value) and (self._id(person), _text_of(value)) in (known or ())

    def _settle_fen_row(
        self,
        person_id: PersonId,
        cells: tuple[int, int, int, int],
        places: tuple[int, int, int | None, int],
        amounts_fen: Sequence[int],
        commit: bool,
    ) -> PaidFen:
        """Settle the claim of `settle_fen` as a ledger of one row: it says what is wrong with it."""
        service_day, settled_day, categories, care_type = cells
        region, birth_day, hospital_level, treated_region = places
        names = [name for bit, name in enumerate(CATEGORIES) if categories >> bit & 1]
        known_care = 0 <= care_type < len(CARE_TYPES)
        claim: dict[str, Any] = {
            "settlement_id": 0,
            "person_id": person_id,
            "settled_at": _date_of(settled_day),
            "service_date": _date_of(service_day),
            "category": ",".join(names) if 0 < categories < 1 << len(CATEGORIES) else "?",
            "care_type": CARE_TYPES[care_type] if known_care else "?",
            "insured_region": region or None,
            "birth_date": _date_of(birth_day),
            "hospital_level": hospital_level,
            "treated_region": treated_region or None,
        } | {f"{name}_fen": amount for name, amount in zip(self.amounts, amounts_fen, strict=True)}
        outcome = self._settle_row(claim, None, commit, remembers=False)._outcome
        return PaidFen(*outcome.paid_fen, outcome.personal_fen)

    def _check_numbers(self, amounts_fen: Sequence[int]) -> None:
        """Raise TypeError where `settle_fen` was not given one whole number for each amount."""
        if len(amounts_fen) != len(self.amounts) or not all(type(amount) is int for amount in amounts_fen):
            got = ", ".join(type(amount).__name__ for amount in amounts_fen) or "none"
            raise TypeError(f"settle_fen: expected whole fen for {', '.join(self.amounts)}, got {got}")

    def _id(self, value: Any) -> PersonId:
        """Return a person's id as it is held. Where some ids are text, all are: so do ledgers compare them."""
        if type(value) is int:
            return str(value) if self._as_text else value
        if type(value) is not str:
            raise ClaimError("MISSING_VALUE", f"person_id: expected text or an integer, got {type(value).__name__}")
        text = _text_of(value)
        if not text:
            raise ClaimError("MISSING_VALUE", f"person_id: got {value}")
        if not self._as_text:
            self._as_text = True
            self._slots = {str(person): slot for person, slot in self._slots.items()}
            self._episodes = {str(person): entries for person, entries in self._episodes.items()}
            self._seen = {(str(person), other) for person, other in self._seen} if self._seen is not None else None
            self._reversed = {(str(person), other) for person, other in self._reversed}
        return text

    def _set_held(self, held: NDArray[np.int64]) -> None:
        self._held = held
        self._words = memoryview(held)
        self._room = len(held) - int(held[HELD_WIDTH])  # where a slot fits no more

    def _grow(self) -> None:
        """Make room for twice as many slots."""
        held = np.zeros(2 * len(self._held), dtype=np.int64)
        held[: len(self._held)] = self._held
        self._set_held(held)

    def _account_for(self, accounts: Sequence[str]) -> None:
        """Give slots words for accounts that the held ones begin with; plans then number accounts as slots do."""
        fen_columns = (
            *ALWAYS, "insured_region", "birth_date", "hospital_level", "treated_region", *(f"{name}_fen" for name in self.amounts),
        )  # fmt: skip
        self._fen_form = Form(self._book, fen_columns, tuple(accounts))
        accounts = self._fen_form.accounts
        old, width = int(self._held[HELD_WIDTH]), SLOT_BALANCES + 2 * len(accounts)
        slots = (int(self._held[HELD_END]) - HELD_FIRST) // old
        rows = self._held[HELD_FIRST : HELD_FIRST + slots * old].reshape(slots, old)
        held = np.zeros(HELD_FIRST + max(SLOTS_AT_FIRST, 2 * slots) * width, dtype=np.int64)
        wider = held[HELD_FIRST : HELD_FIRST + slots * width].reshape(slots, width)
        wider[:, :old] = rows
        following = rows[:, SLOT_NEXT]
        wider[:, SLOT_NEXT] = np.where(following == NO_SLOT, NO_SLOT, (following - HELD_FIRST) // old * width + HELD_FIRST)
        held[HELD_WIDTH], held[HELD_END] = width, HELD_FIRST + slots * width
        if old != width:
            self._slots = {
                person: (slot - HELD_FIRST) // old * width + HELD_FIRST for person, slot in self._slots.items()
            }
        self._set_held(held)
        self._accounts = accounts
        self._forms = Forms(self._book, accounts)
        self._fen_desk, self._fen_view = self._fen_form.desk()
        self._meters = tuple(name for name in (policy.meter for policy in self._book) if name in accounts)

    def _slots_of(self, person: PersonId) -> list[int]:
        slot = self._slots.get(person, NO_SLOT)
        found = []
        while slot != NO_SLOT:
            found.append(slot)
            slot = self._words[slot + SLOT_NEXT]
        return found

    def _slot(self, slot: int) -> Slot:
        """Return a slot's key and its balances."""
        width = self._words[HELD_WIDTH]
        return self._words[slot + SLOT_KEY], self._words[slot + SLOT_BALANCES : slot + width].tolist()

    def _balances(self, person: PersonId) -> Accounts:
        own = of_slots(self._accounts, self._meters, map(self._slot, self._slots_of(person)))
        return {**own, **self._episodes.get(person, {})}

    def _move(self, person: PersonId, closing: Accounts) -> None:
        """Set a person's balances to those of a closing."""
        years = {account: pair for account, pair in closing.items() if len(account) == 3}
        new = [name for name in dict.fromkeys(account[2] for account in years) if name not in self._accounts]
        if new:
            self._account_for((*self._accounts, *new))
        width = int(self._held[HELD_WIDTH])
        for slot in self._slots_of(person):
            self._held[slot + SLOT_BALANCES : slot + width] = 0
        for key, entries in grouped(years).items():
            at = self._slot_for(person, key) + SLOT_BALANCES
            for name, (base, second, _) in entries.items():
                place = at + 2 * self._accounts.index(name)
                self._held[place], self._held[place + 1] = base, second
        episodes = {account: pair for account, pair in closing.items() if len(account) == 4}
        self._episodes.pop(person, None)
        if episodes:
            self._episodes[person] = episodes

    def _slot_for(self, person: PersonId, key: int) -> int:
        """Return a person's slot of a year and city, a new one where there is none."""
        slots = self._slots_of(person)
        for slot in slots:
            if self._words[slot + SLOT_KEY] == key:
                return slot
        if self._words[HELD_END] >= self._room:
            self._grow()
        new = self._words[HELD_END]
        self._held[HELD_END] += self._held[HELD_WIDTH]
        self._held[new + SLOT_KEY], self._held[new + SLOT_NEXT] = key, NO_SLOT
        if slots:
            self._held[slots[-1] + SLOT_NEXT] = new
        else:
            self._slots[person] = new
        return new

    def _open(self, balances: Balances) -> None:
        """Take balances as read: entries of a year side by side, people in the order they come."""
        ids = balances.person_ids
        self._as_text = not pa.types.is_int64(ids.type)
        encoded = pc.dictionary_encode(ids.combine_chunks() if ids.num_chunks != 1 else ids.chunk(0))
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        people = encoded.dictionary.to_pylist()
        person = encoded.indices.to_numpy().astype(np.int64)
        index = {name: at for at, name in enumerate(self._accounts)}
        account = np.array([index[name] for name in balances.account], dtype=np.int64)
        of_year = pc.is_null(balances.episode_ids).to_numpy()
        rows = np.flatnonzero(of_year)
        pairs, inverse = np.unique(np.stack([person[rows], balances.key[rows]]), axis=1, return_inverse=True)
        inverse = inverse.reshape(-1)
        count, width = pairs.shape[1], int(self._held[HELD_WIDTH])
        held = np.zeros(HELD_FIRST + max(SLOTS_AT_FIRST, count + count // 8) * width, dtype=np.int64)
        held[HELD_WIDTH], held[HELD_END] = width, HELD_FIRST + count * width
        slots = held[HELD_FIRST : HELD_FIRST + count * width].reshape(count, width)
        at = HELD_FIRST + np.arange(count) * width
        goes_on = np.append(pairs[0, 1:] == pairs[0, :-1], False) if count else np.zeros(0, dtype=bool)
        slots[:, SLOT_KEY] = pairs[1]
        slots[:, SLOT_NEXT] = np.where(goes_on, at + width, NO_SLOT)
        slots[inverse, SLOT_BALANCES + 2 * account[rows]] = balances.base_fen[rows]
        slots[inverse, SLOT_BALANCES + 2 * account[rows] + 1] = balances.paid_fen[rows]
        firsts = np.flatnonzero(np.append(True, pairs[0, 1:] != pairs[0, :-1])) if count else np.zeros(0, dtype=np.int64)
        self._slots = {people[who]: place for who, place in zip(pairs[0, firsts].tolist(), at[firsts].tolist(), strict=True)}
        self._set_held(held)
        episodes = balances.episode_ids.to_pylist()
        for row in np.flatnonzero(~of_year).tolist():
            key, name = int(balances.key[row]), balances.account[row]
            words = (int(balances.base_fen[row]), int(balances.paid_fen[row]), name in self._meters)
            entries = self._episodes.setdefault(people[person[row]], {})
            entries[key // 10_000, key % 10_000, name, episodes[row]] = balance_of(words)

    def _table(self) -> pa.Table:
        width, end = int(self._held[HELD_WIDTH]), int(self._held[HELD_END])
        slots = self._held[HELD_FIRST:end].reshape(-1, width)
        person = np.empty(len(slots), dtype=np.int64)
        place = np.fromiter(self._slots.values(), dtype=np.int64, count=len(self._slots))
        who = np.arange(len(place))
        while len(place):
            at = (place - HELD_FIRST) // width
            person[at] = who
            place = slots[at, SLOT_NEXT]
            who, place = who[place != NO_SLOT], place[place != NO_SLOT]
        balances = slots[:, SLOT_BALANCES:].reshape(len(slots), len(self._accounts), 2)
        slot, account = np.nonzero(balances.any(axis=2))
        if self._accounts:  # a year without any balance keeps its place
            bare = np.flatnonzero(~balances.any(axis=(1, 2)))
            slot, account = np.concatenate([slot, bare]), np.concatenate([account, np.zeros(len(bare), dtype=np.int64)])
        order = np.lexsort((account, slots[slot, SLOT_KEY], person[slot]))
        slot, account = slot[order], account[order]
        ids = pa.array(list(self._slots), pa.large_string() if self._as_text else pa.int64())
        key, second = slots[slot, SLOT_KEY], balances[slot, account, 1]
        names = pa.array(self._accounts, pa.string())
        counted = np.isin(account, [self._accounts.index(name) for name in self._meters])
        columns: dict[str, Any] = {
            "person_id": ids.take(pa.array(person[slot])),
            "benefit_year": pa.array(key // 10_000, pa.int32()),
            "insured_city": pa.array(key % 10_000, pa.int32()),
            "account": names.take(pa.array(account)),
            "base": from_fen(balances[slot, account, 0]),
            "paid": from_fen(np.where(counted, 0, second)),
        }
        if not self._meters:
            return pa.table(columns)
        columns["stays"] = pa.array(second, pa.int32(), mask=~counted)
        episodes = [(who, account, pair) for who, own in self._episodes.items() for account, pair in own.items()]
        named = pa.array([account[3] for _, account, _ in episodes])
        kind = named.type if len(named) else pa.int64()
        columns["episode_id"] = pa.nulls(len(slot), kind)
        behind: dict[str, Any] = {
            "person_id": pa.array([who for who, _, _ in episodes], ids.type),
            "benefit_year": pa.array([account[0] for _, account, _ in episodes], pa.int32()),
            "insured_city": pa.array([account[1] for _, account, _ in episodes], pa.int32()),
            "account": pa.array([account[2] for _, account, _ in episodes], pa.string()),
            "base": pa.array([pair[0] for _, _, pair in episodes], pa.decimal128(18, 2)),
            "paid": from_fen(np.zeros(len(episodes), dtype=np.int64)),
            "stays": pa.array([pair[1] for _, _, pair in episodes], pa.int32()),
            "episode_id": named.cast(kind),
        }
        return pa.concat_tables([pa.table(columns), pa.table(behind)])


def _text_of(value: PersonId) -> str:
    """Return an id as text, as it is compared."""
    if type(value) is not str:
        return str(value)
    return value if value.isalnum() and value.isascii() and "x" not in value else normal_id(value)


def _date_of(day: int) -> date | None:
    return date.fromordinal(day + EPOCH) if _FIRST_DAY <= day <= _LAST_DAY else None
