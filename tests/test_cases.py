"""Worked examples of the built-in policies, one by one and as ledgers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao
from yibao.policy_cases import Case, case_files, read_cases, run_case
from yibao_core.policy import LAYERS
from yibao_core.policy_file import BUILTIN_CASES, builtin_ids, read_policy


def load() -> list[Any]:
    return [
        pytest.param(policy, case, id=f"{file.stem}-{number}")
        for policy in builtin_ids()
        for file in case_files(policy)
        for number, case in enumerate(read_cases(file), start=1)
    ]


@pytest.mark.parametrize("policy", builtin_ids())
def test_every_built_in_policy_has_worked_examples(policy: str) -> None:
    cases = [case for file in case_files(policy) for case in read_cases(file)]
    assert len(cases) >= 2
    assert all(case.title and case.source for case in cases)


def test_no_case_file_is_left_aside() -> None:
    found = {file for policy in builtin_ids() for file in case_files(policy)}
    assert found == set(BUILTIN_CASES.glob("*.toml"))


@pytest.mark.parametrize(("policy", "case"), load())
def test_a_case_claim_by_claim(policy: str, case: Case) -> None:
    """Each claim opens with the balances that the one before it closed with."""
    assert run_case(case, read_policy(policy, case.parameters)) == []


@pytest.mark.parametrize(("policy", "case"), load())
def test_a_case_as_a_ledger(policy: str, case: Case) -> None:
    """Rows backwards, so that the order of settlement counts and not that of the file."""
    rows = list(case.given)[::-1]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    result = yibao.settle_ledger(table, yibao.load_policy(policy, parameters=case.parameters))
    for row, expected in zip(result.table.to_pylist()[::-1], case.expected, strict=True):
        assert row["status"] == expected.get("status", "SETTLED")
        if row["status"] != "SETTLED":
            continue
        got = {layer: row[f"{layer}_paid"] for layer in LAYERS} | {"personal": row["personal_paid"]}
        assert got == {name: expected[name] for name in got}
        for name in ("deductible_borne", "stay_number"):
            if name in expected:
                assert row[name] == expected[name]
    assert result.summary["violations"] == 0
    total = sum((Decimal(row["total_fee"]) for row in case.given if row["total_fee"]), Decimal(0))
    assert total != 0
