"""Settlements taken back: whole, later, and mostly billed again with another amount."""

from dataclasses import replace

import numpy as np

from yibao_datagen.claims import DAY_US, INPATIENT, SECOND_US, SPECIAL_DRUG, Claims, basic_paid_fen, join
from yibao_datagen.people import Ints

CANCELLED_SHARE = 0.003  # of all rows of the table
REBILLED_SHARE = 0.85  # of the cancelled


def reversal_counts(rows: int) -> tuple[int, int]:
    """Return how many of `rows` are reversals, and how many are new bills for them."""
    cancelled = round(rows * CANCELLED_SHARE)
    return cancelled, round(cancelled * REBILLED_SHARE)


def add_reversals(claims: Claims, cancelled: int, rebilled: int, seed: int, region: int) -> Claims:
    """Return the claims, then `cancelled` reversals of some of them, then `rebilled` new bills.

    Half of the cancelled are stays or special drugs, where money moves. A fifth is noticed only after weeks, when
    later rows of the person have been priced on the old total.
    """
    rng = np.random.default_rng([seed, 3])
    original = _cancelled_rows(rng, claims, cancelled)
    lag_days = np.where(rng.random(cancelled) < 0.8, rng.integers(1, 6, cancelled), rng.integers(20, 91, cancelled))
    taken_back = claims.take(original)
    settled_us = taken_back.settled_us + lag_days * DAY_US + rng.integers(0, 600, cancelled) * SECOND_US
    reversal = replace(
        taken_back,
        settled_us=settled_us,
        total_fen=-taken_back.total_fen,
        self_funded_fen=-taken_back.self_funded_fen,
        over_limit_fen=-taken_back.over_limit_fen,
        first_pay_fen=-taken_back.first_pay_fen,
        eligible_fen=-taken_back.eligible_fen,
        basic_fen=-taken_back.basic_fen,
        reverses=original.astype(np.int64),
    )
    # A quarter of the new bills leaves the counter in the same second: only the id tells the order.
    pause_s = np.maximum(rng.integers(-600, 1_800, rebilled), 0)
    again = taken_back.take(np.arange(rebilled))
    bill = _rebilled(rng, replace(again, settled_us=settled_us[:rebilled] + pause_s * SECOND_US), region)
    return join([claims, reversal, bill])


def _cancelled_rows(rng: np.random.Generator, claims: Claims, cancelled: int) -> Ints:
    """Return different entries in random order, half of them stays or special drugs as far as there are any."""
    costly = np.isin(claims.care, (INPATIENT, SPECIAL_DRUG))
    from_costly = min(cancelled // 2, int(costly.sum()))
    from_others = min(cancelled - from_costly, len(claims) - int(costly.sum()))
    from_costly = cancelled - from_others
    chosen = [
        rng.choice(np.flatnonzero(costly), from_costly, replace=False),
        rng.choice(np.flatnonzero(~costly), from_others, replace=False),
    ]
    return rng.permutation(np.concatenate(chosen))


def _rebilled(rng: np.random.Generator, bills: Claims, region: int) -> Claims:
    """Return the bills with every fee changed by 1 to 40 % up or down, and at least by a fen in total."""
    count = len(bills)
    factor_bp = 10_000 + rng.integers(100, 4_001, count) * rng.choice([-1, 1], count)
    self_funded_fen, over_limit_fen, first_pay_fen, eligible_fen = (
        fee_fen * factor_bp // 10_000
        for fee_fen in (bills.self_funded_fen, bills.over_limit_fen, bills.first_pay_fen, bills.eligible_fen)
    )
    total_fen = self_funded_fen + over_limit_fen + first_pay_fen + eligible_fen
    unchanged = total_fen == bills.total_fen
    outside = bills.treated_region // 100 != region
    return replace(
        bills,
        total_fen=total_fen + unchanged,
        self_funded_fen=self_funded_fen + unchanged,
        over_limit_fen=over_limit_fen,
        first_pay_fen=first_pay_fen,
        eligible_fen=eligible_fen,
        basic_fen=basic_paid_fen(eligible_fen, bills.care, bills.level, outside),
    )
