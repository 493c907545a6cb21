"""Which policy of a book settled how many rows, by benefit year and insured city; which rows found none, and why."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.columns import Prepared
from yibao.dates import day_number
from yibao_core.errors import RowStatus
from yibao_core.intake import NO_ORIGINAL
from yibao_core.plan import FOREVER_DAY, NO_POLICY_INDEX, CompiledBook
from yibao_core.settled import Settled

NO_POLICY_REASONS = ("no_region", "no_policy_of_region", "not_in_force", "not_yet_known", "original_of_another_book")


def rows_by_policy(book: CompiledBook, settled: Settled) -> dict[str, dict[str, Any]]:
    """Return rows and digest of each policy that settled any, and its rows by year and by city (0: no readable region)."""
    rows = np.flatnonzero(settled.status == 0)
    found = pc.value_counts(pa.array(settled.keys(rows) * (NO_POLICY_INDEX + 1) + settled.policy[rows]))
    code, rows_of = (found.field(index).to_numpy() for index in range(2))
    key, index = np.divmod(code, NO_POLICY_INDEX + 1)
    counts = {}
    for place, policy in enumerate(book.policies):
        own = index == place
        if own.any():
            year, city, rows_here = key[own] // 10_000, key[own] % 10_000, rows_of[own]
            counts[policy.id] = {
                "rows": int(rows_here.sum()),
                "digest": policy.digest,
                "by_year": _counted(year, rows_here),
                "by_city": _counted(city, rows_here),
            }
    return counts


def _counted(values: NDArray[Any], rows: NDArray[Any]) -> dict[str, int]:
    return {str(value): int(rows[values == value].sum()) for value in np.unique(values)}


def rows_without_policy(book: CompiledBook, prepared: Prepared, settled: Settled) -> dict[str, int]:
    """Return how many rows found no policy for each reason; one policy alone is only ever not in force."""
    row = prepared.history_rows + np.flatnonzero(settled.status == RowStatus.NO_POLICY)
    day, regions = prepared.columns.day[row], prepared.columns.region
    region = regions[row] if len(regions) else np.zeros(len(row), dtype=np.int32)
    in_region, in_force = np.zeros(len(row), dtype=bool), np.zeros(len(row), dtype=bool)
    alone = len(book.policies) == 1
    for policy in book.policies:
        here = (region // 10 ** (6 - len(policy.region)) == int(policy.region)) | alone
        last = FOREVER_DAY if policy.in_force.end is None else day_number(policy.in_force.end)
        in_region |= here
        in_force |= here & (day_number(policy.in_force.start) <= day) & (day <= last)
    other = np.zeros(len(row), dtype=bool)
    if len(prepared.columns.policy) and len(
        prepared.columns.reverses
    ):  # a reversal goes by the policy that settled its original
        other = in_force & (prepared.columns.reverses[row] != NO_ORIGINAL)
    reasons = np.select([(region == 0) & (not alone), ~in_region, ~in_force, other], [0, 1, 2, 4], 3)
    counts = np.bincount(reasons, minlength=len(NO_POLICY_REASONS))
    return {reason: int(count) for reason, count in zip(NO_POLICY_REASONS, counts, strict=True)}
