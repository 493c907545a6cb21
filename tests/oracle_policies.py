"""Four documents as the oracle reads them (Linyi 2019 and 2020, Wenzhou 2019, Fuxin 2020) and the invented county.

Shares nothing with the engine.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

from oracle import (
    CATEGORIES,
    CLINIC,
    EVERY_CARE,
    FAVOUR_POOREST,
    HARDSHIP,
    HOSPITAL_CARE,
    INPATIENT,
    PKU,
    SPECIAL_DRUG,
    Layer,
    OraclePolicy,
    Parameters,
    Rule,
    Schedule,
    Tier,
    fen,
    flat,
    half_up,
    parametric_rules,
    rate,
    recorded,
    schedule,
    value_for,
)
from oracle_stays import LEVELS, Stay

POOREST = frozenset({"destitute", "dibao"})
REST_IN_HARDSHIP = HARDSHIP - POOREST
OTHERS_ASSISTED = frozenset({"illness_poverty", "low_income", "registered_poor", "severe_disability", "orphan"})


def basic_by_level(parameters: Parameters, referrals: tuple[tuple[frozenset[str], str | None], ...]) -> Layer:
    """Return basic insurance: a rule per stay for each hospital level where the city's nine numbers are all given."""
    rules: list[Rule] = []
    if set(parameters) >= _BASIC_PARAMETERS:
        for people, referral in referrals:
            for level in sorted(LEVELS):
                deductible = str(parameters[f"basic_deductible_{level}"])
                one_tier = schedule((deductible, parameters[f"basic_rate_{level}"]), cap=str(parameters["basic_limit"]))
                terms = Stay(fen(deductible), referral=referral)
                rules.append(Rule(one_tier, "basic", INPATIENT, people, levels=frozenset({level}), stay=terms))
    return Layer("basic", EVERY_CARE, "recorded", tuple(rules))


def _limit_of(parameters: Parameters, category: str) -> str | None:
    """The year's limit on all assistance (鲁医保发〔2019〕69号 二(二)3)."""
    if category in POOREST:
        return value_for(parameters, "poorest_limit", category, "10000")
    return value_for(parameters, "area_limit", category)


def _inpatient_assistance(parameters: Parameters, category: str) -> Rule:
    """低保 and 特困: no deductible, 70 %; 建档立卡 and 重度残疾: as the pooling area says."""
    limit = _limit_of(parameters, category)
    if category in POOREST:
        deductible: str | None = "0"
        share = value_for(parameters, "poorest_rate", category, "70 %")
    else:
        deductible = value_for(parameters, "area_deductible", category)
        share = value_for(parameters, "area_rate", category)
    steps = None
    if deductible is not None and share is not None and limit is not None:
        steps = Schedule((Tier(fen(deductible), rate(share)),), None)
    yearly = None if limit is None else ("assistance_year", fen(limit))
    one = frozenset({category})
    return Rule(steps, "assistance_inpatient", INPATIENT, one, shared_limit=yearly, missing="area")


def _orphans_assistance(parameters: Parameters) -> list[Rule]:
    """事实无人抚养儿童 (二(二)3 六): as the pooling area says, nothing where it says nothing."""
    if not {"orphan_deductible", "orphan_rate", "orphan_limit"} <= set(parameters):
        return []
    steps = Schedule((Tier(fen(str(parameters["orphan_deductible"])), rate(str(parameters["orphan_rate"]))),), None)
    yearly = ("assistance_year", fen(str(parameters["orphan_limit"])))
    return [Rule(steps, "assistance_inpatient", INPATIENT, frozenset({"orphan"}), shared_limit=yearly)]


