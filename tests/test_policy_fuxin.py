"""Fuxin 2020, 阜政发〔2019〕18号, article by article. Every amount is computed by hand, in yuan."""

from __future__ import annotations

from decimal import Decimal

import pytest

import yibao
from one_resident import paid, settled
from yibao_core.policy_file import read_policy

POLICY = "fuxin-2020"


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("14999.99", "0"),
        ("15000", "0"),
        ("15000.01", "0.01"),
        ("64999.99", "29999.99"),  # 49,999.99 × 60 % = 29,999.994
        ("65000", "30000"),
        ("65000.01", "30000.01"),
        ("114999.99", "62499.99"),  # 30,000 + 49,999.99 × 65 % = 62,499.9935
        ("115000", "62500"),
        ("115000.01", "62500.01"),
        ("10000000", "6982000"),  # + 9,885,000 × 70 %, no cap
    ],
)
@pytest.mark.parametrize("care", ["inpatient", "outpatient", "chronic_outpatient"])
def test_3_catastrophic_insurance(total: str, expected: str, care: str) -> None:
    """三: deductible half of last year's income; 60 %, 5 points more each 50,000, at most 70 %; no cap."""
    assert paid("catastrophic", POLICY, {"disposable_income": "30000"}, {"total_fee": total, "care_type": care}) == [
        Decimal(expected)
    ]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("15000.51", "0"),
        ("15000.52", "0.01"),
        ("65000.51", "30000"),
        ("65000.52", "30000.01"),
        ("115000.51", "62500"),
        ("115000.52", "62500.01"),
    ],
)
def test_3_half_of_an_income_is_rounded_half_up_to_the_fen(total: str, expected: str) -> None:
    """Half of 30,001.01 is 15,000.505: the deductible is 15,000.51, and the edges lie above it."""
    assert paid("catastrophic", POLICY, {"disposable_income": "30001.01"}, {"total_fee": total}) == [Decimal(expected)]


@pytest.mark.parametrize("category", ["dibao", "destitute", "registered_poor", "orphan"])
def test_3_it_is_one_rule_for_all_and_pays_nothing_beside_it(category: str) -> None:
    rows = [{"category": category}, {"category": category, "care_type": "special_drug", "catastrophic_paid": "3"}]
    assert paid("catastrophic", POLICY, {"disposable_income": "30000"}, *rows) == [9_000, 0]


def test_3_the_income_is_asked_for_in_the_documents_words() -> None:
    with pytest.raises(yibao.ParameterError, match="上一年度全市城乡居民加权人均可支配收入"):
        settled(POLICY, {}, {})


def test_who_is_in_several_categories_is_treated_by_the_first() -> None:
    assert read_policy(POLICY).favour == read_policy("linyi-2019").favour
