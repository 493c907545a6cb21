"""The oracle's rules per stay: what one stay bears and is paid, and the meter of basic insurance.

"0004.n" is a point of `core/decisions/0004-stays.md`. Shares nothing with the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from oracle_money import Tier, half_up, marginal

METER = "basic_deductible"
LEVELS = frozenset({1, 2, 3, 9})
NOT_GRADED = 9

EpisodeKey = tuple[Any, int, Any]  # person, insured city, episode
Episodes = dict[EpisodeKey, tuple[int, int, int]]  # borne, number, year in which it began


def level_of(cell: Any) -> int | None:
    """Return a hospital level, written as a number or as text; None where it cannot be read."""
    text = "" if cell is None else str(cell).strip()
    return int(text) if text in {"1", "2", "3", "9"} else None


@dataclass(frozen=True)
class Stay:
    """What a rule per stay says beside its tiers; all but the first four only in basic insurance."""

    deductible_fen: int = 0
    above: bool = False  # the edges are counted above the deductible
    whole: bool = False  # one tier's rate on the whole stay
    stay_cap_fen: int | None = None
    later_stays: tuple[Fraction, ...] = ()
    limit_fen: int | None = None
    once: bool = False
    referral: str | None = None

    def takes_part(self, inside: bool) -> bool:
        """Tell whether a stay may continue or begin an episode (0004.8)."""
        return self.referral == "anywhere" or (self.referral == "inside" and inside)

    def share_of(self, number: int) -> Fraction:
        """Return the share of the deductible that the year's so-manieth stay bears (0004.6)."""
        if not self.later_stays:
            return Fraction(1)
        return self.later_stays[min(number, len(self.later_stays)) - 1]

    def entitled_fen(self, tiers: Sequence[Tier], base_fen: int, borne_fen: int) -> int:
        """Return what a stay is paid above what it bears, rounded once, cut to the cap of a stay (0004.2, 0004.3)."""
        above_fen = base_fen - borne_fen
        if self.whole:
            measured_fen = above_fen if self.above else base_fen
            reached = [tier for tier in tiers if tier.from_fen <= measured_fen]
            exact = (reached or tiers[:1])[-1].rate * above_fen
        elif self.above:
            exact = marginal(tiers, above_fen)
        else:
            # The first tier reaches down to what was borne, where that is less than the whole deductible.
            lowered = (Tier(min(tiers[0].from_fen, borne_fen), tiers[0].rate), *tiers[1:])
            exact = marginal(lowered, base_fen) - marginal(lowered, borne_fen)
        payment_fen = half_up(exact)
        return payment_fen if self.stay_cap_fen is None else min(payment_fen, self.stay_cap_fen)


class Moved(NamedTuple):
    """What one stay did to the meter: the deductible borne, its number (0: it continued), its episode."""

    borne_fen: int
    number: int
    episode: EpisodeKey | None

    @property
    def began(self) -> int:
        return 1 if self.number > 0 else 0


class Episode(NamedTuple):
    """One episode of referrals: what it has borne, the number it began with (0: it has not), and in which year."""

    borne_fen: int = 0
    number: int = 0
    year: int = 0


class Meter:
    """The episodes of everybody; a year's sum and number of stays stand among the year's balances."""

    def __init__(self, opening: Mapping[EpisodeKey, tuple[int, int, int]] | None = None) -> None:
        self.episodes = {key: Episode(*episode) for key, episode in (opening or {}).items()}

    def measure(
        self, terms: Stay, base_fen: int, borne_this_year_fen: int, stays: int, key: EpisodeKey | None
    ) -> Moved | None:
        """Return what a stay bears and its number (0004.5 to 0004.10); None without a base: it is no stay (0004.4)."""
        if base_fen == 0:
            return None
        episode = Episode() if key is None else self.episodes.get(key, Episode())
        continues = episode.number > 0
        # Refunds of stays that nobody has seen may leave less than none; the next one is the first all the same.
        number = episode.number if continues else max(stays, 0) + 1
        due_fen = half_up(terms.deductible_fen * terms.share_of(number))
        borne_fen = max(borne_this_year_fen, episode.borne_fen) if terms.once else episode.borne_fen
        # Nobody bears more than the deductible, whatever such a refund has taken from the meter (0004.1: "lower").
        borne_now_fen = min(base_fen, due_fen, max(0, due_fen - borne_fen))
        if terms.limit_fen is not None:
            # No deductible grows by what such a refund took from the year, either (0004.12).
            borne_now_fen = min(borne_now_fen, max(0, terms.limit_fen - max(0, borne_this_year_fen)))
        return Moved(borne_now_fen, 0 if continues else number, key)

    def book(self, moved: Moved, year: int) -> None:
        """Add a settled stay to its episode."""
        if moved.episode is None:
            return
        episode = self.episodes.get(moved.episode, Episode())
        if moved.began:
            episode = episode._replace(number=moved.number, year=year)
        self.episodes[moved.episode] = episode._replace(borne_fen=episode.borne_fen + moved.borne_fen)

    def take_back(self, moved: Moved, year: int) -> None:
        """Take a reversed stay out of its episode; without the stay it began with, it has not begun (0004.13)."""
        if moved.episode is None:
            return
        episode = self.episodes.get(moved.episode, Episode(year=year))
        if moved.began:
            episode = episode._replace(number=0)
        self.episodes[moved.episode] = episode._replace(borne_fen=episode.borne_fen - moved.borne_fen)

    def closing(self) -> Episodes:
        """Return the episodes that have begun, or on whose meter something stands (0004.12, 0004.13)."""
        return {key: episode for key, episode in self.episodes.items() if episode.number or episode.borne_fen}
