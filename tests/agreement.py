"""The engine's results against the oracle's, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

import oracle
import oracle_policies
import oracle_stays
import yibao

BASIC = {
    "basic_deductible_1": "200",
    "basic_deductible_2": "500.05",
    "basic_deductible_3": "1000",
    "basic_deductible_9": "100",
    "basic_rate_1": "90 %",
    "basic_rate_2": "75.5 %",
    "basic_rate_3": "60 %",
    "basic_rate_9": "85 %",
    "basic_limit": "150000",
}

PARAMETERS: dict[str, dict[str, Any]] = {
    "weihai-2019": {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"},
    "shandong-2017": {"assistance_deductible": "300", "assistance_rate": "65.5 %", "assistance_limit": "8000.01"},
    "demo-city": {
        "orphan_deductible": "3000",
        "marginal_deductible": {"low_income": "500"},
        "marginal_rate": {"low_income": "50 %"},
        "marginal_limit": {"low_income": "4000"},
    },
    "linyi-2019": {
        "area_deductible": {"registered_poor": "1000", "severe_disability": "200.01"},
        "area_rate": "60.5 %",
        "area_limit": "8000",
        "catastrophic_deductible": "12000",
        "catastrophic_rate": "55 %",
        "catastrophic_limit": "300000",
        "outpatient_deductible": "200",
        "outpatient_rate": "50 %",
        **BASIC,
    },
    "linyi-2020": {
        "area_deductible": "1000",
        "area_rate": "60 %",
        "area_limit": "12000.01",
        "poorest_rate": "75 %",
        "poorest_limit": {"dibao": "11000"},
        "disposable_income": "36000.03",
        "catastrophic_deductible": "18000",
        "catastrophic_rate": "60 %",
        "catastrophic_limit": "400000",
        "special_drug_deductible": "20000",
        "special_drug_rate": "40 %",
        "special_drug_limit": "200000",
        "orphan_deductible": "300",
        "orphan_rate": "55 %",
        "orphan_limit": "9000",
        "outpatient_deductible": "100.01",
        "outpatient_rate": {
            "destitute": "50 %",
            "dibao": "40 %",
            "registered_poor": "33.33 %",
            "severe_disability": "20 %",
        },
        **BASIC,
    },
    "wenzhou-2019": {"catastrophic_deductible": "20000", "others_rate": {"orphan": "65.55 %"}},
    "fuxin-2020": {"disposable_income": "30001.01", **BASIC},
}
OTHER: dict[str, dict[str, Any]] = {
    **PARAMETERS,
    "weihai-2019": {
        "assistance_deductible": {"dibao": "500", "destitute": "0"},
        "assistance_rate": {"dibao": "66.67 %", "destitute": "100 %"},
        "assistance_limit": {"dibao": "20000", "destitute": "30000"},
        "special_drug_deductible": "20000",
        "special_drug_rate": "40 %",
        "special_drug_limit": "200000",
    },
    "linyi-2019": PARAMETERS["linyi-2019"]
    | {"special_drug_deductible": "10000", "special_drug_rate": "50 %", "special_drug_limit": "100000"},
    "wenzhou-2019": {
        "catastrophic_deductible": "18000",
        "catastrophic_rate": "70 %",
        "dibao_rate": "80 %",
        "marginal_rate": "65.5 %",
        "assistance_limit": {"dibao": "90000.01"},
    },
}
LEAST = {
    "demo-city": PARAMETERS["demo-city"],
    "linyi-2019": {name: PARAMETERS["linyi-2019"][name] for name in ("area_deductible", "area_rate", "area_limit")},
    "linyi-2020": {name: PARAMETERS["linyi-2020"][name] for name in ("area_deductible", "area_rate", "area_limit")},
    "wenzhou-2019": {"catastrophic_deductible": "20000"},
    "fuxin-2020": {"disposable_income": "30001.01"},
}
ORACLES = {
    "weihai-2019": oracle.WEIHAI_2019,
    "shandong-2017": oracle.SHANDONG_2017,
    "demo-city": oracle.DEMO_CITY,
    "linyi-2019": oracle_policies.LINYI_2019,
    "linyi-2020": oracle_policies.LINYI_2020,
    "wenzhou-2019": oracle_policies.WENZHOU_2019,
    "fuxin-2020": oracle_policies.FUXIN_2020,
    "demo-county": oracle_policies.DEMO_COUNTY,
}


def books(ids: Sequence[str], parameters: Mapping[str, Any] | None = None) -> tuple[list[Any], list[Any]]:
    """Return the engine's book and the oracle's, with the same parameters."""
    values: Mapping[str, Any] = PARAMETERS if parameters is None else parameters
    engine = [yibao.load_policy(name, parameters=values.get(name)) for name in ids]
    judge = [ORACLES[name].with_parameters(values.get(name) or {}) for name in ids]
    return engine, judge


def fen(column: pa.ChunkedArray) -> list[int | None]:
    return [None if cell is None else int(cell.scaleb(2)) for cell in column.to_pylist()]


def row_differences(table: pa.Table, outcomes: Sequence[oracle.Outcome]) -> list[str]:
    """Return a line for each cell in which a settled table and the oracle's outcomes differ."""
    found = []
    status = table["status"].to_pylist()
    flags = [frozenset(filter(None, cell.split(";"))) for cell in table["flags"].to_pylist()]
    columns = {layer: fen(table[f"{layer}_paid"]) for layer in oracle.LAYERS}
    personal = fen(table["personal_paid"])
    for row, expected in enumerate(outcomes):
        if status[row] != expected.status:
            found.append(f"row {row}: status: expected {expected.status}, got {status[row]}")
        elif expected.paid is not None:
            got = {layer: columns[layer][row] for layer in oracle.LAYERS}
            if got != expected.paid or personal[row] != expected.personal:
                found.append(f"row {row}: expected {expected.paid} {expected.personal}, got {got} {personal[row]}")
        if flags[row] != expected.flags:
            found.append(f"row {row}: flags: expected {sorted(expected.flags)}, got {sorted(flags[row])}")
    return found + meter_differences(table, outcomes)


