"""Start-up: everything compiled from nothing, and a new process that finds the kernels on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import yibao_core

JOB = """
import datetime, pyarrow as pa, yibao
day = datetime.date(2019, 3, 1)
money = lambda text: pa.array([text])
row = pa.table({"settlement_id": [1], "person_id": [1], "settled_at": [day], "service_date": [day], "category": ["dibao"],
                "care_type": ["inpatient"], "total_fee": money("30000"), "eligible_fee": money("30000"),
                "catastrophic_paid": money("0"), "has_social_card_account": [True]})
policy = yibao.load_policy("weihai-2019")
assert yibao.settle_ledger(row, policy).summary["settled"] == 1
assert yibao.reaccount(row, policy, missing_paid="zero").summary["payments"]["transfers"]["count"] == 1
"""


def start(core: Path) -> None:
    import yibao

    bindings = Path(yibao.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{core}{os.pathsep}{bindings}"}
    subprocess.run([sys.executable, "-c", JOB], env=environment, check=True)


@pytest.fixture
def core(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(yibao_core.__file__).parent, tmp_path / "core" / "yibao_core", ignore=ignored)
    return tmp_path / "core"


@pytest.mark.benchmark(group="start-up")
def test_cold_compile(benchmark: Any, core: Path) -> None:
    def forget() -> None:
        shutil.rmtree(core / "yibao_core" / "__pycache__", ignore_errors=True)

    benchmark.pedantic(start, (core,), setup=forget, rounds=2)


@pytest.mark.benchmark(group="start-up")
def test_from_the_cache(benchmark: Any, core: Path) -> None:
    start(core)
    benchmark.pedantic(start, (core,), rounds=5)
