"""The invented city: what every ledger must hold, and how often the awkward happens."""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import yibao_datagen
from yibao_datagen.claims import CARE_TYPES
from yibao_datagen.columns import fen_of, money
from yibao_datagen.history import PAID_COLUMNS, record_gifts
from yibao_datagen.people import CATEGORY_CELLS

yibao = pytest.importorskip("yibao")
needs_engine = pytest.mark.skipif(not hasattr(yibao, "settle_ledger"), reason="the engine is not there yet")

PEOPLE = 20_000
FEES = ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee", "eligible_fee")
MONEY = pa.decimal128(18, 2)
LABEL = pa.dictionary(pa.int32(), pa.string())


@pytest.fixture(scope="module")
def ledger() -> pa.Table:
    return yibao_datagen.city(people=PEOPLE, seed=7)


@pytest.fixture(scope="module")
def text_ledger() -> pa.Table:
    return yibao_datagen.city(people=PEOPLE, seed=7, ids="text")


def schema(id_type: pa.DataType) -> pa.Schema:
    """The ledger page, as far as a ledger that is paid by basic insurance only."""
    return pa.schema(
        [
            ("settlement_id", id_type),
            ("reverses", id_type),
            ("person_id", id_type),
            ("settled_at", pa.timestamp("us")),
            ("service_date", pa.date32()),
            ("insured_region", pa.int32()),
            ("treated_region", pa.int32()),
            ("hospital_id", pa.int64()),
            ("hospital_level", pa.int8()),
            ("category", LABEL),
            ("birth_date", pa.date32()),
            ("care_type", LABEL),
            *((name, MONEY) for name in (*FEES, "basic_paid")),
            ("has_commercial_supplement", pa.bool_()),
            ("has_social_card_account", pa.bool_()),
        ]
    )


def test_columns_are_those_of_the_ledger_page(ledger: pa.Table, text_ledger: pa.Table) -> None:
    assert ledger.schema.equals(schema(pa.int64()))
    assert text_ledger.schema.equals(schema(pa.string()))
    for table in (ledger, text_ledger):
        table.validate(full=True)
        assert {name for name in table.column_names if table[name].null_count} == {"reverses"}


def test_the_same_seed_gives_the_same_table(ledger: pa.Table) -> None:
    assert yibao_datagen.city(people=PEOPLE, seed=7).equals(ledger)
    assert not yibao_datagen.city(people=PEOPLE, seed=8).equals(ledger)


def test_ids_as_text_change_nothing_else(ledger: pa.Table, text_ledger: pa.Table) -> None:
    ids = ["settlement_id", "reverses", "person_id"]
    assert text_ledger.drop_columns(ids).equals(ledger.drop_columns(ids))
    numbers = pc.cast(pc.utf8_slice_codeunits(text_ledger["settlement_id"], 1), pa.int64())
    assert numbers.equals(ledger["settlement_id"])
    pairs = set(zip(text_ledger["person_id"].to_pylist(), ledger["person_id"].to_pylist(), strict=True))
    assert len(pairs) == len({text for text, _ in pairs}) == len({number for _, number in pairs})


def test_settlement_ids_are_unique(ledger: pa.Table, text_ledger: pa.Table) -> None:
    for table in (ledger, text_ledger):
        assert pc.count_distinct(table["settlement_id"]).as_py() == len(table)


def test_person_ids_are_the_id_of_nobody(text_ledger: pa.Table) -> None:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    born = dict(zip(text_ledger["person_id"].to_pylist(), text_ledger["birth_date"].to_pylist(), strict=True))
    for person_id, birth_date in born.items():
        assert len(person_id) == 18
        assert person_id[6:14] == f"{birth_date:%Y%m%d}"
        assert person_id[17] in "0123456789X"
        right = "10X98765432"[sum(int(digit) * weight for digit, weight in zip(person_id, weights, strict=False)) % 11]
        assert person_id[17] != right


