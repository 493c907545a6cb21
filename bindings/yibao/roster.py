"""Rosters: identity periods from files, joined to the ledger's rows by person and service date."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.dates import to_days
from yibao.ids import Ids, read_ids
from yibao.ledger import as_table
from yibao.words import category_mask, look_up
from yibao_core.errors import LedgerError

MODES = ("add", "replace")
_ALWAYS = 10**7


class Matches(NamedTuple):
    """Which entry covers which row of the ledger, pair by pair, and what the ledger itself said."""

    entry: NDArray[np.int64]
    row: NDArray[np.int64]
    in_ledger: NDArray[np.bool_]  # by entry: the ledger has rows of its person
    own_mask: NDArray[Any]  # by row: the ledger's own set of categories


class Roster:
    """Entries (person_id, category, from, to): both days included, an empty one is open."""

    def __init__(self, source: Any, mode: str = "add") -> None:
        """LedgerError for a table that is no roster, a null person, an unknown category or an unreadable day."""
        if mode not in MODES:
            raise LedgerError(f"roster_mode: expected one of {', '.join(MODES)}, got {mode!r}")
        table = as_table(source, "roster")
        faults = [
            f"roster: {name}: expected a column, got {', '.join(table.column_names)}"
            for name in ("person_id", "category", "from", "to")
            if name not in table.column_names
        ]
        if faults:
            raise LedgerError(faults)
        self.mode = mode
        self.person_ids, _ = read_ids(table["person_id"], "roster: person_id")
        self.mask = look_up(table["category"], category_mask, 0, np.int16, "roster: category")
        self.first = self._days(table["from"], "from", -_ALWAYS, faults)
        self.last = self._days(table["to"], "to", _ALWAYS, faults)
        unknown = np.flatnonzero(self.mask == 0)
        if len(unknown):
            faults.append(  # the cells may be ids in the wrong column: rows are named, not cells
                f"roster: category: expected known categories, got something else in {len(unknown)} rows, "
                f"first in row {unknown[0]}"
            )
        if self.person_ids.null_count:
            faults.append(f"roster: person_id: expected no null, got {self.person_ids.null_count}")
        backwards = np.flatnonzero(self.first > self.last)
        if len(backwards):
            faults.append(
                f"roster: row {backwards[0]}: expected from <= to; {len(backwards)} entries end before they begin"
            )
        if faults:
            raise LedgerError(faults)

    @staticmethod
    def _days(column: pa.ChunkedArray, name: str, open_day: int, faults: list[str]) -> NDArray[np.int64]:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        days, missing = to_days(column, f"roster: {name}", 0)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            unreadable = (
                missing
                & pc.fill_null(pc.greater(pc.binary_length(pc.utf8_trim_whitespace(column)), 0), False).to_numpy()
            )
            if unreadable.any():
                faults.append(f"roster: {name}: expected dates or nothing, got {int(unreadable.sum())} other cells")
        return np.where(missing, open_day, days.astype(np.int64))

    def masks(self, mask: NDArray[Any], person_ids: pa.ChunkedArray, days: NDArray[Any]) -> NDArray[Any]:
        """Return the rows' sets of categories with the roster: added to, or in place of, the ledger's.

        Rows that no entry covers keep the ledger's; a row whose own category is unreadable keeps its fault.
        """
        self.matches = self._matched(mask, person_ids, days)
        entry, row = self.matches.entry, self.matches.row
        found = np.zeros(len(mask), dtype=np.int16)
        np.bitwise_or.at(found, row, self.mask[entry])
        found[mask <= 0] = 0
        if self.mode == "add":
            return mask | found
        return np.where(found > 0, found, mask)

    def _matched(self, mask: NDArray[Any], person_ids: pa.ChunkedArray, days: NDArray[Any]) -> Matches:
        words = Ids([person_ids, self.person_ids]).words()
        persons, listed = words[: len(mask)], words[len(mask) :]
        candidates = np.flatnonzero(np.isin(persons, listed) & pc.is_valid(person_ids).to_numpy())
        order = candidates[np.argsort(persons[candidates], kind="stable")]
        start = np.searchsorted(persons[order], listed, side="left")
        end = np.searchsorted(persons[order], listed, side="right")
        counts = end - start
        entry = np.repeat(np.arange(len(listed)), counts)
        offset = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
        row = order[np.repeat(start, counts) + offset]
        covered = (days[row] >= self.first[entry]) & (days[row] <= self.last[entry])
        return Matches(entry[covered], row[covered], counts > 0, mask)
