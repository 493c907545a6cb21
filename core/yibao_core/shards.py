"""Rows to shards of people, shards to results, results back to rows.

Streaming passes around the settlement: mix and scatter (rows in their own order, each to its person's shard), settle each
shard where it lies, and walk the rows once more taking each result from its shard's next place. Row order comes back without a
single write out of order. Plain rows go in short records (`plain`, `units`), all rows of other people in full ones (`full`).
"""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from yibao_core.claim import OPTION_REACCOUNT, OPTION_TRACE_ROW
from yibao_core.collect_plain import BLOCK_LINES as COLLECT_LINES
from yibao_core.collect_plain import BLOCK_ROWS as COLLECT_ROWS
from yibao_core.collect_plain import collect_plain
from yibao_core.full import FullResults, Job, Openings, Outputs, settle_all, settle_listed
from yibao_core.intake import BLOCK_ROWS, Columns
from yibao_core.keys import YEARS
from yibao_core.layers import TRACE_FIRST_TIER, TRACE_TIER_WIDTH
from yibao_core.money import NULL_FEN
from yibao_core.order import Texts
from yibao_core.people import CHUNK_LINES, CHUNK_WIDTH
from yibao_core.plain import PLAIN_LINES, find_ranges, mix_people, pack_plain
from yibao_core.plan import (
    HEAD_PROGRAMS,
    HEAD_WIDTH,
    POLICY_HALF_FEN_BP,
    POLICY_WIDTH,
    POLICY_YEAR_BY_SETTLED,
    PROGRAM_COMPUTED_MASK,
    PROGRAM_FIRST_FEN,
    CompiledBook,
)
from yibao_core.policy import LAYERS
from yibao_core.records import FIELD_STAY, NO_STAY, NUMBER_NONE, SHIFT_BORNE
from yibao_core.room import Memory, block, line_aligned
from yibao_core.settled import FullRows, Settled
from yibao_core.short import BUCKET_BITS, RANGE_DAY, RANGE_REGION, Layout, lay_out, no_ranges
from yibao_core.threads import Run, Workers
from yibao_core.traces import fill_trace
from yibao_core.units import (
    FOUND_GROUPS,
    FOUND_LISTED,
    FOUND_UNSORTED,
    FOUND_VIOLATIONS,
    FOUNDS,
    Room,
    settle_units,
)

ROWS_PER_THREAD = 20_000  # fewer are settled before a thread has started
SHARD_BYTES = 400_000
SHARD_BITS_MAX = 12
LISTED_ROWS = 8_000  # so many rows of full records at least are one piece of work


