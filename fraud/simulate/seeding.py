"""Where every random number of a simulation comes from: one seed per purpose and entity.

Seed 0 gives the streams of the published Handbook data: NumPy's legacy Mersenne Twister (``RandomState``)
and Python's ``random``, seeded with small integers. Any other seed puts the purpose and itself beside that
integer, so that no two purposes share a stream.
"""

from __future__ import annotations

import random
from enum import IntEnum

import numpy as np

LARGEST_SEED = 2**32 - 1
"""A seed is one 32-bit word of the generators' initial key."""


class Purpose(IntEnum):
    """What a stream is used for."""

    CUSTOMERS = 1
    TERMINALS = 2
    TRANSACTIONS = 3
    COMPROMISED_TERMINALS = 4
    COMPROMISED_CUSTOMERS = 5


def numpy_stream(purpose: Purpose, index: int, seed: int) -> np.random.RandomState:
    """NumPy's legacy generator for one purpose and entity (``default_rng`` would give other data)."""
    if seed == 0:
        return np.random.RandomState(index)
    return np.random.RandomState([index, seed, purpose])


def python_stream(purpose: Purpose, index: int, seed: int) -> random.Random:
    """Python's generator for one purpose and entity; never the stream ``numpy_stream`` gives."""
    return random.Random(_python_key(purpose, index, seed))  # noqa: S311  made-up data, nothing secret


def python_words(purpose: Purpose, index: int, seed: int) -> np.random.RandomState:
    """The same generator as ``python_stream``, as one that yields its 32-bit words in bulk.

    CPython seeds the Mersenne Twister with the 32-bit digits of the seed's absolute value, least
    significant first; NumPy does the same with an array of them.
    """
    key = _python_key(purpose, index, seed)
    digits = max(1, -(-key.bit_length() // 32))
    return np.random.RandomState([key >> (32 * digit) & 0xFFFFFFFF for digit in range(digits)])


def _python_key(purpose: Purpose, index: int, seed: int) -> int:
    # The bit above the purpose keeps this key longer than any key of ``numpy_stream``.
    return index if seed == 0 else index | seed << 32 | int(purpose) << 64 | 1 << 96
