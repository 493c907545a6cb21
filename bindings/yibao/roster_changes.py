"""What a roster alone changed: whose category counts otherwise, and what that made of the money.

The money is a difference of two runs of the same kernels: the replay with the roster less the replay without it.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.columns import Prepared
from yibao.money import from_fen, money_name
from yibao.roster import Roster
from yibao_core.deltas import Deltas, deltas_by_group, deltas_less
from yibao_core.errors import SettlementError
from yibao_core.intake import MISSING_DAY, NO_ORIGINAL
from yibao_core.plan import HEAD_WIDTH, POLICY_FAVOUR, POLICY_SUPPLEMENT, POLICY_WIDTH, CompiledBook
from yibao_core.policy import CATEGORIES, LAYERS
from yibao_core.records import FROZEN, TAKEN_OUT
from yibao_core.settled import Settled

Fen = NDArray[np.int64]


class Recounted(NamedTuple):
    """The covered rows that have a policy and readable categories: what counts without the roster, and with it."""

    row: Fen
    before: Fen  # index into CATEGORIES
    after: Fen
    differs: NDArray[np.bool_]


class Replayed(NamedTuple):
    """Rows of a ledger as replayed: which were, and the differences of those that are paid otherwise than recorded."""

    row: Fen  # of the whole ledger, ascending
    is_replayed: NDArray[np.bool_]
    changed_row: Fen  # of the whole ledger
    deltas: Deltas


def is_replayed(settled: Settled) -> NDArray[np.bool_]:
    """Return which rows a re-accounting computed again: settled, in the window, not taken out with a reversal."""
    replayed: NDArray[np.bool_] = (settled.status == 0) & (settled.mode & (FROZEN | TAKEN_OUT) == 0)
    return replayed


def recount(
    roster: Roster, prepared: Prepared, plan: CompiledBook, settled: Settled, supplement: bool = False
) -> Recounted:
    """Return how the rows that the roster covers count; `supplement`: its rule makes a difference, too."""
    row = np.unique(roster.matches.row)
    row = row[(roster.matches.own_mask[row] > 0) & (settled.policy[row] < len(plan.policies))]
    own = roster.matches.own_mask[row].astype(np.int64)
    mask = prepared.columns.category_mask[prepared.history_rows + row].astype(np.int64)
    block = HEAD_WIDTH + settled.policy[row].astype(np.int64) * POLICY_WIDTH
    favour = plan.words[block + POLICY_FAVOUR]
    before, after = plan.words[favour + own], plan.words[favour + mask]
    differs = before != after
    if supplement and len(prepared.columns.supplement):
        ruled = plan.words[block + POLICY_SUPPLEMENT]
        switched = (own & ruled > 0) != (mask & ruled > 0)
        differs |= switched & (prepared.columns.supplement[prepared.history_rows + row] > 0)
    return Recounted(row, before, after, differs)


def settled_summary(roster: Roster, prepared: Prepared, plan: CompiledBook, settled: Settled) -> dict[str, Any]:
    """Return the counts of a plain settlement with a roster; a reversal goes by its original's category."""
    counted = recount(roster, prepared, plan, settled)
    computed = settled.status == 0
    if len(prepared.columns.reverses):
        computed &= prepared.columns.reverses[prepared.history_rows :] == NO_ORIGINAL
    return _counts(roster, prepared, counted, counted.differs & computed[counted.row], computed)


