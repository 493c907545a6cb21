"""Every fault of a policy file is found, all at once, each under its path."""

import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

import yibao_core
from yibao_core.errors import PolicyError
from yibao_core.policy import CATEGORIES, LAYERS, Derived, Span, Tier
from yibao_core.policy_file import builtin_ids, lint_file, read_policy

FOLDER = Path(yibao_core.__file__).parent / "policies"
WEIHAI = (FOLDER / "weihai-2019.toml").read_text(encoding="utf-8")
DEMO = (FOLDER / "demo-city.toml").read_text(encoding="utf-8")
HARDSHIP = 'who = ["hardship"]\n'
SPECIAL_DRUG = '[[layers]]\nname = "special_drug"'
TOP = 'year_follows = "service_date"\n'

# Weihai's file with one text replaced → the path and part of the message.
WEIHAI_FAULTS = [
    ('"weihai-2019"\n', '"weihai-2019\n', "line 5, column 18", "expected TOML"),
    ("format = 1", "format = 2", "format", "expected 1, got 2"),
    ("format = 1", "format = true", "format", "expected 1, got true"),
    ("format = 1\n", "", "format", "expected 1, got nothing"),
    ('id = "weihai-2019"', 'id = "Weihai 2019"', "id", "matches [a-z0-9-]+"),
    ('region = "3710"', 'region = "371"', "region", 'got "371"'),
    ('region = "3710"', "region = 3710", "region", "expected text, got 3710"),
    ('rounding = "half_up"', 'rounding = "halfup"', "rounding", "did you mean half_up?"),
    (TOP, 'year_follows = "service"\n', "year_follows", "one of service_date, settled_at"),
    (TOP, TOP + 'reigon = "37"\n', "reigon", "an unknown key; did you mean region?"),
    (TOP, TOP + "note = 1\n", "note", "expected text, got 1"),
    ('["shandong-2017"]', '["weihai-2019"]', "supersedes[0]", "expected another policy"),
    ('["shandong-2017"]', '["Shandong"]', "supersedes[0]", "[a-z0-9-]+"),
    ('["shandong-2017"]', '"shandong-2017"', "supersedes", "expected a list"),
    ('title = "威海市 2019 年居民大病保险（提高待遇）"\n', "", "title", "expected text, got nothing"),
    ('document = "威医保发〔2019〕37号"', 'document = " "', "document", "expected text"),
    ("from = 2019-01-01\nsource = \"三(一): 按", "from = \"2019-01-01\"\nsource = \"三(一): 按", "in_force.from", "without quotes"),
    ("from = 2019-01-01\nsource = \"三(一): 按", "source = \"三(一): 按", "in_force.from", "got nothing"),
    ("from = 2019-01-01\nsource", "from = 2019-01-01\nto = 2018-12-31\nsource", "in_force.to", "expected 2019-01-01 (from) or later"),
    ("from = 2019-01-01\nsource", "from = 2019-03-01\nsource", "window.from", "expected 2019-03-01 (in_force.from) or later"),
    ("from = 2019-01-01\nsource", "from = 2019-01-01\nto = 2019-06-30\nsource", "window.to", "expected 2019-06-30 (in_force.to) or earlier"),
    ("to = 2019-08-31", "to = 2018-08-31", "window.to", "(from) or later"),
    ("from = 2019-09-01", "from = 2019-09-01T00:00:00", "known.from", "expected a date"),
    ("[known]", "[knwon]", "known", "expected a table with from, issued, source, got nothing"),
    ("[known]", "[knwon]", "knwon", "did you mean known?"),
    ('source = "三(一): 确保自2019年9月1日起实施新政策"', 'source = ""', "known.source", 'expected text, got ""'),
    ('to = 2019-08-31\nsource = ', "to = 2019-08-31\nnote = ", "window.source", "got nothing"),
    ('source = "二(二) names', 'sauce = "二(二) names', "favour.source", "got nothing"),
    ('"orphan", "ordinary"]', '"orphan"]', "favour.order", "without ordinary"),
    ('"orphan", "ordinary"]', '"orphan", "dibao", "ordinary"]', "favour.order[8]", 'each name once, got "dibao" again'),
    ('"orphan", "ordinary"]', '"orphan", "ordinry"]', "favour.order[8]", "did you mean ordinary?"),
    ('order = ["registered_poor", ', 'order = "registered_poor"  # ', "favour.order", "expected a list of ordinary"),
    ('categories = ["registered_poor", ', 'categories = ["registered", ', "groups.hardship.categories[0]", "did you mean registered_poor"),
    ("[groups.hardship]", "[groups.dibao]", "groups.dibao", "neither a category nor everyone"),
    ("[groups.hardship]", "[groups.Hard]", "groups.Hard", "expected a name that matches"),
    ('source = "二(二): 建档立卡贫困人口', 'surce = "二(二): 建档立卡贫困人口', "groups.hardship.source", "got nothing"),
    ('unit = "percent"', 'unit = "per cent"', "parameters.special_drug_rate.unit", "one of yuan, percent"),
    ("required = false", 'required = "no"', "parameters.special_drug_deductible.required", "expected true or false"),
    ('unit = "yuan"\n', 'unit = "percent"\n', "layers[2].rules[0].deductible.parameter", "a parameter in yuan, got special_drug_deductible in percent"),
    ('unit = "yuan"\n', 'unit = "percent"\n', "layers[2].rules[0].tiers[0].from.parameter", "a parameter in yuan"),
    ('per_category = ["hardship"]', 'per_category = ["hardshp"]', "parameters.assistance_deductible.per_category[0]", "did you mean hardship?"),
    ('per_category = ["hardship"]', 'per_category = ["dibao"]', "layers[3].rules[0].deductible.parameter", "for registered_poor, destitute, severe_disability too"),
    ("[parameters.special_drug_rate]", "[parameters.drug_rate]", "parameters.drug_rate", "expected a parameter that some rule uses"),
    ("[parameters.special_drug_rate]", "[parameters.drug_rate]", "layers[2].rules[0].tiers[0].rate.parameter", "expected a declared parameter"),
    ("required = false", 'required = true\ndefault = "5"', "parameters.special_drug_deductible.default", "no default for a required"),
    ("required = false", 'required = false\ndefault = "5"\nminimum = "6"', "parameters.special_drug_deductible.default", "6 (minimum) or more, got 5"),
    ("required = false", 'required = false\ndefault = "8"\nmaximum = "7"', "parameters.special_drug_deductible.default", "7 (maximum) or less, got 8"),
    ("required = false", 'required = false\nminimum = "9"\nmaximum = "7"', "parameters.special_drug_deductible.maximum", "9 (minimum) or more, got 7"),
    ("required = false", "required = false\ndefault = 0.5", "parameters.special_drug_deductible.default", "a float"),
    ('name = "pku"', 'name = "basic"', "layers[7].name", 'each layer once, got "basic" again (layers[0])'),
    ('name = "pku"', 'name = "basic"', "layers", "expected all eight layers, got no pku"),
    ('name = "pku"', 'name = "pkv"', "layers[7].name", "did you mean pku?"),
    ('otherwise = "zero"', 'otherwise = "nothing"', "layers[1].otherwise", "one of recorded, zero"),
    ('otherwise = "recorded"', 'otherwise = "zero"', "layers[0].otherwise", "in a layer without rules"),
    ('otherwise = "zero"', 'otherwise = "zero"\ncharged_to = "all"', "layers[1].charged_to", "one of eligible, total"),
    ('"special_drug", "pku"]', '"special_drug", "dental"]', "layers[0].care_types[4]", 'got "dental"'),
    ('care_types = ["special_drug"]', "care_types = []", "layers[2].care_types", "at least one of"),
    ('otherwise = "zero"\nsource = "二(二)"', 'otherwise = "zero"', "layers[1].source", "got nothing"),
    ('otherwise = "zero"', 'otherwise = "zero"\nless = ["commercial"]', "layers[1].less[0]", "a layer that stands before this one (basic)"),
    ('otherwise = "zero"', 'otherwise = "zero"\nless = ["basic", "catastrophic"]', "layers[1].less[1]", 'got "catastrophic"'),
    (HARDSHIP, HARDSHIP + 'less = ["pku"]\n', "layers[1].rules[0].less[0]", 'got "pku"'),
    (HARDSHIP, HARDSHIP + 'base = ["eligible"]\n', "layers[1].rules[0].base[0]", "did you mean eligible_fee?"),
    (HARDSHIP, HARDSHIP + "base = []\n", "layers[1].rules[0].base", "got an empty list"),
    (HARDSHIP, HARDSHIP + 'base = ["total_fee", "first_pay_fee"]\n', "layers[1].rules[0].base", "total_fee alone"),
    (HARDSHIP, HARDSHIP + 'care_types = ["inpatient", "pku"]\n', "layers[1].rules[0].care_types[1]", "a care type of the layer"),
    (HARDSHIP, HARDSHIP + "age = { from = 19, to = 18 }\n", "layers[1].rules[0].age.to", "19 (from) or more, got 18"),
    (HARDSHIP, HARDSHIP + "age = { from = -1 }\n", "layers[1].rules[0].age.from", "a whole number from 0"),
    (HARDSHIP, HARDSHIP + "age = 18\n", "layers[1].rules[0].age", "expected a table with from, to, got 18"),
    (HARDSHIP, HARDSHIP + 'sharedlimit = "1"\n', "layers[1].rules[0].sharedlimit", "did you mean shared_limit?"),
    (HARDSHIP, HARDSHIP + 'shared_limit = { account = "a" }\n', "layers[1].rules[0].shared_limit.limit", "expected yuan"),
    (HARDSHIP, 'who = "hardship"\n', "layers[1].rules[0].who", 'expected "everyone" or a list of ordinary'),
    (HARDSHIP, 'who = ["hardshp"]\n', "layers[1].rules[0].who[0]", "did you mean hardship?"),
    (HARDSHIP, "who = []\n", "layers[1].rules[0].who", "an empty list"),
    (HARDSHIP, 'who = "everyone"\n', "layers[1].rules[1]", '"everyone_else", all of it covered by earlier rules'),
    ('id = "everyone_else"', 'id = "hardship"', "layers[1].rules[1].id", 'got "hardship" again'),
    ('cap = "none"\n', "", "layers[1].rules[0].cap", 'expected "none", yuan or a parameter, got nothing'),
    ('cap = "none"', 'cap = "non"', "layers[1].rules[0].cap", "did you mean none?"),
    ('cap = "none"', "cap = 400000.0", "layers[1].rules[0].cap", "a float is not exact"),
    ('cap = "none"', 'cap = { parameter = "assistance_rate" }', "layers[1].rules[0].cap.parameter", "expected a parameter in yuan"),
    ('cap = "none"', 'cap = { parm = "assistance_rate" }', "layers[1].rules[0].cap.parm", "did you mean parameter?"),
    ('cap = "none"', 'cap = { parameter = "assistance_limit", share = "150 %" }', "layers[1].rules[0].cap.share", "between 0 % and 100 %"),
    ('edges = "including_deductible"', 'edges = "including"', "layers[1].rules[0].edges", "did you mean including_deductible?"),
    ('edges = "including_deductible"', 'edges = "above_deductible"', "layers[1].rules[0].tiers[0].from", "expected 0 (edges above the deductible), got 5000"),
    ('deductible = "5000"', 'deductible = "4000"', "layers[1].rules[0].tiers[0].from", "expected 4000 (the deductible), got 5000"),
    ('deductible = "5000"', 'deductible = "6000.5"', "layers[1].rules[0].tiers[0].from", "expected 6000.50 (the deductible), got 5000"),
    ('deductible = "5000"', 'deductible = "5000.001"', "layers[1].rules[0].deductible", "at most 2 decimals"),
    ('deductible = "5000"', 'deductible = "-1"', "layers[1].rules[0].deductible", "expected 0 yuan or more, got -1"),
    ('deductible = "5000"', "deductible = -5000", "layers[1].rules[0].deductible", "expected 0 yuan or more, got -5000"),
    ('deductible = "5000"', "deductible = 5000.5", "layers[1].rules[0].deductible", 'write "5000.5"'),
    ('deductible = "5000"', "deductible = true", "layers[1].rules[0].deductible", "got true"),
    ('deductible = "5000"', 'deductible = "5,000"', "layers[1].rules[0].deductible", 'got "5,000"'),
    ('deductible = "5000"', 'deductible = "9000000001"', "layers[1].rules[0].deductible", "at most 9000000000 yuan"),
    ('from = "100000", rate = "65 %"', 'from = "18000", rate = "65 %"', "layers[1].rules[1].tiers[1].from", "more than 18000 (the tier before), got 18000"),
    ('from = "300000", rate = "75 %"', 'from = "50000", rate = "75 %"', "layers[1].rules[1].tiers[3].from", "expected more than 200000 (the tier before), got 50000"),
    ('rate = "85 %"', "rate = 0.85", "layers[1].rules[0].tiers[2].rate", "a float is not exact"),
    ('rate = "85 %"', "rate = 85", "layers[1].rules[0].tiers[2].rate", 'a rate such as "65 %", got 85'),
    ('rate = "85 %"', 'rate = "101 %"', "layers[1].rules[0].tiers[2].rate", "between 0 % and 100 %"),
    ('rate = "85 %"', 'rate = "-5 %"', "layers[1].rules[0].tiers[2].rate", "between 0 % and 100 %"),
    ('rate = "85 %"', 'rate = "66.667 %"', "layers[1].rules[0].tiers[2].rate", "in steps of 0.01 %"),
    ('rate = "85 %"', 'rates = "85 %"', "layers[1].rules[0].tiers[2].rates", "did you mean rate?"),
    ('tiers = [{ from = { parameter = "special_drug_deductible" }, rate = { parameter = "special_drug_rate" } }]', "tiers = []", "layers[2].rules[0].tiers", "got an empty list"),
    ('tiers = [{ from = { parameter = "special_drug_deductible" }, rate = { parameter = "special_drug_rate" } }]', "tiers = [1]", "layers[2].rules[0].tiers[0]", "got 1"),
    ('tiers = [{ from = { parameter = "special_drug_deductible" }, ', 'tiers = [{ from = "0", ', "layers[2].rules[0].tiers[0].from", "expected special_drug_deductible (the deductible), got 0"),
    ('source = "二(二): 困难人员 起付', 'sorce = "二(二): 困难人员 起付', "layers[1].rules[0].source", "got nothing"),
]  # fmt: skip
DEMO_FAULTS = [
    ('"assistance_year", limit = "10000"', '"assistance_year", limit = "9999.99"', "layers[3].rules[1].shared_limit.limit", "expected 9999.99, the limit of assistance_year in layers[3].rules[0] for registered_poor, got 10000"),
    ("age = { from = 19 }", "age = { to = 18 }", "layers[7].rules[1]", "covered by earlier rules"),
    ('care_types = ["outpatient", "chronic_outpatient"]', 'care_types = ["inpatient"]', "layers[3].rules[1]", '"outpatient", all of it covered'),
    ('from = "0", rate = "60 %" },', 'from = "1", rate = "60 %" },', "layers[1].rules[2].tiers[0].from", "expected 0 (edges above the deductible), got 1"),
    ('edges = "above_deductible"', 'edges = "including_deductible"', "layers[1].rules[2].tiers[0].from", "expected 50 % of disposable_income (the deductible), got 0"),
    ('default = "30001.01"', "default = 30001.01", "parameters.disposable_income.default", "a float is not exact"),
    ('share = "50 %"', "share = 0.5", "layers[1].rules[2].deductible.share", "a float is not exact"),
    ("from = 2018-01-01\nsource", "from = 2018-01-01\nto = 2019-06-30\nsource", "window.to", "2019-06-30 (in_force.to) or earlier"),
]  # fmt: skip


