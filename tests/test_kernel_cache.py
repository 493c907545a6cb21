"""The compiled kernels on disk belong to the sources they were made from, and no file can stop a run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import pytest
from numba.core import config

import yibao
import yibao_core
from yibao_core import _cache

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="without compiler there is no cache")
CLAIM = """
import datetime, yibao
day = datetime.date(2019, 3, 1)
claim = dict(settlement_id=1, person_id=1, settled_at=day, service_date=day, category="ordinary",
             care_type="inpatient", total_fee="18000.01", eligible_fee="18000.01")
print(yibao.settle(claim, yibao.load_policy("weihai-2019")).paid["catastrophic"])
"""
# One small kernel: people 1 and 2 are two rows of the one shard there is.
SMALL = """
import numpy as np
from yibao_core.plain import mix_people, mix_person
person = np.array([1, 2]); person.flags.writeable = False
mixed, counts = np.zeros(2, dtype=np.int32), np.zeros(1, dtype=np.int64)
mix_people(person, 0, 2, 0, mixed, counts)
assert mixed.tolist() == [mix_person.py_func(1), mix_person.py_func(2)], mixed
print(int(counts[0]), sum(mix_people.stats.cache_hits.values()), sum(mix_people.stats.cache_misses.values()))
"""
# A text said to end 3 bytes behind its buffer: the helper that `has_oddities` calls reads there.
TOO_FAR = """
import numpy as np
from yibao_core.texts import has_oddities
try:
    has_oddities(np.full(4, ord("0"), dtype=np.uint8), np.array([0, 7]))
except IndexError:
    print("IndexError")
"""
COMPILED, FROM_DISK = "2 0 1", "2 1 0"
COMMAND = "import sys; sys.argv[0] = 'yibao'; from yibao.cli import main; main()"
# Ledgers unlike those of the warm-up: a book, a roster, birth dates, fen, several threads' worth of rows, CSV-like text.
OTHERS = """
import datetime, pyarrow as pa, numba.core.event, yibao
from yibao_core import _jit
made = []
class Listener(numba.core.event.Listener):
    def on_start(self, event): made.append(event.data["dispatcher"].py_func.__name__)
    def on_end(self, event): pass
