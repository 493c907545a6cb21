"""The rule book of the tests: every settlement rule once more, in exact fractions and plain rows.

It is written from the documents and the settlement contract alone, shares no line with the engine and
never changes to agree with it. "§" is a section of the settlement contract, "0001.n" a point of
`core/decisions/0001-reading-the-contract.md`, "0004.n" one of `0004-stays.md`, an article is one of the
policy's own document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache, partial
from math import floor
from typing import Any, NamedTuple

from oracle_money import Tier as Tier
from oracle_money import fen as fen
from oracle_money import half_up as half_up
from oracle_money import marginal
from oracle_money import rate as rate
from oracle_stays import METER, NOT_GRADED, EpisodeKey, Episodes, Meter, Moved, Stay, level_of

Row = Mapping[str, Any]

LAYERS = (
    "basic",
    "catastrophic",
    "special_drug",
    "assistance",
    "institution_reduction",
    "commercial",
    "reassistance",
    "pku",
)
PAID_COLUMNS = {layer: f"{layer}_paid" for layer in LAYERS}
FEES = ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee", "eligible_fee")
REQUIRED = (
    "settlement_id",
    "person_id",
    "settled_at",
    "service_date",
    "category",
    "care_type",
    "total_fee",
    "eligible_fee",
)

EVERY_CARE = frozenset({"inpatient", "outpatient", "chronic_outpatient", "special_drug", "pku"})
HOSPITAL_CARE = frozenset({"inpatient", "outpatient", "chronic_outpatient"})
CLINIC = frozenset({"outpatient", "chronic_outpatient"})
INPATIENT = frozenset({"inpatient"})
SPECIAL_DRUG = frozenset({"special_drug"})
PKU = frozenset({"pku"})

CATEGORY_NAMES = {
    "建档立卡": "registered_poor",
    "特困": "destitute",
    "低保": "dibao",
    "低边": "dibao_marginal",
    "贫困重度残疾人": "severe_disability",
    "低收入救助对象": "low_income",
    "因病致贫": "illness_poverty",
    "事实无人抚养儿童": "orphan",
}
CATEGORIES = frozenset({*CATEGORY_NAMES.values(), "ordinary"})
HARDSHIP = frozenset({"registered_poor", "destitute", "dibao", "severe_disability"})

NOT_FEN = "NOT_FEN"
ROW_LIMIT_FEN = 10**10
YEAR_LIMIT_FEN = 9 * 10**11

SETTLED = "SETTLED"


class MissingParameter(Exception):
    """A row reaches a rule whose number the documents do not give and the caller did not either (§4)."""


class LedgerFault(Exception):
    """The ledger lacks a column without which no row, or not this row, can be settled (§8)."""


class BookFault(Exception):
    """Two policies of one region overlap on both time axes and neither supersedes the other (§4)."""


# --- What a policy says ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """Marginal tiers on the cumulative base of a year, deductible included, and the most a year pays (§2)."""

    tiers: tuple[Tier, ...]
    cap_fen: int | None

    def entitled_fen(self, cumulative_fen: int) -> int:
        """Return R(F(C)): the exact sum over the tiers, cut to the cap, rounded once."""
        exact = marginal(self.tiers, cumulative_fen)
        if self.cap_fen is not None and exact > self.cap_fen:
            return self.cap_fen
        return half_up(exact)


@dataclass(frozen=True)
class Rule:
    """One rule of a layer: whom and what it covers, its base, account, schedule and shared limit."""

    schedule: Schedule | None  # None: the number is a required parameter that nobody gave
    account: str
    care_types: frozenset[str]
    categories: frozenset[str] = CATEGORIES
    ages: tuple[int, int | None] | None = None
    base: tuple[str, ...] = ("eligible_fee",)
    shared_limit: tuple[str, int] | None = None
    missing: str = ""
    levels: frozenset[int] | None = None
    treated: str | None = None
    ceiling: Fraction | None = None
    stay: Stay | None = None  # per stay: the tiers are those of one stay, the cap is still that of a year

    def covers(self, bill: Bill) -> bool:
        """Tell whether age, hospital level and place of a row are the rule's; an unread level counts as 9."""
        level = NOT_GRADED if bill.level is None else bill.level
        place = "inside" if bill.treated_inside else "outside"
        return (
            self.covers_age(bill.age)
            and (self.levels is None or level in self.levels)
            and (self.treated is None or self.treated == place)
        )

    def covers_age(self, age: int | None) -> bool:
        if self.ages is None:
            return True
        youngest, oldest = self.ages
        return age is not None and age >= youngest and (oldest is None or age <= oldest)

    @property
    def asks_for_place(self) -> bool:
        return self.treated is not None or (self.stay is not None and self.stay.referral == "inside")


@dataclass(frozen=True)
class Layer:
    """One benefit: its rules, and what a row gets that none of them reaches (0001.1)."""

    name: str
    care_types: frozenset[str]
    otherwise: str
    rules: tuple[Rule, ...] = ()
    base: tuple[str, ...] = ("eligible_fee",)
    charged_to: str = "eligible"


class Treatment(NamedTuple):
    """A layer as one category on one care type meets it."""

    layer: Layer
    rules: tuple[Rule, ...]
    covered: bool  # the layer covers the care type
    ruled_for_some: bool  # some category has a rule on this care type

    def rule_for(self, bill: Bill) -> Rule | None:
        """Return the rule that reaches a row: the first one in the policy's order."""
        return next((rule for rule in self.rules if rule.covers(bill)), None)


