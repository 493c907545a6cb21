"""The command line: what it answers, with which exit code, and what it keeps to itself."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yibao import cli
from yibao.files import read_table
from yibao_core.policy_file import builtin_ids

PERSON = "370982199001010012"
OTHER = "370982198505050034"
HEADER = (
    "settlement_id,reverses,person_id,settled_at,service_date,insured_region,treated_region,hospital_id,category,"
    "care_type,total_fee,eligible_fee,basic_paid,catastrophic_paid,special_drug_paid,assistance_paid,"
    "institution_reduction_paid,commercial_paid,reassistance_paid,pku_paid,personal_paid,has_commercial_supplement,"
    "has_social_card_account"
)
# 30,000 less the deductible of 12,000 (shandong-2017), 50 %: 9,000. Of 18,000 (weihai-2019), 60 %: 7,200.
BIG = f"S2019-000001,,{PERSON},2019-03-01,2019-02-28,371002,371002,H1,ordinary,inpatient,30000.00,30000.00,0,9000.00,0,0,0,0,0,0,21000.00,false,true"
# 低保 from 5,000 on, 65 %: 3,250 of 10,000 where shandong-2017 paid nothing.
DIBAO = f"S2019-000002,,{OTHER},2019-03-02,2019-03-01,371002,371002,H1,低保,inpatient,10000.00,10000.00,0,0,0,0,0,0,0,0,10000.00,false,false"
BAD = f"S2019-000003,,{OTHER},2019-03-03,2019-03-02,371002,371002,H1,nobody,inpatient,100.00,100.00,0,0,0,0,0,0,0,0,100.00,false,false"


class Run(NamedTuple):
    code: int
    out: str
    err: str


Yibao = Callable[..., Run]


@pytest.fixture
def yibao(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Yibao:
    """Run the command line here, as the script does."""

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["yibao", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("NO_COLOR", "1")
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        out, err = capfd.readouterr()
        return Run(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return write(tmp_path / "ledger.csv", HEADER, BIG, DIBAO)


@pytest.fixture
def bad_ledger(tmp_path: Path) -> Path:
    return write(tmp_path / "bad.csv", HEADER, BIG, DIBAO, BAD)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fresh_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)


def test_help_loads_neither_numba_nor_numpy_nor_pyarrow() -> None:
    code = (
        "import sys; sys.argv = ['yibao', '--help']\n"
        "import yibao.cli\n"
        "try: yibao.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "sys.exit(' '.join(sorted(loaded & {'numba', 'llvmlite', 'numpy', 'pyarrow', 'pandas'})) or None)"
    )
    done = fresh_python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("policies", "lint", "settle", "reaccount", "explain"):
        assert command in done.stdout


def test_without_its_extra_it_says_how_to_get_it() -> None:
    for name in ("typer", "rich"):
        done = fresh_python("-c", f"import sys; sys.modules['{name}'] = None; from yibao.cli import main; main()")
        assert done.returncode == 2
        assert done.stderr == f"yibao: the command line needs {name}: pip install 'yibao[cli]'\n"


def test_policies_lists_what_is_built_in(yibao: Yibao) -> None:
    run = yibao("policies")
    assert run.code == 0
    for name in builtin_ids():
        assert name in run.out
    assert "威医保发〔2019〕37号" in run.out


def test_policies_show_tells_tiers_amounts_and_sources(yibao: Yibao) -> None:
    run = yibao("policies", "show", "weihai-2019")
    assert run.code == 0
    text = re.sub(r"\s+", " ", run.out)
    for part in (
        "威医保发〔2019〕37号, issued 2019-08-12",
        "2019-01-01 to 2019-08-31 (三(一): ",
        "known from 2019-09-01 (三(一): 确保自2019年9月1日起实施新政策)",
        "supersedes shandong-2017",
        "hardship: registered_poor, destitute, dibao, severe_disability",
        "deductible 5,000; no yearly limit; on eligible_fee less basic; amounts include the deductible",
        "5,000 100,000 65 % 100,000 300,000 75 % 300,000 85 %",
        "deductible 18,000; yearly limit 400,000",
        "二(二): 起付标准为1.8万元",
        "assistance_rate (percent): ",
        "its rules are left out without it; a value each for registered_poor, destitute, dibao, severe_disability",
    ):
        assert part in text, part


@pytest.mark.parametrize("name", builtin_ids())
def test_policies_show_takes_every_policy(yibao: Yibao, name: str) -> None:
    assert yibao("policies", "show", name).code == 0


def test_brackets_in_a_policy_are_words_and_no_markup(yibao: Yibao, tmp_path: Path) -> None:
    source = policy_text("weihai-2019").replace("威海市 2019 年", "[red]威海[/] :smile: 2019 年")
    run = yibao("policies", "show", write(tmp_path / "a.toml", source))
    assert run.code == 0
    assert "[red]威海[/] :smile: 2019 年" in run.out


def test_a_mistyped_policy_is_guessed(yibao: Yibao) -> None:
    for arguments in (
        ("policies", "show", "weihai-2091"),
        ("settle", "x.csv", "--policy", "weihai-2091", "--out", "o"),
    ):
        run = yibao(*arguments)
        assert (run.code, run.out) == (2, "")
        assert 'got "weihai-2091"; did you mean weihai-2019?' in run.err


def policy_text(name: str) -> str:
    import yibao_core

    return (Path(yibao_core.__file__).parent / "policies" / f"{name}.toml").read_text(encoding="utf-8")


def test_lint_prints_every_fault_and_exits_2(yibao: Yibao, tmp_path: Path) -> None:
    good = write(tmp_path / "good.toml", policy_text("weihai-2019"))
    bad = write(
        tmp_path / "bad.toml",
        policy_text("weihai-2019").replace('"85 %"', '"101 %"').replace('cap = "none"', 'cap = "non"'),
    )
    assert yibao("lint", good) == Run(0, f"{good}: ok\n", "")
    run = yibao("lint", good, bad)
    assert run.code == 2
    assert f"{good}: ok\n" in run.out
    assert f"{bad}: layers[1].rules[0].tiers[2].rate: expected a rate between 0 % and 100 %, got 101 %" in run.out
    assert f'{bad}: layers[1].rules[0].cap: expected "none", yuan or a parameter, got "non"' in run.out
    assert yibao("lint", tmp_path / "none.toml").code == 2


def test_lint_finds_two_policies_for_one_day(yibao: Yibao, tmp_path: Path) -> None:
    text = policy_text("weihai-2019")
    files = [
        write(tmp_path / "a.toml", text),
        write(tmp_path / "b.toml", text.replace('id = "weihai-2019"', 'id = "weihai-2019b"')),
    ]
    run = yibao("lint", *files)
    assert run.code == 2
    assert "expected one to supersede the other" in run.err


def test_settle_writes_its_results(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = yibao("settle", ledger, "--policy", "weihai-2019", "--out", out)
    assert (run.code, run.err) == (0, "")
    assert re.search(r"rows\s+2\n", run.out)
    assert re.search(r"catastrophic\s+10,450\.00", run.out)
    assert str(out) in run.out
    settled = read_table(out / "settled.parquet")
    assert [str(paid) for paid in settled["catastrophic_paid"].to_pylist()] == ["7200.00", "3250.00"]
    assert settled["person_id"].to_pylist() == [PERSON, OTHER]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["paid"]["catastrophic"] == "10450.00"
    assert set(summary["files"]) == {path.name for path in out.iterdir()} - {"summary.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.csv", "out"]


def test_settling_goes_on_from_closing_balances(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    yibao("settle", ledger, "--policy", "weihai-2019", "--out", tmp_path / "first")
    later = BIG.replace("S2019-000001", "S2019-000009").replace("2019-03-01,2019-02-28", "2019-04-01,2019-03-31")
    second = write(tmp_path / "second.csv", HEADER, later)
    opening = tmp_path / "first" / "closing.parquet"
    run = yibao("settle", second, "--policy", "weihai-2019", "--opening", opening, "--out", tmp_path / "o", "-q")
    assert run == Run(0, "", "")
    assert str(read_table(tmp_path / "o" / "settled.parquet")["catastrophic_paid"][0]) == "18000.00"


def test_a_book_finds_each_row_its_policy(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    book = ("--policy", "shandong-2017", "--policy", "weihai-2019")
    for known, paid in (("2019-06-30", "9000.00"), ("2019-10-01", "10450.00"), ("settled_at", "9000.00")):
        run = yibao("settle", ledger, *book, "--as-known", known, "--out", tmp_path / known)
        assert run.code == 0, run.err
        assert json.loads((tmp_path / known / "summary.json").read_text())["paid"]["catastrophic"] == paid


def test_rejects_above_the_limit_exit_1_with_all_output(yibao: Yibao, bad_ledger: Path, tmp_path: Path) -> None:
    command = ("settle", bad_ledger, "--policy", "weihai-2019", "--out", tmp_path / "out")
    run = yibao(*command)
    assert run.code == 1
    assert "1 rows rejected, 0 allowed (--max-rejects)" in run.err
    assert re.search(r"UNKNOWN_CATEGORY\s+1\n", run.out)
    assert read_table(tmp_path / "out" / "settled.parquet").num_rows == 3
    assert yibao(*command, "--max-rejects", "1").code == 0


def test_ids_are_masked_unless_asked_for(yibao: Yibao, bad_ledger: Path, tmp_path: Path) -> None:
    command = ("settle", bad_ledger, "--policy", "weihai-2019", "--out", tmp_path / "out", "--max-rejects", 1)
    masked = yibao(*command)
    assert read_table(tmp_path / "out" / "rejects.csv")["settlement_id"].to_pylist() == ["********0003"]
    report = masked.out + masked.err + (tmp_path / "out" / "summary.json").read_text()
    assert PERSON not in report
    assert OTHER not in report
    yibao(*command, "--show-ids")
    assert read_table(tmp_path / "out" / "rejects.csv")["settlement_id"].to_pylist() == ["S2019-000003"]


def test_all_tables_come_as_csv_where_asked_for(yibao: Yibao, bad_ledger: Path, tmp_path: Path) -> None:
    command = ("settle", bad_ledger, "--policy", "weihai-2019", "--out", tmp_path / "out", "--max-rejects", 1)
    assert yibao(*command).code == 0
    assert [path.name for path in sorted((tmp_path / "out").glob("*.csv"))] == ["rejects.csv"]
    assert yibao(*command, "--csv").code == 0
    assert [path.name for path in sorted((tmp_path / "out").glob("*.csv"))] == [
        "closing.csv",
        "rejects.csv",
        "settled.csv",
    ]
    assert len(read_table(tmp_path / "out" / "settled.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Missing option '--policy'"),
        (("--policy", "weihai-2019", "--outt", "x"), "--out"),
        (("--policy", "weihai-2019", "--threads", "0"), "--threads"),
        (
            ("--policy", "weihai-2019", "--as-known", "soon"),
            'expected a date such as 2019-06-30, or settled_at, got "soon"',
        ),
        (("--policy", "weihai-2019", "--as-known", "2019-06-30"), "as_known: expected a book of several policies"),
        (("--policy", "weihai-2019", "--columns", "nhas"), "columns: expected one of nhsa"),
        (("--policy", "weihai-2019", "--columns", "totl_fee=fee"), "totl_fee"),
        (("--policy", "weihai-2019", "--opening", "none.parquet"), "none.parquet: expected a readable file"),
        (("--policy", "weihai-2019", "--parameters", "none.toml"), "none.toml: expected a TOML file"),
        (("--policy", "weihai-2019", "--policy", "weihai-2019"), "expected each id once"),
    ],
)
def test_unusable_options_exit_2_and_write_nothing(
    yibao: Yibao, ledger: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    run = yibao("settle", ledger, "--out", tmp_path / "out", *arguments)
    assert (run.code, run.out) == (2, "")
    assert complaint in re.sub(r"[\s│]+", " ", run.err)
    assert not (tmp_path / "out").exists()
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('assistance_rte = "70 %"', "weihai-2019: parameters.assistance_rte: expected one of"),
        ("assistance_rate = 0.7", "a float is not exact"),
        ('assistance_rate = "70 %"', "parameters.assistance_limit"),
        ("assistance_rate = ", "expected a TOML file in UTF-8"),
        ('[weihai-2091]\nassistance_rate = "70 %"', "weihai-2091"),
        ('[weihai-2019]\n[weihai-2091]\nassistance_rate = "70 %"', "did you mean weihai-2019?"),
        ('weihai-2019 = "70 %"', "expected a table named after a policy of the book (weihai-2019)"),
    ],
)
def test_unusable_parameters_exit_2(yibao: Yibao, ledger: Path, tmp_path: Path, text: str, complaint: str) -> None:
    file = write(tmp_path / "parameters.toml", text)
    run = yibao("settle", ledger, "--policy", "weihai-2019", "--parameters", file, "--out", tmp_path / "out")
    assert run.code == 2
    assert complaint in run.err
    assert not (tmp_path / "out").exists()


ASSISTANCE = 'assistance_deductible = "0"\nassistance_rate = "70 %"\nassistance_limit = "10000"\n'


@pytest.mark.parametrize("head", ["", "[weihai-2019]\n", '[shandong-2017]\nassistance_rate = "1 %"\n[weihai-2019]\n'])
def test_parameters_stand_alone_or_under_their_policy(yibao: Yibao, ledger: Path, tmp_path: Path, head: str) -> None:
    file = write(tmp_path / "parameters.toml", head + ASSISTANCE)
    run = yibao("settle", ledger, "--policy", "weihai-2019", "--parameters", file, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    # 70 % of 10,000 - 3,250
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["paid"]["assistance"] == "4725.00"


def test_a_book_needs_to_know_whose_parameters(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "parameters.toml", ASSISTANCE)
    book = ("--policy", "weihai-2019", "--policy", "shandong-2017", "--parameters", file, "--out", tmp_path / "out")
    run = yibao("settle", ledger, *book)
    assert run.code == 2
    assert run.err.count("expected a table named after a policy of the book (weihai-2019, shandong-2017)") == 3
    write(file, "[weihai-2019]", ASSISTANCE, "[shandong-2017]", ASSISTANCE)
    assert yibao("settle", ledger, *book).code == 0


def test_columns_may_have_other_names(yibao: Yibao, tmp_path: Path) -> None:
    table = pa.table(
        {
            "setl_id": ["S1"],
            "psn_no": [PERSON],
            "setl_time": ["2019-03-01 10:00:00"],
            "day": ["2019-02-28"],
            "psn_idet_type": ["ordinary"],
            "med_type": ["inpatient"],
            "medfee_sumamt": ["30000.00"],
            "eligible": ["30000.00"],
        }
    )
    path = tmp_path / "ledger.parquet"
    pq.write_table(table, path)
    names = write(tmp_path / "names.toml", 'eligible_fee = "eligible"')
    columns = ("--columns", "nhsa", "--columns", names, "--columns", "service_date=day")
    run = yibao("settle", path, "--policy", "weihai-2019", "--out", tmp_path / "out", *columns)
    assert run.code == 0, run.err
    assert str(read_table(tmp_path / "out" / "settled.parquet")["catastrophic_paid"][0]) == "7200.00"


def test_what_is_no_ledger_exits_2_with_every_fault(yibao: Yibao, tmp_path: Path) -> None:
    file = write(tmp_path / "other.csv", "settlement_id,person_id", "1,2")
    run = yibao("settle", file, "--policy", "weihai-2019", "--out", tmp_path / "out")
    assert run.code == 2
    for name in ("settled_at", "service_date", "category", "care_type", "total_fee", "eligible_fee"):
        assert f"{name}: expected a column" in run.err
    assert yibao("settle", tmp_path / "none.csv", "--policy", "weihai-2019", "--out", tmp_path / "out").code == 2


def test_a_directory_with_other_files_is_refused_before_work(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    run = yibao("settle", ledger, "--policy", "weihai-2019", "--out", tmp_path)
    assert run.code == 2
    assert "expected an input outside" in run.err
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / "notes.txt", "mine")
    run = yibao("settle", ledger, "--policy", "weihai-2019", "--out", tmp_path / "out")
    assert run.code == 2
    assert "got notes.txt in it" in run.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_results_replace_those_of_an_earlier_run(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert yibao("settle", ledger, "--policy", "weihai-2019", "--out", tmp_path / "out").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.csv", "out"]


def test_explain_tells_one_settlement_with_its_article(yibao: Yibao, ledger: Path) -> None:
    run = yibao("explain", ledger, "--settlement", "S2019-000001", "--policy", "weihai-2019")
    assert (run.code, run.err) == (0, "")
    assert "7,200.00" in run.out
    assert "二(二)" in run.out
    assert PERSON not in run.out


def test_explain_of_an_unknown_settlement_exits_2(yibao: Yibao, ledger: Path) -> None:
    run = yibao("explain", ledger, "--settlement", "S2019-00001", "--policy", "weihai-2019")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("yibao: ")


RESULTS = {
    "settled", "deltas", "transfers", "transfer_lines", "payment_orders", "decreases", "held", "unrouted", "rejects",
}  # fmt: skip
REACCOUNT = ("reaccount", "--policy", "weihai-2019")


def test_reaccount_writes_what_a_payment_office_needs(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    run = yibao(*REACCOUNT, ledger, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    names = {f"{name}.parquet" for name in RESULTS} | {
        "transfers.csv",
        "payment_orders.csv",
        "rejects.csv",
        "summary.json",
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    transfers = read_table(tmp_path / "out" / "transfers.csv")
    assert [(row["person_id"], row["payee_kind"], row["amount"]) for row in transfers.to_pylist()] == [
        (OTHER, "person_bank_card", "3250.00")
    ]
    assert read_table(tmp_path / "out" / "decreases.parquet").num_rows == 1
    assert PERSON not in run.out
    assert OTHER not in run.out


def test_a_second_run_with_the_first_ones_transfers_issues_nothing(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    yibao(*REACCOUNT, ledger, "--out", tmp_path / "first")
    for number, name in enumerate(("transfers.parquet", "transfers.csv")):
        previous = tmp_path / "first" / name
        run = yibao(*REACCOUNT, ledger, "--previous", previous, "--out", tmp_path / f"o{number}")
        assert run.code == 0, run.err
        assert read_table(tmp_path / f"o{number}" / "transfers.parquet").num_rows == 0
    run = yibao(*REACCOUNT, ledger, "--previous", tmp_path / "first" / "transfers.parquet", "--out", tmp_path / "first")
    assert run.code == 2
    assert "expected an input outside" in run.err


def test_a_roster_file_changes_categories(yibao: Yibao, ledger: Path, tmp_path: Path) -> None:
    roster = write(tmp_path / "roster.csv", "person_id,category,from,to", f"{PERSON},低保,2019-01-01,")
    run = yibao(*REACCOUNT, ledger, "--roster", roster, "--roster-mode", "replace", "--out", tmp_path / "out")
    assert run.code == 0, run.err
    # 65 % of 25,000 instead of the 9,000 that were paid
    amounts = {
        row["person_id"]: str(row["amount"]) for row in read_table(tmp_path / "out" / "transfers.parquet").to_pylist()
    }
    assert amounts == {PERSON: "7250.00", OTHER: "3250.00"}


def with_reduction(line: str) -> str:
    """The same row with 100 yuan that the hospital gave."""
    cells = line.split(",")
    cells[16], cells[20] = "100.00", str(float(cells[20]) - 100)
    return ",".join(cells)


def test_recorded_layers_behind_a_change_need_a_choice(yibao: Yibao, tmp_path: Path) -> None:
    file = write(tmp_path / "ledger.csv", HEADER, BIG, with_reduction(DIBAO))
    run = yibao(*REACCOUNT, file, "--out", tmp_path / "out")
    assert run.code == 2
    assert "institution_reduction" in run.err
    assert "--recorded-after-change" in run.err
    assert not (tmp_path / "out").exists()
    for choice in ("keep", "implied_rate", "institution_reduction=keep"):
        run = yibao(*REACCOUNT, file, "--recorded-after-change", choice, "--out", tmp_path / "out")
        assert run.code == 0, run.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--recorded-after-change", "kep"), 'got "kep"; did you mean keep?'),
        (("--recorded-after-change", "reasistance=keep"), "did you mean reassistance"),
        (
            ("--recorded-after-change", "keep", "--recorded-after-change", "pku=keep"),
            "expected one word for all layers",
        ),
        (("--on-decrease", "wave"), "'wave' is not one of 'waive', 'recover'"),
        (("--previous", "none.parquet"), "none.parquet: expected a readable file"),
    ],
)
def test_unusable_options_of_reaccount_exit_2(
    yibao: Yibao, ledger: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    run = yibao(*REACCOUNT, ledger, "--out", tmp_path / "out", *arguments)
    assert (run.code, run.out) == (2, "")
    assert complaint in re.sub(r"[\s│]+", " ", run.err)
    assert not (tmp_path / "out").exists()


def script() -> str:
    return str(Path(sys.executable).with_name("yibao"))


def test_progress_shows_on_a_terminal_and_not_in_a_pipe(ledger: Path, tmp_path: Path) -> None:
    command = [script(), "settle", str(ledger), "--policy", "weihai-2019", "--out", str(tmp_path / "out")]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "\x1b" not in piped.stdout
    assert "settling" in on_terminal(command)
    assert "settling" not in on_terminal([*command, "--quiet"])


def on_terminal(command: list[str]) -> str:
    """Return what a command writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    environment: dict[str, Any] = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                block = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            written += block
        process.wait(timeout=120)
    os.close(ours)
    assert process.returncode == 0
    return written.decode(errors="replace")
