"""One run of the kernels over prepared columns: which plan, which record, which options."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from yibao.balances import Balances
from yibao.columns import Prepared
from yibao.dates import day_number
from yibao.lacks import Lacks
from yibao.ledger import PAID
from yibao.memory import words
from yibao_core.claim import (
    OPTION_AFTER_CHANGE,
    OPTION_HISTORY_ROWS,
    OPTION_REACCOUNT,
    OPTION_TRACE_ROW,
    OPTIONS,
)
from yibao_core.compiler import compile_book
from yibao_core.errors import LedgerError, PolicyError
from yibao_core.full import no_openings
from yibao_core.intake import (
    INTAKE_BOOK,
    INTAKE_KNOWN_AS_SETTLED,
    INTAKE_KNOWN_DAY,
    INTAKE_REACCOUNT,
    INTAKES,
)
from yibao_core.money import NULL_FEN
from yibao_core.plan import FOREVER_DAY, CompiledBook
from yibao_core.policy import FEES, LAYERS, METERED, Policy
from yibao_core.records import record_fields
from yibao_core.settled import Settled
from yibao_core.shards import settle_columns
from yibao_core.threads import threads_to_use

AsKnown = date | str | None
ASIDE = frozenset({METERED})
"""What a re-accounting does not compute again: decision 0004.15."""


@lru_cache(maxsize=64)
def _compiled(
    digests: tuple[str, ...],
    recorded: frozenset[str],
    forced: frozenset[str],
    accounts: tuple[str, ...],
    aside: frozenset[str],
    first: tuple[str, ...],
) -> CompiledBook:
    return compile_book([_POLICIES[digest] for digest in digests], recorded, forced, accounts, aside, first)


_POLICIES: dict[str, Policy] = {}


def compiled(
    book: tuple[Policy, ...],
    recorded: frozenset[str],
    forced: frozenset[str] = frozenset(),
    accounts: tuple[str, ...] = (),
    aside: frozenset[str] = frozenset(),
    first: tuple[str, ...] = (),
) -> CompiledBook:
    """Return the book's plan for a ledger with these recorded layers; the same book is compiled once."""
    for policy in book:
        _POLICIES[policy.digest] = policy
    return _compiled(tuple(policy.digest for policy in book), recorded, forced, accounts, aside, first)


def intake_settings(book: tuple[Policy, ...], as_known: AsKnown, reaccount: bool) -> NDArray[np.int64]:
    """Return the intake's settings. `as_known`: a day, "settled_at", or None (everything in the book is known)."""
    settings = np.zeros(INTAKES, dtype=np.int64)
    settings[INTAKE_REACCOUNT] = reaccount
    settings[INTAKE_BOOK] = len(book) > 1
    settings[INTAKE_KNOWN_DAY] = FOREVER_DAY
    if as_known is not None:
        if len(book) == 1:
            raise PolicyError("as_known: expected a book of several policies: one policy alone is applied as it is")
        if as_known == "settled_at":
            settings[INTAKE_KNOWN_AS_SETTLED] = 1
        elif isinstance(as_known, date):
            settings[INTAKE_KNOWN_DAY] = day_number(as_known)
        else:
            raise PolicyError(f'as_known: expected a date or "settled_at", got {as_known!r}')
    settings.flags.writeable = False
    return settings


def run(
    book: tuple[Policy, ...],
    prepared: Prepared,
    *,
    opening: Balances | None = None,
    as_known: AsKnown = None,
    reaccount: bool = False,
    after_change: Mapping[str, int] | None = None,
    forced: frozenset[str] = frozenset(),
    threads: int | None = None,
    trace_row: int = -1,
    report: Callable[[int], None] | None = None,
    every_group: bool = True,
    accounts: tuple[str, ...] | None = None,
    lacks: Lacks | None = None,
) -> tuple[CompiledBook, Settled]:
    """Return the plan and the settled rows. `Lacks.refuse` tells what is raised; `lacks` that are given only take note.

    `forced` layers have a word in every record, recorded or not. `accounts`: of all opening balances, where `opening` holds
    only some. `every_group`: see `settle_columns`.
    """
    if len(book) > 1 and "insured_region" not in prepared.present:
        raise LedgerError("ledger: insured_region: expected a column (a book finds each row's policy by it)")
    recorded = frozenset(layer for layer, paid in zip(LAYERS, PAID, strict=True) if paid in prepared.present)
    if accounts is None:
        accounts = opening.accounts_in(book) if opening else ()
    fed = {layer.name for policy in book for layer in policy.layers if layer.account in accounts}
    carried = frozenset(layer for layer in LAYERS if _is_carried(prepared, layer, layer in fed or lacks is not None))
    aside = ASIDE if reaccount else frozenset[str]()
    plan = compiled(book, recorded, (forced | carried) - recorded, accounts, aside)
    openings = opening.entries(prepared, plan) if opening else no_openings()
    reversals = len(prepared.columns.reverses) > 0
    brought = prepared.present | prepared.in_history
    fees = {fee for fee in FEES if fee in brought and (reversals or fee in plan.fees_used)}
    layers = {layer for layer, active in zip(LAYERS, plan.active, strict=True) if active}
    fields = record_fields({"total_fee", "eligible_fee"} | fees, layers, reversals, plan.counts_stays)
    options = np.zeros(OPTIONS, dtype=np.int64)
    options[OPTION_REACCOUNT] = reaccount
    options[OPTION_HISTORY_ROWS] = prepared.history_rows
    options[OPTION_TRACE_ROW] = trace_row
    for layer, choice in (after_change or {}).items():
        options[OPTION_AFTER_CHANGE + LAYERS.index(layer)] = choice
    options.flags.writeable = False
    settled = settle_columns(
        plan,
        fields,
        intake_settings(book, as_known, reaccount),
        options,
        prepared.columns,
        prepared.texts,
        openings,
        threads_to_use(threads),
        trace_row >= 0,
        report,
        every_group,
        words,
    )
    own = Lacks() if lacks is None else lacks
    own.note(plan, prepared, settled)
    if lacks is None:
        own.refuse()
    return plan, settled


def _is_carried(prepared: Prepared, layer: str, is_fed: bool) -> bool:
    """Return whether reversals must take back a layer that only the history has a column for."""
    name = f"{layer}_paid"
    if name not in prepared.in_history:
        return False
    paid = prepared.columns.amounts(name)[: prepared.history_rows]
    return is_fed or bool(((paid != 0) & (paid != NULL_FEN)).any())
