"""Fen and basis points, and the one place where a product becomes fen again."""

from yibao_core._jit import kernel

BP = 10_000
"""Basis points in one."""

ROW_MAX_FEN = 10**10
"""No amount of a row may be larger."""

YEAR_MAX_FEN = 9 * 10**11
"""No yearly cumulative amount may be larger: times 10,000 basis points it stays below 2**53."""

NULL_FEN = -(2**63)
"""Stands for a null cell in a money column."""

NOT_FEN = -(2**63) + 1
"""Stands for a cell that is not a whole number of fen."""


@kernel
def round_fen(amount_fen_bp: int, half_fen_bp: int) -> int:
    """Return fen x basis points as whole fen; `half_fen_bp` 5,000 rounds half up, 0 down.

    Called once per layer, never per tier. Exact for 0 <= amount_fen_bp <= 9.2e18.
    """
    return (amount_fen_bp + half_fen_bp) // BP


@kernel
def scale_fen(amount_fen: int, numerator_fen: int, denominator_fen: int) -> int:
    """Return amount x numerator / denominator, half up, without leaving 64 bits.

    Exact for 0 <= amount, numerator <= 5e10 and 0 < denominator <= 5e10: the numerator is taken in
    two halves of 18 bits, so that no intermediate exceeds 2**55.
    """
    high = numerator_fen >> 18
    low = numerator_fen & ((1 << 18) - 1)
    product_high = amount_fen * high
    quotient_high = product_high // denominator_fen
    carried = ((product_high - quotient_high * denominator_fen) << 18) + amount_fen * low
    quotient_low = carried // denominator_fen
    remainder = carried - quotient_low * denominator_fen
    up = 1 if 2 * remainder >= denominator_fen else 0
    return (quotient_high << 18) + quotient_low + up
