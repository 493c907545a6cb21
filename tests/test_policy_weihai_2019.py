"""威医保发〔2019〕37号, article by article. Every expected amount is computed by hand, in yuan."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao

HARDSHIP = ("registered_poor", "destitute", "dibao", "severe_disability")
OTHERS = ("ordinary", "dibao_marginal", "illness_poverty", "low_income", "orphan")
ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
SPECIAL_DRUG = {"special_drug_deductible": "20000", "special_drug_rate": "40 %", "special_drug_limit": "200000"}
DAY = date(2019, 3, 1)


def bill(number: int, eligible: str, category: str = "ordinary", **cells: Any) -> dict[str, Any]:
    """Return an inpatient bill of one resident of Weihai, settled on the first of March; money in yuan."""
    row = {
        "settlement_id": number,
        "person_id": 1,
        "settled_at": datetime(2019, 3, 1, number % 24),
        "service_date": DAY,
        "insured_region": 371002,
        "treated_region": 371003,
        "hospital_id": "H1",
        "category": category,
        "care_type": "inpatient",
        "total_fee": eligible,
        "eligible_fee": eligible,
        "has_social_card_account": True,
    }
    return row | cells


def paid(*rows: dict[str, Any], layer: str = "catastrophic", **parameters: Any) -> list[Decimal]:
    """Return what the layer pays on each row under weihai-2019."""
    table = pa.table({name: [row.get(name) for row in rows] for name in rows[0]})
    settled = yibao.settle_ledger(table, yibao.load_policy("weihai-2019", parameters=parameters)).table
    assert set(settled["status"].to_pylist()) == {"SETTLED"}
    return settled[f"{layer}_paid"].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("0", "0"),
        ("17999.99", "0"),
        ("18000", "0"),
        ("18000.01", "0.01"),  # 0.01 × 60 % = 0.006
        ("18000.02", "0.01"),  # 0.012
        ("99999.99", "49199.99"),  # 81,999.99 × 60 % = 49,199.994
        ("100000", "49200"),  # 82,000 × 60 %
        ("100000.01", "49200.01"),  # + 0.0065
        ("100000.10", "49200.07"),  # + 0.065: half a fen goes up
        ("199999.99", "114199.99"),  # 49,200 + 99,999.99 × 65 % = 114,199.9935
        ("200000", "114200"),
        ("200000.01", "114200.01"),  # + 0.007
        ("299999.99", "184199.99"),  # 114,200 + 99,999.99 × 70 % = 184,199.993
        ("300000", "184200"),
        ("300000.01", "184200.01"),  # + 0.0075
        ("300000.02", "184200.02"),  # + 0.015: half a fen goes up
        ("587733.32", "399999.99"),  # 184,200 + 287,733.32 × 75 % = 399,999.99
        ("587733.33", "400000"),  # 399,999.9975
        ("587733.34", "400000"),  # 400,000.005: the cap
        ("3000000", "400000"),
    ],
)
def test_article_2_2_tiers_of_everyone_else(base: str, expected: str) -> None:
    """二(二): from 18,000 60 %, from 100,000 65 %, from 200,000 70 %, from 300,000 75 %, at most 400,000 a year."""
    assert paid(bill(1, base)) == [Decimal(expected)]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("4999.99", "0"),
        ("5000", "0"),
        ("5000.01", "0.01"),  # 0.0065
        ("5000.10", "0.07"),  # 0.065: half a fen goes up
        ("99999.99", "61749.99"),  # 94,999.99 × 65 % = 61,749.9935
        ("100000", "61750"),
        ("100000.01", "61750.01"),  # + 0.0075
        ("299999.99", "211749.99"),  # 61,750 + 199,999.99 × 75 % = 211,749.9925
        ("300000", "211750"),
        ("300000.01", "211750.01"),  # + 0.0085
        ("1000000", "806750"),  # 211,750 + 700,000 × 85 %: beyond the others' cap
        ("99999999.99", "84956749.99"),  # 211,750 + 99,699,999.99 × 85 % = 84,956,749.9915
    ],
)
@pytest.mark.parametrize("category", HARDSHIP)
def test_article_2_2_tiers_of_people_in_hardship_without_cap(category: str, base: str, expected: str) -> None:
    """二(二): 困难人员 from 5,000 65 %, from 100,000 75 %, from 300,000 85 %, the yearly limit abolished."""
    assert paid(bill(1, base, category)) == [Decimal(expected)]


@pytest.mark.parametrize("category", OTHERS)
def test_article_2_2_all_other_categories_have_the_general_terms(category: str) -> None:
    """二(二): 困难人员 are 建档立卡, 重点救助对象 and 贫困重度残疾人 only."""
    assert paid(bill(1, "30000", category)) == [7_200]  # 12,000 × 60 %


@pytest.mark.parametrize(
    ("base", "ordinary", "hardship"),
    [("30000", 7_200, 16_250), ("48000", 18_000, 27_950), ("60000", 25_200, 35_750), ("300000", 184_200, 211_750)],
)
def test_article_2_2_annual_base_to_payment(base: str, ordinary: int, hardship: int) -> None:
    """二(二): the orientation table: 30,000 → 7,200 / 16,250, 60,000 → 25,200, 300,000 → 184,200."""
    assert paid(bill(1, base)) == [ordinary]
    assert paid(bill(1, base, "dibao")) == [hardship]


def test_article_2_2_tiers_count_the_cumulative_year() -> None:
    """二(二) 一个医疗年度内: 18,000 are used up once a year, and the cap holds for the year."""
    # 10,000 → 0; 20,000 → 1,200; 110,000 → 49,200 + 6,500 = 55,700; 610,000 → 400,000 (capped).
    rows = [bill(1, "10000"), bill(2, "10000"), bill(3, "90000"), bill(4, "500000"), bill(5, "100")]
    assert paid(*rows) == [0, 1_200, 54_500, 344_300, 0]


def test_article_2_2_the_base_is_eligible_less_basic_insurance_only() -> None:
    """二(二) 个人负担的合规医疗费用: what basic insurance left of the policy-range cost."""
    first = bill(1, "50000", total_fee="60000", first_pay_fee="4000", self_funded_fee="6000", basic_paid="20000")
    assert paid(first) == [7_200]  # 30,000: deductible and co-payment are in, first-pay and self-funded are not
    helped = bill(1, "30000", assistance_paid="5000", commercial_paid="1000")
    assert paid(helped) == [7_200]  # later layers do not reduce it


def test_article_2_2_rows_of_all_treatment_feed_it_except_drugs_with_an_account_of_their_own() -> None:
    """二(二): not restricted to inpatients; 特药 is 单独补偿."""
    rows = [
        bill(1, "10000", care_type="outpatient"),
        bill(2, "10000", care_type="chronic_outpatient"),
        bill(3, "90000", care_type="special_drug"),
        bill(4, "90000", care_type="pku"),
        bill(5, "10000"),
    ]
    assert paid(*rows) == [0, 1_200, 0, 0, 6_000]


@pytest.mark.parametrize(
    "cell", ["ordinary,dibao", "低收入救助对象，低保", "普通、特困", "low_income;贫困重度残疾人", "孤儿；建档立卡"]
)
def test_article_2_2_one_hardship_category_among_several_is_enough(cell: str) -> None:
    """二(二): the first in the order of favour counts, for all layers."""
    assert paid(bill(1, "30000", cell)) == [16_250]


@pytest.mark.parametrize(("first", "second"), [(a, b) for n, a in enumerate(HARDSHIP) for b in HARDSHIP[n + 1 :]])
def test_article_2_2_order_of_favour_picks_one_category_never_a_sum(first: str, second: str) -> None:
    """二(二): 建档立卡 before 特困 before 低保 before 贫困重度残疾人, seen by each category's own assistance rate."""
    rates = dict(zip(HARDSHIP, ("10 %", "20 %", "30 %", "40 %"), strict=True))
    by_category = {"registered_poor": 300, "destitute": 600, "dibao": 900, "severe_disability": 1_200}
    parameters = {"assistance_deductible": "0", "assistance_rate": rates, "assistance_limit": "10000"}
    for cell in (f"{first},{second}", f"{second}、{first}"):  # 3,000 lie below the catastrophic deductible
        assert paid(bill(1, "3000", cell), layer="assistance", **parameters) == [by_category[first]]


