"""Order inside the year and reversals: sections 4 and 5 of the contract. Amounts in yuan, by hand."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao

MONEY = ("total_fee", "self_funded_fee", "eligible_fee", "basic_paid", "catastrophic_paid", "assistance_paid")


def bill(number: Any, total: str, day: int, **cells: Any) -> dict[str, Any]:
    """Return an inpatient bill of an ordinary resident of Weihai, settled on that day of March 2019."""
    row = {
        "settlement_id": number,
        "reverses": None,
        "person_id": 1,
        "settled_at": datetime(2019, 3, day),
        "service_date": date(2019, 3, 1),
        "insured_region": 371002,
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": total,
        "self_funded_fee": "0",
        "eligible_fee": total,
        "basic_paid": "0",
        "assistance_paid": "0",
    }
    return row | cells


def back(number: Any, original: dict[str, Any], day: int, **cells: Any) -> dict[str, Any]:
    """Return the reversal of a bill, settled on that day of March 2019."""
    row = original | {
        "settlement_id": number,
        "reverses": original["settlement_id"],
        "settled_at": datetime(2019, 3, day),
    }
    negated = {name: str(-Decimal(row[name])) for name in MONEY if row.get(name) is not None}
    return row | negated | cells


def settle(*rows: dict[str, Any], **options: Any) -> yibao.LedgerResult:
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    result: yibao.LedgerResult = yibao.settle_ledger(table, yibao.load_policy("weihai-2019"), **options)
    return result


def paid(result: yibao.LedgerResult) -> list[Decimal]:
    return result.table["catastrophic_paid"].to_pylist()  # type: ignore[no-any-return]


def flags(result: yibao.LedgerResult) -> list[bool]:
    return ["STALE_AFTER_REVERSAL" in cell for cell in result.table["flags"].to_pylist()]


A, B = bill(1, "30000", 1), bill(2, "20000", 2)


def test_rows_of_a_year_are_taken_by_time_whatever_their_place_in_the_file() -> None:
    """Section 4: by settled_at; results come back in the input's row order."""
    rows = [bill(1, "20000", 9), bill(2, "30000", 4), bill(3, "10000", 5)]
    # By day: 30,000 → 7,200; 40,000 → 13,200; 60,000 → 25,200.
    assert paid(settle(*rows)) == [12_000, 7_200, 6_000]
    assert paid(settle(*reversed(rows))) == [6_000, 7_200, 12_000]


@pytest.mark.parametrize(
    ("ids", "first"),
    [
        ((10, 9), 1),  # integers numerically
        ((-1, 3), 0),
        (("10", "9"), 0),  # text by bytes
        (("a", "B"), 1),
        (("é", "z"), 1),  # C3 A9 after 7A
        (("Z", "Z0"), 0),
        (("特", "中"), 1),  # E7 89 B9 after E4 B8 AD
    ],
)
def test_rows_of_one_moment_are_taken_by_id(ids: tuple[Any, Any], first: int) -> None:
    """Section 4: ids compare as integers where the column is an integer, else by UTF-8 bytes."""
    expected = [Decimal(18_000), Decimal(18_000)]
    expected[first] = Decimal(7_200)  # 30,000; the other one takes the year to 60,000
    assert paid(settle(bill(ids[0], "30000", 1), bill(ids[1], "30000", 1))) == expected


def test_a_date_is_its_midnight() -> None:
    """Section 4: a date is its midnight."""
    rows = [bill(1, "30000", 2, settled_at="2019-03-02 00:00:01"), bill(2, "30000", 2, settled_at="2019-03-02")]
    assert paid(settle(*rows)) == [18_000, 7_200]


def test_the_reversal_repays_what_its_original_was_paid_and_says_that_others_are_stale() -> None:
    """Section 5: A 30,000 pays 7,200, B 20,000 pays 12,000; the reversal of A is −7,200, not −18,000."""
    result = settle(A, B, back(3, A, 3))
    assert paid(result) == [7_200, 12_000, -7_200]
    assert flags(result) == [False, False, True]
    assert result.summary["stale_rows"] == 1
    assert result.table["personal_paid"].to_pylist() == [22_800, 8_000, -22_800]


