"""The re-accounting with ids of several kinds: integers, 18 digits, UUIDs, people in a dictionary.

Each case first checks that all results are those of integer ids, then times. Run with `make bench`; figures are medians.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

import cases
import yibao

ROWS = int(os.environ.get("YIBAO_BENCH_ROWS", "5000000"))
THREADS = len(os.sched_getaffinity(0))
KINDS = ("int64", "18 digits", "UUID", "UUID, people in a dictionary")
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def texts(cells: NDArray[np.uint8]) -> pa.Array:
    """Return an array of texts of one length; `cells` holds their bytes, a row each."""
    rows, size = cells.shape
    offsets = (np.arange(rows + 1, dtype=np.int64) * size).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(cells)])


def digits(numbers: NDArray[np.int64]) -> pa.Array:
    """Return a text of 18 digits for each number below 10**12: another one for another number."""
    rest = 371002000000000000 + numbers
    cells = np.empty((len(rest), 18), dtype=np.uint8)
    for place in range(17, -1, -1):
        rest, digit = np.divmod(rest, 10)
        cells[:, place] = digit + ord("0")
    return texts(cells)


def uuids(numbers: NDArray[np.int64]) -> pa.Array:
    """Return a text in the shape of a UUID for each number: another one for another number (the factor is odd)."""
    first = numbers.astype(np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    second = first * np.uint64(0xBF58_476D_1CE4_E5B9) ^ first >> np.uint64(31)
    cells = np.full((len(numbers), 36), ord("-"), dtype=np.uint8)
    letters = [place for place in range(36) if place not in (8, 13, 18, 23)]
    for index, place in enumerate(letters):
        word = first if index < 16 else second
        cells[:, place] = _HEX[(word >> np.uint64(4 * (index % 16)) & np.uint64(15)).astype(np.int64)]
    return texts(cells)


@cache
def ledger(kind: str) -> pa.Table:
    table = cases.paid_ledger(ROWS, ROWS // 5)
    if kind == "int64":
        return table
    of = digits if kind == "18 digits" else uuids
    people, settlements = (table[name].to_numpy() for name in ("person_id", "settlement_id"))
    person = of(people)
    if kind == "UUID, people in a dictionary":
        person = pa.DictionaryArray.from_arrays(pa.array(people.astype(np.int32)), of(np.arange(ROWS // 5)))
    table = table.set_column(table.column_names.index("person_id"), "person_id", person)
    return table.set_column(table.column_names.index("settlement_id"), "settlement_id", of(settlements))


@pytest.fixture(scope="module")
def policy() -> Any:
    return yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)


def reaccount(ledger: pa.Table, policy: Any) -> yibao.Reaccount:
    return yibao.reaccount(ledger, policy, missing_paid="zero", threads=THREADS)


def check(kind: str, policy: Any) -> None:
    """Assert that every row, and every sum of payments, is what it is with integer ids."""
    theirs, ours = reaccount(ledger("int64"), policy), reaccount(ledger(kind), policy)
    of = {"int64": pa.array, "18 digits": digits}.get(kind, uuids)
    named = set(ledger("int64").column_names)
    computed = [name for name in theirs.settled.column_names if name not in named]
    assert computed
    assert ours.settled.select(computed).equals(theirs.settled.select(computed))
    assert ours.summary["payments"] == theirs.summary["payments"]
    amounts = {}
    for who, tables in (("theirs", theirs), ("ours", ours)):
        person = tables.transfers["person_id"].to_pylist()
        if who == "theirs":
            person = of(np.array(person, dtype=np.int64)).to_pylist()
        amounts[who] = sorted(
            zip(person, tables.transfers["layer"].to_pylist(), tables.transfers["amount"].to_pylist(), strict=True)
        )
    assert amounts["ours"] == amounts["theirs"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.benchmark(group="re-accounting, ids of several kinds")
def test_reaccount(benchmark: Any, kind: str, policy: Any) -> None:
    benchmark.extra_info["rows"] = ROWS
    check(kind, policy)
    benchmark.pedantic(reaccount, (ledger(kind), policy), rounds=5, warmup_rounds=2)
