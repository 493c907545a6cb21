"""The tables that have a row for each row of the ledger, made for any stretch of it."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao import memory
from yibao.columns import Prepared
from yibao.ids import read_ids, taken
from yibao.ledger import PAID, UNITED, Ledger, free_name
from yibao.money import from_fen, money_name, no_money, to_fen
from yibao.words import category_texts
from yibao_core.deltas import Deltas, row_deltas
from yibao_core.errors import RowStatus
from yibao_core.money import NULL_FEN
from yibao_core.plan import CompiledBook
from yibao_core.policy import LAYERS
from yibao_core.records import CHANGED, FLAG_BITS, FLAGS, FROZEN
from yibao_core.settled import Settled

Fen = NDArray[np.int64]

_BLOCK_ROWS = 1 << 16


@cache
def _statuses() -> pa.Array:
    return pa.array([status.name for status in RowStatus])  # when asked for: Arrow looks for pandas here, 0.2 s


class Labels(NamedTuple):
    """How results are written: names of policies, the type of money, what tables show besides payments."""

    policies: tuple[str, ...]
    counts_stays: bool
    with_category: bool  # a roster may have changed it
    money: str


def labels_of(book: CompiledBook, with_category: bool, money: str) -> Labels:
    """Return the labels of a run."""
    return Labels(tuple(policy.id for policy in book.policies), book.counts_stays, with_category, money)


class RowResults(NamedTuple):
    """What a run says of each of some rows; amounts in fen. Arrays of one length, or empty where the run has no such thing."""

    status: NDArray[np.int8]
    flags: NDArray[np.int16]
    mode: NDArray[np.int8]
    policy: NDArray[np.int8]
    personal: Fen
    deductible: Fen
    stay_number: Fen
    category_mask: NDArray[np.int16]
    paid: Mapping[str, Fen]  # by layer; a layer that is missing paid nothing

    def part(self, lo: int, hi: int) -> "RowResults":
        """Return the results of rows lo..hi, as views."""
        own = {name: column[lo:hi] for name, column in self._asdict().items() if name != "paid"}
        return self._replace(**own, paid={layer: amounts[lo:hi] for layer, amounts in self.paid.items()})


def row_results(settled: Settled, prepared: Prepared, with_category: bool) -> RowResults:
    """Return the results of all rows of a run."""
    masks = prepared.columns.category_mask[prepared.history_rows if with_category else len(prepared.columns.person) :]
    return RowResults(
        settled.status,
        settled.flags,
        settled.mode,
        settled.policy,
        settled.personal_fen,
        settled.deductible_fen,
        settled.stay_number,
        masks,
        {layer: settled.paid_fen[layer] for layer in settled.paid_fen},
    )


def settled_table(ledger: pa.Table, results: RowResults, labels: Labels) -> pa.Table:
    """Return the rows of a ledger with their payments, status, flags and policy; see `LedgerResult.table`."""
    rejected = results.status != 0
    nothing = None  # one column for all layers that pay nobody
    new: dict[str, Any] = {}
    if labels.with_category:
        new["category"] = category_texts(results.category_mask)
    for layer, paid in zip(LAYERS, PAID, strict=True):
        amounts = results.paid.get(layer)
        if amounts is not None:
            new[money_name(paid, labels.money)] = from_fen(amounts, labels.money, rejected)
            continue
        if nothing is None:
            nothing = no_money(len(rejected), labels.money, rejected)
        new[money_name(paid, labels.money)] = nothing
    new[money_name("personal_paid", labels.money)] = from_fen(results.personal, labels.money, rejected)
    if labels.counts_stays:
        borne, number = results.deductible, results.stay_number
        new[money_name("deductible_borne", labels.money)] = from_fen(borne, labels.money, borne == NULL_FEN)
        new["stay_number"] = pa.array(number, pa.int32(), mask=number < 0)
    new["status"] = pa.DictionaryArray.from_arrays(pa.array(results.status), _statuses())
    new["flags"] = flag_texts(results.flags, rejected)
    new["policy_id"] = pa.DictionaryArray.from_arrays(
        pa.array(results.policy, mask=rejected | (results.policy >= len(labels.policies))), pa.array(labels.policies)
    )
    return with_recorded(ledger, new)


def in_window(status: NDArray[np.int8], mode: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which rows a re-accounting settled in the window of its policy."""
    chosen: NDArray[np.bool_] = (status == 0) & (mode & FROZEN == 0)
    return chosen


