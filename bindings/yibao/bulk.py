"""From file to file: ledgers of any size, settled or re-accounted into a directory.

What fits the memory is settled at once. What does not is sorted by person into parts on disk first, each part of whole
people is settled by itself, and the ledger is read once more in its own order, each row with its results from its part.
"""

from collections.abc import Callable, Collection, Iterator
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from yibao.balances import Balances
from yibao.bulk_parts import Parts, fits, once_only
from yibao.in_turn import in_turn
from yibao.lacks import Lacks
from yibao.ledger import ColumnMap, Ledger, with_names
from yibao.memory import give_back, limit_bytes
from yibao.merging import Merging
from yibao.money import money_name
from yibao.outcomes import Outcome, reaccount_outcome, settle_outcome
from yibao.outputs import PART_ROWS, ResultFiles, Writer, check_output, new_results
from yibao.payments import orders_of, read_previous
from yibao.reaccounting import Reaccounting
from yibao.roster import Roster
from yibao.settled_rows import Labels, RowResults, deltas_part, settled_table
from yibao.settlement import Beside, Settling, asked_of, raise_first
from yibao.sources import Source, as_source
from yibao.summaries import added_up
from yibao_core.threads import threads_to_use

RunPart = Callable[[pa.Table, Beside, Lacks | None, int], Outcome]
"""Runs a ledger, or a part of whole people of one, on so many threads."""


class Written(NamedTuple):
    """How results are written, besides what the run says."""

    csv: Collection[str] = ()  # tables that are wanted as text, too
    write_columns: ColumnMap = None  # names of the settled table's columns


AS_THEY_ARE = Written()


class _Run(NamedTuple):
    run: RunPart
    check: Callable[[], object]  # of what goes with the ledger, as a whole: before only parts of it are looked at
    columns: ColumnMap
    threads: int
    reaccounts: bool
    money: str
    strict: bool


def settle_files(
    settling: Settling,
    ledger: Any,
    beside: Beside,
    out: str | PathLike[str],
    memory_limit: int | str | None,
    strict: bool = False,
    written: Written = AS_THEY_ARE,
) -> ResultFiles:
    """Settle a ledger into a directory: `settled`, `rejects`, `closing`, and the summary. See `settle_ledger`."""

    @cache
    def accounts() -> tuple[str, ...]:
        return Balances(beside.opening).accounts_in(settling.book) if beside.opening is not None else ()

    def check() -> None:
        accounts()
        if beside.roster is not None:
            Roster(beside.roster, settling.roster_mode)

    def run(table: pa.Table, part: Beside, lacks: Lacks | None, threads: int) -> Outcome:
        own = settling._replace(threads=threads)
        return settle_outcome(own.settle(table, part, None if lacks is None else accounts(), lacks))

    own = _Run(run, check, settling.columns, threads_to_use(settling.threads), False, settling.money, strict)
    return _write(own, ledger, beside, out, memory_limit, written)


def reaccount_files(
    job: Reaccounting,
    ledger: Any,
    beside: Beside,
    out: str | PathLike[str],
    memory_limit: int | str | None,
    written: Written = AS_THEY_ARE,
) -> ResultFiles:
    """Re-account a ledger into a directory: every table of `Reaccount`, and the summary. See `reaccount`."""

    def check() -> None:
        read_previous(beside.previous)
        if beside.roster is not None:
            Roster(beside.roster, job.roster_mode)

    def run(table: pa.Table, part: Beside, lacks: Lacks | None, threads: int) -> Outcome:
        return reaccount_outcome(job._replace(threads=threads).reaccount(table, part, lacks), part.roster is not None)

    own = _Run(run, check, job.columns, threads_to_use(job.threads), True, job.money, False)
    return _write(own, ledger, beside, out, memory_limit, written)


