"""Opening and closing balances: tables between runs, kernel entries inside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.columns import Prepared, frozen
from yibao.ids import Ids, read_ids, words
from yibao.ledger import as_table
from yibao.money import from_fen, to_fen
from yibao_core.calendar import YEAR_FIRST, YEAR_LAST
from yibao_core.compiler import accounts_of
from yibao_core.errors import LedgerError
from yibao_core.full import Openings
from yibao_core.money import NOT_FEN, NULL_FEN, YEAR_MAX_FEN
from yibao_core.plan import CompiledBook
from yibao_core.policy import Policy

Fen = NDArray[np.int64]

COLUMNS = ("person_id", "benefit_year", "insured_city", "account", "base", "paid")


def closing_entries(
    person_ids: Ids | pa.Array,
    person: Fen,
    key: Fen,
    balances: Fen,
    accounts: Sequence[str],
    meters: Sequence[str] | None,
) -> tuple[pa.Table, Fen]:
    """Return the entries of years in a closing, and of which year each is: sorted by person, year and city, account.

    `person` is where `person_ids` has each year's person, `key` its benefit year x 10,000 + city, `balances` (years, accounts,
    2). A year without any balance keeps its place under the first account, so that the next run knows it. `meters`: the
    accounts that count stays, in a column of their own; None: there is no such column.
    """
    year, account = np.nonzero(balances.any(axis=2))
    if accounts:
        bare = np.flatnonzero(~balances.any(axis=(1, 2)))
        year, account = np.concatenate([year, bare]), np.concatenate([account, np.zeros_like(bare)])
    order = np.lexsort((account, key[year], person[year]))
    year, account = year[order], account[order]
    second = balances[year, account, 1]
    counted = np.isin(account, [index for index, name in enumerate(accounts) if name in (meters or ())])
    columns: dict[str, Any] = {
        "person_id": person_ids.take(pa.array(person[year])),
        "benefit_year": pa.array(key[year] // 10_000, pa.int32()),
        "insured_city": pa.array(key[year] % 10_000, pa.int32()),
        "account": pa.array(accounts, pa.string()).take(pa.array(account)),
        "base": from_fen(balances[year, account, 0]),
        "paid": from_fen(np.where(counted, 0, second)),
    }
    if meters is not None:
        columns["stays"] = pa.array(second, pa.int32(), mask=~counted)
    return pa.table(columns), year


class Balances:
    """Opening balances as read: one entry for each person, year, city and account."""

    def __init__(self, source: Any) -> None:
        """`source`: a `closing` table. LedgerError where it is none."""
        table = as_table(source, "opening")
        faults = [f"opening: {name}: expected a column, got none" for name in COLUMNS if name not in table.column_names]
        if faults:
            raise LedgerError(faults)
        self.person_ids, _ = read_ids(table["person_id"], "opening: person_id")
        year = self._whole(table["benefit_year"], "benefit_year", YEAR_FIRST, YEAR_LAST)
        city = self._whole(table["insured_city"], "insured_city", 0, 9_999)
        self.key = year * 10_000 + city
        self.account = pc.fill_null(table["account"].cast(pa.string()), "").to_pylist()
        self.base_fen = self._money(table["base"], "base")
        self.paid_fen = self._money(table["paid"], "paid")
        self.episode_ids = self._episodes(table)
        self.count_stays = "stays" in table.column_names and table["stays"].null_count < len(table)
        if self.count_stays:
            stays = table["stays"]
            numbers = self._whole(stays.filter(pc.is_valid(stays)), "stays", -65_535, 65_535)
            counted = np.flatnonzero(pc.is_valid(stays).to_numpy())
            self.paid_fen = self.paid_fen.copy()
            self.paid_fen[counted] += numbers  # an account has either
        if self.person_ids.null_count:
            raise LedgerError("opening: person_id: expected no null")

        self._check_once()

    def _check_once(self) -> None:
        """Raise LedgerError where an entry stands twice: its balance would count twice."""
        entries = pa.table(
            {
                "person": self.person_ids,
                "key": pa.array(self.key),
                "account": pa.array(self.account),
                "episode": self.episode_ids,
            }
        )
        doubled = len(entries) - len(entries.group_by(entries.column_names).aggregate([]))
        if doubled:
            raise LedgerError(f"opening: expected one entry a person, year, city and account, got {doubled} more")

    @staticmethod
    def _episodes(table: pa.Table) -> pa.ChunkedArray:
        if "episode_id" not in table.column_names:
            return pa.chunked_array([pa.nulls(len(table), pa.int64())])
        return read_ids(table["episode_id"], "opening: episode_id")[0]

    @property
    def counted_episodes(self) -> pa.ChunkedArray | None:
        """The episode of each entry, None where no entry counts stays."""
        return self.episode_ids if self.count_stays else None

    @staticmethod
    def _whole(column: pa.ChunkedArray, name: str, least: int, most: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
        try:
            numbers = column.cast(pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            numbers = pa.chunked_array([pa.nulls(len(column), pa.int64())])
        read = words(pc.fill_null(numbers, least - 1))
        bad = (read < least) | (read > most)
        if bad.any():
            raise LedgerError(
                f"opening: {name}: expected whole numbers from {least} to {most}, got {int(bad.sum())} other values"
            )
        return read

    @staticmethod
    def _money(column: pa.ChunkedArray, name: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
        amounts = to_fen(column, name, YEAR_MAX_FEN)
        bad = (amounts == NOT_FEN) | (amounts == NULL_FEN) | (np.abs(np.maximum(amounts, -(2**62))) > YEAR_MAX_FEN)
        if bad.any():
            raise LedgerError(
                f"opening: {name}: expected yuan within a year's range, got {int(bad.sum())} other values"
            )
        return amounts

    def accounts_in(self, book: Sequence[Policy]) -> tuple[str, ...]:
        """Return the accounts with entries: a run carries them through even where nothing of it feeds them.

        LedgerError for an account that no policy of the book has.
        """
        known = accounts_of(book)
        unknown = sorted(set(self.account) - set(known))
        if unknown:
            raise LedgerError(f"opening: account: expected one of {', '.join(known)}, got {', '.join(unknown)}")
        return tuple(name for name in known if name in set(self.account))

    def entries(self, prepared: Prepared, plan: CompiledBook) -> Openings:
        """Return the entries for a run whose plan knows all their accounts."""
        place = {name: index for index, name in enumerate(plan.accounts)}
        index = np.array([place[name] for name in self.account], dtype=np.int64)
        return Openings(
            person=frozen(prepared.opening_persons),
            key=frozen(self.key),
            account=frozen(index),
            base_fen=frozen(self.base_fen),
            paid_fen=frozen(self.paid_fen),
            episode=prepared.opening_episodes,
        )
