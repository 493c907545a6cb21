"""A city's year: people, the roster of the poor, and claims as a ledger that nobody has paid yet beyond basic insurance."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from yibao.in_turn import in_turn
from yibao_core.threads import threads_to_use
from yibao_datagen.claims import Window, make_claims
from yibao_datagen.people import PEOPLE_MAX, People, make_people
from yibao_datagen.plan import Plan, cells_of, plan_of
from yibao_datagen.profile import Profile, read_profile
from yibao_datagen.regions import districts_of
from yibao_datagen.tables import ledger_of, people_of, roster_of

Ids = Literal["int64", "text"]
Order = Literal["settled", "person", "shuffled"]
PART_PEOPLE = 50_000


class City:
    """An invented city. Every person's life and claims depend on the seed and the person's number alone: a larger city, other
    months, threads or parts change nothing about them."""

    def __init__(
        self,
        people: int = 100_000,
        seed: int = 1,
        *,
        profile: str | Path | Profile = "weihai-2019",
        year: int | None = None,
        region: int | None = None,
        months: int | tuple[int, int] = 12,
        reversals: bool = True,
        ids: Ids = "int64",
    ) -> None:
        """`profile`: a built-in one, a TOML file, or what `read_profile` gives; its base year and region where nothing is said. `months`: service dates lie
        in the first so many, or from one to another. About 0.3 % of the rows are reversals, unless `reversals` is False."""
        self.profile = profile if isinstance(profile, Profile) else read_profile(profile)
        self.base_year = int(self.profile["base_year"])
        self.people_count, self.seed, self.ids = people, seed, ids
        self.year = self.base_year if year is None else year
        self.region = int(self.profile["region"]) if region is None else region
        pair = (1, months) if isinstance(months, int) else months
        first, last = pair if isinstance(pair, tuple) and len(pair) == 2 and all(map(_is_whole, pair)) else (0, 0)
        checks: tuple[tuple[str, Any, bool, str], ...] = (
            ("people", people, _is_whole(people) and 1 <= people <= PEOPLE_MAX, f"1 to {PEOPLE_MAX}"),
            ("seed", seed, _is_whole(seed) and 0 <= seed < 2**62, "0 to 2**62 - 1"),
            ("months", months, 1 <= first <= last <= 12, "1 to 12, or two of them in a tuple, the first one first"),
            (
                "year",
                self.year,
                _is_whole(self.year) and abs(self.year - self.base_year) <= 10,
                f"{self.base_year}, or at most ten years from it",
            ),
            ("region", self.region, _is_whole(self.region), "a number of four digits"),
            ("ids", ids, ids in ("int64", "text"), "'int64' or 'text'"),
        )
        for name, value, is_right, expected in checks:
            if not is_right:
                raise ValueError(f"{name}: expected {expected}, got {value!r}")
        districts_of(self.region)
        self.window = Window(month_start(self.year, first), month_start(self.year, last + 1), int(reversals))
        self.cells = cells_of(self.profile)

    @cached_property
    def plan(self) -> Plan:
        """The profile as kernels read it."""
        return plan_of(self.profile, self.year, self.region, districts_of(self.region))

    def residents(self, first: int, count: int) -> People:
        """Return people as arrays, from a number (1 and up) on."""
        return make_people(self.plan, self.seed, self.base_year, first, count)

    def claims(self, people: People) -> Any:
        """Return people's rows as an array of `yibao_datagen.claims`' columns, person by person."""
        return make_claims(self.plan, self.seed, self.year, people, self.window)

    def ledgers(self, *, threads: int | None = None, part_people: int = PART_PEOPLE) -> Iterator[pa.Table]:
        """Give the ledger in parts of so many people, person by person, in bounded memory."""
        yield from in_turn(threads_to_use(threads), self._ledger_of, self.parts(part_people))

    def ledger(
        self,
        *,
        rows: int | None = None,
        order: Order = "settled",
        threads: int | None = None,
        part_people: int = PART_PEOPLE,
    ) -> pa.Table:
        """Return the whole ledger: one row a settlement, its columns those of the ledger page up to the payment of basic
        insurance, and the day of admission.

        `rows`: no more than so many, those of the first people. `order`: by time of settlement, where ids tell the order
        of ties, by person, or any. Money is decimal128(18, 2) yuan.
        """
        if order not in ("settled", "person", "shuffled"):
            raise ValueError(f"order: expected 'settled', 'person' or 'shuffled', got {order!r}")
        if rows is not None and rows < 1:
            raise ValueError(f"rows: expected at least 1, got {rows}")
        parts: list[pa.Table] = []
        count = 0
        for part in self.ledgers(threads=threads, part_people=part_people):
            parts.append(part)
            count += len(part)
            if rows is not None and count >= rows:
                break
        table = pa.concat_tables(parts).slice(0, rows).unify_dictionaries().combine_chunks()
        if order == "person":
            return table
        numbers = np.arange(len(table))
        if order == "settled":
            # Stable: a person's rows stand in the order of their ids, and people in that of theirs.
            numbers = np.argsort(table["settled_at"].to_numpy(), kind="stable")
        else:
            numbers = np.random.default_rng([self.seed, 4]).permutation(numbers)
        return table.take(pa.array(numbers)).combine_chunks()

    def people(self, *, threads: int | None = None) -> pa.Table:
        """Return the residents, one row a person: household, birth and death, district, category and since when, what they have."""
        parts = in_turn(
            threads_to_use(threads), lambda part: people_of(self._residents(part), self), self.parts(PART_PEOPLE)
        )
        return pa.concat_tables(parts).unify_dictionaries().combine_chunks()

    def roster(self, *, threads: int | None = None) -> pa.Table:
        """Return who was poor from when to when, as is known in the end: person_id, category, from, to (empty: open).

        A recognition that was backdated holds here from 1 January on; rows settled before it was known show none.
        """
        parts = in_turn(
            threads_to_use(threads), lambda part: roster_of(self._residents(part), self), self.parts(PART_PEOPLE)
        )
        return pa.concat_tables(parts).combine_chunks()

    def parts(self, part_people: int = PART_PEOPLE) -> Iterator[tuple[int, int]]:
        """Give the parts of the people: the first number and how many."""
        if part_people < 1:
            raise ValueError(f"part_people: expected at least 1, got {part_people}")
        for begin in range(0, self.people_count, part_people):
            yield begin + 1, min(part_people, self.people_count - begin)

    def _residents(self, part: tuple[int, int]) -> People:
        return self.residents(*part)

    def _ledger_of(self, part: tuple[int, int]) -> pa.Table:
        people = self._residents(part)
        return ledger_of(people, self.claims(people), self)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def city(
    people: int = 100_000, seed: int = 1, *, rows: int | None = None, order: Order = "settled", **options: Any
) -> pa.Table:
    """Return the ledger of `City(people, seed, **options)`: see there and at `City.ledger`."""
    return City(people, seed, **options).ledger(rows=rows, order=order)


def month_start(year: int, month: int) -> int:
    """Return the first day of a month (1 to 13, where 13 is next January), counted from 1970-01-01."""
    return int(np.datetime64(f"{year + (month - 1) // 12}-{(month - 1) % 12 + 1:02d}-01", "D").astype(np.int64))
