"""The rule book of the re-accounting: replay, deltas, payees, transfers (section 6 of the contract)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import partial
from typing import Any

from oracle import (
    LAYERS,
    PAID_COLUMNS,
    REQUIRED,
    Balances,
    Bill,
    Book,
    Closing,
    Person,
    Reader,
    Row,
    Step,
    Years,
    base_of,
    book_row,
    categories_of,
    check_book,
    closing_of,
    group_people,
    half_up,
    has_no_rule,
    movement,
    pay_recorded,
    read_history,
    rule_payment_fen,
    run_waterfall,
)

PERSON_KINDS = ("person_social_card", "person_bank_card")
ASSISTANCE_FUND_LAYERS = ("assistance", "reassistance", "pku")
DUE_LAYERS = ("catastrophic", "special_drug")

PersonYear = tuple[Any, int]
Key = tuple[str, str, str, Any]  # fund, layer, payee kind, payee; the person's two accounts are one key
Entry = dict[str, Any]
RecordedAfterChange = str | Mapping[str, str] | None


class Refused(Exception):
    """Recorded layers with money stand behind a changed one, and nobody said what becomes of them (§6.3)."""

    def __init__(self, counts: dict[str, tuple[int, int]]) -> None:
        super().__init__("; ".join(f"{layer}: {rows} rows, {amount} fen" for layer, (rows, amount) in counts.items()))
        self.counts = counts


@dataclass(slots=True)
class RowResult:
    """Old and new of one input row; the deltas are None where it has none."""

    status: str
    flags: frozenset[str]
    policy: str | None = None
    old: dict[str, int] | None = None
    new: dict[str, int] | None = None
    personal_old: int | None = None
    personal_new: int | None = None
    deltas: dict[str, int] | None = None
    personal_delta: int | None = None
    unrouted_delta: int | None = None


@dataclass
class Reaccount:
    """What a re-accounting says: per row, per person-year, and who is paid what."""

    rows: list[RowResult]
    due: dict[PersonYear, int]
    closing: Closing
    previous: list[Entry] = field(default_factory=list)
    transfers: list[Entry] = field(default_factory=list)
    decreases: list[Entry] = field(default_factory=list)
    held: list[Entry] = field(default_factory=list)
    unrouted: list[Entry] = field(default_factory=list)

    @property
    def D(self) -> dict[PersonYear, int]:
        """Return D of every person-year (§6.5)."""
        return self.due

    def check_identity(self) -> list[PersonYear]:
        """Return the person-years where previous + transfers + held + unrouted − decreases ≠ D (§6.10)."""
        sums: dict[PersonYear, int] = {}
        signed = ((self.previous, 1), (self.transfers, 1), (self.held, 1), (self.unrouted, 1), (self.decreases, -1))
        for entries, sign in signed:
            for entry in entries:
                person_year = (entry["person_id"], entry["benefit_year"])
                sums[person_year] = sums.get(person_year, 0) + sign * entry["amount_fen"]
        return [key for key in {**self.due, **sums} if self.due.get(key, 0) != sums.get(key, 0)]


# --- Rosters ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roster:
    """Who was recognised as what, from when to when (§6.11)."""

    entries: dict[Any, list[tuple[frozenset[str], date | None, date | None]]]
    replaces: bool

    @classmethod
    def read(cls, roster: Sequence[Row] | None, mode: str) -> Roster:
        if mode not in ("add", "replace"):
            raise ValueError(f"roster_mode: expected add or replace, got {mode!r}")
        entries: dict[Any, list[tuple[frozenset[str], date | None, date | None]]] = {}
        for row in roster or ():
            categories = categories_of(row["category"])
            if categories is None:
                raise ValueError(f"roster: unknown category {row['category']!r}")
            entries.setdefault(row["person_id"], []).append((categories, row.get("from"), row.get("to")))
        return cls(entries, mode == "replace")

    def recategorise(self, bill: Bill) -> None:
        """Add the categories that cover the service date, or put them in the place of the ledger's."""
        day = bill.service_date
        assert day is not None
        covering = [
            categories
            for categories, start, end in self.entries.get(bill.person_id, ())
            if (start is None or start <= day) and (end is None or day <= end)
        ]
        if covering:
            recognised = frozenset[str]().union(*covering)
            bill.categories = recognised if self.replaces else bill.categories | recognised


