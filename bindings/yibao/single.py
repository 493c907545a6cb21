"""One claim: a mapping in, a Settlement out. The same kernel as for ledgers, with its trace.

Most claims are read to integers and go through one call of the kernel. What is not plain (a reversal, a stay of an
episode, a cell that must be judged) goes through a table of one row, which also words every refusal.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from struct import error as StructError
from typing import Any, NamedTuple

from yibao.accounts import Account, Accounts, Balance, Closing, Groups, Slot, grouped, in_order, of_slots, words_of
from yibao.book import as_book
from yibao.claim_form import EPOCH, YEARS, Form, Forms
from yibao.explanation import LayerTrace, explain_trace, read_trace
from yibao.ledger import PAID
from yibao.money import yuan
from yibao.one_row import settle_row
from yibao.result import LedgerResult
from yibao_core.calendar import YEAR_FIRST, YEAR_LAST
from yibao_core.money import NULL_FEN
from yibao_core.one import (
    NO_SLOT,
    RESULT_BALANCES,
    RESULT_FLAGS,
    RESULT_KEY,
    RESULT_LEFT,
    RESULT_POLICY,
    RESULT_STAY,
    settle_one,
)
from yibao_core.policy import LAYERS, Policy
from yibao_core.records import FLAGS, NO_STAY, NUMBER_NONE, SHIFT_BORNE

BOOKS_MAX = 64


class Outcome(NamedTuple):
    """What a settled claim has come to, in fen."""

    paid_fen: Sequence[int]  # layer by layer
    personal_fen: int
    flags: int
    borne_fen: int | None
    stay_number: int | None
    policy: Policy | None


class Before(NamedTuple):
    """Where a Settlement finds the balances before its claim, when somebody asks."""

    own: bool  # among the kernel's results are those of the claim's year and city
    others: Sequence[Slot]


NOTHING, OWN = Before(False, ()), Before(True, ())


class Settlement:
    """What one claim is paid, layer by layer, in Decimal yuan; what a counted stay bore of its deductible, and its number.

    Everything is made when it is asked for.
    """

    claim: dict[str, Any]

    def __init__(
        self, claim: Mapping[str, Any], before: "Accounts | Before", form: Form | None, told: "LedgerResult | bytes"
    ) -> None:
        """`told`: the kernel's results for claims of a form, else those of a ledger of one row."""
        self.claim = dict(claim)
        self._before = before
        self._form = form
        self._told = told

    @cached_property
    def opening(self) -> Accounts:
        """The balances before the claim."""
        if not isinstance(self._before, Before):
            return self._before
        assert self._form is not None
        assert isinstance(self._told, bytes)
        slots = list(self._before.others)
        if self._before.own:
            numbers = self._form.numbers(self._told)
            slots.append((numbers[RESULT_KEY], numbers[RESULT_BALANCES + self._form.words :]))
        return of_slots(self._form.accounts, self._form.meters, slots)

    @cached_property
    def _outcome(self) -> Outcome:
        if isinstance(self._told, LedgerResult):
            return _outcome_of_row(self._told)
        assert self._form is not None
        return outcome_of(self._form, self._told)

    @cached_property
    def paid(self) -> dict[str, Decimal]:
        """The payment of each layer."""
        return {layer: yuan(amount) for layer, amount in zip(LAYERS, self._outcome.paid_fen, strict=True)}

    @cached_property
    def personal_paid(self) -> Decimal:
        """What is left to the person."""
        return yuan(self._outcome.personal_fen)

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """What is remarkable about the claim, in alphabetical order."""
        return tuple(name for bit, name in enumerate(FLAGS) if self._outcome.flags >> bit & 1)

    @cached_property
    def deductible_borne(self) -> Decimal | None:
        """What a counted stay bore of its deductible, None for any other claim."""
        return None if self._outcome.borne_fen is None else yuan(self._outcome.borne_fen)

    @property
    def stay_number(self) -> int | None:
        """The number of a counted stay in the year; 0: it went on with an episode."""
        return self._outcome.stay_number

    @property
    def policy(self) -> Policy | None:
        """The policy that settled the claim."""
        return self._outcome.policy

    @cached_property
    def closing(self) -> Accounts:
        """The balances after the claim, to be passed as `opening` of the person's next one."""
        if isinstance(self._told, LedgerResult):
            return _closing_of_row(self._told)
        assert self._form is not None
        form, numbers = self._form, self._form.numbers(self._told)
        groups: Groups = {}
        if self._before == OWN and not form.meters:
            # There is nothing but what the claim has moved: as the opening would show it.
            before = numbers[RESULT_BALANCES + form.words :]
            brought = frozenset(name for name, at in form.account_at.items() if before[at] or before[at + 1])
            brought = brought or frozenset(form.accounts[:1])
        else:
            groups = grouped(self.opening)
            brought = frozenset(name for entries in groups.values() for name in entries)
        own = groups.setdefault(numbers[RESULT_KEY], {})
        for name, at in form.account_at.items():
            own[name] = (numbers[RESULT_BALANCES + at], numbers[RESULT_BALANCES + at + 1], name in form.meters)
        closing = Closing(in_order(groups, form.order_of(brought)))
        if (
            not form.meters and brought <= form.account_at.keys()
        ):  # another policy may not know the rest: it is looked at then
            balances = numbers[RESULT_BALANCES : RESULT_BALANCES + form.words]
            closing.remember(numbers[RESULT_KEY], form.accounts, balances)
        return closing

    @cached_property
    def trace(self) -> tuple[LayerTrace, ...]:
        """What the kernel did, layer by layer in its order; empty for a reversal, which mirrors its original."""
        told = self._told
        if not isinstance(told, LedgerResult):
            assert self._form is not None
            told = settle_row(self.claim, self._form.book, self.opening, None)
        return read_trace(told._settled.trace, told._book)

    def explain(self) -> str:
        """Return the trace in words, with the articles."""
        return explain_trace(self.trace, self.policy, self.paid, self.personal_paid, self.flags)

    def __repr__(self) -> str:
        paid = ", ".join(f"{layer} {amount}" for layer, amount in self.paid.items() if amount)
        return f"Settlement({paid or 'nothing paid'}; personal {self.personal_paid})"


