"""Re-accounting (重新核算补报): replay, compare with what was paid, and say who gets the difference."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao.book import as_book
from yibao.columns import Prepared, prepare, region_codes
from yibao.ids import read_ids, taken
from yibao.lacks import Lacks
from yibao.ledger import PAID, ColumnMap, Ledger
from yibao.money import check_money, yuan
from yibao.payments import Payments, read_previous
from yibao.result import LedgerResult
from yibao.roster import Roster
from yibao.roster_changes import Replayed, RosterChanges, is_replayed, no_changes
from yibao.run import ASIDE, run
from yibao.settled_rows import deltas_table, in_window
from yibao.settlement import Beside, settled_history
from yibao.sources import table_of, table_or_none
from yibao.words import mask_of
from yibao_core.claim import (
    IMPLIED_RATE,
    KEEP,
    REFUSE,
)
from yibao_core.compiler import set_aside
from yibao_core.deltas import TO_DISTRICT, TO_INSTITUTION, Deltas, owed_lines, row_deltas
from yibao_core.errors import LedgerError
from yibao_core.plan import CompiledBook
from yibao_core.policy import LAYERS, Policy
from yibao_core.records import CHANGED
from yibao_core.settled import Settled

if TYPE_CHECKING:
    from yibao.outputs import ResultFiles

DECREASES = ("waive", "recover")
REJECTS = ("hold", "pay")
TABLES = (
    "settled", "deltas", "transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted", "rejects", "roster_changes",
)  # fmt: skip
CHOICES = {"keep": KEEP, "implied_rate": IMPLIED_RATE, "refuse": REFUSE}
MISSING_PAID = ("refuse", "zero")
ROUTED_BY = ("has_social_card_account", "insured_region", "treated_region", "hospital_id")


class ReaccountOptions(TypedDict, total=False):
    """The options of `reaccount`."""

    roster: Any
    roster_mode: str
    previous_transfers: Any
    on_decrease: str
    on_reject: str
    recorded_after_change: str | Mapping[str, str] | None
    missing_paid: str
    history: Any
    threads: int | None
    columns: ColumnMap
    money: str
    show_ids: bool
    progress: Callable[[int], None] | None
    memory_limit: int | str | None


class Reaccount:
    """A re-accounted ledger: the settled rows, the differences, and the payments of the payer. Tables are made on demand."""

    def __init__(
        self,
        result: LedgerResult,
        prepared: Prepared,
        settled: Settled,
        compare: Callable[[], "_ChangedRows"],
        route: Callable[[], Payments],
        roster: RosterChanges | None,
        money: str,
    ) -> None:
        self._result = result
        self._prepared = prepared
        self._settled = settled
        self._compare = compare
        self._route = route
        self._roster = roster
        self._money = money

    @property
    def _changed(self) -> "_ChangedRows":
        return self._compare()

    @cached_property
    def _payments(self) -> Payments:
        return self._route()

    @property
    def settled(self) -> pa.Table:
        """The rows as replayed, like the table of a settled ledger; rows outside the window keep what was paid."""
        return self._result.table

    @property
    def rejects(self) -> pa.Table:
        """The rejected rows."""
        return self._result.rejects

    @cached_property
    def deltas(self) -> pa.Table:
        """The settled rows in the window: settlement_id, person_id, new − old for each layer, the person, and unrouted."""
        return deltas_table(
            self._prepared.settlement_ids,
            self._prepared.person_ids.slice(self._prepared.history_rows, len(self._settled.status)),
            np.flatnonzero(self._in_window),
            self._changed.rows,
            self._changed.deltas,
            self._result.labels,
        )

    @property
    def _in_window(self) -> NDArray[np.bool_]:
        return in_window(self._settled.status, self._settled.mode)

    @property
    def transfers(self) -> pa.Table:
        """What is paid now: one row a person-year, payer, fund, layer and payee."""
        return self._payments.transfers

    @property
    def transfer_lines(self) -> pa.Table:
        """Every transfer broken down to settlements; earlier transfers on its key as one negative line without one."""
        return self._payments.transfer_lines

    @property
    def payment_orders(self) -> pa.Table:
        """Transfers added up, one order an account: what a bank is sent."""
        return self._payments.payment_orders

    @property
    def decreases(self) -> pa.Table:
        """What payees were paid too much, with the action: waive, recover or held."""
        return self._payments.decreases

    @property
    def held(self) -> pa.Table:
        """What would have been paid, and why it is not yet."""
        return self._payments.held

    @property
    def unrouted(self) -> pa.Table:
        """Signed parts whose account cannot be named."""
        return self._payments.unrouted

    @cached_property
    def roster_changes(self) -> pa.Table:
        """What the roster alone changed, by person and benefit year: categories, and the replay with it less the one without."""
        return no_changes(self._prepared, self._money) if self._roster is None else self._roster.table

    @property
    def ledger_result(self) -> LedgerResult:
        """What the replay says of the ledger, without the differences."""
        return self._result

    def first_rows(self, name: str) -> NDArray[np.int64]:
        """Return for each row of a table of people where its person comes first: a row of the history, of the ledger behind
        it, or an earlier transfer behind both. Ascending."""
        if name == "roster_changes":
            rows = np.empty(0, dtype=np.int64) if self._roster is None else self._roster.first_rows
            return rows + self._prepared.history_rows
        return self._payments.first_rows(name)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Counts and sums, ready for JSON; money as text in yuan."""
        inside = self._in_window
        return self._result.summary | {
            "rows_in_window": int(inside.sum()),
            "rows_outside_window": int(((self._settled.status == 0) & ~inside).sum()),
            "rows_changed": len(self._changed.rows),
            "deltas": {
                layer: str(yuan(amounts.sum()))
                for layer, amounts in zip(LAYERS, self._changed.deltas.layers, strict=True)
            }
            | {
                "personal": str(yuan(self._changed.deltas.personal.sum())),
                "unrouted": str(yuan(self._changed.deltas.unrouted.sum())),
            },
            "payments": self._payments.summary,
        }


