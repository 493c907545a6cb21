"""One settlement, explained: section 7 of the contract."""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import pytest

import yibao

ASSISTANCE = {"assistance_deductible": "0", "assistance_rate": "70 %", "assistance_limit": "10000"}
POLICY = yibao.load_policy("weihai-2019", parameters=ASSISTANCE)


def bill(number: Any, total: str, day: int = 1, **cells: Any) -> dict[str, Any]:
    row = {
        "settlement_id": number,
        "reverses": None,
        "person_id": "P1",
        "settled_at": datetime(2019, 3, day),
        "service_date": date(2019, 3, day),
        "insured_region": 371002,
        "category": "ordinary",
        "care_type": "inpatient",
        "total_fee": total,
        "eligible_fee": total,
        "basic_paid": "0",
        "commercial_paid": "0",
    }
    return row | cells


def test_the_deductible_and_the_yearly_cap_are_named_where_they_bite() -> None:
    below = yibao.settle(bill("S1", "10000"), POLICY).explain()
    assert "  up to 18,000.00: nothing\n  entitled so far 0.00 → 0.00, rounded" in below
    # 82,000 × 60 % + 100,000 × 65 % + 100,000 × 70 % + 400,000 × 75 % = 484,200; at most 400,000.
    beyond = yibao.settle(bill("S1", "700000"), POLICY).explain()
    assert "entitled so far 0.00 → 400,000.00 (the yearly cap), rounded once each to the fen: 400,000.00" in beyond