Parameters = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class OraclePolicy:
    """One policy: when and where it holds, its order of favour, its eight layers."""

    id: str
    region: str
    in_force_from: date
    in_force_to: date | None
    known_from: date
    favour: tuple[str, ...]
    write_layers: Callable[[Parameters], tuple[Layer, ...]]
    parameter_names: frozenset[str]
    window: tuple[date, date] | None = None
    supersedes: str | None = None
    parameters: Parameters = field(default_factory=dict)
    basic_aside: bool = False
    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.parameters) - self.parameter_names
        if unknown:
            raise ValueError(f"{self.id} has no parameter {', '.join(sorted(unknown))}")
        layers = self.write_layers(self.parameters)
        if tuple(layer.name for layer in layers) != LAYERS:
            raise ValueError(f"{self.id}: always the eight layers, in order")
        if self.basic_aside:
            layers = (replace(layers[0], rules=(), otherwise="recorded"), *layers[1:])
        object.__setattr__(self, "layers", layers)

    def with_parameters(self, parameters: Parameters) -> OraclePolicy:
        """Return the policy with these parameters on top of those it has."""
        return replace(self, parameters={**self.parameters, **parameters})

    def without_basic(self) -> OraclePolicy:
        """Return the policy with the rules of basic insurance set aside: the ledger's figure stands (0004.15)."""
        return replace(self, basic_aside=True)

    def in_force(self, service_date: date) -> bool:
        return self.in_force_from <= service_date and (self.in_force_to is None or service_date <= self.in_force_to)

    def in_window(self, service_date: date) -> bool:
        """Tell whether a re-accounting recomputes this service date (§6.1)."""
        if self.window is None:
            return self.in_force(service_date)
        return self.window[0] <= service_date <= self.window[1]

    def favoured(self, categories: Collection[str]) -> str:
        """Return the one category that counts, for all layers (§2)."""
        return next(category for category in self.favour if category in categories)

    @cache  # noqa: B019  (a handful of policies, kept for the whole run)
    def treatments(self, category: str, care_type: str) -> tuple[Treatment, ...]:
        """Return the eight layers with the rules that may reach such a row."""
        return tuple(
            Treatment(
                layer,
                tuple(r for r in layer.rules if care_type in r.care_types and category in r.categories),
                care_type in layer.care_types,
                any(care_type in r.care_types for r in layer.rules),
            )
            for layer in self.layers
        )

    def rules_for(self, category: str, care_type: str) -> Iterator[Rule]:
        """Yield every rule that may reach such a row, in whatever layer."""
        for treatment in self.treatments(category, care_type):
            yield from treatment.rules

    def needs_age(self, category: str, care_type: str) -> bool:
        return any(rule.ages is not None for rule in self.rules_for(category, care_type))

    @property
    def has_meter(self) -> bool:
        """Tell whether basic insurance counts deductibles and stays (0004.11)."""
        return any(rule.stay is not None for rule in self.layers[0].rules)


def _tiers(*steps: tuple[str, str]) -> tuple[Tier, ...]:
    return tuple(Tier(fen(lower), rate(percent)) for lower, percent in steps)


def schedule(*steps: tuple[str, str], cap: str | None = None) -> Schedule:
    """Write a schedule in yuan, its edges including the deductible."""
    return Schedule(_tiers(*steps), None if cap is None else fen(cap))


def flat(deductible: Any, percent: str, limit: Any) -> Schedule:
    return Schedule((Tier(fen(deductible), rate(percent)),), fen(limit))


def value_for(parameters: Parameters, name: str, category: str, default: str | None = None) -> str | None:
    """Return a parameter's value for a category, whether it was given for all or by category."""
    value = parameters.get(name, default)
    if isinstance(value, Mapping):
        value = value.get(category, default)
    return None if value is None else str(value)


def parametric_rules(
    parameters: Parameters, stem: str, categories: frozenset[str], account: str, care_types: frozenset[str]
) -> tuple[Rule, ...]:
    """Return a rule for each category for which deductible, rate and limit are all given."""
    names = [f"{stem}_{part}" for part in ("deductible", "rate", "limit")]
    for name in names:
        value = parameters.get(name)
        if isinstance(value, Mapping) and not set(value) <= categories:
            raise ValueError(f"{name}: only for {', '.join(sorted(categories))}")
    rules: list[Rule] = []
    for category in sorted(categories):
        deductible, share, limit = (value_for(parameters, name, category) for name in names)
        if deductible is not None and share is not None and limit is not None:
            rules.append(Rule(flat(deductible, share, limit), account, care_types, frozenset({category})))
    return tuple(rules)


def recorded(name: str, care_types: frozenset[str]) -> Layer:
    return Layer(name, care_types, "recorded")


_ASSISTANCE_PARAMETERS = frozenset({"assistance_deductible", "assistance_rate", "assistance_limit"})
_SPECIAL_DRUG_PARAMETERS = frozenset({"special_drug_deductible", "special_drug_rate", "special_drug_limit"})

FAVOUR_POOREST = (
    "destitute",
    "dibao",
    "registered_poor",
    "severe_disability",
    "dibao_marginal",
    "illness_poverty",
    "low_income",
    "orphan",
    "ordinary",
)
_FAVOUR_SHANDONG = (
    "registered_poor",
    "destitute",
    "dibao",
    "severe_disability",
    "dibao_marginal",
    "illness_poverty",
    "low_income",
    "orphan",
    "ordinary",
)


def _weihai_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """威医保发〔2019〕37号 二(二)."""
    special_drug: tuple[Rule, ...] = ()
    given = _SPECIAL_DRUG_PARAMETERS & set(parameters)
    if given:
        if given != _SPECIAL_DRUG_PARAMETERS:
            raise ValueError("special_drug: deductible, rate and limit, or none of them")
        original_policy = flat(
            parameters["special_drug_deductible"], parameters["special_drug_rate"], parameters["special_drug_limit"]
        )
        special_drug = (Rule(original_policy, "special_drug", SPECIAL_DRUG),)
    everyone_else = schedule(
        ("18000", "60 %"), ("100000", "65 %"), ("200000", "70 %"), ("300000", "75 %"), cap="400000"
    )
    hardship = schedule(("5000", "65 %"), ("100000", "75 %"), ("300000", "85 %"))
    return (
        recorded("basic", EVERY_CARE),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "zero",
            (
                Rule(hardship, "catastrophic", HOSPITAL_CARE, HARDSHIP),
                Rule(everyone_else, "catastrophic", HOSPITAL_CARE, CATEGORIES - HARDSHIP),
            ),
        ),
        Layer("special_drug", SPECIAL_DRUG, "recorded", special_drug),
        Layer(
            "assistance",
            INPATIENT,
            "recorded",
            parametric_rules(parameters, "assistance", HARDSHIP, "assistance", INPATIENT),
        ),
        recorded("institution_reduction", EVERY_CARE),
        recorded("commercial", EVERY_CARE),
        recorded("reassistance", INPATIENT),
        recorded("pku", PKU),
    )