# --- Replay ----------------------------------------------------------------------------------------


class Replay:
    """One person's rows under the policy as known now (§6.1 to §6.6)."""

    def __init__(
        self, person: Person, years: Years, recorded_after_change: RecordedAfterChange, refused: dict[str, list[int]]
    ) -> None:
        self.person = person
        self.years = years
        self.recorded_after_change = recorded_after_change
        self.refused = refused
        self.taken_out: set[int] = set()
        self.frozen: set[int] = set()
        self.unrouted_delta: dict[int, int] = {}

    def run(self) -> None:
        for bill in self.person.bills:
            self.person.admit(bill)
            if bill.is_settled and bill.is_reversal:
                self._take_out(bill)
        for bill in self.person.bills:
            if bill.is_settled:
                self._replay(bill)
        self.person.flag_after_reject()

    def _take_out(self, reversal: Bill) -> None:
        """Original and reversal go together; one whose original is not in the input goes alone (§5, 0001.20)."""
        self.taken_out.add(reversal.index)
        original = reversal.original
        if original is None:
            reversal.flags.add("ORIGINAL_NOT_SEEN")
        elif not original.from_history:
            self.taken_out.add(original.index)

    def _replay(self, bill: Bill) -> None:
        basis = bill if bill.original is None else bill.original  # a reversal stands in its original's window
        assert bill.policy is not None
        assert basis.service_date is not None
        if not bill.policy.in_window(basis.service_date):
            self.frozen.add(bill.index)
        balances = self.years.setdefault(bill.year_key, {})
        if bill.index in self.taken_out:
            bill.paid = {**bill.recorded}
            bill.personal = bill.total_fee - sum(bill.paid.values())
        else:
            if bill.index in self.frozen:
                run_waterfall(bill, pay_recorded)
            else:
                run_waterfall(bill, partial(self._pay, balances))
                if supplement_applies(bill):
                    self.unrouted_delta[bill.index] = keep_personal_share(bill)
            if not book_row(bill, movement(bill), balances):
                bill.flags.clear()
                return
        self.person.reader.flag_sums(bill)

    def _pay(self, balances: Balances, bill: Bill, step: Step) -> int:
        if step.rule is not None:
            return rule_payment_fen(step.rule, step, balances)
        if not step.is_recorded:
            return 0
        if has_no_rule(bill, step, self.person.reader.columns):
            bill.flags.add("NO_RULE")
        return min(self._recorded_figure(bill, step), step.left_fen)

    def _recorded_figure(self, bill: Bill, step: Step) -> int:
        """Return what becomes of a recorded figure behind a changed layer (§6.3, 0001.22, 0001.23)."""
        layer = step.layer.name
        recorded_fen = bill.recorded[layer]
        if recorded_fen == 0 or not self._stands_behind_a_change(bill):
            return recorded_fen
        if layer == "commercial" and supplement_applies(bill):
            return recorded_fen
        choice = self.recorded_after_change
        if isinstance(choice, Mapping):
            choice = choice.get(layer)
        if choice is None:
            counts = self.refused.setdefault(layer, [0, 0])
            counts[0] += 1
            counts[1] += recorded_fen
            return recorded_fen
        if choice == "keep":
            return recorded_fen
        if choice != "implied_rate":
            raise ValueError(f"recorded_after_change: expected keep or implied_rate, got {choice!r}")
        old_base_fen = _old_base(bill, step)
        if old_base_fen == 0:
            return recorded_fen
        return half_up(Fraction(recorded_fen, old_base_fen) * step.base_fen)

    def _stands_behind_a_change(self, bill: Bill) -> bool:
        """Tell whether an earlier layer that is computed for this row now pays something else."""
        return any(
            paid_fen != bill.recorded[name] and not _is_recorded(bill, name) for name, paid_fen in bill.paid.items()
        )


def _is_recorded(bill: Bill, name: str) -> bool:
    assert bill.policy is not None
    treatment = bill.policy.treatments(bill.category, bill.care_type)[LAYERS.index(name)]
    return treatment.layer.otherwise == "recorded" and treatment.rule_for(bill) is None


def _old_base(bill: Bill, step: Step) -> int:
    """Return the layer's base as it was when the earlier layers had paid what the ledger says."""
    assert bill.policy is not None
    charged = {"eligible": 0, "total": 0}
    for layer in bill.policy.layers:
        if layer.name == step.layer.name:
            break
        charged[layer.charged_to] += bill.recorded[layer.name]
    return base_of(bill.fees(step.layer.base), bill.total_fee, charged["eligible"], charged["total"])


