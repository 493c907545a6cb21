"""What comes back from a ledger: the rows with their payments, the rejects, the balances, the summary."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.balances import closing_entries
from yibao.book_counts import rows_by_policy, rows_without_policy
from yibao.columns import Prepared, region_codes
from yibao.dates import to_days, to_moments
from yibao.ids import mask_id, read_ids, taken
from yibao.ledger import IDS, MONEY, PAID, REQUIRED, UNITED, Ledger
from yibao.money import from_fen, to_fen, yuan
from yibao.settled_rows import Labels, RowResults, flag_sets, labels_of, row_results, settled_table
from yibao.stays import PLACED_BY, deductible_faults, level_codes
from yibao_core.accumulators import GROUP_BALANCES, GROUP_BEGAN, GROUP_ID_ROW, GROUP_KEY, GROUP_ROWS
from yibao_core.claim import COUNT_STALE_ROWS
from yibao_core.errors import RowStatus
from yibao_core.intake import NO_ORIGINAL
from yibao_core.money import NOT_FEN, NULL_FEN, ROW_MAX_FEN
from yibao_core.parameters import refers
from yibao_core.plan import CompiledBook
from yibao_core.policy import LAYERS
from yibao_core.ratios import policy_range_ratios
from yibao_core.records import FLAGS, UNPLACED_SHIFT
from yibao_core.settled import Settled
from yibao_core.toml_values import percent

Fen = NDArray[np.int64]

YEARLY = "yearly"  # no column of the row alone is out of range: its eligible fee takes the year there
LISTED = 20  # so many settlements are named in a summary
NAMED = {"full_reimbursement": "FULL_REIMBURSEMENT", "zero_personal_payment": "ZERO_PERSONAL_PAYMENT"}

_CODE_COLUMN = {
    RowStatus.UNKNOWN_CATEGORY: "category",
    RowStatus.UNKNOWN_CARE_TYPE: "care_type",
    RowStatus.NO_POLICY: "service_date",
    RowStatus.ELIGIBLE_EXCEEDS_TOTAL: "eligible_fee",
    RowStatus.BIRTH_DATE_MISSING: "birth_date",
    RowStatus.DUPLICATE_SETTLEMENT: "settlement_id",
    RowStatus.REVERSAL_WITHOUT_ORIGINAL: "reverses",
    RowStatus.REVERSAL_NOT_WHOLE: "reverses",
    RowStatus.PAID_EXCEEDS_TOTAL: "total_fee",
}


class LedgerResult:
    """A settled ledger. Tables are made when they are asked for."""

    def __init__(
        self,
        ledger: Ledger,
        prepared: Prepared,
        book: CompiledBook,
        settled: Settled,
        money: str,
        show_ids: bool,
        roster_counts: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self._ledger = ledger
        self._prepared = prepared
        self._book = book
        self._settled = settled
        self._money = money
        self._show_ids = show_ids
        self._roster_counts = roster_counts

    @cached_property
    def table(self) -> pa.Table:
        """One row for each input row, in input order: its columns, `<layer>_paid`, `personal_paid`, `status`, `flags`,
        `policy_id`; with a roster also `category`, as it was with it. Rejected rows have null payments. Input columns of
        these names stay as `<name>_recorded`."""
        return settled_table(self._ledger.table, self.row_results, self.labels)

    @property
    def history_rows(self) -> int:
        return self._prepared.history_rows

    @property
    def text_people(self) -> bool:
        """Whether the ids of people are text in the run: in the ledger, or in a table that goes with it."""
        return self._prepared.person_ids.are_text

    @property
    def rejected(self) -> bool:
        """Whether any row was rejected."""
        return bool(self._settled.status.any())

    @cached_property
    def row_results(self) -> RowResults:
        """What the table says of each row, as arrays."""
        return row_results(self._settled, self._prepared, self.labels.with_category)

    @property
    def labels(self) -> Labels:
        return labels_of(self._book, self._roster_counts is not None, self._money)

    @cached_property
    def rejects(self) -> pa.Table:
        """The rejected rows: row (0-based), settlement_id, code, column and value that led to it; ids masked unless asked for."""
        rows = np.flatnonzero(self._settled.status)
        codes = self._settled.status[rows]
        columns = np.full(len(rows), "", dtype=object)
        values = np.full(len(rows), None, dtype=object)
        for code in np.unique(codes):
            self._offending(RowStatus(int(code)), rows, codes == code, columns, values)
        ids = self._prepared.settlement_ids.take(pa.array(rows)).to_pylist()
        return pa.table(
            {
                "row": pa.array(rows, pa.int64()),
                "settlement_id": pa.array([self._shown(value) for value in ids], pa.string()),
                "code": pa.array([RowStatus(int(code)).name for code in codes], pa.string()),
                "column": pa.array(columns, pa.string()),
                "value": pa.array(values, pa.string()),
            }
        )

    @cached_property
    def closing(self) -> pa.Table:
        """The balances after the run, entry by entry: person_id, benefit_year, insured_city, account, base, paid.

        Where stays are counted also `stays` and `episode_id`: see decision 0004.12.
        """
        return self._closing[0]

    @property
    def closing_order(self) -> Fen:
        """For each entry of `closing` what it is sorted by: 0 for accounts, else which meter's episodes it is among; and the
        first row of its person, or of its episode, of history, ledger and opening balances, end to end. (2, entries)"""
        return self._closing[1]

    @cached_property
    def _closing(self) -> tuple[pa.Table, Fen]:
        groups = self._settled.groups[self._settled.groups[:, GROUP_ROWS] > 0]
        groups = groups[groups[:, GROUP_KEY] >= 0]
        book = self._book
        entries, group = closing_entries(
            self._prepared.person_ids,
            groups[:, GROUP_ID_ROW],
            groups[:, GROUP_KEY],
            groups[:, GROUP_BALANCES:].reshape(len(groups), len(book.accounts), 2),
            book.accounts,
            book.meters if book.counts_stays else None,
        )
        sorted_by = np.stack([np.zeros_like(group), groups[group, GROUP_ID_ROW]])
        return self._with_episodes(entries, sorted_by) if book.counts_stays else (entries, sorted_by)

    def _with_episodes(self, entries: pa.Table, sorted_by: Fen) -> tuple[pa.Table, Fen]:
        """Return the entries of years with those of episodes behind them."""
        meters = [index for index, name in enumerate(self._book.accounts) if name in self._book.meters]
        entries = entries.append_column("episode_id", pa.nulls(len(entries), self._prepared.episode_ids.type))
        groups = self._settled.groups[self._settled.groups[:, GROUP_KEY] < 0]
        balances = groups[:, GROUP_BALANCES:].reshape(len(groups), len(self._book.accounts), 2)
        tables = [entries]
        for meter in meters:
            begun = np.flatnonzero(balances[:, meter].any(axis=1))
            begun = begun[np.lexsort((groups[begun, GROUP_BEGAN], groups[begun, GROUP_ID_ROW]))]
            rows, began = pa.array(groups[begun, GROUP_ID_ROW]), groups[begun, GROUP_BEGAN]
            own = np.stack([np.full_like(begun, meter + 1), groups[begun, GROUP_ID_ROW]])
            sorted_by = np.concatenate([sorted_by, own], axis=1)
            tables.append(
                pa.table(
                    {
                        "person_id": self._prepared.person_ids.take(rows),
                        "benefit_year": pa.array(began // 10_000, pa.int32()),
                        "insured_city": pa.array(began % 10_000, pa.int32()),
                        "account": pa.array([self._book.accounts[meter]] * len(begun), pa.string()),
                        "base": from_fen(balances[begun, meter, 0]),
                        "paid": from_fen(np.zeros(len(begun), dtype=np.int64)),
                        "stays": pa.array(balances[begun, meter, 1], pa.int32()),
                        "episode_id": self._prepared.episode_ids.take(rows),
                    }
                )
            )
        return pa.concat_tables(tables), sorted_by

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Counts and sums, ready for JSON; money as text in yuan."""
        status, flags = self._settled.status, self._settled.flags
        settled = status == 0
        codes, counts = np.unique(status[~settled], return_counts=True)
        paid = {
            layer: str(yuan(self._settled.paid_fen[layer].sum()) if layer in self._settled.paid_fen else yuan(0))
            for layer in LAYERS
        }
        total = self._prepared.columns.amounts("total_fee")[self._prepared.history_rows :]
        return {
            "rows": len(status),
            "settled": int(settled.sum()),
            "rejected": int((~settled).sum()),
            "rejects": {RowStatus(int(code)).name: int(count) for code, count in zip(codes, counts, strict=True)},
            "flags": _flag_counts(flags, status),
            "paid": paid,
            "personal_paid": str(yuan(self._settled.personal_fen.sum())),
            "total_fee": str(yuan(total[settled].sum())),
            "policies": rows_by_policy(self._book, self._settled),
            "no_policy": rows_without_policy(self._book, self._prepared, self._settled),
            "ratios": self._ratios(),
            "violations": self._settled.violations,
            "stale_rows": int(self._settled.counters[COUNT_STALE_ROWS]),
            **{name: self._listed(flag) for name, flag in NAMED.items()},
            "missing_columns": self._missing_columns(),
            "ids_normalised": self._prepared.ids_changed,
        } | ({} if self._roster_counts is None else {"roster": self._roster_counts()})

    def _missing_columns(self) -> list[str]:
        """Return the columns that the ledger lacks and the run could do without: payments, and episodes where rules follow them."""
        asked = [*PAID, *(("episode_id",) if any(map(refers, self._book.policies)) else ())]
        return [name for name in asked if not self._ledger.has(name)]

    def _ratios(self) -> list[dict[str, str | None]]:
        """Return the average payment ratios that the policies' documents aim at, and what the run reached."""
        columns, first = self._prepared.columns, self._prepared.history_rows
        care, eligible = columns.care[first:], columns.amounts("eligible_fee")[first:]
        return [
            {
                "policy": report.policy.id,
                "layer": report.ratio.layer,
                "care_types": ", ".join(report.ratio.care_types),
                "eligible_fee": str(yuan(report.eligible_fen)),
                "paid": str(yuan(report.paid_fen)),
                "ratio": None if report.reached_bp is None else percent(report.reached_bp),
                "target": percent(report.ratio.target_bp),
                "source": report.ratio.source,
            }
            for report in policy_range_ratios(self._book.policies, self._settled, care, eligible)
        ]

    def _listed(self, flag: str) -> list[str]:
        """Return the first settlements that carry a flag, masked unless asked for."""
        ids = self._prepared.settlement_ids.take(pa.array(self.listed_rows(flag))).to_pylist()
        return [self._shown(value) or "" for value in ids]

    def listed_rows(self, flag: str) -> Fen:
        """Return the first settled rows that carry a flag, as many as the summary names."""
        carries = (self._settled.flags >> FLAGS.index(flag) & 1 == 1) & (self._settled.status == 0)
        return np.flatnonzero(carries)[:LISTED]

    def _shown(self, value: Any) -> str | None:
        if value is None:
            return None
        return str(value) if self._show_ids else mask_id(value)

    def _offending(
        self,
        code: RowStatus,
        rows: NDArray[np.int64],
        chosen: NDArray[np.bool_],
        columns: NDArray[Any],
        values: NDArray[Any],
    ) -> None:
        """Fill in which column and value led to a code, for the rejected rows that carry it."""
        at = np.flatnonzero(chosen)
        for candidate in self._candidates(code):
            name = "eligible_fee" if candidate == YEARLY else candidate
            if not self._ledger.has(name):
                continue
            open_at = at[columns[at] == ""]
            bad = open_at[self._is_bad(code, candidate, rows[open_at])]
            columns[bad] = name
            cells = self._ledger.column(name).take(pa.array(rows[bad])).to_pylist()
            values[bad] = [
                None if cell is None else mask_id(cell) if name in IDS and not self._show_ids else str(cell)
                for cell in cells
            ]

    def _candidates(self, code: RowStatus) -> Sequence[str]:
        if code == RowStatus.MISSING_VALUE:
            return (*REQUIRED, "catastrophic_paid", *PLACED_BY)
        if code == RowStatus.AMOUNT_OUT_OF_RANGE:
            return (*UNITED, YEARLY)
        if code == RowStatus.AMOUNT_NOT_FEN:
            return UNITED
        if code == RowStatus.WRONG_SIGN:
            return MONEY
        if code == RowStatus.NO_POLICY:
            return ("reverses", _CODE_COLUMN[code])
        return (_CODE_COLUMN[code],)

    def _is_bad(self, code: RowStatus, name: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return in which rows a column is what led to the code."""
        if code == RowStatus.NO_POLICY and name == "reverses":
            return self._is_reversal(rows)
        by_amount = (RowStatus.AMOUNT_NOT_FEN, RowStatus.AMOUNT_OUT_OF_RANGE, RowStatus.WRONG_SIGN)
        if code not in (*by_amount, RowStatus.MISSING_VALUE) or name == YEARLY:
            return np.ones(len(rows), dtype=bool)
        if name in PLACED_BY:
            return self._is_unplaced(name, rows)
        if name == "deductible_borne":
            cells = pa.chunked_array([taken(self._ledger.column(name), rows)])
            faults = deductible_faults(to_fen(cells, self._ledger.name(name) or name))
            return faults > 0 if self._book.counts_stays else np.zeros(len(rows), dtype=bool)
        if name not in MONEY:
            return self._is_missing(name, rows)
        amounts = self._prepared.columns.amounts(name)[self._prepared.history_rows + rows]
        null: NDArray[np.bool_] = amounts == NULL_FEN
        broken: NDArray[np.bool_] = amounts == NOT_FEN
        if code == RowStatus.MISSING_VALUE:
            return null
        if code == RowStatus.AMOUNT_NOT_FEN:
            return broken
        readable: NDArray[np.bool_] = ~(null | broken)
        if code == RowStatus.WRONG_SIGN:
            sign = np.where(self._is_reversal(rows), -1, 1)
            return readable & (np.sign(amounts) * sign < 0) & (name != "personal_paid")
        return readable & ((amounts > ROW_MAX_FEN) | (amounts < -ROW_MAX_FEN))

    def _is_reversal(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows name an original."""
        reverses = self._prepared.columns.reverses
        if not len(reverses):
            return np.zeros(len(rows), dtype=bool)
        found: NDArray[np.bool_] = reverses[self._prepared.history_rows + rows] != NO_ORIGINAL
        return found

    def _is_missing(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which cells of a required column are null, or cannot be read as what they should be."""
        cells = pa.chunked_array([taken(self._ledger.column(name), rows)])
        if name == "settled_at":
            return to_moments(cells, name)[1]
        if name == "service_date":
            return to_days(cells, name, 0)[1]
        if name in IDS:
            cells = read_ids(cells, name)[0]
        missing: NDArray[np.bool_] = pc.is_null(cells).to_numpy()
        return missing

    def _is_unplaced(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which cells of a column that some rules go by cannot be read, in rows that such a rule asked."""
        cells = pa.chunked_array([taken(self._ledger.column(name), rows)])
        unread = level_codes(cells, name) < 0 if name == "hospital_level" else region_codes(cells, name) == 0
        asked: NDArray[np.bool_] = self._settled.flags[rows] >> UNPLACED_SHIFT & PLACED_BY[name] != 0
        return unread & asked


def _flag_counts(flags: NDArray[np.int16], status: NDArray[np.int8]) -> dict[str, int]:
    """Return how many settled rows carry each flag."""
    sets = flag_sets(flags, status != 0)
    carried = np.arange(len(sets))
    return {name: int(sets[carried >> bit & 1 == 1].sum()) for bit, name in enumerate(FLAGS)}
