"""Results as a directory: written beside its place first and renamed when whole, so that there is a whole one or none."""

import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from yibao_core.errors import LedgerError

SUMMARY = "summary.json"


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
