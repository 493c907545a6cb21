"""A word for each id: by exact equality, whatever the chunks, slices, dictionaries, nulls and threads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledgers
import yibao
import yibao.ids
import yibao_core.texts
from test_texts import COLLIDING
from yibao.ids import Ids, read_ids

TWINS = [text.decode() for text in COLLIDING]
"""Different texts of the same length with one and the same hash."""


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let short columns go the way of long ones."""
    monkeypatch.setattr(yibao.ids, "FEW", 0)
    monkeypatch.setattr(yibao_core.texts, "PART_ROWS", 2)
    monkeypatch.setattr(yibao_core.texts, "ROWS_PER_THREAD", 3)


def expected(cells: list[Any]) -> list[int]:
    """Return the first row of each cell, 0 for null."""
    first: dict[Any, int] = {}
    return [0 if cell is None else first.setdefault(cell, row) for row, cell in enumerate(cells)]


def words(*columns: pa.ChunkedArray, threads: int = 1) -> list[int]:
    found = Ids([read_ids(column, "id", dictionary=True)[0] for column in columns]).words(threads)
    return [int(word) for word in found]


def in_dictionary(cells: list[str | None], texts: list[str]) -> pa.Array:
    """Return cells as indices into `texts`, from the back, so that texts which stand twice are both used."""
    last = {text: code for code, text in enumerate(texts)}
    codes = [None if cell is None else (last[cell] if row % 2 else texts.index(cell)) for row, cell in enumerate(cells)]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(texts, pa.string()))


some_ids = st.sampled_from(["A", "B", "A\0", "370102199001010011", "37010219900101001X", "a" * 64, "a" * 65, *TWINS])


@settings(deadline=None, max_examples=60)
@given(
    chunks=st.lists(st.lists(some_ids | st.none(), max_size=12), min_size=1, max_size=4),
    threads=st.integers(1, 3),
    way=st.sampled_from(["string", "large_string", "string_view", "dictionary"]),
    cut=st.integers(0, 3),
)
def test_equal_ids_have_equal_words(chunks: list[list[str | None]], threads: int, way: str, cut: int) -> None:
    """Against Python's dictionary: several chunks, slices, dictionaries of their own with a text that stands twice."""
    arrays = []
    for cells in chunks:
        texts = sorted({cell for cell in cells if cell is not None} | {"Z"})
        array = (
            in_dictionary(cells, [*texts, *texts[:2]]) if way == "dictionary" else pa.array(cells, getattr(pa, way)())
        )
        arrays.append(array.slice(min(cut, len(array))))
    ids = pa.chunked_array(arrays)
    assert words(ids, threads=threads) == expected(ids.to_pylist())
    taken = Ids([read_ids(ids, "id", dictionary=True)[0]]).take(pa.array(range(len(ids)), pa.int64()))
    assert taken.type == pa.large_string()
    assert taken.to_pylist() == ids.to_pylist()


def test_null_slots_may_hold_any_bytes() -> None:
    """Lessons: a null slot's bytes are arbitrary; they are nobody's id, and do not come before it."""
    offsets = np.array([0, 1, 2, 4, 5, 6], dtype=np.int32)
    valid = pa.py_buffer(bytes([0b11001]))  # rows 1 and 2 are null
    array = pa.Array.from_buffers(pa.string(), 5, [valid, pa.py_buffer(offsets), pa.py_buffer(b"ABZ BB")])
    assert array.to_pylist() == ["A", None, None, "B", "B"]
    assert words(pa.chunked_array([array])) == [0, 0, 0, 3, 3]
    assert read_ids(pa.chunked_array([array]), "id")[1] == 0


def test_dictionaries_are_read_once_and_their_rows_are_counted() -> None:
    """Ledger page: how many ids were normalised is a number of rows; blank and null texts of a dictionary are nulls."""
    texts = pa.array(["1001", " 1001", "", None, "1002", "\u3000", "100x"])
    codes = [[1, 0, 1, 2], [3, 4, None, 5, 6], [1]]
    ids = pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(each, pa.int8()), texts) for each in codes])
    read, changed = read_ids(ids, "id", dictionary=True)
    plain, also = read_ids(ids, "id")
    assert changed == also == 3
    assert plain.to_pylist() == ["1001", "1001", "1001", None, None, "1002", None, None, "100x", "1001"]
    assert read.to_pylist() == plain.to_pylist()
    assert read.null_count == plain.null_count == 4
    assert words(ids) == words(ids.cast(pa.string())) == expected(plain.to_pylist())


