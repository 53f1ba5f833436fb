import pickle
import random

import numpy as np
import torch

from flowercls.datasets.randomness import (
    AUGMENTATION,
    CounterSampler,
    SampleKey,
    derive_seed,
    seed_generators,
    seeded,
)


def orders(sampler, epochs):
    for epoch in epochs:
        sampler.set_epoch(epoch)
        yield [int(key) for key in sampler]


def test_every_photo_comes_once_an_epoch_and_no_two_orders_are_alike():
    first, second = orders(CounterSampler(range(50), seed=1), [0, 1])
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second != list(range(50))


def test_order_depends_on_seed_and_epoch_and_on_nothing_that_happened_before():
    straight = list(orders(CounterSampler(range(50), seed=1), [0, 1, 2]))
    np.random.seed(9)
    assert list(orders(CounterSampler(range(50), seed=1), [2])) == straight[2:]
    assert list(orders(CounterSampler(range(50), seed=2), [2])) != straight[2:]


def test_processes_share_an_epoch_without_gaps():
    samplers = [CounterSampler(range(7), seed=0) for _ in range(2)]
    for rank, sampler in enumerate(samplers):
        sampler.rank, sampler.world_size = rank, 2
    shares = [[int(key) for key in sampler] for sampler in samplers]
    assert [len(share) for share in shares] == [4, 4] == [len(sampler) for sampler in samplers]
    assert set(shares[0]) | set(shares[1]) == set(range(7))


def test_key_is_an_index_that_keeps_its_epoch_on_the_way_to_a_worker():
    key = pickle.loads(pickle.dumps(SampleKey(3, seed=5, epoch=7)))
    assert (key, key.seed, key.epoch) == (3, 5, 7)
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
