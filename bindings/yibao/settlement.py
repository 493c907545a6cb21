"""A whole ledger through the waterfall."""

from collections.abc import Callable, Sequence
from typing import Any

from yibao.balances import Balances
from yibao.book import as_book
from yibao.columns import prepare
from yibao.ledger import PAID, ColumnMap, Ledger
from yibao.money import check_money
from yibao.result import LedgerResult
from yibao.roster import Roster
from yibao.roster_changes import settled_summary
from yibao.run import AsKnown, run
from yibao_core.errors import ClaimError, LedgerError
from yibao_core.policy import Policy


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
) -> LedgerResult:
    """Settle every row of a ledger; rows may come in any order, results come back in theirs.

    `ledger`: anything Arrow (table, batches, reader, dataset, data frame) with the ledger's columns, under our
    names or those of `columns` ("nhsa", or a mapping ours → theirs). `policy`: one, or several (a book): each row finds
    its own by insured region, service date and `as_known` (a date; "settled_at": what each row's own day knew; None:
    all). `opening`: the `closing` of an earlier run. `history`: its table, to find the originals of reversals.
    `roster`: table (person_id, category, from, to) that is added to the ledger's categories, or replaces them
    (`roster_mode="replace"`). `strict`: the first reject raises ClaimError. `money`: "decimal128", "decimal64" or
    "int64_fen". `progress` is told how many rows have been settled since the last call, from the working threads.

    Raises LedgerError (input that is no ledger), PolicyError, ParameterError.
    """
    check_money(money)
    book = as_book(policy)
    read = Ledger(ledger, columns)
    past = settled_history(history, columns)
    balances = Balances(opening) if opening is not None else None
    listed = Roster(roster, roster_mode) if roster is not None else None
    prepared = prepare(
        read,
        past,
        balances.person_ids if balances else None,
        listed.masks if listed else None,
        opening_episode=balances.counted_episodes if balances else None,
        threads=threads,
        book=book,
    )
    plan, settled = run(
        book,
        prepared,
        as_known=as_known,
        threads=threads,
        report=progress,
        opening=balances,
    )
    counts = (lambda: settled_summary(listed, prepared, plan, settled)) if listed is not None else None
    result = LedgerResult(read, prepared, plan, settled, money, show_ids, counts)
    if strict and settled.status.any():
        raise_first(result)
    return result


def settled_history(history: Any, columns: ColumnMap) -> Ledger | None:
    """Return an earlier run's table, None where there is no history. LedgerError where it shows no payments."""
    if history is None:
        return None
    past = Ledger(history, columns, "history", settled=True)  # not as the ledger had recorded
    if not any(past.has(name) for name in PAID):
        raise LedgerError("history: expected settled rows with their payments, got no payment column")
    return past


def raise_first(result: LedgerResult) -> None:
    """Raise ClaimError for the first reject of a result."""
    rejects = result.rejects
    first = rejects.slice(0, 1).to_pylist()[0]
    more = f"; {len(rejects) - 1} more rows rejected" if len(rejects) > 1 else ""
    raise ClaimError(first["code"], f"row {first['row']}: {first['column']}: got {first['value']}{more}")
