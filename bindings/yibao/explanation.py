"""The kernel's own trace, as data and in words. Nothing is computed again: every figure was written by the kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yibao.money import yuan
from yibao_core import layers as trace_words
from yibao_core.money import YEAR_MAX_FEN
from yibao_core.plan import COMPUTED, EXTENDED, RECORDED, CompiledBook
from yibao_core.policy import LAYERS, Policy

_LABELS = {
    "basic": "basic insurance 基本医保",
    "catastrophic": "catastrophic insurance 大病保险",
    "special_drug": "special drugs 特药",
    "assistance": "medical assistance 医疗救助",
    "institution_reduction": "institution's reduction 医疗机构减免",
    "commercial": "commercial supplement 医疗商业补充保险",
    "reassistance": "re-assistance 再救助",
    "pku": "PKU food 苯丙酮尿症",
}
_MODES = {COMPUTED: "computed", EXTENDED: "computed", RECORDED: "recorded"}


@dataclass(frozen=True)
class TierTrace:
    """One tier of a schedule: its edges, its rate, the part of this row's base inside it and what that part pays before rounding."""

    lower: Decimal
    upper: Decimal
    rate_percent: Decimal
    part: Decimal
    amount: Decimal


@dataclass(frozen=True)
class StayTrace:
    """What a stay bears of its deductible, and why."""

    deductible: Decimal  # as the rule has it
    number: int  # in the year, 0 where stays are not counted
    goes_on: bool  # with the deductible of an episode that this stay began
    share_percent: Decimal  # of the deductible, for this number
    credit: Decimal  # borne earlier in the episode, or in the year
    borne: Decimal
    deductible_left: Decimal | None  # of the limit on the year's deductibles, None where there is none
    cap: Decimal | None  # the most that one stay is paid


@dataclass(frozen=True)
class LayerTrace:
    """What the kernel did in one layer. Yuan; cumulative amounts are the person's year so far."""

    layer: str
    mode: str  # "computed", "recorded" or "zero"
    rule: str  # the rule's id, "" where no rule applies
    source: str
    component: Decimal
    base: Decimal
    cumulative_before: Decimal
    cumulative_after: Decimal
    tiers: tuple[TierTrace, ...]
    entitled_before: Decimal
    entitled_after: Decimal
    cap_left: Decimal
    limit_left: Decimal
    left: Decimal
    recorded: Decimal
    paid: Decimal
    capped: bool = False  # the yearly cap holds the entitlement after this row
    ceiling_left: Decimal | None = None  # None: the rule has no ceiling
    stay: "StayTrace | None" = None  # of a rule per stay; the entitlement is then the stay's own


def read_trace(trace: NDArray[np.int64], book: CompiledBook) -> tuple[LayerTrace, ...]:
    """Return the kernel's trace array as one entry for each layer that it went through."""
    found = []
    for part in trace.reshape(len(LAYERS), -1) if len(trace) else ():
        if part[trace_words.TRACE_LAYER] < 0:
            break
        ref = book.rules[int(part[trace_words.TRACE_RULE])]
        mode = _MODES.get(int(part[trace_words.TRACE_MODE]), "zero")
        computed = mode == "computed"
        found.append(
            LayerTrace(
                layer=LAYERS[int(part[trace_words.TRACE_LAYER])],
                mode=mode,
                rule=ref.rule.id if ref.rule else "",
                source=(ref.rule or ref.layer).source,
                component=yuan(part[trace_words.TRACE_COMPONENT_FEN]),
                base=yuan(part[trace_words.TRACE_BASE_FEN]),
                cumulative_before=yuan(part[trace_words.TRACE_BASE_BEFORE_FEN]),
                cumulative_after=yuan(part[trace_words.TRACE_BASE_AFTER_FEN]),
                tiers=_tiers(part) if computed else (),
                entitled_before=yuan(part[trace_words.TRACE_ENTITLED_BEFORE_FEN] if computed else 0),
                entitled_after=yuan(part[trace_words.TRACE_ENTITLED_AFTER_FEN] if computed else 0),
                cap_left=yuan(part[trace_words.TRACE_CAP_LEFT_FEN]),
                limit_left=yuan(part[trace_words.TRACE_LIMIT_LEFT_FEN]),
                left=yuan(part[trace_words.TRACE_LEFT_FEN]),
                recorded=yuan(part[trace_words.TRACE_RECORDED_FEN]),
                paid=yuan(part[trace_words.TRACE_PAID_FEN]),
                capped=computed and bool(part[trace_words.TRACE_CAPPED] == 1),
                ceiling_left=_ceiling(part),
                stay=_stay(part) if part[trace_words.TRACE_PER_STAY] == 1 else None,
            )
        )
    return tuple(found)


def _ceiling(part: NDArray[np.int64]) -> Decimal | None:
    left = part[trace_words.TRACE_CEILING_LEFT_FEN]
    return yuan(left) if left >= 0 else None


def _stay(part: NDArray[np.int64]) -> StayTrace:
    cap, limit_left = part[trace_words.TRACE_STAY_CAP_FEN], part[trace_words.TRACE_DEDUCTIBLE_LEFT_FEN]
    return StayTrace(
        deductible=yuan(part[trace_words.TRACE_DEDUCTIBLE_FEN]),
        number=int(part[trace_words.TRACE_STAY_NUMBER]),
        share_percent=Decimal(int(part[trace_words.TRACE_STAY_SHARE_BP])).scaleb(-2),
        credit=yuan(part[trace_words.TRACE_CREDIT_FEN]),
        goes_on=bool(part[trace_words.TRACE_STAY_GOES_ON] == 1),
        borne=yuan(part[trace_words.TRACE_BORNE_FEN]),
        deductible_left=yuan(limit_left) if limit_left >= 0 else None,
        cap=yuan(cap) if cap < YEAR_MAX_FEN else None,
    )


