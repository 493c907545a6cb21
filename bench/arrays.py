"""NumPy, pandas and a plain loop: one layer, one thread.

`numbered, then added up` is NumPy's best: pandas numbers the people by a hash table, one pass adds up their years, and
only the rows of people whom a payment can reach are sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from weihai import LOWEST_FEN, ORDINARY, ORDINARY_CAP_FEN_BP

Ints = NDArray[np.int64]
Payments = Mapping[str, Ints]


class Rows(NamedTuple):
    """The columns of a ledger."""

    settlement_id: Ints
    person_id: Ints
    settled_at: Ints
    base: Ints


def columns(ledger: pa.Table, threads: int) -> Rows:
    """Return the ledger as arrays."""
    return Rows(*(ledger[name].combine_chunks().cast(pa.int64()).to_numpy() for name in Rows._fields))


def frame(ledger: pa.Table, threads: int) -> pd.DataFrame:
    """Return the ledger as pandas holds it."""
    return pd.DataFrame(columns(ledger, threads)._asdict())


def lists(ledger: pa.Table, threads: int) -> list[tuple[int, int, int, int]]:
    """Return the ledger as tuples."""
    return list(zip(*(column.tolist() for column in columns(ledger, threads)), strict=True))


def entitled(year: Ints) -> Ints:
    """Return what catastrophic insurance owes for a year's base, in fen."""
    exact = np.zeros_like(year)
    for edge, rate in ORDINARY:
        exact += np.maximum(year - edge, 0) * rate
    result: Ints = (np.minimum(exact, ORDINARY_CAP_FEN_BP) + 5_000) // 10_000
    return result


def _paid_in_order(person: Ints, base: Ints) -> Ints:
    """Return the payments of rows that stand by person and time."""
    everything = np.cumsum(base)
    first = np.flatnonzero(np.diff(person, prepend=person[:1] - 1))
    before = np.repeat((everything - base)[first], np.diff(first, append=len(person)))
    year = everything - before
    return entitled(year) - entitled(year - base)


def sort_all(rows: Rows) -> Payments:
    """NumPy: all rows sorted by person and time."""
    order = np.lexsort((rows.settled_at, rows.person_id))
    paid = _paid_in_order(rows.person_id[order], rows.base[order])
    return {"settlement_id": rows.settlement_id[order], "catastrophic": paid}


def number_and_add_up(rows: Rows) -> Payments:
    """NumPy and a hash table: sums first, then the few rows that matter. Sums in float64 are exact below 2**53 fen."""
    number, _ = pd.factorize(rows.person_id)
    reached = np.bincount(number, weights=rows.base) > LOWEST_FEN
    chosen = np.flatnonzero(reached[number])
    order = chosen[np.lexsort((rows.settled_at[chosen], number[chosen]))]
    paid = np.zeros_like(rows.base)
    paid[order] = _paid_in_order(number[order], rows.base[order])
    return {"settlement_id": rows.settlement_id, "catastrophic": paid}


def pandas_groups(rows: pd.DataFrame) -> Payments:
    """pandas: sorted by time, running totals by group."""
    rows = rows.sort_values("settled_at")
    year = rows.groupby("person_id", sort=False)["base"].cumsum().to_numpy()
    paid = entitled(year) - entitled(year - rows["base"].to_numpy())
    return {"settlement_id": rows["settlement_id"].to_numpy(), "catastrophic": paid}


def pandas_filtered(rows: pd.DataFrame) -> Payments:
    """pandas: the same for people whom a payment can reach."""
    reached = rows.groupby("person_id", sort=False)["base"].transform("sum").to_numpy() > LOWEST_FEN
    some = pandas_groups(rows.loc[reached])
    rest = rows.loc[~reached, "settlement_id"].to_numpy()
    return {
        "settlement_id": np.concatenate([some["settlement_id"], rest]),
        "catastrophic": np.concatenate([some["catastrophic"], np.zeros(len(rest), dtype=np.int64)]),
    }


def _entitled_to(year: int) -> int:
    exact = sum(max(year - edge, 0) * rate for edge, rate in ORDINARY)
    return (min(exact, ORDINARY_CAP_FEN_BP) + 5_000) // 10_000


def loop(rows: list[tuple[int, int, int, int]]) -> Payments:
    """Plain Python: a dictionary of years."""
    years: dict[int, int] = {}
    paid: dict[int, int] = {}
    for settlement_id, person, _, base in sorted(rows, key=lambda row: row[2]):
        before = years.get(person, 0)
        years[person] = before + base
        paid[settlement_id] = _entitled_to(before + base) - _entitled_to(before)
    return {"settlement_id": np.array(list(paid)), "catastrophic": np.array(list(paid.values()))}


NUMPY: Mapping[str, Callable[[Rows], Payments]] = {
    "sort all": sort_all,
    "numbered, then added up": number_and_add_up,
}
PANDAS: Mapping[str, Callable[[pd.DataFrame], Payments]] = {
    "groups": pandas_groups,
    "filter first": pandas_filtered,
}
