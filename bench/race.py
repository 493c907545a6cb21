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
MANY = 2_000_000
"""From so many rows on, all formulations are tried out on a tenth of them."""
SLOWER = 1.3
"""A formulation that took so many times the best of its system when tried out is not raced."""
SECONDS = 8.0
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
    ours: Callable[[int], Any],
    competitors: Iterable[Competitor],
    given: Callable[[int], Any],
    columns: Mapping[str, str],
    *,
    rows: int,
    threads: int,
    bytes_a_row: int = 0,
    limit: Callable[[], Any] | None = None,
) -> None:
    """Check and time `ours` (of so many rows) and competitors on what is `given` them of a ledger of so many rows.

    `columns`: layer → our result's column; theirs have the layer's name. `limit`: what does nothing but move the
    data, unless `np.copyto` of `bytes_a_row`. pytest-benchmark times ours; the others are timed before each of its
    rounds and stand in `extra_info`.
    """
    tried_rows = rows // 10 if rows >= MANY else rows
    tried = try_out(ours, competitors, given, columns, tried_rows, threads)
    best = {c.system: min(s for other, s in tried.items() if other.system == c.system) for c in tried}

    ours(rows)
    start = time.perf_counter()
    result = ours(rows)
    a_round = time.perf_counter() - start
    mine = by_settlement(result, columns, rows)
    del result
    entered = {c: c.load(given(rows), threads) for c in tried if tried[c] <= SLOWER * best[c.system]}
    for competitor, loaded in entered.items():
        start = time.perf_counter()
        result = competitor.pay(loaded)
        a_round += time.perf_counter() - start
        check(mine, by_settlement(result, {layer: layer for layer in columns}, rows), f"{competitor[:2]}")
        del result
    paid = {layer: int(amounts.sum()) for layer, amounts in mine.items()}
    del mine

    limit = limit or Copy(rows * bytes_a_row, threads)
    seconds: dict[Competitor, list[float]] = {competitor: [] for competitor in entered}
    limits: list[float] = []

    def others() -> None:
        for competitor, loaded in entered.items():
            start = time.perf_counter()
            competitor.pay(loaded)
            seconds[competitor].append(time.perf_counter() - start)
        start = time.perf_counter()
        limit()
        limits.append(time.perf_counter() - start)

    benchmark.pedantic(ours, (rows,), setup=others, rounds=rounds_in(a_round))
    benchmark.extra_info |= {"rows": rows, "threads": threads, "paid_fen": paid, "tried_rows": tried_rows}
    if bytes_a_row:
        benchmark.extra_info["bytes_a_row"] = bytes_a_row
    benchmark.extra_info["limit"] = {"seconds": limits}
    benchmark.extra_info["competitors"] = [
        {"system": c.system, "way": c.way, "tried": tried[c], "seconds": seconds.get(c, [])} for c in tried
    ]


def try_out(
    ours: Callable[[int], Any],
    competitors: Iterable[Competitor],
    given: Callable[[int], Any],
    columns: Mapping[str, str],
    rows: int,
    threads: int,
) -> dict[Competitor, float]:
    """Return the better of two times of each competitor. AssertionError where one does not pay what we pay."""
    mine = by_settlement(ours(rows), columns, rows)
    assert all(amounts.any() for amounts in mine.values()), "expected a ledger in which every layer pays"
    seconds = {}
    for competitor in competitors:
        loaded = competitor.load(given(rows), threads)
        times = []
        for _ in range(2):
            start = time.perf_counter()
            result = competitor.pay(loaded)
            times.append(time.perf_counter() - start)
            check(mine, by_settlement(result, {layer: layer for layer in columns}, rows), f"{competitor[:2]}")
            del result
        seconds[competitor] = min(times)
    return seconds
