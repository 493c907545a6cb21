"""The engine agrees with the oracle on every row, balance and payment: 0 differences."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import agreement_runs
from agreement_runs import reaccount_differences, settle_differences

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
SEEDS = range(25)
ROWS = 400
BIG_LEDGERS = 40
BIG_ROWS = 25_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ledger_settles_as_the_oracle_says(seed: int) -> None:
    assert settle_differences(seed, ROWS) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reaccounting_is_what_the_oracle_says(seed: int) -> None:
    assert reaccount_differences(1_000 + seed, ROWS) == []


def test_the_scenes_hold_what_they_should() -> None:
    """Every status and flag occurs; so a comparison that finds nothing has looked at something."""
    import ledgers
    import yibao

    status: set[str] = set()
    flags: set[str] = set()
    for seed in range(130):
        scene = agreement_runs.scene(seed, ROWS)
        table = yibao.settle_ledger(ledgers.to_arrow(scene.rows, scene.columns), scene.engine).table
        status |= set(table["status"].to_pylist())
        flags |= {flag for cell in table["flags"].to_pylist() for flag in cell.split(";") if flag}
    assert status == {
        "SETTLED", "MISSING_VALUE", "DUPLICATE_SETTLEMENT", "AMOUNT_NOT_FEN", "AMOUNT_OUT_OF_RANGE", "WRONG_SIGN",
        "UNKNOWN_CATEGORY", "UNKNOWN_CARE_TYPE", "NO_POLICY", "ELIGIBLE_EXCEEDS_TOTAL", "BIRTH_DATE_MISSING",
        "REVERSAL_WITHOUT_ORIGINAL", "REVERSAL_NOT_WHOLE", "PAID_EXCEEDS_TOTAL",
    }  # fmt: skip
    assert flags == {
        "AFTER_REJECT", "FEES_DO_NOT_ADD_UP", "FULL_REIMBURSEMENT", "NO_RULE", "ORIGINAL_NOT_SEEN",
        "PAID_DOES_NOT_ADD_UP", "STALE_AFTER_REVERSAL", "ZERO_PERSONAL_PAYMENT",
    }  # fmt: skip


@pytest.mark.big
@pytest.mark.skipif(not COMPILED, reason="a million rows are for compiled kernels")
def test_a_million_rows_agree() -> None:
    """1,000,000 rows settled, and again in two other orders; 200,000 rows re-accounted three times."""
    workers = max(1, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        settled = [pool.submit(settle_differences, 10_000 + seed, BIG_ROWS) for seed in range(BIG_LEDGERS)]
        replayed = [pool.submit(reaccount_differences, 20_000 + seed, BIG_ROWS // 5) for seed in range(BIG_LEDGERS)]
        found = [line for future in [*settled, *replayed] for line in future.result()]
    assert found == []
