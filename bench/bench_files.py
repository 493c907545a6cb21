"""File to file: a ledger in Parquet is re-accounted, and what is paid now is written as Parquet."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

import baselines
import cases
import duckdb_sql
import files
from race import ROWS, THREADS, race


@pytest.mark.benchmark(group="file to file")
def test_file_to_file(benchmark: Any, tmp_path: Path) -> None:
    """Same codec, row groups and columns written; files are in the page cache. The limit: Parquet alone, in pyarrow."""
    out = tmp_path / "out"

    @cache
    def ledger(rows: int) -> Path:
        path = tmp_path / f"{rows}.parquet"
        files.write(cases.three_layers(rows), path)
        return path

    def ours(rows: int) -> files.Paid:
        files.ours_file_to_file(ledger(rows), files.emptied(out), THREADS)
        return files.Paid(out)

    def theirs(path: Path, query: str) -> files.Paid:
        files.duckdb_file_to_file(query, path, files.emptied(out), THREADS)
        return files.Paid(out)

    race(
        benchmark,
        ours,
        [
            baselines.Competitor("DuckDB", way, lambda path, threads: path, partial(theirs, query=query))
            for way, query in duckdb_sql.CONSTANT.items()
        ],
        ledger,
        {"catastrophic": "catastrophic_paid_fen", "assistance": "assistance_paid_fen"},
        rows=ROWS,
        threads=THREADS,
        limit=lambda: files.copy_file(ledger(ROWS), files.emptied(out), THREADS, files.OURS_READ),
    )
    benchmark.extra_info |= {"codec": files.CODEC, "row_group": files.ROW_GROUP}