def settle(
    claim: Mapping[str, Any],
    policy: Policy | Sequence[Policy],
    *,
    opening: Accounts | None = None,
    original: "Settlement | Mapping[str, Any] | None" = None,
) -> Settlement:
    """Settle one claim: a mapping with the ledger's columns, money as Decimal or text in yuan (integers: `<name>_fen`).

    `opening`: the `closing` of the person's last settlement. `original`: for a reversal, the Settlement (or the row as
    settled) that it cancels. Raises ClaimError with the reject code where a ledger would reject the row.
    """
    if original is None:
        known = _BOOKS.get(id(policy))
        if known is None:
            known = _known_book(policy)
        if known is not None:
            settled = known.settle(claim, opening)
            if settled is not None:
                return settled
    told = settle_row(claim, as_book(policy), opening, as_settled(original))
    return Settlement(claim, dict(opening or {}), None, told)


class _Book:
    """One policy or several, and the forms of claims that were seen under them."""

    def __init__(self, given: tuple[Policy, ...]) -> None:
        self._given = given  # held, so that no other policy can get their ids
        self._forms = Forms(as_book(given))

    def settle(self, claim: Mapping[str, Any], opening: Accounts | None) -> Settlement | None:
        """Return the claim settled, None where it needs a table."""
        found = self._forms.read(claim)
        if found is None:
            return None
        form, read = found
        before = {} if opening is None else opening if type(opening) is Closing else dict(opening)
        key = 0
        balances: Sequence[int] = form.no_balances
        if before is opening or before:
            brought = _brought(form, read, before)
            if brought is None:
                return None
            key, balances = brought
        try:
            desk, view = form.desks.pop()
        except IndexError:
            desk, view = form.new_desk()
        try:
            form.put_with_slot(view, form.claim_at, form.own_slot, 0, *read, key, NO_SLOT, *balances)
        except StructError:  # an amount beyond 64 bits
            return None
        closer = settle_one(form.plan.words, desk, desk)
        told: bytes = form.take(view, form.result_at)[0]
        form.desks.append((desk, view))
        return None if closer else Settlement(claim, before, form, told)


_BOOKS: dict[Any, _Book] = {}
"""By the id of a policy, or those of several."""


