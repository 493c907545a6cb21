"""What a terminal shows: the progress of a run, its summary, a policy. Plain text of fixed width in a pipe."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from yibao_core.policy import AGE_MAX, CATEGORIES, Amount, Derived, Layer, Parameter, Policy, Rule, Span, Stay
from yibao_core.toml_values import percent, yuan

PIPE_WIDTH = 120  # where there is no terminal to ask
_WINDOW = ("in window", "outside window", "changed")


@contextmanager
def row_progress(what: str, total_rows: int | None, quiet: bool = False) -> Iterator[Callable[[int], None] | None]:
    """Yield a function that takes how many more rows are done, or None where nobody watches: in a pipe or if `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total_rows, speed="")

        def advance(rows: int) -> None:
            progress.advance(task, rows)
            rate = progress.tasks[0].speed
            if rate:
                progress.update(task, speed=f"{rate:,.0f} rows/s")

        yield advance


def console() -> Console:
    """Return standard output as a place for tables."""
    # No markup: [brackets] and :colons: in a document's words are words.
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_policies(policies: Iterable[Policy]) -> None:
    """Print one line a policy."""
    table = _table("id", "title", "document", "region", "in force", "known from")
    for policy in policies:
        table.add_row(
            policy.id, policy.title, policy.document, policy.region, _days(policy.in_force), str(policy.known_from)
        )
    console().print(table)


def print_policy(policy: Policy) -> None:
    """Print a policy as its document would: who gets what, from which amount on, and where it says so."""
    screen = console()
    screen.print(f"{policy.id}  {policy.title}", style="bold")
    head = Table.grid(padding=(0, 2))
    head.add_column()
    head.add_column(overflow="fold")
    head.add_row("document", policy.document + (f", issued {policy.issued}" if policy.issued else ""))
    head.add_row("region", policy.region)
    head.add_row("in force", f"{_days(policy.in_force)} ({policy.in_force.source})")
    head.add_row("known from", str(policy.known_from) + (f" ({policy.known_source})" if policy.known_source else ""))
    if policy.window is not None:
        head.add_row("window", f"{_days(policy.window)} ({policy.window.source})")
    if policy.supersedes:
        head.add_row("supersedes", ", ".join(policy.supersedes))
    head.add_row("rounding", f"{policy.rounding}, once a layer, to the fen")
    head.add_row("favour", " > ".join(policy.favour) + (f" ({policy.favour_source})" if policy.favour_source else ""))
    routing = policy.routing
    if routing.source:
        poor = ", ".join(routing.supplement_categories) or "nobody"
        words = f"assistance to the {routing.assistance_inside} (treated inside), the {routing.assistance_outside} (outside); "
        head.add_row("re-accounted", f"{words}with a supplement nothing to the person: {poor} ({routing.source})")
    if policy.financing_fen is not None:
        head.add_row("financing", f"{_amount(policy.financing_fen)} yuan a year for each enrollee")
    if policy.note:
        head.add_row("note", policy.note)
    screen.print(Padding(head, (0, 0, 1, 2)))
    for layer in policy.layers:
        _print_layer(screen, layer)
    for ratio in policy.ratios:
        screen.print(f"aim of {ratio.layer}  {', '.join(ratio.care_types)}", style="bold")
        aim = (
            f"on average {percent(ratio.target_bp)} of the policy-range cost, reported with every run ({ratio.source})"
        )
        screen.print(Padding(aim, (0, 0, 1, 2)))
    if policy.parameters:
        screen.print("parameters", style="bold")
    for parameter in policy.parameters:
        screen.print(Padding(_parameter_lines(parameter, policy), (0, 0, 1, 2)))


def print_summary(summary: Mapping[str, Any], out: Path) -> None:
    """Print what a run did, in a screenful, and where its files are."""
    screen = console()
    screen.print(_counts(summary))
    screen.print(_paid(summary))
    for ratio in summary["ratios"]:
        reached = ratio["ratio"] or "nothing eligible"
        screen.print(
            f"{ratio['layer']} paid {reached} of the policy-range cost ({ratio['policy']}: {ratio['target']}, {ratio['source']})",
            soft_wrap=True,
        )
    if "episode_id" in summary["missing_columns"]:
        screen.print("no column episode_id: every stay bore a deductible of its own, referred or not", soft_wrap=True)
    if "payments" in summary:
        screen.print(_outcomes(summary["payments"]))
        screen.print(_identity(summary["payments"]), soft_wrap=True)
    screen.print(f"files in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}", soft_wrap=True)


def _counts(summary: Mapping[str, Any]) -> Table:
    lines = [("rows", summary["rows"]), ("settled", summary["settled"])]
    policies = summary["policies"]
    lines += [(f"  by {name}", part["rows"]) for name, part in policies.items() if len(policies) > 1]
    lines += [(f"  {name}", summary[f"rows_{name.replace(' ', '_')}"]) for name in _WINDOW if "payments" in summary]
    lines += [("rejected", summary["rejected"])]
    lines += [(f"  {code}", rows) for code, rows in summary["rejects"].items()]
    lines += [(f"flag {flag}", rows) for flag, rows in summary["flags"].items() if rows]
    lines += [(name.replace("_", " "), summary[name]) for name in ("ids_normalised", "violations") if summary[name]]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, count in lines:
        table.add_row(name, f"{count:,}")
    return table


def _paid(summary: Mapping[str, Any]) -> Table:
    """Return the payments by layer; of a re-accounting with their change."""
    change = summary.get("deltas", {})
    table = _table("yuan", ">paid", *([">new less old"] if change else []))
    for layer, amount in summary["paid"].items():
        table.add_row(layer, _money(amount), *([_money(change[layer])] if change else []))
    table.add_row("personal", _money(summary["personal_paid"]), *([_money(change["personal"])] if change else []))
    table.add_section()
    table.add_row("total fee", _money(summary["total_fee"]))
    return table


def _outcomes(payments: Mapping[str, Any]) -> Table:
    table = _table("outcome", ">entries", ">yuan")
    transfers, held, decreases, unrouted = (payments[name] for name in ("transfers", "held", "decreases", "unrouted"))
    table.add_row("transfers", f"{transfers['count']:,}", _money(transfers["amount"]))
    for kind, part in transfers["to"].items():
        if part["transfers"]:
            table.add_row(f"  to {kind}", f"{part['transfers']:,}", _money(part["amount"]))
    table.add_row("held", f"{held['count']:,}", _money(held["amount"]))
    for reason, count in held["reasons"].items():
        table.add_row(f"  {reason}", f"{count:,}", "")
    table.add_row("unrouted", f"{unrouted['count']:,}", _money(unrouted["amount"]))
    table.add_row(f"decreases ({decreases['action']})", f"{decreases['count']:,}", _money(decreases["amount"]))
    return table


def _identity(payments: Mapping[str, Any]) -> str:
    """Return the identity of a re-accounting in figures (settlement contract, 6.10)."""
    parts = (
        f"earlier {_money(payments['previous']['amount'])} + transfers {_money(payments['transfers']['amount'])}"
        f" + held {_money(payments['held']['amount'])} + unrouted {_money(payments['unrouted']['amount'])}"
        f" - decreases {_money(payments['decreases']['amount'])} = owed {_money(payments['payer_delta'])}"
    )
    missed = payments["identity_violations"]
    verdict = "holds for each of them" if not missed else f"FAILS for {missed:,} of them"
    return f"{parts}\n{payments['person_years']:,} person-years; the same sum {verdict}"


def _print_layer(screen: Console, layer: Layer) -> None:
    others = "the ledger's own figure stands" if layer.otherwise == "recorded" else "nothing"
    screen.print(f"{layer.name}  {', '.join(layer.care_types)}", style="bold")
    if not layer.rules:
        screen.print(Padding(f"{others} ({layer.source})", (0, 0, 1, 2)))
        return
    for rule in layer.rules:
        screen.print(Padding(_rule_lines(rule, layer), (0, 0, 0, 2)))
        tiers = _table(">from", ">to", ">pays")
        ends = [*(_amount(tier.lower_fen) for tier in rule.tiers[1:]), ""]
        for tier, end in zip(rule.tiers, ends, strict=True):
            rate = tier.rate_bp.parameter if isinstance(tier.rate_bp, Derived) else percent(tier.rate_bp)
            tiers.add_row(_amount(tier.lower_fen), end, rate)
        screen.print(Padding(tiers, (0, 0, 0, 4)))
    screen.print(Padding(f"rows that none of these rules is for: {others} ({layer.source})", (0, 0, 1, 2)))


def _rule_lines(rule: Rule, layer: Layer) -> str:
    who = "everyone" if set(rule.who) == set(CATEGORIES) else ", ".join(rule.who)
    if not rule.any_age:
        who += f", aged {rule.age_from}" + (" or more" if rule.age_to == AGE_MAX else f" to {rule.age_to}")
    if rule.goes_by_level:
        who += f"; hospitals of level {', '.join(map(str, rule.levels))}"
    if len(rule.treated) == 1:
        who += f"; treated {rule.treated[0]} the insured city"
    if rule.care_types != layer.care_types:
        who += f"; {', '.join(rule.care_types)}"
    terms = [f"deductible {_amount(rule.deductible_fen)}"]
    terms.append("no yearly limit" if rule.cap_fen is None else f"yearly limit {_amount(rule.cap_fen)}")
    if rule.shared_limit is not None:
        terms.append(f"shares the limit {_amount(rule.shared_limit.limit_fen)} of {rule.shared_limit.account}")
    if rule.ceiling_bp is not None:
        share = rule.ceiling_bp.parameter if isinstance(rule.ceiling_bp, Derived) else percent(rule.ceiling_bp)
        terms.append(f"with all earlier payers at most {share}")
    terms += _stay_terms(rule.stay) if rule.stay else []
    terms.append(f"on {' + '.join(rule.base)}" + (f" less {', '.join(rule.less)}" if rule.less else ""))
    terms.append("amounts above the deductible" if rule.edges_above_deductible else "amounts include the deductible")
    if rule.parameters:
        terms.append(f"parameters {', '.join(rule.parameters)}")
    return f"{rule.id}: {who}\n{'; '.join(terms)}\n{rule.source}"


def _stay_terms(stay: Stay) -> list[str]:
    terms = ["for each stay by itself" + (", one tier's rate on all of it" if stay.whole else "")]
    if stay.cap_fen is not None:
        terms.append(f"at most {_amount(stay.cap_fen)} a stay")
    if stay.later_bp:
        terms.append(f"deductible of the 1st, 2nd, … stay {', '.join(map(percent, stay.later_bp))}")
    if stay.deductible_limit_fen is not None:
        terms.append(f"deductibles of a year at most {_amount(stay.deductible_limit_fen)}")
    if stay.once:
        terms.append("one deductible a year, at the highest level")
    if stay.referral:
        terms.append(f"deductible goes on through referrals {stay.referral}")
    return terms


def _bound_by(parameter: Parameter, other: Parameter) -> bool:
    """Return whether a parameter's maximum is a share of the other."""
    return isinstance(parameter.maximum, Derived) and parameter.maximum.parameter == other.name


def _parameter_lines(parameter: Parameter, policy: Policy) -> str:
    bounded = [each.name for each in policy.parameters if _bound_by(each, parameter)]
    written = yuan if parameter.unit == "yuan" else percent
    low, high = parameter.minimum, parameter.maximum
    terms = ["needed by the rows that reach its rules" if parameter.required else "its rules are left out without it"]
    if bounded and not any(parameter.name in rule.parameters for layer in policy.layers for rule in layer.rules):
        terms = [f"needed with {', '.join(bounded)}, to check it"]
    if parameter.default is not None:
        terms = [f"{written(parameter.default)} unless given"]
    if parameter.per_category:
        terms.append(f"a value each for {', '.join(parameter.per_category)}")
    if low is not None:
        terms.append(f"at least {written(low)}")
    if high is not None:
        terms.append(f"at most {yuan(high) if isinstance(high, Derived) else written(high)}")
    return f"{parameter.name} ({parameter.unit}): {parameter.meaning}\n{'; '.join(terms)}\n{parameter.source}"


def _table(*columns: str) -> Table:
    """Return an empty table; a name that begins with > is of a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table


def _days(span: Span) -> str:
    return f"{span.start} to {span.end}" if span.end else f"from {span.start}"


def _amount(amount: Amount) -> str:
    if isinstance(amount, Derived):
        return yuan(amount)
    return f"{amount // 100:,}" + (f".{amount % 100:02}" if amount % 100 else "")


def _money(text: str) -> str:
    return f"{Decimal(text):,.2f}"
