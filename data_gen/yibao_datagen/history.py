"""What an office holds after it has paid. Apart from `city`, because only this needs the engine."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yibao_datagen import columns
from yibao_datagen.city import PART_PEOPLE, City
from yibao_datagen.columns import Bools
from yibao_datagen.plan import names_of

PAID_LAYERS = (
    "basic",
    "catastrophic",
    "special_drug",
    "assistance",
    "institution_reduction",
    "commercial",
    "reassistance",
    "pku",
)
PAID_COLUMNS = (*(f"{layer}_paid" for layer in PAID_LAYERS), "personal_paid")
HARDSHIP = ("registered_poor", "destitute", "dibao", "severe_disability", "建档立卡", "特困", "低保")
REGISTERED_POOR = ("registered_poor", "建档立卡")
COMMERCIAL_SHARE_BP = 1_000
REDUCTION_SHARE_BP = 500
REDUCING_HOSPITALS = 3  # one hospital in three grants hardship patients a reduction


def pay(ledger: pa.Table, policy: Any, **options: Any) -> pa.Table:
    """Return `ledger` as paid under `policy`: its columns, the eight `<layer>_paid` and `personal_paid`.

    A book of several policies pays each row as the day of its settlement knew it. What commercial insurance and hospitals
    gave is recorded first, where the ledger does not say; the engine (`yibao.settle_ledger`, which takes `options`) does the rest. A ledger with rows that it rejects is an error.
    """
    import yibao

    if not isinstance(policy, yibao.Policy):
        options = {"as_known": "settled_at"} | options
    settled = yibao.settle_ledger(record_gifts(ledger), policy, **options).table
    status = settled["status"].cast(pa.string())
    rejected = pc.value_counts(status.filter(pc.not_equal(status, "SETTLED"))).to_pylist()
    if rejected:
        codes = ", ".join(f"{entry['counts']} {entry['values']}" for entry in rejected)
        raise ValueError(f"ledger: expected every row to settle, got {codes} of {len(ledger)} rows")
    return _with_payments(ledger, settled)


def paid_parts(city: City, policy: Any, *, part_people: int = PART_PEOPLE) -> Iterator[pa.Table]:
    """Give a city's history in parts, as `City.ledgers` gives its claims: what the office has paid to whom."""
    for part in city.ledgers(part_people=part_people):
        yield pay(part, policy)


def _with_payments(ledger: pa.Table, settled: pa.Table) -> pa.Table:
    """Return the ledger with its payment columns, old and new, taken from `settled`, in the order of the ledger page."""
    table = ledger
    for name in PAID_COLUMNS:
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, settled[name])
        else:
            before = PAID_COLUMNS[: PAID_COLUMNS.index(name)]
            places = [table.column_names.index(other) + 1 for other in before if other in table.column_names]
            table = table.add_column(max(places, default=table.num_columns), name, settled[name])
    return table


def record_gifts(ledger: pa.Table) -> pa.Table:
    """Return the ledger with `institution_reduction_paid` and `commercial_paid`, unless it has them.

    A twentieth of what basic insurance left of the eligible fee, for stays of hardship patients in every third
    hospital; a tenth of it for the registered poor with a supplement. Both in whole fen, mirrored on reversals.
    """
    left_fen = columns.fen_of(ledger["eligible_fee"]) - columns.fen_of(ledger["basic_paid"])
    stay = _is_one_of(ledger["care_type"], ("inpatient",))
    reducing = ledger["hospital_id"].to_numpy() % REDUCING_HOSPITALS == 0
    supplemented = ledger["has_commercial_supplement"].to_numpy()
    gifts = {
        "institution_reduction_paid": (stay & reducing & _is_one_of(ledger["category"], HARDSHIP), REDUCTION_SHARE_BP),
        "commercial_paid": (supplemented & _is_one_of(ledger["category"], REGISTERED_POOR), COMMERCIAL_SHARE_BP),
    }
    for name, (given, share_bp) in gifts.items():
        if name not in ledger.column_names:
            # Rounded towards 0, so that a reversal takes back what its original got.
            gift_fen = np.sign(left_fen) * (np.abs(left_fen) * share_bp // 10_000)
            ledger = ledger.append_column(name, columns.money(np.where(given, gift_fen, 0)))
    return ledger


def _is_one_of(labels: Any, wanted: tuple[str, ...]) -> Bools:
    """Return for each row whether its cell, which may hold several names, holds one of `wanted`."""
    encoded = labels.combine_chunks().dictionary_encode() if labels.type == pa.string() else labels.unify_dictionaries()
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    if not chunks:
        return np.zeros(0, dtype=np.bool_)
    held = np.array([any(name in names_of(cell) for name in wanted) for cell in chunks[0].dictionary.to_pylist()])
    return np.concatenate([held[chunk.indices.to_numpy()] for chunk in chunks])