def _shandong_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """The rule before 2019-09, as policies.md gives it (secondary source)."""
    poor = frozenset({"registered_poor"})
    others = CATEGORIES - poor
    everyone = schedule(("12000", "50 %"), ("100000", "60 %"), ("200000", "70 %"), ("300000", "75 %"), cap="400000")
    registered_poor = schedule(
        ("6000", "55 %"), ("100000", "65 %"), ("200000", "75 %"), ("300000", "80 %"), cap="500000"
    )
    return (
        recorded("basic", EVERY_CARE),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "zero",
            (
                Rule(registered_poor, "catastrophic", HOSPITAL_CARE, poor),
                Rule(everyone, "catastrophic", HOSPITAL_CARE, others),
            ),
        ),
        Layer(
            "special_drug",
            SPECIAL_DRUG,
            "zero",
            (
                Rule(schedule(("0", "40 %"), cap="200000"), "special_drug", SPECIAL_DRUG, poor),
                Rule(schedule(("20000", "40 %"), cap="200000"), "special_drug", SPECIAL_DRUG, others),
            ),
        ),
        Layer(
            "assistance",
            INPATIENT,
            "recorded",
            parametric_rules(parameters, "assistance", HARDSHIP, "assistance", INPATIENT),
        ),
        recorded("institution_reduction", EVERY_CARE),
        recorded("commercial", EVERY_CARE),
        recorded("reassistance", INPATIENT),
        recorded("pku", PKU),
    )


def _demo_layers(parameters: Parameters) -> tuple[Layer, ...]:
    """The invented city: every kind of rule that the five documents do not use together."""
    orphan = frozenset({"orphan"})
    relieved = frozenset({"destitute", "dibao"})
    poor = frozenset({"registered_poor"})
    marginal = frozenset({"dibao_marginal", "low_income"})

    orphan_schedule = None
    if "orphan_deductible" in parameters:
        orphan_schedule = flat(parameters["orphan_deductible"], "80 %", "100000")
    income = Fraction(Decimal(str(parameters.get("disposable_income", "30001.01"))))
    deductible_fen = half_up(income * 100 / 2)  # an edge made from a parameter is rounded half up to the fen
    above = _tiers(("0", "60 %"), ("50000", "65 %"), ("100000", "70 %"))
    everyone_else = Schedule(tuple(Tier(deductible_fen + t.from_fen, t.rate) for t in above), fen("300000"))
    hardship = schedule(("5000", "65 %"), ("100000", "75 %"), ("300000", "85 %"))
    year = ("assistance_year", fen("10000"))
    orphan_year = ("assistance_year", fen("30000"))
    by_stay = Rule(
        schedule(("0", "30 %"), ("10000", "40 %"), ("50000", "50 %"), cap="60000"),
        "assistance_inpatient",
        INPATIENT,
        frozenset({"illness_poverty"}),
        ceiling=rate("90 %"),
        stay=Stay(fen("500"), above=True, stay_cap_fen=fen("30000")),
    )
    by_amount = Rule(
        schedule(("0", "20 %"), ("5000", "35 %"), ("50000", "60.5 %")),
        "assistance_inpatient",
        INPATIENT,
        orphan,
        shared_limit=orphan_year,
        stay=Stay(whole=True),
    )
    orphan_clinic = Rule(
        schedule(("0", "80 %")),
        "assistance_outpatient",
        frozenset({"outpatient"}),
        orphan,
        shared_limit=orphan_year,
        ceiling=rate("85.55 %"),
    )

    return (
        recorded("basic", EVERY_CARE),
        Layer(
            "catastrophic",
            HOSPITAL_CARE,
            "zero",
            (
                Rule(hardship, "catastrophic", HOSPITAL_CARE, HARDSHIP),
                Rule(orphan_schedule, "catastrophic", HOSPITAL_CARE, orphan, missing="orphan_deductible"),
                Rule(everyone_else, "catastrophic", HOSPITAL_CARE, CATEGORIES - HARDSHIP - orphan),
            ),
        ),
        Layer(
            "special_drug",
            SPECIAL_DRUG,
            "zero",
            (
                Rule(schedule(("0", "60 %"), cap="200000"), "special_drug", SPECIAL_DRUG, relieved),
                Rule(schedule(("20000", "40 %"), cap="200000"), "special_drug", SPECIAL_DRUG, CATEGORIES - relieved),
            ),
        ),
        Layer(
            "assistance",
            HOSPITAL_CARE,
            "recorded",
            (
                Rule(schedule(("0", "70 %")), "assistance_inpatient", INPATIENT, HARDSHIP, shared_limit=year),
                Rule(
                    schedule(("200", "50 %"), cap="3000"), "assistance_outpatient", CLINIC, HARDSHIP, shared_limit=year
                ),
                by_stay,
                by_amount,
                orphan_clinic,
                *parametric_rules(parameters, "marginal", marginal, "assistance_inpatient", INPATIENT),
            ),
        ),
        Layer(
            "institution_reduction",
            INPATIENT,
            "zero",
            (
                Rule(
                    schedule(("0", "5 %"), cap="2000"),
                    "institution_reduction",
                    INPATIENT,
                    base=("eligible_fee", "first_pay_fee"),
                ),
            ),
            base=("eligible_fee", "first_pay_fee"),
        ),
        Layer(
            "commercial",
            INPATIENT,
            "recorded",
            (Rule(schedule(("1000", "30 %"), cap="50000"), "commercial", INPATIENT, poor, base=("total_fee",)),),
            base=("total_fee",),
            charged_to="total",
        ),
        Layer(
            "reassistance",
            INPATIENT,
            "zero",
            (Rule(schedule(("5000", "70 %"), cap="20000"), "reassistance", INPATIENT, HARDSHIP),),
        ),
        Layer(
            "pku",
            PKU,
            "zero",
            (
                Rule(schedule(("0", "75 %"), cap="15000"), "pku", PKU, ages=(0, 18), base=("total_fee",)),
                Rule(schedule(("0", "70 %"), cap="12000"), "pku", PKU, ages=(19, None), base=("total_fee",)),
            ),
            base=("total_fee",),
        ),
    )


WEIHAI_2019 = OraclePolicy(
    id="weihai-2019",
    region="3710",
    in_force_from=date(2019, 1, 1),
    in_force_to=None,
    known_from=date(2019, 9, 1),
    favour=_FAVOUR_SHANDONG,
    write_layers=_weihai_layers,
    parameter_names=_SPECIAL_DRUG_PARAMETERS | _ASSISTANCE_PARAMETERS,
    window=(date(2019, 1, 1), date(2019, 8, 31)),
    supersedes="shandong-2017",
)

SHANDONG_2017 = OraclePolicy(
    id="shandong-2017",
    region="37",
    in_force_from=date(2017, 1, 1),
    in_force_to=None,
    known_from=date(2017, 1, 1),
    favour=_FAVOUR_SHANDONG,
    write_layers=_shandong_layers,
    parameter_names=_ASSISTANCE_PARAMETERS,
)

