"""Settler: row by row it is the ledger, whatever the claims look like; what is refused moves nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

import agreement
import agreement_runs
import ledgers
import oracle
import yibao
import yibao.settler
import yibao.single
from yibao_core.calendar import NO_DAY

PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
WEIHAI = yibao.load_policy("weihai-2019", parameters=PARAMETERS)
COUNTY = yibao.load_policy("demo-county")
DIBAO = yibao.Settler.categories_of("dibao")
DAY = yibao.Settler.day_of(date(2019, 3, 1))
ALONE = {"AFTER_REJECT", "STALE_AFTER_REVERSAL"}  # flags that say something of other rows


def bill(settlement_id: Any, total: str, **cells: Any) -> dict[str, Any]:
    return {
        "settlement_id": settlement_id,
        "person_id": "P1",
        "settled_at": date(2019, 3, 4),
        "service_date": date(2019, 3, 1),
        "insured_region": "371002",
        "category": "dibao",
        "care_type": "inpatient",
        "total_fee": total,
        "eligible_fee": total,
        "basic_paid": "0.00",
    } | cells


def settler(**options: Any) -> yibao.Settler:
    return yibao.Settler(WEIHAI, **options)


def in_shape(row: Mapping[str, Any], shape: str) -> dict[str, Any]:
    """Return a row of fen as a claim with Decimals, texts, or fen; what is no fen is a text."""
    claim: dict[str, Any] = {}
    for name, cell in row.items():
        if name not in ledgers.MONEY:
            claim[name] = cell
        elif cell == oracle.NOT_FEN:
            claim[name] = "12.345"
        elif shape == "fen":
            claim[f"{name}_fen"] = cell
        else:
            amount = None if cell is None else Decimal(cell).scaleb(-2)
            claim[name] = amount if shape == "decimal" or amount is None else str(amount)
    return claim


def code_or(settled: Callable[..., Any]) -> Any:
    """Return what a call returns, or the code with which it refuses."""
    try:
        return settled()
    except yibao.ClaimError as refusal:
        return refusal.code


def entries(closing: pa.Table) -> dict[Any, Any]:
    """Return a closing by person, year, city, account and episode, without empty accounts."""
    found = {}
    for row in closing.to_pylist():
        key = (*(row[name] for name in ("person_id", "benefit_year", "insured_city", "account")), row.get("episode_id"))
        balance = (row["base"], row["paid"], row.get("stays") or 0)
        if any(balance):
            found[key] = balance
    return found


def ledger_rows(seed: int, count: int) -> tuple[list[dict[str, Any]], Any, pa.Table, pa.Table]:
    """Return rows in the order in which they settle, their book, and the ledger's results and closing.

    Ids are unique (a ledger rejects both rows of one id), and only reversals stay whose original was seen and is settled.
    """
    rng = random.Random(seed)
    ids, regions, years = agreement_runs.BOOKS[seed % len(agreement_runs.BOOKS)]
    rows = ledgers.random_rows(
        rng, count, max(2, count // 8), regions=regions, years=years, bad=0.1, reversals=0.08, text_ids=seed % 2 == 1
    )
    book, _ = agreement.books(ids)
    unique = {row["settlement_id"]: row for row in reversed(rows) if row["settlement_id"] is not None}
    rows = sorted(unique.values(), key=lambda row: (row["settled_at"] or datetime(1900, 1, 1), row["settlement_id"]))
    first = yibao.settle_ledger(ledgers.to_arrow(rows), book).table.to_pylist()
    rows = [
        row
        for row, out in zip(rows, first, strict=True)
        if row["reverses"] is None or (out["status"] == "SETTLED" and "ORIGINAL_NOT_SEEN" not in out["flags"])
    ]
    result = yibao.settle_ledger(ledgers.to_arrow(rows), book)
    return rows, book if len(book) > 1 else book[0], result.table, result.closing


@pytest.mark.parametrize("seed", range(len(agreement_runs.BOOKS)))
def test_row_by_row_it_is_the_ledger(seed: int) -> None:
    rows, book, table, closing = ledger_rows(seed, 100 if seed < 5 else 40)  # stays in episodes take a table each
    one_by_one = yibao.Settler(book)
    balances: dict[Any, Any] = {}
    seen: dict[Any, yibao.Settlement] = {}
    shape = ("decimal", "text", "fen")[seed % 3]
    settled = 0
    for row, out in zip(rows, table.to_pylist(), strict=True):
        claim = in_shape(row, shape)
        person, original = row["person_id"], seen.get(row["reverses"])
        if out["status"] != "SETTLED":
            with pytest.raises(yibao.ClaimError) as refusal:
                one_by_one.settle(claim, original=original)
            assert refusal.value.code == out["status"]
            with pytest.raises(yibao.ClaimError) as alone_refused:
                yibao.settle(claim, book, opening=balances.get(person), original=original)
            assert str(alone_refused.value) == str(refusal.value)
            continue
        settled += 1
        held = one_by_one.settle(claim, original=original)
        alone = yibao.settle(claim, book, opening=balances.get(person), original=original)
        seen[row["settlement_id"]] = held
        balances[person] = alone.closing
        for one in (held, alone):
            assert one.paid == {layer: out[f"{layer}_paid"] for layer in oracle.LAYERS}
            assert one.personal_paid == out["personal_paid"]
            assert set(one.flags) - ALONE == set(filter(None, out["flags"].split(";"))) - ALONE
            assert one.deductible_borne == out.get("deductible_borne")
            assert one.stay_number == out.get("stay_number")
            assert one.policy is not None
            assert one.policy.id == out["policy_id"]
        assert {key: pair for key, pair in held.closing.items() if any(pair)} == {
            key: pair for key, pair in alone.closing.items() if any(pair)
        }
    assert settled > 10
    assert entries(one_by_one.closing) == entries(closing)
    for person, accounts in balances.items():
        assert {key: pair for key, pair in one_by_one.balances(person).items() if any(pair)} == {
            key: pair for key, pair in accounts.items() if any(pair)
        }


@pytest.mark.parametrize("seed", [0, 5, 9])
def test_closings_go_from_ledger_to_settler_and_back(seed: int) -> None:
    rows, book, _, _ = ledger_rows(seed, 90)
    rows = [row for row in rows if row["reverses"] is None]
    cut = len(rows) // 3
    parts = [rows[:cut], rows[cut : 2 * cut], rows[2 * cut :]]
    begun = yibao.settle_ledger(ledgers.to_arrow(parts[0]), book)
    middle = yibao.Settler(book, opening=begun.closing)
    assert entries(middle.closing) == entries(begun.closing)
    for row in parts[1]:
        try:
            middle.settle(in_shape(row, "text"))
        except yibao.ClaimError:
            continue
    expected = yibao.settle_ledger(ledgers.to_arrow(rows), book)
    ended = yibao.settle_ledger(ledgers.to_arrow(parts[2]), book, opening=middle.closing)
    assert entries(ended.closing) == entries(expected.closing)
    assert middle.closing.schema.names == begun.closing.schema.names
    assert middle.closing.schema.field("base").type == begun.closing.schema.field("base").type
    assert middle.closing.schema.field("person_id").type == begun.closing.schema.field("person_id").type
    assert ended.table["catastrophic_paid"].to_pylist() == expected.table["catastrophic_paid"].to_pylist()[2 * cut :]


@pytest.mark.parametrize("policy_id", ["weihai-2019", "shandong-2017", "wenzhou-2019", "linyi-2019", "demo-city"])
def test_integers_are_paid_as_the_mapping_is(policy_id: str) -> None:
    """settle_fen against settle, of the same claims in the same order."""
    rng = random.Random(5)
    (book,), _ = agreement.books([policy_id])
    region = int(book.region.ljust(4, "0") + "02")
    years = (2018, 2019) if policy_id != "weihai-2019" else (2019,)
    rows = ledgers.random_rows(rng, 120, 15, regions=(region,), years=years, bad=0.05, reversals=0.0)
    amounts = (*oracle.FEES, *ledgers.PAID)
    fast, mapped = yibao.Settler(book, amounts=amounts), yibao.Settler(book, remember_ids=False)
    paid = 0
    for row in rows:
        if row["person_id"] is None or row["service_date"] is None or row["settled_at"] is None:
            continue
        row = row | {name: 0 if row[name] in (None, oracle.NOT_FEN) else row[name] for name in ledgers.MONEY}
        row |= {"episode_id": None, "settlement_id": 1}
        del row["personal_paid"]

        def integers(row: dict[str, Any] = row) -> yibao.settler.PaidFen:
            return fast.settle_fen(
                row["person_id"],
                fast.day_of(row["service_date"]),
                fast.categories_of(row["category"] or ""),
                fast.care_type_of(row["care_type"] or ""),
                *(row[name] for name in amounts),
                region=row["insured_region"] or 0,
                settled_day=fast.day_of(row["settled_at"]),
                birth_day=NO_DAY if row["birth_date"] is None else fast.day_of(row["birth_date"]),
                hospital_level=None if row["hospital_level"] is None else int(row["hospital_level"]),
                treated_region=row["treated_region"] or 0,
            )

        expected = code_or(lambda row=row: mapped.settle(in_shape(row, "fen")))
        got = code_or(integers)
        if isinstance(expected, yibao.Settlement):
            assert [Decimal(amount).scaleb(-2) for amount in got] == [*expected.paid.values(), expected.personal_paid]
            paid += 1
        else:
            assert got == expected or expected == "MISSING_VALUE"  # an empty category is an unknown one here
    assert paid > 40
    assert entries(fast.closing) == entries(mapped.closing)


def test_integers_by_hand() -> None:
    """威医保发〔2019〕37号 二(二): 65 % above 5,000; then 70 % of what is left, at most 10,000 a year."""
    one = settler()
    arguments = ("P", DAY, DIBAO, one.care_type_of("住院"), 6_000_000, 5_000_000, 2_000_000)
    first = one.settle_fen(*arguments, region=371002)
    assert (first.basic, first.catastrophic, first.assistance, first.personal) == (
        2_000_000,
        1_625_000,
        962_500,
        1_412_500,
    )
    seen = one.settle_fen(*arguments, region=371002, commit=False)
    second = one.settle_fen(*arguments, region=371002)
    assert seen == second == (2_000_000, 1_950_000, 0, 37_500, 0, 0, 0, 0, 2_012_500)
    assert one.balances("P") == {
        (2019, 3710, "basic"): (Decimal("100000.00"), Decimal("40000.00")),
        (2019, 3710, "catastrophic"): (Decimal("60000.00"), Decimal("35750.00")),
        (2019, 3710, "assistance"): (Decimal("24250.00"), Decimal("10000.00")),
    }
    assert one.settle_fen(*arguments, region=371102).catastrophic == 1_625_000  # another city, another year


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({1: DAY - 365 * 40}, "NO_POLICY"),
        ({1: 10**9}, "MISSING_VALUE"),
        ({2: 0}, "UNKNOWN_CATEGORY"),
        ({2: 1 << 9}, "UNKNOWN_CATEGORY"),
        ({2: -1}, "UNKNOWN_CATEGORY"),
        ({3: -1}, "UNKNOWN_CARE_TYPE"),
        ({3: 5}, "UNKNOWN_CARE_TYPE"),
        ({4: 10**10 + 1}, "AMOUNT_OUT_OF_RANGE"),
        ({4: 2**64}, "AMOUNT_OUT_OF_RANGE"),
        ({5: 6_000_001}, "ELIGIBLE_EXCEEDS_TOTAL"),
        ({6: -1}, "WRONG_SIGN"),
        ({0: "  "}, "MISSING_VALUE"),
        ({0: 1.5}, "MISSING_VALUE"),
    ],
)
def test_integers_that_cannot_be_settled_move_nothing(change: dict[int, Any], code: str) -> None:
    one = settler()
    arguments: list[Any] = ["P", DAY, DIBAO, 0, 6_000_000, 5_000_000, 2_000_000]
    one.settle_fen(*arguments, region=371002)
    before = one.closing
    for index, value in change.items():
        arguments[index] = value
    with pytest.raises(yibao.ClaimError) as refusal:
        one.settle_fen(*arguments, region=371002)
    assert refusal.value.code == code
    assert one.closing.equals(before)
    assert len(one) == 1


def test_integers_of_another_number_or_kind_are_an_error_of_the_caller() -> None:
    one = settler(amounts=("total_fee", "eligible_fee"))
    for amounts in ((1,), (1, 1, 1), (1.5, 1)):
        with pytest.raises(TypeError, match="expected whole fen for total_fee, eligible_fee, got"):
            one.settle_fen("P", DAY, DIBAO, 0, *cast("tuple[int, ...]", amounts))
    assert len(one) == 0


@pytest.mark.parametrize("region", [0, 12, 99_999, 371002, 1_000_000, -5])
def test_a_region_that_is_none_is_no_city(region: int) -> None:
    """As in a ledger: six digits or nothing."""
    one = settler()
    one.settle_fen("P", DAY, DIBAO, 0, 6_000_000, 6_000_000, 0, region=region)
    assert {city for _, city, *_ in one.balances("P")} == {3710 if region == 371002 else 0}


def test_what_is_refused_moves_nothing() -> None:
    one = settler()
    one.settle(bill("A", "30000.00"))
    before = one.closing
    for cells, code in (
        ({"category": "?"}, "UNKNOWN_CATEGORY"),
        ({"eligible_fee": "30000.01"}, "ELIGIBLE_EXCEEDS_TOTAL"),
        ({"settlement_id": "A"}, "DUPLICATE_SETTLEMENT"),
        ({"settlement_id": " Ａ".replace("Ａ", "A")}, "DUPLICATE_SETTLEMENT"),
        ({"settlement_id": "A", "category": None}, "MISSING_VALUE"),
        ({"settlement_id": "A", "category": "?"}, "DUPLICATE_SETTLEMENT"),
        ({"person_id": None}, "MISSING_VALUE"),
        ({"reverses": "Z"}, "WRONG_SIGN"),
    ):
        with pytest.raises(yibao.ClaimError) as refusal:
            one.settle(bill("B", "30000.00") | cells)
        assert refusal.value.code == code
        assert one.closing.equals(before)
    with pytest.raises(yibao.LedgerError, match="total_fee"):
        one.settle({name: cell for name, cell in bill("B", "1.00").items() if name != "total_fee"})
    with pytest.raises(yibao.ClaimError, match="expected Decimal or text in yuan"):
        one.settle(bill("B", "1.00") | {"total_fee": 1.0})
    assert one.closing.equals(before)
    assert one.settle(bill("B", "30000.00")).paid["catastrophic"] == 19_500  # corrected, it may come again


def test_a_parameter_nobody_gave_is_refused_and_moves_nothing() -> None:
    city = yibao.Settler(yibao.load_policy("demo-city"))
    orphan = bill("A", "30000.00", category="orphan", insured_region="990101", service_date=date(2018, 3, 1))
    with pytest.raises(yibao.ParameterError, match="orphan_deductible"):
        city.settle(orphan)
    assert len(city) == 0


def test_a_preview_says_what_would_be_paid() -> None:
    one = settler()
    first = one.settle(bill("A", "30000.00"), commit=False)
    assert (len(one), one.balances("P1"), first.opening) == (0, {}, {})
    assert one.settle(bill("A", "30000.00")).paid == first.paid
    second = one.settle(bill("B", "30000.00"), commit=False)
    assert second.paid["catastrophic"] == 19_500  # 65 % of all 30,000
    assert second.opening == one.balances("P1") == first.closing
    assert one.settle(bill("B", "30000.00")).closing == second.closing == one.balances("P1")


def test_without_remembered_ids_a_claim_may_come_twice() -> None:
    one = settler(remember_ids=False)
    assert [one.settle(bill("A", "30000.00")).paid["catastrophic"] for _ in range(2)] == [16_250, 19_500]


def test_a_reversal_needs_its_original_and_comes_once() -> None:
    one = settler()
    one.settle(bill("A", "30000.00"))
    before = one.closing
    second = one.settle(bill("B", "20000.00"))
    back = bill("C", "-20000.00", reverses="B", basic_paid=None)
    with pytest.raises(yibao.ClaimError, match="REVERSAL_WITHOUT_ORIGINAL"):
        one.settle(back)
    undone = one.settle(back, original=second)
    assert undone.paid["catastrophic"] == -second.paid["catastrophic"] == -13_000
    assert entries(one.closing) == entries(before)
    with pytest.raises(yibao.ClaimError, match="REVERSAL_NOT_WHOLE"):
        one.settle(back | {"settlement_id": "D"}, original=second)
    assert entries(one.closing) == entries(before)


def test_text_and_integer_ids_are_one_person() -> None:
    """In a ledger 5 and "5" are equal as soon as one id is text."""
    one = settler()
    one.settle(bill(1, "30000.00", person_id=5))
    assert one.closing["person_id"].type == pa.int64()
    assert one.settle(bill(2, "20000.00", person_id=" 5")).paid["catastrophic"] == 13_000
    assert one.settle(bill(3, "100.00", person_id=5)).paid["catastrophic"] == 65
    with pytest.raises(yibao.ClaimError, match="DUPLICATE"):
        one.settle(bill("1", "100.00", person_id="5"))
    assert one.settle_fen(5, DAY, DIBAO, 0, 10_000, 10_000, 0, region=371002).catastrophic == 6_500
    assert one.closing["person_id"].to_pylist() == ["5", "5", "5"]
    assert len(one) == 1


def test_claims_with_other_columns_bring_other_accounts() -> None:
    """Balances keep their places when an account comes to them; each claim is as `settle` pays it."""
    one = settler()
    opening: Any = None
    claims = [
        bill(1, "30000.00"),
        {name: cell for name, cell in bill(2, "20000.00").items() if name != "basic_paid"},
        bill(3, "20000.00", special_drug_paid="5.00", commercial_paid=None),
        bill(4, "20000.00", service_date=date(2020, 1, 5)),
        bill(5, "1000.00", pku_paid="1.00", basic_paid=Decimal("0.50")),
    ]
    for claim in claims:
        held, alone = one.settle(claim), yibao.settle(claim, WEIHAI, opening=opening)
        opening = alone.closing
        assert (held.paid, held.flags) == (alone.paid, alone.flags)
        assert held.explain() == alone.explain()
        assert {key: pair for key, pair in held.closing.items() if any(pair)} == {
            key: pair for key, pair in opening.items() if any(pair)
        }
    assert {key for key, *_ in one.balances("P1")} == {2019, 2020}


def test_many_people_need_more_room() -> None:
    one = settler()
    people = 3_000
    for person in range(people):
        one.settle_fen(
            person, DAY + 365 * (person % 2), DIBAO, 0, 1_000_000 + person, 1_000_000 + person, 0, region=371002
        )
    one.settle(bill("last", "10.00", person_id=7, commercial_paid="1.00"))  # and all slots become wider
    closing = one.closing.filter(pa.compute.equal(one.closing["account"], "catastrophic"))
    bases = dict(zip(closing["person_id"].to_pylist(), closing["base"].to_pylist(), strict=True))
    assert len(one) == people
    expected = {person: Decimal(1_000_000 + person).scaleb(-2) for person in range(people)}
    expected[7] += 10
    # Person 7's claim of 2020 and the last one, of 2019, are two years.
    years = [row for row in closing.to_pylist() if row["person_id"] == 7]
    assert [(row["benefit_year"], row["base"]) for row in years] == [(2019, Decimal("10.00")), (2020, expected[7] - 10)]
    assert {person: base for person, base in bases.items() if person != 7} == {
        person: base for person, base in expected.items() if person != 7
    }


def test_many_threads_settle_as_one() -> None:
    """Each person's claims come in order, those of different people at once; a year's base lost would show."""
    people, claims, threads = 24, 25, 8
    rng = random.Random(3)
    amounts = {person: [rng.randrange(1, 9_000_000) for _ in range(claims)] for person in range(people)}

    def run(own: list[int], one: yibao.Settler, paid: dict[Any, int]) -> None:
        for number in range(claims):
            for person in own:
                amount = amounts[person][number]
                if number % 2:
                    claim = bill(f"{person}-{number}", str(Decimal(amount).scaleb(-2)), person_id=person)
                    paid[person, number] = int(one.settle(claim).paid["catastrophic"].scaleb(2))
                else:
                    done = one.settle_fen(person, DAY, DIBAO, 0, amount, amount, 0, region=371002)
                    paid[person, number] = done.catastrophic

    serial = settler()
    expected: dict[Any, int] = {}
    run(list(range(people)), serial, expected)
    at_once = settler()
    got: dict[Any, int] = {}
    workers = [
        threading.Thread(target=run, args=(list(range(start, people, threads)), at_once, got))
        for start in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert got == expected
    assert entries(at_once.closing) == entries(serial.closing)
    alone = settler()  # all threads at one person: the year's base is the sum, whatever their order
    workers = [
        threading.Thread(
            target=lambda: [alone.settle_fen("P", DAY, DIBAO, 0, 100, 100, 0, region=371002) for _ in range(200)]
        )
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert alone.balances("P")[2019, 3710, "catastrophic"] == (Decimal(200 * threads), Decimal(0))


def test_stays_are_counted_with_episodes() -> None:
    """demo-county: the stay's number and deductible go on in memory as in a ledger, referrals too."""
    one = yibao.Settler(COUNTY)
    stay = bill(1, "5000.00", insured_region=990201, treated_region=990201, hospital_level=2, category="ordinary")
    del stay["basic_paid"]
    rows = [
        stay,
        stay | {"settlement_id": 2, "settled_at": date(2019, 3, 5), "episode_id": "E"},
        stay | {"settlement_id": 3, "settled_at": date(2019, 3, 6), "episode_id": "E", "hospital_level": 3},
        stay | {"settlement_id": 4, "settled_at": date(2019, 3, 7)},
    ]
    columns = list(rows[1])
    full = [{name: row.get(name) for name in columns} for row in rows]
    expected = yibao.settle_ledger(pa.Table.from_pylist(full), COUNTY)
    got = [one.settle(row) for row in rows]
    assert [settled.stay_number for settled in got] == expected.table["stay_number"].to_pylist() == [1, 2, 0, 3]
    assert [settled.deductible_borne for settled in got] == expected.table["deductible_borne"].to_pylist()
    assert entries(one.closing) == entries(expected.closing)
    again = yibao.Settler(COUNTY, opening=one.closing)
    assert entries(again.closing) == entries(expected.closing)
    assert again.balances("P1") == one.balances("P1")


