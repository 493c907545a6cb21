"""Rules per stay worked out by hand, that hold the oracle to `core/decisions/0004-stays.md` (0004.n: its points)."""

from __future__ import annotations

import random
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import pytest

import ledgers
import oracle
import oracle_stays
from agreement import BASIC
from oracle import DEMO_CITY, EVERY_CARE, INPATIENT, LAYERS, Layer, OraclePolicy, Rule, fen, rate, schedule
from oracle_policies import DEMO_COUNTY, FUXIN_2020, LINYI_2019, LINYI_2020
from oracle_reaccount import reaccount
from oracle_stays import Stay

Cells = dict[str, Any]
HOME = 990201
CITY = 9902
YEAR = (1, 2019, CITY)


def stay(number: int, eligible: str, level: Any = 2, **cells: Any) -> Cells:
    """Return an inpatient row at home of one person, amounts in yuan text; later numbers come later."""
    row: Cells = {
        "settlement_id": number,
        "person_id": 1,
        "settled_at": datetime(2019, 3, 1, 0, number),
        "service_date": date(2019, 2, 1),
        "category": "ordinary",
        "care_type": "inpatient",
        "insured_region": HOME,
        "treated_region": HOME,
        "hospital_level": level,
        "episode_id": None,
        "total_fee": eligible,
        "eligible_fee": eligible,
    }
    row.update(cells)
    money = ("_fee", "_paid", "_borne")
    return {
        name: fen(cell) if name.endswith(money) and isinstance(cell, str) and cell != oracle.NOT_FEN else cell
        for name, cell in row.items()
    }


def reversal(number: int, original: Cells, **cells: Any) -> Cells:
    money = {name: -cell for name, cell in original.items() if name.endswith(("_fee", "_paid")) and cell is not None}
    back = {"settlement_id": number, "settled_at": datetime(2019, 3, 1, 0, number)}
    return {**original, **money, **back, "reverses": original["settlement_id"], **cells}


def settle(rows: list[Cells], *book: OraclePolicy, without: str = "", **terms: Any) -> oracle.Result:
    columns = {name for row in rows for name in row} - {without}
    return oracle.settle_ledger(rows, columns, book or (DEMO_COUNTY,), **terms)


def statuses(result: oracle.Result) -> list[str]:
    return [outcome.status for outcome in result.outcomes]


def paid(result: oracle.Result, layer: str = "basic") -> list[int | None]:
    return [outcome.paid[layer] for outcome in result.outcomes]


def borne(result: oracle.Result) -> list[int | None]:
    return [outcome.deductible_borne for outcome in result.outcomes]


def numbers(result: oracle.Result) -> list[int | None]:
    return [outcome.stay_number for outcome in result.outcomes]


def fens(*yuan: str) -> list[int]:
    return [fen(amount) for amount in yuan]


def policy_with(name: str, *rules: Rule) -> OraclePolicy:
    """Return a policy of recorded layers with rules in one of them; commercial money is charged to the total."""

    def write(parameters: oracle.Parameters) -> tuple[Layer, ...]:
        return tuple(
            Layer(
                layer,
                EVERY_CARE,
                "recorded",
                rules if layer == name else (),
                charged_to="total" if layer == "commercial" else "eligible",
            )
            for layer in LAYERS
        )

    return OraclePolicy(
        "invented", "99", date(2018, 1, 1), None, date(2018, 1, 1), DEMO_CITY.favour, write, frozenset()
    )


# --- Conditions: levels, treated, ceiling ----------------------------------------------------------------


def test_levels_pick_the_rule_of_the_hospital() -> None:
    # (1,200 - 200) x 90 %; 699.95 x 75 % = 524.9625; 200 x 60 %; not graded as a township hospital.
    rows = [stay(1, "1200", level, person_id=level) for level in (1, 2, 3, 9)]
    assert paid(settle(rows)) == fens("900", "524.96", "120", "900")
    as_text = [stay(1, "1200", str(level), person_id=level) for level in (1, 2, 3, 9)]
    assert paid(settle(as_text)) == fens("900", "524.96", "120", "900")


@pytest.mark.parametrize("level", [None, 4, "x", "", 0])
def test_a_level_that_cannot_be_read_is_missing_where_a_rule_asks_for_it(level: Any) -> None:
    rows = [
        stay(1, "1200", level),
        stay(2, "1200", level, care_type="outpatient"),
        stay(3, "1200", level, category="poor"),
        stay(4, "1200", level, service_date=date(2017, 12, 31)),
        stay(5, "1200", level, total_fee=oracle.NOT_FEN),
        stay(6, "1200", level, eligible_fee="-5"),
    ]
    assert statuses(settle(rows)) == [
        "MISSING_VALUE", "SETTLED", "UNKNOWN_CATEGORY", "NO_POLICY", "MISSING_VALUE", "MISSING_VALUE",
    ]  # fmt: skip
    assert statuses(settle([stay(1, "5", level), stay(1, "6", level)])) == ["MISSING_VALUE"] * 2
    assert statuses(settle([stay(1, "5", level), stay(1, "6")])) == ["MISSING_VALUE", "DUPLICATE_SETTLEMENT"]


