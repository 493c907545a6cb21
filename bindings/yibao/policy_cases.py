"""Worked examples that an office keeps beside its policy: read, checked, settled as a ledger, compared.

A case file names its policy, what all its examples assume, and its cases: a title, the sentence that decides it, the given
rows in the order of settlement, and what each layer pays.
"""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from yibao.ledger import KNOWN, UNITED
from yibao_core.errors import PolicyError, RowStatus, SettlementError
from yibao_core.policy import LAYERS, Policy
from yibao_core.policy_file import BUILTIN_CASES, builtin_ids, read_policy
from yibao_core.toml_values import Faults, Table, hint, shown, yuan_to_fen

if TYPE_CHECKING:
    import pyarrow as pa

_TOP = ("policy", "assumed", "cases")
_CASE = ("title", "source", "parameters", "given", "expected")
_AMOUNTS = (*LAYERS, "personal", "deductible_borne")
_EXPECTED = (*_AMOUNTS, "stay_number", "status", "flags")
_DAYS = ("service_date", "birth_date", "settled_at")
_ASKED = ("birth_date", "hospital_level", "treated_region", "insured_region")
"""What some rules ask a row for: a case that says nothing of it has an empty cell there, not a ledger without the column."""


class Case(NamedTuple):
    """One worked example."""

    file: Path
    title: str
    source: str
    parameters: Mapping[str, Any] | None
    given: tuple[dict[str, Any], ...]  # claims in the order of settlement
    expected: tuple[dict[str, Any], ...]  # of each: layers and personal in Decimal yuan, status, flags, …


class Difference(NamedTuple):
    """A row that is not settled as its case expects."""

    row: int  # from 1
    lines: tuple[tuple[str, str, str], ...]  # what, expected, got
    explanation: str


def case_files(policy: str) -> list[Path]:
    """Return the case files of a built-in id, or those beside a policy file: NAME.cases.toml and cases/*.toml of its id.

    Those that cannot be read are among them, for `read_cases` to say why. PolicyError where a policy is neither, and for
    files there that no policy could claim: an example that is skipped without a word counts as one that passed.
    """
    if policy in builtin_ids():
        return [file for file in sorted(BUILTIN_CASES.glob("*.toml")) if _named_in(file, "policy") == policy]
    found = read_policy(policy)  # its faults first
    path = Path(policy)
    beside = path.with_name(f"{path.stem}.cases.toml")
    inside = sorted((path.parent / "cases").glob("*.toml"))
    named = {file: _named_in(file, "policy") for file in ([beside] if beside.is_file() else []) + inside}
    others = (_named_in(file, "id") for file in path.parent.glob("*.toml"))
    known = {found.id, *builtin_ids(), *map(str, filter(None, others))}
    faults = [
        f"{file}: policy: expected the id of a policy in {path.parent}, got {shown(name)}{hint(name, known)}"
        for file, name in named.items()
        if name is not None and (name not in known or (file == beside and name != found.id))
    ]
    if faults:
        raise PolicyError(faults)
    return [file for file, name in named.items() if name is None or name == found.id]


def read_cases(file: Path) -> list[Case]:
    """Return the cases of a file. PolicyError lists every fault."""
    try:
        data = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PolicyError(f"{file}: expected a TOML file in UTF-8, got: {reason}") from None
    faults = Faults()
    top = Table(data, "", faults, _TOP)
    top.text("policy", "[a-z0-9-]+")
    assumed = data.get("assumed", {})
    if isinstance(assumed, dict):
        assumed = _row(Table(assumed, "assumed", faults), assumed)
    else:
        top.fault("assumed", "a table of columns", shown(assumed))
        assumed = {}
    cases = [_case(file, table, raw, assumed) for table, raw in zip(*_listed(top, data, "cases", _CASE), strict=True)]
    if faults.lines:
        raise PolicyError([f"{file}: {line}" for line in faults.lines])
    return cases


def run_case(case: Case, policy: Policy) -> list[Difference]:
    """Settle the case's rows as the ledger that they are; return what differs.

    PolicyError, with file and case, where the policy cannot settle them at all (a required parameter is missing).
    """
    import yibao

    table = _ledger_of(case.given)
    try:
        result = yibao.settle_ledger(table, policy, show_ids=True)
    except SettlementError as error:
        raise PolicyError([f"{case.file}: {case.title}: {line}" for line in str(error).splitlines()]) from None
    rejects = {entry["row"]: f"{entry['column']}: got {entry['value']}" for entry in result.rejects.to_pylist()}
    found = []
    for index, (row, expected) in enumerate(zip(result.table.to_pylist(), case.expected, strict=True)):
        lines = _compare(expected, _got(row))
        if lines:
            why = rejects.get(index) or yibao.explain(table, row["settlement_id"], policy)
            found.append(Difference(index + 1, lines, why))
    return found


