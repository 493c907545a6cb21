"""Re-accounting, who is paid: points 7 to 10, 12 and 13 of section 6 of the contract. Amounts in yuan, by hand."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import ledgers
import yibao

LAYERS = (
    "basic", "catastrophic", "special_drug", "assistance", "institution_reduction", "commercial", "reassistance", "pku",
)  # fmt: skip
ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}


def bill(number: int, total: str = "60000", day: int = 1, category: str = "ordinary", **cells: Any) -> dict[str, Any]:
    """Return an inpatient bill of one resident of Weihai of that day of March 2019, paid under the old rule.

    60,000 were paid 24,000 and are entitled to 25,200: 1,200 more.
    """
    row: dict[str, Any] = {
        "settlement_id": number,
        "person_id": "P1",
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
    row |= {f"{layer}_paid": "0" for layer in LAYERS}
    return row | {"catastrophic_paid": "24000" if total == "60000" else "0", "personal_paid": None} | cells


def helped(number: int, **cells: Any) -> dict[str, Any]:
    """Return the worked example of point 3: 375 of assistance too much, 2,675 due to the person."""
    old = {"catastrophic_paid": "13200", "assistance_paid": "10000"}
    return bill(number, "30000", category="registered_poor") | old | cells


def again(*rows: dict[str, Any], parameters: Any = None, **options: Any) -> yibao.Reaccount:
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    result: yibao.Reaccount = yibao.reaccount(table, yibao.load_policy("weihai-2019", parameters=parameters), **options)
    return result


def entries(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    """Return fund, kind of payee, payee and amount (and more columns) of each entry, sorted."""
    chosen = ("fund", "payee_kind", "payee_id", *names, "amount")
    return sorted(tuple(row[name] for name in chosen) for row in table.to_pylist())


def unpaid(a: yibao.Reaccount) -> tuple[int, int, int]:
    return len(a.held), len(a.decreases), len(a.unrouted)


TO_PERSON = ("person", "person_social_card", "P1")


def test_the_person_gets_one_amount_a_year_to_the_account_of_the_last_row_in_the_window() -> None:
    """Point 7: the person: one amount, to the account that the person's last row in the window shows."""
    rows = [
        bill(1, day=3, has_social_card_account=False, catastrophic_paid="36500"),
        bill(2, day=2, has_social_card_account=True),
        bill(3, day=9, has_social_card_account=True, service_date=date(2019, 9, 1), catastrophic_paid="0"),
    ]
    # By day: 60,000 → 25,200, +1,200; 120,000 → 49,200 + 20,000 × 65 % = 62,200, so 37,000, +500.
    a = again(*rows)
    assert entries(a.transfers, "benefit_year") == [("person", "person_bank_card", "P1", 2019, 1_700)]
    assert a.transfers["payer"].to_pylist() == ["catastrophic_insurance"]
    assert a.transfers["layer"].to_pylist() == ["personal"]


def test_assistance_goes_to_the_hospital_inside_the_city_and_to_the_district_outside() -> None:
    """Point 7: institution (hospital_id) if treated inside the insured city, district (insured_region) if outside."""
    rows = [
        helped(1),
        helped(2, person_id="P2", treated_region=110101),
        helped(3, person_id="P3", treated_region=371083, hospital_id="H2"),
    ]
    a = again(*rows, parameters=ASSISTANCE)
    money = [row for row in entries(a.transfers) if row[0] == "assistance"]
    assert money == [
        ("assistance", "district", "371002", 375),
        ("assistance", "institution", "H1", 375),
        ("assistance", "institution", "H2", 375),
    ]


