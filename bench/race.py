"""A race: everybody pays the same ledger, is checked to the fen, and is then timed in turn, round after round."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines import Competitor

Ints = NDArray[np.int64]

ROWS = int(os.environ.get("YIBAO_BENCH_ROWS", "10000000"))
ROUNDS = int(os.environ.get("YIBAO_BENCH_ROUNDS", "5"))
THREADS = len(os.sched_getaffinity(0))
SLOWER = 1.5
"""A formulation that took so many times the best of its system in the check is not timed again; up to twice as many
times, it may try once more."""


SECONDS = 25.0
"""A case's rounds are as many as fit into so much time, at least three."""


def rounds_in(seconds: float) -> int:
    """Return how many rounds a case is timed, each of so many seconds."""
    return max(3, min(ROUNDS, int(SECONDS / seconds)))


def by_settlement(result: Any, columns: Mapping[str, str], rows: int) -> dict[str, Ints]:
    """Return each layer's payments in the order of settlement ids, which are 0 to rows − 1.

    `columns`: layer → column. AssertionError where a settlement is missing or stands twice.
    """
    ids = np.asarray(result["settlement_id"])
    assert len(ids) == rows, f"expected {rows} settlements, got {len(ids)}"
    assert (np.bincount(ids, minlength=rows) == 1).all(), "expected every settlement once"
    placed = {}
    for layer, column in columns.items():
        placed[layer] = np.empty(rows, dtype=np.int64)
        placed[layer][ids] = np.asarray(result[column])
    return placed


def check(ours: Mapping[str, Ints], theirs: Mapping[str, Ints], who: str) -> None:
    """Raise AssertionError where two sides pay a settlement differently."""
    for layer, paid in ours.items():
        wrong = np.flatnonzero(paid != theirs[layer])
        if len(wrong):
            at = wrong[0]
            raise AssertionError(
                f"{who}: {layer} of settlement {at}: expected {paid[at]} fen, got {theirs[layer][at]}; "
                f"{len(wrong)} of {len(paid)} differ"
            )


class Copy:
    """Moves so many bytes by `np.copyto`, half of them read and half written, a part each thread: the machine's limit."""

    def __init__(self, moved: int, threads: int) -> None:
        words = max(1, moved // 16)
        self.source, self.target = np.ones(words, dtype=np.int64), np.zeros(words, dtype=np.int64)
        edges = np.linspace(0, words, threads + 1).astype(int).tolist()
        self._parts = [slice(*pair) for pair in pairwise(edges)]
        self._pool = ThreadPoolExecutor(threads)

    def __call__(self) -> None:
        list(self._pool.map(lambda part: np.copyto(self.target[part], self.source[part]), self._parts))


def race(
    benchmark: Any,
    ours: Callable[[], Any],
    competitors: Iterable[Competitor],
    table: Any,
    layers: tuple[str, ...],
    *,
    rows: int,
    threads: int,
    bytes_a_row: int,
) -> None:
    """Check and time `ours` (its result has `<layer>_paid_fen`) and competitors on `table`, what they are given of the ledger.

    pytest-benchmark times ours; the others are timed before each of its rounds and stand in `extra_info`.
    """
    ours()
    start = time.perf_counter()
    result = ours()
    a_round = time.perf_counter() - start
    mine = by_settlement(result, {layer: f"{layer}_paid_fen" for layer in layers}, rows)
    paid = {layer: int(amounts.sum()) for layer, amounts in mine.items()}
    assert all(paid.values()), "expected a ledger in which every layer pays"

    entered: list[tuple[Competitor, Any]] = []
    first: dict[Competitor, float] = {}
    for competitor in competitors:
        loaded = competitor.load(table, threads)
        start = time.perf_counter()
        result = competitor.pay(loaded)
        first[competitor] = time.perf_counter() - start
        check(mine, by_settlement(result, {layer: layer for layer in layers}, rows), f"{competitor[:2]}")
        entered.append((competitor, loaded))
    del mine, result
    best = {c.system: min(s for other, s in first.items() if other.system == c.system) for c in first}
    for competitor, loaded in entered:
        if SLOWER < first[competitor] / best[competitor.system] <= 2 * SLOWER:
            start = time.perf_counter()
            competitor.pay(loaded)
            first[competitor] = min(first[competitor], time.perf_counter() - start)
    entered = [(c, loaded) for c, loaded in entered if first[c] <= SLOWER * best[c.system]]
    a_round += sum(first[c] for c, _ in entered)

    copy = Copy(rows * bytes_a_row, threads)
    seconds: dict[Competitor, list[float]] = {competitor: [] for competitor, _ in entered}
    copies: list[float] = []

    def others() -> None:
        for competitor, loaded in entered:
            start = time.perf_counter()
            competitor.pay(loaded)
            seconds[competitor].append(time.perf_counter() - start)
        start = time.perf_counter()
        copy()
        copies.append(time.perf_counter() - start)

    benchmark.pedantic(ours, setup=others, rounds=rounds_in(a_round))
    benchmark.extra_info |= {"rows": rows, "threads": threads, "bytes_a_row": bytes_a_row, "paid_fen": paid}
    benchmark.extra_info["limit"] = {"seconds": copies}
    benchmark.extra_info["competitors"] = [
        {"system": c.system, "way": c.way, "first": first[c], "seconds": seconds.get(c, [])} for c in first
    ]
