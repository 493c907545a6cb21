"""One claim by one call of the kernel, and by a table of one row: the same, whatever the claim looks like."""

from __future__ import annotations

import copy
import pickle
import random
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import agreement
import ledgers
import oracle
import yibao
import yibao.single
from yibao.book import as_book
from yibao.one_row import settle_row
from yibao.stays import place_of, places

PARAMETERS = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
WEIHAI = yibao.load_policy("weihai-2019", parameters=PARAMETERS)
SHANDONG = yibao.load_policy("shandong-2017", parameters=PARAMETERS)
CLAIM: dict[str, Any] = {
    "settlement_id": "S1",
    "person_id": "P1",
    "settled_at": datetime(2019, 3, 4, 10, 30),
    "service_date": date(2019, 3, 1),
    "insured_region": "371002",
    "category": "dibao",
    "care_type": "inpatient",
    "total_fee": "60000.00",
    "eligible_fee": "50000.00",
    "basic_paid": "20000.00",
}
OPENING: dict[Any, Any] = {
    (2019, 3710, "basic"): (Decimal("40000.00"), Decimal("10000.00")),
    (2019, 3710, "catastrophic"): (Decimal("30000.00"), Decimal("16250.00")),
    (2018, 3710, "catastrophic"): (Decimal("0.00"), Decimal("0.00")),
    (2019, 3711, "assistance"): (Decimal("7.00"), Decimal("4.90")),
}


def told(settlement: yibao.Settlement) -> dict[str, Any]:
    """Return everything that a Settlement says; balances with the order of their entries."""
    return {
        "paid": settlement.paid,
        "personal": settlement.personal_paid,
        "flags": settlement.flags,
        "borne": settlement.deductible_borne,
        "number": settlement.stay_number,
        "policy": settlement.policy.id if settlement.policy else None,
        "opening": settlement.opening,
        "closing": [(key, tuple(map(repr, pair))) for key, pair in settlement.closing.items()],
        "trace": settlement.trace,
        "text": settlement.explain(),
        "repr": repr(settlement),
    }


def outcome(settled: Callable[[], yibao.Settlement]) -> Any:
    """Return what a call says, or how it refuses."""
    try:
        return told(settled())
    except (yibao.SettlementError, TypeError, ValueError) as refusal:
        return type(refusal), getattr(refusal, "code", None), str(refusal)


def by_a_table(claim: Mapping[str, Any], policy: Any = WEIHAI, opening: Any = None) -> yibao.Settlement:
    book = as_book(policy)
    result = settle_row(claim, book, opening, None)
    return yibao.Settlement(claim, dict(opening or {}), None, result)


def both(claim: Mapping[str, Any], policy: Any = WEIHAI, opening: Any = None) -> Any:
    """Return what settle says, after a look whether a table says the same."""
    got = outcome(lambda: yibao.settle(claim, policy, opening=opening))
    assert got == outcome(lambda: by_a_table(claim, policy, opening))
    return got


@pytest.fixture
def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a table was made")

    monkeypatch.setattr(yibao.single, "settle_row", refuse)


