"""Differences as files a payment office can use: transfers, their lines, orders, and what is not paid."""

import hashlib
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao.columns import Prepared
from yibao.columns import flags as yes_no
from yibao.ids import one_chunk, read_ids
from yibao.ledger import Ledger, as_table
from yibao.money import from_fen, money_name, to_fen, yuan
from yibao_core.accumulators import GROUP_HOLD, GROUP_ID_ROW, GROUP_KEY, GROUP_LAST_ROW, GROUP_PERSON
from yibao_core.deltas import (
    FUNDS,
    PAYEE_KINDS,
    TO_ASSISTANCE_FUND,
    TO_COMMERCIAL_FUND,
    TO_DISTRICT,
    TO_INSTITUTION,
    TO_PERSON,
    Deltas,
    Lines,
)
from yibao_core.errors import LedgerError
from yibao_core.money import NOT_FEN, NULL_FEN, YEAR_MAX_FEN
from yibao_core.plan import CompiledBook
from yibao_core.policy import LAYERS
from yibao_core.routing import (
    DECREASE,
    HELD,
    HOLD_REASONS,
    HOLD_SUPPLEMENT_UNKNOWN,
    TRANSFER,
    UNROUTED,
    Entries,
    identity,
    settle_entries,
)
from yibao_core.settled import Settled

PAYER = "catastrophic_insurance"
TRANSFER_ID_CHARS = 32
LAYER_NAMES = (*LAYERS, "personal")
OUTCOMES = {"transfers": TRANSFER, "held": HELD, "decreases": DECREASE, "unrouted": UNROUTED}
KEY_COLUMNS = ("person_id", "benefit_year", "fund", "layer", "payee_kind", "payee_id")

Fen = NDArray[np.int64]


class Previous(NamedTuple):
    """Transfers of earlier runs (and executed recoveries, negative)."""

    person_ids: pa.ChunkedArray
    year: Fen
    fund: Fen
    layer: Fen
    kind: Fen
    payee: list[str]
    amount: Fen


def read_previous(source: Any) -> Previous | None:
    """Return earlier transfers, None for none. LedgerError where the table is none, with every fault."""
    if source is None:
        return None
    table = as_table(source, "previous_transfers")
    amount_name = "amount_fen" if "amount_fen" in table.column_names else "amount"
    faults = [
        f"previous_transfers: {name}: expected a column, got none"
        for name in (*KEY_COLUMNS, amount_name)
        if name not in table.column_names
    ]
    if faults:
        raise LedgerError(faults)
    foreign = [name for name in ("reason", "action") if name in table.column_names]
    if foreign:
        raise LedgerError(
            f"previous_transfers: expected transfers (and executed recoveries), got a table with {', '.join(foreign)}: "
            "what was held or waived was not paid"
        )
    if "transfer_id" in table.column_names:
        ids = table["transfer_id"].drop_null()
        doubled = len(ids) - len(ids.unique())
        if doubled:
            raise LedgerError(
                f"previous_transfers: transfer_id: expected every transfer once, got {doubled} more than once"
            )
    amount = to_fen(table[amount_name], f"previous_transfers: {amount_name}", YEAR_MAX_FEN)
    if ((amount == NULL_FEN) | (amount == NOT_FEN) | (amount > YEAR_MAX_FEN) | (amount < -YEAR_MAX_FEN)).any():
        faults.append(f"previous_transfers: {amount_name}: expected whole fen in every row")
    person_ids, _ = read_ids(table["person_id"], "previous_transfers: person_id")
    if person_ids.null_count:
        faults.append(f"previous_transfers: person_id: expected no null, got {person_ids.null_count}")
    try:
        year = table["benefit_year"].cast(pa.int64())
    except pa.ArrowInvalid:
        year = pa.chunked_array([pa.nulls(len(table), pa.int64())])
    if year.null_count:
        faults.append("previous_transfers: benefit_year: expected a year in every row")
    codes = {}
    for name, words in (("fund", FUNDS), ("layer", LAYER_NAMES), ("payee_kind", PAYEE_KINDS)):
        index = pc.index_in(table[name].cast(pa.string()), pa.array(words))
        codes[name] = pc.fill_null(index, -1).to_numpy().astype(np.int64)
        if (codes[name] < 0).any():
            faults.append(f"previous_transfers: {name}: expected one of {', '.join(words)} in every row")
    if faults:
        raise LedgerError(faults)
    payees, _ = read_ids(table["payee_id"], "previous_transfers: payee_id")
    return Previous(
        person_ids,
        year.to_numpy(),
        codes["fund"],
        codes["layer"],
        codes["payee_kind"],
        ["" if payee is None else str(payee) for payee in payees.to_pylist()],
        amount,
    )


