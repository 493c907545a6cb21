"""One layer by itself: tiers in bulk, and payments on running totals."""

from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

import yibao
import yibao_core
from yibao_core.compiler import compile_book
from yibao_core.money import ROW_MAX_FEN, YEAR_MAX_FEN
from yibao_core.schedule import find_schedule
from yibao_core.tiers import entitled_fen

PLAIN_PYTHON = os.environ.get("NUMBA_DISABLE_JIT") == "1"
ROWS = 3_000 if PLAIN_PYTHON else 200_000

HARDSHIP = ((5_000, 65), (100_000, 75), (300_000, 85))  # yuan, per hundred; no cap
ORDINARY = ((18_000, 60), (100_000, 65), (200_000, 70), (300_000, 75))  # at most 400,000 yuan


def exact_fen(total_fen: int, tiers: Any, cap_yuan: Fraction | int | None, half_up: bool = True) -> int:
    """What a schedule gives on a year's base, the slow way: yuan as fractions, rounded once."""
    total, paid = Fraction(total_fen, 100), Fraction(0)
    for index, (lower, rate) in enumerate(tiers):
        upper = tiers[index + 1][0] if index + 1 < len(tiers) else total
        paid += max(Fraction(0), min(total, Fraction(upper)) - Fraction(lower)) * Fraction(str(rate)) / 100
    if cap_yuan is not None:
        paid = min(paid, Fraction(cap_yuan))
    whole, rest = divmod(paid * 100, 1)
    return int(whole) + (1 if half_up and rest >= Fraction(1, 2) else 0)


def paid_by_hand(schedule: yibao.Schedule, base: Any, person: Any, time: Any = None) -> list[int]:
    """What each row is paid, person by person in a Python loop over exact fractions."""
    tiers = [(Fraction(lower, 100), Fraction(rate, 100)) for lower, rate in schedule.tiers]
    cap = None if schedule.cap_fen is None else Fraction(schedule.cap_fen, 100)
    rows = range(len(base))
    order = sorted(rows, key=lambda row: (time[row], row)) if time is not None else rows
    totals: dict[Any, int] = {}
    paid = [0] * len(base)
    for row in order:
        before = totals.get(person[row], 0)
        after = before + int(base[row])
        totals[person[row]] = after
        half_up = schedule.policy.rounding == "half_up"
        paid[row] = exact_fen(after, tiers, cap, half_up) - exact_fen(before, tiers, cap, half_up)
    return paid


@pytest.fixture(scope="module")
def weihai() -> Any:
    return yibao.load_policy(
        "weihai-2019",
        parameters={"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"},
    )


@pytest.fixture(scope="module")
def ordinary(weihai: Any) -> yibao.Schedule:
    return yibao.Schedule(weihai, "catastrophic")


def policy_with(tmp_path: Path, tiers: str, deductible: str = "0", rounding: str = "half_up") -> Any:
    """Return weihai-2019 with other tiers for everybody who is not in hardship."""
    text = (Path(yibao_core.__file__).parent / "policies" / "weihai-2019.toml").read_text(encoding="utf-8")
    begin = text.index('id = "everyone_else"')
    end = text.index("source", begin)
    rule = f'id = "everyone_else"\nwho = "everyone"\ndeductible = "{deductible}"\nedges = "including_deductible"\n'
    rule += f'tiers = [{tiers}]\ncap = "none"\n'
    path = tmp_path / "own.toml"
    path.write_text(
        (text[:begin] + rule + text[end:]).replace('rounding = "half_up"', f'rounding = "{rounding}"'), encoding="utf-8"
    )
    return yibao.load_policy(path)


def test_the_schedule_is_the_documents(weihai: Any) -> None:
    ordinary = yibao.Schedule(weihai, "catastrophic")
    assert ordinary.rule == "everyone_else"
    assert ordinary.tiers == ((1_800_000, 6_000), (10_000_000, 6_500), (20_000_000, 7_000), (30_000_000, 7_500))
    assert ordinary.cap_fen == 40_000_000
    hardship = yibao.Schedule(weihai, "catastrophic", "dibao")
    assert hardship.tiers == ((500_000, 6_500), (10_000_000, 7_500), (30_000_000, 8_500))
    assert hardship.cap_fen is None


