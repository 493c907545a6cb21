"""Old against new: what each row was paid, what it should have been, and who is owed the difference.

All amounts are fen. A difference is new − old; a payee's part of it is old − new: what it paid too much.
Source: 威医保发〔2019〕37号 三(一), settlement contract 6.4–6.7.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core.money import NULL_FEN
from yibao_core.policy import LAYERS

Fen = NDArray[np.int64]

FUNDS = ("person", "assistance", "institution", "commercial")
PERSON, ASSISTANCE, INSTITUTION, COMMERCIAL = range(4)
FUND_OF_LAYER = {
    "assistance": ASSISTANCE,
    "reassistance": ASSISTANCE,
    "pku": ASSISTANCE,
    "institution_reduction": INSTITUTION,
    "commercial": COMMERCIAL,
}
PERSONAL_LAYER = len(LAYERS)  # stands for "personal" where entries name a layer
PAYER_LAYERS = ("catastrophic", "special_drug")

PAYEE_KINDS = (
    "person_social_card",
    "person_bank_card",
    "institution",
    "district",
    "assistance_fund",
    "commercial_fund",
)
TO_PERSON, _, TO_INSTITUTION, TO_DISTRICT, TO_ASSISTANCE_FUND, TO_COMMERCIAL_FUND = range(6)
TO_NOBODY = -1
"""The account cannot be named: the part is unrouted."""


class Deltas(NamedTuple):
    """Differences of some rows: (layers, rows), the person's, and what is routed to nobody; each row adds up to 0."""

    layers: Fen
    personal: Fen
    unrouted: Fen

    @property
    def payer(self) -> Fen:
        """What catastrophic insurance (with special drugs) owes for each row."""
        catastrophic, special_drug = (self.layers[LAYERS.index(layer)] for layer in PAYER_LAYERS)
        owed: Fen = catastrophic + special_drug
        return owed


class Lines(NamedTuple):
    """Parts of differences: one for each row, fund and layer that is owed something (or owes it)."""

    row: Fen  # which of the rows
    fund: Fen
    layer: Fen
    kind: Fen  # payee kind, TO_PERSON for either account, TO_NOBODY
    payee: Fen  # hospital code, region or city; 0 for persons
    amount: Fen


def amounts_of(column: Fen, rows: Fen) -> Fen:
    """Return a money column at some rows, null as 0; an absent column (empty) is 0."""
    if not len(column):
        return np.zeros(len(rows), dtype=np.int64)
    amounts = column[rows]
    return np.where(amounts == NULL_FEN, 0, amounts)


def row_deltas(
    new: Mapping[str, Fen], recorded: Mapping[str, Fen], total: Fen, personal: Fen, rows: Fen, first: int
) -> Deltas:
    """Return the differences of settled `rows`. `recorded` and `total` are columns of the input, `first` rows of history first.

    `new` and `personal` are columns of results. What a supplement row pays beyond its total is unrouted.
    """
    layers = np.zeros((len(LAYERS), len(rows)), dtype=np.int64)
    old_paid = np.zeros(len(rows), dtype=np.int64)
    for index, layer in enumerate(LAYERS):
        old = amounts_of(recorded[layer], rows + first)
        old_paid += old
        if layer in new:
            layers[index] = new[layer][rows] - old
    personal_delta = personal[rows] - (total[rows + first] - old_paid)
    return Deltas(layers, personal_delta, -(layers.sum(axis=0) + personal_delta))


def deltas_by_group(deltas: Deltas, group: Fen, groups: int) -> Deltas:
    """Return differences added up over the rows of each group."""
    layers = np.zeros((len(LAYERS), groups), dtype=np.int64)
    for total, amounts in zip(layers, deltas.layers, strict=True):
        np.add.at(total, group, amounts)
    personal, unrouted = np.zeros(groups, dtype=np.int64), np.zeros(groups, dtype=np.int64)
    np.add.at(personal, group, deltas.personal)
    np.add.at(unrouted, group, deltas.unrouted)
    return Deltas(layers, personal, unrouted)


def deltas_less(deltas: Deltas, others: Deltas) -> Deltas:
    """Return by how much differences exceed others of the same rows or groups; each adds up to 0 again."""
    return Deltas(deltas.layers - others.layers, deltas.personal - others.personal, deltas.unrouted - others.unrouted)


def owed_lines(
    deltas: Deltas,
    supplement: NDArray[np.bool_],
    insured_region: Fen,
    treated_region: Fen,
    hospital: Fen,
    kind_inside: Fen,
    kind_outside: Fen,
) -> Lines:
    """Return who is owed what, row by row, in the order of the rows.

    Assistance money (re-assistance and PKU too): `kind_inside` for treatment inside the insured city (the hospital's
    account), `kind_outside` outside (the district's), the assistance fund for the supplement rule; an institution's reduction: the hospital;
    commercial: the commercial fund. Regions are six digits (0: unknown), hospitals codes (-1: unknown).
    """
    parts: list[tuple[Fen, int, int, Fen, Fen, Fen]] = []
    city = insured_region // 100
    inside = (treated_region > 0) & (insured_region > 0) & (treated_region // 100 == city)
    outside = (treated_region > 0) & (insured_region > 0) & ~inside
    to_hospital = np.where(hospital >= 0, TO_INSTITUTION, TO_NOBODY)
    assistance_kind = np.where(inside, kind_inside, np.where(outside, kind_outside, TO_NOBODY))
    at_hospital = assistance_kind == TO_INSTITUTION
    assistance_kind = np.where(at_hospital, to_hospital, assistance_kind)
    assistance_kind = np.where(supplement, np.where(insured_region > 0, TO_ASSISTANCE_FUND, TO_NOBODY), assistance_kind)
    assistance_payee = np.where(supplement, city, np.where(at_hospital, hospital, insured_region))
    commercial_kind = np.where(insured_region > 0, TO_COMMERCIAL_FUND, TO_NOBODY)

    def add(fund: int, layer: int, kind: Fen, payee: Fen, amount: Fen) -> None:
        rows = np.flatnonzero(amount)
        parts.append((rows, fund, layer, kind[rows], payee[rows], amount[rows]))

    nobody = np.zeros(len(city), dtype=np.int64)
    add(PERSON, PERSONAL_LAYER, nobody + TO_PERSON, nobody, -deltas.personal)
    add(PERSON, PERSONAL_LAYER, nobody + TO_NOBODY, nobody, -deltas.unrouted)
    for layer, fund in FUND_OF_LAYER.items():
        index = LAYERS.index(layer)
        if fund == ASSISTANCE:
            kind, payee = assistance_kind, assistance_payee
        elif fund == INSTITUTION:
            kind, payee = to_hospital, hospital
        else:
            kind, payee = commercial_kind, city
        add(fund, index, kind, payee, -deltas.layers[index])
    row = np.concatenate([part[0] for part in parts])
    order = np.argsort(row, kind="stable")
    return Lines(
        row[order],
        np.concatenate([np.full(len(part[0]), part[1]) for part in parts])[order],
        np.concatenate([np.full(len(part[0]), part[2]) for part in parts])[order],
        np.concatenate([part[3] for part in parts])[order],
        np.concatenate([part[4] for part in parts])[order],
        np.concatenate([part[5] for part in parts])[order],
    )