def test_every_fund_has_its_own_payee_and_layers_never_share_a_transfer() -> None:
    """Points 7 and 12: assistance money and an institution's own reduction are never one transfer."""
    recorded = {"assistance_paid": "7000", "institution_reduction_paid": "5000", "reassistance_paid": "2000"}
    row = bill(1, "30000", category="dibao", catastrophic_paid="13200", commercial_paid="2800") | recorded
    a = again(row, recorded_after_change="implied_rate")
    # Old bases 16,800, 9,800, 4,800, 2,000; catastrophic rises to 16,250. Assistance 7,000 × 13,750 ÷ 16,800 =
    # 5,729.17; reduction 5,000 × 8,020.83 ÷ 9,800 = 4,092.26; commercial 2,800 × 3,928.57 ÷ 4,800 = 2,291.67;
    # re-assistance 2,000 × 1,636.90 ÷ 2,000 = 1,636.90. Nothing is left to the person, as before.
    assert entries(a.transfers, "layer") == [
        ("assistance", "institution", "H1", "assistance", Decimal("1270.83")),
        ("assistance", "institution", "H1", "reassistance", Decimal("363.10")),
        ("commercial", "commercial_fund", "3710", "commercial", Decimal("508.33")),
        ("institution", "institution", "H1", "institution_reduction", Decimal("907.74")),
    ]
    assert sum(a.transfers["amount"].to_pylist()) == 3_050
    assert unpaid(a) == (0, 0, 0)


def test_money_of_pku_food_goes_where_assistance_goes() -> None:
    """Point 7: assistance, re-assistance and PKU money."""
    row = bill(1, "30000", category="dibao", catastrophic_paid="13200", pku_paid="1680")
    # Catastrophic 16,250; 1,680 × 13,750 ÷ 16,800 = 1,375: 305 less.
    for cells, payee in (({}, ("institution", "H1")), ({"treated_region": 110101}, ("district", "371002"))):
        a = again(row | cells, recorded_after_change="implied_rate")
        assert entries(a.transfers, "layer")[0] == ("assistance", *payee, "pku", 305)


@pytest.mark.parametrize(
    ("cells", "fund", "amount"),
    [
        ({"hospital_id": None}, "assistance", 375),
        ({"treated_region": None}, "assistance", 375),
        ({"insured_region": None}, "assistance", 375),
        ({"treated_region": 110101, "insured_region": None}, "assistance", 375),
    ],
)
def test_a_part_whose_account_cannot_be_named_is_unrouted(cells: dict[str, Any], fund: str, amount: int) -> None:
    """Point 7: hospital or region missing; unrouted rows are signed and carry fund and layer (point 12)."""
    a = again(helped(1, **cells), parameters=ASSISTANCE)
    assert [(row["fund"], row["layer"], row["amount"]) for row in a.unrouted.to_pylist()] == [(fund, fund, amount)]
    assert entries(a.transfers) == [(*TO_PERSON, 2_675)]


def test_outside_the_city_no_hospital_is_needed() -> None:
    """Point 7: the district's account."""
    a = again(helped(1, hospital_id=None, treated_region=110101), parameters=ASSISTANCE)
    assert len(a.unrouted) == 0


@pytest.mark.parametrize("longer", ["371003", "371003001", "371003001002", 371003001, 371003001002])
def test_districts_are_read_from_longer_codes_too(longer: Any) -> None:
    """Ledger page: six digits; the national codes of towns and villages begin with their district's."""
    old = entries(again(helped(1), parameters=ASSISTANCE).transfers)
    assert entries(again(helped(1, treated_region=longer), parameters=ASSISTANCE).transfers) == old


def test_a_policy_routes_as_it_says(tmp_path: Path) -> None:
    """Point 7 and 三(一): where assistance goes, and whose supplement counts, stands in the policy."""
    text = (files("yibao_core") / "policies" / "weihai-2019.toml").read_text(encoding="utf-8")
    for old, new in (
        ('assistance_inside = "institution"', 'assistance_inside = "district"'),
        ('assistance_outside = "district"', 'assistance_outside = "institution"'),
        ('supplement_categories = ["registered_poor"]', 'supplement_categories = ["dibao"]'),
    ):
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "city.toml"
    file.write_text(text, encoding="utf-8")
    policy = yibao.load_policy(file, parameters=ASSISTANCE)

    def transfers(**cells: Any) -> list[tuple[Any, ...]]:
        row = helped(1, **cells)
        return entries(yibao.reaccount(pa.table({name: [row[name]] for name in row}), policy).transfers)

    to_person = ("person", "person_social_card", "P1", Decimal(2_675))
    assert transfers() == [("assistance", "district", "371002", Decimal(375)), to_person]
    assert transfers(treated_region=110101) == [("assistance", "institution", "H1", Decimal(375)), to_person]
    assert to_person in transfers(has_commercial_supplement=True)
    assert to_person not in transfers(has_commercial_supplement=True, category="dibao")


