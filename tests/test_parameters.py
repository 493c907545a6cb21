"""Parameters: what is accepted, what is filled in, and every fault at once."""

from decimal import Decimal
from pathlib import Path

import pytest

import yibao_core
from yibao_core.errors import ParameterError, PolicyError
from yibao_core.money import YEAR_MAX_FEN
from yibao_core.parameters import resolve
from yibao_core.policy import Derived
from yibao_core.policy_file import read_policy
from yibao_core.toml_values import MONEY_MAX_FEN

HARDSHIP = ("registered_poor", "destitute", "dibao", "severe_disability")
ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
DEMO = Path(yibao_core.__file__).parent / "policies" / "demo-city.toml"


def faults_of(policy_id: str, parameters: object) -> list[str]:
    with pytest.raises(ParameterError) as caught:
        read_policy(policy_id, parameters)  # type: ignore[arg-type]
    assert all(line.startswith(f"{policy_id}: ") for line in caught.value.faults)
    return [line.removeprefix(f"{policy_id}: ") for line in caught.value.faults]


def test_without_parameters_only_defaults_have_values() -> None:
    assert read_policy("weihai-2019").values == {}
    assert read_policy("demo-city").values == {"disposable_income": {"": 3_000_101}}


def test_one_value_counts_for_all_categories_of_its_parameter() -> None:
    values = read_policy("weihai-2019", ASSISTANCE).values
    assert values["assistance_rate"] == dict.fromkeys(HARDSHIP, 7_000)
    assert values["assistance_limit"] == dict.fromkeys(HARDSHIP, 1_000_000)


@pytest.mark.parametrize("zero", ["0", 0, Decimal("0.00"), {"dibao": "0"}, {"dibao": 0}])
def test_yuan_come_as_text_whole_number_or_decimal(zero: object) -> None:
    given = {"assistance_deductible": zero, "assistance_rate": {"dibao": "70 %"}, "assistance_limit": {"dibao": 1}}
    if not isinstance(zero, dict):
        given |= {"assistance_rate": "70 %", "assistance_limit": 1}
    assert read_policy("weihai-2019", given).values["assistance_deductible"]["dibao"] == 0


@pytest.mark.parametrize(
    ("written", "fen"),
    [("200.5", 20_050), (Decimal("1E+2"), 10_000), (Decimal("0.07"), 7), (7, 700), ("9000000000", MONEY_MAX_FEN)],
)
def test_yuan_are_read_exactly(written: object, fen: int) -> None:
    assert read_policy("demo-city", {"orphan_deductible": written}).values["orphan_deductible"] == {"": fen}


@pytest.mark.parametrize(
    ("parameters", "path", "part"),
    [
        ({"assistance_rates": "70 %"}, "parameters.assistance_rates", "did you mean assistance_rate"),
        ({"special_drug_limit": 0.5}, "parameters.special_drug_limit", 'a float is not exact: write "0.5"'),
        ({"special_drug_limit": float("nan")}, "parameters.special_drug_limit", "a float"),
        ({"special_drug_limit": None}, "parameters.special_drug_limit", "got nothing"),
        ({"special_drug_limit": True}, "parameters.special_drug_limit", "got true"),
        ({"special_drug_limit": Decimal("NaN")}, "parameters.special_drug_limit", "got NaN"),
        ({"special_drug_limit": Decimal("1E+999999")}, "parameters.special_drug_limit", "expected yuan"),
        ({"special_drug_limit": Decimal("1.005")}, "parameters.special_drug_limit", "at most 2 decimals"),
        ({"special_drug_limit": "1" * 5000}, "parameters.special_drug_limit", "at most 9000000000 yuan"),
        ({"special_drug_limit": -1}, "parameters.special_drug_limit", "0 yuan or more"),
        ({"special_drug_limit": {"dibao": 1}}, "parameters.special_drug_limit", "expected one value for everybody"),
        ({"special_drug_rate": 70}, "parameters.special_drug_rate", 'a rate such as "65 %", got 70'),
        ({"special_drug_rate": 0.7}, "parameters.special_drug_rate", "a float is not exact"),
        ({"special_drug_rate": "100.01 %"}, "parameters.special_drug_rate", "between 0 % and 100 %"),
        ({"assistance_rate": {"orphan": "70 %"}}, "parameters.assistance_rate.orphan", "one of registered_poor"),
        ({"assistance_rate": {"diabo": "70 %"}}, "parameters.assistance_rate.diabo", "did you mean dibao"),
        ({"assistance_rate": {"dibao": "70"}}, "parameters.assistance_rate.dibao", 'got "70"'),
        (
            {"special_drug_rate": "7 %"},
            "parameters.special_drug_limit",
            "for rule special_drug.by_parameter (everyone)",
        ),
        ({"assistance_limit": {"dibao": 1}}, "parameters.assistance_rate", "assistance.hardship_inpatient (dibao)"),
        ([("a", 1)], "parameters", "expected a mapping"),
    ],
)
def test_a_fault_names_its_parameter(parameters: object, path: str, part: str) -> None:
    faults = faults_of("weihai-2019", parameters)
    assert any(line.startswith(f"{path}: ") and part in line for line in faults), faults


