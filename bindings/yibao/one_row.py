"""One claim as a ledger of one row: the way of every claim that is not plain, and the one that words refusals."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa

from yibao.accounts import Accounts
from yibao.balances import Balances
from yibao.columns import prepare
from yibao.ids import episode_array
from yibao.ledger import KNOWN, UNITED, Ledger
from yibao.result import LedgerResult
from yibao.run import run
from yibao.settlement import settled_history
from yibao_core.errors import ClaimError
from yibao_core.policy import Policy


def settle_row(
    claim: Mapping[str, Any],
    book: tuple[Policy, ...],
    opening: Accounts | None,
    original: Mapping[str, Any] | None,
) -> LedgerResult:
    """Return a claim settled as a ledger of one row, with its trace; `original`: the row that a reversal cancels, as settled.

    ClaimError where the row is rejected.
    """
    ledger = Ledger(claim_table(claim))
    history = None
    if original is not None:
        history = settled_history(claim_table(original), None)
    balances = Balances(_opening_table(opening, claim)) if opening else None
    prepared = prepare(
        ledger,
        history,
        balances.person_ids if balances else None,
        opening_episode=balances.counted_episodes if balances else None,
        threads=1,
        book=book,
    )
    plan, settled = run(
        book,
        prepared,
        threads=1,
        trace_row=prepared.history_rows,
        opening=balances,
    )
    result = LedgerResult(ledger, prepared, plan, settled, "decimal128", show_ids=True)
    if settled.status[0]:
        reject = result.rejects.to_pylist()[0]
        raise ClaimError(reject["code"], f"{reject['column']}: got {reject['value']}")
    return result


def claim_table(claim: Mapping[str, Any]) -> pa.Table:
    """Return a mapping as a ledger of one row. ClaimError for money that is a float or an integer without unit."""
    arrays: dict[str, pa.Array] = {}
    for name, value in claim.items():
        if name.endswith("_fen") and name.removesuffix("_fen") in UNITED:
            if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise ClaimError("AMOUNT_NOT_FEN", f"{name}: expected an integer of fen, got {type(value).__name__}")
            arrays[name] = pa.array([None if value is None else _word(int(value), name)], pa.int64())
        elif name in UNITED:
            if value is not None and not isinstance(value, Decimal | str):
                raise ClaimError(
                    "AMOUNT_NOT_FEN",
                    f"{name}: expected Decimal or text in yuan (integers as {name}_fen), got {type(value).__name__}",
                )
            arrays[name] = pa.array([None if value is None else str(value)], pa.string())
        elif isinstance(value, bool | int | str | datetime | date) or value is None:
            try:
                arrays[name] = pa.array([np.int64(_word(value, name))] if type(value) is int else [value])
            except UnicodeEncodeError:
                raise ClaimError("MISSING_VALUE", f"{name}: expected whole characters, got half a one") from None
        elif name in KNOWN:
            raise ClaimError("MISSING_VALUE", f"{name}: expected text, a number or a date, got {type(value).__name__}")
    return pa.table(arrays)


def _word(value: int, name: str) -> int:
    """Return an integer that fits 64 bits; ClaimError for a larger one."""
    if not -(2**63) <= value < 2**63:
        code = "AMOUNT_OUT_OF_RANGE" if name.endswith("_fen") else "MISSING_VALUE"
        raise ClaimError(
            code, f"{name}: expected a number below 2**63, got a larger one: ids of so many digits are text"
        )
    return value


def _opening_table(opening: Accounts, claim: Mapping[str, Any]) -> pa.Table:
    person = claim.get("person_id")
    stays = [second if isinstance(second, int) else None for _, second in opening.values()]
    episodes = [key[3] if len(key) == 4 else None for key in opening]
    return pa.table(
        {
            "person_id": pa.array([person] * len(opening)),
            "benefit_year": pa.array([key[0] for key in opening], pa.int32()),
            "insured_city": pa.array([key[1] for key in opening], pa.int32()),
            "account": pa.array([key[2] for key in opening], pa.string()),
            "base": pa.array([base for base, _ in opening.values()], pa.decimal128(18, 2)),
            "paid": pa.array(
                [Decimal(0) if isinstance(second, int) else second for _, second in opening.values()],
                pa.decimal128(18, 2),
            ),
            "stays": pa.array(stays, pa.int32()),
            "episode_id": episode_array(episodes),
        }
    )
