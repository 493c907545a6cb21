"""Ledgers of any size from file to file, every table of a re-accounting written: cost a row and peak memory.

Beside it what Parquet itself costs in pyarrow: the same columns read, the same tables written by two threads.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bulk_alone
from race import THREADS

SIZES = [
    int(size)
    for size in os.environ.get(
        "YIBAO_BENCH_FILE_SIZES", os.environ.get("YIBAO_BENCH_SIZES", "1000000 10000000")
    ).split()
]
LIMIT = os.environ.get("YIBAO_BENCH_MEMORY", "1.5 GiB")


def run(*words: Any) -> dict[str, Any]:
    command = (sys.executable, bulk_alone.__file__, *(str(word) for word in words))
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said or "{}")
    return found


@pytest.fixture(scope="module", params=SIZES)
def ledger(request: Any, tmp_path_factory: Any) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("bulk")
    run("make", folder / "ledger", request.param)
    yield folder, request.param
    shutil.rmtree(folder)


@pytest.mark.benchmark(group="any size, file to file")
def test_everything_is_written(benchmark: Any, ledger: tuple[Path, int]) -> None:
    folder, rows = ledger
    found = benchmark.pedantic(run, ("pay", folder / "ledger", folder / "out", THREADS, LIMIT), rounds=1)
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["rows"], summary["payments"]["identity_violations"]) == (rows, 0)
    parquet = run("copy", folder / "ledger", folder / "out", THREADS)["seconds"][0]
    benchmark.extra_info |= {
        "rows": rows, "threads": THREADS, "system": "yibao", "memory_limit": LIMIT, "parquet_alone_s": parquet,
        "times_parquet": found["seconds"][0] / parquet, "us_a_row": found["seconds"][0] / rows * 1e6, **found,
    }  # fmt: skip
