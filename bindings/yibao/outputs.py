"""Results as a directory: written beside its place first and renamed when whole, so that there is a whole one or none."""

import base64
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from yibao.ids import one_chunk
from yibao.ledger import IDS
from yibao.money import narrow, narrow_type
from yibao_core.errors import LedgerError

SUMMARY = "summary.json"
PART_ROWS = 1 << 19
"""So many rows are one part of a table, and one row group of its file."""
_KEYS = frozenset({*IDS, "transfer_id", "order_id"})


class ResultFiles:
    """What a run has written: the directory, the files of each table, the summary."""

    def __init__(self, directory: Path, files: Mapping[str, tuple[Path, ...]], summary: Mapping[str, Any]) -> None:
        self.directory = directory
        self.files = dict(files)
        """The Parquet files of each table, end to end its rows."""
        self.summary = dict(summary)

    def table(self, name: str) -> pa.Table:
        """Return a table as a whole."""
        tables = [pq.ParquetFile(path).read() for path in self._of(name)]
        return pa.concat_tables(tables, promote_options="permissive")

    def reader(self, name: str) -> pa.RecordBatchReader:
        """Return a table batch by batch."""
        paths = self._of(name)
        # A part with more words in a dictionary column than others may need larger indices.
        schema = pa.unify_schemas([pq.read_schema(path) for path in paths], promote_options="permissive")

        def batches() -> Iterator[pa.RecordBatch]:
            for path in paths:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches():
                        yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _of(self, name: str) -> tuple[Path, ...]:
        if name not in self.files:
            raise KeyError(f"{name}: expected one of {', '.join(self.files)}")
        return self.files[name]

    def __repr__(self) -> str:
        return f"ResultFiles({str(self.directory)!r}: {', '.join(self.files)})"


