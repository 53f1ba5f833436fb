import numpy as np
import pytest


@pytest.fixture
def with_misses():
    """Hits of runs, (seeds, photos): each argument lists the photos that one run missed."""

    def make(*photos_missed, num_photos=568):
        hits = np.ones((len(photos_missed), num_photos), bool)
        for run, missed in zip(hits, photos_missed, strict=True):
            run[list(missed)] = False
        return hits

    return make
