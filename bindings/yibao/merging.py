"""Tables of several parts, each in its order, written as one in that order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from yibao.outputs import PART_ROWS

Keys = NDArray[np.int64]


class Merging:
    """Tables by name, kept on disk; their keys in memory: 8 bytes a row."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: dict[str, dict[int, tuple[Path, Keys]]] = {}

    def add(self, name: str, part: int, table: pa.Table, keys: Keys) -> None:
        """Keep a part of a table whose rows stand in the order of their keys; equal keys never come from two parts.
        Several threads may add parts at once."""
        path = self._directory / f"{name}-{part:04}.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        self._kept.setdefault(name, {})[part] = (path, keys)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._kept)

    def merged(self, name: str) -> Iterator[pa.Table]:
        """Yield the rows of all parts in the order of their keys, piece by piece; their files go away."""
        kept = [own for _, own in sorted(self._kept.pop(name).items())]
        tables = [_mapped(path) for path, _ in kept]
        part = np.repeat(np.arange(len(kept), dtype=np.uint16), [len(keys) for _, keys in kept])
        part = part[np.argsort(np.concatenate([keys for _, keys in kept]), kind="stable")]
        at = np.zeros(len(kept), dtype=np.int64)
        for begin in range(0, max(1, len(part)), PART_ROWS):
            own = part[begin : begin + PART_ROWS]
            counts = np.bincount(own, minlength=len(kept))
            slices = [
                table.slice(int(first), int(count)) for table, first, count in zip(tables, at, counts, strict=True)
            ]
            at += counts
            place = np.empty(len(own), dtype=np.int64)
            place[np.argsort(own, kind="stable")] = np.arange(len(own))
            yield pa.concat_tables(slices, promote_options="permissive").take(pa.array(place))
        for path, _ in kept:
            path.unlink()


def _mapped(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