def test_unrouted_amounts_keep_their_sign() -> None:
    """Point 12: unrouted rows are signed."""
    a = again(helped(1, hospital_id=None, assistance_paid="9000"), parameters=ASSISTANCE)  # 9,625 due: 625 more
    assert a.unrouted["amount"].to_pylist() == [-625]
    assert entries(a.transfers) == [(*TO_PERSON, 3_675)]
    assert len(a.decreases) == 0


@pytest.mark.parametrize("action", ["waive", "recover"])
def test_a_decrease_is_listed_and_never_netted_against_another_payee(action: str) -> None:
    """Point 8: a payee's negative amount is no transfer; no netting between payees."""
    # Catastrophic 13,200 → 16,250, assistance 9,000 → 9,625: the person's share falls from 7,800 to 4,125.
    a = again(helped(1, assistance_paid="9000"), parameters=ASSISTANCE, on_decrease=action)
    assert entries(a.transfers) == [(*TO_PERSON, 3_675)]
    assert entries(a.decreases, "action", "reason") == [("assistance", "institution", "H1", action, "", 625)]


def test_a_persons_rows_net_inside_one_year_but_not_between_years_or_persons() -> None:
    """Point 8 with 7: one amount for each person-year."""
    rows = [
        bill(1, catastrophic_paid="26000"),  # −800
        bill(2, "10000", 2, catastrophic_paid="5000"),  # 70,000 → 31,200: 6,000, so +1,000
        bill(3, person_id="P2", catastrophic_paid="26000"),
        bill(4, day=3, service_date=date(2020, 1, 1)),  # outside the window
    ]
    a = again(*rows)
    assert entries(a.transfers) == [(*TO_PERSON, 200)]
    assert entries(a.decreases) == [("person", "person_social_card", "P2", 800)]


def test_a_wrong_word_for_decreases_or_rejects_is_refused() -> None:
    """Points 8 and 9: the switches have two positions each."""
    for option in ("on_decrease", "on_reject"):
        with pytest.raises(yibao.LedgerError, match=option):
            again(bill(1), **{option: "maybe"})


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([bill(1), bill(2, "100", 2, category="unknown")], "REJECTED_ROW"),
        ([bill(1), bill(2, "100", 2, care_type="dental", service_date=date(2019, 9, 9))], "REJECTED_ROW"),
        ([bill(1), bill(2, "100", 2, service_date=None)], "REJECTED_ROW"),
        ([bill(1), bill(2, "100", 2, catastrophic_paid=None)], "REJECTED_ROW"),
        ([bill(1, personal_paid="36000.01")], "PAID_DOES_NOT_ADD_UP"),
        ([bill(1), bill(2, "100", 2, personal_paid="99", service_date=date(2019, 9, 9))], "PAID_DOES_NOT_ADD_UP"),
        ([bill(1, has_social_card_account=None)], "ACCOUNT_UNKNOWN"),
        ([bill(1), bill(2, "100", 2, has_social_card_account=None, catastrophic_paid="60")], "ACCOUNT_UNKNOWN"),
        ([bill(1, has_social_card_account=None, personal_paid="1")], "PAID_DOES_NOT_ADD_UP;ACCOUNT_UNKNOWN"),
    ],
)
def test_a_person_year_that_something_speaks_against_is_held(rows: list[dict[str, Any]], reason: str) -> None:
    """Point 9: a rejected row, payments that do not reconcile, a null account flag; inside or outside the window."""
    a = again(*rows, bill(9, person_id="P2"))
    assert [row["person_id"] for row in a.transfers.to_pylist()] == ["P2"]
    assert [(row["person_id"], row["amount"], row["reason"]) for row in a.held.to_pylist()] == [("P1", 1_200, reason)]
    assert a.summary["payments"]["held"]["amount"] == "1200.00"


