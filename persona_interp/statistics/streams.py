"""Streams of random numbers: one a purpose, independent of every other and of those of every other seed."""

from hashlib import sha256

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """The generator of one purpose under one seed.

    Streams with another seed or another purpose share no numbers, so `stream(0, "items")` and `stream(1, "items")` are
    as independent as `stream(0, "items")` and `stream(0, "rows")`. Seeds made by adding (`seed + 1`) do not have this:
    the second step of one run would repeat the first step of the next.

    Args:
        purpose: words that say what the numbers are for, and the place of a draw among others.

    Source: numpy.random.SeedSequence, whose spawn keys these are.
    """
    return np.random.default_rng(_sequence(seed, purpose))


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A seed of its own for one purpose, 0 to 2^32 - 1, for programs that take a number."""
    return int(_sequence(seed, purpose).generate_state(1)[0])


def _sequence(seed: int, purpose: tuple[str | int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=tuple(map(_key, purpose)))


def _key(word: str | int) -> int:
    return word if isinstance(word, int) else int.from_bytes(sha256(word.encode()).digest()[:4], "big")
