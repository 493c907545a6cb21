"""What people would use instead: SQL, and a function of their own for one claim."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa

TIERS = {  # 威医保发〔2019〕37号 二(二): (from yuan, more per hundred)
    "ordinary": ((18_000, 60), (100_000, 5), (200_000, 5), (300_000, 5)),
    "dibao": ((5_000, 65), (100_000, 10), (300_000, 10)),
}
CAPS = {"ordinary": 400_000, "dibao": 9_000_000_000}


def _entitled(base: str) -> str:
    """Return SQL for R(F(base)) in whole fen; `base` is a column of fen."""
    cases = []
    for category, tiers in TIERS.items():
        exact = " + ".join(f"greatest({base} - {edge * 100}, 0) * {rate * 100}" for edge, rate in tiers)
        cases.append(f"when '{category}' then (least({exact}, {CAPS[category] * 100 * 10000}::bigint) + 5000) // 10000")
    return f"case category {' '.join(cases)} end"


def duckdb_three_layers(ledger: pa.Table, threads: int) -> Any:
    """Return (settlement_id, catastrophic, assistance) in fen: chained windows over each person's running totals."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set threads to {threads}")
    connection.register("ledger", ledger)
    return connection.sql(
        f"""
        with rows as (
            select settlement_id, person_id, settled_at, category::varchar as category,
                   cast(eligible_fee * 100 as bigint) - cast(basic_paid * 100 as bigint) as base,
                   cast(total_fee * 100 as bigint) - cast(basic_paid * 100 as bigint) as room
            from ledger
        ), running as (
            select *, sum(base) over (partition by person_id order by settled_at, settlement_id)::bigint as after
            from rows
        ), catastrophic as (
            select *, {_entitled("after")} - {_entitled("(after - base)")} as paid from running
        ), assisted as (
            select *, sum(base - paid) over (partition by person_id order by settled_at, settlement_id)::bigint as left_after
            from catastrophic
        )
        select settlement_id, paid as catastrophic,
               case when category = 'dibao'
                    then least((left_after * 7000 + 5000) // 10000, 1000000)
                       - least(((left_after - (base - paid)) * 7000 + 5000) // 10000, 1000000)
                    else 0 end as assistance
        from assisted
        """
    ).to_arrow_table()


EDGES = {who: [(Decimal(edge), Decimal(rate) / 100) for edge, rate in tiers] for who, tiers in TIERS.items()}
CENT, NOTHING = Decimal("0.01"), Decimal(0)

Balances = tuple[Decimal, Decimal, Decimal]
"""Of the year so far: what catastrophic insurance was reckoned on, what assistance was, and what assistance has paid."""


def python_three_layers(claim: Mapping[str, Any], before: Balances | None) -> tuple[Decimal, Decimal, Balances]:
    """Return catastrophic insurance, assistance and the balances after a claim of the usual ledger, in Decimal yuan."""
    spent, helped_on, helped = before or (NOTHING, NOTHING, NOTHING)
    total, eligible, basic = (Decimal(claim[name]) for name in ("total_fee", "eligible_fee", "basic_paid"))
    base = max(NOTHING, eligible - basic)
    category = claim["category"]
    catastrophic = min(_tiers(category, spent + base) - _tiers(category, spent), total - basic)
    rest, assistance = NOTHING, NOTHING
    if category == "dibao":
        rest = max(NOTHING, base - catastrophic)
        assistance = _assistance(helped_on + rest) - _assistance(helped_on)
        assistance = max(NOTHING, min(assistance, 10_000 - helped, total - basic - catastrophic))
    return catastrophic, assistance, (spent + base, helped_on + rest, helped + assistance)


def _tiers(category: str, spent: Decimal) -> Decimal:
    exact = sum((max(NOTHING, spent - edge) * rate for edge, rate in EDGES[category]), NOTHING)
    return min(exact, Decimal(CAPS[category])).quantize(CENT, ROUND_HALF_UP)


def _assistance(amount: Decimal) -> Decimal:
    return min(amount * Decimal("0.7"), Decimal(10_000)).quantize(CENT, ROUND_HALF_UP)