def settle_columns(
    book: CompiledBook,
    fields: NDArray[np.int64],
    settings: NDArray[np.int64],
    options: NDArray[np.int64],
    columns: Columns,
    texts: Texts,
    openings: Openings,
    threads: int,
    trace: bool = False,
    report: Callable[[int], None] | None = None,
    every_group: bool = True,
    memory: Memory = line_aligned,
) -> Settled:
    """Settle or replay all rows; the rows of the history come first and have no results.

    `settings` are the intake's, `options` the run's. `report` is told the number of rows of each piece of work that is
    done, from the threads. A re-accounting without `every_group` keeps only person-years that are or were paid something.
    `memory` gives what large arrays lie in. All input arrays are read-only.
    """
    threads = max(1, min(threads, (len(columns.person) + len(openings.person)) // ROWS_PER_THREAD))
    job = Job(book, fields, settings, options, columns, texts, threads, report, memory)
    rows = job.rows - job.history_rows
    outputs = Outputs(
        status=np.zeros(rows, dtype=np.int8),
        flags=np.zeros(rows, dtype=np.int16),
        mode=np.zeros(rows, dtype=np.int8),
        policy=np.zeros(rows, dtype=np.int8),
    )
    with Workers(threads) as run:
        if trace or len(openings.person) or book.counts_stays or not book.programs:
            return _all_in_full(job, openings, outputs, trace, run)
        return _plain_and_full(job, outputs, every_group, run)


def _all_in_full(job: Job, openings: Openings, outputs: Outputs, trace: bool, run: Run) -> Settled:
    stride = TRACE_FIRST_TIER + TRACE_TIER_WIDTH * job.book.tiers_max
    traced = np.full(len(LAYERS) * stride if trace else 0, -1, dtype=np.int64)
    full = settle_all(job, openings, outputs, traced, run)
    if trace:
        policy = int(outputs.policy[int(job.options[OPTION_TRACE_ROW]) - job.history_rows])
        if policy < len(job.book.policies):
            half_fen_bp = int(job.book.words[HEAD_WIDTH + policy * POLICY_WIDTH + POLICY_HALF_FEN_BP])
            fill_trace(job.book.words, half_fen_bp, stride, traced)
    return _settled(job, outputs, {}, full, [], 0, traced)


def _settled(
    job: Job,
    outputs: Outputs,
    paid: dict[str, NDArray[np.int64]],
    full: FullResults,
    groups: list[NDArray[np.int64]],
    violations: int,
    traced: NDArray[np.int64],
) -> Settled:
    counts_stays = bool(job.fields[FIELD_STAY] >= 0)
    stays = full.paid[-1] if counts_stays else np.empty(0, dtype=np.int64)
    counted, number = stays != NO_STAY, stays & NUMBER_NONE
    return Settled(
        job.book,
        job.columns,
        job.history_rows,
        status=outputs.status,
        flags=outputs.flags,
        mode=outputs.mode,
        policy=outputs.policy,
        paid_fen=paid,
        full=FullRows(
            full.rows,
            full.personal_fen,
            {LAYERS[layer]: full.paid[line] for line, layer in enumerate(job.lines)},
            full.group,
        ),
        plain_groups=groups,
        full_groups=full.groups,
        deductible_fen=np.where(counted, stays >> SHIFT_BORNE, NULL_FEN),
        stay_number=np.where(counted & (number != NUMBER_NONE), number, -1),
        counters=full.counters,
        violations=full.violations + violations,
        trace=traced,
        memory=job.memory,
    )


def _plain_and_full(job: Job, outputs: Outputs, every_group: bool, run: Run) -> Settled:
    rows, columns, reaccount = job.rows, job.columns, bool(job.options[OPTION_REACCOUNT])
    edges = [rows * part // job.threads for part in range(job.threads + 1)]
    parts = range(job.threads)
    ranges = _ranges(job, edges, run)
    layout = lay_out(
        ranges,
        rows,
        job.book.programs,
        job.book.program_fees,
        len(columns.amounts("basic_paid")) > 0,
        _shared_key(job, ranges),
    )
    computed, lines = _lines(job.book)
    result_words = max(1, (len(computed) + 1) // 2)
    layout = layout._replace(width=max(layout.width, result_words))  # results take the place of records
    bits = min(SHARD_BITS_MAX, max(0, (rows * layout.width * 8 // SHARD_BYTES).bit_length()))
    mixed = job.memory((rows + 1) // 2).view(np.int32)[:rows]
    counts = np.zeros((job.threads, 1 << bits), dtype=np.int64)
    run(lambda part: mix_people(columns.person, edges[part], edges[part + 1], bits, mixed, counts[part]), parts)
    sizes = counts.sum(axis=0)
    start = np.concatenate(([0], np.cumsum(sizes)))
    first = start[:-1] + np.cumsum(counts, axis=0) - counts  # of each part of the rows in each shard
    cursors = first.copy()
    work = job.memory(rows * layout.width)
    run(
        lambda part: pack_plain(
            job.book.words,
            layout,
            job.settings,
            job.history_rows,
            columns,
            edges[part],
            edges[part + 1],
            YEARS,
            mixed,
            bits,
            cursors[part],
            work,
            outputs.flags,
            outputs.policy,
            block(PLAIN_LINES, BLOCK_ROWS),
        ),
        parts,
    )
    groups, listed, violations = _settle_shards(job, layout, lines, result_words, work, start, sizes, every_group, run)
    paid = job.memory(len(computed) * len(outputs.status)).reshape(len(computed), -1)
    cursors = start[:-1] * layout.width + (first - start[:-1]) * result_words
    run(
        lambda part: collect_plain(
            columns,
            computed,
            reaccount,
            edges[part],
            edges[part + 1],
            job.history_rows,
            mixed,
            bits,
            cursors[part],
            work,
            result_words,
            outputs.flags,
            outputs.mode,
            paid,
            block(COLLECT_LINES, COLLECT_ROWS),
        ),
        parts,
    )
    full = settle_listed(job, _pieces(listed), outputs, run)
    by_layer = {LAYERS[layer]: paid[line] for line, layer in enumerate(computed)}
    for line, layer in enumerate(job.lines):
        if LAYERS[layer] in by_layer:
            by_layer[LAYERS[layer]][full.rows] = full.paid[line]
    return _settled(job, outputs, by_layer, full, groups, violations, np.empty(0, dtype=np.int64))


def _ranges(job: Job, edges: list[int], run: Run) -> NDArray[np.int64]:
    """Return the ranges of the fields of short records."""
    found = np.stack([no_ranges() for _ in range(job.threads)])
    run(lambda part: find_ranges(job.columns, edges[part], edges[part + 1], found[part]), range(job.threads))
    ranges: NDArray[np.int64] = found.max(axis=0)
    ranges[0::2] = found[:, 0::2].min(axis=0)
    return ranges


def _shared_key(job: Job, ranges: NDArray[np.int64]) -> int | None:
    """Return the benefit year and city of all rows, None where they have several."""
    policies = [HEAD_WIDTH + index * POLICY_WIDTH for index in range(len(job.book.policies))]
    days = ranges[RANGE_DAY : RANGE_DAY + 2]
    if any(job.book.words[policy + POLICY_YEAR_BY_SETTLED] for policy in policies):
        return None
    if not 0 <= days[0] <= days[1] < len(YEARS) or YEARS[days[0]] != YEARS[days[1]]:
        return None
    city = 0
    if len(job.columns.region):
        least, most = ranges[RANGE_REGION : RANGE_REGION + 2] // 100
        if least != most:
            return None
        city = int(least)
    return int(YEARS[days[0]]) * 10_000 + city


def _lines(book: CompiledBook) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the layers that some program computes, and for each layer its line among them (-1: none)."""
    mask = 0
    for program in range(book.programs):
        mask |= int(book.words[book.words[book.words[HEAD_PROGRAMS] + program] + PROGRAM_COMPUTED_MASK])
    computed = np.array([layer for layer in range(len(LAYERS)) if mask >> layer & 1], dtype=np.int64)
    lines = np.full(len(LAYERS), -1, dtype=np.int64)
    lines[computed] = np.arange(len(computed))
    return computed, lines


def _settle_shards(
    job: Job,
    layout: Layout,
    lines: NDArray[np.int64],
    result_words: int,
    work: NDArray[np.int64],
    start: NDArray[np.int64],
    sizes: NDArray[np.int64],
    every_group: bool,
    run: Run,
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]], int]:
    """Return the groups of short records, the rows left to full ones, and the violations. Results take the place of records."""
    shards, most = len(sizes), int(sizes.max(initial=0))
    step = max(1, shards // (16 * job.threads))
    pieces = range((shards + step - 1) // step)
    # Room for a group and a list entry a row; only what is used ever becomes memory.
    groups = np.empty(job.rows * job.group_width, dtype=np.int64)
    listed = np.empty(job.rows, dtype=np.int64)
    found = np.zeros((len(pieces), FOUNDS), dtype=np.int64)
    mask = (1 << min(BUCKET_BITS, most.bit_length())) - 1
    keep = every_group or not job.options[OPTION_REACCOUNT]
    least_fen = _least_fen(job.book)
    rooms = threading.local()

    def settle(piece: int) -> None:
        lo, hi = piece * step, min((piece + 1) * step, shards)
        if not hasattr(rooms, "slots"):
            rooms.buckets, rooms.slots = np.empty(mask + 2, dtype=np.int32), np.empty(most, dtype=np.int32)
            rooms.chunk, rooms.results = block(CHUNK_LINES, CHUNK_WIDTH), line_aligned(most * result_words)
        begin, end = int(start[lo]), int(start[hi])
        room = Room(
            rooms.buckets,
            rooms.slots,
            rooms.chunk,
            rooms.results,
            groups[begin * job.group_width : end * job.group_width],
            listed[begin:end],
            found[piece],
        )
        settle_units(
            job.book.words,
            layout,
            bool(job.options[OPTION_REACCOUNT]),
            keep,
            least_fen,
            lines,
            result_words,
            work,
            start,
            lo,
            hi,
            mask,
            job.texts,
            room,
        )
        left = listed[begin : begin + int(found[piece, FOUND_LISTED])]
        if found[piece, FOUND_UNSORTED]:
            left[:] = left[np.argsort(job.columns.person[left], kind="stable")]
        if job.report is not None:
            job.report(end - begin - len(left))

    run(settle, pieces)
    begin = start[[piece * step for piece in pieces]]
    return (
        [
            groups[at * job.group_width : (at + count) * job.group_width].reshape(-1, job.group_width)
            for at, count in zip(begin, found[:, FOUND_GROUPS], strict=True)
        ],
        [listed[at : at + count] for at, count in zip(begin, found[:, FOUND_LISTED], strict=True)],
        int(found[:, FOUND_VIOLATIONS].sum()),
    )


def _least_fen(book: CompiledBook) -> int:
    """Return the yearly base up to which no program pays anything."""
    words = book.words
    return min(
        int(words[words[words[HEAD_PROGRAMS] + program] + PROGRAM_FIRST_FEN]) for program in range(book.programs)
    )


def _pieces(listed: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Return the lists joined to pieces of work."""
    pieces: list[NDArray[np.int64]] = []
    waiting: list[NDArray[np.int64]] = []
    for part in listed:
        waiting.append(part)
        if sum(map(len, waiting)) >= LISTED_ROWS:
            pieces.append(np.concatenate(waiting))
            waiting = []
    if sum(map(len, waiting)):
        pieces.append(np.concatenate(waiting))
    return pieces
