import pickle
import random

import numpy as np
import torch

from flowercls.data.randomness import AUGMENTATION, SampleKey, derive_seed, seed_generators, seeded


def test_key_is_an_index_that_keeps_its_epoch_on_the_way_to_a_worker():
    key = pickle.loads(pickle.dumps(SampleKey(3, seed=5, epoch=7, occurrence=2)))
    assert (key, key.seed, key.epoch, key.occurrence) == (3, 5, 7, 2)
    assert 'abcd'[key] == 'd'


def test_seeded_block_draws_the_same_and_leaves_no_trace():
    seed_generators(0)
    before = random.random(), np.random.rand(), torch.rand(1).item()
    draws = []
    for _ in range(2):
        with seeded(1, AUGMENTATION, 2, 3):
            draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    after = random.random(), np.random.rand(), torch.rand(1).item()
    seed_generators(0)
    assert draws[0] == draws[1]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == before
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == after


def test_neighbouring_counters_give_unrelated_seeds():
    seeds = [derive_seed(0, AUGMENTATION, epoch, photo) for epoch in range(20) for photo in range(50)]
    assert len(set(seeds)) == 1000
    assert derive_seed(0, 1, 2) != derive_seed(0, 2, 1)
