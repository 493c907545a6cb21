"""Re-accounting in memory: basic insurance recorded, catastrophic insurance and assistance computed, then compared."""

from __future__ import annotations

from typing import Any

import pytest

import baselines
import cases
import yibao
from race import ROUNDS, ROWS, THREADS, race

COLUMNS = {"catastrophic": "catastrophic_paid_fen", "assistance": "assistance_paid_fen"}
BYTES_A_ROW = 5 * 8 + 1 + 2 * 8
"""Read: settlement, person, time, eligible fee, basic payment, category; written: two payments. What was paid is not counted."""


def reaccount(rows: int, categories: cases.Categories) -> yibao.Reaccount:
    policy = yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)
    ledger = cases.three_layers(rows, categories)
    return yibao.reaccount(ledger, policy, missing_paid="zero", threads=THREADS, money="int64_fen")


def run(benchmark: Any, competitors: list[baselines.Competitor], categories: cases.Categories) -> None:
    race(
        benchmark,
        lambda rows: reaccount(rows, categories).settled,
        competitors,
        lambda rows: cases.rival_input(cases.three_layers(rows, categories)),
        COLUMNS,
        rows=ROWS,
        threads=THREADS,
        bytes_a_row=BYTES_A_ROW,
    )


@pytest.mark.benchmark(group="three layers, constant categories")
def test_constant_categories(benchmark: Any) -> None:
    """The layers telescope: SQL needs one running total."""
    run(benchmark, baselines.CONSTANT, "constant")


@pytest.mark.benchmark(group="three layers, changing categories")
def test_changing_categories(benchmark: Any) -> None:
    """Each layer must be paid before the next one's total is known."""
    run(benchmark, baselines.CHANGING, "changing")


@pytest.mark.benchmark(group="three layers, with every payment table")
def test_with_transfers(benchmark: Any) -> None:
    """Ours alone: transfers, lines, orders, decreases, held, unrouted."""

    def pay() -> None:
        a = reaccount(ROWS, "constant")
        for name in ("transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted"):
            getattr(a, name)

    summary = reaccount(ROWS, "constant").summary
    assert summary["payments"]["identity_violations"] == 0
    benchmark.pedantic(pay, rounds=min(ROUNDS, 3))
    benchmark.extra_info |= {"rows": ROWS, "threads": THREADS, "transfers": summary["payments"]["transfers"]["count"]}