@pytest.mark.parametrize("column", ["treated_region", "insured_region"])
def test_a_place_that_cannot_be_read_is_missing_where_a_rule_asks_for_it(column: str) -> None:
    rows = [stay(1, "1200", **{column: None}), stay(2, "1200", care_type="outpatient", **{column: None})]
    assert statuses(settle(rows)) == ["MISSING_VALUE", "SETTLED"]


@pytest.mark.parametrize("column", ["hospital_level", "treated_region", "insured_region"])
def test_a_missing_column_fails_the_run_only_where_a_row_asks_for_it(column: str) -> None:
    with pytest.raises(oracle.LedgerFault, match=column):
        settle([stay(1, "1200")], without=column)
    assert statuses(settle([stay(1, "1200", care_type="outpatient")], without=column)) == ["SETTLED"]
    assert statuses(settle([stay(1, "1200")], DEMO_CITY, without=column)) == ["SETTLED"]


@pytest.mark.parametrize(
    ("eligible", "expected"),
    [
        ("1999.99", "0"),
        ("2000", "0"),
        ("2000.01", "0.01"),  # 0.5 fen
        ("22000", "10000"),
        ("21999.99", "10000.00"),  # 9,999.995
        ("22000.01", "10000.01"),  # 0.55 fen more
    ],
)
def test_treated_outside_counts_the_edges_above_the_deductible(eligible: str, expected: str) -> None:
    result = settle([stay(1, eligible, treated_region=990101)])
    assert paid(result) == fens(expected)
    assert borne(result) == [min(fen(eligible), fen("2000"))]


def test_a_reversal_takes_level_and_place_from_its_original_and_an_unseen_one_is_not_asked() -> None:
    bill = stay(1, "1200")
    rows = [bill, reversal(2, bill, hospital_level=None, treated_region=None)]
    assert paid(settle(rows)) == [fen("524.96"), -fen("524.96")]
    unseen = [reversal(2, {**bill, "basic_paid": 500}, hospital_level=None, treated_region=None)]
    assert statuses(settle(unseen)) == ["SETTLED"]
    assert paid(settle(unseen)) == [-500]


@pytest.mark.parametrize(
    ("eligible", "assistance"),
    [
        ("10000", "180"),  # 9,800 x 90 % = 8,820; (1,180 - 300) x 50 % = 440; 9,000 - 8,820
        ("10000.01", "179.99"),  # basic 8,820.009; the ceiling 9,000.009 is rounded down
        ("5200", "180"),  # basic 4,500; (700 - 300) x 50 % = 200; 4,680 - 4,500
        ("4000", "140"),  # basic 3,420; (580 - 300) x 50 % = 140; 3,600 - 3,420 = 180
    ],
)
def test_a_ceiling_cuts_what_all_layers_pay_together(eligible: str, assistance: str) -> None:
    assert paid(settle([stay(1, eligible, 1, category="dibao")]), "assistance") == fens(assistance)


def test_a_ceiling_binds_a_yearly_rule_too() -> None:
    # 300 left x 50 % = 150; 800 - 700; with 801 and 900 paid before, nothing is left of it.
    rows = [
        stay(1, "1000", category="dibao", care_type="chronic_outpatient", basic_paid="700"),
        stay(2, "1000", category="dibao", care_type="chronic_outpatient", basic_paid="801"),
        stay(3, "1000", category="dibao", care_type="chronic_outpatient", basic_paid="500"),
    ]
    result = settle(rows)
    assert paid(result, "assistance") == fens("100", "0", "250")
    assert result.closing[YEAR]["assistance_outpatient"] == (fen("999"), fen("350"))


def test_a_ceiling_counts_of_money_charged_to_the_total_what_falls_on_the_fees() -> None:
    again = Rule(schedule(("0", "100 %")), "reassistance", INPATIENT, ceiling=rate("90 %"))
    row = stay(1, "800", total_fee="1000", basic_paid="300", commercial_paid="250")
    # Of 250 charged to the total 50 fall on the 800: 720 - 350; the base is 450.
    assert paid(settle([row], policy_with("reassistance", again)), "reassistance") == fens("370")
    row = stay(1, "800", total_fee="1000", basic_paid="700", commercial_paid="250")
    assert paid(settle([row], policy_with("reassistance", again)), "reassistance") == fens("0")