def meter_differences(table: pa.Table, outcomes: Sequence[oracle.Outcome], *, demanded: bool = False) -> list[str]:
    """Return a line for each row whose deductible borne or number of stay differs (0004.11).

    The columns must be there where the oracle has moved a meter, or where the caller's book has one.
    """
    expected = [(outcome.deductible_borne, outcome.stay_number) for outcome in outcomes]
    names = ("deductible_borne", "stay_number")
    if not demanded and all(cells == (None, None) for cells in expected):
        return []
    if not set(names) <= set(table.column_names):
        return [f"expected the columns {names}"]
    borne, number = (table[name] for name in names)
    if not pa.types.is_decimal(borne.type) or not pa.types.is_integer(number.type):
        return [f"expected money and a whole number, got {borne.type} and {number.type}"]
    got = zip(fen(borne), number.to_pylist(), strict=True)
    return [
        f"row {row}: deductible borne and stay number: expected {judged}, got {cells}"
        for row, (judged, cells) in enumerate(zip(expected, got, strict=True))
        if judged != cells
    ]


def closing_of(table: pa.Table) -> dict[tuple[Any, int, int], dict[str, tuple[int, int]]]:
    """Return a closing table in the oracle's shape, without empty accounts; the meter's stays stand as its payments."""
    found: dict[tuple[Any, int, int], dict[str, tuple[int, int]]] = {}
    for row in table.to_pylist():
        if row.get("episode_id") is not None:
            continue
        accounts = found.setdefault((row["person_id"], row["benefit_year"], row["insured_city"]), {})
        balance = (int(row["base"].scaleb(2)), int(row["paid"].scaleb(2)))
        if row["account"] == oracle_stays.METER and balance[1] == 0:
            balance = (balance[0], row["stays"])
        if balance != (0, 0):
            accounts[row["account"]] = balance
    return found


def episodes_of(table: pa.Table) -> dict[Any, tuple[int, int, int]]:
    """Return the episodes of a closing table in the oracle's shape (0004.12)."""
    return {
        (row["person_id"], row["insured_city"], row["episode_id"]): (
            int(row["base"].scaleb(2)),
            row["stays"],
            row["benefit_year"],
        )
        for row in table.to_pylist()
        if row.get("episode_id") is not None
    }


def episode_differences(table: pa.Table, expected: Mapping[Any, tuple[int, int, int]]) -> list[str]:
    """Return a line for each episode that differs.

    One that is no longer begun has no year in which it began (0004.13): only its credit is compared.
    """
    got, judged = (
        {key: (borne, number, year if number else None) for key, (borne, number, year) in episodes.items()}
        for episodes in (episodes_of(table), expected)
    )
    return [
        f"episode {key}: expected {judged.get(key)}, got {got.get(key)}"
        for key in got.keys() | judged.keys()
        if got.get(key) != judged.get(key)
    ]