def test_only_the_flag_of_the_last_row_in_the_window_counts() -> None:
    """Point 9: of the flags, that of the last row in the window."""
    rows = [
        bill(1, has_social_card_account=None),
        bill(2, "100", 2, catastrophic_paid="60"),  # 60,100 → 25,260
        bill(3, "100", 3, has_social_card_account=None, service_date=date(2019, 9, 1), catastrophic_paid="60"),
    ]
    assert entries(again(*rows).transfers) == [(*TO_PERSON, 1_200)]


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_account_flag_is_no_answer(blank: str) -> None:
    """Point 9: a null account flag; in a text file an empty cell says as little as a null one."""
    a = again(bill(1, has_social_card_account=blank), bill(2, person_id="P2", has_social_card_account="是"))
    assert [row["person_id"] for row in a.transfers.to_pylist()] == ["P2"]
    assert a.held["reason"].to_pylist() == ["ACCOUNT_UNKNOWN"]


def test_a_rejected_row_without_readable_date_holds_all_years_of_the_person() -> None:
    """Point 9: one with a date holds its own year only."""
    policy = yibao.load_policy("shandong-2017")
    rows = [bill(1, catastrophic_paid="0"), bill(2, catastrophic_paid="0", service_date=date(2018, 1, 1))]
    for day, years in ((None, [2018, 2019]), (date(2018, 7, 7), [2018])):
        bad = bill(3, category="?", service_date=day)
        table = pa.table({name: [row[name] for row in (*rows, bad)] for name in bad})
        assert sorted(yibao.reaccount(table, policy).held["benefit_year"].to_pylist()) == years


def test_rows_taken_out_with_their_reversal_hold_nothing() -> None:
    """Point 9: except those taken out with their reversal."""
    wrong = bill(1, "100", 1, personal_paid="1", reverses=None)
    money = {
        name: f"-{cell}" for name, cell in wrong.items() if name.endswith(("_fee", "_paid")) and cell not in ("0", None)
    }
    back = wrong | money | {"settlement_id": 2, "reverses": 1, "settled_at": datetime(2019, 3, 2)}
    a = again(wrong, back, bill(3, day=3, reverses=None))
    assert entries(a.transfers) == [(*TO_PERSON, 1_200)]


def test_decreases_of_a_held_person_year_are_held() -> None:
    """Point 9: decreases of a held person-year carry the action held."""
    a = again(bill(1, catastrophic_paid="26000", personal_paid="1"), on_decrease="recover")
    assert entries(a.decreases, "action", "reason") == [(*TO_PERSON, "held", "PAID_DOES_NOT_ADD_UP", 800)]


def test_paying_in_spite_sends_the_person_without_account_to_unrouted() -> None:
    """Point 9: on_reject="pay" overrides; a null flag then sends the person's part to unrouted."""
    rows = [
        bill(1, personal_paid="1"),
        helped(2, person_id="P2", has_social_card_account=None),
        bill(3, "100", person_id="P2", category="?"),
    ]
    a = again(*rows, parameters=ASSISTANCE, on_reject="pay")
    assert entries(a.transfers) == [("assistance", "institution", "H1", 375), (*TO_PERSON, 1_200)]
    assert [(row["fund"], row["layer"], row["amount"]) for row in a.unrouted.to_pylist()] == [
        ("person", "personal", 2_675)
    ]
    assert unpaid(a) == (0, 0, 1)


def test_a_second_run_with_the_first_ones_transfers_issues_nothing() -> None:
    """Point 12: running twice pays nothing twice."""
    rows = [bill(1), helped(2, person_id="P2"), helped(3, person_id="P3", treated_region=110101)]
    first = again(*rows, parameters=ASSISTANCE)
    second = again(*rows, parameters=ASSISTANCE, previous_transfers=first.transfers)
    assert len(first.transfers) == 5
    assert len(second.transfers) == len(second.transfer_lines) == len(second.payment_orders) == 0
    assert unpaid(second) == (0, 0, 0)
    assert second.summary["payments"]["previous"]["amount"] == "7300.00"  # 1,200 + 2 × 3,050


@pytest.mark.parametrize("money", ["decimal64", "int64_fen"])
def test_transfers_of_every_money_type_are_accepted_by_the_next_run(money: str) -> None:
    """Point 12: transfers of earlier runs come in, as they came out (section 1 names three types)."""
    first = again(bill(1), money=money)
    assert len(again(bill(1), previous_transfers=first.transfers).transfers) == 0