def faults_of(text: str, folder: Path) -> list[str]:
    """Return the faults of a file with this text, without the file's name."""
    file = folder / "city.toml"
    file.write_text(text, encoding="utf-8")
    found = lint_file(file)
    assert all(line.startswith(f"{file}: ") for line in found)
    return [line.removeprefix(f"{file}: ") for line in found]


def stands_in(path: str, part: str, faults: list[str]) -> bool:
    return any(line.startswith(f"{path}: ") and part in line for line in faults)


@pytest.mark.parametrize(("old", "new", "path", "part"), WEIHAI_FAULTS)
def test_a_fault_is_named_with_its_path(tmp_path: Path, old: str, new: str, path: str, part: str) -> None:
    assert old in WEIHAI
    faults = faults_of(WEIHAI.replace(old, new, 1), tmp_path)
    assert stands_in(path, part, faults), faults


@pytest.mark.parametrize(("old", "new", "path", "part"), DEMO_FAULTS)
def test_a_fault_of_the_demo_city_is_named_with_its_path(
    tmp_path: Path, old: str, new: str, path: str, part: str
) -> None:
    assert old in DEMO
    faults = faults_of(DEMO.replace(old, new, 1), tmp_path)
    assert stands_in(path, part, faults), faults


def test_all_faults_of_a_file_are_reported_together(tmp_path: Path) -> None:
    text = WEIHAI
    several = [
        ('region = "3710"', 'region = "371"', "region", "371"),
        ('"orphan", "ordinary"]', '"orphan"]', "favour.order", "ordinary"),
        ("required = false", "", "parameters.special_drug_deductible.required", "nothing"),
        ('rate = "85 %"', "rate = 0.85", "layers[1].rules[0].tiers[2].rate", "float"),
        ('from = "200000"', 'from = "99999"', "layers[1].rules[1].tiers[2].from", "more than 100000"),
        ('name = "pku"', 'name = "basic"', "layers", "pku"),
    ]
    for old, new, _, _ in several:
        text = text.replace(old, new, 1)
    faults = faults_of(text, tmp_path)
    assert all(stands_in(path, part, faults) for _, _, path, part in several), faults
    with pytest.raises(PolicyError) as caught:
        read_policy(tmp_path / "city.toml")
    assert [line.split("city.toml: ", 1)[1] for line in caught.value.faults] == faults