DEMO_CITY = OraclePolicy(
    id="demo-city",
    region="9901",
    in_force_from=date(2018, 1, 1),
    in_force_to=None,
    known_from=date(2018, 1, 1),
    favour=FAVOUR_POOREST,
    write_layers=_demo_layers,
    parameter_names=frozenset(
        {"orphan_deductible", "disposable_income", "marginal_deductible", "marginal_rate", "marginal_limit"}
    ),
    window=(date(2019, 1, 1), date(2019, 12, 31)),
)


# --- Which policy ----------------------------------------------------------------------------------

Book = Sequence[OraclePolicy]
AsKnown = date | str | None


def policy_of(book: Book, region: int | None, service_date: date, known: date | None) -> OraclePolicy | None:
    """Return the policy of a row (§4); `known` None means that every policy of the book is known (0001.17)."""
    if len(book) == 1:
        return book[0] if book[0].in_force(service_date) else None
    if region is None:
        return None
    digits = f"{region:06d}"
    holding = [
        policy
        for policy in book
        if digits.startswith(policy.region)
        and policy.in_force(service_date)
        and (known is None or policy.known_from <= known)
    ]
    superseded = {policy.supersedes for policy in holding}
    holding = [policy for policy in holding if policy.id not in superseded]
    longest = max((len(policy.region) for policy in holding), default=0)
    holding = [policy for policy in holding if len(policy.region) == longest]
    if len(holding) > 1:
        raise BookFault(f"{', '.join(policy.id for policy in holding)} all hold on {service_date}")
    return holding[0] if holding else None


# --- One row of the ledger -------------------------------------------------------------------------

OrderKey = tuple[datetime, int, int | bytes]


@dataclass(slots=True, eq=False)
class Bill:
    """One row, read: what it says, and what becomes of it."""

    index: int
    row: Row
    person_id: Any
    settlement_id: Any
    reverses: Any
    order: OrderKey
    service_date: date | None
    year: int | None
    region: int | None
    city: int
    level: int | None = None
    treated_region: int | None = None
    episode_id: Any = None
    status: str = SETTLED
    flags: set[str] = field(default_factory=set)
    total_fee: int = 0
    recorded: dict[str, int] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()
    category: str = ""
    care_type: str = ""
    age: int | None = None
    policy: OraclePolicy | None = None
    original: Bill | None = None
    paid: dict[str, int] = field(default_factory=dict)
    personal: int = 0
    feeds: list[Feed] = field(default_factory=list)
    moved: Moved | None = None
    from_history: bool = False

    @property
    def is_settled(self) -> bool:
        return self.status == SETTLED

    @property
    def is_reversal(self) -> bool:
        return self.reverses is not None

    @property
    def treated_inside(self) -> bool:
        """Tell whether the row was treated in the insured city; where a region cannot be read, it is taken to be."""
        return self.region is None or self.treated_region is None or self.treated_region // 100 == self.city

    @property
    def year_key(self) -> YearKey:
        assert self.year is not None
        return self.person_id, self.year, self.city

    def fee(self, name: str) -> int:
        """Return a fee component; a null one counts as 0 (§8)."""
        return self.row.get(name) or 0

    def fees(self, names: Iterable[str]) -> int:
        return sum(self.fee(name) for name in names)

    def reject(self, code: str) -> None:
        if self.status == SETTLED:
            self.status = code


class Feed(NamedTuple):
    """What one row adds to one account of its person-year."""

    layer: str
    account: str
    base_fen: int
    counts_paid: bool = True


YearKey = tuple[Any, int, int]
Balances = dict[str, list[int]]


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _moment(cell: Any) -> datetime | None:
    """Return when a row was settled; a date is its midnight (§4)."""
    if cell is None or isinstance(cell, datetime):
        return cell
    assert isinstance(cell, date)
    return datetime.combine(cell, time.min)


def _day(cell: Any) -> date | None:
    return cell.date() if isinstance(cell, datetime) else cell


def _order_key(settled_at: datetime | None, settlement_id: Any) -> OrderKey:
    """Return a row's place among its person's rows: integers as integers, text by its UTF-8 bytes (§4)."""
    moment = datetime.min if settled_at is None else settled_at
    if _is_blank(settlement_id):
        return moment, 0, 0
    return moment, 1, settlement_id if isinstance(settlement_id, int) else str(settlement_id).encode()


@lru_cache(maxsize=4096)
def categories_of(cell: str) -> frozenset[str] | None:
    """Return the categories named in one cell, None where it is empty or one of them is unknown (0001.7)."""
    for separator in "，、;；":
        cell = cell.replace(separator, ",")
    names = [name.strip() for name in cell.split(",") if name.strip()]
    found = frozenset(CATEGORY_NAMES.get(name, name) for name in names)
    return found if found and found <= CATEGORIES else None


