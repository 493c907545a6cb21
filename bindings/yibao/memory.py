"""Memory for large arrays, from Arrow's pool: it keeps what it was given back.

Memory from the system costs a fault a page and its zeroing at every run: 35 ms for 320 MB, where the pool takes 13. The
pool is the process's own (`pyarrow.default_memory_pool()`); `release_unused()` on it gives everything back.
How much a run may take is decided here, too.
"""

import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao_core.errors import SettlementError

SHARE = 4  # of the machine's memory a run takes a quarter, unless told otherwise
LEAST_BYTES = 256 << 20
_UNITS = {"": 1, "K": 10, "M": 20, "G": 30, "T": 40}
_LIMIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([KMGT]?)(?:i?B)?", re.IGNORECASE)
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def words(count: int) -> NDArray[np.int64]:
    """Return so many words of any content, the first at the begin of a line of the cache."""
    return np.frombuffer(pa.allocate_buffer(8 * count), dtype=np.int64)


def give_back() -> None:
    """Give memory that nothing holds any more back to the system."""
    pa.default_memory_pool().release_unused()


def limit_bytes(given: int | str | None) -> int:
    """Return how much memory a run may take: bytes as given, text such as "2 GiB" (a K is 1,024), else a quarter of what the
    machine or its control group has. SettlementError for anything else, or for less than runs can do with."""
    if given is None:
        return max(LEAST_BYTES, _machine_bytes() // SHARE)
    match = _LIMIT.fullmatch(given.strip()) if isinstance(given, str) else None
    if isinstance(given, str) and match is not None:
        unit = _UNITS[match.group(2).upper()]
        given = int(float(match.group(1)) * (1 << unit if unit > 1 else 1))
    if isinstance(given, bool) or not isinstance(given, int):
        raise SettlementError(f'memory_limit: expected bytes, or text such as "2 GiB", got {given!r}')
    if given < LEAST_BYTES:
        raise SettlementError(f"memory_limit: expected at least {LEAST_BYTES >> 20} MiB, got {given >> 20}")
    return given


def _machine_bytes() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUPS:
        try:
            return min(total, int(path.read_text()))
        except (OSError, ValueError):
            continue
    return total
