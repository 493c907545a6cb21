"""The command line: `yibao`. Exit codes: 0 done, 1 more rejects than allowed or an example that differs, 2 unusable input.

Nothing here imports numba, numpy or pyarrow before a command needs them: `yibao --help` answers at once.
"""

import sys
import tomllib
import traceback
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from yibao_core.errors import ParameterError, PolicyError, RecordedAfterChangeError, SettlementError
from yibao_core.policy import LAYERS, Policy
from yibao_core.policy_file import builtin_ids, check_book, lint_lines, read_policy
from yibao_core.toml_values import hint, shown

try:
    import typer

    from yibao.terminal import print_policies, print_policy, print_summary, row_progress
except ModuleNotFoundError as missing:  # the library works without them, the command does not
    sys.stderr.write(f"yibao: the command line needs {missing.name}: pip install 'yibao[cli]'\n")
    raise SystemExit(2) from None

if TYPE_CHECKING:
    import pyarrow as pa


class RosterMode(StrEnum):
    ADD = "add"
    REPLACE = "replace"


class OnDecrease(StrEnum):
    WAIVE = "waive"
    RECOVER = "recover"


class OnReject(StrEnum):
    HOLD = "hold"
    PAY = "pay"


class MissingPaid(StrEnum):
    REFUSE = "refuse"
    ZERO = "zero"


AFTER_CHANGE = ("keep", "implied_rate")

LedgerFile = Annotated[Path, typer.Argument(metavar="LEDGER", help="Parquet, Arrow IPC or CSV.")]
Policies = Annotated[list[str], typer.Option("--policy", metavar="ID|FILE", help="The rules; several make a book.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Directory for the results; replaced as a whole.")]
Parameters = Annotated[
    Path | None, typer.Option(metavar="FILE", help="TOML: name = value; for a book in tables named after its policies.")
]
AsKnown = Annotated[
    str | None, typer.Option(metavar="DATE|settled_at", help="The book as known on a day, or on each row's own.")
]
Opening = Annotated[Path | None, typer.Option(metavar="FILE", help="Balances to start from: an earlier closing.")]
History = Annotated[Path | None, typer.Option(metavar="FILE", help="Settled rows of earlier runs, to find originals.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="nhsa|FILE|OURS=THEIRS", help="How the ledger names its columns; the later option wins."),
]
WriteColumns = Annotated[
    str | None, typer.Option(metavar="nhsa", help="Name the settled table's columns as this map does.")
]
RosterFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Persons' categories: person_id, category, from, to.")
]
RosterModeChoice = Annotated[RosterMode, typer.Option(help="What the roster does to the ledger's categories.")]
Threads = Annotated[int | None, typer.Option(min=1, help="One a core unless said otherwise.")]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help='Go through the disk beyond it, such as "2 GiB"; else a quarter of what there is.'
    ),
]
MaxRejects = Annotated[int, typer.Option(min=0, metavar="N", help="More rejected rows than this: exit code 1.")]
ShowIds = Annotated[bool, typer.Option("--show-ids", help="Do not mask ids in rejects and reports.")]
AllCsv = Annotated[bool, typer.Option("--csv", help="All tables as CSV, too, not only the short ones.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
policies_app = typer.Typer(invoke_without_command=True)
app.add_typer(policies_app, name="policies")


@app.callback()
def root() -> None:
    """Settle, re-account and explain residents' medical insurance, exact to the fen."""


@policies_app.callback()
def policies(context: typer.Context) -> None:
    """List the built-in policies, or show one."""
    if context.invoked_subcommand is None:
        print_policies(map(read_policy, builtin_ids()))


@policies_app.command()
def show(policy: Annotated[str, typer.Argument(metavar="ID|FILE")]) -> None:
    """Show a policy: what it pays to whom, its parameters, and where each value stands in its document."""
    print_policy(read_policy(policy))


@policies_app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there yet.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="ID", help="Begin with a built-in policy instead of the template.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for everything, one question after the other.")] = False,
) -> None:
    """Begin a policy of your own: a commented template with TODO where the document speaks, then lint it."""
    from yibao.policy_writing import from_answers, from_policy, from_template, write_new

    if source and ask:
        raise typer.BadParameter("expected --from or --ask, not both")
    if file.exists():
        raise typer.BadParameter(f"{file}: expected a new file, got one that is there already")
    if ask:
        _say("Enter alone leaves an answer open: lint asks for it again. Ctrl-D leaves all the rest open.")
        text = from_answers(_asked, _say)
    else:
        text = from_policy(source) if source else from_template()
    write_new(file, text)
    _say(f"{file}: written; yibao lint {file} says what is still to do")