class _ChangedRows(NamedTuple):
    """Rows that are paid otherwise than recorded, their differences, and which of them the supplement rule covers."""

    rows: NDArray[np.int64]
    deltas: Deltas
    supplement: NDArray[np.bool_]
    supplement_unknown: NDArray[np.bool_]


class Reaccounting(NamedTuple):
    """How ledgers are re-accounted: the same for a whole one and for parts of whole people."""

    book: tuple[Policy, ...]
    roster_mode: str
    on_decrease: str
    on_reject: str
    choices: dict[str, int]
    required: tuple[str, ...]
    threads: int | None
    columns: ColumnMap
    money: str
    show_ids: bool
    progress: Callable[[int], None] | None

    def reaccount(self, ledger: pa.Table, beside: Beside, lacks: Lacks | None = None) -> Reaccount:
        """Return a table re-accounted. `lacks`: see `run`."""
        read = Ledger(ledger, self.columns)
        listed = Roster(beside.roster, self.roster_mode) if beside.roster is not None else None
        previous = read_previous(beside.previous)
        past = settled_history(beside.history, self.columns)
        earlier = previous.person_ids if previous else None
        masks = listed.masks if listed else None
        prepared, plan, settled = self._replay(read, past, earlier, masks, self.progress, lacks)

        @cache
        def changed() -> _ChangedRows:
            return _changed_rows(prepared, plan, settled)

        if not all(read.has(name) for name in ROUTED_BY):
            _columns_for_routing(read, changed())

        def route() -> Payments:
            return _payments(
                read, prepared, plan, settled, changed(), previous, self.on_decrease, self.on_reject, self.money
            )

        def without_roster(chosen: NDArray[np.bool_]) -> Replayed:
            first = prepared.history_rows
            own_past = (
                None if past is None else settled_history(past.table.filter(pa.array(chosen[:first])), self.columns)
            )
            part = read.filtered(chosen[first:])
            alone = self._replay(part, own_past, None, None, None, None)
            return _replayed(_changed_rows(*alone), alone[2], np.flatnonzero(chosen[first:]))

        changes = None
        if listed is not None:
            all_rows = np.arange(len(read))
            changes = RosterChanges(
                listed,
                prepared,
                plan,
                settled,
                lambda: _replayed(changed(), settled, all_rows),
                without_roster,
                self.money,
            )
        counts = (lambda: changes.summary) if changes is not None else None
        result = LedgerResult(read, prepared, plan, settled, self.money, self.show_ids, counts)
        return Reaccount(result, prepared, settled, changed, route, changes, self.money)

    def _replay(
        self,
        ledger: Ledger,
        past: Ledger | None,
        earlier: pa.ChunkedArray | None,
        masks: Callable[..., NDArray[Any]] | None,
        report: Callable[[int], None] | None,
        lacks: Lacks | None,
    ) -> tuple[Prepared, CompiledBook, Settled]:
        book = [set_aside(policy, ASIDE) for policy in self.book]
        prepared = prepare(ledger, past, earlier, masks, self.required, self.threads, book, reaccount=True)
        forced = frozenset({"assistance", "commercial"} if len(prepared.columns.supplement) else ())
        plan, settled = run(
            self.book,
            prepared,
            reaccount=True,
            after_change=self.choices,
            forced=forced,
            threads=self.threads,
            report=report,
            every_group=earlier is not None,
            lacks=lacks,
        )
        return prepared, plan, settled