# --- 1 to 4: one stay -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eligible", "bears", "expected"),
    [
        ("500.04", "500.04", "0"),
        ("500.05", "500.05", "0"),
        ("500.06", "500.05", "0.01"),  # 0.75 fen
        ("9999.99", "500.05", "7124.96"),  # a tie: 9,499.94 x 75 % = 7,124.955
        ("10000", "500.05", "7124.96"),  # 7,124.9625
        ("10000.01", "500.05", "7124.97"),  # 7,124.9705
    ],
)
def test_0004_1_and_2_edges_include_the_deductible(eligible: str, bears: str, expected: str) -> None:
    result = settle([stay(1, eligible)])
    assert (borne(result), paid(result)) == (fens(bears), fens(expected))


def test_0004_2_the_first_tier_reaches_down_to_what_was_borne() -> None:
    # The second stay bears 70 % of 500.05 = 350.035, a tie: 350.04; 649.96 x 75 %.
    # The third 250.025, so 250.03: 9,749.97 x 75 % + 10 x 80 % = 7,320.4775.
    result = settle([stay(1, "1000"), stay(2, "1000"), stay(3, "10010")])
    assert borne(result) == fens("500.05", "350.04", "250.03")
    assert paid(result) == fens("374.96", "487.47", "7320.48")


LOTS = {"disposable_income": "2000000", "orphan_deductible": "1000000"}


@pytest.mark.parametrize(
    ("eligible", "expected"),
    [
        ("500", "0"),
        ("500.01", "0"),  # 0.3 fen
        ("500.02", "0.01"),
        ("10500", "3000"),
        ("10499.99", "3000.00"),  # 2,999.997
        ("10500.02", "3000.01"),  # 0.8 fen
        ("50500", "19000"),
        ("50500.01", "19000.01"),  # 0.5 fen
        ("72500", "30000"),  # 19,000 + 22,000 x 50 %
        ("72499.98", "29999.99"),
        ("72500.02", "30000"),  # the cap of a stay
    ],
)
def test_0004_2_and_3_above_the_deductible_and_the_cap_of_a_stay(eligible: str, expected: str) -> None:
    row = stay(1, eligible, category="因病致贫", insured_region=990101)
    result = settle([row], DEMO_CITY.with_parameters(LOTS))
    assert paid(result, "assistance") == fens(expected)
    assert (borne(result), numbers(result), result.episodes) == ([None], [None], {})


@pytest.mark.parametrize(
    ("eligible", "expected"),
    [
        ("4999.99", "1000.00"),  # 999.998
        ("5000", "1750"),
        ("5000.02", "1750.01"),  # 0.7 fen
        ("49999.99", "17500.00"),
        ("50000", "30000"),  # 30,250, cut to the shared limit
    ],
)
def test_0004_2_a_whole_schedule_pays_one_rate_on_all_of_the_stay(eligible: str, expected: str) -> None:
    row = stay(1, eligible, category="orphan", insured_region=990101)
    assert paid(settle([row], DEMO_CITY.with_parameters(LOTS)), "assistance") == fens(expected)


@pytest.mark.parametrize(
    ("base", "above", "expected"),
    [
        (299, False, 0),
        (300, False, 0),
        (301, False, 1),  # 0.5 fen
        (2999, False, 1350),  # 2,699 x 50 % = 1,349.5
        (3000, False, 1620),  # 2,700 x 60 %
        (3299, True, 1500),  # above the deductible the edge is 3,300: 2,999 x 50 % = 1,499.5
        (3300, True, 1800),
    ],
)
def test_0004_2_a_whole_schedule_looks_at_the_base_or_at_what_is_above(base: int, above: bool, expected: int) -> None:
    tiers = schedule(("0" if above else "3", "50 %"), ("30", "60 %")).tiers
    terms = Stay(300, above=above, whole=True)
    assert terms.entitled_fen(tiers, base, min(base, 300)) == expected


def test_0004_3_the_year_s_cap_and_the_shared_limit_cut_after_the_stay_s() -> None:
    city = DEMO_CITY.with_parameters(LOTS)
    rows = [stay(n, "72000", category="因病致贫", insured_region=990101) for n in (1, 2, 3)]
    assert paid(settle(rows, city), "assistance") == fens("29750", "29750", "500")
    clinic = stay(2, "10000", category="orphan", insured_region=990101, care_type="outpatient", basic_paid="0")
    rows = [stay(1, "60000", category="orphan", insured_region=990101), clinic]
    # 36,300, cut to 30,000; nothing is left for the clinic.
    assert paid(settle(rows, city), "assistance") == fens("30000", "0")
    assert paid(settle([clinic], city), "assistance") == fens("8000")
    # 5,000 x 80 % = 4,000; 85.55 % of 10,000 less 5,000 = 3,555.
    clinic = {**clinic, "basic_paid": fen("5000")}
    assert paid(settle([clinic], city), "assistance") == fens("3555")


