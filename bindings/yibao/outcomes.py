"""What a run over a ledger, or over a part of it, says: results by row, and tables with what they are sorted by."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao.reaccounting import Reaccount
from yibao.result import NAMED, LedgerResult
from yibao.settled_rows import Labels, RowResults

Keys = NDArray[np.int64]


class Sorted(NamedTuple):
    """A table, and the row of history, ledger and what goes with them, end to end, that each row of it is sorted by.

    `section`: where a table has several sections, one behind the other, which one each row is in.
    """

    table: pa.Table
    row: Keys
    section: Keys | None = None


class Outcome(NamedTuple):
    """A run's results. Payment orders are no part of them: they are made of the transfers of all parts together."""

    results: RowResults
    labels: Labels
    text_people: bool  # their ids are text in the run
    summary: dict[str, Any]
    named_rows: Mapping[str, Keys]  # of the ledger, that the summary names
    tables: Mapping[str, Sorted]


def settle_outcome(result: LedgerResult) -> Outcome:
    """Return what a settlement says."""
    section, row = result.closing_order
    return _outcome(result, result.summary, {"closing": Sorted(result.closing, row, section)})


def reaccount_outcome(result: Reaccount, with_roster: bool) -> Outcome:
    """Return what a re-accounting says."""
    tables = {
        name: Sorted(getattr(result, name), result.first_rows(name))
        for name in ("transfers", "transfer_lines", "decreases", "held", "unrouted")
    }
    if with_roster:
        tables["roster_changes"] = Sorted(result.roster_changes, result.first_rows("roster_changes"))
    return _outcome(result.ledger_result, result.summary, tables)


def _outcome(result: LedgerResult, summary: dict[str, Any], tables: dict[str, Sorted]) -> Outcome:
    rejects = result.rejects
    tables["rejects"] = Sorted(rejects, rejects["row"].to_numpy() + result.history_rows)
    return Outcome(
        result.row_results,
        result.labels,
        result.text_people,
        summary,
        {name: result.listed_rows(flag) for name, flag in NAMED.items()},
        tables,
    )
