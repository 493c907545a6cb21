"""One claim: a mapping in, a Settlement out. The same kernel as for ledgers, with its trace."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa

from yibao.balances import Balances
from yibao.book import as_book
from yibao.columns import prepare
from yibao.explanation import LayerTrace, explain_trace, read_trace
from yibao.ledger import KNOWN, PAID, UNITED, Ledger
from yibao.money import yuan
from yibao.result import LedgerResult
from yibao.run import run
from yibao.settlement import settled_history
from yibao_core.errors import ClaimError
from yibao_core.money import NULL_FEN
from yibao_core.policy import LAYERS, Policy
from yibao_core.records import FLAGS

Account = tuple[int, int, str] | tuple[int, int, str, str | int]
Accounts = Mapping[Account, tuple[Decimal, Decimal | int]]
"""(benefit year, insured city, account) → (cumulative base, paid), yuan. Of the account that counts stays: (deductible
borne, number of stays), with one more entry (year, city, account, episode id) for each episode."""


class Settlement:
    """What one claim is paid, layer by layer, in Decimal yuan; what a counted stay bore of its deductible, and its number."""

    def __init__(self, claim: Mapping[str, Any], result: LedgerResult, opening: Accounts) -> None:
        self._result = result
        self.claim = dict(claim)
        self.opening: Accounts = opening
        settled = result._settled
        self.paid = {
            layer: yuan(settled.paid_fen[layer][0]) if layer in settled.paid_fen else yuan(0) for layer in LAYERS
        }
        self.personal_paid = yuan(settled.personal_fen[0])
        self.flags = tuple(name for bit, name in enumerate(FLAGS) if int(settled.flags[0]) >> bit & 1)
        counted = len(settled.stay_number) > 0 and settled.deductible_fen[0] != NULL_FEN
        self.deductible_borne = yuan(settled.deductible_fen[0]) if counted else None
        self.stay_number = int(settled.stay_number[0]) if counted and settled.stay_number[0] >= 0 else None
        index = int(settled.policy[0])
        self.policy = result._book.policies[index] if index < len(result._book.policies) else None

    @cached_property
    def closing(self) -> Accounts:
        """The balances after the claim, to be passed as `opening` of the person's next one."""
        balances: dict[Account, tuple[Decimal, Decimal | int]] = {}
        for row in self._result.closing.to_pylist():
            key = (row["benefit_year"], row["insured_city"], row["account"])
            stays = row.get("stays")
            second = row["paid"] if stays is None else stays
            episode = row.get("episode_id")
            balances[key if episode is None else (*key, episode)] = (row["base"], second)
        return balances

    @cached_property
    def trace(self) -> tuple[LayerTrace, ...]:
        """What the kernel did, layer by layer in its order; empty for a reversal, which mirrors its original."""
        return read_trace(self._result._settled.trace, self._result._book)

    def explain(self) -> str:
        """Return the trace in words, with the articles."""
        return explain_trace(self.trace, self.policy, self.paid, self.personal_paid, self.flags)

    def __repr__(self) -> str:
        paid = ", ".join(f"{layer} {amount}" for layer, amount in self.paid.items() if amount)
        return f"Settlement({paid or 'nothing paid'}; personal {self.personal_paid})"


def settle(
    claim: Mapping[str, Any],
    policy: Policy | Sequence[Policy],
    *,
    opening: Accounts | None = None,
    original: "Settlement | Mapping[str, Any] | None" = None,
) -> Settlement:
    """Settle one claim: a mapping with the ledger's columns, money as Decimal or text in yuan (integers: `<name>_fen`).

    `opening`: the `closing` of the person's last settlement. `original`: for a reversal, the Settlement (or the row as
    settled) that it cancels. Raises ClaimError with the reject code where a ledger would reject the row.
    """
    book = as_book(policy)
    ledger = Ledger(claim_table(claim))
    history = None
    if original is not None:
        history = settled_history(claim_table(_as_settled(original)), None)
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
    return Settlement(claim, result, dict(opening or {}))


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
            arrays[name] = pa.array([np.int64(_word(value, name))] if type(value) is int else [value])
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


def _as_settled(original: "Settlement | Mapping[str, Any]") -> Mapping[str, Any]:
    if not isinstance(original, Settlement):
        return original
    row = {name: value for name, value in original.claim.items() if name not in PAID and name[:-4] not in PAID}
    stay = {"deductible_borne": original.deductible_borne, "stay_number": original.stay_number}
    return row | {f"{layer}_paid": amount for layer, amount in original.paid.items()} | stay


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
            "episode_id": pa.array(episodes),
        }
    )
