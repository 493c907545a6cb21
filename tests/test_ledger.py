"""What a ledger may be: containers, chunks, column names, dates, words; and what is refused before any work."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import ledgers
import yibao

REQUIRED = (
    "settlement_id", "person_id", "settled_at", "service_date", "category", "care_type", "total_fee", "eligible_fee",
)  # fmt: skip
NATIONAL = {
    "settlement_id": "setl_id", "person_id": "psn_no", "settled_at": "setl_time", "service_date": "enddate",
    "insured_region": "insu_admdvs", "treated_region": "fix_blng_admdvs", "hospital_id": "fixmedins_code",
    "category": "psn_idet_type", "birth_date": "brdy", "care_type": "med_type", "total_fee": "medfee_sumamt",
    "self_funded_fee": "fulamt_ownpay_amt", "over_limit_fee": "overlmt_selfpay", "first_pay_fee": "preselfpay_amt",
    "eligible_fee": "inscp_scp_amt", "basic_paid": "hifp_pay", "catastrophic_paid": "hifmi_pay",
    "assistance_paid": "maf_pay", "institution_reduction_paid": "hosp_part_amt", "personal_paid": "psn_part_amt",
}  # fmt: skip


def ledger(rows: int = 3, **columns: Any) -> pa.Table:
    """Return bills of 30,000 of one person on following days: 7,200, then 18,000, then 90,000 → 43,200 − 25,200."""
    cells: dict[str, Any] = {
        "settlement_id": [f"S{number}" for number in range(rows)],
        "person_id": ["P"] * rows,
        "settled_at": [datetime(2019, 3, 1 + number) for number in range(rows)],
        "service_date": [date(2019, 3, 1)] * rows,
        "insured_region": pa.array(["371002"] * rows, pa.string()),
        "category": pa.array(["ordinary"] * rows, pa.string()),
        "care_type": pa.array(["inpatient"] * rows, pa.string()),
        "total_fee": pa.array([Decimal(30_000)] * rows, pa.decimal128(18, 2)),
        "eligible_fee": pa.array([Decimal(30_000)] * rows, pa.decimal128(18, 2)),
        "basic_paid": pa.array([Decimal(0)] * rows, pa.decimal128(18, 2)),
    }
    return pa.table(cells | columns)


def settle(source: Any, **options: Any) -> yibao.LedgerResult:
    result: yibao.LedgerResult = yibao.settle_ledger(source, yibao.load_policy("weihai-2019"), **options)
    return result


def paid(source: Any, **options: Any) -> list[Any]:
    return settle(source, **options).table["catastrophic_paid"].to_pylist()  # type: ignore[no-any-return]


PAID = [Decimal(7_200), Decimal(18_000), Decimal(18_000)]


def test_anything_arrow_is_a_ledger(tmp_path: Path) -> None:
    """The public surface: settle_ledger(ledger, policy), anything Arrow."""
    table = ledger()
    pq.write_table(table, tmp_path / "ledger.parquet")
    batches = table.to_batches(max_chunksize=2)
    sources = [
        table,
        table.combine_chunks().to_batches()[0],
        batches,
        tuple(batches),
        pa.RecordBatchReader.from_batches(table.schema, batches),
        pyarrow.dataset.dataset(tmp_path / "ledger.parquet"),
        pyarrow.dataset.dataset(table).scanner(batch_size=1),
        table.to_pandas(),
        table.to_pandas(types_mapper=pd.ArrowDtype),
    ]
    assert [paid(source) for source in sources] == [PAID] * len(sources)


@pytest.mark.parametrize("source", [None, 5, {"settlement_id": [1]}, []])
def test_what_is_not_arrow_is_refused(source: Any) -> None:
    """Section 8: naming what was expected."""
    with pytest.raises(yibao.LedgerError, match="ledger: expected an Arrow table, batches, a reader or a data frame"):
        settle(source)


def test_a_path_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(yibao.LedgerError, match=r"ledger\.parquet: expected a readable file, got: No such file"):
        settle("ledger.parquet")


def test_chunks_and_slices_do_not_matter() -> None:
    """Bulk input may come in any pieces."""
    table = ledger(
        6, person_id=["A", "B", "A", "B", "A", "B"], category=pa.array(["ordinary", "dibao"] * 3).dictionary_encode()
    )
    whole = settle(table)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1, 3), table.slice(4)])
    assert settle(chunked).table.to_pylist() == whole.table.to_pylist()
    assert paid(ledger(6).slice(1, 3)) == PAID
    assert paid(ledger(6).combine_chunks().to_batches()[0].slice(2, 3)) == PAID


def test_dictionaries_that_differ_between_chunks_are_read_chunk_by_chunk() -> None:
    """A column of words may carry another dictionary in each chunk."""
    first = ledger(1, category=pa.array(["dibao"]).dictionary_encode())
    second = ledger(2, person_id=["Q", "R"], category=pa.array(["ordinary", "dibao"]).dictionary_encode())
    table = pa.concat_tables([first, second])
    assert table["category"].num_chunks == 2
    assert paid(table) == [16_250, 7_200, 16_250]


@pytest.mark.parametrize("empty", [ledger(0), ledger(3).slice(0, 0), ledger().schema.empty_table(), ledger(3).slice(3)])
def test_an_empty_ledger_settles_to_nothing(empty: pa.Table) -> None:
    """Input rows = settled + rejected, for none too."""
    result = settle(empty)
    assert (len(result.table), len(result.rejects), len(result.closing), result.summary["rows"]) == (0, 0, 0, 0)
    assert "catastrophic_paid" in result.table.column_names
    columns = {f"{layer}_paid": pa.array([], pa.decimal128(18, 2)) for layer in (
        "catastrophic", "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
    )}  # fmt: skip
    for name, column in columns.items():
        empty = empty.append_column(name, column)
    a = yibao.reaccount(empty, yibao.load_policy("weihai-2019"))
    for name in (
        "settled",
        "deltas",
        "transfers",
        "transfer_lines",
        "payment_orders",
        "decreases",
        "held",
        "unrouted",
        "rejects",
    ):
        assert len(getattr(a, name)) == 0
    assert a.summary["payments"]["payer_delta"] == "0.00"


def test_one_row_and_a_wholly_zero_row_are_settled() -> None:
    """Section 3: a wholly zero row is settled."""
    assert paid(ledger(1)) == [7_200]
    nothing = pa.array([Decimal(0)], pa.decimal128(18, 2))
    result = settle(ledger(1, total_fee=nothing, eligible_fee=nothing))
    assert (result.table["status"].to_pylist(), result.table["personal_paid"].to_pylist()) == (["SETTLED"], [0])


def test_every_missing_required_column_is_named_at_once() -> None:
    """Section 8: fails at once, naming every fault and what was expected."""
    with pytest.raises(yibao.LedgerError) as caught:
        settle(ledger().drop_columns([*REQUIRED]))
    assert [fault.split(": ")[1] for fault in caught.value.faults] == list(REQUIRED)
    with pytest.raises(yibao.LedgerError, match="several"):
        settle(ledger().append_column("total_fee", ledger()["total_fee"]))


def test_only_the_eight_columns_are_always_required() -> None:
    """Ledger page: only these are always required; a layer, a book or a routing rule that needs another says so."""
    table = ledger(1).select([*REQUIRED])
    assert paid(table) == [7_200]
    book = [yibao.load_policy("weihai-2019"), yibao.load_policy("shandong-2017")]
    with pytest.raises(yibao.LedgerError, match="insured_region: expected a column"):
        yibao.settle_ledger(table, book)
    pku = table.set_column(5, "care_type", pa.array(["pku"]))
    demo = yibao.load_policy("demo-city", parameters={"orphan_deductible": "3000"})
    with pytest.raises(yibao.LedgerError, match="birth_date: expected a column"):
        yibao.settle_ledger(pku, demo)
    old = table.append_column("catastrophic_paid", pa.array(["0"]))
    with pytest.raises(yibao.LedgerError, match="has_social_card_account: expected a column"):
        assert len(yibao.reaccount(old, book[0], missing_paid="zero").transfers)


def test_a_required_parameter_is_named_with_unit_article_and_rows() -> None:
    """Section 4: the run fails and names parameter, unit, article and how many rows need it, if any row does."""
    demo = yibao.load_policy("demo-city")
    rows = ledger(3, category=pa.array(["ordinary", "orphan", "孤儿"]))
    with pytest.raises(yibao.ParameterError, match=r"orphan_deductible .*value in yuan, got none; 2 rows .*invented"):
        yibao.settle_ledger(rows, demo)
    assert yibao.settle_ledger(ledger(3), demo).summary["settled"] == 3


def test_columns_whose_names_the_output_needs_are_kept_as_recorded() -> None:
    """Ledger page: input columns whose names the output needs are kept as <name>_recorded; others stay as they are."""
    one = [Decimal(1)] * 3
    table = ledger(catastrophic_paid=one, personal_paid=one, status=["x"] * 3, flags=["y"] * 3, note=["z"] * 3)
    out = settle(table).table
    for name, kept in (("catastrophic_paid", one), ("personal_paid", one), ("status", ["x"] * 3), ("flags", ["y"] * 3)):
        assert out[f"{name}_recorded"].to_pylist() == kept
    assert out["note"].to_pylist() == ["z"] * 3
    assert out["catastrophic_paid"].to_pylist() == PAID
    again = settle(out.append_column("catastrophic_paid_recorded_recorded", pa.array(one))).table
    assert len(set(again.column_names)) == len(again.column_names)
    assert out.num_columns == table.num_columns + 8 + 1 + 3  # eight layers, the rest, status, flags and policy


def test_a_national_ledger_is_read_through_the_column_map() -> None:
    """Ledger page: a built-in column map nhsa."""
    table = ledger(care_type=pa.array(["2101", "21", "11"]), category=pa.array(["普通居民", "低保", "ordinary"]))
    table = table.rename_columns([NATIONAL[name] for name in table.column_names])
    assert settle(table, columns="nhsa").table["catastrophic_paid"].to_pylist() == [7_200, 19_500, 18_000]
    with pytest.raises(yibao.LedgerError, match="settlement_id: expected a column"):
        settle(table)
    missing = table.drop_columns(["setl_id"])
    with pytest.raises(yibao.LedgerError, match=r"settlement_id: expected a column .*'setl_id'"):
        settle(missing, columns="nhsa")


def test_a_mapping_names_columns_and_may_stand_behind_a_built_in_one() -> None:
    """Ledger page: names on the left are ours; a map says what the ledger calls them."""
    table = ledger().rename_columns({"total_fee": "费用总额"})
    assert paid(table, columns={"total_fee": "费用总额"}) == PAID
    assert paid(table, columns=["nhsa", {"total_fee": "费用总额"}]) == PAID
    with pytest.raises(yibao.LedgerError, match="columns: totl_fee: no column"):
        settle(table, columns={"totl_fee": "费用总额"})
    with pytest.raises(yibao.LedgerError, match="columns: expected one of nhsa or a mapping, got 'nsha'"):
        settle(table, columns="nsha")


@pytest.mark.parametrize(
    "days",
    [
        pa.array([date(2019, 8, 31), date(2019, 9, 1), None]),
        pa.array([datetime(2019, 8, 31, 23, 59), datetime(2019, 9, 1), None], pa.timestamp("ns")),
        pa.array([date(2019, 8, 31), date(2019, 9, 1), None], pa.date64()),
        pa.array(["2019-08-31", "2019/09/01", "2019-02-30"]),
        pa.array(["20190831", "2019年9月1日", ""], pa.large_string()),
        pa.array(["2019-08-31", "2019.09.01", None], pa.string_view()),
        pa.array(["2019-08-31", "2019-09-01 00:00:00", None]).dictionary_encode(),
        pa.array(["2019-08-31T15:59:59Z", "2019-09-01T00:00:00+08:00", "201911"]),
        # 16:00 UTC is midnight in China.
        pa.array([datetime(2019, 8, 31, 15, 59, 59), datetime(2019, 8, 31, 16), None], pa.timestamp("s", tz="UTC")),
    ],
)
def test_days_of_every_type_are_read_on_chinas_clock(days: pa.Array) -> None:
    """Section 4: service dates decide; here which rows lie in the window."""
    old = ["catastrophic_paid", "special_drug_paid", "assistance_paid", "institution_reduction_paid", "commercial_paid"]
    table = ledger(service_date=days, has_social_card_account=[True] * 3, person_id=["A", "B", "C"])
    for name in (*old, "reassistance_paid", "pku_paid"):
        table = table.append_column(name, pa.array(["0"] * 3))
    a = yibao.reaccount(table, yibao.load_policy("weihai-2019"))
    assert a.settled["status"].to_pylist() == ["SETTLED", "SETTLED", "MISSING_VALUE"]
    assert a.deltas["settlement_id"].to_pylist() == ["S0"]


@pytest.mark.parametrize(
    "moments",
    [
        pa.array([datetime(2019, 3, 2), datetime(2019, 3, 1, 12)], pa.timestamp("s")),
        pa.array([date(2019, 3, 2), date(2019, 3, 1)]),
        pa.array(["2019-03-02", "2019-03-01 23:59:59"]),
        pa.array(["2019-03-02T00:00:00+08:00", "2019-03-01T15:59:59Z"]),
        pa.array(["2019-03-02T08:00:00", "2019-03-02T07:59:59.999999"], pa.string_view()),
    ],
)
def test_moments_of_every_type_order_the_year(moments: pa.Array) -> None:
    """Section 4: settled_at is a timestamp or a date."""
    assert paid(ledger(2, settled_at=moments)) == [18_000, 7_200]


def test_time_zones_decide_which_policy_a_day_knew() -> None:
    """Section 4: the day of settlement is China's."""
    book = [yibao.load_policy("weihai-2019"), yibao.load_policy("shandong-2017")]
    for zone, moments in (
        ("UTC", [datetime(2019, 8, 31, 15, 59), datetime(2019, 8, 31, 16)]),
        ("Asia/Shanghai", [datetime(2019, 8, 31, 15, 59), datetime(2019, 8, 31, 16)]),  # stored in UTC all the same
    ):
        cells = pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", tz=zone))
        table = ledger(2, settled_at=cells)
        policies = yibao.settle_ledger(table, book, as_known="settled_at").table["policy_id"].to_pylist()
        assert policies == ["shandong-2017", "weihai-2019"]


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("settled_at", pa.array([5, 6, 7]), "settled_at: expected timestamps or dates, got int64"),
        ("service_date", pa.array([1.5, 1.5, 1.5]), "service_date: expected dates, got double"),
        ("category", pa.array([True, True, True]), "category: expected text, got bool"),
        ("care_type", pa.array([1.0, 2.0, 3.0]), "care_type: expected text, got double"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused_by_name(column: str, cells: pa.Array, message: str) -> None:
    """Section 8: wrong type: fails at once."""
    with pytest.raises(yibao.LedgerError, match=f"ledger: {message}"):
        settle(ledger(**{column: cells}))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_words_of_every_kind_of_text_are_read(kind: pa.DataType) -> None:
    """Ledger page: dictionary strings or plain ones, our names or the field's, with blanks around."""
    words = pa.array(["低保", " dibao ", "特困，普通"], pa.string()).cast(kind)
    care = pa.array(["住院", "210102", "inpatient"], pa.string()).cast(kind)
    assert paid(ledger(person_id=["A", "B", "C"], category=words, care_type=care)) == [16_250] * 3
    assert paid(ledger(person_id=["A", "B", "C"], care_type=pa.array([21, 14, 11]))) == [7_200] * 3


def test_rejects_and_payments_can_be_had_from_string_views() -> None:
    """The public surface: anything Arrow; other data frames hand their text over as string views."""
    table = ledger(category=pa.array(["ordinary", "?", "ordinary"]).cast(pa.string_view()))
    assert settle(table).rejects.to_pylist()[0]["value"] == "?"
    old = {f"{layer}_paid": ["0"] * 3 for layer in (
        "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
    )}  # fmt: skip
    rows = ledger(3, person_id=["A", "B", "C"], catastrophic_paid=["0"] * 3, has_social_card_account=["是"] * 3, **old)
    rows = rows.cast(
        pa.schema([field.with_type(pa.string_view()) if field.type == pa.string() else field for field in rows.schema])
    )
    a = yibao.reaccount(rows, yibao.load_policy("weihai-2019"))
    assert a.transfers["amount"].to_pylist() == [7_200] * 3


def test_nulls_in_fee_components_and_payments_count_as_0() -> None:
    """Section 8: a null fee component counts as 0; a null cell of a recorded layer is flagged NO_RULE."""
    result = settle(ledger(self_funded_fee=[None, "0", "0"], basic_paid=[None, "0", None]))
    assert result.table["catastrophic_paid"].to_pylist() == PAID
    assert ["NO_RULE" in cell for cell in result.table["flags"].to_pylist()] == [True, False, True]


def test_no_rule_flags_what_nobody_knows_and_missing_columns_are_named_once() -> None:
    """Section 2: a null cell of a column that the ledger has, or a layer with a rule for other categories of the same
    care type; other missing columns are named once in the summary."""
    assistance = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
    rows = ledger(3, category=["dibao", "ordinary", "ordinary"], care_type=["inpatient", "inpatient", "outpatient"])
    with_rule = yibao.settle_ledger(rows, yibao.load_policy("weihai-2019", parameters=assistance))
    assert ["NO_RULE" in cell for cell in with_rule.table["flags"].to_pylist()] == [False, True, False]
    assert ["NO_RULE" in cell for cell in settle(rows).table["flags"].to_pylist()] == [False] * 3
    assert settle(rows).summary["missing_columns"] == [
        "catastrophic_paid", "special_drug_paid", "assistance_paid", "institution_reduction_paid", "commercial_paid",
        "reassistance_paid", "pku_paid",
    ]  # fmt: skip


def test_what_does_not_add_up_is_counted_and_flagged_not_rejected() -> None:
    """Section 8: real ledgers are full of them; flags stand in alphabetical order."""
    fees = {name: ["0"] * 3 for name in ("self_funded_fee", "over_limit_fee")} | {"first_pay_fee": ["0", "0.01", None]}
    result = settle(ledger(3, personal_paid=["30000", "29999.99", None], **fees))
    assert result.table["flags"].to_pylist() == ["", "FEES_DO_NOT_ADD_UP;PAID_DOES_NOT_ADD_UP", ""]
    assert result.summary["flags"]["FEES_DO_NOT_ADD_UP"] == result.summary["flags"]["PAID_DOES_NOT_ADD_UP"] == 1
    assert result.summary["settled"] == 3


def test_full_reimbursement_and_zero_personal_payment_are_counted_and_listed() -> None:
    """Section 3: 三(三) of 鲁医保发〔2019〕69号 forbids aiming at them."""
    totals = pa.array([Decimal(30_000), Decimal(30_001), Decimal(30_000)], pa.decimal128(18, 2))
    basic = pa.array([Decimal(30_000), Decimal(30_000), Decimal(29_000)], pa.decimal128(18, 2))
    result = settle(ledger(3, total_fee=totals, basic_paid=basic))
    flags = ["FULL_REIMBURSEMENT;ZERO_PERSONAL_PAYMENT", "FULL_REIMBURSEMENT", ""]
    assert result.table["flags"].to_pylist() == flags
    assert result.summary["full_reimbursement"] == ["*0", "*1"]
    assert settle(ledger(3, basic_paid=basic), show_ids=True).summary["zero_personal_payment"] == ["S0", "S1"]
    json.dumps(result.summary)


def test_the_waterfall_gives_away_every_fen_once() -> None:
    """Section 3: total_fee = Σ payments + personal_paid, each between 0 and what is left, on random rows."""
    rows = ledgers.random_rows(random.Random(3), 3_000, 200)
    result = yibao.settle_ledger(ledgers.to_arrow(rows), yibao.load_policy("demo-city", {"orphan_deductible": "1"}))
    names = (*ledgers.PAID, "personal_paid")
    for row, settled in zip(rows, result.table.to_pylist(), strict=True):
        if settled["status"] == "SETTLED":
            sign = -1 if row["reverses"] is not None else 1
            assert sum(settled[name] for name in names) == Decimal(row["total_fee"]).scaleb(-2)
            assert all(settled[name] * sign >= 0 for name in names)
    assert result.summary["settled"] > 2_500
    assert result.summary["violations"] == 0


@pytest.mark.parametrize("policy", ["[]", "'weihai-2019'", "None"])
def test_what_is_no_policy_is_refused(policy: str) -> None:
    """The public surface: a policy, or a list of policies. In a process of its own: a crash must not end the others."""
    code = f"""
import datetime, pyarrow as pa, yibao
day = datetime.date(2019, 3, 1)
row = dict(settlement_id=1, person_id=1, settled_at=day, service_date=day, insured_region=371002, category="ordinary",
           care_type="inpatient", total_fee="1", eligible_fee="1")
try:
    yibao.settle_ledger(pa.table({{name: [cell] for name, cell in row.items()}}), {policy})
except (yibao.PolicyError, TypeError) as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip() in ("PolicyError", "TypeError")) == (0, True), done.stderr[-500:]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_anything(threads: int) -> None:
    """Serial and parallel agree to the fen."""
    table = ledger(28, person_id=[f"P{number % 9}" for number in range(28)])
    assert settle(table, threads=threads).table.to_pylist() == settle(table).table.to_pylist()


@pytest.mark.parametrize("typo", ["two", "-1", "1.5", " "])
def test_a_typo_in_the_number_of_threads_is_named(typo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YIBAO_THREADS", typo)
    with pytest.raises(yibao.SettlementError, match=f"YIBAO_THREADS: expected a number of threads, got '{typo}'"):
        settle(ledger(1))


def test_a_settled_table_can_be_written_under_the_national_names() -> None:
    """The column map nhsa reads and writes: payments as computed under its names, what it brought as recorded."""
    from yibao.ledger import NHSA, with_names

    row = {"setl_id": "S1", "psn_no": "P1", "setl_time": date(2019, 3, 2), "enddate": date(2019, 3, 1),
           "psn_idet_type": "ordinary", "med_type": "2101", "medfee_sumamt": "40000", "inscp_scp_amt": "30000",
           "hifmi_pay": "1.00"}  # fmt: skip
    ledger = pa.table({name: pa.array([cell]) for name, cell in row.items()})
    settled = yibao.settle_ledger(ledger, yibao.load_policy("weihai-2019"), columns="nhsa").table
    written = with_names(settled, "nhsa")
    assert written["hifmi_pay"].to_pylist() == [Decimal("7200.00")]
    assert written["hifmi_pay_recorded"].to_pylist() == ["1.00"]
    assert not set(written.column_names) & (set(NHSA) - {"category"})
    assert with_names(settled, None) is settled or with_names(settled, None).equals(settled)


def test_fractions_of_a_fen_are_rounded_as_the_policy_says(tmp_path: Path) -> None:
    """Section 1: half up, unless the policy says down; 25,000.01 → 7,000.01 × 60 % = 4,200.006."""
    text = (files("yibao_core") / "policies" / "weihai-2019.toml").read_text(encoding="utf-8")
    down = tmp_path / "down.toml"
    down.write_text(text.replace('rounding = "half_up"', 'rounding = "down"'), encoding="utf-8")
    fee = pa.array([Decimal("25000.01")], pa.decimal128(18, 2))
    for policy, expected in ((down, "4200.00"), ("weihai-2019", "4200.01")):
        table = yibao.settle_ledger(ledger(1, total_fee=fee, eligible_fee=fee), yibao.load_policy(policy)).table
        assert table["catastrophic_paid"].to_pylist() == [Decimal(expected)]
