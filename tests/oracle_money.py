"""Money, rates, rounding and tiers as every part of the oracle counts them. Shares nothing with the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction


def fen(yuan: str | int | Decimal) -> int:
    """Return an amount in yuan as fen; it must be a whole number of them."""
    exact = Fraction(Decimal(str(yuan))) * 100
    if exact.denominator != 1:
        raise ValueError(f"{yuan} yuan is not a whole number of fen")
    return exact.numerator


def rate(percent: str) -> Fraction:
    """Return "70 %" as 7/10."""
    number, sign, rest = percent.partition("%")
    if not sign or rest.strip():
        raise ValueError(f"expected a percentage, got {percent!r}")
    return Fraction(Decimal(number.strip())) / 100


def half_up(exact: Fraction) -> int:
    """Return the nearest whole number, a half rounded up (§1)."""
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


@dataclass(frozen=True)
class Tier:
    """From this amount on, this rate."""

    from_fen: int
    rate: Fraction


def marginal(tiers: Sequence[Tier], amount_fen: int) -> Fraction:
    """Return the exact sum of what each tier pays on its part of an amount."""
    exact = Fraction(0)
    upper_fen = amount_fen
    for tier in reversed(tiers):
        if upper_fen > tier.from_fen:
            exact += tier.rate * (upper_fen - tier.from_fen)
            upper_fen = tier.from_fen
    return exact