def test_article_2_2_order_of_favour_of_the_other_categories() -> None:
    """二(二): the full order, also of categories without terms of their own."""
    assert yibao.load_policy("weihai-2019").favour == (*HARDSHIP, *OTHERS[1:], "ordinary")


def test_article_2_2_special_drugs_without_parameters_stay_as_recorded() -> None:
    """二(二) 特药待遇按原政策执行: no number in the document, the delta is 0."""
    row = bill(1, "30000", care_type="special_drug", special_drug_paid="4321.09", catastrophic_paid="0")
    assert paid(row, layer="special_drug") == [Decimal("4321.09")]
    table = pa.table({name: [cell] for name, cell in row.items()})
    again = yibao.reaccount(table, yibao.load_policy("weihai-2019"), missing_paid="zero")
    assert again.deltas["special_drug_delta"].to_pylist() == [0]
    assert len(again.transfers) == len(again.decreases) == 0


def test_article_2_2_special_drugs_with_the_original_policys_parameters() -> None:
    """二(二): 按原政策: deductible 20,000, 40 %, at most 200,000, in an account of its own."""
    rows = [
        bill(1, "20000", care_type="special_drug"),
        bill(2, "0.01", care_type="special_drug"),  # 0.004
        bill(3, "9999.99", care_type="special_drug"),  # 30,000 → 4,000
        bill(4, "489999.99", care_type="special_drug"),  # 519,999.99 → 199,999.996
        bill(5, "100", care_type="special_drug"),  # the limit: 200,000
        bill(6, "100000"),  # no drug: pays nothing here
    ]
    got = paid(*rows, layer="special_drug", **SPECIAL_DRUG)
    assert got == [0, 0, 4_000, 196_000, 0, 0]
    assert paid(*rows, **SPECIAL_DRUG)[-1] == 49_200  # the drugs did not use up the deductible


