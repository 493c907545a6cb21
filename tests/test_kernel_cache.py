"""The compiled kernels on disk belong to the sources they were made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import yibao_core

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
CLAIM = """
import datetime, yibao
day = datetime.date(2019, 3, 1)
claim = dict(settlement_id=1, person_id=1, settled_at=day, service_date=day, category="ordinary",
             care_type="inpatient", total_fee="18000.01", eligible_fee="18000.01")
print(yibao.settle(claim, yibao.load_policy("weihai-2019")).paid["catastrophic"])
"""


def paid_in_a_new_process(core: Path, home: Path) -> str:
    bindings = Path(sys.modules["yibao"].__file__ or "").parents[1] if "yibao" in sys.modules else _bindings()
    environment = {**os.environ, "PYTHONPATH": f"{core}{os.pathsep}{bindings}", "HOME": str(home)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", CLAIM], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _bindings() -> Path:
    import yibao

    return Path(yibao.__file__).parents[1]


@pytest.mark.skipif(not COMPILED, reason="without compiler there is no cache")
def test_a_change_in_a_helper_reaches_kernels_in_other_files(tmp_path: Path) -> None:
    """60 % of 0.01 is 0.006: 0.01 by half up. With another rounding in `money.py` the warm process must see it."""
    core = tmp_path / "core"
    shutil.copytree(Path(yibao_core.__file__).parent, core / "yibao_core", ignore=shutil.ignore_patterns("__pycache__"))
    assert paid_in_a_new_process(core, tmp_path) == "0.01"
    made = {path.name: path.stat().st_mtime_ns for path in core.rglob("*.nbc")}
    assert made, "kernels are kept on disk"
    assert paid_in_a_new_process(core, tmp_path) == "0.01"
    again = {path.name: path.stat().st_mtime_ns for path in core.rglob("*.nbc")}
    assert again == made, "a second process starts from the cache"
    money = core / "yibao_core" / "money.py"
    money.write_text(money.read_text().replace("(amount_fen_bp + half_fen_bp) // BP", "(amount_fen_bp) // BP"))
    assert paid_in_a_new_process(core, tmp_path) == "0.00"
