"""A competitor in a process of its own, for threads that a process can only choose once: those of Polars."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pyarrow as pa

import baselines
from baselines import Competitor


class _Process:
    """A child that has loaded the ledger and pays it in the ways that it is told."""

    def __init__(self, workload: str, table: pa.Table, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name)
        with pa.OSFile(str(self._path / "ledger"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self._child = subprocess.Popen(
            [sys.executable, __file__, str(self._path), workload, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "POLARS_MAX_THREADS": str(threads)},
        )
        weakref.finalize(self, _end, self._child, self._folder)

    def tell(self, order: str) -> None:
        """Give an order and wait until it is carried out."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{order}\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if answer != "done\n":
            raise RuntimeError(f"the competitors' process: expected 'done' after '{order}', got {answer!r}")

    def pay(self, index: int) -> _Process:
        """Pay in the way of the workload's competitor `index`; the payments stay in the child until asked for."""
        self.tell(f"pay {index}")
        return self

    def __getitem__(self, column: str) -> Any:
        self.tell("show 0")
        with pa.OSFile(str(self._path / "paid")) as source:
            return pa.ipc.open_file(source).read_all()[column]


def _end(child: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    child.communicate("")
    folder.cleanup()


def elsewhere(workload: str, system: str) -> list[Competitor]:
    """Return the competitors of a workload of `baselines`, those of one system moved to a process of their own."""
    started: weakref.WeakValueDictionary[tuple[int, int], _Process] = weakref.WeakValueDictionary()

    def moved(index: int, competitor: Competitor) -> Competitor:
        def load(table: pa.Table, threads: int) -> _Process:
            process = started.get((threads, len(table))) or _Process(workload, table, threads)
            started[threads, len(table)] = process
            process.tell(f"load {index}")
            return process

        return Competitor(competitor.system, competitor.way, load, lambda process: process.pay(index))

    competitors: list[Competitor] = getattr(baselines, workload)
    return [moved(index, each) if each.system == system else each for index, each in enumerate(competitors)]


def serve(folder: Path, workload: str, threads: int) -> None:
    """Carry out orders from standard input until it ends."""
    competitors: list[Competitor] = getattr(baselines, workload)
    with pa.OSFile(str(folder / "ledger")) as source:
        table = pa.ipc.open_file(source).read_all()
    loaded, result = None, None
    for line in sys.stdin:
        order, index = line.split()
        if order == "load" and loaded is None:
            loaded = competitors[int(index)].load(table, threads)
        elif order == "pay":
            result = competitors[int(index)].pay(loaded)
        elif order == "show" and result is not None:
            paid = result.to_arrow()
            with pa.OSFile(str(folder / "paid"), "wb") as sink, pa.ipc.new_file(sink, paid.schema) as writer:
                writer.write_table(paid)
        print("done", flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
