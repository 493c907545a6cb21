"""What a roster alone changed: the replay with it less the replay without it. Amounts in yuan, by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import agreement_runs
import ledgers
import oracle
import oracle_reaccount
import yibao

LAYERS = oracle.LAYERS
MONEY = tuple(f"{name}_by_roster" for name in (*LAYERS, "personal", "unrouted"))


def bill(number: int, month: int, category: str = "ordinary", **cells: Any) -> dict[str, Any]:
    """Return 30,000 of a resident of Weihai; paid as the new rule pays an ordinary resident's first 30,000: 7,200."""
    row: dict[str, Any] = {
        "settlement_id": number,
        "reverses": None,
        "person_id": "P1",
        "settled_at": datetime(2019, month, 20),
        "service_date": date(2019, month, 20),
        "insured_region": 371002,
        "treated_region": 371002,
        "hospital_id": "H1",
        "category": category,
        "birth_date": None,
        "care_type": "inpatient",
        "total_fee": "30000",
        "eligible_fee": "30000",
        "has_social_card_account": True,
        "has_commercial_supplement": False,
    }
    return row | {f"{layer}_paid": "0" for layer in LAYERS} | {"catastrophic_paid": "7200"} | cells


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.table({name: [row[name] for row in rows] for name in rows[0]})


def roster(*entries: tuple[Any, str, date | None, date | None]) -> pa.Table:
    days = {"from": pa.date32(), "to": pa.date32()}
    names = ("person_id", "category", "from", "to")
    return pa.table({name: pa.array([e[i] for e in entries], days.get(name)) for i, name in enumerate(names)})


def again(*rows: dict[str, Any], listed: Any, policy: Any = "weihai-2019", **options: Any) -> yibao.Reaccount:
    parameters = options.pop("parameters", None)
    result: yibao.Reaccount = yibao.reaccount(
        table(*rows), yibao.load_policy(policy, parameters=parameters), roster=listed, **options
    )
    return result


def changes(a: yibao.Reaccount) -> list[dict[str, Any]]:
    """Return the table, money of 0 left out; each row of it adds up to 0."""
    found = []
    for row in a.roster_changes.to_pylist():
        assert sum(row[name] for name in MONEY) == 0
        found.append({name.removesuffix("_by_roster"): cell for name, cell in row.items() if cell or name == "rows"})
    return found


def change(rows: int, before: str, after: str, year: int = 2019, person: Any = "P1", **money: int) -> dict[str, Any]:
    own = {"person_id": person, "benefit_year": year, "rows": rows, "category_before": before, "category_after": after}
    return own | money


def test_backdated_recognition_shows_what_it_was_worth() -> None:
    """Recognised in June from 1 March on: 30,000, 60,000, 90,000 as an ordinary resident, then in hardship."""
    rows = [
        bill(1, 2),
        bill(2, 4, catastrophic_paid="18000"),
        bill(3, 6, catastrophic_paid="17000"),
    ]
    a = again(*rows, listed=roster(("P1", "dibao", date(2019, 3, 1), None)))
    assert a.settled["catastrophic_paid"].to_pylist() == [7_200, 19_500, 19_500]
    # Without: 25,200 − 7,200 and 43,200 − 25,200. That June was paid 1,000 too little is not the roster's doing.
    assert changes(a) == [change(2, "ordinary", "dibao", catastrophic=3_000, personal=-3_000)]
    assert a.summary["deltas"]["catastrophic"] == "4000.00"


@pytest.mark.parametrize(
    ("start", "end", "rows", "catastrophic"),
    [
        (None, None, 2, 10_550),  # 16,250 + 19,500 − 7,200 − 18,000
        (None, date(2019, 3, 20), 1, 9_050),  # 16,250 + 18,000; both days included
        (date(2019, 4, 20), None, 1, 1_500),  # 7,200 + 19,500
        (None, date(2019, 3, 19), 0, 0),
        (date(2019, 4, 21), None, 0, 0),
    ],
)
def test_open_periods_change_the_rows_they_cover(start: Any, end: Any, rows: int, catastrophic: int) -> None:
    """Point 11: both days included, empty = open."""
    a = again(bill(1, 3), bill(2, 4, catastrophic_paid="18000"), listed=roster(("P1", "低保", start, end)))
    expected = [change(rows, "ordinary", "dibao", catastrophic=catastrophic, personal=-catastrophic)] if rows else []
    assert changes(a) == expected
    assert (a.summary["roster"]["people"], a.summary["roster"]["rows"]) == (int(rows > 0), rows)