class Writer:
    """Writes tables of a run as Parquet, in parts of PART_ROWS rows; a table of one part is one file `<name>.parquet`, others
    are directories of that name. The same rows give the same bytes, however they come."""

    def __init__(self, directory: Path, target: Path) -> None:
        """`directory`: where files are written; `target`: where they will lie."""
        self.directory = directory
        self._target = target
        self._parts: dict[str, set[int]] = {}

    def part(self, name: str, index: int, table: pa.Table) -> None:
        """Write one part of a table; several threads may write parts of one at once."""
        folder = self.directory / f"{name}.parquet"
        folder.mkdir(exist_ok=True)
        table = canonical(table)  # what came is not needed any more: a part of a wide table is large
        write_parquet(table, folder / _part_name(index))
        self._parts.setdefault(name, set()).add(index)

    def whole(self, name: str, tables: Iterator[pa.Table]) -> None:
        """Write a table that comes in pieces, one at least."""
        waiting: list[pa.Table] = []
        index = rows = 0
        for table in tables:
            waiting.append(table)
            rows += len(table)
            while rows >= PART_ROWS:
                joined = pa.concat_tables(waiting)
                self.part(name, index, joined.slice(0, PART_ROWS))
                waiting, rows, index = [joined.slice(PART_ROWS)], rows - PART_ROWS, index + 1
        if rows or not index:
            self.part(name, index, pa.concat_tables(waiting))

    def written(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Return some columns of a table that has been written."""
        folder = self.directory / f"{name}.parquet"
        parts = (pq.ParquetFile(folder / _part_name(index)) for index in range(len(self._parts[name])))
        return pa.concat_tables([part.read(list(columns)) for part in parts])

    def finish(self, summary: Mapping[str, Any], csv: Collection[str]) -> ResultFiles:
        """Write those tables in `csv` as text, too, and `summary.json`, which names all files; return where they will lie."""
        files = self._in_place(csv)
        names = [name for own in files.values() for name in own] + [f"{name}.csv" for name in files if name in csv]
        text = json.dumps({**summary, "files": sorted(names)}, ensure_ascii=False, indent=2, default=str)
        (self.directory / SUMMARY).write_text(text + "\n", encoding="utf-8")
        paths = {name: tuple(self._target / file for file in own) for name, own in files.items()}
        return ResultFiles(self._target, paths, summary)

    def _in_place(self, csv: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Put tables of one part where they belong, write those in `csv` as text, too; return the files of each table."""
        files: dict[str, tuple[str, ...]] = {}
        for name in sorted(self._parts):
            count = len(self._parts[name])
            folder = self.directory / f"{name}.parquet"
            own = tuple(f"{folder.name}/{_part_name(index)}" for index in range(count))
            if count == 1:
                alone = self.directory / f".{name}"
                (folder / _part_name(0)).rename(alone)
                folder.rmdir()
                alone.rename(folder)
                own = (folder.name,)
            files[name] = own
            if name in csv:
                self._write_csv(name, own)
        return files

    def _write_csv(self, name: str, files: Collection[str]) -> None:
        schema = pq.read_schema(self.directory / next(iter(files)))
        with pacsv.CSVWriter(self.directory / f"{name}.csv", schema) as writer:
            for file in files:
                writer.write_table(pq.ParquetFile(self.directory / file).read())


def _part_name(index: int) -> str:
    return f"part-{index:05}.parquet"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table: lz4, dictionaries for words only, since ids and amounts hardly ever repeat; numbers as their differences
    in as few bits as a block of them needs, in which the zeros of layers that pay nobody take no room."""
    words: Any = [
        field.name
        for field in table.schema
        if pa.types.is_dictionary(field.type)
        or ((pa.types.is_string(field.type) or pa.types.is_large_string(field.type)) and field.name not in _KEYS)
    ]
    # A name with a dot may be the way to another column's inside.
    numbers = [field.name for field in table.schema if _is_number(field.type) and "." not in field.name]
    # Decimals go to the file as integers. pyarrow is slow to make these of 16 bytes; of 8 they are the same file, in which
    # the schema says what they are to be read as. Under the same key pyarrow itself would say so.
    stored = _narrowed(table)
    with pq.ParquetWriter(
        path,
        stored.schema,
        compression="lz4",
        use_dictionary=words or False,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in numbers},
        store_decimal_as_integer=True,
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(table.schema.serialize().to_pybytes())})
        writer.write_table(stored, row_group_size=PART_ROWS)


def _narrowed(table: pa.Table) -> pa.Table:
    """Return a table with its decimals in 8 bytes where they fit, each column that stands in it several times once."""
    made: dict[tuple[Any, ...], pa.Array] = {}
    columns = []
    for column in table.columns:
        array = one_chunk(column)
        if narrow_type(array.type) != array.type:
            places = (array.offset, len(array), *(part.address if part else 0 for part in array.buffers()))
            if places not in made:
                made[places] = narrow(array)
            array = made[places]
        columns.append(array)
    return pa.Table.from_arrays(columns, names=table.column_names)


def _is_number(kind: pa.DataType) -> bool:
    """Return whether Parquet keeps a column of this type as integers of 4 or 8 bytes."""
    if pa.types.is_decimal(kind):
        return int(kind.precision) <= 18
    return bool(pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def canonical(table: pa.Table) -> pa.Table:
    """Return a table as one chunk, without metadata, dictionaries in the order in which their words come first."""
    columns = []
    for column in table.columns:
        array = one_chunk(column)
        columns.append(_in_order(array) if pa.types.is_dictionary(array.type) else array)
    return pa.Table.from_arrays(columns, names=table.column_names)


def _in_order(array: pa.DictionaryArray) -> pa.DictionaryArray:
    indices, words = array.indices, array.dictionary
    if words.null_count or len(words.unique()) < len(words):  # one word in two places: as text, then anew
        return array.cast(words.type).dictionary_encode().cast(array.type)
    used = pc.drop_null(pc.unique(indices)).to_numpy()
    if np.array_equal(used, np.arange(len(words))):
        return array
    place = np.zeros(len(words) + 1, dtype=np.int64)
    place[used] = np.arange(len(used))
    valid = pc.is_valid(indices).to_numpy(zero_copy_only=False)
    own = place[pc.fill_null(indices, 0).to_numpy(zero_copy_only=False)]
    indices = pa.array(own, mask=None if valid.all() else ~valid).cast(array.type.index_type)
    return pa.DictionaryArray.from_arrays(indices, words.take(pa.array(used)), ordered=array.type.ordered)


def check_output(directory: str | os.PathLike[str], inputs: Collection[str | os.PathLike[str]] = ()) -> Path:
    """Return the real path of an output directory; LedgerError where results may not be written there.

    It may be new, empty, or hold the files of an earlier run and nothing else. No input may lie in it: earlier
    transfers that are read from it would be gone afterwards.
    """
    target = Path(directory).resolve()
    if target.exists() and not target.is_dir():
        raise LedgerError(f"{directory}: expected a directory to write to, got a file")
    inside = [path for path in inputs if Path(path).resolve().is_relative_to(target)]
    if inside:
        raise LedgerError(
            [f"{path}: expected an input outside {directory}, which is replaced as a whole" for path in inside]
        )
    strange = sorted(_strangers(target)) if target.exists() else []
    if strange:
        shown = ", ".join(strange[:3]) + (f" and {len(strange) - 3} more" if len(strange) > 3 else "")
        raise LedgerError(
            f"{directory}: expected a new directory, or one with results of an earlier run, got {shown} in it"
        )
    return target


def _strangers(directory: Path) -> set[str]:
    """Return what lies in a directory and was not written by a run, as its summary says."""
    present = {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    present |= {entry.name for entry in directory.iterdir() if entry.is_dir() and not any(entry.iterdir())}
    try:
        own = set(json.loads((directory / SUMMARY).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return present
    return present - own - {SUMMARY}


@contextmanager
def new_results(directory: str | os.PathLike[str]) -> Iterator[tuple[Writer, Path]]:
    """Yield a writer of results that take the place of `directory` when the block ends well, and a folder for what is in
    the way meanwhile; all of it goes away when the block does not end well. `Writer.finish` belongs at the block's end."""
    target = check_output(directory)
    with _beside(target) as (unfinished, scratch):
        yield Writer(unfinished, target), scratch


def write_outputs(
    directory: str | os.PathLike[str], tables: Mapping[str, pa.Table], csv: Collection[str], summary: Mapping[str, Any]
) -> ResultFiles:
    """Write tables, those named in `csv` as text too, and `summary.json`; what an earlier run left there is replaced."""
    with new_results(directory) as (writer, _):
        for name, table in tables.items():
            writer.whole(name, iter([table]))
        return writer.finish(summary, csv)


@contextmanager
def _beside(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a new directory that takes the place of `target` when the block ends well, and one that goes away anyhow."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    unfinished, scratch, former = (
        target.with_name(f".{target.name}.{mark}.{part}") for part in ("part", "scratch", "old")
    )
    unfinished.mkdir()
    scratch.mkdir()
    try:
        yield unfinished, scratch
        if target.exists():
            target.rename(former)
        try:
            unfinished.rename(target)
        except OSError:
            if former.exists():
                former.rename(target)
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)