def _outpatient_assistance(parameters: Parameters, category: str) -> Rule:
    """一定金额的门诊救助: none where the pooling area has set none."""
    deductible = value_for(parameters, "outpatient_deductible", category)
    share = value_for(parameters, "outpatient_rate", category)
    one = frozenset({category})
    if deductible is None or share is None:
        return Rule(schedule(("0", "0 %")), "assistance_outpatient", CLINIC, one)
    limit = _limit_of(parameters, category)
    assert limit is not None
    steps = Schedule((Tier(fen(deductible), rate(share)),), None)
    return Rule(steps, "assistance_outpatient", CLINIC, one, shared_limit=("assistance_year", fen(limit)))


def _linyi_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """鲁医保发〔2019〕69号 二(二)2 and 3; 2020 goes on with them (鲁医保发〔2020〕60号 三)."""
    others = CATEGORIES - HARDSHIP
    food = ("total_fee",)
    hardship = Rule(
        schedule(("5000", "65 %"), ("100000", "75 %"), ("300000", "85 %")), "catastrophic", HOSPITAL_CARE, HARDSHIP
    )
    drugs = Rule(schedule(("0", "60 %"), cap="200000"), "special_drug", SPECIAL_DRUG, HARDSHIP)
    again = Rule(schedule(("5000", "70 %"), cap="20000"), "reassistance", INPATIENT, HARDSHIP)
    minors = Rule(schedule(("0", "75 %"), cap="15000"), "pku", PKU, ages=(0, 18), base=food)
    adults = Rule(schedule(("0", "70 %"), cap="12000"), "pku", PKU, ages=(19, None), base=food)
    helped = sorted(HARDSHIP)
    return (
        # 二(二)5: 对按规定转诊的贫困患者，住院费用连续计算起付线. Of nobody else's referrals the document speaks.
        basic_by_level(parameters, ((HARDSHIP, "anywhere"), (others, None))),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "recorded",
            (hardship, *parametric_rules(parameters, "catastrophic", others, "catastrophic", HOSPITAL_CARE)),
        ),
        Layer(
            "special_drug",
            SPECIAL_DRUG,
            "recorded",
            (drugs, *parametric_rules(parameters, "special_drug", others, "special_drug", SPECIAL_DRUG)),
        ),
        Layer(
            "assistance",
            HOSPITAL_CARE,
            "recorded",
            (
                *(_inpatient_assistance(parameters, category) for category in helped),
                *_orphans_assistance(parameters),
                *(_outpatient_assistance(parameters, category) for category in helped),
            ),
        ),
        recorded("institution_reduction", EVERY_CARE),
        recorded("commercial", EVERY_CARE),
        Layer("reassistance", INPATIENT, "zero", (again,)),
        Layer("pku", PKU, "zero", (minors, adults), base=food),
    )


def _wenzhou_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """2019年全市医疗保障工作要点 5 and 8."""
    everything = HOSPITAL_CARE | SPECIAL_DRUG
    deductible = parameters.get("catastrophic_deductible")
    steps = None
    if deductible is not None:
        steps = Schedule((Tier(fen(deductible), rate(parameters.get("catastrophic_rate", "60 %"))),), None)
    assistance = [Rule(schedule(("0", "100 %")), "assistance", INPATIENT, frozenset({"destitute"}))]
    for stem, people, least in (
        ("dibao", frozenset({"dibao"}), "70 %"),
        ("marginal", frozenset({"dibao_marginal"}), "60 %"),
        ("others", OTHERS_ASSISTED, "50 %"),
    ):
        for category in sorted(people):
            share = value_for(parameters, f"{stem}_rate", category, least) or least
            limit = value_for(parameters, "assistance_limit", category, "80000")
            assistance.append(Rule(flat("0", share, limit), "assistance", INPATIENT, frozenset({category})))
    nothing_beside = Rule(schedule(("0", "0 %")), "special_drug", SPECIAL_DRUG)
    return (
        recorded("basic", EVERY_CARE),
        Layer(
            "catastrophic",
            everything,
            "zero",
            (Rule(steps, "catastrophic", everything, missing="catastrophic_deductible"),),
        ),
        Layer("special_drug", SPECIAL_DRUG, "zero", (nothing_beside,)),
        Layer("assistance", INPATIENT, "recorded", tuple(assistance)),
        *_rest_recorded(),
    )


