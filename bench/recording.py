"""What a run leaves behind: one JSON file with the machine, the versions, and each case's figures (`pytest -p recording`).

pytest-benchmark hands over what it would write; the hook replaces it by what `report` reads.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

PACKAGES = ("yibao", "numba", "numpy", "pyarrow", "duckdb", "polars", "pandas")


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Replace pytest-benchmark's own record."""
    cases = [case(each) for each in output_json["benchmarks"]]
    commit = output_json["commit_info"]
    output_json.clear()
    output_json |= {
        "command": os.environ.get("YIBAO_BENCH_COMMAND", "pytest"),
        "date": date.today().isoformat(),
        "commit": commit.get("id"),
        "changed_since": commit.get("dirty"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions()},
        "cases": cases,
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("model name")[2]
    return {
        "processor": words.partition(":")[2].partition("\n")[0].strip() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def case(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    """Return one case: its own figures, then the limit's and the competitors', with ratios to ours, median by median."""
    extra = dict(benchmark["extra_info"])
    stats = benchmark["stats"]
    ours = extra.pop("seconds", None)
    own = figures(ours) if ours else {name: stats[name] for name in ("median", "min", "max", "rounds")}
    competitors = extra.pop("competitors", []) if "limit" in extra else []
    limit = extra.pop("limit", None)
    result = {"group": benchmark["group"], "name": benchmark["name"], **extra, "ours": own}
    if limit:
        result["limit"] = against(own, figures(limit["seconds"]))
    if competitors:
        result["competitors"] = [
            {"system": each["system"], "way": each["way"], "tried": each["tried"]}
            | (against(own, figures(each["seconds"])) if each["seconds"] else {})
            for each in competitors
        ]
    return result


def figures(seconds: Sequence[float]) -> dict[str, Any]:
    """Return median, least and most of some times."""
    return {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "rounds": len(seconds),
    }


def against(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return their figures, and how many times as long as ours they took."""
    return {**theirs, "times_ours": theirs["median"] / own["median"]}
