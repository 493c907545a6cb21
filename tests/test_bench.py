"""The benchmark: its ledgers, that every competitor pays what we pay, that a wrong fen would be seen, what it writes down."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import yibao

# ruff: noqa: E402 (what the extra brings is imported behind the skip)
for package in ("duckdb", "polars", "pandas"):
    pytest.importorskip(package, reason="extra `bench`")

import alone
import arrays
import baselines
import cases
import duckdb_sql
import files
import race
import recording
import report
from elsewhere import elsewhere

ROWS = 3_000
POLICY = yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)
PAID = {layer: f"{layer}_paid_fen" for layer in ("catastrophic", "assistance")}


@cache
def ledger(workload: str) -> pa.Table:
    if workload == "one layer":
        return cases.one_layer(ROWS)
    return cases.three_layers(ROWS, "changing" if workload == "changing" else "constant")


@cache
def ours(workload: str) -> dict[str, Any]:
    if workload == "one layer":
        table = yibao.settle_ledger(ledger(workload), POLICY, money="int64_fen").table
        return race.by_settlement(table, {"catastrophic": "catastrophic_paid_fen"}, ROWS)
    table = yibao.reaccount(ledger(workload), POLICY, missing_paid="zero", money="int64_fen").settled
    return race.by_settlement(table, PAID, ROWS)


def paid_by(competitor: baselines.Competitor, workload: str, threads: int = race.THREADS) -> dict[str, Any]:
    result = competitor.pay(competitor.load(cases.rival_input(ledger(workload)), threads))
    return race.by_settlement(result, {layer: layer for layer in ours(workload)}, ROWS)


RACES = [
    pytest.param(workload, competitor, id=f"{workload}-{competitor.system}-{competitor.way}")
    for workload, competitors in {
        "one layer": [*baselines.ONE_LAYER, *baselines.NUMPY, *baselines.PANDAS, *baselines.LOOP],
        "constant": baselines.CONSTANT,
        "changing": baselines.CHANGING,
    }.items()
    for competitor in competitors
]


@pytest.mark.parametrize(("workload", "competitor"), RACES)
def test_a_competitor_pays_what_we_pay_and_a_wrong_fen_is_seen(workload: str, competitor: baselines.Competitor) -> None:
    theirs = paid_by(competitor, workload)
    race.check(ours(workload), theirs, competitor.way)
    for layer, amounts in theirs.items():
        wrong = amounts.copy()
        wrong[ROWS // 2] += 1
        with pytest.raises(AssertionError, match=rf"{layer} of settlement {ROWS // 2}: .* 1 of {ROWS} differ"):
            race.check(ours(workload), {**theirs, layer: wrong}, competitor.way)


@pytest.mark.parametrize(
    "competitor", [*baselines.ONE_LAYER, *baselines.NUMPY, *baselines.PANDAS, *baselines.LOOP], ids=lambda c: c.way
)
def test_one_layer_by_hand(competitor: baselines.Competitor) -> None:
    """Person 7: 10,000 yuan, then 10,000 (2,000 above 18,000 at 60 %), then 90,000 (80,000 at 60 %, 10,000 at 65 %)."""
    person = np.array([7, 8, 7, 7])
    time = np.array(["2019-03-01", "2019-01-01", "2019-01-01", "2019-02-01"], dtype="M8[us]")
    base = np.array([9_000_000, 1_800_001, 1_000_000, 1_000_000])
    paid = baselines.pay_one_layer(competitor, person, time, base, race.THREADS)
    assert paid.tolist() == [5_450_000, 1, 0, 120_000]


@pytest.mark.parametrize("workload", ["one layer", "constant", "changing"])
def test_every_layer_pays_somebody_and_not_everybody(workload: str) -> None:
    for amounts in ours(workload).values():
        assert 0.01 < (amounts > 0).mean() < 0.2
        assert amounts.min() == 0


def test_layers_telescope_only_where_categories_stay() -> None:
    """Otherwise the changing workload would be no other race."""
    one_window = next(each for each in baselines.CONSTANT if each[:2] == ("DuckDB", "one window"))
    with pytest.raises(AssertionError, match="differ"):
        race.check(ours("changing"), paid_by(one_window, "changing"), "one window")


def test_a_race_needs_every_settlement_once() -> None:
    with pytest.raises(AssertionError, match="expected 3 settlements, got 2"):
        race.by_settlement({"settlement_id": [0, 1], "paid": [5, 6]}, {"layer": "paid"}, 3)
    with pytest.raises(AssertionError, match="every settlement once"):
        race.by_settlement({"settlement_id": [0, 1, 1], "paid": [5, 6, 7]}, {"layer": "paid"}, 3)
    placed = race.by_settlement({"settlement_id": [2, 0, 1], "paid": [5, 6, 7]}, {"layer": "paid"}, 3)
    assert placed["layer"].tolist() == [6, 7, 5]


def test_the_rule_as_people_write_it_down() -> None:
    """60 % of what a year has above 18,000 yuan, 65 % above 100,000; 70 % of 100,000 and 75 % of the rest: capped at 400,000."""
    years = np.array([1_800_000, 1_800_001, 10_000_000, 10_000_100, 90_000_000])
    assert arrays.entitled(years).tolist() == [0, 1, 4_920_000, 4_920_065, 40_000_000]


def test_ledgers_are_the_same_each_time_and_nobody_is_billed_twice_in_a_second() -> None:
    again = cases.three_layers.__wrapped__(ROWS, "changing")
    assert again.equals(ledger("changing"))
    pairs = ledger("changing").group_by(["person_id", "settled_at"]).aggregate([])
    assert len(pairs) == ROWS
    people = ledger("changing")["person_id"].to_numpy()
    assert len(np.unique(people)) < ROWS / 3
    assert all(len(str(person)) == 18 for person in people[:100])


def test_bills_of_one_second_are_moved_apart() -> None:
    person = np.array([1, 1, 1, 2, 2])
    second = np.array([5, 5, 6, 5, cases.YEAR_SECONDS - 1])
    moved = cases._apart(person, second.copy())
    assert len({*zip(person.tolist(), moved.tolist(), strict=True)}) == 5
    assert moved[3:].tolist() == [5, cases.YEAR_SECONDS - 1]


def test_the_city_reaches_every_layer() -> None:
    policy = yibao.load_policy("demo-city", parameters=cases.DEMO_PARAMETERS)
    summary = yibao.settle_ledger(cases.city(ROWS), policy, money="int64_fen").summary
    assert summary["rejected"] == summary["violations"] == 0
    assert min(float(summary["paid"][layer]) for layer in ("basic", "catastrophic", "assistance", "commercial")) > 0


def test_a_process_of_its_own_pays_the_same() -> None:
    chosen = [each for each in elsewhere("ONE_LAYER", "Polars") if each.system == "Polars"][-2:]
    for competitor in chosen:
        race.check(ours("one layer"), paid_by(competitor, "one layer", threads=1), competitor.way)


def test_files_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    files.write(ledger("constant"), path)
    out = files.emptied(tmp_path / "out")
    files.ours_file_to_file(path, out, 2)
    assert len([*out.glob("*.parquet")]) == 2
    race.check(ours("constant"), race.by_settlement(files.Paid(out), PAID, ROWS), "files")
    for way, query in duckdb_sql.CONSTANT.items():
        files.duckdb_file_to_file(query, path, files.emptied(out), 2)
        race.check(ours("constant"), race.by_settlement(files.Paid(out), {layer: layer for layer in PAID}, ROWS), way)
        codecs = {pq.ParquetFile(file).metadata.row_group(0).column(0).compression for file in out.glob("*.parquet")}
        assert codecs == {files.CODEC.upper()}
    files.copy_file(path, files.emptied(out), 2, files.OURS_READ)
    copied = pa.concat_tables([pq.read_table(file) for file in sorted(out.glob("*.parquet"))])
    assert copied.column_names == list(files.WRITTEN)
    assert copied["settlement_id"].equals(ledger("constant")["settlement_id"])


def test_a_race_is_lost_by_who_pays_a_wrong_fen() -> None:
    """The loop pays one settlement a fen too much: it is found when it is tried out, before anything is timed."""

    def pay(rows: Any) -> dict[str, Any]:
        paid = dict(arrays.loop(rows))
        return paid | {"catastrophic": paid["catastrophic"] + (paid["settlement_id"] == 17)}

    def table(rows: int) -> pa.Table:
        return yibao.settle_ledger(cases.one_layer(rows), POLICY, money="int64_fen").table

    wrong = baselines.Competitor("Python", "wrong", arrays.lists, pay)
    given = (lambda rows: cases.rival_input(cases.one_layer(rows)), {"catastrophic": "catastrophic_paid_fen"}, ROWS, 1)
    assert set(race.try_out(table, baselines.LOOP, *given)) == set(baselines.LOOP)
    with pytest.raises(AssertionError, match="catastrophic of settlement 17"):
        race.try_out(table, [wrong], *given)


def test_in_decimals_it_is_the_same_ledger() -> None:
    small = cases.paid_ledger(ROWS, ROWS // 5)
    assert pa.types.is_decimal(small.schema.field("catastrophic_paid").type)
    assert cases.fen_of(small["total_fee"]).tolist() == ledger("constant")["total_fee_fen"].to_pylist()
    assert 0 <= min(small["person_id"].to_pylist()) < max(small["person_id"].to_pylist()) < ROWS // 5
    with pytest.raises(ValueError, match="expected 600 for 3000 rows, got 7"):
        cases.paid_ledger(ROWS, 7)


def test_memory_is_counted_in_a_fresh_process(tmp_path: Path) -> None:
    import bench_slope

    path = tmp_path / "ledger.arrow"
    bench_slope.run("make", path, ROWS)
    found = json.loads(bench_slope.run("pay", path, "DuckDB", 1, 2))
    assert len(found["seconds"]) == 2
    assert found["ledger_bytes"] > ROWS * 80
    assert 0 <= found["peak_bytes"] < 2**30
    with pa.OSFile(str(path)) as source:
        assert pa.ipc.open_file(source).read_all()["assistance_paid_fen"].to_pylist() == [0] * ROWS
    assert set(alone.WAYS) <= {each.system for each in baselines.CONSTANT}
    assert {(system, way) for system, way in alone.WAYS.items()} <= {each[:2] for each in baselines.CONSTANT}


def test_the_limit_moves_every_byte() -> None:
    copy = race.Copy(16 * 1_001 + 15, 3)
    copy.source[:] = np.arange(1_001)
    copy()
    assert copy.target.tolist() == list(range(1_001))
    assert copy.source.nbytes + copy.target.nbytes == 16 * 1_001


RUN = {
    "group": "a race",
    "name": "test_race",
    "stats": {"median": 0.5, "min": 0.4, "max": 0.9, "rounds": 3, "mean": 0.6},
    "extra_info": {
        "rows": 2_000_000,
        "threads": 2,
        "bytes_a_row": 40,
        "tried_rows": 200_000,
        "limit": {"seconds": [0.01, 0.02, 0.01]},
        "competitors": [
            {"system": "DuckDB", "way": "windows", "tried": 3.0, "seconds": []},
            {"system": "DuckDB", "way": "filter first", "tried": 1.1, "seconds": [1.0, 1.25, 9.0]},
            {"system": "pandas", "way": "groups", "tried": 0.3, "seconds": [0.25, 0.25, 0.25]},
        ],
    },
}


def test_a_case_is_written_down_with_ratios_of_medians() -> None:
    case = recording.case(RUN)
    assert case["ours"] == {"median": 0.5, "min": 0.4, "max": 0.9, "rounds": 3}
    assert case["limit"]["times_ours"] == 0.02
    slow, fast, faster = case["competitors"]
    assert "times_ours" not in slow
    assert (fast["median"], fast["max"], fast["times_ours"]) == (1.25, 9.0, 2.5)
    assert faster["times_ours"] == 0.5
    assert recording.machine()["cores"] >= 1
    assert recording.versions()["yibao"] == yibao_version()


def yibao_version() -> str:
    from importlib.metadata import version

    return version("yibao")


def test_tables_say_who_was_faster() -> None:
    result = {
        "command": "bench",
        "date": "2026-01-02",
        "commit": "abcdef0123",
        "changed_since": False,
        "machine": {"processor": "P", "cores": 2, "memory_gib": 24, "system": "Linux"},
        "versions": {"python": "3.11"},
        "cases": [recording.case(RUN)],
    }
    text = "\n".join(report.lines(result))
    assert "| a race | 2,000,000 | 2 | 4.0 | pandas, groups: 8.0 | **0.50** | 50.0 |" in text
    assert "| **yibao** |  | 500 ms | 400 ms – 900 ms | 4.0 | 1 |" in text
    assert "| DuckDB | filter first | 1.25 s | 1 s – 9 s | 1.6 | 2.50 |" in text
    assert text.index("| pandas |") < text.index("| DuckDB |")
    assert "Slower on 200,000 rows, not raced: DuckDB windows 3 s." in text


def test_the_page_keeps_what_stands_outside_the_marks() -> None:
    page = "before\n<!-- begin: bench -->\nold\n<!-- end: bench -->\nafter\n"
    assert report.between(page, "bench", "new") == page.replace("old", "new")
    for command in ("bench", "bench-large"):
        assert f"<!-- begin: {command} -->" in report.PAGE.read_text(encoding="utf-8")


def test_times_have_three_digits() -> None:
    assert [report.seconds(value) for value in (12.34, 1.234, 0.1234, 0.00001234, 2e-9)] == [
        "12.3 s", "1.23 s", "123 ms", "12.3 µs", "2 ns",
    ]  # fmt: skip


def test_charts_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="extra `bench`")
    from charts import draw

    slope = [
        {"group": report.SLOPE, "name": "s", "system": "yibao", "rows": rows, "peak_bytes": 100 * rows}
        | {"ours": {"median": 0.1, "min": 0.1, "max": 0.2, "rounds": 3}}
        for rows in (1_000_000, 10_000_000)
    ]
    drawn = dict(draw({"command": "bench", "cases": [recording.case(RUN), *slope]}, tmp_path))
    assert [file.name for file in drawn.values()] == ["bench-rates.svg", "bench-slope.svg"]
    assert "filter first" in (tmp_path / "bench-rates.svg").read_text(encoding="utf-8")
