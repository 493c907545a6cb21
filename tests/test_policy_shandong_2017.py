"""The Shandong rule of 2017, and the two policies as one book. Expected amounts are computed by hand, in yuan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import yibao

OLD, NEW = "shandong-2017", "weihai-2019"


def bill(number: int, eligible: str, category: str = "ordinary", **cells: Any) -> dict[str, Any]:
    """Return an inpatient bill of one resident of Weihai of June 2019; money in yuan."""
    row = {
        "settlement_id": number,
        "person_id": 1,
        "settled_at": datetime(2019, 6, 10, number % 24),
        "service_date": date(2019, 6, 10),
        "insured_region": 371002,
        "category": category,
        "care_type": "inpatient",
        "total_fee": eligible,
        "eligible_fee": eligible,
    }
    return row | cells


def settle(rows: Sequence[dict[str, Any]], *ids: str, as_known: Any = None, **parameters: Any) -> pa.Table:
    table = pa.table({name: [row.get(name) for row in rows] for name in rows[0]})
    book = [yibao.load_policy(name, parameters=parameters) for name in ids]
    return yibao.settle_ledger(table, book, as_known=as_known).table


def paid(*rows: dict[str, Any], layer: str = "catastrophic", **parameters: Any) -> list[Decimal]:
    """Return what the layer pays on each row under shandong-2017 alone."""
    settled = settle(rows, OLD, **parameters)
    assert set(settled["status"].to_pylist()) == {"SETTLED"}
    return settled[f"{layer}_paid"].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("11999.99", "0"),
        ("12000", "0"),
        ("12000.01", "0.01"),  # 0.005: half a fen goes up
        ("99999.99", "44000"),  # 87,999.99 × 50 % = 43,999.995: half a fen goes up
        ("100000", "44000"),
        ("100000.01", "44000.01"),  # + 0.006
        ("199999.99", "103999.99"),  # 44,000 + 99,999.99 × 60 % = 103,999.994
        ("200000", "104000"),
        ("200000.01", "104000.01"),  # + 0.007
        ("299999.99", "173999.99"),  # 104,000 + 99,999.99 × 70 % = 173,999.993
        ("300000", "174000"),
        ("300000.01", "174000.01"),  # + 0.0075
        ("601333.32", "399999.99"),  # 174,000 + 301,333.32 × 75 % = 399,999.99
        ("601333.33", "400000"),  # 399,999.9975
        ("601333.34", "400000"),  # 400,000.005: the cap
        ("2000000", "400000"),
    ],
)
def test_rule_of_2017_tiers_of_everyone(base: str, expected: str) -> None:
    """Before 2019-09: from 12,000 50 %, from 100,000 60 %, from 200,000 70 %, from 300,000 75 %, at most 400,000."""
    assert paid(bill(1, base)) == [Decimal(expected)]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("5999.99", "0"),
        ("6000", "0"),
        ("6000.01", "0.01"),  # 0.0055
        ("99999.99", "51699.99"),  # 93,999.99 × 55 % = 51,699.9945
        ("100000", "51700"),
        ("100000.01", "51700.01"),  # + 0.0065
        ("199999.99", "116699.99"),  # 51,700 + 99,999.99 × 65 % = 116,699.9935
        ("200000", "116700"),
        ("200000.01", "116700.01"),  # + 0.0075
        ("299999.99", "191699.99"),  # 116,700 + 99,999.99 × 75 % = 191,699.9925
        ("300000", "191700"),
        ("300000.01", "191700.01"),  # + 0.008
        ("685374.99", "499999.99"),  # 191,700 + 385,374.99 × 80 % = 499,999.992
        ("685375", "500000"),
        ("685375.01", "500000"),  # + 0.008: the cap
        ("2000000", "500000"),
    ],
)
def test_rule_of_2017_tiers_of_the_registered_poor(base: str, expected: str) -> None:
    """Before 2019-09: 建档立卡 from 6,000, 55 / 65 / 75 / 80 % at the same edges, at most 500,000."""
    assert paid(bill(1, base, "建档立卡")) == [Decimal(expected)]


@pytest.mark.parametrize(
    "category",
    [
        "destitute",
        "dibao",
        "severe_disability",
        "dibao_marginal",
        "illness_poverty",
        "low_income",
        "orphan",
        "普通居民",
    ],
)
def test_rule_of_2017_everyone_who_is_not_registered_poor_is_ordinary(category: str) -> None:
    """Before 2019-09: 低保, 特困 and disabled people who were not 建档立卡 were ordinary."""
    assert paid(bill(1, "30000", category)) == [9_000]  # 18,000 × 50 %
    assert paid(bill(1, "30000", f"{category},registered_poor")) == [13_200]  # 24,000 × 55 %


def test_rule_of_2017_order_of_favour_is_that_of_weihai() -> None:
    """Order of favour: Weihai and shandong-2017."""
    order = yibao.load_policy(OLD).favour
    assert order == yibao.load_policy(NEW).favour
    assert order[:5] == ("registered_poor", "destitute", "dibao", "severe_disability", "dibao_marginal")
    assert order[5:] == ("illness_poverty", "low_income", "orphan", "ordinary")


@pytest.mark.parametrize(
    ("amount", "category", "expected"),
    [
        ("20000", "ordinary", "0"),
        ("20000.01", "ordinary", "0"),  # 0.004
        ("20000.02", "ordinary", "0.01"),  # 0.008
        ("30000", "dibao", "4000"),
        ("519999.99", "ordinary", "200000"),  # 199,999.996
        ("519999.98", "ordinary", "199999.99"),  # 199,999.992
        ("520000.10", "ordinary", "200000"),
        ("0.01", "registered_poor", "0"),
        ("0.02", "registered_poor", "0.01"),
        ("30000", "registered_poor", "12000"),
        ("500000.10", "registered_poor", "200000"),
    ],
)
def test_rule_of_2017_special_drugs(amount: str, category: str, expected: str) -> None:
    """Before 2019-09: special drug deductible 20,000, 40 %, at most 200,000; no deductible for 建档立卡."""
    row = bill(1, amount, category, care_type="special_drug", special_drug_paid="1", catastrophic_paid="1")
    assert paid(row, layer="special_drug") == [Decimal(expected)]
    assert paid(row) == [0]  # a separate account: no catastrophic payment on the drug


def test_rule_of_2017_assistance_follows_its_parameters_else_the_record() -> None:
    """Assistance: not in the rule; the demo declares 0, 70 %, 10,000 for both policies."""
    row = bill(1, "20000", "dibao", assistance_paid="55.50")
    assert paid(row, layer="assistance") == [Decimal("55.50")]
    given = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
    assert paid(row, layer="assistance", **given) == [10_000]  # (20,000 − 4,000) × 70 % = 11,200, limited
    assert paid(row | {"basic_paid": "10000"}, layer="assistance", **given) == [7_000]


@pytest.mark.parametrize(
    ("base", "old", "new"),
    [
        ("12000", 0, 0),
        ("18000", 3_000, 0),  # 3,000 less
        ("30000", 9_000, 7_200),
        ("47999.98", Decimal("17999.99"), Decimal("17999.99")),  # 17,999.99 / 17,999.988
        ("48000", 18_000, 18_000),  # equal
        ("48000.10", Decimal("18000.05"), Decimal("18000.06")),
        ("60000", 24_000, 25_200),
        ("300000", 174_000, 184_200),
    ],
)
def test_orientation_table_of_an_ordinary_resident_under_both_policies(base: str, old: Any, new: Any) -> None:
    """Annual base → catastrophic payment: less between 12,000 and 48,000, equal at 48,000, 3,000 less at 18,000."""
    assert settle([bill(1, base)], OLD)["catastrophic_paid"].to_pylist() == [old]
    assert settle([bill(1, base)], NEW)["catastrophic_paid"].to_pylist() == [new]


def test_orientation_table_of_people_in_hardship() -> None:
    """Annual base 30,000: old 13,200 (建档立卡), new 16,250."""
    assert settle([bill(1, "30000", "registered_poor")], OLD)["catastrophic_paid"].to_pylist() == [13_200]
    assert settle([bill(1, "30000", "registered_poor")], NEW)["catastrophic_paid"].to_pylist() == [16_250]


def test_the_source_is_called_secondary() -> None:
    """Not among the five documents: the policy file says so."""
    policy = yibao.load_policy(OLD)
    assert "secondary source" in policy.note
    assert "not confirmed for Weihai 2018" in policy.note
    assert (policy.region, policy.in_force.start, policy.known_from) == ("37", date(2017, 1, 1), date(2017, 1, 1))


@pytest.mark.parametrize(
    ("as_known", "policy"),
    [
        (date(2016, 12, 31), None),
        (date(2017, 1, 1), OLD),
        (date(2019, 6, 30), OLD),
        (date(2019, 8, 12), OLD),  # issued, not yet in use
        (date(2019, 8, 31), OLD),
        (date(2019, 9, 1), NEW),
        (None, NEW),
    ],
)
def test_a_june_claim_finds_the_policy_that_was_known_on_the_day(as_known: date | None, policy: str | None) -> None:
    """Contract 4, two time axes: known from is the day on which settlement under a policy begins."""
    settled = settle([bill(1, "30000")], OLD, NEW, as_known=as_known)
    assert settled["policy_id"].to_pylist() == [policy]
    assert settled["status"].to_pylist() == ["SETTLED" if policy else "NO_POLICY"]
    assert settled["catastrophic_paid"].to_pylist() == [{OLD: 9_000, NEW: 7_200, None: None}[policy]]


@pytest.mark.parametrize(
    ("settled_at", "service", "policy"),
    [
        (datetime(2019, 8, 31, 23, 59, 59), date(2019, 6, 10), OLD),
        (datetime(2019, 9, 1), date(2019, 6, 10), NEW),
        (datetime(2019, 9, 1), date(2018, 12, 31), OLD),
        (datetime(2019, 9, 1), date(2019, 1, 1), NEW),
        (datetime(2016, 12, 31), date(2017, 1, 1), None),  # before any policy was known
        (datetime(2019, 9, 1), date(2016, 12, 31), None),  # before any policy was in force
    ],
)
def test_as_known_settled_at_prices_each_row_as_its_own_day_knew_it(
    settled_at: datetime, service: date, policy: str | None
) -> None:
    """Contract 4: how a history is made."""
    row = bill(1, "30000", settled_at=settled_at, service_date=service)
    settled = settle([row], OLD, NEW, as_known="settled_at")
    assert settled["policy_id"].to_pylist() == [policy]
    assert settled["status"].to_pylist() == ["SETTLED" if policy else "NO_POLICY"]


def test_a_row_settled_before_its_policy_was_known_needs_the_predecessor_in_the_book() -> None:
    """Contract 4: NO_POLICY unless the book holds the predecessor."""
    assert settle([bill(1, "30000")], NEW, "demo-city", as_known="settled_at")["status"].to_pylist() == ["NO_POLICY"]
    assert settle([bill(1, "30000")], NEW, OLD, as_known="settled_at")["policy_id"].to_pylist() == [OLD]


@pytest.mark.parametrize(
    ("region", "policy"),
    [(371002, NEW), (371083, NEW), (370602, OLD), (371102, OLD), (360102, None), (None, None), ("371002", NEW)],
)
def test_a_book_goes_by_insured_region_and_the_longest_prefix_wins(region: Any, policy: str | None) -> None:
    """Contract 4: 3710 before 37."""
    settled = settle([bill(1, "30000", insured_region=region)], OLD, NEW)
    assert settled["policy_id"].to_pylist() == [policy]


def test_one_policy_alone_is_applied_in_its_time_in_force_whatever_the_region() -> None:
    """Contract 4: region and known-from select only in a book; as_known with a single policy is an error."""
    rows = [
        bill(1, "30000", insured_region=110101),
        bill(2, "30000", person_id=2, service_date=date(2018, 12, 31)),
        bill(3, "30000", person_id=3, service_date=date(2030, 1, 1)),
    ]
    assert settle(rows, NEW)["status"].to_pylist() == ["SETTLED", "NO_POLICY", "SETTLED"]
    with pytest.raises(yibao.PolicyError, match="as_known"):
        settle(rows, NEW, as_known=date(2019, 6, 30))


def test_two_policies_inside_a_year_share_the_accounts_of_a_city() -> None:
    """Contract 2: the row's own policy picks the schedule for both terms; accounts carry over inside the city."""
    rows = [
        bill(1, "30000", settled_at=datetime(2019, 8, 1)),  # old: 9,000
        bill(2, "30000", settled_at=datetime(2019, 9, 2)),  # new, 30,000 → 60,000: 25,200 − 7,200 = 18,000
        # Another city starts from zero, under the province's rule: 9,000.
        bill(3, "30000", settled_at=datetime(2019, 9, 3), insured_region=370602),
    ]
    settled = settle(rows, OLD, NEW, as_known="settled_at")
    assert settled["catastrophic_paid"].to_pylist() == [9_000, 18_000, 9_000]


