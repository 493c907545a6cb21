"""Room for large arrays and for blocks to work in, from a line of the cache on."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from yibao_core.instructions import LINE_WORDS

Memory = Callable[[int], NDArray[np.int64]]
"""Gives so many words that nothing else uses, the first of them at the begin of a line of the cache; of any content."""


def line_aligned(words: int) -> NDArray[np.int64]:
    """Return that many words from a line of the cache on: no record of four words, and no vector, lies across two lines."""
    room = np.empty(words + LINE_WORDS, dtype=np.int64)
    first = -room.ctypes.data // 8 % LINE_WORDS
    return room[first : first + words]


def block(lines: int, rows: int) -> NDArray[np.int64]:
    """Return a block of zeros to work in, its lines on lines of the cache."""
    room = line_aligned(lines * rows).reshape(lines, rows)
    room[:] = 0
    return room
