"""What rules per stay read of a ledger: hospital levels, where the treatment was, episodes, what stays bore before."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.ids import one_chunk, same_kind, words
from yibao.words import level_index, look_up
from yibao_core.intake import BROKEN_STAY, HUGE_STAY, LEVEL_UNKNOWN, TREATED_UNKNOWN
from yibao_core.money import NOT_FEN, NULL_FEN, ROW_MAX_FEN
from yibao_core.plan import NEEDS_LEVEL, NEEDS_TREATED, OUTSIDE, UNGRADED
from yibao_core.policy import LEVELS
from yibao_core.records import NO_EPISODE, NO_STAY, NUMBER_NONE, SHIFT_BORNE

PLACED_BY = {"hospital_level": NEEDS_LEVEL, "treated_region": NEEDS_TREATED, "insured_region": NEEDS_TREATED}
"""Columns that rules go by, and the bit that the kernels note of a row that shows none."""


class Episodes(NamedTuple):
    """Episode ids of history, ledger and opening balances, end to end, and a number for each (NO_EPISODE: none)."""

    ids: pa.ChunkedArray
    words: NDArray[np.int64]


def no_episodes() -> Episodes:
    """Return what stands for the episodes of a run that counts no stays."""
    return Episodes(pa.chunked_array([], pa.int64()), np.empty(0, dtype=np.int64))


def number_episodes(columns: list[pa.ChunkedArray]) -> Episodes:
    """Return the episodes of id columns: equal ids get equal numbers."""
    columns = same_kind(columns)
    ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
    indices = pc.dictionary_encode(one_chunk(ids)).indices
    return Episodes(ids, words(pc.fill_null(indices.cast(pa.int64()), NO_EPISODE)))


def level_codes(column: pa.ChunkedArray, name: str) -> NDArray[np.int8]:
    """Return hospital levels as places among LEVELS, -1 where a cell shows none."""
    if pa.types.is_floating(column.type):  # how pandas writes whole numbers beside nulls
        column = pc.if_else(pc.equal(pc.floor(column), column), column, -1.0).cast(pa.int64(), safe=False)
    if pa.types.is_integer(column.type):
        levels = words(pc.fill_null(column.cast(pa.int64()), -1))
        codes = np.full(len(levels), -1, dtype=np.int8)
        for index, level in enumerate(LEVELS):
            codes[levels == level] = index
        return codes
    return look_up(column, level_index, -1, np.int8, name).astype(np.int8)


def places(levels: NDArray[np.int8], treated: NDArray[np.int32], insured: NDArray[np.int32]) -> NDArray[np.int8]:
    """Return the intake's `place` cells from levels (-1: unreadable) and regions of six digits (0: unreadable)."""
    level = np.where(levels < 0, UNGRADED | LEVEL_UNKNOWN, levels)
    known = (treated > 0) & (insured > 0)
    outside = known & (treated // 100 != insured // 100)
    cells: NDArray[np.int8] = (level | outside * OUTSIDE | ~known * TREATED_UNKNOWN).astype(np.int8)
    return cells


def place_of(level: int, treated: int, insured: int) -> int:
    """Return what `places` returns, for one row."""
    known = treated > 0 and insured > 0
    where = UNGRADED | LEVEL_UNKNOWN if level < 0 else level
    if not known:
        return where | TREATED_UNKNOWN
    return where | OUTSIDE if treated // 100 != insured // 100 else where


def settled_stays(deductible: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stays of settled rows as records keep them, from what they bore (signs apart) and their numbers (-1: none)."""
    unknown = (deductible == NULL_FEN) | (deductible == NOT_FEN)
    borne = np.abs(np.where(unknown, 0, deductible))
    return np.where(unknown, NO_STAY, borne << SHIFT_BORNE | np.where(number < 0, NUMBER_NONE, number))


def deductible_faults(deductible: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the bits of the intake's `missing` for deductibles that are no amounts: no whole fen, or out of range."""
    huge = (deductible != NULL_FEN) & (deductible != NOT_FEN) & (np.abs(np.maximum(deductible, -(2**62))) > ROW_MAX_FEN)
    return (np.where(deductible == NOT_FEN, BROKEN_STAY, 0) | np.where(huge, HUGE_STAY, 0)).astype(np.uint8)


def stay_numbers(column: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Return numbers of stays, signs apart (a slip may be all negative), -1 where a cell is none."""
    if pa.types.is_integer(column.type):
        numbers = np.abs(words(pc.fill_null(column.cast(pa.int64()), NUMBER_NONE)))
        return np.where(numbers < NUMBER_NONE, numbers, -1)
    return look_up(column, _number, -1, np.int64, name).astype(np.int64)


def _number(cell: str) -> int:
    text = cell.strip().removeprefix("-")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else -1
