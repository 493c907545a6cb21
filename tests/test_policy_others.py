"""Linyi 2019 and 2020, Wenzhou 2019, Fuxin 2020, article by article. Every expected amount is computed by hand, in yuan."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao

AREA = {"area_deductible": "1000", "area_rate": "60 %", "area_limit": "8000"}
WENZHOU = {"catastrophic_deductible": "20000"}
FUXIN = {"disposable_income": "30000"}


def settled(policy: str, parameters: dict[str, Any], *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Settle bills of one resident in the order given; each needs only what differs from an ordinary stay of 30,000."""
    year = 2020 if policy.endswith("2020") else 2019
    full = [
        {
            "settlement_id": number,
            "person_id": 1,
            "settled_at": datetime(year, 3, 1, number),
            "service_date": date(year, 3, 1),
            "category": "ordinary",
            "care_type": "inpatient",
            "birth_date": date(1990, 1, 1),
            "total_fee": "30000",
            "eligible_fee": row.get("total_fee", "30000"),
            "basic_paid": "0",
            "catastrophic_paid": "0",
        }
        | row
        for number, row in enumerate(rows)
    ]
    table = pa.table({name: [row[name] for row in full] for name in full[0]})
    result = yibao.settle_ledger(table, yibao.load_policy(policy, parameters=parameters))
    assert set(result.table["status"].to_pylist()) == {"SETTLED"}
    assert result.summary["violations"] == 0
    found: list[dict[str, Any]] = result.table.to_pylist()
    return found


def paid(layer: str, policy: str, parameters: dict[str, Any], *rows: dict[str, Any]) -> list[Decimal]:
    return [row[f"{layer}_paid"] for row in settled(policy, parameters, *rows)]


@pytest.mark.parametrize("policy", ["linyi-2019", "linyi-2020"])
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("5000", "0"),
        ("30000", "16250"),  # 25,000 × 65 %
        ("100000", "61750"),
        ("300000", "211750"),  # + 200,000 × 75 %
        ("1000000", "806750"),  # + 700,000 × 85 %, no cap
    ],
)
def test_linyi_2_2_2_catastrophic_insurance_of_people_in_hardship(policy: str, total: str, expected: str) -> None:
    """鲁医保发〔2019〕69号 二(二)2: 5,000; 65 / 75 / 85 %; no cap. It goes on in 2020 (三)."""
    assert paid("catastrophic", policy, AREA, {"category": "dibao", "total_fee": total}) == [Decimal(expected)]


def test_linyi_2_2_2_people_not_in_hardship_are_as_recorded_or_by_parameter() -> None:
    """二(二)2 speaks of hardship only: the ledger's figure stands, unless the city's numbers are given."""
    stay = {"catastrophic_paid": "1234.56"}
    city = {"catastrophic_deductible": "12000", "catastrophic_rate": "50 %", "catastrophic_limit": "400000"}
    assert paid("catastrophic", "linyi-2019", AREA, stay) == [Decimal("1234.56")]
    assert paid("catastrophic", "linyi-2019", AREA | city, stay) == [9_000]


@pytest.mark.parametrize("policy", ["linyi-2019", "linyi-2020"])
def test_linyi_2_2_2_special_drugs_have_no_deductible_for_people_in_hardship(policy: str) -> None:
    """二(二)2: no deductible, 60 %, at most 200,000 a year; an own account."""
    drug = {"category": "destitute", "care_type": "special_drug"}
    rows = [drug, drug | {"total_fee": "400000"}]
    assert paid("special_drug", policy, AREA, *rows) == [18_000, 182_000]
    assert paid("catastrophic", policy, AREA, *rows) == [0, 0]


@pytest.mark.parametrize("policy", ["linyi-2019", "linyi-2020"])
def test_linyi_2_2_3_assistance_and_reassistance(policy: str) -> None:
    """二(二)3: 低保 70 % up to 10,000; what is left above 5,000: 70 %, at most 20,000."""
    stay = {"category": "dibao", "total_fee": "60000"}
    first, second = settled(policy, AREA, stay, stay)
    # 55,000 × 65 % = 35,750; left 24,250 × 70 % = 16,975, at most 10,000; left 14,250, above 5,000: 9,250 × 70 %.
    assert (first["catastrophic_paid"], first["assistance_paid"], first["reassistance_paid"]) == (35_750, 10_000, 6_475)
    # To 120,000: 40,000 × 65 % + 20,000 × 75 % = 41,000; the limit is used up; 19,000 × 70 % = 13,300 of 13,525 left.
    assert (second["catastrophic_paid"], second["assistance_paid"]) == (41_000, 0)
    assert second["reassistance_paid"] == 13_300


def test_linyi_2_2_3_the_pooling_area_decides_on_the_others() -> None:
    """二(二)3: 建档立卡 and 重度残疾 by the area's deductible, rate and limit; without them the run names all three."""
    stay = {"category": "registered_poor", "total_fee": "10000"}
    # 5,000 × 65 % = 3,250; 6,750 less 1,000: 5,750 × 60 % = 3,450.
    assert paid("assistance", "linyi-2019", AREA, stay) == [3_450]
    with pytest.raises(yibao.ParameterError, match="按统筹地区设置起付标准"):
        settled("linyi-2019", {}, stay)


