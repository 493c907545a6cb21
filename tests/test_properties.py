"""What must hold for every ledger, whatever its rows: properties by name, on random person-years."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledgers
import oracle
import yibao

WEIHAI = yibao.load_policy(
    "weihai-2019",
    parameters={"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"},
)
DEMO = yibao.load_policy("demo-city", parameters={"orphan_deductible": "3000"})
POLICIES = {"weihai-2019": (WEIHAI, 371002), "demo-city": (DEMO, 990101)}

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
amounts_fen = st.one_of(
    st.sampled_from([edge + near for edge in ledgers.EDGES_FEN for near in (-1, 0, 1)]),
    st.integers(1, 30_000),
    st.integers(1, 90_000_000),
)
shares = st.integers(0, 100)


@st.composite
def bills(
    draw: st.DrawFn, category: str | None = None, care: str | None = None, least: int = 1
) -> list[dict[str, Any]]:
    """Return bills of a few people in one year and city, in settled order."""
    count = draw(st.integers(least, 7))
    rows = []
    categories = st.sampled_from(("ordinary", "dibao", "registered_poor", "low_income", "低保,特困"))
    held = category or draw(categories)
    for number in range(count):
        total = draw(amounts_fen)
        eligible = total * draw(shares) // 100
        basic = eligible * draw(shares) // 200
        rows.append(
            {
                "settlement_id": number,
                "reverses": None,
                "person_id": draw(st.integers(0, 1)),
                "settled_at": datetime(2019, 1, 5) + timedelta(days=number * 3),
                "service_date": date(2019, 1, 3) + timedelta(days=number * 3),
                "insured_region": 371002,
                "category": held,
                "birth_date": date(2001, 5, 6),
                "care_type": care or draw(st.sampled_from(ledgers.CARE_TYPES)),
                "total_fee": total,
                "eligible_fee": eligible,
                "basic_paid": basic,
            }
        )
    return rows


def settled(rows: list[dict[str, Any]], name: str = "weihai-2019", **options: Any) -> list[dict[str, Any]]:
    policy, region = POLICIES[name]
    table = ledgers.to_arrow([{**row, "insured_region": region} for row in rows])
    rows_settled: list[dict[str, Any]] = yibao.settle_ledger(table, policy, **options).table.to_pylist()
    return rows_settled


def fen(amount: Decimal) -> int:
    return int(amount.scaleb(2))


def reversal(row: Mapping[str, Any], number: int, days: int = 40) -> dict[str, Any]:
    negated = {name: -row[name] for name in ("total_fee", "eligible_fee", "basic_paid")}
    return {**row, **negated, "settlement_id": number, "reverses": row["settlement_id"],
            "settled_at": row["settled_at"] + timedelta(days=days)}  # fmt: skip


SCHEDULES = {  # 威医保发〔2019〕37号 二(二): (from, rate in percent), cap
    "ordinary": (((18_000, 60), (100_000, 65), (200_000, 70), (300_000, 75)), 400_000),
    "dibao": (((5_000, 65), (100_000, 75), (300_000, 85)), None),
}


def entitled_fen(category: str, cumulative_fen: int) -> int:
    """Return R(F(C)), by the increase of the rate at each edge."""
    tiers, cap = SCHEDULES[category]
    exact, rate = Fraction(0), 0
    for lower, percent in tiers:
        exact += Fraction(percent - rate, 100) * max(0, cumulative_fen - lower * 100)
        rate = percent
    limited = exact if cap is None else min(exact, Fraction(cap * 100))
    return int(limited + Fraction(1, 2))


@pytest.mark.parametrize("category", ["ordinary", "dibao"])
@relaxed
@given(data=st.data())
def test_payments_of_a_layer_add_up_to_its_schedule_on_its_own_base_in_any_order(
    category: str, data: st.DataObject
) -> None:
    """Σ payments = R(F(C)), C the sum of the bases: no drift, whatever the order (contract 2)."""
    rows = data.draw(bills(category=category, care="inpatient"))
    for row, day in zip(rows, data.draw(st.permutations(range(len(rows)))), strict=True):
        row["settled_at"] = datetime(2019, 3, 1) + timedelta(days=day)
    done = settled(rows)
    for person in (0, 1):
        own = [(row, out) for row, out in zip(rows, done, strict=True) if row["person_id"] == person]
        base = sum(row["eligible_fee"] - fen(out["basic_paid"]) for row, out in own)
        assert sum(fen(out["catastrophic_paid"]) for _, out in own) == entitled_fen(category, base)


@pytest.mark.parametrize("name", POLICIES)
@relaxed
@given(rows=bills())
def test_every_bill_is_shared_out_to_the_fen(name: str, rows: list[dict[str, Any]]) -> None:
    """total = Σ payments + personal, each between 0 and the total (contract 3)."""
    for row, out in zip(rows, settled(rows, name), strict=True):
        parts = [fen(out[f"{layer}_paid"]) for layer in oracle.LAYERS] + [fen(out["personal_paid"])]
        assert sum(parts) == row["total_fee"]
        assert min(parts) >= 0


@pytest.mark.parametrize("category", ["ordinary", "dibao"])
@relaxed
@given(first=amounts_fen, second=amounts_fen, more=st.integers(1, 5_000_000))
def test_a_dearer_bill_is_never_reimbursed_less(category: str, first: int, second: int, more: int) -> None:
    def paid(amount: int) -> int:
        base = {"settlement_id": 1, "reverses": None, "person_id": 1, "settled_at": datetime(2019, 2, 1),
                "service_date": date(2019, 2, 1), "insured_region": 371002, "category": category, "care_type": "inpatient",
                "total_fee": first, "eligible_fee": first, "basic_paid": 0}  # fmt: skip
        later = {
            **base,
            "settlement_id": 2,
            "settled_at": datetime(2019, 2, 2),
            "total_fee": amount,
            "eligible_fee": amount,
        }
        return sum(fen(out["catastrophic_paid"]) + fen(out["assistance_paid"]) for out in settled([base, later]))

    assert paid(second) <= paid(second + more)


@relaxed
@given(amount=st.integers(2, 90_000_000), cut=st.integers(1, 99), category=st.sampled_from(("ordinary", "dibao")))
def test_splitting_a_claim_leaves_the_catastrophic_total_as_it_was(amount: int, cut: int, category: str) -> None:
    whole = {"settlement_id": 1, "reverses": None, "person_id": 1, "settled_at": datetime(2019, 2, 1),
             "service_date": date(2019, 2, 1), "insured_region": 371002, "category": category, "care_type": "inpatient",
             "total_fee": amount, "eligible_fee": amount, "basic_paid": 0}  # fmt: skip
    part = max(1, amount * cut // 100)
    one = {**whole, "total_fee": part, "eligible_fee": part}
    two = {**whole, "settlement_id": 2, "total_fee": amount - part, "eligible_fee": amount - part}
    together = fen(settled([whole])[0]["catastrophic_paid"])
    assert sum(fen(out["catastrophic_paid"]) for out in settled([one, two])) == together


@pytest.mark.parametrize("name", POLICIES)
@relaxed
@given(rows=bills(least=2))
def test_reversing_the_last_settlement_restores_the_year(name: str, rows: list[dict[str, Any]]) -> None:
    policy, region = POLICIES[name]
    rows = [{**row, "person_id": 0, "insured_region": region} for row in rows]
    before = yibao.settle_ledger(ledgers.to_arrow(rows[:-1]), policy)
    after = yibao.settle_ledger(ledgers.to_arrow([*rows, reversal(rows[-1], 100)]), policy)
    assert balances(after.closing) == balances(before.closing)
    bill, mirror = after.table.to_pylist()[-2:]
    for column in (*(f"{layer}_paid" for layer in oracle.LAYERS), "personal_paid"):
        assert mirror[column] == -bill[column]
    assert mirror["flags"] == ""


def balances(closing: pa.Table) -> dict[Any, Any]:
    return {
        (row["person_id"], row["benefit_year"], row["insured_city"], row["account"]): (row["base"], row["paid"])
        for row in closing.to_pylist()
        if row["base"] or row["paid"]
    }


@pytest.mark.parametrize("name", POLICIES)
@relaxed
@given(rows=bills(least=2), data=st.data())
def test_results_do_not_depend_on_the_order_of_rows_in_the_file(
    name: str, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    rows = [*rows, reversal(rows[0], 200, days=1)]
    order = data.draw(st.permutations(range(len(rows))))
    straight = {out["settlement_id"]: out for out in settled(rows, name)}
    mixed = {out["settlement_id"]: out for out in settled([rows[index] for index in order], name)}
    assert mixed == straight


@pytest.mark.parametrize("name", POLICIES)
@settings(parent=relaxed, max_examples=25)
@given(rows=bills(least=2))
def test_a_claim_settles_like_its_row_in_a_table(name: str, rows: list[dict[str, Any]]) -> None:
    """`settle`, fed with the closing of the one before, is `settle_ledger` row by row; the reversal too."""
    policy, region = POLICIES[name]
    rows = [{**row, "person_id": 0, "insured_region": region} for row in rows]
    rows.append(reversal(rows[0], 300))
    expected = settled(rows, name)
    opening: Any = None
    seen: dict[Any, Any] = {}
    for row, out in zip(rows, expected, strict=True):
        claim = {key: Decimal(value).scaleb(-2) if key in ledgers.MONEY else value for key, value in row.items()}
        one = yibao.settle(claim, policy, opening=opening, original=seen.get(row["reverses"]))
        assert {f"{layer}_paid": one.paid[layer] for layer in oracle.LAYERS} == {
            f"{layer}_paid": out[f"{layer}_paid"] for layer in oracle.LAYERS
        }
        assert one.personal_paid == out["personal_paid"]
        opening = one.closing
        seen[row["settlement_id"]] = one


@relaxed
@given(rows=bills())
def test_the_trace_is_what_was_paid(rows: list[dict[str, Any]]) -> None:
    """Explained figures are the kernel's: tiers add up to the entitlement, layers to the bill."""
    row = rows[0]
    claim = {key: Decimal(value).scaleb(-2) if key in ledgers.MONEY else value for key, value in row.items()}
    one = yibao.settle(claim, WEIHAI)
    for step in one.trace:
        assert step.paid == one.paid[step.layer]
        if step.mode == "computed" and step.cap_left > step.entitled_after:
            exact = sum((tier.amount for tier in step.tiers), Decimal(0))
            assert abs(exact - (step.entitled_after - step.entitled_before)) < Decimal("0.01")
    assert one.trace[-1].left - one.trace[-1].paid == one.personal_paid