def test_0004_3_the_cap_of_basic_insurance_is_a_year_s() -> None:
    # Level 3: 9,000 x 60 % + 40,000 x 65 % + 70 % above 50,000 = 31,400 + 105,000, cut to 80,000; then 70,000 are left.
    result = settle([stay(1, "200000", 3), stay(2, "200000", 3)])
    assert paid(result) == fens("80000", "70000")
    assert result.closing[YEAR]["basic"] == (fen("400000"), fen("150000"))


def test_0004_4_a_stay_without_a_base_is_none() -> None:
    result = settle([stay(1, "0", total_fee="50", episode_id=7), stay(2, "600", episode_id=7)])
    assert borne(result) == [None, fen("500.05")]
    assert numbers(result) == [None, 1]
    assert result.closing[YEAR]["basic"] == (fen("600"), fen("74.96"))
    assert result.closing[YEAR]["basic_deductible"] == (fen("500.05"), 1)


# --- 5 to 7: the number, later stays, the year's sum ------------------------------------------------------


def test_0004_5_every_stay_that_basic_insurance_computes_counts() -> None:
    rows = [
        stay(1, "3000", treated_region=370602),  # away from home: 2,000, of no share
        stay(2, "100", care_type="outpatient"),  # a yearly rule: no stay
        stay(3, "100", 3, category="dibao"),  # people in hardship: 300, of no share
        stay(4, "5000", 1),  # the third stay of the year: 50 % of 200
        stay(5, "5000", 1, service_date=date(2018, 12, 31)),
        stay(6, "5000", 1, insured_region=990101, treated_region=990101),
    ]
    result = settle(rows)
    assert numbers(result) == [1, None, 2, 3, 1, 1]
    # 2,100 are borne already, which leaves nothing of 1,500.
    assert borne(result) == [fen("2000"), None, fen("100"), 0, fen("200"), fen("200")]
    assert result.closing[YEAR]["basic_deductible"] == (fen("2100"), 3)
    assert result.closing[YEAR]["basic_outpatient"] == (fen("100"), fen("25"))


def test_0004_6_the_last_share_is_that_of_all_later_stays() -> None:
    result = settle([stay(n, "1000", 1) for n in range(1, 6)])
    assert borne(result) == fens("200", "140", "100", "100", "100")
    assert paid(result) == fens("720", "774", "810", "810", "810")


@pytest.mark.parametrize(
    ("first", "bears"),
    [
        ("800", ["800", "700", "0"]),  # just the limit
        ("799.99", ["799.99", "700", "0.01"]),
        ("800.01", ["800.01", "699.99", "0"]),
        ("5000", ["1000", "500", "0"]),
    ],
)
def test_0004_7_the_year_s_sum_is_limited(first: str, bears: list[str]) -> None:
    result = settle([stay(1, first, 3), stay(2, "5000", 3), stay(3, "5000", 3)])
    assert borne(result) == fens(*bears)
    assert numbers(result) == [1, 2, 3]


# --- 8: referrals -----------------------------------------------------------------------------------------


def test_0004_8_a_referral_bears_the_difference_to_the_highest_deductible() -> None:
    rows = [stay(1, "5000", 1, episode_id=7), stay(2, "5000", 3, episode_id=7), stay(3, "5000", 2, episode_id=7)]
    result = settle(rows)
    assert borne(result) == fens("200", "800", "0")
    assert numbers(result) == [1, 0, 0]
    # (5,000 - 200) x 90 %; (5,000 - 800) x 60 %; 5,000 x 75 %.
    assert paid(result) == fens("4320", "2520", "3750")
    assert result.closing[YEAR]["basic_deductible"] == (fen("1000"), 1)
    assert result.episodes == {(1, CITY, 7): (fen("1000"), 1, 2019)}


@pytest.mark.parametrize(
    ("first", "bears"), [("150", "850"), ("199.99", "800.01"), ("200", "800"), ("200.01", "800"), ("0.01", "999.99")]
)
def test_0004_8_what_counts_is_what_was_borne(first: str, bears: str) -> None:
    result = settle([stay(1, first, 1, episode_id="E"), stay(2, "5000", 3, episode_id="E")])
    assert borne(result)[1] == fen(bears)