def test_a_settler_wants_a_closing_and_columns_of_money() -> None:
    with pytest.raises(yibao.LedgerError, match="opening: person_id: expected a column"):
        settler(opening=pa.table({"a": [1]}))
    for amounts in (("total_fee",), ("total_fee", "eligible_fee", "hospital_id"), ("total_fee", "eligible_fee") * 2):
        with pytest.raises(yibao.LedgerError, match="amounts: expected total_fee"):
            settler(amounts=amounts)
    with pytest.raises(yibao.PolicyError, match="policy: expected what load_policy returns"):
        yibao.Settler("weihai-2019")  # type: ignore[arg-type]
    empty = settler()
    assert len(empty.closing) == len(empty) == 0
    assert len(settler(opening=empty.closing)) == 0


def fen(one: yibao.Settler, person: Any, day: int = DAY, basic: int = 0, **more: Any) -> yibao.settler.PaidFen:
    return one.settle_fen(person, day, DIBAO, 0, 6_000_000, 6_000_000, basic, region=371002, **more)


class Word(str):
    """A text of a type of its own, as some readers of files give them."""


@pytest.mark.parametrize("kind", [np.str_, Word])
def test_ids_of_derived_types_are_the_ids_that_they_say(kind: Any) -> None:
    """No bill is paid a second time, none is cancelled a second time, and everybody has one balance."""
    one = settler()
    first = one.settle(bill("S1", "60000.00"))
    for name in ("settlement_id", "person_id"):
        again = bill("S1", "60000.00")
        with pytest.raises(yibao.ClaimError, match="DUPLICATE_SETTLEMENT"):
            one.settle(again | {name: kind(again[name])})
    back = bill("R1", "-60000.00", settled_at=date(2019, 3, 9), basic_paid="0.00")
    one.settle(back | {"reverses": kind("S1")}, original=first)
    with pytest.raises(yibao.ClaimError, match="REVERSAL_NOT_WHOLE"):
        one.settle(back | {"settlement_id": "R2", "reverses": kind("S1")}, original=first)
    one.settle(bill("S2", "60000.00"))
    seen = one.settle(bill("S3", "60000.00", person_id=kind("P1")), commit=False)
    assert seen.paid == one.settle(bill("S4", "60000.00")).paid