def reaccounting(
    policy: Policy | Sequence[Policy],
    *,
    roster_mode: str = "add",
    on_decrease: str = "waive",
    on_reject: str = "hold",
    recorded_after_change: str | Mapping[str, str] | None = None,
    missing_paid: str = "refuse",
    threads: int | None = None,
    columns: ColumnMap = None,
    money: str = "decimal128",
    show_ids: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Reaccounting:
    """Return how to re-account, checked. See `reaccount`."""
    check_money(money)
    _one_of("on_decrease", on_decrease, DECREASES)
    _one_of("on_reject", on_reject, REJECTS)
    _one_of("missing_paid", missing_paid, MISSING_PAID)
    return Reaccounting(
        as_book(policy),
        roster_mode,
        on_decrease,
        on_reject,
        _choices(recorded_after_change),
        ("catastrophic_paid",) if missing_paid == "zero" else PAID,
        threads,
        columns,
        money,
        show_ids,
        progress,
    )


@overload
def reaccount(
    ledger: Any, policy: Policy | Sequence[Policy], *, out: None = None, **options: Unpack[ReaccountOptions]
) -> Reaccount: ...
@overload
def reaccount(
    ledger: Any, policy: Policy | Sequence[Policy], *, out: str | PathLike[str], **options: Unpack[ReaccountOptions]
) -> "ResultFiles": ...
def reaccount(
    ledger: Any,
    policy: Policy | Sequence[Policy],
    *,
    roster: Any = None,
    roster_mode: str = "add",
    previous_transfers: Any = None,
    on_decrease: str = "waive",
    on_reject: str = "hold",
    recorded_after_change: str | Mapping[str, str] | None = None,
    missing_paid: str = "refuse",
    history: Any = None,
    threads: int | None = None,
    columns: ColumnMap = None,
    money: str = "decimal128",
    show_ids: bool = False,
    progress: Callable[[int], None] | None = None,
    out: str | PathLike[str] | None = None,
    memory_limit: int | str | None = None,
) -> "Reaccount | ResultFiles":
    """Replay every person-year of a ledger under a policy (or a book) and route the differences.

    `ledger`: as for `settle_ledger`. `roster`: table (person_id, category, from, to) that is added to the ledger's categories,
    or replaces them (`roster_mode="replace"`). `previous_transfers`: the transfers of earlier runs, and executed recoveries as
    negative entries: only the difference goes out. `on_decrease`: "waive" or "recover". `on_reject`: "hold" or "pay"
    person-years that something speaks against. `recorded_after_change`: what happens to a recorded figure behind a payment
    that changes, "keep" or "implied_rate", as one word or by layer; None refuses. `missing_paid="zero"`: payment columns that
    the ledger lacks count as 0 (the catastrophic one is always required). `out`, `memory_limit`: as for `settle_ledger`.

    Raises LedgerError, PolicyError, ParameterError, RecordedAfterChangeError.
    """
    job = reaccounting(
        policy,
        roster_mode=roster_mode,
        on_decrease=on_decrease,
        on_reject=on_reject,
        recorded_after_change=recorded_after_change,
        missing_paid=missing_paid,
        threads=threads,
        columns=columns,
        money=money,
        show_ids=show_ids,
        progress=progress,
    )
    beside = Beside(
        history=table_or_none(history, "history"),
        roster=table_or_none(roster, "roster"),
        previous=table_or_none(previous_transfers, "previous_transfers"),
    )
    if out is None:
        return job.reaccount(table_of(ledger, "ledger"), beside)
    from yibao.bulk import reaccount_files

    return reaccount_files(job, ledger, beside, out, memory_limit)


def _replayed(changed: _ChangedRows, settled: Settled, rows: NDArray[np.int64]) -> Replayed:
    """Return a replay by the rows of the whole ledger; `rows`: which they are."""
    return Replayed(rows, is_replayed(settled), rows[changed.rows], changed.deltas)


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise LedgerError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def _choices(given: str | Mapping[str, str] | None) -> dict[str, int]:
    """Return what to do with each layer's recorded figures behind a change."""
    by_layer = dict.fromkeys(LAYERS, "refuse")
    if isinstance(given, str):
        by_layer = dict.fromkeys(LAYERS, given)
    elif given is not None:
        unknown = sorted(set(given) - set(LAYERS))
        if unknown:
            raise LedgerError(
                [f"recorded_after_change: expected layers {', '.join(LAYERS)}, got {name!r}" for name in unknown]
            )
        by_layer |= dict(given)
    for layer, word in by_layer.items():
        if word not in CHOICES:
            raise LedgerError(f"recorded_after_change: {layer}: expected keep or implied_rate, got {word!r}")
    return {layer: CHOICES[word] for layer, word in by_layer.items()}


def _changed_rows(prepared: Prepared, plan: CompiledBook, settled: Settled) -> _ChangedRows:
    rows = np.flatnonzero((settled.mode & CHANGED) > 0)
    recorded = {layer: prepared.columns.amounts(f"{layer}_paid") for layer in LAYERS}
    columns, behind = prepared.columns, rows + prepared.history_rows
    supplement = np.zeros(len(rows), dtype=bool)
    unknown = supplement
    if len(columns.supplement):
        categories = np.array([mask_of(policy.routing.supplement_categories) for policy in plan.policies])
        applies = columns.category_mask[behind] & categories[settled.policy[rows]] > 0
        supplement = (columns.supplement[behind] > 0) & applies
        unknown = (columns.supplement[behind] < 0) & applies
    total = columns.amounts("total_fee")
    deltas = row_deltas(settled.paid_fen, recorded, total, settled.personal_fen, rows, prepared.history_rows)
    return _ChangedRows(rows, deltas, supplement, unknown)


def _payments(
    ledger: Ledger,
    prepared: Prepared,
    plan: CompiledBook,
    settled: Settled,
    changed: _ChangedRows,
    previous: Any,
    on_decrease: str,
    on_reject: str,
    money: str,
) -> Payments:
    rows, deltas, supplement, unknown = changed
    region = prepared.columns.region
    insured = (
        region[rows + prepared.history_rows].astype(np.int64) if len(region) else np.zeros(len(rows), dtype=np.int64)
    )
    hospital, hospitals = _hospitals(ledger, rows)
    kinds = {"institution": TO_INSTITUTION, "district": TO_DISTRICT}
    inside = np.array([kinds[policy.routing.assistance_inside] for policy in plan.policies])
    outside = np.array([kinds[policy.routing.assistance_outside] for policy in plan.policies])
    policy = settled.policy[rows]
    treated = _regions(ledger, "treated_region", rows)
    lines = owed_lines(deltas, supplement, insured, treated, hospital, inside[policy], outside[policy])
    return Payments(
        ledger,
        prepared,
        plan,
        settled,
        rows,
        deltas,
        lines,
        hospitals,
        unknown,
        previous,
        on_decrease,
        on_reject,
        money,
    )


def _columns_for_routing(ledger: Ledger, changed: _ChangedRows) -> None:
    """Raise LedgerError with every column that some difference needs to find its account, and which the ledger lacks."""
    deltas, supplement = changed.deltas, changed.supplement
    assistance = [LAYERS.index(layer) for layer in ("assistance", "reassistance", "pku")]
    to_treatment = deltas.layers[assistance][:, ~supplement].any()
    reduction = deltas.layers[LAYERS.index("institution_reduction")].any()
    to_city = deltas.layers[LAYERS.index("commercial")].any() or deltas.layers[assistance][:, supplement].any()
    wanted = {
        "has_social_card_account": bool(deltas.personal.any()),
        "treated_region": bool(to_treatment),
        "insured_region": bool(to_treatment or to_city),
        "hospital_id": bool(to_treatment or reduction),
    }
    faults = ledger.missing(name for name, needed in wanted.items() if needed)
    if faults:
        raise LedgerError([f"{fault}: differences are routed by it (三(一))" for fault in faults])


def _regions(ledger: Ledger, name: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if not ledger.has(name):
        return np.zeros(len(rows), dtype=np.int64)
    return region_codes(pa.chunked_array([taken(ledger.column(name), rows)]), name).astype(np.int64)


def _hospitals(ledger: Ledger, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], pa.Array]:
    """Return a code for each row's hospital (-1: none) and the ids behind the codes."""
    if not ledger.has("hospital_id"):
        return np.full(len(rows), -1, dtype=np.int64), pa.array([], pa.string())
    ids, _ = read_ids(pa.chunked_array([taken(ledger.column("hospital_id"), rows)]), "hospital_id")
    encoded = ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary
