"""Profiles of another kind than the built-in one: what is legal makes a ledger, what is not is refused by name."""

import os
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import yibao_datagen
from yibao_datagen.check import check_lines, measure
from yibao_datagen.columns import fen_of
from yibao_datagen.files import write_csv, write_parquet
from yibao_datagen.profile import BUILT_IN, Profile

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
PEOPLE = 5_000 if COMPILED else 300
TEXT = (BUILT_IN / "weihai-2019.toml").read_text(encoding="utf-8")


def profile(figures: Mapping[str, Any] | None = None, without: str = "") -> Profile:
    """Return the built-in profile with other figures, by their dotted names, or without the figures of a table."""
    content = tomllib.loads(TEXT)
    for name, value in (figures or {}).items():
        *tables, last = name.split(".")
        table = content
        for each in tables:
            table = table[each]
        table[last] = {"value": value, "source": "a test's value"}
    if without:
        *tables, last = without.split(".")
        table = content
        for each in tables:
            table = table[each]
        table[last] = {}
    return Profile("other", content)


def sound(ledger: pa.Table) -> None:
    """Ids are unique, amounts add up and lie within their bill."""
    assert pc.count_distinct(ledger["settlement_id"]).as_py() == len(ledger)
    total, eligible, basic = (np.abs(fen_of(ledger[name])) for name in ("total_fee", "eligible_fee", "basic_paid"))
    signs = [np.sign(fen_of(ledger[name])) for name in ("total_fee", "eligible_fee", "basic_paid")]
    assert (basic <= eligible).all()
    assert (eligible <= total).all()
    assert all(((sign == signs[0]) | (sign == 0)).all() for sign in signs)
    parts = sum(fen_of(ledger[f"{name}_fee"]) for name in ("self_funded", "over_limit", "first_pay", "eligible"))
    assert np.array_equal(parts, fen_of(ledger["total_fee"]))


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"settling.reversed": 0.4, "settling.two_slips": 1.0, "settling.billed_again": 1.0},
        {"settling.referred": 1.0, "visits.inpatient.rate": 3.0, "settling.drug_in_stay": 1.0},
        {"settling.late": 1.0, "settling.collected": 0.0},
        {"visits.outpatient.rate": 60.0},
        {"people.age_bands": [0, 30, 50], "people.age_shares": [0.5, 0.5], "people.female_shares": [0.5, 0.5]},
        {"people.age_bands": [0, 110], "people.age_shares": [1.0], "people.female_shares": [1.0]},
        {"costs.over_limit": 0.02, "costs.self_funded": 0.2, "costs.first_pay": 0.2},
        {"costs.largest": 1_000, "settling.reversed": 0.4},
        {"people.birth_rate": 1.0},
        {"people.death_rate": 0.3, "people.married_share": 0.0},
        {"districts": {"371002": 1.0, "371003": 0.0, "371082": 0.0, "371083": 0.0}},
    ],
    ids=range(12),
)
def test_extreme_figures_make_a_sound_ledger(figures: dict[str, Any]) -> None:
    other = profile(figures)
    ledger = yibao_datagen.city(PEOPLE, profile=other)
    sound(ledger)
    assert pc.max(ledger["total_fee"]).as_py() <= other["costs.largest"]
    assert (ledger["settled_at"].to_numpy().astype("M8[D]") >= ledger["service_date"].to_numpy()).all()
    if other["settling.referred"] == 1.0:
        stays = ledger.filter(pc.and_(pc.is_valid(ledger["episode_id"]), pc.is_null(ledger["reverses"])))
        counts = (
            stays.filter(pc.equal(stays["care_type"].cast(pa.string()), "inpatient"))
            .group_by("episode_id")
            .aggregate([([], "count_all")])
        )
        assert pc.min(counts["count_all"]).as_py() >= 2