def supplement_applies(bill: Bill) -> bool:
    """Tell whether the row is one of a poor person with the commercial supplement (三(一), §6.6)."""
    return bool(bill.row.get("has_commercial_supplement")) and "registered_poor" in bill.categories


def keep_personal_share(bill: Bill) -> int:
    """Set the personal share back to the old one and return the row's `unrouted_delta` (§6.6).

    What the replay took off the share comes out of the commercial payment, then of the assistance; the
    bases stay as replayed, the paid sums follow because they are booked from these payments.
    """
    old_share_fen = bill.total_fee - sum(bill.recorded.values())
    lowered_fen = old_share_fen - bill.personal
    bill.personal = old_share_fen
    if lowered_fen <= 0:
        bill.paid["commercial"] -= lowered_fen
        return 0
    for layer in ("commercial", "assistance"):
        taken_fen = min(lowered_fen, bill.paid[layer])
        bill.paid[layer] -= taken_fen
        lowered_fen -= taken_fen
    return -lowered_fen


# --- Payees ----------------------------------------------------------------------------------------


@dataclass
class Account:
    """What one person-year comes to, per payee; the parts without an account apart."""

    keys: dict[Key, int] = field(default_factory=dict)
    unrouted: dict[tuple[str, str], int] = field(default_factory=dict)
    due_fen: int = 0

    def add(self, key: Key | None, fund: str, layer: str, amount_fen: int) -> None:
        if amount_fen == 0:
            return
        if key is None:
            self.unrouted[fund, layer] = self.unrouted.get((fund, layer), 0) + amount_fen
        else:
            self.keys[key] = self.keys.get(key, 0) + amount_fen


def fund_of(layer: str) -> str:
    """Return the fund that a layer's money belongs to (§6.12)."""
    if layer in ASSISTANCE_FUND_LAYERS:
        return "assistance"
    return {"institution_reduction": "institution", "commercial": "commercial"}[layer]


def payee_of(bill: Bill, layer: str, columns: Collection[str]) -> Key | None:
    """Return who gets a layer's part of a row (三(一), §6.7, 0001.27); None: no account can be named."""
    treated = bill.row.get("treated_region") if "treated_region" in columns else None
    hospital = bill.row.get("hospital_id") if "hospital_id" in columns else None
    fund = fund_of(layer)
    kind: str
    payee: Any
    if fund == "commercial":
        kind, payee = "commercial_fund", None if bill.region is None else bill.city
    elif fund == "institution":
        kind, payee = "institution", hospital
    elif supplement_applies(bill):
        kind, payee = "assistance_fund", None if bill.region is None else bill.city
    elif bill.region is None or treated is None:
        return None
    elif treated // 100 == bill.city:
        kind, payee = "institution", hospital
    else:
        kind, payee = "district", bill.region
    if payee is None or (isinstance(payee, str) and not payee.strip()):
        return None
    return fund, layer, kind, payee


def person_key(person_id: Any) -> Key:
    return "person", "personal", "person", person_id


@dataclass(frozen=True)
class Terms:
    """How a run treats decreases and held person-years."""

    on_decrease: str
    on_reject: str

    def __post_init__(self) -> None:
        if self.on_decrease not in ("waive", "recover"):
            raise ValueError(f"on_decrease: expected waive or recover, got {self.on_decrease!r}")
        if self.on_reject not in ("hold", "pay"):
            raise ValueError(f"on_reject: expected hold or pay, got {self.on_reject!r}")


