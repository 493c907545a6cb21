"""Synthea's claims as a ledger: a join of claims with their encounters and patients, a group-by over transactions.

Charges are total and eligible fee; what the primary insurer paid stands in for basic insurance. Dates are cut in UTC.
The encounter's class gives the hospital's level (a test value): inpatient and emergency 3, urgent care 2, anything
else 1. Stays that begin while another of the person goes on are one episode.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

CLAIMS, TRANSACTIONS, ENCOUNTERS, PATIENTS = FILES = (
    "claims.csv", "claims_transactions.csv", "encounters.csv", "patients.csv",
)  # fmt: skip
MONEY = pa.decimal128(18, 2)
PRIMARY_INSURER = "1"
LEVELS = {"inpatient": 3, "emergency": 3, "urgentcare": 2}
STAYS = ("inpatient", "emergency", "snf", "hospice")


def read_ledger(folder: Path, region: int) -> pa.Table:
    """Return one row a claim, in the order of the file; everybody is insured and treated in `region`."""
    claims = _read(folder / CLAIMS, "Id", "PATIENTID", "APPOINTMENTID", "SERVICEDATE")
    amounts = _amounts(_read(folder / TRANSACTIONS, "CLAIMID", "CHARGEID", "TYPE", "AMOUNT", "METHOD", "TRANSFERTYPE", "PAYMENTS"))  # fmt: skip
    encounters = _read(folder / ENCOUNTERS, "Id", "START", "STOP", "PATIENT", "ORGANIZATION", "ENCOUNTERCLASS")
    patients = _read(folder / PATIENTS, "Id", "BIRTHDATE")
    amounts = _joined(amounts, "CLAIMID", claims["Id"])
    encounter = _joined(encounters, "Id", claims["APPOINTMENTID"])
    levels = [LEVELS.get(name, 1) for name in encounter["ENCOUNTERCLASS"].to_pylist()]
    moments = pc.local_timestamp(claims["SERVICEDATE"]).cast(pa.timestamp("us"))
    rows = len(claims)
    return pa.table(
        {
            "settlement_id": claims["Id"],
            "person_id": claims["PATIENTID"],
            "settled_at": moments,
            "service_date": moments.cast(pa.date32()),
            "insured_region": pa.array([region] * rows, pa.int32()),
            "treated_region": pa.array([region] * rows, pa.int32()),
            "hospital_id": encounter["ORGANIZATION"],
            "hospital_level": pa.array(levels, pa.int8()),
            "episode_id": pa.array(_episodes(encounters, claims["APPOINTMENTID"]), pa.string()),
            "category": pa.array(["ordinary"] * rows, pa.string()),
            "care_type": pa.array(["inpatient"] * rows, pa.string()),
            "birth_date": _joined(patients, "Id", claims["PATIENTID"])["BIRTHDATE"],
            "total_fee": amounts["charged"],
            "eligible_fee": amounts["charged"],
            "basic_paid": amounts["insured"],
            "catastrophic_paid": pa.array([Decimal(0)] * rows, MONEY),
            "has_social_card_account": pa.array([True] * rows),
        }
    )


def oracle_rows(ledger: pa.Table) -> list[dict[str, Any]]:
    """Return a ledger's rows as the oracle reads them: money in fen."""
    rows: list[dict[str, Any]] = ledger.to_pylist()
    for row in rows:
        row |= {name: int(cell.scaleb(2)) for name, cell in row.items() if isinstance(cell, Decimal)}
    return rows


def _read(file: Path, *columns: str) -> pa.Table:
    types = {"AMOUNT": MONEY, "PAYMENTS": MONEY, "CHARGEID": pa.int64(), "BIRTHDATE": pa.date32()}
    moments = {name: pa.timestamp("s", "UTC") for name in ("SERVICEDATE", "START", "STOP")}
    options = csv.ConvertOptions(
        include_columns=list(columns),
        column_types={name: pa.string() for name in columns} | types | moments,
        strings_can_be_null=True,
    )
    return csv.read_csv(file, convert_options=options)


def _amounts(transactions: pa.Table) -> pa.Table:
    """Return each claim's charges and what the primary insurer paid: electronically, while the balance lay with it."""
    ordered = transactions.sort_by([("CLAIMID", "ascending"), ("CHARGEID", "ascending")])
    kind = ordered["TYPE"]
    moves = pc.is_in(kind, pa.array(["CHARGE", "TRANSFERIN"]))  # every claim begins with a charge
    holder = pc.fill_null_forward(pc.if_else(moves, ordered["TRANSFERTYPE"], pa.scalar(None, pa.string())))
    charges = pc.equal(kind, "CHARGE")
    insured = pc.and_(pc.equal(kind, "PAYMENT"), pc.equal(pc.fill_null(ordered["METHOD"], ""), "ECHECK"))
    insured = pc.and_(insured, pc.equal(holder, PRIMARY_INSURER))
    nothing = pa.scalar(Decimal(0), MONEY)
    parts = pa.table(
        {
            "CLAIMID": ordered["CLAIMID"],
            "charged": pc.if_else(charges, pc.fill_null(ordered["AMOUNT"], nothing), nothing),
            "insured": pc.if_else(insured, ordered["PAYMENTS"], nothing),
        }
    )
    sums = parts.group_by("CLAIMID").aggregate([("charged", "sum"), ("insured", "sum")])
    return pa.table(
        {"CLAIMID": sums["CLAIMID"]} | {name: sums[f"{name}_sum"].cast(MONEY) for name in ("charged", "insured")}
    )


def _joined(table: pa.Table, key: str, wanted: pa.ChunkedArray) -> pa.Table:
    """Return the table's row for each key that is wanted, in their order."""
    found = pc.index_in(wanted, table[key])
    assert found.null_count == 0, f"{key}: {found.null_count} rows are not there"
    return table.take(found)


def _episodes(encounters: pa.Table, wanted: pa.ChunkedArray) -> list[str | None]:
    """Return the first encounter of a claim's chain of stays, None where its encounter stands alone."""
    chains: dict[str, list[str]] = {}
    chain: list[str] = []
    person, until = None, datetime.min
    stays = encounters.filter(pc.is_in(encounters["ENCOUNTERCLASS"], pa.array(STAYS)))
    for stay in stays.sort_by([(name, "ascending") for name in ("PATIENT", "START", "STOP", "Id")]).to_pylist():
        begin, end = (stay[name].replace(tzinfo=None) for name in ("START", "STOP"))
        if stay["PATIENT"] != person or begin > until:
            chain, until = [], datetime.min
        person, until = stay["PATIENT"], max(until, end)
        chain.append(stay["Id"])
        chains[stay["Id"]] = chain
    return [chains[id][0] if len(chains.get(id, [])) > 1 else None for id in wanted.to_pylist()]