@policies_app.command()
def schema(cases: Annotated[bool, typer.Option("--cases", help="That of case files.")] = False) -> None:
    """Print the JSON Schema of policy files, for editors: save it as policy.schema.json beside them."""
    import json

    from yibao_core.policy_schema import cases_schema, policy_schema

    _say(json.dumps(cases_schema() if cases else policy_schema(), ensure_ascii=False, indent=1))


@app.command("test")
def run_cases(
    policy: Annotated[str, typer.Argument(metavar="ID|FILE")],
    cases: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Case files; else NAME.cases.toml and cases/ beside it.")
    ] = None,
) -> None:
    """Run a policy's worked examples: what each layer should pay, to the fen."""
    from yibao.policy_cases import case_files, read_cases, run_case

    files = cases or case_files(policy)
    if not files:
        stem = Path(policy).stem
        raise PolicyError(
            f"{policy}: expected worked examples in {stem}.cases.toml or cases/*.toml beside it, got none"
        )
    found = [case for file in files for case in read_cases(file)]
    differing = 0
    for case in found:
        differences = run_case(case, read_policy(policy, case.parameters))
        differing += bool(differences)
        _say(f"{'differs' if differences else 'ok     '}  {case.file.name}: {case.title}")
        for difference in differences:
            _say(f"    row {difference.row} ({case.source})")
            _say(*(f"      {what}: expected {wanted}, got {got}" for what, wanted, got in difference.lines))
            _say(*(f"      | {line}" for line in difference.explanation.splitlines()))
    _say(f"{len(found)} cases, {differing} differ")
    if differing:
        raise typer.Exit(1)


@app.command()
def lint(policies: Annotated[list[str], typer.Argument(metavar="FILE|ID...")]) -> None:
    """Check policy files, each by itself and all as one book; print every fault and what belongs there."""
    faulty = False
    for file in policies:
        faults, notes = lint_lines(file)
        faulty |= bool(faults)
        for line, lesson in faults:
            _say(line, *([f"    {lesson}"] if lesson else []))
        _say(*notes, *([] if faults else [f"{file}: ok"]))
    if faulty:
        raise typer.Exit(2)
    if len(policies) > 1:
        check_book([read_policy(file) for file in policies])


@app.command()
def settle(
    ledger: LedgerFile,
    policy: Policies,
    out: Out,
    parameters: Parameters = None,
    as_known: AsKnown = None,
    opening: Opening = None,
    history: History = None,
    roster: RosterFile = None,
    roster_mode: RosterModeChoice = RosterMode.ADD,
    columns: Columns = None,
    write_columns: WriteColumns = None,
    threads: Threads = None,
    memory_limit: MemoryLimit = None,
    max_rejects: MaxRejects = 0,
    show_ids: ShowIds = False,
    csv: AllCsv = False,
    quiet: Quiet = False,
) -> None:
    """Settle every row of a ledger under a policy, or under a book of several."""
    from yibao.ledger import column_names
    from yibao.outputs import check_output

    check_output(out, _given(ledger, opening, history, roster))
    book, column_map, known = _book(policy, parameters), _column_map(columns), _as_known(as_known)
    column_names(write_columns)
    given = {"opening": _read(opening), "history": _read(history), "roster": _read(roster)}
    from yibao.bulk import Written, settle_files
    from yibao.settlement import Beside, settling
    from yibao.sources import as_source

    source = as_source(ledger)
    written = Written({"settled", "rejects", "closing"} if csv else {"rejects"}, write_columns)
    with row_progress("settling", source.rows, quiet) as progress:
        job = settling(
            book,
            roster_mode=roster_mode.value,
            as_known=known,
            threads=threads,
            columns=column_map,
            show_ids=show_ids,
            progress=progress,
        )
        result = settle_files(job, source, Beside(**given), out, memory_limit, written=written)
    if not quiet:
        print_summary(result.summary, out)
    _exit_by_rejects(result.summary["rejected"], max_rejects)


