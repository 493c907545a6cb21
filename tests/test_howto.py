"""The page on writing a policy does what it says."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

import yibao
from yibao.policy_cases import case_files, read_cases, run_case
from yibao_core.policy_file import lint_file, read_policy

PAGE = Path(__file__).parents[1] / "core" / "WRITING-A-POLICY.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests: they left the tree")


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Write the page's two files as a reader would."""
    policy, cases = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my-city.toml").write_text(policy, encoding="utf-8")
    (tmp_path / "my-city.cases.toml").write_text(cases, encoding="utf-8")
    return tmp_path / "my-city.toml"


def test_the_pages_policy_lints(city: Path) -> None:
    assert lint_file(city) == []


def test_the_pages_policy_passes_its_own_cases(city: Path) -> None:
    (file,) = case_files(str(city))
    cases = read_cases(file)
    assert len(cases) == 3
    assert [run_case(case, read_policy(city, case.parameters)) for case in cases] == [[], [], []]


def test_the_pages_policy_settles_a_ledger(city: Path) -> None:
    row = {
        "settlement_id": "S1", "person_id": "P1", "settled_at": date(2020, 3, 2), "service_date": date(2020, 3, 1),
        "insured_region": 998801, "treated_region": 998801, "hospital_level": 3, "category": "ordinary",
        "care_type": "inpatient", "total_fee": "10000", "eligible_fee": "10000",
    }  # fmt: skip
    result = yibao.settle_ledger(pa.Table.from_pylist([row]), yibao.load_policy(city))
    assert result.table["basic_paid"].to_pylist() == [Decimal("5980.00")]  # 9,200 × 65 %


def test_the_page_names_every_key_of_a_rule() -> None:
    from yibao_core.policy_file import _LAYER, _RULE

    text = PAGE.read_text(encoding="utf-8")
    assert [key for key in (*_LAYER, *_RULE) if f"`{key}" not in text and key not in ("rules", "per")] == []
