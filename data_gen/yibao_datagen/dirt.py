"""Faults and shapes of real files, put into a clean ledger, and a table of what was put where."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yibao_datagen.columns import Bools, Ints, labels

CHINESE = {"dibao": "低保", "destitute": "特困", "registered_poor": "建档立卡"}


class Fault(NamedTuple):
    """One way to spoil a row: the code of its reject, or the flag of a row that settles all the same."""

    name: str
    code: str
    is_rejected: bool
    column: str
    value: Callable[[pa.Array], pa.Array]  # the column's cells → what stands there instead
    reaccounted: tuple[str, bool] | None = None  # what a re-accounting says instead


def _all(value: Any) -> Callable[[pa.Array], pa.Array]:
    return lambda cells: pa.array([value] * len(cells), cells.type)


def _plus(amount: float) -> Callable[[pa.Array], pa.Array]:
    return lambda cells: pc.add(cells, pa.scalar(amount, pa.float64()))


FAULTS = (
    Fault("total missing", "MISSING_VALUE", True, "total_fee", _all(None)),
    Fault("eligible fee missing", "MISSING_VALUE", True, "eligible_fee", _all(None)),
    Fault("service date missing", "MISSING_VALUE", True, "service_date", _all(None)),
    Fault("time of settlement missing", "MISSING_VALUE", True, "settled_at", _all(None)),
    Fault("category missing", "MISSING_VALUE", True, "category", _all(None)),
    Fault("sent twice", "DUPLICATE_SETTLEMENT", True, "settlement_id", lambda cells: cells),
    Fault("half a fen", "AMOUNT_NOT_FEN", True, "total_fee", _plus(0.005)),
    Fault("beyond a bill's range", "AMOUNT_OUT_OF_RANGE", True, "total_fee", _all(123_456_789.01)),
    Fault("-1 for not applicable", "WRONG_SIGN", True, "total_fee", _all(-1.0)),
    Fault("unknown category", "UNKNOWN_CATEGORY", True, "category", _all("VIP")),
    Fault("empty category", "UNKNOWN_CATEGORY", True, "category", _all("")),
    Fault("unknown care type", "UNKNOWN_CARE_TYPE", True, "care_type", _all("dental")),
    Fault("before any policy", "NO_POLICY", True, "service_date", _all("14-Aug-2009")),
    Fault("eligible above total", "ELIGIBLE_EXCEEDS_TOTAL", True, "eligible_fee", lambda cells: cells),
    Fault("fees do not add up", "FEES_DO_NOT_ADD_UP", False, "self_funded_fee", _plus(10.0)),
)
UNPAID_FAULTS = (Fault("basic payment missing", "NO_RULE", False, "basic_paid", _all(None)),)
PAID_FAULTS = (
    Fault("personal share differs", "PAID_DOES_NOT_ADD_UP", False, "personal_paid", _plus(1.0)),
    Fault(
        "more paid than billed",
        "PAID_DOES_NOT_ADD_UP",
        False,
        "catastrophic_paid",
        _all(99_999_999.0),
        ("PAID_EXCEEDS_TOTAL", True),
    ),
)
AGE_FAULT = Fault("birth date missing", "BIRTH_DATE_MISSING", True, "birth_date", _all(None))
OF_REVERSALS = (
    Fault("partial reversal", "REVERSAL_NOT_WHOLE", True, "total_fee", _plus(-1.0)),
    Fault(
        "reversal of nothing",
        "REVERSAL_WITHOUT_ORIGINAL",
        True,
        "reverses",
        lambda cells: cells,
        ("MISSING_VALUE", True),
    ),
    Fault("reversal of what is elsewhere", "ORIGINAL_NOT_SEEN", False, "reverses", lambda cells: cells),
)


def spoil(ledger: pa.Table, dirt: float = 0.01, seed: int = 1, *, ages: bool = False) -> tuple[pa.Table, pa.Table]:
    """Return a ledger of `City` with a share of faulty rows, and what was put where: settlement_id, fault, column, then code and
    is_rejected of a settlement, and of a re-accounting.

    The ledger then looks as files do: money is float64, some of it a last bit off; days are text in three shapes; some
    categories are Chinese. Every fault of the documents' reject codes is there that the ledger's columns allow; a row has
    one, and rows that are taken back have none, so that exactly these come out. Rows sent twice stand at the end again.
    `ages`: the rules ask for ages of people with PKU; some rows of theirs then lack the date of birth.
    """
    if not 0 <= dirt <= 0.5:
        raise ValueError(f"dirt: expected a share from 0 to 0.5, got {dirt}")
    rng = np.random.default_rng([seed, 9])
    table = _as_files_are(ledger.combine_chunks(), rng)
    faults = FAULTS + (PAID_FAULTS if "personal_paid" in table.column_names else UNPAID_FAULTS)
    is_reversal = pc.is_valid(ledger["reverses"]).to_numpy()
    taken_back = pc.is_in(ledger["settlement_id"], ledger["reverses"].combine_chunks().drop_null()).to_numpy()
    food = pc.equal(ledger["care_type"].cast(pa.string()), "pku").to_numpy() & ages
    bills = np.flatnonzero(~is_reversal & ~taken_back & ~food)
    rows = rng.choice(bills, min(round(dirt * len(ledger)), len(bills)), replace=False)
    log: list[tuple[Fault, Ints]] = [(fault, np.sort(rows[at :: len(faults)])) for at, fault in enumerate(faults)]
    reversals = np.flatnonzero(is_reversal)
    wanted = max(round(dirt * len(reversals)), dirt > 0) * len(OF_REVERSALS)  # one of each at least: they are few
    some = rng.choice(reversals, min(len(reversals), wanted), replace=False)
    log += [(fault, np.sort(some[at :: len(OF_REVERSALS)])) for at, fault in enumerate(OF_REVERSALS)]
    fed = np.flatnonzero(food & ~is_reversal & ~taken_back)
    log.append((AGE_FAULT, fed[: max(round(dirt * len(fed)), dirt > 0)]))
    for fault, spoiled in log:
        table = _put(table, fault, spoiled)
    again = next(spoiled for fault, spoiled in log if fault.code == "DUPLICATE_SETTLEMENT")
    table = pa.concat_tables([table, table.take(pa.array(again))]).combine_chunks()
    return table, _listed(ledger, log)


def _put(table: pa.Table, fault: Fault, rows: Ints) -> pa.Table:
    if not len(rows):
        return table
    mask = np.zeros(len(table), dtype=np.bool_)
    mask[rows] = True
    if fault.name == "eligible above total":
        return _replace(table, "eligible_fee", mask, pc.add(table["total_fee"].take(pa.array(rows)), 0.01))
    if fault.column == "reverses":
        # The lowest id of all belongs to no settlement. Where nothing was paid either, there is nothing to mirror.
        paid = [name for name in table.column_names if name.endswith("_paid")]
        for name in paid if fault.is_rejected else ():
            table = _replace(table, name, mask, pa.nulls(len(rows), table[name].type))
        nothing = 1 if pa.types.is_integer(table["reverses"].type) else "S0"
        return _replace(table, "reverses", mask, pa.array([nothing] * len(rows), table["reverses"].type))
    cells = table[fault.column].take(pa.array(rows)).combine_chunks()
    return _replace(table, fault.column, mask, fault.value(cells))


def _replace(table: pa.Table, name: str, mask: Bools, cells: Any) -> pa.Table:
    column = table[name].combine_chunks()
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    return table.set_column(table.column_names.index(name), name, pc.replace_with_mask(column, pa.array(mask), cells))


def _listed(ledger: pa.Table, log: list[tuple[Fault, Ints]]) -> pa.Table:
    """Return one row for each row of the spoiled ledger that is at fault: of what was sent twice there are two."""
    log = [(fault, np.repeat(rows, 2) if fault.code == "DUPLICATE_SETTLEMENT" else rows) for fault, rows in log]
    rows = np.concatenate([rows for _, rows in log])
    of_row = np.repeat(np.arange(len(log)), [len(rows) for _, rows in log])
    cells: dict[str, Any] = {"settlement_id": ledger["settlement_id"].take(pa.array(rows))}
    said = [fault.reaccounted or (fault.code, fault.is_rejected) for fault, _ in log]
    texts: dict[str, list[str]] = {
        "fault": [fault.name for fault, _ in log],
        "column": [fault.column for fault, _ in log],
        "code": [fault.code for fault, _ in log],
        "code_reaccounted": [code for code, _ in said],
    }
    flags = {
        "is_rejected": [fault.is_rejected for fault, _ in log],
        "is_rejected_reaccounted": [is_rejected for _, is_rejected in said],
    }
    for name in ("fault", "column", "code", "is_rejected", "code_reaccounted", "is_rejected_reaccounted"):
        values = pa.array(texts[name], pa.string()) if name in texts else pa.array(flags[name], pa.bool_())
        cells[name] = values.take(pa.array(of_row))
    return pa.table(cells).combine_chunks()


def _as_files_are(ledger: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Return the ledger in the shapes of real files."""
    for at, field in enumerate(ledger.schema):
        column = ledger[field.name]
        if pa.types.is_decimal(field.type):
            yuan = column.cast(pa.float64()).to_numpy()
            off = rng.random(len(yuan)) < 0.1
            ledger = ledger.set_column(at, field.name, pa.array(np.where(off, np.nextafter(yuan, 2 * yuan), yuan)))
        elif field.name == "service_date":
            ledger = ledger.set_column(at, field.name, _day_texts(column, rng))
        elif pa.types.is_dictionary(field.type):
            texts = column.cast(pa.string())
            if field.name == "category":
                for english, chinese in CHINESE.items():
                    some = pc.and_(pc.equal(texts, english), pa.array(rng.random(len(texts)) < 0.5))
                    texts = pc.if_else(some, chinese, texts)
            ledger = ledger.set_column(at, field.name, texts)
    return ledger


def _day_texts(column: Any, rng: np.random.Generator) -> pa.Array:
    """Return days as text: 2019-03-01, 2019/3/1 or 01-Mar-2019."""
    day = column.cast(pa.int32()).to_numpy()
    found, place = np.unique(day, return_inverse=True)
    dates = found.astype("M8[D]").tolist()
    shapes = [one.isoformat() for one in dates]
    shapes += [f"{one.year}/{one.month}/{one.day}" for one in dates]
    shapes += [one.strftime("%d-%b-%Y") for one in dates]
    shape = np.searchsorted([0.6, 0.8], rng.random(len(day)), side="right")
    return labels(place + shape * len(found), tuple(shapes)).cast(pa.string())