def test_replacing_may_take_money_away() -> None:
    """roster_mode="replace": 16,250 in hardship, 7,200 as an ordinary resident; adding ordinary changes nothing."""
    row = bill(1, 3, "dibao", catastrophic_paid="16250")
    listed = roster(("P1", "ordinary", None, None))
    assert changes(again(row, listed=listed)) == []
    replaced = again(row, listed=listed, roster_mode="replace")
    assert changes(replaced) == [change(1, "dibao", "ordinary", catastrophic=-9_050, personal=9_050)]


def test_rows_whose_own_category_stays_are_paid_otherwise_because_of_the_others() -> None:
    """Assistance of at most 15,000 a year; April is in hardship with the roster and without it."""
    parameters = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "15000"}
    rows = [bill(1, 3), bill(2, 4, "dibao", catastrophic_paid="19500")]
    listed = roster(("P1", "dibao", date(2019, 3, 1), date(2019, 3, 31)))
    a = again(*rows, listed=listed, parameters=parameters)
    # With: 70 % of 13,750 is 9,625, and of 24,250 all that the limit leaves: 5,375. Without: nothing in March, whose
    # 22,800 stand in the account, so that April lies beyond the limit: 15,000 − 15,000.
    assert a.settled["assistance_paid"].to_pylist() == [9_625, 5_375]
    assert changes(a) == [change(1, "ordinary", "dibao", catastrophic=9_050, assistance=15_000, personal=-24_050)]


def test_with_the_commercial_supplement_the_funds_have_the_difference() -> None:
    """Point 6: 16,250 instead of 7,200; the person's share stays, commercial insurance pays 9,050 less or nobody does."""
    listed = roster(("P1", "registered_poor", None, None))
    row = bill(1, 3, has_commercial_supplement=True, commercial_paid="10000")
    a = again(row, listed=listed)
    assert changes(a) == [change(1, "ordinary", "registered_poor", catastrophic=9_050, commercial=-9_050)]
    a = again(row | {"commercial_paid": "0"}, listed=listed)
    assert changes(a) == [change(1, "ordinary", "registered_poor", catastrophic=9_050, unrouted=-9_050)]


