"""One ledger from file to file in a fresh process: its time, and the most memory it held.

`python bulk_alone.py make FOLDER ROWS` writes a ledger, `… pay FOLDER OUT THREADS LIMIT` re-accounts it, `… copy FOLDER OUT
THREADS` reads what `pay` reads and writes what it has written, and does nothing between.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import cases

ROWS_AT_ONCE = 10_000_000


def make(folder: Path, rows: int) -> None:
    """Write a paid ledger as Parquet files of ten million rows, each of people of its own."""
    from yibao.outputs import write_parquet

    folder.mkdir()
    each = min(rows, ROWS_AT_ONCE)
    part = cases.paid_ledger(each, cases.people_in(each))
    for number in range(rows // each):
        for name, step in (("settlement_id", each), ("person_id", cases.people_in(each))):
            ids = pa.array(part[name].to_numpy() + np.int64(number * step))
            part = part.set_column(part.column_names.index(name), name, ids) if number else part
        write_parquet(part, folder / f"part-{number:03}.parquet")
        part = cases.paid_ledger(each, cases.people_in(each))


def pay(folder: Path, out: Path, threads: int, limit: str) -> None:
    import yibao

    policy = yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)
    yibao.reaccount(folder, policy, missing_paid="zero", threads=threads, out=out, memory_limit=limit)


def copy(folder: Path, out: Path, threads: int) -> None:
    """Read the ledger and, file by file, write the tables in `out` again: what Parquet itself costs, reading them aside."""
    from yibao.outputs import write_parquet

    spent = 0.0
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda path: pq.ParquetFile(path).read(use_threads=False).num_rows, sorted(folder.iterdir())))
        spent += time.perf_counter() - start
        for path in sorted(out.rglob("*.parquet")):
            if path.is_file():
                table = pq.ParquetFile(path).read()
                halves = [table.slice(0, len(table) // 2), table.slice(len(table) // 2)]
                start = time.perf_counter()
                list(pool.map(write_parquet, halves, [folder.parent / f"copy-{half}" for half in range(2)]))
                spent += time.perf_counter() - start
    print(json.dumps({"seconds": [spent]}))


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    order, *words = sys.argv[1:]
    given: Any = [Path(word) for word in words]
    if order == "make":
        make(given[0], int(words[1]))
    elif order == "copy":
        copy(given[0], given[1], int(words[2]))
    else:
        small = given[1].parent / "small"
        if not small.exists():
            make(small, 1_000)
        pay(small, given[1].parent / "small-out", int(words[2]), words[3])  # kernels from the cache, libraries loaded
        before = peak_bytes()
        begun = time.perf_counter()
        pay(given[0], given[1], int(words[2]), words[3])
        print(
            json.dumps({"seconds": [time.perf_counter() - begun], "peak_bytes": peak_bytes(), "before_bytes": before})
        )