def test_edges_of_each_tier_by_hand(ordinary: yibao.Schedule) -> None:
    """18,000 at 60 %, 100,000 at 65 %, …: one fen below, on, one fen above, two above (0.6 fen and 1.2 fen)."""
    at = np.array([1_799_999, 1_800_000, 1_800_001, 1_800_002, 10_000_000, 10_000_001, 20_000_000, 30_000_000])
    # 82,000 at 60 % is 49,200; 100,000 more at 65 % is 114,200; 100,000 more at 70 % is 184,200
    assert ordinary.entitled(at).tolist() == [0, 0, 1, 1, 4_920_000, 4_920_001, 11_420_000, 18_420_000]
    # 400,000 yuan are reached at 300,000 + 215,800 / 75 % = 587,733.333… yuan
    at = np.array([58_773_332, 58_773_333, 58_773_334, YEAR_MAX_FEN, 0, -1, -YEAR_MAX_FEN])
    assert ordinary.entitled(at).tolist() == [39_999_999, 40_000_000, 40_000_000, 40_000_000, 0, 0, 0]


@pytest.mark.parametrize(("category", "tiers", "cap"), [("ordinary", ORDINARY, 400_000), ("dibao", HARDSHIP, None)])
def test_entitled_is_exact_over_the_whole_range(weihai: Any, category: str, tiers: Any, cap: int | None) -> None:
    rng = np.random.default_rng(5)
    edges = [lower * 100 for lower, _ in tiers] + [0, 58_773_333, YEAR_MAX_FEN - 3, -YEAR_MAX_FEN + 3]
    near = [edge + step for edge in edges for step in range(-3, 4)]
    wide = rng.integers(-(10**6), YEAR_MAX_FEN + 1, ROWS // 20).tolist()
    usual = np.round(np.exp(rng.uniform(0, np.log(YEAR_MAX_FEN), ROWS // 20))).astype(np.int64).tolist()
    amounts = near + wide + usual
    given = yibao.Schedule(weihai, "catastrophic", category).entitled(np.array(amounts))
    assert given.tolist() == [exact_fen(amount, tiers, cap) for amount in amounts]


def test_ties_go_up_or_down_as_the_policy_says(tmp_path: Path) -> None:
    """Half of each fen: 1 fen gives half a fen, which is one up and none down."""
    tiers = '{ from = "0", rate = "50 %" }'
    amounts = np.arange(0, 10)
    up = yibao.Schedule(policy_with(tmp_path, tiers), "catastrophic")
    assert up.entitled(amounts).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    down = yibao.Schedule(policy_with(tmp_path, tiers, rounding="down"), "catastrophic")
    assert down.entitled(amounts).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("falling", [False, True])
def test_any_number_of_tiers_with_any_rates(tmp_path: Path, count: int, falling: bool) -> None:
    """More tiers than the fast loop takes at once; rates that fall, rise, and reach 100 % and 0 %."""
    rng = np.random.default_rng(count)
    rates = [100, *rng.integers(0, 10_001, 8) / 100][:count] if not falling else np.linspace(100, 0, count).round(2)
    edges = [0.01, 1, 777, 10**4, 10**6, 10**7, 10**8, 10**9, 8 * 10**9][:count]
    written = ", ".join(
        f'{{ from = "{edge}", rate = "{rate:.2f} %" }}' for edge, rate in zip(edges, rates, strict=True)
    )
    tiers = [(Fraction(str(edge)), Fraction(f"{rate:.2f}")) for edge, rate in zip(edges, rates, strict=True)]
    schedule = yibao.Schedule(policy_with(tmp_path, written, "0.01"), "catastrophic")
    assert len(schedule.tiers) == count
    near = [int(edge * 100) + step for edge, _ in tiers for step in (-1, 0, 1)] + [YEAR_MAX_FEN]
    amounts = near + rng.integers(0, YEAR_MAX_FEN, 300).tolist() + rng.integers(0, 10**8, 300).tolist()
    given = schedule.entitled(np.array(amounts))
    assert given.tolist() == [exact_fen(amount, tiers, None) for amount in amounts]


@pytest.mark.parametrize("rate_bp", [1, 3_333, 9_999])
def test_rounding_without_a_division_is_exact_up_to_the_largest_sums(tmp_path: Path, rate_bp: int) -> None:
    """Products with every remainder by 10,000, up to 9e15 fen x basis points, against integers of Python."""
    rng = np.random.default_rng(3)
    tiers = f'{{ from = "0", rate = "{rate_bp / 100:.2f} %" }}'
    schedule = yibao.Schedule(policy_with(tmp_path, tiers), "catastrophic")
    near = 10_000 * rng.integers(0, YEAR_MAX_FEN // 10_000, ROWS // 20)
    amounts = np.concatenate(
        [
            near - 1,
            near,
            near + 1,
            near + 5_000,
            rng.integers(0, YEAR_MAX_FEN, ROWS // 5),
            YEAR_MAX_FEN - np.arange(10_000),
        ]
    )
    expected = [(amount * rate_bp + 5_000) // 10_000 if amount > 0 else 0 for amount in amounts.tolist()]
    assert schedule.entitled(amounts).tolist() == expected


@pytest.mark.skipif(not PLAIN_PYTHON, reason="compiled, the formula has no door from Python")
def test_fast_tiers_are_the_tiers_of_the_settlement(weihai: Any) -> None:
    """The formula that settles claims, row by row, against the one on vectors."""
    book = compile_book([weihai], frozenset())
    amounts = np.random.default_rng(8).integers(0, 10**8, 300)
    for layer, category in (("catastrophic", "ordinary"), ("catastrophic", "dibao"), ("assistance", "dibao")):
        found = find_schedule(book, layer, category, "inpatient")
        slow = [entitled_fen(int(amount), book.words, found.rule, found.half_fen_bp) for amount in amounts]
        assert yibao.Schedule(weihai, layer, category).entitled(amounts).tolist() == slow
        assert any(slow)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 511, 512, 513, 1_500])
def test_every_length_and_shape(ordinary: yibao.Schedule, size: int) -> None:
    amounts = np.arange(size) * 37_000
    expected = [exact_fen(amount, ORDINARY, 400_000) for amount in amounts.tolist()]
    assert ordinary.entitled(amounts).tolist() == expected
    assert ordinary.entitled(amounts[::-1]).tolist() == expected[::-1]
    assert ordinary.entitled(amounts.reshape(1, size)).shape == (1, size)
    person = np.arange(size)
    assert ordinary.paid(amounts, person).tolist() == expected
    assert ordinary.paid(amounts, person[::-1]).tolist() == expected


def test_arrow_money_is_yuan_and_integers_are_fen(ordinary: yibao.Schedule) -> None:
    fen = [1_900_000, 12_345_678]
    expected = [exact_fen(amount, ORDINARY, 400_000) for amount in fen]
    yuan = [Decimal(amount).scaleb(-2) for amount in fen]
    for column in (
        pa.array(fen),
        np.array(fen, dtype=np.int32),
        pa.array(yuan, pa.decimal128(18, 2)),
        pa.array(yuan, pa.decimal64(18, 2)),
        pa.chunked_array([pa.array(yuan[:1], pa.decimal128(18, 2)), pa.array(yuan[1:], pa.decimal128(18, 2))]),
        pa.array([str(amount) for amount in yuan]),
        fen,
    ):
        assert ordinary.entitled(column).tolist() == expected
    assert ordinary.entitled(fen[0]) == expected[0]


def invented(rows: int, people: int, seed: int, scale: float = 12.0) -> tuple[NDArray[np.int64], ...]:
    """Bases with some reversals and zeros, persons and days with many ties."""
    rng = np.random.default_rng(seed)
    base = np.round(rng.lognormal(scale, 1.5, rows)).astype(np.int64)
    base = np.where(rng.random(rows) < 0.05, -base // 2, base)
    base[rng.random(rows) < 0.02] = 0
    return base, rng.integers(0, people, rows), rng.integers(0, 60, rows)


@pytest.mark.parametrize(
    "layer_category", [("catastrophic", "ordinary"), ("catastrophic", "dibao"), ("assistance", "dibao")]
)
@pytest.mark.parametrize("timed", [False, True])
def test_paid_is_the_difference_of_what_the_totals_entitle_to(
    weihai: Any, layer_category: tuple[str, str], timed: bool
) -> None:
    schedule = yibao.Schedule(weihai, *layer_category)
    base, person, day = invented(ROWS // 10, ROWS // 60, 11)
    time = day if timed else None
    expected = paid_by_hand(schedule, base.tolist(), person.tolist(), None if time is None else time.tolist())
    assert schedule.paid(base, person, time).tolist() == expected
    assert any(amount < 0 for amount in expected)  # reversals take back
    order = np.lexsort((day, person)) if timed else np.argsort(person, kind="stable")
    sorted_time = None if time is None else time[order]
    assert schedule.paid(base[order], person[order], sorted_time).tolist() == np.array(expected)[order].tolist()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_pays_the_same(ordinary: yibao.Schedule, threads: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("yibao_core.running_rows.ROWS_PER_THREAD", 100)
    base, person, day = invented(ROWS, ROWS // 5, 12)
    one = ordinary.paid(base, person, day, threads=1)
    assert one.any()
    assert np.array_equal(ordinary.paid(base, person, day, threads=threads), one)
    order = np.lexsort((day, person))
    assert np.array_equal(ordinary.paid(base[order], person[order], day[order], threads=threads), one[order])
    alone = np.zeros_like(person)  # all rows are one person's
    by_day = np.argsort(day, kind="stable")
    expected = ordinary.paid(base[by_day] // 1_000, alone, threads=threads)
    assert np.array_equal(ordinary.paid(base // 1_000, alone, day, threads=threads)[by_day], expected)


@pytest.mark.parametrize(
    "as_id",
    [
        lambda person: person * 1_000,
        lambda person: person * 3_000_000_019 - 2**61,  # more bits than a narrow record has
        lambda person: person.astype(np.int64) - 5,
        lambda person: pa.array([f"37100219800101{number:04}" for number in person]),
        lambda person: [f"P{number}" for number in person],
        lambda person: np.array([f"P{number}" for number in person]),
    ],
)
@pytest.mark.parametrize("as_time", [lambda day: day, lambda day: day * 10**16 - 2**60])
def test_ids_and_times_of_every_kind_pay_the_same(ordinary: yibao.Schedule, as_id: Any, as_time: Any) -> None:
    base, person, day = invented(3_000, 500, 13, 13.0)
    expected = paid_by_hand(ordinary, base.tolist(), person.tolist(), day.tolist())
    assert sum(amount != 0 for amount in expected) > 300
    assert ordinary.paid(base, as_id(person), as_time(day)).tolist() == expected


def test_times_of_every_kind(ordinary: yibao.Schedule) -> None:
    """Three bills of 18,000 yuan, the first already past the deductible in time: 0, then 60 % of each."""
    base = np.array([1_800_000, 1_800_000, 1_800_000])
    days = [date(2019, 3, 3), date(2019, 3, 1), date(2019, 3, 2)]
    expected = [1_080_000, 0, 1_080_000]
    moments = [datetime(2019, 3, 1, 8, 0, second) for second in (3, 1, 2)]
    nanoseconds = np.array([3, 1, 2], dtype="datetime64[ns]")
    for time in (days, pa.array(days), np.array(days, dtype="datetime64[D]"), moments, pa.array(moments), nanoseconds):
        assert ordinary.paid(base, [7, 7, 7], time).tolist() == expected
    assert ordinary.paid(base, [7, 7, 7], pa.array(nanoseconds)).tolist() == expected
    assert ordinary.paid(base, [7, 7, 7], [str(day) for day in days]).tolist() == expected
    assert ordinary.paid(base, [7, 7, 7], [5, 5, 5]).tolist() == [0, 1_080_000, 1_080_000]


def test_one_person_with_very_many_rows_and_people_around(ordinary: yibao.Schedule) -> None:
    base, person, day = invented(4_000, 400, 14)
    person[::2] = 3
    expected = paid_by_hand(ordinary, base.tolist(), person.tolist(), day.tolist())
    assert ordinary.paid(base, person, day).tolist() == expected
    wide = person * 3_000_000_019_000
    assert ordinary.paid(base, wide, day).tolist() == expected


def test_order_that_is_lost_late_is_noticed(ordinary: yibao.Schedule) -> None:
    base, person, day = invented(5_000, 900, 15, 13.5)
    order = np.lexsort((day, person))
    base, person, day = base[order], person[order], day[order]
    for column in (person, day):
        column[[-1, -700]] = column[[-700, -1]]
        expected = paid_by_hand(ordinary, base.tolist(), person.tolist(), day.tolist())
        assert ordinary.paid(base, person, day).tolist() == expected


def test_payments_of_a_ledger_are_the_schedules(weihai: Any) -> None:
    """The whole waterfall on an invented ledger of one category, and its catastrophic layer from the bases alone."""
    rng = np.random.default_rng(16)
    rows = 400 if PLAIN_PYTHON else 4_000
    person = rng.integers(0, rows // 6, rows)
    total = np.round(rng.lognormal(13.5, 1.2, rows)).astype(np.int64) + 100
    eligible = total * 9 // 10
    basic = eligible * 55 // 100
    day = rng.integers(0, 200, rows)
    table = pa.table(
        {
            "settlement_id": pa.array(np.arange(rows)),
            "person_id": pa.array(person),
            "settled_at": pa.array((np.datetime64("2019-01-01") + day).astype("datetime64[us]")),
            "service_date": pa.array(np.datetime64("2019-01-01") + day),
            "insured_region": pa.array(["371002"] * rows),
            "category": pa.array(["ordinary"] * rows),
            "care_type": pa.array(["inpatient"] * rows),
            "total_fee_fen": pa.array(total),
            "eligible_fee_fen": pa.array(eligible),
            "basic_paid_fen": pa.array(basic),
        }
    )
    settled = yibao.settle_ledger(table, weihai, money="int64_fen").table
    assert settled["status"].unique().to_pylist() == ["SETTLED"]
    paid = settled["catastrophic_paid_fen"].to_numpy()
    assert (paid > 0).sum() > rows // 10
    schedule = yibao.Schedule(weihai, "catastrophic")
    assert np.array_equal(schedule.paid(eligible - basic, person, day), paid)


def test_what_is_out_of_range_is_refused_and_named(ordinary: yibao.Schedule) -> None:
    with pytest.raises(yibao.LedgerError, match=r"cumulative_fen: row 1 of 2: .* got 900000000001$"):
        ordinary.entitled(np.array([5, YEAR_MAX_FEN + 1]))
    with pytest.raises(yibao.LedgerError, match=r"row 0 of 2: .* got -900000000001; 1 more rows like it"):
        ordinary.entitled(np.array([-YEAR_MAX_FEN - 1, 2**63 - 1]))
    for beyond in (ROW_MAX_FEN + 1, -ROW_MAX_FEN - 1, 2**63 - 1, -(2**63)):
        for people in ([1, 2], [2, 1]):
            with pytest.raises(yibao.LedgerError, match=rf"base_fen: row 1 of 2: .* got {beyond}$"):
                ordinary.paid(np.array([5, beyond]), np.array(people))
    for sign in (1, -1):
        base = np.full(200, sign * ROW_MAX_FEN)
        assert ordinary.paid(base[:90], np.zeros(90, dtype=int)).sum() == (40_000_000 if sign > 0 else 0)
        person = np.zeros(200, dtype=int)
        with pytest.raises(
            yibao.LedgerError, match=rf"running total: row 90 of 200: .* got {sign * 91 * 10**10}; 109 more"
        ):
            ordinary.paid(base, person)
        person[199] = -1  # in no order
        with pytest.raises(
            yibao.LedgerError, match=rf"running total: row 90 of 200: .* got {sign * 91 * 10**10}; 108 more"
        ):
            ordinary.paid(base, person)


def test_input_that_is_no_money_no_person_no_time_is_refused(ordinary: yibao.Schedule) -> None:
    with pytest.raises(yibao.LedgerError, match="row 1 of 2: expected an amount of whole fen, got no amount"):
        ordinary.entitled(pa.array([1, None]))
    with pytest.raises(yibao.LedgerError, match="row 0 of 1: expected an amount of whole fen, got no whole fen"):
        ordinary.entitled(pa.array(["1.005"]))
    with pytest.raises(yibao.LedgerError, match="expected integers below"):
        ordinary.entitled(np.array([2**63], dtype=np.uint64))
    with pytest.raises(yibao.LedgerError, match="person: expected an id in every row, got 1 rows"):
        ordinary.paid([1, 2], ["a", None])
    with pytest.raises(yibao.LedgerError, match="person: expected text or integers"):
        ordinary.paid([1, 2], np.array([1.0, 2.0]))
    with pytest.raises(yibao.LedgerError, match="person: expected 2 rows as in base_fen, got 1"):
        ordinary.paid([1, 2], [1])
    with pytest.raises(yibao.LedgerError, match="time: expected 2 rows as in base_fen, got 0"):
        ordinary.paid([1, 2], [1, 1], np.empty(0, dtype=int))
    with pytest.raises(yibao.LedgerError, match="time: row 1 of 2: expected a time, got none"):
        ordinary.paid([1, 2], [1, 1], np.array(["2019-01-01", "NaT"], dtype="datetime64[s]"))


def test_what_is_no_schedule_is_refused(weihai: Any) -> None:
    def refused(policy: Any, *args: Any, **more: Any) -> str:
        with pytest.raises(yibao.PolicyError) as caught:
            yibao.Schedule(policy, *args, **more)
        return str(caught.value)

    assert "expected a rule that computes the layer, got none" in refused(weihai, "commercial")
    assert "expected a rule that computes the layer" in refused(weihai, "catastrophic", care_type="special_drug")
    assert "layer: expected one of basic, catastrophic" in refused(weihai, "catastrofic")
    assert "category: expected one of" in refused(weihai, "catastrophic", "poor")
    assert "policy: expected what load_policy returns" in refused("weihai-2019", "catastrophic")
    city, county = yibao.load_policy("demo-city"), yibao.load_policy("demo-county")
    assert "expected one schedule, got 3 that differ by age or place" in refused(city, "pku", care_type="pku")
    assert "expected one schedule, got 4 that differ by age or place" in refused(county, "basic")
    alone = "expected a schedule on the year's cumulative base alone"
    assert alone in refused(city, "assistance", "registered_poor")
    assert alone in refused(county, "assistance", "registered_poor")
    with pytest.raises(yibao.ParameterError, match=r"fuxin-2020: .* expected values for disposable_income, got none"):
        yibao.Schedule(yibao.load_policy("fuxin-2020"), "catastrophic")
    income = yibao.load_policy("fuxin-2020", parameters={"disposable_income": "40000"})
    assert yibao.Schedule(income, "catastrophic").tiers[0] == (2_000_000, 6_000)  # half of the income