def test_a_dictionary_beside_plain_text_and_integers() -> None:
    """History, ledger and balances may each have ids of another kind."""
    first = pa.chunked_array([pa.array(["7", "8", "7"]).dictionary_encode()])
    second, third = pa.chunked_array([pa.array(["8", "9"])]), pa.chunked_array([pa.array([9, 7])])
    assert words(first, second) == [0, 1, 0, 1, 4]
    assert words(first, second, third) == [0, 1, 0, 1, 4, 4, 0]
    assert words(first, first) == [0, 1, 0, 0, 1, 0]
    assert words(first.slice(0, 0)) == []
    assert words(pa.chunked_array([pa.array([None, None], pa.dictionary(pa.int8(), pa.string()))])) == [0, 0]


@pytest.mark.parametrize("size", [1, 64, 65, 1_000])
def test_both_ways_give_the_same_words(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few texts and very long ones go through Arrow's table: the first row stands for a text there, too."""
    cells = [None if row % 11 == 0 else "ABCDEFG"[row * row % 7] * size for row in range(40)]
    ids = pa.chunked_array([pa.array(cells)])
    mine = words(ids)
    monkeypatch.setattr(yibao.ids, "FEW", 1_000)
    assert words(ids) == mine == expected(cells)


def settle(table: pa.Table, threads: int = 1) -> yibao.LedgerResult:
    return yibao.settle_ledger(table, yibao.load_policy("weihai-2019"), threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_people_whose_ids_share_a_hash_have_accounts_of_their_own(threads: int) -> None:
    """First bills are paid 7,200, the second of a person 18,000: no first bill is taken for a second one."""
    table = ledgers.bills(person_id=TWINS + TWINS)
    result = settle(table, threads)
    assert result.table["catastrophic_paid"].to_pylist() == [7_200] * 12 + [18_000] * 12
    assert result.closing["person_id"].to_pylist() == TWINS
    encoded = table.set_column(1, "person_id", table["person_id"].dictionary_encode())
    assert settle(encoded, threads).closing.equals(result.closing)


def test_settlements_of_one_person_whose_ids_share_a_hash_are_no_duplicates() -> None:
    """Equality of hashes is confirmed on the bytes; on a tie of times, ids go by their bytes."""
    result = settle(ledgers.bills(person_id=["P"] * 12, settlement_id=TWINS))
    assert set(result.table["status"].to_pylist()) == {"SETTLED"}
    doubled = settle(ledgers.bills(person_id=["P"] * 4, settlement_id=[*TWINS[:3], TWINS[1]]))
    assert doubled.table["status"].to_pylist() == ["SETTLED", "DUPLICATE_SETTLEMENT", "SETTLED", "DUPLICATE_SETTLEMENT"]
    at_once = settle(ledgers.bills(person_id=["P"] * 12, settlement_id=TWINS, settled_at=[datetime(2019, 3, 1)] * 12))
    paid = at_once.table["catastrophic_paid"].to_pylist()
    assert paid.index(7_200) == TWINS.index(min(TWINS, key=str.encode))


def test_a_reversal_finds_its_original_among_ids_that_share_a_hash() -> None:
    """The first bill is paid 7,200 and the second 18,000: taking back the second takes back 18,000."""
    fees = ["30000", "30000", "-30000"]
    table = ledgers.bills(
        person_id=["P"] * 3, settlement_id=TWINS[:3], reverses=[None, None, TWINS[1]], total_fee=fees, eligible_fee=fees
    )
    assert settle(table).table["catastrophic_paid"].to_pylist() == [7_200, 18_000, -18_000]
    lost = table.set_column(table.column_names.index("reverses"), "reverses", pa.array([None, None, TWINS[5]]))
    assert settle(lost).table["status"].to_pylist() == ["SETTLED", "SETTLED", "REVERSAL_WITHOUT_ORIGINAL"]


def test_a_null_settlement_id_is_no_duplicate_whatever_its_slot_holds() -> None:
    """The null slot's bytes are those of another settlement of the same person, which stays settled."""
    offsets = np.array([0, 2, 4], dtype=np.int32)
    buffers = [pa.py_buffer(bytes([0b01])), pa.py_buffer(offsets), pa.py_buffer(b"S1S1")]
    ids = pa.Array.from_buffers(pa.string(), 2, buffers)
    result = settle(ledgers.bills(person_id=["P", "P"], settlement_id=ids))
    assert result.table["status"].to_pylist() == ["SETTLED", "MISSING_VALUE"]