def test_0004_8_the_share_is_that_of_the_episode() -> None:
    rows = [
        stay(1, "5000", 1),
        stay(2, "5000", 1, episode_id=7),  # the second stay: 140
        stay(3, "5000", 1),  # the third: 100
        stay(4, "5000", 2, episode_id=7),  # 350.04 - 140
        stay(5, "5000", 1),  # the fourth
    ]
    result = settle(rows)
    assert borne(result) == fens("200", "140", "100", "210.04", "100")
    assert numbers(result) == [1, 2, 3, 0, 4]


def test_0004_8_an_episode_holds_across_new_year_and_counts_in_the_year_of_each_row() -> None:
    rows = [
        stay(1, "5000", 1, service_date=date(2018, 11, 1)),
        stay(2, "5000", 1, service_date=date(2018, 12, 31), episode_id=7),  # 140, the second of 2018
        stay(3, "5000", 3, service_date=date(2019, 1, 1), episode_id=7),  # 700 - 140
        stay(4, "5000", 1, service_date=date(2019, 1, 2)),  # the first of 2019
    ]
    result = settle(rows)
    assert borne(result) == fens("200", "140", "560", "200")
    assert numbers(result) == [1, 2, 0, 1]
    assert result.closing[1, 2018, CITY]["basic_deductible"] == (fen("340"), 2)
    assert result.closing[YEAR]["basic_deductible"] == (fen("760"), 1)
    assert result.episodes == {(1, CITY, 7): (fen("700"), 2, 2018)}


def test_0004_8_two_open_episodes_other_persons_and_other_cities_do_not_know_of_each_other() -> None:
    elsewhere = {"insured_region": 990101, "treated_region": 990102}
    rows = [
        stay(1, "5000", 1, episode_id=7),
        stay(2, "5000", 1, episode_id=8),  # the second stay: 140
        stay(3, "5000", 2, episode_id=7),  # 500.05 - 200
        stay(4, "5000", 2, episode_id=8),  # 350.04 - 140
        stay(5, "5000", 2, episode_id=7, person_id=2),
        stay(6, "5000", 2, episode_id=7, **elsewhere),
    ]
    result = settle(rows)
    assert borne(result) == fens("200", "140", "300.05", "210.04", "500.05", "500.05")
    assert numbers(result) == [1, 2, 0, 0, 1, 1]
    assert set(result.episodes) == {(1, CITY, 7), (1, CITY, 8), (2, CITY, 7), (1, 9901, 7)}


def test_0004_8_a_stay_outside_is_of_its_own_and_neither_sees_nor_feeds() -> None:
    rows = [
        stay(1, "5000", 1, episode_id=7),
        stay(2, "1000", 3, episode_id=7, treated_region=110101),  # 1,000 of 2,000; a stay of its own
        stay(3, "5000", 2, episode_id=7),  # 500.05 - 200: the stay away from home counts in the year alone
    ]
    result = settle(rows)
    assert borne(result) == fens("200", "1000", "300")  # 1,500 - 1,200 is less than 300.05
    assert numbers(result) == [1, 2, 0]
    assert result.episodes == {(1, CITY, 7): (fen("500"), 1, 2019)}


# --- 9 and 10: one deductible a year; limit and referral --------------------------------------------------


def test_0004_9_a_year_s_deductible_is_borne_once_at_the_highest_level() -> None:
    rows = [stay(1, "5000", 1), stay(2, "5000", 3), stay(3, "5000", 2), stay(4, "5000", 9)]
    result = settle([{**row, "category": "orphan"} for row in rows])
    assert borne(result) == fens("100", "500", "0", "0")
    assert numbers(result) == [1, 2, 3, 4]
    # 4,900 x 90 %; 4,500 x 80 %; all of 5,000.
    assert paid(result) == fens("4410", "3600", "4000", "4500")


def test_0004_9_the_greater_of_the_year_s_and_the_episode_s_sum_counts() -> None:
    orphan = {"category": "orphan"}
    rows = [
        stay(1, "5000", 2, service_date=date(2018, 12, 1), episode_id=7, **orphan),  # 600
        stay(2, "50", 1, **orphan),  # 50 in 2019
        stay(3, "5000", 3, episode_id=7, **orphan),  # max(50, 600) is the whole deductible
        stay(4, "5000", 2, **orphan),  # 600 - 50
        stay(5, "5000", 3, episode_id=7, treated_region=110101, **orphan),  # referral anywhere, no rule of outside
    ]
    result = settle(rows)
    assert borne(result) == fens("600", "50", "0", "550", "0")
    assert numbers(result) == [1, 1, 0, 2, 0]


