"""Where a ledger comes from: a table, files, a dataset, a stream of batches. Read batch by batch, as often as needed.

Messages name the file, what was expected and what was found, and never a cell: cells hold ids.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from yibao.files import Batches, csv_batches, kind_of, read_table
from yibao.ledger import as_table, without_views
from yibao_core.errors import LedgerError

BATCH_ROWS = 1 << 19
_SAMPLE_ROWS = 10_000
_PARTS = "*.parquet"


class Source:
    """A ledger as batches of at most BATCH_ROWS rows, in its order."""

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        batches: Batches,
        rows: int | None,
        table: Callable[[], pa.Table] | None = None,
        paths: Sequence[Path] = (),
    ) -> None:
        """`batches` gives them with only some columns where these are named; `rows`: None where only reading tells;
        `table`: how to have everything at once, where there is a better way than its batches."""
        doubled = sorted({column for column in schema.names if schema.names.count(column) > 1})
        if doubled:
            raise LedgerError(
                [f"{name}: {column}: expected one column of this name, got several" for column in doubled]
            )
        self.name = name
        self.schema = without_views(schema.empty_table()).schema
        self.rows = rows
        self.paths = tuple(paths)
        self._batches = batches
        self._table = table

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the ledger's batches, with only some columns where these are named. LedgerError where a file is damaged."""
        with self._read_well():
            for batch in self._batches(columns):
                batch.validate(full=True)  # kernels read the buffers as they are: a broken file must stop here
                for begin in range(0, batch.num_rows, BATCH_ROWS):
                    (part,) = without_views(pa.Table.from_batches([batch.slice(begin, BATCH_ROWS)])).to_batches()
                    yield part

    def table(self) -> pa.Table:
        """Return the whole ledger. LedgerError where a file is damaged, or a table's cells are none."""
        if self._table is None:
            return pa.Table.from_batches(self.batches(), self.schema)
        table = without_views(self._table())
        if not self.paths:  # those of a file have been checked
            with self._read_well():
                table.validate(full=True)
        return table

    @contextmanager
    def _read_well(self) -> Iterator[None]:
        """Raise LedgerError for what Arrow raises in the block."""
        try:
            yield
        except OSError as error:  # Arrow's own I/O errors among them
            raise LedgerError(f"{self.name}: expected a readable file, got: {error.strerror or error}") from None
        except pa.ArrowException as error:
            found = "a whole file, got a damaged one" if self.paths else "cells of their types, got others"
            raise LedgerError(f"{self.name}: expected {found}: {error}") from None

    def bytes_a_row(self, columns: Sequence[str]) -> int:
        """Return how much memory these columns of a row take, as its first ones say."""
        for batch in self.batches(columns):
            if batch.num_rows:
                sample = pa.Table.from_batches([batch.slice(0, _SAMPLE_ROWS)])
                return 1 + int(sample.nbytes) // len(sample)
        return 1


def as_source(given: Any, what: str = "ledger") -> Source:
    """Return a ledger's source: a path (Parquet, Arrow IPC, CSV, a directory of Parquet files), several paths, a dataset,
    or whatever `as_table` takes. A reader is read once only: `spool.kept` makes a source of it. LedgerError for anything else."""
    if isinstance(given, Source):
        return given
    if isinstance(given, str | os.PathLike):
        return _of_path(Path(given))
    if isinstance(given, Sequence) and given and all(isinstance(each, str | os.PathLike) for each in given):
        return _of_parquet(", ".join(map(str, given)), [Path(each) for each in given])
    if isinstance(given, ds.Dataset):
        return Source(what, given.schema, lambda columns: _scanned(given, columns), given.count_rows())
    table = as_table(given, what)
    return Source(what, table.schema, lambda columns: _selected(table, columns), len(table), lambda: table)


def table_of(given: Any, what: str) -> pa.Table:
    """Return a source as one table."""
    is_path = isinstance(given, str | os.PathLike)
    return as_source(given, what).table() if is_path or isinstance(given, Source | Sequence) else as_table(given, what)


def table_or_none(given: Any, what: str) -> pa.Table | None:
    return None if given is None else table_of(given, what)


def _selected(table: pa.Table, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    yield from (table if columns is None else table.select(list(columns))).to_batches(max_chunksize=BATCH_ROWS)


def _scanned(dataset: ds.Dataset, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    names = None if columns is None else list(columns)
    return iter(dataset.to_batches(columns=names, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1))


def _of_path(path: Path) -> Source:
    try:
        if path.is_dir():
            found = sorted(path.glob(_PARTS))
            if not found:
                raise LedgerError(
                    f"{path}: expected a file or a directory of Parquet files, got a directory without any"
                )
            return _of_parquet(str(path), found)
        kind = kind_of(path)
        if kind == "parquet":
            return _of_parquet(str(path), [path])
        if kind == "csv":
            schema, batches = csv_batches(path)
            return Source(str(path), schema, batches, None, lambda: read_table(path), [path])
        return _of_ipc(path, kind)
    except OSError as error:
        raise LedgerError(f"{path}: expected a readable file, got: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise LedgerError(f"{path}: expected a ledger, got a damaged file: {error}") from None


def _of_parquet(name: str, paths: Sequence[Path]) -> Source:
    """Return Parquet files end to end; LedgerError where their columns differ."""
    schema, rows = None, 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            rows += file.metadata.num_rows
            schema = schema or file.schema_arrow
            if not file.schema_arrow.equals(schema):
                raise LedgerError(f"{path}: expected the same columns as in {paths[0]}, got others")
    assert schema is not None

    def batches(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for path in paths:
            # Pages as they are needed: one row group may hold the whole ledger.
            with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
                yield from file.iter_batches(BATCH_ROWS, columns=None if columns is None else list(columns))

    def table() -> pa.Table:
        return pa.concat_tables([read_table(path) for path in paths])

    return Source(name, schema, batches, rows, table, paths)


def _of_ipc(path: Path, kind: str) -> Source:
    def opened(source: Any) -> Any:
        return pa.ipc.open_file(source) if kind == "file" else pa.ipc.open_stream(source)

    def batches(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(path)) as source:
            file = opened(source)
            found = map(file.get_batch, range(file.num_record_batches)) if kind == "file" else iter(file)
            for batch in found:
                yield batch if columns is None else batch.select(list(columns))

    with pa.memory_map(str(path)) as source:
        schema = opened(source).schema
    return Source(str(path), schema, batches, None, lambda: read_table(path), [path])