def test_a_reversal_lowers_base_and_paid_sums_by_as_much() -> None:
    """Section 5: it lowers base and paid sums by as much; the next row is priced on what is left."""
    result = settle(A, B, back(3, A, 3), bill(4, "10000", 4))
    assert paid(result)[3] == 6_000  # base 20,000 → 30,000: 7,200 − 1,200
    account = {row["account"]: (row["base"], row["paid"]) for row in result.closing.to_pylist()}
    assert account["catastrophic"] == (30_000, 18_000)  # 12,000 + 6,000


def test_reversing_the_last_settlement_restores_the_year() -> None:
    """Section 5: reversing the last settlement restores the year exactly."""
    before = settle(A)
    after = settle(A, B, back(3, B, 3))
    assert paid(after)[2] == -12_000
    assert flags(after) == [False] * 3
    assert after.closing.to_pylist() == before.closing.to_pylist()
    assert paid(settle(A, B, back(3, B, 3), bill(4, "20000", 4)))[3] == 12_000


def test_a_reversal_repays_layer_by_layer() -> None:
    """Section 5: the refund slip is the mirror of the bill."""
    row = A | {"basic_paid": "5000", "assistance_paid": "123.45"}
    table = settle(row, back(3, row, 3)).table
    for layer in ("basic", "catastrophic", "assistance"):
        first, second = table[f"{layer}_paid"].to_pylist()
        assert second == -first
    assert table["catastrophic_paid"].to_pylist()[0] == 4_200  # (25,000 − 18,000) × 60 %


def test_a_reversal_takes_year_category_care_type_and_city_from_its_original() -> None:
    """Section 5: it takes person, benefit year, category, care type and age from the original."""
    other = {
        "category": "dibao",
        "care_type": "special_drug",
        "service_date": date(2020, 1, 5),
        "insured_region": 110101,
    }
    result = settle(A, back(3, A, 3, **other), bill(4, "30000", 4))
    assert paid(result) == [7_200, -7_200, 7_200]
    assert {row["benefit_year"] for row in result.closing.to_pylist()} == {2019}


def test_stale_rows_are_those_of_the_same_person_year_and_city_reversals_included() -> None:
    """Section 5: every settled row of the same person, year and insured city between the two, reversals included."""
    rows = [
        A,
        bill(2, "100", 2, person_id=2),
        bill(3, "100", 2, service_date=date(2020, 1, 1)),
        bill(4, "100", 2, insured_region=370602),
        bill(5, "100", 2, category="?"),
    ]
    alone = settle(*rows, back(9, A, 9))
    assert (alone.summary["stale_rows"], flags(alone)[-1]) == (0, False)
    cancelled = [B, back(6, B, 3)]
    result = settle(*rows, *cancelled, back(9, A, 9))
    assert (result.summary["stale_rows"], flags(result)[-1]) == (2, True)


def test_only_whole_reversals_of_earlier_settled_bills_and_only_one_of_each() -> None:
    """Section 5: a partial one is rejected, so is a second reversal of one original, or one of a reversal."""
    first = back(3, A, 3)
    for row, code in (
        (back(4, A, 4), "REVERSAL_NOT_WHOLE"),
        (back(4, first, 4), "WRONG_SIGN"),
        (back(4, A, 4, reverses=3), "REVERSAL_WITHOUT_ORIGINAL"),
    ):
        result = settle(A, first, row)
        assert result.table["status"].to_pylist() == ["SETTLED", "SETTLED", code]
        assert result.closing["base"].to_pylist() == [0] * len(result.closing)
    partial = back(3, A, 3, eligible_fee="-29999.99")
    assert settle(A, partial).table["status"].to_pylist() == ["SETTLED", "REVERSAL_NOT_WHOLE"]
    early = back(3, bill(1, "30000", 9), 3)
    assert settle(bill(1, "30000", 9), early).table["status"].to_pylist() == ["SETTLED", "REVERSAL_WITHOUT_ORIGINAL"]