def _ledger_of(rows: Sequence[Mapping[str, Any]]) -> "pa.Table":
    """Return a case's rows as a ledger; what some rules ask for is there, empty where no row says it."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys((*(name for row in rows for name in row), *_ASKED)):
        cells = [row.get(name) for row in rows]
        if name in _DAYS:
            days = [cell if cell is None or isinstance(cell, datetime) else _midnight(cell) for cell in cells]
            columns[name] = pa.array(days, pa.timestamp("us"))
        elif name in UNITED or any(isinstance(cell, str) or _is_long(cell) for cell in cells):
            columns[name] = pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
        else:
            columns[name] = pa.array(cells)
    return pa.table(columns)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def _is_long(cell: object) -> bool:
    return isinstance(cell, int) and abs(cell) >= 2**63


def _got(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{layer: row[f"{layer}_paid"] for layer in LAYERS},
        "personal": row["personal_paid"],
        "deductible_borne": row.get("deductible_borne"),
        "stay_number": row.get("stay_number"),
        "status": row["status"],
        "flags": sorted(filter(None, row["flags"].split(";"))),
    }


def _compare(expected: Mapping[str, Any], got: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Return the lines that differ; where the status does, nothing else counts."""
    wanted: dict[str, Any] = {"status": "SETTLED", **expected}
    if wanted["status"] != got["status"]:
        return (("status", str(wanted["status"]), str(got["status"])),)
    if got["status"] != "SETTLED":
        return ()
    names = [name for name in wanted if wanted[name] != got[name]]
    return tuple((name, _text(wanted[name]), _text(got[name])) for name in names)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(value) or "none"
    return f"{value:,}" if isinstance(value, Decimal) else "nothing" if value is None else str(value)


def _named_in(file: Path, key: str) -> Any:
    """Return the policy that a case file is for, or the id of a policy file; None where the file cannot be read."""
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig")).get(key)
    except (OSError, ValueError):
        return None


def _listed(
    table: Table, raw: Mapping[str, Any], key: str, keys: tuple[str, ...]
) -> tuple[list[Table], list[dict[str, Any]]]:
    """Return the tables in a list and their cells; neither where it is no such list."""
    tables = table.tables(key, keys)
    return tables, raw[key] if tables else []


def _case(file: Path, table: Table, raw: Mapping[str, Any], assumed: Mapping[str, Any]) -> Case:
    given_tables, given_cells = _listed(table, raw, "given", ())
    expected_tables, expected_cells = _listed(table, raw, "expected", _EXPECTED)
    given = [_row(each, cells) for each, cells in zip(given_tables, given_cells, strict=True)]
    rows = []
    for number, cells in enumerate(given, start=1):
        first = {"settlement_id": f"S{number:02}", "settled_at": datetime(2020, 1, 1) + timedelta(days=number)}
        rows.append({**first, **assumed, **cells})
    expected = [_expected(each, cells) for each, cells in zip(expected_tables, expected_cells, strict=True)]
    if given_tables and expected_tables and len(given) != len(expected):
        table.fault("expected", f"one row for each of the {len(given)} given", f"{len(expected)} rows")
    for each, row, wanted in zip(expected_tables, rows, expected, strict=False):
        _check_sum(each, row, wanted)
    parameters = table.table("parameters", (), required=False)
    return Case(
        file,
        table.text("title"),
        table.text("source"),
        None if parameters is None else raw["parameters"],
        tuple(rows),
        tuple(expected),
    )


def _row(table: Table, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a given row as a claim: dates as dates, money as text."""
    row: dict[str, Any] = {}
    for name, cell in cells.items():
        if name not in KNOWN:
            table.fault(name, "a column of a ledger", f"an unknown one{hint(name, KNOWN)}")
        elif name in _DAYS:
            row[name] = _day(table, name, cell)
        elif name in UNITED:
            row[name] = _money(table, name, cell)
        elif isinstance(cell, str | int):
            row[name] = cell
        else:
            table.fault(name, "text, a number or true/false", shown(cell))
    return row


def _day(table: Table, name: str, cell: object) -> date | None:
    if isinstance(cell, date):
        return cell
    try:
        return (datetime if name == "settled_at" else date).fromisoformat(str(cell))
    except ValueError:
        table.fault(name, "a date such as 2019-03-01", shown(cell))
        return None


def _money(table: Table, name: str, cell: object) -> str | None:
    """Return yuan as text, also below zero: reversals are."""
    minus = isinstance(cell, str) and cell.startswith("-")
    if isinstance(cell, int) and not isinstance(cell, bool) and cell < 0:
        cell, minus = str(cell), True
    try:
        fen = yuan_to_fen(str(cell)[1:] if minus else cell)
    except ValueError as error:
        table.faults.line(table.at(name), str(error))
        return None
    return str(Decimal(-fen if minus else fen).scaleb(-2))


def _expected(table: Table, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row should come to: layers that are not named pay nothing."""
    status = table.choice("status", [status.name for status in RowStatus], "SETTLED")
    if status and status != "SETTLED":
        for name in cells:
            if name != "status":
                table.fault(name, "nothing beside a reject code", shown(cells[name]))
        return {"status": status}
    expected: dict[str, Any] = dict.fromkeys(LAYERS, Decimal("0.00"))
    if "personal" not in table:
        table.fault("personal", "what is left to the person, in yuan", "nothing")
    for name in _AMOUNTS:
        if name in table:
            text = _money(table, name, cells[name])
            expected[name] = Decimal("0.00") if text is None else Decimal(text)
    if "stay_number" in table:
        expected["stay_number"] = table.whole("stay_number", 0, 10_000)
    if "flags" in table:
        expected["flags"] = sorted(table.words("flags", "[A-Z_]+"))
    return expected


def _check_sum(table: Table, row: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Report a row whose expected amounts are not its total fee: the example itself was worked out wrong."""
    total = row.get("total_fee")
    if expected.get("status", "SETTLED") != "SETTLED" or not isinstance(total, str) or "personal" not in expected:
        return
    found = sum((expected[name] for name in (*LAYERS, "personal")), Decimal(0))
    if found != Decimal(total) and not table.faults.spoiled(table.path):
        table.faults.add(table.path, f"amounts that add up to the total fee of {total}", str(found))