def post(
    result: Reaccount,
    person_year: PersonYear,
    account: Account,
    earlier: Mapping[Key, list[Entry]],
    person_kind: str | None,
    reasons: Sequence[str],
    terms: Terms,
) -> None:
    """Turn what one person-year comes to into transfers, decreases, held and unrouted (§6.7 to §6.9, §6.12)."""
    person_id, year = person_year
    unrouted = dict(account.unrouted)
    differences: dict[Key, int] = {}
    for key in {**account.keys, **earlier}:
        paid_before = sum(entry["amount_fen"] for entry in earlier.get(key, ()))
        differences[key] = account.keys.get(key, 0) - paid_before
    own = person_key(person_id)
    if person_kind is None and not reasons:
        unrouted["person", "personal"] = unrouted.get(("person", "personal"), 0) + differences.pop(own, 0)
    unconfirmed = payee_changes(account.keys, earlier, differences)
    for key, difference in differences.items():
        if difference == 0:
            continue
        fund, layer, kind, payee = key
        entry: Entry = {
            "person_id": person_id,
            "benefit_year": year,
            "fund": fund,
            "layer": layer,
            "payee_kind": (person_kind or "person_bank_card") if key == own else kind,
            "payee_id": payee,
            "amount_fen": abs(difference),
        }
        why = [*reasons, *(["PAYEE_CHANGED"] if key in unconfirmed else [])]
        if difference < 0:
            result.decreases.append({**entry, "action": "held" if why else terms.on_decrease})
        elif why:
            result.held.append({**entry, "why": why})
        else:
            result.transfers.append(entry)
    for (fund, layer), amount_fen in unrouted.items():
        if amount_fen:
            result.unrouted.append(
                {
                    "person_id": person_id,
                    "benefit_year": year,
                    "fund": fund,
                    "layer": layer,
                    "payee_kind": "unrouted",
                    "payee_id": None,
                    "amount_fen": amount_fen,
                }
            )


def payee_changes(
    due: Mapping[Key, int], earlier: Mapping[Key, list[Entry]], differences: Mapping[Key, int]
) -> set[Key]:
    """Return the keys of a fund and layer whose money seems to have moved to another payee (§6.12, 0001.25)."""
    left_behind = {key for key in earlier if differences.get(key, 0) < 0}
    newcomers = {key for key in (*due, *earlier) if differences.get(key, 0) > 0}
    moved: set[Key] = set()
    for old in left_behind:
        for new in newcomers:
            if old[:2] == new[:2] and old[0] != "person":
                moved |= {old, new}
    return moved


# --- The whole run ---------------------------------------------------------------------------------


def row_result(bill: Bill, replay: Replay | None) -> RowResult:
    """Return one row's old and new figures and its deltas (§6.2, §6.4)."""
    if not bill.is_settled or replay is None:
        return RowResult(bill.status, frozenset())
    assert bill.policy is not None
    old = dict(bill.recorded)
    new = dict(bill.paid)
    personal_old = bill.total_fee - sum(old.values())
    result = RowResult(bill.status, frozenset(bill.flags), bill.policy.id, old, new, personal_old, bill.personal)
    if bill.index not in replay.frozen:
        result.deltas = {layer: new[layer] - old[layer] for layer in LAYERS}
        result.personal_delta = bill.personal - personal_old
        result.unrouted_delta = replay.unrouted_delta.get(bill.index, 0)
        assert sum(result.deltas.values()) + result.personal_delta + result.unrouted_delta == 0
    return result


def accounts_of(replay: Replay, rows: Sequence[RowResult]) -> dict[int, Account]:
    """Return benefit year -> what it comes to: Σ (old − new) for each payee of one person (§6.5, §6.7)."""
    years: dict[int, Account] = {}
    for bill in replay.person.bills:
        row = rows[bill.index]
        if row.deltas is None:
            continue
        assert bill.year is not None
        assert row.personal_delta is not None
        assert row.unrouted_delta is not None
        account = years.setdefault(bill.year, Account())
        account.due_fen += sum(row.deltas[layer] for layer in DUE_LAYERS)
        account.add(person_key(bill.person_id), "person", "personal", -row.personal_delta)
        account.add(None, "person", "personal", -row.unrouted_delta)
        for layer in LAYERS:
            if layer not in ("basic", *DUE_LAYERS):
                payee = payee_of(bill, layer, replay.person.reader.columns)
                account.add(payee, fund_of(layer), layer, -row.deltas[layer])
    return years


def reasons_to_hold(replay: Replay, year: int) -> list[str]:
    """Return why a person-year is held (§6.9, 0001.24, 0001.26)."""
    reasons: list[str] = []
    bills = replay.person.bills
    if any(not bill.is_settled and (bill.service_date is None or bill.year == year) for bill in bills):
        reasons.append("REJECTED_ROW")
    looked_at = [b for b in bills if b.is_settled and b.year == year and b.index not in replay.taken_out]
    if any("PAID_DOES_NOT_ADD_UP" in bill.flags for bill in looked_at):
        reasons.append("PAID_DOES_NOT_ADD_UP")
    last = last_in_window(replay, year)
    if last is not None and _account_flag(replay, last) is None:
        reasons.append("ACCOUNT_UNKNOWN")
    return reasons


