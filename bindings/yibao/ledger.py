"""What a ledger is: its columns, other names for them, and reading one column by our name.

Source: the field list of the national platform's settlement record (国家医疗保障信息平台, setlinfo).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao_core.errors import LedgerError
from yibao_core.policy import LAYERS

REQUIRED = (
    "settlement_id",
    "person_id",
    "settled_at",
    "service_date",
    "category",
    "care_type",
    "total_fee",
    "eligible_fee",
)
IDS = ("settlement_id", "reverses", "person_id", "hospital_id", "episode_id", "insured_region", "treated_region")
PAID = tuple(f"{layer}_paid" for layer in LAYERS)
SETTLED = (*PAID, "personal_paid", "deductible_borne", "stay_number", "category")
"""What a run writes into the settled table: there our own names come first."""
MONEY = ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee", "eligible_fee", *PAID, "personal_paid")
KNOWN = (
    *REQUIRED, "reverses", "insured_region", "treated_region", "hospital_id", "hospital_level", "episode_id",
    "birth_date", "self_funded_fee", "over_limit_fee", "first_pay_fee", *PAID, "personal_paid",
    "has_commercial_supplement", "has_social_card_account", "deductible_borne", "stay_number",
)  # fmt: skip

NHSA = {
    "settlement_id": "setl_id",
    "person_id": "psn_no",
    "settled_at": "setl_time",
    "service_date": "enddate",
    "insured_region": "insu_admdvs",
    "treated_region": "fix_blng_admdvs",
    "hospital_id": "fixmedins_code",
    "hospital_level": "dedc_hosp_lv",
    "category": "psn_idet_type",
    "birth_date": "brdy",
    "care_type": "med_type",
    "total_fee": "medfee_sumamt",
    "self_funded_fee": "fulamt_ownpay_amt",
    "over_limit_fee": "overlmt_selfpay",
    "first_pay_fee": "preselfpay_amt",
    "eligible_fee": "inscp_scp_amt",
    "basic_paid": "hifp_pay",
    "catastrophic_paid": "hifmi_pay",
    "assistance_paid": "maf_pay",
    "institution_reduction_paid": "hosp_part_amt",
    "personal_paid": "psn_part_amt",
    "deductible_borne": "act_pay_dedc",
}
UNITED = (*MONEY, "deductible_borne")
"""Columns of amounts: as `<name>_fen` they are integers."""
COLUMN_MAPS: dict[str, Mapping[str, str]] = {"nhsa": NHSA}

ColumnMap = str | Mapping[str, str] | Sequence["str | Mapping[str, str]"] | None


def column_names(columns: ColumnMap) -> dict[str, str]:
    """Return our name → the ledger's, from the name of a built-in map, a mapping, or several of them (the later wins).

    Raises LedgerError for a map or a column of ours that does not exist.
    """
    if columns is None:
        return {}
    if isinstance(columns, str):
        if columns not in COLUMN_MAPS:
            raise LedgerError(f"columns: expected one of {', '.join(COLUMN_MAPS)} or a mapping, got {columns!r}")
        return dict(COLUMN_MAPS[columns])
    if isinstance(columns, Mapping):
        unknown = sorted(set(columns) - set(KNOWN))
        if unknown:
            raise LedgerError([f"columns: {name}: no column of a ledger has this name" for name in unknown])
        return dict(columns)
    names: dict[str, str] = {}
    for part in columns:
        names |= column_names(part)
    return names


def with_names(table: pa.Table, columns: ColumnMap) -> pa.Table:
    """Return a table with our columns under the names of a map ("nhsa": the national platform's).

    Columns that the table has under such a name already become `<name>_recorded`.
    """
    names = column_names(columns)
    new = {names[name] for name in table.column_names if name in names}
    renamed: list[str] = []
    for name in table.column_names:
        if name in names:
            renamed.append(names[name])
        elif name in new:
            renamed.append(free_name(f"{name}_recorded", {*table.column_names, *new, *renamed}))
        else:
            renamed.append(name)
    return table.rename_columns(renamed)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a column's name with as many `_recorded` behind it as it takes to be another than those that are taken."""
    while name in taken:
        name += "_recorded"
    return name


class Ledger:
    """A table read by our column names, whatever its own are."""

    def __init__(self, source: Any, columns: ColumnMap = None, what: str = "ledger", settled: bool = False) -> None:
        """`settled`: a table that a run has written: what it settled stands under our names, or under those of `columns`
        where it was written so; a platform's own column beside ours is what was recorded."""
        self.table = as_table(source, what)
        self.what = what
        self._columns = columns
        self._names = column_names(columns)
        settled = settled or {"status", "flags"} <= set(self.table.column_names)
        self._ours = frozenset(SETTLED if settled else ())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def filtered(self, chosen: NDArray[np.bool_]) -> "Ledger":
        """Return some of the rows, read as all of them are."""
        return Ledger(self.table.filter(pa.array(chosen)), self._columns, self.what, bool(self._ours))

    def name(self, column: str) -> str | None:
        """Return what the table calls a column of ours (money may stand as `<name>_fen`), None where it has none."""
        theirs = self._names.get(column, column)
        for candidate in (column, theirs) if column in self._ours else (theirs, column):
            if candidate in self.table.column_names:
                return candidate
            if column in UNITED and f"{candidate}_fen" in self.table.column_names:
                return f"{candidate}_fen"
        return None

    def has(self, column: str) -> bool:
        return self.name(column) is not None

    def column(self, column: str) -> pa.ChunkedArray:
        """Return a column by our name; LedgerError where the ledger lacks it."""
        name = self.name(column)
        if name is None:
            raise LedgerError(f"{self.what}: {column}: expected a column, got none of that name")
        return self.table.column(name)

    def missing(self, columns: Iterable[str]) -> list[str]:
        """Return a fault for each of our columns that the table lacks."""
        return [
            f"{self.what}: {column}: expected a column"
            + (f" (here {self._names[column]!r})" if column in self._names else "")
            + f", got only {_shortened(self.table.column_names)}"
            for column in columns
            if not self.has(column)
        ]


def as_table(source: Any, what: str) -> pa.Table:
    """Return a Table from anything Arrow: table, batch, batches, reader, dataset, or what exports an Arrow stream."""
    if isinstance(source, pa.Table):
        table = source
    elif isinstance(source, pa.RecordBatch):
        table = pa.Table.from_batches([source])
    elif isinstance(source, pa.RecordBatchReader):
        table = source.read_all()
    elif hasattr(source, "to_table"):
        table = source.to_table()
    elif hasattr(source, "__arrow_c_stream__"):
        table = pa.RecordBatchReader.from_stream(source).read_all()
    elif isinstance(source, Collection) and source and all(isinstance(part, pa.RecordBatch) for part in source):
        table = pa.Table.from_batches(list(source))
    elif type(source).__module__.startswith("pandas"):
        table = pa.Table.from_pandas(source, preserve_index=False)
    else:
        raise LedgerError(
            f"{what}: expected an Arrow table, batches, a reader or a data frame, got {type(source).__name__}"
        )
    doubled = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if doubled:
        raise LedgerError([f"{what}: {name}: expected one column of this name, got several" for name in doubled])
    return without_views(table)


def without_views(table: pa.Table) -> pa.Table:
    """Return the table with plain text for string views, in dictionaries too: Arrow's functions mostly do not take them."""
    for index, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type):
            kind = pa.dictionary(kind.index_type, pa.large_string(), kind.ordered)
            chunks = [_plain_words(chunk, kind) for chunk in table.column(index).chunks]
            table = table.set_column(index, field.name, pa.chunked_array(chunks, kind))
        elif pa.types.is_string_view(kind):
            table = table.set_column(index, field.name, table.column(index).cast(pa.large_string()))
    return table


def _plain_words(array: pa.DictionaryArray, kind: pa.DictionaryType) -> pa.DictionaryArray:
    words = array.dictionary.cast(kind.value_type)
    return pa.DictionaryArray.from_arrays(array.indices, words, ordered=kind.ordered)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
