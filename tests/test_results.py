"""What results hold, and that they let go of it."""

from __future__ import annotations

import gc
import random
import weakref
from typing import Any

import pyarrow as pa
import pytest

import agreement
import ledgers
import yibao
from yibao_core.settled import Settled

TABLES = (
    "settled", "deltas", "transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted", "rejects",
    "roster_changes",
)  # fmt: skip


@pytest.fixture
def policy() -> Any:
    return yibao.load_policy("weihai-2019", parameters=agreement.PARAMETERS["weihai-2019"])


@pytest.fixture
def ledger() -> pa.Table:
    found = ledgers.random_rows(
        random.Random(3), 300, 40, regions=(371002,), years=(2019,), bad=0.02, reversals=0.1, region_of_person=True
    )
    return ledgers.to_arrow(found, list(found[0]))


@pytest.fixture
def alive(ledger: pa.Table, policy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """All settled rows that still lie in memory; the garbage collector, which comes late, does not help."""
    found: weakref.WeakSet[Settled] = weakref.WeakSet()
    made = Settled.__init__

    def noted(self: Settled, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        found.add(self)

    yibao.settle_ledger(ledger, policy)  # compiling leaves frames behind, and what they hold
    yibao.reaccount(ledger, policy, recorded_after_change="keep")
    gc.collect()
    monkeypatch.setattr(Settled, "__init__", noted)
    gc.disable()
    yield found
    gc.enable()


@pytest.mark.parametrize("name", ["table", "rejects", "closing", "summary"])
def test_a_settlement_that_nobody_holds_any_more_gives_its_memory_back(
    name: str, alive: Any, ledger: pa.Table, policy: Any
) -> None:
    result = yibao.settle_ledger(ledger, policy)
    getattr(result, name)
    assert len(alive) == 1
    del result
    assert len(alive) == 0


@pytest.mark.parametrize("name", [*TABLES, "summary"])
def test_a_reaccounting_that_nobody_holds_any_more_gives_its_memory_back(
    name: str, alive: Any, ledger: pa.Table, policy: Any
) -> None:
    roster = pa.table(
        {
            "person_id": ledger["person_id"].slice(0, 1),
            "category": ["dibao"],
            "from": ["2019-01-01"],
            "to": ["2019-12-31"],
        }
    )
    result = yibao.reaccount(ledger, policy, roster=roster, recorded_after_change="keep")
    getattr(result, name)
    assert len(alive) > 0
    del result
    assert len(alive) == 0
