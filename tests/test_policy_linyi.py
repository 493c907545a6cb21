"""Linyi 2019 and 2020, article by article: 鲁医保发〔2019〕69号 and 〔2020〕60号. Every amount is computed by hand, in yuan."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao
from one_resident import paid, settled
from yibao_core.policy_file import read_policy

AREA = {"area_deductible": "1000", "area_rate": "60 %", "area_limit": "8000"}
HARDSHIP = ("registered_poor", "destitute", "dibao", "severe_disability")
POOREST = ("destitute", "dibao")
BASIC = {f"basic_deductible_{level}": amount for level, amount in ((1, "200"), (2, "500"), (3, "1000"), (9, "100"))}
BASIC |= {f"basic_rate_{level}": "60 %" for level in (1, 2, 3, 9)} | {"basic_limit": "150000"}

both = pytest.mark.parametrize("policy", ["linyi-2019", "linyi-2020"])


# --- Catastrophic insurance --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("category", HARDSHIP)
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("4999.99", "0"),
        ("5000", "0"),
        ("5000.01", "0.01"),  # 0.01 × 65 % = 0.0065
        ("30000", "16250"),
        ("99999.99", "61749.99"),  # 94,999.99 × 65 % = 61,749.9935
        ("100000", "61750"),
        ("100000.01", "61750.01"),  # + 0.01 × 75 %
        ("299999.99", "211749.99"),  # 61,750 + 199,999.99 × 75 % = 211,749.9925
        ("300000", "211750"),
        ("300000.01", "211750.01"),  # + 0.01 × 85 %
        ("10000000", "8456750"),  # + 9,700,000 × 85 %, no cap
    ],
)
def test_2_2_2_catastrophic_insurance_of_people_in_hardship(
    policy: str, category: str, total: str, expected: str
) -> None:
    """二(二)2: 5,000; 65 / 75 / 85 %; no cap. It goes on in 2020 (三(二), 三(三))."""
    assert paid("catastrophic", policy, AREA, {"category": category, "total_fee": total}) == [Decimal(expected)]


@both
def test_2_2_2_catastrophic_insurance_covers_outpatients_on_the_same_total(policy: str) -> None:
    """The document does not restrict it; drugs and PKU food are apart."""
    rows = [{"category": "dibao", "care_type": care, "total_fee": "10000"}
            for care in ("outpatient", "special_drug", "pku", "chronic_outpatient", "inpatient")]  # fmt: skip
    assert paid("catastrophic", policy, AREA, *rows) == [3_250, 0, 0, 6_500, 6_500]


@both
@pytest.mark.parametrize("category", ["ordinary", "orphan", "low_income", "illness_poverty", "dibao_marginal"])
def test_2_2_2_people_not_in_hardship_are_as_recorded_or_by_parameter(policy: str, category: str) -> None:
    """二(二)2 speaks of hardship only: the ledger's figure stands, unless the city's numbers are given."""
    stay = {"catastrophic_paid": "1234.56", "category": category}
    city = {"catastrophic_deductible": "12000", "catastrophic_rate": "60 %", "catastrophic_limit": "20000"}
    city |= {"disposable_income": "24000"} if policy == "linyi-2020" else {}
    assert paid("catastrophic", policy, AREA, stay) == [Decimal("1234.56")]
    for total, expected in (
        ("11999.99", "0"), ("12000", "0"), ("12000.01", "0.01"), ("30000", "10800"),
        ("45333.31", "19999.99"), ("45333.33", "20000"), ("45333.37", "20000"),
    ):  # fmt: skip
        assert paid("catastrophic", policy, AREA | city, stay | {"total_fee": total, "eligible_fee": total}) == [
            Decimal(expected)
        ]


@both
@pytest.mark.parametrize("category", HARDSHIP)
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("0.01", "0.01"),  # no deductible: 0.006
        ("30000", "18000"),
        ("333333.32", "199999.99"),  # × 60 % = 199,999.992
        ("333333.33", "200000"),
        ("333333.37", "200000"),  # 200,000.022
    ],
)
def test_2_2_2_special_drugs_have_no_deductible(policy: str, category: str, total: str, expected: str) -> None:
    """二(二)2: no deductible, 60 %, at most 200,000 a year."""
    drug = {"category": category, "care_type": "special_drug", "total_fee": total}
    assert paid("special_drug", policy, AREA, drug) == [Decimal(expected)]


@both
def test_2_2_2_special_drugs_have_an_account_of_their_own(policy: str) -> None:
    drug = {"category": "dibao", "care_type": "special_drug"}
    rows = settled(policy, AREA, drug, {"category": "dibao"}, drug | {"total_fee": "400000"})
    assert [row["special_drug_paid"] for row in rows] == [18_000, 0, 182_000]
    assert [row["catastrophic_paid"] for row in rows] == [0, 16_250, 0]


@both
def test_special_drugs_of_others_are_as_recorded_or_by_parameter(policy: str) -> None:
    """Not in the document."""
    drug = {"care_type": "special_drug", "special_drug_paid": "555.55"}
    city = {"special_drug_deductible": "10000", "special_drug_rate": "40 %", "special_drug_limit": "5000"}
    assert paid("special_drug", policy, AREA, drug) == [Decimal("555.55")]
    assert paid("special_drug", policy, AREA | city, drug | {"total_fee": "20000", "eligible_fee": "20000"}) == [4_000]
    assert paid("special_drug", policy, AREA | city, drug) == [5_000]


# --- Assistance --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("category", POOREST)
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("0.01", "0.01"),  # no deductible
        ("20000", "7175"),  # 20,000 − 9,750 = 10,250 × 70 %
        ("31530.58", "9999.99"),  # less 17,244.88 (26,530.58 × 65 %): 14,285.70 × 70 %
        ("31530.61", "10000"),  # less 17,244.90: 14,285.71 × 70 % = 9,999.997
        ("31530.70", "10000"),  # less 17,244.96: 14,285.74 × 70 % = 10,000.018
    ],
)
def test_2_2_3_assistance_of_the_poorest(policy: str, category: str, total: str, expected: str) -> None:
    """二(二)3: 不设救助起付线，给予不低于70%的救助，救助限额不低于1万元."""
    assert paid("assistance", policy, AREA, {"category": category, "total_fee": total}) == [Decimal(expected)]


@both
@pytest.mark.parametrize(("name", "value"), [("poorest_rate", "69.99 %"), ("poorest_limit", "9999.99")])
def test_2_2_3_the_area_may_give_more_never_less(policy: str, name: str, value: str) -> None:
    with pytest.raises(
        yibao.ParameterError, match=f"{name}: expected .* or more .*不低于70%的救助，救助限额不低于1万元"
    ):
        yibao.load_policy(policy, parameters={name: value})
    more = {"poorest_rate": "80 %", "poorest_limit": "12000"}
    assert paid("assistance", policy, AREA | more, {"category": "dibao", "total_fee": "60000"}) == [12_000]


@both
@pytest.mark.parametrize("category", ["registered_poor", "severe_disability"])
def test_2_2_3_the_pooling_area_decides_on_the_others(policy: str, category: str) -> None:
    """二(二)3: 建档立卡 and 重度残疾 by the area's deductible, rate and limit."""
    rows = [{"category": category, "total_fee": total} for total in ("10000", "60000")]
    # 5,000 × 65 % = 3,250; 6,750 less 1,000: 5,750 × 60 % = 3,450. Then 20,250 × 60 % more, but 4,550 are left.
    assert paid("assistance", policy, AREA, *rows) == [3_450, 4_550]