@pytest.mark.parametrize(("before", "bears"), [("699.99", "800"), ("700", "800"), ("700.01", "799.99"), ("1500", "0")])
def test_0004_10_limit_and_referral_bind_together(before: str, bears: str) -> None:
    # An episode of 200 goes on at a deductible of 1,000; the year's limit is 1,500.
    opening = {YEAR: {"basic_deductible": (fen(before), 1)}}
    episodes = {(1, CITY, 7): (fen("200"), 1, 2019)}
    result = settle([stay(2, "5000", 3, episode_id=7)], opening=opening, opening_episodes=episodes)
    assert borne(result) == fens(bears)


# --- 11 to 15: what comes in and goes out -----------------------------------------------------------------


def test_0004_12_opening_goes_on_into_the_next_year_too() -> None:
    first = settle([stay(1, "5000", 1, service_date=date(2018, 12, 1)), stay(2, "5000", 1, episode_id=7)])
    row = stay(3, "5000", 3, service_date=date(2020, 1, 5), episode_id=7)
    result = settle([row], opening=first.closing, opening_episodes=first.episodes)
    assert (borne(result), numbers(result)) == (fens("800"), [0])
    assert result.closing[1, 2020, CITY]["basic_deductible"] == (fen("800"), 0)
    assert result.closing[1, 2018, CITY]["basic_deductible"] == (fen("200"), 1)
    assert result.episodes == {(1, CITY, 7): (fen("1000"), 1, 2019)}
    alone = settle([row])
    assert (borne(alone), numbers(alone)) == (fens("1000"), [1])


def test_0004_13_reversing_the_last_stay_restores_the_meter() -> None:
    first = [stay(1, "5000", 1, episode_id=7), stay(2, "5000", 3, episode_id=7)]
    before = settle(first[:1])
    rows = [*first, reversal(3, first[1])]
    result = settle(rows)
    assert borne(result) == [fen("200"), fen("800"), -fen("800")]
    assert numbers(result) == [1, 0, None]
    assert (result.closing, result.episodes) == (before.closing, before.episodes)
    nothing = settle([*rows, reversal(4, first[0])])
    assert nothing.closing == {YEAR: {}}
    assert nothing.episodes == {}


def test_0004_13_an_episode_without_the_stay_it_began_with_begins_anew_with_a_credit() -> None:
    rows = [stay(1, "5000", 1, episode_id=7), stay(2, "5000", 2, episode_id=7)]
    rows.append(reversal(3, rows[0]))
    result = settle(rows)
    assert borne(result) == [fen("200"), fen("300.05"), -fen("200")]
    assert result.closing[YEAR]["basic_deductible"] == (fen("300.05"), 0)
    assert result.episodes == {(1, CITY, 7): (fen("300.05"), 0, 2019)}
    rows.append(stay(4, "5000", 3, episode_id=7))
    result = settle(rows)
    assert (borne(result)[3], numbers(result)[3]) == (fen("699.95"), 1)
    assert result.episodes == {(1, CITY, 7): (fen("1000"), 1, 2019)}


def test_0004_13_an_original_in_history_counts_as_its_settled_row_says() -> None:
    bill = stay(1, "5000", 1, episode_id=7, service_date=date(2018, 12, 1))
    first = settle([bill, stay(2, "5000", 1)])
    history = oracle.history_of([bill], list(bill), oracle.Result(first.outcomes[:1], {}))
    terms: Cells = {"opening": first.closing, "opening_episodes": first.episodes}
    result = settle([reversal(3, bill)], history=history, **terms)
    assert borne(result) == [-fen("200")]
    assert (1, 2018, CITY) in result.closing
    assert "basic_deductible" not in result.closing[1, 2018, CITY]
    assert result.closing[YEAR]["basic_deductible"] == (fen("200"), 1)
    assert result.episodes == {}
    without = [{name: cell for name, cell in history[0].items() if name != "deductible_borne"}]
    assert borne(settle([reversal(3, bill)], history=without, **terms)) == [None]
    another_rule = [{**history[0], "care_type": "chronic_outpatient"}]
    assert borne(settle([reversal(3, bill)], history=another_rule, **terms)) == [None]


@pytest.mark.parametrize("sign", [1, -1])
def test_0004_13_an_unseen_original_counts_as_the_reversal_says(sign: int) -> None:
    opening = {YEAR: {"basic_deductible": (fen("900"), 2)}}
    episodes = {(1, CITY, 7): (fen("700"), 2, 2019)}
    terms: Cells = {"opening": opening, "opening_episodes": episodes}
    told = {"basic_paid": "100", "deductible_borne": sign * fen("200"), "stay_number": sign * 2, "episode_id": 7}
    row = reversal(3, stay(1, "5000", 1, **told))
    result = settle([row], **terms)
    assert (borne(result), numbers(result)) == ([-fen("200")], [None])
    assert result.closing[YEAR]["basic_deductible"] == (fen("700"), 1)
    assert result.episodes == {(1, CITY, 7): (fen("500"), 0, 2019)}
    continued = settle([{**row, "stay_number": 0}], **terms)
    assert continued.closing[YEAR]["basic_deductible"] == (fen("700"), 2)
    assert continued.episodes == {(1, CITY, 7): (fen("500"), 2, 2019)}
    assert borne(settle([{**row, "deductible_borne": None}], **terms)) == [None]
    no_stay = settle([{**row, "care_type": "chronic_outpatient"}], **terms)
    assert (borne(no_stay), no_stay.episodes) == ([None], episodes)


