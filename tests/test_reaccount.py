"""Re-accounting, what is due: points 1 to 6 of section 6 of the contract. Amounts in yuan, by hand."""

from __future__ import annotations

import random
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import ledgers
import yibao

LAYERS = (
    "basic", "catastrophic", "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
)  # fmt: skip
ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}


def bill(number: int, total: str, day: int = 1, category: str = "ordinary", **cells: Any) -> dict[str, Any]:
    """Return an inpatient bill of one resident of Weihai of that day of March 2019, nothing paid yet."""
    row: dict[str, Any] = {
        "settlement_id": number,
        "reverses": None,
        "person_id": 1,
        "settled_at": datetime(2019, 3, day),
        "service_date": date(2019, 3, day),
        "insured_region": 371002,
        "treated_region": 371003,
        "hospital_id": "H1",
        "category": category,
        "care_type": "inpatient",
        "total_fee": total,
        "eligible_fee": total,
        "has_social_card_account": True,
        "has_commercial_supplement": False,
    }
    return row | {f"{layer}_paid": "0" for layer in LAYERS} | cells


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.table({name: [row[name] for row in rows] for name in rows[0]})


def again(*rows: dict[str, Any], parameters: Any = None, **options: Any) -> yibao.Reaccount:
    """Return the re-accounting of some rows under weihai-2019."""
    policy = yibao.load_policy("weihai-2019", parameters=parameters)
    result: yibao.Reaccount = yibao.reaccount(table(*rows), policy, **options)
    return result


def deltas(a: yibao.Reaccount) -> list[dict[str, Decimal]]:
    """Return each row's differences, those of 0 left out."""
    found = []
    for row in a.deltas.to_pylist():
        found.append({name[:-6]: cell for name, cell in row.items() if name.endswith("_delta") and cell})
    return found


def due(a: yibao.Reaccount) -> dict[str, Decimal]:
    return {f"{row['fund']} {row['payee_kind']}": row["amount"] for row in a.transfers.to_pylist()}


def worked_example(**cells: Any) -> dict[str, Any]:
    """Eligible 50,000, basic 20,000; under the old rule catastrophic 13,200 and assistance 10,000."""
    old = {"basic_paid": "20000", "catastrophic_paid": "13200", "assistance_paid": "10000"}
    return bill(1, "50000", 1, "registered_poor") | old | cells


def test_a_row_outside_the_window_keeps_its_payments_and_feeds_the_accounts_at_its_place() -> None:
    """Point 1: rows outside, before or after, get no delta and do not enter D."""
    outside: dict[str, Any] = {"service_date": date(2019, 9, 5)}
    rows = [
        bill(1, "30000", 1, catastrophic_paid="9000", **outside),  # first in the order, kept at 9,000
        bill(2, "30000", 2, catastrophic_paid="15000"),  # 25,200 − 7,200 = 18,000
        bill(3, "10000", 3, catastrophic_paid="1", **outside),
    ]
    a = again(*rows)
    assert a.settled["catastrophic_paid"].to_pylist() == [9_000, 18_000, 1]
    assert a.deltas["settlement_id"].to_pylist() == [2]
    assert deltas(a) == [{"catastrophic": 3_000, "personal": -3_000}]
    assert a.summary["payments"]["payer_delta"] == "3000.00"
    assert (a.summary["rows_in_window"], a.summary["rows_outside_window"]) == (1, 2)


def test_recorded_payments_outside_the_window_use_up_the_yearly_cap() -> None:
    """Point 1: each adds its base and its recorded payments to the accumulators."""
    first = bill(1, "500000", 1, catastrophic_paid="399000", service_date=date(2019, 9, 1))
    # F(1,000,000) − F(500,000) = 400,000 − 334,200 = 65,800, but the cap leaves 400,000 − 399,000.
    a = again(first, bill(2, "500000", 2))
    assert a.settled["catastrophic_paid"].to_pylist() == [399_000, 1_000]


def test_a_policy_without_window_re_accounts_its_whole_time_in_force() -> None:
    """Point 1: a policy without one: its time in force."""
    rows = [bill(1, "30000", 1), bill(2, "30000", 2, service_date=date(2020, 12, 31))]
    a = yibao.reaccount(table(*rows), yibao.load_policy("shandong-2017"))
    assert a.deltas["catastrophic_delta"].to_pylist() == [9_000, 9_000]
    assert a.summary["rows_outside_window"] == 0