def _known_book(policy: Any) -> _Book | None:
    """Return what is kept of policies that `_BOOKS` does not show by the id of `policy`; None for what is no policy."""
    if isinstance(policy, Policy):
        key: Any = id(policy)
        given: tuple[Policy, ...] = (policy,)
    elif isinstance(policy, list | tuple) and all(isinstance(one, Policy) for one in policy):
        key, given = tuple(map(id, policy)), tuple(policy)  # a list may change: its own id says nothing
    else:
        return None
    known = _BOOKS.get(key)
    if known is None:
        known = _Book(given)
        if len(_BOOKS) >= BOOKS_MAX:
            _BOOKS.clear()
        _BOOKS[key] = known
    return known


def _brought(form: Form, read: Sequence[int], opening: Accounts) -> tuple[int, Sequence[int]] | None:
    """Return the claim's benefit year and city, and the balances that the opening holds for them; None where they need a
    closer look."""
    if form.by_settled is None:
        return None
    day = read[form.by_settled]
    year = YEARS[day] if 0 <= day < len(YEARS) else date.fromordinal(day + EPOCH).year
    city = read[4] // 100
    key = year * 10_000 + city
    if type(opening) is Closing:
        remembered = opening.recall(key, form.accounts)
        if remembered is not None:
            return key, remembered
    account_at, meters = form.account_at, form.meters
    balances = [0] * form.words
    try:
        for (of_year, of_city, name), pair in opening.items():  # type: ignore[misc]  # of an episode there are four
            words = pair.words if type(pair) is Balance else words_of(pair)
            if words is None:
                return None
            base, second, counted = words
            if (counted or meters) and counted is not (name in meters):
                return None
            at = account_at.get(name, -1)
            if at < 0 and name not in form.names:
                return None
            if of_year == year and of_city == city:
                if at >= 0:
                    balances[at], balances[at + 1] = base, second
            elif not (
                type(of_year) is int
                and type(of_city) is int
                and YEAR_FIRST <= of_year <= YEAR_LAST
                and 0 <= of_city <= 9_999
            ):
                return None
    except ValueError:
        return None
    return key, balances


def outcome_of(form: Form, told: bytes) -> Outcome:
    """Return what the kernel's results say."""
    numbers = form.numbers(told)
    stay = numbers[RESULT_STAY]
    return Outcome(
        numbers[: len(LAYERS)],
        numbers[RESULT_LEFT],
        numbers[RESULT_FLAGS],
        None if stay == NO_STAY else stay >> SHIFT_BORNE,
        None if stay == NO_STAY else stay & NUMBER_NONE,
        form.plan.policies[numbers[RESULT_POLICY]],
    )


def as_settled(original: "Settlement | Mapping[str, Any] | None") -> Mapping[str, Any] | None:
    """Return the row of what a reversal cancels, with its payments."""
    if not isinstance(original, Settlement):
        return original
    row = {name: value for name, value in original.claim.items() if name not in PAID and name[:-4] not in PAID}
    stay = {"deductible_borne": original.deductible_borne, "stay_number": original.stay_number}
    return row | {f"{layer}_paid": amount for layer, amount in original.paid.items()} | stay


def _outcome_of_row(result: LedgerResult) -> Outcome:
    settled = result._settled
    counted = len(settled.stay_number) > 0 and settled.deductible_fen[0] != NULL_FEN
    index, policies = int(settled.policy[0]), result._book.policies
    return Outcome(
        [int(settled.paid_fen[layer][0]) if layer in settled.paid_fen else 0 for layer in LAYERS],
        int(settled.personal_fen[0]),
        int(settled.flags[0]),
        int(settled.deductible_fen[0]) if counted else None,
        int(settled.stay_number[0]) if counted and settled.stay_number[0] >= 0 else None,
        policies[index] if index < len(policies) else None,
    )


def _closing_of_row(result: LedgerResult) -> Accounts:
    balances: dict[Account, tuple[Decimal, Decimal | int]] = {}
    for row in result.closing.to_pylist():
        key = (row["benefit_year"], row["insured_city"], row["account"])
        stays = row.get("stays")
        second = row["paid"] if stays is None else stays
        episode = row.get("episode_id")
        balances[key if episode is None else (*key, episode)] = (row["base"], second)
    return balances