def test_0004_13_after_refunds_of_unseen_stays_nobody_bears_more_than_the_deductible() -> None:
    told = {"basic_paid": "100", "deductible_borne": "200", "stay_number": 1, "episode_id": 7}
    rows = [reversal(1, stay(9, "5000", 1, **told)), stay(2, "5000", 1, episode_id=7), stay(3, "5000", 2, episode_id=7)]
    result = settle(rows)
    # The meter stands at -200 and -1 stays. 200 is the deductible, then 500.05 of the difference to 0.
    assert borne(result) == [-fen("200"), fen("200"), fen("500.05")]
    assert numbers(result) == [None, 1, 0]
    assert result.closing[YEAR]["basic_deductible"] == (fen("500.05"), 0)


def test_0004_14_a_row_rejected_for_its_range_has_moved_nothing() -> None:
    opening = {YEAR: {"basic": (oracle.YEAR_LIMIT_FEN - fen("100"), 0)}}
    rows = [stay(1, "100.01", 1, episode_id=7), stay(2, "100", 1, episode_id=7)]
    result = settle(rows, opening=opening)
    assert statuses(result) == ["AMOUNT_OUT_OF_RANGE", "SETTLED"]
    assert (borne(result), numbers(result)) == ([None, fen("100")], [None, 1])
    assert result.closing[YEAR]["basic_deductible"] == (fen("100"), 1)
    assert result.episodes == {(1, CITY, 7): (fen("100"), 1, 2019)}


def test_0004_14_a_reversal_rejected_for_its_range_leaves_the_meter() -> None:
    opening = {YEAR: {"basic": (-oracle.YEAR_LIMIT_FEN + fen("1"), 0)}}
    told = {"basic_paid": "0.50", "deductible_borne": "1", "stay_number": 1}
    result = settle([reversal(3, stay(1, "2", 1, **told))], opening=opening)
    assert statuses(result) == ["AMOUNT_OUT_OF_RANGE"]
    assert (borne(result), result.closing) == ([None], opening)


def test_0004_15_a_reaccounting_sets_basic_insurance_aside_and_replays_the_other_rules_per_stay() -> None:
    row = stay(
        1,
        "10000",
        None,
        category="dibao",
        treated_region=None,
        basic_paid="8000",
        catastrophic_paid="0",
        assistance_paid="500",
        personal_paid="1500",
        has_social_card_account=True,
    )
    result = reaccount([row], set(row), [DEMO_COUNTY])
    new = result.rows[0].new
    assert new is not None
    # Basic stands at 8,000: (2,000 - 300) x 50 % = 850 and 9,000 - 8,000 = 1,000.
    assert (new["basic"], new["assistance"]) == (fen("8000"), fen("850"))
    assert result.closing[YEAR]["basic"] == (fen("10000"), fen("8000"))
    assert "basic_deductible" not in result.closing[YEAR]


# --- Linyi and Fuxin, whose documents name referrals and leave the numbers to the city --------------------


def numbered(policy: OraclePolicy) -> OraclePolicy:
    return policy.with_parameters({**BASIC, "disposable_income": "36000"} if policy is not LINYI_2019 else BASIC)


@pytest.mark.parametrize(
    ("policy", "day", "home"),
    [(LINYI_2019, 2019, 371302), (LINYI_2020, 2020, 371302), (FUXIN_2020, 2020, 210902)],
)
def test_basic_insurance_is_recorded_until_all_nine_numbers_are_given(
    policy: OraclePolicy, day: int, home: int
) -> None:
    # Without a level: nobody asks for one.
    row = stay(1, "5000", None, basic_paid="3333", insured_region=home, service_date=date(day, 2, 1))
    given = {} if policy is LINYI_2019 else {"disposable_income": "36000"}
    for missing in BASIC:
        partly = {name: value for name, value in BASIC.items() if name != missing}
        assert paid(settle([row], policy.with_parameters({**given, **partly}))) == fens("3333")
    rows = [
        {**row, "person_id": level, "hospital_level": level, "treated_region": home} for level in sorted({1, 2, 3, 9})
    ]
    # 4,800 x 90 %; 4,499.95 x 75.5 % = 3,397.46225; 4,000 x 60 %; 4,900 x 85 %.
    assert paid(settle(rows, numbered(policy))) == fens("4320", "3397.46", "2400", "4165")