def test_one_fault_brings_no_others_with_it(tmp_path: Path) -> None:
    for old, new in [('rate = "85 %"', "rate = 85"), ('from = "100000"', 'from = "x"'), (HARDSHIP, "who = 1\n")]:
        assert len(faults_of(WEIHAI.replace(old, new, 1), tmp_path)) == 1


def test_a_missing_layer_is_a_fault(tmp_path: Path) -> None:
    text = WEIHAI[: WEIHAI.index('[[layers]]\nname = "pku"')]
    assert faults_of(text, tmp_path) == ["layers: expected all eight layers, got no pku"]


def test_a_rule_behind_one_with_optional_parameters_can_be_reached(tmp_path: Path) -> None:
    fallback = '[[layers.rules]]\nid = "fallback"\nwho = "everyone"\ncap = "1"\nsource = "x"\ntiers = [{ from = 0, rate = "1 %" }]\n'
    assert (
        faults_of(
            WEIHAI.replace('[[layers]]\nname = "assistance"', f'{fallback}\n[[layers]]\nname = "assistance"'), tmp_path
        )
        == []
    )


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = " + b"1" * 5000])
def test_a_file_that_is_no_toml_is_a_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "city.toml").write_bytes(content)
    assert len(lint_file(tmp_path / "city.toml")) == 1


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "city.toml").write_bytes(b"\xef\xbb\xbf" + WEIHAI.replace("\n", "\r\n").encode())
    assert read_policy(tmp_path / "city.toml").digest == read_policy("weihai-2019").digest


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.toml: file: expected a readable TOML file"):
        read_policy(str(tmp_path / "nowhere.toml"))