def edited(tmp_path: Path, old: str, new: str) -> str:
    """Return a copy of weihai-2019 in which something else is written."""
    text = (files("yibao_core") / "policies" / "weihai-2019.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = tmp_path / "edited.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return str(file)


def test_a_row_that_only_comes_under_the_supplement_rule_is_listed_with_its_category(tmp_path: Path) -> None:
    """Point 6 goes by all categories of a row, not by the one that counts: here 特困 comes first."""
    order = ("registered_poor", "destitute"), ("destitute", "registered_poor")
    policy = edited(tmp_path, *(f'order = ["{first}", "{second}"' for first, second in order))
    row = bill(1, 3, "destitute", has_commercial_supplement=True, commercial_paid="10000")
    options: dict[str, Any] = {"recorded_after_change": "keep", "policy": policy}
    a = again(row, listed=roster(("P1", "registered_poor", None, None)), **options)
    # Both replays pay 16,250; without the roster the person keeps the 9,050, with it commercial insurance does.
    assert changes(a) == [change(1, "destitute", "destitute", commercial=-9_050, personal=9_050)]
    assert a.summary["roster"]["without_effect"]["other_category_favoured"] == 0
    other = again(row | {"has_commercial_supplement": False}, listed=roster(("P1", "建档立卡", None, None)), **options)
    assert changes(other) == []
    assert other.summary["roster"]["without_effect"]["other_category_favoured"] == 1


def test_a_row_that_the_new_category_rejects_is_compared_with_nothing(tmp_path: Path) -> None:
    """Section 6.4: a rejected row has no delta; what the replay without the roster gave it is gone."""
    policy = edited(tmp_path, 'id = "hardship"\nwho = ["hardship"]\n', 'id = "hardship"\nwho = ["hardship"]\nage = { from = 18 }\n')  # fmt: skip
    rows = [bill(1, 3, catastrophic_paid="7000"), bill(2, 4, catastrophic_paid="18000", birth_date=date(1990, 1, 1))]
    a = again(*rows, listed=roster(("P1", "dibao", date(2019, 3, 1), date(2019, 3, 31))), policy=policy)
    assert a.settled["status"].to_pylist() == ["BIRTH_DATE_MISSING", "SETTLED"]
    # Without: 200 more in March, April as paid. With: April is the first 30,000 of the year: 7,200 less 18,000.
    assert changes(a) == [change(1, "ordinary", "dibao", catastrophic=-11_000, personal=11_000)]
    assert a.summary["roster"]["rows"] == 1


def test_categories_stand_in_the_order_in_which_their_rows_were_settled() -> None:
    """Several in one year, joined by `;`, in order of first appearance; ties by id; the order of the input is no matter."""
    rows = [
        bill(11, 3, "low_income", settled_at=datetime(2019, 5, 1)),
        bill(9, 3, "ordinary", settled_at=datetime(2019, 5, 1)),
        bill(3, 4, "dibao_marginal", settled_at=datetime(2019, 4, 30)),
        bill(4, 4, "low_income", settled_at=datetime(2019, 4, 1)),
        bill(5, 5, "dibao", settled_at=datetime(2019, 3, 1)),  # stays what it is
    ]
    listed = roster(("P1", "dibao", None, date(2019, 4, 30)), ("P1", "registered_poor", None, date(2019, 3, 31)))
    for order in (rows, rows[::-1]):
        (row,) = again(*order, listed=listed).roster_changes.to_pylist()
        assert row["category_before"] == "low_income;dibao_marginal;ordinary"
        assert row["category_after"] == "dibao;registered_poor"
        assert row["rows"] == 4


def test_years_and_persons_stand_apart_and_cities_together() -> None:
    """One row a person and benefit year; rows outside the window are not replayed and count for nothing."""
    policy = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]
    rows = [
        bill(1, 3),
        bill(2, 3, insured_region=370602, catastrophic_paid="9000"),  # Yantai: the province's rule
        bill(3, 3, service_date=date(2018, 3, 1), catastrophic_paid="9000"),
        bill(4, 3, person_id="P2"),
        bill(5, 3, person_id="P2", service_date=date(2019, 9, 1)),
        bill(6, 3, person_id="P3", service_date=date(2019, 9, 1)),
    ]
    a = yibao.reaccount(table(*rows), policy, roster=roster(*((p, "建档立卡", None, None) for p in ("P3", "P2", "P1"))))
    assert changes(a) == [
        change(1, "ordinary", "registered_poor", 2018, catastrophic=4_200, personal=-4_200),  # 13,200 − 9,000
        change(2, "ordinary", "registered_poor", catastrophic=13_250, personal=-13_250),  # 9,050 + 4,200
        change(1, "ordinary", "registered_poor", person="P2", catastrophic=9_050, personal=-9_050),
    ]
    assert a.summary["roster"] == {
        "entries": 3,
        "people": 2,
        "rows": 4,
        "unmatched": {"person_not_in_ledger": 0, "no_row_in_period": 0},
        "without_effect": {"category_already_there": 0, "other_category_favoured": 0, "no_row_computed": 1},
        "not_compared": None,
    }


