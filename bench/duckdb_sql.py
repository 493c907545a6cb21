"""DuckDB: the re-accounting as SQL over the table `ledger`.

*Windows*: running totals by window functions. *One window*: where nobody's category changes, the layers telescope and
need one running total. *Sort once*: running totals of the whole sorted table, less what stood before the person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa

from weihai import ASSISTANCE_BP, ASSISTANCE_LIMIT_FEN, HARDSHIP, LOWEST_FEN, ORDINARY, ORDINARY_CAP_FEN_BP

YEAR = "over (partition by person_id order by settled_at rows unbounded preceding)"
SO_FAR = "over (rows unbounded preceding)"


def connect(ledger: pa.Table | None, threads: int) -> duckdb.DuckDBPyConnection:
    """Return a connection that sees an Arrow table as `ledger`: faster here than a table of DuckDB's own."""
    connection = duckdb.connect()
    connection.execute(f"set threads to {threads}")
    if ledger is not None:
        connection.register("ledger", ledger)
    return connection


def runner(query: str) -> Callable[[duckdb.DuckDBPyConnection], Any]:
    """Return what runs a query and returns an Arrow table."""
    return lambda connection: connection.sql(query).to_arrow_table()


def _rounded(exact: str) -> str:
    return f"(({exact} + 5000) // 10000)"


def _ordinary(base: str) -> str:
    tiers = " + ".join(f"greatest({base} - {edge}, 0) * {rate}" for edge, rate in ORDINARY)
    return _rounded(f"least({tiers}, {ORDINARY_CAP_FEN_BP})")


def _entitled(base: str) -> str:
    """Return SQL for what catastrophic insurance owes for a year's base, by the row's category."""
    hardship = " + ".join(f"greatest({base} - {edge}, 0) * {rate}" for edge, rate in HARDSHIP)
    return f"(case hardship when 0 then {_ordinary(base)} else {_rounded(hardship)} end)"


def _assisted(base: str) -> str:
    return f"(case hardship when 0 then 0 else least({_rounded(f'({base}) * {ASSISTANCE_BP}')}, {ASSISTANCE_LIMIT_FEN}) end)"


def _sorted(source: str, columns: str) -> str:
    """Return SQL for the rows by person and time, each with `first`: whether it is its person's first."""
    return (
        f"select {columns}, person_id != coalesce(lag(person_id) over (), -1) as first "
        f"from (select * from {source} order by person_id, settled_at)"
    )


def _added_up(source: str, amount: str, total: str) -> str:
    """Return SQL that adds the person's running total of a column to rows that `_sorted` made."""
    return (
        f"select * exclude (everything), everything - max(case when first then everything - {amount} end) {SO_FAR} as {total} "
        f"from (select *, sum({amount}) {SO_FAR}::bigint as everything from {source})"
    )


# One layer: ledger(settlement_id, person_id, settled_at, base) -> settlement_id, catastrophic

_PAY = f"select settlement_id, {_ordinary('year')} - {_ordinary('(year - base)')} as catastrophic"


def _one_layer(source: str) -> str:
    return f"{_PAY} from (select *, (sum(base) {YEAR})::bigint as year from {source})"


def _one_layer_sorted(source: str) -> str:
    rows = f"({_sorted(source, 'settlement_id, person_id, base')})"
    return f"{_PAY} from ({_added_up(rows, 'base', 'year')})"


_WHO = f"who as materialized (select person_id from ledger group by person_id having sum(base) > {LOWEST_FEN})"
_REST = "select settlement_id, 0::bigint as catastrophic from ledger anti join who using (person_id)"
_REACHED = "(select * from ledger semi join who using (person_id))"

ONE_LAYER = {
    "windows": _one_layer("ledger"),
    "sort once": _one_layer_sorted("ledger"),
    "filter first, windows": f"with {_WHO} {_REST} union all {_one_layer(_REACHED)}",
    "filter first, sort once": f"with {_WHO} {_REST} union all {_one_layer_sorted(_REACHED)}",
}