def test_linyi_2_2_5_referrals_of_people_in_hardship_are_counted_on_anywhere() -> None:
    home = {"insured_region": 371302, "treated_region": None}
    limits = {"area_deductible": "0", "area_rate": "50 %", "area_limit": "8000"}
    linyi = LINYI_2019.with_parameters({**BASIC, **limits})
    for category, bears, number in (("dibao", "800", 0), ("建档立卡", "800", 0), ("ordinary", "1000", 2)):
        rows = [stay(1, "5000", 1, category=category, episode_id=7, **home)]
        rows.append(stay(2, "5000", 3, category=category, episode_id=7, **{**home, "treated_region": 110101}))
        result = settle(rows, linyi)
        assert borne(result) == fens("200", bears)
        assert numbers(result) == [1, number]


def test_fuxin_2_3_referrals_inside_the_city_are_counted_on_for_everybody() -> None:
    home = {"insured_region": 210902, "treated_region": 210903, "service_date": date(2020, 2, 1)}
    rows = [stay(1, "5000", 1, episode_id=7, **home), stay(2, "5000", 3, episode_id=7, **home)]
    rows.append(stay(3, "5000", 3, episode_id=7, **{**home, "treated_region": 210102}))
    rows.append(stay(4, "5000", 3, episode_id=7, **{**home, "treated_region": None}))
    result = settle(rows, numbered(FUXIN_2020))
    assert borne(result) == [fen("200"), fen("800"), fen("1000"), None]
    assert numbers(result) == [1, 0, 2, None]
    assert statuses(result)[3] == "MISSING_VALUE"


def test_the_yearly_limit_of_basic_insurance_is_one_for_all_levels() -> None:
    home = {"insured_region": 371302, "treated_region": 371302}
    linyi = LINYI_2019.with_parameters({**BASIC, "basic_limit": "5000"})
    # 4,320, then 680 of 2,400.
    assert paid(settle([stay(1, "5000", 1, **home), stay(2, "5000", 3, **home)], linyi)) == fens("4320", "680")


# --- The oracle on itself ---------------------------------------------------------------------------------


def told(outcome: oracle.Outcome) -> tuple[Any, ...]:
    return outcome.status, outcome.paid, outcome.deductible_borne, outcome.stay_number


@pytest.mark.parametrize("seed", range(6))
def test_a_run_in_two_halves_settles_as_one(seed: int) -> None:
    rng = random.Random(seed)
    rows = ledgers.random_rows(rng, 300, 20, regions=(990201, 990101), years=(2018, 2019), reversals=0.1)
    rows = [row for row in rows if row["reverses"] != ledgers.UNSEEN]
    rows.sort(key=lambda row: (row["settled_at"], row["settlement_id"]))
    columns = list(rows[0])
    whole = oracle.settle_ledger(rows, columns, [DEMO_COUNTY])
    cut = rng.randrange(1, len(rows))
    first = oracle.settle_ledger(rows[:cut], columns, [DEMO_COUNTY])
    second = oracle.settle_ledger(
        rows[cut:],
        columns,
        [DEMO_COUNTY],
        opening=first.closing,
        opening_episodes=first.episodes,
        history=oracle.history_of(rows[:cut], columns, first),
    )
    assert [told(outcome) for outcome in (*first.outcomes, *second.outcomes)] == list(map(told, whole.outcomes))
    assert second.episodes == whole.episodes
    assert second.closing == {**first.closing, **whole.closing}


@pytest.mark.parametrize("seed", range(4))
def test_no_episode_bears_more_than_the_highest_of_its_deductibles(seed: int) -> None:
    rows = ledgers.random_rows(random.Random(seed), 600, 40, regions=(990201,), years=(2018, 2019), reversals=0.0)
    result = oracle.settle_ledger(rows, list(rows[0]), [DEMO_COUNTY])
    assert len(result.episodes) > 20
    assert max(sum_fen for sum_fen, _, _ in result.episodes.values()) <= fen("1000")
    assert {outcome.stay_number for outcome in result.outcomes} >= {None, 0, 1, 2}


def test_the_meter_alone() -> None:
    meter = oracle_stays.Meter()
    terms = Stay(1001, later_stays=(Fraction(1), Fraction(1, 2)), limit_fen=2000, referral="anywhere")
    assert meter.measure(terms, 0, 0, 0, None) is None
    assert meter.measure(terms, 5000, 1001, 1, None) == (501, 2, None)  # a tie: 500.5
    assert meter.measure(terms, 5000, 1600, 7, None) == (400, 8, None)