def test_an_unknown_id_names_the_known_ones() -> None:
    with pytest.raises(PolicyError, match=r"demo-city, .*weihai-2019.* got \"weihai-2018\"; did you mean weihai-2019"):
        read_policy("weihai-2018")


@pytest.mark.parametrize("policy_id", builtin_ids())
def test_every_built_in_policy_reads_and_names_its_sources(policy_id: str) -> None:
    policy = read_policy(policy_id)
    assert policy.id == policy_id
    assert sorted(policy.favour) == sorted(CATEGORIES)
    assert sorted(layer.name for layer in policy.layers) == sorted(LAYERS)
    assert lint_file(FOLDER / f"{policy_id}.toml") == []
    data = tomllib.loads((FOLDER / f"{policy_id}.toml").read_text(encoding="utf-8"))
    blocks = [data["in_force"], data["known"], data["favour"], *data.get("groups", {}).values()]
    blocks += [*data.get("parameters", {}).values(), *data["layers"], *([data["window"]] if "window" in data else [])]
    blocks += [rule for layer in data["layers"] for rule in layer.get("rules", [])]
    assert all(block["source"].strip() for block in blocks)


def test_weihai_reads_as_the_notice_says() -> None:
    policy = read_policy("weihai-2019")
    hardship, everyone = policy.layer("catastrophic").rules
    assert hardship.who == ("registered_poor", "destitute", "dibao", "severe_disability")
    assert hardship.tiers == (Tier(500_000, 6_500), Tier(10_000_000, 7_500), Tier(30_000_000, 8_500))
    assert (hardship.deductible_fen, hardship.cap_fen, everyone.cap_fen) == (500_000, None, 40_000_000)
    assert everyone.who == CATEGORIES
    assert policy.window == Span(
        date(2019, 1, 1),
        date(2019, 8, 31),
        "三(一): 按新政策对2019年1月1日至8月31日期间发生的居民医疗保障费用重新核算并补报",
    )
    assert (policy.known_from, policy.issued) == (date(2019, 9, 1), date(2019, 8, 12))