def last_in_window(replay: Replay, year: int) -> Bill | None:
    """Return the row that shows the person's account: the last settled one in the window, pairs left out."""
    for bill in reversed(replay.person.bills):
        if (
            bill.is_settled
            and bill.year == year
            and bill.index not in replay.frozen
            and bill.index not in replay.taken_out
        ):
            return bill
    return None


def _account_flag(replay: Replay, bill: Bill) -> bool | None:
    if "has_social_card_account" not in replay.person.reader.columns:
        return None
    flag: bool | None = bill.row.get("has_social_card_account")
    return flag


def person_kind_of(replay: Replay | None, year: int, earlier: Sequence[Entry]) -> str | None:
    """Return which of the person's accounts is paid (三(一), §6.7); None where the flag is null."""
    last = None if replay is None else last_in_window(replay, year)
    if last is None or replay is None:
        # No row shows an account: what was paid before went to the one that the last entry names.
        return str(earlier[-1]["payee_kind"]) if earlier else PERSON_KINDS[1]
    flag = _account_flag(replay, last)
    return None if flag is None else PERSON_KINDS[0 if flag else 1]


def read_previous(previous: Sequence[Entry] | None) -> dict[PersonYear, dict[Key, list[Entry]]]:
    """Return earlier entries by person-year and key, the person's two accounts together (§6.12)."""
    entries: dict[PersonYear, dict[Key, list[Entry]]] = {}
    for entry in previous or ():
        key: Key = (entry["fund"], entry["layer"], entry["payee_kind"], entry["payee_id"])
        if entry["payee_kind"] in PERSON_KINDS:
            key = person_key(entry["person_id"])
        entries.setdefault((entry["person_id"], entry["benefit_year"]), {}).setdefault(key, []).append(entry)
    return entries


def reaccount(
    rows: Sequence[Row],
    columns: Collection[str],
    book: Book,
    *,
    roster: Sequence[Row] | None = None,
    roster_mode: str = "add",
    previous: Sequence[Entry] | None = None,
    on_decrease: str = "waive",
    on_reject: str = "hold",
    recorded_after_change: RecordedAfterChange = None,
    history: Sequence[Row] | None = None,
) -> Reaccount:
    """Replay every person-year, compare with what the ledger says was paid, and name the payees (§6)."""
    reader = Reader(frozenset(columns), (*REQUIRED, PAID_COLUMNS["catastrophic"]))
    book = [policy.without_basic() for policy in book]
    check_book(book, columns, None)
    recognised = Roster.read(roster, roster_mode)
    terms = Terms(on_decrease, on_reject)
    past = read_history(history)
    earlier = read_previous(previous)
    years: Years = {}
    refused: dict[str, list[int]] = {}
    bills, people = group_people(rows, reader)

    replays: dict[Any, Replay] = {}
    for person_id, own_bills in people.items():
        person = Person(
            own_bills,
            past.get(person_id, ()),
            reader,
            book,
            None,
            is_reaccounting=True,
            recategorise=recognised.recategorise,
        )
        replays[person_id] = Replay(person, years, recorded_after_change, refused)
        replays[person_id].run()
    if refused:
        raise Refused({layer: (refused[layer][0], refused[layer][1]) for layer in LAYERS if layer in refused})

    results = [row_result(bill, replays.get(bill.person_id)) for bill in bills]
    result = Reaccount(results, {}, closing_of(years), list(previous or ()))
    for person_id, replay in replays.items():
        for year, account in accounts_of(replay, results).items():
            result.due[person_id, year] = account.due_fen
            reasons = reasons_to_hold(replay, year) if on_reject == "hold" else []
            before = earlier.pop((person_id, year), {})
            kind = person_kind_of(replay, year, before.get(person_key(person_id), ()))
            post(result, (person_id, year), account, before, kind, reasons, terms)
    for (person_id, year), before in earlier.items():
        left = replays.get(person_id)
        reasons = reasons_to_hold(left, year) if left is not None and on_reject == "hold" else []
        kind = person_kind_of(left, year, before.get(person_key(person_id), ()))
        post(result, (person_id, year), Account(), before, kind, reasons, terms)
    return result
