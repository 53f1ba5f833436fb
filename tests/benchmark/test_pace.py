"""The clock of a contestant, with orders from a pipe of this process."""

import multiprocessing

import pytest

from flowercls.benchmark import pace as pace_module
from flowercls.benchmark.pace import Pace, Round


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when told to."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

        time = perf_counter

    clock = Clock()
    monkeypatch.setattr(pace_module, 'time', clock)
    return clock


@pytest.fixture
def train(clock):
    """A loop whose steps take 2 s and whose data take 1 s; returns its answers to the orders."""
    here, there = multiprocessing.Pipe()
    pace = Pace(there, created=90.0)

    def answers(*orders):
        for order in (*orders, None):
            here.send(order)
        with pytest.raises(SystemExit):
            while True:
                clock.now += 1
                pace.step_begins()
                clock.now += 2
                pace.step_ended(32)
        return [here.recv() for _ in range(1 + len(orders))]

    return answers


def test_the_first_step_is_timed_from_the_imports_on(train):
    assert train() == [{'imports_s': 10.0, 'first_step_s': 3.0}]


def test_a_round_counts_its_steps_and_what_was_waited_between_them(train):
    _, found = train(Round(lead=0, steps=3, seconds=0))
    # Data of the first step were there before the order: 2 + (1 + 2) + (1 + 2).
    assert (found['photos'], found['seconds'], found['waited']) == (96, 8.0, 2.0)
    assert found['memory'] > 2**20


def test_steps_that_lead_are_not_timed(train):
    _, found = train(Round(lead=2, steps=2, seconds=0))
    assert (found['photos'], found['seconds'], found['waited']) == (64, 6.0, 2.0)


def test_a_round_lasts_as_long_as_it_shall(train):
    _, short, long = train(Round(0, 1, 0), Round(0, 1, 10))
    assert (short['photos'], short['seconds']) == (32, 2.0)
    assert (long['photos'], long['seconds']) == (32 * 4, 11.0)


def test_a_loop_ends_when_nobody_asks_any_more(clock):
    here, there = multiprocessing.Pipe()
    pace = Pace(there, created=0)
    pace.step_begins()
    pace.step_ended(1)
    here.close()
    with pytest.raises(SystemExit):
        pace.step_begins()
