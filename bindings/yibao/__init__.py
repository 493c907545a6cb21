"""yibao (医保): settle, re-account and check residents' medical insurance, exact to the fen.

The whole public surface. Names load on first use, so that policy checks and `--help` need no compiler.
"""

from typing import TYPE_CHECKING, Any

from yibao_core.errors import (
    ClaimError,
    LedgerError,
    ParameterError,
    PolicyError,
    RecordedAfterChangeError,
    SettlementError,
)

if TYPE_CHECKING:
    from yibao.book import load_policy, policies
    from yibao.explanation import explain
    from yibao.outputs import ResultFiles
    from yibao.reaccounting import Reaccount, reaccount
    from yibao.result import LedgerResult
    from yibao.schedule import Schedule
    from yibao.settlement import settle_ledger
    from yibao.settler import Settler
    from yibao.single import Settlement, settle
    from yibao_core.policy import Policy

_HOMES = {
    "policies": "yibao.book",
    "load_policy": "yibao.book",
    "Policy": "yibao_core.policy",
    "settle": "yibao.single",
    "Settlement": "yibao.single",
    "Settler": "yibao.settler",
    "settle_ledger": "yibao.settlement",
    "LedgerResult": "yibao.result",
    "ResultFiles": "yibao.outputs",
    "reaccount": "yibao.reaccounting",
    "Schedule": "yibao.schedule",
    "Reaccount": "yibao.reaccounting",
    "explain": "yibao.explanation",
}

__all__ = [
    "ClaimError",
    "LedgerError",
    "LedgerResult",
    "ParameterError",
    "Policy",
    "PolicyError",
    "Reaccount",
    "RecordedAfterChangeError",
    "ResultFiles",
    "Schedule",
    "Settlement",
    "SettlementError",
    "Settler",
    "explain",
    "load_policy",
    "policies",
    "reaccount",
    "settle",
    "settle_ledger",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'yibao' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