numba.core.event.register("numba:compile", Listener())
day, rows = datetime.date(2019, 3, 1), 50_000
def ledger(rows, **more):
    columns = dict(settlement_id=list(range(rows)), person_id=[row // 5 for row in range(rows)], settled_at=[day] * rows,
                   service_date=[day] * rows, insured_region=[371002] * rows, category=["dibao"] * rows,
                   care_type=["inpatient"] * rows, total_fee=["30000"] * rows, eligible_fee=["20000"] * rows,
                   basic_paid=["8000"] * rows, catastrophic_paid=["0"] * rows, personal_paid=["12000"] * rows,
                   has_social_card_account=[True] * rows)
    return pa.table(columns | more)
book = [yibao.load_policy(name) for name in ("shandong-2017", "weihai-2019")]
roster = pa.table(dict(person_id=[1], category=["destitute"], **{"from": [day], "to": [day]}))
assert yibao.settle_ledger(ledger(rows), book, threads=2, as_known="settled_at").summary["settled"] == rows
many = ledger(200, settlement_id=["S%d" % (row // 2) for row in range(200)], birth_date=[day] * 200)
for paid in (many, ledger(7), ledger(1, total_fee=[None])):
    result = yibao.reaccount(paid, book[1], missing_paid="zero", roster=roster if paid is not many else None)
    assert result.summary["rows"] == len(paid)
    [getattr(result, name) for name in ("transfers", "held", "decreases", "payment_orders")]
history = yibao.settle_ledger(ledger(3), book[1]).table
assert yibao.settle_ledger(
    ledger(1, settlement_id=[9], reverses=[0], total_fee=["-30000"], eligible_fee=["-20000"], basic_paid=["-8000"],
           personal_paid=["-12000"]), book[1], history=history).summary["settled"] == 1
print(made)
"""


def python(core: Path, code: str, *arguments: str, **variables: str) -> str:
    """Run code in a new process with this core and answer what it printed; `variables` replace those of the environment."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    }
    environment |= {"PYTHONPATH": f"{core}{os.pathsep}{Path(yibao.__file__).parents[1]}", "HOME": str(core)} | variables
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def kernels(folder: Path, kernel: str = "") -> list[Path]:
    return sorted(folder.rglob(f"{kernel}*.nbc"))


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """A copy of the core without anything compiled."""
    shutil.copytree(
        Path(yibao_core.__file__).parent, tmp_path / "core" / "yibao_core", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "core"


@pytest.fixture
def blocked(core: Path) -> Path:
    """A copy whose kernels cannot be written, whoever runs: a file stands where the folder would be made."""
    (core / "yibao_core" / "__pycache__").mkdir()
    (core / "yibao_core" / "__pycache__" / "kernels").write_text("")
    return core


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that `yibao warmup` has been through."""
    core = tmp_path_factory.mktemp("warm") / "core"
    shutil.copytree(Path(yibao_core.__file__).parent, core / "yibao_core", ignore=shutil.ignore_patterns("__pycache__"))
    said = python(core, COMMAND, "warmup")
    number = len(kernels(core))
    assert number >= 20
    assert f"{number} kernels ready, {number} of them compiled now" in said
    assert str(core / "yibao_core" / "__pycache__" / "kernels") in said
    return core


@pytest.fixture
def fresh_names() -> Iterator[None]:
    yield
    _cache.folders.cache_clear()
    _cache.sources_digest.cache_clear()


@pytest.mark.big
def test_after_a_warm_up_nothing_is_compiled(warm: Path) -> None:
    before = kernels(warm)
    assert python(warm, OTHERS) == "[]"
    assert kernels(warm) == before
    assert f"{len(before)} kernels ready, 0 of them compiled now" in python(warm, COMMAND, "warmup")


@pytest.mark.big
def test_a_change_in_a_helper_reaches_kernels_in_other_files(warm: Path, tmp_path: Path) -> None:
    """60 % of 0.01 is 0.006: 0.01 by half up. With another rounding in `money.py` the warm process must see it.

    Kernels made from the sources as they were before go.
    """
    core = tmp_path / "moved"
    shutil.copytree(warm, core)
    made = {path.name: path.stat().st_mtime_ns for path in kernels(core)}
    assert python(core, CLAIM) == "0.01"
    again = {path.name: path.stat().st_mtime_ns for path in kernels(core)}
    assert again == made, "a warm process starts from the cache, wherever the files have been copied"
    money = core / "yibao_core" / "money.py"
    money.write_text(money.read_text().replace("(amount_fen_bp + half_fen_bp) // BP", "(amount_fen_bp) // BP"))
    assert python(core, CLAIM) == "0.00"
    old = {path.name.partition("-")[0] for path in kernels(core) if path.name in made}
    new = {path.name.partition("-")[0] for path in kernels(core) if path.name not in made}
    assert new
    assert not old & new


def test_clearing_removes_our_files_only(warm: Path, tmp_path: Path) -> None:
    core = tmp_path / "cleared"
    shutil.copytree(warm, core)
    folder = core / "yibao_core" / "__pycache__" / "kernels"
    (folder / "units.settle_units-0-1-2.nbc-part").write_bytes(b"a killed process")
    (folder / "notes.txt").write_text("not ours")
    files = [file for file in folder.iterdir() if file.suffix != ".txt"]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    said = python(core, COMMAND, "clear-cache")
    assert said == f"{len(files)} files removed from {folder}: {megabytes:.1f} MB"
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    assert python(core, COMMAND, "clear-cache") == "0 files removed: 0.0 MB"


def test_a_second_process_starts_from_the_cache(core: Path) -> None:
    assert [python(core, SMALL) for _ in range(2)] == [COMPILED, FROM_DISK]
    assert len(kernels(core)) == 1


def test_bounds_are_checked_within_linked_functions_compiled_or_from_disk(core: Path) -> None:
    assert [python(core, TOO_FAR, NUMBA_BOUNDSCHECK="1") for _ in range(2)] == ["IndexError"] * 2
    assert len(kernels(core)) == 1


def test_a_read_only_installation_keeps_kernels_in_the_users_cache(blocked: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert [python(blocked, SMALL, HOME=str(home)) for _ in range(2)] == [COMPILED, FROM_DISK]
    assert len(kernels(home / ".cache" / "yibao")) == 1
    assert [python(blocked, SMALL, XDG_CACHE_HOME=str(tmp_path / "xdg")) for _ in range(2)] == [COMPILED, FROM_DISK]


def test_a_warmed_up_installation_is_read_where_it_cannot_be_written(core: Path) -> None:
    assert python(core, SMALL) == COMPILED
    assert python(core, SMALL, NUMBA_CACHE_DIR="/dev/null/nowhere", HOME="/dev/null") == FROM_DISK


def test_a_folder_of_ones_own_comes_first(core: Path, tmp_path: Path) -> None:
    own = str(tmp_path / "own")
    assert [python(core, SMALL, NUMBA_CACHE_DIR=own) for _ in range(2)] == [COMPILED, FROM_DISK]
    assert len(kernels(tmp_path / "own")) == 1
    assert not kernels(core)


def test_nowhere_to_write_is_no_failure(blocked: Path) -> None:
    assert [python(blocked, SMALL, HOME="/dev/null") for _ in range(2)] == [COMPILED, COMPILED]


def test_without_a_home_the_package_remains(monkeypatch: pytest.MonkeyPatch, fresh_names: None) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(Path, "home", homeless)
    _cache.folders.cache_clear()
    assert _cache.folders() == (Path(yibao_core.__file__).resolve().parent / "__pycache__" / "kernels",)


@pytest.mark.parametrize("spoil", ["empty", "cut", "one bit", "not ours", "another kernel's"])
def test_a_spoilt_file_is_compiled_anew(core: Path, spoil: str) -> None:
    assert python(core, SMALL) == COMPILED
    [file] = kernels(core)
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    other = b"\x80\x04N."  # None, as a pickle
    spoilt = {
        "empty": b"",
        "cut": content[: len(content) * 2 // 3],
        "one bit": bytes(flipped),
        "not ours": b"x" * 1000,
        "another kernel's": hashlib.sha256(other).digest() + other,
    }
    file.write_bytes(spoilt[spoil])
    assert [python(core, SMALL) for _ in range(2)] == [COMPILED, FROM_DISK]


def test_two_processes_at_once_leave_one_whole_file(core: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(core)}
    environment.pop("NUMBA_CACHE_DIR", None)
    both = [
        subprocess.Popen([sys.executable, "-c", SMALL], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0].strip() for process in both]
    assert set(said) <= {COMPILED, FROM_DISK}
    assert COMPILED in said
    folder = core / "yibao_core" / "__pycache__" / "kernels"
    assert [file.suffix for file in folder.iterdir()] == [".nbc"]
    assert python(core, SMALL) == FROM_DISK


def test_an_unfinished_file_of_a_killed_process_is_harmless(core: Path) -> None:
    assert python(core, SMALL) == COMPILED
    [file] = kernels(core)
    file.rename(file.with_suffix(".nbc-part"))
    assert [python(core, SMALL) for _ in range(2)] == [COMPILED, FROM_DISK]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        _cache._write(tmp_path / "units.settle_units-0-1.nbc", b"code")
    assert not list(tmp_path.iterdir())


class Codegen:
    def __init__(self, processor: str = "znver3") -> None:
        self._processor = processor

    def magic_tuple(self) -> tuple[str, str, str]:
        return ("x86_64-unknown-linux-gnu", self._processor, "+avx2")


def name(codegen: Codegen | None = None, signature: tuple[str, ...] = ("int64",)) -> str:
    return _cache.KernelCache(name)._name(signature, codegen or Codegen())


def test_the_name_of_a_file_holds_all_that_it_was_made_from(monkeypatch: pytest.MonkeyPatch, fresh_names: None) -> None:
    names = [name(), name(Codegen("icelake-server")), name(signature=("int32",))]
    for where, attribute, value in (
        (numba, "__version__", "0.99"),
        (llvmlite, "__version__", "0.99"),
        (config, "BOUNDSCHECK", "another"),
        (config, "OPT", 1),
        (_cache, "sources_digest", lambda _package: "0" * 64),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, attribute, value)
            names.append(name())
    assert len(set(names)) == len(names)
    assert name() == names[0]


def made(amount: int) -> Any:
    def add(value: int) -> int:
        return value + amount

    return add


def test_kernels_of_one_name_with_other_values_are_other_files(fresh_names: None) -> None:
    names = {_cache.KernelCache(made(amount))._name(("int64",), Codegen()) for amount in (1, 100)}
    assert len(names) == 2


def test_a_package_built_on_the_core_has_its_sources_in_the_name(tmp_path: Path, fresh_names: None) -> None:
    """A kernel of another package is compiled anew when a file beside it changes."""
    source = tmp_path / "rates.py"
    source.write_text("RATE = 6_000\n", encoding="utf-8")
    before = _cache.sources_digest(tmp_path)
    assert before != _cache.sources_digest()
    source.write_text("RATE = 6_500\n", encoding="utf-8")
    _cache.sources_digest.cache_clear()
    assert _cache.sources_digest(tmp_path) != before