def _fuxin_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """阜政发〔2019〕18号 三: from half of the income 60 %, 5 points more for each further 50,000, at most 70 %."""
    steps = None
    if "disposable_income" in parameters:
        deductible = half_up(Fraction(Decimal(parameters["disposable_income"])) * 100 / 2)
        above = (("0", "60 %"), ("50000", "65 %"), ("100000", "70 %"))
        steps = Schedule(tuple(Tier(deductible + fen(edge), rate(share)) for edge, share in above), None)
    return (
        # 二(三): 对统筹区域内符合规定的转诊住院患者连续计算起付线.
        basic_by_level(parameters, ((CATEGORIES, "inside"),)),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "zero",
            (Rule(steps, "catastrophic", HOSPITAL_CARE, missing="disposable_income"),),
        ),
        recorded("special_drug", SPECIAL_DRUG),
        recorded("assistance", HOSPITAL_CARE),
        *_rest_recorded(),
    )


def _rest_recorded() -> tuple[Layer, ...]:
    return (
        recorded("institution_reduction", EVERY_CARE),
        recorded("commercial", EVERY_CARE),
        recorded("reassistance", INPATIENT),
        recorded("pku", PKU),
    )


def _county_basic() -> Layer:
    """Basic insurance of the invented county: everything that a rule per stay can say, and one yearly rule."""
    orphan = frozenset({"orphan"})
    low, high = frozenset({1, 9}), frozenset({2, 3})
    cap = "150000"
    later = (rate("100 %"), rate("70 %"), rate("50 %"))

    def once(deductible: str) -> Stay:
        return Stay(fen(deductible), once=True, referral="anywhere")

    def graded(deductible: str, stay_cap: str | None = None) -> Stay:
        return Stay(
            fen(deductible),
            stay_cap_fen=None if stay_cap is None else fen(stay_cap),
            later_stays=later,
            limit_fen=fen("1500"),
            referral="inside",
        )

    def rule(
        steps: Schedule, stay: Stay, people: frozenset[str], levels: frozenset[int] | None, treated: str | None = None
    ) -> Rule:
        return Rule(steps, "basic", INPATIENT, people, levels=levels, treated=treated, stay=stay)

    away = Stay(fen("2000"), above=True)
    city = schedule(("1000", "60 %"), ("10000", "65 %"), ("50000", "70 %"), cap=cap)
    return Layer(
        "basic",
        EVERY_CARE,
        "recorded",
        (
            rule(schedule(("100", "90 %"), cap=cap), once("100"), orphan, low),
            rule(schedule(("600", "80 %"), cap=cap), once("600"), orphan, high),
            rule(schedule(("0", "50 %"), ("20000", "55 %"), cap=cap), away, CATEGORIES, None, "outside"),
            rule(schedule(("300", "85 %"), cap=cap), Stay(fen("300"), referral="inside"), HARDSHIP, high),
            rule(schedule(("200", "90 %"), cap=cap), graded("200"), CATEGORIES, low),
            rule(
                schedule(("500.05", "75 %"), ("10000", "80 %"), cap=cap), graded("500.05"), CATEGORIES, frozenset({2})
            ),
            rule(city, graded("1000", "80000"), CATEGORIES, frozenset({3})),
            Rule(schedule(("50", "50 %"), cap="200"), "basic_outpatient", frozenset({"outpatient"})),
        ),
    )


