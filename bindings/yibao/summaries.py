"""Summaries of runs over different people, added up to the one that a run over all of them has."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from yibao.result import LISTED, NAMED
from yibao_core.errors import RowStatus
from yibao_core.ratios import reached_bp
from yibao_core.routing import HOLD_REASONS
from yibao_core.toml_values import percent

_YUAN = re.compile(r"-?[0-9]+\.[0-9]{2}")
_APART = frozenset({*NAMED, "ratios"})


def added_up(
    summaries: Sequence[Mapping[str, Any]], named_rows: Sequence[Mapping[str, Sequence[int]]], policies: Sequence[str]
) -> dict[str, Any]:
    """Return the sum of the summaries of runs of one plan. `named_rows`: which rows of the whole ledger the settlements are
    that they name; `policies`: the book's, in its order."""
    total: dict[str, Any] = dict(summaries[0])  # in its order
    for name in total:
        if name not in _APART:
            total[name] = _sum([summary[name] for summary in summaries])
    for name in NAMED:
        pairs = [
            pair
            for summary, rows in zip(summaries, named_rows, strict=True)
            for pair in zip(rows[name], summary[name], strict=True)
        ]
        total[name] = [shown for _, shown in sorted(pairs)[:LISTED]]
    total["ratios"] = _ratios([ratio for summary in summaries for ratio in summary["ratios"]], policies)
    total["rejects"] = _by(total["rejects"], lambda code: RowStatus[code])
    total["policies"] = _by(total["policies"], policies.index)
    for policy in total["policies"].values():
        policy["by_year"], policy["by_city"] = _by(policy["by_year"], int), _by(policy["by_city"], int)
    if "payments" in total:
        held = total["payments"]["held"]
        held["reasons"] = _by(held["reasons"], HOLD_REASONS.index)
    return total


def _by(counts: Mapping[str, Any], place: Callable[[str], Any]) -> dict[str, Any]:
    return {name: counts[name] for name in sorted(counts, key=place)}


def _sum(values: Sequence[Any]) -> Any:
    """Return counts and yuan added up, key by key; what is said in words must be the same everywhere, or said once."""
    first = values[0]
    if isinstance(first, Mapping):
        names = list(dict.fromkeys(name for value in values for name in value))
        return {name: _sum([value[name] for value in values if name in value]) for name in names}
    if isinstance(first, int):
        return sum(values)
    if all(isinstance(value, str) and _YUAN.fullmatch(value) for value in values):
        return str(sum(map(Decimal, values), Decimal("0.00")))
    return next((value for value in values if value is not None), None)


def _ratios(reports: Sequence[Mapping[str, Any]], policies: Sequence[str]) -> list[dict[str, Any]]:
    """Return what each aim's rows came to in all runs."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for report in reports:
        key = (report["policy"], report["layer"], report["care_types"])
        before = found.get(key)
        found[key] = dict(report)
        for name in ("eligible_fee", "paid") if before else ():
            found[key][name] = _sum([before[name], report[name]])  # type: ignore[index]
    for report in found.values():
        share_bp = reached_bp(*(int(Decimal(report[name]).scaleb(2)) for name in ("eligible_fee", "paid")))
        report["ratio"] = None if share_bp is None else percent(share_bp)
    return sorted(found.values(), key=lambda report: policies.index(report["policy"]))