def age_on(birth: date, day: date) -> int:
    """Return completed years; who was born on 29 February turns on 1 March (§2)."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


@dataclass(frozen=True)
class Reader:
    """Reads rows of one ledger: its columns, and the columns that this run requires."""

    columns: frozenset[str]
    required: tuple[str, ...] = REQUIRED
    counts_stays: bool = False

    def __post_init__(self) -> None:
        missing = [name for name in self.required if name not in self.columns]
        if missing:
            raise LedgerFault(f"the ledger lacks {', '.join(missing)}")

    @property
    def fee_columns(self) -> tuple[str, ...]:
        return tuple(name for name in FEES if name in self.columns)

    @property
    def paid_columns(self) -> tuple[str, ...]:
        return tuple(name for name in PAID_COLUMNS.values() if name in self.columns)

    def bill(self, index: int, row: Row) -> Bill:
        """Read one row as far as it can be read."""
        service_date = _day(row.get("service_date"))
        region = row.get("insured_region") if "insured_region" in self.columns else None
        reverses = row.get("reverses") if "reverses" in self.columns else None
        settlement_id = row.get("settlement_id")
        episode_id = row.get("episode_id") if "episode_id" in self.columns else None
        return Bill(
            index=index,
            row=row,
            person_id=None if _is_blank(row.get("person_id")) else row["person_id"],
            settlement_id=None if _is_blank(settlement_id) else settlement_id,
            reverses=None if _is_blank(reverses) else reverses,
            order=_order_key(_moment(row.get("settled_at")), settlement_id),
            service_date=service_date,
            year=None if service_date is None else service_date.year,
            region=region,
            city=0 if region is None else region // 100,
            level=level_of(row.get("hospital_level")) if "hospital_level" in self.columns else None,
            treated_region=row.get("treated_region") if "treated_region" in self.columns else None,
            episode_id=None if _is_blank(episode_id) else episode_id,
        )

    def lacks_a_cell(self, bill: Bill) -> bool:
        """Tell whether a cell that every row needs is null (§8, 0001.7)."""
        return (
            bill.person_id is None
            or bill.settlement_id is None
            or any(bill.row.get(name) is None for name in self.required)
        )

    def demand(self, column: str) -> None:
        if column not in self.columns:
            raise LedgerFault(f"the ledger lacks {column}, and a row needs it")

    def examine(self, bill: Bill, is_duplicate: bool) -> None:
        """Apply the codes that a row's own cells decide, first match wins (§8, 0001.7 to 0001.9, 0001.12)."""
        if bill.status == "MISSING_VALUE":
            return
        row = bill.row
        fees = [row.get(name) for name in self.fee_columns]
        payments = [row.get(name) for name in self.paid_columns]
        own_share = [row.get("personal_paid")] if "personal_paid" in self.columns else []
        if self.lacks_a_cell(bill):
            bill.reject("MISSING_VALUE")
            return
        if is_duplicate:
            bill.reject("DUPLICATE_SETTLEMENT")
            return
        if self.counts_stays and "deductible_borne" in self.columns:
            own_share.append(row.get("deductible_borne"))
        amounts = [cell for cell in (*fees, *payments, *own_share) if cell is not None]
        if NOT_FEN in amounts:
            bill.reject("AMOUNT_NOT_FEN")
            return
        if amounts and (max(amounts) > ROW_LIMIT_FEN or min(amounts) < -ROW_LIMIT_FEN):
            bill.reject("AMOUNT_OUT_OF_RANGE")
            return
        sign = -1 if bill.is_reversal else 1
        if any(sign * cell < 0 for cell in (*fees, *payments) if cell):
            bill.reject("WRONG_SIGN")
            return
        categories = categories_of(row["category"])
        if categories is None:
            bill.reject("UNKNOWN_CATEGORY")
            return
        if row["care_type"] not in EVERY_CARE:
            bill.reject("UNKNOWN_CARE_TYPE")
            return
        bill.categories = categories
        bill.care_type = row["care_type"]
        bill.total_fee = row["total_fee"]
        for layer, column in PAID_COLUMNS.items():
            cell = row.get(column) if column in self.columns else None
            bill.recorded[layer] = cell or 0

    def flag_sums(self, bill: Bill) -> None:
        """Flag what does not add up, and what pays everything (0001.11)."""
        if bill.is_reversal:
            return
        row = bill.row
        total_fee = bill.total_fee
        if len(self.fee_columns) == len(FEES):
            parts = [row.get(name) for name in FEES[1:]]
            if None not in parts and sum(part for part in parts if part is not None) != total_fee:
                bill.flags.add("FEES_DO_NOT_ADD_UP")
        own_share = row.get("personal_paid") if "personal_paid" in self.columns else None
        if own_share is not None and self.paid_columns and sum(bill.recorded.values()) + own_share != total_fee:
            bill.flags.add("PAID_DOES_NOT_ADD_UP")
        eligible_fee = bill.fee("eligible_fee")
        if eligible_fee > 0 and sum(bill.paid.values()) >= eligible_fee:
            bill.flags.add("FULL_REIMBURSEMENT")
        if total_fee > 0 and bill.personal == 0:
            bill.flags.add("ZERO_PERSONAL_PAYMENT")


# --- The waterfall ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Step:
    """One layer of one row, before it is known what the layer pays."""

    layer: Layer
    rule: Rule | None
    is_recorded: bool
    covered: bool
    ruled_for_some: bool
    base_fen: int
    left_fen: int
    fees_fen: int
    earlier_fen: int  # what the earlier layers paid on these fees


PayStep = Callable[[Bill, Step], int]


def earlier_on(components_fen: int, total_fee: int, eligible_charged_fen: int, total_charged_fen: int) -> int:
    """Return what of the earlier payments fell on a layer's fees (0001.4).

    What was charged to the total falls first on the part of the bill outside the layer's own fees.
    """
    return eligible_charged_fen + max(0, total_charged_fen - (total_fee - components_fen))


def base_of(components_fen: int, total_fee: int, eligible_charged_fen: int, total_charged_fen: int) -> int:
    """Return a layer's base: its fees less the earlier payments that fell on them (§2, 0001.4)."""
    return max(0, components_fen - earlier_on(components_fen, total_fee, eligible_charged_fen, total_charged_fen))


def steps_of(bill: Bill, paid: Mapping[str, int]) -> Iterator[Step]:
    """Yield the eight steps of a row in order; `paid` must hold what the earlier ones paid (§3)."""
    assert bill.policy is not None
    left_fen = bill.total_fee
    charged = {"eligible": 0, "total": 0}
    for treatment in bill.policy.treatments(bill.category, bill.care_type):
        layer = treatment.layer
        rule = treatment.rule_for(bill)
        is_recorded = rule is None and layer.otherwise == "recorded"
        components_fen = bill.fees(layer.base if rule is None else rule.base)
        earlier_fen = earlier_on(components_fen, bill.total_fee, charged["eligible"], charged["total"])
        yield Step(
            layer,
            rule,
            is_recorded,
            treatment.covered,
            treatment.ruled_for_some,
            base_fen=max(0, components_fen - earlier_fen),
            left_fen=left_fen,
            fees_fen=components_fen,
            earlier_fen=earlier_fen,
        )
        payment_fen = paid[layer.name]
        left_fen -= payment_fen
        charged[layer.charged_to] += payment_fen


def feeds_of(step: Step) -> list[Feed]:
    """Return what a step adds to which accounts (0001.2): a row not covered, or paid zero, feeds nothing."""
    name = step.layer.name
    if step.rule is None:
        return [Feed(name, name, step.base_fen)] if step.is_recorded and step.covered else []
    own = Feed(name, step.rule.account, step.base_fen)
    if step.rule.shared_limit is None:
        return [own]
    return [own, Feed(name, step.rule.shared_limit[0], 0)]


def run_waterfall(bill: Bill, pay: PayStep) -> None:
    """Fill in what each layer pays, the person's rest, and what the row feeds (§3)."""
    bill.paid = {}
    bill.feeds = []
    for step in steps_of(bill, bill.paid):
        bill.paid[step.layer.name] = pay(bill, step)
        bill.feeds += feeds_of(step)
    bill.personal = bill.total_fee - sum(bill.paid.values())


def pay_recorded(bill: Bill, step: Step) -> int:
    """Return the ledger's figure, as it stands."""
    return bill.recorded[step.layer.name]


