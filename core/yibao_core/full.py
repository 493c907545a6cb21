"""Full records: the way of all rows that short ones cannot settle.

Either all rows of a ledger are streamed to shards of people, settled where they lie, and walked once more in their own order
(a policy whose stays count, a few rows, balances to start from), or the rows of the people who need it are packed person by
person from a list (the others went through `units`).
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, kernel
from yibao_core.accumulators import GROUP_BALANCES
from yibao_core.batch import settle_people
from yibao_core.claim import COUNT_NEEDS, OPTION_HISTORY_ROWS, OPTION_REACCOUNT, SCRATCH
from yibao_core.collect import BLOCK_LINES as COLLECT_LINES
from yibao_core.collect import BLOCK_ROWS as COLLECT_ROWS
from yibao_core.collect import RESULT_PAID, collect_listed, collect_rows, shrink_records
from yibao_core.intake import BLOCK_LINES, BLOCK_ROWS, Columns, count_shards, pack_rows
from yibao_core.keys import YEARS
from yibao_core.order import Texts, join_people, sort_people
from yibao_core.plan import CompiledBook
from yibao_core.policy import LAYERS
from yibao_core.records import (
    FIELD_ELIGIBLE,
    FIELD_EPISODE,
    FIELD_LAYER,
    FIELD_REVERSES,
    FIELD_STAY,
    FIELD_TOTAL,
    FIELD_WIDTH,
    GROUP,
    HEAD,
    ID,
    NO_EPISODE,
    NO_STAY,
    OPENING,
    PERSON,
    ROW,
    SHIFT_KIND,
    SHIFT_NULLS,
    TIME,
    UNREADABLE_TIME,
)
from yibao_core.reversals import PAIRWISE_MAX, mark_duplicates, mark_long_duplicates, take_out_pairs
from yibao_core.room import Memory, block
from yibao_core.threads import Run

# 5 million rows of 11 words, seconds to settle the packed shards: 0.43 with 0.5 MB, 0.57 with 1 MB, 0.60 with 2 MB,
# 0.92 with 4 MB in one session, 0.50 against 0.54 (0.5 and 2 MB) in another.
SHARD_BYTES = 500_000
SHARD_BITS_MAX = 12


class Openings(NamedTuple):
    """Balances to start from, one entry for each person, year, city and account, or episode and city.

    Of the account that counts stays they are the deductible borne and the number of stays (of an episode: its number).
    """

    person: NDArray[np.int64]
    key: NDArray[np.int64]  # benefit year x 10,000 + city
    account: NDArray[np.int64]
    base_fen: NDArray[np.int64]
    paid_fen: NDArray[np.int64]
    episode: NDArray[np.int64]  # NO_EPISODE for a year's own; empty: no entry is of an episode


class Job(NamedTuple):
    """What all kernels of a run are told."""

    book: CompiledBook
    fields: NDArray[np.int64]
    settings: NDArray[np.int64]
    options: NDArray[np.int64]
    columns: Columns
    texts: Texts
    threads: int
    report: Callable[[int], None] | None
    memory: Memory

    @property
    def rows(self) -> int:
        return len(self.columns.person)

    @property
    def history_rows(self) -> int:
        return int(self.options[OPTION_HISTORY_ROWS])

    @property
    def group_width(self) -> int:
        return GROUP_BALANCES + 2 * len(self.book.accounts)

    @property
    def lines(self) -> list[int]:
        """The layers that full records hold, in the order of their results."""
        return [layer for layer in range(len(LAYERS)) if self.fields[FIELD_LAYER + layer] >= 0]


class Outputs(NamedTuple):
    """Results by row, one cell for each row behind the history."""

    status: NDArray[np.int8]
    flags: NDArray[np.int16]
    mode: NDArray[np.int8]
    policy: NDArray[np.int8]


class FullResults(NamedTuple):
    """What full records have come to, besides `Outputs`."""

    rows: NDArray[np.int64] | None
    personal_fen: NDArray[np.int64]
    paid: NDArray[np.int64]  # (lines, and one for stays where they are counted; rows)
    group: NDArray[np.int32]
    groups: list[NDArray[np.int64]]
    counters: NDArray[np.int64]
    violations: int


def no_openings() -> Openings:
    """Return no balances."""
    none = np.empty(0, dtype=np.int64)
    none.flags.writeable = False
    return Openings(none, none, none, none, none, none)


@kernel
def pack_openings(
    fields: Words, openings: Openings, first_row: int, shard: Words, cursors: Words, width: int, work: Words
) -> None:
    """Write opening balances as records that come before all rows of their person."""
    for entry in range(openings.person.size):
        record = cursors[shard[entry]] * width
        cursors[shard[entry]] += 1
        for word in range(width):
            work[record + word] = 0
        work[record + PERSON] = openings.person[entry]
        work[record + TIME] = UNREADABLE_TIME
        work[record + ID] = 0
        work[record + ROW] = first_row + entry
        work[record + GROUP] = openings.key[entry]
        work[record + HEAD] = OPENING << SHIFT_KIND | openings.account[entry] << SHIFT_NULLS
        work[record + fields[FIELD_TOTAL]] = openings.base_fen[entry]
        work[record + fields[FIELD_ELIGIBLE]] = openings.paid_fen[entry]
        if fields[FIELD_REVERSES] >= 0:
            work[record + fields[FIELD_REVERSES]] = UNREADABLE_TIME
        if fields[FIELD_EPISODE] >= 0:
            work[record + fields[FIELD_STAY]] = NO_STAY
            work[record + fields[FIELD_EPISODE]] = openings.episode[entry] if openings.episode.size > 0 else NO_EPISODE


class Room:
    """What a thread needs to settle a shard, made once for the largest one."""

    def __init__(self, records: int, group_width: int) -> None:
        self.table = np.empty(1 << (2 * records).bit_length(), dtype=np.int32)
        self.person_of = np.empty(records, dtype=np.int32)
        self.person_start = np.empty(records + 1, dtype=np.int64)
        self.next_of = np.empty(records, dtype=np.int64)
        self.order = np.empty(records, dtype=np.int64)
        self.by_id = np.empty(records, dtype=np.int64)
        self.times = np.empty(records, dtype=np.int64)
        self.spare = np.empty(records, dtype=np.int64)
        self.groups = np.empty(records * group_width, dtype=np.int64)
        self.scratch = np.zeros(SCRATCH, dtype=np.int64)


class _Desk:
    """Settles shards of full records for a job; each thread has a room of its own."""

    def __init__(self, job: Job, most: int, shards: int, traced: NDArray[np.int64]) -> None:
        self.job, self.traced = job, traced
        self.counters = np.zeros((shards, COUNT_NEEDS + len(job.book.needs)), dtype=np.int64)
        self.violations = np.zeros(shards, dtype=np.int64)
        self.groups: list[NDArray[np.int64]] = [self.counters] * shards
        self.layer_words = np.array([job.fields[FIELD_LAYER + layer] for layer in job.lines], dtype=np.int64)
        self._most = most
        self._rooms = threading.local()

    def settle(self, index: int, work: NDArray[np.int64], records: int, person_base: int) -> None:
        """Settle the records of a shard and shrink them to results at the shard's front; keep its groups and counts."""
        job, width = self.job, int(self.job.fields[FIELD_WIDTH])
        if not hasattr(self._rooms, "room"):
            # A stay may open an episode beside its year.
            self._rooms.room = Room(self._most, job.group_width * (2 if job.fields[FIELD_STAY] >= 0 else 1))
        room: Room = self._rooms.room
        found = settle_shard(job, work, records, person_base, room, self.counters[index], self.traced)
        self.groups[index] = room.groups[: found * job.group_width].copy().reshape(-1, job.group_width)
        self.violations[index] = shrink_records(
            int(job.fields[FIELD_TOTAL]),
            self.layer_words,
            int(job.fields[FIELD_STAY]),
            job.history_rows,
            width,
            records,
            work,
        )
        if job.report is not None:
            job.report(records)

    @property
    def group_start(self) -> NDArray[np.int64]:
        """The first group of each shard among all of them."""
        return np.concatenate(([0], np.cumsum([len(part) for part in self.groups]))).astype(np.int64)


