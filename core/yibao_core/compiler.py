"""Policies into the plan. All variety ends here: the kernels never ask which kind of policy this is."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from yibao_core.errors import PolicyError
from yibao_core.money import BP, YEAR_MAX_FEN
from yibao_core.parameters import counts_stays, goes_by_place, is_usable, resolve
from yibao_core.plan import (
    AGE_UNKNOWN,
    BOUND_ELIGIBLE,
    BOUND_ELIGIBLE_LESS_BASIC,
    BOUND_TOTAL,
    CARE_CODES,
    CELL_NO_RULE,
    CELL_PROGRAM,
    CELL_RECORDED_MASK,
    COMPUTED,
    EXTENDED,
    FOREVER_DAY,
    HEAD_PROGRAMS,
    HEAD_WIDTH,
    MASKS,
    NEEDS_AGE,
    NEEDS_LEVEL,
    NEEDS_TREATED,
    NO_LIMIT_FEN,
    NO_POLICY_INDEX,
    PLACES,
    PLAIN_ADDS_FEES,
    PLAIN_BOUND,
    PLAIN_CELL_RECORDED,
    PLAIN_COMPUTED,
    PLAIN_KEEPS_BASIC,
    PLAIN_NO_RULE,
    PLAIN_RECORDED,
    POLICY_WIDTH,
    PROGRAM_ADDS_FEES,
    PROGRAM_BOUND,
    PROGRAM_COMPUTED_MASK,
    PROGRAM_KEEPS_BASIC,
    PROGRAM_MODE,
    PROGRAM_RECORDED_MASK,
    PROGRAM_STEP_WIDTH,
    PROGRAMS_MAX,
    RECORDED,
    RULE_BASE_MASK,
    RULE_FIRST_TIER,
    RULE_LESS_ALL,
    RULE_TIERS,
    STEP_WIDTH,
    TIER_LOWER_FEN,
    TIER_RATE_BP,
    TIER_WIDTH,
    ZERO,
    CompiledBook,
    Need,
    RuleRef,
)
from yibao_core.policy import (
    CARE_TYPES,
    CATEGORIES,
    FEES,
    LAYERS,
    METERED,
    Amount,
    Layer,
    Policy,
    Rate,
    Rule,
)

BASIC = LAYERS.index(METERED)
HALF_UP_FEN_BP = BP // 2
_ONLY_ELIGIBLE, _ONLY_TOTAL = 1 << FEES.index("eligible_fee"), 1 << FEES.index("total_fee")

Place = tuple[int, str]
"""A hospital level, and "inside" or "outside"."""


def compile_book(
    policies: Sequence[Policy],
    recorded: frozenset[str],
    forced: frozenset[str] = frozenset(),
    accounts: Sequence[str] = (),
    aside: frozenset[str] = frozenset(),
    first: Sequence[str] = (),
) -> CompiledBook:
    """Return the plan of one policy or a book for a ledger whose payment columns are `recorded` (layer names).

    `forced` layers are carried although the ledger has no column for them; `accounts` have a place in balances although
    nothing of this run feeds them, those in `first` before all others; of the layers `aside` the ledger's figure stands, whatever their rules. The first policy that fits a row is its policy: longest region prefix first, then the one that
    supersedes. Raises PolicyError where parameters turn a schedule upside down.
    """
    if not policies:
        raise PolicyError("book: expected at least one policy, got none")
    if len(policies) >= NO_POLICY_INDEX:
        raise PolicyError(f"book: expected fewer than {NO_POLICY_INDEX} policies, got {len(policies)}")
    return _Compiler([set_aside(policy, aside) for policy in policies], recorded, forced, accounts, first).compile()


def set_aside(policy: Policy, names: frozenset[str]) -> Policy:
    """Return the policy without the rules of some layers: of them the ledger's figure stands."""
    if not any(layer.rules and layer.name in names for layer in policy.layers):
        return policy
    layers = (replace(each, rules=(), otherwise="recorded") if each.name in names else each for each in policy.layers)
    return replace(policy, layers=tuple(layers))


def days(moment: "object | None", default: int) -> int:
    return default if moment is None else int(np.datetime64(moment, "D").astype(np.int64))  # type: ignore[call-overload]


