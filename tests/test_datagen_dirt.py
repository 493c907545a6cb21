"""Faults on request: exactly those that were put in come out."""

import os
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import yibao
import yibao_datagen
from yibao_core.errors import RowStatus
from yibao_datagen.dirt import FAULTS, OF_REVERSALS, PAID_FAULTS, spoil

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
BOOK = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]


def listed(table: pa.Table) -> Counter[Any]:
    return Counter(zip(table["settlement_id"].to_pylist(), table["code"].to_pylist(), strict=True))


def check(ledger: pa.Table, dirt: float) -> pa.Table:
    dirty, injected = spoil(ledger, dirt, seed=5)
    result = yibao.settle_ledger(dirty, BOOK, as_known="settled_at", show_ids=True)
    text = injected.set_column(0, "settlement_id", injected["settlement_id"].cast(pa.string()))
    assert listed(result.rejects) == listed(text.filter(text["is_rejected"]))
    flagged = result.table.filter(pc.equal(result.table["status"].cast(pa.string()), "SETTLED"))
    for flag in ("FEES_DO_NOT_ADD_UP", "PAID_DOES_NOT_ADD_UP"):
        with_flag = flagged.filter(pc.match_substring(flagged["flags"].cast(pa.string()), flag))
        wanted = text.filter(pc.equal(text["code"], flag))
        assert Counter(with_flag["settlement_id"].cast(pa.string()).to_pylist()) == Counter(
            wanted["settlement_id"].to_pylist()
        )
    return injected


@pytest.mark.parametrize("ids", ["int64", "text"])
@pytest.mark.parametrize("paid", [False, True])
def test_exactly_the_injected_faults_come_out(ids: Any, paid: bool) -> None:
    ledger = yibao_datagen.city(60_000 if COMPILED else 12_000, seed=9, ids=ids)
    if paid:
        ledger = yibao_datagen.pay(ledger, BOOK)
    injected = check(ledger, 0.02)
    faults = [fault.name for fault in FAULTS + OF_REVERSALS + (PAID_FAULTS if paid else ())]
    assert set(injected["fault"].to_pylist()) == set(faults)
    codes = {code.name for code in RowStatus} - {"SETTLED", "BIRTH_DATE_MISSING", "PAID_EXCEEDS_TOTAL"}
    assert set(injected.filter(injected["is_rejected"])["code"].to_pylist()) == codes


@pytest.mark.big
@pytest.mark.skipif(not COMPILED, reason="a million rows are for compiled kernels")
def test_a_million_rows_with_one_percent_of_dirt() -> None:
    ledger = yibao_datagen.city(480_000, seed=1, ids="text", order="shuffled")
    assert len(ledger) > 1_000_000
    assert len(check(ledger, 0.01)) > 10_000


def test_dirt_is_seeded_and_none_changes_no_amount() -> None:
    ledger = yibao_datagen.city(1_000, seed=9)
    one, injected = spoil(ledger, 0.05, seed=5)
    again, also = spoil(ledger, 0.05, seed=5)
    assert one.equals(again)
    assert injected.equals(also)
    assert not one.equals(spoil(ledger, 0.05, seed=6)[0])
    clean, nothing = spoil(ledger, 0.0)
    assert len(nothing) == 0
    assert len(clean) == len(ledger)
    result, plain = (yibao.settle_ledger(table, BOOK, as_known="settled_at").table for table in (clean, ledger))
    for name in ("catastrophic_paid", "personal_paid", "status"):
        assert result[name].combine_chunks().equals(plain[name].combine_chunks())
    with pytest.raises(ValueError, match="dirt: expected"):
        spoil(ledger, 0.7)


def test_files_look_as_real_ones_do() -> None:
    dirty, _ = spoil(yibao_datagen.city(2_000, seed=9), 0.05)
    days = dirty["service_date"].drop_null().to_pylist()
    assert {len(day.split("-")) for day in days} == {1, 3}
    assert any("/" in day for day in days)
    assert any("Aug" in day for day in days)
    assert any(len(repr(fee)) > 15 for fee in dirty["total_fee"].drop_null().to_pylist())  # 46.620000000000005
    assert -1.0 in dirty["total_fee"].to_pylist()