def test_the_old_personal_share_is_the_total_less_what_was_recorded() -> None:
    """Point 2: a differing personal_paid is counted and reported, not used."""
    a = again(bill(1, "60000", catastrophic_paid="24000", personal_paid="1"))
    assert deltas(a) == [{"catastrophic": 1_200, "personal": -1_200}]  # 36,000 → 34,800
    assert a.settled["personal_paid"].to_pylist() == [34_800]
    assert a.settled["personal_paid_recorded"].to_pylist() == ["1"]
    assert a.settled["flags"].to_pylist() == ["PAID_DOES_NOT_ADD_UP"]
    assert a.summary["flags"]["PAID_DOES_NOT_ADD_UP"] == 1


@pytest.mark.parametrize(("basic", "status"), [("36000", "SETTLED"), ("36000.01", "PAID_EXCEEDS_TOTAL")])
def test_recorded_payments_above_the_total_reject_the_row(basic: str, status: str) -> None:
    """Point 2: PAID_EXCEEDS_TOTAL."""
    a = again(bill(1, "60000", catastrophic_paid="24000", basic_paid=basic), recorded_after_change="keep")
    assert a.settled["status"].to_pylist() == [status]


def test_payment_columns_must_be_there_unless_the_caller_says_that_missing_ones_are_0() -> None:
    """Point 2: the catastrophic column is required; another missing one counts as 0 only if the caller says so."""
    ledger = table(bill(1, "60000", catastrophic_paid="24000"))
    policy = yibao.load_policy("weihai-2019")
    poor = ledger.drop_columns(["assistance_paid", "pku_paid"])
    with pytest.raises(yibao.LedgerError) as caught:
        yibao.reaccount(poor, policy)
    assert {fault.split(": ")[1] for fault in caught.value.faults} == {"assistance_paid", "pku_paid"}
    assert yibao.reaccount(poor, policy, missing_paid="zero").deltas["catastrophic_delta"].to_pylist() == [1_200]
    with pytest.raises(yibao.LedgerError, match="catastrophic_paid"):
        yibao.reaccount(ledger.drop_columns(["catastrophic_paid"]), policy, missing_paid="zero")
    with pytest.raises(yibao.LedgerError, match="missing_paid"):
        yibao.reaccount(ledger, policy, missing_paid="none")


def test_recorded_money_behind_a_change_is_refused_with_layer_rows_and_amounts() -> None:
    """Point 3: the run refuses and names layer, rows and amounts, unless it is told what to do."""
    rows = [
        worked_example(institution_reduction_paid="100"),
        worked_example(settlement_id=2, person_id=2, assistance_paid="0.50"),
        worked_example(settlement_id=3, person_id=3, catastrophic_paid="16250", assistance_paid="77"),  # no change
    ]
    with pytest.raises(yibao.RecordedAfterChangeError) as caught:
        again(*rows)
    assert "assistance: 2 rows with 10000.50 yuan" in str(caught.value)
    assert "institution_reduction: 1 rows with 100.00 yuan" in str(caught.value)
    with pytest.raises(yibao.RecordedAfterChangeError, match=r"institution_reduction: 1 rows with 100\.00") as caught:
        again(*rows, parameters=ASSISTANCE)
    assert "assistance:" not in str(caught.value)


def test_recorded_money_on_rows_outside_the_window_is_no_reason_to_refuse() -> None:
    """Points 1 and 3: rows outside the window keep the ledger's payments."""
    a = again(worked_example(service_date=date(2019, 9, 1)))
    assert len(a.deltas) == 0
    assert a.settled["assistance_paid"].to_pylist() == [10_000]


def test_with_parameters_375_go_to_the_hospital_and_2675_to_the_person() -> None:
    """Point 3, worked example: 70 % with a limit of 10,000."""
    a = again(worked_example(), parameters=ASSISTANCE)
    # Catastrophic (30,000 − 5,000) × 65 % = 16,250; assistance (50,000 − 20,000 − 16,250) × 70 % = 9,625.
    assert deltas(a) == [{"catastrophic": 3_050, "assistance": -375, "personal": -2_675}]
    assert due(a) == {"assistance institution": 375, "person person_social_card": 2_675}


