"""One layer of a policy by itself, for analysis: what its tiers give, and what it pays on people's running totals."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao.dates import to_moments
from yibao.ids import Ids, read_ids
from yibao.ids import words as word_array
from yibao.memory import words
from yibao.money import to_fen
from yibao_core.compiler import compile_book
from yibao_core.errors import LedgerError, PolicyError
from yibao_core.money import NOT_FEN, NULL_FEN, ROW_MAX_FEN, YEAR_MAX_FEN
from yibao_core.policy import CARE_TYPES, CATEGORIES, LAYERS, Policy
from yibao_core.running import Rows
from yibao_core.running_rows import out_of_range, pay_rows
from yibao_core.schedule import BLOCK_ROWS, cap_of, entitle, find_schedule, tiers_of
from yibao_core.threads import threads_to_use


class Schedule:
    """The yearly schedule of one layer for one category: tiers, cap and rounding of a loaded policy.

    `tiers`: (from, rate) of each, in fen of cumulative base and basis points; `cap_fen`: of a year, None where there is
    none; `rule`: the rule's id in the policy.
    """

    def __init__(self, policy: Policy, layer: str, category: str = "ordinary", *, care_type: str = "inpatient") -> None:
        """Find the schedule. PolicyError where there is none, or where more than the cumulative base decides what is paid
        (age, place of treatment, rules per stay, ceilings, shared limits); ParameterError where a parameter has no value.
        """
        if not isinstance(policy, Policy):
            raise PolicyError(f"policy: expected what load_policy returns, got {policy!r}")
        for name, value, known in (
            ("layer", layer, LAYERS), ("category", category, CATEGORIES), ("care_type", care_type, CARE_TYPES),
        ):  # fmt: skip
            if value not in known:
                raise PolicyError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.policy, self.layer, self.category, self.care_type = policy, layer, category, care_type
        self._book = compile_book([policy], frozenset())
        self._found = find_schedule(self._book, layer, category, care_type)
        rule = self._book.rules[self._found.ordinal].rule
        self.rule = rule.id if rule is not None else ""
        self.tiers = tuple((lower, rate_bp) for lower, _, rate_bp in tiers_of(self._book, self._found.rule))
        cap_fen = cap_of(self._book, self._found.rule)
        self.cap_fen = None if cap_fen == YEAR_MAX_FEN else cap_fen

    def __repr__(self) -> str:
        return f"<Schedule {self.policy.id}, {self.layer}, {self.category}, {self.care_type}: {self.rule}>"

    def entitled(self, cumulative_fen: Any) -> NDArray[np.int64]:
        """Return what the tiers give in all on each cumulative base, in whole fen, in the shape that came.

        `cumulative_fen`: integers of fen (NumPy), or an Arrow column of money: integers are fen, decimals and text yuan.
        LedgerError for what is no whole fen, for null, and beyond 9,000,000,000 yuan; on amounts below zero nothing is given.
        """
        amounts, shape = _fen(cumulative_fen, "cumulative_fen", YEAR_MAX_FEN)
        entitled = _room(len(amounts))
        room = np.zeros(BLOCK_ROWS, dtype=np.int64)
        if not entitle(self._book.words, self._found.rule, self._found.half_fen_bp, amounts, entitled, room):
            beyond = np.flatnonzero((amounts > YEAR_MAX_FEN) | (amounts < -YEAR_MAX_FEN))
            raise LedgerError(out_of_range("cumulative_fen", amounts, beyond, YEAR_MAX_FEN))
        return entitled.reshape(shape)

    def paid(self, base_fen: Any, person: Any, time: Any = None, *, threads: int | None = None) -> NDArray[np.int64]:
        """Return what the layer pays on each row, in whole fen: what it entitles its person to, less what the rows before did.

        `base_fen` as in `entitled`, one for each row; negative ones take back. `person`: integers, or text (Arrow, or a list).
        A person's rows count in the order of `time` (integers, NumPy or Arrow times), those of one time, or without
        `time`, in the order in which they come. Rows that are sorted by person and time are found to be so and paid fastest. All
        rows of a person are one year's: for several years give each person-year an id of its own.

        LedgerError: nulls, columns of different lengths, a base beyond 100,000,000 yuan, a running total beyond
        9,000,000,000 yuan.
        """
        amounts, _ = _fen(base_fen, "base_fen", ROW_MAX_FEN)
        rows = Rows(_people(person), _times(time), amounts)
        for name, column in (("person", rows.person), ("time", rows.time)):
            if len(column) != len(amounts) and not (name == "time" and time is None):
                raise LedgerError(f"{name}: expected {len(amounts)} rows as in base_fen, got {len(column)}")
        return pay_rows(self._book, self._found, rows, threads_to_use(threads), _room)


def _room(count: int) -> NDArray[np.int64]:
    return words(count) if count else np.empty(0, dtype=np.int64)


def _frozen(array: NDArray[Any]) -> NDArray[np.int64]:
    """Return contiguous read-only int64: kernels are compiled for that alone."""
    frozen: NDArray[np.int64] = np.ascontiguousarray(array, dtype=np.int64).reshape(-1).view()
    frozen.flags.writeable = False
    return frozen


def _column(values: Any, name: str) -> pa.ChunkedArray:
    """Return Arrow values, or a list, as a column. LedgerError for what Arrow cannot take."""
    if isinstance(values, pa.ChunkedArray):
        return values
    try:
        return pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise LedgerError(f"{name}: expected a NumPy array or an Arrow column: {error}") from None


def _integers(values: Any, name: str) -> NDArray[np.int64] | None:
    """Return NumPy integers, None for anything else."""
    if not isinstance(values, np.ndarray | np.integer | int) or isinstance(values, bool):
        return None
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iu":
            return None
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise OverflowError
        return array.astype(np.int64, copy=False)
    except OverflowError:
        raise LedgerError(f"{name}: expected integers below 2**63, got larger ones") from None


def _fen(values: Any, name: str, limit_fen: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Return money as contiguous read-only fen, and the shape that it came in."""
    array = _integers(values, name)
    if array is not None:
        return _frozen(array), array.shape
    column = _column(values, name)
    in_fen = pa.types.is_integer(column.type) or pa.types.is_null(column.type)
    amounts = to_fen(column, name if in_fen else name.removesuffix("_fen"), limit_fen)
    odd = np.flatnonzero((amounts == NULL_FEN) | (amounts == NOT_FEN))
    if len(odd):
        what = "no amount" if amounts[odd[0]] == NULL_FEN else "no whole fen"
        raise LedgerError(f"{name}: row {odd[0]} of {len(amounts)}: expected an amount of whole fen, got {what}")
    return _frozen(amounts), (len(amounts),)


