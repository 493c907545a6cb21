"""Random numbers that belong to somebody: the same seed, person, purpose and turn give the same numbers, whoever else is drawn.

Philox 4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011): a block of
four words of 32 bits is a function of its place alone, so nothing must be drawn in order, or be remembered.
"""

import math

from yibao_core._jit import helper, routine

WORD = 0xFFFF_FFFF
ROUNDS = 10
FACTOR_0, FACTOR_1 = 0xD251_1F53, 0xCD9E_8D57
STEP_0, STEP_1 = 0x9E37_79B9, 0xBB67_AE85

Block = tuple[int, int, int, int]
"""Four words of 32 bits."""


@helper
def product(word: int, factor: int) -> tuple[int, int]:
    """Return the high and the low word of a product of two words. The word's first bit goes apart, so that nothing wraps."""
    low = (word & 0x7FFF_FFFF) * factor
    above = (low >> 31) + (-(word >> 31) & factor)
    return above >> 1, (above & 1) << 31 | low & 0x7FFF_FFFF


@routine
def philox(word_0: int, word_1: int, word_2: int, word_3: int, key_0: int, key_1: int) -> Block:
    """Return the block of a counter of four words under a key of two."""
    for _ in range(ROUNDS):
        high_0, low_0 = product(word_0, FACTOR_0)
        high_1, low_1 = product(word_2, FACTOR_1)
        word_0, word_1, word_2, word_3 = high_1 ^ word_1 ^ key_0, low_1, high_0 ^ word_3 ^ key_1, low_0
        key_0, key_1 = (key_0 + STEP_0) & WORD, (key_1 + STEP_1) & WORD
    return word_0, word_1, word_2, word_3


@helper
def draw(seed: int, person: int, purpose: int, turn: int) -> Block:
    """Return a person's block for a purpose; `turn` counts the blocks of one purpose. All below 2**32, the person and seed below 2**62."""
    return philox(turn, purpose, person & WORD, person >> 32, seed & WORD, seed >> 32)


@helper
def unit(word: int) -> float:
    """Return a word as a number above 0 and below 1."""
    return (word + 0.5) * 2.0**-32


@helper
def fine_unit(high: int, low: int) -> float:
    """Return two words as a number above 0 and below 1 with 52 bits: for tails that a single word is too coarse for."""
    return ((high << 20 | low >> 12) + 0.5) * 2.0**-52


@helper
def below(word: int, count: int) -> int:
    """Return a word as one of so many places, from 0."""
    return word * count >> 32


@routine
def normal(share: float) -> float:
    """Return the value of the standard normal distribution that `share` of it lies below (Wichura, AS 241, to 7 digits)."""
    centred = share - 0.5
    if abs(centred) <= 0.425:
        r = 0.180625 - centred * centred
        top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return centred * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = math.sqrt(-math.log(min(share, 1.0 - share)))
    if r <= 5.0:
        r -= 1.6
        top = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
        value = top / ((0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
        value = top / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return -value if centred < 0 else value


@routine
def poisson(mean: float, share: float) -> int:
    """Return the number of events that `share` of the Poisson distribution lies below; a mean of hundreds goes by the normal one."""
    if mean <= 0.0:
        return 0
    if mean > 500.0:
        return max(0, int(mean + math.sqrt(mean) * normal(share) + 0.5))
    term = math.exp(-mean)
    events = 0
    while share > term and events < 2_000:
        share -= term
        events += 1
        term *= mean / events
    return events


@routine
def gamma(shape: float, seed: int, person: int, purpose: int) -> float:
    """Return a gamma number of mean 1 (Marsaglia and Tsang 2000); it uses a purpose's blocks up."""
    boosted = shape + 1.0 if shape < 1.0 else shape
    d = boosted - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    turn = 0
    while True:
        word_0, word_1, word_2, word_3 = draw(seed, person, purpose, turn)
        turn += 1
        x = normal(fine_unit(word_0, word_1))
        v = 1.0 + c * x
        if v <= 0.0:
            continue
        v = v * v * v
        if math.log(unit(word_2)) < 0.5 * x * x + d - d * v + d * math.log(v):
            value = d * v
            if shape < 1.0:
                value *= unit(word_3) ** (1.0 / shape)
            return value / shape