def test_a_pair_that_is_taken_out_counts_for_nothing() -> None:
    """Section 5: original and reversal are taken out together; they are not replayed."""
    first = bill(1, 3)
    undone = first | {"settlement_id": 2, "reverses": 1, "settled_at": datetime(2019, 3, 21)}
    undone |= {"total_fee": "-30000", "eligible_fee": "-30000", "catastrophic_paid": "-7200"}
    a = again(first, undone, listed=roster(("P1", "dibao", None, None)))
    assert changes(a) == []
    assert a.summary["roster"]["without_effect"]["no_row_computed"] == 1


def test_every_entry_without_effect_has_its_reason() -> None:
    """Person not in the ledger, no row in the period; category already there, another one favoured; nothing computed."""
    entries = [
        ("P1", "dibao", None, None),  # counts
        ("P1", "illness_poverty", None, None),  # 低保 is favoured
        ("P2", "dibao", None, None),  # as the ledger says
        ("P2", "low_income,dibao_marginal", None, None),  # the ledger's 低保 is favoured
        ("P1", "dibao", date(2019, 4, 1), date(2019, 4, 19)),
        ("P9", "dibao", None, None),
        ("P3", "dibao", None, None),  # no readable day
        ("P4", "dibao", None, None),  # an unknown category of the ledger's own
        ("P2", "dibao,registered_poor", date(2019, 5, 1), None),
    ]
    rows = [
        bill(1, 4),
        bill(2, 3, "dibao", person_id="P2", catastrophic_paid="16250"),
        bill(3, 3, person_id="P3", service_date=None),
        bill(4, 3, "poor", person_id="P4"),
        bill(5, 5, "dibao,illness_poverty", person_id="P2", catastrophic_paid="19500"),
    ]
    a = again(*rows, listed=roster(*entries))
    assert [row["person_id"] for row in changes(a)] == ["P1", "P2"]
    assert a.summary["roster"] == {
        "entries": 9,
        "people": 2,
        "rows": 2,
        "unmatched": {"person_not_in_ledger": 1, "no_row_in_period": 2},
        "without_effect": {"category_already_there": 1, "other_category_favoured": 2, "no_row_computed": 1},
        "not_compared": None,
    }


def test_where_the_replay_without_the_roster_is_refused_the_money_is_null() -> None:
    """Point 3: without the roster 100 of assistance would stand behind a change, and nobody says what becomes of it."""
    row = bill(1, 3, "dibao", assistance_paid="100")
    listed = roster(("P1", "ordinary", None, None))
    a = again(row, listed=listed, roster_mode="replace")
    (found,) = a.roster_changes.to_pylist()
    assert (found["rows"], found["category_before"], found["category_after"]) == (1, "dibao", "ordinary")
    assert {found[name] for name in MONEY} == {None}
    assert "assistance: 1 rows with 100.00 yuan" in a.summary["roster"]["not_compared"]
    kept = again(row, listed=listed, roster_mode="replace", recorded_after_change="keep")
    assert changes(kept) == [change(1, "dibao", "ordinary", catastrophic=-9_050, personal=9_050)]
    assert kept.summary["roster"]["not_compared"] is None


def test_without_a_roster_the_table_is_empty_and_the_summary_silent() -> None:
    """The columns are always there."""
    a = again(bill(1, 3), listed=None)
    full = again(bill(1, 3), listed=roster(("P1", "dibao", None, None)))
    assert len(a.roster_changes) == 0
    assert a.roster_changes.schema == full.roster_changes.schema
    assert "roster" not in a.summary
    empty = again(bill(1, 3), listed=roster(("P1", "dibao", None, None)).slice(0, 0))
    assert empty.roster_changes.equals(a.roster_changes)
    assert empty.summary["roster"]["entries"] == 0


