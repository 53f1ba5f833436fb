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


# ---------------------------------------------------------------- declared looks


def test_looks_are_planned_with_their_time_and_trials_stay_known(ledger):
    ledger.append(entry())
    ledger.plan_looks([3, 5])
    ledger.append(entry('j'))
    assert ledger.planned_looks() == (3, 5)
    assert [event.key for event in ledger.entries()] == ['k', 'j']
    line = json.loads(ledger.path.read_text().splitlines()[1])
    assert (line['event'], line['looks'], line['time'][-6:]) == ('plan', [3, 5], '+00:00')


def test_a_plan_is_written_when_it_changes(ledger):
    ledger.plan_looks([])
    assert not ledger.path.exists()  # nothing was ever planned
    for looks in ([3], [3], [3, 5], [3, 5], [], []):
        ledger.plan_looks(looks)
    assert len(ledger.path.read_text().splitlines()) == 3 and ledger.planned_looks() == ()


def test_the_plan_of_a_time_is_the_last_one_before(ledger):
    times = [f'2026-01-0{day}T00:00:00.000+00:00' for day in (1, 2, 3, 4)]
    lines = [{'event': 'plan', 'looks': looks, 'time': times[i]} for i, looks in ((1, [3]), (2, [4]))]
    ledger.path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    assert [ledger.planned_looks(before=time) for time in times] == [(), (3,), (4,), (4,)]


@pytest.mark.parametrize(
    'line',
    [
        {'event': 'plan', 'time': '2026-01-01T00:00:00.000+00:00'},
        {'event': 'plan', 'looks': [5, 3], 'time': '2026-01-01T00:00:00.000+00:00'},
        {'event': 'plan', 'looks': [3], 'time': 'long ago'},
        {'event': 'plan', 'looks': [3], 'time': '2026-01-01T00:00:00.000+02:00'},
        {'event': 'search', 'looks': [3], 'time': '2026-01-01T00:00:00.000+00:00'},
    ],
)
def test_a_line_that_is_no_plan_of_looks_is_passed_over(ledger, line):
    ledger.plan_looks([7])
    with ledger.path.open('a') as file:
        file.write(f'{json.dumps(line)}\n')
    assert ledger.planned_looks() == (7,)
