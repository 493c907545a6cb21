"""What a person writes: a policy as frozen data. Reading and checking files is `policy_file`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

# The engine's layers: always these eight; a policy states their order.
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
CATEGORIES = (
    "ordinary",
    "registered_poor",
    "destitute",
    "dibao",
    "dibao_marginal",
    "severe_disability",
    "low_income",
    "illness_poverty",
    "orphan",
)
CARE_TYPES = ("inpatient", "outpatient", "chronic_outpatient", "special_drug", "pku")
LEVELS = (1, 2, 3, 9)
"""Hospital levels; 9 is not graded."""
TREATED = ("inside", "outside")
"""Where a person was treated: in the insured city or out of it."""
FEES = ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee", "eligible_fee")
AGE_MAX = 126
METERED = "basic"
"""The layer whose stays are counted: numbers, deductibles borne, referrals."""


@dataclass(frozen=True)
class Derived:
    """A value that comes from a parameter: `share_bp` basis points of it (10,000: the parameter itself)."""

    parameter: str
    share_bp: int = 10_000


Amount = int | Derived
"""Fen, or derived from a parameter in fen."""
Rate = int | Derived
"""Basis points, or derived from a parameter in basis points."""


@dataclass(frozen=True)
class Tier:
    """One step of a schedule: from `lower_fen` on (as written: with or above the deductible) pay `rate_bp`."""

    lower_fen: Amount
    rate_bp: Rate


@dataclass(frozen=True)
class SharedLimit:
    """A yearly limit on payments that several rules draw on, under the name of its account."""

    account: str
    limit_fen: Amount


@dataclass(frozen=True)
class Stay:
    """What a rule per stay says beside its schedule (decision 0004); from `later_bp` on in the layer `basic` only."""

    whole: bool = False  # one tier's rate for all of the stay, not marginal tiers
    cap_fen: Amount | None = None
    later_bp: tuple[int, ...] = ()  # shares of the deductible: first stay of the year, second, …
    deductible_limit_fen: Amount | None = None
    once: bool = False
    referral: str = ""  # "inside" or "anywhere": the deductible goes on through an episode


@dataclass(frozen=True)
class Rule:
    """Who gets what from a layer: the first rule of the layer that covers a row is applied."""

    id: str
    who: tuple[str, ...]  # categories
    care_types: tuple[str, ...]
    tiers: tuple[Tier, ...]
    source: str
    deductible_fen: Amount = 0
    edges_above_deductible: bool = False
    cap_fen: Amount | None = None
    base: tuple[str, ...] = ("eligible_fee",)
    less: tuple[str, ...] = ()  # the earlier layers whose payments reduce the base; a file's default is all of them
    account: str = ""
    shared_limit: SharedLimit | None = None
    age_from: int = 0
    age_to: int = AGE_MAX
    levels: tuple[int, ...] = LEVELS
    treated: tuple[str, ...] = TREATED
    ceiling_bp: Rate | None = None
    stay: Stay | None = None  # None: cumulative over the year

    @property
    def goes_by_level(self) -> bool:
        return self.levels != LEVELS

    @property
    def goes_by_place(self) -> bool:
        return self.goes_by_level or self.goes_by_treated

    @property
    def goes_by_treated(self) -> bool:
        return self.treated != TREATED or (self.stay is not None and self.stay.referral == "inside")

    def covers_place(self, level: int, treated: str) -> bool:
        return level in self.levels and treated in self.treated

    @property
    def any_age(self) -> bool:
        return self.age_from == 0 and self.age_to == AGE_MAX

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that the rule cannot be computed without, in the order in which it names them."""
        amounts: list[Amount | None] = [self.deductible_fen, *(tier.lower_fen for tier in self.tiers)]
        amounts += [tier.rate_bp for tier in self.tiers]
        amounts += [self.cap_fen, self.shared_limit.limit_fen if self.shared_limit else None, self.ceiling_bp]
        amounts += [self.stay.cap_fen, self.stay.deductible_limit_fen] if self.stay else []
        return tuple(dict.fromkeys(amount.parameter for amount in amounts if isinstance(amount, Derived)))


@dataclass(frozen=True)
class Layer:
    """One benefit. `otherwise` is what a row gets that no rule reaches: "recorded" or "zero"."""

    name: str
    care_types: tuple[str, ...]
    otherwise: str
    source: str
    rules: tuple[Rule, ...] = ()
    charged_to: str = "eligible"  # or "total": first the part outside the base
    base: tuple[str, ...] = ("eligible_fee",)  # of rows that no rule reaches; rules inherit it
    less: tuple[str, ...] = ()
    account: str = ""


@dataclass(frozen=True)
class Parameter:
    """A number that the documents leave to somebody else."""

    name: str
    unit: str  # "yuan" or "percent"
    meaning: str
    required: bool
    source: str
    per_category: tuple[str, ...] = ()  # empty: one value for everybody
    default: int | None = None  # fen or basis points
    minimum: int | None = None
    maximum: "int | Derived | None" = None  # Derived: a share of another parameter


@dataclass(frozen=True)
class Ratio:
    """A share of the policy-range cost that a document wants a layer to pay on average: reported, never enforced."""

    layer: str
    care_types: tuple[str, ...]
    target_bp: int
    source: str


@dataclass(frozen=True)
class Span:
    """Days from `start` to `end`, both included; None is open."""

    start: date
    end: date | None = None
    source: str = ""

    def overlaps(self, other: "Span") -> bool:
        first = self.end is None or other.start <= self.end
        return first and (other.end is None or self.start <= other.end)


@dataclass(frozen=True)
class Routing:
    """Where a re-accounting sends what is not the person's.

    `assistance_inside` and `assistance_outside` (treatment in or out of the insured city): "institution" or
    "district". Who has the commercial supplement and is in one of `supplement_categories` is paid nothing himself: the
    difference returns to the assistance and the commercial fund.
    """

    assistance_inside: str = "institution"
    assistance_outside: str = "district"
    supplement_categories: tuple[str, ...] = ("registered_poor",)
    source: str = ""


@dataclass(frozen=True)
class Policy:
    """A document's rules as data. Made by `policy_file.read_policy`; `digest` names file and parameters."""

    id: str
    title: str
    document: str
    region: str
    in_force: Span
    known_from: date
    favour: tuple[str, ...]  # categories, the first that a person has counts
    layers: tuple[Layer, ...]
    issued: date | None = None
    known_source: str = ""
    favour_source: str = ""
    window: Span | None = None
    supersedes: tuple[str, ...] = ()
    rounding: str = "half_up"  # or "down"
    year_follows: str = "service_date"  # or "settled_at"
    note: str = ""
    routing: Routing = Routing()
    financing_fen: int | None = None  # a year for each enrollee, into catastrophic insurance
    parameters: tuple[Parameter, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Parameter → category ("" where it has one value for everybody) → fen or basis points; defaults filled in."""
    digest: str = ""

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def meter(self) -> str | None:
        """The account that counts stays and the deductibles they bore, None where no rule asks for it."""
        layer = next((layer for layer in self.layers if layer.name == METERED), None)
        counted = layer is not None and any(rule.stay is not None for rule in layer.rules)
        return f"{layer.account}_deductible" if layer is not None and counted else None
