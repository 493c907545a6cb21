"""Identifiers of people and settlements, as text or as numbers."""

from typing import Any

import numpy as np
import pyarrow as pa

from yibao_datagen.columns import Bools, Bytes, Ints, digits, text
from yibao_datagen.people import BIRTH_DAY, FEMALE, ID_PLACE, People

CHECK_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
CHECK_LETTERS = np.frombuffer(b"10X98765432", dtype=np.uint8)  # GB 11643: by weighted sum modulo 11
NUMBER_DIGITS = 16


def national_looking(people: People, region: int) -> Bytes:
    """Return 18 letters a person: birthplace in the city, date of birth, a number (odd: a man), and a check digit that is wrong.

    Shape (people, 18). All are different whoever else is there, and none can be anybody's id.
    """
    birth, place = people.fields[BIRTH_DAY], people.fields[ID_PLACE]
    month = birth.astype("M8[D]").astype("M8[M]")
    day = birth - month.astype("M8[D]").astype(np.int64) + 1
    month_number = month.astype(np.int64)
    date = (1970 + month_number // 12) * 10_000 + (month_number % 12 + 1) * 100 + day
    letters = np.empty((people.size, 18), dtype=np.uint8)
    letters[:, :6] = digits(region * 100 + place % 100, 6)
    letters[:, 6:14] = digits(date, 8)
    letters[:, 14:17] = digits(place // 100 % 500 * 2 + (1 - people.fields[FEMALE]), 3)
    right = (letters[:, :17] - np.uint8(ord("0"))) @ CHECK_WEIGHTS % 11
    letters[:, 17] = CHECK_LETTERS[(right + 1 + place // 50_000) % 11]
    return letters


def settlement_text(numbers: Ints, valid: Bools | None = None) -> Any:
    """Return "S" and 16 digits: as text they sort like the numbers."""
    letters = np.empty((len(numbers), 1 + NUMBER_DIGITS), dtype=np.uint8)
    letters[:, 0] = ord("S")
    letters[:, 1:] = digits(numbers, NUMBER_DIGITS)
    return text(letters, valid)


def settlement_numbers(numbers: Ints, valid: Bools | None = None) -> Any:
    """Return the numbers as int64; `valid` says which rows are not null."""
    return pa.array(numbers, pa.int64(), mask=None if valid is None else ~valid)