def rule_payment_fen(rule: Rule, step: Step, balances: Balances, borne_fen: int | None = None) -> int:
    """Return what a rule pays on a row, each cut in its turn (§2, 0001.5, 0001.6, 0004.3).

    A year's rule pays R(F(after)) − R(F(before)); a rule per stay looks at this row alone, of which
    `borne_fen` (its whole deductible, where the caller knows no better) is borne.
    """
    if rule.schedule is None:
        raise MissingParameter(rule.missing)
    before_fen, paid_fen = balances.get(rule.account, (0, 0))
    if rule.stay is None:
        payment_fen = rule.schedule.entitled_fen(before_fen + step.base_fen) - rule.schedule.entitled_fen(before_fen)
    else:
        if borne_fen is None:
            borne_fen = min(step.base_fen, rule.stay.deductible_fen)
        payment_fen = rule.stay.entitled_fen(rule.schedule.tiers, step.base_fen, borne_fen)
    if rule.schedule.cap_fen is not None:
        payment_fen = min(payment_fen, max(0, rule.schedule.cap_fen - paid_fen))
    if rule.shared_limit is not None:
        account, limit_fen = rule.shared_limit
        payment_fen = min(payment_fen, max(0, limit_fen - balances.get(account, (0, 0))[1]))
    if rule.ceiling is not None:
        payment_fen = min(payment_fen, max(0, floor(step.fees_fen * rule.ceiling) - step.earlier_fen))
    return min(payment_fen, step.left_fen)


def has_no_rule(bill: Bill, step: Step, columns: Collection[str]) -> bool:
    """Tell whether a recorded layer that covers the row has no figure for it (§2, 0001.3)."""
    if not (step.is_recorded and step.covered):
        return False
    column = PAID_COLUMNS[step.layer.name]
    return bill.row.get(column) is None if column in columns else step.ruled_for_some


def movement(bill: Bill) -> dict[str, tuple[int, int]]:
    """Return account -> (base, payment) that a settled row adds to its year."""
    moved: dict[str, tuple[int, int]] = {}
    for feed in bill.feeds:
        base_fen, paid_fen = moved.get(feed.account, (0, 0))
        moved[feed.account] = (base_fen + feed.base_fen, paid_fen + bill.paid[feed.layer])
    if bill.moved is not None:
        # The meter is an account like any other: the deductible borne is its base, stays stand where payments do.
        moved[METER] = (bill.moved.borne_fen, bill.moved.began)
    return moved


def book_row(bill: Bill, moved: Mapping[str, tuple[int, int]], balances: Balances) -> bool:
    """Add a row to its year's accounts, unless one base would leave the range (§1, 0001.9)."""
    for account, (base_fen, _) in moved.items():
        if abs(balances.get(account, (0, 0))[0] + base_fen) > YEAR_LIMIT_FEN:
            bill.reject("AMOUNT_OUT_OF_RANGE")
            return False
    for account, (base_fen, paid_fen) in moved.items():
        balance = balances.setdefault(account, [0, 0])
        balance[0] += base_fen
        balance[1] += paid_fen
    return True


# --- One person ------------------------------------------------------------------------------------


class Person:
    """The rows of one person, taken in order; persons have nothing to do with each other."""

    def __init__(
        self,
        bills: Sequence[Bill],
        history: Sequence[Bill],
        reader: Reader,
        book: Book,
        as_known: AsKnown,
        *,
        is_reaccounting: bool = False,
        recategorise: Callable[[Bill], None] | None = None,
    ) -> None:
        self.bills = sorted(bills, key=lambda bill: bill.order)
        self.reader = reader
        self.book = book
        self.as_known = as_known
        self.is_reaccounting = is_reaccounting
        self.recategorise = recategorise
        self.history = history
        self.by_id: dict[Any, Bill] = {bill.settlement_id: bill for bill in history}
        known_ids = {bill.settlement_id for bill in history if bill.is_settled}
        self.reversed_ids = {bill.reverses for bill in history if bill.is_reversal and bill.is_settled}
        times: dict[Any, int] = {}
        for bill in self.bills:
            times[bill.settlement_id] = times.get(bill.settlement_id, 0) + 1
        for bill in self.bills:
            if not reader.lacks_a_cell(bill):
                self._demand_level_and_place(bill)
            reader.examine(bill, times[bill.settlement_id] > 1 or bill.settlement_id in known_ids)
        # The input first, only then the history (§5).
        self.by_id.update({b.settlement_id: b for b in self.bills if b.settlement_id is not None})
        self._place_history()

    def _place_history(self) -> None:
        """Put the reversals among the history into the years of their originals (§5)."""
        for bill in self.history:
            original = self.by_id.get(bill.reverses) if bill.is_reversal else None
            if original is not None and original.year is not None:
                bill.year, bill.city = original.year, original.city

    def _demand_level_and_place(self, bill: Bill) -> None:
        """Reject a row whose rules ask for a hospital level or a place that it does not tell (0004, conditions)."""
        categories = categories_of(bill.row["category"])
        if bill.is_reversal or categories is None or bill.row["care_type"] not in EVERY_CARE:
            return
        bill.categories = categories
        bill.care_type = bill.row["care_type"]
        self.place(bill)
        if bill.policy is None:
            return
        rules = list(bill.policy.rules_for(bill.category, bill.care_type))
        if any(rule.levels is not None for rule in rules):
            self.reader.demand("hospital_level")
            if bill.level is None:
                bill.reject("MISSING_VALUE")
        if any(rule.asks_for_place for rule in rules):
            self.reader.demand("treated_region")
            self.reader.demand("insured_region")
            if bill.region is None or bill.treated_region is None:
                bill.reject("MISSING_VALUE")

    def place(self, bill: Bill) -> None:
        """Give a row its policy, its one category and its age (§4, §2)."""
        assert bill.service_date is not None
        known = self.as_known
        if known == "settled_at":
            known = _day(_moment(bill.row["settled_at"]))
        assert not isinstance(known, str)
        bill.policy = policy_of(self.book, bill.region, bill.service_date, known)
        if bill.policy is None and not bill.from_history:
            return
        if bill.from_history:  # a policy of that day, a category as it was settled with (0001.13)
            bill.policy = self._settled_by(bill, bill.policy)
        elif self.recategorise is not None:
            self.recategorise(bill)
        if bill.policy is None:
            return
        bill.category = bill.policy.favoured(bill.categories)
        birth = _day(bill.row.get("birth_date")) if "birth_date" in self.reader.columns else None
        bill.age = None if birth is None else age_on(birth, bill.service_date)

    def _settled_by(self, bill: Bill, found: OraclePolicy | None) -> OraclePolicy | None:
        """Return the policy that a row of the history was settled by, as its table says; None where it is not in the book."""
        named = bill.row.get("policy_id")
        return found if named is None else next((policy for policy in self.book if policy.id == named), None)

    def admit(self, bill: Bill) -> None:
        """Apply the codes that need the policy, the original or the earlier rows (§4, §5, §8)."""
        if not bill.is_settled:
            return
        found = self.by_id.get(bill.reverses) if bill.is_reversal else None
        usable = found is not None and self._can_be_reversed(found, bill)
        if found is None:
            self.place(bill)
        else:
            self._take_over(bill, found)
        if bill.policy is None and (found is None or usable):
            bill.reject("NO_POLICY")
        sign = -1 if bill.is_reversal else 1
        if sign * bill.fee("eligible_fee") > sign * bill.total_fee:
            bill.reject("ELIGIBLE_EXCEEDS_TOTAL")
        if found is None and bill.is_settled:
            self._check_birth_date(bill)
        if found is not None:
            if not usable:
                bill.reject("REVERSAL_WITHOUT_ORIGINAL")
            elif bill.reverses in self.reversed_ids or any(bill.fee(name) != -found.fee(name) for name in FEES):
                bill.reject("REVERSAL_NOT_WHOLE")
        elif bill.is_reversal and all(bill.row.get(name) is None for name in self.reader.paid_columns):
            bill.reject("REVERSAL_WITHOUT_ORIGINAL")
        mirrors_itself = bill.is_reversal and found is None
        if (self.is_reaccounting or mirrors_itself) and sign * sum(bill.recorded.values()) > sign * bill.total_fee:
            bill.reject("PAID_EXCEEDS_TOTAL")
        if bill.is_settled and bill.is_reversal:
            bill.original = found
            self.reversed_ids.add(bill.reverses)

    def _can_be_reversed(self, original: Bill, reversal: Bill) -> bool:
        """An original is settled, comes earlier and is itself no reversal (§5)."""
        return original.is_settled and not original.is_reversal and original.order < reversal.order

    def _take_over(self, reversal: Bill, original: Bill) -> None:
        """Year, city, policy, category, care type and age come from the original (§5, 0001.13)."""
        if original.from_history and original.policy is None and original.is_settled:
            self.place(original)
        if original.year is not None:
            reversal.year, reversal.city = original.year, original.city
        reversal.policy = original.policy
        reversal.category = original.category
        reversal.care_type = original.care_type
        reversal.age = original.age

    def _check_birth_date(self, bill: Bill) -> None:
        assert bill.policy is not None
        if bill.age is None and bill.policy.needs_age(bill.category, bill.care_type):
            if "birth_date" not in self.reader.columns:
                raise LedgerFault("the ledger lacks birth_date, and a row needs the age")
            bill.reject("BIRTH_DATE_MISSING")

    def flag_after_reject(self) -> None:
        """Flag the settled rows that come after a rejected one of their year (§8, 0001.10)."""
        first: dict[int | None, OrderKey] = {}
        for bill in self.bills:
            if not bill.is_settled:
                year = None if bill.service_date is None else bill.year
                order = _order_key(None, None) if bill.row.get("settled_at") is None else bill.order
                first[year] = min(order, first.get(year, order))
        if not first:
            return
        for bill in self.bills:
            if bill.is_settled:
                earliest = [first[year] for year in (None, bill.year) if year in first]
                if earliest and min(earliest) < bill.order:
                    bill.flags.add("AFTER_REJECT")


