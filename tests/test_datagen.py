"""The invented city's ledger: what every one must hold, and how often the awkward happens."""

import itertools
import os
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import yibao
import yibao_datagen
from yibao_core.policy import CARE_TYPES
from yibao_datagen.columns import fen_of, money
from yibao_datagen.files import write_parquet
from yibao_datagen.history import PAID_COLUMNS, paid_parts, record_gifts

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
PEOPLE = 60_000 if COMPILED else 12_000
FEW = 3_000 if COMPILED else 500
FEES = ("total_fee", "self_funded_fee", "over_limit_fee", "first_pay_fee", "eligible_fee")
MONEY = pa.decimal128(18, 2)
LABEL = pa.dictionary(pa.int32(), pa.string())


@pytest.fixture(scope="module")
def ledger() -> pa.Table:
    return yibao_datagen.city(PEOPLE, seed=7)


@pytest.fixture(scope="module")
def text_ledger() -> pa.Table:
    return yibao_datagen.city(PEOPLE, seed=7, ids="text")


def schema(id_type: pa.DataType) -> pa.Schema:
    """The ledger page, as far as a ledger that is paid by basic insurance only, and the day of admission."""
    return pa.schema(
        [
            ("settlement_id", id_type),
            ("reverses", id_type),
            ("person_id", id_type),
            ("settled_at", pa.timestamp("us")),
            ("service_date", pa.date32()),
            ("admission_date", pa.date32()),
            ("insured_region", pa.int32()),
            ("treated_region", pa.int32()),
            ("hospital_id", pa.int64()),
            ("hospital_level", pa.int8()),
            ("episode_id", id_type),
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
        assert {name for name in table.column_names if table[name].null_count} == {"reverses", "episode_id"}


def test_a_person_is_the_same_in_every_city(ledger: pa.Table) -> None:
    """Whoever else is there, in however many parts and threads, whatever the months."""
    city = yibao_datagen.City(PEOPLE, seed=7)
    assert city.ledger(threads=1, part_people=PEOPLE).equals(ledger)
    assert city.ledger(threads=2, part_people=PEOPLE // 100 + 1).equals(ledger)
    assert not yibao_datagen.city(PEOPLE, seed=8).equals(ledger)
    few = yibao_datagen.City(FEW, seed=7)
    of_few = pc.less_equal(ledger["person_id"], FEW)
    assert few.ledger().equals(ledger.filter(of_few).combine_chunks())
    assert few.people().equals(city.people().slice(0, FEW).combine_chunks())
    first, second = (yibao_datagen.city(FEW, seed=7, months=months) for months in (8, (9, 12)))
    together = pa.concat_tables([first, second]).unify_dictionaries().sort_by("settlement_id").combine_chunks()
    assert together.equals(few.ledger().sort_by("settlement_id").combine_chunks())


@pytest.mark.parametrize("ids", ["int64", "text"])
def test_files_have_the_same_bytes_in_1_and_100_parts_on_1_and_2_threads(tmp_path: Path, ids: Any) -> None:
    city = yibao_datagen.City(FEW, seed=3, ids=ids)
    files = []
    for threads, parts in ((1, 1), (2, 1), (1, 100), (2, 100)):
        file = tmp_path / f"{threads}-{parts}.parquet"
        count = write_parquet(city.ledgers(threads=threads, part_people=-(-FEW // parts)), file)
        assert count == pq.read_metadata(file).num_rows
        files.append(file.read_bytes())
    assert len(set(files)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{a}-{b}.parquet" for a in (1, 2) for b in (1, 100)]


def test_ids_as_text_change_nothing_else(ledger: pa.Table, text_ledger: pa.Table) -> None:
    ids = ["settlement_id", "reverses", "person_id", "episode_id"]
    assert text_ledger.drop_columns(ids).equals(ledger.drop_columns(ids))
    for name in ("settlement_id", "reverses", "episode_id"):
        assert pc.cast(pc.utf8_slice_codeunits(text_ledger[name], 1), pa.int64()).equals(ledger[name])
    pairs = set(zip(text_ledger["person_id"].to_pylist(), ledger["person_id"].to_pylist(), strict=True))
    assert len(pairs) == len({text for text, _ in pairs}) == len({number for _, number in pairs})


def test_person_ids_are_the_id_of_nobody() -> None:
    people = yibao_datagen.City(PEOPLE, seed=7, ids="text").people()
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    assert pc.count_distinct(people["person_id"]).as_py() == PEOPLE
    rows = zip(*(people[name].to_pylist() for name in ("person_id", "birth_date", "sex")), strict=True)
    for person_id, birth_date, sex in rows:
        assert len(person_id) == 18
        assert person_id[:4] == "3710"
        assert person_id[6:14] == f"{birth_date:%Y%m%d}"
        assert (int(person_id[16]) % 2 == 1) is (sex == "male")
        assert person_id[17] in "0123456789X"
        right = "10X98765432"[sum(int(digit) * weight for digit, weight in zip(person_id, weights, strict=False)) % 11]
        assert person_id[17] != right


def test_settlement_ids_are_unique_and_fees_add_up(ledger: pa.Table) -> None:
    assert pc.count_distinct(ledger["settlement_id"]).as_py() == len(ledger)
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
    key = Counter(zip(ledger["person_id"].to_pylist(), settled_us.tolist(), strict=True))
    assert sum(times - 1 for times in key.values()) > len(ledger) // 100  # of one person, where only the id decides
    alike = ["person_id", "settled_at", "hospital_id", "care_type", "total_fee", "eligible_fee"]
    rows = Counter(zip(*(ledger[name].to_pylist() for name in alike), strict=True))
    assert sum(times - 1 for times in rows.values()) > len(ledger) // 1_000  # the same to the fen, and right


def test_shuffled_rows_are_the_same_rows(ledger: pa.Table) -> None:
    shuffled = yibao_datagen.city(PEOPLE, seed=7, order="shuffled")
    assert not shuffled.equals(ledger)
    assert shuffled.sort_by("settlement_id").equals(ledger.sort_by("settlement_id"))


def test_dates_lie_in_the_year_and_settlements_lag(ledger: pa.Table) -> None:
    days = pc.min_max(ledger["service_date"]).as_py()
    assert days == {"min": date(2019, 1, 1), "max": date(2019, 12, 31)}
    service, admission = (ledger[name].to_numpy() for name in ("service_date", "admission_date"))
    born = ledger["birth_date"].to_numpy()
    assert (born <= admission).all()
    assert (admission <= service).all()
    stays = pc.equal(ledger["care_type"].cast(pa.string()), "inpatient").to_numpy()
    visits = pc.is_in(ledger["care_type"].cast(pa.string()), pa.array(["outpatient", "chronic_outpatient"])).to_numpy()
    assert (admission[visits] == service[visits]).all()
    assert 6 < np.mean((service - admission)[stays].astype(int)) < 12
    assert (admission[stays] < np.datetime64("2019-01-01")).sum() > 5  # they cross New Year
    bills = pc.is_null(ledger["reverses"]).to_numpy()
    late_days = (ledger["settled_at"].to_numpy().astype("M8[D]") - service).astype(int)[bills]
    assert late_days.min() == 0
    assert 0.05 < np.mean(late_days > 5) < 0.25
    assert 0.0005 < np.mean(late_days > 90) < 0.02  # slips that come months later, out of order
    assert (ledger["settled_at"].to_numpy() >= np.datetime64("2020-01-01")).any()


def test_nobody_comes_after_death(ledger: pa.Table) -> None:
    people = yibao_datagen.City(PEOPLE, seed=7).people()
    died = people["death_date"].take(pc.subtract(ledger["person_id"], 1))
    assert not pc.any(pc.greater(ledger["service_date"], died)).as_py()
    assert people["death_date"].null_count < PEOPLE


def test_reversals_mirror_an_earlier_row_and_come_later(ledger: pa.Table) -> None:
    reversals = ledger.filter(pc.is_valid(ledger["reverses"]))
    assert 0.002 < len(reversals) / len(ledger) < 0.004
    assert pc.count_distinct(reversals["reverses"]).as_py() == len(reversals)
    originals = ledger.take(pc.index_in(reversals["reverses"], ledger["settlement_id"]))
    assert originals["reverses"].null_count == len(originals)
    for name in (*FEES, "basic_paid"):
        assert np.array_equal(fen_of(reversals[name]), -fen_of(originals[name]))
    changing = {*FEES, "basic_paid", "settlement_id", "reverses", "settled_at"}
    same = [name for name in ledger.column_names if name not in changing]
    assert reversals.select(same).combine_chunks().equals(originals.select(same).combine_chunks())
    assert pc.all(pc.greater(reversals["settled_at"], originals["settled_at"])).as_py()
    assert pc.all(pc.greater(reversals["settlement_id"], originals["settlement_id"])).as_py()
    assert 0.3 < pc.mean(pc.equal(reversals["care_type"].cast(pa.string()), "inpatient")).as_py() < 0.7


def test_most_reversed_rows_are_billed_again_with_another_amount(ledger: pa.Table) -> None:
    bills = {
        row["settlement_id"]: row for row in ledger.select(["settlement_id", "settled_at", "total_fee"]).to_pylist()
    }
    reversals = ledger.filter(pc.is_valid(ledger["reverses"])).to_pylist()
    again = [bills.get(row["settlement_id"] + 1) for row in reversals]
    new = [(bill, row) for bill, row in zip(again, reversals, strict=True) if bill is not None]
    assert 0.75 < len(new) / len(reversals) < 0.95
    assert all(bill["total_fee"] != -row["total_fee"] and bill["settled_at"] >= row["settled_at"] for bill, row in new)
    assert sum(bill["settled_at"] == row["settled_at"] for bill, row in new) > len(new) // 10  # only the id tells
    late = [(row["settled_at"] - bills[row["reverses"]]["settled_at"]).days >= 20 for row in reversals]
    assert 0.05 < np.mean(late) < 0.4


def test_no_reversals_when_none_are_wanted(ledger: pa.Table) -> None:
    without = yibao_datagen.city(PEOPLE, seed=7, reversals=False)
    assert without["reverses"].null_count == len(without)
    assert pc.all(pc.is_in(without["settlement_id"], ledger["settlement_id"].combine_chunks())).as_py()


@pytest.mark.parametrize("rows", [1, 2, 199, 1_000])
def test_rows_can_be_cut_to_the_number_asked_for(rows: int) -> None:
    assert len(yibao_datagen.city(2_000, rows=rows)) == rows


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("people", 0), ("seed", -1), ("months", 13), ("months", (9, 8)), ("rows", 0), ("ids", "float"), ("region", 9999),
        ("order", "any"),
        ("people", "3"),
        ("people", 1.5),
        ("seed", None),
        ("months", "8"),
        ("months", (1,)),
        ("region", "3710"),
        ("year", "2019"), ("year", 1990), ("profile", "atlantis"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(name: str, value: object) -> None:
    wanted: dict[str, Any] = {"people": 10, name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        yibao_datagen.city(**wanted)


def test_referrals_are_episodes_at_ever_higher_levels(ledger: pa.Table) -> None:
    stays = ledger.filter(pc.and_(pc.is_valid(ledger["episode_id"]), pc.is_null(ledger["reverses"])))
    assert len(stays) > len(ledger) // 1_000
    episodes: dict[int, list[Any]] = {}
    for row in stays.sort_by("settlement_id").to_pylist():
        if row["care_type"] == "inpatient":
            episodes.setdefault(row["episode_id"], []).append(row)
    chains = [rows for rows in episodes.values() if len(rows) > 1]
    assert len(chains) > len(episodes) // 2
    for rows in chains:
        levels = [row["hospital_level"] for row in rows]
        assert levels == sorted(levels)
        for one, next_one in itertools.pairwise(rows):  # a new bill of a stay is at its own level
            same_stay = one["hospital_level"] == next_one["hospital_level"]
            assert same_stay or one["service_date"] <= next_one["admission_date"]


def test_all_care_types_places_and_categories_occur() -> None:
    if not COMPILED:
        pytest.skip("rare kinds need many people")
    ledger = yibao_datagen.city(200_000, seed=2)
    assert set(ledger["care_type"].unique().to_pylist()) == set(CARE_TYPES)
    assert set(ledger["hospital_level"].unique().to_pylist()) == {1, 2, 3, 9}
    assert set(ledger["category"].unique().to_pylist()) == set(yibao_datagen.City(10).cells)
    inside = pc.equal(pc.divide(ledger["treated_region"], 100), 3710)
    assert 0.93 < pc.mean(inside).as_py() < 0.99
    assert set(pc.divide(ledger["insured_region"], 100).to_pylist()) == {3710}
    drugs = ledger.filter(pc.equal(ledger["care_type"].cast(pa.string()), "special_drug"))
    stays = ledger.filter(pc.equal(ledger["care_type"].cast(pa.string()), "inpatient"))
    of_stays, of_drugs = (
        list(zip(rows["person_id"].to_pylist(), rows["settled_at"].to_pylist(), strict=True)) for rows in (stays, drugs)
    )
    known = set(of_stays)
    together = [moment in known for moment in of_drugs]
    assert 0.1 < np.mean(together) < 0.7  # the second row of a stay


def test_who_is_recognised_in_the_year_shows_it_from_then_on() -> None:
    city = yibao_datagen.City(PEOPLE, seed=7)
    ledger, people = city.ledger(), city.people()
    ledger = ledger.filter(pc.is_null(ledger["reverses"]))  # a reversal shows what its original did
    at = pc.subtract(ledger["person_id"], 1)
    cells = {name: people[name].take(at).to_numpy() for name in ("category_from", "category_known_from", "category_to")}
    own = people["category"].cast(pa.string()).take(at).to_numpy()
    service, settled = ledger["service_date"].to_numpy(), ledger["settled_at"].to_numpy().astype("M8[D]")
    holds = ~(cells["category_from"] > service) & ~(cells["category_to"] < service)
    holds &= ~(cells["category_known_from"] > settled)
    assert np.array_equal(ledger["category"].cast(pa.string()).to_numpy(), np.where(holds, own, "ordinary"))
    assert (~holds & (own != "ordinary")).sum() > 10
    roster = city.roster()
    assert set(roster["category"].unique().to_pylist()) <= set(yibao_datagen.City(1).cells) | {
        "低保",
        "特困",
        "建档立卡",
    }
    backdated = people.filter(pc.less(people["category_from"], people["category_known_from"]))
    assert set(backdated["category_from"].unique().to_pylist()) == {date(2019, 1, 1)}
    entries = roster.filter(pc.is_in(roster["person_id"], backdated["person_id"].combine_chunks()))
    born = people["birth_date"].take(pc.subtract(entries["person_id"], 1)).to_pylist()
    assert entries["from"].to_pylist() == [max(day, date(2019, 1, 1)) for day in born]
    died = people["death_date"].take(pc.subtract(roster["person_id"], 1))
    assert not pc.any(pc.greater(roster["from"], died)).as_py()


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
    originals = pc.index_in(
        given["reverses"].take(pa.array(reversals)), given["settlement_id"].combine_chunks()
    ).to_numpy()
    for gift_fen in gifts.values():
        assert np.array_equal(gift_fen[reversals], -gift_fen[originals])


def test_a_paid_history_adds_up_row_by_row(ledger: pa.Table) -> None:
    history = yibao_datagen.pay(ledger, yibao.load_policy("shandong-2017"))
    assert [name for name in history.column_names if name not in PAID_COLUMNS] == [
        name for name in ledger.column_names if name != "basic_paid"
    ]
    assert np.array_equal(sum(fen_of(history[name]) for name in PAID_COLUMNS), fen_of(ledger["total_fee"]))
    assert np.count_nonzero(fen_of(history["catastrophic_paid"])) > len(ledger) // 2_000
    assert history["basic_paid"].equals(ledger["basic_paid"])


def test_a_book_pays_as_each_day_knew_it() -> None:
    """Under the old rule until 31 August; settling the history again by the same knowledge changes nothing."""
    book = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]
    city = yibao_datagen.City(PEOPLE, seed=7)
    history = pa.concat_tables(paid_parts(city, book, part_people=PEOPLE // 3)).unify_dictionaries().combine_chunks()
    old = yibao_datagen.pay(city.ledger(order="person"), book[0])
    new = yibao_datagen.pay(city.ledger(order="person"), book[1])
    before = history["settled_at"].to_numpy() < np.datetime64("2019-09-01")
    paid, by_old, by_new = (fen_of(table["catastrophic_paid"]) for table in (history, old, new))
    assert np.array_equal(paid[before], by_old[before])
    assert not np.array_equal(paid[~before], by_old[~before])
    assert not np.array_equal(paid, by_new)
    again = yibao.settle_ledger(history, book, as_known="settled_at").table
    assert np.array_equal(fen_of(again["catastrophic_paid"]), paid)


def test_a_ledger_with_rejected_rows_cannot_be_paid(ledger: pa.Table) -> None:
    few = ledger.slice(0, 100)
    broken = few.set_column(few.column_names.index("eligible_fee"), "eligible_fee", money(fen_of(few["total_fee"]) + 1))
    with pytest.raises(ValueError, match="100 ELIGIBLE_EXCEEDS_TOTAL"):
        yibao_datagen.pay(broken, yibao.load_policy("shandong-2017"))
