"""Start-up: everything compiled from nothing, and new processes that find the kernels on disk.

A process says when Numba, yibao, its policy and its first settled claim were there, in seconds from the interpreter's start;
`extra_info` of a case holds the least of each, and the processor time. Arrow looks for pandas when it makes an array of a
Python list: where pandas is installed, the job that does so pays for its import.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import yibao_core

BEGIN = """
import json, os, sys, time
def since_start():
    with open("/proc/self/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
reached = {"interpreter": since_start()}
def reach(point): reached[point] = since_start()
import numpy; reach("numpy")
import numba; reach("numba")
import datetime, yibao
day = datetime.date(2019, 3, 1)
"""
LEDGER = """
import pyarrow as pa
yibao.settle_ledger, yibao.reaccount; reach("yibao")
policy = yibao.load_policy("weihai-2019"); reach("policy")
money = lambda text: pa.array([text])
row = pa.table({"settlement_id": [1], "person_id": [1], "settled_at": [day], "service_date": [day], "category": ["dibao"],
                "care_type": ["inpatient"], "total_fee": money("30000"), "eligible_fee": money("30000"),
                "catastrophic_paid": money("0"), "has_social_card_account": [True]}); reach("table")
assert yibao.settle_ledger(row, policy).summary["settled"] == 1; reach("first claim")
assert yibao.reaccount(row, policy, missing_paid="zero").summary["payments"]["transfers"]["count"] == 1; reach("reaccounted")
"""
CLAIM = """
yibao.settle; reach("yibao")
policy = yibao.load_policy("weihai-2019"); reach("policy")
claim = dict(settlement_id=1, person_id=1, settled_at=day, service_date=day, category="dibao", care_type="inpatient",
             total_fee="30000", eligible_fee="30000")
assert str(yibao.settle(claim, policy).paid["catastrophic"]) == "16250.00"; reach("first claim")
"""
END = """
print(json.dumps(reached | {"pandas": "pandas" in sys.modules}))
"""


def start(core: Path, job: str) -> dict[str, Any]:
    """Run a job in a new process; return when it reached what, and the processor time it took."""
    import yibao

    bindings = Path(yibao.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{core}{os.pathsep}{bindings}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode: 0.1 s
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", BEGIN + job + END]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    reached: dict[str, Any] = json.loads(said)
    return reached | {"process": wall, "processor time": processor}


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the core without kernels; what one case has compiled the next one finds."""
    tmp_path = tmp_path_factory.mktemp("startup")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(yibao_core.__file__).parent, tmp_path / "core" / "yibao_core", ignore=ignored)
    return tmp_path / "core"


def measure(benchmark: Any, core: Path, job: str, rounds: int, setup: Callable[[], None] | None = None) -> None:
    runs: list[dict[str, Any]] = []
    benchmark.pedantic(lambda: runs.append(start(core, job)), setup=setup, rounds=rounds)
    for point in runs[0]:
        benchmark.extra_info[point] = round(min(float(run[point]) for run in runs), 3)


@pytest.mark.benchmark(group="start-up")
def test_cold_compile(benchmark: Any, core: Path) -> None:
    def forget() -> None:
        shutil.rmtree(core / "yibao_core" / "__pycache__", ignore_errors=True)

    measure(benchmark, core, LEDGER, 1, forget)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("job", [LEDGER, CLAIM], ids=["ledger", "claim"])
def test_from_the_cache(benchmark: Any, core: Path, job: str) -> None:
    start(core, job)
    measure(benchmark, core, job, 7)