def _write(
    run: _Run, ledger: Any, beside: Beside, out: str | PathLike[str], memory_limit: int | str | None, written: Written
) -> ResultFiles:
    limit = limit_bytes(memory_limit)
    with new_results(out) as (writer, scratch):
        source = once_only(ledger, scratch, limit) or as_source(ledger)
        check_output(out, source.paths)
        if fits(source, limit):
            summary = _at_once(run, source, beside, writer, written)
        else:
            summary = _in_parts(run, source, beside, writer, written, scratch, limit)
        return writer.finish(summary, written.csv)


def _at_once(run: _Run, source: Source, beside: Beside, writer: Writer, written: Written) -> dict[str, Any]:
    table = source.table()
    outcome = run.run(table, beside, None, run.threads)
    if run.strict and len(outcome.tables["rejects"].table):
        raise_first(outcome.tables["rejects"].table)
    stretches = (
        (table.slice(begin, PART_ROWS), outcome.results.part(begin, begin + PART_ROWS))
        for begin in range(0, max(1, len(table)), PART_ROWS)
    )
    _write_rows(run, stretches, outcome.labels, outcome.text_people, writer, written)
    for name, sorted_table in outcome.tables.items():
        writer.whole(name, iter([sorted_table.table]))
    if run.reaccounts:
        writer.whole("payment_orders", iter([orders_of(outcome.tables["transfers"].table, run.money)]))
    return outcome.summary


def _in_parts(
    run: _Run, source: Source, beside: Beside, writer: Writer, written: Written, scratch: Path, limit: int
) -> dict[str, Any]:
    nothing = Beside(*(table if table is None else table.slice(0, 0) for table in beside))
    run.check()
    lacks = Lacks()
    # What is no ledger is refused before any work, and what does not depend on rows is known.
    example = run.run(source.schema.empty_table(), nothing, lacks, 1)
    parts = Parts(source, beside, run.columns, scratch, limit, run.threads, None if run.reaccounts else asked_of)
    merging = Merging(scratch)

    def settle(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settle a part on this thread alone: so is what kernels do not do, and threads wait for each other less often."""
        part = parts.read(number)
        outcome = run.run(part.ledger, part.beside, lacks, 1)
        parts.keep(number, outcome.results)
        for name, sorted_table in outcome.tables.items():
            merging.add(name, number, part.shown(name, sorted_table.table), part.keys(sorted_table))
        return outcome.summary, {name: part.ledger_rows[rows] for name, rows in outcome.named_rows.items()}

    summaries, named_rows = zip(*in_turn(run.threads, settle, range(parts.count)), strict=True)
    give_back()
    lacks.refuse()
    if run.strict:
        rejects = pa.concat_tables(merging.merged("rejects"))
        if len(rejects):
            raise_first(rejects)
        merging.add("rejects", 0, rejects, rejects["row"].to_numpy())
    for name in merging.names:
        writer.whole(name, merging.merged(name))
    if run.reaccounts:
        _write_orders(run, writer)
    give_back()
    _write_rows(run, parts.stretches(example.results), example.labels, example.text_people, writer, written)
    return added_up(summaries, named_rows, example.labels.policies)


def _write_orders(run: _Run, writer: Writer) -> None:
    """Write the payment orders: they are made of the transfers of all parts together."""
    transfers = writer.written("transfers", ["transfer_id", "payee_kind", "payee_id", money_name("amount", run.money)])
    writer.whole("payment_orders", iter([orders_of(transfers, run.money)]))


def _write_rows(
    run: _Run,
    stretches: Iterator[tuple[pa.Table, RowResults]],
    labels: Labels,
    text_people: bool,
    writer: Writer,
    written: Written,
) -> None:
    """Write the tables by row, a stretch of the ledger on each thread."""

    def write(numbered: tuple[int, tuple[pa.Table, RowResults]]) -> None:
        index, (ledger, results) = numbered
        writer.part("settled", index, with_names(settled_table(ledger, results, labels), written.write_columns))
        if run.reaccounts:
            writer.part("deltas", index, deltas_part(Ledger(ledger, run.columns), results, text_people, labels))

    for _ in in_turn(run.threads, write, enumerate(stretches)):
        pass