def test_article_3_1_assistance_without_parameters_stays_as_recorded() -> None:
    """三(一) routes assistance; its rule is not in the document."""
    rows = [bill(1, "30000", "dibao", assistance_paid="1234.56"), bill(2, "30000", assistance_paid="7")]
    assert paid(*rows, layer="assistance") == [Decimal("1234.56"), 7]


def test_article_3_1_assistance_with_parameters_is_computed_for_inpatients_in_hardship() -> None:
    """三(一): example values 0, 70 %, 10,000 a year, on what catastrophic insurance left."""
    rows = [
        bill(1, "30000", "dibao"),  # catastrophic 16,250; 13,750 × 70 % = 9,625
        bill(2, "30000", "dibao"),  # catastrophic 19,500; 10,500 × 70 % = 7,350, limit leaves 375
        bill(3, "1000", "dibao"),  # nothing left of the limit
    ]
    assert paid(*rows, layer="assistance", **ASSISTANCE) == [9_625, 375, 0]
    others = [bill(1, "3000", "dibao", care_type="outpatient"), bill(2, "3000", "orphan")]
    assert paid(*others, layer="assistance", **ASSISTANCE) == [0, 0]


def test_article_3_1_assistance_parameters_by_category() -> None:
    """三(一): deductible, rate and limit may differ by category; a category without them stays recorded."""
    parameters = {
        "assistance_deductible": {"dibao": "500", "destitute": "0"},
        "assistance_rate": {"dibao": "50 %", "destitute": "100 %"},
        "assistance_limit": {"dibao": "1000", "destitute": "2000"},
    }

    def first(amount: str, category: str) -> Decimal:
        return paid(bill(1, amount, category, assistance_paid="111"), layer="assistance", **parameters)[0]

    assert [first("499.99", "dibao"), first("500", "dibao"), first("500.01", "dibao")] == [0, 0, Decimal("0.01")]
    assert [first("2500", "dibao"), first("2600", "dibao")] == [1_000, 1_000]
    assert [first("1999.99", "destitute"), first("2001", "destitute")] == [Decimal("1999.99"), 2_000]
    assert [first("3000", "registered_poor"), first("3000", "severe_disability")] == [111, 111]


def test_article_3_2_one_bill_carries_basic_catastrophic_and_assistance() -> None:
    """三(二) 一单制结算: three payers and the person on one settlement."""
    policy = yibao.load_policy("weihai-2019", parameters=ASSISTANCE)
    one = yibao.settle(bill(1, "50000", "dibao", total_fee="52000", basic_paid="20000"), policy)
    assert one.paid["basic"] == 20_000
    assert one.paid["catastrophic"] == 16_250  # base 30,000
    assert one.paid["assistance"] == 9_625  # (50,000 − 20,000 − 16,250) × 70 %
    assert one.personal_paid == 6_125  # 52,000 − 45,875


