"""威医保发〔2019〕37号 二(二) as somebody would write it down who has no policy file. Amounts are fen, rates basis points."""

from __future__ import annotations

ORDINARY = ((1_800_000, 6_000), (10_000_000, 500), (20_000_000, 500), (30_000_000, 500))
"""Tiers: (from, more than the tier below)."""
HARDSHIP = ((500_000, 6_500), (10_000_000, 1_000), (30_000_000, 1_000))
ORDINARY_CAP_FEN_BP = 40_000_000 * 10_000
LOWEST_FEN = 1_800_000
"""Ordinary people whose year stays below it are paid nothing; hardship cases are assisted from the first fen."""
ASSISTANCE_BP = 7_000
ASSISTANCE_LIMIT_FEN = 1_000_000
