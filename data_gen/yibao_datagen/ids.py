"""Identifiers of people and settlements, as text or as numbers."""

from typing import Any

import numpy as np
import pyarrow as pa

from yibao_datagen.columns import Bytes, digits, text
from yibao_datagen.people import Bools, Ints, People

CHECK_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
CHECK_LETTERS = np.frombuffer(b"10X98765432", dtype=np.uint8)  # GB 11643: by weighted sum modulo 11


def national_looking(people: People) -> Bytes:
    """Return 18 letters a person: district, date of birth, a number and a check digit that is wrong.

    Shape (people, 18). All are different, and none can be anybody's id.
    """
    month = people.birth_day.astype("M8[D]").astype("M8[M]")
    day = people.birth_day - month.astype("M8[D]").astype(np.int64) + 1
    month_number = month.astype(np.int64)
    date = (1970 + month_number // 12) * 10_000 + (month_number % 12 + 1) * 100 + day

    cell = people.district * np.int64(100_000_000) + date
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    sequence = np.empty(len(people), dtype=np.int64)
    sequence[order] = np.arange(len(people)) - np.repeat(starts, np.diff(starts, append=len(people)))
    if sequence.max() > 999:
        raise ValueError("people: expected at most 1000 of one district and birthday for ids as text; use ids='int64'")

    letters = np.empty((len(people), 18), dtype=np.uint8)
    letters[:, :14] = digits(cell, 14)
    letters[:, 14:17] = digits(sequence, 3)
    right = (letters[:, :17] - np.uint8(ord("0"))) @ CHECK_WEIGHTS % 11
    letters[:, 17] = CHECK_LETTERS[(right + 1 + people.number % 10) % 11]
    return letters


def settlement_text(numbers: Ints, valid: Bools | None = None) -> Any:
    """Return "S" and 13 digits: as text they sort like the numbers."""
    letters = np.empty((len(numbers), 14), dtype=np.uint8)
    letters[:, 0] = ord("S")
    letters[:, 1:] = digits(numbers, 13)
    return text(letters, valid)


def settlement_numbers(numbers: Ints, valid: Bools | None = None) -> Any:
    """Return the numbers as int64; `valid` says which rows are not null."""
    return pa.array(numbers, pa.int64(), mask=None if valid is None else ~valid)