def _people(person: Any) -> NDArray[np.int64]:
    """Return a word for each row's person."""
    array = _integers(person, "person")
    if array is not None:
        return _frozen(array)
    column, _ = read_ids(_column(person, "person"), "person")
    if column.null_count:
        raise LedgerError(f"person: expected an id in every row, got {column.null_count} rows without one")
    return _frozen(Ids([column]).words())


def _times(time: Any) -> NDArray[np.int64]:
    """Return a word for each row's time, in the order of time; no cell for no times."""
    if time is None:
        return _frozen(np.empty(0, dtype=np.int64))
    array = _integers(time, "time")
    if array is not None:
        return _frozen(array)
    if isinstance(time, np.ndarray) and time.dtype.kind == "M":
        moments, missing = time.astype(time.dtype.newbyteorder("=")).view(np.int64), np.isnat(time)
    else:
        column = _column(time, "time")
        kind = pa.int64() if not pa.types.is_date32(column.type) else pa.int32()
        if (pa.types.is_integer(column.type) or pa.types.is_temporal(column.type)) and not column.null_count:
            return _frozen(word_array(column.cast(kind)))  # in its own unit, to the nanosecond
        moments, missing = to_moments(column, "time")
    if missing.any():
        raise LedgerError(f"time: row {np.flatnonzero(missing)[0]} of {len(moments)}: expected a time, got none")
    return _frozen(moments)