def test_all_faults_of_the_parameters_are_reported_together() -> None:
    faults = faults_of("weihai-2019", {"nonsense": 1, "special_drug_limit": 0.1, "assistance_rate": {"orphan": "1 %"}})
    assert {line.split(": ")[0] for line in faults} >= {
        "parameters.nonsense",
        "parameters.special_drug_limit",
        "parameters.assistance_rate.orphan",
    }


def test_the_missing_parameters_of_a_category_are_named() -> None:
    given = ASSISTANCE | {"assistance_rate": {"dibao": "70 %", "destitute": "70 %", "severe_disability": "70 %"}}
    assert faults_of("weihai-2019", given) == [
        "parameters.assistance_rate: expected a value too, for rule assistance.hardship_inpatient (registered_poor), "
        "got only assistance_deductible, assistance_limit"
    ]


def test_a_value_outside_minimum_and_maximum_is_refused(tmp_path: Path) -> None:
    text = DEMO.read_text(encoding="utf-8")
    file = tmp_path / "city.toml"
    file.write_text(
        text.replace("required = true", 'required = true\nminimum = "10"\nmaximum = "20"'), encoding="utf-8"
    )
    for value in ("10", "20"):
        read_policy(file, {"orphan_deductible": value})
    for value, part in (("9.99", "10 or more"), ("20.01", "20 or less")):
        with pytest.raises(ParameterError, match=f"parameters.orphan_deductible: expected {part}.*got {value}"):
            read_policy(file, {"orphan_deductible": value})


def test_tiers_that_a_parameter_puts_out_of_order_are_refused(tmp_path: Path) -> None:
    text = DEMO.read_text(encoding="utf-8")
    old = 'tiers = [{ from = { parameter = "orphan_deductible" }, rate = "80 %" }]'
    new = old.replace("}]", '}, { from = "9000", rate = "90 %" }]')
    file = tmp_path / "city.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    read_policy(file)
    read_policy(file, {"orphan_deductible": "8999.99"})
    with pytest.raises(
        ParameterError, match=r"catastrophic\.orphan\.tiers\[1\]\.from .*more than 9000 \(the tier before\)"
    ):
        read_policy(file, {"orphan_deductible": "9000"})


def test_a_derived_amount_is_rounded_half_up_to_the_fen() -> None:
    policy = read_policy("demo-city")
    assert resolve(Derived("disposable_income", 5_000), policy, "ordinary") == 1_500_051  # 15,000.505 yuan
    assert resolve(Derived("disposable_income"), policy, "dibao") == 3_000_101
    assert resolve(7, policy, "dibao") == 7
    assert resolve(Derived("orphan_deductible"), policy, "orphan") is None
    given = read_policy("weihai-2019", ASSISTANCE)
    assert resolve(Derived("assistance_rate"), given, "dibao") == 7_000
    assert resolve(Derived("assistance_rate"), given, "ordinary") is None


def test_the_largest_amount_is_the_one_an_account_can_hold() -> None:
    assert MONEY_MAX_FEN == YEAR_MAX_FEN


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ('{ parameter = "incom", share = "50 %" }', "another declared parameter"),
        ('{ parameter = "orphan_deductible", share = "50 %" }', "another declared parameter"),
        ('{ parameter = "marginal_rate" }', "a parameter in yuan, one value for everybody"),
    ],
)
def test_a_maximum_is_a_share_of_another_parameter_in_the_same_unit(tmp_path: Path, written: str, fault: str) -> None:
    text = DEMO.read_text(encoding="utf-8").replace("required = true", f"required = true\nmaximum = {written}")
    file = tmp_path / "city.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=f"orphan_deductible.maximum.*expected {fault}"):
        read_policy(file)
