"""Days and moments at the door: Arrow columns to days since 1970-01-01 and microseconds.

Moments with a time zone are read on the clock of Asia/Shanghai (UTC+8 all year), because the day
of a settlement there decides which policy was known.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.ids import words
from yibao_core.errors import LedgerError

DAY_US = 86_400_000_000
_CHINA_US = 8 * 3_600_000_000
_EPOCH = datetime(1970, 1, 1)
_DAY_FORMATS = {  # strptime alone would read the month 201911 as a day
    "%Y-%m-%d": re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"),
    "%Y/%m/%d": re.compile(r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}"),
    "%Y.%m.%d": re.compile(r"[0-9]{4}[.][0-9]{1,2}[.][0-9]{1,2}"),
    "%Y%m%d": re.compile(r"[0-9]{8}"),
    "%Y年%m月%d日": re.compile(r"[0-9]{4}年[0-9]{1,2}月[0-9]{1,2}日"),
    "%d-%b-%Y": re.compile(r"[0-9]{1,2}-[A-Za-z]{3}-[0-9]{4}"),
}


def to_days(column: pa.ChunkedArray, name: str, null: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return days since 1970-01-01 (`null` where there is none) and which cells hold no readable day."""
    kind = column.type
    if pa.types.is_date32(kind) and column.null_count == 0:
        return words(column.cast(pa.int32())), np.zeros(len(column), dtype=bool)
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        moments, missing = to_moments(column, name)
        days = np.floor_divide(moments, DAY_US)
    elif pa.types.is_date32(kind):
        missing = pc.is_null(column).to_numpy()
        days = words(pc.fill_null(column.cast(pa.int32()), 0))
    elif pa.types.is_null(kind):
        missing, days = np.ones(len(column), dtype=bool), np.zeros(len(column), dtype=np.int64)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        days, missing = _by_text(column, day_of_text)
    else:
        raise LedgerError(f"{name}: expected dates, got {kind}")
    out = np.where(missing, null, days).astype(np.int32)
    out.flags.writeable = False
    return out, missing


def to_moments(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return microseconds since 1970 (0 where there is none) and which cells hold no readable moment; a date is its midnight."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_date32(kind) or pa.types.is_date64(kind):
        column = column.cast(pa.timestamp("us"))
        kind = column.type
    if pa.types.is_timestamp(kind):
        shift = _CHINA_US if kind.tz else 0
        column = column.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(pa.int64())
        if column.null_count == 0:
            moments = words(column)
            return (moments + shift if shift else moments), np.zeros(len(column), dtype=bool)
        missing = pc.is_null(column).to_numpy()
        return words(pc.fill_null(column, 0)) + shift, missing
    if pa.types.is_null(kind):
        return np.zeros(len(column), dtype=np.int64), np.ones(len(column), dtype=bool)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _by_text(column, moment_of_text)
    raise LedgerError(f"{name}: expected timestamps or dates, got {kind}")


def _by_text(column: pa.ChunkedArray, read: Callable[[str], int | None]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    values = np.zeros(len(column), dtype=np.int64)
    missing = np.zeros(len(column), dtype=bool)
    at = 0
    # One chunk: the dictionaries of later chunks would hold all that earlier ones held.
    joined = pa.chunked_array([pa.concat_arrays(column.chunks)]) if column.num_chunks > 1 else column
    for chunk in pc.dictionary_encode(joined).chunks:
        table = [None if cell is None else read(cell.strip()) for cell in chunk.dictionary.to_pylist()] + [None]
        indices = pc.fill_null(chunk.indices, len(table) - 1).to_numpy(zero_copy_only=False)
        values[at : at + len(chunk)] = np.array([value or 0 for value in table], dtype=np.int64)[indices]
        missing[at : at + len(chunk)] = np.array([value is None for value in table])[indices]
        at += len(chunk)
    return values, missing


def moment_of_text(text: str) -> int | None:
    """Return microseconds since 1970-01-01, None where a text is no moment."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None) + timedelta(hours=8)
    except OverflowError:  # a sentinel at the end of the calendar
        return None
    except ValueError:
        day = _day_alone(text)
        return None if day is None else day * DAY_US
    return (moment - _EPOCH) // timedelta(microseconds=1)


def day_of_text(text: str) -> int | None:
    """Return days since 1970-01-01, None where a text is neither a day nor a moment."""
    day = _day_alone(text)
    if day is not None:
        return day
    moment = moment_of_text(text)
    return None if moment is None else moment // DAY_US


def _day_alone(text: str) -> int | None:
    for form, shape in _DAY_FORMATS.items():
        if shape.fullmatch(text):
            try:
                return datetime.strptime(text, form).toordinal() - _EPOCH.toordinal()
            except ValueError:
                return None
    return None


def day_number(day: date) -> int:
    """Return a date's days since 1970-01-01."""
    return day.toordinal() - _EPOCH.toordinal()