CHINA = timezone(timedelta(hours=8))
CELLS: dict[str, tuple[Any, ...]] = {
    "settlement_id": (1, "S-1", " S1 ", "", " ", "\u3000", None, True, 2**63, -(2**63), 1.5, Decimal(1), "Ｓ１", "11x"),
    "person_id": (1, "P-1", "", None, False, 2**70, 2.0, "37100219900101123x", "３７"),
    "settled_at": (
        date(2019, 3, 4), datetime(2019, 3, 4, 23, 59, tzinfo=UTC), datetime(2018, 12, 31, 16, tzinfo=UTC),
        datetime(2019, 1, 1, tzinfo=CHINA), "2019-03-04", "2019-03-04T10:30:00+08:00", " 2019/3/4 ", "20190304", "?", "", None, 17,
        "2019-03-04 10:30:00",
    ),
    "service_date": (
        datetime(2019, 3, 1, 23), datetime(2019, 3, 1, tzinfo=UTC), "2019-03-01", "2019年3月1日", "2019.3.1", "201903", "", None, 0,
        date(2016, 5, 5), date(2019, 12, 31), date(1960, 1, 1), date(1, 1, 1), date(9999, 12, 31), "2019-02-29",
    ),
    "insured_region": (371002, "371002", "371002000", 371002000, 371002000000, "37100", 37, 0, -1, None, "", 2**40, True, 1.0),
    "category": ("低保", "低保,特困", "registered_poor;低边", "ordinary", "", "?", None, 1, True, ["dibao"], " dibao "),
    "care_type": ("住院", "2101", "门诊慢特病", "outpatient", "pku", "special_drug", "", "?", None, 21, 1.5),
    "total_fee": (
        "60000", "60000.0", "+60000.00", " 60000.00 ", "６００００.００", "6_0000.00", "6e4", "60000.001", "60000.00000000001", "60,000.00", "",
        ".00", "0", "0.00", "5", "-5.00", "1..00", "1.0.00", "5.0 ", "99999999.99", "100000000.00", "100000000.01", "9" * 40, "nan", "٦.٠٠",
        Decimal("60000"), Decimal("60000.00"), Decimal("6E+4"), Decimal("60000.005"), Decimal("-1"), Decimal("NaN"), Decimal("Infinity"),
        Decimal("1E+30"), None, 60000, 60000.0, True,
    ),
    "eligible_fee": ("60000.00", "60000.01", "0.00", None, Decimal("0"), "0.01", "", " ", ".", ".5"),
    "basic_paid": ("50000.00", "60000.00", "70000.00", "-0.01", None, Decimal("0.01"), 1, "", " ", ".50"),
    "basic_paid_fen": (2_000_000, 0, None, -1, 10**10, 10**10 + 1, 2**63, -(2**63), 1 - 2**63, True, "2000000", 2.0, np.int64(2_000_000)),
    "personal_paid": ("40000.00", "-1.00", None, "0.00", "?"),
    "commercial_paid": ("1.00", None, "0"),
    "pku_paid": ("1.00", None),
    "self_funded_fee": ("10000.00", None, "1.00"),
    "over_limit_fee": ("0.00", None),
    "reverses": (None, "X", 5, ""),
    "birth_date": (date(2000, 1, 1), "2000-01-01", None, "?", 7, datetime(2000, 1, 1)),
    "hospital_id": ("H1", 1, None, 1.5, date(2019, 1, 1)),
    "hospital_level": (1, "三级", None, 4, 1.0, True),
    "treated_region": ("110101", 110101, None, date(2019, 1, 1)),
    "episode_id": ("E", None, 5, 1.5),
    "has_commercial_supplement": (True, False, None, "是", 1, date(2019, 1, 1)),
    "has_social_card_account": (True, None, "x", object()),
    "deductible_borne": (None, "5.00", 5),
    "stay_number": (None, 1),
    "note": ("a", None, 2**63, 2**62, [1], 1.5, {}),
    "status": ("SETTLED", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_each_cell_is_read_as_a_table_reads_it(name: str) -> None:
    for cell in CELLS[name]:
        claim = CLAIM | {name: cell}
        if name == "basic_paid_fen":
            del claim["basic_paid"]
        both(claim)
        both(claim, [WEIHAI, SHANDONG], OPENING)


@pytest.mark.parametrize("empty", ["", " ", "\u3000"])
def test_an_empty_text_is_no_amount_of_0(empty: str) -> None:
    """A bill whose total has been left blank is refused, though nothing else of it speaks against 0."""
    nothing = CLAIM | {"total_fee": "0", "eligible_fee": "0", "basic_paid": "0"}
    assert yibao.settle(nothing, WEIHAI).personal_paid == 0
    for name in ("total_fee", "eligible_fee"):
        for settle in (lambda claim: yibao.settle(claim, WEIHAI), yibao.Settler(WEIHAI).settle):
            with pytest.raises(yibao.ClaimError, match=f"MISSING_VALUE: {name}"):
                settle(nothing | {name: empty})


@pytest.mark.parametrize("name", CLAIM)
def test_each_column_may_be_lacking(name: str) -> None:
    claim = {column: cell for column, cell in CLAIM.items() if column != name}
    both(claim)
    both(claim, [WEIHAI, SHANDONG])


OPENINGS: tuple[Any, ...] = (
    {},
    {(2019, 3710, "basic"): (Decimal("1.00"), Decimal("0.50"))},
    {(2019, 3710, "commercial"): (Decimal("1.00"), Decimal("0.50"))},
    {(2019, 3710, "commercial"): (Decimal("0.00"), Decimal("0.00"))},
    {(2020, 3710, "basic"): (Decimal("0.00"), Decimal("0.00"))},
    {(2019, 3710, "nobody"): (Decimal("1.00"), Decimal("0.50"))},
    {(2019, 3710, "catastrophic"): (Decimal("1E+4"), Decimal("-5"))},
    {(2019, 3710, "catastrophic"): (Decimal("9000000000.00"), Decimal("0"))},
    {(2019, 3710, "catastrophic"): (Decimal("9000000000.01"), Decimal("0"))},
    {(2019, 3710, "catastrophic"): (Decimal("0.001"), Decimal("0"))},
    {(2019, 3710, "catastrophic"): (Decimal("5"), 3)},
    {(2019, 3710, "catastrophic"): (Decimal("NaN"), Decimal("0"))},
    {(999, 3710, "catastrophic"): (Decimal("5"), Decimal("0"))},
    {(2019, 37100, "catastrophic"): (Decimal("5"), Decimal("0"))},
    {(2019, 3710, "catastrophic"): (Decimal("5"), Decimal("0")), (2019, 3710, "basic", "E"): (Decimal("5"), 1)},
    MappingProxyType(OPENING),
)


@pytest.mark.parametrize("opening", OPENINGS, ids=range(len(OPENINGS)))
def test_balances_are_brought_as_to_a_table(opening: Any) -> None:
    both(CLAIM, opening=opening)
    both(CLAIM | {"service_date": date(2020, 1, 1)}, opening=opening)


@pytest.mark.parametrize("name", sorted(set(agreement.ORACLES) - {"demo-county"}))
def test_random_claims_one_behind_the_other(name: str) -> None:
    """Whatever rows bring, of every kind of policy: both ways say the same, with the same balances before."""
    rng = random.Random(11)
    (policy,), _ = agreement.books([name])
    region = int(policy.region.ljust(4, "0") + "02")
    rows = ledgers.random_rows(rng, 40, 4, regions=(region,), years=(2019, 2020), bad=0.1, reversals=0.0)
    openings: dict[Any, Any] = {}
    for row in rows:
        dropped = rng.choice(("commercial_paid", "self_funded_fee", "personal_paid", "basic_paid", "hospital_level"))
        claim = {
            column: None
            if cell is None
            else "12.345"
            if cell == oracle.NOT_FEN
            else Decimal(cell).scaleb(-2)
            if column in ledgers.MONEY
            else cell
            for column, cell in row.items()
            if column != dropped
        }
        opening = openings.get(row["person_id"])
        if isinstance(both(claim, policy, opening), dict):
            openings[row["person_id"]] = yibao.settle(claim, policy, opening=opening).closing


@pytest.mark.usefixtures("no_table")
def test_plain_claims_need_no_table() -> None:
    """威医保发〔2019〕37号 二(二): 65 % above 5,000 and 10 % more above 100,000, of bases of 30,000; 70 % of what is left, at
    most 10,000 a year."""
    claims: tuple[dict[str, Any], ...] = (
        {},
        {"total_fee": Decimal("60000.00"), "settled_at": "2019-03-05"},
        {"service_date": "2019-03-02", "insured_region": 371002, "category": "低保", "care_type": "住院"},
        {
            "hospital_id": 7,
            "hospital_level": 3,
            "treated_region": 110101,
            "birth_date": None,
            "note": [1],
            "reverses": None,
        },
        {"personal_paid": None, "self_funded_fee": "10000", "commercial_paid_fen": 0, "basic_paid": Decimal(20_000)},
    )
    opening: Any = None
    paid: list[list[int]] = []
    for number, cells in enumerate(claims):
        claim = CLAIM | {"settlement_id": number} | cells
        one = yibao.settle(claim, WEIHAI, opening=opening)
        for book in ([WEIHAI, SHANDONG], (SHANDONG, WEIHAI)):
            assert yibao.settle(claim, book, opening=opening).paid == one.paid
        assert one.personal_paid == 60_000 - sum(one.paid.values())
        paid.append([int(one.paid[layer]) for layer in ("catastrophic", "assistance")])
        opening = one.closing
    assert paid == [[16_250, 9_625], [19_500, 375], [19_500, 0], [21_500, 0], [22_500, 0]]
    assert opening[2019, 3710, "catastrophic"] == (150_000, 99_250)


def test_a_settlement_keeps_what_it_was_given() -> None:
    """The caller's mappings may change later; what is asked for afterwards is still of the claim as it was."""
    claim, opening = dict(CLAIM), dict(OPENING)
    one = yibao.settle(claim, WEIHAI, opening=opening)
    claim["total_fee"], opening[2019, 3710, "catastrophic"] = "1.00", (Decimal(0), Decimal(0))
    assert told(one) == told(by_a_table(CLAIM, WEIHAI, OPENING))


CHANGES: tuple[Callable[[Any], Any], ...] = (
    lambda closing: closing.__setitem__((2019, 3710, "catastrophic"), (Decimal("5000.00"), Decimal("0.00"))),
    lambda closing: closing.update({(2019, 3710, "assistance"): (Decimal("1.00"), Decimal("9999.99"))}),
    lambda closing: closing.pop((2019, 3710, "catastrophic")),
    lambda closing: closing.__setitem__((2019, 3710, "catastrophic"), (Decimal("1E+5"), Decimal("7.00"))),
    lambda closing: closing.clear(),
    lambda closing: closing.__ior__({(2018, 3710, "catastrophic"): (Decimal("1.00"), Decimal("0.00"))}),
    lambda closing: closing.setdefault((2019, 3710, "special_drug"), (Decimal("1.00"), Decimal("1.00"))),
    lambda closing: closing.update({(2019, 3710, "catastrophic"): (Decimal("30000"), Decimal("16250"))}),  # as it was
    lambda closing: closing.popitem(),
)


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_a_closing_stands_and_a_changed_copy_counts_as_it_is_changed(change: Callable[[Any], Any]) -> None:
    closing: Any = yibao.settle(CLAIM, WEIHAI).closing
    before = dict(closing)
    with pytest.raises((AttributeError, TypeError)):
        change(closing)
    assert closing == before
    for again in (closing, copy.deepcopy(closing), pickle.loads(pickle.dumps(closing)), copy.copy(closing), before):
        assert again == closing
        assert both(CLAIM, opening=again)["paid"]["catastrophic"] == 19_500  # 65 % of all 30,000
    change(before)
    assert both(CLAIM, opening=before) == outcome(lambda: by_a_table(CLAIM, WEIHAI, dict(before)))


def test_a_closing_opens_claims_of_other_years_cities_and_columns() -> None:
    closing = yibao.settle(CLAIM, WEIHAI).closing
    for cells in (
        {"service_date": date(2020, 3, 1)},
        {"insured_region": "371102"},
        {"commercial_paid": "1.00"},
        {"insured_region": None},
    ):
        both(CLAIM | cells, opening=closing)
        both(CLAIM | cells, [WEIHAI, SHANDONG], opening=closing)
    both({name: cell for name, cell in CLAIM.items() if name != "basic_paid"}, opening=closing)


def test_a_list_of_policies_may_change() -> None:
    book = [SHANDONG]
    before = yibao.settle(CLAIM, book)
    book.append(WEIHAI)
    after = yibao.settle(CLAIM, book)
    assert before.policy is not None
    assert after.policy is not None
    assert (before.policy.id, after.policy.id) == ("shandong-2017", "weihai-2019")


def test_a_caller_with_little_precision_is_paid_the_same() -> None:
    expected = told(yibao.settle(CLAIM, WEIHAI, opening=OPENING))
    with localcontext() as context:
        context.prec = 3
        one = yibao.settle(CLAIM, WEIHAI, opening=OPENING)
        assert (one.paid, one.personal_paid) == (expected["paid"], expected["personal"])
    assert told(one) == expected


def test_mappings_that_make_up_cells_are_left_alone() -> None:
    class Zero(dict[str, Any]):
        def __missing__(self, name: str) -> str:
            self[name] = "0.00"
            return "0.00"

    yibao.settle(CLAIM | {"commercial_paid": "1.00"}, WEIHAI)  # the form that was seen last has another column
    claim = Zero(CLAIM | {"pku_paid": "1.00"})
    both(claim)
    assert set(claim) == {*CLAIM, "pku_paid"}


def test_many_threads_share_nothing() -> None:
    amounts = [f"{number * 1_000}.00" for number in range(6, 60)]
    expected = [
        yibao.settle(CLAIM | {"total_fee": a, "eligible_fee": a}, WEIHAI, opening=OPENING).paid for a in amounts
    ]
    wrong: list[Any] = []

    def run(shift: int) -> None:
        for turn in range(4 * len(amounts)):
            index = (turn + shift) % len(amounts)
            claim = CLAIM | {"total_fee": amounts[index], "eligible_fee": amounts[index]}
            if yibao.settle(claim, WEIHAI, opening=OPENING).paid != expected[index]:
                wrong.append(index)

    workers = [threading.Thread(target=run, args=(7 * shift,)) for shift in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_one_place_is_as_many_places() -> None:
    regions = (0, 371002, 371003, 370602)
    grid = [(level, treated, insured) for level in range(-1, 4) for treated in regions for insured in regions]
    levels, treated, insured = (np.array(column) for column in zip(*grid, strict=True))
    at_once = places(levels.astype(np.int8), treated.astype(np.int32), insured.astype(np.int32))
    assert at_once.tolist() == [place_of(*one) for one in grid]


@pytest.mark.parametrize("name", ["hospital_id", "reverses"])
def test_yes_and_no_are_no_ids(name: str) -> None:
    with pytest.raises((yibao.LedgerError, yibao.ClaimError)):
        yibao.settle(CLAIM | {name: True}, WEIHAI)


def test_a_closing_whose_amounts_are_other_things_of_the_same_size_is_looked_at() -> None:
    closing: dict[Any, Any] = dict(yibao.settle(CLAIM, WEIHAI).closing)
    account = next(iter(closing))
    closing[account] = tuple(map(float, closing[account]))
    with pytest.raises((TypeError, yibao.SettlementError)):
        yibao.settle(CLAIM, WEIHAI, opening=closing)


def test_a_closing_with_an_account_that_another_policy_lacks_is_refused_by_it() -> None:
    """As a mapping of the same entries is: balances that nobody keeps must not be lost."""
    fuxin = yibao.load_policy("fuxin-2020", {"disposable_income": "30000"})
    claim = CLAIM | {"service_date": date(2020, 3, 1), "settled_at": date(2020, 3, 1)}
    opening: Any = {(2020, 3710, "basic_deductible"): (Decimal("5.00"), Decimal("0.00"))}
    closing = yibao.settle(claim, fuxin, opening=opening).closing
    for brought in (closing, dict(closing)):
        with pytest.raises(yibao.LedgerError, match="basic_deductible"):
            yibao.settle(claim | {"settlement_id": "S2"}, WEIHAI, opening=brought)