def test_a_ledger_under_other_names_with_history_and_rows_of_nobody() -> None:
    """The affected people's rows are read again as the whole ledger was: column map, history, text ids, unit of money."""
    policy = yibao.load_policy("weihai-2019")
    past = bill(1, 1, person_id=12)
    lone = past | {"settlement_id": 4, "reverses": 1, "settled_at": datetime(2019, 5, 1)}
    lone |= {"total_fee": "-30000", "eligible_fee": "-30000", "catastrophic_paid": "-7200"}
    rows = [bill(2, 3, person_id=None), bill(3, 4, person_id=12), lone, bill(5, 4, person_id=0)]
    options: dict[str, Any] = {"columns": {"person_id": "psn_no"}, "money": "int64_fen"}
    ledger = table(*rows).rename_columns(["psn_no" if name == "person_id" else name for name in past])
    history = yibao.settle_ledger(table(bill(1, 1, person_id=7), past), policy).table
    a = yibao.reaccount(ledger, policy, history=history, roster=roster(("12", "dibao", None, None)), **options)
    (found,) = a.roster_changes.to_pylist()
    assert (found["person_id"], found["rows"]) == (12, 1)
    assert (found["catastrophic_by_roster_fen"], found["personal_by_roster_fen"]) == (905_000, -905_000)


def test_settling_with_a_roster_is_settling_a_ledger_that_says_the_same() -> None:
    """The same semantics as in a re-accounting; a reversal goes by its original."""
    rows = [bill(1, 2), bill(2, 4), bill(3, 5, person_id="P2")]
    undone = rows[1] | {"settlement_id": 4, "reverses": 2, "settled_at": datetime(2019, 6, 1)}
    undone |= {"total_fee": "-30000", "eligible_fee": "-30000", "catastrophic_paid": "-7200"}
    policy = yibao.load_policy("weihai-2019")
    listed = roster(("P1", "dibao", date(2019, 3, 1), None), ("P2", "特困", None, date(2019, 4, 30)))
    result = yibao.settle_ledger(table(*rows, undone), policy, roster=listed)
    assert result.table["catastrophic_paid"].to_pylist() == [7_200, 19_500, 7_200, -19_500]
    assert result.summary["roster"] == {
        "entries": 2,
        "people": 1,
        "rows": 1,
        "unmatched": {"person_not_in_ledger": 0, "no_row_in_period": 1},
        "without_effect": {"category_already_there": 0, "other_category_favoured": 0, "no_row_computed": 0},
    }
    said = [rows[0], rows[1] | {"category": "ordinary,dibao"}, rows[2], undone]
    assert result.closing.equals(yibao.settle_ledger(table(*said), policy).closing)
    replaced = yibao.settle_ledger(table(*said), policy, roster=listed, roster_mode="replace")
    assert replaced.table["catastrophic_paid"].to_pylist() == result.table["catastrophic_paid"].to_pylist()
    assert "roster" not in yibao.settle_ledger(table(*rows), policy).summary
    with pytest.raises(yibao.LedgerError, match="roster: category: expected known categories"):
        yibao.settle_ledger(table(*rows), policy, roster=roster(("P1", "poor", None, None)))


# --- Against the oracle ----------------------------------------------------------------------------


def judged_categories(scene: agreement_runs.Scene, listed: Any, mode: str) -> dict[int, tuple[Any, ...]]:
    """Return the rows that count otherwise with the roster: person, year, time and id, category before and after."""
    recognised = oracle_reaccount.Roster.read(listed, mode)
    reader = oracle.Reader(frozenset(scene.columns))
    found = {}
    for index, row in enumerate(scene.rows):
        bill = reader.bill(index, row)
        own = oracle.categories_of(row["category"] or "")
        if bill.service_date is None or bill.person_id is None or own is None:
            continue
        policy = oracle.policy_of(scene.judge, bill.region, bill.service_date, None)
        if policy is None:
            continue
        bill.categories = own
        recognised.recategorise(bill)
        before, after = policy.favoured(own), policy.favoured(bill.categories)
        ruled = ("registered_poor" in own) != ("registered_poor" in bill.categories)
        if before != after or (ruled and row["has_commercial_supplement"]):
            found[index] = (bill.person_id, bill.year, bill.order, before, after)
    return found


def taken_out(rows: Sequence[ledgers.Row], results: Sequence[oracle_reaccount.RowResult]) -> set[int]:
    """Return settled reversals and what they reverse."""
    at = {(row["person_id"], row["settlement_id"]): index for index, row in enumerate(rows)}
    out = {i for i, row in enumerate(rows) if row["reverses"] is not None and results[i].status == "SETTLED"}
    return out | {at.get((rows[i]["person_id"], rows[i]["reverses"]), i) for i in out}


