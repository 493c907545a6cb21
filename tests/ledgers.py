"""Random ledgers as plain rows for the oracle, and the same rows as Arrow for the engine.

Amounts seek the places where rules change: every tier edge, one fen below and above, as a row or as the
person's running total; small odd amounts make half-fen ties. Some stays hang together by referral: chains of
two to four, across New Year, two of one person at once, now and then under an id that another person has too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

import oracle

Row = dict[str, Any]

# 1,500,051 and on: half of an income of 30,001.01, and 50,000 and 100,000 above it.
EDGES_FEN = (50_005, 1_500_051, 6_500_051, 11_500_051, *(
    yuan * 100
    for yuan in (
        100, 200, 300, 600, 1_000, 1_500, 2_000, 3_000, 5_000, 6_000, 10_000, 12_000, 18_000, 20_000, 48_000, 50_000,
        65_000, 100_000, 115_000, 200_000, 300_000, 400_000, 500_000, 700_000,
    )
))  # fmt: skip
CATEGORY_CELLS = (
    "ordinary", "ordinary", "ordinary", "ordinary", "dibao", "低保,特困", "registered_poor", "建档立卡、低保", "low_income",
    "低边", "severe_disability", "因病致贫;ordinary", "orphan", "特困", "低边,建档立卡", "因病致贫、低边", "建档立卡;低收入救助对象",
    "贫困重度残疾人，低边",
)  # fmt: skip
LEVELS = (*(1, 2, 3, 9) * 12, None, 4)  # there is no level 4
CARE_TYPES = ("inpatient", "inpatient", "inpatient", "outpatient", "chronic_outpatient", "special_drug", "pku")
UNSEEN = 999_999_999
PAID = tuple(oracle.PAID_COLUMNS[layer] for layer in oracle.LAYERS)
MONEY = (*oracle.FEES, *PAID, "personal_paid")


def amount_fen(rng: random.Random, running_fen: int) -> int:
    """Return an amount: an edge or its neighbour, what is missing to one, a small odd sum, or anything."""
    choice = rng.random()
    edge = rng.choice(EDGES_FEN) + rng.choice((-1, 0, 1))
    if choice < 0.25:
        return edge
    if choice < 0.45:
        return max(1, edge - running_fen)
    if choice < 0.65:
        return rng.randrange(1, 20_000)
    if choice < 0.66:
        return 0
    return int(rng.lognormvariate(13.5, 1.4)) + 1


@dataclass
class Chain:
    """Stays of one person that hang together by referral, more of them to come."""

    episode_id: int
    last_day: date
    to_come: int


class Chains:
    """The open chains of everybody, and the ids that are given already."""

    def __init__(self) -> None:
        self.open: dict[int, list[Chain]] = {}
        self.given: list[int] = []

    def link(self, rng: random.Random, row: Row) -> None:
        """Let a row go on an open chain of its person, begin one, or stand alone."""
        own = self.open.setdefault(row["person_id"], [])
        choice = rng.random()
        if own and choice < 0.6:
            chain = rng.choice(own)
            _postpone(rng, row, chain.last_day + timedelta(days=rng.randrange(1, 45)))
            chain.to_come -= 1
            if chain.to_come == 0:
                own.remove(chain)
        elif len(own) < 2 and choice < (0.3 if own == [] else 0.8):
            if rng.random() < 0.3:
                day: date = row["service_date"]
                _postpone(rng, row, day.replace(month=12, day=rng.randrange(1, 32)))
            shared = self.given and rng.random() < 0.1
            episode_id = rng.choice(self.given) if shared else 500_000 + len(self.given)
            self.given.append(episode_id)
            chain = Chain(episode_id, row["service_date"], rng.randrange(1, 4))
            own.append(chain)
        else:
            return
        chain.last_day = row["service_date"]
        row["episode_id"] = chain.episode_id
        if rng.random() < 0.9:
            row["care_type"] = "inpatient"


def _postpone(rng: random.Random, row: Row, service: date) -> None:
    row["service_date"] = service
    row["settled_at"] = datetime.combine(service, datetime.min.time()) + timedelta(
        days=rng.randrange(12), hours=rng.randrange(3)
    )


def random_rows(
    rng: random.Random,
    count: int,
    people: int,
    *,
    regions: Sequence[int] = (371002, 371003, 371002, 370602),
    years: tuple[int, ...] = (2019,),
    bad: float = 0.0,
    reversals: float = 0.05,
    text_ids: bool = False,
    region_of_person: bool = True,
) -> list[Row]:
    """Return rows of a ledger; `bad` is the share of rows that something is wrong with."""
    rows: list[Row] = []
    running: dict[int, int] = {}
    chains = Chains()
    homes = {person: rng.choice(regions) for person in range(people)}
    held = {person: rng.choice(CATEGORY_CELLS) for person in range(people)}
    for number in range(count):
        person = min(int(rng.expovariate(3 / people)), people - 1)
        if rng.random() < 0.03:
            held[person] = rng.choice(CATEGORY_CELLS)
        row = _bill(
            rng, number, person, homes[person] if region_of_person else rng.choice(regions), held[person], years
        )
        chains.link(rng, row)
        total = amount_fen(rng, running.get(person, 0))
        running[person] = running.get(person, 0) + total
        _fill_money(rng, row, total)
        if rows and rng.random() < reversals:
            row = _reversal(rng, rng.choice(rows[-50:]), number)
        if rng.random() < bad:
            _spoil(rng, row, number)
        rows.append(row)
    if text_ids:
        for row in rows:
            for name in ("settlement_id", "reverses", "person_id", "episode_id"):
                if row[name] is not None:
                    row[name] = f"{'S' if name == 'reverses' else name[0].upper()}{row[name]}"
    if rng.random() < 0.2:
        for row in rows:
            row["hospital_level"] = None if row["hospital_level"] is None else str(row["hospital_level"])
    return rows


def _bill(rng: random.Random, number: int, person: int, home: int, category: str, years: tuple[int, ...]) -> Row:
    service = date(rng.choice(years), 1, 1) + timedelta(days=rng.randrange(365))
    settled = datetime.combine(service, datetime.min.time()) + timedelta(days=rng.randrange(40), hours=rng.randrange(3))
    return {
        "settlement_id": number * 7 % 1_000_003,
        "reverses": None,
        "person_id": person,
        "settled_at": settled,
        "service_date": service,
        "insured_region": home,
        "treated_region": rng.choice((*(home,) * 12, *(371003, 110101, 990203) * 2, None)),
        "hospital_id": rng.choice((1, 2, 3, None)),
        "hospital_level": rng.choice(LEVELS),
        "episode_id": None,
        "category": category,
        "birth_date": date(rng.randrange(1995, 2006), rng.choice((2, 6)), rng.choice((28, 1))),
        "care_type": rng.choice(CARE_TYPES),
        "has_commercial_supplement": rng.random() < 0.5,
        "has_social_card_account": rng.choice((True, True, False, None)),
    }


def _fill_money(rng: random.Random, row: Row, total: int) -> None:
    eligible = total if rng.random() < 0.4 else rng.randrange(0, total + 1)
    outside = total - eligible
    first = rng.randrange(0, outside + 1)
    row |= {
        "total_fee": total,
        "self_funded_fee": outside - first + rng.choice((0,) * 19 + (1,)),
        "over_limit_fee": None if rng.random() < 0.02 else 0,
        "first_pay_fee": first,
        "eligible_fee": eligible,
    }
    left = total
    for name in PAID:
        chance = {"basic_paid": 0.5, "catastrophic_paid": 0.5}.get(name, 0.2)
        paid = rng.randrange(0, left // 2 + 1) if rng.random() < chance else 0
        left -= paid
        row[name] = paid if paid or name == "catastrophic_paid" else rng.choice((0, None))
    row["personal_paid"] = left if rng.random() < 0.95 else rng.choice((None, left + 1))


def _reversal(rng: random.Random, original: Row, number: int) -> Row:
    row = dict(original)
    for name in MONEY:
        if isinstance(row[name], int):
            row[name] = -row[name]
    row["settlement_id"] = number * 7 % 1_000_003
    row["reverses"] = original["settlement_id"] if rng.random() < 0.9 else UNSEEN
    if original["settled_at"] is not None:
        row["settled_at"] = original["settled_at"] + timedelta(hours=rng.choice((0, 1, 5, 900, 2000, -3)))
    if rng.random() < 0.1 and isinstance(row["total_fee"], int):
        row["total_fee"] -= 1
    if rng.random() < 0.05:
        row |= dict.fromkeys(PAID)
    return row


def _spoil(rng: random.Random, row: Row, number: int) -> None:
    kind = rng.choice((
        "settlement_id", "person_id", "service_date", "settled_at", "category", "care_type", "total_fee", "eligible_fee",
        "birth_date", "catastrophic_paid", "insured_region", "hospital_level", "treated_region", "duplicate", "sign", "paid_sign", "fen", "range", "unknown",
        "care", "exceeds", "year", "paid",
    ))  # fmt: skip
    if kind == "duplicate":
        row["settlement_id"] = max(0, number - rng.randrange(1, 30)) * 7 % 1_000_003
    elif kind == "sign":
        row["eligible_fee"] = 5 if row["reverses"] is not None else -5
    elif kind == "paid_sign":
        row["assistance_paid"] = 5 if row["reverses"] is not None else -5
    elif kind == "fen":
        row[rng.choice(MONEY)] = oracle.NOT_FEN
    elif kind == "range":
        row[rng.choice(MONEY)] = 10**10 + 1
    elif kind == "unknown":
        row["category"] = rng.choice(("", "低保,外地", "poor", " "))
    elif kind == "care":
        row["care_type"] = rng.choice(("dental", ""))
    elif kind == "exceeds" and isinstance(row["total_fee"], int):
        row["eligible_fee"] = row["total_fee"] * 2 + 1
    elif kind == "year":
        row["service_date"] = date(2016, 5, 5)
    elif kind == "paid" and isinstance(row["total_fee"], int):
        row["basic_paid"] = row["total_fee"] + (1 if row["reverses"] is None else -1)
        if rng.random() < 0.5:
            # Of a settlement only a refund of one that nobody has seen is judged by its own payments.
            row |= {name: -abs(row[name]) for name in MONEY if isinstance(row[name], int)}
            row["reverses"] = UNSEEN
    elif kind == "birth_date":
        row |= {"birth_date": None, "care_type": "pku"}  # the one place where an age is needed
    elif kind in row:
        row[kind] = None


def to_arrow(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pa.Table:
    """Return rows as a ledger. Money is decimal; a column that holds something else than fen is text."""
    arrays: dict[str, pa.Array] = {}
    for name in columns or rows[0]:
        cells = [row[name] for row in rows]
        if name in (*MONEY, "deductible_borne"):
            if oracle.NOT_FEN in cells:
                arrays[name] = pa.array([_text(cell) for cell in cells], pa.string())
            else:
                yuan = [None if cell is None else Decimal(cell).scaleb(-2) for cell in cells]
                arrays[name] = pa.array(yuan, pa.decimal128(18, 2))
        elif name == "settled_at":
            arrays[name] = pa.array(cells, pa.timestamp("us"))
        elif name in ("service_date", "birth_date"):
            arrays[name] = pa.array(cells, pa.date32())
        elif name in ("category", "care_type"):
            arrays[name] = pa.array(cells, pa.string()).dictionary_encode()
        elif name in ("insured_region", "treated_region"):
            arrays[name] = pa.array(cells, pa.int32())
        elif name in ("settlement_id", "reverses", "person_id", "hospital_id", "episode_id"):
            arrays[name] = pa.array(cells, pa.string() if _has_text(cells) else pa.int64())
        elif name in ("hospital_level", "stay_number"):
            whole = pa.int8() if name == "hospital_level" else pa.int32()
            arrays[name] = pa.array(cells, pa.string() if _has_text(cells) else whole)
        else:
            arrays[name] = pa.array(cells, pa.bool_())
    return pa.table(arrays)


def _has_text(cells: Sequence[Any]) -> bool:
    return any(isinstance(cell, str) for cell in cells)


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    return "12.345" if cell == oracle.NOT_FEN else str(Decimal(cell).scaleb(-2))


def bills(**columns: Any) -> pa.Table:
    """Return a ledger of bills of 30,000 on following days, each of its own person; `columns` replace its own."""
    rows = len(next(iter(columns.values())))
    cells: dict[str, Any] = {
        "settlement_id": [f"S{number}" for number in range(rows)],
        "person_id": [f"P{number}" for number in range(rows)],
        "settled_at": [datetime(2019, 3, 1) + timedelta(days=number) for number in range(rows)],
        "service_date": [date(2019, 3, 1)] * rows,
        "insured_region": ["371002"] * rows,
        "category": ["ordinary"] * rows,
        "care_type": ["inpatient"] * rows,
        "total_fee": ["30000"] * rows,
        "eligible_fee": ["30000"] * rows,
    }
    return pa.table(cells | columns)
