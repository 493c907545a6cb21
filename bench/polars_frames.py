"""Polars: the re-accounting as lazy frames. Ways as in `duckdb_sql`; *year's sum* filters by a window, not by a join."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, cast

import polars as pl
import pyarrow as pa
from polars import col

from weihai import ASSISTANCE_BP, ASSISTANCE_LIMIT_FEN, HARDSHIP, LOWEST_FEN, ORDINARY, ORDINARY_CAP_FEN_BP

Rows = pl.LazyFrame
Way = Callable[[Rows], Rows]
RunningTotal = Callable[[Rows, str, str], Rows]


class Plan(NamedTuple):
    """How a ledger is turned into payments, and by which of the engines: the one that was faster here."""

    way: Way
    engine: Literal["in-memory", "streaming"] = "streaming"


def frame(ledger: pa.Table, threads: int) -> pl.DataFrame:
    """Return the ledger as Polars holds it. Its threads are those of the process: POLARS_MAX_THREADS."""
    if pl.thread_pool_size() != threads:
        raise ValueError(f"Polars: expected {threads} threads, got {pl.thread_pool_size()}")
    return cast(pl.DataFrame, pl.from_arrow(ledger))


def run(rows: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Return the payments."""
    return plan.way(rows.lazy()).collect(engine=plan.engine)


def _exact(base: pl.Expr, tiers: tuple[tuple[int, int], ...]) -> pl.Expr:
    first, *others = ((base - edge).clip(lower_bound=0) * rate for edge, rate in tiers)
    return sum(others, start=first)


def _ordinary(base: pl.Expr) -> pl.Expr:
    return (_exact(base, ORDINARY).clip(upper_bound=ORDINARY_CAP_FEN_BP) + 5_000) // 10_000


def _entitled(base: pl.Expr) -> pl.Expr:
    hardship = (_exact(base, HARDSHIP) + 5_000) // 10_000
    return pl.when(col("hardship") == 0).then(_ordinary(base)).otherwise(hardship)