@pytest.mark.parametrize("without", ["people.categories", "people.categories.destitute"])
def test_a_city_may_have_no_poor(without: str) -> None:
    content = tomllib.loads(TEXT)
    if without == "people.categories":
        content["people"]["categories"] = {}
    else:
        for name in ("destitute", "severe_disability", "orphan", "registered_poor,severe_disability", "低保,特困"):
            del content["people"]["categories"][name]
    city = yibao_datagen.City(PEOPLE, profile=Profile("other", content))
    sound(city.ledger())
    assert len(city.roster()) == 0 or without != "people.categories"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"costs.over_limit": 0.1}, "costs: expected 2 x self_funded"),
        ({"visits.inpatient.frailty": float("inf")}, "visits.inpatient.frailty: expected a number from"),
        ({"visits.outpatient.rate": 1e7}, "visits.outpatient.rate: expected a number from"),
        ({"calendar.months": [0] * 12}, "calendar.months: expected 12 numbers"),
        ({"costs.inpatient.heavy_exponent": 1.0}, "costs.inpatient.heavy_exponent: expected a number from"),
        ({"people.death_rate": "few"}, "people.death_rate: expected a number"),
        (
            {"people.categories.dibaooo": 0.01},
            "people.categories.dibaooo: expected categories of a ledger but ordinary",
        ),
        ({"people.categories.ordinary": 0.5}, "people.categories.ordinary: expected categories"),
        ({"costs.inpatient.hevy": 0.1}, "costs.inpatient.hevy: no such figure; perhaps costs.inpatient.heavy"),
        ({"costs.inpatient.levels": [0, 0, 0, 0]}, "costs.inpatient.levels: expected 4 shares that add up to 1"),
        ({"conditions.cancer.prevalence": [0.1]}, "conditions.cancer.prevalence: expected 7 numbers"),
        ({"conditions.cancer.ages": [0, 50, 40]}, "conditions.cancer.ages: expected ascending whole ages"),
        ({"calendar.epidemic": {"peak": "2019-01-14"}}, "calendar.epidemic: expected peak"),
        ({"calendar.holidays": ["1 May"]}, "calendar.holidays: expected days"),
        ({"districts": {"371002": 1.0}}, "districts: expected 371002, 371003"),
        ({"districts": [0.5, 0.5]}, "districts: expected shares by codes"),
        ({"targets.stay_mean": [2, 1]}, "targets.stay_mean: expected two numbers, the lower one first"),
        ({"people.age_shares": [0.5, 0.5]}, "people.age_shares: expected 20 numbers"),
        ({"visits.pku.conditions": {"gout": 1.0}}, "visits.pku.conditions: expected numbers"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_by_name(figures: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        yibao_datagen.city(10, profile=profile(figures))


@pytest.mark.skipif(not COMPILED, reason="the check settles what it makes")
@pytest.mark.parametrize("seed", [5, 11])
def test_a_village_without_a_bill_can_be_checked(seed: int) -> None:
    assert list(check_lines(measure(yibao_datagen.City(1, seed)).targets))[-1].endswith(" missed")


@pytest.mark.skipif(not COMPILED, reason="the check settles what it makes")
def test_a_profile_without_targets_is_compared_with_its_other_figures() -> None:
    content = tomllib.loads(TEXT)
    del content["targets"], content["financing"]
    names = {target.name for target in measure(yibao_datagen.City(2_000, profile=Profile("other", content))).targets}
    assert "inpatient bills a head" in names
    assert "stay mean" not in names


def test_the_year_of_death_has_more_stays_and_no_other_year() -> None:
    """And who is born in the base year has no claim before it."""
    people, inpatient = yibao_datagen.City(PEOPLE, profile="weihai-2019").people(), 0
    dying = people.filter(pc.is_valid(people["death_date"]))["person_id"]
    counts = {}
    for year in (2018, 2019, 2020):
        city = yibao_datagen.City(PEOPLE, year=year)
        counts[year] = city.residents(1, PEOPLE).rates[inpatient][dying.to_numpy() - 1].sum()
        ledger = city.ledger()
        assert pc.all(pc.less_equal(ledger["birth_date"], ledger["service_date"])).as_py()
    assert counts[2019] == pytest.approx(4 * counts[2018], rel=1e-9)
    assert counts[2020] == counts[2018]


def test_files_have_one_header_and_nothing_is_no_file(tmp_path: Any) -> None:
    table = yibao_datagen.city(20)
    assert write_csv([table.slice(0, 0), table.slice(0, 3), table.slice(3)], tmp_path / "city.csv") == len(table)
    lines = (tmp_path / "city.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(table) + 1
    assert sum(line.startswith('"settlement_id"') for line in lines) == 1
    for write in (write_csv, write_parquet):
        with pytest.raises(ValueError, match="expected at least one table"):
            write([], tmp_path / "nothing.file")
    assert [path.name for path in tmp_path.iterdir()] == ["city.csv"]
