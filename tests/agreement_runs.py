"""One random ledger, settled or re-accounted by the engine and by the oracle: what differs. Runs in worker processes."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

import agreement
import ledgers
import oracle
import oracle_reaccount
import yibao

KNOWN = (None, "settled_at", date(2019, 6, 30), date(2020, 1, 1))
HARDLY = 3  # so many differences of one ledger are told


class Scene(NamedTuple):
    """A random ledger and what it is judged under."""

    rng: random.Random
    rows: list[ledgers.Row]
    columns: list[str]
    engine: list[Any]
    judge: list[Any]


BOOKS: tuple[tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    (("weihai-2019",), (371002, 371003, 370602), (2019,)),
    (("demo-city",), (990101, 990102, 990201), (2018, 2019)),
    (("shandong-2017", "weihai-2019"), (371002, 371003, 370602, 120101), (2018, 2019)),
    (("shandong-2017",), (371002,), (2018, 2019)),
    (("weihai-2019", "shandong-2017", "demo-city"), (371002, 990101), (2018, 2019)),
    (("linyi-2019",), (371302, 371311, 370602), (2018, 2019)),
    (("wenzhou-2019",), (330302, 330303), (2018, 2019)),
    (("fuxin-2020",), (210902, 371302), (2019, 2020)),
    (("linyi-2020",), (371302,), (2020,)),
    (("demo-county",), (990201, 990202, 990101), (2018, 2019)),
    (("demo-county", "demo-city"), (990201, 990202, 990101), (2018, 2019)),
    (("linyi-2019", "linyi-2020"), (371302, 371311), (2019, 2020)),
    (
        ("fuxin-2020", "linyi-2020", "linyi-2019", "weihai-2019", "wenzhou-2019", "shandong-2017"),
        (371302, 371002, 330302, 210902, 370602),
        (2019, 2020),
    ),
)


def scene(seed: int, count: int) -> Scene:
    """Return a ledger of `count` rows; the seed picks the book, the dirt, the reversals and the kind of ids."""
    rng = random.Random(seed)
    ids, regions, years = BOOKS[seed % len(BOOKS)]
    turn = seed // len(BOOKS) + seed  # so that the seeds of one book differ in what is chosen by turns
    rows = ledgers.random_rows(
        rng,
        count,
        max(2, count // rng.choice((3, 8, 40))),
        regions=regions,
        years=years,
        bad=rng.choice((0.0, 0.02, 0.1)),
        reversals=rng.choice((0.0, 0.05, 0.2)),
        text_ids=rng.random() < 0.3,
        region_of_person=turn % 3 > 0,
    )
    given = rng.choice((agreement.PARAMETERS, agreement.PARAMETERS, agreement.OTHER, agreement.LEAST))
    engine, judge = agreement.books(ids, given)
    return Scene(rng, rows, list(rows[0]), engine, judge)


def settle_differences(seed: int, count: int) -> list[str]:
    """Return where the engine and the oracle differ on a ledger, its closing balances, and other orders of its rows.

    Always `count` rows are compared: where both refuse a ledger without some column, they are once more with all of them.
    """
    rng, rows, columns, engine, judge = scene(seed, count)
    as_known = None if len(engine) == 1 else KNOWN[(seed // len(BOOKS) + seed) % len(KNOWN)]
    dropped = rng.choice(
        (
            [],
            ["commercial_paid", "pku_paid"],
            ["assistance_paid"],
            ["self_funded_fee"],
            ["personal_paid"],
            ["episode_id"],
            ["hospital_level"],
            ["treated_region"],
        )
    )
    if rng.random() < 0.3:
        columns = [*columns, *_recall_meter(rng, rows)]
    every, columns = columns, [name for name in columns if name not in dropped]
    entries = _roster(rng, rows)
    options: dict[str, Any] = {"as_known": as_known}
    recognised: dict[str, Any] = {}
    if entries is not None:
        options |= {"roster": _roster_table(entries), "roster_mode": rng.choice(("add", "replace"))}
        recognised = {"recategorise": oracle_reaccount.Roster.read(entries, options["roster_mode"]).recategorise}
    found = []
    try:
        expected = oracle.settle_ledger(rows, set(columns), judge, as_known=as_known, **recognised)
    except oracle.LedgerFault as fault:
        lacking = ledgers.to_arrow(rows, columns)
        found += _not_refused(fault, dropped[0], lambda: yibao.settle_ledger(lacking, engine, **options))
        columns, dropped = every, []
        expected = oracle.settle_ledger(rows, set(columns), judge, as_known=as_known, **recognised)
    table = ledgers.to_arrow(rows, columns)
    result = yibao.settle_ledger(table, engine, **options)
    found += _differences(result, expected, judge, dropped)
    for order in (list(reversed(range(count))), rng.sample(range(count), count)):
        again = yibao.settle_ledger(table.take(pa.array(order)), engine, threads=2, **options).table
        back = again.take(pa.array(np.argsort(order)))
        if not back.equals(result.table):
            found.append("another order of the rows gives another result")
    if rng.random() < 0.5:
        later = options if as_known in (None, "settled_at") else options | {"as_known": date(2020, 6, 1)}
        found += _differences_in_halves(rng, rows, columns, engine, judge, (options, later), recognised)
    return [f"seed {seed}: {line}" for line in found[:HARDLY]]


def _not_refused(fault: oracle.LedgerFault, column: str, run: Callable[[], Any]) -> list[str]:
    """Return a line where the engine runs on without a column that the oracle demands, or does not name it."""
    if column not in str(fault):
        return [str(fault)]
    try:
        run()
    except yibao.LedgerError as refusal:
        return [] if column in str(refusal) else [f"expected {column} to be named, got {refusal}"]
    return [f"expected a refusal: {fault}"]


def _differences(result: Any, expected: oracle.Result, judge: list[Any], dropped: list[str]) -> list[str]:
    """Return where one run of the engine and the oracle's differ."""
    found = agreement.row_differences(result.table, expected.outcomes)
    if any(policy.has_meter for policy in judge):
        found += agreement.meter_differences(result.table, expected.outcomes, demanded=True)
    found += agreement.closing_differences(result.closing, expected.closing, dropped)
    found += agreement.episode_differences(result.closing, expected.episodes)
    if result.summary["violations"]:
        found.append(f"violations: {result.summary['violations']}")
    return found