def _tiers(part: NDArray[np.int64]) -> tuple[TierTrace, ...]:
    tiers = []
    for index in range(int(part[trace_words.TRACE_TIERS])):
        at = trace_words.TRACE_FIRST_TIER + index * trace_words.TRACE_TIER_WIDTH
        tier = part[at : at + trace_words.TRACE_TIER_WIDTH]
        tiers.append(
            TierTrace(
                lower=yuan(tier[trace_words.TRACE_TIER_LOWER_FEN]),
                upper=yuan(tier[trace_words.TRACE_TIER_UPPER_FEN]),
                rate_percent=Decimal(int(tier[trace_words.TRACE_TIER_RATE_BP])).scaleb(-2),
                part=yuan(tier[trace_words.TRACE_TIER_PART_FEN]),
                amount=Decimal(int(tier[trace_words.TRACE_TIER_AMOUNT_FEN_BP])).scaleb(-6),
            )
        )
    return tuple(tiers)


def explain_trace(
    trace: tuple[LayerTrace, ...],
    policy: Policy | None,
    paid: Mapping[str, Decimal],
    personal: Decimal,
    flags: tuple[str, ...],
) -> str:
    """Return a settlement in words: one paragraph a layer, with figures from the trace and the articles."""
    lines = []
    if policy is not None:
        lines.append(f"Policy {policy.id} ({policy.document}): {policy.title}")
    if not trace:
        lines.append("A reversal: every payment is the mirror of its original's.")
        lines += [f"  {_LABELS[layer]}: {amount:,}" for layer, amount in paid.items() if amount]
    for step in trace:
        if step.mode == "computed":
            lines += _computed(step)
        elif step.mode == "recorded" and (step.recorded or step.paid):
            cut = "" if step.paid == step.recorded else f", cut to {step.paid:,}: no more was left of the bill"
            lines.append(f"{_LABELS[step.layer]}: {step.recorded:,} as recorded{cut}. [{step.source}]")
    lines.append(f"Left to the person: {personal:,}")
    if flags:
        lines.append(f"Flags: {', '.join(flags)}")
    return "\n".join(lines)


def _computed(step: LayerTrace) -> list[str]:
    lines = [
        f"{_LABELS[step.layer]}: pays {step.paid:,}. [rule {step.rule}: {step.source}]",
        f"  base {step.base:,} (component {step.component:,} less what earlier layers paid on it)",
        f"  cumulative this year {step.cumulative_before:,} → {step.cumulative_after:,}",
        *(_borne(step.stay) if step.stay else ()),
    ]
    first = step.tiers[0].lower if step.tiers else Decimal(0)
    if not step.stay and step.cumulative_before < first:
        lines.append(f"  up to {first:,}: nothing")
    for tier in step.tiers:
        if tier.part:
            upper = "" if tier.upper >= 9 * 10**9 else f" to {tier.upper:,}"
            lines.append(
                f"  from {tier.lower:,}{upper}: {tier.part:,} × {_percent(tier.rate_percent)} % = {_plain(tier.amount)}"
            )
    whole = step.entitled_after - step.entitled_before
    if step.stay:
        lines.append(f"  entitled for this stay, rounded once to the fen: {whole:,}")
    else:
        lines.append(
            f"  entitled so far {step.entitled_before:,} → {step.entitled_after:,}"
            f"{' (the yearly cap)' if step.capped else ''}, rounded once each to the fen: {whole:,}"
        )
    if step.paid != whole:
        limits = {"yearly cap": step.cap_left, "shared limit": step.limit_left, "bill": step.left}
        if step.stay and step.stay.cap is not None:
            limits["cap of one stay"] = step.stay.cap
        if step.ceiling_left is not None:
            limits["ceiling"] = step.ceiling_left
        name, amount = min(limits.items(), key=lambda item: item[1])
        lines.append(f"  cut to {step.paid:,}: the {name} leaves {amount:,}")
    return lines


def _borne(stay: StayTrace) -> list[str]:
    """Return how much of the deductible the stay bears, and why not all of it."""
    reasons = []
    if stay.number:
        goes_on = "goes on with the episode of " if stay.goes_on else ""
        reasons.append(f"{goes_on}stay {stay.number} of the year")
    if stay.share_percent != 100:
        reasons.append(f"{_percent(stay.share_percent)} % of it")
    if stay.credit:
        reasons.append(f"{stay.credit:,} borne before")
    if stay.deductible_left is not None:
        reasons.append(f"{stay.deductible_left:,} left of the year's limit")
    why = f" ({', '.join(reasons)})" if reasons else ""
    return [f"  deductible {stay.deductible:,}{why}: the stay bears {stay.borne:,}"]


def _percent(rate: Decimal) -> str:
    return f"{rate.normalize():f}"


def _plain(amount: Decimal) -> str:
    whole = amount.quantize(Decimal("0.01"))
    return f"{whole:,}" if whole == amount else f"{amount.normalize():,f}"


def explain(
    ledger: Any,
    settlement_id: Any,
    policy: Any,
    *,
    as_known: Any = None,
    opening: Any = None,
    history: Any = None,
    roster: Any = None,
    roster_mode: str = "add",
    columns: Any = None,
) -> str:
    """Return one settlement of a ledger in words: its person's rows are settled up to it, the kernel tells what it did.

    The options are those of `settle_ledger`: what it was settled with explains it.

    LedgerError where no row has the id; ClaimError where the row is rejected.
    """
    from yibao.tracing import explain_row

    return explain_row(
        ledger,
        settlement_id,
        policy,
        as_known=as_known,
        opening=opening,
        history=history,
        roster=roster,
        roster_mode=roster_mode,
        columns=columns,
    )
