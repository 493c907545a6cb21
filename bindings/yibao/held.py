"""Balances of many people as integers in one array, a person's years and cities in a chain; tables in and out."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.accounts import Account, Accounts, Slot, balance_of, grouped, of_slots, words_of
from yibao.balances import Balances, closing_entries
from yibao.ids import episode_array, normal_id, one_chunk
from yibao.money import from_fen
from yibao_core.errors import ClaimError
from yibao_core.one import HELD_END, HELD_FIRST, HELD_WIDTH, NO_SLOT, SLOT_BALANCES, SLOT_KEY, SLOT_NEXT

SLOTS_AT_FIRST = 1_024

PersonId = str | int


class Held:
    """Who has which slots, and the slots: 2 + 2 x accounts words each. Not for several threads at once."""

    def __init__(self) -> None:
        self.first: dict[PersonId, int] = {}  # person → first slot, a place in `array`
        self.episodes: dict[PersonId, dict[Account, Any]] = {}  # entries of open episodes, of whoever has some
        self.accounts: tuple[str, ...] = ()
        self.meters: tuple[str, ...] = ()  # the accounts that count stays
        self.as_text = False  # ids are text
        self._set(_empty(0, SLOT_BALANCES))

    def id_of(self, value: Any) -> PersonId:
        """Return a person's id as it is held. Where some ids are text, all are: so do ledgers compare them.

        ClaimError for what is no id.
        """
        if type(value) is int:
            return str(value) if self.as_text else value
        if type(value) is not str:
            raise ClaimError("MISSING_VALUE", f"person_id: expected text or an integer, got {type(value).__name__}")
        text = text_of(value)
        if not text:
            raise ClaimError("MISSING_VALUE", f"person_id: got {value}")
        if not self.as_text:
            self.as_text = True
            self.first = {str(person): slot for person, slot in self.first.items()}
            self.episodes = {str(person): entries for person, entries in self.episodes.items()}
        return text

    def look(self, value: PersonId) -> PersonId:
        """Return a person's id as it is held, or would be; a question changes nothing. ClaimError for what is no id."""
        if self.as_text or type(value) is not str:
            return self.id_of(value)
        text = text_of(value)
        if not text:
            return self.id_of(value)
        number = int(text) if len(text) < 20 and text.isascii() and text.isdecimal() else None
        return number if number is not None and str(number) == text else text

    def grow(self) -> None:
        """Make room for twice as many slots."""
        self._set(np.concatenate([self.array, np.zeros(len(self.array), dtype=np.int64)]))

    def widen(self, accounts: tuple[str, ...], meters: tuple[str, ...]) -> None:
        """Give each slot room for `accounts`, which begin with those that are held."""
        slots, old = self._rows(), int(self.array[HELD_WIDTH])
        width = SLOT_BALANCES + 2 * len(accounts)
        array = _empty(len(slots), width)
        wider = array[HELD_FIRST : HELD_FIRST + len(slots) * width].reshape(-1, width)
        wider[:, :old] = slots
        following = slots[:, SLOT_NEXT]
        wider[:, SLOT_NEXT] = np.where(following == NO_SLOT, NO_SLOT, _moved(following, old, width))
        self.first = {person: _moved(slot, old, width) for person, slot in self.first.items()}
        self.accounts, self.meters = accounts, meters
        self._set(array)

    def slots_of(self, person: PersonId) -> list[int]:
        """Return the slots of a person, none for a stranger."""
        slot = self.first.get(person, NO_SLOT)
        found = []
        while slot != NO_SLOT:
            found.append(slot)
            slot = self.words[slot + SLOT_NEXT]
        return found

    def slot(self, slot: int) -> Slot:
        """Return what a slot says."""
        width = self.words[HELD_WIDTH]
        return self.words[slot + SLOT_KEY], self.words[slot + SLOT_BALANCES : slot + width].tolist()

    def balances(self, person: PersonId) -> Accounts:
        """Return a person's balances and open episodes."""
        own = of_slots(self.accounts, self.meters, map(self.slot, self.slots_of(person)))
        return {**own, **self.episodes.get(person, {})}

    def move(self, person: PersonId, closing: Accounts) -> None:
        """Set a person's balances to those of a closing whose accounts are all held."""
        years: dict[Account, Any] = {account: pair for account, pair in closing.items() if len(account) == 3}
        episodes: dict[Account, Any] = {account: pair for account, pair in closing.items() if len(account) == 4}
        width = int(self.array[HELD_WIDTH])
        for slot in self.slots_of(person):
            self.array[slot + SLOT_BALANCES : slot + width] = 0
        for key, entries in grouped(years).items():
            at = self._slot_for(person, key) + SLOT_BALANCES
            for name, (base, second, _) in entries.items():
                place = at + 2 * self.accounts.index(name)
                self.array[place], self.array[place + 1] = base, second
        self.episodes.pop(person, None)
        if episodes:
            self.episodes[person] = episodes

    def open(self, balances: Balances) -> None:
        """Take balances as read, whose accounts are all held; nobody is held yet."""
        self.as_text = not pa.types.is_int64(balances.person_ids.type)
        encoded = pc.dictionary_encode(one_chunk(balances.person_ids))
        people, person = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
        account = np.array([self.accounts.index(name) for name in balances.account], dtype=np.int64)
        of_year = pc.is_null(balances.episode_ids).to_numpy()
        rows = np.flatnonzero(of_year)
        pairs, pair = np.unique(np.stack([person[rows], balances.key[rows]]), axis=1, return_inverse=True)
        pair, count = pair.reshape(-1), pairs.shape[1]
        width = int(self.array[HELD_WIDTH])
        array = _empty(count, width)
        slots = array[HELD_FIRST : HELD_FIRST + count * width].reshape(-1, width)
        at = HELD_FIRST + np.arange(count) * width
        begins = np.ones(count + 1, dtype=bool)  # a person's first; one more stands behind the last
        begins[1:count] = pairs[0, 1:] != pairs[0, :-1]
        slots[:, SLOT_KEY] = pairs[1]
        slots[:, SLOT_NEXT] = np.where(begins[1:], NO_SLOT, at + width)
        slots[pair, SLOT_BALANCES + 2 * account[rows]] = balances.base_fen[rows]
        slots[pair, SLOT_BALANCES + 2 * account[rows] + 1] = balances.paid_fen[rows]
        starts = np.flatnonzero(begins[:-1])
        self.first = {people[who]: int(at[start]) for who, start in zip(pairs[0, starts], starts, strict=True)}
        self._set(array)
        ids = balances.episode_ids.to_pylist()
        for row in np.flatnonzero(~of_year).tolist():
            key, name = int(balances.key[row]), balances.account[row]
            words = (int(balances.base_fen[row]), int(balances.paid_fen[row]), name in self.meters)
            entries = self.episodes.setdefault(people[person[row]], {})
            entries[key // 10_000, key % 10_000, name, ids[row]] = balance_of(words)

    def table(self) -> pa.Table:
        """Return all balances, person by person as they came, with the columns of a ledger's `closing`."""
        slots, width = self._rows(), int(self.array[HELD_WIDTH])
        person = np.empty(len(slots), dtype=np.int64)
        place = np.fromiter(self.first.values(), dtype=np.int64, count=len(self.first))
        who = np.arange(len(place))
        while len(place):
            at = (place - HELD_FIRST) // width
            person[at] = who
            place = slots[at, SLOT_NEXT]
            who, place = who[place != NO_SLOT], place[place != NO_SLOT]
        balances = slots[:, SLOT_BALANCES:].reshape(len(slots), len(self.accounts), 2)
        ids = pa.array(list(self.first), pa.large_string() if self.as_text else pa.int64())
        years, _ = closing_entries(ids, person, slots[:, SLOT_KEY], balances, self.accounts, self.meters or None)
        return self._with_episodes(years) if self.meters else years

    def _with_episodes(self, years: pa.Table) -> pa.Table:
        entries = [
            (person, account, words_of(pair)) for person, own in self.episodes.items() for account, pair in own.items()
        ]
        ids = episode_array([account[-1] for _, account, _ in entries])
        words = np.array([pair[:2] if pair else (0, 0) for _, _, pair in entries], dtype=np.int64).reshape(-1, 2)
        behind: dict[str, Any] = {
            "person_id": pa.array([person for person, _, _ in entries], years["person_id"].type),
            "benefit_year": pa.array([account[0] for _, account, _ in entries], pa.int32()),
            "insured_city": pa.array([account[1] for _, account, _ in entries], pa.int32()),
            "account": pa.array([account[2] for _, account, _ in entries], pa.string()),
            "base": from_fen(words[:, 0]),
            "paid": from_fen(np.zeros(len(words), dtype=np.int64)),
            "stays": pa.array(words[:, 1], pa.int32()),
            "episode_id": ids,
        }
        return pa.concat_tables([years.append_column("episode_id", pa.nulls(len(years), ids.type)), pa.table(behind)])

    def _set(self, array: NDArray[np.int64]) -> None:
        self.array = array
        self.words: Any = array.data  # Python reads single words of it faster
        self.room = len(array) - int(array[HELD_WIDTH])  # where no slot fits any more

    def _rows(self) -> NDArray[np.int64]:
        """Return the slots in use, one row each."""
        return self.array[HELD_FIRST : int(self.array[HELD_END])].reshape(-1, int(self.array[HELD_WIDTH]))

    def _slot_for(self, person: PersonId, key: int) -> int:
        """Return a person's slot of a year and city, a new one where there is none."""
        slots = self.slots_of(person)
        for slot in slots:
            if self.words[slot + SLOT_KEY] == key:
                return slot
        if self.words[HELD_END] > self.room:
            self.grow()
        new = int(self.words[HELD_END])
        self.array[HELD_END] += self.array[HELD_WIDTH]
        self.array[new + SLOT_KEY], self.array[new + SLOT_NEXT] = key, NO_SLOT
        if slots:
            self.array[slots[-1] + SLOT_NEXT] = new
        else:
            self.first[person] = new
        return new


def text_of(value: PersonId) -> str:
    """Return an id as text, as it is compared."""
    if type(value) is not str:
        return str(value)
    return value if value.isalnum() and value.isascii() and "x" not in value else normal_id(value)


def _empty(slots: int, width: int) -> NDArray[np.int64]:
    """Return an array with so many slots in use, all zero, and room for more."""
    array = np.zeros(HELD_FIRST + max(SLOTS_AT_FIRST, slots + slots // 8) * width, dtype=np.int64)
    array[HELD_WIDTH], array[HELD_END] = width, HELD_FIRST + slots * width
    return array


def _moved(slot: Any, old: int, width: int) -> Any:
    """Return where a slot lies when slots are `width` words wide and were `old`."""
    return (slot - HELD_FIRST) // old * width + HELD_FIRST