def test_what_is_left_out_of_a_file_gets_its_default() -> None:
    policy = read_policy("demo-city")
    inpatient, outpatient, _, _, _, marginal = policy.layer("assistance").rules
    assert inpatient.less == ("basic", "catastrophic", "special_drug")
    assert (inpatient.deductible_fen, inpatient.edges_above_deductible) == (0, False)
    assert inpatient.account == marginal.account == "assistance_inpatient"
    assert inpatient.shared_limit == outpatient.shared_limit
    assert policy.layer("institution_reduction").rules[0].base == ("eligible_fee", "first_pay_fee")
    assert policy.layer("commercial").rules[0].account == "commercial"
    assert policy.layer("pku").rules[0].any_age is False
    assert policy.layer("catastrophic").rules[2].deductible_fen == Derived("disposable_income", 5_000)


def test_a_digest_is_stable_and_follows_content_and_parameters(tmp_path: Path) -> None:
    plain = read_policy("demo-city")
    other = read_policy("demo-city", {"orphan_deductible": 1})
    assert len(plain.digest) == 64
    assert plain.digest == read_policy("demo-city", {"disposable_income": "30001.01"}).digest
    assert other.digest not in (plain.digest, read_policy("demo-city", {"orphan_deductible": 2}).digest)
    file = tmp_path / "demo-city.toml"
    file.write_text("# another comment\n" + DEMO, encoding="utf-8")
    assert read_policy(file).digest == plain.digest
    file.write_text(DEMO.replace('rate = "5 %"', 'rate = "6 %"'), encoding="utf-8")
    assert read_policy(file).digest != plain.digest


def test_checking_a_policy_loads_nothing_heavy() -> None:
    code = (
        "import sys; from yibao_core.policy_file import read_policy; read_policy('weihai-2019'); "
        "sys.exit(bool({'numpy', 'numba', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
