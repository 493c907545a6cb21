"""What is installed: the right packages, with their data, from the right place."""

import importlib.metadata
import importlib.util
import os
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("yibao", "yibao_core", "yibao_datagen")
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WHEEL = os.environ.get("YIBAO_WHEEL", "")
needs_wheel = pytest.mark.skipif(not WHEEL, reason="make wheel-check says in YIBAO_WHEEL which wheel to look into")


def folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (folder(package) / "py.typed").exists()


def test_policies_come_with_the_engine() -> None:
    names = {path.name for path in (folder("yibao_core") / "policies").glob("*.toml")}
    assert names >= {"weihai-2019.toml", "shandong-2017.toml", "demo-city.toml"}


def test_what_is_installed_is_this_version() -> None:
    assert importlib.metadata.version("yibao") == PROJECT["version"]


def test_only_three_packages_are_needed_at_run_time() -> None:
    needed = [line for line in importlib.metadata.requires("yibao") or [] if "extra ==" not in line]
    assert sorted(re.split(r"[^a-z]", line)[0] for line in needed) == ["numba", "numpy", "pyarrow"]


def test_both_commands_are_installed() -> None:
    scripts = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="console_scripts")}
    assert scripts["yibao"] == "yibao.cli:main"
    assert scripts["yibao-datagen"] == "yibao_datagen.cli:main"


@needs_wheel
def test_the_tests_run_on_what_the_wheel_brought() -> None:
    for package in PACKAGES:
        assert "site-packages" in folder(package).parts


@needs_wheel
def test_the_wheel_holds_our_packages_and_nothing_else() -> None:
    names = zipfile.ZipFile(WHEEL).namelist()
    info = f"yibao-{PROJECT['version']}.dist-info"
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, info}
    assert {Path(name).suffix for name in names if not name.startswith(info)} == {".py", ".toml", ".typed"}
    assert f"{info}/licenses/LICENSE" in names
