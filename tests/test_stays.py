"""Rules per stay, by hand: decision 0004, point by point, under the invented county and city; amounts in yuan."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import yibao
from yibao_core.policy_file import read_policy

COUNTY = yibao.load_policy("demo-county")
CITY = yibao.load_policy("demo-city", {"orphan_deductible": "3000"})


def stay(number: int, eligible: str, level: int | str | None = 3, **cells: Any) -> dict[str, Any]:
    """Return a stay of P1 at home; settled in the order of its number."""
    day = date(2019, 1, 1) + timedelta(days=number)
    row: dict[str, Any] = {
        "settlement_id": f"S{number:03}",
        "reverses": None,
        "person_id": "P1",
        "settled_at": day,
        "service_date": day,
        "insured_region": 990201,
        "treated_region": 990202,
        "hospital_level": level,
        "episode_id": None,
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": eligible,
        "eligible_fee": eligible,
    }
    return row | cells


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def settle(rows: list[dict[str, Any]], policy: Any = COUNTY, **options: Any) -> list[dict[str, Any]]:
    """Return the settled rows; their order in the input does not matter."""
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    result = yibao.settle_ledger(table(shuffled), policy, **options)
    assert result.summary["violations"] == 0
    return sorted(result.table.to_pylist(), key=lambda row: str(row["settlement_id"]))


def borne(rows: list[dict[str, Any]], policy: Any = COUNTY, **options: Any) -> list[str | None]:
    cells = [row["deductible_borne"] for row in settle(rows, policy, **options)]
    return [None if cell is None else str(cell) for cell in cells]


def paid(rows: list[dict[str, Any]], layer: str, policy: Any = COUNTY, **options: Any) -> list[str]:
    return [str(row[f"{layer}_paid"]) for row in settle(rows, policy, **options)]


# --- Deductible, rate, tiers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eligible", "expected"),
    [
        ("999.99", "0.00"),
        ("1000.00", "0.00"),
        ("1000.01", "0.01"),  # 0.006, half up
        ("10000.00", "5400.00"),  # 9,000 × 60 %
        ("10000.01", "5400.01"),  # + 0.0065
        ("50000.00", "31400.00"),  # 5,400 + 40,000 × 65 %
        ("60000.00", "38400.00"),  # + 10,000 × 70 %
    ],
)
def test_a_stay_is_priced_by_itself_above_its_deductible(eligible: str, expected: str) -> None:
    assert paid([stay(1, eligible)], "basic") == [expected]


def test_deductible_and_rate_go_by_the_hospitals_level() -> None:
    rows = [stay(1, "5000", 1), stay(2, "5000", 2, person_id="P2"), stay(3, "5000", 3, person_id="P3")]
    # 4,800 × 90 %; 4,499.95 × 75 % = 3,374.9625; 4,000 × 60 %.
    assert paid(rows, "basic") == ["4320.00", "3374.96", "2400.00"]
    assert borne(rows) == ["200.00", "500.05", "1000.00"]


def test_treatment_outside_the_city_has_its_own_rule() -> None:
    # 2,000 deductible, then 20,000 × 50 % and 1,000 × 55 %, counted above the deductible.
    assert paid([stay(1, "23000", treated_region=990101)], "basic") == ["10550.00"]
    assert paid([stay(1, "23000", treated_region=990301)], "basic") == ["10550.00"]


def test_one_stay_and_one_year_pay_no_more_than_their_caps() -> None:
    rows = [stay(1, "200000"), stay(2, "200000")]
    # 5,400 + 26,000 + 150,000 × 70 % is more than 80,000; the year leaves 150,000 − 80,000.
    assert paid(rows, "basic") == ["80000.00", "70000.00"]


# --- Later stays and the year's sum ------------------------------------------------------------------


def test_later_stays_bear_less() -> None:
    rows = [stay(number, "5000", 2) for number in range(1, 5)]
    # 500.05 × 100 %, 70 % (350.035, half up), 50 % (250.025) and 50 %, of which 1,500 − 1,100.12 would be left.
    assert borne(rows) == ["500.05", "350.04", "250.03", "250.03"]
    assert [row["stay_number"] for row in settle(rows)] == [1, 2, 3, 4]


def test_the_deductibles_of_a_year_have_a_limit() -> None:
    rows = [stay(1, "5000"), stay(2, "5000"), stay(3, "5000"), stay(4, "5000")]
    # 1,000, then 700 of which 500 are left of 1,500.
    assert borne(rows) == ["1000.00", "500.00", "0.00", "0.00"]
    assert paid(rows, "basic")[1] == "2700.00"  # (5,000 − 500) × 60 %: the first tier reaches down to what was borne


def test_a_new_year_counts_anew() -> None:
    rows = [stay(1, "5000"), stay(400, "5000")]
    assert borne(rows) == ["1000.00", "1000.00"]
    assert [row["stay_number"] for row in settle(rows)] == [1, 1]


def test_a_stay_without_eligible_cost_is_not_counted() -> None:
    rows = [stay(1, "0", total_fee="500"), stay(2, "5000")]
    assert borne(rows) == [None, "1000.00"]
    assert [row["stay_number"] for row in settle(rows)] == [None, 1]


def test_the_deductible_of_a_year_may_be_borne_once_at_the_highest_level() -> None:
    orphan = {"category": "orphan"}
    rows = [stay(1, "5000", 1, **orphan), stay(2, "5000", 3, **orphan), stay(3, "5000", 2, **orphan)]
    assert borne(rows) == ["100.00", "500.00", "0.00"]
    assert paid(rows, "basic") == ["4410.00", "3600.00", "4000.00"]  # 4,900 × 90 %, 4,500 × 80 %, 5,000 × 80 %


# --- Referrals ---------------------------------------------------------------------------------------


def test_a_referral_upwards_bears_the_difference() -> None:
    rows = [stay(1, "5000", 1, episode_id="E"), stay(2, "5000", 2, episode_id="E"), stay(3, "5000", 3, episode_id="E")]
    assert borne(rows) == ["200.00", "300.05", "499.95"]
    assert [row["stay_number"] for row in settle(rows)] == [1, 0, 0]


def test_a_referral_downwards_bears_nothing_and_the_next_stay_is_the_second() -> None:
    rows = [stay(1, "5000", 3, episode_id="E"), stay(2, "5000", 1, episode_id="E"), stay(3, "5000", 1)]
    assert borne(rows) == ["1000.00", "0.00", "140.00"]  # 200 × 70 %
    assert [row["stay_number"] for row in settle(rows)] == [1, 0, 2]


def test_what_counts_is_what_was_borne() -> None:
    rows = [stay(1, "150", 1, episode_id="E"), stay(2, "5000", 3, episode_id="E")]
    assert borne(rows) == ["150.00", "850.00"]


def test_the_share_of_later_stays_is_the_episodes() -> None:
    rows = [stay(1, "5000", 1), stay(2, "5000", 1, episode_id="E"), stay(3, "5000", 3, episode_id="E")]
    assert borne(rows) == ["200.00", "140.00", "560.00"]  # 70 % of 200, then 70 % of 1,000 less 140


def test_an_episode_goes_on_across_new_year() -> None:
    rows = [
        stay(1, "5000", 1, service_date=date(2018, 12, 20)),
        stay(2, "5000", 1, service_date=date(2018, 12, 30), episode_id="E"),
        stay(3, "5000", 3, service_date=date(2019, 1, 9), episode_id="E"),
        stay(4, "5000", 3, service_date=date(2019, 2, 9)),
    ]
    # The episode keeps its 70 %; the new year's first own stay bears 1,000 of which 1,500 − 560 are left.
    assert borne(rows) == ["200.00", "140.00", "560.00", "940.00"]
    assert [row["stay_number"] for row in settle(rows)] == [1, 2, 0, 1]


def test_two_open_episodes_do_not_know_of_each_other() -> None:
    rows = [
        stay(1, "5000", 1, episode_id="A", category="dibao"),
        stay(2, "5000", 1, episode_id="B", category="dibao"),
        stay(3, "5000", 3, episode_id="A", category="dibao"),
        stay(4, "5000", 2, episode_id="B", category="dibao"),
    ]
    # dibao: 200 at level 1 (70 % the second time), 300 above.
    assert borne(rows) == ["200.00", "140.00", "100.00", "160.00"]


def test_a_stay_outside_takes_no_part_in_an_episode_of_the_pooling_area() -> None:
    rows = [
        stay(1, "5000", 1, episode_id="E"),
        stay(2, "5000", 3, episode_id="E", treated_region=110101),
        stay(3, "5000", 3, episode_id="E"),
    ]
    assert borne(rows) == [
        "200.00",
        "2000.00",
        "0.00",
    ]  # of 1,500 a year nothing is left: what was borne outside counts
    assert [row["stay_number"] for row in settle(rows)] == [1, 2, 0]


def test_another_persons_episode_and_another_citys_are_other_episodes() -> None:
    rows = [
        stay(1, "5000", 1, episode_id="E"),
        stay(2, "5000", 3, episode_id="E", person_id="P2"),
        stay(3, "5000", 3, episode_id="E", insured_region=990301, treated_region=990301),
    ]
    assert borne(rows) == ["200.00", "1000.00", "1000.00"]


@pytest.mark.parametrize("ids", ["text", "integers"])
def test_stays_settled_day_by_day_are_those_settled_at_once(ids: str) -> None:
    rows = [
        stay(1, "5000", 1, episode_id="17", service_date=date(2018, 12, 30)),
        stay(2, "5000", 2, episode_id="18"),
        stay(3, "5000", 3, episode_id="17"),
        stay(4, "5000", 3),
        stay(5, "900", 3, episode_id="18"),
    ]
    if ids == "integers":
        rows = [
            row | {"episode_id": int(row["episode_id"]) if row["episode_id"] else None, "settlement_id": number}
            for number, row in enumerate(rows)
        ]
    whole = yibao.settle_ledger(table(rows), COUNTY)
    opening = None
    for number, row in enumerate(rows):
        day = yibao.settle_ledger(table([row]), COUNTY, opening=opening)
        assert day.table["deductible_borne"][0] == whole.table["deductible_borne"][number]
        assert day.table["basic_paid"][0] == whole.table["basic_paid"][number]
        opening = day.closing
    assert _entries(opening) == _entries(whole.closing)


def _entries(closing: Any) -> set[tuple[str, ...]]:
    return {tuple(str(cell) for cell in row.values()) for row in closing.to_pylist()}


def test_claim_by_claim_gives_the_same_and_reads_its_own_closing() -> None:
    first = yibao.settle(_claim(stay(1, "5000", 1, episode_id="E")), COUNTY)
    assert (first.deductible_borne, first.stay_number) == (Decimal("200.00"), 1)
    second = yibao.settle(_claim(stay(2, "5000", 3, episode_id="E")), COUNTY, opening=first.closing)
    assert (second.deductible_borne, second.stay_number) == (Decimal("800.00"), 0)
    assert second.closing[2019, 9902, "basic_deductible"] == (Decimal("1000.00"), 1)
    assert second.closing[2019, 9902, "basic_deductible", "E"] == (Decimal("1000.00"), 1)
    assert (
        "deductible 1,000.00 (goes on with the episode of stay 1 of the year, 200.00 borne before, "
        "1,300.00 left of the year's limit): the stay bears 800.00"
    ) in second.explain()


def _claim(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


# --- Reversals ---------------------------------------------------------------------------------------


def reversal(number: int, original: Mapping[str, Any]) -> dict[str, Any]:
    return stay(number, f"-{original['eligible_fee']}", None, reverses=original["settlement_id"], treated_region=None)


def test_reversing_the_last_stay_restores_the_year_and_the_episode() -> None:
    first, second = stay(1, "5000", 1, episode_id="E"), stay(2, "5000", 3, episode_id="E")
    before = yibao.settle_ledger(table([first]), COUNTY)
    after = yibao.settle_ledger(table([first, second, reversal(3, second)]), COUNTY)
    assert _entries(after.closing) == _entries(before.closing)
    assert [str(cell) for cell in after.table["deductible_borne"].to_pylist()] == ["200.00", "800.00", "-800.00"]
    assert after.table["stay_number"].to_pylist() == [1, 0, None]


def test_an_original_of_an_earlier_run_gives_back_what_it_bore() -> None:
    first = stay(1, "5000", 1, episode_id="E")
    before = yibao.settle_ledger(table([first]), COUNTY)
    later = [reversal(2, first), stay(3, "5000", 3, episode_id="E")]
    after = yibao.settle_ledger(table(later), COUNTY, opening=before.closing, history=before.table)
    assert [str(cell) for cell in after.table["deductible_borne"].to_pylist()] == ["-200.00", "1000.00"]
    assert after.table["stay_number"].to_pylist() == [None, 1]


def test_an_original_nobody_has_seen_gives_back_what_the_reversal_says() -> None:
    opening = yibao.settle_ledger(table([stay(1, "5000", 3)]), COUNTY).closing
    slip = reversal(2, stay(1, "5000", 3)) | {"basic_paid": "-2400", "deductible_borne": "-1000", "stay_number": 1}
    result = yibao.settle_ledger(table([slip]), COUNTY, opening=opening)
    assert "ORIGINAL_NOT_SEEN" in result.table["flags"][0].as_py()
    meter = [row for row in result.closing.to_pylist() if row["account"] == "basic_deductible"]
    assert [(row["base"], row["stays"]) for row in meter if row["base"] or row["stays"]] == []


def test_a_year_that_gave_back_more_than_it_counted_can_be_opened() -> None:
    slip = reversal(2, stay(1, "5000", 3)) | {"basic_paid": "-2400", "deductible_borne": "-1000", "stay_number": -1}
    closing = yibao.settle_ledger(table([slip]), COUNTY).closing
    assert (closing["base"].to_pylist()[-1], closing["stays"].to_pylist()[-1]) == (Decimal("-1000.00"), -1)
    (after,) = settle([stay(3, "5000", 3)], opening=closing)
    assert (str(after["deductible_borne"]), after["stay_number"]) == ("1000.00", 1)  # the first one, all of it, no more


def test_a_stay_out_of_range_leaves_no_trace() -> None:
    opening = pa.table(
        {
            "person_id": ["P1"],
            "benefit_year": pa.array([2019], pa.int32()),
            "insured_city": pa.array([9902], pa.int32()),
            "account": ["catastrophic"],
            "base": pa.array([Decimal("8999999999.00")], pa.decimal128(18, 2)),
            "paid": pa.array([Decimal("0.00")], pa.decimal128(18, 2)),
        }
    )
    result = yibao.settle_ledger(table([stay(1, "5000", 3, episode_id="E")]), COUNTY, opening=opening)
    assert result.table["status"].to_pylist() == ["AMOUNT_OUT_OF_RANGE"]
    assert [row["account"] for row in result.closing.to_pylist()] == ["catastrophic"]


# --- What must be there ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [None, 4, 0])
def test_a_level_that_cannot_be_read_rejects_the_row(level: int | None) -> None:
    rows = [stay(1, "5000", level), stay(2, "5000", 3), stay(3, "100", None, care_type="outpatient")]
    assert [row["status"] for row in settle(rows)] == ["MISSING_VALUE", "SETTLED", "SETTLED"]
    (reject,) = yibao.settle_ledger(table(rows), COUNTY).rejects.to_pylist()
    assert (reject["column"], reject["value"]) == ("hospital_level", None if level is None else str(level))


def test_a_region_of_treatment_that_is_missing_rejects_the_row() -> None:
    rows = [stay(1, "5000", treated_region=None), stay(2, "5000")]
    assert [row["status"] for row in settle(rows)] == ["MISSING_VALUE", "SETTLED"]
    (reject,) = yibao.settle_ledger(table(rows), COUNTY).rejects.to_pylist()
    assert (reject["column"], reject["value"]) == ("treated_region", None)


def test_a_ledger_without_episodes_is_settled_and_the_summary_says_so() -> None:
    rows = table([stay(1, "5000", 1, episode_id="E"), stay(2, "5000", 3, episode_id="E")])
    assert "episode_id" not in yibao.settle_ledger(rows, COUNTY).summary["missing_columns"]
    alone = yibao.settle_ledger(rows.drop_columns(["episode_id"]), COUNTY)
    assert "episode_id" in alone.summary["missing_columns"]
    assert [str(cell) for cell in alone.table["deductible_borne"].to_pylist()] == ["200.00", "700.00"]
    elsewhere = yibao.settle_ledger(rows.drop_columns(["episode_id"]), yibao.load_policy("weihai-2019"))
    assert "episode_id" not in elsewhere.summary["missing_columns"]


@pytest.mark.parametrize("name", ["hospital_level", "treated_region"])
def test_a_ledger_without_the_column_fails_at_once_where_a_row_needs_it(name: str) -> None:
    rows = table([stay(1, "5000")])
    with pytest.raises(yibao.LedgerError, match=f"ledger: {name}: expected a column: 1 rows"):
        yibao.settle_ledger(rows.drop_columns([name]), COUNTY)
    outpatient = table([stay(1, "100", care_type="outpatient")]).drop_columns([name])
    assert yibao.settle_ledger(outpatient, COUNTY).table["basic_paid"].to_pylist() == [Decimal("25.00")]


@pytest.mark.parametrize(
    ("cell", "expected"), [("三级", "1000.00"), ("1", "200.00"), ("未定级", "200.00"), (" 2 ", "500.05")]
)
def test_levels_may_be_words(cell: str, expected: str) -> None:
    assert borne([stay(1, "5000", cell)]) == [expected]


def test_a_policy_without_such_rules_asks_for_none_of_it() -> None:
    row = stay(1, "5000", None, insured_region=371302, treated_region=None)
    result = yibao.settle_ledger(table([row]), yibao.load_policy("linyi-2019"))
    assert result.table["status"].to_pylist() == ["SETTLED"]
    assert "deductible_borne" not in result.table.column_names
    assert "stays" not in result.closing.column_names


# --- Other layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eligible", "expected"),
    [
        ("500.00", "0.00"),
        ("10500.00", "3000.00"),  # 10,000 × 30 %
        ("60500.00", "18104.50"),  # see below
    ],
)
def test_assistance_per_stay_has_tiers_above_its_deductible(eligible: str, expected: str) -> None:
    # 60,500: catastrophic (60,500 − 15,000.51) × 60 % = 27,299.694 → 27,299.69; base 33,200.31; above 500:
    # 10,000 × 30 % + 22,700.31 × 40 % = 12,080.124.
    expected = "12080.12" if eligible == "60500.00" else expected
    row = stay(1, eligible, insured_region=990101, category="illness_poverty")
    assert paid([row, stay(2, "0", insured_region=990101)], "assistance", CITY)[0] == expected


@pytest.mark.parametrize(
    ("eligible", "expected"),
    [("4999.99", "680.00"), ("9000.00", "840.00")],
)
def test_the_stays_amount_picks_one_rate_for_all_of_it(eligible: str, expected: str) -> None:
    # Orphans: 3,000 deductible, 80 % catastrophic. 4,999.99: base 4,999.99 − 1,599.99 = 3,400.00 × 20 %.
    # 9,000: base 9,000 − 4,800 = 4,200 × 20 %; the tier of 35 % begins at 5,000 of the base.
    row = stay(1, eligible, insured_region=990101, category="orphan")
    assert paid([row], "assistance", CITY) == [expected]


@pytest.mark.parametrize(("eligible", "expected"), [("12999.95", "1000.00"), ("13000.00", "1750.00")])
def test_a_rate_for_all_begins_on_its_edge(eligible: str, expected: str) -> None:
    # 13,000: catastrophic 8,000, base 5,000 × 35 %. 12,999.95: 7,999.96, base 4,999.99 × 20 % = 999.998.
    row = stay(1, eligible, insured_region=990101, category="orphan")
    assert paid([row], "assistance", CITY) == [expected]


def test_all_payers_together_stay_below_a_ceiling() -> None:
    # Orphan, outpatient, 100 eligible, basic 84 recorded: 80 % of 16 are 12.80, but 85.55 % of 100 leave 1.55.
    row = stay(1, "100.00", insured_region=990101, category="orphan", care_type="outpatient", basic_paid="84.00")
    assert paid([row], "assistance", CITY) == ["1.55"]


def test_a_ceiling_is_rounded_down() -> None:
    # 99.99 × 85.55 % = 85.541445.
    row = stay(1, "99.99", insured_region=990101, category="orphan", care_type="outpatient", basic_paid="84.00")
    assert paid([row], "assistance", CITY) == ["1.54"]


def test_a_ceiling_leaves_out_what_was_paid_on_cost_outside_the_range() -> None:
    # dibao in the county: total 2,000, eligible 1,000. Basic (1,000 − 300) × 85 % = 595; base 405 − deductible 300: 105 × 50 %.
    row = stay(1, "1000", 3, category="dibao", total_fee="2000")
    assert paid([row], "assistance") == ["52.50"]


def test_per_stay_rules_share_a_yearly_limit_with_others() -> None:
    rows = [
        stay(1, "200000", insured_region=990101, category="orphan"),
        stay(2, "200", insured_region=990101, category="orphan", care_type="outpatient"),
    ]
    # 197,000 × 80 % is capped at 100,000; base 100,000 × 60.5 %, limit 30,000; nothing is left for the second.
    assert paid(rows, "assistance", CITY) == ["30000.00", "0.00"]


# --- The documents' referral articles ------------------------------------------------------------------

BASIC = {
    "basic_deductible_1": "200", "basic_deductible_2": "500", "basic_deductible_3": "1000", "basic_deductible_9": "200",
    "basic_rate_1": "85 %", "basic_rate_2": "75 %", "basic_rate_3": "60 %", "basic_rate_9": "85 %",
    "basic_limit": "150000",
}  # fmt: skip
AREA = {"area_deductible": "1000", "area_rate": "60 %", "area_limit": "10000"}


@pytest.mark.parametrize("year", [2019, 2020])
def test_linyi_counts_the_deductible_on_for_referred_people_in_hardship(year: int) -> None:
    """鲁医保发〔2019〕69号 二(二)5: 对按规定转诊的贫困患者，住院费用连续计算起付线 (2020: 三, the rules go on)."""
    policy = yibao.load_policy(f"linyi-{year}", BASIC | AREA)
    rows = [
        stay(1, "5000", 1, episode_id="E", category="低保"),
        stay(2, "5000", 3, episode_id="E", category="低保", treated_region=370102),
        stay(3, "5000", 2, category="低保"),
        stay(4, "5000", 1, episode_id="F", person_id="P2"),
        stay(5, "5000", 3, episode_id="F", person_id="P2"),
    ]
    for row in rows:
        day = row["service_date"].replace(year=year)
        row |= {"insured_region": 371302, "service_date": day, "settled_at": day}
    assert borne(rows, policy) == ["200.00", "800.00", "500.00", "200.00", "1000.00"]
    assert paid(rows, "basic", policy) == ["4080.00", "2520.00", "3375.00", "4080.00", "2400.00"]


def test_fuxin_counts_the_deductible_on_for_referrals_inside_the_pooling_area() -> None:
    """阜政发〔2019〕18号 二(三): 对统筹区域内符合规定的转诊住院患者连续计算起付线."""
    policy = yibao.load_policy("fuxin-2020", BASIC | {"disposable_income": "30000"})
    rows = [
        stay(1, "5000", 1, episode_id="E"),
        stay(2, "5000", 3, episode_id="E"),
        stay(3, "5000", 1, episode_id="F"),
        stay(4, "5000", 3, episode_id="F", treated_region=210102),
    ]
    for row in rows:
        day = row["service_date"].replace(year=2020)
        home = row["treated_region"] if row["treated_region"] == 210102 else 210902
        row |= {"insured_region": 210902, "treated_region": home, "service_date": day, "settled_at": day}
    assert borne(rows, policy) == ["200.00", "800.00", "200.00", "1000.00"]
    assert paid(rows, "basic", policy) == ["4080.00", "2520.00", "4080.00", "2400.00"]


@pytest.mark.parametrize(
    ("policy", "region", "target"), [("linyi-2020", 371302, "70 %"), ("fuxin-2020", 210902, "75 %")]
)
def test_the_average_ratio_of_basic_insurance_is_reported(policy: str, region: int, target: str) -> None:
    """鲁医保发〔2020〕60号 二(一): 支付比例达到70%; 阜政发〔2019〕18号 二(三): 保持在75%左右. Never enforced."""
    rows = [
        stay(1, "1000", basic_paid="700"),
        stay(2, "2000", basic_paid="1321"),
        stay(3, "500", care_type="outpatient"),
    ]
    for row in rows:
        row |= {"insured_region": region, "service_date": date(2020, 5, 5)}
    rules = yibao.load_policy(policy, {"disposable_income": "30000"})
    (ratio,) = yibao.settle_ledger(table(rows), rules).summary["ratios"]
    assert (ratio["eligible_fee"], ratio["paid"]) == ("3000.00", "2021.00")
    assert (ratio["ratio"], ratio["target"]) == ("67.37 %", target)
    assert ratio["source"].startswith("二(")


# --- Re-accounting ---------------------------------------------------------------------------------------


def test_a_reaccounting_leaves_basic_insurance_as_it_was_paid() -> None:
    rows = [
        stay(
            1,
            "40000",
            basic_paid="17.00",
            catastrophic_paid="0",
            personal_paid="39983",
            category="dibao",
            hospital_id=1,
        ),
    ]
    flags = {"has_social_card_account": True, "has_commercial_supplement": False}
    a = yibao.reaccount(table([row | flags for row in rows]), COUNTY, missing_paid="zero")
    (row,) = a.settled.to_pylist()
    assert str(row["basic_paid"]) == "17.00"
    # Catastrophic (39,983 − 5,000) × 65 % = 22,738.95; assistance: base 17,244.05, above 300: 60 % of 16,944.05 = 10,166.43.
    assert (str(row["catastrophic_paid"]), str(row["assistance_paid"])) == ("22738.95", "10166.43")
    assert "deductible_borne" not in a.settled.column_names


def test_a_reaccounting_goes_by_level_and_place_in_other_layers(tmp_path: Path) -> None:
    """Assistance for treatment inside the city at level 3 only: 40 % there, nothing elsewhere."""
    text = (files("yibao_core") / "policies" / "fuxin-2020.toml").read_text(encoding="utf-8")
    head, name, tail = text.partition('name = "assistance"\n')
    keys = 'levels = [3], treated = "inside"'
    rule = RULE.replace("KEYS", keys).replace("50 %", "40 %")
    file = tmp_path / "city.toml"
    file.write_text(head + name + tail.replace("otherwise", f"rules = [{rule}]\notherwise", 1), encoding="utf-8")
    policy = yibao.load_policy(file, {"disposable_income": "100000"})
    paid_before = {"catastrophic_paid": "0", "hospital_id": 1, "has_social_card_account": True}
    day = {"service_date": date(2020, 5, 5), "settled_at": date(2020, 5, 6), "insured_region": 210902}
    rows = [
        stay(1, "1000", 3, **paid_before | day | {"treated_region": 210903}),
        stay(2, "1000", 2, **paid_before | day | {"treated_region": 210903}),
        stay(3, "1000", 3, **paid_before | day | {"treated_region": 210102}),
    ]
    a = yibao.reaccount(table(rows), policy, missing_paid="zero", recorded_after_change="keep")
    assert [str(cell) for cell in a.settled["assistance_paid"].to_pylist()] == ["400.00", "0.00", "0.00"]


# --- The file ------------------------------------------------------------------------------------------------

RULE = '{ id = "x", who = "everyone", care_types = ["inpatient"], tiers = [{ from = "0", rate = "50 %" }], cap = "none", source = "s", KEYS }'


@pytest.mark.parametrize(
    ("layer", "keys", "message"),
    [
        ("basic", 'schedule = "whole"', r'rules\[0\].schedule: expected nothing, or per = "stay" beside it'),
        ("assistance", 'per = "stay", referral = "inside"', r"referral: expected a rule of layer basic"),
        ("basic", 'per = "stay", referral = "in"', r"referral: expected one of inside, anywhere, got \"in\""),
        ("basic", 'per = "stay", later_stays = []', r"later_stays: expected a list of rates"),
        ("basic", 'per = "stay", later_stays = ["70"]', r"later_stays\[0\]: expected a rate"),
        ("basic", 'per = "stay", deductible_once = true, later_stays = ["70 %"]', r"later_stays: expected nothing beside deductible_once"),
        ("basic", "levels = [4]", r"levels\[0\]: expected one of 1, 2, 3, 9, got 4"),
        ("basic", "levels = [1, 1]", r"levels\[1\]: expected each number once"),
        ("basic", 'treated = "abroad"', r"treated: expected one of inside, outside"),
        ("basic", 'ceiling = "0.9"', r"ceiling: expected a rate"),
        ("basic", 'per = "visit"', r"per: expected one of year, stay"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_such_a_rule_is_told(layer: str, keys: str, message: str, tmp_path: Path) -> None:
    text = (files("yibao_core") / "policies" / "fuxin-2020.toml").read_text(encoding="utf-8")
    head, _, tail = text.partition(f'[[layers]]\nname = "{layer}"')
    own, mark, rest = tail.partition("[[layers]]")
    own = own.partition("# Computed")[0].partition("[[layers.rules]]")[0]
    file = tmp_path / "city.toml"
    file.write_text(
        f'{head}[[layers]]\nname = "{layer}"{own}rules = [{RULE.replace("KEYS", keys)}]\n{mark}{rest}', encoding="utf-8"
    )
    with pytest.raises(yibao.PolicyError, match=message):
        read_policy(file)


def test_rules_for_other_places_do_not_cover_each_other() -> None:
    assert [rule.id for rule in COUNTY.layer("basic").rules[3:7]] == ["hardship_county", "township", "county", "city"]


def test_a_year_below_zero_leaves_no_more_than_the_limit(tmp_path: Path) -> None:
    """0004.12: no deductible ever grows by refunds of stays that nobody has seen."""
    text = (files("yibao_core") / "policies" / "demo-county.toml").read_text(encoding="utf-8")
    file = tmp_path / "county.toml"
    file.write_text(
        text.replace('deductible = "1000"', 'deductible = "2000"').replace('from = "1000"', 'from = "2000"')
    )
    policy = yibao.load_policy(file)
    unseen = reversal(1, stay(0, "5000")) | {"basic_paid": "-1750", "deductible_borne": "-1000", "stay_number": 1}
    first = yibao.settle_ledger(table([unseen]), policy)
    assert ("basic_deductible", Decimal("-1000.00")) in [
        (row["account"], row["base"]) for row in first.closing.to_pylist()
    ]
    second = yibao.settle_ledger(table([stay(2, "5000")]), policy, opening=first.closing)
    assert second.table["deductible_borne"].to_pylist() == [Decimal("1500.00")]


def test_a_limit_on_the_rules_own_account_is_a_years_limit(tmp_path: Path) -> None:
    """0001.5: what is left of the shared limit, too; the account may be the rule's own."""
    text = (files("yibao_core") / "policies" / "wenzhou-2019.toml").read_text(encoding="utf-8")
    cap = 'cap = { parameter = "assistance_limit" }'
    assert cap in text
    limit = 'cap = "none"\nshared_limit = { account = "assistance", limit = { parameter = "assistance_limit" } }'
    file = tmp_path / "wenzhou.toml"
    file.write_text(text.replace(cap, limit), encoding="utf-8")
    rows = [stay(number, "80000", category="低保", insured_region=330302) for number in (1, 2, 3)]
    for source in (file, "wenzhou-2019"):
        policy = yibao.load_policy(source, {"catastrophic_deductible": "1000000"})
        assert paid(rows, "assistance", policy) == ["56000.00", "24000.00", "0.00"]
