"""The re-accounting of five million rows in memory, shuffled in time, with assistance parameters.

Each case first checks that both sides pay the same, then times. Run with `make bench`; figures are medians.
"""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import baselines
import cases
import yibao

ROWS = int(os.environ.get("YIBAO_BENCH_ROWS", "5000000"))
THREADS = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def ledger() -> pa.Table:
    return cases.paid_ledger(ROWS, ROWS // 5)


@pytest.fixture(scope="module")
def policy() -> Any:
    return yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)


def reaccount(ledger: pa.Table, policy: Any) -> yibao.Reaccount:
    return yibao.reaccount(ledger, policy, missing_paid="zero", threads=THREADS)


def with_transfers(ledger: pa.Table, policy: Any) -> yibao.Reaccount:
    a = reaccount(ledger, policy)
    for name in ("transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted"):
        getattr(a, name)
    return a


@pytest.mark.benchmark(group="re-accounting, in memory")
def test_reaccount(benchmark: Any, ledger: pa.Table, policy: Any) -> None:
    benchmark.extra_info["rows"] = ROWS
    a = benchmark.pedantic(reaccount, (ledger, policy), rounds=7, warmup_rounds=2)
    assert a.summary["payments"]["identity_violations"] == 0


@pytest.mark.benchmark(group="re-accounting, in memory")
def test_reaccount_with_transfers(benchmark: Any, ledger: pa.Table, policy: Any) -> None:
    benchmark.extra_info["rows"] = ROWS
    a = benchmark.pedantic(with_transfers, (ledger, policy), rounds=5, warmup_rounds=1)
    benchmark.extra_info["transfers"] = len(a.transfers)
    benchmark.extra_info["decreases"] = len(a.decreases)


@pytest.mark.benchmark(group="re-accounting, in memory")
def test_duckdb_windows(benchmark: Any, ledger: pa.Table, policy: Any) -> None:
    """The new payments alone (no differences, no transfers, no checks), in one query of chained windows."""
    benchmark.extra_info["rows"] = ROWS
    theirs = benchmark.pedantic(baselines.duckdb_three_layers, (ledger, THREADS), rounds=3, warmup_rounds=1)
    ours = reaccount(ledger, policy).settled.select(["settlement_id", "catastrophic_paid", "assistance_paid"])
    ours, theirs = ours.sort_by("settlement_id"), theirs.sort_by("settlement_id")
    for name in ("catastrophic", "assistance"):
        fen = pc.cast(pc.multiply(ours[f"{name}_paid"], pa.scalar(100)), pa.decimal128(38, 2)).cast(pa.int64())
        assert fen.combine_chunks().equals(theirs[name].cast(pa.int64()).combine_chunks()), name