@pytest.mark.parametrize("choice", ["keep", {"assistance": "keep"}])
def test_keeping_the_recorded_figure_sends_all_to_the_person(choice: Any) -> None:
    """Point 3, worked example: keeping it sends all 3,050 to the person."""
    a = again(worked_example(), recorded_after_change=choice)
    assert due(a) == {"person person_social_card": 3_050}


def test_implied_rate_scales_the_recorded_figure_with_its_base() -> None:
    """Point 3: new base × recorded ÷ old base."""
    a = again(worked_example(), recorded_after_change="implied_rate")
    # Old base 16,800, new 13,750: 10,000 × 13,750 ÷ 16,800 = 8,184.5238; 10,000 − 8,184.52 = 1,815.48.
    assert due(a) == {"assistance institution": Decimal("1815.48"), "person person_social_card": Decimal("1234.52")}


def test_implied_rate_rounds_half_up_and_keeps_where_the_old_base_is_0() -> None:
    """Point 3: half up; kept where the old base is 0."""
    # 10,000: catastrophic 0 → 3,250, base 10,000 → 6,750: 0.20 × 0.675 = 0.135.
    a = again(bill(1, "10000", 1, "dibao", assistance_paid="0.20"), recorded_after_change="implied_rate")
    assert a.settled["assistance_paid"].to_pylist() == [Decimal("0.14")]
    # Catastrophic 30,000 had covered the whole policy-range part: old base 0, new base 13,750.
    row = bill(1, "50000", 1, "dibao", eligible_fee="30000", catastrophic_paid="30000", assistance_paid="5000")
    a = again(row, recorded_after_change="implied_rate")
    assert deltas(a) == [{"catastrophic": -13_750, "personal": 13_750}]


def test_a_kept_figure_is_cut_to_what_is_left() -> None:
    """Point 3: cut to what is left."""
    a = again(bill(1, "30000", 1, "dibao", assistance_paid="20000"), recorded_after_change="keep")
    # Catastrophic 16,250 leaves 13,750 of the bill.
    assert deltas(a) == [{"catastrophic": 16_250, "assistance": -6_250, "personal": -10_000}]


def test_each_layer_may_have_its_own_word_and_the_chain_follows_the_changed_figures() -> None:
    """Point 3: by layer. Bases as in section 2, new ones with the new earlier payments."""
    row = worked_example(institution_reduction_paid="3400")
    words = {"assistance": "keep", "institution_reduction": "implied_rate"}
    # Reduction: old base 50,000 − 20,000 − 13,200 − 10,000 = 6,800, new 3,750: 3,400 × 3,750 ÷ 6,800 = 1,875.
    a = again(row, recorded_after_change=words)
    assert deltas(a) == [{"catastrophic": 3_050, "institution_reduction": -1_525, "personal": -1_525}]
    # Both scaled: assistance 8,184.52, base 5,565.48: 3,400 × 5,565.48 ÷ 6,800 = 2,782.74.
    a = again(row, recorded_after_change="implied_rate")
    assert a.settled["institution_reduction_paid"].to_pylist() == [Decimal("2782.74")]
    with pytest.raises(yibao.RecordedAfterChangeError, match="institution_reduction"):
        again(row, recorded_after_change={"assistance": "keep"})


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ("keeps", "keeps"),
        ({"assistence": "keep"}, "assistence"),
        ({"assistance": "drop"}, "drop"),
        ({"personal": "keep"}, "personal"),
    ],
)
def test_a_misspelt_choice_is_refused(choice: Any, named: str) -> None:
    """Point 3: as one word or by layer, and only the words and layers that exist."""
    with pytest.raises(yibao.LedgerError, match=f"recorded_after_change: .*{named}"):
        again(worked_example(), recorded_after_change=choice)


def test_differences_of_each_row_add_up_to_0_and_basic_has_none() -> None:
    """Points 4 and 5: over the layers, the person and unrouted they add up to 0; D is catastrophic and special drug."""
    rows = ledgers.random_rows(random.Random(64), 3_000, 300, bad=0.05)
    policy = yibao.load_policy("weihai-2019", parameters=ASSISTANCE)
    a = yibao.reaccount(ledgers.to_arrow(rows), policy, recorded_after_change="implied_rate")
    found = a.deltas.to_pylist()
    assert len(found) == a.summary["rows_in_window"] > 1_000
    assert all(sum(cell for name, cell in row.items() if name.endswith("_delta")) == 0 for row in found)
    assert any(row["unrouted_delta"] for row in found)
    assert {row["basic_delta"] for row in found} == {0}
    owed = sum(row["catastrophic_delta"] + row["special_drug_delta"] for row in found)
    assert a.summary["payments"]["payer_delta"] == str(owed)