def test_the_built_in_list_shows_both_time_axes_and_the_document() -> None:
    """三(一): region 3710, service dates from 2019-01-01, known from 2019-09-01."""
    info = next(policy for policy in yibao.policies() if policy.id == "weihai-2019")
    assert (info.region, info.in_force_from, info.in_force_to) == ("3710", date(2019, 1, 1), None)
    assert (info.known_from, info.source) == (date(2019, 9, 1), "威医保发〔2019〕37号")
    policy = yibao.load_policy("weihai-2019")
    assert (policy.issued, policy.supersedes) == (date(2019, 8, 12), ("shandong-2017",))


def test_article_3_1_window_is_january_to_august_by_service_date() -> None:
    """三(一) 对2019年1月1日至8月31日期间发生的费用重新核算: both days included, whenever they were settled."""
    days = [date(2019, 1, 1), date(2019, 8, 31), date(2019, 9, 1)]
    rows = [
        bill(n, "30000", person_id=n, service_date=day, settled_at=datetime(2020, 1, 1), catastrophic_paid="9000")
        for n, day in enumerate(days)
    ]
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    again = yibao.reaccount(table, yibao.load_policy("weihai-2019"), missing_paid="zero")
    assert again.deltas["settlement_id"].to_pylist() == [0, 1]
    assert again.deltas["catastrophic_delta"].to_pylist() == [-1_800, -1_800]  # 7,200 − 9,000
    assert again.settled["catastrophic_paid"].to_pylist() == [7_200, 7_200, 9_000]


def transfers(parameters: dict[str, Any] | None, **cells: Any) -> set[tuple[str, str, str, Decimal]]:
    """Return what a re-accounting of one bill of 30,000 pays: fund, kind of payee, payee, amount."""
    row = bill(1, "30000", "registered_poor") | cells
    table = pa.table({name: [cell] for name, cell in row.items()})
    again = yibao.reaccount(table, yibao.load_policy("weihai-2019", parameters=parameters), missing_paid="zero")
    names = ("fund", "payee_kind", "payee_id", "amount")
    return {tuple(entry[name] for name in names) for entry in again.transfers.to_pylist()}


@pytest.mark.parametrize(("social_card", "kind"), [(True, "person_social_card"), (False, "person_bank_card")])
def test_article_3_1_the_persons_part_goes_to_the_social_card_else_to_another_bank_card(
    social_card: bool, kind: str
) -> None:
    """三(一) 返回至本人社会保障卡银行账户，未开通的…本人有效银行卡: new 16,250, old 15,875."""
    got = transfers(None, catastrophic_paid="15875", has_social_card_account=social_card)
    assert got == {("person", kind, "1", Decimal(375))}


@pytest.mark.parametrize(("treated", "kind", "payee"), [(371003, "institution", "H1"), (110101, "district", "371002")])
def test_article_3_1_the_assistance_part_goes_to_the_hospital_inside_the_city_else_to_the_district(
    treated: int, kind: str, payee: str
) -> None:
    """三(一) 市域内就医的…医疗机构账户；异地就医的…所在区市医疗保障部门: assistance falls from 10,000 to 9,625."""
    got = transfers(ASSISTANCE, catastrophic_paid="13200", assistance_paid="10000", treated_region=treated)
    # Catastrophic 13,200 → 16,250 is 3,050; assistance (30,000 − 16,250) × 70 % = 9,625; the person gets the rest.
    assert got == {("assistance", kind, payee, Decimal(375)), ("person", "person_social_card", "1", Decimal(2_675))}


def test_article_3_1_people_with_the_commercial_supplement_get_nothing_the_two_funds_do() -> None:
    """三(一) 建档立卡 with 医疗商业补充保险: 差额返回至医疗救助和医疗商业补充保险资金."""
    old = {"catastrophic_paid": "13200", "assistance_paid": "10000", "commercial_paid": "5000"}
    got = transfers(ASSISTANCE, has_commercial_supplement=True, **old)
    assert got == {
        ("commercial", "commercial_fund", "3710", Decimal(2_675)),
        ("assistance", "assistance_fund", "3710", Decimal(375)),
    }


def test_financing_is_81_a_head() -> None:
    """二(一): 2019年居民大病保险筹资标准为每人81元."""
    assert yibao.load_policy("weihai-2019").financing_fen == 8_100
