"""The workloads: invented ledgers of a known size and shape, made once and kept in memory.

Rows stand in no order; people have five rows on average and ids of 18 digits, as national ones; money is whole fen in
int64, so that nobody pays for reading decimals. No two settlements of a person fall into one second: who sorts needs no
second key.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Categories = Literal["constant", "changing"]

ROWS_PER_PERSON = 5
PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
DEMO_PARAMETERS = {
    "orphan_deductible": "8000",
    "marginal_deductible": "1000",
    "marginal_rate": "40 %",
    "marginal_limit": "5000",
}
FIRST_DAY = np.datetime64("2019-01-01")
DAY_SECONDS = 86_400
YEAR_SECONDS = 243 * DAY_SECONDS
MOST_FEN = 30_000_000
"""A bill's upper end. With three layers nobody's year comes near the limit of 400,000 yuan, which SQL could not keep
across categories."""


def people_in(rows: int) -> int:
    """Return how many people a ledger of so many rows is about."""
    return max(1, rows // ROWS_PER_PERSON)


def _bills(rows: int, seed: int) -> tuple[Ints, Ints, Ints]:
    """Return each row's person, second of the year and total fee in fen, in no order."""
    rng = np.random.default_rng(seed)
    person = rng.integers(0, people_in(rows), rows)
    second = rng.integers(0, YEAR_SECONDS, rows)
    total = np.minimum(np.exp(rng.standard_normal(rows, dtype=np.float32) * 1.3 + 12), MOST_FEN).astype(np.int64)
    return person, _apart(person, second), total + 100


def _apart(person: Ints, second: Ints) -> Ints:
    """Return the seconds, those moved that a person had twice."""
    while True:
        key = person << 25 | second
        order = np.argsort(key)
        doubled = order[1:][key[order[1:]] == key[order[:-1]]]
        if not len(doubled):
            return second
        second[doubled] = (second[doubled] + 1) % YEAR_SECONDS


def _national(people: int, seed: int) -> Ints:
    """Return ids as wide apart as those of a city's districts and birthdays."""
    steps = np.random.default_rng([seed, 3]).integers(1, 2 * 10**14 // people, people)
    return 371_000_000_000_000_000 + np.cumsum(steps)


def _head(person: Ints, second: Ints, hardship: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    """Return the columns that every ledger needs, but the money."""
    rows = len(person)
    service = (second // DAY_SECONDS).astype(np.int32) + FIRST_DAY.astype(np.int32)
    names = pa.array(["ordinary", "dibao"])
    return {
        "settlement_id": pa.array(np.random.default_rng([seed, 1]).permutation(rows)),
        "person_id": pa.array(_national(people_in(rows), seed)[person]),
        "settled_at": pa.array((second * 1_000_000 + FIRST_DAY.astype("M8[us]").astype(np.int64)).view("M8[us]")),
        "service_date": pa.array(service).view(pa.date32()),
        "category": pa.DictionaryArray.from_arrays(pa.array(hardship.astype(np.int8)), names),
        "care_type": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int8)), pa.array(["inpatient"])),
    }