@both
def test_2_2_3_the_areas_three_numbers_are_asked_for_in_the_documents_words(policy: str) -> None:
    with pytest.raises(yibao.ParameterError) as caught:
        settled(policy, {}, {"category": "registered_poor"}, {"category": "severe_disability"}, {"category": "dibao"})
    asked = {
        "area_deductible (起付标准: yearly deductible of inpatient assistance for 建档立卡贫困人口和重度残疾人, set by the pooling area)": "yuan",
        "area_rate (救助比例: inpatient assistance for 建档立卡贫困人口和重度残疾人, set by the pooling area)": "percent",
        "area_limit (最高救助限额: yearly limit of assistance for 建档立卡贫困人口和重度残疾人, set by the pooling area)": "yuan",
    }
    document = "临医保发〔2019〕62号（转发鲁医保发〔2019〕69号） " if policy == "linyi-2019" else (
        "临医保发〔2020〕68号（转发鲁医保发〔2020〕60号） 鲁医保发〔2019〕69号 "
    )  # fmt: skip
    assert caught.value.faults == [
        f"{policy}: parameters.{name}: expected a value in {unit} for registered_poor, severe_disability, got none; "
        f"2 rows reach rule others_inpatient ({document}二(二)3: 按统筹地区设置起付标准、救助比例和最高救助限额)"
        for name, unit in asked.items()
    ]


