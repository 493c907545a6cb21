"""Settled tables that come back as history, as opening's companion or as a ledger: whose names, whose policy, whose category."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import yibao
from yibao.ledger import NHSA, with_names
from yibao_core.policy import Policy, Tier
from yibao_core.policy_file import read_policy

COUNTY = read_policy("demo-county")


def stay(number: int, eligible: str = "5000", **cells: Any) -> dict[str, Any]:
    """Return a stay of P1 in the invented county, at a hospital of level 3: deductible 1,000, 60 % of the rest."""
    day = date(2019, 1, 1) + timedelta(days=number)
    row: dict[str, Any] = {
        "settlement_id": f"S{number:03}",
        "reverses": pa.scalar(None, pa.string()).as_py(),
        "person_id": "P1",
        "settled_at": day,
        "service_date": day,
        "insured_region": 990201,
        "treated_region": 990201,
        "hospital_level": 3,
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": eligible,
        "eligible_fee": eligible,
    }
    return row | cells


def back(number: int, original: dict[str, Any], **cells: Any) -> dict[str, Any]:
    """Return the whole reversal of a row."""
    day = date(2019, 1, 1) + timedelta(days=number)
    own = {
        "settlement_id": f"S{number:03}",
        "reverses": original["settlement_id"],
        "settled_at": day,
        "service_date": day,
    }
    negated = {name: f"-{original[name]}" for name in ("total_fee", "eligible_fee")}
    return original | own | negated | cells


def table(*rows: dict[str, Any]) -> pa.Table:
    schema = {"reverses": pa.string()}
    return pa.table({name: pa.array([row[name] for row in rows], schema.get(name)) for name in rows[0]})


def in_days(policy: Any, *rows: dict[str, Any], known: tuple[Any, ...] = (), **options: Any) -> list[dict[str, Any]]:
    """Return rows as settled one run a row, each opened by the last one's closing, with all earlier rows as history."""
    settled: list[pa.Table] = []
    opening = None
    for index, row in enumerate(rows):
        more = {"as_known": known[index]} if known else {}
        history = pa.concat_tables(settled, promote_options="permissive") if settled else None
        result = yibao.settle_ledger(table(row), policy, opening=opening, history=history, **more, **options)
        assert result.summary["rejected"] == 0, result.rejects.to_pylist()
        settled.append(result.table)
        opening = result.closing
    return [row for each in settled for row in each.to_pylist()]


