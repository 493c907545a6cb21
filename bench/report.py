"""Tables and charts of `bench/README.md` from `bench/results/*.json`: `python bench/report.py RESULT.json`.

The tables are also printed. Between `<!-- begin: COMMAND -->` and `<!-- end: COMMAND -->` the page is replaced; a result
whose command the page does not mention (`bench-quick`) is only printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
CHARTS = HERE / "results"
SLOPE = "cost a row"
ORDER = (
    "tiers",
    "one layer",
    "three layers",
    "the whole waterfall",
    "file to file",
    SLOPE,
    "one claim",
    "start-up",
    "an invented city",
)
SECOND = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))

Case = Mapping[str, Any]


def main(path: Path) -> None:
    """Print a result's tables, put them into the page, draw its charts."""
    result = json.loads(path.read_text(encoding="utf-8"))
    command = result["command"]
    text = "\n".join(lines(result))
    print(text)
    page = PAGE.read_text(encoding="utf-8")
    if f"<!-- begin: {command} -->" not in page:
        return
    from charts import draw

    title, _, rest = text.partition("\n\n")
    pictures = [f"![{what}](results/{file.name})" for what, file in draw(result, CHARTS)]
    PAGE.write_text(between(page, command, "\n\n".join([title, *pictures, rest])), encoding="utf-8")


def between(page: str, command: str, text: str) -> str:
    """Return the page with `text` between the command's marks."""
    begin, end = f"<!-- begin: {command} -->", f"<!-- end: {command} -->"
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the result as Markdown."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    yield f"## `make {result['command']}`, {result['date']}"
    yield ""
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; {versions}; "
        f"commit {(result['commit'] or 'unknown')[:7]}{' with changes' if result['changed_since'] else ''}."
    )
    raced = sorted((case for case in result["cases"] if "limit" in case), key=lambda case: place(case["group"]))
    if raced:
        yield from ["", *overview(raced)]
    for group in sorted(dict.fromkeys(case["group"] for case in result["cases"]), key=place):
        cases = [case for case in result["cases"] if case["group"] == group]
        yield from ["", f"### {group[:1].upper()}{group[1:]}", ""]
        if group == SLOPE:
            yield from slope(cases)
        elif "limit" in cases[0]:
            for case in cases:
                yield from race(case)
        else:
            yield from plain(cases)


def place(group: str) -> int:
    """Return where a group stands: those of ORDER first."""
    return next((index for index, begin in enumerate(ORDER) if group.startswith(begin)), len(ORDER))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table: text on the left, figures on the right."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "|".join("---" if index == 0 or name == "way" else "---:" for index, name in enumerate(head)) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def overview(cases: Sequence[Case]) -> Iterator[str]:
    """Yield one line for each of ours in a race: its rate, the fastest competitor's, and the limit."""
    rows = []
    for case in cases:
        first = next(iter(best(case)), None)
        ours = [
            ("", case["ours"]),
            *((each["way"], each) for each in timed(case) if first and each["system"] == "yibao"),
        ]
        for way, own in ours:
            rows.append(
                [
                    case["group"] + (f": {way}" if way else ""),
                    f"{case['rows']:,}",
                    str(case["threads"]),
                    rate(case, own),
                    f"{name(first)}: {rate(case, first)}" if first else "",
                    f"**{times(first['median'] / own['median'])}**" if first else "",
                    f"{own['median'] / case['limit']['median']:.1f}",
                ]
            )
    head = (
        "race",
        "rows",
        "threads",
        "yibao, M rows/s",
        "fastest other, M rows/s",
        "its time ÷ ours",
        "our time ÷ limit",
    )
    yield from table(head, rows)


def best(case: Case) -> list[Mapping[str, Any]]:
    """Return each system's fastest formulation, fastest first; ours in other clothes is no competitor."""
    found: dict[str, Mapping[str, Any]] = {}
    for each in sorted(timed(case), key=lambda each: float(each["median"])):
        if each["system"] != "yibao":
            found.setdefault(each["system"], each)
    return [*found.values()]


def timed(case: Case) -> list[Mapping[str, Any]]:
    """Return the competitors that were timed in rounds."""
    return [each for each in case.get("competitors", []) if "median" in each]