@both
def test_2_2_3_a_number_that_one_category_lacks_is_asked_for_by_category(policy: str) -> None:
    some = {**AREA, "area_deductible": {"registered_poor": "0"}}
    assert paid("assistance", policy, some, {"category": "registered_poor", "total_fee": "5000"}) == [3_000]
    with pytest.raises(
        yibao.ParameterError, match=r"expected a value in yuan for severe_disability, got none; 1 row reaches"
    ):
        settled(policy, some, {"category": "severe_disability"})


@both
@pytest.mark.parametrize(("category", "left"), [("destitute", 9_500), ("dibao", 9_500), ("registered_poor", 7_500), ("severe_disability", 7_500)])  # fmt: skip
@pytest.mark.parametrize("care", ["outpatient", "chronic_outpatient"])
def test_2_2_3_outpatient_assistance_shares_the_years_limit(policy: str, category: str, left: int, care: str) -> None:
    """二(二)3: a certain amount, under the inpatient limit; without the area's numbers there is none, whatever was recorded."""
    visit = {"category": category, "care_type": care, "total_fee": "1200", "assistance_paid": "7"}
    stay = {"category": category, "total_fee": "60000"}
    area = AREA | {"outpatient_deductible": "200", "outpatient_rate": "50 %"}
    assert paid("assistance", policy, area, visit, stay) == [500, left]
    assert paid("assistance", policy, AREA, visit, stay) == [0, left + 500]


@both
def test_2_2_3_assistance_of_whom_the_document_does_not_name_is_as_recorded(policy: str) -> None:
    rows = [{"category": category, "assistance_paid": "77"} for category in ("ordinary", "low_income", "orphan")]
    assert paid("assistance", policy, AREA, *rows) == [77, 77, 77]


@both
def test_2_2_3_orphans_by_the_areas_numbers(policy: str) -> None:
    """二(二)3 六: 各地应按统筹地区设置起付标准、救助比例和最高救助限额; decision 0001.33."""
    area = AREA | {"orphan_deductible": "1000", "orphan_rate": "50 %", "orphan_limit": "5000"}
    rows = [{"category": "orphan", "total_fee": total, "assistance_paid": "77"} for total in ("1000", "3000", "30000")]
    assert paid("assistance", policy, area, *rows) == [0, 1_500, 3_500]


# --- Re-assistance, PKU ------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("category", POOREST)
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("33571.40", "0"),  # less 18,571.41 and 10,000: 4,999.99
        ("33571.43", "0"),  # less 18,571.43 (18,571.4295): 5,000
        ("33571.46", "0.01"),  # less 18,571.45: 5,000.01; 0.007
        ("60000", "6475"),  # less 35,750 and 10,000: 14,250; 9,250 × 70 %
    ],
)
def test_2_2_3_reassistance_above_5000(policy: str, category: str, total: str, expected: str) -> None:
    """二(二)3: 剩余个人承担的部分，超过5000元以上的部分按照70%."""
    assert paid("reassistance", policy, AREA, {"category": category, "total_fee": total}) == [Decimal(expected)]


@both
@pytest.mark.parametrize("category", ["registered_poor", "severe_disability"])
def test_2_2_3_reassistance_of_the_others(policy: str, category: str) -> None:
    # 60,000 − 35,750 − 8,000 = 16,250; 11,250 × 70 %.
    assert paid("reassistance", policy, AREA, {"category": category, "total_fee": "60000"}) == [7_875]


