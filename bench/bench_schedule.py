"""One layer by itself: its tiers against a copy of the same columns and against what people use, and payments on totals.

Each case first checks that both sides give the same, then times. Libraries that are not installed are skipped.
Compare figures of one group and one run; the memory that other processes use decides many of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import yibao
from yibao.memory import words

ROWS = int(os.environ.get("YIBAO_BENCH_ROWS", "10000000"))
PEOPLE = ROWS // 5
TIERS = ((1_800_000, 6_000), (10_000_000, 6_500), (20_000_000, 7_000), (30_000_000, 7_500))  # fen, basis points
CAP_FEN = 40_000_000
YEAR_SECONDS = 365 * 86_400
OFF_FEN = 1  # what a float may be off


@pytest.fixture(scope="module")
def schedule() -> yibao.Schedule:
    schedule = yibao.Schedule(yibao.load_policy("weihai-2019"), "catastrophic")
    assert (schedule.tiers, schedule.cap_fen) == (TIERS, CAP_FEN)
    return schedule


def column(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return values where large columns lie."""
    lines = words(len(values))
    lines[:] = values
    return lines


@pytest.fixture(scope="module")
def cumulative() -> NDArray[np.int64]:
    return column(np.round(np.random.default_rng(1).lognormal(14.5, 1.3, ROWS)))