def _counts(
    roster: Roster, prepared: Prepared, counted: Recounted, chosen: NDArray[np.bool_], computed: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return people and rows that count otherwise (`chosen` of the recounted), and what each entry came to."""
    entry, row = roster.matches.entry, roster.matches.row
    entries = len(roster.mask)
    if len(prepared.columns.missing):
        readable = prepared.columns.missing[prepared.history_rows + row] & MISSING_DAY == 0
        entry, row = entry[readable], row[readable]
    covers = _seen(entry, entries)
    at = np.minimum(np.searchsorted(counted.row, row), max(0, len(counted.row) - 1))
    own = computed[row] & np.isin(row, counted.row)
    entry, at = entry[own], at[own]
    computes = _seen(entry, entries)
    named = roster.mask[entry].astype(np.int64)
    same = counted.before[at] == counted.after[at]
    effective = chosen[at] & ((named >> counted.after[at] & 1 > 0) | same)
    has_effect = _seen(entry[effective], entries)
    ledgers_own = roster.matches.own_mask[counted.row].astype(np.int64)[at]
    there = (named >> counted.before[at] & 1 > 0) | (named & ~ledgers_own == 0)
    favoured = _seen(entry[~there], entries)
    without = computes & ~has_effect
    rows = counted.row[chosen]
    people = np.unique(prepared.columns.person[prepared.history_rows + rows])
    known = roster.matches.in_ledger
    return {
        "entries": entries,
        "people": len(people),
        "rows": len(rows),
        "unmatched": {
            "person_not_in_ledger": int((~known).sum()),
            "no_row_in_period": int((known & ~covers).sum()),
        },
        "without_effect": {
            "category_already_there": int((without & ~favoured).sum()),
            "other_category_favoured": int((without & favoured).sum()),
            "no_row_computed": int((covers & ~computes).sum()),
        },
    }


def _seen(entry: Fen, entries: int) -> NDArray[np.bool_]:
    seen = np.zeros(entries, dtype=bool)
    seen[entry] = True
    return seen


class RosterChanges:
    """What a re-accounting's roster changed, made on demand."""

    def __init__(
        self,
        roster: Roster,
        prepared: Prepared,
        plan: CompiledBook,
        settled: Settled,
        replayed: Callable[[], Replayed],
        without: Callable[[NDArray[np.bool_]], Replayed],
        money: str,
    ) -> None:
        """`replayed`: with the roster. `without` it: of the chosen rows, those of the history first."""
        self._roster = roster
        self._prepared = prepared
        self._settled = settled
        self._replayed = replayed
        self._replay_without = without
        self._money = money
        self._counted = recount(roster, prepared, plan, settled, supplement=True)
        self._words = prepared.columns.person

    @cached_property
    def table(self) -> pa.Table:
        """One row a person and benefit year in which rows count otherwise: rows, categories before and after, and by layer,
        person and unrouted the replay with the roster less the replay without it; null where that one is refused."""
        first = self._prepared.history_rows
        rows = self._counted.row[self._chosen]
        before, after = self._counted.before[self._chosen], self._counted.after[self._chosen]
        year = self._years(rows)
        rank = pc.rank(self._prepared.settlement_ids.take(pa.array(rows)), tiebreaker="dense").to_numpy()
        order = np.lexsort((rank, self._prepared.columns.time[first + rows], year))
        listed, start, counts = np.unique(year[order], return_index=True, return_counts=True)
        by_roster = self._by_roster(listed)
        table = _table(
            self._prepared.person_ids.take(pa.array(first + rows[order][start])),
            listed % 10_000,
            counts,
            (_in_order(before[order], start, counts), _in_order(after[order], start, counts)),
            by_roster or _nothing(len(listed)),
            by_roster is None,
            self._money,
        )
        return table.take(pa.array(self._by_first_row[0]))

    @cached_property
    def _by_first_row(self) -> tuple[Fen, Fen]:
        """The listed person-years in the order in which their people come first among the rows that count otherwise, and
        where they do."""
        rows = self._counted.row[self._chosen]
        person, year = np.divmod(np.unique(self._years(rows)), 10_000)
        first = np.full(len(self._people), len(self._settled.status), dtype=np.int64)
        np.minimum.at(first, self._years(rows) // 10_000, rows)
        order = np.lexsort((year, first[person]))
        return order, first[person][order]

    @property
    def first_rows(self) -> Fen:
        """For each row of the table the row of the ledger where its person comes first; ascending."""
        return self._by_first_row[1]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """People, rows and entries; `not_compared`: why the replay without the roster is refused, if it is."""
        _, refusal = self._without
        computed = is_replayed(self._settled) | self._only_without
        counts = _counts(self._roster, self._prepared, self._counted, self._chosen, computed)
        return counts | {"not_compared": refusal}

    @cached_property
    def _without(self) -> tuple[Replayed | None, str | None]:
        """The replay without the roster of everybody for whom rows count otherwise; or why it is refused."""
        rejected = self._settled.status != 0
        rows = self._counted.row[self._counted.differs]
        rows = rows[(is_replayed(self._settled) | rejected)[rows]]
        if not len(rows):
            return None, None
        people = np.unique(self._words[self._prepared.history_rows + rows])
        try:
            return self._replay_without(np.isin(self._words, people)), None
        except SettlementError as error:
            return None, str(error)

    @cached_property
    def _only_without(self) -> NDArray[np.bool_]:
        """Which rows are rejected with the roster only: the new category asks for what they lack."""
        found = np.zeros(len(self._settled.status), dtype=bool)
        replayed, _ = self._without
        if replayed is not None:
            found[replayed.row[replayed.is_replayed]] = True
        found &= self._settled.status != 0
        return found

    @cached_property
    def _chosen(self) -> NDArray[np.bool_]:
        """Which of the recounted rows count otherwise and are replayed, with the roster or without."""
        return self._counted.differs & (is_replayed(self._settled) | self._only_without)[self._counted.row]

    @cached_property
    def _people(self) -> Fen:
        return np.unique(self._words[self._prepared.history_rows + self._counted.row[self._chosen]])

    def _years(self, rows: Fen) -> Fen:
        """Return a number for each row's person and benefit year, -1 for people without a row that counts otherwise."""
        word = self._words[self._prepared.history_rows + rows]
        place = np.minimum(np.searchsorted(self._people, word), max(0, len(self._people) - 1))
        if not len(self._people):
            return np.full(len(rows), -1)
        year = self._settled.keys(rows) // 10_000
        return np.where(self._people[place] == word, place * 10_000 + year, -1)

    def _by_roster(self, listed: Fen) -> Deltas | None:
        """Return with less without for each listed person and year; None where the replay without is refused."""
        if not len(listed):
            return _nothing(0)
        without, _ = self._without
        if without is None:
            return None
        return deltas_less(self._added_up(self._replayed(), listed), self._added_up(without, listed))

    def _added_up(self, replayed: Replayed, listed: Fen) -> Deltas:
        year = self._years(replayed.changed_row)
        chosen = np.flatnonzero(np.isin(year, listed))
        deltas = Deltas(*(amounts[..., chosen] for amounts in replayed.deltas))
        return deltas_by_group(deltas, np.searchsorted(listed, year[chosen]), len(listed))


def no_changes(prepared: Prepared, money: str) -> pa.Table:
    """Return the table of a run without a roster."""
    none = np.empty(0, dtype=np.int64)
    texts = pa.array([], pa.string())
    return _table(prepared.person_ids.slice(0, 0), none, none, (texts, texts), _nothing(0), False, money)


def _table(
    person_ids: pa.ChunkedArray,
    year: Fen,
    rows: Fen,
    categories: tuple[pa.Array, pa.Array],
    by_roster: Deltas,
    refused: bool,
    money: str,
) -> pa.Table:
    columns: dict[str, Any] = {
        "person_id": person_ids,
        "benefit_year": pa.array(year, pa.int32()),
        "rows": pa.array(rows, pa.int64()),
        "category_before": categories[0],
        "category_after": categories[1],
    }
    named = [*zip(LAYERS, by_roster.layers, strict=True), ("personal", by_roster.personal)]
    for name, amounts in [*named, ("unrouted", by_roster.unrouted)]:
        columns[money_name(f"{name}_by_roster", money)] = from_fen(amounts, money, np.full(len(year), refused))
    return pa.table(columns)


def _nothing(count: int) -> Deltas:
    none = np.zeros(count, dtype=np.int64)
    return Deltas(np.zeros((len(LAYERS), count), dtype=np.int64), none, none)


def _in_order(categories: Fen, start: Fen, counts: Fen) -> pa.Array:
    """Return each group's categories as text, in order of first appearance, joined by `;`."""
    group = np.repeat(np.arange(len(start)), counts)
    never = len(categories)
    seen = np.full((len(start), len(CATEGORIES)), never, dtype=np.int64)
    np.minimum.at(seen, (group, categories), np.arange(never))
    order = np.argsort(seen, axis=1, kind="stable")
    order[np.take_along_axis(seen, order, axis=1) == never] = -1
    orders, index = np.unique(order, axis=0, return_inverse=True)
    texts = [";".join(CATEGORIES[category] for category in line if category >= 0) for line in orders]
    return pa.DictionaryArray.from_arrays(
        pa.array(index.reshape(-1).astype(np.int32)), pa.array(texts, pa.string())
    ).cast(pa.string())