def _assisted(base: pl.Expr) -> pl.Expr:
    amount = ((base * ASSISTANCE_BP + 5_000) // 10_000).clip(upper_bound=ASSISTANCE_LIMIT_FEN)
    return pl.when(col("hardship") == 0).then(0).otherwise(amount)


# Rows in order, and running totals on them


def _as_they_are(rows: Rows) -> Rows:
    return rows


def _by_window(rows: Rows, amount: str, total: str) -> Rows:
    return rows.with_columns(col(amount).cum_sum().over("person_id", order_by="settled_at").alias(total))


def _by_time(rows: Rows) -> Rows:
    return rows.sort("settled_at")


def _by_group(rows: Rows, amount: str, total: str) -> Rows:
    return rows.with_columns(col(amount).cum_sum().over("person_id").alias(total))


def _by_person(rows: Rows) -> Rows:
    first = col("person_id") != col("person_id").shift(1).fill_null(-1)
    return rows.sort("person_id", "settled_at").with_columns(first=first)


def _by_whole_column(rows: Rows, amount: str, total: str) -> Rows:
    rows = rows.with_columns(everything=col(amount).cum_sum())
    before = pl.when(col("first")).then(col("everything") - col(amount)).forward_fill()
    return rows.with_columns((col("everything") - before).alias(total))


WINDOWS: tuple[Way, RunningTotal] = (_as_they_are, _by_window)
GROUPS: tuple[Way, RunningTotal] = (_by_time, _by_group)
SORT_ONCE: tuple[Way, RunningTotal] = (_by_person, _by_whole_column)


# The layers


def _one_layer(order: Way, running: RunningTotal) -> Way:
    def pay(rows: Rows) -> Rows:
        years = running(order(rows), "base", "year")
        return years.select("settlement_id", catastrophic=_ordinary(col("year")) - _ordinary(col("year") - col("base")))

    return pay


def _chained(order: Way, running: RunningTotal) -> Way:
    def pay(rows: Rows) -> Rows:
        years = running(order(rows), "base", "year")
        paid = years.with_columns(catastrophic=_entitled(col("year")) - _entitled(col("year") - col("base")))
        lefts = running(paid.with_columns(rest=col("base") - col("catastrophic")), "rest", "left_year")
        assistance = _assisted(col("left_year")) - _assisted(col("left_year") - col("rest"))
        return lefts.select("settlement_id", "catastrophic", assistance=assistance)

    return pay


def _telescoped(order: Way, running: RunningTotal) -> Way:
    def pay(rows: Rows) -> Rows:
        years = running(order(rows), "base", "year")
        owed = years.with_columns(after=_entitled(col("year")), before=_entitled(col("year") - col("base")))
        assistance = _assisted(col("year") - col("after")) - _assisted(col("year") - col("base") - col("before"))
        return owed.select("settlement_id", catastrophic=col("after") - col("before"), assistance=assistance)

    return pay


# Whom a payment can reach


def _with_base(pay: Way) -> Way:
    return lambda rows: pay(rows.with_columns(base=col("eligible") - col("basic")))


def _nothing(rows: Rows, layers: tuple[str, ...]) -> Rows:
    return rows.select("settlement_id", **{layer: pl.lit(0, dtype=pl.Int64) for layer in layers})


def _join_first(pay: Way, layers: tuple[str, ...]) -> Way:
    def filtered(rows: Rows) -> Rows:
        year = rows.group_by("person_id").agg(_reached(layers).alias("reached"))
        who = year.filter(col("reached")).select("person_id")
        rest = rows.join(who, on="person_id", how="anti")
        return pl.concat([pay(rows.join(who, on="person_id", how="semi")), _nothing(rest, layers)])

    return filtered


def _year_first(pay: Way, layers: tuple[str, ...]) -> Way:
    def filtered(rows: Rows) -> Rows:
        rows = rows.with_columns(reached=_reached(layers, over="person_id"))
        return pl.concat([pay(rows.filter(col("reached"))), _nothing(rows.filter(~col("reached")), layers)])

    return filtered


def _reached(layers: tuple[str, ...], over: str | None = None) -> pl.Expr:
    year, hardship = col("base").sum(), col("hardship").max()
    if over:
        year, hardship = year.over(over), hardship.over(over)
    return (year > LOWEST_FEN) | (hardship == 1) if len(layers) > 1 else year > LOWEST_FEN


ONE = ("catastrophic",)
THREE = ("catastrophic", "assistance")

ONE_LAYER: Mapping[str, Plan] = {
    "windows": Plan(_one_layer(*WINDOWS)),
    "sort, then groups": Plan(_one_layer(*GROUPS)),
    "sort once": Plan(_one_layer(*SORT_ONCE)),
    "filter first, windows": Plan(_join_first(_one_layer(*WINDOWS), ONE)),
    "filter first, sort once": Plan(_join_first(_one_layer(*SORT_ONCE), ONE)),
    "year's sum first, windows": Plan(_year_first(_one_layer(*WINDOWS), ONE)),
    "year's sum first, sort once": Plan(_year_first(_one_layer(*SORT_ONCE), ONE)),
}
CHANGING: Mapping[str, Plan] = {
    "chained windows": Plan(_with_base(_chained(*WINDOWS))),
    "sort once": Plan(_with_base(_chained(*SORT_ONCE))),
    "filter first, chained windows": Plan(_with_base(_join_first(_chained(*WINDOWS), THREE))),
    "year's sum first, chained windows": Plan(_with_base(_year_first(_chained(*WINDOWS), THREE))),
    "year's sum first, sort once": Plan(_with_base(_year_first(_chained(*SORT_ONCE), THREE))),
}
CONSTANT: Mapping[str, Plan] = {
    "chained windows": Plan(_with_base(_chained(*WINDOWS))),
    "one window": Plan(_with_base(_telescoped(*WINDOWS))),
    "sort once": Plan(_with_base(_telescoped(*SORT_ONCE))),
    "filter first, one window": Plan(_with_base(_join_first(_telescoped(*WINDOWS), THREE))),
    "year's sum first, one window": Plan(_with_base(_year_first(_telescoped(*WINDOWS), THREE))),
    "year's sum first, sort once": Plan(_with_base(_year_first(_telescoped(*SORT_ONCE), THREE))),
}
