"""One re-accounting in a fresh process: its times, and the most memory it held beyond what was there before.

`python alone.py make FILE ROWS` writes a ledger, `python alone.py pay FILE SYSTEM THREADS ROUNDS` pays it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import cases

WAYS = {"DuckDB": "filter first, one window", "Polars": "year's sum first, sort once"}
"""The ways that had been the fastest of their systems."""


def make(path: Path, rows: int) -> None:
    """Write a ledger of constant categories that nobody has paid yet beyond basic insurance."""
    ledger = cases.unpaid(rows)
    zeros = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(bytes(8 * rows))])
    for name in ("catastrophic_paid_fen", "assistance_paid_fen"):
        ledger = ledger.append_column(name, zeros)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, ledger.schema) as writer:
        writer.write_table(ledger)


def pay(path: Path, system: str, threads: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of each round and the peak of the first one in bytes beyond the loaded ledger."""
    work = _ours if system == "yibao" else _theirs
    with pa.OSFile(str(path)) as source:
        ledger = pa.ipc.open_file(source).read_all()
    work(cases.three_layers(1_000), system, threads)()
    run = work(ledger, system, threads)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is held now
    before, seconds, peak = _memory("VmRSS"), [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        peak = peak or _memory("VmHWM")
    return {"seconds": seconds, "peak_bytes": peak - before, "ledger_bytes": ledger.nbytes}


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _ours(ledger: pa.Table, system: str, threads: int) -> Callable[[], Any]:
    import yibao

    policy = yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)
    return lambda: yibao.reaccount(ledger, policy, missing_paid="zero", threads=threads, money="int64_fen").settled


def _theirs(ledger: pa.Table, system: str, threads: int) -> Callable[[], Any]:
    import baselines

    competitor = next(each for each in baselines.CONSTANT if each[:2] == (system, WAYS[system]))
    loaded = competitor.load(cases.rival_input(ledger), threads)
    return lambda: competitor.pay(loaded)


if __name__ == "__main__":
    order, file, *words = sys.argv[1:]
    if order == "make":
        make(Path(file), int(words[0]))
    else:
        os.environ["POLARS_MAX_THREADS"] = words[1]
        print(json.dumps(pay(Path(file), words[0], int(words[1]), int(words[2]))))