def test_d_is_the_change_of_catastrophic_and_special_drug_payments() -> None:
    """Point 5: D of a person-year = Σ delta of catastrophic and special drug."""
    parameters = {"special_drug_deductible": "0", "special_drug_rate": "50 %", "special_drug_limit": "99999"}
    rows = [
        bill(1, "60000", 1, catastrophic_paid="24000"),
        bill(2, "1000", 2, care_type="special_drug", special_drug_paid="400"),
    ]
    a = again(*rows, parameters=parameters)
    assert deltas(a) == [{"catastrophic": 1_200, "personal": -1_200}, {"special_drug": 100, "personal": -100}]
    assert a.summary["payments"]["payer_delta"] == "1300.00"
    assert due(a) == {"person person_social_card": 1_300}


def supplemented(**cells: Any) -> dict[str, Any]:
    """30,000: catastrophic 13,200, assistance 10,000, commercial 5,000, person 1,800."""
    old = {"catastrophic_paid": "13200", "assistance_paid": "10000", "commercial_paid": "5000"}
    return bill(1, "30000", 1, "registered_poor", has_commercial_supplement=True) | old | cells


def test_with_the_commercial_supplement_the_person_is_unchanged() -> None:
    """Point 6, worked example: catastrophic 16,250, commercial 2,675 less, assistance 375 less, person unchanged."""
    a = again(supplemented(), parameters=ASSISTANCE)
    assert deltas(a) == [{"catastrophic": 3_050, "assistance": -375, "commercial": -2_675}]
    assert a.settled["personal_paid"].to_pylist() == [1_800]
    assert due(a) == {"commercial commercial_fund": 2_675, "assistance assistance_fund": 375}


def test_what_the_funds_cannot_take_back_is_unrouted() -> None:
    """Point 6: first from the commercial payment, then from assistance; the rest is the row's unrouted_delta."""
    a = again(supplemented(assistance_paid="500", commercial_paid="1000"), recorded_after_change={"assistance": "keep"})
    # Old share 15,300; the replay lowers it by 3,050: 1,000 and 500 are taken back, 1,550 nobody can.
    assert deltas(a) == [{"catastrophic": 3_050, "assistance": -500, "commercial": -1_000, "unrouted": -1_550}]
    assert a.unrouted.to_pylist()[0]["amount"] == 1_550
    # Nothing lay behind the change: no refusal, all of it is unrouted.
    a = again(supplemented(assistance_paid="0", commercial_paid="0"))
    assert deltas(a) == [{"catastrophic": 3_050, "unrouted": -3_050}]


def test_where_the_replay_raises_the_share_commercial_insurance_pays_as_much_more() -> None:
    """Point 6: if the replay had raised the share, the commercial payment is raised by as much."""
    a = again(supplemented(catastrophic_paid="20000", assistance_paid="0"))
    assert deltas(a) == [{"catastrophic": -3_750, "commercial": 3_750}]
    assert a.settled["personal_paid"].to_pylist() == [5_000]
    assert [(row["payee_kind"], row["amount"]) for row in a.decreases.to_pylist()] == [("commercial_fund", 3_750)]


def test_only_the_registered_poor_with_the_supplement_are_set_back() -> None:
    """Point 6: rows with has_commercial_supplement whose categories include registered_poor, among others too."""
    keep = {"recorded_after_change": "keep"}
    set_back = [supplemented(), supplemented(category="低保，建档立卡")]
    paid_out = [supplemented(category="dibao"), supplemented(has_commercial_supplement=False)]
    assert ["personal" in deltas(again(row, **keep))[0] for row in set_back] == [False, False]
    assert ["personal" in deltas(again(row, **keep))[0] for row in paid_out] == [True, True]


