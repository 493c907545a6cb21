"""Four documents as the oracle reads them: Linyi 2019 and 2020, Wenzhou 2019, Fuxin 2020. Shares nothing with the engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction

from oracle import (
    CATEGORIES,
    CLINIC,
    EVERY_CARE,
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
    rate,
    recorded,
    schedule,
)

POOREST = frozenset({"destitute", "dibao"})
REST_IN_HARDSHIP = HARDSHIP - POOREST
OTHERS_ASSISTED = frozenset({"illness_poverty", "low_income", "registered_poor", "severe_disability", "orphan"})
FAVOUR_LINYI = (
    "destitute", "dibao", "registered_poor", "severe_disability", "dibao_marginal", "illness_poverty", "low_income", "orphan",
    "ordinary",
)  # fmt: skip


def value_for(parameters: Parameters, name: str, category: str, default: str | None = None) -> str | None:
    """Return a parameter's value for a category, whether it was given for all or by category."""
    value = parameters.get(name, default)
    if isinstance(value, Mapping):
        value = value.get(category, default)
    return None if value is None else str(value)


def by_area(
    parameters: Parameters, stem: str, account: str, cares: frozenset[str], people: frozenset[str]
) -> list[Rule]:
    """Return one rule for everybody in `people` where deductible, rate and limit are all given."""
    names = [f"{stem}_{part}" for part in ("deductible", "rate", "limit")]
    if not all(name in parameters for name in names):
        return []
    deductible, share, limit = (parameters[name] for name in names)
    return [Rule(flat(deductible, share, limit), account, cares, people)]


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
        recorded("basic", EVERY_CARE),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "recorded",
            (hardship, *by_area(parameters, "catastrophic", "catastrophic", HOSPITAL_CARE, others)),
        ),
        Layer(
            "special_drug",
            SPECIAL_DRUG,
            "recorded",
            (drugs, *by_area(parameters, "special_drug", "special_drug", SPECIAL_DRUG, others)),
        ),
        Layer(
            "assistance",
            HOSPITAL_CARE,
            "recorded",
            (
                *(_inpatient_assistance(parameters, category) for category in helped),
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
        recorded("basic", EVERY_CARE),
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


_LINYI_PARAMETERS = frozenset(
    {"poorest_rate", "poorest_limit", "outpatient_deductible", "outpatient_rate"}
    | {
        f"{stem}_{part}"
        for stem in ("area", "catastrophic", "special_drug")
        for part in ("deductible", "rate", "limit")
    }
)

LINYI_2019 = OraclePolicy(
    id="linyi-2019",
    region="3713",
    in_force_from=date(2019, 1, 1),
    in_force_to=date(2019, 12, 31),
    known_from=date(2019, 8, 9),
    favour=FAVOUR_LINYI,
    write_layers=_linyi_layers,
    parameter_names=_LINYI_PARAMETERS,
)

LINYI_2020 = OraclePolicy(
    id="linyi-2020",
    region="3713",
    in_force_from=date(2020, 1, 1),
    in_force_to=None,
    known_from=date(2020, 10, 13),
    favour=FAVOUR_LINYI,
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
        "destitute", "dibao", "dibao_marginal", "illness_poverty", "low_income", "registered_poor", "severe_disability",
        "orphan", "ordinary",
    ),
    write_layers=_wenzhou_layers,
    parameter_names=frozenset(
        {"catastrophic_deductible", "catastrophic_rate", "dibao_rate", "marginal_rate", "others_rate", "assistance_limit"}
    ),
)  # fmt: skip

FUXIN_2020 = OraclePolicy(
    id="fuxin-2020",
    region="2109",
    in_force_from=date(2020, 1, 1),
    in_force_to=None,
    known_from=date(2020, 1, 1),
    favour=FAVOUR_LINYI,
    write_layers=_fuxin_layers,
    parameter_names=frozenset({"disposable_income"}),
)
