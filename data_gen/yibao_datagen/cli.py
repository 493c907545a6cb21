"""The command line: `yibao-datagen city --out FILE`, `yibao-datagen check`. The only module that needs typer (extra `cli`).

Exit codes are those of `yibao`: 0 done, 1 a figure missed, 2 unusable input, and then nothing is written.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from yibao_datagen.city import City, Order
from yibao_datagen.dirt import spoil
from yibao_datagen.edges import edges
from yibao_datagen.files import write_csv, write_parquet

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class IdType(StrEnum):
    INT64 = "int64"
    TEXT = "text"


class Encoding(StrEnum):
    UTF_8 = "utf-8"
    GBK = "gbk"


class RowOrder(StrEnum):
    SETTLED = "settled"
    PERSON = "person"
    SHUFFLED = "shuffled"


People = Annotated[int, typer.Option(min=1, help="Enrolled residents.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed, another city.")]
ProfileName = Annotated[str, typer.Option(metavar="NAME|FILE", help="The city's figures: built in, or a TOML file.")]
Report = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write a page with plots to look at.", file_okay=False)
]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="The same as the command `check`.")] = False,
) -> None:
    """Make invented claims. Nobody's data: the same options and seed give the same file."""
    if context.invoked_subcommand is None:
        if not check:
            typer.echo(context.get_help())
            raise typer.Exit
        check_city()


@app.command()
def city(
    out: Annotated[Path, typer.Option(help="File to write: .parquet or .csv.", dir_okay=False)],
    people: People = 100_000,
    seed: Seed = 1,
    rows: Annotated[int | None, typer.Option(min=1, help="No more rows than these.")] = None,
    profile: ProfileName = "weihai-2019",
    year: Annotated[
        int | None, typer.Option(help="Of service; holidays and epidemic are the base year's, which is the default.")
    ] = None,
    months: Annotated[
        str, typer.Option(help="Of service: the first so many (8), or from one to another (9-12).")
    ] = "12",
    region: Annotated[int | None, typer.Option(help="City, 4 digits; the profile's is the default.")] = None,
    ids: Annotated[IdType, typer.Option(help="Ids as numbers or as text.")] = IdType.INT64,
    reversals: Annotated[bool, typer.Option(help="Take some settlements back and bill again.")] = True,
    order: Annotated[
        RowOrder, typer.Option(help="As settled, by person (in bounded memory), or any.")
    ] = RowOrder.SETTLED,
    paid_under: Annotated[
        list[str] | None, typer.Option(metavar="ID|FILE", help="Pay them under this policy; several make a book.")
    ] = None,
    parameters: Annotated[Path | None, typer.Option(help="TOML: name = value.", exists=True, dir_okay=False)] = None,
    dirt: Annotated[
        float, typer.Option(help="Share of faulty rows, in the shapes of real files; not by person.")
    ] = 0.0,
    faults_out: Annotated[Path | None, typer.Option(help="Write what was put where, too.", dir_okay=False)] = None,
    encoding: Annotated[Encoding, typer.Option(help="Of .csv files.")] = Encoding.UTF_8,
    people_out: Annotated[Path | None, typer.Option(help="Write the residents, too.", dir_okay=False)] = None,
    roster_out: Annotated[Path | None, typer.Option(help="Write the roster of the poor, too.", dir_okay=False)] = None,
) -> None:
    """Write a city's claims, or with --paid-under its history of payments."""
    if parameters is not None and not paid_under:
        raise typer.BadParameter("expected --paid-under with it", param_hint="--parameters")
    if dirt and order is RowOrder.PERSON:
        raise typer.BadParameter(
            "expected another --order with it: dirt is put into a whole ledger", param_hint="--dirt"
        )
    if faults_out is not None and not dirt:
        raise typer.BadParameter("expected --dirt with it", param_hint="--faults-out")
    _check_files([out, faults_out, people_out, roster_out], encoding)
    try:
        made = City(
            people,
            seed,
            profile=profile,
            year=year,
            region=region,
            months=_months(months),
            reversals=reversals,
            ids=ids.value,
        )
        parts = _parts(made, rows, order.value, _policies(paid_under, parameters))
        if dirt:
            dirty, faults = spoil(pa.concat_tables(parts), dirt, seed)
            parts = [dirty]
            if faults_out is not None:
                _write([faults], faults_out, encoding)
        count = _write(parts, out, encoding)
        if people_out is not None:
            _write([made.people()], people_out, encoding)
        if roster_out is not None:
            _write([made.roster()], roster_out, encoding)
    except (ValueError, OSError) as error:
        typer.echo(f"yibao-datagen: {error}", err=True)
        raise typer.Exit(2) from error
    if sys.stderr.isatty():
        typer.echo(f"{out}: {count:,} rows of {people:,} people", err=True)