def numpy_tiers(amounts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return entitlements as one writes them in NumPy, in whole fen x basis points."""
    paid = np.zeros_like(amounts)
    before = 0
    for lower, rate in TIERS:
        paid += np.maximum(amounts - lower, 0) * (rate - before)
        before = rate
    return (np.minimum(paid, CAP_FEN * 10_000) + 5_000) // 10_000


def time_tiers(benchmark: Any, work: Callable[[NDArray[Any]], Any], amounts: NDArray[Any], rounds: int) -> Any:
    benchmark.extra_info["rows"] = len(amounts)
    return benchmark.pedantic(work, (amounts,), rounds=rounds, warmup_rounds=1)


@pytest.mark.benchmark(group="tiers")
def test_copyto(benchmark: Any, cumulative: NDArray[np.int64]) -> None:
    """The bound: NumPy's copy of the column into memory that is there already."""
    target = column(cumulative)
    time_tiers(benchmark, lambda amounts: np.copyto(target, amounts), cumulative, 15)


@pytest.mark.benchmark(group="tiers")
def test_copy_to_new_memory(benchmark: Any, cumulative: NDArray[np.int64]) -> None:
    time_tiers(benchmark, np.copy, cumulative, 15)


@pytest.mark.benchmark(group="tiers")
def test_entitled(benchmark: Any, schedule: yibao.Schedule, cumulative: NDArray[np.int64]) -> None:
    assert np.array_equal(schedule.entitled(cumulative), numpy_tiers(cumulative))
    time_tiers(benchmark, schedule.entitled, cumulative, 15)


@pytest.mark.benchmark(group="tiers")
def test_numpy(benchmark: Any, cumulative: NDArray[np.int64]) -> None:
    time_tiers(benchmark, numpy_tiers, cumulative, 3)


@pytest.mark.benchmark(group="tiers")
def test_openfisca(benchmark: Any, cumulative: NDArray[np.int64]) -> None:
    """OpenFisca's scale, in yuan as it is used, without the cap; a tenth of the rows."""
    scales = pytest.importorskip("openfisca_core.taxscales", reason="openfisca-core is not installed")
    scale = scales.MarginalRateTaxScale()
    scale.add_bracket(0, 0)
    for lower, rate in TIERS:
        scale.add_bracket(lower / 100, rate / 10_000)
    some = cumulative[: ROWS // 10]
    yuan = some / 100
    given = np.minimum(scale.calc(yuan) * 100, CAP_FEN)
    assert np.abs(given - numpy_tiers(some)).max() <= OFF_FEN
    benchmark.extra_info["rows off"] = int((np.floor(given + 0.5).astype(np.int64) != numpy_tiers(some)).sum())
    time_tiers(benchmark, scale.calc, yuan, 3)


@pytest.mark.benchmark(group="tiers")
def test_gettsim(benchmark: Any, cumulative: NDArray[np.int64]) -> None:
    """GETTSIM's piecewise polynomial on doubles, without the cap; a tenth of the rows."""
    polynomial = pytest.importorskip("ttsim.tt.piecewise_polynomial", reason="gettsim is not installed")
    edges = [lower for lower, _ in TIERS]
    pieces: list[dict[str, Any]] = [{"interval": f"(-inf, {edges[0]})", "slope": 0.0, "intercept": 0.0}]
    for (lower, rate), upper in zip(TIERS, [*edges[1:], "inf"], strict=True):
        pieces.append({"interval": f"[{lower}, {upper})", "slope": rate / 10_000})
    parameters = polynomial.get_piecewise_parameters("tiers", "piecewise_linear", pieces, np)
    some = cumulative[: ROWS // 10]
    given = np.minimum(polynomial.piecewise_polynomial(some, parameters, np), CAP_FEN)
    assert np.abs(given - numpy_tiers(some)).max() <= OFF_FEN
    benchmark.extra_info["rows off"] = int((np.floor(given + 0.5).astype(np.int64) != numpy_tiers(some)).sum())
    time_tiers(benchmark, lambda amounts: polynomial.piecewise_polynomial(amounts, parameters, np), some, 3)


class Claims:
    """Ten million rows of two million people, shuffled, and what they are paid."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        total = np.round(rng.lognormal(12.0, 1.3, ROWS)).astype(np.int64) + 100
        eligible = total * rng.integers(70, 101, ROWS) // 100
        self.base = column(eligible - eligible * 55 // 100)
        self.person = column(rng.integers(0, PEOPLE, ROWS))
        self.time = column(rng.integers(0, YEAR_SECONDS, ROWS) + 1_546_300_800)
        self.order = np.lexsort((self.time, self.person))
        base, person = self.base[self.order], self.person[self.order]
        sums = base.cumsum()
        first = np.maximum.accumulate(np.where(np.append(True, person[1:] != person[:-1]), np.arange(ROWS), 0))
        after = sums - (sums[first] - base[first])
        self.paid = np.empty(ROWS, dtype=np.int64)
        self.paid[self.order] = numpy_tiers(after) - numpy_tiers(after - base)


@pytest.fixture(scope="module")
def claims() -> Claims:
    return Claims()


def time_layer(
    benchmark: Any, schedule: yibao.Schedule, columns: tuple[Any, ...], expected: NDArray[np.int64], threads: int
) -> None:
    benchmark.extra_info["rows"] = ROWS
    assert np.array_equal(schedule.paid(*columns, threads=threads), expected)
    benchmark.pedantic(schedule.paid, columns, {"threads": threads}, rounds=9, warmup_rounds=1)


@pytest.mark.benchmark(group="one layer")
@pytest.mark.parametrize("timed", [False, True], ids=["file order", "time"])
def test_sorted(benchmark: Any, schedule: yibao.Schedule, claims: Claims, timed: bool) -> None:
    columns = [column(each[claims.order]) for each in (claims.base, claims.person, claims.time)]
    time_layer(benchmark, schedule, tuple(columns if timed else columns[:2]), claims.paid[claims.order], 1)


@pytest.mark.benchmark(group="one layer")
@pytest.mark.parametrize("threads", [1, 2])
def test_shuffled(benchmark: Any, schedule: yibao.Schedule, claims: Claims, threads: int) -> None:
    time_layer(benchmark, schedule, (claims.base, claims.person, claims.time), claims.paid, threads)


@pytest.mark.benchmark(group="one layer")
@pytest.mark.parametrize("threads", [1, 2])
def test_shuffled_long_ids(benchmark: Any, schedule: yibao.Schedule, claims: Claims, threads: int) -> None:
    """Ids of 18 digits, as integers: no short record holds them."""
    person = column(claims.person * 300_000_000_007 + 37 * 10**16)
    time_layer(benchmark, schedule, (claims.base, person, claims.time), claims.paid, threads)


@pytest.mark.benchmark(group="one layer")
@pytest.mark.parametrize("threads", [1, 2])
def test_shuffled_all_paid(benchmark: Any, schedule: yibao.Schedule, claims: Claims, threads: int) -> None:
    """Bases so large that nearly everybody is past the deductible: no row is left out."""
    base = column(claims.base * 20)
    sorted_paid = schedule.paid(base[claims.order], claims.person[claims.order], claims.time[claims.order], threads=1)
    expected = np.empty_like(sorted_paid)
    expected[claims.order] = sorted_paid
    time_layer(benchmark, schedule, (base, claims.person, claims.time), expected, threads)