# --- Plain settlement ------------------------------------------------------------------------------


@dataclass(slots=True)
class Outcome:
    """What became of one input row."""

    status: str
    flags: frozenset[str]
    paid: dict[str, int | None]
    personal: int | None
    policy: str | None
    stale_rows: int = 0
    deductible_borne: int | None = None
    stay_number: int | None = None
    categories: frozenset[str] = frozenset()


Closing = dict[YearKey, dict[str, tuple[int, int]]]


@dataclass
class Result:
    """One outcome per input row, in input order, and the balances and episodes after the last row."""

    outcomes: list[Outcome]
    closing: Closing
    episodes: Episodes = field(default_factory=dict)


Years = dict[YearKey, Balances]


def closing_of(years: Years) -> Closing:
    """Return the balances, accounts without money left out."""
    return {
        key: {account: (base, paid) for account, (base, paid) in balances.items() if base or paid}
        for key, balances in years.items()
    }


class Desk:
    """Settles one person's rows as they come (§2 to §5)."""

    def __init__(self, person: Person, years: Years, meter: Meter) -> None:
        self.person = person
        self.years = years
        self.meter = meter
        self.stale: dict[int, int] = {}

    def settle(self) -> None:
        for bill in self.person.bills:
            self.person.admit(bill)
            if not bill.is_settled:
                continue
            balances = self.years.get(bill.year_key, {})
            if bill.is_reversal:
                added = self._mirror(bill)
            else:
                run_waterfall(bill, partial(self._pay, balances))
                added = movement(bill)
            if book_row(bill, added, balances):
                self.years[bill.year_key] = balances
                self._turn_meter(bill)
                self.person.reader.flag_sums(bill)
            else:
                bill.flags.clear()
                bill.moved = None
                self.person.reversed_ids.discard(bill.reverses)
        self.person.flag_after_reject()

    def _pay(self, balances: Balances, bill: Bill, step: Step) -> int:
        rule = step.rule
        if rule is not None:
            if rule.stay is None or step.layer.name != "basic":
                return rule_payment_fen(rule, step, balances)
            borne_fen, stays = balances.get(METER, (0, 0))
            bill.moved = self.meter.measure(rule.stay, step.base_fen, borne_fen, stays, episode_of(bill, rule.stay))
            return rule_payment_fen(rule, step, balances, 0 if bill.moved is None else bill.moved.borne_fen)
        if not step.is_recorded:
            return 0
        if has_no_rule(bill, step, self.person.reader.columns):
            bill.flags.add("NO_RULE")
        return min(bill.recorded[step.layer.name], step.left_fen)

    def _turn_meter(self, bill: Bill) -> None:
        """Book what a settled row did to its episode; a row rejected for its range has done nothing (0004.14)."""
        assert bill.year is not None
        if bill.moved is not None:
            turn = self.meter.take_back if bill.is_reversal else self.meter.book
            turn(bill.moved, bill.year)

    def _mirror(self, reversal: Bill) -> dict[str, tuple[int, int]]:
        """Repay what the original was paid, layer by layer, and lower its sums by as much (§5, 0001.15)."""
        original = reversal.original
        if original is None:
            reversal.flags.add("ORIGINAL_NOT_SEEN")
            original = _positive(reversal)
            original.moved = recorded_move(original, reversal.row, self.person.reader.columns)
        elif original.from_history:
            original.moved = recorded_move(original, original.row, original.row)
        if original.from_history or not original.paid:
            run_waterfall(original, pay_recorded)
        reversal.paid = {layer: -paid for layer, paid in original.paid.items()}
        reversal.personal = reversal.total_fee - sum(reversal.paid.values())
        reversal.moved = original.moved
        if reversal.original is not None:
            between = self._rows_between(reversal.original, reversal)
            if between:
                reversal.flags.add("STALE_AFTER_REVERSAL")
                self.stale[reversal.index] = between
        return {account: (-base, -paid) for account, (base, paid) in movement(original).items()}

    def _rows_between(self, original: Bill, reversal: Bill) -> int:
        """Count the settled rows of person, year and city that were priced on a total that no longer stands."""
        return sum(
            1
            for rows in (self.person.history, self.person.bills)
            for bill in rows
            if original.order < bill.order < reversal.order
            and bill.is_settled
            and (bill.year, bill.city) == (original.year, original.city)
        )