@app.command("edges")
def edges_of(
    policy: Annotated[str, typer.Option(metavar="ID|FILE", help="Whose edges.")],
    out: Annotated[Path, typer.Option(help="File to write: .parquet or .csv.", dir_okay=False)],
    parameters: Annotated[Path | None, typer.Option(help="TOML: name = value.", exists=True, dir_okay=False)] = None,
) -> None:
    """Write bills on every edge of a policy, a fen below and a fen above, for every category."""
    try:
        _check_files([out], Encoding.UTF_8)
        table = edges(_policies([policy], parameters))
        count = _write([table], out, Encoding.UTF_8)
    except (ValueError, OSError) as error:
        typer.echo(f"yibao-datagen: {error}", err=True)
        raise typer.Exit(2) from error
    if sys.stderr.isatty():
        typer.echo(f"{out}: {count:,} rows", err=True)


@app.command("check")
def check_city(
    people: People = 200_000,
    seed: Seed = 1,
    profile: ProfileName = "weihai-2019",
    report: Report = None,
    meps: Annotated[Path | None, typer.Option(help="A person panel of MEPS, for the tail.", exists=True)] = None,
) -> None:
    """Print what the profile asks for beside what is generated; exit code 1 where it is missed."""
    from yibao_datagen.check import check_lines, measure

    try:
        found = measure(City(people, seed, profile=profile))
        for line in check_lines(found.targets):
            typer.echo(line)
        if report is not None:
            from yibao_datagen.report import write_report

            typer.echo(f"the page: {write_report(found, report, meps)}")
    except (ValueError, OSError) as error:
        typer.echo(f"yibao-datagen: {error}", err=True)
        raise typer.Exit(2) from error
    if not all(target.is_met for target in found.targets):
        raise typer.Exit(1)


def _write(parts: Iterable[pa.Table], out: Path, encoding: Encoding) -> int:
    """Write a file as its name says; return how many rows it has."""
    return write_csv(parts, out, encoding.value) if out.suffix.lower() == ".csv" else write_parquet(parts, out)


def _check_files(files: list[Path | None], encoding: Encoding) -> None:
    """Refuse, before minutes of work, files that could not be written, or would replace each other."""
    given = [file for file in files if file is not None]
    for file in given:
        if file.suffix.lower() not in (".parquet", ".csv"):
            raise typer.BadParameter(f"{file}: expected a name that ends in .parquet or .csv")
        if not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"{file}: expected a folder that is there")
    if len({file.absolute() for file in given}) < len(given):
        raise typer.BadParameter(f"expected another name for each file, got {', '.join(map(str, given))}")
    if encoding is not Encoding.UTF_8 and not any(file.suffix.lower() == ".csv" for file in given):
        raise typer.BadParameter("expected a .csv file with it", param_hint="--encoding")


def _months(text: str) -> int | tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (text.isascii() and first.isdecimal() and (last.isdecimal() or not dash)):
        raise ValueError(f"months: expected a number such as 8, or two such as 9-12, got {text}")
    return (int(first), int(last)) if dash else int(first)


def _parts(made: City, rows: int | None, order: Order, policies: Any) -> Iterable[pa.Table]:
    if order != "person":
        table = made.ledger(rows=rows, order=order)
        return [table if policies is None else _paid(table, policies)]
    parts: Iterator[pa.Table] = made.ledgers()
    if rows is not None:
        parts = _first(parts, rows)
    return parts if policies is None else (_paid(part, policies) for part in parts)


def _first(parts: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    for part in parts:
        yield part.slice(0, rows)
        rows -= len(part)
        if rows <= 0:
            return


def _paid(ledger: pa.Table, policies: Any) -> pa.Table:
    import yibao
    from yibao_datagen.history import pay

    try:
        return pay(ledger, policies)
    except yibao.SettlementError as error:
        raise ValueError(str(error)) from error


def _policies(sources: list[str] | None, parameters: Path | None) -> Any:
    """Return the policies that claims are paid under, each with its own table of the parameter file, or all with all of it."""
    if not sources:
        return None
    import yibao

    values: dict[str, Any] = {} if parameters is None else tomllib.loads(parameters.read_text(encoding="utf-8"))
    try:
        ids = [yibao.load_policy(source).id for source in sources]
        book = [yibao.load_policy(source, values.get(id, values)) for source, id in zip(sources, ids, strict=True)]
    except yibao.SettlementError as error:
        raise ValueError(str(error)) from error
    return book[0] if len(book) == 1 else book


def main() -> None:
    """Run the command line."""
    app()
