"""Wenzhou 2019, item by item. 20,000 is a test value for the deductible. Every amount is computed by hand, in yuan."""

from __future__ import annotations

from decimal import Decimal

import pytest

import yibao
from one_resident import paid, settled
from yibao_core.policy_file import read_policy

POLICY = "wenzhou-2019"
CITY = {"catastrophic_deductible": "20000"}


@pytest.mark.parametrize("category", ["ordinary", "dibao", "destitute", "orphan"])
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("19999.99", "0"),
        ("20000", "0"),
        ("20000.01", "0.01"),  # 0.006
        ("30000", "6000"),
        ("10020000", "6000000"),  # no cap
    ],
)
def test_5_catastrophic_insurance(category: str, total: str, expected: str) -> None:
    """5: 降低并统一全市大病保险起付线，报销比例达到60%."""
    assert paid("catastrophic", POLICY, CITY, {"category": category, "total_fee": total}) == [Decimal(expected)]


def test_5_special_drugs_count_into_the_catastrophic_account() -> None:
    """5: 大病特殊药品 in the same account, paid from it alone, whatever was recorded beside it; outpatients too, PKU food not."""
    care = ("inpatient", "special_drug", "outpatient", "chronic_outpatient", "pku")
    rows = settled(
        POLICY, CITY, *({"care_type": each, "special_drug_paid": "5", "catastrophic_paid": "3"} for each in care)
    )
    assert [row["catastrophic_paid"] for row in rows] == [6_000, 18_000, 18_000, 18_000, 0]
    assert [row["special_drug_paid"] for row in rows] == [0, 0, 0, 0, 0]


def test_5_the_deductible_is_asked_for_in_the_documents_words() -> None:
    with pytest.raises(yibao.ParameterError, match="统一全市大病保险起付线"):
        settled(POLICY, {}, {})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("catastrophic_rate", "59.99 %", "报销比例不低于60%"),
        ("dibao_rate", "69.99 %", "分别不低于70%、60%和50%"),
        ("marginal_rate", "59.99 %", "分别不低于70%、60%和50%"),
        ("others_rate", "49.99 %", "分别不低于70%、60%和50%"),
        ("assistance_limit", "79999.99", "均不低于8万元"),
    ],
)
def test_the_city_may_give_more_never_less(name: str, value: str, words: str) -> None:
    with pytest.raises(yibao.ParameterError, match=f"{name}: expected .* or more .*{words}"):
        yibao.load_policy(POLICY, parameters=CITY | {name: value})


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("destitute", 24_000),  # 30,000 − 6,000, in full
        ("dibao", 16_800),
        ("dibao_marginal", 14_400),
        ("illness_poverty", 12_000),
        ("low_income", 12_000),
        ("registered_poor", 12_000),
        ("severe_disability", 12_000),
        ("orphan", 12_000),
        ("ordinary", 7),  # as recorded
    ],
)
def test_8_assistance(category: str, expected: int) -> None:
    """8: 特困 in full, 低保 70 %, 低边 60 %, 因病致贫 and others 50 %; inpatients (住院自付合规医疗费用)."""
    assert paid("assistance", POLICY, CITY, {"category": category, "assistance_paid": "7"}) == [expected]
    outpatient = {"category": category, "assistance_paid": "7", "care_type": "outpatient"}
    assert paid("assistance", POLICY, CITY, outpatient) == [7]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("255714.25", "79999.99"),  # less 141,428.55: 114,285.70 × 70 %
        ("255714.28", "80000"),  # less 141,428.57: 114,285.71 × 70 % = 79,999.997
        ("255714.32", "80000"),  # less 141,428.59: 114,285.73 × 70 % = 80,000.011
    ],
)
def test_8_the_limit_is_80000_a_year(total: str, expected: str) -> None:
    """8: 年度内救助封顶线均不低于8万元."""
    stay = {"category": "dibao", "total_fee": total}
    rest = Decimal(80_000) - Decimal(expected)
    assert paid("assistance", POLICY, CITY, stay, {"category": "dibao"}) == [Decimal(expected), rest]


@pytest.mark.parametrize("category", ["dibao_marginal", "illness_poverty", "low_income", "registered_poor", "severe_disability", "orphan"])  # fmt: skip
def test_8_the_limit_holds_for_all_but_the_destitute(category: str) -> None:
    stay = {"total_fee": "400000"}  # catastrophic 228,000; 172,000 × 60 % = 103,200, × 50 % = 86,000
    assert paid("assistance", POLICY, CITY, stay | {"category": category}) == [80_000]
    more = CITY | {"assistance_limit": {category: "80000.01"}}
    assert paid("assistance", POLICY, more, stay | {"category": category}) == [Decimal("80000.01")]
    assert paid("assistance", POLICY, CITY, stay | {"category": "destitute"}) == [172_000]


def test_22_one_bill_shows_basic_catastrophic_and_assistance() -> None:
    """22: the assistance module inside the settlement platform."""
    (row,) = settled(POLICY, CITY, {"category": "dibao", "total_fee": "60000", "basic_paid": "10000"})
    # 50,000 − 20,000 = 30,000 × 60 %; 32,000 × 70 %.
    assert [row[f"{layer}_paid"] for layer in ("basic", "catastrophic", "assistance", "personal")] == [
        10_000, 18_000, 22_400, 9_600,
    ]  # fmt: skip


def test_who_is_in_several_categories_is_treated_by_the_first() -> None:
    assert read_policy(POLICY).favour == (
        "destitute", "dibao", "dibao_marginal", "illness_poverty", "low_income", "registered_poor", "severe_disability",
        "orphan", "ordinary",
    )  # fmt: skip
    rates = CITY | {"others_rate": {"illness_poverty": "58 %", "low_income": "55 %", "registered_poor": "52 %"}}
    for cell, expected in (
        ("低保,特困", 24_000),
        ("低边、低保", 16_800),
        ("低边,建档立卡", 14_400),
        ("因病致贫;低边", 14_400),
        ("低收入救助对象，因病致贫", 13_920),
        ("建档立卡,低收入救助对象", 13_200),
        ("贫困重度残疾人,建档立卡", 12_480),
    ):
        assert paid("assistance", POLICY, rates, {"category": cell}) == [expected], cell
