"""A whole city re-accounted: the identity for every person-year, with everything in the ledger that can go wrong."""

from __future__ import annotations

import os
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import yibao
import yibao_datagen

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}


def city(people: int) -> pa.Table:
    """Return a city as paid under the old rule, the whole year, with dirt: rejects, unknown accounts, unreconciled rows."""
    ledger = yibao_datagen.city(people, seed=11, order="shuffled")
    paid = yibao_datagen.pay(ledger, yibao.load_policy("shandong-2017", parameters=PARAMETERS))
    rng = np.random.default_rng(5)
    bills = pc.is_null(paid["reverses"]).to_numpy()

    def some(share: float) -> pa.Array:
        return pa.array((rng.random(len(paid)) < share) & bills)

    def spoil(name: str, mask: pa.Array, value: Any = None) -> None:
        nonlocal paid
        column = paid[name].combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        scalar = pa.scalar(value, column.type)
        paid = paid.set_column(paid.column_names.index(name), name, pc.if_else(mask, scalar, column))

    spoil("has_social_card_account", some(0.1))
    spoil("hospital_id", some(0.03))
    spoil("treated_region", some(0.02))
    spoil("insured_region", some(0.001))
    spoil("total_fee", some(0.002))
    spoil("personal_paid", some(0.002), 12345)
    spoil("service_date", some(0.0005))
    return paid


def roster(ledger: pa.Table) -> pa.Table:
    """Return backdated recognitions of one person in two hundred, some for a part of the year."""
    people = pc.unique(ledger["person_id"]).to_numpy()[::200]
    half = len(people) // 2
    return pa.table(
        {
            "person_id": pa.array(people),
            "category": pa.array(["registered_poor"] * half + ["dibao"] * (len(people) - half)),
            "from": pa.array([date(2019, 1, 1)] * half + [date(2019, 5, 1)] * (len(people) - half)),
            "to": pa.array([None] * len(people), pa.date32()),
        }
    )


def sums(table: pa.Table, sign: int = 1) -> dict[tuple[Any, int], int]:
    """Return fen by person-year."""
    grouped = table.group_by(["person_id", "benefit_year"]).aggregate([("amount", "sum")])
    return {
        (row["person_id"], row["benefit_year"]): sign * int(row["amount_sum"].scaleb(2)) for row in grouped.to_pylist()
    }


def owed(a: yibao.Reaccount) -> dict[tuple[Any, int], int]:
    """Return D of each person-year from the deltas: what catastrophic insurance and special drugs pay more (6.5)."""
    deltas = a.deltas.select(["settlement_id", "person_id", "catastrophic_delta", "special_drug_delta"])
    payer = pc.add(deltas["catastrophic_delta"], deltas["special_drug_delta"])
    changed = pa.table({"person_id": deltas["person_id"], "amount": payer}).filter(pc.not_equal(payer, 0))
    grouped = changed.group_by("person_id").aggregate([("amount", "sum")])
    return {(row["person_id"], 2019): int(row["amount_sum"].scaleb(2)) for row in grouped.to_pylist()}


def identity_gaps(a: yibao.Reaccount, previous: pa.Table | None = None) -> dict[Any, int]:
    """Return the person-years where earlier + transfers + held + unrouted − decreases is not D (6.10)."""
    gap: dict[Any, int] = {key: -amount for key, amount in owed(a).items()}
    parts = [sums(a.transfers), sums(a.held), sums(a.unrouted), sums(a.decreases, -1)]
    if previous is not None:
        parts.append(sums(previous))
    for part in parts:
        for key, amount in part.items():
            gap[key] = gap.get(key, 0) + amount
    return {key: amount for key, amount in gap.items() if amount}


def run(people: int) -> None:
    ledger = city(people)
    weihai = yibao.load_policy("weihai-2019", parameters=PARAMETERS)
    options: dict[str, Any] = {"recorded_after_change": "implied_rate", "roster": roster(ledger)}
    a = yibao.reaccount(ledger, weihai, **options)
    assert identity_gaps(a) == {}
    assert a.summary["rejected"] > 0
    assert a.summary["rows_outside_window"] > 0
    assert a.summary["payments"]["identity_violations"] == 0
    assert a.summary["violations"] == 0
    assert set(a.transfers["payee_kind"].to_pylist()) == {
        "person_social_card", "person_bank_card", "institution", "district", "assistance_fund", "commercial_fund",
    }  # fmt: skip
    reasons = {reason for cell in a.held["reason"].to_pylist() for reason in cell.split(";")}
    assert reasons == {"REJECTED_ROW", "PAID_DOES_NOT_ADD_UP", "ACCOUNT_UNKNOWN"}
    assert len(a.unrouted) > 0
    assert len(a.decreases) > 0

    again = yibao.reaccount(ledger, weihai, previous_transfers=a.transfers, **options)
    assert len(again.transfers) == 0
    assert len(again.payment_orders) == 0
    assert identity_gaps(again, a.transfers) == {}

    forced = yibao.reaccount(ledger, weihai, on_reject="pay", previous_transfers=a.transfers, **options)
    assert len(forced.held) == 0
    assert identity_gaps(forced, a.transfers) == {}
    both = pa.concat_tables([a.transfers, forced.transfers])
    assert len(yibao.reaccount(ledger, weihai, on_reject="pay", previous_transfers=both, **options).transfers) == 0

    lines = a.transfer_lines.group_by("transfer_id").aggregate([("amount", "sum")])
    by_id = dict(zip(lines["transfer_id"].to_pylist(), lines["amount_sum"].to_pylist(), strict=True))
    assert by_id == dict(zip(a.transfers["transfer_id"].to_pylist(), a.transfers["amount"].to_pylist(), strict=True))
    assert pc.sum(a.payment_orders["amount"]) == pc.sum(a.transfers["amount"])


@pytest.mark.skipif(not COMPILED, reason="thousands of people are for compiled kernels")
def test_the_identity_holds_for_a_town() -> None:
    run(100_000)


@pytest.mark.big
@pytest.mark.skipif(not COMPILED, reason="a million rows are for compiled kernels")
def test_the_identity_holds_for_every_person_year_of_a_city() -> None:
    """About 1,050,000 rows."""
    run(480_000)