def _county_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """The invented county, whose basic insurance is computed."""
    year = ("assistance_year", fen("40000"))
    by_stay = Rule(
        schedule(("300", "50 %"), ("3000", "60 %"), ("20000", "70 %")),
        "assistance_inpatient",
        INPATIENT,
        HARDSHIP,
        shared_limit=year,
        ceiling=rate("90 %"),
        stay=Stay(fen("300"), whole=True, stay_cap_fen=fen("30000")),
    )
    clinic = Rule(
        schedule(("0", "50 %"), cap="3000"),
        "assistance_outpatient",
        CLINIC,
        HARDSHIP,
        shared_limit=year,
        ceiling=rate("80 %"),
    )
    hardship = schedule(("5000", "65 %"), ("100000", "75 %"))
    everyone_else = schedule(("10000", "60 %"), ("100000", "70 %"), cap="300000")
    return (
        _county_basic(),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "zero",
            (
                Rule(hardship, "catastrophic", HOSPITAL_CARE, HARDSHIP),
                Rule(everyone_else, "catastrophic", HOSPITAL_CARE, CATEGORIES - HARDSHIP),
            ),
        ),
        recorded("special_drug", SPECIAL_DRUG),
        Layer("assistance", HOSPITAL_CARE, "zero", (by_stay, clinic)),
        recorded("institution_reduction", INPATIENT),
        recorded("commercial", INPATIENT),
        recorded("reassistance", INPATIENT),
        recorded("pku", PKU),
    )


_BASIC_PARAMETERS = frozenset(
    {"basic_limit"} | {f"basic_{part}_{level}" for part in ("deductible", "rate") for level in LEVELS}
)
_LINYI_PARAMETERS = _BASIC_PARAMETERS | frozenset(
    {"poorest_rate", "poorest_limit", "outpatient_deductible", "outpatient_rate"}
    | {
        f"{stem}_{part}"
        for stem in ("area", "orphan", "catastrophic", "special_drug")
        for part in ("deductible", "rate", "limit")
    }
)

LINYI_2019 = OraclePolicy(
    id="linyi-2019",
    region="3713",
    in_force_from=date(2019, 1, 1),
    in_force_to=date(2019, 12, 31),
    known_from=date(2019, 8, 9),
    favour=FAVOUR_POOREST,
    write_layers=_linyi_layers,
    parameter_names=_LINYI_PARAMETERS,
)

LINYI_2020 = OraclePolicy(
    id="linyi-2020",
    region="3713",
    in_force_from=date(2020, 1, 1),
    in_force_to=None,
    known_from=date(2020, 10, 13),
    favour=FAVOUR_POOREST,
    write_layers=_linyi_layers,
    parameter_names=_LINYI_PARAMETERS | {"disposable_income"},
)

WENZHOU_2019 = OraclePolicy(
    id="wenzhou-2019",
    region="3303",
    in_force_from=date(2019, 1, 1),
    in_force_to=None,
    known_from=date(2019, 4, 17),
    favour=(
        "destitute",
        "dibao",
        "dibao_marginal",
        "illness_poverty",
        "low_income",
        "registered_poor",
        "severe_disability",
        "orphan",
        "ordinary",
    ),
    write_layers=_wenzhou_layers,
    parameter_names=frozenset(
        {
            "catastrophic_deductible",
            "catastrophic_rate",
            "dibao_rate",
            "marginal_rate",
            "others_rate",
            "assistance_limit",
        }
    ),
)

FUXIN_2020 = OraclePolicy(
    id="fuxin-2020",
    region="2109",
    in_force_from=date(2020, 1, 1),
    in_force_to=None,
    known_from=date(2020, 1, 1),
    favour=FAVOUR_POOREST,
    write_layers=_fuxin_layers,
    parameter_names=_BASIC_PARAMETERS | {"disposable_income"},
)

DEMO_COUNTY = OraclePolicy(
    id="demo-county",
    region="9902",
    in_force_from=date(2018, 1, 1),
    in_force_to=None,
    known_from=date(2018, 1, 1),
    favour=FAVOUR_POOREST,
    write_layers=_county_layers,
    parameter_names=frozenset(),
)
