"""An office's own worked examples: found beside its policy, checked as a whole, compared to the fen."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import yibao
from yibao.policy_cases import case_files, read_cases, run_case
from yibao_core.policy_file import builtin_text, read_policy

CASES = """
policy = "my-city"

[assumed]
person_id = "P1"
insured_region = "371002"
category = "ordinary"
care_type = "inpatient"
service_date = "2019-03-01"

[[cases]]
title = "A year"
source = "二(二)"
given = [
    { settlement_id = "A", total_fee = "30000", eligible_fee = "30000" },
    { settlement_id = "B", reverses = "A", total_fee = -30000, eligible_fee = "-30000" },
    { category = "nobody", total_fee = "1", eligible_fee = "1" },
]
expected = [
    { catastrophic = "7200", personal = "22800", flags = ["NO_RULE"] },
    { catastrophic = "-7200", personal = "-22800" },
    { status = "UNKNOWN_CATEGORY" },
]
"""


@pytest.fixture
def city(tmp_path: Path) -> Path:
    file = tmp_path / "city.toml"
    file.write_text(builtin_text("weihai-2019").replace('id = "weihai-2019"', 'id = "my-city"'), encoding="utf-8")
    return file


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_cases_are_found_beside_the_policy_and_in_a_folder(city: Path, tmp_path: Path) -> None:
    beside = written(tmp_path / "city.cases.toml", CASES)
    inside = written(tmp_path / "cases" / "a.toml", CASES)
    written(tmp_path / "cases" / "b.toml", CASES.replace("my-city", "another-city"))
    written(tmp_path / "another.toml", city.read_text(encoding="utf-8").replace("my-city", "another-city"))
    assert case_files(str(city)) == [beside, inside]


def test_a_case_file_that_nobody_would_run_is_told(city: Path, tmp_path: Path) -> None:
    broken = written(tmp_path / "cases" / "c.toml", "not = [toml")
    assert case_files(str(city)) == [broken]
    with pytest.raises(yibao.PolicyError, match=r"c\.toml: expected a TOML file in UTF-8"):
        read_cases(broken)
    written(tmp_path / "cases" / "d.toml", CASES.replace("my-city", "my_city"))
    with pytest.raises(yibao.PolicyError, match=r'd.toml: policy: .*got "my_city"; did you mean my-city'):
        case_files(str(city))
    (tmp_path / "cases" / "d.toml").unlink()
    written(tmp_path / "city.cases.toml", CASES.replace("my-city", "weihai-2019"))
    with pytest.raises(yibao.PolicyError, match=r'city.cases.toml: policy: .*got "weihai-2019"'):
        case_files(str(city))


def test_a_case_is_settled_as_the_ledger_that_it_is(city: Path, tmp_path: Path) -> None:
    """A second reversal, rows priced on a total that no longer stands, an id that stands twice."""
    given = """given = [
    { settlement_id = "A", total_fee = "30000", eligible_fee = "30000" },
    { settlement_id = "B", total_fee = "20000", eligible_fee = "20000" },
    { settlement_id = "C", reverses = "A", total_fee = "-30000", eligible_fee = "-30000" },
    { settlement_id = "D", reverses = "A", total_fee = "-30000", eligible_fee = "-30000" },
    { settlement_id = "E", total_fee = "1", eligible_fee = "1" },
    { settlement_id = "E", total_fee = "1", eligible_fee = "1" },
]
expected = [
    { catastrophic = "7200", personal = "22800" },
    { catastrophic = "12000", personal = "8000" },
    { catastrophic = "-7200", personal = "-22800", flags = ["STALE_AFTER_REVERSAL"] },
    { status = "REVERSAL_NOT_WHOLE" },
    { status = "DUPLICATE_SETTLEMENT" },
    { status = "DUPLICATE_SETTLEMENT" },
]
"""
    (case,) = read_cases(written(tmp_path / "x.toml", CASES.partition("given")[0] + given))
    assert run_case(case, read_policy(city)) == []


@pytest.mark.parametrize(
    "text", ["cases = 5", "cases = {}", CASES.partition("given")[0] + "given = 5\nexpected = 2020-01-01"]
)
def test_lists_that_are_none_are_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(yibao.PolicyError, match="expected a list of tables"):
        read_cases(written(tmp_path / "x.toml", 'policy = "my-city"\n' + text.replace('policy = "my-city"', "")))


def test_an_id_of_twenty_digits_is_text(city: Path, tmp_path: Path) -> None:
    text = CASES.replace('person_id = "P1"', "person_id = 99999999999999999999").replace(', flags = ["NO_RULE"]', "")
    (case,) = read_cases(written(tmp_path / "x.toml", text))
    assert run_case(case, read_policy(city)) == []


def test_a_case_passes_with_reversals_rejects_and_flags(city: Path, tmp_path: Path) -> None:
    (case,) = read_cases(written(tmp_path / "city.cases.toml", CASES.replace(', flags = ["NO_RULE"]', "")))
    assert run_case(case, read_policy(city)) == []


def test_a_case_that_differs_is_told_row_by_row_with_the_explanation(city: Path, tmp_path: Path) -> None:
    text = CASES.replace('catastrophic = "7200", personal = "22800"', 'catastrophic = "7199.99", personal = "22800.01"')
    (case,) = read_cases(written(tmp_path / "x.toml", text.replace("UNKNOWN_CATEGORY", "NO_POLICY")))
    first, third = run_case(case, read_policy(city))
    assert (first.row, third.row) == (1, 3)
    assert ("catastrophic", "7,199.99", "7,200.00") in first.lines
    assert ("personal", "22,800.01", "22,800.00") in first.lines
    assert ("flags", "NO_RULE", "none") in first.lines
    assert "二(二)" in first.explanation
    assert third.lines == (("status", "NO_POLICY", "UNKNOWN_CATEGORY"),)


def test_each_person_of_a_case_has_his_own_balances(city: Path, tmp_path: Path) -> None:
    text = (
        CASES.partition("given")[0]
        + """given = [
    { total_fee = "18000", eligible_fee = "18000" },
    { person_id = "P2", total_fee = "10000", eligible_fee = "10000" },
    { total_fee = "10000", eligible_fee = "10000" },
]
expected = [{ personal = "18000" }, { personal = "10000" }, { catastrophic = "6000", personal = "4000" }]
"""
    )
    (case,) = read_cases(written(tmp_path / "x.toml", text))
    assert case.expected[2]["catastrophic"] == Decimal("6000.00")
    assert run_case(case, read_policy(city)) == []


def test_a_cell_that_a_case_leaves_out_is_empty_not_a_column_that_the_ledger_lacks(tmp_path: Path) -> None:
    text = (
        CASES.partition("given")[0].replace("371002", "371302").replace('care_type = "inpatient"', 'care_type = "pku"')
    )
    given = 'given = [{ total_fee = "1000", eligible_fee = "0" }]\nexpected = [{ status = "BIRTH_DATE_MISSING" }]'
    (case,) = read_cases(written(tmp_path / "x.toml", text + given))
    assert run_case(case, read_policy("linyi-2019")) == []


def test_a_case_that_cannot_be_settled_at_all_is_named(tmp_path: Path) -> None:
    text = CASES.partition("given")[0].replace("371002", "330302")
    given = 'given = [{ total_fee = "1000", eligible_fee = "1000" }]\nexpected = [{ personal = "1000" }]'
    (case,) = read_cases(written(tmp_path / "x.toml", text + given))
    with pytest.raises(yibao.PolicyError, match=r"x\.toml: A year: wenzhou-2019: parameters.catastrophic_deductible"):
        run_case(case, read_policy("wenzhou-2019"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "二(二)"', 'sorce = "x"', r"cases\[0\].sorce: expected one of .*; did you mean source"),
        ('source = "二(二)"', "", r"cases\[0\].source: expected text, got nothing"),
        ('total_fee = "30000"', "total_fee = 30000.5", r"given\[0\].total_fee: .*a float is not exact"),
        ('total_fee = "30000"', 'totl_fee = "30000"', r"given\[0\].totl_fee: .*did you mean total_fee"),
        ('personal = "22800"', 'personal = "22801"', r"expected\[0\]: expected amounts that add up to the total fee of 30000.00, got 30001"),
        ('catastrophic = "7200"', 'catastropic = "7200"', r"expected\[0\].catastropic: .*did you mean catastrophic"),
        (', personal = "22800"', "", r"expected\[0\].personal: expected what is left to the person"),
        ('    { status = "UNKNOWN_CATEGORY" },\n', "", r"expected: expected one row for each of the 3 given, got 2 rows"),
        ('"UNKNOWN_CATEGORY"', '"UNKNOWN"', r"expected\[2\].status: expected one of"),
        ('status = "UNKNOWN_CATEGORY"', 'status = "NO_POLICY", personal = "1"', r"expected\[2\].personal: expected nothing beside a reject code"),
        ('service_date = "2019-03-01"', 'service_date = "1 March"', r"assumed.service_date: expected a date"),
        ('policy = "my-city"', "", r"policy: expected text"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_case_file_is_told_at_once(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in CASES
    with pytest.raises(yibao.PolicyError, match=message):
        read_cases(written(tmp_path / "x.toml", CASES.replace(old, new, 1)))
