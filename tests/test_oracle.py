"""Worked examples, computed by hand from the documents and the contract, that hold the oracle to them.

§ is a section of the settlement contract; an article belongs to the policy named with it.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

import oracle
from oracle import DEMO_CITY, SHANDONG_2017, WEIHAI_2019, fen
from oracle_reaccount import Reaccount, Refused, reaccount

Cells = dict[str, Any]

ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
WEIHAI_WITH_ASSISTANCE = WEIHAI_2019.with_parameters(ASSISTANCE)
SUMMER = datetime(2019, 10, 1)


def claim(number: int, eligible: str, **cells: Any) -> Cells:
    """Return an ordinary inpatient row of one person, amounts in yuan text; later numbers come later."""
    row: Cells = {
        "settlement_id": number,
        "person_id": 1,
        "settled_at": datetime(2019, 3, 1, 0, number),
        "service_date": date(2019, 2, 1),
        "category": "ordinary",
        "care_type": "inpatient",
        "insured_region": 371002,
        "total_fee": eligible,
        "eligible_fee": eligible,
    }
    row.update(cells)
    return {
        name: fen(cell) if name.endswith(("_fee", "_paid")) and cell is not None else cell for name, cell in row.items()
    }


def billed(number: int, eligible: str, **cells: Any) -> Cells:
    """Return a row as an old run settled it: the personal share is the rest, everything is routable."""
    row = claim(
        number,
        eligible,
        **{
            "catastrophic_paid": "0",
            "hospital_id": "H1",
            "treated_region": 371002,
            "has_social_card_account": True,
            "has_commercial_supplement": False,
            **cells,
        },
    )
    recorded = sum(row[name] or 0 for name in oracle.PAID_COLUMNS.values() if name in row)
    row.setdefault("personal_paid", row["total_fee"] - recorded)
    return row


def reversal(number: int, original: Cells, **cells: Any) -> Cells:
    money = {name: -cell for name, cell in original.items() if name.endswith(("_fee", "_paid")) and cell is not None}
    return {
        **original,
        **money,
        "settlement_id": number,
        "settled_at": datetime(2019, 3, 1, 0, number),
        "reverses": original["settlement_id"],
        **cells,
    }


def columns_of(rows: list[Cells]) -> set[str]:
    return {name for row in rows for name in row}


def settle(rows: list[Cells], *book: oracle.OraclePolicy, **terms: Any) -> oracle.Result:
    return oracle.settle_ledger(rows, columns_of(rows), book, **terms)


def replay(rows: list[Cells], *book: oracle.OraclePolicy, **terms: Any) -> Reaccount:
    result = reaccount(rows, columns_of(rows), book, **terms)
    assert result.check_identity() == []
    return result


def statuses(result: oracle.Result) -> list[str]:
    return [outcome.status for outcome in result.outcomes]


def paid(result: oracle.Result, layer: str) -> list[int | None]:
    return [outcome.paid[layer] for outcome in result.outcomes]


def amounts(entries: list[Cells]) -> dict[tuple[Any, ...], int]:
    return {(e["fund"], e["layer"], e["payee_kind"], e["payee_id"]): e["amount_fen"] for e in entries}


# --- 威医保发〔2019〕37号 and the rule before it ----------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "old", "new"),
    [
        ("18000", "3000", "0"),
        ("30000", "9000", "7200"),
        ("48000", "18000", "18000"),
        ("60000", "24000", "25200"),
        ("300000", "174000", "184200"),
        ("900000", "400000", "400000"),
    ],
)
def test_weihai_2_2_ordinary_base_pays_as_the_orientation_table_says(base: str, old: str, new: str) -> None:
    rows = [claim(1, base)]
    assert paid(settle(rows, SHANDONG_2017), "catastrophic") == [fen(old)]
    assert paid(settle(rows, WEIHAI_2019), "catastrophic") == [fen(new)]


def test_weihai_2_2_registered_poor_30000_goes_from_13200_to_16250() -> None:
    rows = [claim(1, "30000", category="建档立卡")]
    assert paid(settle(rows, SHANDONG_2017), "catastrophic") == [fen("13200")]
    assert paid(settle(rows, WEIHAI_2019), "catastrophic") == [fen("16250")]


def test_weihai_2_2_hardship_has_no_cap() -> None:
    # 95,000 x 65 % + 200,000 x 75 % + 400,000 x 85 % = 61,750 + 150,000 + 340,000.
    assert paid(settle([claim(1, "700000", category="dibao")], WEIHAI_2019), "catastrophic") == [fen("551750")]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("17999.99", "0"),
        ("18000", "0"),
        ("18000.01", "0.01"),  # 0.6 fen
        ("99999.99", "49199.99"),  # 49,199.994
        ("100000", "49200"),
        ("100000.01", "49200.01"),  # 0.65 fen
        ("100000.10", "49200.07"),  # a tie: 6.5 fen go up
        ("300000.02", "184200.02"),  # a tie: 1.5 fen go up
    ],
)
def test_weihai_2_2_on_below_and_above_every_edge_rounds_half_up(base: str, expected: str) -> None:
    assert paid(settle([claim(1, base)], WEIHAI_2019), "catastrophic") == [fen(expected)]


def test_section_2_payments_telescope_whatever_the_parts() -> None:
    rows = [claim(n, "10000.01") for n in range(1, 7)]
    # 60,000.06 - 18,000 = 42,000.06 x 60 % = 25,200.036.
    assert sum(p or 0 for p in paid(settle(rows, WEIHAI_2019), "catastrophic")) == fen("25200.04")


def test_section_2_a_changed_category_prices_both_terms_and_the_cap_that_is_left() -> None:
    rows = [
        claim(1, "30000"),
        claim(2, "30000", category="低保"),
        claim(3, "640000", category="低保"),
        claim(4, "9000"),
    ]
    # 7,200; then (60,000 - 30,000) x 65 %; then 40,000 x 65 % + 200,000 x 75 % + 400,000 x 85 %; then nothing left.
    expected = [fen("7200"), fen("19500"), fen("516000"), 0]
    assert paid(settle(rows, WEIHAI_2019), "catastrophic") == expected


def test_section_2_the_order_of_favour_picks_one_category() -> None:
    rows = [claim(1, "30000", category="特困，建档立卡")]
    assert paid(settle(rows, SHANDONG_2017), "catastrophic") == [fen("13200")]
    assert DEMO_CITY.favoured({"registered_poor", "dibao"}) == "dibao"


def test_section_2_basic_insurance_is_recorded_and_lowers_the_base() -> None:
    result = settle([claim(1, "50000", basic_paid="20000")], WEIHAI_2019)
    assert result.outcomes[0].paid["basic"] == fen("20000")
    assert result.outcomes[0].paid["catastrophic"] == fen("7200")
    assert result.outcomes[0].personal == fen("22800")
    assert result.closing == {
        (1, 2019, 3710): {
            "basic": (fen("50000"), fen("20000")),
            "catastrophic": (fen("30000"), fen("7200")),
            "assistance": (fen("22800"), 0),
            "institution_reduction": (fen("22800"), 0),
            "commercial": (fen("22800"), 0),
            "reassistance": (fen("22800"), 0),
        }
    }


def test_section_2_opening_balances_exclude_the_visit_itself() -> None:
    opening = {(1, 2019, 3710): {"catastrophic": (fen("30000"), fen("7200"))}}
    result = settle([claim(1, "20000")], WEIHAI_2019, opening=opening)
    assert paid(result, "catastrophic") == [fen("12000")]


def test_section_2_no_rule_flags_a_null_cell_of_a_recorded_layer_and_a_missing_column_with_other_rules() -> None:
    assert settle([claim(1, "100")], WEIHAI_2019).outcomes[0].flags == frozenset()
    assert "NO_RULE" in settle([claim(1, "100", basic_paid=None)], WEIHAI_2019).outcomes[0].flags
    assert "NO_RULE" in settle([claim(1, "100")], WEIHAI_WITH_ASSISTANCE).outcomes[0].flags
    poor = claim(1, "100", category="低保")
    assert "NO_RULE" not in settle([poor], WEIHAI_WITH_ASSISTANCE).outcomes[0].flags


def test_weihai_special_drug_is_recorded_without_parameters_and_a_rule_with_them() -> None:
    rows = [claim(1, "50000", care_type="special_drug", special_drug_paid="777")]
    assert paid(settle(rows, WEIHAI_2019), "special_drug") == [fen("777")]
    original = {"special_drug_deductible": "20000", "special_drug_rate": "40 %", "special_drug_limit": "200000"}
    assert paid(settle(rows, WEIHAI_2019.with_parameters(original)), "special_drug") == [fen("12000")]
    assert paid(settle(rows, SHANDONG_2017), "special_drug") == [fen("12000")]
    assert paid(settle(rows, SHANDONG_2017), "catastrophic") == [0]


# --- The invented city ---------------------------------------------------------------------------------


def demo(number: int, eligible: str, **cells: Any) -> Cells:
    return claim(number, eligible, insured_region=990101, **cells)


def test_demo_city_one_bill_runs_through_the_whole_waterfall() -> None:
    row = demo(
        1,
        "40000",
        total_fee="45000",
        first_pay_fee="2000",
        self_funded_fee="3000",
        over_limit_fee="0",
        basic_paid="20000",
        category="建档立卡",
    )
    outcome = settle([row], DEMO_CITY).outcomes[0]
    assert outcome.paid == {
        "basic": fen("20000"),
        "catastrophic": fen("9750"),  # (20,000 - 5,000) x 65 %
        "special_drug": 0,
        "assistance": fen("7175"),  # (40,000 - 29,750) x 70 %
        "institution_reduction": fen("253.75"),  # (42,000 - 36,925) x 5 %
        "commercial": fen("2046.38"),  # (45,000 - 37,178.75 - 1,000) x 30 % = 2,046.375
        "reassistance": 0,  # 2,821.25 is below 5,000: the commercial payment fits outside the policy range
        "pku": 0,
    }
    assert outcome.personal == fen("5774.87")
    assert outcome.flags == frozenset()


def test_section_2_charged_to_total_lowers_a_policy_range_base_only_by_what_is_left_over() -> None:
    # 40,000 policy-range of 45,000: of 7,000 charged to the total, 2,000 fall into the range.
    assert oracle.base_of(fen("40000"), fen("45000"), fen("10000"), fen("7000")) == fen("28000")
    assert oracle.base_of(fen("45000"), fen("45000"), fen("10000"), fen("7000")) == fen("28000")
    assert oracle.base_of(fen("40000"), fen("45000"), fen("39000"), fen("7000")) == 0


def test_demo_city_inpatient_and_outpatient_assistance_share_one_yearly_limit() -> None:
    rows = [
        demo(1, "40000", basic_paid="20000", category="dibao"),  # 7,175 of 10,000
        demo(2, "8000", basic_paid="0", category="dibao", care_type="outpatient"),  # (8,000 - 5,200 - 200) x 50 %
        demo(3, "10000", basic_paid="0", category="dibao"),  # 3,500 x 70 % = 2,450, cut to 1,525
    ]
    result = settle(rows, DEMO_CITY)
    assert paid(result, "assistance") == [fen("7175"), fen("1300"), fen("1525")]
    balances = result.closing[1, 2019, 9901]
    assert balances["assistance_year"] == (0, fen("10000"))
    assert balances["assistance_inpatient"] == (fen("13750"), fen("8700"))
    assert balances["assistance_outpatient"] == (fen("2800"), fen("1300"))


def test_demo_city_half_of_an_income_is_rounded_half_up_to_the_fen() -> None:
    # Half of 30,001.01 is 15,000.505, so 15,000.51; one fen above it pays 0.6 fen.
    rows = [demo(1, "15000.51"), demo(2, "0.01")]
    assert paid(settle(rows, DEMO_CITY), "catastrophic") == [0, 1]
    # (50,000 x 60 % + 10,000 x 65 %) above a deductible of 10,000.
    assert paid(
        settle([demo(1, "70000")], DEMO_CITY.with_parameters({"disposable_income": 20000})), "catastrophic"
    ) == [fen("36500")]


def test_demo_city_an_orphan_needs_the_required_parameter_and_nobody_else_does() -> None:
    assert statuses(settle([demo(1, "10000")], DEMO_CITY)) == ["SETTLED"]
    orphan = [demo(1, "10000", category="事实无人抚养儿童")]
    with pytest.raises(oracle.MissingParameter, match="orphan_deductible"):
        settle(orphan, DEMO_CITY)
    assert paid(settle(orphan, DEMO_CITY.with_parameters({"orphan_deductible": "3000"})), "catastrophic") == [
        fen("5600")
    ]


def test_demo_city_marginal_assistance_is_recorded_until_all_three_parameters_are_given() -> None:
    rows = [demo(n, "10000", category=c, assistance_paid="50") for n, c in ((1, "低边"), (2, "低收入救助对象"))]
    given = {"marginal_deductible": "1000", "marginal_rate": {"low_income": "50 %"}, "marginal_limit": "3000"}
    assert paid(settle(rows, DEMO_CITY), "assistance") == [fen("50"), fen("50")]
    # 9,000 x 50 % = 4,500, cut to 3,000; catastrophic pays 0 on 20,000 - 15,000.51 only from the second row on.
    assert paid(settle(rows[1:], DEMO_CITY.with_parameters(given)), "assistance") == [fen("3000")]
    assert paid(settle(rows[:1], DEMO_CITY.with_parameters(given)), "assistance") == [fen("50")]


@pytest.mark.parametrize(
    ("birth", "service", "age"),
    [
        (date(2000, 2, 29), date(2019, 2, 28), 18),
        (date(2000, 2, 29), date(2019, 3, 1), 19),
        (date(2000, 5, 5), date(2019, 5, 4), 18),
        (date(2000, 5, 5), date(2019, 5, 5), 19),
    ],
)
def test_section_2_age_is_completed_years_on_the_service_date(birth: date, service: date, age: int) -> None:
    assert oracle.age_on(birth, service) == age
    row = demo(1, "0", total_fee="1000", care_type="pku", birth_date=birth, service_date=service)
    assert paid(settle([row], DEMO_CITY), "pku") == [fen("750") if age == 18 else fen("700")]


def test_section_2_pku_keeps_one_account_and_the_row_s_age_picks_schedule_and_cap() -> None:
    birth = date(2000, 5, 5)
    cells: Cells = {"total_fee": "18000", "care_type": "pku", "birth_date": birth}
    rows = [demo(1, "0", service_date=date(2019, 5, 4), **cells), demo(2, "0", service_date=date(2019, 5, 5), **cells)]
    # 13,500; then min(12,000, 25,200) - min(12,000, 12,600) = 0.
    assert paid(settle(rows, DEMO_CITY), "pku") == [fen("13500"), 0]


# --- §4 Order and time ------------------------------------------------------------------------------


def test_section_4_a_june_claim_has_the_old_rule_as_known_in_june_and_the_new_one_now() -> None:
    rows = [claim(1, "30000", service_date=date(2019, 6, 1), settled_at=date(2019, 6, 2))]
    book = (SHANDONG_2017, WEIHAI_2019)
    for as_known, expected in ((date(2019, 6, 30), "9000"), ("settled_at", "9000"), (None, "7200")):
        assert paid(settle(rows, *book, as_known=as_known), "catastrophic") == [fen(expected)]
    assert [o.policy for o in settle(rows, *book, as_known=date(2019, 9, 1)).outcomes] == ["weihai-2019"]
    with pytest.raises(ValueError, match="as_known"):
        settle(rows, WEIHAI_2019, as_known=date(2019, 6, 30))


def test_section_4_a_date_or_region_without_policy_is_never_a_silent_zero() -> None:
    rows = [claim(1, "1", service_date=date(2018, 12, 31)), claim(2, "1", insured_region=440100, person_id=2)]
    assert statuses(settle(rows, WEIHAI_2019)) == ["NO_POLICY", "SETTLED"]
    assert statuses(settle(rows, WEIHAI_2019, SHANDONG_2017)) == ["SETTLED", "NO_POLICY"]


def test_section_4_rows_are_taken_by_time_and_then_by_id_whatever_the_input_order() -> None:
    rows = [claim(n, "20000", settled_at=date(2019, 3, 1)) for n in (10, 9)]
    assert paid(settle(rows, WEIHAI_2019), "catastrophic") == [fen("12000"), fen("1200")]
    texts = [{**row, "settlement_id": str(row["settlement_id"])} for row in rows]
    assert paid(settle(texts, WEIHAI_2019), "catastrophic") == [fen("1200"), fen("12000")]


def test_section_2_another_insured_city_starts_from_zero() -> None:
    rows = [claim(1, "30000"), claim(2, "30000", insured_region=370602)]
    assert paid(settle(rows, WEIHAI_2019), "catastrophic") == [fen("7200"), fen("7200")]


# --- §5 Reversals --------------------------------------------------------------------------------------


def test_section_5_the_refund_is_the_mirror_of_the_bill_and_stale_when_another_was_priced_since() -> None:
    rows = [claim(1, "30000"), claim(2, "20000")]
    rows.append(reversal(3, rows[0]))
    result = settle(rows, WEIHAI_2019)
    assert paid(result, "catastrophic") == [fen("7200"), fen("12000"), -fen("7200")]
    assert result.outcomes[2].flags == {"STALE_AFTER_REVERSAL"}
    assert result.outcomes[2].stale_rows == 1
    assert result.outcomes[2].personal == -fen("22800")
    assert result.closing[1, 2019, 3710]["catastrophic"] == (fen("20000"), fen("12000"))


def test_section_5_reversing_the_last_settlement_restores_the_year() -> None:
    rows = [claim(1, "30000"), claim(2, "20000", category="低保")]
    before = settle(rows[:1], WEIHAI_2019).closing
    after = settle([*rows, reversal(3, rows[1])], WEIHAI_2019)
    assert after.closing == before
    assert after.outcomes[2].flags == frozenset()


def test_section_5_year_and_policy_come_from_the_original() -> None:
    rows = [claim(1, "30000")]
    rows.append(reversal(2, rows[0], service_date=date(2018, 1, 5), category="低保", insured_region=370602))
    result = settle(rows, WEIHAI_2019)
    assert statuses(result) == ["SETTLED", "SETTLED"]
    assert result.closing == {(1, 2019, 3710): {}}


def test_section_5_a_partial_second_or_misplaced_reversal_is_rejected() -> None:
    bill = claim(1, "30000")
    partial = {**reversal(2, bill), "total_fee": -fen("29999"), "eligible_fee": -fen("29999")}
    assert statuses(settle([bill, partial], WEIHAI_2019))[1] == "REVERSAL_NOT_WHOLE"
    twice = [bill, reversal(2, bill), reversal(3, bill)]
    assert statuses(settle(twice, WEIHAI_2019))[2] == "REVERSAL_NOT_WHOLE"
    early = reversal(2, bill, settled_at=datetime(2019, 1, 1))
    assert statuses(settle([bill, early], WEIHAI_2019))[1] == "REVERSAL_WITHOUT_ORIGINAL"
    of_a_reversal = {**claim(3, "-30000"), "reverses": 2}
    assert statuses(settle([bill, reversal(2, bill), of_a_reversal], WEIHAI_2019))[2] == "REVERSAL_WITHOUT_ORIGINAL"


def test_section_5_an_original_in_history_is_mirrored_as_it_was_paid_then() -> None:
    earlier = {**claim(1, "30000", catastrophic_paid="9000", basic_paid="0"), "status": "SETTLED"}
    between = {**claim(2, "20000", catastrophic_paid="10000"), "status": "SETTLED"}
    row = reversal(3, claim(1, "30000"))
    opening = {(1, 2019, 3710): {"catastrophic": (fen("50000"), fen("19000"))}}
    result = settle([row], WEIHAI_2019, history=[earlier, between], opening=opening)
    assert paid(result, "catastrophic") == [-fen("9000")]
    assert result.outcomes[0].flags == {"STALE_AFTER_REVERSAL"}
    assert result.closing[1, 2019, 3710]["catastrophic"] == (fen("20000"), fen("10000"))
    assert statuses(settle([claim(1, "30000")], WEIHAI_2019, history=[earlier])) == ["DUPLICATE_SETTLEMENT"]


def test_section_5_an_unseen_original_is_mirrored_by_the_reversal_s_own_payments() -> None:
    row = {**claim(1, "-30000", catastrophic_paid="-9000"), "reverses": 77}
    result = settle([row], WEIHAI_2019)
    assert paid(result, "catastrophic") == [-fen("9000")]
    assert result.outcomes[0].personal == -fen("21000")
    assert result.outcomes[0].flags == {"ORIGINAL_NOT_SEEN"}
    assert result.closing[1, 2019, 3710]["catastrophic"] == (-fen("30000"), -fen("9000"))
    unpaid = {**row, "catastrophic_paid": None}
    assert statuses(settle([unpaid], WEIHAI_2019)) == ["REVERSAL_WITHOUT_ORIGINAL"]
    too_much = {**row, "catastrophic_paid": -fen("30000.01")}
    assert statuses(settle([too_much], WEIHAI_2019)) == ["PAID_EXCEEDS_TOTAL"]


# --- §8 Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"service_date": None, "total_fee": "NOT_FEN"}, "MISSING_VALUE"),
        ({"settlement_id": " "}, "MISSING_VALUE"),
        ({"basic_paid": "NOT_FEN", "eligible_fee": 10**10 + 1}, "AMOUNT_NOT_FEN"),
        ({"personal_paid": "NOT_FEN"}, "AMOUNT_NOT_FEN"),
        ({"total_fee": 10**10 + 1, "eligible_fee": -1}, "AMOUNT_OUT_OF_RANGE"),
        ({"eligible_fee": -1, "category": ""}, "WRONG_SIGN"),
        ({"reverses": 5}, "WRONG_SIGN"),
        ({"category": "低保,某类", "care_type": "spa"}, "UNKNOWN_CATEGORY"),
        ({"category": ""}, "UNKNOWN_CATEGORY"),
        ({"care_type": "spa", "service_date": date(2010, 1, 1)}, "UNKNOWN_CARE_TYPE"),
        ({"service_date": date(2010, 1, 1), "eligible_fee": 9 * 10**9}, "NO_POLICY"),
        ({"eligible_fee": fen("100.01")}, "ELIGIBLE_EXCEEDS_TOTAL"),
        ({"care_type": "pku", "birth_date": None}, "BIRTH_DATE_MISSING"),
        ({"personal_paid": -fen("5")}, "SETTLED"),
    ],
)
def test_section_8_the_first_code_that_matches_wins(cells: Cells, code: str) -> None:
    row = {**demo(1, "100", basic_paid="0", birth_date=None, reverses=None), **cells}
    outcome = settle([row], DEMO_CITY).outcomes[0]
    assert outcome.status == code
    if code != "SETTLED":
        assert outcome.personal is None
        assert set(outcome.paid.values()) == {None}


def test_section_8_both_rows_of_a_doubled_id_go_and_later_rows_are_flagged() -> None:
    rows = [claim(1, "5"), claim(2, "10"), claim(2, "20"), claim(3, "30"), claim(2, "10", person_id=2)]
    result = settle(rows, WEIHAI_2019)
    assert statuses(result) == ["SETTLED", "DUPLICATE_SETTLEMENT", "DUPLICATE_SETTLEMENT", "SETTLED", "SETTLED"]
    assert ["AFTER_REJECT" in outcome.flags for outcome in result.outcomes] == [False, False, False, True, False]


def test_section_8_a_rejected_row_without_dates_comes_first_in_every_year() -> None:
    rows = [
        claim(1, "5"),
        claim(2, "5", settled_at=None, service_date=None),
        claim(3, "5", service_date=date(2020, 1, 1)),
    ]
    flags = [outcome.flags for outcome in settle(rows, WEIHAI_2019).outcomes]
    assert flags == [{"AFTER_REJECT"}, frozenset(), {"AFTER_REJECT"}]


def test_section_1_a_row_that_would_take_the_year_out_of_range_is_rejected_and_feeds_nothing() -> None:
    opening = {(1, 2019, 3710): {"catastrophic": (oracle.YEAR_LIMIT_FEN - fen("100"), 0)}}
    result = settle([claim(1, "100.01"), claim(2, "100")], WEIHAI_2019, opening=opening)
    assert statuses(result) == ["AMOUNT_OUT_OF_RANGE", "SETTLED"]
    assert result.outcomes[1].flags == {"AFTER_REJECT"}


def test_decision_0001_11_sums_that_do_not_add_up_are_flagged_not_rejected() -> None:
    row = claim(
        1,
        "90",
        total_fee="100",
        self_funded_fee="5",
        over_limit_fee="0",
        first_pay_fee="0",
        basic_paid="100",
        personal_paid="1",
    )
    outcome = settle([row], WEIHAI_2019).outcomes[0]
    assert outcome.flags == {
        "FEES_DO_NOT_ADD_UP",
        "PAID_DOES_NOT_ADD_UP",
        "FULL_REIMBURSEMENT",
        "ZERO_PERSONAL_PAYMENT",
    }


# --- §6 Re-accounting ----------------------------------------------------------------------------------


def poor_stay(**cells: Any) -> Cells:
    """Return the stay of §6.3: eligible 50,000, basic 20,000, catastrophic 13,200 under the rule of 2017."""
    settled: Cells = {
        "category": "建档立卡",
        "basic_paid": "20000",
        "catastrophic_paid": "13200",
        "assistance_paid": "10000",
        **cells,
    }
    return billed(1, "50000", **settled)


def test_section_6_3_a_recorded_assistance_behind_a_changed_layer_refuses_the_run() -> None:
    with pytest.raises(Refused) as refusal:
        replay([poor_stay()], WEIHAI_2019)
    assert refusal.value.counts == {"assistance": (1, fen("10000"))}


def test_section_6_3_with_parameters_375_go_to_the_hospital_and_2675_to_the_person() -> None:
    result = replay([poor_stay()], WEIHAI_WITH_ASSISTANCE)
    assert result.due == {(1, 2019): fen("3050")}
    assert amounts(result.transfers) == {
        ("person", "personal", "person_social_card", 1): fen("2675"),
        ("assistance", "assistance", "institution", "H1"): fen("375"),
    }


def test_section_6_3_keep_sends_all_to_the_person_and_the_implied_rate_shares_it() -> None:
    kept = replay([poor_stay()], WEIHAI_2019, recorded_after_change="keep")
    assert amounts(kept.transfers) == {("person", "personal", "person_social_card", 1): fen("3050")}
    # 13,750 x 10,000 / 16,800 = 8,184.5238.
    shared = replay([poor_stay()], WEIHAI_2019, recorded_after_change={"assistance": "implied_rate"})
    assert shared.rows[0].new is not None
    assert shared.rows[0].new["assistance"] == fen("8184.52")
    assert amounts(shared.transfers) == {
        ("person", "personal", "person_social_card", 1): fen("1234.52"),
        ("assistance", "assistance", "institution", "H1"): fen("1815.48"),
    }


def test_weihai_3_1_and_section_6_6_nothing_goes_to_a_person_with_the_commercial_supplement() -> None:
    row = poor_stay(commercial_paid="5000", has_commercial_supplement=True)
    assert row["personal_paid"] == fen("1800")
    result = replay([row], WEIHAI_WITH_ASSISTANCE)
    assert result.rows[0].personal_new == fen("1800")
    assert result.rows[0].deltas is not None
    assert {layer: delta for layer, delta in result.rows[0].deltas.items() if delta} == {
        "catastrophic": fen("3050"),
        "assistance": -fen("375"),
        "commercial": -fen("2675"),
    }
    assert amounts(result.transfers) == {
        ("assistance", "assistance", "assistance_fund", 3710): fen("375"),
        ("commercial", "commercial", "commercial_fund", 3710): fen("2675"),
    }
    assert result.closing[1, 2019, 3710]["commercial"] == (fen("4125"), fen("2325"))


def test_section_6_6_what_no_fund_can_give_back_is_unrouted() -> None:
    # Only 1,000 commercial and no assistance: the share falls from 15,800 by 3,050.
    row = poor_stay(assistance_paid="0", commercial_paid="1000", has_commercial_supplement=True)
    result = replay([row], WEIHAI_2019)
    assert result.rows[0].unrouted_delta == -fen("2050")
    assert result.rows[0].personal_delta == 0
    assert amounts(result.transfers) == {("commercial", "commercial", "commercial_fund", 3710): fen("1000")}
    assert [entry["amount_fen"] for entry in result.unrouted] == [fen("2050")]


def test_section_6_6_a_raised_share_is_paid_by_the_commercial_supplement() -> None:
    row = poor_stay(
        catastrophic_paid="17000", assistance_paid="0", commercial_paid="1000", has_commercial_supplement=True
    )
    result = replay([row], WEIHAI_2019)
    assert result.rows[0].new is not None
    assert result.rows[0].new["commercial"] == fen("1750")
    assert amounts(result.decreases) == {("commercial", "commercial", "commercial_fund", 3710): fen("750")}


def test_weihai_3_1_money_for_care_outside_the_city_goes_to_the_district() -> None:
    result = replay([poor_stay(treated_region=370602)], WEIHAI_WITH_ASSISTANCE)
    assert amounts(result.transfers)["assistance", "assistance", "district", 371002] == fen("375")
    unknown = replay([poor_stay(treated_region=None)], WEIHAI_WITH_ASSISTANCE)
    assert [(e["fund"], e["layer"], e["amount_fen"]) for e in unknown.unrouted] == [
        ("assistance", "assistance", fen("375"))
    ]


def test_section_6_1_rows_outside_the_window_keep_their_payments_and_feed() -> None:
    rows = [
        billed(1, "30000", catastrophic_paid="9000"),
        billed(2, "20000", catastrophic_paid="11000", service_date=date(2019, 9, 2)),
        billed(3, "20000", catastrophic_paid="0"),
    ]
    result = replay(rows, WEIHAI_2019)
    assert [row.deltas and row.deltas["catastrophic"] for row in result.rows] == [-fen("1800"), None, fen("12000")]
    assert result.due == {(1, 2019): fen("10200")}
    assert result.closing[1, 2019, 3710]["catastrophic"] == (fen("70000"), fen("30200"))


def test_section_5_a_reversed_pair_is_taken_out_and_the_year_trued_up() -> None:
    rows = [billed(1, "30000", catastrophic_paid="9000"), billed(2, "20000", catastrophic_paid="10000")]
    rows.append(reversal(3, rows[0]))
    result = replay(rows, WEIHAI_2019)
    # Row 2 alone is 20,000: 1,200 instead of 10,000.
    assert [row.deltas and row.deltas["catastrophic"] for row in result.rows] == [0, -fen("8800"), 0]
    assert result.transfers == []
    assert amounts(result.decreases) == {("person", "personal", "person_social_card", 1): fen("8800")}
    assert result.decreases[0]["action"] == "waive"
    recovered = replay(rows, WEIHAI_2019, on_decrease="recover")
    assert recovered.decreases[0]["action"] == "recover"


def test_decision_0001_20_a_reversal_of_an_original_not_in_the_input_has_zero_deltas() -> None:
    row = {**billed(1, "-30000", catastrophic_paid="-9000"), "reverses": 77}
    result = replay([row], WEIHAI_2019)
    assert result.rows[0].flags == {"ORIGINAL_NOT_SEEN"}
    assert result.rows[0].deltas == dict.fromkeys(oracle.LAYERS, 0)
    assert result.closing == {(1, 2019, 3710): {}}


def test_section_6_9_a_rejected_row_or_a_null_account_holds_the_person_year() -> None:
    good = billed(1, "60000", catastrophic_paid="24000")
    bad = billed(2, "100", catastrophic_paid=None, personal_paid="100")
    held = replay([good, bad], WEIHAI_2019)
    assert held.rows[1].status == "MISSING_VALUE"
    assert held.transfers == []
    assert amounts(held.held) == {("person", "personal", "person_social_card", 1): fen("1200")}
    assert amounts(replay([good, bad], WEIHAI_2019, on_reject="pay").transfers) == amounts(held.held)
    unknown = [{**good, "has_social_card_account": None}]
    assert [entry["amount_fen"] for entry in replay(unknown, WEIHAI_2019).held] == [fen("1200")]
    paid_anyway = replay(unknown, WEIHAI_2019, on_reject="pay")
    assert [entry["amount_fen"] for entry in paid_anyway.unrouted] == [fen("1200")]


def test_section_6_9_payments_that_do_not_reconcile_hold_and_decreases_say_so() -> None:
    row = billed(1, "30000", catastrophic_paid="9000", personal_paid="1")
    result = replay([row], WEIHAI_2019)
    assert "PAID_DOES_NOT_ADD_UP" in result.rows[0].flags
    assert [(entry["amount_fen"], entry["action"]) for entry in result.decreases] == [(fen("1800"), "held")]


def test_section_6_2_recorded_payments_above_the_total_are_rejected() -> None:
    result = replay([billed(1, "100", catastrophic_paid="100.01")], WEIHAI_2019)
    assert result.rows[0].status == "PAID_EXCEEDS_TOTAL"


def test_section_6_11_a_roster_adds_categories_on_the_days_it_covers() -> None:
    rows = [billed(1, "30000", catastrophic_paid="9000")]
    roster = [{"person_id": 1, "category": "低保", "from": date(2019, 2, 1), "to": date(2019, 2, 1)}]
    assert replay(rows, WEIHAI_2019, roster=roster).due == {(1, 2019): fen("7250")}
    roster[0]["from"] = date(2019, 2, 2)
    roster[0]["to"] = None
    assert replay(rows, WEIHAI_2019, roster=roster).due == {(1, 2019): -fen("1800")}
    replaced = [{"person_id": 1, "category": "ordinary", "from": None, "to": None}]
    poor = [{**rows[0], "category": "低保"}]
    assert replay(poor, WEIHAI_2019, roster=replaced, roster_mode="replace").due == {(1, 2019): -fen("1800")}
    assert replay(poor, WEIHAI_2019, roster=replaced).due == {(1, 2019): fen("7250")}


def test_section_6_12_running_twice_pays_nothing_twice() -> None:
    rows = [poor_stay()]
    first = replay(rows, WEIHAI_WITH_ASSISTANCE)
    second = replay(rows, WEIHAI_WITH_ASSISTANCE, previous=first.transfers)
    assert (second.transfers, second.decreases, second.held) == ([], [], [])
    moved = replay([{**rows[0], "has_social_card_account": False}], WEIHAI_WITH_ASSISTANCE, previous=first.transfers)
    assert moved.transfers == []
    part = [{**entry, "amount_fen": entry["amount_fen"] - 100} for entry in first.transfers]
    assert set(amounts(replay(rows, WEIHAI_WITH_ASSISTANCE, previous=part).transfers).values()) == {100}


def test_section_6_12_less_due_than_paid_before_is_a_decrease() -> None:
    rows = [poor_stay()]
    before = [{**entry, "amount_fen": fen("3000")} for entry in replay(rows, WEIHAI_WITH_ASSISTANCE).transfers]
    result = replay(rows, WEIHAI_WITH_ASSISTANCE, previous=before)
    assert sorted(entry["amount_fen"] for entry in result.decreases) == [fen("325"), fen("2625")]


def test_section_6_12_a_changed_hospital_holds_both_sides_and_nobody_else() -> None:
    first = replay([poor_stay()], WEIHAI_WITH_ASSISTANCE)
    before = [entry for entry in first.transfers if entry["fund"] == "assistance"]
    result = replay([poor_stay(hospital_id="H2")], WEIHAI_WITH_ASSISTANCE, previous=before)
    assert amounts(result.held) == {("assistance", "assistance", "institution", "H2"): fen("375")}
    assert [(e["payee_id"], e["amount_fen"], e["action"]) for e in result.decreases] == [("H1", fen("375"), "held")]
    assert amounts(result.transfers) == {("person", "personal", "person_social_card", 1): fen("2675")}
