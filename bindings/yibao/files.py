"""Files in: Parquet, Arrow IPC and CSV become tables, or batches.

Messages name the file, what was expected and what was found, and never a cell: cells hold ids.
"""

import codecs
import os
from collections.abc import Callable, Iterator, Sequence
from csv import reader
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from yibao_core.errors import LedgerError

_KINDS = "Parquet (.parquet), Arrow IPC (.arrow, .feather, .ipc) or CSV (.csv, .txt)"
_MAGIC = {b"PAR1": "parquet", b"ARRO": "file", b"\xff\xff\xff\xff": "stream"}
_SUFFIXES = {
    ".parquet": ("parquet",), ".pq": ("parquet",),
    ".arrow": ("file", "stream"), ".feather": ("file", "stream"), ".ipc": ("file", "stream"), ".arrows": ("stream",),
    ".csv": ("csv",), ".txt": ("csv",),
}  # fmt: skip
_NAMES = {"parquet": "a Parquet file", "file": "an Arrow IPC file", "stream": "an Arrow IPC stream", "csv": "CSV text"}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (an .xlsx workbook? save the sheet as CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": "an .xls workbook (save the sheet as CSV UTF-8)",
    b"\x1f\x8b": "a gzip file (unpack it first)",
    b"FEA1": "a Feather file of version 1",
    b"\xff\xfe": "UTF-16 text (save it as CSV UTF-8)",
    b"\xfe\xff": "UTF-16 text (save it as CSV UTF-8)",
}
_BLOCK = 1 << 22


Batches = Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]
"""Gives the batches of a ledger, with only some columns where these are named."""


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table in a file, only `columns` of it where given; LedgerError where it cannot be read.

    A CSV file (UTF-8 with or without byte order mark, else GB18030) comes as text, column by column, so that ids keep
    their leading zeros and all 18 digits; an empty cell is null. Columns named `<name>_fen` come as integers.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise LedgerError(f"{path}: expected a file, got a directory")
        table = _READERS[kind_of(path)](path, columns)
        table.validate(full=True)  # kernels read the buffers as they are: a broken file must stop here
    except OSError as error:  # Arrow's own I/O errors among them
        raise LedgerError(f"{path}: expected a readable file, got: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise LedgerError(f"{path}: expected {_NAMES[kind_of(path)]}, got a damaged one: {error}") from None
    return table


def kind_of(path: Path) -> str:
    """Return how to read a file: what its first bytes say, and CSV by its name. LedgerError where the two disagree."""
    with path.open("rb") as file:
        head = file.read(4)
    allowed = _SUFFIXES.get(path.suffix.lower())
    kind = _MAGIC.get(head)
    if kind is None and allowed == ("csv",):
        kind = "csv"
    found = _NAMES[kind] if kind else "no file of these kinds"
    foreign = next((name for mark, name in _FOREIGN.items() if head.startswith(mark)), None)
    if not head:
        foreign = "an empty file"
    if foreign is None and kind is not None and (allowed is None or kind in allowed):
        return kind
    expected = " or ".join(_NAMES[name] for name in allowed) if allowed else _KINDS
    raise LedgerError(f"{path}: expected {expected}, got {foreign or found}")


def _read_parquet(path: Path, columns: Sequence[str] | None) -> pa.Table:
    # ParquetFile, not read_table: that one makes columns of folders named `year=2019`.
    with pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, columns)
        return file.read(columns=None if columns is None else list(columns))


