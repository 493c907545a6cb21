"""From file to file: the same bytes whether a ledger fits the memory or goes through the disk in parts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import agreement_runs
import ledgers
import yibao
from yibao import bulk, bulk_parts, merging, outputs

ROWS = 700


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


def with_money(table: pa.Table, rng: random.Random) -> pa.Table:
    """Return a ledger in several chunks, with columns that the engine does not know."""
    table = table.append_column("note", pa.array([f"n{row}" for row in range(len(table))]))
    table = table.append_column("kind", pa.array(rng.choices(["a", "b", None], k=len(table))).dictionary_encode())
    cut = rng.randrange(len(table))
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)])


def scene(seed: int, tmp_path: Path) -> tuple[agreement_runs.Scene, pa.Table, Path, dict[str, Any]]:
    found = agreement_runs.scene(seed, ROWS)
    table = with_money(ledgers.to_arrow(found.rows, found.columns), found.rng)
    path = tmp_path / "ledger.parquet"
    pq.write_table(table, path, row_group_size=100)
    options: dict[str, Any] = {}
    entries = agreement_runs._roster(found.rng, found.rows)
    if entries is not None:
        options = {"roster": agreement_runs._roster_table(entries), "roster_mode": found.rng.choice(("add", "replace"))}
    return found, table, path, options


def plain(value: Any) -> Any:
    """Return a table without the differences of layout that Parquet makes."""
    return [{name: cell for name, cell in row.items()} for row in value.to_pylist()]


@pytest.mark.parametrize("seed", range(26))
def test_a_ledger_settles_to_the_same_bytes_in_any_number_of_parts(seed: int, tmp_path: Path, in_parts: Any) -> None:
    found, table, path, options = scene(seed, tmp_path)
    first = yibao.settle_ledger(table.slice(0, ROWS // 3), found.engine, **options)
    rest = table.slice(ROWS // 3)
    pq.write_table(rest, path, row_group_size=100)
    options |= {"history": first.table, "opening": first.closing}
    expected = yibao.settle_ledger(rest, found.engine, **options)
    written = []
    for count, threads in ((0, 2), (1, 1), (3, 2), (16, 1)):
        in_parts(count)
        files = yibao.settle_ledger(path, found.engine, out=tmp_path / f"o{count}", threads=threads, **options)
        written.append(content(tmp_path / f"o{count}"))
    assert written[0] == written[1] == written[2] == written[3]
    assert len(files.files["settled"]) == 4
    for name, whole in (("settled", expected.table), ("rejects", expected.rejects), ("closing", expected.closing)):
        assert plain(files.table(name)) == plain(whole), name
    assert files.summary == expected.summary


@pytest.mark.parametrize("seed", range(26))
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
    written = []
    for count, threads in ((0, 1), (1, 2), (3, 1), (16, 2)):
        in_parts(count)
        files = yibao.reaccount(path, found.engine, out=tmp_path / f"o{count}", threads=threads, **options)
        written.append(content(tmp_path / f"o{count}"))
    assert written[0] == written[1] == written[2] == written[3]
    names = (
        "settled", "deltas", "rejects", "transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted",
        *(["roster_changes"] if "roster" in options else []),
    )  # fmt: skip
    assert set(files.files) == set(names)
    for name in names:
        assert plain(files.table(name)) == plain(getattr(expected, name)), name
    assert files.summary == expected.summary
