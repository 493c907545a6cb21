"""The command `yibao-datagen`: what it writes, what it prints, what it refuses."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import yibao
import yibao_datagen

pytest.importorskip("typer")
from typer.testing import CliRunner

from yibao_datagen.cli import app

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}


def run(*options: Any) -> Any:
    return CliRunner().invoke(app, [str(option) for option in options])


def test_a_city_is_written_and_nothing_said_in_a_pipe(tmp_path: Path) -> None:
    out = tmp_path / "city.parquet"
    options = ("city", "--people", 500, "--seed", 3, "--rows", 700, "--ids", "text", "--out", out)
    result = run(*options)
    assert (result.exit_code, result.output) == (0, "")
    assert pq.read_table(out).equals(yibao_datagen.city(500, 3, rows=700, ids="text"))
    assert [path.name for path in tmp_path.iterdir()] == ["city.parquet"]


@pytest.mark.parametrize("order", ["settled", "person", "shuffled"])
def test_every_order_writes_the_rows_of_the_months(tmp_path: Path, order: Any) -> None:
    out = tmp_path / "city.parquet"
    assert run("city", "--people", 500, "--months", "3-9", "--order", order, "--out", out).exit_code == 0
    assert pq.read_table(out).equals(yibao_datagen.city(500, months=(3, 9), order=order))
    assert run("city", "--people", 500, "--rows", 10, "--order", order, "--out", out).exit_code == 0
    assert len(pq.read_table(out)) == 10


def test_a_history_is_paid_under_a_book_and_its_roster_fits(tmp_path: Path) -> None:
    parameters = tmp_path / "parameters.toml"
    parameters.write_text("".join(f'{name} = "{value}"\n' for name, value in PARAMETERS.items()), encoding="utf-8")
    paths = [tmp_path / f"{name}.parquet" for name in ("ledger", "people", "roster")]
    book = ("--paid-under", "shandong-2017", "--paid-under", "weihai-2019", "--parameters", parameters)
    result = run(
        "city", "--people", 4_000, *book, "--out", paths[0], "--people-out", paths[1], "--roster-out", paths[2]
    )
    assert (result.exit_code, result.output) == (0, "")
    ledger, people, roster = (pq.read_table(path) for path in paths)
    city = yibao_datagen.City(4_000)
    policies = [yibao.load_policy(source, PARAMETERS) for source in ("shandong-2017", "weihai-2019")]
    assert ledger.equals(yibao_datagen.pay(city.ledger(), policies))
    assert people.equals(city.people())
    assert roster.equals(city.roster())
    options: Any = {"recorded_after_change": "implied_rate", "roster": roster}
    assert yibao.reaccount(ledger, policies[1], **options).summary["rejected"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--region", 9999), "region: expected one of"),
        (("--months", "13"), "months: expected 1 to 12"),
        (("--months", "aug"), "months: expected a number such as 8"),
        (("--profile", "atlantis"), "profile: expected weihai-2019 or a file"),
        (("--paid-under", "weihai"), "weihai"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path: Path, options: Any, said: str) -> None:
    refused = run("city", "--people", 10, "--out", tmp_path / "city.parquet", *options)
    assert refused.exit_code == 2
    assert refused.output.startswith("yibao-datagen: ")
    assert said in refused.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--out", "city.xlsx"),
        ("--out", "nowhere/city.parquet"),
        ("--out", "city.parquet", "--people-out", "city.parquet"),
        ("--out", "city.parquet", "--encoding", "gbk"),
        ("--out", "city.parquet", "--faults-out", "faults.csv"),
    ],
)
def test_files_that_could_not_be_written_are_refused_first(tmp_path: Path, options: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("city", "--people", 10, *options).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_what_its_name_says(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("city.CSV", "people.csv", "roster.csv")
    assert (
        run("city", "--people", 300, "--out", names[0], "--people-out", names[1], "--roster-out", names[2]).exit_code
        == 0
    )
    for name in names:
        assert "person_id" in Path(name).read_text(encoding="utf-8").splitlines()[0]


def test_parameters_need_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "parameters.toml"
    file.write_text("", encoding="utf-8")
    assert run("city", "--parameters", file, "--out", tmp_path / "city.parquet").exit_code == 2


def test_dirt_comes_with_a_list_of_what_was_put_where(tmp_path: Path) -> None:
    out, faults = tmp_path / "city.parquet", tmp_path / "faults.parquet"
    result = run("city", "--people", 2_000, "--dirt", 0.02, "--faults-out", faults, "--out", out)
    assert (result.exit_code, result.output) == (0, "")
    dirty, listed = yibao_datagen.spoil(yibao_datagen.city(2_000), 0.02)
    assert pq.read_table(out).equals(dirty)
    assert pq.read_table(faults).equals(listed)
    refused = run("city", "--people", 10, "--dirt", 0.02, "--order", "person", "--out", out)
    assert refused.exit_code == 2


def test_a_file_of_commas_can_be_written_as_old_offices_do(tmp_path: Path) -> None:
    out = tmp_path / "city.csv"
    assert run("city", "--people", 300, "--dirt", 0.05, "--encoding", "gbk", "--out", out).exit_code == 0
    text = out.read_bytes().decode("gbk")
    assert text.startswith('"settlement_id","reverses","person_id"')
    with pytest.raises(UnicodeDecodeError):
        out.read_bytes().decode("utf-8")
    book = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]
    by_file = yibao.settle_ledger(out, book, as_known="settled_at", show_ids=True)
    dirty, listed = yibao_datagen.spoil(yibao_datagen.city(300), 0.05)
    assert by_file.summary["rows"] == len(dirty)
    wanted = listed.filter(listed["is_rejected"])
    assert sorted(by_file.rejects["settlement_id"].to_pylist()) == sorted(map(str, wanted["settlement_id"].to_pylist()))


def test_the_edges_of_a_policy_are_written(tmp_path: Path) -> None:
    out = tmp_path / "edges.parquet"
    assert run("edges", "--policy", "weihai-2019", "--out", out).exit_code == 0
    assert len(pq.read_table(out)) > 150
    assert run("edges", "--policy", "nowhere-2019", "--out", out).exit_code == 2


@pytest.mark.skipif(not COMPILED, reason="a city of this size is for compiled kernels")
def test_check_prints_every_figure_and_says_whether_one_is_missed(tmp_path: Path) -> None:
    result = run("--check")
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["from", "to", "generated"]
    assert lines[-1].endswith(" figures, 0 missed")
    assert len(lines) == int(lines[-1].split()[0]) + 2
    page = run("check", "--people", 100_000, "--report", tmp_path)
    assert "the page: " in page.output
    assert (tmp_path / "index.html").is_file()
    assert run().output.count("check") >= 1


def test_a_table_of_no_rows_is_still_a_file(tmp_path: Path) -> None:
    from yibao_datagen.files import write_parquet

    empty = yibao_datagen.city(100).slice(0, 0)
    assert write_parquet([empty], tmp_path / "empty.parquet") == 0
    assert pq.read_table(tmp_path / "empty.parquet").schema.names == empty.schema.names
    assert isinstance(empty, pa.Table)