# Three layers: ledger(settlement_id, person_id, settled_at, hardship, eligible, basic)
# -> settlement_id, catastrophic, assistance

_ROWS = "bases as (select settlement_id, person_id, settled_at, hardship, eligible - basic as base from {source})"
_CATASTROPHIC = f"{_entitled('year')} - {_entitled('(year - base)')}"
_LAST = f"select settlement_id, catastrophic, {_assisted('left_year')} - {_assisted('left_year - (base - catastrophic)')} as assistance"


def _chained(source: str) -> str:
    return (
        f"with {_ROWS.format(source=source)}, "
        f"years as (select *, (sum(base) {YEAR})::bigint as year from bases), "
        f"paid as (select *, {_CATASTROPHIC} as catastrophic from years), "
        f"lefts as (select *, (sum(base - catastrophic) {YEAR})::bigint as left_year from paid) "
        f"{_LAST} from lefts"
    )


def _one_window(source: str) -> str:
    return (
        f"with {_ROWS.format(source=source)}, "
        f"years as (select *, (sum(base) {YEAR})::bigint as year from bases), "
        f"owed as (select *, {_entitled('year')} as after, {_entitled('(year - base)')} as before from years) "
        f"select settlement_id, after - before as catastrophic, "
        f"{_assisted('year - after')} - {_assisted('year - base - before')} as assistance from owed"
    )


def _chained_sorted(source: str) -> str:
    columns = "settlement_id, person_id, hardship, base"
    return (
        f"with {_ROWS.format(source=source)}, "
        f"sorted as ({_sorted('bases', columns)}), "
        f"years as ({_added_up('sorted', 'base', 'year')}), "
        f"paid as (select *, {_CATASTROPHIC} as catastrophic, base - catastrophic as rest from years), "
        f"lefts as ({_added_up('paid', 'rest', 'left_year')}) "
        f"{_LAST} from lefts"
    )


def _one_window_sorted(source: str) -> str:
    columns = "settlement_id, person_id, hardship, base"
    return (
        f"with {_ROWS.format(source=source)}, "
        f"sorted as ({_sorted('bases', columns)}), "
        f"years as ({_added_up('sorted', 'base', 'year')}), "
        f"owed as (select *, {_entitled('year')} as after, {_entitled('(year - base)')} as before from years) "
        f"select settlement_id, after - before as catastrophic, "
        f"{_assisted('year - after')} - {_assisted('year - base - before')} as assistance from owed"
    )


_HARDSHIP_TOO = (
    "who as materialized (select person_id from ledger group by person_id "
    f"having sum(eligible - basic) > {LOWEST_FEN} or max(hardship) = 1)"
)


def _filtered(three_layers: str) -> str:
    return (
        f"with {_HARDSHIP_TOO} select settlement_id, 0::bigint as catastrophic, 0::bigint as assistance "
        f"from ledger anti join who using (person_id) union all ({three_layers})"
    )


CHANGING = {
    "chained windows": _chained("ledger"),
    "sort once": _chained_sorted("ledger"),
    "filter first, chained windows": _filtered(_chained(_REACHED)),
    "filter first, sort once": _filtered(_chained_sorted(_REACHED)),
}
CONSTANT = {
    "chained windows": _chained("ledger"),
    "one window": _one_window("ledger"),
    "sort once": _one_window_sorted("ledger"),
    "filter first, one window": _filtered(_one_window(_REACHED)),
    "filter first, sort once": _filtered(_one_window_sorted(_REACHED)),
}


def copy_to(query: str, out: str, codec: str, row_group: int) -> str:
    """Return SQL that writes a query's result as Parquet, one file a thread."""
    return (
        f"copy ({query}) to '{out}' "
        f"(format parquet, compression {codec}, row_group_size {row_group}, per_thread_output true)"
    )