@both
def test_2_2_3_reassistance_is_at_most_20000_a_year(policy: str) -> None:
    stay = {"category": "dibao", "total_fee": "100000"}
    # 100,000 − 61,750 − 10,000 = 28,250: 23,250 × 70 %; then 25,000 more, 17,500 of which the cap leaves 3,725.
    assert paid("reassistance", policy, AREA, stay, stay, stay) == [16_275, 3_725, 0]


@both
def test_2_2_3_reassistance_comes_behind_five_payers_for_inpatients_in_hardship(policy: str) -> None:
    """二(二)3: 经基本医保、大病保险、医疗救助、医疗机构减免、医疗商业补充保险“五重保障”报销后."""
    stay = {"category": "dibao", "total_fee": "70000", "basic_paid": "10000", "institution_reduction_paid": "1000",
            "commercial_paid": "2000", "reassistance_paid": "9"}  # fmt: skip
    (row,) = settled(policy, AREA, stay)
    # 55,000 × 65 %; 24,250 × 70 %, at most 10,000; 14,250 − 3,000 − 5,000 = 6,250 × 70 %.
    assert [row[f"{layer}_paid"] for layer in ("catastrophic", "assistance", "reassistance", "personal")] == [
        35_750, 10_000, 4_375, 6_875,
    ]  # fmt: skip
    assert paid("reassistance", policy, AREA, stay | {"category": "ordinary"}) == [0]
    assert paid("reassistance", policy, AREA, stay | {"care_type": "outpatient"}) == [0]  # 因住院发生的


@both
def test_2_2_3_the_order_of_the_payers(policy: str) -> None:
    """基本医保 → 大病保险 → 医疗救助 → 医疗机构减免 → 医疗商业补充保险 → 再救助."""
    assert [layer.name for layer in read_policy(policy).layers] == [
        "basic", "catastrophic", "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
    ]  # fmt: skip


@both
@pytest.mark.parametrize(
    ("total", "minor", "adult"),
    [
        ("0.01", "0.01", "0.01"),
        ("10000", "7500", "7000"),
        ("17142.84", "12857.13", "11999.99"),  # 11,999.988
        ("17142.86", "12857.15", "12000"),  # 12,000.002
        ("17142.90", "12857.18", "12000"),  # 12,857.175; 12,000.03
        ("19999.99", "14999.99", "12000"),
        ("20000", "15000", "12000"),
        ("20000.01", "15000", "12000"),  # 15,000.0075
    ],
)
def test_2_2_3_food_of_pku_patients(policy: str, total: str, minor: str, adult: str) -> None:
    """二(二)3: to 18 years 75 % up to 15,000, later 70 % up to 12,000; outside the catalogue, so of the total fee."""
    year = int(policy[-4:])
    food = {"care_type": "pku", "total_fee": total, "eligible_fee": "0"}
    eve, day = date(year - 19, 3, 2), date(year - 19, 3, 1)  # the service is on 1 March
    assert paid("pku", policy, AREA, food | {"birth_date": eve}) == [Decimal(minor)]
    assert paid("pku", policy, AREA, food | {"birth_date": day}) == [Decimal(adult)]


@both
def test_2_2_3_food_is_less_what_others_paid_and_one_account_whatever_the_age(policy: str) -> None:
    year = int(policy[-4:])
    food = {"care_type": "pku", "total_fee": "10000", "eligible_fee": "4000", "basic_paid": "4000"}
    before, after = food | {"birth_date": date(year - 19, 3, 2)}, food | {"birth_date": date(year - 19, 3, 1)}
    # 6,000 × 75 %; then the adult's schedule on 6,000 → 12,000 and, later, to the cap: 12,000 − 8,700.
    assert paid("pku", policy, AREA, before, after, after) == [4_500, 4_200, 3_300]


# --- Referral, 2020's checks, favour -----------------------------------------------------------------


