"""One layer: catastrophic insurance of ordinary people, rows in no order, each person's year in time order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import baselines
import cases
import yibao
from elsewhere import elsewhere
from race import ROWS, THREADS, race

MIDDLE = min(ROWS, 3_000_000)
SMALL = min(ROWS, 1_000_000)
TINY = min(ROWS, 200_000)
BYTES_A_ROW = 5 * 8
"""Read: settlement, person, time, base; written: the payment."""

POLICY = "weihai-2019"


def payments_alone(policy: Any) -> baselines.Competitor:
    """Return ours in the other clothes: what `Schedule` pays, without checks, flags and a table. It does what the others do."""
    schedule = yibao.Schedule(policy, "catastrophic")

    def load(ledger: pa.Table, threads: int) -> tuple[Any, ...]:
        columns = (ledger[name].combine_chunks() for name in ("settlement_id", "person_id", "settled_at"))
        return *columns, ledger["base"].to_numpy(), threads

    def pay(loaded: tuple[Any, ...]) -> dict[str, Any]:
        settlement, person, time, base, threads = loaded
        return {"settlement_id": settlement, "catastrophic": schedule.paid(base, person, time, threads=threads)}

    return baselines.Competitor("yibao", "Schedule, payments alone", load, pay)


def run(
    benchmark: Any, competitors: list[baselines.Competitor], rows: int, threads: int, everybody: bool = False
) -> None:
    policy = yibao.load_policy(POLICY, parameters=cases.PARAMETERS)
    race(
        benchmark,
        lambda rows: (
            yibao.settle_ledger(cases.one_layer(rows, everybody), policy, threads=threads, money="int64_fen").table
        ),
        [*competitors, payments_alone(policy)],
        lambda rows: cases.rival_input(cases.one_layer(rows, everybody)),
        {"catastrophic": "catastrophic_paid_fen"},
        rows=rows,
        threads=threads,
        bytes_a_row=BYTES_A_ROW,
    )


@pytest.mark.benchmark(group="one layer, one thread")
def test_one_thread(benchmark: Any) -> None:
    """Polars does it in a process of its own: its threads are chosen once a process."""
    run(benchmark, elsewhere("ONE_LAYER", "Polars"), ROWS, 1)


@pytest.mark.benchmark(group="one layer, all threads")
@pytest.mark.skipif(THREADS == 1, reason="one core")
def test_all_threads(benchmark: Any) -> None:
    run(benchmark, baselines.ONE_LAYER, ROWS, THREADS)


@pytest.mark.benchmark(group="one layer, nearly everybody is paid")
def test_everybody(benchmark: Any) -> None:
    """Bases so large that a filter leaves nearly all rows."""
    run(benchmark, baselines.ONE_LAYER, MIDDLE, THREADS, everybody=True)


@pytest.mark.benchmark(group="one layer, arrays and frames, one thread")
def test_arrays(benchmark: Any) -> None:
    run(benchmark, [*baselines.NUMPY, *baselines.PANDAS], SMALL, 1)


@pytest.mark.benchmark(group="one layer, plain Python, one thread")
def test_plain_python(benchmark: Any) -> None:
    run(benchmark, baselines.LOOP, TINY, 1)
