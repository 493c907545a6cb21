"""From file to file: ledgers of any size, settled or re-accounted into a directory.

What fits the memory is settled at once. What does not is sorted by person into parts on disk first, each part of whole
people is settled by itself, and the ledger is read once more in its own order, each row with its results from its part.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from yibao.balances import Balances
from yibao.bulk_parts import Parts, fits, once_only
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

RunPart = Callable[[pa.Table, Beside, Lacks | None], Outcome]


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

    def run(table: pa.Table, part: Beside, lacks: Lacks | None) -> Outcome:
        return settle_outcome(settling.settle(table, part, None if lacks is None else accounts(), lacks))

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

    def run(table: pa.Table, part: Beside, lacks: Lacks | None) -> Outcome:
        return reaccount_outcome(job.reaccount(table, part, lacks), part.roster is not None)

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
    outcome = run.run(table, beside, None)
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
    run.run(source.schema.empty_table(), nothing, Lacks())  # a ledger that is none is refused before any work
    parts = Parts(source, beside, run.columns, scratch, limit, None if run.reaccounts else asked_of)
    merging, lacks = Merging(scratch), Lacks()
    summaries: list[dict[str, Any]] = []
    named: list[dict[str, Any]] = []
    first: Outcome | None = None
    for number in range(parts.count):
        part = parts.read(number)
        outcome = run.run(part.ledger, part.beside, lacks)
        parts.keep(number, outcome.results)
        for name, sorted_table in outcome.tables.items():
            merging.add(name, part.shown(name, sorted_table.table), part.keys(sorted_table))
        summaries.append(outcome.summary)
        named.append({name: part.ledger_rows[rows] for name, rows in outcome.named_rows.items()})
        first = first or outcome._replace(results=outcome.results.nothing(), tables={})
        del part, outcome
        give_back()
    lacks.refuse()
    assert first is not None
    if run.strict:
        rejects = pa.concat_tables(merging.merged("rejects"))
        if len(rejects):
            raise_first(rejects)
        merging.add("rejects", rejects, rejects["row"].to_numpy())
    for name in merging.names:
        writer.whole(name, merging.merged(name))
    if run.reaccounts:
        transfers = writer.written(
            "transfers", ["transfer_id", "payee_kind", "payee_id", money_name("amount", run.money)]
        )
        writer.whole("payment_orders", iter([orders_of(transfers, run.money)]))
    _write_rows(run, parts.stretches(first.results), first.labels, first.text_people, writer, written)
    return added_up(summaries, named, first.labels.policies)


def _write_rows(
    run: _Run,
    stretches: Iterator[tuple[pa.Table, RowResults]],
    labels: Labels,
    text_people: bool,
    writer: Writer,
    written: Written,
) -> None:
    """Write the tables by row, a stretch of the ledger on each thread; no more of them are in memory than there are threads."""

    def write(index: int, ledger: pa.Table, results: RowResults) -> None:
        table = settled_table(ledger, results, labels)
        writer.part("settled", index, with_names(table, written.write_columns))
        if run.reaccounts:
            writer.part("deltas", index, deltas_part(Ledger(ledger, run.columns), results, text_people, labels))

    if run.threads == 1:
        for index, stretch in enumerate(stretches):
            write(index, *stretch)
        return
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(run.threads) as pool:
        for index, stretch in enumerate(stretches):
            waiting.append(pool.submit(write, index, *stretch))
            if len(waiting) >= run.threads:
                waiting.popleft().result()
        for future in waiting:
            future.result()
