"""The invented city: people, claims and the ledger's table before anything is written, one thread and all.

Beside it what one would write otherwise: a lognormal column, ids and days from NumPy's generator, which knows no persons
that persist, no conditions, no fees that add up. Each case first checks that parts and threads change nothing.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import cases
import yibao_datagen

ROWS = min(1_000_000, int(os.environ.get("YIBAO_BENCH_ROWS", "1000000")))
THREADS = len(os.sched_getaffinity(0))
CITY = yibao_datagen.City(max(1_000, ROWS * 10 // 22), seed=1)


def count(threads: int) -> int:
    return sum(len(part) for part in CITY.ledgers(threads=threads))


@pytest.mark.benchmark(group="an invented city")
@pytest.mark.parametrize("threads", sorted({1, THREADS}))
def test_ledger(benchmark: Any, threads: int) -> None:
    small = yibao_datagen.City(2_000, seed=1)
    assert small.ledger(threads=threads, part_people=300).equals(small.ledger(threads=1))
    rows = benchmark.pedantic(count, args=(threads,), rounds=3)
    benchmark.extra_info["rows"] = rows


@pytest.mark.benchmark(group="an invented city")
def test_lognormal_columns(benchmark: Any) -> None:
    def table() -> pa.Table:
        rng = np.random.default_rng(1)
        person = rng.integers(0, ROWS // 2, ROWS)
        day = rng.integers(17_897, 18_262, ROWS).astype(np.int32)
        total = (np.exp(rng.standard_normal(ROWS) * 1.3 + 9) * 100).astype(np.int64)
        eligible = total * rng.integers(70, 101, ROWS) // 100
        columns = {
            "settlement_id": np.arange(ROWS),
            "person_id": person,
            "service_date": pa.array(day).view(pa.date32()),
        }
        return pa.table({**columns, "total_fee": cases.money(total), "eligible_fee": cases.money(eligible)})

    benchmark.pedantic(table, rounds=3)
    benchmark.extra_info["rows"] = ROWS
