"""What is shown of a sweep: lines, progress bars, the table of results."""

import io

import pytest
from rich.console import Console

from flowercls.evaluate import optimism
from flowercls.sweep.display import Display, results_table, seconds_left, selection_line, status_line
from flowercls.sweep.ledger import FAILED, FINISHED
from flowercls.sweep.scheduler import IN_USE, RUNNING, WAITING, TrialState


@pytest.fixture
def make_state(make_trial, tmp_path):
    def make(setting, status, seed=0, **more):
        trial = make_trial(setting, seed)
        state = TrialState(trial, tmp_path / trial.name, status, **more)
        if status == RUNNING:
            state.begin()
        return state

    return make


def write(state, name, text):
    state.folder.mkdir(parents=True, exist_ok=True)
    (state.folder / name).write_text(text)


def finish_epoch(state):
    write(state, 'scalars.json', '{"accuracy/top1": 88.75, "step": 1}')
    state.update()


def test_results_are_a_table_of_settings_and_seeds(make_state):
    states = [make_state('lr=0.01', FINISHED, 0, top1=96.0), make_state('a', FINISHED, 0, top1=None)]
    states += [make_state('lr=0.01', FINISHED, 1, top1=95.125), make_state('a', FAILED, 1)]
    assert results_table(states).splitlines() == [
        'best top-1, %  seed 0  seed 1',
        'lr=0.01         96.00   95.12',
        'a                   -  failed',
    ]


def test_the_best_epochs_are_called_optimistic_with_the_size_of_it(make_state, monkeypatch):
    states = [make_state(name, FINISHED, top1=96.0) for name in 'ab'] + [
        make_state('c', FINISHED),
        make_state('d', FAILED),
    ]
    points = {'a_seed0': 1.0, 'b_seed0': 0.5}  # of those not validated, none is asked
    monkeypatch.setattr(optimism, 'best_epoch_optimism', lambda folder: points[folder.name])
    assert 'expect about 0.8 points less' in selection_line(states) and 'chose the epochs' in selection_line(states)
    points['b_seed0'] = None
    assert 'expect less' in selection_line(states)
    points.update(a_seed0=0, b_seed0=0)
    assert selection_line(states) == selection_line(states[2:]) == ''


def test_plain_lines_say_what_changed_and_nothing_twice(make_state):
    out, (old, first) = io.StringIO(), (make_state('a', FINISHED, top1=1.0), make_state('b', RUNNING))
    second, third = make_state('c', IN_USE), make_state('d', WAITING)
    write(second, 'last_checkpoint', 'epoch_1.pth')
    with Display(1, Console(file=out, soft_wrap=True)) as display:
        display.show([old, first, second, third])
        display.show([old, first, second, third])
        first.status, first.top1, first.time_s = FINISHED, 91.5, 65.0
        second.begin()
        display.show([old, first, second, third])
        second.status, second.error = FAILED, 'exit code 3: DataError: [x]'
        display.show([old, first, second, third])
    assert [line.partition(', because')[0] for line in out.getvalue().splitlines()] == [
        'b_seed0: started',
        'c_seed0: waits',
        'b_seed0: finished, best top-1 91.50 %, 1 min 05 s',
        'c_seed0: resumed',
        'c_seed0: failed, exit code 3: DataError: [x]',
    ]


def test_a_line_now_and_then_says_how_far_it_is_with_and_without_an_epoch_to_judge_by(make_state):
    trials = [make_state('a', RUNNING), make_state('b', WAITING)]
    assert status_line(trials, 1) == '0 of 2 finished; a_seed0 epoch 0/2 best top-1 -'
    trials[0].status, trials[0].time_s = FINISHED, 65.0
    assert status_line(trials, 1) == '1 of 2 finished, about 1 min 05 s left'


def test_a_terminal_shows_a_bar_for_each_running_trial(make_state):
    out = io.StringIO()
    states = [make_state(f't{i}', FINISHED, top1=50.0, time_s=120.0) for i in range(30)]
    states.append(make_state('now', RUNNING))
    finish_epoch(states[-1])
    with Display(1, Console(file=out, force_terminal=True, width=100, height=12, _environ={})) as display:
        display.show(states)
    row = next(line for line in out.getvalue().splitlines() if 'now_seed0' in line and '1/2' in line)
    assert 'best top-1 88.75 %' in row and ' s left' in row and '30 of 31 finished' in out.getvalue()


def test_time_left_counts_epochs_and_divides_by_the_jobs(make_state):
    waiting = [make_state(name, WAITING) for name in 'abcd']
    assert seconds_left(waiting, 2) is None
    done = make_state('z', FINISHED, time_s=20.0)  # two epochs: 10 s each
    assert seconds_left([done, *waiting], 1) == 80.0
    assert seconds_left([done, *waiting], 2) == 40.0
    assert seconds_left([done, waiting[0]], 2) == 20.0  # one trial is no faster on two
    running = make_state('r', RUNNING)
    finish_epoch(running)  # at once: three epochs in 20 s, three are left
    assert seconds_left([done, running, waiting[0]], 1) == pytest.approx(20, abs=0.1)
    assert seconds_left([running], 1) == pytest.approx(0, abs=0.1)  # its own epochs
    assert seconds_left([done], 1) is None
    done.epochs = 1  # an earlier start ran the other epoch
    assert seconds_left([done, waiting[0]], 1) == 40.0
    done.epochs = 0
    assert seconds_left([done, waiting[0]], 1) is None