def test_after_a_set_back_bases_stay_and_paid_sums_follow() -> None:
    """Point 6: accumulated bases stay as replayed; the paid sums follow."""
    parameters = {
        "assistance_deductible": {"registered_poor": "0", "dibao": "0"},
        "assistance_rate": {"registered_poor": "70 %", "dibao": "50 %"},
        "assistance_limit": {"registered_poor": "10000", "dibao": "12000"},
    }
    # First row: assistance 9,625 on 13,750, less the 2,675 that the person must not gain: 6,950.
    # Second: catastrophic 35,750 − 16,250 = 19,500, base 10,500. Half of 24,250 is capped at 12,000, less half of
    # 13,750 is 5,125; the limit leaves 12,000 − 6,950 = 5,050.
    a = again(supplemented(commercial_paid="0"), bill(2, "30000", 2, "dibao"), parameters=parameters)
    assert a.settled["assistance_paid"].to_pylist() == [6_950, 5_050]
    assert a.settled["catastrophic_paid"].to_pylist() == [16_250, 19_500]


def reversal(number: int, original: dict[str, Any], day: int) -> dict[str, Any]:
    row = original | {
        "settlement_id": number,
        "reverses": original["settlement_id"],
        "settled_at": datetime(2019, 3, day),
    }
    return row | {
        name: f"-{cell}"
        for name, cell in original.items()
        if name.endswith(("_paid", "_fee")) and cell not in ("0", None)
    }


def test_a_bill_and_its_reversal_are_taken_out_and_the_year_is_replayed_without_them() -> None:
    """Section 5: both get zero deltas, and the year is replayed as if neither had been."""
    first = bill(1, "30000", 1, catastrophic_paid="9000")
    rows = [first, bill(2, "60000", 2, catastrophic_paid="30000"), reversal(3, first, 3)]
    a = again(*rows)
    # Alone, 60,000 is entitled to 25,200.
    assert a.settled["catastrophic_paid"].to_pylist() == [9_000, 25_200, -9_000]
    assert deltas(a) == [{}, {"catastrophic": -4_800, "personal": 4_800}, {}]
    assert a.settled["flags"].to_pylist() == [""] * 3


def test_a_reversal_whose_original_is_not_in_the_input_is_taken_out() -> None:
    """Section 5: it is taken out with zero deltas; history finds the original and earlier reversals."""
    first = bill(1, "30000", 1, catastrophic_paid="9000")
    lone = reversal(3, first, 3)
    a = again(lone, bill(2, "60000", 4, catastrophic_paid="24000"))
    assert deltas(a) == [{}, {"catastrophic": 1_200, "personal": -1_200}]
    assert a.settled["flags"].to_pylist() == ["ORIGINAL_NOT_SEEN", ""]
    policy = yibao.load_policy("shandong-2017")
    history = yibao.settle_ledger(table(first), policy).table
    seen = again(lone, bill(2, "60000", 4, catastrophic_paid="24000"), history=history)
    assert deltas(seen) == deltas(a)
    assert seen.settled["flags"].to_pylist() == ["", ""]
    history = yibao.settle_ledger(table(first, reversal(2, first, 2)), policy).table
    assert again(lone, history=history).settled["status"].to_pylist() == ["REVERSAL_NOT_WHOLE"]


def test_a_book_replays_each_row_under_the_policy_that_is_known_now() -> None:
    """Section 6: under the policy as known now; each policy has its own window."""
    book = [yibao.load_policy("shandong-2017"), yibao.load_policy("weihai-2019")]
    rows = [
        bill(1, "60000", 1, catastrophic_paid="24000"),
        bill(2, "60000", 2, service_date=date(2018, 5, 5), catastrophic_paid="24000"),
        bill(3, "60000", 3, person_id=2, insured_region=370602, catastrophic_paid="20000"),
    ]
    a = yibao.reaccount(table(*rows), book)
    assert a.settled["policy_id"].to_pylist() == ["weihai-2019", "shandong-2017", "shandong-2017"]
    assert a.deltas["catastrophic_delta"].to_pylist() == [1_200, 0, 4_000]
    digests = {policy.id: policy.digest for policy in book}
    assert {row["amount"]: row["policy_digest"] for row in a.transfers.to_pylist()} == {
        Decimal(1_200): digests["weihai-2019"],
        Decimal(4_000): digests["shandong-2017"],
    }


def test_a_reaccounting_can_be_had_in_fen() -> None:
    """Section 1: `money=` decides how amounts come out."""
    row = bill(1, "60000", catastrophic_paid="24000")
    a = again(row, money="int64_fen")
    assert a.deltas["catastrophic_delta_fen"].to_pylist() == [120_000]
    assert a.transfers["amount_fen"].to_pylist() == a.transfer_lines["amount_fen"].to_pylist() == [120_000]
    assert again(row, money="decimal64").transfers["amount"].type == pa.decimal64(18, 2)
