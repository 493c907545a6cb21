"""Worked examples of `cases/*.toml`, one by one and as ledgers.

A file names its policy, what its examples assume, and its cases: a source, the given rows in the order of settlement,
and what each layer pays and what is left to the person.
"""

from __future__ import annotations

import tomllib
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import yibao

FILES = sorted((Path(__file__).parent / "cases").glob("*.toml"))
LAYERS = (
    "basic", "catastrophic", "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
)  # fmt: skip


def load() -> list[Any]:
    found = []
    for file in FILES:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        for number, case in enumerate(content["cases"], start=1):
            found.append(pytest.param(content, case, id=f"{file.stem}-{number}"))
    return found


def rows_of(content: dict[str, Any], case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the case's rows as claims: assumed cells, given ones, an id and a moment of settlement in their order."""
    rows = []
    for number, given in enumerate(case["given"]):
        row: dict[str, Any] = {
            "settlement_id": f"S{number:02}",
            "settled_at": datetime(2020, 1, 1) + timedelta(days=number),
        }
        row |= content["assumed"] | given
        rows.append({name: date.fromisoformat(cell) if name.endswith("_date") else cell for name, cell in row.items()})
    return rows


def expected_of(case: dict[str, Any]) -> list[dict[str, Decimal]]:
    return [{name: Decimal(row.get(name, "0")) for name in (*LAYERS, "personal")} for row in case["expected"]]


def test_there_are_cases_of_every_built_in_policy() -> None:
    assert {tomllib.loads(file.read_text(encoding="utf-8"))["policy"] for file in FILES} >= {
        info.id for info in yibao.policies() if info.id in ("weihai-2019", "shandong-2017", "demo-city")
    }
    assert len(load()) >= 14


@pytest.mark.parametrize(("content", "case"), load())
def test_a_case_is_whole(content: dict[str, Any], case: dict[str, Any]) -> None:
    """Each row has its expectation, which adds up to its total; each case names its source."""
    assert case["source"].strip()
    assert case["title"].strip()
    assert len(case["given"]) == len(case["expected"])
    for given, row, expected in zip(case["given"], case["expected"], expected_of(case), strict=True):
        assert set(row) <= {*LAYERS, "personal"}
        assert sum(expected.values()) == Decimal(given["total_fee"])


@pytest.mark.parametrize(("content", "case"), load())
def test_a_case_as_a_ledger(content: dict[str, Any], case: dict[str, Any]) -> None:
    """Rows backwards, so that the order of settlement counts and not that of the file."""
    rows = rows_of(content, case)[::-1]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    result = yibao.settle_ledger(table, yibao.load_policy(content["policy"], parameters=case.get("parameters")))
    got = [
        {layer: row[f"{layer}_paid"] for layer in LAYERS} | {"personal": row["personal_paid"]}
        for row in result.table.to_pylist()
    ]
    assert got[::-1] == expected_of(case)
    assert result.summary["violations"] == 0


@pytest.mark.parametrize(("content", "case"), load())
def test_a_case_claim_by_claim(content: dict[str, Any], case: dict[str, Any]) -> None:
    """Each claim opens with the balances that the one before it closed with."""
    policy = yibao.load_policy(content["policy"], parameters=case.get("parameters"))
    settled: dict[str, yibao.Settlement] = {}
    opening = None
    for row, expected in zip(rows_of(content, case), expected_of(case), strict=True):
        one = yibao.settle(row, policy, opening=opening, original=settled.get(row.get("reverses", "")))
        assert one.paid | {"personal": one.personal_paid} == expected
        opening = one.closing
        settled[row["settlement_id"]] = one