def at_once(policy: Any, *rows: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return yibao.settle_ledger(table(*rows), policy, **options).table.to_pylist()  # type: ignore[no-any-return]


# --- Names -------------------------------------------------------------------------------------------


def national(rows: pa.Table) -> pa.Table:
    """Return a ledger under the national platform's names."""
    return rows.rename_columns([NHSA.get(name, name) for name in rows.column_names])


@pytest.mark.parametrize("written", ["ours", "nhsa"])
def test_a_history_under_national_names_repays_what_was_paid(written: str) -> None:
    """Section 5: the reversal repays, layer by layer, exactly what its original was paid: 4,000 × 60 % = 2,400."""
    bill = stay(1)
    first = yibao.settle_ledger(national(table(bill)), COUNTY, columns="nhsa")
    past = with_names(first.table, "nhsa") if written == "nhsa" else first.table
    second = yibao.settle_ledger(
        national(table(back(2, bill))), COUNTY, columns="nhsa", history=past, opening=first.closing
    )
    (row,) = second.table.to_pylist()
    assert (row["basic_paid"], row["personal_paid"]) == (Decimal(-2_400), Decimal(-2_600))
    assert row["deductible_borne"] == Decimal(-1_000)
    assert set(second.closing["base"].to_pylist()) == {Decimal(0)}


def test_a_history_shows_the_deductible_of_the_run_not_the_platforms_own() -> None:
    """0004.13: the settled row's `deductible_borne` counts; act_pay_dedc beside it is what was recorded before."""
    bill = stay(1, deductible_borne="300")
    first = yibao.settle_ledger(national(table(bill)), COUNTY, columns="nhsa")
    assert first.table["deductible_borne"].to_pylist() == [Decimal(1_000)]
    second = yibao.settle_ledger(
        national(table(back(2, bill))), COUNTY, columns="nhsa", history=first.table, opening=first.closing
    )
    assert second.table["deductible_borne"].to_pylist() == [Decimal(-1_000)]


def test_a_national_ledger_with_columns_named_status_and_flags_keeps_its_payments() -> None:
    bill = {**stay(1, "60000"), "insured_region": 371002, "basic_paid": "20000"}
    ledger = national(table(bill)).append_column("status", pa.array(["1"])).append_column("flags", pa.array(["0"]))
    (row,) = yibao.settle_ledger(ledger, yibao.load_policy("weihai-2019"), columns="nhsa").table.to_pylist()
    assert (row["basic_paid"], row["catastrophic_paid"]) == (
        Decimal(20_000),
        Decimal(13_200),
    )  # (40,000 − 18,000) × 60 %


def test_national_names_come_out_once_however_often_a_table_has_been_settled(tmp_path: Path) -> None:
    ledger = national(table(stay(1, "60000") | {"insured_region": 371002, "basic_paid": "20000"}))
    for _ in range(3):
        settled = yibao.settle_ledger(ledger, yibao.load_policy("weihai-2019"), columns="nhsa").table
        ledger = with_names(settled, "nhsa")
        assert len(set(ledger.column_names)) == len(ledger.column_names)
        pq.write_table(ledger, tmp_path / "settled.parquet")
        ledger = pq.read_table(tmp_path / "settled.parquet")
        assert ledger["hifmi_pay"].to_pylist() == [Decimal(13_200)]


@pytest.mark.parametrize("money", ["decimal128", "decimal64", "int64_fen"])
def test_results_in_any_unit_come_back_as_history(money: str) -> None:
    bill = stay(1)
    first = yibao.settle_ledger(table(bill), COUNTY, money=money)
    second = yibao.settle_ledger(table(back(2, bill)), COUNTY, history=first.table, opening=first.closing, money=money)
    name, amount = ("deductible_borne_fen", -100_000) if money == "int64_fen" else ("deductible_borne", Decimal(-1_000))
    assert second.table[name].to_pylist() == [amount]


# --- Policy ------------------------------------------------------------------------------------------


def reformed() -> list[Policy]:
    """Return two rules of assistance: of old for the poorest only, from June for everybody (80 %, at most 20,000)."""
    old = replace(COUNTY, id="old", region="9902", known_from=date(2018, 1, 1), supersedes=())
    layers = []
    for layer in old.layers:
        if layer.name == "basic":
            layers.append(replace(layer, rules=(), otherwise="recorded"))
        elif layer.name == "assistance":
            rule = replace(
                layer.rules[0], id="all", who=("dibao",), care_types=("inpatient",), tiers=(Tier(0, 8_000),), stay=None,
                deductible_fen=0, cap_fen=2_000_000, account="assistance", shared_limit=None, ceiling_bp=None,
            )  # fmt: skip
            layers.append(replace(layer, rules=(rule,), otherwise="zero"))
        else:
            layers.append(replace(layer, rules=(), otherwise="recorded"))
    old = replace(old, layers=tuple(layers), parameters=(), values={}, ratios=(), digest="old")
    everyone = tuple(
        replace(layer, rules=tuple(replace(rule, who=COUNTY.favour) for rule in layer.rules)) for layer in old.layers
    )
    new = replace(old, id="new", known_from=date(2019, 6, 1), supersedes=("old",), layers=everyone, digest="new")
    return [old, new]


def test_a_reversal_goes_by_the_policy_that_settled_its_original() -> None:
    """0001.13: the January bill fed nothing under the old rule, so its reversal in August takes nothing back."""
    bill = stay(1, "12000")
    rows = [bill, back(200, bill), stay(201, "12000")]
    known = (date(2019, 1, 31), date(2019, 8, 1), date(2019, 8, 1))
    apart, together = in_days(reformed(), *rows, known=known), at_once(reformed(), *rows, as_known="settled_at")
    assert [row["policy_id"] for row in apart] == ["old", "old", "new"]
    assert [row["assistance_paid"] for row in apart] == [Decimal(0), Decimal(0), Decimal(9_600)]
    assert [row["assistance_paid"] for row in together] == [row["assistance_paid"] for row in apart]


def test_an_original_of_a_policy_outside_the_book_is_no_policy_not_a_missing_original() -> None:
    bill = stay(1, "12000")
    old, new = reformed()
    first = yibao.settle_ledger(table(bill), old)
    second = yibao.settle_ledger(table(back(2, bill)), new, history=first.table, opening=first.closing)
    (reject,) = second.rejects.to_pylist()
    assert (reject["code"], reject["column"], reject["value"]) == ("NO_POLICY", "reverses", "***1")
    assert second.summary["no_policy"]["original_of_another_book"] == 1


def test_an_original_whose_level_the_history_does_not_show_says_so() -> None:
    bill = stay(1)
    first = yibao.settle_ledger(table(bill), COUNTY)
    past = first.table.drop_columns(["hospital_level"])
    second = yibao.settle_ledger(table(back(2, bill)), COUNTY, history=past, opening=first.closing)
    assert second.table["status"].to_pylist() == ["MISSING_VALUE"]


def test_a_pair_is_taken_out_of_a_reaccounting_though_its_policy_is_in_no_book() -> None:
    """Section 5: original and reversal are taken out together; nothing of them is priced."""
    bill = stay(1, "12000", catastrophic_paid="0", has_social_card_account=True, hospital_id="H")
    old, new = reformed()
    first = yibao.settle_ledger(table(bill), old)
    gone = back(2, bill)
    a = yibao.reaccount(table(gone, stay(3, "12000", catastrophic_paid="0", has_social_card_account=True, hospital_id="H")),
                        new, history=first.table, missing_paid="zero")  # fmt: skip
    assert a.settled["status"].to_pylist() == ["SETTLED", "SETTLED"]
    assert a.settled["assistance_paid"].to_pylist() == [Decimal(0), Decimal(9_600)]


# --- Category ----------------------------------------------------------------------------------------


def linyi(number: int, **cells: Any) -> dict[str, Any]:
    return stay(number, "30000", insured_region=371302, treated_region=371302, **cells)


def test_a_reversal_takes_the_category_that_a_roster_gave_its_original() -> None:
    """Section 5: 25,000 × 65 % = 16,250; (30,000 − 16,250) × 70 % = 9,625; again the same once the bill is gone."""
    roster = pa.table(
        {
            "person_id": ["P1"],
            "category": ["低保"],
            "from": pa.array([date(2019, 1, 1)]),
            "to": pa.array([None], pa.date32()),
        }
    )
    policy = read_policy("linyi-2019")
    rows = [linyi(1), back(2, linyi(1)), linyi(3)]
    for found in (in_days(policy, *rows, roster=roster), at_once(policy, *rows, roster=roster)):
        assert [row["assistance_paid"] for row in found] == [Decimal(9_625), Decimal(-9_625), Decimal(9_625)]
        assert [row["personal_paid"] for row in found] == [Decimal(4_125), Decimal(-4_125), Decimal(4_125)]
        assert [row["category"] for row in found] == ["ordinary,dibao"] * 3
        assert [row["category_recorded"] for row in found] == ["ordinary"] * 3
    # The roster of the second day may say otherwise: what was paid was paid as it stood on the first.
    first = yibao.settle_ledger(table(rows[0]), policy, roster=roster)
    second = yibao.settle_ledger(table(rows[1]), policy, history=first.table, opening=first.closing)
    assert second.table["reassistance_paid"].to_pylist() == [Decimal(0)]
    assert set(second.closing["base"].to_pylist()) == {Decimal(0)}


def test_explain_knows_the_roster() -> None:
    roster = pa.table({"person_id": ["P1"], "category": ["dibao"], "from": pa.nulls(1), "to": pa.nulls(1)})
    rows = table(linyi(1))
    assert "医疗救助: pays 9,625.00" in yibao.explain(rows, "S001", read_policy("linyi-2019"), roster=roster)
    assert "医疗救助: pays" not in yibao.explain(rows, "S001", read_policy("linyi-2019"))


# --- Cells -------------------------------------------------------------------------------------------


def test_levels_may_come_from_a_data_frame_with_gaps() -> None:
    frame = pd.DataFrame([stay(1), stay(2, hospital_level=None), stay(3, hospital_level=2)])
    assert frame["hospital_level"].dtype == "float64"
    result = yibao.settle_ledger(frame.drop(columns="reverses"), COUNTY)
    assert result.table["status"].to_pylist() == ["SETTLED", "MISSING_VALUE", "SETTLED"]


def test_stays_of_an_opening_may_be_text() -> None:
    first = yibao.settle_ledger(table(stay(1)), COUNTY)
    opening = first.closing.set_column(
        first.closing.column_names.index("stays"), "stays", first.closing["stays"].cast(pa.string())
    )
    second = yibao.settle_ledger(table(stay(2)), COUNTY, opening=opening)
    assert second.table["stay_number"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("-200000000", "AMOUNT_OUT_OF_RANGE"),
        ("-2000000000000", "AMOUNT_OUT_OF_RANGE"),
        ("abc", "AMOUNT_NOT_FEN"),
        ("-0.001", "AMOUNT_NOT_FEN"),
    ],
)
def test_a_deductible_that_is_no_amount_rejects_the_row(cell: str, code: str) -> None:
    """Section 1: a row amount beyond 10^10 fen rejects the row."""
    unseen = back(2, stay(1), basic_paid="-2400", deductible_borne=cell, stay_number=1)
    result = yibao.settle_ledger(table(unseen), COUNTY)
    (reject,) = result.rejects.to_pylist()
    assert (reject["code"], reject["column"], reject["value"]) == (code, "deductible_borne", cell)
    assert len(result.closing) == 0
