"""A whole ledger through the waterfall."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.balances import Balances
from yibao.book import as_book
from yibao.columns import prepare
from yibao.ids import read_ids, same_kind
from yibao.lacks import Lacks
from yibao.ledger import PAID, ColumnMap, Ledger
from yibao.money import check_money
from yibao.result import LedgerResult
from yibao.roster import Roster
from yibao.roster_changes import settled_summary
from yibao.run import AsKnown, run
from yibao.sources import table_of, table_or_none
from yibao_core.errors import ClaimError, LedgerError
from yibao_core.policy import Policy

if TYPE_CHECKING:
    from yibao.outputs import ResultFiles


class Beside(NamedTuple):
    """Tables that go with a ledger."""

    history: pa.Table | None = None
    opening: pa.Table | None = None
    roster: pa.Table | None = None
    previous: pa.Table | None = None  # transfers


class Settling(NamedTuple):
    """How ledgers are settled: the same for a whole one and for parts of whole people."""

    book: tuple[Policy, ...]
    roster_mode: str
    as_known: AsKnown
    threads: int | None
    columns: ColumnMap
    money: str
    show_ids: bool
    progress: Callable[[int], None] | None

    def settle(
        self, ledger: pa.Table, beside: Beside, accounts: tuple[str, ...] | None = None, lacks: Lacks | None = None
    ) -> LedgerResult:
        """Return a table settled. `accounts` and `lacks`: see `run`."""
        read = Ledger(ledger, self.columns)
        past = settled_history(beside.history, self.columns)
        past = past if past is None else past.filtered(asked_of(past, read))
        balances = Balances(beside.opening) if beside.opening is not None else None
        listed = Roster(beside.roster, self.roster_mode) if beside.roster is not None else None
        prepared = prepare(
            read,
            past,
            balances.person_ids if balances else None,
            listed.masks if listed else None,
            opening_episode=balances.counted_episodes if balances else None,
            threads=self.threads,
            book=self.book,
        )
        plan, settled = run(
            self.book,
            prepared,
            as_known=self.as_known,
            threads=self.threads,
            report=self.progress,
            opening=balances,
            accounts=accounts,
            lacks=lacks,
        )
        counts = (lambda: settled_summary(listed, prepared, plan, settled)) if listed is not None else None
        return LedgerResult(read, prepared, plan, settled, self.money, self.show_ids, counts)


class SettleOptions(TypedDict, total=False):
    """The options of `settle_ledger`."""

    opening: Any
    history: Any
    roster: Any
    roster_mode: str
    as_known: AsKnown
    threads: int | None
    strict: bool
    columns: ColumnMap
    money: str
    show_ids: bool
    progress: Callable[[int], None] | None
    memory_limit: int | str | None


def settling(
    policy: Policy | Sequence[Policy],
    *,
    roster_mode: str = "add",
    as_known: AsKnown = None,
    threads: int | None = None,
    columns: ColumnMap = None,
    money: str = "decimal128",
    show_ids: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Settling:
    """Return how to settle, checked. See `settle_ledger`."""
    check_money(money)
    return Settling(as_book(policy), roster_mode, as_known, threads, columns, money, show_ids, progress)


@overload
def settle_ledger(
    ledger: Any, policy: Policy | Sequence[Policy], *, out: None = None, **options: Unpack[SettleOptions]
) -> LedgerResult: ...
@overload
def settle_ledger(
    ledger: Any, policy: Policy | Sequence[Policy], *, out: str | PathLike[str], **options: Unpack[SettleOptions]
) -> "ResultFiles": ...
def settle_ledger(
    ledger: Any,
    policy: Policy | Sequence[Policy],
    *,
    opening: Any = None,
    history: Any = None,
    roster: Any = None,
    roster_mode: str = "add",
    as_known: AsKnown = None,
    threads: int | None = None,
    strict: bool = False,
    columns: ColumnMap = None,
    money: str = "decimal128",
    show_ids: bool = False,
    progress: Callable[[int], None] | None = None,
    out: str | PathLike[str] | None = None,
    memory_limit: int | str | None = None,
) -> "LedgerResult | ResultFiles":
    """Settle every row of a ledger; rows may come in any order, results come back in theirs.

    `ledger`: anything Arrow (table, batches, reader, dataset, data frame) or a path (Parquet, Arrow IPC, CSV) with the
    ledger's columns, under our names or those of `columns` ("nhsa", or a mapping ours → theirs). `policy`: one, or several
    (a book): each row finds its own by insured region, service date and `as_known` (a date; "settled_at": what each row's
    own day knew; None: all). `opening`: the `closing` of an earlier run. `history`: its table, to find the originals of
    reversals. `roster`: table (person_id, category, from, to) that is added to the ledger's categories, or replaces them
    (`roster_mode="replace"`). `strict`: the first reject raises ClaimError. `money`: "decimal128", "decimal64" or
    "int64_fen". `progress` is told how many rows have been settled since the last call, from the working threads.

    `out`: a directory that the results are written to, in place of those of an earlier run; the ledger may then be larger
    than memory: what would not fit `memory_limit` (bytes, or text such as "2 GiB"; by default a quarter of what the machine
    has) is sorted by person on disk first, with the same results to the byte.

    Raises LedgerError (input that is no ledger), PolicyError, ParameterError.
    """
    job = settling(
        policy,
        roster_mode=roster_mode,
        as_known=as_known,
        threads=threads,
        columns=columns,
        money=money,
        show_ids=show_ids,
        progress=progress,
    )
    beside = Beside(
        table_or_none(history, "history"), table_or_none(opening, "opening"), table_or_none(roster, "roster")
    )
    if out is not None:
        from yibao.bulk import settle_files

        return settle_files(job, ledger, beside, out, memory_limit, strict)
    result = job.settle(table_of(ledger, "ledger"), beside)
    if strict and result.rejected:
        raise_first(result.rejects)
    return result


def settled_history(history: Any, columns: ColumnMap) -> Ledger | None:
    """Return an earlier run's table, None where there is no history. LedgerError where it shows no payments."""
    if history is None:
        return None
    past = Ledger(history, columns, "history", settled=True)  # not as the ledger had recorded
    if not any(past.has(name) for name in PAID):
        raise LedgerError("history: expected settled rows with their payments, got no payment column")
    return past


def asked_of(past: Ledger, ledger: Ledger) -> NDArray[np.bool_]:
    """Return which rows of the history settling a ledger asks for: those of its people, where originals and second rows of
    one id can be. The other rows of a year cost a day's run no more than a look at their person."""
    if not past.has("person_id") or not ledger.has("person_id"):
        return np.ones(len(past), dtype=bool)
    columns = [read_ids(part.column("person_id"), f"{part.what}: person_id")[0] for part in (past, ledger)]
    own, people = same_kind(columns)
    chosen: NDArray[np.bool_] = pc.is_in(own, people.combine_chunks()).to_numpy()
    return chosen


def raise_first(rejects: pa.Table) -> None:
    """Raise ClaimError for the first of some rejects."""
    first = rejects.slice(0, 1).to_pylist()[0]
    more = f"; {len(rejects) - 1} more rows rejected" if len(rejects) > 1 else ""
    raise ClaimError(first["code"], f"row {first['row']}: {first['column']}: got {first['value']}{more}")
