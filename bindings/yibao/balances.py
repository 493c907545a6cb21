"""Opening and closing balances: tables between runs, kernel entries inside."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yibao.columns import Prepared
from yibao.ids import read_ids, words
from yibao.ledger import as_table
from yibao.money import to_fen
from yibao_core.errors import LedgerError
from yibao_core.money import NOT_FEN, NULL_FEN, YEAR_MAX_FEN
from yibao_core.plan import CompiledBook
from yibao_core.shards import Openings, no_openings

COLUMNS = ("person_id", "benefit_year", "insured_city", "account", "base", "paid")


class Balances:
    """Opening balances as read: one entry for each person, year, city and account."""

    def __init__(self, source: Any) -> None:
        """`source`: a `closing` table. LedgerError where it is none."""
        table = as_table(source, "opening")
        faults = [f"opening: {name}: expected a column, got none" for name in COLUMNS if name not in table.column_names]
        if faults:
            raise LedgerError(faults)
        self.person_ids, _ = read_ids(table["person_id"], "opening: person_id")
        self.key = words(table["benefit_year"].cast(pa.int64())) * 10_000 + words(
            table["insured_city"].cast(pa.int64())
        )
        self.account = pc.fill_null(table["account"].cast(pa.string()), "").to_pylist()
        self.base_fen = self._money(table["base"], "base")
        self.paid_fen = self._money(table["paid"], "paid")
        if self.person_ids.null_count:
            raise LedgerError("opening: person_id: expected no null")

    @staticmethod
    def _money(column: pa.ChunkedArray, name: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.decimal128(20, 2))  # a year's sums lie beyond a row's range
        amounts = to_fen(column, name)
        bad = (amounts == NOT_FEN) | (amounts == NULL_FEN) | (np.abs(np.maximum(amounts, -(2**62))) > YEAR_MAX_FEN)
        if bad.any():
            raise LedgerError(
                f"opening: {name}: expected yuan within a year's range, got {int(bad.sum())} other values"
            )
        return amounts

    def entries(self, prepared: Prepared, plan: CompiledBook) -> Openings:
        """Return the entries for a run; accounts that the plan does not know carry nothing into it.

        LedgerError for an account that no policy of the book has, if there is money on it.
        """
        index = np.array(
            [plan.accounts.index(name) if name in plan.accounts else -1 for name in self.account], dtype=np.int64
        )
        lost = (index < 0) & ((self.base_fen != 0) | (self.paid_fen != 0))
        if lost.any():
            names = sorted({name for name, gone in zip(self.account, lost, strict=True) if gone})
            raise LedgerError(f"opening: account: expected one of {', '.join(plan.accounts)}, got {', '.join(names)}")
        kept = index >= 0
        arrays = [prepared.opening_persons, self.key, index, self.base_fen, self.paid_fen]
        if not kept.any():
            return no_openings()
        frozen = []
        for array in arrays:
            chosen = np.ascontiguousarray(array[kept], dtype=np.int64)
            chosen.flags.writeable = False
            frozen.append(chosen)
        return Openings(*frozen)
