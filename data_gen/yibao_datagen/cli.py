"""The command line: `yibao-datagen city --out FILE`. The only module that needs typer (extra `cli`)."""

import sys
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

import yibao_datagen

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class IdType(StrEnum):
    INT64 = "int64"
    TEXT = "text"


@app.callback()
def root() -> None:
    """Make invented claims. Nobody's data: the same options and seed give the same file."""


@app.command()
def city(
    out: Annotated[Path, typer.Option(help="Parquet file to write.", dir_okay=False)],
    people: Annotated[int, typer.Option(min=1, help="Enrolled residents.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows in all. [default: 5.2 a person]")] = None,
    year: Annotated[int, typer.Option(min=1990, max=2100)] = 2019,
    months: Annotated[int, typer.Option(min=1, max=12, help="Service dates in the first so many months.")] = 8,
    region: Annotated[int, typer.Option(help="City, 4 digits: 3710, 3713, 3303 or 2109.")] = 3710,
    ids: Annotated[IdType, typer.Option(help="Ids as numbers or as text.")] = IdType.INT64,
    reversals: Annotated[bool, typer.Option(help="Take some settlements back and bill again.")] = True,
    shuffled: Annotated[bool, typer.Option(help="Rows in any order, not as settled.")] = False,
    paid_under: Annotated[str | None, typer.Option(help="Pay them under this policy: an id or a file.")] = None,
    parameters: Annotated[Path | None, typer.Option(help="TOML: name = value.", exists=True, dir_okay=False)] = None,
) -> None:
    """Write a city's claims, or with --paid-under its history of payments."""
    if parameters is not None and paid_under is None:
        raise typer.BadParameter("expected --paid-under with it", param_hint="--parameters")
    try:
        table = yibao_datagen.city(
            people, seed, year, region, reversals, ids.value, months=months, rows=rows, shuffled=shuffled
        )
        if paid_under is not None:
            table = _paid(table, paid_under, parameters)
        _write(table, out)
    except (ValueError, OSError) as error:
        typer.echo(f"yibao-datagen: {error}", err=True)
        raise typer.Exit(1) from error
    if sys.stderr.isatty():
        typer.echo(f"{out}: {len(table):,} rows of {people:,} people", err=True)


def _paid(ledger: pa.Table, source: str, parameters: Path | None) -> pa.Table:
    """Return the ledger paid under a policy with the values of the parameter file."""
    import yibao

    values = None if parameters is None else tomllib.loads(parameters.read_text(encoding="utf-8"))
    try:
        return yibao_datagen.pay(ledger, yibao.load_policy(source, values))
    except yibao.SettlementError as error:
        raise ValueError(str(error)) from error


def _write(table: pa.Table, out: Path) -> None:
    """Write the table beside `out` first, so that an interrupted run leaves no half file under its name."""
    unfinished = out.with_name(out.name + ".part")
    try:
        pq.write_table(table, unfinished, compression="lz4", store_decimal_as_integer=True)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)


def main() -> None:
    """Run the command line."""
    app()