@app.command()
def reaccount(
    ledger: LedgerFile,
    policy: Policies,
    out: Out,
    parameters: Parameters = None,
    roster: RosterFile = None,
    roster_mode: RosterModeChoice = RosterMode.ADD,
    previous: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Transfers of an earlier run; only the difference is issued."),
    ] = None,
    on_decrease: Annotated[
        OnDecrease, typer.Option(help="What becomes of money that was paid too much.")
    ] = OnDecrease.WAIVE,
    on_reject: Annotated[OnReject, typer.Option(help="Hold a person-year with a bad row, or pay it.")] = OnReject.HOLD,
    recorded_after_change: Annotated[
        list[str] | None,
        typer.Option(metavar="keep|implied_rate|LAYER=CHOICE", help="Recorded layers behind a layer that changes."),
    ] = None,
    missing_paid: Annotated[
        MissingPaid, typer.Option(help="A payment column that the ledger lacks.")
    ] = MissingPaid.REFUSE,
    history: History = None,
    columns: Columns = None,
    write_columns: WriteColumns = None,
    threads: Threads = None,
    memory_limit: MemoryLimit = None,
    max_rejects: MaxRejects = 0,
    show_ids: ShowIds = False,
    csv: AllCsv = False,
    quiet: Quiet = False,
) -> None:
    """Settle a paid ledger again under a policy as known now, and say who is owed the difference."""
    from yibao.ledger import column_names
    from yibao.outputs import check_output

    check_output(out, _given(ledger, roster, history, *(previous or [])))
    book, column_map = _book(policy, parameters), _column_map(columns)
    after_change = _after_change(recorded_after_change or [])
    column_names(write_columns)
    given = {"roster": _read(roster), "history": _read(history), "previous": _read_all(previous or [])}
    from yibao.bulk import Written, reaccount_files
    from yibao.reaccounting import TABLES, reaccounting
    from yibao.settlement import Beside
    from yibao.sources import as_source

    source = as_source(ledger)
    short = {"transfers", "payment_orders", "rejects", "roster_changes"}
    written = Written(set(TABLES) if csv else short, write_columns)
    with row_progress("re-accounting", source.rows, quiet) as progress:
        job = reaccounting(
            book,
            roster_mode=roster_mode.value,
            on_decrease=on_decrease.value,
            on_reject=on_reject.value,
            recorded_after_change=after_change,
            missing_paid=missing_paid.value,
            columns=column_map,
            threads=threads,
            show_ids=show_ids,
            progress=progress,
        )
        result = reaccount_files(job, source, Beside(**given), out, memory_limit, written)
    if not quiet:
        print_summary(result.summary, out)
    _exit_by_rejects(result.summary["rejected"], max_rejects)


@app.command()
def explain(
    ledger: LedgerFile,
    settlement: Annotated[str, typer.Option(metavar="ID", help="The settlement to explain.")],
    policy: Policies,
    parameters: Parameters = None,
    as_known: AsKnown = None,
    opening: Opening = None,
    history: History = None,
    roster: RosterFile = None,
    roster_mode: RosterModeChoice = RosterMode.ADD,
    columns: Columns = None,
) -> None:
    """Explain one settlement of a ledger step by step, with the article that each step rests on."""
    book, column_map, known = _book(policy, parameters), _column_map(columns), _as_known(as_known)
    table = _read(ledger)
    import yibao

    options = {"opening": _read(opening), "history": _read(history), "roster": _read(roster)}
    _say(
        yibao.explain(
            table, settlement, book, roster_mode=roster_mode.value, as_known=known, columns=column_map, **options
        )
    )


@app.command()
def warmup() -> None:
    """Compile every kernel and keep it on disk: later runs start without the compiler, read-only ones too."""
    _say("compiling what is not on disk yet; the first time takes some ten seconds")
    from yibao.kernel_cache import warm_up

    warmed = warm_up()
    _say(f"{warmed.kernels} kernels ready, {warmed.compiled} of them compiled now: {warmed.seconds:.1f} s")
    _say(f"{', '.join(map(str, warmed.folders))}: {warmed.bytes / 1e6:.1f} MB")


@app.command("clear-cache")
def clear_kernels() -> None:
    """Remove the compiled kernels from disk; the next run compiles what it needs."""
    from yibao.kernel_cache import clear_cache

    cleared = clear_cache()
    where = f" from {', '.join(map(str, cleared.folders))}" if cleared.folders else ""
    _say(f"{cleared.files} files removed{where}: {cleared.bytes / 1e6:.1f} MB")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese shows ? instead of a traceback
    try:
        app()
    except (SettlementError, OSError) as error:
        for line in getattr(error, "faults", [str(error)]):
            sys.stderr.write(f"yibao: {line}\n")
        if isinstance(error, RecordedAfterChangeError):
            sys.stderr.write("yibao: give --parameters for these layers, or --recorded-after-change\n")
        sys.exit(2)
    except Exception as error:  # exit code 1 means done; its text may hold ids, so only the place is shown
        at = traceback.extract_tb(error.__traceback__)[-1]
        sys.stderr.write(f"yibao: unexpected {type(error).__name__} in {Path(at.filename).name}, line {at.lineno}\n")
        sys.exit(2)


