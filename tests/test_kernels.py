"""The small kernels against exact arithmetic and the calendar."""

from __future__ import annotations

import datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yibao_core.calendar import NO_DAY, completed_years, year_month_day
from yibao_core.intake import shard_of
from yibao_core.money import ROW_MAX_FEN, YEAR_MAX_FEN, round_fen, scale_fen
from yibao_core.order import compare_bytes, no_texts, sort_records
from yibao_core.plan import AGE_UNKNOWN
from yibao_core.records import HEAD, ID, ROW, TIME

thorough = settings(deadline=None, max_examples=300)
row_fen = st.integers(0, 5 * ROW_MAX_FEN)
EPOCH = datetime.date(1970, 1, 1)


def half_up(exact: Fraction) -> int:
    return int(exact + Fraction(1, 2))


@thorough
@given(amount=row_fen, numerator=row_fen, denominator=st.integers(1, 5 * ROW_MAX_FEN))
@example(amount=5 * ROW_MAX_FEN, numerator=5 * ROW_MAX_FEN, denominator=5 * ROW_MAX_FEN)
@example(amount=1, numerator=1, denominator=2)
@example(amount=5 * ROW_MAX_FEN, numerator=5 * ROW_MAX_FEN - 1, denominator=5 * ROW_MAX_FEN)
def test_a_share_is_exact_and_rounded_half_up(amount: int, numerator: int, denominator: int) -> None:
    exact = Fraction(amount) * numerator / denominator
    if exact < 2**62:
        assert scale_fen(amount, numerator, denominator) == half_up(exact)


@thorough
@given(cumulative=st.integers(0, YEAR_MAX_FEN), rate_bp=st.integers(0, 10_000))
@example(cumulative=YEAR_MAX_FEN, rate_bp=10_000)
@example(cumulative=1, rate_bp=5_000)
@example(cumulative=1, rate_bp=4_999)
def test_fen_times_basis_points_are_rounded_once_half_up_or_down(cumulative: int, rate_bp: int) -> None:
    exact = Fraction(cumulative * rate_bp, 10_000)
    assert round_fen(cumulative * rate_bp, 5_000) == half_up(exact)
    assert round_fen(cumulative * rate_bp, 0) == int(exact)


@thorough
@given(day=st.dates(datetime.date(1600, 1, 1), datetime.date(2400, 12, 31)))
@example(day=datetime.date(2000, 2, 29))
@example(day=datetime.date(1900, 3, 1))
@example(day=datetime.date(1969, 12, 31))
def test_days_are_dates(day: datetime.date) -> None:
    assert tuple(year_month_day((day - EPOCH).days)) == (day.year, day.month, day.day)


@pytest.mark.parametrize(
    ("born", "on", "age"),
    [
        ("2000-05-06", "2019-05-05", 18),  # a minor to the eve of the 19th birthday
        ("2000-05-06", "2019-05-06", 19),
        ("2000-02-29", "2019-02-28", 18),  # 29 February turns on 1 March
        ("2000-02-29", "2019-03-01", 19),
        ("2000-02-29", "2020-02-29", 20),
        ("2019-05-06", "2019-05-06", 0),
        ("2019-05-07", "2019-05-06", AGE_UNKNOWN),  # born after the service: nobody knows
        ("1850-01-01", "2019-01-01", AGE_UNKNOWN - 1),  # an age stays an age
    ],
)
def test_ages_are_completed_years(born: str, on: str, age: int) -> None:
    birth, day = ((datetime.date.fromisoformat(text) - EPOCH).days for text in (born, on))
    assert completed_years(birth, day) == age


def test_no_birth_date_is_no_age() -> None:
    assert completed_years(NO_DAY, 0) == AGE_UNKNOWN


@thorough
@given(word=st.integers(-(2**63), 2**63 - 1), bits=st.integers(0, 12))
def test_every_person_has_one_shard(word: int, bits: int) -> None:
    assert 0 <= shard_of(word, bits) < 1 << bits


def test_people_with_close_numbers_are_spread_over_the_shards() -> None:
    counts = np.bincount([shard_of(370_000_000_000_000_000 + person, 5) for person in range(6_400)], minlength=32)
    assert counts.min() > 100
    assert counts.max() < 400


@thorough
@given(one=st.binary(max_size=12), other=st.binary(max_size=12))
@example(one=b"S1043", other=b"S728")
@example(one=b"\xe4", other=b"z")
@example(one=b"", other=b"a")
def test_texts_are_ordered_by_their_bytes(one: bytes, other: bytes) -> None:
    first, second = (np.frombuffer(text, dtype=np.uint8) for text in (one, other))
    expected = (one > other) - (one < other)
    assert compare_bytes(first, 0, len(one), second, 0, len(other)) == expected


@settings(deadline=None, max_examples=60)
@given(times=st.lists(st.integers(0, 5), min_size=1, max_size=200))
def test_records_are_sorted_by_time_and_id(times: list[int]) -> None:
    width = 6
    rng = np.random.default_rng(len(times))
    work = np.zeros(len(times) * width, dtype=np.int64)
    for index, (time, number) in enumerate(zip(times, rng.permutation(len(times)), strict=True)):
        work[index * width + TIME], work[index * width + ID], work[index * width + ROW] = time, number, index
        work[index * width + HEAD] = 0
    order = np.arange(len(times), dtype=np.int64) * width
    moments = work[order + TIME]
    sort_records(work, order, moments, 0, len(times), np.empty_like(order), no_texts())
    found = [(int(work[record + TIME]), int(work[record + ID])) for record in order]
    assert found == sorted(found)
    assert len(set(found)) == len(times)
