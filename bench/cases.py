"""The workloads: ledgers of a known size and shape, made once and kept in memory."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
FIRST_DAY = np.datetime64("2019-01-01")
DAYS = 243


def money(amounts_fen: NDArray[np.int64]) -> pa.Array:
    """Return fen as decimal128(18, 2)."""
    pairs = np.stack([amounts_fen, amounts_fen >> 63], axis=1).copy()
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(amounts_fen), [None, pa.py_buffer(pairs)])


@cache
def shuffled_ledger(rows: int, people: int, seed: int = 7) -> pa.Table:
    """Return a ledger in no order: three paid layers (basic, catastrophic, assistance), 5 % hardship, all accounts known.

    Payments are not yet recorded right: `paid_ledger` settles it first.
    """
    rng = np.random.default_rng(seed)
    person = rng.integers(0, people, rows)
    hardship = rng.random(people) < 0.05
    day = rng.integers(0, DAYS, rows)
    service = FIRST_DAY + day
    settled_us = (service.astype("datetime64[us]").astype(np.int64)) + rng.integers(0, 86_400, rows) * 1_000_000
    total = np.round(rng.lognormal(12.0, 1.3, rows)).astype(np.int64) + 100
    eligible = total * rng.integers(70, 101, rows) // 100
    basic = eligible * 55 // 100
    return pa.table(
        {
            "settlement_id": pa.array(rng.permutation(rows)),
            "person_id": pa.array(person),
            "settled_at": pa.array(settled_us).cast(pa.timestamp("us")),
            "service_date": pa.array(service.astype("datetime64[D]")),
            "insured_region": pa.array(np.full(rows, 371002, dtype=np.int32)),
            "treated_region": pa.array(np.where(rng.random(rows) < 0.9, 371002, 110101).astype(np.int32)),
            "hospital_id": pa.array(rng.integers(1, 200, rows)),
            "category": pa.DictionaryArray.from_arrays(
                pa.array(hardship[person].astype(np.int32)), pa.array(["ordinary", "dibao"])
            ),
            "care_type": pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["inpatient"])
            ),
            "total_fee": money(total),
            "eligible_fee": money(eligible),
            "basic_paid": money(basic),
            "has_social_card_account": pa.array(rng.random(rows) < 0.9),
        }
    )


@cache
def paid_ledger(rows: int, people: int) -> pa.Table:
    """Return the shuffled ledger as paid under `shandong-2017` with assistance parameters."""
    import yibao

    ledger = shuffled_ledger(rows, people)
    settled = yibao.settle_ledger(ledger, yibao.load_policy("shandong-2017", parameters=PARAMETERS)).table
    for name in ("catastrophic_paid", "assistance_paid"):
        ledger = ledger.append_column(name, settled[name])
    return ledger.combine_chunks()