def episode_of(bill: Bill, terms: Stay) -> EpisodeKey | None:
    """Return the episode that a stay takes part in (0004.8)."""
    if bill.episode_id is None or not terms.takes_part(bill.treated_inside):
        return None
    return bill.person_id, bill.city, bill.episode_id


def recorded_move(original: Bill, row: Row, columns: Collection[str]) -> Moved | None:
    """Return what a row settled elsewhere did to the meter, as its own columns tell it (0004.13)."""
    assert original.policy is not None
    rule = original.policy.treatments(original.category, original.care_type)[0].rule_for(original)
    if rule is None or rule.stay is None or not {"deductible_borne", "stay_number"} <= set(columns):
        return None
    if row["deductible_borne"] is None:
        return None
    return Moved(abs(row["deductible_borne"]), abs(row["stay_number"] or 0), episode_of(original, rule.stay))


def _positive(reversal: Bill) -> Bill:
    """Return the bill of which an unseen original's refund slip is the mirror."""
    return replace(
        reversal,
        row={name: -(reversal.row.get(name) or 0) for name in FEES},
        reverses=None,
        total_fee=-reversal.total_fee,
        recorded={layer: -paid for layer, paid in reversal.recorded.items()},
        flags=set(),
    )


def read_history(history: Sequence[Row] | None) -> dict[Any, list[Bill]]:
    """Return earlier runs' rows by person; one that was not settled then is no original (§5)."""
    people: dict[Any, list[Bill]] = {}
    for index, row in enumerate(history or ()):
        reader = Reader(frozenset(row) | set(REQUIRED))
        bill = reader.bill(index, row)
        bill.from_history = True
        bill.reject(row.get("status") or SETTLED)
        reader.examine(bill, is_duplicate=False)
        people.setdefault(bill.person_id, []).append(bill)
    return people


def history_of(rows: Sequence[Row], columns: Collection[str], result: Result) -> list[Row]:
    """Return a run's rows as it settled them: the history of later runs (§5, 0004.13)."""
    return [
        {name: row[name] for name in columns}
        | {PAID_COLUMNS[layer]: paid for layer, paid in outcome.paid.items()}
        | {"status": outcome.status, "personal_paid": outcome.personal}
        | {"deductible_borne": outcome.deductible_borne, "stay_number": outcome.stay_number}
        | {"policy_id": outcome.policy}
        | ({"category": ",".join(sorted(outcome.categories))} if outcome.categories else {})
        for row, outcome in zip(rows, result.outcomes, strict=True)
    ]


def group_people(rows: Sequence[Row], reader: Reader) -> tuple[list[Bill], dict[Any, list[Bill]]]:
    """Return every row as a bill, and the bills of each person; a row without person is nobody's."""
    read = ({name: cell for name, cell in row.items() if name in reader.columns} for row in rows)
    bills = [reader.bill(index, row) for index, row in enumerate(read)]
    people: dict[Any, list[Bill]] = {}
    for bill in bills:
        if bill.person_id is None:
            bill.reject("MISSING_VALUE")
        else:
            people.setdefault(bill.person_id, []).append(bill)
    return bills, people


def check_book(book: Book, columns: Collection[str], as_known: AsKnown) -> None:
    """Region and known-from select only in a book of several policies (§4)."""
    if len(book) == 1 and as_known is not None:
        raise ValueError("as_known needs a book; one policy alone applies to every row in its time in force")
    if len(book) > 1 and "insured_region" not in columns:
        raise LedgerFault("the ledger lacks insured_region, by which a book selects")


def settle_ledger(
    rows: Sequence[Row],
    columns: Collection[str],
    book: Book,
    *,
    as_known: AsKnown = None,
    opening: Mapping[YearKey, Mapping[str, tuple[int, int]]] | None = None,
    opening_episodes: Mapping[EpisodeKey, tuple[int, int, int]] | None = None,
    history: Sequence[Row] | None = None,
    recategorise: Callable[[Bill], None] | None = None,
) -> Result:
    """Settle every row of a ledger; nothing depends on the order of the input (§4)."""
    reader = Reader(frozenset(columns), counts_stays=any(policy.has_meter for policy in book))
    check_book(book, columns, as_known)
    past = read_history(history)
    years: Years = {
        key: {account: list(balance) for account, balance in accounts.items()}
        for key, accounts in (opening or {}).items()
    }
    meter = Meter(opening_episodes)
    bills, people = group_people(rows, reader)
    stale: dict[int, int] = {}
    for person_id, own_bills in people.items():
        person = Person(own_bills, past.get(person_id, ()), reader, book, as_known, recategorise=recategorise)
        desk = Desk(person, years, meter)
        desk.settle()
        stale |= desk.stale
    return Result([_outcome(bill, stale.get(bill.index, 0)) for bill in bills], closing_of(years), meter.closing())


def _outcome(bill: Bill, stale_rows: int) -> Outcome:
    if not bill.is_settled:
        return Outcome(bill.status, frozenset(), dict.fromkeys(LAYERS), None, None)
    assert bill.policy is not None
    outcome = Outcome(bill.status, frozenset(bill.flags), {**bill.paid}, bill.personal, bill.policy.id, stale_rows)
    outcome.categories = bill.categories
    if bill.moved is not None:
        sign = -1 if bill.is_reversal else 1
        outcome.deductible_borne = sign * bill.moved.borne_fen
        outcome.stay_number = None if bill.is_reversal else bill.moved.number
    return outcome
