"""A city's year: people, claims, reversals, as one ledger that nobody has paid yet beyond basic insurance."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from yibao_datagen import columns
from yibao_datagen.claims import CARE_TYPES, Claims, make_claims
from yibao_datagen.ids import national_looking, settlement_numbers, settlement_text
from yibao_datagen.people import CATEGORY_CELLS, Ints, People, make_people
from yibao_datagen.reversals import add_reversals, reversal_counts

ROWS_PER_PERSON = 5.2


def city(
    people: int = 100_000,
    seed: int = 1,
    year: int = 2019,
    region: int = 3710,
    reversals: bool = True,
    ids: Literal["int64", "text"] = "int64",
    *,
    months: int = 8,
    rows: int | None = None,
    shuffled: bool = False,
) -> pa.Table:
    """Return the claims of an invented city as a ledger: one row a settlement, exactly `rows` of them.

    Service dates lie in the first `months` of `year`; without `rows` there are 5.2 a person. Rows stand in the order
    of (settled_at, settlement_id), which ties in settled_at leave to the id; `shuffled` puts them in any order.
    Columns are those of the ledger page up to the payment of basic insurance: money is decimal128(18, 2) yuan, ids
    are int64 or text. About 0.3 % of the rows are reversals, unless `reversals` is False; most are billed again.
    The same arguments give the same table.
    """
    _check(people, seed, months, rows, ids)
    wanted = round(people * ROWS_PER_PERSON) if rows is None else rows
    cancelled, rebilled = reversal_counts(wanted) if reversals else (0, 0)
    residents = make_people(people, seed, year, region)
    claims = make_claims(residents, wanted - cancelled - rebilled, seed, year, region, months)
    claims = add_reversals(claims, cancelled, rebilled, seed, region)

    # Stable: in a tie a reversal stays behind its original, and a new bill behind the reversal.
    order = np.argsort(claims.settled_us, kind="stable")
    position = np.empty(wanted, dtype=np.int64)
    position[order] = np.arange(wanted)
    if shuffled:
        order = np.random.default_rng([seed, 4]).permutation(order)
    first_id = year * 1_000_000_000 + 1
    reversed_id = np.where(claims.reverses >= 0, position[claims.reverses] + first_id, -1)
    return _table(residents, claims.take(order), position[order] + first_id, reversed_id[order], ids)


def _check(people: int, seed: int, months: int, rows: int | None, id_type: str) -> None:
    if people < 1:
        raise ValueError(f"people: expected at least 1, got {people}")
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    if not 1 <= months <= 12:
        raise ValueError(f"months: expected 1 to 12, got {months}")
    if rows is not None and not 1 <= rows < 1_000_000_000:
        raise ValueError(f"rows: expected 1 to 999999999, got {rows}")
    if id_type not in ("int64", "text"):
        raise ValueError(f"ids: expected 'int64' or 'text', got {id_type!r}")


def _table(residents: People, claims: Claims, settlement: Ints, reverses: Ints, id_type: str) -> pa.Table:
    """Return the ledger: the claims in their order, each with the cells of its person."""
    person = claims.person
    changed = claims.service_day >= residents.change_day[person]
    category = np.where(changed, residents.later_category[person], residents.category[person])
    as_text = id_type == "text"
    settlement_column = settlement_text if as_text else settlement_numbers
    person_id = columns.text(national_looking(residents)[person]) if as_text else pa.array(residents.number[person])
    cells: dict[str, Any] = {
        "settlement_id": settlement_column(settlement),
        "reverses": settlement_column(reverses, reverses >= 0),
        "person_id": person_id,
        "settled_at": pa.array(claims.settled_us.view("M8[us]"), pa.timestamp("us")),
        "service_date": pa.array(claims.service_day, pa.int32()).view(pa.date32()),
        "insured_region": pa.array(residents.district[person], pa.int32()),
        "treated_region": pa.array(claims.treated_region, pa.int32()),
        "hospital_id": pa.array(claims.hospital, pa.int64()),
        "hospital_level": pa.array(claims.level, pa.int8()),
        "category": columns.labels(category, CATEGORY_CELLS),
        "birth_date": pa.array(residents.birth_day[person], pa.int32()).view(pa.date32()),
        "care_type": columns.labels(claims.care, CARE_TYPES),
        "total_fee": columns.money(claims.total_fen),
        "self_funded_fee": columns.money(claims.self_funded_fen),
        "over_limit_fee": columns.money(claims.over_limit_fen),
        "first_pay_fee": columns.money(claims.first_pay_fen),
        "eligible_fee": columns.money(claims.eligible_fen),
        "basic_paid": columns.money(claims.basic_fen),
        "has_commercial_supplement": pa.array(residents.has_supplement[person]),
        "has_social_card_account": pa.array(residents.has_social_card[person]),
    }
    return pa.table(cells)