def test_what_is_only_equal_to_an_id_is_nobody() -> None:
    one = settler()
    for _ in range(2):  # whether the person is known or not
        for strange in (1.0, Decimal(1), np.float64(1), 2**70, "\ud800A", " ", None):
            with pytest.raises(yibao.ClaimError, match="MISSING_VALUE"):
                fen(one, strange)
        with pytest.raises(yibao.LedgerError, match="got bool"):
            fen(one, True)
        fen(one, 1)
        fen(one, np.int64(1))
    assert (len(one), set(one.closing["person_id"].to_pylist())) == (1, {1})


def test_integers_that_no_ledger_can_hold_are_refused() -> None:
    one = settler()
    with pytest.raises(yibao.ClaimError, match="AMOUNT_OUT_OF_RANGE"):
        fen(one, "P", basic=-(2**63))
    for day in (2_932_897, 3_000_000, 10_000_001, -1_000_000):  # behind 9999-12-31, before 0001-01-01
        with pytest.raises(yibao.ClaimError, match="MISSING_VALUE"):
            fen(one, "P", day=day)
        with pytest.raises(yibao.ClaimError, match="MISSING_VALUE"):
            fen(one, "P", settled_day=day)
    assert len(one) == 0


def test_episodes_with_numbers_and_words_close_as_words() -> None:
    one = yibao.Settler(COUNTY)
    stay = bill("S1", "5000.00", insured_region=990201, treated_region=990201, hospital_level=2, category="ordinary")
    del stay["basic_paid"]
    one.settle(stay | {"episode_id": 5})
    one.settle(stay | {"settlement_id": "S2", "person_id": "P2", "episode_id": "E"})
    assert set(one.closing["episode_id"].to_pylist()) == {None, "5", "E"}
    assert yibao.Settler(COUNTY, opening=one.closing).closing.to_pylist() == one.closing.to_pylist()


def test_a_question_changes_nothing() -> None:
    """Ids stay numbers as long as nobody with another kind of id is paid."""
    one = settler()
    fen(one, 37)
    known = one.balances(37)
    assert known
    assert (one.balances("37"), one.balances(" 37 "), one.balances("zz"), one.balances("037")) == (known, known, {}, {})
    with pytest.raises(yibao.ClaimError, match="UNKNOWN_CATEGORY"):
        one.settle(bill("S1", "5.00", person_id="zz", category="?"))
    assert one.closing["person_id"].type == pa.int64()
    fen(one, "zz")
    assert one.closing["person_id"].to_pylist()[-1] == "zz"
    assert one.balances("37") == one.balances(37) == known