def test_after_a_correction_only_the_difference_goes_out() -> None:
    """Points 12 and 13: the new transfer has one more line, without settlement, with the earlier ones' negative sum."""
    first = again(bill(1))
    second = again(bill(1, catastrophic_paid="23000"), previous_transfers=first.transfers)
    assert entries(second.transfers) == [(*TO_PERSON, 1_000)]
    lines = [(row["settlement_id"], row["amount"]) for row in second.transfer_lines.to_pylist()]
    assert lines == [(1, 2_200), (None, -1_200)]
    both = pa.concat_tables([first.transfers, second.transfers])
    third = again(bill(1, catastrophic_paid="22500"), previous_transfers=both)
    assert [row["amount"] for row in third.transfer_lines.to_pylist()] == [2_700, -2_200]
    assert len({*first.transfers["transfer_id"].to_pylist(), *second.transfers["transfer_id"].to_pylist(),
                *third.transfers["transfer_id"].to_pylist()}) == 3  # fmt: skip


def test_less_due_than_paid_before_is_a_decrease_and_an_executed_recovery_counts_against_it() -> None:
    """Point 12: executed recoveries come in as negative entries."""
    first = again(bill(1))
    less = bill(1, catastrophic_paid="24500")
    second = again(less, previous_transfers=first.transfers, on_decrease="recover")
    assert entries(second.decreases, "action") == [(*TO_PERSON, "recover", 500)]
    taken = second.decreases.select(["person_id", "benefit_year", "fund", "layer", "payee_kind", "payee_id"])
    taken = taken.append_column("amount", pa.array([Decimal("-500.00")], pa.decimal128(18, 2)))
    executed = pa.concat_tables([first.transfers.select(taken.column_names), taken])
    third = again(less, previous_transfers=executed)
    assert (len(third.transfers), *unpaid(third)) == (0, 0, 0, 0)
    back = again(bill(1), previous_transfers=executed)
    assert entries(back.transfers) == [(*TO_PERSON, 500)]