@cache
def one_layer(rows: int, everybody: bool = False, seed: int = 7) -> pa.Table:
    """Return a ledger of ordinary people whose whole bills are the base of catastrophic insurance.

    `everybody`: bills so large that nearly all are past the deductible.
    """
    person, second, total = _bills(rows, seed)
    base = pa.array(total * (20 if everybody else 1) * 38 // 100)
    columns = _head(person, second, np.zeros(rows, dtype=np.bool_), seed)
    return pa.table({**columns, "total_fee_fen": base, "eligible_fee_fen": base})


@cache
def unpaid(rows: int, categories: Categories = "constant", seed: int = 7) -> pa.Table:
    """Return a ledger that basic insurance alone has paid: 5 % hardship cases, all that routing needs.

    `categories`: "constant", or "changing": in one row of fifty an ordinary person counts as a hardship case.
    """
    person, second, total = _bills(rows, seed)
    rng = np.random.default_rng([seed, 2])
    hardship = (rng.random(people_in(rows)) < 0.05)[person]
    if categories == "changing":
        hardship |= rng.random(rows) < 0.02
    eligible = total * rng.integers(70, 101, rows) // 100
    return pa.table(
        {
            **_head(person, second, hardship, seed),
            "insured_region": pa.array(np.full(rows, 371002, dtype=np.int32)),
            "treated_region": pa.array(np.where(rng.random(rows) < 0.9, 371002, 110101).astype(np.int32)),
            "hospital_id": pa.array(rng.integers(1, 200, rows)),
            "total_fee_fen": pa.array(total),
            "eligible_fee_fen": pa.array(eligible),
            "basic_paid_fen": pa.array(eligible * 55 // 100),
            "has_social_card_account": pa.array(rng.random(rows) < 0.9),
        }
    )


@cache
def three_layers(rows: int, categories: Categories = "constant", seed: int = 7) -> pa.Table:
    """Return the ledger of `unpaid` as `shandong-2017` had paid it: basic, catastrophic and assistance."""
    import yibao

    ledger = unpaid(rows, categories, seed)
    old_rule = yibao.load_policy("shandong-2017", parameters=PARAMETERS)
    settled = yibao.settle_ledger(ledger, old_rule, money="int64_fen").table
    for name in ("catastrophic_paid_fen", "assistance_paid_fen"):
        ledger = ledger.append_column(name, settled[name])
    return ledger.combine_chunks()


@cache
def paid_ledger(rows: int, people: int) -> pa.Table:
    """Return the ledger of `three_layers` as offices hold it, in decimals, its people numbered from 0."""
    if people != people_in(rows):
        raise ValueError(f"people: expected {people_in(rows)} for {rows} rows, got {people}")
    ledger = three_layers(rows)
    for index, name in enumerate(ledger.column_names):
        if name == "person_id":
            ledger = ledger.set_column(index, name, pa.array(_bills(rows, 7)[0]))
        elif name.endswith("_fen"):
            ledger = ledger.set_column(index, name.removesuffix("_fen"), money(ledger[name].to_numpy()))
    return ledger.combine_chunks()


@cache
def city(rows: int, seed: int = 7) -> pa.Table:
    """Return an invented city's year: all care types and categories, levels, ages, fees outside the catalogue."""
    import yibao_datagen

    ledger = yibao_datagen.city(rows, seed, rows=rows, reversals=False, order="shuffled")
    for index, field in enumerate(ledger.schema):
        if pa.types.is_decimal(field.type):
            fen = fen_of(ledger[field.name])
            ledger = ledger.set_column(index, f"{field.name}_fen", pa.array(fen))
    return ledger.combine_chunks()


def money(amounts_fen: Ints) -> pa.Array:
    """Return fen as decimal128(18, 2)."""
    pairs = np.stack([amounts_fen, amounts_fen >> 63], axis=1).copy()
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(amounts_fen), [None, pa.py_buffer(pairs)])


def fen_of(amounts: pa.ChunkedArray) -> Ints:
    """Return decimal128(18, 2) without nulls as fen."""
    array = amounts.combine_chunks()
    pairs = np.frombuffer(array.buffers()[1], dtype=np.int64)
    return pairs[2 * array.offset : 2 * (array.offset + len(array)) : 2].copy()


def rival_input(ledger: pa.Table) -> pa.Table:
    """Return what a competitor needs of a ledger: numbers only, the base already worked out where one layer is asked for."""
    ids = {name: ledger[name] for name in ("settlement_id", "person_id", "settled_at")}
    if "basic_paid_fen" not in ledger.column_names:
        return pa.table({**ids, "base": ledger["eligible_fee_fen"]})
    hardship = ledger["category"].combine_chunks().indices.to_numpy().view(np.int8)
    return pa.table(
        {
            **ids,
            "hardship": pa.array(hardship),
            "eligible": ledger["eligible_fee_fen"],
            "basic": ledger["basic_paid_fen"],
        }
    )
