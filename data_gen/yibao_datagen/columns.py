"""NumPy arrays to Arrow columns and back, without a Python object a row."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

MONEY = pa.decimal128(18, 2)
LABEL = pa.dictionary(pa.int32(), pa.string())
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def money(fen: Ints) -> Any:
    """Return fen as decimal128(18, 2) yuan: each value is two int64 words, low then sign."""
    words = np.empty((len(fen), 2), dtype=np.int64)
    words[:, 0] = fen
    np.right_shift(words[:, 0], 63, out=words[:, 1])
    return pa.Array.from_buffers(MONEY, len(fen), [None, pa.py_buffer(words)])


def fen_of(column: Any) -> npt.NDArray[np.int64]:
    """Return a decimal128(18, 2) column without nulls as fen."""
    if column.type != MONEY or column.null_count:
        raise TypeError(f"expected decimal128(18, 2) without nulls, got {column.type} with {column.null_count} nulls")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    words = [np.frombuffer(chunk.buffers()[1], dtype=np.int64).reshape(-1, 2) for chunk in chunks if len(chunk)]
    full = [chunk for chunk in chunks if len(chunk)]
    parts = [word[chunk.offset : chunk.offset + len(chunk), 0] for word, chunk in zip(words, full, strict=True)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def labels(codes: Ints, names: tuple[str, ...]) -> Any:
    """Return a dictionary column: `names[code]` for each code."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names, pa.string()))


def digits(numbers: Ints, width: int) -> Bytes:
    """Return the last `width` decimal digits of numbers >= 0 as ASCII, shape (rows, width)."""
    text = np.empty((len(numbers), width), dtype=np.uint8)
    rest = numbers
    for place in range(width - 1, -1, -1):
        rest, text[:, place] = rest // 10, rest % 10 + ord("0")
    return text


def text(letters: Bytes, valid: Bools | None = None) -> Any:
    """Return ASCII of shape (rows, width) as a string column; `valid` says which rows are not null."""
    rows, width = letters.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters))]
    return pa.Array.from_buffers(pa.string(), rows, buffers)
