"""A ledger's Arrow columns as the arrays that kernels read.

Nothing is computed here: cells become integers, and what cannot be read is marked for the kernels to
judge. What is wrong with the table as a whole (a missing column, a wrong type) is reported at once.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from yibao import memory
from yibao.dates import to_days, to_moments
from yibao.ids import Ids, as_integers, one_chunk, read_ids, same_kind, text_buffers, words
from yibao.ledger import MONEY, REQUIRED, Ledger
from yibao.money import to_fen
from yibao.stays import (
    deductible_faults,
    level_codes,
    no_episodes,
    number_episodes,
    places,
    settled_stays,
    stay_numbers,
)
from yibao.words import care_index, category_mask, look_up, truth
from yibao_core.calendar import NO_DAY
from yibao_core.compiler import in_order_of_precedence
from yibao_core.errors import LedgerError
from yibao_core.intake import MISSING_CELL, MISSING_DAY, MISSING_PERSON, NO_ORIGINAL, Columns
from yibao_core.order import Texts, no_texts
from yibao_core.parameters import counts_stays, goes_by_place
from yibao_core.plan import NO_POLICY_INDEX
from yibao_core.policy import Policy
from yibao_core.records import UNREADABLE_TIME
from yibao_core.texts import hashes_of
from yibao_core.threads import threads_to_use

ROWS_FOR_THREADS = 100_000
SEEN = ("insured_region", "treated_region", "hospital_level", "reverses", "birth_date")


class Prepared(NamedTuple):
    """Rows ready to be settled: those of the history first, then the ledger's."""

    columns: Columns
    texts: Texts
    history_rows: int
    person_ids: Ids  # of history, ledger and opening balances, end to end
    opening_persons: NDArray[np.int64]
    episode_ids: pa.ChunkedArray  # as the person ids; empty where stays are not counted
    opening_episodes: NDArray[np.int64]
    settlement_ids: pa.ChunkedArray  # of the ledger's own rows, normalised
    ids_changed: int
    present: frozenset[str]  # our columns that the ledger has
    in_history: frozenset[str]  # money columns that only the history has


