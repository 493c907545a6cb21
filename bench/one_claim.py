"""What somebody would write for one claim: the three layers in Decimal, no checks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import weihai

CENT, NOTHING = Decimal("0.01"), Decimal(0)
HELP_RATE, HELP_LIMIT = Decimal(weihai.ASSISTANCE_BP) / 10_000, Decimal(weihai.ASSISTANCE_LIMIT_FEN) / 100
TIERS = {
    who: [(Decimal(edge) / 100, Decimal(rate) / 10_000) for edge, rate in tiers]
    for who, tiers in (("ordinary", weihai.ORDINARY), ("dibao", weihai.HARDSHIP))
}
CAPS = {"ordinary": Decimal(weihai.ORDINARY_CAP_FEN_BP) / 1_000_000, "dibao": Decimal(9_000_000_000)}

Balances = tuple[Decimal, Decimal, Decimal]
"""Of the year so far: what catastrophic insurance was reckoned on, what assistance was, and what assistance has paid."""


def three_layers(claim: Mapping[str, Any], before: Balances | None) -> tuple[Decimal, Decimal, Balances]:
    """Return catastrophic insurance, assistance and the balances after a claim of the usual ledger, in Decimal yuan."""
    spent, helped_on, helped = before or (NOTHING, NOTHING, NOTHING)
    total, eligible, basic = (Decimal(claim[name]) for name in ("total_fee", "eligible_fee", "basic_paid"))
    base = max(NOTHING, eligible - basic)
    category = claim["category"]
    catastrophic = min(_tiers(category, spent + base) - _tiers(category, spent), total - basic)
    rest, assistance = NOTHING, NOTHING
    if category == "dibao":
        rest = max(NOTHING, base - catastrophic)
        assistance = _assistance(helped_on + rest) - _assistance(helped_on)
        assistance = max(NOTHING, min(assistance, HELP_LIMIT - helped, total - basic - catastrophic))
    return catastrophic, assistance, (spent + base, helped_on + rest, helped + assistance)


def _tiers(category: str, spent: Decimal) -> Decimal:
    exact = sum((max(NOTHING, spent - edge) * rate for edge, rate in TIERS[category]), NOTHING)
    return min(exact, CAPS[category]).quantize(CENT, ROUND_HALF_UP)


def _assistance(amount: Decimal) -> Decimal:
    return min(amount * HELP_RATE, HELP_LIMIT).quantize(CENT, ROUND_HALF_UP)