def _recall_meter(rng: random.Random, rows: list[ledgers.Row]) -> tuple[str, str]:
    """Give the reversals, whose originals may be unseen, what the bill is said to have done to the meter."""
    for row in rows:
        moved = row["reverses"] is not None and rng.random() < 0.8
        row["deductible_borne"] = rng.choice((-1, 1)) * rng.choice((0, 20_000, 50_005)) if moved else None
        if rng.random() < 0.01:
            row["deductible_borne"] = rng.choice((10**10, -(10**10) - 1, oracle.NOT_FEN))
        row["stay_number"] = rng.choice((None, 0, 1, 2, -1)) if moved else None
    return "deductible_borne", "stay_number"


def _differences_in_halves(
    rng: random.Random,
    rows: list[ledgers.Row],
    columns: list[str],
    engine: list[Any],
    judge: list[Any],
    options: tuple[dict[str, Any], dict[str, Any]],
    recognised: dict[str, Any],
) -> list[str]:
    """Return where they differ when the rows from some moment on are a run of their own, opened by the first.

    The second may know more of the book than the first, and nothing of the roster.
    """
    first_options, second_options = options
    forgotten = rng.random() < 0.5
    if forgotten:
        second_options = {"as_known": second_options["as_known"]}
    moments = sorted(row["settled_at"] for row in rows if row["settled_at"] is not None)
    cut = rng.choice(moments)
    halves = [[row for row in rows if (row["settled_at"] or cut) <= cut]]
    halves.append([row for row in rows if (row["settled_at"] or cut) > cut])
    if not halves[1]:
        return []
    first = oracle.settle_ledger(halves[0], set(columns), judge, as_known=first_options["as_known"], **recognised)
    opening = yibao.settle_ledger(ledgers.to_arrow(halves[0], columns), engine, **first_options)
    table = ledgers.to_arrow(halves[1], columns)

    def run() -> Any:
        return yibao.settle_ledger(table, engine, opening=opening.closing, history=opening.table, **second_options)

    try:
        expected = oracle.settle_ledger(
            halves[1],
            set(columns),
            judge,
            as_known=second_options["as_known"],
            opening=first.closing,
            opening_episodes=first.episodes,
            history=oracle.history_of(halves[0], columns, first),
            **({} if forgotten else recognised),
        )
    except oracle.LedgerFault as fault:  # without the roster a row reaches a rule that it did not reach before
        lacking = next(name for name in ("hospital_level", "treated_region") if name in str(fault))
        return _not_refused(fault, lacking, run)
    return [f"second half: {line}" for line in _differences(run(), expected, judge, dropped_of(columns))]


