"""Which texts are the same: against Python's own dictionary, with colliding hashes, on several threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import yibao_core.texts as texts
from yibao_core.instructions import eight_bytes, low_product
from yibao_core.texts import HASH_BITS, SIZE_MAX, first_rows, first_rows_of_codes, hashes_of, odd_rows

thorough = settings(deadline=None, max_examples=100)


def column(cells: Iterable[bytes], before: bytes = b"") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes and offsets of some texts, read-only; `before` lies in front of them, as before a slice."""
    cells = list(cells)
    text = np.frombuffer(before + b"".join(cells), dtype=np.uint8)
    offsets = len(before) + np.cumsum([0, *map(len, cells)], dtype=np.int64)
    offsets.flags.writeable = False
    return text, offsets


def memory(count: int) -> NDArray[np.int64]:
    return np.full(count, -7, dtype=np.int64)


def found(cells: list[bytes], threads: int = 1, before: bytes = b"") -> list[int] | None:
    rows = first_rows(*column(cells, before), threads, memory)
    return None if rows is None else rows.tolist()


def expected(cells: list[bytes]) -> list[int]:
    first: dict[bytes, int] = {}
    return [first.setdefault(cell, row) for row, cell in enumerate(cells)]


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows be many: several parts, and a thread for each three rows."""
    monkeypatch.setattr(texts, "PART_ROWS", 2)
    monkeypatch.setattr(texts, "ROWS_PER_THREAD", 3)


cells_of_few_letters = st.text("ab\0", max_size=20).map(str.encode)
cells_with_long_beginnings = st.tuples(
    st.sampled_from([b"", b"37100219", b"371002199001010011", b"6f1c2a3e-0000-4000-8000-0000000000"]),
    st.binary(max_size=3),
).map(b"".join)
some_cells = st.lists(cells_of_few_letters | cells_with_long_beginnings | st.binary(max_size=SIZE_MAX), max_size=60)


@thorough
@given(cells=some_cells, threads=st.integers(1, 4), before=st.binary(max_size=9))
@example(cells=[], threads=2, before=b"")
@example(cells=[b""], threads=1, before=b"")
@example(cells=[b"", b"\0", b"\0\0", b"", b"\0"], threads=2, before=b"x")
@example(cells=[b"a" * size for size in range(65)] * 2, threads=3, before=b"abc")
def test_each_text_has_the_first_row_with_the_same_bytes(cells: list[bytes], threads: int, before: bytes) -> None:
    """Two people are never confused: identity is that of all bytes, and of the length."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "PART_ROWS", 2)
        patch.setattr(texts, "ROWS_PER_THREAD", 3)
        assert found(cells, threads, before) == expected(cells)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_texts_over_the_edges_of_parts_and_threads(threads: int, tiny_parts: None) -> None:
    """The same words for every number of threads; first rows may lie in another thread's range."""
    cells = [f"{row * 7919 % 523:018d}".encode() for row in range(1_500)]
    assert found(cells, threads) == [row % 523 for row in range(1_500)]


def test_a_text_that_is_too_long_for_a_record_is_left_to_others() -> None:
    assert found([b"a" * SIZE_MAX] * 2) == [0, 0]
    assert found([b"a", b"a" * (SIZE_MAX + 1)]) is None


def colliding(count: int) -> Iterator[bytes]:
    """Yield so many texts of 16 printable letters with one and the same hash, all 63 bits of it before it is cut.

    The second word is chosen so that it takes back what the first one did.
    """
    generator = np.random.default_rng(5)

    def after_first(text: bytes) -> int:
        word = int.from_bytes(text, "little")
        value = low_product(16 ^ word ^ (word >> 32), texts._FACTOR)
        return value ^ (value >> 32)

    target = 0
    while count:
        first = bytes(generator.choice(np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8), 8))
        if target == 0:
            second = b"FEDCBA98"
            word = int.from_bytes(second, "little")
            target = after_first(first) ^ word ^ (word >> 32)
        word = target ^ after_first(first)
        second = (word ^ (word >> 32)).to_bytes(8, "little")
        if all(33 <= byte < 127 and byte != ord("x") for byte in second):
            yield first + second
            count -= 1


COLLIDING = list(colliding(12))


def test_texts_of_one_hash_are_told_apart() -> None:
    """A hash alone never decides."""
    assert len(set(COLLIDING)) == 12
    assert set(map(len, COLLIDING)) == {16}
    assert len(set(hashes_of(*column(COLLIDING), 1, memory).tolist())) == 1
    assert found(COLLIDING * 3) == [*range(12)] * 3
    assert found([b"another", *COLLIDING, *reversed(COLLIDING)]) == [0, *range(1, 13), *range(12, 0, -1)]


def test_hashes_are_the_same_compiled_and_in_plain_python() -> None:
    """A cell each way of reading: nothing, bytes, one word, a word and a rest, a byte beyond ASCII."""
    cells = [b"", b"a", b"1234567", b"12345678", b"371002199001010011", "医保".encode() * 3]
    hashes = hashes_of(*column(cells), 1, memory)
    assert hashes.tolist() == [0, 2073971029, 1895857252, 806134655, 164749253, 1113271163]
    assert all(0 <= value < 2**HASH_BITS for value in hashes.tolist())


def test_a_product_is_cut_and_bytes_are_read_as_a_word_with_a_sign() -> None:
    assert low_product(2**62 + 3, 5) == (5 * (2**62 + 3)) % 2**63
    assert low_product(-1, 2**62 + 1) == -(2**62 + 1) % 2**63
    cells = np.frombuffer(bytes(range(1, 9)) + b"\xff" * 8, dtype=np.uint8)
    assert eight_bytes(cells, 0) == 0x08_07_06_05_04_03_02_01
    assert eight_bytes(cells, 8) == -1


@thorough
@given(cells=st.lists(st.binary(max_size=20) | st.text("09AZaz-~!", max_size=20).map(str.encode), max_size=20))
@example(cells=[bytes([byte]) for byte in range(256)])
@example(cells=[b"1234567" + bytes([byte]) + b"12345678" for byte in range(256)])
@example(cells=[b"12345678" + bytes([byte]) for byte in range(256)])
def test_odd_texts_are_found_wherever_the_odd_byte_stands(cells: list[bytes]) -> None:
    odd = [
        row
        for row, cell in enumerate(cells)
        if not cell or any(byte <= 32 or byte >= 128 or byte == ord("x") for byte in cell)
    ]
    assert odd_rows(*column(cells, before=b" ")).tolist() == odd


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_codes_with_one_text_are_one(threads: int, tiny_parts: None) -> None:
    """Codes 1 and 3 have the text of code 0 and 2: rows go by the first row with the text, whatever its code."""
    codes = np.array([3, 1, 0, 2, 4, 3, 0, 1, 2, 4], dtype=np.int32)
    codes.flags.writeable = False
    same = np.array([0, 0, 2, 2, 4, 5], dtype=np.int64)
    assert first_rows_of_codes(codes, same, threads, memory).tolist() == [0, 1, 1, 0, 4, 0, 1, 1, 0, 4]