def _read_ipc_file(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return _selected(path, pa.ipc.open_file(source).read_all(), columns)


def _read_ipc_stream(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return _selected(path, pa.ipc.open_stream(source).read_all(), columns)


def _read_csv(path: Path, columns: Sequence[str] | None) -> pa.Table:
    return _Csv(path).table(columns)


def csv_batches(path: Path) -> tuple[pa.Schema, Batches]:
    """Return what the table of a CSV file looks like, and its batches; LedgerError as for the table."""
    csv = _Csv(path)
    fen = [name for name in csv.names if name.endswith("_fen")]
    as_text = set()
    for batch in csv.batches(fen) if fen else ():
        as_text |= {name for name in fen if _whole(batch.column(name)) is None}
    whole = set(fen) - as_text
    schema = pa.schema([(name, pa.int64() if name in whole else pa.large_string()) for name in csv.names])

    def batches(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for batch in csv.batches(columns):
            own = [schema.field(name) for name in batch.schema.names]
            yield pa.RecordBatch.from_arrays(
                [batch.column(field.name).cast(field.type) for field in own], schema=pa.schema(own)
            )

    return schema, batches


class _Csv:
    """A CSV file, read any number of times: every cell as text, an empty one as null."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoding = _encoding_of(path)
        self.names = _header_of(path, self._encoding)

    def table(self, columns: Sequence[str] | None) -> pa.Table:
        """Return the file, only `columns` of it where given; columns of fen are integers."""
        bad: list[Any] = []
        table = pacsv.read_csv(self._path, *self._options(columns, bad, threads=True))
        if bad:  # only a single thread knows where they stand
            bad.clear()
            pacsv.read_csv(self._path, *self._options(columns, bad, threads=False))
        self._refuse(bad)
        return _with_fen(table.combine_chunks())  # one chunk a column: what reads text does so chunk by chunk

    def batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield the file as text, only `columns` of it where given."""
        bad: list[Any] = []
        with pacsv.open_csv(self._path, *self._options(columns, bad, threads=False)) as batches:
            yield from batches
        self._refuse(bad)

    def _options(self, columns: Sequence[str] | None, bad: list[Any], threads: bool) -> tuple[Any, Any, Any]:
        """Return how to read; lines of another length than the header go to `bad`."""
        _check_columns(self._path, self.names, columns)

        def skip(line: Any) -> str:
            bad.append(line)
            return "skip"

        return (
            pacsv.ReadOptions(encoding=self._encoding, use_threads=threads, block_size=_BLOCK),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.large_string()),
                include_columns=self.names if columns is None else list(columns),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )

    def _refuse(self, bad: Sequence[Any]) -> None:
        """Raise LedgerError where some lines had another number of cells than the header."""
        if bad:
            first, more = bad[0], f"; {len(bad) - 1} more lines like it" if len(bad) > 1 else ""
            raise LedgerError(
                f"{self._path}: record {first.number} (the header is 1): expected {first.expected_columns} cells, "
                f"got {first.actual_columns}{more}"
            )


_READERS: dict[str, Callable[[Path, Sequence[str] | None], pa.Table]] = {
    "parquet": _read_parquet,
    "file": _read_ipc_file,
    "stream": _read_ipc_stream,
    "csv": _read_csv,
}


def _selected(path: Path, table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    _check_columns(path, table.column_names, columns)
    return table if columns is None else table.select(list(columns))


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str] | None) -> None:
    missing = [name for name in columns or () if name not in names]
    if missing:
        raise LedgerError([f"{path}: {name}: expected a column, got only {', '.join(names)}" for name in missing])


def _encoding_of(path: Path) -> str:
    """Return "utf-8" or "gb18030"; LedgerError where the bytes are neither."""
    places: list[str] = []
    for encoding, name in (("utf-8", "UTF-8"), ("gb18030", "GB18030")):
        decoder = codecs.getincrementaldecoder(encoding)()
        read = 0
        with path.open("rb") as file:
            try:
                while block := file.read(_BLOCK):
                    decoder.decode(block)
                    read += len(block)
                decoder.decode(b"", final=True)
                return encoding
            except UnicodeDecodeError as error:
                places.append(f"{name} breaks near byte {read + error.start}")
    raise LedgerError(f"{path}: expected text in UTF-8 or GB18030, got other bytes: {', '.join(places)}")


def _header_of(path: Path, encoding: str) -> list[str]:
    """Return the column names of a CSV file; LedgerError where they are missing, doubled, or not apart by commas."""
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        names = next(reader(file), [])
    for mark, name in (("\t", "tabs"), (";", "semicolons")):
        if len(names) == 1 and mark in names[0]:
            raise LedgerError(f"{path}: expected columns separated by commas, got {name}")
    if not any(name.strip() for name in names):
        raise LedgerError(f"{path}: expected column names in the first line, got an empty line")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise LedgerError(
            [f"{path}: {name or '(no name)'}: expected each column once, got several" for name in doubled]
        )
    return names


def _with_fen(table: pa.Table) -> pa.Table:
    """Return a table of text with its columns of fen as integers; a column that does not read so stays text."""
    for index, name in enumerate(table.column_names):
        amounts = _whole(table.column(index)) if name.endswith("_fen") else None
        if amounts is not None:
            table = table.set_column(index, name, amounts)
    return table


def _whole(text: Any) -> Any:
    """Return a column of text as integers, None where some cell is neither a whole number nor empty."""
    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
