"""A competitor in a process of its own, for threads that a process can only choose once: those of Polars."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from baselines import Competitor


class _Process:
    """A child that has loaded the ledger and pays it when told to."""

    def __init__(self, workload: str, index: int, table: pa.Table, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name)
        with pa.OSFile(str(self._path / "ledger"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self._child = subprocess.Popen(
            [sys.executable, __file__, str(self._path), workload, str(index), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "POLARS_MAX_THREADS": str(threads)},
        )
        weakref.finalize(self, _end, self._child, self._folder)
        self._wait()

    def _wait(self) -> None:
        assert self._child.stdout is not None
        answer = self._child.stdout.readline()
        if answer != "done\n":
            raise RuntimeError(f"the competitor's process: expected 'done', got {answer!r}")

    def tell(self, order: str) -> None:
        """Give an order and wait until it is carried out."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{order}\n")
        self._child.stdin.flush()
        self._wait()

    def pay(self) -> _Process:
        """Pay the ledger; the payments stay in the child until somebody asks for a column."""
        self.tell("pay")
        return self

    def __getitem__(self, column: str) -> Any:
        self.tell("show")
        with pa.OSFile(str(self._path / "paid")) as source:
            return pa.ipc.open_file(source).read_all()[column]


def _end(child: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    child.communicate("")
    folder.cleanup()


def elsewhere(workload: str, competitors: list[Competitor], chosen: Callable[[Competitor], bool]) -> list[Competitor]:
    """Return the competitors of a workload of `baselines`, those that are chosen moved to a process of their own."""

    def moved(index: int, competitor: Competitor) -> Competitor:
        def load(table: pa.Table, threads: int) -> _Process:
            return _Process(workload, index, table, threads)

        return Competitor(competitor.system, competitor.way, load, _Process.pay)

    return [moved(index, each) if chosen(each) else each for index, each in enumerate(competitors)]


def serve(folder: Path, workload: str, index: int, threads: int) -> None:
    """Load, then carry out orders from standard input until it ends."""
    import baselines

    competitor: Competitor = getattr(baselines, workload)[index]
    with pa.OSFile(str(folder / "ledger")) as source:
        table = pa.ipc.open_file(source).read_all()
    loaded = competitor.load(table, threads)
    result = None
    print("done", flush=True)
    for order in sys.stdin:
        if order == "pay\n":
            result = competitor.pay(loaded)
        elif result is not None:
            paid = result.to_arrow()
            with pa.OSFile(str(folder / "paid"), "wb") as sink, pa.ipc.new_file(sink, paid.schema) as writer:
                writer.write_table(paid)
        print("done", flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
