"""One layer on people's running totals, rows in any order: which way they go, threads, and what is refused."""

import threading

import numpy as np
from numpy.typing import NDArray

from yibao_core.errors import LedgerError
from yibao_core.money import ROW_MAX_FEN, YEAR_MAX_FEN
from yibao_core.plain import widen
from yibao_core.plan import CompiledBook
from yibao_core.room import Memory, block
from yibao_core.running import BLOCK_LINES, BLOCK_WIDTH, WALK_DONE, WALK_TOTAL, WALK_UNSORTED, Rows, pay_sorted
from yibao_core.running_records import WRITE_LINES, Records, count_people, lay_out, write_records
from yibao_core.running_shards import ROOM_LINES, ROOM_SPARE, pay_shards
from yibao_core.schedule import BLOCK_ROWS, Found, first_paid_fen
from yibao_core.threads import Run, Workers

ROWS_PER_THREAD = 50_000  # fewer are paid before a thread has started
PIECES = 16  # of the shards, for each thread


def pay_rows(book: CompiledBook, found: Found, rows: Rows, threads: int, memory: Memory) -> NDArray[np.int64]:
    """Return what each row is paid, R(F(total after it)) - R(F(total before it)), in the order of the rows.

    The total is that of the row's person, rows taken in the order of time, rows of one time as they come. Where they lie so
    already, person by person, one walk does it. LedgerError: a base beyond ROW_MAX_FEN, a total beyond YEAR_MAX_FEN.
    """
    count = len(rows.person)
    paid = memory(count) if count else np.empty(0, dtype=np.int64)
    threads = max(1, min(threads, count // ROWS_PER_THREAD))
    with Workers(threads) as run:
        edges = _edges_of_people(rows.person, threads)
        ends = {WALK_UNSORTED}
        if edges is not None:
            ends = set(
                run(lambda part: _walk(book, found, rows, edges[part], edges[part + 1], paid), range(len(edges) - 1))
            )
        if WALK_UNSORTED in ends:
            ends = _pay_shuffled(book, found, rows, threads, memory, paid, run)
    if ends != {WALK_DONE}:
        _refuse(rows)
    return paid


def _edges_of_people(person: NDArray[np.int64], parts: int) -> list[int] | None:
    """Return where parts of the rows begin, each with a new person; None where the rows are not person by person."""
    edges = [0]
    for part in range(1, parts):
        middle = len(person) * part // parts
        edge = int(np.searchsorted(person, person[middle], "right"))
        if edge < len(person) and (edge == 0 or person[edge - 1] >= person[edge]):
            return None
        if edges[-1] < edge < len(person):
            edges.append(edge)
    return [*edges, len(person)]


def _walk(book: CompiledBook, found: Found, rows: Rows, lo: int, hi: int, paid: NDArray[np.int64]) -> int:
    room = block(BLOCK_LINES, BLOCK_WIDTH)
    return pay_sorted(book.words, found.rule, found.half_fen_bp, rows, lo, hi, paid, room)


def _pay_shuffled(
    book: CompiledBook,
    found: Found,
    rows: Rows,
    threads: int,
    memory: Memory,
    paid: NDArray[np.int64],
    run: Run,
) -> set[int]:
    """Write what rows in any order are paid; return how it ended (WALK_)."""
    count, parts = len(rows.person), range(threads)
    edges = [count * part // threads for part in range(threads + 1)]
    ranges = [_range_of(column, edges, run) for column in rows]
    if max(-ranges[-1][0], ranges[-1][1]) > ROW_MAX_FEN:
        return {WALK_TOTAL}
    records = lay_out(ranges, count, len(rows.time) > 0)
    counts = np.zeros((1 << records.shard_bits, threads), dtype=np.int64)

    def count_part(part: int) -> None:
        own = np.zeros(len(counts), dtype=np.int64)
        count_people(rows.person, edges[part], edges[part + 1], records, own, np.zeros(BLOCK_ROWS, dtype=np.int64))
        counts[:, part] = own
        paid[edges[part] : edges[part + 1]] = 0

    run(count_part, parts)
    ends = counts.cumsum().reshape(counts.shape)
    segments = np.stack([ends - counts, ends], axis=2)
    work = memory(count * records.width)

    def write_part(part: int) -> None:
        cursors = segments[:, part, 0].copy()
        write_records(rows, edges[part], edges[part + 1], records, cursors, work, block(WRITE_LINES, BLOCK_ROWS))

    run(write_part, parts)
    beyond = _pay_shards(book, found, records, segments, work, paid, threads, run)
    return {WALK_TOTAL if beyond else WALK_DONE}


def _pay_shards(
    book: CompiledBook,
    found: Found,
    records: Records,
    segments: NDArray[np.int64],
    work: NDArray[np.int64],
    paid: NDArray[np.int64],
    threads: int,
    run: Run,
) -> bool:
    most = int((segments[:, -1, 1] - segments[:, 0, 0]).max())
    step = max(1, len(segments) // (PIECES * threads))
    least_fen = first_paid_fen(book, found.rule)
    rooms = threading.local()

    def settle(piece: int) -> bool:
        if not hasattr(rooms, "room"):
            rooms.room = np.empty((ROOM_LINES, max(most, BLOCK_ROWS) + ROOM_SPARE), dtype=np.int64)
            rooms.sums = np.empty((1 << records.bucket_bits) + 2, dtype=np.int64)
            rooms.block = block(BLOCK_LINES, BLOCK_WIDTH)
        return pay_shards(
            book.words,
            found.rule,
            found.half_fen_bp,
            records,
            least_fen,
            segments[piece * step : (piece + 1) * step],
            work,
            rooms.sums,
            rooms.room,
            rooms.block,
            paid,
        )

    return any(run(settle, range((len(segments) + step - 1) // step)))


def _range_of(column: NDArray[np.int64], edges: list[int], run: Run) -> tuple[int, int]:
    """Return the least and the most of a column, (0, 0) for none."""
    if not len(column):
        return 0, 0
    parts = range(len(edges) - 1)
    first = int(column[0])
    found = run(lambda part: widen(column[edges[part] : edges[part + 1]], first, first), parts)
    return int(min(least for least, _ in found)), int(max(most for _, most in found))


def _refuse(rows: Rows) -> None:
    """Raise LedgerError for the first row that cannot be paid. Slow: everything is looked at once more."""
    outside = np.flatnonzero((rows.base_fen > ROW_MAX_FEN) | (rows.base_fen < -ROW_MAX_FEN))
    if len(outside):
        raise LedgerError(out_of_range("base_fen", rows.base_fen, outside, ROW_MAX_FEN))
    order = np.lexsort((rows.time, rows.person)) if len(rows.time) else np.argsort(rows.person, kind="stable")
    person, bases = rows.person[order], rows.base_fen[order]
    sums = bases.cumsum()  # fits 64 bits: the rows that a run can hold, each at most ROW_MAX_FEN
    first = np.maximum.accumulate(np.where(np.append(True, person[1:] != person[:-1]), np.arange(len(person)), 0))
    totals = np.empty_like(sums)
    totals[order] = sums - (sums[first] - bases[first])
    outside = np.flatnonzero((totals > YEAR_MAX_FEN) | (totals < -YEAR_MAX_FEN))
    raise LedgerError(out_of_range("base_fen, a person's running total", totals, outside, YEAR_MAX_FEN))


def out_of_range(name: str, amounts: NDArray[np.int64], rows: NDArray[np.int64], limit_fen: int) -> str:
    """Return the message for amounts beyond a limit, by their rows."""
    more = f"; {len(rows) - 1} more rows like it" if len(rows) > 1 else ""
    return (
        f"{name}: row {rows[0]} of {len(amounts)}: expected -{limit_fen} to {limit_fen} fen, "
        f"got {amounts[rows[0]]}{more}"
    )  # fmt: skip
