"""Files in and out: Parquet, Arrow IPC and CSV become tables; results become a directory, whole or not at all.

Messages name the file, what was expected and what was found, and never a cell: cells hold ids.
"""

import codecs
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from csv import reader
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from yibao_core.errors import LedgerError

SUMMARY = "summary.json"
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


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table in a file, only `columns` of it where given; LedgerError where it cannot be read.

    A CSV file (UTF-8 with or without byte order mark, else GB18030) comes as text, column by column, so that ids keep
    their leading zeros and all 18 digits; an empty cell is null. Columns named `<name>_fen` come as integers.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise LedgerError(f"{path}: expected a file, got a directory")
        table = _READERS[_kind_of(path)](path, columns)
        table.validate(full=True)  # kernels read the buffers as they are: a broken file must stop here
    except OSError as error:  # Arrow's own I/O errors among them
        raise LedgerError(f"{path}: expected a readable file, got: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise LedgerError(f"{path}: expected {_NAMES[_kind_of(path)]}, got a damaged one: {error}") from None
    return table


def _kind_of(path: Path) -> str:
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
    encoding = _encoding_of(path)
    names = _header_of(path, encoding)
    _check_columns(path, names, columns)
    wanted = names if columns is None else list(columns)
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.large_string()),
        include_columns=wanted,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )

    bad: list[Any] = []

    def skip(line: Any) -> str:
        bad.append(line)
        return "skip"

    def read(threads: bool) -> pa.Table:
        read_options = pacsv.ReadOptions(encoding=encoding, use_threads=threads, block_size=_BLOCK)
        parse_options = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
        return pacsv.read_csv(path, read_options, parse_options, convert)

    table = read(threads=True)
    if bad:  # only a single thread knows where they stand
        bad.clear()
        read(threads=False)
        first, more = bad[0], f"; {len(bad) - 1} more lines like it" if len(bad) > 1 else ""
        raise LedgerError(
            f"{path}: record {first.number} (the header is 1): expected {first.expected_columns} cells, "
            f"got {first.actual_columns}{more}"
        )
    return _with_fen(table.combine_chunks())  # one chunk a column: what reads text does so chunk by chunk


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
        if name.endswith("_fen"):
            try:
                table = table.set_column(index, name, table.column(index).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue
    return table


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
    """Return what lies in a directory and was not written by `write_outputs`, as its summary says."""
    present = {entry.name for entry in directory.iterdir()}
    try:
        own = set(json.loads((directory / SUMMARY).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return present
    return present - own - {SUMMARY}


def write_outputs(
    directory: str | os.PathLike[str], tables: Mapping[str, pa.Table], csv: Collection[str], summary: Mapping[str, Any]
) -> list[Path]:
    """Write each table as `<name>.parquet`, those named in `csv` as CSV too, and `summary.json`; return the paths.

    Everything is written beside `directory` first and renamed when whole; what an earlier run left there is replaced.
    """
    target = check_output(directory)
    names = [f"{name}.parquet" for name in tables] + [f"{name}.csv" for name in tables if name in csv]
    with _beside(target) as unfinished:
        for name, table in tables.items():
            pq.write_table(table, unfinished / f"{name}.parquet", store_decimal_as_integer=True)
            if name in csv:
                pacsv.write_csv(table, unfinished / f"{name}.csv")
        content = {**summary, "files": sorted(names)}
        text = json.dumps(content, ensure_ascii=False, indent=2, default=str)
        (unfinished / SUMMARY).write_text(text + "\n", encoding="utf-8")
    return [target / name for name in (*names, SUMMARY)]


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield a new directory that takes the place of `target` when the block ends well, and goes away when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    unfinished, former = (target.with_name(f".{target.name}.{mark}.{part}") for part in ("part", "old"))
    unfinished.mkdir()
    try:
        yield unfinished
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
    shutil.rmtree(former, ignore_errors=True)
