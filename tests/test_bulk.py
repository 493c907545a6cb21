"""From file to file: the same bytes whether a ledger fits the memory or goes through the disk in parts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import agreement
import agreement_runs
import ledgers
import yibao
from yibao import bulk, bulk_parts, merging, outputs
from yibao.in_turn import in_turn
from yibao.memory import limit_bytes
from yibao.sources import as_source

ROWS = 300

Ways = tuple[tuple[int, int], ...]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (outputs, bulk, merging, bulk_parts):
        monkeypatch.setattr(module, "PART_ROWS", 128)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    def forced(count: int) -> None:
        monkeypatch.setattr(bulk, "fits", lambda source, limit: count == 0)
        monkeypatch.setattr(bulk_parts, "part_count", lambda needed, limit: count)

    return forced


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def in_chunks(table: pa.Table, rng: random.Random) -> pa.Table:
    """Return a ledger in several chunks, with columns that the engine does not know."""
    table = table.append_column("note", pa.array([f"n{row}" for row in range(len(table))]))
    table = table.append_column("kind", pa.array(rng.choices(["a", "b", None], k=len(table))).dictionary_encode())
    cut = rng.randrange(len(table))
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)])


def scene(seed: int, tmp_path: Path) -> tuple[agreement_runs.Scene, pa.Table, Path, dict[str, Any]]:
    found = agreement_runs.scene(seed, ROWS)
    table = in_chunks(ledgers.to_arrow(found.rows, found.columns), found.rng)
    path = tmp_path / "ledger.parquet"
    pq.write_table(table, path, row_group_size=100)
    options: dict[str, Any] = {}
    entries = agreement_runs._roster(found.rng, found.rows)
    if entries is not None:
        options = {"roster": agreement_runs._roster_table(entries), "roster_mode": found.rng.choice(("add", "replace"))}
    return found, table, path, options


def written(run: Callable[..., Any], out: Path, in_parts: Any, ways: Ways) -> yibao.ResultFiles:
    """Return what `run` has written in the last of several ways (parts, threads); in all of them it is the same bytes."""
    results: list[yibao.ResultFiles] = []
    for count, threads in ways:
        in_parts(count)
        results.append(run(out=out / f"o{count}", threads=threads))
    contents = [content(files.directory) for files in results]
    assert all(each == contents[0] for each in contents)
    return results[-1]


@pytest.mark.parametrize("seed", range(13))
def test_a_ledger_settles_to_the_same_bytes_in_any_number_of_parts(seed: int, tmp_path: Path, in_parts: Any) -> None:
    found, table, path, options = scene(seed, tmp_path)
    first = yibao.settle_ledger(table.slice(0, ROWS // 3), found.engine, **options)
    rest = table.slice(ROWS // 3)
    pq.write_table(rest, path, row_group_size=100)
    options |= {"history": first.table, "opening": first.closing}
    expected = yibao.settle_ledger(rest, found.engine, **options)
    files = written(partial(yibao.settle_ledger, path, found.engine, **options), tmp_path, in_parts, ((0, 2), (5, 1)))
    assert len(files.files["settled"]) == 2
    for name, whole in (("settled", expected.table), ("rejects", expected.rejects), ("closing", expected.closing)):
        assert files.table(name).to_pylist() == whole.to_pylist(), name
    assert files.summary == expected.summary


@pytest.mark.parametrize("seed", range(13))
def test_a_ledger_is_reaccounted_to_the_same_bytes_in_any_number_of_parts(
    seed: int, tmp_path: Path, in_parts: Any
) -> None:
    found, table, path, options = scene(seed, tmp_path)
    options |= {
        "recorded_after_change": found.rng.choice(("keep", "implied_rate")),
        "on_reject": found.rng.choice(("hold", "pay")),
        "on_decrease": found.rng.choice(("waive", "recover")),
    }
    first = yibao.reaccount(table, found.engine, **options).transfers
    chosen = [row for row in range(len(first)) if found.rng.random() < 0.5]
    options["previous_transfers"] = first.take(pa.array(chosen, pa.int64())) if seed % 2 else None
    expected = yibao.reaccount(table, found.engine, **options)
    files = written(partial(yibao.reaccount, path, found.engine, **options), tmp_path, in_parts, ((0, 1), (7, 2)))
    names = (
        "settled", "deltas", "rejects", "transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted",
        *(["roster_changes"] if "roster" in options else []),
    )  # fmt: skip
    assert set(files.files) == set(names)
    for name in names:
        assert files.table(name).to_pylist() == getattr(expected, name).to_pylist(), name
    assert files.summary == expected.summary


def weihai(rows: int = 300, seed: int = 5) -> pa.Table:
    rng = random.Random(seed)
    found = ledgers.random_rows(
        rng, rows, 40, regions=(371002,), years=(2019,), bad=0.0, reversals=0.1, text_ids=True, region_of_person=True
    )
    return ledgers.to_arrow(found, list(found[0]))


def as_text(table: pa.Table) -> pa.Table:
    return pa.table({name: table[name].cast(pa.string()) for name in table.column_names})


@pytest.fixture
def policy() -> Any:
    return yibao.load_policy("weihai-2019", parameters=agreement.PARAMETERS["weihai-2019"])


@pytest.mark.parametrize("parts", [0, 4])
def test_every_kind_of_source_gives_the_same_rows(parts: int, tmp_path: Path, in_parts: Any, policy: Any) -> None:
    in_parts(parts)
    table = as_text(weihai())
    half = len(table) // 2
    (tmp_path / "parquet").mkdir()
    pq.write_table(table.slice(0, half), tmp_path / "parquet" / "a.parquet")
    pq.write_table(table.slice(half), tmp_path / "parquet" / "b.parquet")
    with pa.ipc.new_file(str(tmp_path / "ledger.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    with pa.ipc.new_stream(str(tmp_path / "ledger.arrows"), table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    pacsv.write_csv(table, tmp_path / "ledger.csv")
    views = table.set_column(1, table.column_names[1], table.column(1).cast(pa.string_view()))
    sources: dict[str, Any] = {
        "table": table,
        "directory": tmp_path / "parquet",
        "files": [tmp_path / "parquet" / "a.parquet", str(tmp_path / "parquet" / "b.parquet")],
        "dataset": ds.dataset(tmp_path / "parquet"),
        "ipc": tmp_path / "ledger.arrow",
        "stream": tmp_path / "ledger.arrows",
        "csv": tmp_path / "ledger.csv",
        "views": views,
        "reader": table.to_reader(max_chunksize=50),
        "batches": table.to_batches(max_chunksize=70),
    }
    expected = yibao.settle_ledger(table, policy)
    for name, source in sources.items():
        files = yibao.settle_ledger(source, policy, out=tmp_path / "out")
        assert files.table("settled").to_pylist() == expected.table.to_pylist(), name
        assert files.table("closing").to_pylist() == expected.closing.to_pylist(), name
        assert files.reader("settled").read_all().equals(files.table("settled"))


@pytest.mark.parametrize("parts", [0, 3])
def test_an_empty_ledger_has_empty_results(parts: int, tmp_path: Path, in_parts: Any, policy: Any) -> None:
    in_parts(parts)
    files = yibao.settle_ledger(weihai().slice(0, 0), policy, out=tmp_path / "out")
    assert {name: len(files.table(name)) for name in files.files} == {"settled": 0, "rejects": 0, "closing": 0}
    assert files.summary["rows"] == 0


@pytest.mark.parametrize("parts", [0, 3])
def test_a_refusal_says_the_same_and_leaves_nothing(parts: int, tmp_path: Path, in_parts: Any) -> None:
    ledger = weihai()
    lacking = yibao.load_policy("linyi-2019")
    cases: list[tuple[Any, Any, dict[str, Any]]] = [
        (yibao.settle_ledger, (ledger, lacking), {}),
        (yibao.settle_ledger, (ledger.drop_columns(["care_type", "person_id"]), lacking), {}),
        (yibao.settle_ledger, (ledger.drop_columns(["total_fee"]), yibao.load_policy("demo-city")), {}),
        (yibao.reaccount, (ledger, yibao.load_policy("weihai-2019")), {}),
        (yibao.reaccount, (ledger.drop_columns(["treated_region"]), yibao.load_policy("weihai-2019")),
         {"recorded_after_change": "keep"}),
    ]  # fmt: skip
    in_parts(parts)
    for run, given, options in cases:
        with pytest.raises(yibao.SettlementError) as expected:
            run(*given, **options)
        with pytest.raises(yibao.SettlementError) as caught:
            run(*given, out=tmp_path / "out", **options)
        assert (type(caught.value), str(caught.value)) == (type(expected.value), str(expected.value))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("parts", [0, 3])
def test_strict_names_the_first_reject_of_the_ledger(parts: int, tmp_path: Path, in_parts: Any, policy: Any) -> None:
    ledger = weihai()
    care = ["surgery" if row in (200, 77, 290) else cell for row, cell in enumerate(ledger["care_type"].to_pylist())]
    ledger = ledger.set_column(ledger.column_names.index("care_type"), "care_type", pa.array(care))
    in_parts(parts)
    with pytest.raises(yibao.ClaimError) as expected:
        yibao.settle_ledger(ledger, policy, strict=True)
    with pytest.raises(yibao.ClaimError) as caught:
        yibao.settle_ledger(ledger, policy, strict=True, out=tmp_path / "out")
    assert str(caught.value) == str(expected.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["2", "lots", 1 << 20, 1.5e9, True, "-1 GiB"])
def test_a_limit_that_is_none_is_refused(given: Any, tmp_path: Path, policy: Any) -> None:
    with pytest.raises(yibao.SettlementError, match="memory_limit: expected"):
        yibao.settle_ledger(weihai(), policy, out=tmp_path / "out", memory_limit=given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("256 MiB", 1 << 28), ("1.5GB", 3 << 29), ("2g", 1 << 31), (1 << 29, 1 << 29), ("300000000", 300_000_000)],
)
def test_a_limit_is_bytes_or_text(given: Any, expected: int) -> None:
    assert limit_bytes(given) == expected


def test_a_limit_decides_whether_the_disk_is_needed_and_into_how_many_parts() -> None:
    table = pa.table({"a": pa.array(range(1_000_000))})
    source = as_source(table)
    needed = 1_000_000 * (bulk_parts.WORK_BYTES + 9)
    assert not bulk_parts.fits(source, needed + bulk_parts.FIXED_BYTES - 1_000_000)
    assert bulk_parts.fits(source, needed + bulk_parts.FIXED_BYTES)
    assert bulk_parts.part_count(needed, needed // 3 + bulk_parts.FIXED_BYTES) == 4


def test_a_large_reader_is_kept_on_disk(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(range(100_000))})
    source = bulk_parts.once_only(table.to_reader(max_chunksize=1_000), tmp_path, 1 << 18)
    assert source is not None
    assert source.rows == 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.arrows"]
    for _ in range(2):
        assert pa.Table.from_batches(source.batches()).equals(table)
    assert pa.Table.from_batches(source.batches(["a"])).equals(table)


def test_words_stand_in_the_order_in_which_they_come() -> None:
    whole = pa.array(["b", None, "a", "b"]).dictionary_encode()
    other = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 2], pa.int8()), pa.array(["a", "z", "b"]))
    doubled = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 1], pa.int8()), pa.array(["a", "b", "b"]))
    for column in (other, doubled, pa.chunked_array([other.slice(0, 2), doubled.slice(2)])):
        array = outputs.canonical(pa.table({"word": column})).column(0).chunk(0)
        assert array.to_pylist() == whole.to_pylist()
        assert array.dictionary.to_pylist() == ["b", "a"]


def test_a_written_table_is_read_as_it_was_whoever_reads_it(tmp_path: Path) -> None:
    """Decimals stand in the file as integers, made of 8 bytes; the types that are read are those of the table."""
    amounts = [Decimal("1.10"), None, Decimal("-3.00")]
    table = pa.table(
        {
            "short": pa.array(amounts, pa.decimal128(18, 2)),
            "long": pa.array(amounts, pa.decimal128(38, 2)),
            "own": pa.array(amounts, pa.decimal64(18, 2)),
            "word": pa.array(["a", None, "b"]).dictionary_encode(),
            "text": ["x", "y", None],
            "moment": pa.array([1, None, 3], pa.timestamp("us", "Asia/Shanghai")),
            "number": pa.array([2**62, -(2**62), None]),
            "yes": [True, None, False],
        }
    )
    twice = table.append_column("again", table["short"])
    path = tmp_path / "table.parquet"
    for written_table in (table, table.slice(1), table.slice(0, 0), pa.concat_tables([table, table]), twice):
        outputs.write_parquet(written_table, path)
        read = pq.read_table(path)
        assert read.schema.equals(written_table.schema)
        assert read.equals(written_table)
    duckdb = pytest.importorskip("duckdb")
    shown = duckdb.sql(f"select short, long, own, number, again from '{path}' order by number").fetchall()
    assert shown == [
        (None, None, None, -(2**62), None),
        (*[amounts[0]] * 3, 2**62, amounts[0]),
        (*[amounts[2]] * 3, None, amounts[2]),
    ]


@pytest.mark.parametrize("parts", [0, 3])
@pytest.mark.parametrize("rows", [64, 128, 256])
def test_a_ledger_of_whole_parts_has_no_empty_one(
    rows: int, parts: int, tmp_path: Path, in_parts: Any, policy: Any
) -> None:
    in_parts(parts)
    files = yibao.settle_ledger(weihai(rows), policy, out=tmp_path / "out")
    assert [len(pq.read_table(path)) for path in files.files["settled"]] == [min(rows, 128)] * -(-rows // 128)


@pytest.mark.parametrize("parts", [0, 3])
def test_words_of_every_kind_are_written_the_same(parts: int, tmp_path: Path, in_parts: Any, policy: Any) -> None:
    """Ordered ones, views, views in dictionaries, chunks with more words than their indices can tell apart."""
    rows = 300
    many = [pa.array([f"{chunk} {row % 100}" for row in range(150)]).dictionary_encode() for chunk in range(2)]
    small = pa.dictionary(pa.int8(), pa.string())
    risk = pa.array([0] * 140 + [1] * 160, pa.int8())
    words = {
        "risk": pa.DictionaryArray.from_arrays(risk, pa.array(["low", "high"]), ordered=True),
        "view": pa.array([f"longer than twelve {row}" for row in range(rows)], pa.string_view()),
        "code": pa.DictionaryArray.from_arrays(risk, pa.array(["a", "b"], pa.string_view())),
        "many": pa.chunked_array([chunk.cast(small) for chunk in many]),
        "a.b": pa.array(range(rows)),
        "a": pa.array([{"b": 1.5}] * rows),
    }
    table = weihai(rows)
    for name, column in words.items():
        table = table.append_column(name, column)
    in_parts(parts)
    expected = yibao.settle_ledger(table, policy).table.to_pylist()
    path = tmp_path / "ledger.arrows"
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    for source in (table, path):
        files = yibao.settle_ledger(source, policy, out=tmp_path / "out")
        assert files.table("settled").to_pylist() == expected
        assert files.reader("settled").read_all().to_pylist() == expected
        kinds = {name: files.table("settled").schema.field(name).type for name in words}
        assert kinds["risk"].ordered
        assert kinds["view"] == pa.large_string()


@pytest.mark.parametrize("parts", [0, 3])
def test_cells_that_their_type_does_not_hold_are_refused(
    parts: int, tmp_path: Path, in_parts: Any, policy: Any
) -> None:
    """A decimal of 18 digits with a larger number in its bytes, in a column of the caller's own and in money."""
    table = weihai(200)
    pairs = np.zeros((len(table), 2), dtype=np.int64)
    pairs[7] = (5, 1)  # 2**64 + 5
    broken = pa.Array.from_buffers(pa.decimal128(18, 2), len(table), [None, pa.py_buffer(pairs)])
    in_parts(parts)
    for name in ("own", "total_fee"):
        at = table.column_names.index(name) if name in table.column_names else None
        whole = table.append_column(name, broken) if at is None else table.set_column(at, name, broken)
        with pytest.raises(yibao.LedgerError, match="ledger: expected cells of their types, got others"):
            yibao.settle_ledger(whole, policy, out=tmp_path / "out")
    words = np.zeros(len(table), dtype=np.int64)
    words[3] = -(2**63)  # the engine's own sign for null
    path = tmp_path / "ledger.parquet"
    short = pa.Array.from_buffers(pa.decimal64(18, 2), len(table), [None, pa.py_buffer(words)])
    pq.write_table(table.set_column(table.column_names.index("basic_paid"), "basic_paid", short), path)
    with pytest.raises(yibao.LedgerError, match="damaged"):
        yibao.settle_ledger(path, policy, out=tmp_path / "out")


def test_work_done_ahead_comes_in_its_turn_and_stops_where_it_fails() -> None:
    begun: list[int] = []

    def halved(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("odd")
        time.sleep(0.02 if number % 2 else 0)
        return number // 2

    for threads in (1, 2, 5):
        assert list(in_turn(threads, halved, [8, 1, 6, 5])) == [4, 0, 3, 2]
    begun.clear()
    results = in_turn(2, halved, [4, 3, 2, 8, 10, 12, 14, 16])
    assert next(results) == 2
    with pytest.raises(ValueError, match="odd"):
        list(results)
    assert len(begun) < 8
