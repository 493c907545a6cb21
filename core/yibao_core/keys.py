"""Benefit year and city of rows: what tells the person-years of one person apart."""

import numpy as np
from numpy.typing import NDArray

from yibao_core.calendar import years_of_days
from yibao_core.intake import DAY_US, Columns
from yibao_core.plan import HEAD_WIDTH, NO_POLICY_INDEX, POLICY_WIDTH, POLICY_YEAR_BY_SETTLED, CompiledBook

YEARS = years_of_days()
"""The year of each day, as kernels look it up."""


def years_of(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the year of each day counted from 1970-01-01."""
    inside = (days >= 0) & (days < len(YEARS))
    if inside.all():
        return YEARS[days].astype(np.int64)
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def row_keys(
    book: CompiledBook, columns: Columns, history_rows: int, policy: NDArray[np.int8], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return benefit year x 10,000 + city of rows (counted behind the history), as their own cells and policies say."""
    behind = rows + history_rows
    days = columns.day[behind].astype(np.int64)
    by_settled = np.array(
        [
            bool(book.words[HEAD_WIDTH + index * POLICY_WIDTH + POLICY_YEAR_BY_SETTLED])
            for index in range(len(book.policies))
        ]
    )
    if by_settled.any():
        own = policy[rows]
        settled = np.where(own < NO_POLICY_INDEX, by_settled[np.minimum(own, len(by_settled) - 1)], False)
        days = np.where(settled, columns.time[behind] // DAY_US, days)
    city = columns.region[behind].astype(np.int64) // 100 if len(columns.region) else 0
    return years_of(days) * 10_000 + city