def sums(rows: Sequence[ledgers.Row], results: Sequence[oracle_reaccount.RowResult]) -> dict[Any, dict[str, int]]:
    """Return the deltas of each person and year added up."""
    found: dict[Any, dict[str, int]] = {}
    for row, result in zip(rows, results, strict=True):
        if result.deltas is not None:
            assert result.personal_delta is not None
            assert result.unrouted_delta is not None
            total = found.setdefault((row["person_id"], row["service_date"].year), dict.fromkeys(MONEY, 0))
            parts = {**result.deltas, "personal": result.personal_delta, "unrouted": result.unrouted_delta}
            for name, amount in parts.items():
                total[f"{name}_by_roster"] += amount
    return found


def expected_changes(
    scene: agreement_runs.Scene, listed: Any, mode: str, options: dict[str, Any]
) -> dict[Any, dict[str, Any]]:
    """Return the table as two oracle re-accountings differ."""
    columns = set(scene.columns)
    runs = [
        oracle_reaccount.reaccount(scene.rows, columns, scene.judge, roster=entries, roster_mode=mode, **options).rows
        for entries in (listed, None)
    ]
    out = [taken_out(scene.rows, results) for results in runs]
    lines: dict[Any, list[tuple[Any, ...]]] = {}
    for index, (person, year, *rest) in judged_categories(scene, listed, mode).items():
        if any(runs[i][index].deltas is not None and index not in out[i] for i in (0, 1)):
            lines.setdefault((person, year), []).append(tuple(rest))
    with_roster, without = (sums(scene.rows, results) for results in runs)
    nothing = dict.fromkeys(MONEY, 0)
    differences = {
        key: {name: with_roster.get(key, nothing)[name] - without.get(key, nothing)[name] for name in MONEY}
        for key in {**with_roster, **without}
    }
    assert all(key in lines for key, money in differences.items() if any(money.values()))  # nobody else is touched
    return {
        key: {
            "rows": len(own),
            "category_before": ";".join(dict.fromkeys(before for _, before, _ in sorted(own))),
            "category_after": ";".join(dict.fromkeys(after for _, _, after in sorted(own))),
            **differences[key],
        }
        for key, own in lines.items()
    }


@pytest.mark.parametrize("seed", range(48))
def test_random_ledgers_change_by_the_roster_as_two_oracle_runs_differ(seed: int) -> None:
    """Every book, with rejects, reversals and other kinds of ids."""
    scene = agreement_runs.scene(seed, 400)
    listed = None
    while listed is None:
        listed = agreement_runs._roster(scene.rng, scene.rows)
    mode = scene.rng.choice(("add", "replace"))
    options = {"recorded_after_change": scene.rng.choice(("keep", "implied_rate"))}
    expected = expected_changes(scene, listed, mode, options)
    engine: dict[str, Any] = {"roster": agreement_runs._roster_table(listed), "roster_mode": mode, **options}
    a = yibao.reaccount(ledgers.to_arrow(scene.rows, scene.columns), scene.engine, **engine)
    got = {
        (row.pop("person_id"), row.pop("benefit_year")): row
        | {name: int(Decimal(row[name]).scaleb(2)) for name in MONEY}
        for row in a.roster_changes.to_pylist()
    }
    assert got == expected
    counts = a.summary["roster"]
    assert counts["people"] == len({person for person, _ in expected})
    assert counts["rows"] == sum(row["rows"] for row in expected.values())
    assert counts["entries"] == len(listed)
    shuffled = ledgers.to_arrow(random.Random(seed).sample(scene.rows, len(scene.rows)), scene.columns)
    other = yibao.reaccount(shuffled, scene.engine, threads=2, **engine)
    keys = [("person_id", "ascending"), ("benefit_year", "ascending")]
    assert other.roster_changes.sort_by(keys).equals(a.roster_changes.sort_by(keys))
    assert other.summary["roster"] == counts