def settle_shard(
    job: Job,
    work: NDArray[np.int64],
    records: int,
    person_base: int,
    room: Room,
    counters: NDArray[np.int64],
    trace: NDArray[np.int64],
) -> int:
    """Settle all records of a shard in place; return the number of groups written to `room.groups`."""
    book, fields, options, texts = job.book.words, job.fields, job.options, job.texts
    width, history_rows = int(fields[FIELD_WIDTH]), job.history_rows
    table = room.table[: 1 << (2 * records).bit_length()]
    people, longest = join_people(work, records, width, table, room.person_of, room.person_start, room.next_of)
    sort_people(
        work,
        records,
        width,
        room.person_of,
        room.person_start,
        room.next_of,
        people,
        texts,
        room.order,
        room.times,
        room.by_id,
        room.spare,
    )
    mark_duplicates(work, room.order, room.person_start, people, room.by_id, history_rows, texts)
    if longest > PAIRWISE_MAX:
        mark_long_duplicates(work, room.order, room.person_start, people, room.by_id, room.spare, history_rows, texts)
    if options[OPTION_REACCOUNT] and fields[FIELD_REVERSES] >= 0:
        take_out_pairs(book, work, fields, room.order, room.person_start, people, room.by_id, history_rows, texts)
    return settle_people(
        book,
        fields,
        options,
        work,
        room.order,
        room.person_start,
        people,
        room.by_id,
        room.spare,
        texts,
        person_base,
        room.groups,
        room.scratch,
        counters,
        trace,
    )


