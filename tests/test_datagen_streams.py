"""Random numbers that belong to somebody: known answers of Philox, and distributions with their moments."""

import math
import os
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from yibao_core._jit import kernel
from yibao_datagen import streams

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
MANY = 200_000 if COMPILED else 4_000


@kernel
def block(words: Any, found: Any) -> None:
    found[0], found[1], found[2], found[3] = streams.philox(words[0], words[1], words[2], words[3], words[4], words[5])


@kernel
def drawn(seed: int, kind: int, parameter: float, out: Any) -> None:
    for person in range(out.size):
        word_0, word_1, _, _ = streams.draw(seed, person, 3, 0)
        share = streams.fine_unit(word_0, word_1)
        if kind == 0:
            out[person] = streams.unit(word_0)
        elif kind == 1:
            out[person] = streams.normal(share)
        elif kind == 2:
            out[person] = streams.poisson(parameter, share)
        elif kind == 3:
            out[person] = streams.gamma(parameter, seed, person, 4)
        else:
            out[person] = streams.below(word_0, 10)


@kernel
def inverse(shares: Any, out: Any) -> None:
    for at in range(out.size):
        out[at] = streams.normal(shares[at])


def many(kind: int, parameter: float = 0.0, seed: int = 11) -> Any:
    out = np.empty(MANY)
    drawn(seed, kind, parameter, out)
    return out


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)  # fmt: skip
def test_philox_gives_the_answers_that_its_authors_published(counter: Any, key: Any, expected: Any) -> None:
    """Random123's file of known answers, philox4x32 with 10 rounds."""
    found = np.zeros(4, dtype=np.int64)
    block(np.array([*counter, *key], dtype=np.int64), found)
    assert tuple(found.tolist()) == expected


def test_units_are_even_and_another_seed_has_others() -> None:
    units = many(0)
    assert 0 < units.min() < units.max() < 1
    assert abs(units.mean() - 0.5) < 4 * math.sqrt(1 / 12 / MANY)
    assert abs(np.corrcoef(units, many(0, seed=12))[0, 1]) < 4 / math.sqrt(MANY)
    assert np.bincount(many(4).astype(int)).min() > MANY / 10 - 5 * math.sqrt(MANY / 10)


def test_normal_numbers_are_those_of_the_inverse_distribution() -> None:
    exact = NormalDist()
    out = np.sort(many(1))
    assert abs(out.mean()) < 4 / math.sqrt(MANY)
    assert abs(out.std() - 1) < 4 / math.sqrt(2 * MANY)
    shares = np.array([1e-12, 1e-6, 0.01, 0.07499, 0.2, 0.5, 0.9, 0.999999])
    values = np.empty(len(shares))
    inverse(shares, values)
    assert values == pytest.approx([exact.inv_cdf(share) for share in shares], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.3, 4.0, 120.0, 700.0])
def test_poisson_numbers_have_their_mean_and_variance(mean: float) -> None:
    out = many(2, mean)
    assert abs(out.mean() - mean) <= 4 * math.sqrt(mean / MANY)
    if mean:
        assert out.var() == pytest.approx(mean, rel=6 * math.sqrt((2 + 1 / mean) / MANY))


@pytest.mark.parametrize("shape", [0.25, 0.6, 1.0, 4.0])
def test_gamma_numbers_have_mean_1_and_their_variance(shape: float) -> None:
    out = many(3, shape)
    assert (out > 0).all()
    assert abs(out.mean() - 1) < 4 * math.sqrt(1 / shape / MANY)
    assert out.var() == pytest.approx(1 / shape, rel=6 * math.sqrt((2 + 6 / shape) / MANY))
