"""A page to look at: the generated city beside its profile, and the tail of its cost beside MEPS. Needs matplotlib (extra `report`)."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from yibao_core.policy import CARE_TYPES
from yibao_datagen.check import Found
from yibao_datagen.columns import Floats

INK, QUIET, FAINT, OURS, OTHER = "#1f2933", "#6b7785", "#d9dee3", "#0b7a75", "#c9a227"
STYLE: Any = {
    "font.size": 9, "text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": QUIET, "xtick.color": QUIET,
    "ytick.color": QUIET, "svg.fonttype": "none", "svg.hashsalt": "yibao", "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip
SHARES = np.concatenate([np.linspace(0.5, 0.94, 45), 1 - np.geomspace(0.05, 0.0002, 60)])
"""Quantiles that are compared: the upper half, then ever closer to the dearest."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #d9dee3 }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums }} td.source {{ color: #6b7785; font-size: .85em }}
tr.missed td {{ background: #fbe9e7 }} img {{ width: 100% }} h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
</style></head><body>
<h1>{title}</h1>
<p>{people:,} invented people, seed {seed}, {rows:,} rows. {verdict}</p>
{pictures}
<h2>Profile and city, figure by figure</h2>
<table><tr><th>figure</th><th>from</th><th>to</th><th>generated</th><th>source</th></tr>
{figures}
</table></body></html>
"""


def write_report(found: Found, folder: Path, meps: Path | None = None) -> Path:
    """Write index.html and its pictures to a folder; return the page. `meps`: a person panel with TOTEXPY1 and TOTEXPY2.

    ValueError where matplotlib is missing.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise ValueError("report: expected matplotlib: pip install 'yibao[report]'") from None
    mpl.use("svg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    drawings: list[tuple[str, str, Any]] = [
        ("ages", "People by age", _ages), ("days", "Bills by day of service", _days), ("rows", "Rows a person", _rows),
        ("tail", "Cost of a year a person", _tail),
    ]  # fmt: skip
    if meps is not None:
        spent = meps_cost(meps)
        drawings.append(("qq", "The tail of a year's cost beside MEPS", lambda panel, one: _qq(panel, one, spent)))
    with pyplot.rc_context(STYLE):
        for name, title, draw in drawings:
            figure, panel = pyplot.subplots(figsize=(9, 3.6))
            draw(panel, found)
            figure.tight_layout()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            pyplot.close(figure)
            pictures.append(f'<h2>{title}</h2><img src="{name}.svg" alt="{title}">')
    page = folder / "index.html"
    page.write_text(_page(found, pictures), encoding="utf-8")
    return page


def meps_cost(panel: Path) -> Floats:
    """Return what persons of a MEPS panel spent in a year; both years of each, without those marked as not applicable (-1)."""
    table = pq.read_table(panel, columns=["TOTEXPY1", "TOTEXPY2"])
    spent = np.concatenate([table[name].cast("float64").to_numpy() for name in table.column_names])
    return spent[spent >= 0]


def quantile_ratios(cost: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Return quantiles of both, at SHARES, as multiples of the mean."""
    return np.quantile(cost, SHARES) / cost.mean(), np.quantile(other, SHARES) / other.mean()


def _ages(panel: Any, found: Found) -> None:
    wanted = np.diff(found.city.plan.ages, prepend=0.0) * found.city.people_count
    panel.bar(np.arange(len(found.ages)) - 1, found.ages, color=OURS, width=0.9, label="generated")
    panel.step(np.arange(len(wanted)), wanted, where="mid", color=OTHER, label="profile")
    panel.set_xlabel("age on 1 January; −1: born in the year")
    panel.set_ylabel("people")
    panel.legend(frameon=False)


def _days(panel: Any, found: Found) -> None:
    for care, colour in ((0, OTHER), (1, OURS)):
        days = found.days[care][:365]
        wanted = np.diff(found.city.plan.days[care], prepend=0.0)[:365] * days.sum()
        panel.plot(days / days.mean() + 2 * care, color=colour, linewidth=0.8, label=CARE_TYPES[care])
        panel.plot(wanted / days.mean() + 2 * care, color=INK, linewidth=0.5, alpha=0.6)
    panel.set_xlabel("day of the year; black: the profile")
    panel.set_yticks([])
    panel.legend(frameon=False, loc="upper right")


def _rows(panel: Any, found: Found) -> None:
    counts = np.bincount(found.rows)
    some = np.flatnonzero(counts)
    panel.loglog(some + 1, counts[some], ".", color=OURS, markersize=3)
    panel.set_xlabel(f"rows of a person and year, plus one; the most are {found.rows.max():,}")
    panel.set_ylabel("people")


def _tail(panel: Any, found: Found) -> None:
    cost = np.sort(found.cost[found.cost > 0])[::-1]
    step = np.unique(np.geomspace(1, len(cost), 400).astype(int)) - 1
    panel.loglog(cost[step], (step + 1) / len(found.cost), color=OURS)
    panel.axvline(18_000, color=OTHER, linewidth=1)
    panel.set_xlabel("yuan a year; the line: 18,000")
    panel.set_ylabel("share of people above")


def _qq(panel: Any, found: Found, spent: Floats) -> None:
    ours, theirs = quantile_ratios(found.cost, spent)
    shown = (ours > 0) & (theirs > 0)
    panel.loglog(theirs[shown], ours[shown], ".", color=OURS, markersize=4)
    ends = [min(theirs[shown].min(), ours[shown].min()), max(theirs[shown].max(), ours[shown].max())]
    panel.plot(ends, ends, color=FAINT)
    for share in (0.9, 0.99, 0.999):
        at = int(np.argmin(np.abs(SHARES - share)))
        panel.annotate(f"{share:.1%}", (theirs[at], ours[at]), xytext=(6, -10), textcoords="offset points", color=QUIET)
    panel.set_xlabel("MEPS, multiples of the mean")
    panel.set_ylabel("generated")


def _page(found: Found, pictures: list[str]) -> str:
    missed = sum(not target.is_met for target in found.targets)
    lines = [
        f"<tr{'' if target.is_met else ' class=missed'}><td>{escape(target.name)}</td>"
        + "".join(f'<td class="number">{number:,.5g}</td>' for number in (target.least, target.most, target.found))
        + f'<td class="source">{escape(target.source)}</td></tr>'
        for target in found.targets
    ]
    return PAGE.format(
        title=escape(found.city.profile.title),
        people=found.city.people_count,
        seed=found.city.seed,
        rows=int(found.rows.sum()),
        verdict=f"{len(found.targets)} figures are compared, {missed} missed.",
        pictures="\n".join(pictures),
        figures="\n".join(lines),
    )
