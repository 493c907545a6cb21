"""How much of the policy-range cost a layer paid on average: what documents aim at (政策范围内支付比例), reported, never enforced."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core.money import BP, NULL_FEN
from yibao_core.policy import CARE_TYPES, Policy, Ratio
from yibao_core.settled import Settled


class RatioReport(NamedTuple):
    """A policy's aim and what a run reached: sums over its settled rows of the care types, reversals taken off."""

    policy: Policy
    ratio: Ratio
    eligible_fen: int
    paid_fen: int

    @property
    def reached_bp(self) -> int | None:
        return reached_bp(self.eligible_fen, self.paid_fen)


def reached_bp(eligible_fen: int, paid_fen: int) -> int | None:
    """Return what share was paid in basis points, half up; None where nothing was eligible."""
    if eligible_fen <= 0:
        return None
    return (2 * paid_fen * BP + eligible_fen) // (2 * eligible_fen)


def policy_range_ratios(
    policies: Sequence[Policy], settled: Settled, care: NDArray[np.int8], eligible_fen: NDArray[np.int64]
) -> list[RatioReport]:
    """Return a report for each aim of a policy that settled some row. `care` and `eligible_fen` have a cell for each settled row."""
    reports = []
    for index, policy in enumerate(policies):
        own = (settled.policy == index) & (settled.status == 0) if policy.ratios else np.zeros(0, dtype=bool)
        if not own.any():
            continue
        for ratio in policy.ratios:
            rows = own & np.isin(care, [CARE_TYPES.index(name) for name in ratio.care_types])
            eligible = eligible_fen[rows]
            paid = settled.paid_fen.get(ratio.layer)
            reports.append(
                RatioReport(
                    policy,
                    ratio,
                    int(eligible[eligible != NULL_FEN].sum()),
                    0 if paid is None else int(paid[rows].sum()),
                )
            )
    return reports