def accounts_of(policies: Sequence[Policy]) -> list[str]:
    """Return every account that the policies could ever feed, whatever the ledger and the parameters."""
    names: dict[str, None] = {}
    for policy in policies:
        for layer in policy.layers:
            names[layer.account] = None
            for rule in layer.rules:
                names[rule.account] = None
                if rule.shared_limit:
                    names[rule.shared_limit.account] = None
        if policy.meter:
            names[policy.meter] = None
    return list(names)


def in_order_of_precedence(policies: Sequence[Policy]) -> list[Policy]:
    """Return the policies, longest region prefix first, a superseding policy before what it supersedes."""
    by_id = {policy.id: policy for policy in policies}
    ordered: list[Policy] = []

    def place(policy: Policy) -> None:
        if policy in ordered:
            return
        for other in policies:
            if policy.id in other.supersedes and len(other.region) >= len(policy.region):
                place(other)
        ordered.append(policy)

    for policy in sorted(by_id.values(), key=lambda p: (-len(p.region), -days(p.known_from, 0), p.id)):
        place(policy)
    return ordered


class _Compiler:
    def __init__(
        self,
        policies: Sequence[Policy],
        recorded: frozenset[str],
        forced: frozenset[str],
        accounts: Sequence[str],
        first: Sequence[str],
    ) -> None:
        self.policies = tuple(in_order_of_precedence(policies))
        self.recorded = recorded
        self.words: list[int] = []
        self.rules: list[RuleRef] = []
        self.needs: list[Need] = []
        self.accounts: list[str] = list(first)
        self.fees_used: set[str] = set()
        self.faults: list[str] = []
        self.tiers_max = 1
        self.needs_age = False
        self.active = {
            layer.name
            for policy in self.policies
            for layer in policy.layers
            if layer.name in recorded | forced or any(is_usable(policy, rule) for rule in layer.rules)
        }
        self.extra_accounts = tuple(accounts)
        self.blocks: dict[tuple[object, ...], int] = {}
        self.programs: list[int] = []
        self.program_fees: set[str] = set()

    def compile(self) -> CompiledBook:
        # Accounts first: closing balances name them in the order of the layers, whatever the policies.
        for policy in self.policies:
            for layer in policy.layers:
                if layer.name in self.active:
                    self._account(layer.account)
                    for rule in layer.rules:
                        self._account(rule.account)
                        if rule.shared_limit:
                            self._account(rule.shared_limit.account)
            if policy.meter and counts_stays(policy):
                self._account(policy.meter)
        for name in self.extra_accounts:
            self._account(name)
        self.words = [len(self.policies), len(self.accounts), 0]
        self.words += [0] * (POLICY_WIDTH * len(self.policies))
        for index, policy in enumerate(self.policies):
            at = HEAD_WIDTH + index * POLICY_WIDTH
            self.words[at : at + POLICY_WIDTH] = self._policy_block(policy)
        self.words[HEAD_PROGRAMS] = len(self.words)
        self.words += self.programs
        if self.faults:
            raise PolicyError(self.faults)
        words = np.array(self.words, dtype=np.int64)
        words.flags.writeable = False
        return CompiledBook(
            words,
            self.policies,
            tuple(self.accounts),
            tuple(self.rules),
            tuple(self.needs),
            tuple(name in self.active for name in LAYERS),
            self.tiers_max,
            self.needs_age,
            frozenset(self.fees_used),
            tuple(dict.fromkeys(policy.meter for policy in self.policies if policy.meter in self.accounts)),
            len(self.programs),
            frozenset(self.program_fees),
        )

    def _account(self, name: str) -> int:
        if name not in self.accounts:
            self.accounts.append(name)
        return self.accounts.index(name)

    def _policy_block(self, policy: Policy) -> list[int]:
        window = policy.window or policy.in_force
        favour = len(self.words)
        self.words += _favour_table(policy)
        places = PLACES if goes_by_place(policy) else (None,)
        cells = [self._cell(policy, who, care, place) for place in places for who in CATEGORIES for care in CARE_TYPES]
        first_cell = len(self.words)
        for cell in cells:
            self.words += cell
        return [
            int(policy.region),
            10 ** (6 - len(policy.region)),
            days(policy.in_force.start, 0),
            days(policy.in_force.end, FOREVER_DAY),
            days(policy.known_from, 0),
            days(window.start, 0),
            days(window.end, FOREVER_DAY),
            int(policy.year_follows == "settled_at"),
            HALF_UP_FEN_BP if policy.rounding == "half_up" else 0,
            favour,
            first_cell,
            sum(1 << CATEGORIES.index(category) for category in policy.routing.supplement_categories),
            int(goes_by_place(policy)),
            self._plain_table(policy, cells),
        ]

    def _plain_table(self, policy: Policy, cells: Sequence[Sequence[int]]) -> int:
        """Write the PLAIN_ word of each set of categories and care type; return where they stand."""
        by_cell = [-1 if goes_by_place(policy) else self._plain_word(cell) for cell in cells]
        words: list[int] = []
        for category in _favour_table(policy):
            known = by_cell[category * len(CARE_TYPES) : (category + 1) * len(CARE_TYPES)] if category >= 0 else []
            words += [*known, *[-1] * (CARE_CODES - len(known))]
        return self._placed("plain", words)

    def _plain_word(self, cell: Sequence[int]) -> int:
        program = cell[CELL_PROGRAM]
        if program < 0:
            return -1
        at = self.programs[program]
        return (
            program
            | cell[CELL_RECORDED_MASK] << PLAIN_CELL_RECORDED
            | self.words[at + PROGRAM_RECORDED_MASK] << PLAIN_RECORDED
            | self.words[at + PROGRAM_COMPUTED_MASK] << PLAIN_COMPUTED
            | cell[CELL_NO_RULE] << PLAIN_NO_RULE
            | self.words[at + PROGRAM_ADDS_FEES] << PLAIN_ADDS_FEES
            | self.words[at + PROGRAM_KEEPS_BASIC] << PLAIN_KEEPS_BASIC
            | self.words[at + PROGRAM_BOUND] << PLAIN_BOUND
        )

    def _cell(self, policy: Policy, category: str, care: str, place: Place | None) -> list[int]:
        steps: list[int] = []
        needs = recorded_mask = no_rule = 0
        lacking: list[tuple[Rule, str]] = []
        for layer in policy.layers:
            if layer.name not in self.active:
                continue
            rules = [
                rule
                for rule in layer.rules
                if category in rule.who and care in rule.care_types and is_usable(policy, rule, category)
            ]
            needs |= NEEDS_LEVEL if any(rule.goes_by_level for rule in rules) else 0
            needs |= NEEDS_TREATED if any(rule.goes_by_treated for rule in rules) else 0
            bands = _bands([rule for rule in rules if place is None or rule.covers_place(*place)])
            needs |= NEEDS_AGE if len(bands) > 1 else 0
            for age_from, age_to, rule in bands:
                mode = RECORDED if layer.otherwise == "recorded" else ZERO
                if rule:
                    mode = COMPUTED if rule.stay is None and rule.ceiling_bp is None else EXTENDED
                covered = care in layer.care_types
                if mode == RECORDED and covered:
                    if layer.name in self.recorded:
                        recorded_mask |= 1 << LAYERS.index(layer.name)
                    elif any(care in other.care_types and is_usable(policy, other) for other in layer.rules):
                        no_rule = 1
                lacking += [(rule, name) for name in _missing(policy, rule, category)] if rule else []
                steps += [
                    LAYERS.index(layer.name),
                    mode,
                    self._rule_block(policy, layer, rule, category, place),
                    int(rule is not None or (mode == RECORDED and covered)),
                    int(layer.charged_to == "total"),
                    age_from,
                    age_to,
                ]
        first = self._placed("steps", steps)
        self.needs_age |= bool(needs & NEEDS_AGE)
        need = self._need(Need(policy.id, category, tuple(lacking))) if lacking else 0
        program = -1 if needs or need or place else self._program(policy, steps)
        return [first, first + len(steps), needs, need, recorded_mask, no_rule, program]

    def _program(self, policy: Policy, steps: Sequence[int]) -> int:
        """Return which program does what the steps do, -1 where none can."""
        recorded_mask = computed_mask = 0
        program: list[int] = []
        bound, first_fen = BOUND_ELIGIBLE_LESS_BASIC, 2 * YEAR_MAX_FEN
        keeps_basic = less_basic = False  # so far
        masks = set()
        for at in range(0, len(steps), STEP_WIDTH):
            layer, mode, rule, feeds, charged_total, age_from, age_to = steps[at : at + STEP_WIDTH]
            mask = self.words[rule + RULE_BASE_MASK]
            if mode == EXTENDED or (age_from, age_to) != (0, AGE_UNKNOWN) or not self.words[rule + RULE_LESS_ALL]:
                return -1
            if mode == RECORDED and layer == BASIC:
                if any(program[at + PROGRAM_MODE] == COMPUTED for at in range(0, len(program), PROGRAM_STEP_WIDTH)):
                    return -1  # what is left may cut it
                keeps_basic, less_basic = True, not charged_total
            elif mode == RECORDED:
                recorded_mask |= 1 << layer
            else:
                computed_mask |= 1 << layer
            if mode == COMPUTED:
                first_fen = min(first_fen, self._first_paid_fen(rule))
                bound = min(bound, BOUND_ELIGIBLE if not less_basic else bound)
                bound = BOUND_TOTAL if mask != _ONLY_ELIGIBLE else bound
            if mode == COMPUTED or feeds or layer == BASIC:
                program += [layer, mode, rule, feeds, charged_total, mask]
                masks.add(mask)
        adds_fees = int(not masks <= {_ONLY_ELIGIBLE, _ONLY_TOTAL})
        half_fen_bp = HALF_UP_FEN_BP if policy.rounding == "half_up" else 0
        head = [recorded_mask, computed_mask, bound, int(keeps_basic), adds_fees, first_fen, half_fen_bp]
        words = [*head, len(program) // PROGRAM_STEP_WIDTH, *program]
        self.program_fees |= {fee for bit, fee in enumerate(FEES) for mask in masks if mask >> bit & 1}
        place = self._placed("program", words)
        if place not in self.programs:
            self.programs.append(place)
        index = self.programs.index(place)
        return index if index < PROGRAMS_MAX else -1

    def _first_paid_fen(self, rule: int) -> int:
        """Return the cumulative base up to which a rule pays nothing."""
        tiers = range(self.words[rule + RULE_TIERS])
        edges = [rule + RULE_FIRST_TIER + tier * TIER_WIDTH for tier in tiers]
        paying = [self.words[at + TIER_LOWER_FEN] for at in edges if self.words[at + TIER_RATE_BP] > 0]
        return min(paying, default=2 * YEAR_MAX_FEN)

    def _need(self, need: Need) -> int:
        """Return which of the needs this is, counted from 1."""
        if need not in self.needs:
            self.needs.append(need)
        return self.needs.index(need) + 1

    def _rule_block(self, policy: Policy, layer: Layer, rule: Rule | None, category: str, place: Place | None) -> int:
        source = rule or layer
        self.fees_used |= set(source.base)
        earlier = [LAYERS.index(name.name) for name in policy.layers[: policy.layers.index(layer)]]
        less = [LAYERS.index(name) for name in source.less]
        account = self._account(source.account)
        limit = rule.shared_limit if rule else None
        tiers = self._tiers(policy, layer, rule, category) if rule else []
        cap = None if rule is None or rule.cap_fen is None else resolve(rule.cap_fen, policy, category)
        self.tiers_max = max(self.tiers_max, len(tiers))
        extension = self._extension(policy, layer, rule, category, place) if rule else 0
        block = [
            sum(1 << FEES.index(fee) for fee in source.base),
            sum(1 << index for index in less),
            int(set(less) == set(earlier)),
            account,
            self._account(limit.account) if limit else account,
            (resolve(limit.limit_fen, policy, category) or 0) if limit else NO_LIMIT_FEN,
            YEAR_MAX_FEN if cap is None else min(cap, YEAR_MAX_FEN),
            extension,
            len(tiers),
        ]
        for index, (lower, rate) in enumerate(tiers):
            upper = tiers[index + 1][0] if index + 1 < len(tiers) else YEAR_MAX_FEN
            block += [lower, upper, rate]
        kind = (policy.id, layer.name, rule.id if rule else None)
        if (kind, *block) not in self.blocks:
            self.rules.append(RuleRef(policy, layer, rule))
            self.blocks[(kind, *block)] = self._placed(kind, [len(self.rules) - 1, *block])
        return self.blocks[(kind, *block)]

    def _placed(self, kind: object, block: list[int]) -> int:
        """Return where a block stands in the plan: equal ones stand there once, so that they stay in the cache."""
        if (kind, *block) not in self.blocks:
            self.blocks[(kind, *block)] = len(self.words)
            self.words += block
        return self.blocks[(kind, *block)]

    def _extension(self, policy: Policy, layer: Layer, rule: Rule, category: str, place: Place | None) -> int:
        stay = rule.stay
        if stay is None and rule.ceiling_bp is None:
            return 0

        def value(amount: Amount | Rate | None, none: int) -> int:
            return none if amount is None else resolve(amount, policy, category) or 0

        referral = stay is not None and (
            stay.referral == "anywhere" or (stay.referral == "inside" and place is not None and place[1] == "inside")
        )
        shares = stay.later_bp if stay else ()
        block = [
            int(stay is not None),
            value(rule.ceiling_bp, -1),
            value(stay.cap_fen if stay else None, YEAR_MAX_FEN),
            value(rule.deductible_fen, 0),
            int(rule.edges_above_deductible),
            int(stay is not None and stay.whole),
            self._account(policy.meter) if stay and policy.meter and layer.name == METERED else -1,
            int(stay is not None and stay.once),
            int(referral),
            value(stay.deductible_limit_fen if stay else None, YEAR_MAX_FEN),
            len(shares),
            *shares,
        ]
        return self._placed("extension", block)

    def _tiers(self, policy: Policy, layer: Layer, rule: Rule, category: str) -> list[tuple[int, int]]:
        """Return absolute (lower edge, rate); no tiers where a required parameter is missing."""
        if _missing(policy, rule, category):
            return []
        deductible = resolve(rule.deductible_fen, policy, category) or 0
        # A rule per stay finds its own way past the deductible, which may be lower for the stay.
        shift = deductible if rule.edges_above_deductible and rule.stay is None else 0
        tiers = [
            ((resolve(tier.lower_fen, policy, category) or 0) + shift, resolve(tier.rate_bp, policy, category) or 0)
            for tier in rule.tiers
        ]
        if any(later[0] <= earlier[0] for earlier, later in pairwise(tiers)):
            self.faults.append(
                f"{policy.id}: layers.{layer.name}.rules.{rule.id}.tiers: expected ascending edges, "
                f"got {[lower for lower, _ in tiers]} fen with the given parameters"
            )
        if rule.stay is not None and tiers:
            tiers[0] = (0, tiers[0][1])
        return tiers


def _bands(rules: Sequence[Rule]) -> list[tuple[int, int, Rule | None]]:
    """Return (age from, age to, rule or None): disjoint, together all ages and the unknown one."""
    cuts = sorted({0, AGE_UNKNOWN + 1} | {r.age_from for r in rules} | {r.age_to + 1 for r in rules if not r.any_age})
    bands: list[tuple[int, int, Rule | None]] = []
    for start, end in pairwise(cuts):
        found = next((r for r in rules if r.any_age or r.age_from <= start <= r.age_to), None)
        if bands and bands[-1][2] is found:
            bands[-1] = (bands[-1][0], end - 1, found)
        else:
            bands.append((start, end - 1, found))
    return bands


def _favour_table(policy: Policy) -> list[int]:
    order = [CATEGORIES.index(name) for name in policy.favour]
    return [next((category for category in order if mask >> category & 1), -1) for mask in range(MASKS)]


def _value(policy: Policy, parameter: str, category: str) -> int | None:
    values = policy.values.get(parameter, {})
    return values.get(category, values.get(""))


def _missing(policy: Policy, rule: Rule, category: str) -> list[str]:
    """Return the required parameters of the rule that have no value for the category."""
    required = {p.name for p in policy.parameters if p.required}
    return [name for name in rule.parameters if name in required and _value(policy, name, category) is None]
