"""What a row costs in small and large ledgers, and the memory it takes: every figure from a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import alone
from race import THREADS

SIZES = [int(size) for size in os.environ.get("YIBAO_BENCH_SIZES", "1000000 10000000").split()]
ROUNDS = 3
COMPETITORS_TO = 30_000_000
"""Beyond it competitors would no longer find room in memory beside the ledger."""


def run(*words: Any) -> str:
    words = (sys.executable, alone.__file__, *(str(word) for word in words))
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="module", params=SIZES)
def ledger(request: Any, tmp_path_factory: Any) -> Iterator[tuple[Path, int]]:
    path = tmp_path_factory.mktemp("slope") / "ledger.arrow"
    run("make", path, request.param)
    yield path, request.param
    path.unlink()


@pytest.mark.benchmark(group="cost a row")
@pytest.mark.parametrize("system", ["yibao", *alone.WAYS])
def test_slope(benchmark: Any, ledger: tuple[Path, int], system: str) -> None:
    """Re-accounting of three layers, constant categories."""
    path, rows = ledger
    if system != "yibao" and rows > COMPETITORS_TO:
        pytest.skip("the competitor needs more memory")
    try:
        found = json.loads(benchmark.pedantic(run, ("pay", path, system, THREADS, ROUNDS), rounds=1))
    except subprocess.CalledProcessError as error:
        if error.returncode == -signal.SIGKILL:
            pytest.skip("killed: it needs more memory than there is")
        raise
    benchmark.extra_info |= {"rows": rows, "threads": THREADS, "system": system, **found}
