"""One settlement out of a ledger: its person's rows, settled as ever, with the kernel's trace of that row."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yibao.balances import Balances
from yibao.book import as_book
from yibao.columns import prepare
from yibao.explanation import explain_trace, read_trace
from yibao.ids import normal_id, read_ids
from yibao.ledger import ColumnMap, Ledger
from yibao.money import yuan
from yibao.result import LedgerResult
from yibao.roster import Roster
from yibao.run import AsKnown, run
from yibao.settlement import settled_history
from yibao_core.errors import ClaimError, LedgerError
from yibao_core.policy import LAYERS, Policy
from yibao_core.records import FLAGS

NEAR_MAX = 2_000  # so many ids are looked at for the one that was meant


def explain_row(
    source: Any,
    settlement_id: Any,
    policy: Policy | Sequence[Policy],
    *,
    as_known: AsKnown = None,
    opening: Any = None,
    history: Any = None,
    roster: Any = None,
    roster_mode: str = "add",
    columns: ColumnMap = None,
) -> str:
    """See `yibao.explain`."""
    listed = Roster(roster, roster_mode) if roster is not None else None
    ledger = Ledger(source, columns)
    row = _find(ledger, settlement_id)
    people, _ = read_ids(ledger.column("person_id"), "person_id")
    person = people[row]
    own = pc.fill_null(pc.equal(people, person), False).to_numpy()
    rows = np.flatnonzero(own) if person.is_valid else np.array([row])
    ledger.table = ledger.table.take(pa.array(rows))
    at = int(np.searchsorted(rows, row))
    balances = Balances(opening) if opening is not None else None
    book = as_book(policy)
    prepared = prepare(
        ledger,
        settled_history(history, columns),
        balances.person_ids if balances else None,
        listed.masks if listed else None,
        opening_episode=balances.counted_episodes if balances else None,
        book=book,
    )
    plan, settled = run(
        book,
        prepared,
        as_known=as_known,
        threads=1,
        trace_row=prepared.history_rows + at,
        opening=balances,
    )
    if settled.status[at]:
        result = LedgerResult(ledger, prepared, plan, settled, "decimal128", show_ids=False)
        reject = next(entry for entry in result.rejects.to_pylist() if entry["row"] == at)
        raise ClaimError(reject["code"], f"{reject['column']}: got {reject['value']}")
    paid = {layer: yuan(settled.paid_fen[layer][at]) if layer in settled.paid_fen else yuan(0) for layer in LAYERS}
    names = tuple(name for bit, name in enumerate(FLAGS) if int(settled.flags[at]) >> bit & 1)
    index = int(settled.policy[at])
    found = plan.policies[index] if index < len(plan.policies) else None
    return explain_trace(read_trace(settled.trace, plan), found, paid, yuan(settled.personal_fen[at]), names)


def _find(ledger: Ledger, settlement_id: Any) -> int:
    ids, _ = read_ids(ledger.column("settlement_id"), "settlement_id")
    wanted: Any = normal_id(str(settlement_id))
    if pa.types.is_int64(ids.type):
        if not wanted.lstrip("-").isdigit():
            raise LedgerError(f"settlement: expected a whole number, as the ledger has them, got {settlement_id!r}")
        wanted = int(wanted)
    row = pc.index(ids, pa.scalar(wanted, ids.type)).as_py()
    if row < 0:
        near = _near(ids, str(wanted))
        hint = "" if near < 0 else f"; the one of row {near} is close"
        raise LedgerError(f"settlement: no row of the ledger has the id {settlement_id!r}{hint}")
    return int(row)


def _near(ids: pa.ChunkedArray, wanted: str) -> int:
    """Return a row whose id is close to the wanted one, -1 for none. Its id is not shown: it may be another person's."""
    texts = ids.cast(pa.large_string())
    half = max(1, len(wanted) // 2)
    alike = pc.or_(pc.starts_with(texts, wanted[:half]), pc.ends_with(texts, wanted[-half:]))
    rows = np.flatnonzero(pc.fill_null(alike, False).to_numpy())[:NEAR_MAX]
    candidates = texts.take(pa.array(rows)).to_pylist()
    found = get_close_matches(wanted, candidates, 1, 0.8)
    return int(rows[candidates.index(found[0])]) if found else -1
