"""The charts of a result: rates of all races side by side, and what a row costs as ledgers grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from report import SLOPE, best, count, place, timed

INK, QUIET, FAINT = "#1f2933", "#6b7785", "#d9dee3"
COLOURS = {"yibao": "#0b7a75", "DuckDB": "#c9a227", "Polars": "#7a8fb8"}
OTHER = "#b3bac2"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "yibao",
}
Case = Mapping[str, Any]


def draw(result: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw what a result has figures for; yield each picture's title and file."""
    command = result["command"]
    races = sorted((case for case in result["cases"] if "limit" in case), key=lambda case: place(case["group"]))
    growing = [case for case in result["cases"] if case["group"] == SLOPE]
    with plt.rc_context(STYLE):
        if races:
            file = folder / f"{command}-rates.svg"
            rates(races, file)
            yield "Rates of yibao and the fastest formulation of each competitor", file
        if len({case["rows"] for case in growing}) > 1:
            file = folder / f"{command}-slope.svg"
            slope(growing, file)
            yield "Time and memory a row as ledgers grow", file


def rates(cases: Sequence[Case], file: Path) -> None:
    """Draw one panel a race: bars of million rows a second, ours first."""
    entries = [_bars(case) for case in cases]
    columns = 2
    lines = -(-len(cases) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(9.6, 0.55 + 1.62 * lines), squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    for panel, case, bars in zip(panels.flat, cases, entries, strict=False):
        _panel(panel, case, bars)
    figure.tight_layout(h_pad=1.6, w_pad=2.0)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _bars(case: Case) -> list[tuple[str, str, float]]:
    """Return (system, way, million rows a second)."""
    size = case["rows"] / 1e6
    way = "" if best(case) else count(case["threads"], "thread")
    ours = [("yibao", way, size / case["ours"]["median"])]
    ours += [("yibao", each["way"], size / each["median"]) for each in timed(case) if each["system"] == "yibao"]
    return ours + [(each["system"], each["way"], size / each["median"]) for each in best(case)]


def _panel(panel: Any, case: Case, bars: Sequence[tuple[str, str, float]]) -> None:
    panel.axis("on")
    longest = max(rate for _, _, rate in bars)
    for line, (system, way, rate) in enumerate(bars):
        panel.barh(line, rate, height=0.62, color=COLOURS.get(system, OTHER))
        figure = f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"
        look = {"xycoords": "data", "textcoords": "offset points", "va": "center", "annotation_clip": False}
        panel.annotate(figure, (rate, line), (4, 0), weight="bold" if system == "yibao" else "normal", **look)
        panel.annotate(way, (rate, line), (10 + 6 * len(figure), 0), color=QUIET, size=7.5, **look)
    panel.set_yticks(range(len(bars)), [system for system, _, _ in bars])
    panel.set_ylim(max(len(bars), 3) - 0.4, -0.6)
    panel.set_xlim(0, longest * 1.7)
    panel.set_xticks([])
    panel.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        panel.spines[side].set_visible(False)
    group = case["group"]
    limit = case["rows"] / case["limit"]["median"] / 1e6
    what = "memory alone" if "bytes_a_row" in case else "Parquet alone"
    panel.set_title(f"{group[:1].upper()}{group[1:]}", loc="left", size=10, weight="bold", pad=16)
    scale = f"{case['rows'] / 1e6:g} M rows, {count(case['threads'], 'thread')}; million rows/s; {what}: {limit:,.{0 if limit >= 10 else 1}f}"
    panel.text(0, 1.04, scale, transform=panel.transAxes, color=QUIET, size=7.5)


def slope(cases: Sequence[Case], file: Path) -> None:
    """Draw nanoseconds and bytes a row against rows, a line each system."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.2))
    ends: dict[Any, list[tuple[float, int, str]]] = {left: [], right: []}
    for system in dict.fromkeys(case["system"] for case in cases):
        mine = sorted((case for case in cases if case["system"] == system), key=lambda case: int(case["rows"]))
        rows = [case["rows"] for case in mine]
        colour = COLOURS.get(system, OTHER)
        look = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 2 if system == "yibao" else 1.4}
        cost = [case["ours"]["median"] / case["rows"] * 1e9 for case in mine]
        left.plot(rows, cost, **look)
        low = [case["ours"]["min"] / case["rows"] * 1e9 for case in mine]
        high = [case["ours"]["max"] / case["rows"] * 1e9 for case in mine]
        left.fill_between(rows, low, high, color=colour, alpha=0.15, linewidth=0)
        memory = [case["peak_bytes"] / case["rows"] for case in mine]
        right.plot(rows, memory, **look)
        ends[left].append((cost[-1], rows[-1], system))
        ends[right].append((memory[-1], rows[-1], system))
    for panel, title in ((left, "Nanoseconds a row"), (right, "Peak memory, bytes a row")):
        panel.set_xscale("log")
        sizes = sorted({case["rows"] for case in cases})
        panel.set_xticks(sizes, [f"{size / 1e6:g} M" for size in sizes])
        panel.minorticks_off()
        panel.set_xlim(sizes[0] * 0.85, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.2)
        panel.set_ylim(bottom=0)
        _name_lines(panel, ends[panel])
        panel.set_title(title, loc="left", size=10, weight="bold")
        panel.grid(axis="y", color=FAINT, linewidth=0.6)
        panel.set_axisbelow(True)
        for side in ("top", "right", "left"):
            panel.spines[side].set_visible(False)
        panel.tick_params(length=0)
        panel.set_xlabel("rows")
    figure.tight_layout(w_pad=3)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _name_lines(panel: Any, ends: list[tuple[float, int, str]]) -> None:
    """Write each line's system behind its last point, the names apart from each other."""
    apart = panel.get_ylim()[1] * 0.075
    height = -apart
    for value, rows, system in sorted(ends):
        height = max(value, height + apart)
        look = {"color": COLOURS.get(system, OTHER), "weight": "bold", "va": "center", "textcoords": "offset points"}
        panel.annotate(system, (rows, height), (7, 0), **look)