def prepare(
    ledger: Ledger,
    history: Ledger | None,
    opening_person: pa.ChunkedArray | None,
    masks: "Callable[[NDArray[Any], pa.ChunkedArray, NDArray[Any]], NDArray[Any]] | None" = None,
    extra_required: Sequence[str] = (),
    threads: int | None = None,
    book: Sequence[Policy] = (),
    opening_episode: pa.ChunkedArray | None = None,
    reaccount: bool = False,
) -> Prepared:
    """Return the ledger's (and the history's) columns as kernel arrays.

    `masks` may replace the sets of categories: it gets them with the person ids and the service days. Raises
    LedgerError with every missing column and every column of a wrong type. Columns are read by `threads` at once.
    Levels, regions of treatment and episodes are read where a policy of the `book` goes by them.
    """
    parts = [part for part in (history, ledger) if part is not None]
    faults = [fault for part in parts for fault in part.missing(REQUIRED)] + ledger.missing(extra_required)
    if faults:
        raise LedgerError(faults)
    reader = _Reader(parts, faults)
    with _hands(len(ledger), threads) as start:
        ids = [start(reader.ids, name, name == "person_id") for name in ("person_id", "settlement_id", "reverses")]
        day = start(reader.read, "service_date", lambda c, n: to_days(c, n, 0), True)
        time = start(reader.read, "settled_at", to_moments, True)
        categories = start(reader.read, "category", lambda c, n: look_up(c, category_mask, -1, np.int16, n))
        cares = start(reader.read, "care_type", lambda c, n: look_up(c, care_index, -2, np.int8, n))
        amounts = [start(reader.read, name, to_fen) for name in MONEY]
        regions = start(reader.read, "insured_region", region_codes)
        births = start(reader.read, "birth_date", lambda c, n: to_days(c, n, NO_DAY)[0])
        supplements = start(reader.read, "has_commercial_supplement", flags)
    (person, _), (settlement, _), (reverses, _) = (future.result() for future in ids)
    ids_changed = sum(future.result()[1] for future in ids)
    (days, day_missing), (moments, time_missing) = day.result(), time.result()
    mask, care = categories.result(), cares.result()
    money = [future.result() for future in amounts]
    place = reader.places() if any(map(goes_by_place, book)) else _nothing(np.int8)
    (stay, faulty), episodes = (_nothing(), _nothing(np.uint8)), no_episodes()
    if opening_episode is not None or any(map(counts_stays, book)):
        stay, faulty = reader.stays()
        if opening_person is not None and opening_episode is None:
            opening_episode = pa.chunked_array([pa.nulls(len(opening_person), pa.int64())])
        episodes = number_episodes([*reader.episodes(), *([] if opening_episode is None else [opening_episode])])
    region, birth = regions.result().astype(np.int32, copy=False), births.result().astype(np.int32, copy=False)
    supplement = supplements.result().astype(np.int8, copy=False)
    for name in ("hospital_id", "episode_id"):  # read late, refused at once
        if ledger.has(name):
            reader.check_ids(name)
    if faults:
        raise LedgerError(faults)

    count = threads_to_use(threads)
    people = Ids([*person, *([] if opening_person is None else [opening_person])])
    person_words = people.words(count)
    rows = rows_of(parts)
    missing = _missing(person, settlement, day_missing, time_missing, mask == -1, care == -2, _rejected(history, rows))
    if faulty.any():
        missing = missing | faulty if len(missing) else faulty
    if len(missing):
        mask, care = np.where(mask == -1, 0, mask), np.where(care == -2, -1, care)
        moments = np.where(time_missing, UNREADABLE_TIME, moments)
    mask, care = mask.astype(np.int16, copy=False), care.astype(np.int8, copy=False)
    if masks is not None:
        own = len(ledger)
        mask = np.concatenate([mask[: rows - own], masks(mask[rows - own :], person[-1], days[rows - own :])]).astype(
            np.int16
        )
    policy = _nothing(np.int8)
    if history is not None and not reaccount:  # a re-accounting goes by what is known now
        policy = _settled_policies(history, rows, book)
    id_words, reverses_words, texts = _settlement_words(settlement, reverses, count)
    columns = Columns(
        person=frozen(person_words[:rows]),
        time=frozen(moments),
        id=frozen(id_words),
        reverses=frozen(reverses_words),
        missing=frozen(missing),
        day=frozen(days),
        category_mask=frozen(mask),
        care=frozen(care),
        region=frozen(region),
        birth=frozen(birth),
        supplement=frozen(supplement),
        place=frozen(place),
        policy=frozen(policy),
        stay=frozen(stay),
        episode=frozen(episodes.words[:rows]),
        money=tuple(_words_of(column) for column in money),
        money_shift=frozen(np.array([_shift_of(column) for column in money], dtype=np.int64)),
    )
    return Prepared(
        columns,
        texts,
        rows - len(ledger),
        people,
        frozen(person_words[rows:]),
        episodes.ids,
        frozen(episodes.words[rows:]),
        settlement[-1],
        ids_changed,
        frozenset(name for name in (*MONEY, *SEEN) if ledger.has(name)),
        frozenset(name for name in MONEY if history is not None and history.has(name) and not ledger.has(name)),
    )


@contextmanager
def _hands(rows: int, threads: int | None) -> Iterator[Callable[..., "Future[Any]"]]:
    """Give a function that starts a job: on a thread of a pool where the ledger is large, else at once."""
    count = threads_to_use(threads)
    if count == 1 or rows < ROWS_FOR_THREADS:
        yield _done
    else:
        with ThreadPoolExecutor(count) as pool:
            yield pool.submit


