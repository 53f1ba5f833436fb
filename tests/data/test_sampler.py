from collections import Counter

import numpy as np
import pytest

from flowercls.data.sampler import CounterSampler


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


# ---------------------------------------------------------------- classes equally often


class Labelled:
    """A dataset of labels: as many photos of each class as ``counts`` says, mixed."""

    def __init__(self, *counts):
        self.labels = np.random.default_rng(0).permutation(np.repeat(range(len(counts)), counts)).tolist()

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return dict(gt_label=self.labels[index])


def test_a_balanced_epoch_is_as_long_and_has_every_class_equally_often():
    data = Labelled(40, 3, 10)
    fewest = []
    for order in orders(CounterSampler(data, balanced=True), range(6)):
        counts = Counter(data.labels[photo] for photo in order)
        assert len(order) == 53 and sorted(counts.values()) == [17, 18, 18]
        fewest.append(min(counts, key=counts.get))
    assert sorted(fewest) == [0, 0, 1, 1, 2, 2]  # the class that gets one less takes turns


def test_a_class_shows_all_its_photos_before_it_repeats_one():
    data = Labelled(40, 3, 10)
    rows = {label: [] for label in range(3)}
    for order in orders(CounterSampler(data, seed=5, balanced=True, shuffle=False), range(12)):
        for label, row in rows.items():
            row.append([photo for photo in order if data.labels[photo] == label])
    # 12 epochs have 212 photos of each class, e.g. 5 times all 40 of the first and 12 more.
    for label, size in enumerate((40, 3, 10)):
        times = Counter(photo for epoch in rows[label] for photo in epoch)
        assert len(times) == size and set(times.values()) == {212 // size, 212 // size + 1}
    assert all(len(set(epoch)) == len(epoch) for epoch in rows[0][:2])  # 36 of 40: none twice
    for epoch in rows[1]:  # 17 or 18 of 3: five or six whole passes, and parts of two more
        times = Counter(epoch)
        assert len(times) == 3 and 5 <= min(times.values()) <= max(times.values()) <= 7


def test_balanced_order_depends_on_seed_and_epoch_alone_and_is_shuffled():
    data = Labelled(20, 5)
    straight = list(orders(CounterSampler(data, seed=1, balanced=True), [0, 1, 2]))
    assert list(orders(CounterSampler(data, seed=1, balanced=True), [2])) == straight[2:]
    assert list(orders(CounterSampler(data, seed=2, balanced=True), [2])) != straight[2:]
    assert len({tuple(order) for order in straight}) == 3 and straight[0] != sorted(straight[0])


def test_a_photo_that_comes_again_in_an_epoch_is_another_sample():
    keys = list(CounterSampler(Labelled(20, 2), balanced=True))
    seen = {(int(key), key.occurrence) for key in keys}
    assert len(seen) == len(keys) == 22 and max(key.occurrence for key in keys) >= 5  # 11 of 2
    assert {key.occurrence for key in CounterSampler(range(5))} == {0}


def test_classes_of_one_size_lose_no_photo_by_being_balanced():
    (order,) = orders(CounterSampler(Labelled(6, 6), balanced=True), [3])
    assert sorted(order) == list(range(12))


@pytest.mark.parametrize('world_size', [2, 3])
def test_processes_share_a_balanced_epoch(world_size):
    data = Labelled(8, 2, 3)
    whole = next(orders(CounterSampler(data, balanced=True), [1]))
    shares = []
    for rank in range(world_size):
        sampler = CounterSampler(data, balanced=True)
        sampler.rank, sampler.world_size = rank, world_size
        shares.append(next(orders(sampler, [1])))
    assert len({len(share) for share in shares}) == 1
    together = [photo for turn in zip(*shares, strict=True) for photo in turn]
    assert together[: len(whole)] == whole and together[len(whole) :] == whole[: len(together) - len(whole)]
