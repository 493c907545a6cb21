"""What comes back from the kernels: results by row, and the groups behind them.

What many callers never look at (personal shares, payments that stand as recorded, groups by row) is made when it is asked for.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core.accumulators import GROUP_ID_ROW, GROUP_KEY
from yibao_core.intake import Columns
from yibao_core.keys import row_keys
from yibao_core.money import NULL_FEN
from yibao_core.plan import CompiledBook
from yibao_core.policy import LAYERS
from yibao_core.room import Memory

Fen = NDArray[np.int64]


class FullRows(NamedTuple):
    """Results of the rows that went through full records; `group` counts from the first group of full records (-1: none)."""

    rows: Fen | None  # which, counted behind the history; None: all of them, in their order
    personal_fen: Fen
    paid_fen: Mapping[str, Fen]  # the layers that are computed or recorded anywhere
    group: NDArray[np.int32]


class Settled:
    """Results by row, in the order in which the rows came, and the person-years behind them."""

    def __init__(
        self,
        book: CompiledBook,
        columns: Columns,
        history_rows: int,
        *,
        status: NDArray[np.int8],
        flags: NDArray[np.int16],
        mode: NDArray[np.int8],
        policy: NDArray[np.int8],
        paid_fen: Mapping[str, Fen],
        full: FullRows,
        plain_groups: list[Fen],
        full_groups: list[Fen],
        deductible_fen: Fen,
        stay_number: Fen,
        counters: Fen,
        violations: int,
        trace: Fen,
        memory: Memory,
    ) -> None:
        """`paid_fen`: payments of all rows in the layers that are computed for some; those of `full` count in all layers."""
        self._book, self._columns, self._first = book, columns, history_rows
        self.status, self.flags, self.mode, self.policy = status, flags, mode, policy
        self._paid = paid_fen
        self._full = full
        self._memory = memory
        self._plain_groups, self._full_groups = plain_groups, full_groups
        self.deductible_fen = (
            deductible_fen  # borne by the stay; NULL_FEN: it was not counted. Empty where none are counted
        )
        self.stay_number = stay_number  # in the year; 0: it went on with an episode, -1: none
        self.counters, self.violations, self.trace = counters, violations, trace

    @cached_property
    def paid_fen(self) -> Mapping[str, Fen]:
        """Payments (fen) by layer, for those that are computed or recorded anywhere."""
        layers = [name for name, on in zip(LAYERS, self._book.active, strict=True) if on]
        return _Paid(self._paid, layers, self._columns, self._first, self._full)

    @cached_property
    def personal_fen(self) -> Fen:
        """What is left to the person of each settled row, 0 of others."""
        if self._full.rows is None:
            return self._full.personal_fen
        total = self._columns.amounts("total_fee")[self._first :]
        personal = self._memory(len(total))
        personal[:] = total
        for paid in self.paid_fen.values():
            personal -= paid
        personal[self._full.rows] = self._full.personal_fen
        return personal

    @cached_property
    def groups(self) -> Fen:
        """Person-years (and episodes): (groups, GROUP_BALANCES + 2 x accounts)."""
        return np.concatenate([*self._plain_groups, *self._full_groups])

    def keys(self, rows: Fen) -> Fen:
        """Return benefit year x 10,000 + city of settled rows."""
        keys = row_keys(self._book, self._columns, self._first, self.policy, rows)
        at, is_full = self._among_full(rows)
        groups = self._full.group[at[is_full]].astype(np.int64)
        own = self.groups[groups + self._full_first, GROUP_KEY] if len(groups) else groups
        keys[is_full] = np.where(groups >= 0, own, keys[is_full])  # a reversal's is its original's
        return keys

    def group_of(self, rows: Fen) -> Fen:
        """Return the group of each of some rows, -1 for none; of plain rows only groups that were kept can be found."""
        found = np.full(len(rows), -1, dtype=np.int64)
        at, is_full = self._among_full(rows)
        groups = self._full.group[at[is_full]].astype(np.int64)
        found[is_full] = np.where(groups >= 0, groups + self._full_first, -1)
        if not is_full.all():
            found[~is_full] = self._plain_group_of(rows[~is_full])
        return found

    @property
    def _full_first(self) -> int:
        """The first group of full records among all groups."""
        return sum(len(part) for part in self._plain_groups)

    @cached_property
    def _full_order(self) -> Fen:
        assert self._full.rows is not None
        return np.argsort(self._full.rows, kind="stable")

    def _among_full(self, rows: Fen) -> tuple[Fen, NDArray[np.bool_]]:
        """Return where each row stands among the full ones, and which do."""
        own = self._full.rows
        if own is None:
            return rows, np.ones(len(rows), dtype=bool)
        if not len(own):
            return np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
        place = np.searchsorted(own, rows, sorter=self._full_order)
        at = self._full_order[np.minimum(place, len(own) - 1)]
        return at, own[at] == rows

    def _plain_group_of(self, rows: Fen) -> Fen:
        """Return the plain groups of rows by person and key."""
        groups = np.concatenate(self._plain_groups) if self._plain_groups else np.empty((0, GROUP_ID_ROW + 1), np.int64)
        if not len(groups):
            return np.full(len(rows), -1, dtype=np.int64)
        person = self._columns.person
        words, keys = person[groups[:, GROUP_ID_ROW]], groups[:, GROUP_KEY]
        order = np.lexsort((keys, words))
        wanted, wanted_keys = person[rows + self._first], self.keys(rows)
        found = np.full(len(rows), -1, dtype=np.int64)
        open_rows = np.arange(len(rows))
        at = np.empty(len(rows), dtype=np.int64)
        by_person = np.argsort(wanted)  # who is looked up stands near who was looked up last: five times as fast
        at[by_person] = np.searchsorted(words[order], wanted[by_person])
        while len(open_rows):
            inside = at[open_rows] < len(order)
            open_rows = open_rows[inside]
            group = order[at[open_rows]]
            same_person = words[group] == wanted[open_rows]
            open_rows, group = open_rows[same_person], group[same_person]
            hit = keys[group] == wanted_keys[open_rows]
            found[open_rows[hit]] = group[hit]
            open_rows = open_rows[~hit]
            at[open_rows] += 1
        return found


class _Paid(Mapping[str, Fen]):
    """Payments by layer; those that stand as recorded are read when they are asked for.

    It knows nothing of who made it: results that held each other in a circle would stay until the garbage collector
    comes, and the next run would ask the system for new memory.
    """

    def __init__(
        self, made: Mapping[str, Fen], layers: list[str], columns: Columns, history_rows: int, full: FullRows
    ) -> None:
        self._made, self._layers = dict(made), layers
        self._columns, self._first, self._full = columns, history_rows, full

    def __getitem__(self, layer: str) -> Fen:
        if layer not in self._layers:
            raise KeyError(layer)
        if layer not in self._made:
            self._made[layer] = self._recorded(layer)
        return self._made[layer]

    def _recorded(self, layer: str) -> Fen:
        """Return a layer's payments where it is computed for nobody but in full records: as the ledger has them."""
        if self._full.rows is None:
            return self._full.paid_fen[layer]
        amounts = self._columns.amounts(f"{layer}_paid")[self._first :]
        rows = len(self._columns.person) - self._first
        paid = np.where(amounts == NULL_FEN, 0, amounts) if len(amounts) else np.zeros(rows, dtype=np.int64)
        paid[self._full.rows] = self._full.paid_fen[layer]
        return paid

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
