"""One claim while the person waits: three paid layers, the year's balances given.

Each case first checks that it pays what the plain function pays, claim by claim; then 1,000 different claims of 200
people are timed in a row. Figures are for 1,000 claims: microseconds of a claim are milliseconds here.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

import cases
import one_claim
import yibao
from yibao_core.policy import LAYERS

CLAIMS, PEOPLE = 1_000, 100  # of each category: the plain function knows no change of it
LAYERS_PAID = ("catastrophic", "assistance")

Paid = list[tuple[int, int]]


@cache
def claims() -> list[dict[str, Any]]:
    """Return the first claims of the usual ledger as a service gets them: mappings, money as text."""
    ledger = cases.paid_ledger(20_000, cases.people_in(20_000))
    ledger = ledger.slice(0, CLAIMS)
    texts = ("insured_region", "category", "care_type", "total_fee", "eligible_fee", "basic_paid")
    return [
        {
            "settlement_id": f"S{number}",
            "person_id": f"{row['category']} {row['person_id'] % PEOPLE}",
            "settled_at": row["settled_at"],
            "service_date": row["service_date"],
            **{name: str(row[name]) for name in texts},
        }
        for number, row in enumerate(ledger.to_pylist())
    ]


@cache
def policy() -> Any:
    return yibao.load_policy("weihai-2019", parameters=cases.PARAMETERS)


def fen(amount: Decimal) -> int:
    return int(amount.scaleb(2))


@cache
def expected() -> Paid:
    balances: dict[str, Any] = {}
    paid = []
    for claim in claims():
        catastrophic, assistance, after = one_claim.three_layers(claim, balances.get(claim["person_id"]))
        balances[claim["person_id"]] = after
        paid.append((fen(catastrophic), fen(assistance)))
    return paid


def openings() -> list[Any]:
    """Return what each claim finds of its person's year."""
    balances: dict[str, Any] = {}
    found = []
    for claim in claims():
        found.append(balances.get(claim["person_id"], {}))
        balances[claim["person_id"]] = yibao.settle(claim, policy(), opening=found[-1]).closing
    return found


def integers() -> list[tuple[Any, ...]]:
    """Return the claims as a service would hold them that has parsed them already."""
    found = []
    for claim in claims():
        amounts = (fen(Decimal(claim[name])) for name in ("total_fee", "eligible_fee", "basic_paid"))
        day = yibao.Settler.day_of(claim["service_date"])
        who = yibao.Settler.categories_of(claim["category"]), yibao.Settler.care_type_of(claim["care_type"])
        found.append((claim["person_id"], day, *who, *amounts))
    return found


@pytest.mark.benchmark(group="one claim, 1,000 times")
@pytest.mark.parametrize("brought", ["closing", "decimals", "nothing"])
def test_settle(benchmark: Any, brought: str) -> None:
    """`closing`: as a Settlement gave it; `decimals`: as read from a database; `nothing`: each claim the year's first."""
    before: list[Any] = openings()
    one: Callable[..., yibao.Settlement] = yibao.settle
    law = policy()
    settled = [one(claim, law, opening=opening) for claim, opening in zip(claims(), before, strict=True)]
    assert [tuple(fen(each.paid[layer]) for layer in LAYERS_PAID) for each in settled] == expected()
    if brought == "decimals":
        before = [{account: tuple(pair) for account, pair in opening.items()} for opening in before]
    if brought == "nothing":
        before = [None] * CLAIMS
    work = list(zip(claims(), before, strict=True))

    def run() -> None:
        for claim, opening in work:
            one(claim, law, opening=opening)

    benchmark(run)


@pytest.mark.benchmark(group="one claim, 1,000 times")
@pytest.mark.parametrize("looked_at", ["nothing", "paid and closing"])
def test_settler(benchmark: Any, looked_at: str) -> None:
    """The settler's own door for mappings, each claim remembered; `paid and closing`: the lazy parts are asked for."""
    work = claims()
    settled = [one.settle(claim) for one in [yibao.Settler(policy())] for claim in work]
    assert [tuple(fen(each.paid[layer]) for layer in LAYERS_PAID) for each in settled] == expected()

    def run(one: yibao.Settler) -> None:
        for claim in work:
            one.settle(claim)

    def look(one: yibao.Settler) -> None:
        for claim in work:
            each = one.settle(claim)
            _ = each.paid, each.personal_paid, each.closing

    fresh: Callable[[], Any] = lambda: ((yibao.Settler(policy()),), {})  # noqa: E731
    benchmark.pedantic(run if looked_at == "nothing" else look, setup=fresh, rounds=50, warmup_rounds=5)


@pytest.mark.benchmark(group="one claim, 1,000 times")
def test_settler_of_integers(benchmark: Any) -> None:
    work = integers()
    one = yibao.Settler(policy())
    got = [one.settle_fen(*claim, region=371002) for claim in work]
    places = [LAYERS.index(layer) for layer in LAYERS_PAID]
    assert [tuple(paid[place] for place in places) for paid in got] == expected()

    def run() -> None:
        for claim in work:
            one.settle_fen(*claim, region=371002)

    benchmark(run)


@pytest.mark.benchmark(group="one claim, 1,000 times")
def test_plain_python(benchmark: Any) -> None:
    """What a user would write for these layers alone: Decimals, no checks, no flags, nothing for other categories."""
    work = claims()
    balances: dict[str, Any] = {}
    for claim in work:
        balances[claim["person_id"]] = one_claim.three_layers(claim, balances.get(claim["person_id"]))[2]
    before = [balances[claim["person_id"]] for claim in work]
    pairs = list(zip(work, before, strict=True))

    def run() -> None:
        for claim, balance in pairs:
            one_claim.three_layers(claim, balance)

    benchmark(run)
