"""What can go wrong: one root to catch, and the codes that rows carry."""

from enum import IntEnum


class SettlementError(Exception):
    """Root of everything this project raises on purpose."""


class PolicyError(SettlementError):
    """A policy cannot be used; `faults` holds every fault found, one line each."""

    def __init__(self, faults: "list[str] | str") -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class ParameterError(PolicyError):
    """A parameter is missing, unknown, or outside what its document allows."""


class LedgerError(SettlementError):
    """An input cannot be read as a ledger; `faults` holds every fault found."""

    def __init__(self, faults: "list[str] | str") -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class ClaimError(SettlementError):
    """One claim cannot be settled; `code` is its reject code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(f"{code}: {message}")


class RecordedAfterChangeError(SettlementError):
    """A recorded layer stands behind a layer whose payment changes, and nobody said what to do."""


class RowStatus(IntEnum):
    """What became of a row. The order of the reject codes is the order in which they win."""

    SETTLED = 0
    MISSING_VALUE = 1
    DUPLICATE_SETTLEMENT = 2
    AMOUNT_NOT_FEN = 3
    AMOUNT_OUT_OF_RANGE = 4
    WRONG_SIGN = 5
    UNKNOWN_CATEGORY = 6
    UNKNOWN_CARE_TYPE = 7
    NO_POLICY = 8
    ELIGIBLE_EXCEEDS_TOTAL = 9
    BIRTH_DATE_MISSING = 10
    REVERSAL_WITHOUT_ORIGINAL = 11
    REVERSAL_NOT_WHOLE = 12
    PAID_EXCEEDS_TOTAL = 13
