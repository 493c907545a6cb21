"""What people would use instead: each workload's equal formulations, system by system; the fastest of a system counts.

A competitor takes what `cases.rival_input` leaves of a ledger (settlement_id, person_id, settled_at and a base or what
it is made of) and returns settlement_id and the new payments in fen, in any order. *Filter first*: add up each person's
year, and send only those through the windows whom a payment can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import arrays
import duckdb_sql
import polars_frames


class Competitor(NamedTuple):
    """One formulation: `load` (table, threads) is not timed, `pay` (what was loaded) is."""

    system: str
    way: str
    load: Callable[[Any, int], Any]
    pay: Callable[[Any], Any]


def _duckdb(queries: Mapping[str, str]) -> list[Competitor]:
    runners = {way: duckdb_sql.runner(query) for way, query in queries.items()}
    return [Competitor("DuckDB", way, duckdb_sql.connect, pay) for way, pay in runners.items()]


def _polars(plans: Mapping[str, polars_frames.Plan]) -> list[Competitor]:
    runners = {way: partial(polars_frames.run, plan=plan) for way, plan in plans.items()}
    return [Competitor("Polars", way, polars_frames.frame, pay) for way, pay in runners.items()]


NUMPY = [Competitor("NumPy", way, arrays.columns, pay) for way, pay in arrays.NUMPY.items()]
PANDAS = [Competitor("pandas", way, arrays.frame, pay) for way, pay in arrays.PANDAS.items()]
LOOP = [Competitor("Python", "loop", arrays.lists, arrays.loop)]

ONE_LAYER = [*_duckdb(duckdb_sql.ONE_LAYER), *_polars(polars_frames.ONE_LAYER)]
CONSTANT = [*_duckdb(duckdb_sql.CONSTANT), *_polars(polars_frames.CONSTANT)]
CHANGING = [*_duckdb(duckdb_sql.CHANGING), *_polars(polars_frames.CHANGING)]


def pay_one_layer(
    competitor: Competitor, person: NDArray[np.int64], time: NDArray[Any], base: NDArray[np.int64], threads: int
) -> NDArray[np.int64]:
    """Return what one of ONE_LAYER, NUMPY, PANDAS or LOOP pays each row, in the rows' order: fen for fen of base.

    `time`: datetime64[us], no two rows of a person at the same.
    """
    rows = pa.array(np.arange(len(person)))
    columns = {
        "settlement_id": rows,
        "person_id": pa.array(person),
        "settled_at": pa.array(time),
        "base": pa.array(base),
    }
    result = competitor.pay(competitor.load(pa.table(columns), threads))
    paid = np.empty(len(person), dtype=np.int64)
    paid[np.asarray(result["settlement_id"])] = np.asarray(result["catastrophic"])
    return paid
