"""Random numbers as a pure function of a seed and a purpose; nothing depends on what was drawn before."""

from __future__ import annotations

import zlib

import numpy as np

_MASK = (1 << 64) - 1


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """A generator of its own for each (seed, key), as `generator(7, "mask", step)`."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part & _MASK for part in key]
    return np.random.default_rng([seed & _MASK, *words])


def mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): uint64 → well-mixed uint64, elementwise."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Permutation:
    """A random order of `0 … n-1` that is computed place by place, so that its size costs no memory and no
    time.

    A Feistel network over pairs (l, r) with l < a, r < b, a·b ≥ n: each half round adds a keyed hash of one
    half to the other one, modulo its size, which can be undone, so the whole is a bijection of 0 … a·b-1.
    Places that lead to n or more are sent through again until they fall below n (cycle walking; Black and
    Rogaway 2002).

    Args:
        n: how many there are.
        seed, key: name the order; see `generator`.
    """

    ROUNDS = 8

    def __init__(self, n: int, seed: int, *key: int | str) -> None:
        self.n = n
        self._left = max(1, int(np.ceil(np.sqrt(n))))
        self._right = max(1, -(-n // self._left))
        self._keys = generator(seed, *key).integers(0, _MASK, self.ROUNDS, np.uint64, endpoint=True)

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """What stands at each of `places` (int64, below n)."""
        found = self._shuffle(np.asarray(places, np.uint64))
        while len(outside := np.flatnonzero(found >= self.n)):
            found[outside] = self._shuffle(found[outside])
        return found.astype(np.int64)

    def _shuffle(self, values: np.ndarray) -> np.ndarray:
        a, b = np.uint64(self._left), np.uint64(self._right)
        left, right = np.divmod(values, b)
        for number, key in enumerate(self._keys):
            if number % 2:
                right = (right + mix(left ^ key) % b) % b
            else:
                left = (left + mix(right ^ key) % a) % a
        return left * b + right