def stays(*rows: dict[str, Any], category: str = "dibao") -> list[Decimal]:
    """Return the deductible that stays of one episode bear, each given by its day and level, in the book of both years."""
    full = [
        {
            "settlement_id": number, "person_id": 1, "settled_at": datetime.combine(row["day"], datetime.min.time()),
            "service_date": row["day"], "insured_region": 371302, "treated_region": 371302, "category": category,
            "care_type": "inpatient", "episode_id": 7, "hospital_level": row["level"],
            "total_fee": "30000", "eligible_fee": "30000",
        }
        for number, row in enumerate(rows)
    ]  # fmt: skip
    book = [yibao.load_policy(f"linyi-{year}", parameters=AREA | BASIC) for year in (2019, 2020)]
    found: list[Decimal] = yibao.settle_ledger(pa.Table.from_pylist(full), book).table["deductible_borne"].to_pylist()
    return found


def test_2_2_5_a_referral_counts_the_deductible_on_under_the_next_years_policy_too() -> None:
    """二(二)5: 对按规定转诊的贫困患者，住院费用连续计算起付线."""
    december, january, later = date(2019, 12, 20), date(2020, 1, 10), date(2020, 2, 1)
    up = [{"day": december, "level": 1}, {"day": january, "level": 3}, {"day": later, "level": 2}]
    assert stays(*up) == [200, 800, 0]
    assert stays({"day": december, "level": 3}, {"day": january, "level": 3}) == [1_000, 0]
    assert stays(*up, category="ordinary") == [200, 1_000, 500]  # of their referrals the document does not speak


def test_2020_2_2_the_deductible_is_at_most_half_of_the_income_and_the_rate_at_least_60() -> None:
    """鲁医保发〔2020〕60号 二(二): 起付线降低至各市居民年人均可支配收入的一半以下，政策范围内支付比例不低于60%."""
    city = {"catastrophic_deductible": "15000", "catastrophic_rate": "60 %", "catastrophic_limit": "400000"}
    assert paid("catastrophic", "linyi-2020", city | {"disposable_income": "30000"}, {}) == [9_000]
    with pytest.raises(yibao.ParameterError, match=r"catastrophic_deductible: expected 14999\.99 or less .*一半以下"):
        yibao.load_policy("linyi-2020", parameters=city | {"disposable_income": "29999.98"})
    with pytest.raises(yibao.ParameterError, match="disposable_income: expected 居民年人均可支配收入"):
        yibao.load_policy("linyi-2020", parameters=city)
    with pytest.raises(yibao.ParameterError) as caught:
        yibao.load_policy(
            "linyi-2020", parameters=city | {"disposable_income": "29999.98", "catastrophic_rate": "59.99 %"}
        )
    assert len(caught.value.faults) == 2
    assert "catastrophic_rate: expected 60 % or more" in caught.value.faults[0]


@both
def test_who_is_in_several_categories_is_treated_by_the_first(policy: str) -> None:
    assert read_policy(policy).favour == (
        "destitute", "dibao", "registered_poor", "severe_disability", "dibao_marginal", "illness_poverty", "low_income",
        "orphan", "ordinary",
    )  # fmt: skip
    area = AREA | {
        "poorest_rate": {"dibao": "80 %"},
        "area_rate": {"registered_poor": "60 %", "severe_disability": "50 %"},
    }
    for cell, total, expected in (
        ("建档立卡,低保", "3000", 2_400),
        ("低保、特困", "3000", 2_100),
        ("贫困重度残疾人;建档立卡", "3000", 1_200),
        ("低边,贫困重度残疾人", "3000", 1_000),
    ):
        assert paid("assistance", policy, area, {"category": cell, "total_fee": total}) == [expected], cell


@pytest.mark.parametrize(("policy", "first"), [("linyi-2019", date(2019, 8, 9)), ("linyi-2020", date(2020, 10, 13))])
def test_known_from_the_day_of_issue(policy: str, first: date) -> None:
    assert read_policy(policy).known_from == first


def test_2020_1_2_financing() -> None:
    """鲁医保发〔2020〕60号 一(二): 81 a year for each enrollee."""
    assert read_policy("linyi-2020").financing_fen == 8_100