def test_the_persons_two_accounts_count_together_and_the_difference_goes_to_the_one_shown_now() -> None:
    """Point 12: earlier entries on the person's two account kinds count together."""
    first = again(bill(1))
    row = bill(1, has_social_card_account=False)
    assert len(again(row, previous_transfers=first.transfers).transfers) == 0
    by_bank = again(row).transfers
    assert len(again(bill(1), previous_transfers=by_bank).transfers) == 0
    assert len(again(bill(1), previous_transfers=by_bank).decreases) == 0
    a = again(row | {"catastrophic_paid": "23000"}, previous_transfers=first.transfers)
    assert entries(a.transfers) == [("person", "person_bank_card", "P1", 1_000)]
    assert len(a.decreases) == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"hospital_id": "H9"}), ({"treated_region": 110101}, {"treated_region": 110101, "insured_region": 371003})],
)
def test_when_another_payee_changes_both_sides_are_held(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Point 12: a hospital merged, a district renumbered: the old key's decrease and the new key's transfer are held."""
    first = again(helped(1, **before), parameters=ASSISTANCE)
    a = again(helped(1, **after), parameters=ASSISTANCE, previous_transfers=first.transfers, on_decrease="recover")
    assert len(a.transfers) == 0
    assert [(row["amount"], row["reason"]) for row in a.held.to_pylist()] == [(375, "PAYEE_CHANGED")]
    decreases = [(row["amount"], row["action"], row["reason"]) for row in a.decreases.to_pylist()]
    assert decreases == [(375, "held", "PAYEE_CHANGED")]
    assert a.held["payee_id"].to_pylist() != a.decreases["payee_id"].to_pylist()


def test_a_new_payee_is_paid_once_the_old_ones_money_came_back() -> None:
    """Point 12: held are the old key's decrease and the new key's transfer; without a decrease nothing is held."""
    first = again(helped(1), parameters=ASSISTANCE).transfers
    columns = ["person_id", "benefit_year", "fund", "layer", "payee_kind", "payee_id", "amount"]
    hospital = first.filter(pa.compute.equal(first["fund"], "assistance")).select(columns)
    returned = hospital.set_column(6, "amount", pa.array([Decimal("-375.00")], pa.decimal128(18, 2)))
    executed = pa.concat_tables([first.select(columns), returned])
    a = again(helped(1, hospital_id="H9"), parameters=ASSISTANCE, previous_transfers=executed)
    assert entries(a.transfers) == [("assistance", "institution", "H9", 375)]
    assert unpaid(a) == (0, 0, 0)


def test_what_was_paid_to_a_person_whose_rows_are_gone_is_a_decrease() -> None:
    """Points 10 and 12: less due than paid before is a decrease, of a person-year that the ledger no longer has too."""
    first = again(bill(1), bill(2, person_id="P2"))
    a = again(bill(1), previous_transfers=first.transfers, on_decrease="recover")
    assert entries(a.decreases, "action") == [("person", "person_social_card", "P2", "recover", 1_200)]
    assert (len(a.transfers), a.summary["payments"]["identity_violations"]) == (0, 0)
    assert a.summary["payments"]["payer_delta"] == "1200.00"


def test_previous_transfers_may_come_back_as_text_from_a_file() -> None:
    """Point 12: transfers of earlier runs come in."""
    rows = [bill(1, person_id=7, hospital_id=12), helped(2, person_id=8, hospital_id=11)]
    first = again(*rows, parameters=ASSISTANCE).transfers
    text = pa.table({name: first[name].cast(pa.string()) for name in first.column_names})
    assert len(text) == 3
    a = again(*rows, parameters=ASSISTANCE, previous_transfers=text)
    assert (len(a.transfers), *unpaid(a)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("fund", "pocket", "fund: expected one of"),
        ("layer", "person", "layer: expected one of"),
        ("payee_kind", "bank", "payee_kind: expected one of"),
        ("amount", "1.005", "amount: expected whole fen"),
        ("amount", None, "amount: expected whole fen"),
        ("person_id", None, "person_id: expected"),
        ("benefit_year", None, "benefit_year: expected"),
        ("benefit_year", "last", "benefit_year: expected"),
    ],
)
def test_earlier_entries_that_cannot_be_read_are_refused(column: str, value: str | None, fault: str) -> None:
    """Section 8: fails at once, naming every fault."""
    first = again(bill(1)).transfers
    bad = first.set_column(first.column_names.index(column), column, pa.array([value], pa.string()))
    with pytest.raises(yibao.LedgerError, match=f"previous_transfers: {fault}"):
        again(bill(1), previous_transfers=bad)
    with pytest.raises(yibao.LedgerError, match=f"previous_transfers: {column}: expected a column"):
        again(bill(1), previous_transfers=first.drop_columns([column]))


@pytest.mark.parametrize("name", ["reason", "action"])
def test_what_was_held_or_waived_is_no_earlier_transfer(name: str) -> None:
    """Point 12: only what was paid, or recovered, counts."""
    first = again(bill(1)).transfers
    with pytest.raises(yibao.LedgerError, match="was held or waived was not paid"):
        again(bill(1), previous_transfers=first.append_column(name, pa.array(["held"])))


def test_a_transfer_that_comes_in_twice_is_refused() -> None:
    """Point 12: one file read twice would turn into a decrease."""
    first = again(bill(1)).transfers
    with pytest.raises(yibao.LedgerError, match="expected every transfer once, got 1 more than once"):
        again(bill(1), previous_transfers=pa.concat_tables([first, first]))


@pytest.mark.parametrize("unreadable", [None, "perhaps"])
def test_nobody_is_paid_while_nobody_knows_whether_the_supplement_rule_applies(unreadable: str | None) -> None:
    """Points 6 and 9: without the flag it is unknown whether the money is the person's or the funds'."""
    a = again(helped(1, has_commercial_supplement=unreadable), parameters=ASSISTANCE)
    reasons = {row["reason"] for row in a.held.to_pylist()}
    assert (len(a.transfers), reasons) == (0, {"SUPPLEMENT_UNKNOWN"})
    assert a.summary["payments"]["identity_violations"] == 0
    assert len(again(bill(1, has_commercial_supplement=unreadable)).transfers) == 1  # not a registered poor one


def test_rows_of_two_cities_make_one_person_year() -> None:
    """Points 5 and 7: person-years are held and paid as one; accounts are kept by city (section 2)."""
    rows = [bill(1), bill(2, day=2, insured_region=370602, has_social_card_account=False)]
    a = again(*rows)  # each city from zero: 1,200 twice
    assert entries(a.transfers) == [("person", "person_bank_card", "P1", 2_400)]
    held = again(*rows, bill(3, "100", 3, insured_region=370602, category="?"))
    assert [(row["amount"], row["reason"]) for row in held.held.to_pylist()] == [(2_400, "REJECTED_ROW")]


def test_a_transfer_id_is_the_same_for_the_same_and_another_for_another() -> None:
    """Point 12: a digest of person, year, payer, fund, layer, payee, policy digest and number of earlier entries."""
    a = again(bill(1), helped(2, person_id="P2"), parameters=ASSISTANCE)
    reversed_rows = again(helped(2, person_id="P2"), bill(1), parameters=ASSISTANCE)
    ids = set(a.transfers["transfer_id"].to_pylist())
    assert ids == set(reversed_rows.transfers["transfer_id"].to_pylist())
    assert len(ids) == 3
    more = again(bill(1, catastrophic_paid="1"), parameters=ASSISTANCE)  # another amount on the same key
    assert more.transfers["transfer_id"].to_pylist()[0] in ids
    for other in (again(bill(1)), again(bill(1, has_social_card_account=False), parameters=ASSISTANCE)):
        assert not ids & set(other.transfers["transfer_id"].to_pylist())  # other policy digest, other payee


def test_lines_add_up_to_transfers_orders_to_accounts_and_everything_to_d() -> None:
    """Points 10 and 13, on random rows with earlier transfers, every kind of payee and every outcome."""
    rows = ledgers.random_rows(random.Random(1019), 6_000, 1_500, bad=0.03)
    policy = yibao.load_policy("weihai-2019", parameters=ASSISTANCE)
    options: dict[str, Any] = {"recorded_after_change": "implied_rate"}
    first = yibao.reaccount(ledgers.to_arrow(rows), policy, **options)
    changed = [
        row | {"eligible_fee": row["total_fee"]} if row["reverses"] is None and n % 9 == 0 else row
        for n, row in enumerate(rows)
    ]
    a = yibao.reaccount(ledgers.to_arrow(changed), policy, previous_transfers=first.transfers, **options)
    lines: dict[str, Decimal] = defaultdict(Decimal)
    for row in a.transfer_lines.to_pylist():
        lines[row["transfer_id"]] += row["amount"]
    transfers = a.transfers.to_pylist()
    assert lines == {row["transfer_id"]: row["amount"] for row in transfers}
    assert a.transfer_lines["settlement_id"].null_count > 0
    accounts: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in transfers:
        accounts[row["payee_kind"], row["payee_id"]].append(row["amount"])
    orders = {
        (row["payee_kind"], row["payee_id"]): (row["amount"], row["transfers"]) for row in a.payment_orders.to_pylist()
    }
    assert orders == {key: (sum(amounts), len(amounts)) for key, amounts in accounts.items()}
    assert len(orders) == len(a.payment_orders)
    assert {kind for kind, _ in orders} == {
        "person_social_card", "person_bank_card", "institution", "district", "assistance_fund", "commercial_fund",
    }  # fmt: skip
    years: dict[tuple[Any, int], Decimal] = defaultdict(Decimal)
    for table, sign in ((first.transfers, 1), (a.transfers, 1), (a.held, 1), (a.unrouted, 1), (a.decreases, -1)):
        for row in table.to_pylist():
            assert row["amount"] > 0 or table is a.unrouted
            years[row["person_id"], row["benefit_year"]] += sign * row["amount"]
    due: dict[tuple[Any, int], Decimal] = defaultdict(Decimal)
    year_of = {row["settlement_id"]: row["service_date"].year for row in rows if row["service_date"] is not None}
    for row in a.deltas.to_pylist():
        due[row["person_id"], year_of[row["settlement_id"]]] += row["catastrophic_delta"] + row["special_drug_delta"]
    assert {key: amount for key, amount in years.items() if amount} == {
        key: amount for key, amount in due.items() if amount
    }
    assert a.summary["payments"]["identity_violations"] == 0