def test_fees_add_up_and_basic_insurance_stays_within_them(ledger: pa.Table) -> None:
    total, *components = (fen_of(ledger[name]) for name in FEES)
    assert np.array_equal(total, sum(components))
    sign = np.where(pc.is_valid(ledger["reverses"]).to_numpy(), -1, 1)
    assert (total * sign > 0).all()
    for part in (*components, fen_of(ledger["basic_paid"])):
        assert (part * sign >= 0).all()
    assert (fen_of(ledger["basic_paid"]) * sign <= fen_of(ledger["eligible_fee"]) * sign).all()


def test_rows_stand_in_settled_order_and_some_tie(ledger: pa.Table) -> None:
    settled_us, settlement = ledger["settled_at"].to_numpy().astype(np.int64), ledger["settlement_id"].to_numpy()
    assert np.array_equal(np.lexsort((settlement, settled_us)), np.arange(len(ledger)))
    key = list(zip(ledger["person_id"].to_pylist(), settled_us.tolist(), strict=True))
    assert sum(times - 1 for times in Counter(key).values()) > 50  # of one person, where only the id decides


def test_shuffled_rows_are_the_same_rows(ledger: pa.Table) -> None:
    shuffled = yibao_datagen.city(people=PEOPLE, seed=7, shuffled=True)
    assert not shuffled.equals(ledger)
    assert shuffled.sort_by("settlement_id").combine_chunks().equals(ledger.combine_chunks())


def test_dates_lie_in_the_months_asked_for(ledger: pa.Table) -> None:
    days = pc.min_max(ledger["service_date"]).as_py()
    assert days == {"min": date(2019, 1, 1), "max": date(2019, 8, 31)}
    late_days = (ledger["settled_at"].to_numpy().astype("M8[D]") - ledger["service_date"].to_numpy()).astype(int)
    assert late_days.min() == 0
    assert 0.05 < np.mean(late_days > 5) < 0.25
    year = yibao_datagen.city(people=2_000, months=12)
    assert pc.min_max(pc.month(year["service_date"])).as_py() == {"min": 1, "max": 12}
    born = ledger["birth_date"].to_numpy()
    assert (born < ledger["service_date"].to_numpy()).all()


def test_reversals_mirror_an_earlier_row_and_come_later(ledger: pa.Table) -> None:
    reversals = ledger.filter(pc.is_valid(ledger["reverses"]))
    assert len(reversals) == round(0.003 * len(ledger))
    assert pc.count_distinct(reversals["reverses"]).as_py() == len(reversals)
    originals = ledger.take(pc.index_in(reversals["reverses"], ledger["settlement_id"]))
    assert originals["reverses"].null_count == len(originals)
    for name in (*FEES, "basic_paid"):
        assert np.array_equal(fen_of(reversals[name]), -fen_of(originals[name]))
    same = [
        name
        for name in ledger.column_names
        if name not in {*FEES, "basic_paid", "settlement_id", "reverses", "settled_at"}
    ]
    assert reversals.select(same).combine_chunks().equals(originals.select(same).combine_chunks())
    assert pc.all(pc.greater(reversals["settled_at"], originals["settled_at"])).as_py()
    assert pc.all(pc.greater(reversals["settlement_id"], originals["settlement_id"])).as_py()


def test_most_reversed_rows_are_billed_again_with_another_amount(ledger: pa.Table) -> None:
    rows = ledger.select(
        ["person_id", "hospital_id", "service_date", "care_type", "settled_at", "total_fee"]
    ).to_pylist()
    reversed_rows = pc.is_valid(ledger["reverses"]).to_pylist()
    by_visit: dict[Any, list[Any]] = {}
    for row, is_reversal in zip(rows, reversed_rows, strict=True):
        visit = (row["person_id"], row["hospital_id"], row["service_date"], row["care_type"])
        by_visit.setdefault(visit, []).append((row["settled_at"], is_reversal, row["total_fee"]))
    again = tied = 0
    for bills in by_visit.values():
        for settled_at, is_reversal, total in bills:
            if is_reversal:
                new = [bill for bill in bills if bill[0] >= settled_at and not bill[1] and bill[2] != -total]
                again += bool(new)
                tied += any(bill[0] == settled_at for bill in new)
    assert 0.8 < again / sum(reversed_rows) < 0.9
    assert tied > 20