def table(*rows: dict[str, Any]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


HELPED = bill("S1", "130000", category="dibao", basic_paid="20000", total_fee="131000")


def test_the_words_hold_base_tiers_amounts_and_articles() -> None:
    """Section 7: base, cumulative, each tier's part and amount, and the article each step rests on."""
    text = yibao.settle(HELPED, POLICY).explain()
    # Base 110,000: 95,000 × 65 % = 61,750, 10,000 × 75 % = 7,500; assistance 40,750 × 70 % = 28,525, limit 10,000.
    for part in (
        "Policy weihai-2019 (威医保发〔2019〕37号)",
        "20,000.00 as recorded",
        "大病保险: pays 69,250.00",
        "二(二): 困难人员",
        "base 110,000.00 (component 130,000.00 less what earlier layers paid on it)",
        "cumulative this year 0.00 → 110,000.00",
        "from 5,000.00 to 100,000.00: 95,000.00 × 65 % = 61,750.00",
        "from 100,000.00 to 300,000.00: 10,000.00 × 75 % = 7,500.00",
        "entitled so far 0.00 → 69,250.00",
        "医疗救助: pays 10,000.00",
        "Left to the person: 31,750.00",
    ):
        assert part in text, text
    assert "85 %" not in text  # a tier that the row does not reach


def test_a_cut_is_explained_by_what_cut_it() -> None:
    """Section 7: cap, and what is left of the bill."""
    first = yibao.settle(bill(1, "587733.32"), POLICY)  # 399,999.99
    text = yibao.settle(bill(2, "100", 2), POLICY, opening=first.closing).explain()
    assert "大病保险: pays 0.01" in text
    recorded = yibao.settle(bill(1, "100", basic_paid="150"), POLICY).explain()
    assert "150.00 as recorded, cut to 100.00: no more was left of the bill" in recorded


def test_a_category_change_that_meets_the_cap_says_what_the_cap_leaves() -> None:
    """Section 2 in words: at most max(0, new cap − paid this year in this layer)."""
    first = yibao.settle(bill(1, "700000", category="dibao"), POLICY)  # 551,750, no cap
    second = yibao.settle(bill(2, "100", 2), POLICY, opening=first.closing)
    assert second.paid["catastrophic"] == 0
    third = yibao.settle(
        bill(3, "20000", 3), POLICY, opening={(2019, 3710, "catastrophic"): (Decimal(30_000), Decimal(399_999))}
    )
    assert third.paid["catastrophic"] == 1
    assert "cut to 1.00: the yearly cap leaves 1.00" in third.explain()


@pytest.mark.parametrize("total", ["17999.99", "60000.10", "99999.99", "250000.01", "2000000"])
@pytest.mark.parametrize("before", ["0", "100000.05"])
def test_the_figures_of_a_trace_add_up(total: str, before: str) -> None:
    """Section 7: the trace is the kernel's own output; its parts add up to its base and its payment."""
    opening = yibao.settle(bill(1, before), POLICY).closing
    one = yibao.settle(bill(2, total, 2), POLICY, opening=opening)
    step = next(step for step in one.trace if step.layer == "catastrophic")
    assert (step.mode, step.rule, step.base, step.component) == (
        "computed",
        "everyone_else",
        Decimal(total),
        Decimal(total),
    )
    assert step.cumulative_before == Decimal(before)
    assert step.cumulative_after - step.cumulative_before == step.base
    deductible = max(Decimal(18_000) - step.cumulative_before, Decimal(0))
    assert sum(tier.part for tier in step.tiers) == max(step.base - deductible, Decimal(0))
    for tier in step.tiers:
        assert tier.amount == tier.part * tier.rate_percent / 100
    exact = sum((tier.amount for tier in step.tiers), Decimal(0))
    entitled = step.entitled_after - step.entitled_before
    capped = step.entitled_after == 400_000
    assert capped or abs(exact - entitled) <= Decimal("0.01")
    if before == "0" and not capped:
        assert entitled == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert step.paid == entitled == one.paid["catastrophic"]
    assert step.paid <= step.left
    assert sum(step.paid for step in one.trace) + one.personal_paid == Decimal(total)


def test_the_trace_goes_through_the_layers_in_the_policys_order() -> None:
    """Section 7 with 2: payment per layer, in the policy's order."""
    one = yibao.settle(HELPED, POLICY)
    layers = [step.layer for step in one.trace]
    assert layers == [layer for layer in one.paid if layer in layers]
    assert {"basic", "catastrophic", "assistance"} <= set(layers)
    assert {step.layer: step.paid for step in one.trace} == {layer: one.paid[layer] for layer in layers}
    left = Decimal(131_000)
    for step in one.trace:
        assert step.left == left
        left -= step.paid
    assert left == one.personal_paid


def test_a_row_of_a_ledger_is_explained_as_the_ledger_settles_it() -> None:
    """Section 7: its person's earlier rows count, wherever they stand in the file; others do not."""
    rows = table(bill("B", "20000", 5), bill("X", "90000", 1, person_id="P2"), bill("A", "30000", 1), bill("C", "1", 9))
    text = yibao.explain(rows, "B", POLICY)
    assert "cumulative this year 30,000.00 → 50,000.00" in text
    assert "entitled so far 7,200.00 → 19,200.00" in text
    assert "大病保险: pays 12,000.00" in text
    opening = yibao.settle_ledger(table(bill("Z", "50000", 1)), POLICY).closing
    assert "cumulative this year 80,000.00 → 100,000.00" in yibao.explain(rows, "B", POLICY, opening=opening)


@pytest.mark.parametrize("other", ["37100219900101001x", " 37100219900101001X", "３７１００２１９９００１０１００１X"])
def test_rows_of_one_person_under_two_spellings_are_explained_together(other: str) -> None:
    """Section 7 with the ledger page: ids are normalised; the explanation is of what the kernel did in the ledger."""
    rows = table(bill("A", "30000", 1, person_id=other), bill("B", "20000", 2, person_id="37100219900101001X"))
    assert yibao.settle_ledger(rows, POLICY).table["catastrophic_paid"].to_pylist() == [7_200, 12_000]
    assert "大病保险: pays 12,000.00" in yibao.explain(rows, "B", POLICY)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_person_ids_of_every_kind_of_text_can_be_explained(kind: pa.DataType) -> None:
    """Section 7: anything that settles can be explained."""
    rows = table(bill("A", "30000", 1), bill("B", "20000", 2))
    ids = rows["person_id"].combine_chunks()
    ids = ids.dictionary_encode() if pa.types.is_dictionary(kind) else ids.cast(kind)
    rows = rows.set_column(rows.column_names.index("person_id"), "person_id", ids)
    assert "大病保险: pays 12,000.00" in yibao.explain(rows, "B", POLICY)


def test_a_reversal_is_explained_as_the_mirror_of_its_bill() -> None:
    """Section 5 in words."""
    money = {"total_fee": "-30000", "eligible_fee": "-30000", "basic_paid": "0"}
    back = bill("R", "30000", 3, reverses="A") | money
    rows = table(bill("A", "30000", 1), bill("B", "20000", 2), back)
    text = yibao.explain(rows, "R", POLICY)
    assert "A reversal: every payment is the mirror of its original's" in text
    assert "大病保险: -7,200.00" in text
    assert "Left to the person: -22,800.00" in text
    assert "Flags: STALE_AFTER_REVERSAL" in text


def test_an_unknown_id_gets_the_closest_one_as_a_hint() -> None:
    """Section 8: what was expected, what was got."""
    rows = table(bill("SETTLEMENT-17", "30000"), bill("OTHER", "1", 2))
    with pytest.raises(
        yibao.LedgerError, match="no row of the ledger has the id 'SETTLEMENT-71'; the one of row 0 is close"
    ):
        yibao.explain(rows, "SETTLEMENT-71", POLICY)
    with pytest.raises(yibao.LedgerError) as caught:
        yibao.explain(rows, "zzzz", POLICY)
    assert "did you mean" not in str(caught.value)
    with pytest.raises(yibao.LedgerError, match="expected a whole number"):
        yibao.explain(table(bill(1, "30000")), "one", POLICY)
    assert "pays 7,200.00" in yibao.explain(table(bill(1, "30000")), "1", POLICY)
    assert "pays 7,200.00" in yibao.explain(rows, " SETTLEMENT-17 ", POLICY)


def test_a_rejected_row_is_explained_by_its_code() -> None:
    """Section 8: code, column and value."""
    with pytest.raises(yibao.ClaimError, match="UNKNOWN_CATEGORY: category: got \\?") as caught:
        yibao.explain(table(bill("A", "1", category="?"), bill("B", "1")), "A", POLICY)
    assert caught.value.code == "UNKNOWN_CATEGORY"


def test_a_book_explains_the_policy_that_the_row_found() -> None:
    """Section 4 in words."""
    book = [yibao.load_policy("weihai-2019"), yibao.load_policy("shandong-2017")]
    rows = table(bill("A", "30000"))
    assert "Policy weihai-2019" in yibao.explain(rows, "A", book)
    old = yibao.explain(rows, "A", book, as_known=date(2019, 6, 30))
    assert "Policy shandong-2017" in old
    assert "from 12,000.00 to 100,000.00: 18,000.00 × 50 % = 9,000.00" in old
    assert "secondary source" in old


def test_a_settlement_shows_what_it_paid() -> None:
    """The public surface: what a session prints."""
    assert repr(yibao.settle(bill(1, "30000"), POLICY)) == "Settlement(catastrophic 7200.00; personal 22800.00)"
    assert repr(yibao.settle(bill(1, "1"), POLICY)) == "Settlement(nothing paid; personal 1.00)"
