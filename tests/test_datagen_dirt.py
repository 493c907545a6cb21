"""Faults on request: exactly those that were put in come out."""

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import agreement
import yibao
import yibao_datagen
from yibao_core.errors import RowStatus
from yibao_datagen.dirt import FAULTS, OF_REVERSALS, PAID_FAULTS, UNPAID_FAULTS, spoil

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
LINYI = agreement.LEAST["linyi-2019"]
BOOK = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]


FLAGS = ("FEES_DO_NOT_ADD_UP", "NO_RULE", "ORIGINAL_NOT_SEEN", "PAID_DOES_NOT_ADD_UP")


def pairs(table: pa.Table, *names: str) -> Counter[Any]:
    return Counter(zip(*(table[name].cast(pa.string()).to_pylist() for name in names), strict=True))


def check(result: Any, table: pa.Table, injected: pa.Table, suffix: str = "") -> None:
    """Rejects are what was injected, row by row; and of what is reported no more and no less than that."""
    code, is_rejected = f"code{suffix}", f"is_rejected{suffix}"
    wanted = pairs(injected.filter(injected[is_rejected]), "settlement_id", code)
    assert pairs(result.rejects, "settlement_id", "code") == wanted
    settled = table.filter(pc.equal(table["status"].cast(pa.string()), "SETTLED"))
    reported = injected.filter(pc.invert(injected[is_rejected]))
    for flag in FLAGS:
        flagged = settled.filter(pc.match_substring(settled["flags"].cast(pa.string()), flag))
        assert pairs(flagged, "settlement_id") == pairs(
            reported.filter(pc.equal(reported[code], flag)), "settlement_id"
        )


@pytest.mark.parametrize("ids", ["int64", "text"])
@pytest.mark.parametrize("paid", [False, True])
def test_exactly_the_injected_faults_come_out(ids: Any, paid: bool) -> None:
    ledger = yibao_datagen.city(60_000 if COMPILED else 12_000, seed=9, ids=ids)
    if paid:
        ledger = yibao_datagen.pay(ledger, BOOK)
    dirty, injected = spoil(ledger, 0.02, seed=5)
    result = yibao.settle_ledger(dirty, BOOK, as_known="settled_at", show_ids=True)
    check(result, result.table, injected)
    faults = [fault.name for fault in FAULTS + OF_REVERSALS + (PAID_FAULTS if paid else UNPAID_FAULTS)]
    assert set(injected["fault"].to_pylist()) == set(faults)
    codes = {code.name for code in RowStatus} - {"SETTLED", "BIRTH_DATE_MISSING", "PAID_EXCEEDS_TOTAL"}
    assert set(injected.filter(injected["is_rejected"])["code"].to_pylist()) == codes
    if paid:
        again = yibao.reaccount(dirty, BOOK[1], recorded_after_change="keep", show_ids=True)
        check(again, again.settled, injected, "_reaccounted")


def test_who_has_pku_must_have_a_birth_date_where_rules_go_by_age() -> None:
    """鲁医保发〔2019〕69号 二(二)3: 75 % up to 18 years, 70 % above."""
    linyi = yibao.load_policy("linyi-2019", LINYI)
    file = Path(yibao_datagen.__file__).with_name("profiles") / "weihai-2019.toml"
    common = (
        file.read_text(encoding="utf-8")
        .replace("0.0000628, 0.0000628", "0.01, 0.01")
        .replace("0.00025, source", "0.04, source")
    )
    with TemporaryDirectory() as folder:
        profile = Path(folder) / "pku.toml"
        profile.write_text(common, encoding="utf-8")
        ledger = yibao_datagen.city(3_000, seed=9, profile=profile, region=3713, reversals=False)
    dirty, injected = spoil(ledger, 0.05, seed=5, ages=True)
    result = yibao.settle_ledger(dirty, linyi, show_ids=True)
    missing = injected.filter(pc.equal(injected["code"], "BIRTH_DATE_MISSING"))
    assert len(missing) > 0
    rejects = result.rejects.filter(pc.equal(result.rejects["code"], "BIRTH_DATE_MISSING"))
    assert pairs(rejects, "settlement_id") == pairs(missing, "settlement_id")


@pytest.mark.big
@pytest.mark.skipif(not COMPILED, reason="a million rows are for compiled kernels")
def test_a_million_rows_with_one_percent_of_dirt() -> None:
    ledger = yibao_datagen.city(480_000, seed=1, ids="text", order="shuffled")
    assert len(ledger) > 1_000_000
    dirty, injected = spoil(ledger, 0.01)
    assert len(injected) > 10_000
    result = yibao.settle_ledger(dirty, BOOK, as_known="settled_at", show_ids=True)
    check(result, result.table, injected)


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
