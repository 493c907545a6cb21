"""Python threads over parts of the work: how many, and where they come from.

Numba's own threading layers abort the process when called from several Python threads, and break after `fork`. A pool
lives for one call, so nothing of it is left behind in a child process.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from typing import Any

from yibao_core.errors import SettlementError

THREADS_VARIABLE = "YIBAO_THREADS"
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_OLD_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_OLD_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")

Run = Callable[[Callable[[int], Any], Sequence[int]], list[Any]]
"""Runs a function for each part, and returns what it returned, in their order."""


def threads_to_use(threads: int | None) -> int:
    """Return how many threads to start: as asked, else by YIBAO_THREADS, else the cores this process may use."""
    if threads is None:
        given = os.environ.get(THREADS_VARIABLE, "0")
        if not given.isdecimal():
            raise SettlementError(f"{THREADS_VARIABLE}: expected a number of threads, got {given!r}")
        threads = int(given) or usable_cores()
    return max(1, threads)


def usable_cores() -> int:
    """Return the cores that the scheduler's affinity and the control group's quota leave to this process."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota()
    return cores if quota is None else max(1, min(cores, ceil(quota)))


def _cpu_quota() -> float | None:
    """Return the quota of this process's control group in cores, None where there is none or it cannot be read."""
    try:
        if _QUOTA.exists():
            quota, _, period = _QUOTA.read_text().partition(" ")
            return None if quota == "max" else int(quota) / int(period)
        quota_us, period_us = int(_OLD_QUOTA.read_text()), int(_OLD_PERIOD.read_text())
        return None if quota_us <= 0 else quota_us / period_us
    except (OSError, ValueError, ZeroDivisionError):
        return None


class Workers:
    """Runs a function over parts: on this thread where one is enough, else on a pool of its own."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Run:
        return self._run

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _run(self, work: Callable[[int], Any], parts: Sequence[int]) -> list[Any]:
        if self._pool is None:
            return [work(part) for part in parts]
        return list(self._pool.map(work, parts))
