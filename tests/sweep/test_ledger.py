"""The ledger: what was written stays known, whatever tears the file."""

import json

import pytest

from flowercls.sweep.ledger import FAILED, FINISHED, STARTED, Entry, Ledger


def entry(key='k', state=STARTED, **more):
    return Entry(key, 'lr=1', 0, state, 'trials/lr=1_seed0', **more)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / 'ledger.jsonl')


def test_a_ledger_that_does_not_exist_is_empty(ledger):
    assert ledger.entries() == [] and ledger.latest() == {}


def test_entries_come_back_and_the_last_one_of_a_trial_counts(ledger):
    written = [
        entry(),
        entry('j'),
        entry(state=FAILED, error='exit code 3: ä'),
        entry(state=FINISHED, top1=93.5, time_s=2.0),
    ]
    for event in written:
        ledger.append(event)
    assert Ledger(ledger.path).entries() == written
    assert {key: event.state for key, event in ledger.latest().items()} == {'k': FINISHED, 'j': STARTED}


def test_a_line_is_what_the_format_says(ledger):
    ledger.append(entry(state=FINISHED, top1=93.5, time_s=2.0))
    (line,) = ledger.path.read_text().splitlines()
    assert json.loads(line) == {
        'key': 'k', 'setting': 'lr=1', 'seed': 0, 'state': 'finished', 'run': 'trials/lr=1_seed0',
        'top1': 93.5, 'time_s': 2.0, 'error': None, 'epochs': None,
    }  # fmt: skip


def test_a_last_line_torn_anywhere_loses_itself_only(ledger):
    ledger.append(entry('a'))
    before = ledger.path.read_bytes()
    ledger.append(entry('b', error='é'))
    whole = ledger.path.read_bytes()
    for length in range(len(before), len(whole)):
        ledger.path.write_bytes(whole[:length])
        known = [event.key for event in ledger.entries()]
        assert known == (['a', 'b'] if length == len(whole) - 1 else ['a'])  # without its line end it is complete
        ledger.append(entry('c'))
        assert [event.key for event in ledger.entries()] == [*known, 'c']
        assert ledger.path.read_bytes().startswith(whole[:length])  # nothing is ever taken back


@pytest.mark.parametrize('line', [b'\0\0\0\n', b'[]\n', b'3\n', b'{"seed": 1}\n', b'\xff\xfe\n'])
def test_a_line_that_is_none_is_passed_over(ledger, line):
    ledger.append(entry('a'))
    with ledger.path.open('ab') as file:
        file.write(line)
    ledger.append(entry('b'))
    assert [event.key for event in ledger.entries()] == ['a', 'b']