def _done(job: Callable[..., Any], *arguments: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(job(*arguments))
    return future


def rows_of(parts: "Sequence[Ledger]") -> int:
    """Return the number of rows of history and ledger together."""
    return sum(len(part) for part in parts)


class _Reader:
    """Reads a column from the history and the ledger, end to end, and collects what is wrong with it."""

    def __init__(self, parts: Sequence[Ledger], faults: list[str]) -> None:
        self.parts = parts
        self.faults = faults

    def anywhere(self, name: str) -> bool:
        return any(part.has(name) for part in self.parts)

    def _column(self, part: Ledger, name: str) -> tuple[pa.ChunkedArray, str]:
        own = part.name(name)
        return (pa.chunked_array([pa.nulls(len(part))]), name) if own is None else (part.column(name), own)

    def ids(self, name: str, dictionary: bool = False) -> tuple[list[pa.ChunkedArray], int]:
        columns: list[pa.ChunkedArray] = []
        changed = 0
        if not self.anywhere(name):
            return columns, changed
        for part in self.parts:
            column, own = self._column(part, name)
            try:
                column, fixed = read_ids(column, f"{part.what}: {own}", dictionary)
            except LedgerError as error:
                self.faults += error.faults
                column, fixed = pa.chunked_array([pa.nulls(len(part), pa.int64())]), 0
            columns.append(column)
            changed += fixed
        return columns, changed

    def check_ids(self, name: str) -> None:
        """Note a fault where a column of ids has a type that ids cannot have."""
        part = self.parts[-1]
        try:
            read_ids(part.column(name).slice(0, 0), f"{part.what}: {part.name(name)}")
        except LedgerError as error:
            self.faults += error.faults

    def episodes(self) -> list[pa.ChunkedArray]:
        """Return the episode ids of each part, null where it has none."""
        columns, _ = self.ids("episode_id")
        return columns or [pa.chunked_array([pa.nulls(len(part), pa.int64())]) for part in self.parts]

    def places(self) -> NDArray[np.int8]:
        """Return each row's place, unknown where the columns for it are missing."""
        rows = rows_of(self.parts)
        levels = self.read("hospital_level", level_codes)
        treated, insured = self.read("treated_region", region_codes), self.read("insured_region", region_codes)
        return places(
            levels if len(levels) else np.full(rows, -1, dtype=np.int8),
            treated if len(treated) else np.zeros(rows, dtype=np.int32),
            insured if len(insured) else np.zeros(rows, dtype=np.int32),
        )

    def stays(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return what each row's stay bore and its number, as an earlier run settled it, and what is wrong with the amount.

        Nothing where no part shows it.
        """
        deductible = self.read("deductible_borne", to_fen)
        if not len(deductible):
            return _nothing(), _nothing(np.uint8)
        number = self.read("stay_number", stay_numbers)
        number = number if len(number) else np.full(len(deductible), -1, dtype=np.int64)
        return settled_stays(deductible, number), deductible_faults(deductible)

    def read(self, name: str, read: Callable[[pa.ChunkedArray, str], Any], pairs: bool = False) -> Any:
        """Return the arrays of all parts end to end (`pairs`: two of them); nothing where no part has the column."""
        results = []
        if not self.anywhere(name):
            return _nothing()
        for part in self.parts:
            column, own = self._column(part, name)
            try:
                results.append(read(column, own))
            except LedgerError as error:
                self.faults += [f"{part.what}: {fault}" for fault in error.faults]
                nothing = np.zeros(len(part), dtype=np.int64)
                results.append((nothing, nothing.astype(bool)) if pairs else nothing)
        if len(results) == 1:
            return results[0]
        if pairs:
            return tuple(np.concatenate(side) for side in zip(*results, strict=True))
        return np.concatenate(results)


def flags(column: pa.ChunkedArray, name: str) -> NDArray[np.int8]:
    """Return a yes/no column as 1 and 0, -1 where a cell is null or says neither."""
    if pa.types.is_boolean(column.type):
        null = pc.is_null(column).to_numpy() if column.null_count else False
        return np.where(null, -1, words(pc.fill_null(column, False))).astype(np.int8)
    return look_up(column, truth, -1, np.int8, name).astype(np.int8)


def region_codes(column: pa.ChunkedArray, name: str) -> NDArray[np.int32]:
    """Return six-digit region codes, 0 where there is none."""
    if pa.types.is_integer(column.type):
        codes = words(pc.fill_null(column, 0) if column.null_count else column)
        if len(codes) and codes.min() >= 100_000 and codes.max() <= 999_999:
            return codes.astype(np.int32, copy=False)
        codes = codes.astype(np.int64)
        codes = np.where(codes >= 10**11, codes // 10**6, np.where(codes >= 10**8, codes // 10**3, codes))
        return np.where((codes >= 100_000) & (codes <= 999_999), codes, 0).astype(np.int32)
    return look_up(column, region_code, 0, np.int32, name).astype(np.int32)


def region_code(cell: str) -> int:
    """Return the six digits of a district; the national codes of 9 and 12 digits begin with them."""
    cell = cell.strip()
    return int(cell[:6]) if len(cell) in (6, 9, 12) and cell.isascii() and cell.isdigit() else 0


def _rejected(history: Ledger | None, rows: int) -> NDArray[np.bool_]:
    """Return which rows were rejected in an earlier run, as its table says."""
    rejected = np.zeros(rows, dtype=bool)
    if history is not None and "status" in history.table.column_names:
        status = history.table["status"].cast(pa.string())
        rejected[: len(history)] = pc.fill_null(pc.not_equal(status, "SETTLED"), True).to_numpy()
    return rejected


def _settled_policies(history: Ledger, rows: int, book: Sequence[Policy]) -> NDArray[np.int8]:
    """Return which policy of the plan settled each row of the history; -1 where it does not say, and for the ledger's rows."""
    if "policy_id" not in history.table.column_names or not book:
        return _nothing(np.int8)
    ids = [policy.id for policy in in_order_of_precedence(book)]
    found = np.full(rows, -1, dtype=np.int8)
    column = history.table["policy_id"].cast(pa.string())
    index = pc.fill_null(pc.index_in(column, pa.array(ids, pa.string())), NO_POLICY_INDEX).to_numpy()
    found[: len(history)] = np.where(pc.is_null(column).to_numpy(), -1, index)
    return found


def _missing(
    person: list[pa.ChunkedArray],
    settlement: list[pa.ChunkedArray],
    day: NDArray[np.bool_],
    time: NDArray[np.bool_],
    category: NDArray[np.bool_],
    care: NDArray[np.bool_],
    rejected: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return what is missing in each row; nothing at all where no row misses anything.

    A row of the history that was rejected misses what would make it an original.
    """
    null_ids = any(column.null_count for column in (*person, *settlement))
    if not (null_ids or day.any() or time.any() or category.any() or care.any() or rejected.any()):
        return np.empty(0, dtype=np.uint8)
    no_person = np.concatenate([pc.is_null(column).to_numpy() for column in person])
    no_id = np.concatenate([pc.is_null(column).to_numpy() for column in settlement])
    cell = no_person | no_id | day | time | category | care | rejected
    missing: NDArray[np.uint8] = (cell * MISSING_CELL | no_person * MISSING_PERSON | day * MISSING_DAY).astype(np.uint8)
    return missing


def _settlement_words(
    settlement: list[pa.ChunkedArray], reverses: list[pa.ChunkedArray], threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Texts]:
    """Return id words (the integer, else a hash), the words of what is reversed, and the texts behind them."""
    if not any(len(column) > column.null_count for column in reverses):
        reverses = []
    columns = [*settlement, *reverses]
    if pa.types.is_int64(settlement[-1].type):  # the ledger's own: integers are ordered as integers
        columns = [as_integers(column) for column in columns]
    columns = same_kind(columns)
    ids, named = columns[: len(settlement)], columns[len(settlement) :]
    if pa.types.is_int64(columns[0].type):
        # A null id is rejected; its word must not be that of another row's id.
        id_words = (
            words(pc.fill_null(_joined(ids), NO_ORIGINAL)) if any(c.null_count for c in ids) else words(_joined(ids))
        )
        named_words = words(pc.fill_null(_joined(named), NO_ORIGINAL)) if named else np.empty(0, dtype=np.int64)
        return id_words, named_words, no_texts()
    id_words, id_bytes, id_offsets = _hashed(_joined(ids), threads)
    named_words, named_bytes, named_offsets = np.empty(0, dtype=np.int64), no_texts().id_bytes, no_texts().id_offsets
    if named:
        named_words, named_bytes, named_offsets = _hashed(_joined(named), threads)
    return id_words, named_words, Texts(id_bytes, id_offsets, named_bytes, named_offsets)


def _joined(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)


def _hashed(column: pa.ChunkedArray, threads: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Return the hashes of texts, NO_ORIGINAL for nulls (whatever lies in their slots), their bytes and offsets."""
    array = one_chunk(column)
    text, offsets = text_buffers(array)
    hashes = hashes_of(text, offsets, threads, memory.words)
    if array.null_count:
        hashes[array.is_null().to_numpy(zero_copy_only=False)] = NO_ORIGINAL
    return hashes, text, offsets


def _nothing(dtype: Any = np.int64) -> NDArray[Any]:
    return np.empty(0, dtype=dtype)


def _shift_of(column: NDArray[np.int64]) -> int:
    """Return 1 for a column that lies in every second word, 0 for one that is dense."""
    return 1 if len(column) > 1 and column.strides[0] == 16 else 0


def _words_of(column: NDArray[np.int64]) -> NDArray[Any]:
    """Return the words in which a money column lies, read-only and contiguous."""
    if not _shift_of(column):
        return frozen(column)
    return np.lib.stride_tricks.as_strided(column, (2 * len(column),), (8,), writeable=False)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array contiguous and read-only: a writable one would compile every kernel a second time."""
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array
