"""A ledger that does not fit the memory: its parts of whole people on disk, and the way back to its own order."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao.ids import read_ids
from yibao.in_turn import in_turn
from yibao.ledger import KNOWN, ColumnMap, Ledger
from yibao.outcomes import Keys, Sorted
from yibao.outputs import PART_ROWS
from yibao.settled_rows import RowResults
from yibao.settlement import Beside
from yibao.sources import Source
from yibao.spool import Spool, Stored, kept, parts_of
from yibao_core.errors import LedgerError

WORK_BYTES = 400
"""What a row takes while it is settled, beside its own cells: records, results, copies for tables."""
FIXED_BYTES = 100 << 20
PARTS_MAX = 400  # each has a file open
_SECTION = 1 << 48
_SETTLED_NAMES = ("status", "flags", "policy_id")


def fits(source: Source, limit: int) -> bool:
    """Return whether a ledger can be settled at once within so many bytes."""
    return _needed(source, source.schema.names) <= limit - FIXED_BYTES


def _needed(source: Source, columns: Sequence[str]) -> int:
    """Return how many bytes a ledger takes while it is settled, with these columns of it."""
    a_row = source.bytes_a_row(columns)
    rows = source.rows
    if rows is None:  # text, or packed batches: no more than this
        rows = sum(4 * path.stat().st_size for path in source.paths) // a_row
    return rows * (a_row + WORK_BYTES)


def part_count(needed: int, limit: int) -> int:
    """Return how many parts a ledger is sorted into."""
    return min(PARTS_MAX, max(1, -(-needed // max(1, limit - FIXED_BYTES))))


def once_only(given: Any, directory: Path, limit: int) -> Source | None:
    """Return a source of what can be read once only, kept on disk where it is large; None for anything else."""
    if not isinstance(given, pa.RecordBatchReader):
        return None
    taken: list[pa.RecordBatch] = []
    size = 0
    for batch in given:
        taken.append(batch)
        size += batch.nbytes
        if size > limit // 4:

            def all_of_it() -> Iterator[pa.RecordBatch]:
                yield from taken
                yield from given

            return kept(all_of_it(), given.schema, "ledger", directory / "ledger.arrows")
    table = pa.Table.from_batches(taken, given.schema)
    return Source("ledger", table.schema, lambda columns: iter(table.to_batches()), len(table), lambda: table)


class Part(NamedTuple):
    """Whole people of a ledger, and what goes with them."""

    ledger: pa.Table
    beside: Beside
    ledger_rows: Keys  # of the whole ledger
    positions: Keys  # of history, ledger and what goes with them: where each of the part's stands in the whole

    def shown(self, name: str, table: pa.Table) -> pa.Table:
        """Return a table of the part as the whole run shows it: rejects name rows of the whole ledger."""
        if name != "rejects":
            return table
        rows = self.ledger_rows[table["row"].to_numpy()]
        return table.set_column(table.column_names.index("row"), "row", pa.array(rows, pa.int64()))

    def keys(self, table: Sorted) -> Keys:
        """Return what the rows of a table of the part are sorted by among those of the other parts."""
        keys: Keys = self.positions[table.row]
        return keys if table.section is None else keys + table.section * _SECTION


class Parts:
    """The parts of a ledger, each read once, and their results put back into the ledger's order."""

    def __init__(
        self,
        source: Source,
        beside: Beside,
        columns: ColumnMap,
        directory: Path,
        limit: int,
        threads: int,
        asked: Callable[[Ledger, Ledger], NDArray[np.bool_]] | None = None,
    ) -> None:
        """Sort the ledger by person to files in `directory`. `threads`: so many parts are in memory at once. `asked`: which
        rows of a history matter to a ledger, if not all.

        LedgerError where the ledger has no person ids, or a file is damaged.
        """
        self._columns, self._asked = columns, asked
        shape = Ledger(source.schema.empty_table(), columns)
        faults = shape.missing(["person_id"])
        if faults:
            raise LedgerError(faults)
        wanted = {shape.name(column) for column in KNOWN if shape.has(column)} | set(_SETTLED_NAMES)
        own: list[str] = [name for name in map(str, source.schema.names) if name in wanted]
        self.count = part_count(threads * _needed(source, own), limit)
        self._source, self._beside = source, beside
        people = {name: _people(table, columns, name) for name, table in beside._asdict().items() if table is not None}
        ids = [_people(shape.table, columns), *people.values()]
        as_text = any(not pa.types.is_int64(each.type) for each in ids)
        self._beside_parts = {name: parts_of(each, as_text, self.count) for name, each in people.items()}
        self._spool = Spool(directory, "ledger", pa.schema([source.schema.field(name) for name in own]), self.count)
        self._stored = Stored(directory, self.count)
        self._of_row = directory / "parts"
        self.rows = 0

        def parted(begin: int, batch: pa.RecordBatch) -> tuple[NDArray[np.uint16], list[pa.RecordBatch]]:
            parts = parts_of(_people(pa.Table.from_batches([batch]), columns), as_text, self.count)
            return parts, self._spool.parted(batch, parts, begin)

        with self._of_row.open("wb") as file:
            for parts, batches in in_turn(threads, lambda each: parted(*each), _numbered(source.batches(own))):
                self._spool.write(batches)
                parts.tofile(file)
                self.rows += len(parts)
        self._spool.close()

    def read(self, number: int) -> Part:
        """Return a part; its files go away."""
        ledger, rows = self._spool.read(number)
        tables: dict[str, pa.Table] = {}
        places: dict[str, Keys] = {}
        for name, parts in self._beside_parts.items():
            places[name] = np.flatnonzero(parts == number)
            tables[name] = getattr(self._beside, name).take(pa.array(places[name]))
        if self._asked is not None and "history" in tables:
            past = Ledger(tables["history"], self._columns, "history", settled=True)
            asked = self._asked(past, Ledger(ledger, self._columns))
            places["history"], tables["history"] = places["history"][asked], tables["history"].filter(pa.array(asked))
        none = np.empty(0, dtype=np.int64)
        history = 0 if self._beside.history is None else len(self._beside.history)
        behind = places.get("opening", places.get("previous", none)) + history + self.rows
        positions = np.concatenate([places.get("history", none), rows + history, behind])
        return Part(ledger, Beside(**tables), rows, positions)

    def keep(self, number: int, results: RowResults) -> None:
        """Keep the results of a part's rows."""
        arrays = {name: column for name, column in results._asdict().items() if name != "paid"}
        self._stored.write(number, arrays | {f"paid.{layer}": amounts for layer, amounts in results.paid.items()})

    def stretches(self, example: RowResults) -> Iterator[tuple[pa.Table, RowResults]]:
        """Yield the ledger in its own order, all its columns, PART_ROWS rows at a time, with the results of the parts."""
        begin = 0
        for table in _stretched(self._source):
            size = np.dtype(np.uint16).itemsize
            parts = np.fromfile(self._of_row, dtype=np.uint16, count=len(table), offset=begin * size)
            found = self._stored.next_rows(parts)
            paid = {layer: found.pop(f"paid.{layer}") for layer in example.paid}
            yield table, RowResults(**found, paid=paid)
            begin += len(table)


def _people(table: pa.Table, columns: ColumnMap, what: str = "ledger") -> pa.ChunkedArray:
    return read_ids(Ledger(table, columns, what).column("person_id"), f"{what}: person_id")[0]


def _numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield batches with the row that each begins at."""
    begin = 0
    for batch in batches:
        yield begin, batch
        begin += batch.num_rows


def _stretched(source: Source) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows, is_empty = 0, True
    for batch in source.batches():
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= PART_ROWS:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, PART_ROWS)
            waiting, rows, is_empty = table.slice(PART_ROWS).to_batches(), rows - PART_ROWS, False
    if rows or is_empty:
        yield pa.Table.from_batches(waiting, source.schema)