def settle_all(job: Job, openings: Openings, outputs: Outputs, traced: NDArray[np.int64], run: Run) -> FullResults:
    """Settle every row through full records, in shards of people."""
    rows, entries, width = job.rows, len(openings.person), int(job.fields[FIELD_WIDTH])
    records = rows + entries
    bits = min(SHARD_BITS_MAX, max(0, (records * width * 8 // SHARD_BYTES).bit_length()))
    edges = [rows * part // job.threads for part in range(job.threads + 1)]
    parts = range(job.threads)
    shard = np.empty(rows, dtype=np.uint16)
    entry_shard = np.empty(entries, dtype=np.uint16)
    counts = np.zeros((job.threads + 1, 1 << bits), dtype=np.int64)
    work = job.memory(records * width)
    run(lambda part: count_shards(job.columns.person, edges[part], edges[part + 1], bits, shard, counts[part]), parts)
    count_shards(openings.person, 0, entries, bits, entry_shard, counts[job.threads])
    sizes = counts.sum(axis=0)
    start = np.concatenate(([0], np.cumsum(sizes)))
    first = start[:-1] + np.cumsum(counts, axis=0) - counts  # of each part of the rows in each shard
    cursors = first.copy()
    nothing = np.empty(0, dtype=np.int64)
    run(
        lambda part: pack_rows(
            job.book.words,
            job.fields,
            job.settings,
            job.columns,
            nothing,
            edges[part],
            edges[part + 1],
            YEARS,
            shard,
            cursors[part],
            width,
            work,
            block(BLOCK_LINES, BLOCK_ROWS),
        ),
        parts,
    )
    pack_openings(job.fields, openings, rows, entry_shard, cursors[job.threads], width, work)
    desk = _Desk(job, int(sizes.max(initial=0)), 1 << bits, traced)
    run(
        lambda index: desk.settle(
            index,
            work[int(start[index]) * width : int(start[index + 1]) * width],
            int(sizes[index]),
            int(start[index]),
        ),
        range(1 << bits),
    )
    behind = rows - job.history_rows
    results = len(job.lines) + bool(job.fields[FIELD_STAY] >= 0)
    paid = job.memory(results * behind).reshape(results, behind)
    personal, group = job.memory(behind), np.empty(behind, dtype=np.int32)
    cursors = start[:-1] * width + (first - start[:-1]) * (RESULT_PAID + len(paid))
    run(
        lambda part: collect_rows(
            edges[part],
            edges[part + 1],
            job.history_rows,
            shard,
            cursors[part],
            desk.group_start,
            work,
            outputs.status,
            outputs.flags,
            outputs.mode,
            outputs.policy,
            group,
            personal,
            paid,
            np.zeros((COLLECT_LINES, COLLECT_ROWS), dtype=np.int64),
        ),
        parts,
    )
    return FullResults(None, personal, paid, group, desk.groups, desk.counters.sum(axis=0), int(desk.violations.sum()))


def settle_listed(job: Job, listed: list[NDArray[np.int64]], outputs: Outputs, run: Run) -> FullResults:
    """Settle the listed rows (person by person, no person in two lists) through full records; the others are left alone."""
    width = int(job.fields[FIELD_WIDTH])
    sizes = [len(part) for part in listed]
    start = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    rows = np.concatenate([np.empty(0, dtype=np.int64), *listed])
    desk = _Desk(job, max(sizes, default=0), len(listed), np.empty(0, dtype=np.int64))
    paid = np.zeros((len(job.lines), len(rows)), dtype=np.int64)
    personal, group = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), -1, dtype=np.int32)
    no_shard, no_cursors = np.empty(0, dtype=np.uint16), np.empty(0, dtype=np.int64)
    works = threading.local()

    def settle(index: int) -> None:
        first, end = int(start[index]), int(start[index + 1])
        if not hasattr(works, "work"):
            works.work = np.empty(max(sizes) * width, dtype=np.int64)
        work = works.work[: (end - first) * width]
        pack_rows(
            job.book.words,
            job.fields,
            job.settings,
            job.columns,
            rows,
            first,
            end,
            YEARS,
            no_shard,
            no_cursors,
            width,
            work,
            block(BLOCK_LINES, BLOCK_ROWS),
        )
        # Persons of short records are numbered by their records; these come behind them.
        desk.settle(index, work, end - first, job.rows + first)
        collect_listed(
            rows[first:end],
            job.history_rows,
            work,
            outputs.status,
            outputs.flags,
            outputs.mode,
            outputs.policy,
            group[first:end],
            personal[first:end],
            first,
            paid,
        )

    run(settle, range(len(listed)))
    group_start = desk.group_start
    shift = np.repeat(group_start[:-1], sizes)
    group = np.where(group >= 0, group + shift, -1).astype(np.int32)
    own = rows >= job.history_rows
    return FullResults(
        rows[own] - job.history_rows,
        personal[own],
        paid[:, own],
        group[own],
        desk.groups,
        desk.counters.sum(axis=0),
        int(desk.violations.sum()),
    )