def test_linyi_2_2_3_outpatient_assistance_shares_the_years_limit() -> None:
    """二(二)3: a certain amount, under the inpatient limit; without the area's numbers there is none."""
    visit = {"category": "dibao", "care_type": "outpatient", "total_fee": "1200"}
    stay = {"category": "dibao", "total_fee": "60000"}
    area = AREA | {"outpatient_deductible": "200", "outpatient_rate": "50 %"}
    assert paid("assistance", "linyi-2019", area, visit, stay) == [500, 9_500]
    assert paid("assistance", "linyi-2019", AREA, visit, stay) == [0, 10_000]


@pytest.mark.parametrize("policy", ["linyi-2019", "linyi-2020"])
@pytest.mark.parametrize(("born", "expected"), [(2003, [7_500, 7_500]), (1999, [7_000, 5_000])])
def test_linyi_2_2_3_food_of_pku_patients(policy: str, born: int, expected: list[int]) -> None:
    """二(二)3: to 18 years 75 % up to 15,000, later 70 % up to 12,000; outside the catalogue, so of the total fee."""
    food = {"care_type": "pku", "total_fee": "10000", "eligible_fee": "0", "birth_date": date(born, 1, 1)}
    assert paid("pku", policy, AREA, food, food) == expected


def test_linyi_2020_2_2_the_deductible_is_at_most_half_of_the_income() -> None:
    """鲁医保发〔2020〕60号 二(二): 起付线降低至各市居民年人均可支配收入的一半以下; at least 60 %."""
    city = {"catastrophic_deductible": "15000", "catastrophic_rate": "60 %", "catastrophic_limit": "400000"}
    assert paid("catastrophic", "linyi-2020", city | {"disposable_income": "30000"}, {}) == [9_000]
    with pytest.raises(yibao.ParameterError, match=r"catastrophic_deductible: expected 14999\.99 or less .*一半以下"):
        yibao.load_policy("linyi-2020", parameters=city | {"disposable_income": "29999.98"})
    with pytest.raises(yibao.ParameterError, match="disposable_income: expected 居民年人均可支配收入"):
        yibao.load_policy("linyi-2020", parameters=city)
    with pytest.raises(yibao.ParameterError, match="catastrophic_rate: expected 60 % or more"):
        yibao.load_policy("linyi-2020", parameters=city | {"disposable_income": "30000", "catastrophic_rate": "59 %"})


def test_wenzhou_5_special_drugs_count_into_the_catastrophic_account() -> None:
    """5: one deductible, 60 %, special drugs in the same account and paid from it alone."""
    rows = settled("wenzhou-2019", WENZHOU, {}, {"care_type": "special_drug"})
    assert [row["catastrophic_paid"] for row in rows] == [6_000, 18_000]
    assert [row["special_drug_paid"] for row in rows] == [0, 0]
    with pytest.raises(yibao.ParameterError, match="统一全市大病保险起付线"):
        settled("wenzhou-2019", {}, {})


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
        ("dibao,illness_poverty", 16_800),
    ],
)
def test_wenzhou_8_assistance(category: str, expected: int) -> None:
    """8: 特困 in full, 低保 70 %, 低边 60 %, 因病致贫 and others 50 %."""
    assert paid("assistance", "wenzhou-2019", WENZHOU, {"category": category}) == [expected]


def test_wenzhou_8_the_limit_is_80000_a_year_but_not_for_the_destitute() -> None:
    """8: 年度内救助封顶线均不低于8万元; the number may be higher, never lower."""
    stay = {"category": "dibao", "total_fee": "400000"}  # catastrophic 228,000; 172,000 × 70 % = 120,400
    assert paid("assistance", "wenzhou-2019", WENZHOU, stay) == [80_000]
    assert paid("assistance", "wenzhou-2019", WENZHOU, stay | {"category": "destitute"}) == [172_000]
    with pytest.raises(yibao.ParameterError, match="80000 or more"):
        yibao.load_policy("wenzhou-2019", parameters=WENZHOU | {"assistance_limit": "79999.99"})


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("15000", "0"),
        ("15000.01", "0.01"),
        ("65000", "30000"),
        ("115000", "62500"),
        ("1000000", "682000"),  # 30,000 + 32,500 + 885,000 × 70 %, no cap: 619,500 + 62,500
    ],
)
def test_fuxin_3_catastrophic_insurance(total: str, expected: str) -> None:
    """三: deductible half of last year's income; 60 %, 5 points more each 50,000, at most 70 %; no cap."""
    assert paid("catastrophic", "fuxin-2020", FUXIN, {"total_fee": total}) == [Decimal(expected)]


def test_fuxin_3_the_income_is_asked_for_in_the_documents_words() -> None:
    with pytest.raises(yibao.ParameterError, match="上一年度全市城乡居民加权人均可支配收入"):
        settled("fuxin-2020", {}, {})
