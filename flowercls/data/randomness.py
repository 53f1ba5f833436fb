"""Randomness drawn from counters, never from a running state.

The order of an epoch is f(seed, epoch); the augmentation of a photo is f(seed, epoch, its number). So a run resumes
exactly in the middle of an epoch, the number of loader workers changes nothing, and two settings with one seed see the
same augmented photos.
"""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

# Streams: a step and an epoch with equal numbers must not share their random numbers.
ORDER, AUGMENTATION, STEP, INITIAL_WEIGHTS, CLASS_PASS, NORM_STATISTICS = 1, 2, 3, 4, 5, 6


def derive_seed(*counters: int) -> int:
    """Return a 64-bit seed that depends on every counter and on nothing else.

    Args:
        counters: Non-negative integers; by convention the run's seed, a stream (`ORDER`, `AUGMENTATION`, ...),
            and then epoch, step or photo number.

    Source:
        numpy's ``SeedSequence``, made to turn related counters into unrelated seeds.
    """
    return int(np.random.SeedSequence(counters).generate_state(1, np.uint64)[0])


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch: transforms and layers draw from all three."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed % 2**63)


@contextlib.contextmanager
def seeded(*counters: int) -> Iterator[None]:
    """Run a ``with`` block with all CPU generators seeded from ``counters``; afterwards restore their states."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        seed = derive_seed(*counters)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed % 2**63)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


class SampleKey(int):
    """The number of a photo with the seed, the epoch, and its occurrence in the epoch.

    It is an int, so any dataset can be indexed with it. It carries the epoch to loader workers, so they need no other
    message between epochs.
    """

    seed: int
    epoch: int
    occurrence: int  # 0 for the first time in the epoch

    def __new__(cls, index: int, seed: int, epoch: int, occurrence: int = 0) -> 'SampleKey':
        key = super().__new__(cls, index)
        key.seed, key.epoch, key.occurrence = seed, epoch, occurrence
        return key

    def __getnewargs__(self) -> tuple[int, int, int, int]:
        return int(self), self.seed, self.epoch, self.occurrence
