"""The compiled kernels on disk: all of them made at once, and all of them removed."""

import os
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import yibao
from yibao_core import _cache
from yibao_core.errors import SettlementError


class Warmed(NamedTuple):
    """What a warm-up has come to."""

    kernels: int
    compiled: int  # of them, now
    seconds: float
    folders: tuple[Path, ...]
    bytes: int


class Cleared(NamedTuple):
    """What has been removed."""

    files: int
    bytes: int
    folders: tuple[Path, ...]


def warm_up() -> Warmed:
    """Send invented rows through every kernel, so that the next processes find all of them on disk.

    Raises SettlementError where the compiler is switched off or no folder can be written.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise SettlementError("NUMBA_DISABLE_JIT: expected it to be unset, got it set: nothing would be compiled")
    before = {file for file in _cache.cached_files() if _cache.is_kept(file)}
    began = time.perf_counter()
    _settle_invented_rows()
    seconds = time.perf_counter() - began
    kept = [file for file in _cache.cached_files() if _cache.is_kept(file)]
    if not kept:
        tried = ", ".join(map(str, _cache.folders()))
        raise SettlementError(f"kernels: expected a folder that can be written, got none of {tried}")
    folders = tuple(sorted({file.parent for file in kept}))
    return Warmed(len(kept), len(set(kept) - before), seconds, folders, sum(file.stat().st_size for file in kept))


def clear_cache() -> Cleared:
    """Remove this installation's kernels from disk, those of earlier states of the sources and unfinished files too.

    Other files stay, and so do folders that hold some. Raises OSError for a file that cannot be removed.
    """
    files = _cache.cached_files()
    size = 0
    for file in files:
        size += file.stat().st_size
        file.unlink()
    folders = tuple(sorted({file.parent for file in files}))
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()
    return Cleared(len(files), size, folders)


def _settle_invented_rows() -> None:
    policy = yibao.load_policy("weihai-2019")
    plain = _ledger(2)
    closing = yibao.settle_ledger(plain, policy).closing
    yibao.reaccount(plain, policy, missing_paid="zero")
    yibao.settle_ledger(plain, policy, opening=closing)
    long = _ledger(200, texts=True, reversal=True)  # one person's: duplicates are then looked for by sorting
    yibao.reaccount(long, policy, missing_paid="zero")
    yibao.explain(long, "S0", policy)
    names = ("settlement_id", "person_id", "settled_at", "service_date", "category", "care_type")
    claim = dict(plain.slice(0, 1).select([*names, "total_fee", "eligible_fee"]).to_pylist()[0])
    yibao.settle(claim, policy).explain()


def _ledger(rows: int, texts: bool = False, reversal: bool = False) -> pa.Table:
    """Return stays of one invented person; the last row cancels the first."""
    money = ["-30000" if reversal and row == rows - 1 else "30000" for row in range(rows)]
    day = date(2019, 3, 1)
    numbers = list(range(rows))
    columns: dict[str, list[Any]] = {
        "settlement_id": [f"S{number}" for number in numbers] if texts else numbers,
        "person_id": ["P"] * rows if texts else [1] * rows,
        "settled_at": [datetime(2019, 3, 1) + timedelta(minutes=number) for number in numbers],
        "service_date": [day] * rows,
        "category": ["dibao"] * rows,
        "care_type": ["inpatient"] * rows,
        "total_fee": money,
        "eligible_fee": money,
        "catastrophic_paid": ["0"] * rows,
        "has_social_card_account": [True] * rows,
    }
    if reversal:
        columns["reverses"] = [None] * (rows - 1) + ["S0"]
    return pa.table(columns)
