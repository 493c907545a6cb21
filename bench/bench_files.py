"""File to file: a ledger in Parquet is re-accounted, and what is paid now is written as Parquet."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import cases
import duckdb_sql
import files
from race import ROWS, SLOWER, THREADS, by_settlement, check, rounds_in

COLUMNS = {"catastrophic": "catastrophic_paid_fen", "assistance": "assistance_paid_fen"}


@pytest.mark.benchmark(group="file to file")
def test_file_to_file(benchmark: Any, tmp_path: Path) -> None:
    """Same codec, row groups and columns written; the files are in the page cache. The limit: Parquet alone, in pyarrow."""
    path = tmp_path / "ledger.parquet"
    files.write(cases.three_layers(ROWS), path)
    out = tmp_path / "out"
    start = time.perf_counter()
    files.ours_file_to_file(path, files.emptied(out), THREADS)
    a_round = 2 * (time.perf_counter() - start)  # Parquet alone is about as much again
    ours = by_settlement(files.paid_in(out), COLUMNS, ROWS)

    entered = {way: files.duckdb_file_to_file(query, path, THREADS) for way, query in duckdb_sql.CONSTANT.items()}
    first = {}
    for way, pay in entered.items():
        target = files.emptied(out)
        start = time.perf_counter()
        pay(target)
        first[way] = time.perf_counter() - start
        check(ours, by_settlement(files.paid_in(out), COLUMNS, ROWS), f"DuckDB, {way}")
    del ours
    seconds: dict[str, list[float]] = {way: [] for way in entered if first[way] <= SLOWER * min(first.values())}
    a_round += sum(first[way] for way in seconds)
    copies: list[float] = []

    def others() -> None:
        for way in seconds:
            target = files.emptied(out)
            start = time.perf_counter()
            entered[way](target)
            seconds[way].append(time.perf_counter() - start)
        files.emptied(out)
        start = time.perf_counter()
        files.copy_file(path, out, THREADS, files.OURS_READ)
        copies.append(time.perf_counter() - start)
        files.emptied(out)

    benchmark.pedantic(files.ours_file_to_file, (path, out, THREADS), setup=others, rounds=rounds_in(a_round))
    benchmark.extra_info |= {"rows": ROWS, "threads": THREADS, "codec": files.CODEC, "row_group": files.ROW_GROUP}
    benchmark.extra_info["limit"] = {"seconds": copies}
    benchmark.extra_info["competitors"] = [
        {"system": "DuckDB", "way": way, "first": first[way], "seconds": seconds.get(way, [])} for way in entered
    ]