def test_at_one_moment_the_id_decides_whether_the_original_came_earlier() -> None:
    """Section 5 with 4: an original which comes earlier in the order."""
    assert settle(A, back(2, A, 1)).table["status"].to_pylist() == ["SETTLED", "SETTLED"]
    late = A | {"settlement_id": 5}
    assert settle(late, back(2, late, 1)).table["status"].to_pylist() == ["SETTLED", "REVERSAL_WITHOUT_ORIGINAL"]


def test_an_original_of_another_person_is_none() -> None:
    """Section 5: the original is looked for under the reversal's person."""
    row = back(3, A, 3, person_id=2, basic_paid=None, assistance_paid=None)
    assert settle(A, row).table["status"].to_pylist() == ["SETTLED", "REVERSAL_WITHOUT_ORIGINAL"]


def test_an_unseen_original_leaves_the_rows_own_payments_to_mirror() -> None:
    """Section 5: else the row's own recorded payments are mirrored and the row is flagged ORIGINAL_NOT_SEEN."""
    row = back(3, A | {"catastrophic_paid": "7200", "basic_paid": "1000"}, 3)
    result = settle(bill(1, "40000", 1, settlement_id=8), row | {"reverses": 7})
    assert result.table["flags"].to_pylist()[1] == "ORIGINAL_NOT_SEEN"
    assert paid(result) == [13_200, -7_200]
    assert result.table["personal_paid"].to_pylist()[1] == -21_800
    account = {entry["account"]: (entry["base"], entry["paid"]) for entry in result.closing.to_pylist()}
    assert account["catastrophic"] == (11_000, 6_000)  # 40,000 − 29,000; 13,200 − 7,200


def test_history_shows_the_original_the_rows_between_and_earlier_reversals() -> None:
    """Section 5: history only serves to find originals, earlier reversals and the rows between; opening has balances."""
    first = settle(A, B)
    second = settle(back(3, A, 3), opening=first.closing, history=first.table)
    assert paid(second) == [-7_200]
    assert flags(second) == [True]
    assert second.summary["stale_rows"] == 1
    assert second.closing.to_pylist() == settle(A, B, back(3, A, 3)).closing.to_pylist()
    past = pa.concat_tables([first.table, second.table], promote_options="permissive")
    third = settle(back(4, A, 4), opening=second.closing, history=past)
    assert third.table["status"].to_pylist() == ["REVERSAL_NOT_WHOLE"]


def test_history_without_payment_columns_shows_no_payment_to_mirror() -> None:
    """Section 5: an original whose payments nobody knows cannot be mirrored from history."""
    ledger = pa.table({name: [cell] for name, cell in A.items() if not name.endswith("_paid")})
    with pytest.raises(yibao.LedgerError, match="got no payment column"):
        settle(back(3, A, 3), history=ledger)


def test_history_counts_only_settled_rows_and_carries_no_balance() -> None:
    """Section 5: settled rows of earlier runs; balances come from opening."""
    rejected = settle(A | {"category": "?"})
    row = back(3, A | {"catastrophic_paid": "1"}, 3)
    reversed_after = settle(row, history=rejected.table).table
    assert reversed_after["status"].to_pylist() == ["REVERSAL_WITHOUT_ORIGINAL"]  # section 8: of a rejected row
    assert paid(settle(A, history=rejected.table)) == [7_200]  # corrected, it may come again
    assert paid(settle(B, history=settle(A).table)) == [1_200]


OLD = {"catastrophic_paid": "9000"}  # what the old rule had recorded, before the run settled it at 7,200


def test_history_gives_what_was_settled_not_what_the_ledger_had_recorded() -> None:
    """Section 5: it repays exactly what its original was paid; the result's own columns say that."""
    assert paid(settle(back(3, A, 3), history=settle(A | OLD).table)) == [-7_200]