def test_the_benefit_year_follows_the_service_date() -> None:
    """Contract 4: benefit year and policy version follow the service (discharge) date."""
    rows = [
        bill(1, "30000", service_date=date(2018, 12, 31), settled_at=datetime(2019, 1, 5)),
        bill(2, "30000", service_date=date(2019, 1, 1), settled_at=datetime(2019, 1, 4)),
    ]
    assert settle(rows, OLD)["catastrophic_paid"].to_pylist() == [9_000, 9_000]


def test_a_year_may_follow_the_day_of_settlement(tmp_path: Path) -> None:
    """Contract 4: unless the policy says otherwise; a row without that day is rejected, not counted somewhere."""
    source = files("yibao_core") / "policies" / "shandong-2017.toml"
    text = source.read_text(encoding="utf-8")
    assert 'year_follows = "service_date"' in text
    file = tmp_path / "by-settlement.toml"
    file.write_text(text.replace('year_follows = "service_date"', 'year_follows = "settled_at"'), encoding="utf-8")
    rows = [
        bill(1, "30000", service_date=date(2018, 12, 31), settled_at=datetime(2019, 1, 5)),
        bill(2, "30000", service_date=date(2019, 1, 1), settled_at=datetime(2019, 1, 6)),
        bill(3, "30000", service_date=date(2019, 1, 1), settled_at=None),
    ]
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    settled = yibao.settle_ledger(table, yibao.load_policy(file)).table
    assert settled["catastrophic_paid"].to_pylist() == [9_000, 15_000, None]
    assert settled["status"].to_pylist() == ["SETTLED", "SETTLED", "MISSING_VALUE"]
