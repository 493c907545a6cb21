"""Rows to shards of people, shards to results, results back to rows; the threads.

Three streaming passes around the settlement: count and scatter (rows in their own order, each to
its person's shard), settle each shard where it lies, and walk the rows once more taking each result from
its shard's next place. Row order comes back without a single write out of order.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yibao_core._jit import Words, kernel
from yibao_core.accumulators import GROUP_BALANCES
from yibao_core.batch import settle_people
from yibao_core.calendar import years_of_days
from yibao_core.claim import COUNT_NEEDS, OPTION_HISTORY_ROWS, OPTION_REACCOUNT, OPTION_TRACE_ROW, SCRATCH
from yibao_core.collect import BLOCK_LINES as COLLECT_LINES
from yibao_core.collect import BLOCK_ROWS as COLLECT_ROWS
from yibao_core.collect import RESULT_PAID, collect_rows, shrink_records
from yibao_core.errors import SettlementError
from yibao_core.intake import BLOCK_LINES, BLOCK_ROWS, Columns, count_shards, pack_rows
from yibao_core.layers import TRACE_FIRST_TIER, TRACE_TIER_WIDTH
from yibao_core.money import NULL_FEN
from yibao_core.order import Texts, join_people, sort_people
from yibao_core.plan import HEAD_WIDTH, POLICY_HALF_FEN_BP, POLICY_WIDTH, CompiledBook
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
    NUMBER_NONE,
    OPENING,
    PERSON,
    ROW,
    SHIFT_BORNE,
    SHIFT_KIND,
    SHIFT_NULLS,
    TIME,
    UNREADABLE_TIME,
)
from yibao_core.reversals import PAIRWISE_MAX, mark_duplicates, mark_long_duplicates, take_out_pairs
from yibao_core.traces import fill_trace

# 5 million rows of 11 words, seconds to settle the packed shards: 0.43 with 0.5 MB, 0.57 with 1 MB, 0.60 with 2 MB,
# 0.92 with 4 MB in one session, 0.50 against 0.54 (0.5 and 2 MB) in another.
SHARD_BYTES = 500_000
SHARD_BITS_MAX = 12
ROWS_PER_THREAD = 20_000  # fewer are settled before a thread has started
THREADS_VARIABLE = "YIBAO_THREADS"
_YEARS = years_of_days()


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


class Settled(NamedTuple):
    """Results by row, in the order in which the rows came, and the groups behind them."""

    status: NDArray[np.int8]
    flags: NDArray[np.int16]
    mode: NDArray[np.int8]
    policy: NDArray[np.int8]
    group: NDArray[np.int32]  # -1: none
    personal_fen: NDArray[np.int64]
    paid_fen: dict[str, NDArray[np.int64]]  # the layers that are computed or recorded anywhere
    deductible_fen: NDArray[np.int64]  # borne by the stay; NULL_FEN: it was not counted. Empty where none are counted
    stay_number: NDArray[np.int64]  # in the year; 0: it went on with an episode, -1: none
    groups: NDArray[np.int64]  # (groups, GROUP_BALANCES + 2 x accounts)
    counters: NDArray[np.int64]
    violations: int
    trace: NDArray[np.int64]


def threads_to_use(threads: int | None) -> int:
    """Return how many threads to start: as asked, else by YIBAO_THREADS, else the cores this process may use."""
    if threads is None:
        given = os.environ.get(THREADS_VARIABLE, "0")
        if not given.isdecimal():
            raise SettlementError(f"{THREADS_VARIABLE}: expected a number of threads, got {given!r}")
        threads = int(given) or len(os.sched_getaffinity(0))
    return max(1, threads)


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
) -> Settled:
    """Settle or replay all rows; the rows of the history come first and have no results.

    `settings` are the intake's, `options` the run's. `report` is told the number of rows of each shard
    that is done, from the threads. All input arrays are read-only.
    """
    rows, entries = len(columns.person), len(openings.person)
    width = int(fields[FIELD_WIDTH])
    records = rows + entries
    threads = max(1, min(threads, records // ROWS_PER_THREAD))
    bits = min(SHARD_BITS_MAX, max(0, (records * width * 8 // SHARD_BYTES).bit_length()))
    edges = [rows * part // threads for part in range(threads + 1)]
    group_width = GROUP_BALANCES + 2 * len(book.accounts)

    shard = np.empty(rows, dtype=np.uint16)
    entry_shard = np.empty(entries, dtype=np.uint16)
    counts = np.zeros((threads + 1, 1 << bits), dtype=np.int64)
    work = np.empty(records * width, dtype=np.int64)
    with _workers(threads) as run:
        run(
            lambda part: count_shards(columns.person, edges[part], edges[part + 1], bits, shard, counts[part]),
            range(threads),
        )
        count_shards(openings.person, 0, entries, bits, entry_shard, counts[threads])
        sizes = counts.sum(axis=0)
        start = np.concatenate(([0], np.cumsum(sizes)))
        first = start[:-1] + np.cumsum(counts, axis=0) - counts  # of each part of the rows in each shard
        cursors = first.copy()
        run(
            lambda part: pack_rows(
                book.words,
                fields,
                settings,
                columns,
                edges[part],
                edges[part + 1],
                _YEARS,
                shard,
                cursors[part],
                width,
                work,
                np.zeros((BLOCK_LINES, BLOCK_ROWS), dtype=np.int64),
            ),
            range(threads),
        )
        pack_openings(fields, openings, rows, entry_shard, cursors[threads], width, work)

        counters = np.zeros((1 << bits, COUNT_NEEDS + len(book.needs)), dtype=np.int64)
        group_counts = np.zeros((1 << bits) + 1, dtype=np.int64)
        stride = TRACE_FIRST_TIER + TRACE_TIER_WIDTH * book.tiers_max
        traced = np.full(len(LAYERS) * stride if trace else 0, -1, dtype=np.int64)

        most = int(sizes.max(initial=0))
        rooms = threading.local()
        kept: list[NDArray[np.int64]] = [counters] * (1 << bits)
        lines = [layer for layer in range(len(LAYERS)) if fields[FIELD_LAYER + layer] >= 0]
        counts_stays = bool(fields[FIELD_STAY] >= 0)
        layer_words = np.array([fields[FIELD_LAYER + layer] for layer in lines], dtype=np.int64)
        violations = np.zeros(1 << bits, dtype=np.int64)

        def settle(index: int) -> None:
            begin, end = int(start[index]), int(start[index + 1])
            if not hasattr(rooms, "room"):
                rooms.room = Room(most, group_width * (2 if counts_stays else 1))
            room: Room = rooms.room
            found = settle_shard(
                book.words,
                fields,
                options,
                work[begin * width : end * width],
                end - begin,
                texts,
                begin,
                room,
                counters[index],
                traced,
            )
            group_counts[index + 1] = found
            kept[index] = room.groups[: found * group_width].copy()
            violations[index] = shrink_records(
                int(fields[FIELD_TOTAL]),
                layer_words,
                int(fields[FIELD_STAY]),
                int(options[OPTION_HISTORY_ROWS]),
                width,
                end - begin,
                work[begin * width : end * width],
            )
            if report is not None:
                report(end - begin)

        run(settle, range(1 << bits))
        group_start = np.cumsum(group_counts)
        settled = _empty_results(rows - int(options[OPTION_HISTORY_ROWS]))
        paid = np.empty((len(lines) + counts_stays, len(settled.status)), dtype=np.int64)
        result_width = RESULT_PAID + len(paid)
        cursors = start[:-1] * width + (first - start[:-1]) * result_width
        run(
            lambda part: collect_rows(
                edges[part],
                edges[part + 1],
                int(options[OPTION_HISTORY_ROWS]),
                shard,
                cursors[part],
                group_start,
                work,
                settled.status,
                settled.flags,
                settled.mode,
                settled.policy,
                settled.group,
                settled.personal_fen,
                paid,
                np.zeros((COLLECT_LINES, COLLECT_ROWS), dtype=np.int64),
            ),
            range(threads),
        )
    if trace:
        policy = int(settled.policy[int(options[OPTION_TRACE_ROW]) - int(options[OPTION_HISTORY_ROWS])])
        if policy < len(book.policies):
            half_fen_bp = int(book.words[HEAD_WIDTH + policy * POLICY_WIDTH + POLICY_HALF_FEN_BP])
            fill_trace(book.words, half_fen_bp, stride, traced)
    stays = paid[len(lines)] if counts_stays else np.empty(0, dtype=np.int64)
    counted, number = stays != NO_STAY, stays & NUMBER_NONE
    return settled._replace(
        deductible_fen=np.where(counted, stays >> SHIFT_BORNE, NULL_FEN),
        stay_number=np.where(counted & (number != NUMBER_NONE), number, -1),
        paid_fen={LAYERS[layer]: paid[line] for line, layer in enumerate(lines)},
        groups=np.concatenate(kept).reshape(-1, group_width),
        counters=counters.sum(axis=0),
        violations=int(violations.sum()),
        trace=traced,
    )


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


def settle_shard(
    book: NDArray[np.int64],
    fields: NDArray[np.int64],
    options: NDArray[np.int64],
    work: NDArray[np.int64],
    records: int,
    texts: Texts,
    person_base: int,
    room: Room,
    counters: NDArray[np.int64],
    trace: NDArray[np.int64],
) -> int:
    """Settle all records of a shard in place; return the number of groups written to `room.groups`."""
    width, history_rows = int(fields[FIELD_WIDTH]), int(options[OPTION_HISTORY_ROWS])
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


def _empty_results(rows: int) -> Settled:
    return Settled(
        status=np.empty(rows, dtype=np.int8),
        flags=np.empty(rows, dtype=np.int16),
        mode=np.empty(rows, dtype=np.int8),
        policy=np.empty(rows, dtype=np.int8),
        group=np.empty(rows, dtype=np.int32),
        personal_fen=np.empty(rows, dtype=np.int64),
        paid_fen={},
        deductible_fen=np.empty(0, dtype=np.int64),
        stay_number=np.empty(0, dtype=np.int64),
        groups=np.empty((0, GROUP_BALANCES), dtype=np.int64),
        counters=np.empty(0, dtype=np.int64),
        violations=0,
        trace=np.empty(0, dtype=np.int64),
    )


class _workers:
    """Runs a function over parts: on this thread where one is enough, else on a pool of its own."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Callable[[Callable[[int], Any], Sequence[int]], list[Any]]:
        return self._run

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _run(self, work: Callable[[int], Any], parts: Sequence[int]) -> list[Any]:
        if self._pool is None:
            return [work(part) for part in parts]
        return list(self._pool.map(work, parts))