@pytest.mark.parametrize("money", ["decimal64", "int64_fen"])
def test_history_of_every_money_type_gives_what_was_settled(money: str) -> None:
    """Section 5 with 1: three types of money come out, and any of them is a history."""
    assert paid(settle(back(3, A, 3), history=settle(A | OLD, money=money).table)) == [-7_200]


def test_history_under_the_national_names_gives_what_was_settled() -> None:
    """Section 5 with the ledger page: a column map names the ledger's columns, results have ours."""
    names = {
        "settlement_id": "setl_id", "person_id": "psn_no", "settled_at": "setl_time", "service_date": "enddate",
        "category": "psn_idet_type", "care_type": "med_type", "total_fee": "medfee_sumamt",
        "self_funded_fee": "fulamt_ownpay_amt", "eligible_fee": "inscp_scp_amt", "basic_paid": "hifp_pay",
        "catastrophic_paid": "hifmi_pay", "assistance_paid": "maf_pay", "insured_region": "insu_admdvs",
    }  # fmt: skip

    def national(row: dict[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): cell for name, cell in row.items()}

    first = settle(national(A | OLD), columns="nhsa")
    assert paid(first) == [7_200]
    assert paid(settle(national(back(3, A, 3)), columns="nhsa", history=first.table)) == [-7_200]


def test_history_gives_payments_of_columns_that_the_later_ledger_lacks() -> None:
    """Section 5: it repays, layer by layer, exactly what its original was paid."""
    first = settle(A | {"special_drug_paid": "5"})
    result = settle(back(3, A, 3), history=first.table)
    assert first.table["personal_paid"].to_pylist() == [22_795]
    assert result.table["special_drug_paid"].to_pylist() == [-5]
    assert result.table["personal_paid"].to_pylist() == [-22_795]


def test_a_reversal_has_the_policy_of_its_original() -> None:
    """Section 5 and decision 13: policy, year and city come from the original, whatever the reversal's own cells say."""
    book = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]
    late = back(3, A, 3, settled_at=datetime(2019, 9, 5))
    table = pa.table({name: [A[name], late[name]] for name in A})
    priced = yibao.settle_ledger(table, book, as_known="settled_at")
    assert paid(priced) == [9_000, -9_000]
    assert priced.table["policy_id"].to_pylist() == ["shandong-2017", "shandong-2017"]
    assert priced.summary["policies"]["shandong-2017"]["rows"] == 2
    elsewhere = settle(A, back(3, A, 3, service_date=date(2016, 1, 1)))
    assert paid(elsewhere) == [7_200, -7_200]
    assert elsewhere.table["policy_id"].to_pylist() == ["weihai-2019"] * 2


def test_one_claim_is_reversed_by_its_settlement_or_its_row() -> None:
    """The public surface: settle(claim, policy, opening=…, original=…)."""
    policy = yibao.load_policy("weihai-2019")
    first = yibao.settle(A, policy)
    second = yibao.settle(B, policy, opening=first.closing)
    assert [first.paid["catastrophic"], second.paid["catastrophic"]] == [7_200, 12_000]
    undone = yibao.settle(back(3, B, 3), policy, opening=second.closing, original=second)
    assert [undone.paid["catastrophic"], undone.personal_paid] == [-12_000, -8_000]
    assert undone.trace == ()
    assert {key: value for key, value in undone.closing.items() if any(value)} == {
        key: value for key, value in first.closing.items() if any(value)
    }
    row = A | {"catastrophic_paid": "7200"}
    assert yibao.settle(back(3, A, 3), policy, opening=second.closing, original=row).paid["catastrophic"] == -7_200
    with pytest.raises(yibao.ClaimError, match="REVERSAL_NOT_WHOLE"):
        yibao.settle(back(3, A, 3, total_fee="-30001"), policy, original=first)