def dropped_of(columns: list[str]) -> list[str]:
    return [name for name in ledgers.PAID if name not in columns]


def _roster(rng: random.Random, rows: list[ledgers.Row]) -> list[dict[str, Any]] | None:
    if rng.random() < 0.5:
        return None
    entries = [
        {
            "person_id": rng.choice(rows)["person_id"],
            "category": rng.choice(("dibao", "registered_poor", "低保,特困")),
            "from": rng.choice((None, date(2019, 3, 1))),
            "to": rng.choice((None, date(2019, 8, 1))),
        }
        for _ in range(max(4, len(rows) // 30))
    ]
    return [entry for entry in entries if entry["person_id"] is not None] or None


def _roster_table(entries: list[dict[str, Any]] | None) -> pa.Table | None:
    if entries is None:
        return None
    days = {"from": pa.date32(), "to": pa.date32()}
    return pa.table({name: pa.array([entry[name] for entry in entries], days.get(name)) for name in entries[0]})


def reaccount_differences(seed: int, count: int) -> list[str]:
    """Return where the engine and the oracle differ on a re-accounting, on one after distorted earlier transfers, and on a third."""
    rng, rows, columns, engine, judge = scene(seed, count)
    table = ledgers.to_arrow(rows, columns)
    by_layer = dict.fromkeys(("assistance", "commercial", "reassistance", "special_drug", "pku"), "keep")
    options: dict[str, Any] = {
        "recorded_after_change": rng.choice(
            ("keep", "implied_rate", by_layer | {"institution_reduction": "implied_rate"}, None)
        ),
        "on_reject": rng.choice(("hold", "pay")),
        "on_decrease": rng.choice(("waive", "recover")),
    }
    roster = _roster(rng, rows)
    if roster is not None:
        options["roster_mode"] = rng.choice(("add", "replace"))
    previous: list[dict[str, Any]] | None = None
    found: list[str] = []
    if options["recorded_after_change"] is None:
        found += _not_refused_after_change(rows, columns, judge, engine, roster, options)
        options["recorded_after_change"] = "keep"
    for step in range(3):
        expected = oracle_reaccount.reaccount(rows, set(columns), judge, roster=roster, previous=previous, **options)
        a = yibao.reaccount(
            table,
            engine,
            roster=_roster_table(roster),
            previous_transfers=None if previous is None else agreement.previous_table(previous),
            **options,
        )
        found += agreement.reaccount_differences(a, expected, rows)
        if expected.check_identity() or a.summary["payments"]["identity_violations"]:
            found.append("the identity does not hold")
        if a.summary["violations"]:
            found.append(f"violations: {a.summary['violations']}")
        if step == 0:
            previous = [_distorted(rng, entry) for entry in expected.transfers] or None
        else:
            previous = [*(previous or []), *expected.transfers]
        if not previous:
            break
    return [f"seed {seed}: {line}" for line in found[:HARDLY]]


def _not_refused_after_change(
    rows: list[ledgers.Row],
    columns: list[str],
    judge: list[Any],
    engine: list[Any],
    roster: Any,
    options: dict[str, Any],
) -> list[str]:
    """Return a line where only one of the two refuses recorded money behind a change, or names other layers and amounts (§6.3)."""
    refused = said = ""
    try:
        oracle_reaccount.reaccount(rows, set(columns), judge, roster=roster, **options)
    except oracle_reaccount.Refused as refusal:
        refused = "; ".join(
            f"{layer}: {count} rows with {Decimal(amount).scaleb(-2)} yuan recorded"
            for layer, (count, amount) in refusal.counts.items()
        )
    try:
        yibao.reaccount(ledgers.to_arrow(rows, columns), engine, roster=_roster_table(roster), **options)
    except yibao.RecordedAfterChangeError as refusal:
        said = str(refusal)
    agree = refused in said if refused else not said
    return [] if agree else [f"refused: expected {refused or 'nothing'}, got {said or 'nothing'}"]


def _distorted(rng: random.Random, entry: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier transfer with another amount, or to a payee that is called otherwise today; or a recovery."""
    if rng.random() < 0.1:
        return {**entry, "amount_fen": -rng.choice((1, 100, entry["amount_fen"]))}
    renamed = rng.random() < 0.2 and not entry["payee_kind"].startswith("person")
    amount = entry["amount_fen"] - rng.choice((0, 100, -100))
    return {**entry, "amount_fen": amount, "payee_id": "9999" if renamed else entry["payee_id"]}