def closing_differences(
    table: pa.Table, expected: Mapping[Any, Mapping[str, tuple[int, int]]], dropped: Sequence[str] = ()
) -> list[str]:
    """Return a line for each person-year whose balances differ.

    A layer without rule and column keeps no account (0001.28): the oracle's are left aside.
    """
    got = closing_of(table)
    kept = {account for accounts in got.values() for account in accounts}
    silent = {name.removesuffix("_paid") for name in dropped} - kept
    judged = {
        key: {name: tuple(balance) for name, balance in accounts.items() if any(balance) and name not in silent}
        for key, accounts in expected.items()
    }
    return [
        f"closing {key}: expected {judged.get(key)}, got {got.get(key)}"
        for key in got.keys() | judged.keys()
        if got.get(key) != judged.get(key)
    ]


def reaccount_differences(a: Any, expected: Any, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each place in which a re-accounting and the oracle's differ: rows, deltas, entries."""
    found = []
    settled = a.settled
    status, flags = settled["status"].to_pylist(), settled["flags"].to_pylist()
    new = {layer: fen(settled[f"{layer}_paid"]) for layer in oracle.LAYERS}
    personal = fen(settled["personal_paid"])
    for row, judged in enumerate(expected.rows):
        if status[row] != judged.status:
            found.append(f"row {row}: status: expected {judged.status}, got {status[row]}")
            continue
        if frozenset(filter(None, flags[row].split(";"))) != judged.flags:
            found.append(f"row {row}: flags: expected {sorted(judged.flags)}, got {flags[row]}")
        if judged.new is not None:
            got = {layer: new[layer][row] for layer in oracle.LAYERS}
            if got != judged.new or personal[row] != judged.personal_new:
                found.append(f"row {row}: expected {judged.new} {judged.personal_new}, got {got} {personal[row]}")
    deltas = {
        row["settlement_id"]: {name: int(amount.scaleb(2)) for name, amount in row.items() if name.endswith("_delta")}
        for row in a.deltas.to_pylist()
    }
    judged_deltas = {
        rows[row]["settlement_id"]: {f"{layer}_delta": amount for layer, amount in judged.deltas.items()}
        | {"personal_delta": judged.personal_delta, "unrouted_delta": judged.unrouted_delta}
        for row, judged in enumerate(expected.rows)
        if judged.deltas is not None
    }
    found += [f"delta {key}: expected {judged_deltas.get(key)}, got {deltas.get(key)}"
              for key in deltas.keys() | judged_deltas.keys() if deltas.get(key) != judged_deltas.get(key)]  # fmt: skip
    for name in ("transfers", "held", "decreases", "unrouted"):
        got_entries = entries_of(getattr(a, name).to_pylist(), name)
        judged_entries = entries_of(getattr(expected, name), name)
        found += [
            f"{name} {key}: expected {judged_entries.get(key)}, got {got_entries.get(key)}"
            for key in got_entries.keys() | judged_entries.keys()
            if got_entries.get(key) != judged_entries.get(key)
        ]
    return found


def entries_of(entries: Sequence[Mapping[str, Any]], name: str) -> dict[tuple[Any, ...], int]:
    """Return entries by their key; of unrouted ones the sums by fund and layer."""
    sums: dict[tuple[Any, ...], int] = {}
    for entry in entries:
        key: tuple[Any, ...] = (entry["person_id"], entry["benefit_year"], entry["fund"], entry["layer"])
        if name != "unrouted":
            key += (entry["payee_kind"], str(entry["payee_id"]))
        if name == "decreases":
            key += (entry["action"],)
        amount = entry["amount_fen"] if "amount_fen" in entry else int(entry["amount"].scaleb(2))
        sums[key] = sums.get(key, 0) + amount
    return {key: amount for key, amount in sums.items() if amount or name != "unrouted"}


def previous_table(entries: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the oracle's entries as a table of earlier transfers."""
    from decimal import Decimal

    return pa.table(
        {
            "person_id": pa.array([entry["person_id"] for entry in entries]),
            "benefit_year": pa.array([entry["benefit_year"] for entry in entries], pa.int32()),
            "fund": pa.array([entry["fund"] for entry in entries], pa.string()),
            "layer": pa.array([entry["layer"] for entry in entries], pa.string()),
            "payee_kind": pa.array([entry["payee_kind"] for entry in entries], pa.string()),
            "payee_id": pa.array([str(entry["payee_id"]) for entry in entries], pa.string()),
            "amount": pa.array([Decimal(entry["amount_fen"]).scaleb(-2) for entry in entries], pa.decimal128(18, 2)),
        }
    )