def test_some_reversed_rows_had_later_rows_priced_on_them(ledger: pa.Table) -> None:
    person, settlement = ledger["person_id"].to_numpy(), ledger["settlement_id"].to_numpy()
    rows = np.flatnonzero(pc.is_valid(ledger["reverses"]).to_numpy())
    originals = np.searchsorted(settlement, ledger["reverses"].take(rows).to_numpy())
    stale = [np.any(person[first + 1 : last] == person[last]) for first, last in zip(originals, rows, strict=True)]
    assert 0.1 < np.mean(stale) < 0.9


def test_no_reversals_when_none_are_wanted() -> None:
    assert yibao_datagen.city(people=2_000, reversals=False)["reverses"].null_count == 10_400


@pytest.mark.parametrize("rows", [1, 2, 199, 200, 12_345])
def test_rows_come_in_the_number_asked_for(rows: int) -> None:
    assert len(yibao_datagen.city(people=300, rows=rows)) == rows


@pytest.mark.parametrize(
    ("name", "value"), [("people", 0), ("seed", -1), ("months", 13), ("rows", 0), ("ids", "float"), ("region", 9999)]
)
def test_a_wrong_argument_is_named(name: str, value: object) -> None:
    wanted: dict[str, Any] = {"people": 10, name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        yibao_datagen.city(**wanted)


def test_claims_are_over_dispersed(ledger: pa.Table) -> None:
    claims = np.bincount(ledger["person_id"].to_numpy(), minlength=PEOPLE + 1)[1:]
    assert 5 < claims.mean() < 6
    assert 4 < claims.var() / claims.mean() < 15  # Poisson: 1
    assert 0.1 < np.mean(claims == 0) < 0.35


def test_one_to_two_percent_cross_the_deductible() -> None:
    table = yibao_datagen.city(people=100_000, seed=1, reversals=False)
    table = table.filter(
        pc.is_in(table["care_type"].cast(pa.string()), pa.array(["inpatient", "outpatient", "chronic_outpatient"]))
    )
    left_fen = fen_of(table["eligible_fee"]) - fen_of(table["basic_paid"])
    base_fen = np.bincount(table["person_id"].to_numpy(), weights=left_fen, minlength=100_001)[1:]
    assert 0.010 < np.mean(base_fen >= 1_800_000) < 0.020
    assert np.sum(base_fen >= 30_000_000) >= 5  # somebody reaches the top tier


def test_the_poor_are_a_few_percent_and_some_change_in_mid_year(ledger: pa.Table) -> None:
    cells = list(zip(ledger["person_id"].to_pylist(), ledger["category"].to_pylist(), strict=True))
    of_person: dict[int, set[str]] = {}
    for person, category in cells:
        of_person.setdefault(person, set()).add(category)
    poor = sum(categories != {"ordinary"} for categories in of_person.values())
    assert 0.03 < poor / len(of_person) < 0.07
    assert sum(len(categories) > 1 for categories in of_person.values()) > 10
    held = set().union(*of_person.values())
    assert held <= set(CATEGORY_CELLS)
    assert any("," in cell or "、" in cell for cell in held)
    registered = pc.match_substring_regex(ledger["category"].cast(pa.string()), "registered_poor|建档立卡")
    assert 0.8 < pc.mean(ledger["has_commercial_supplement"].filter(registered)).as_py() <= 1


def test_all_care_types_and_places_occur(ledger: pa.Table) -> None:
    assert set(ledger["care_type"].to_pylist()) >= {*CARE_TYPES} - {"pku"}
    assert set(ledger["hospital_level"].to_pylist()) == {1, 2, 3, 9}
    inside = pc.equal(pc.divide(ledger["treated_region"], 100), 3710)
    assert 0.9 < pc.mean(inside).as_py() < 0.99
    assert set(pc.divide(ledger["insured_region"], 100).to_pylist()) == {3710}


def test_money_survives_the_way_to_arrow_and_back() -> None:
    fen = np.array([0, 1, -1, 99, -100, 10**10, -(10**10)])
    column = pa.chunked_array([money(fen), money(fen[:0]), money(fen).slice(2, 3)])
    assert column.to_pylist()[1:3] == [pa.scalar("0.01").cast(MONEY).as_py(), pa.scalar("-0.01").cast(MONEY).as_py()]
    assert fen_of(column).tolist() == [*fen.tolist(), *fen[2:5].tolist()]


def test_gifts_stay_below_what_basic_insurance_leaves_and_are_mirrored(ledger: pa.Table) -> None:
    given = record_gifts(ledger)
    left_fen = fen_of(given["eligible_fee"]) - fen_of(given["basic_paid"])
    gifts = {name: fen_of(given[name]) for name in ("institution_reduction_paid", "commercial_paid")}
    for gift_fen in gifts.values():
        assert np.count_nonzero(gift_fen) > 0
        assert (np.abs(gift_fen) <= np.abs(left_fen) // 10).all()
    reversals = np.flatnonzero(pc.is_valid(given["reverses"]).to_numpy())
    originals = np.searchsorted(given["settlement_id"].to_numpy(), given["reverses"].take(reversals).to_numpy())
    for gift_fen in gifts.values():
        assert np.array_equal(gift_fen[reversals], -gift_fen[originals])


@needs_engine
def test_a_paid_history_adds_up_row_by_row(ledger: pa.Table) -> None:
    policy = yibao.load_policy("shandong-2017")
    history = yibao_datagen.pay(ledger, policy)
    assert [name for name in history.column_names if name not in PAID_COLUMNS] == [
        name for name in ledger.column_names if name != "basic_paid"
    ]
    paid_fen = sum(fen_of(history[name]) for name in PAID_COLUMNS)
    assert np.array_equal(paid_fen, fen_of(ledger["total_fee"]))
    assert np.count_nonzero(fen_of(history["catastrophic_paid"])) > 100
    assert history["basic_paid"].equals(ledger["basic_paid"])
    recorded = record_gifts(ledger)
    for name in ("commercial_paid", "institution_reduction_paid"):
        uncut = fen_of(history[name]) == fen_of(recorded[name])
        assert uncut[fen_of(recorded[name]) != 0].mean() > 0.95


@needs_engine
def test_a_ledger_with_rejected_rows_cannot_be_paid(ledger: pa.Table) -> None:
    few = ledger.slice(0, 100)
    broken = few.set_column(few.column_names.index("eligible_fee"), "eligible_fee", money(fen_of(few["total_fee"]) + 1))
    with pytest.raises(ValueError, match="100 ELIGIBLE_EXCEEDS_TOTAL"):
        yibao_datagen.pay(broken, yibao.load_policy("shandong-2017"))


def test_the_command_writes_a_file_and_says_nothing_in_a_pipe(tmp_path: Path) -> None:
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from yibao_datagen.cli import app

    out = tmp_path / "city.parquet"
    options = ["--people", "500", "--seed", "3", "--rows", "1000", "--ids", "text", "--out", str(out)]
    result = CliRunner().invoke(app, ["city", *options])
    assert (result.exit_code, result.output) == (0, "")
    assert pq.read_table(out).equals(yibao_datagen.city(people=500, seed=3, rows=1_000, ids="text"))
    assert [path.name for path in tmp_path.iterdir()] == ["city.parquet"]
    refused = CliRunner().invoke(app, ["city", *options, "--region", "9999"])
    assert refused.exit_code == 1
    assert "region: expected one of" in refused.output