class _PersonYears(NamedTuple):
    """The person-years that anything is due to, or was paid to: what holds them, and where the person's account is.

    In the order in which their people come first.
    """

    word: Fen  # of the person's id
    year: Fen
    id_row: Fen  # a row that shows the person's id
    first: Fen  # the row, or earlier transfer behind all rows, where the person comes first
    hold: Fen
    last_row: Fen  # the last row in the window, -1: none
    of_row: Fen  # person-year of each changed row
    of_previous: Fen


class Payments:
    """What a re-accounting pays, holds, waives and cannot route."""

    def __init__(
        self,
        ledger: Ledger,
        prepared: Prepared,
        plan: CompiledBook,
        settled: Settled,
        rows: Fen,
        deltas: Deltas,
        lines: Lines,
        hospitals: pa.Array,
        supplement_unknown: NDArray[np.bool_],
        previous: Previous | None,
        on_decrease: str,
        on_reject: str,
        money: str,
    ) -> None:
        self._ledger = ledger
        self._prepared = prepared
        self._plan = plan
        self._settled = settled
        self._rows = rows
        self._lines = lines
        self._on_decrease = on_decrease
        self._money = money
        self._years = years = _person_years(prepared, settled, rows, previous)
        self._social, unknown = self._accounts(previous)
        self._payees, line_payee, earlier_payee = _payee_codes(lines, hospitals, previous)
        earlier = _earlier_keys(previous, years, earlier_payee)
        hold = years.hold.copy()
        np.bitwise_or.at(hold, years.of_row[supplement_unknown], HOLD_SUPPLEMENT_UNKNOWN)
        self._entries: Entries = settle_entries(
            (years.of_row[lines.row], lines.fund, lines.layer, lines.kind, line_payee),
            lines.amount,
            earlier,
            previous.amount if previous else np.empty(0, dtype=np.int64),
            hold,
            unknown,
            on_reject == "pay",
        )
        self._owed, self._missed = identity(len(years.word), deltas.payer, years.of_row, self._entries)
        self._previous_fen = int(previous.amount.sum()) if previous else 0

    def _accounts(self, previous: Previous | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return, by person-year, whether the person's account is the social card's, and whether nobody knows."""
        years = self._years
        social = np.zeros(len(years.word), dtype=bool)
        unknown = np.zeros(len(years.word), dtype=bool)
        seen = np.flatnonzero(years.last_row >= 0)
        if self._ledger.has("has_social_card_account"):
            cells = self._ledger.column("has_social_card_account").take(pa.array(years.last_row[seen]))
            answer = yes_no(cells, "has_social_card_account")
            social[seen] = answer > 0
            unknown[seen] = answer < 0
        if previous is not None:  # no row in the window says: the account that was paid last
            unseen = years.last_row[years.of_previous] < 0
            to_person = unseen & (previous.kind <= 1)
            social[years.of_previous[to_person]] = previous.kind[to_person] == 0
        return social, unknown

    @cached_property
    def transfers(self) -> pa.Table:
        chosen = self._chosen(TRANSFER)
        table = self._key_columns(chosen)
        ids = self._transfer_ids(chosen, table)
        return pa.table({"transfer_id": ids} | table | self._policy_columns(chosen))

    @cached_property
    def held(self) -> pa.Table:
        chosen = self._chosen(HELD)
        return pa.table(self._key_columns(chosen) | {"reason": self._reasons(chosen)})

    @cached_property
    def decreases(self) -> pa.Table:
        chosen = self._chosen(DECREASE)
        held = self._entries.hold[chosen] > 0
        action = np.where(held, "held", self._on_decrease)
        return pa.table(
            self._key_columns(chosen, sign=-1)
            | {"action": pa.array(action, pa.string()), "reason": self._reasons(chosen)}
        )

    @cached_property
    def unrouted(self) -> pa.Table:
        chosen = self._chosen(UNROUTED)
        columns = self._key_columns(chosen)
        del columns["payee_kind"], columns["payee_id"]
        return pa.table(columns)

    @cached_property
    def transfer_lines(self) -> pa.Table:
        transfer, amount, row = self._lines_of_transfers
        settlement = self._prepared.settlement_ids.take(pa.array(row, mask=row < 0))
        return pa.table(
            {
                "transfer_id": self.transfers["transfer_id"].take(pa.array(transfer)),
                "settlement_id": settlement,
                money_name("amount", self._money): from_fen(amount, self._money),
            }
        )

    @cached_property
    def _lines_of_transfers(self) -> tuple[Fen, Fen, Fen]:
        """Each line's transfer, amount and row, -1 where it stands for earlier transfers."""
        entries = self._entries
        place = np.full(len(entries.due), -1, dtype=np.int64)  # entry -> transfer
        chosen = self._chosen(TRANSFER)
        place[chosen] = np.arange(len(chosen))
        line = np.flatnonzero(place[entries.entry_of_line] >= 0)
        before = np.flatnonzero(entries.earlier_count[chosen] > 0)
        transfer = np.concatenate([place[entries.entry_of_line[line]], before])
        amount = np.concatenate([self._lines.amount[line], -entries.earlier[chosen][before]])
        row = np.concatenate([self._rows[self._lines.row[line]], np.full(len(before), -1)])
        order = np.lexsort((row < 0, transfer))
        return transfer[order], amount[order], row[order]

    @cached_property
    def payment_orders(self) -> pa.Table:
        return orders_of(self.transfers, self._money)

    def first_rows(self, name: str) -> Fen:
        """Return for each row of a table of entries (or of `transfer_lines`) where its person comes first: a row, those of
        the history before the ledger's, or behind them an earlier transfer. Ascending."""
        if name == "transfer_lines":
            return self._first_of(self._chosen(TRANSFER))[self._lines_of_transfers[0]]
        return self._first_of(self._chosen(OUTCOMES[name]))

    def _first_of(self, chosen: Fen) -> Fen:
        return self._years.first[self._entries.person_year[chosen]]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Sums by outcome, and the identity: earlier + transfers + held + unrouted − decreases = D."""
        entries, years = self._entries, self._years
        amount = entries.amount
        sums = {
            outcome: int(amount[entries.outcome == outcome].sum()) for outcome in (TRANSFER, HELD, DECREASE, UNROUTED)
        }
        counts = {outcome: int((entries.outcome == outcome).sum()) for outcome in sums}
        kinds = self._kinds(np.arange(len(amount)))
        paid = entries.outcome == TRANSFER
        to = {
            PAYEE_KINDS[kind]: {
                "transfers": int((paid & (kinds == kind)).sum()),
                "amount": str(yuan(amount[paid & (kinds == kind)].sum())),
            }
            for kind in range(len(PAYEE_KINDS))
        }
        return {
            "transfers": {"count": counts[TRANSFER], "amount": str(yuan(sums[TRANSFER])), "to": to},
            "held": {"count": counts[HELD], "amount": str(yuan(sums[HELD])), "reasons": self._reason_counts()},
            "decreases": {
                "count": counts[DECREASE],
                "amount": str(yuan(-sums[DECREASE])),
                "action": self._on_decrease,
            },
            "unrouted": {"count": counts[UNROUTED], "amount": str(yuan(sums[UNROUTED]))},
            "previous": {
                "amount": str(yuan(self._previous_fen)),
                "without_rows": int((years.last_row[years.of_previous] < 0).sum()),
            },
            "payer_delta": str(yuan(self._owed.sum())),
            "person_years": len(self._owed),
            "identity_violations": int((self._missed != 0).sum()),
        }

    def _reason_counts(self) -> dict[str, int]:
        held = self._entries.hold[self._entries.outcome == HELD]
        return {name: int((held >> bit & 1).sum()) for bit, name in enumerate(HOLD_REASONS) if (held >> bit & 1).any()}

    def _chosen(self, outcome: int) -> Fen:
        return np.flatnonzero(self._entries.outcome == outcome)

    def _kinds(self, chosen: Fen) -> Fen:
        """Return payee kinds, the person's by the account shown now."""
        kind = self._entries.kind[chosen]
        bank = ~self._social[self._entries.person_year[chosen]]
        return np.where(kind == TO_PERSON, bank.astype(np.int64), kind)

    def _key_columns(self, chosen: Fen, sign: int = 1) -> dict[str, Any]:
        entries, years = self._entries, self._years
        person_year = entries.person_year[chosen]
        person_ids = self._prepared.person_ids.take(pa.array(years.id_row[person_year]))
        kinds = self._kinds(chosen)
        payees = self._payees.take(pa.array(entries.payee[chosen]))
        to_person = pa.array(entries.kind[chosen] == TO_PERSON)
        person_text = person_ids.cast(pa.string())
        person_text = person_text.combine_chunks() if isinstance(person_text, pa.ChunkedArray) else person_text
        return {
            "person_id": person_ids,
            "benefit_year": pa.array(years.year[person_year], pa.int32()),
            "payer": pa.array([PAYER] * len(chosen), pa.string()),
            "fund": _named(entries.fund[chosen], FUNDS),
            "layer": _named(entries.layer[chosen], LAYER_NAMES),
            "payee_kind": _named(np.maximum(kinds, 0), PAYEE_KINDS),
            "payee_id": pc.if_else(to_person, person_text, payees),
            money_name("amount", self._money): from_fen(sign * entries.amount[chosen], self._money),
        }

    def _policy_of(self, chosen: Fen) -> Fen:
        """Return the policy of each entry's person-year: that of its last row in the window."""
        last = self._years.last_row[self._entries.person_year[chosen]]
        policy = (
            self._settled.policy[np.maximum(last, 0)]
            if len(self._settled.policy)
            else np.zeros(len(chosen), dtype=np.int8)
        )
        return np.where(last >= 0, policy, 0).astype(np.int64)

    def _policy_columns(self, chosen: Fen) -> dict[str, Any]:
        index = self._policy_of(chosen)
        policies = self._plan.policies
        return {
            "policy_id": _named(index, [policy.id for policy in policies]),
            "policy_digest": _named(index, [policy.digest for policy in policies]),
        }

    def _transfer_ids(self, chosen: Fen, columns: dict[str, Any]) -> pa.Array:
        """Return a digest of person, year, payer, fund, layer, payee, policy digest and the number of earlier entries."""
        digests = _named(self._policy_of(chosen), [policy.digest for policy in self._plan.policies])
        names = ("person_id", "benefit_year", "payer", "fund", "layer", "payee_kind", "payee_id")
        earlier = pa.array(self._entries.earlier_count[chosen]).cast(pa.string())
        parts = [*(columns[name].cast(pa.string()) for name in names), digests, earlier]
        texts = pc.binary_join_element_wise(*(one_chunk(part) for part in parts), "\x1f").cast(pa.binary())
        digest = hashlib.blake2b
        return pa.array(
            [digest(text, digest_size=TRANSFER_ID_CHARS // 2).hexdigest() for text in texts.to_pylist()], pa.string()
        )

    def _reasons(self, chosen: Fen) -> pa.Array:
        hold = self._entries.hold[chosen]
        sets, index = np.unique(hold, return_inverse=True)
        texts = [";".join(name for bit, name in enumerate(HOLD_REASONS) if int(bits) >> bit & 1) for bits in sets]
        return _named(index.astype(np.int64), texts)


def orders_of(transfers: pa.Table, money: str) -> pa.Table:
    """Return one order for each account that transfers go to, in the order in which the accounts come first."""
    amount_name = money_name("amount", money)
    if not len(transfers):
        empty = pa.array([], pa.string())
        return pa.table(
            {
                "order_id": empty,
                "payee_kind": empty,
                "payee_id": empty,
                amount_name: from_fen(np.empty(0, dtype=np.int64), money),
                "transfers": pa.array([], pa.int64()),
            }
        )
    accounts = pc.binary_join_element_wise(transfers["payee_kind"], transfers["payee_id"], "\x1f")
    encoded = accounts.combine_chunks().dictionary_encode()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    index = encoded.indices.to_numpy()
    count = len(encoded.dictionary)
    amount = np.zeros(count, dtype=np.int64)
    np.add.at(amount, index, to_fen(transfers[amount_name], amount_name, YEAR_MAX_FEN))
    first = np.full(count, len(index), dtype=np.int64)
    np.minimum.at(first, index, np.arange(len(index)))
    transfer_count = np.bincount(index, minlength=count)
    ends = np.cumsum(transfer_count) * TRANSFER_ID_CHARS
    by_order = transfers["transfer_id"].take(pa.array(np.argsort(index, kind="stable")))
    ids = "".join(by_order.to_pylist()).encode()
    starts = [0, *ends[:-1].tolist()]
    digests = [
        hashlib.sha256(ids[start:end]).hexdigest()[:32] for start, end in zip(starts, ends.tolist(), strict=True)
    ]
    return pa.table(
        {
            "order_id": pa.array(digests),
            "payee_kind": transfers["payee_kind"].take(pa.array(first)),
            "payee_id": transfers["payee_id"].take(pa.array(first)),
            amount_name: from_fen(amount, money),
            "transfers": pa.array(transfer_count, pa.int64()),
        }
    )


def _named(index: Fen, names: "list[str] | tuple[str, ...]") -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(list(names), pa.string())).cast(
        pa.string()
    )


def _payee_codes(lines: Lines, hospitals: pa.Array, previous: Previous | None) -> tuple[pa.Array, Fen, Fen]:
    """Return the texts of all payees, and each line's and each earlier entry's place among them (0: a person's)."""
    hospital_texts = hospitals.cast(pa.string()).to_pylist()
    to_hospital = lines.kind == TO_INSTITUTION
    numeric = (lines.kind == TO_DISTRICT) | (lines.kind == TO_ASSISTANCE_FUND) | (lines.kind == TO_COMMERCIAL_FUND)
    numbers = np.unique(lines.payee[numeric])
    texts = ["", *hospital_texts, *(str(number) for number in numbers), *(previous.payee if previous else [])]
    # Codes in the order of the texts: payees of one person-year stand in it, whatever other people are in the run.
    table = pa.array(sorted(set(texts)), pa.string())
    code = pc.index_in(pa.array(texts, pa.string()), table).to_numpy().astype(np.int64)
    line_payee = np.zeros(len(lines.row), dtype=np.int64)
    line_payee[to_hospital] = code[1 + lines.payee[to_hospital]]
    line_payee[numeric] = code[1 + len(hospital_texts) + np.searchsorted(numbers, lines.payee[numeric])]
    return table, line_payee, code[1 + len(hospital_texts) + len(numbers) :]


def _earlier_keys(previous: Previous | None, years: _PersonYears, payee: Fen) -> tuple[Fen, Fen, Fen, Fen, Fen]:
    """Return the keys of earlier entries; both accounts of a person are one key."""
    if previous is None:
        none = np.empty(0, dtype=np.int64)
        return none, none, none, none, none
    to_person = previous.kind <= 1
    return (
        years.of_previous,
        previous.fund,
        previous.layer,
        np.where(to_person, TO_PERSON, previous.kind),
        np.where(to_person, 0, payee),
    )


def _person_years(prepared: Prepared, settled: Settled, rows: Fen, previous: Previous | None) -> _PersonYears:
    """Return the person-years of changed rows and of earlier transfers."""
    groups = settled.groups
    words = prepared.columns.person
    all_rows = len(words)
    row_group = settled.group_of(rows)
    is_used = np.zeros(len(groups), dtype=bool)
    is_used[row_group] = True
    used = np.flatnonzero(is_used)
    place = np.cumsum(is_used) - 1  # of a used group among them
    previous_word = prepared.opening_persons if previous else np.empty(0, dtype=np.int64)
    previous_year = previous.year if previous else np.empty(0, dtype=np.int64)
    word = np.concatenate([words[groups[used, GROUP_ID_ROW]], previous_word])
    year = np.concatenate([groups[used, GROUP_KEY] // 10_000, previous_year])
    id_row = np.concatenate([groups[used, GROUP_ID_ROW], all_rows + np.arange(len(previous_word))])
    order = np.argsort(word)
    if (word[order][1:] == word[order][:-1]).any():  # several years or cities of one person, or earlier transfers
        order = np.lexsort((id_row, year, word))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (word[order][1:] != word[order][:-1]) | (year[order][1:] != year[order][:-1])
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    keys = order[new]
    near = _groups_of(prepared, groups, used, previous_word)
    hold, last_row = _of_groups(prepared, groups[near], word[keys], year[keys])
    # People in the order in which they come first, whatever words their ids have.
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = word[keys][1:] != word[keys][:-1]
    person = np.cumsum(begins) - 1
    first = np.minimum.reduceat(id_row[keys], np.flatnonzero(begins)) if len(keys) else keys
    by_first = np.argsort(first[person], kind="stable")
    place_of = np.empty(len(keys), dtype=np.int64)
    place_of[by_first] = np.arange(len(keys))
    number, keys = place_of[number], keys[by_first]
    return _PersonYears(
        word[keys],
        year[keys],
        id_row[keys],
        first[person][by_first],
        hold[by_first],
        last_row[by_first],
        number[: len(used)][place[row_group]],
        number[len(used) :],
    )


def _groups_of(prepared: Prepared, groups: Fen, used: Fen, previous_word: Fen) -> Fen:
    """Return all groups of the people who have a used one, or an earlier transfer."""
    concerned = np.zeros(int(groups[:, GROUP_PERSON].max(initial=-1)) + 1, dtype=bool)
    concerned[groups[used, GROUP_PERSON]] = True
    if len(previous_word):
        rows = np.minimum(groups[:, GROUP_ID_ROW], len(prepared.columns.person) - 1)
        concerned[groups[np.isin(prepared.columns.person[rows], previous_word), GROUP_PERSON]] = True
    return np.flatnonzero(concerned[groups[:, GROUP_PERSON]])


def _of_groups(prepared: Prepared, groups: Fen, word: Fen, year: Fen) -> tuple[Fen, Fen]:
    """Return what holds each person-year, and its last row in the window, over its cities."""
    group_word = prepared.columns.person[groups[:, GROUP_ID_ROW]]
    group_year = groups[:, GROUP_KEY] // 10_000
    hold = np.zeros(len(word), dtype=np.int64)
    last_row = np.full(len(word), -1, dtype=np.int64)
    if not len(word):
        return hold, last_row
    # Person-years are sorted by (word, year): where a group's person begins among them, then each of its years.
    start = np.searchsorted(word, group_word)
    known = np.flatnonzero(word[np.minimum(start, len(word) - 1)] == group_word)
    for offset in range(int(np.unique(word, return_counts=True)[1].max())):
        at = start[known] + offset
        inside = at < len(word)
        group, at = known[inside], at[inside]
        same = (word[at] == group_word[group]) & ((year[at] == group_year[group]) | (group_year[group] == 0))
        group, at = group[same], at[same]
        np.bitwise_or.at(hold, at, groups[group, GROUP_HOLD])
        seen = groups[group, GROUP_LAST_ROW] >= 0
        group, at = group[seen], at[seen]
        several = np.bincount(at, minlength=len(word))[at] > 1  # cities of one year, or another group before
        several |= last_row[at] >= 0
        last_row[at[~several]] = groups[group[~several], GROUP_LAST_ROW]
        for one, place in zip(group[several], at[several], strict=True):
            last_row[place] = _later(prepared, int(last_row[place]), int(groups[one, GROUP_LAST_ROW]))
    return hold, np.where(last_row >= 0, last_row - prepared.history_rows, -1)


def _later(prepared: Prepared, row: int, other: int) -> int:
    """Return the later of two rows in the person's order (-1: none)."""
    if row < 0 or other < 0:
        return max(row, other)
    times = prepared.columns.time
    if times[row] != times[other]:
        return row if times[row] > times[other] else other
    ids = prepared.settlement_ids
    first, second = (ids[at - prepared.history_rows].as_py() for at in (row, other))
    if isinstance(first, str):
        first, second = first.encode(), second.encode()
    return row if first > second else other