def race(case: Case) -> Iterator[str]:
    """Yield a race: ours, all that were timed, the limit; then what was slower when tried out."""
    moved = f", {case['bytes_a_row']} bytes a row" if "bytes_a_row" in case else ""
    yield f"{case['rows']:,} rows, {count(case['threads'], 'thread')}, {count(case['ours']['rounds'], 'round')}{moved}."
    yield ""
    entries = sorted(timed(case), key=lambda each: float(each["median"]))
    rows = [["**yibao**", "", *figures(case, case["ours"]), "1"]]
    rows += [[each["system"], each["way"], *figures(case, each), times(each["times_ours"])] for each in entries]
    what = "`np.copyto`" if "bytes_a_row" in case else "Parquet alone, pyarrow"
    rows.append([f"*limit: {what}*", "", *figures(case, case["limit"]), times(case["limit"]["times_ours"])])
    yield from table(("who", "way", "median", "least – most", "M rows/s", "its time ÷ ours"), rows)
    slower = [each for each in case.get("competitors", []) if "median" not in each]
    if slower:
        listed = ", ".join(f"{each['system']} {each['way']} {seconds(each['tried'])}" for each in slower)
        yield from ["", f"Slower on {case['tried_rows']:,} rows, not raced: {listed}."]


def figures(case: Case, figure: Mapping[str, Any]) -> list[str]:
    """Return median, range and rate."""
    return [seconds(figure["median"]), f"{seconds(figure['min'])} – {seconds(figure['max'])}", rate(case, figure)]


def slope(cases: Sequence[Case]) -> Iterator[str]:
    """Yield what a row costs by size and system, in time and memory."""
    yield (
        "Re-accounting of three layers, constant categories, each figure from a process of its own. Memory: the most it held "
        "beyond the loaded ledger, results included."
    )
    yield ""
    rows = [
        [
            f"{case['rows']:,}",
            case["system"],
            seconds(case["ours"]["median"]),
            f"{case['ours']['median'] / case['rows'] * 1e9:.0f} ns",
            f"{case['ours']['min'] / case['rows'] * 1e9:.0f} – {case['ours']['max'] / case['rows'] * 1e9:.0f}",
            f"{case['peak_bytes'] / case['rows']:.0f}",
        ]
        for case in cases
    ]
    yield from table(("rows", "who", "median", "a row", "least – most", "bytes a row"), rows)


def plain(cases: Sequence[Case]) -> Iterator[str]:
    """Yield cases that are no race; what they say beside their times stands behind."""
    rows = []
    for case in cases:
        own = case["ours"]
        more = [said(key, value) for key, value in case.items() if key not in ("group", "name", "ours", "rows")]
        words = case["name"].removeprefix("test_").replace("_", " ")
        has_rows = isinstance(case.get("rows"), int)
        speed = [f"{case['rows']:,}", rate(case, own)] if has_rows else ["", ""]
        rows.append(
            [
                words,
                seconds(own["median"]),
                f"{seconds(own['min'])} – {seconds(own['max'])}",
                *speed,
                ", ".join(filter(None, more)),
            ]
        )
    yield from table(("case", "median", "least – most", "rows", "M rows/s", "more"), rows)


def said(key: str, value: Any) -> str:
    """Return what a case says beside its times, in words; nothing for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{key.replace('_', ' ')} {value:,}" if isinstance(value, int) else f"{key.replace('_', ' ')} {value:.3g}"


def name(entry: Mapping[str, Any]) -> str:
    return f"{entry['system']}, {entry['way']}"


def rate(case: Case, figure: Mapping[str, Any]) -> str:
    """Return million rows a second."""
    millions = case["rows"] / figure["median"] / 1e6
    return f"{millions:.2f}" if millions < 1 else f"{millions:.1f}" if millions < 100 else f"{millions:.0f}"


def times(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def seconds(value: float) -> str:
    """Return a time with three digits."""
    unit, size = next((pair for pair in SECOND if value >= pair[1]), SECOND[-1])
    return f"{value / size:.3g} {unit}" if value / size < 1000 else f"{value / size:.0f} {unit}"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
