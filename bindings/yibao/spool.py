"""Rows on disk while they are sorted by person: the ledger in parts of whole people, and what was settled of each part."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao import memory
from yibao.ids import one_chunk, text_buffers, words
from yibao.money import narrow, narrow_type
from yibao.sources import Source
from yibao_core.plain import MIX_BITS, mix_people
from yibao_core.texts import HASH_BITS, hashes_of

ROW = "\x00row"
"""The column of a part that says which row of the whole ledger each is."""
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def parts_of(person_ids: pa.ChunkedArray, as_text: bool, parts: int) -> NDArray[np.uint16]:
    """Return the part of each person (integers or large_string; compared `as_text`): the same for the same id, whatever
    table it stands in. A null id is in the first."""
    found = np.zeros(len(person_ids), dtype=np.uint16)
    at = 0
    for chunk in (person_ids.cast(pa.large_string()) if as_text else person_ids).chunks:
        if as_text:
            mixed, bits = hashes_of(*text_buffers(chunk), 1, memory.words), HASH_BITS
        else:
            short, bits = np.empty(len(chunk), dtype=np.int32), MIX_BITS
            mix_people(words(chunk.fill_null(0)), 0, len(chunk), 0, short, np.zeros(1, dtype=np.int64))
            mixed = short.astype(np.int64)
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        found[at : at + len(chunk)] = np.where(valid, mixed * parts >> bits, 0)
        at += len(chunk)
    return found


class Spool:
    """A table in parts: rows come batch by batch, each part is read as a whole, its decimals in 8 bytes where they fit."""

    def __init__(self, directory: Path, name: str, schema: pa.Schema, parts: int) -> None:
        self.schema = pa.schema(
            [*(field.with_type(narrow_type(field.type)) for field in schema), pa.field(ROW, pa.int64())]
        )
        self._narrow = self.schema.remove(len(schema))
        self._paths = [directory / f"{name}-{part:04}.arrows" for part in range(parts)]
        self._writers = [pa.ipc.new_stream(str(path), self.schema, options=_OPTIONS) for path in self._paths]

    def parted(self, batch: pa.RecordBatch, parts: NDArray[np.uint16], first_row: int) -> list[pa.RecordBatch]:
        """Return a batch's rows, `first_row` the first of them, for each part those that go to it; several threads may ask."""
        order = np.argsort(parts, kind="stable")
        rows = pa.array(order + first_row)
        own = pa.RecordBatch.from_arrays([narrow(column) for column in batch.columns], schema=self._narrow)
        ordered = pa.RecordBatch.from_arrays([*own.take(pa.array(order)).columns, rows], schema=self.schema)
        ends = np.cumsum(np.bincount(parts, minlength=len(self._writers))).tolist()
        return [ordered.slice(begin, end - begin) for begin, end in pairwise([0, *ends])]

    def write(self, parted: Sequence[pa.RecordBatch]) -> None:
        """Add the rows of a batch, each to its part."""
        for writer, batch in zip(self._writers, parted, strict=True):
            if batch.num_rows:
                writer.write_batch(batch)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def read(self, part: int) -> tuple[pa.Table, NDArray[np.int64]]:
        """Return a part's rows in their order, and which rows of the whole they are; its file goes away."""
        with pa.OSFile(str(self._paths[part])) as file:
            columns = pa.ipc.open_stream(file).read_all().columns
        self._paths[part].unlink()
        for index, column in enumerate(columns):  # one by one: the pieces of each go away as soon as it is whole
            columns[index] = one_chunk(column)
            del column
        memory.give_back()  # the pieces: what is made of the part is of other sizes and would be new memory
        rows = words(columns.pop())
        return pa.Table.from_arrays(columns, names=self.schema.names[:-1]), rows


class Stored:
    """Arrays by row of each part, written once, read again piece by piece from the front: a part is a file of records."""

    def __init__(self, directory: Path, parts: int) -> None:
        self._paths = [directory / f"rows-{part:04}" for part in range(parts)]
        self._records: list[np.dtype[Any]] = [np.dtype([])] * parts
        self._at = np.zeros(parts, dtype=np.int64)
        self._kinds: dict[str, np.dtype[Any]] = {}

    def write(self, part: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a part's arrays; all parts have those of the same names and kinds, empty ones where a run has no such thing.
        Several threads may write parts at once."""
        rows = max(map(len, arrays.values()), default=0)
        own = {name: array for name, array in arrays.items() if len(array) == rows}
        record = np.dtype([(name, _least_kind(array)) for name, array in own.items()])
        records = np.empty(rows, dtype=record)
        for name, array in own.items():
            records[name] = array
        records.tofile(self._paths[part])
        self._records[part] = record
        self._kinds |= {name: array.dtype for name, array in arrays.items()}

    def next_rows(self, parts: NDArray[np.uint16]) -> dict[str, NDArray[Any]]:
        """Return the next values of each part for rows that follow those asked for before, `parts` theirs."""
        order = np.argsort(parts, kind="stable")
        counts = np.bincount(parts, minlength=len(self._paths)).tolist()
        pieces = [self._next(part, count) for part, count in enumerate(counts) if count]
        found: dict[str, NDArray[Any]] = {}
        for name, kind in self._kinds.items():
            found[name] = np.empty(len(order) if pieces and name in (pieces[0].dtype.names or ()) else 0, dtype=kind)
            if len(found[name]):
                found[name][order] = np.concatenate([piece[name] for piece in pieces], dtype=kind)
        return found

    def _next(self, part: int, rows: int) -> NDArray[Any]:
        record = self._records[part]
        begin = int(self._at[part]) * record.itemsize
        self._at[part] += rows
        return np.fromfile(self._paths[part], dtype=record, count=rows, offset=begin)


def _least_kind(array: NDArray[Any]) -> np.dtype[Any]:
    """Return the type in which a part's values are kept: amounts of a part seldom need 8 bytes."""
    if array.dtype != np.int64 or not len(array):
        return array.dtype
    fits = array.min() >= -(2**31) and array.max() < 2**31
    return np.dtype(np.int32) if fits else array.dtype


def kept(batches: Iterator[pa.RecordBatch], schema: pa.Schema, name: str, path: Path) -> Source:
    """Return a source of batches that come once only: they are written to a file and read from it."""
    rows = 0
    with pa.ipc.new_stream(str(path), schema, options=_OPTIONS) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows

    def again(columns: Any) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(path)) as file:
            for batch in pa.ipc.open_stream(file):
                yield batch if columns is None else batch.select(list(columns))

    return Source(name, schema, again, rows)
