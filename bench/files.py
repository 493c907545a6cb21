"""Parquet in, Parquet out: the ways that `bench_files` races. All write the same columns, one file a thread."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import cases
import duckdb_sql
import yibao

CODEC = "lz4"
ROW_GROUP = 1 << 18
KEYS = ("settlement_id", "person_id", "settled_at")
OURS_READ = (
    *KEYS, "service_date", "insured_region", "treated_region", "hospital_id", "category", "care_type", "total_fee_fen",
    "eligible_fee_fen", "basic_paid_fen", "catastrophic_paid_fen", "assistance_paid_fen", "has_social_card_account",
)  # fmt: skip
THEIRS_READ = (*KEYS, "category", "eligible_fee_fen", "basic_paid_fen")
WRITTEN = ("settlement_id", "catastrophic_paid_fen", "assistance_paid_fen")


def write(table: pa.Table, path: Path) -> None:
    """Write a table as all of them are written."""
    dictionaries: Any = ["category", "care_type"]
    pq.write_table(table, path, row_group_size=ROW_GROUP, compression=CODEC, use_dictionary=dictionaries)


def write_parts(table: pa.Table, out: Path, threads: int) -> None:
    """Write a table as one file a thread."""
    step = -(-len(table) // threads)
    with ThreadPoolExecutor(threads) as pool:
        parts = [table.slice(thread * step, step) for thread in range(threads)]
        list(pool.map(write, parts, [out / f"part-{thread}.parquet" for thread in range(threads)]))


def emptied(out: Path) -> Path:
    """Return a folder with nothing in it."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return out


def ours_file_to_file(path: Path, out: Path, threads: int) -> None:
    """Re-account a file and write what is paid now."""
    ledger = pq.read_table(path, columns=list(OURS_READ), read_dictionary=["category", "care_type"])
    policy = yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)
    settled = yibao.reaccount(ledger, policy, missing_paid="zero", threads=threads, money="int64_fen").settled
    write_parts(settled.select(list(WRITTEN)), out, threads)


def duckdb_file_to_file(query: str, path: Path, out: Path, threads: int) -> None:
    """Re-account a file by one of DuckDB's queries and write what is paid now."""
    connection = duckdb_sql.connect(None, threads)
    connection.execute(
        f"""create view ledger as select settlement_id, person_id, settled_at, (category = 'dibao')::tinyint as hardship,
            eligible_fee_fen as eligible, basic_paid_fen as basic from '{path}'"""
    )
    named = f"select settlement_id, catastrophic as {WRITTEN[1]}, assistance as {WRITTEN[2]} from ({query})"
    connection.execute(duckdb_sql.copy_to(named, str(out), CODEC, ROW_GROUP))


def copy_file(path: Path, out: Path, threads: int, read: tuple[str, ...]) -> None:
    """Read these columns and write as many as the others write, and nothing between: what Parquet itself costs in pyarrow."""
    groups = pq.ParquetFile(path).num_row_groups

    def part(thread: int) -> None:
        mine = range(groups * thread // threads, groups * (thread + 1) // threads)
        with pq.ParquetFile(path, read_dictionary=["category", "care_type"]) as file:
            table = file.read_row_groups(list(mine), columns=list(read), use_threads=False)
        amounts = ("settlement_id", "eligible_fee_fen", "basic_paid_fen")
        write(table.select(list(amounts)).rename_columns(list(WRITTEN)), out / f"part-{thread}.parquet")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(threads)))


class Paid:
    """What a folder of results says, read when asked for."""

    def __init__(self, out: Path) -> None:
        self._files = sorted(out.glob("*.parquet"))

    def __getitem__(self, name: str) -> Any:
        column = {"catastrophic": WRITTEN[1], "assistance": WRITTEN[2]}.get(name, name)
        return pa.concat_tables([pq.read_table(file, columns=[column]) for file in self._files])[column]