def deltas_table(
    settlement_ids: pa.ChunkedArray,
    person_ids: pa.ChunkedArray,
    rows: Fen,
    changed: Fen,
    deltas: Deltas,
    labels: Labels,
) -> pa.Table:
    """Return the differences of some rows: `rows` of the ids, of which `changed` have `deltas` and the others none."""
    all_rows = len(rows) == len(settlement_ids)
    place = changed if all_rows else np.searchsorted(rows, changed)
    columns: dict[str, Any] = {"settlement_id": settlement_ids, "person_id": person_ids}
    if not all_rows:
        columns = {name: ids.take(pa.array(rows)) for name, ids in columns.items()}
    nothing = no_money(len(rows), labels.money)  # one column for all that has not changed
    named = [*zip((f"{layer}_delta" for layer in LAYERS), deltas.layers, strict=True)]
    for name, amounts in [*named, ("personal_delta", deltas.personal), ("unrouted_delta", deltas.unrouted)]:
        new = nothing
        if amounts.any():
            column = np.zeros(len(rows), dtype=np.int64)
            column[place] = amounts
            new = from_fen(column, labels.money)
        columns[money_name(name, labels.money)] = new
    return pa.table(columns)


def deltas_part(ledger: Ledger, results: RowResults, text_people: bool, labels: Labels) -> pa.Table:
    """Return the differences of a stretch of a ledger; `text_people`: ids of people are text in the run, in the ledger or not."""
    settlement_ids, _ = read_ids(ledger.column("settlement_id"), "settlement_id")
    person_ids, _ = read_ids(ledger.column("person_id"), "person_id")
    changed = np.flatnonzero(results.mode & CHANGED)
    recorded = {layer: _fen_at(ledger, f"{layer}_paid", changed) for layer in LAYERS}
    paid = {layer: amounts[changed] for layer, amounts in results.paid.items()}
    all_changed = np.arange(len(changed))
    total = _fen_at(ledger, "total_fee", changed)
    deltas = row_deltas(paid, recorded, total, results.personal[changed], all_changed, 0)
    return deltas_table(
        settlement_ids,
        person_ids.cast(pa.large_string()) if text_people else person_ids,
        np.flatnonzero(in_window(results.status, results.mode)),
        changed,
        deltas,
        labels,
    )


def _fen_at(ledger: Ledger, name: str, rows: Fen) -> Fen:
    """Return a money column at some rows, empty where the ledger lacks it."""
    own = ledger.name(name)
    if own is None:
        return np.empty(0, dtype=np.int64)
    return to_fen(pa.chunked_array([taken(ledger.column(name), rows)]), own)


def flag_sets(flags: NDArray[Any], rejected: NDArray[np.bool_]) -> Fen:
    """Return how many rows carry each set of flags; rejected rows carry none."""
    sets = np.zeros(FLAG_BITS + 1, dtype=np.int64)
    for own in _own_flags(flags, rejected):
        sets += np.bincount(own, minlength=len(sets))
    return sets


def flag_texts(flags: NDArray[Any], rejected: NDArray[np.bool_]) -> pa.Array:
    """Return sets of flags as text: names in alphabetical order, joined by `;`. Rejected rows have none."""
    sets = flag_sets(flags, rejected) > 0
    place = np.cumsum(sets, dtype=np.int32) - 1
    index = memory.words((len(flags) + 1) // 2).view(np.int32)[: len(flags)]
    for begin, own in zip(range(0, len(flags), _BLOCK_ROWS), _own_flags(flags, rejected), strict=True):
        np.take(place, own, out=index[begin : begin + _BLOCK_ROWS], mode="clip")
    names = [";".join(name for bit, name in enumerate(FLAGS) if int(flag) >> bit & 1) for flag in np.flatnonzero(sets)]
    return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(names, pa.string()))


def _own_flags(flags: NDArray[Any], rejected: NDArray[np.bool_]) -> Iterator[NDArray[Any]]:
    """Yield the flags of settled rows, 0 for rejected ones, block by block: what is only needed on the way stays in the cache,
    and asks the system for no memory."""
    for begin in range(0, len(flags), _BLOCK_ROWS):
        end = begin + _BLOCK_ROWS
        yield np.where(rejected[begin:end], 0, flags[begin:end])


def with_recorded(table: pa.Table, new: dict[str, Any]) -> pa.Table:
    """Return the table with new columns behind its own; own columns of the same names become `<name>_recorded`,
    whichever unit they are in."""
    names: list[str] = []
    plain = [name.removesuffix("_fen") for name in new]
    taken = {*new, *plain, *(f"{name}_fen" for name in plain if name in UNITED)}
    for name in table.column_names:
        names.append(free_name(f"{name}_recorded", {*table.column_names, *names}) if name in taken else name)
    table = table.rename_columns(names)
    for name, column in new.items():
        table = table.append_column(name, column)
    return table
