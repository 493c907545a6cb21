"""Who is paid, who is held, what is waived: lines of a re-accounting against the transfers of earlier ones.

All amounts are fen. Source: 威医保发〔2019〕37号 三(一), settlement contract 6.7–6.12.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core.deltas import PERSON, TO_NOBODY, TO_PERSON

Fen = NDArray[np.int64]
Bools = NDArray[np.bool_]

PACKED_MAX = 2**63 - 1

# Behind what the kernel notes of a group (HOLD_REJECTED 1, HOLD_NOT_RECONCILED 2 of `accumulators`).
HOLD_ACCOUNT_UNKNOWN, HOLD_PAYEE_CHANGED, HOLD_SUPPLEMENT_UNKNOWN = 4, 8, 16
HOLD_REASONS = ("REJECTED_ROW", "PAID_DOES_NOT_ADD_UP", "ACCOUNT_UNKNOWN", "PAYEE_CHANGED", "SUPPLEMENT_UNKNOWN")

TRANSFER, HELD, DECREASE, UNROUTED, NOTHING = range(5)


class Entries(NamedTuple):
    """One for each key of a person-year: (fund, layer, payee kind, payee). Sorted by all of them."""

    person_year: Fen  # index
    fund: Fen
    layer: Fen
    kind: Fen
    payee: Fen
    due: Fen  # what the lines of this run add up to
    earlier: Fen  # what earlier runs transferred on the key (less what they recovered)
    earlier_count: Fen
    lines: Fen  # lines of this run on the key
    outcome: Fen
    hold: Fen  # bits of HOLD_*
    entry_of_line: Fen

    @property
    def amount(self) -> Fen:
        """What is still to pay on the key: due less earlier; below zero for a decrease."""
        return self.due - self.earlier


def settle_entries(
    line_keys: tuple[Fen, Fen, Fen, Fen, Fen],
    line_amounts: Fen,
    earlier_keys: tuple[Fen, Fen, Fen, Fen, Fen],
    earlier_amounts: Fen,
    hold: Fen,
    account_unknown: Bools,
    pay_in_spite: bool,
) -> Entries:
    """Return what becomes of every key. Keys are (person-year, fund, layer, kind, payee).

    `hold` and `account_unknown` are by person-year. A positive difference is a transfer, or held where the
    person-year is held; a negative one is a decrease and never nets another payee's amount. What has no payee
    stays unrouted, signed. `pay_in_spite`: holds of whole person-years do not count, and the part of a
    person without account is unrouted.
    """
    keys = [np.concatenate(pair) for pair in zip(line_keys, earlier_keys, strict=True)]
    lines = len(line_amounts)
    order = _order(keys)
    ordered = [key[order] for key in keys]
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = np.any([key[1:] != key[:-1] for key in ordered], axis=0)
    entry = np.cumsum(new) - 1
    entry_of = np.empty(len(order), dtype=np.int64)
    entry_of[order] = entry
    count = int(new.sum())
    due, earlier = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    np.add.at(due, entry_of[:lines], line_amounts)
    np.add.at(earlier, entry_of[lines:], earlier_amounts)
    line_count = np.bincount(entry_of[:lines], minlength=count)
    earlier_count = np.bincount(entry_of[lines:], minlength=count)
    person_year, fund, layer, kind, payee = (key[new] for key in ordered)

    held = (
        np.zeros(count, dtype=np.int64)
        if pay_in_spite
        else hold[person_year] | account_unknown[person_year] * HOLD_ACCOUNT_UNKNOWN
    )
    held = held | payee_changed(person_year, fund, layer, kind, due, earlier, earlier_count) * HOLD_PAYEE_CHANGED
    amount = due - earlier
    outcome = np.where(amount > 0, np.where(held > 0, HELD, TRANSFER), np.where(amount < 0, DECREASE, NOTHING))
    nobody = kind == TO_NOBODY
    if pay_in_spite:
        nobody = nobody | ((kind == TO_PERSON) & account_unknown[person_year])
    outcome = np.where(nobody, np.where(amount != 0, UNROUTED, NOTHING), outcome)
    return Entries(
        person_year, fund, layer, kind, payee, due, earlier, earlier_count, line_count, outcome, held, entry_of[:lines]
    )


def _order(keys: list[Fen]) -> Fen:
    """Return the order of rows by several keys ≥ TO_NOBODY, the first foremost; equal rows in any order.

    The keys are packed into one word where they fit: one sort instead of one a key.
    """
    highest = [int(key.max(initial=0)) - TO_NOBODY + 1 for key in keys]
    if math.prod(highest) > PACKED_MAX:
        order: Fen = np.lexsort(keys[::-1])
        return order
    packed = np.zeros(len(keys[0]), dtype=np.int64)
    for key, count in zip(keys, highest, strict=True):
        packed *= count
        packed += key - TO_NOBODY
    return np.argsort(packed)


def payee_changed(
    person_year: Fen, fund: Fen, layer: Fen, kind: Fen, due: Fen, earlier: Fen, earlier_count: Fen
) -> Bools:
    """Return the entries that look like one payee under two names: a key that was paid more than is due now, and
    another key that is due more than it was paid, of one person-year, fund and layer."""
    if not len(person_year):
        return np.zeros(0, dtype=bool)
    named = (fund != PERSON) & (kind != TO_NOBODY)
    left_behind = named & (earlier_count > 0) & (due < earlier)
    newcomer = named & (due > earlier)
    # Entries are sorted: those of one person-year, fund and layer stand together.
    start = np.ones(len(person_year), dtype=bool)
    start[1:] = (person_year[1:] != person_year[:-1]) | (fund[1:] != fund[:-1]) | (layer[1:] != layer[:-1])
    together = np.cumsum(start) - 1
    both = np.zeros(int(start.sum()), dtype=np.int64)
    np.bitwise_or.at(both, together, left_behind * 1 | newcomer * 2)
    changed: Bools = (both[together] == 3) & (left_behind | newcomer)
    return changed


def identity(person_years: int, payer_delta: Fen, delta_person_year: Fen, entries: Entries) -> tuple[Fen, Fen]:
    """Return for each person-year D, and what previous + transfers + held + unrouted − decreases miss it by (all zero)."""
    owed = np.zeros(person_years, dtype=np.int64)
    np.add.at(owed, delta_person_year, payer_delta)
    found = np.zeros(person_years, dtype=np.int64)
    counted = entries.outcome != NOTHING
    np.add.at(found, entries.person_year[counted], entries.amount[counted])
    np.add.at(found, entries.person_year, entries.earlier)
    return owed, found - owed
