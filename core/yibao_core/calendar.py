"""Days to dates and ages, in integers."""

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import kernel
from yibao_core.plan import AGE_UNKNOWN

NO_DAY = -(2**31)
"""Stands for a null date of birth."""
YEAR_FIRST, YEAR_LAST = 1_000, 9_999  # of benefit years that balances may name


@kernel
def year_month_day(day: int) -> tuple[int, int, int]:
    """Return the Gregorian date of a day counted from 1970-01-01."""
    # Years are counted from March, so that the leap day is a year's last.
    shifted = day + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day_of_month


@kernel
def completed_years(birth_day: int, day: int) -> int:
    """Return the age on `day`: 18 until the eve of the 19th birthday; 29 February turns on 1 March."""
    if birth_day == NO_DAY or birth_day > day:
        return AGE_UNKNOWN
    born_year, born_month, born_on = year_month_day(birth_day)
    year, month, on = year_month_day(day)
    years = year - born_year
    if month < born_month or (month == born_month and on < born_on):
        years -= 1
    return min(years, AGE_UNKNOWN - 1)


def years_of_days() -> NDArray[np.int16]:
    """Return the year of each day from 1970-01-01 to 2099-12-31: a look-up, because the calendar costs a row's time."""
    days = np.arange("1970-01-01", "2100-01-01", dtype="datetime64[D]")
    return days.astype("datetime64[Y]").astype(np.int16) + np.int16(1970)