def _asked(question: str, default: str) -> str | None:
    try:
        return str(typer.prompt(question, default=default, show_default=bool(default)))
    except typer.Abort:
        return None


def _say(*lines: str) -> None:
    for line in lines:
        typer.echo(line)


def _given(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path is not None]


def _read(path: Path | None) -> Any:
    from yibao.files import read_table

    return None if path is None else read_table(path)


def _read_all(paths: Sequence[Path]) -> "pa.Table | None":
    """Return tables of one kind end to end; LedgerError where their columns differ."""
    tables = [_read(path) for path in paths]
    if len(tables) < 2:
        return tables[0] if tables else None
    import pyarrow as pa

    from yibao_core.errors import LedgerError

    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise LedgerError(
            f"{', '.join(map(str, paths))}: expected tables with the same columns, got: {error}"
        ) from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # Windows editors put a byte order mark first
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ParameterError(f"{path}: expected a TOML file in UTF-8, got: {reason}") from None


def _book(sources: Sequence[str], parameters: Path | None) -> Policy | list[Policy]:
    """Return the policies with the values of the parameter file: one policy, or a checked list of several."""
    ids = [read_policy(source).id for source in sources]
    values = {} if parameters is None else _toml(parameters)
    if len(sources) == 1 and not any(key in values for key in (ids[0], *builtin_ids())):
        values = {ids[0]: values}
    faults = []
    known = sorted({*ids, *builtin_ids()})
    for key, value in values.items():
        if key not in known or not isinstance(value, Mapping):
            expected = f"a table named after a policy of the book ({', '.join(ids)})"
            faults.append(f"{parameters}: {key}: expected {expected}, got {shown(value)}{hint(key, known)}")
    if values and not faults and not any(id in values for id in ids):
        faults.append(f"{parameters}: expected a table named after {' or '.join(ids)}, got only {', '.join(values)}")
    if faults:
        raise ParameterError(faults)
    book = [read_policy(source, values.get(id)) for source, id in zip(sources, ids, strict=True)]
    check_book(book)
    return book[0] if len(book) == 1 else book


def _as_known(text: str | None) -> date | str | None:
    if text is None or text == "settled_at":
        return text
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f'expected a date such as 2019-06-30, or settled_at, got "{text}"') from None


def _column_map(options: Sequence[str] | None) -> list[str | dict[str, str]] | None:
    """Return built-in maps by name, files and `ours=theirs` as mappings, in the order given."""
    maps: list[str | dict[str, str]] = []
    for option in options or []:
        ours, equals, theirs = option.partition("=")
        if option.endswith(".toml"):
            found = _toml(Path(option))
            wrong = [
                f"{option}: {key}: expected a column name as text" for key in found if not isinstance(found[key], str)
            ]
            if wrong:
                raise ParameterError(wrong)
            maps.append(found)
        elif equals:
            maps.append({ours.strip(): theirs.strip()})
        else:
            maps.append(option)
    return maps or None


def _after_change(options: Sequence[str]) -> str | dict[str, str] | None:
    """Return one word for all layers, or a choice by layer."""
    by_layer: dict[str, str] = {}
    for option in options:
        layer, equals, choice = option.rpartition("=")
        if choice not in AFTER_CHANGE:
            expected = f"expected {' or '.join(AFTER_CHANGE)}, or LAYER=CHOICE"
            raise typer.BadParameter(
                f"--recorded-after-change: {expected}, got {shown(option)}{hint(choice, AFTER_CHANGE)}"
            )
        if equals and layer not in LAYERS:
            expected = f"expected one of {', '.join(LAYERS)}"
            raise typer.BadParameter(f"--recorded-after-change: {expected}, got {shown(layer)}{hint(layer, LAYERS)}")
        by_layer[layer] = choice
    if "" in by_layer and len(options) > 1:
        raise typer.BadParameter("--recorded-after-change: expected one word for all layers, or LAYER=CHOICE for each")
    return by_layer.get("", by_layer or None)


def _exit_by_rejects(rejected: int, allowed: int) -> None:
    if rejected > allowed:
        typer.echo(f"yibao: {rejected:,} rows rejected, {allowed:,} allowed (--max-rejects)", err=True)
        raise typer.Exit(1)
