"""Several cities, years and policies in one book: who finds which rule, and what carries over. Yuan, by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import agreement
import ledgers
import oracle
import oracle_reaccount
import yibao

SEVEN = ("linyi-2020", "demo-city", "weihai-2019", "fuxin-2020", "linyi-2019", "shandong-2017", "wenzhou-2019")
PARAMETERS: dict[str, dict[str, Any]] = {
    "linyi-2019": {
        "area_deductible": "1000",
        "area_rate": "60 %",
        "area_limit": "8000",
        "catastrophic_deductible": "16000",
        "catastrophic_rate": "50 %",
        "catastrophic_limit": "300000",
    },
    "linyi-2020": {
        "area_deductible": "1000",
        "area_rate": "60 %",
        "area_limit": "8000",
        "disposable_income": "36000",
        "catastrophic_deductible": "16000",
        "catastrophic_rate": "60 %",
        "catastrophic_limit": "400000",
    },
    "wenzhou-2019": {"catastrophic_deductible": "20000"},
    "fuxin-2020": {"disposable_income": "30000"},
    "demo-city": {"orphan_deductible": "3000"},
}
WEIHAI, RUSHAN, YANTAI, LINYI = 371002, 371083, 370602, 371302
WENZHOU, FUXIN, DEMO, TIANJIN = 330302, 210902, 990101, 120101
OLD, NEW = "shandong-2017", "weihai-2019"
PLACES = (WEIHAI, LINYI, YANTAI, WENZHOU, FUXIN, DEMO, TIANJIN, None)
# What 30,000 bring an ordinary resident who had nothing before.
FIRST = {
    OLD: Decimal(9_000),  # 18,000 × 50 %
    NEW: Decimal(7_200),  # 12,000 × 60 %
    "linyi-2019": Decimal(7_000),  # 14,000 × 50 %
    "linyi-2020": Decimal(8_400),  # 14,000 × 60 %
    "wenzhou-2019": Decimal(6_000),  # 10,000 × 60 %
    "fuxin-2020": Decimal(9_000),  # 15,000 × 60 %
    "demo-city": Decimal("8999.69"),  # half of 30,001.01 is 15,000.505, so 15,000.51; 14,999.49 × 60 %
}


def bill(number: int, service: date, region: Any = WEIHAI, **cells: Any) -> dict[str, Any]:
    """Return 30,000 of an ordinary resident, settled at noon of the day of discharge."""
    row: dict[str, Any] = {
        "settlement_id": number,
        "reverses": None,
        "person_id": 1,
        "settled_at": datetime.combine(service, datetime.min.time()).replace(hour=12),
        "service_date": service,
        "insured_region": region,
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": 30_000_00,
        "eligible_fee": 30_000_00,
        "basic_paid": 0,
        "catastrophic_paid": 0,
        "has_social_card_account": True,
    }
    return row | cells


def books(ids: Sequence[str] = SEVEN) -> tuple[list[Any], list[Any]]:
    return agreement.books(ids, PARAMETERS)


def settle(
    rows: Sequence[dict[str, Any]], engine: Any, judge: list[oracle.OraclePolicy] | None = None, as_known: Any = None
) -> yibao.LedgerResult:
    """Settle rows, and again in another order; where a book of the oracle is given, it has to agree."""
    table = ledgers.to_arrow(rows)
    result = yibao.settle_ledger(table, engine, as_known=as_known)
    back = yibao.settle_ledger(table.take(pa.array(range(len(rows))[::-1])), engine, as_known=as_known)
    assert back.table.take(pa.array(range(len(rows))[::-1])).equals(result.table)
    if judge is not None:
        expected = oracle.settle_ledger(rows, set(rows[0]), judge, as_known=as_known)
        assert agreement.row_differences(result.table, expected.outcomes) == []
        assert agreement.closing_differences(result.closing, expected.closing, ledgers.PAID) == []
        assert result.table["policy_id"].to_pylist() == [outcome.policy for outcome in expected.outcomes]
    return result


def catastrophic(result: yibao.LedgerResult) -> list[Any]:
    return result.table["catastrophic_paid"].to_pylist()  # type: ignore[no-any-return]


def own_policy(tmp_path: Path, source: str, *changes: tuple[str, str]) -> yibao.Policy:
    """Return a policy from a file of one's own: a built-in one in which some lines say something else."""
    text = (files("yibao_core") / "policies" / f"{source}.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.toml"
    file.write_text(text, encoding="utf-8")
    return yibao.load_policy(file)


# --- Seven policies, eight places, three years -------------------------------------------------------

# By place, for 20 June of 2018, 2019 and 2020: the policy, or why there is none.
NOT_THERE, NOT_IN_FORCE, NOT_KNOWN, NO_REGION = "no_policy_of_region", "not_in_force", "not_yet_known", "no_region"
EVER = {
    YANTAI: (OLD, OLD, OLD),
    DEMO: ("demo-city",) * 3,
    TIANJIN: (NOT_THERE,) * 3,
    None: (NO_REGION,) * 3,
}
FOUND: dict[Any, dict[Any, tuple[str, str, str]]] = {
    None: EVER
    | {
        WEIHAI: (OLD, NEW, NEW),
        LINYI: (OLD, "linyi-2019", "linyi-2020"),
        WENZHOU: (NOT_IN_FORCE, "wenzhou-2019", "wenzhou-2019"),
        FUXIN: (NOT_IN_FORCE, NOT_IN_FORCE, "fuxin-2020"),
    },
    # Known by then: Shandong's, Wenzhou's (17 April) and the demo's; Weihai's and Linyi's only from August on.
    date(2019, 6, 30): EVER
    | {
        WEIHAI: (OLD, OLD, OLD),
        LINYI: (OLD, OLD, OLD),
        WENZHOU: (NOT_IN_FORCE, "wenzhou-2019", "wenzhou-2019"),
        FUXIN: (NOT_IN_FORCE, NOT_IN_FORCE, NOT_KNOWN),
    },
    # Linyi's rule for 2020 was known in October: in June the province's stood there again.
    "settled_at": EVER
    | {
        WEIHAI: (OLD, OLD, NEW),
        LINYI: (OLD, OLD, OLD),
        WENZHOU: (NOT_IN_FORCE, "wenzhou-2019", "wenzhou-2019"),
        FUXIN: (NOT_IN_FORCE, NOT_IN_FORCE, "fuxin-2020"),
    },
    date(2016, 12, 31): EVER
    | {
        YANTAI: (NOT_KNOWN,) * 3,
        DEMO: (NOT_KNOWN,) * 3,
        WEIHAI: (NOT_KNOWN,) * 3,
        LINYI: (NOT_KNOWN,) * 3,
        WENZHOU: (NOT_IN_FORCE, NOT_KNOWN, NOT_KNOWN),
        FUXIN: (NOT_IN_FORCE, NOT_IN_FORCE, NOT_KNOWN),
    },
}


@pytest.mark.parametrize("as_known", FOUND)
def test_each_row_of_seven_policies_finds_its_own_and_the_summary_counts_them(as_known: Any) -> None:
    """Section 4: region, service date and what was known; the longest prefix wins (37 under 3710 and 3713)."""
    rows: list[dict[str, Any]] = []
    expected: list[tuple[Any, int, str]] = []
    for number, place in enumerate(PLACES):
        for year, found in zip((2018, 2019, 2020), FOUND[as_known][place], strict=True):
            rows.append(bill(10 * number + year, date(year, 6, 20), place, person_id=number))
            expected.append((place, year, found))
    result = settle(rows, *books(), as_known=as_known)
    assert catastrophic(result) == [FIRST.get(found) for _, _, found in expected]
    reasons = dict.fromkeys((NO_REGION, NOT_THERE, NOT_IN_FORCE, NOT_KNOWN), 0)
    policies: dict[str, dict[str, Any]] = {}
    digests = {policy.id: policy.digest for policy in books()[0]}
    for place, year, found in expected:
        if found in reasons:
            reasons[found] += 1
            continue
        counts = policies.setdefault(found, {"rows": 0, "digest": digests[found], "by_year": {}, "by_city": {}})
        counts["rows"] += 1
        for name, value in (("by_year", year), ("by_city", place // 100)):
            counts[name][str(value)] = counts[name].get(str(value), 0) + 1
    assert result.summary["policies"] == policies
    assert result.summary["no_policy"] == reasons | {"original_of_another_book": 0}
    assert result.summary["rejects"].get("NO_POLICY", 0) == sum(reasons.values())


def test_one_policy_alone_is_only_ever_not_in_force() -> None:
    """Section 4: it is applied to every row in its time in force, whatever the region; city 0: no readable region."""
    rows = [
        bill(1, date(2018, 12, 31)),
        bill(2, date(2019, 1, 1), None),
        bill(3, date(2019, 1, 1), TIANJIN),
        bill(4, date(2019, 1, 1), service_date=None),  # not readable: another code
    ]
    engine, judge = books([NEW])
    result = settle(rows, engine, judge)
    assert result.summary["no_policy"] == {
        NO_REGION: 0, NOT_THERE: 0, NOT_IN_FORCE: 1, NOT_KNOWN: 0, "original_of_another_book": 0,
    }  # fmt: skip
    assert result.summary["policies"][NEW]["by_city"] == {"0": 1, "1201": 1}
    assert result.summary["policies"][NEW]["by_year"] == {"2019": 2}


# --- A person who moves, a rule that changes ---------------------------------------------------------


def test_another_city_starts_from_zero_and_back_again_goes_on() -> None:
    """Section 2: accumulators belong to (person, year, insured city)."""
    rows = [
        bill(1, date(2019, 2, 1)),  # Weihai: 7,200
        bill(2, date(2019, 3, 1), YANTAI),  # 9,000
        bill(3, date(2019, 4, 1), RUSHAN),  # a district of Weihai: 25,200 − 7,200
        bill(4, date(2019, 5, 1), WENZHOU),  # 6,000
        bill(5, date(2019, 6, 1), YANTAI),  # 24,000 − 9,000
        bill(6, date(2019, 7, 1)),  # 43,200 − 25,200
        bill(7, date(2019, 8, 1), WENZHOU),  # 24,000 − 6,000
        bill(8, date(2019, 9, 1), None),
    ]
    result = settle(rows, *books())
    assert catastrophic(result) == [7_200, 9_000, 18_000, 6_000, 15_000, 18_000, 18_000, None]
    balances = {
        row["insured_city"]: (row["base"], row["paid"])
        for row in result.closing.to_pylist()
        if row["account"] == "catastrophic"
    }
    assert balances == {3710: (90_000, 43_200), 3706: (60_000, 24_000), 3303: (60_000, 24_000)}


def test_the_rule_of_a_city_changes_inside_the_year_and_the_accounts_carry_over() -> None:
    """Section 2: the row's own policy picks F for both terms; settled from 1 September 2019 on under the new rule."""
    rows = [
        bill(1, date(2019, 3, 1)),  # old: 9,000
        bill(2, date(2019, 8, 1), settled_at=datetime(2019, 8, 31, 23, 59, 59)),  # old: 24,000 − 9,000
        bill(3, date(2019, 8, 2), settled_at=datetime(2019, 9, 1)),  # new, 60,000 → 90,000: 43,200 − 25,200
        bill(4, date(2018, 12, 31), settled_at=datetime(2019, 9, 2)),  # another year, the old rule: 9,000
    ]
    result = settle(rows, *books(), as_known="settled_at")
    assert catastrophic(result) == [9_000, 15_000, 18_000, 9_000]
    assert result.summary["policies"][OLD]["by_year"] == {"2018": 1, "2019": 2}
    assert result.summary["policies"][NEW]["by_year"] == {"2019": 1}


def test_what_the_old_rule_paid_counts_against_the_cap_of_the_new_one() -> None:
    """Section 2: then at most max(0, new cap − paid this year in this layer)."""
    million = {"total_fee": 1_000_000_00, "eligible_fee": 1_000_000_00}
    rows = [
        bill(1, date(2019, 3, 1)),  # old: 9,000
        bill(2, date(2019, 9, 2), **million),  # new: 400,000 − 7,200 = 392,800, but 9,000 of 400,000 are gone
        bill(3, date(2019, 9, 3)),
    ]
    assert catastrophic(settle(rows, *books(), as_known="settled_at")) == [9_000, 391_000, 0]


def test_a_year_ends_with_its_last_day_of_service_whenever_it_is_settled() -> None:
    """Section 4: benefit year and policy follow the service date; Linyi's rule of 2019 ends with the year."""
    rows = [
        bill(1, date(2018, 12, 31), LINYI, settled_at=datetime(2020, 1, 3)),  # the province's: 9,000
        bill(2, date(2019, 1, 1), LINYI, settled_at=datetime(2020, 1, 4)),  # 7,000
        bill(3, date(2019, 12, 31), LINYI, settled_at=datetime(2020, 1, 5)),  # 22,000 − 7,000
        bill(4, date(2020, 1, 1), LINYI, settled_at=datetime(2020, 1, 2)),  # 8,400
        bill(5, date(2020, 12, 31), LINYI, settled_at=datetime(2021, 1, 1)),  # 26,400 − 8,400
        bill(6, date(2019, 12, 31), FUXIN, settled_at=datetime(2020, 1, 6)),
        bill(7, date(2020, 1, 1), FUXIN, settled_at=datetime(2020, 1, 6)),  # 9,000
    ]
    result = settle(rows, *books())
    assert catastrophic(result) == [9_000, 7_000, 15_000, 8_400, 18_000, None, 9_000]
    assert result.summary["no_policy"][NOT_IN_FORCE] == 1


# --- Files of one's own beside the built-in ones -----------------------------------------------------


def weihai_2020(tmp_path: Path) -> yibao.Policy:
    """Return a rule that takes the place of weihai-2019: from 2020 on, known from 1 March 2020, deductible 20,000."""
    return own_policy(
        tmp_path,
        NEW,
        ('id = "weihai-2019"', 'id = "weihai-2020"'),
        ('supersedes = ["shandong-2017"]', 'supersedes = ["weihai-2019"]'),
        ("[in_force]\nfrom = 2019-01-01", "[in_force]\nfrom = 2020-01-01"),
        ("[known]\nfrom = 2019-09-01\nissued = 2019-08-12", "[known]\nfrom = 2020-03-01\nissued = 2020-02-20"),
        ("[window]\nfrom = 2019-01-01\nto = 2019-08-31", "[window]\nfrom = 2020-01-01\nto = 2020-02-29"),
        ('deductible = "18000"', 'deductible = "20000"'),
        ('{ from = "18000", rate = "60 %" }', '{ from = "20000", rate = "60 %" }'),
    )


def rushan(tmp_path: Path) -> yibao.Policy:
    """Return a rule of one district of Weihai, in force and known from July 2019 on: from 20,000 on 70 %."""
    return own_policy(
        tmp_path,
        NEW,
        ('id = "weihai-2019"', 'id = "rushan-2019"'),
        ('region = "3710"', 'region = "371083"'),
        ('supersedes = ["shandong-2017"]\n', ""),
        ("[in_force]\nfrom = 2019-01-01", "[in_force]\nfrom = 2019-07-01"),
        ("[known]\nfrom = 2019-09-01\nissued = 2019-08-12", "[known]\nfrom = 2019-07-01"),
        ("[window]\nfrom = 2019-01-01", "[window]\nfrom = 2019-07-01"),
        ('deductible = "18000"', 'deductible = "20000"'),
        ('{ from = "18000", rate = "60 %" }', '{ from = "20000", rate = "70 %" }'),
        ('{ from = "100000", rate = "65 %" },\n    { from = "200000", rate = "70 %" }', '{ from = "200000", rate = "75 %" }'),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("as_known", "expected"),
    [
        (None, [7_200, 6_000, 18_000]),
        (date(2020, 2, 29), [7_200, 7_200, 18_000]),  # 25,200 − 7,200
        (date(2020, 3, 1), [7_200, 6_000, 18_000]),  # 24,000 − 6,000
        ("settled_at", [7_200, 7_200, 18_000]),  # from 1 March on the new schedule for both terms: 24,000 − 6,000
        (date(2019, 8, 31), [9_000, 9_000, 15_000]),
    ],
)
def test_a_superseding_policy_of_ones_own(tmp_path: Path, as_known: Any, expected: list[int]) -> None:
    """Section 4: of two that hold and are known, the one that supersedes the other."""
    rows = [
        bill(1, date(2019, 12, 31), settled_at=datetime(2019, 12, 31)),
        bill(2, date(2020, 1, 1), settled_at=datetime(2020, 1, 2)),
        bill(3, date(2020, 1, 3), settled_at=datetime(2020, 3, 1)),
    ]
    engine = [*books()[0], weihai_2020(tmp_path)]
    for order in (engine, engine[::-1]):
        assert catastrophic(settle(rows, order, as_known=as_known)) == expected


def test_a_district_of_ones_own_wins_over_its_city_and_shares_its_accounts(tmp_path: Path) -> None:
    """Section 4: the longest prefix; section 2: accounts are the city's."""
    rows = [
        bill(1, date(2019, 6, 30), RUSHAN),  # the city's rule: 7,200
        bill(2, date(2019, 7, 1), RUSHAN),  # the district's, 30,000 → 60,000: 28,000 − 7,000
        bill(3, date(2019, 7, 2)),  # the city's, 60,000 → 90,000: 43,200 − 25,200
        bill(4, date(2019, 7, 3), RUSHAN),  # 90,000 → 120,000: 70,000 − 49,000
    ]
    result = settle(rows, [*books()[0], rushan(tmp_path), weihai_2020(tmp_path)])
    assert catastrophic(result) == [7_200, 21_000, 18_000, 21_000]
    assert result.table["policy_id"].to_pylist() == [NEW, "rushan-2019", NEW, "rushan-2019"]
    assert result.summary["policies"]["rushan-2019"]["by_city"] == {"3710": 2}


def test_two_rules_for_one_place_and_time_are_a_fault_of_the_book(tmp_path: Path) -> None:
    """Section 4: two policies of one region that overlap on both axes without one superseding the other."""
    twin = own_policy(tmp_path, NEW, ('id = "weihai-2019"', 'id = "twin"'))
    with pytest.raises(yibao.PolicyError, match="3710"):
        yibao.settle_ledger(ledgers.to_arrow([bill(1, date(2019, 6, 1))]), [*books()[0], twin])


# --- Against the oracle ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_random_ledgers_of_eight_places_agree_with_the_oracle(seed: int, tmp_path: Path) -> None:
    """Settled and re-accounted, with a policy of one's own; what the summary counts is what the rows say."""
    rng = random.Random(seed)
    rows = ledgers.random_rows(
        rng, 600, 60, regions=[r for r in PLACES if r], years=(2018, 2019, 2020), bad=0.05, region_of_person=seed % 2 == 0
    )  # fmt: skip
    engine, judge = agreement.books(SEVEN, agreement.LEAST)
    engine.append(weihai_2020(tmp_path))
    judge.append(
        replace(
            oracle.WEIHAI_2019,
            id="weihai-2020",
            in_force_from=date(2020, 1, 1),
            known_from=date(2020, 3, 1),
            window=(date(2020, 1, 1), date(2020, 2, 29)),
            supersedes="weihai-2019",
            write_layers=_layers_of_2020,
        )
    )
    as_known = (None, "settled_at", date(2019, 12, 31))[seed % 3]
    expected = oracle.settle_ledger(rows, set(rows[0]), judge, as_known=as_known)
    result = yibao.settle_ledger(ledgers.to_arrow(rows), engine, as_known=as_known)
    assert agreement.row_differences(result.table, expected.outcomes) == []
    assert agreement.closing_differences(result.closing, expected.closing, []) == []
    policies = result.summary["policies"]
    for policy in engine:
        own = [row for row, o in zip(rows, expected.outcomes, strict=True) if o.policy == policy.id]
        counts = policies.get(policy.id, {"rows": 0, "by_year": {}, "by_city": {}})
        assert counts["rows"] == sum(counts["by_year"].values()) == sum(counts["by_city"].values()) == len(own)
    assert sum(result.summary["no_policy"].values()) == result.summary["rejects"].get("NO_POLICY", 0)
    options: dict[str, Any] = {"recorded_after_change": "keep"}
    again = yibao.reaccount(ledgers.to_arrow(rows), engine, **options)
    judged = oracle_reaccount.reaccount(rows, set(rows[0]), judge, **options)
    assert agreement.reaccount_differences(again, judged, rows) == []
    assert again.summary["no_policy"][NOT_KNOWN] == 0


def _layers_of_2020(parameters: Any) -> tuple[oracle.Layer, ...]:
    """Weihai's layers with a deductible of 20,000 for everyone who is not in hardship."""
    layers = oracle.WEIHAI_2019.write_layers(parameters)
    steps = oracle.schedule(("20000", "60 %"), ("100000", "65 %"), ("200000", "70 %"), ("300000", "75 %"), cap="400000")
    at = oracle.LAYERS.index("catastrophic")
    rules = tuple(r if "dibao" in r.categories else replace(r, schedule=steps) for r in layers[at].rules)
    return (*layers[:at], replace(layers[at], rules=rules), *layers[at + 1 :])
