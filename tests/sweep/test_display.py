"""What is shown of a sweep: plain lines, the live table, the table of results."""

import io

import pytest
from rich.console import Console

from flowercls.sweep.display import Display, live_table, results_table, seconds_left, status_line
from flowercls.sweep.ledger import FAILED, FINISHED
from flowercls.sweep.scheduler import RUNNING, WAITING, Progress


@pytest.fixture
def progress(make_trial, tmp_path):
    def make(setting, state, seed=0, **more):
        trial = make_trial(setting, seed)
        return Progress(trial, tmp_path / trial.name, state, **more)

    return make


def test_results_are_a_table_of_settings_and_seeds(progress):
    shown = results_table(
        [
            progress('lr=0.01', FINISHED, 0, top1=96.0),
            progress('a', FINISHED, 0, top1=None),
            progress('lr=0.01', FINISHED, 1, top1=95.125),
            progress('a', FAILED, 1),
        ]
    )
    assert shown.splitlines() == [
        'top-1, %  seed 0  seed 1',
        'lr=0.01    96.00   95.12',
        'a              -  failed',
    ]


def begun(progress):
    """With the checkpoint of an earlier start."""
    progress.is_begun = True
    progress.folder.mkdir(parents=True, exist_ok=True)
    (progress.folder / 'last_checkpoint').write_text('epoch_1.pth')


def test_plain_lines_say_what_changed_and_nothing_twice(progress):
    out = io.StringIO()
    trials = [progress('a', FINISHED, top1=1.0), progress('b', RUNNING), progress('c', WAITING), progress('d', WAITING)]
    with Display(1, Console(file=out, soft_wrap=True)) as display:
        display.show(trials)
        display.show(trials)
        trials[1].state, trials[1].top1, trials[1].time_s = FINISHED, 91.5, 65.0
        trials[2].state = RUNNING
        begun(trials[2])
        display.show(trials)
        trials[2].state, trials[2].error = FAILED, 'exit code 3: DataError: [x]'
        display.show(trials)
    assert out.getvalue().splitlines() == [
        'b_seed0: started',
        'b_seed0: finished, top-1 91.50 %, 1 min 05 s',
        'c_seed0: goes on',
        'c_seed0: failed, exit code 3: DataError: [x]',
    ]


def test_a_trial_whose_folder_is_in_use_gets_one_line(progress):
    out = io.StringIO()
    trials = [progress('a', WAITING, is_begun=True), progress('b', WAITING)]
    with Display(1, Console(file=out, soft_wrap=True)) as display:
        begun(trials[0])
        for _ in range(3):
            trials[0].wait_for_folder()
            display.show(trials)
        trials[0].begin()
        display.show(trials)
    assert out.getvalue().splitlines() == [
        'a_seed0: waits for a process of an earlier start that still works in its folder',
        'a_seed0: goes on',
    ]


def test_a_line_now_and_then_says_how_far_it_is_with_and_without_an_epoch_to_judge_by(progress):
    trials = [progress('a', RUNNING), progress('b', WAITING)]
    assert status_line(trials, 1) == '0 of 2 finished; a_seed0 epoch 0/2 top-1 -'
    trials[0].state, trials[0].time_s = FINISHED, 65.0
    assert status_line(trials, 1) == '1 of 2 finished, about 1 min 05 s left'


def test_the_live_table_shows_running_trials_first_and_fits(progress):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=12, _environ={})
    trials = [progress(f't{i}', FINISHED, top1=50.0, time_s=1.0) for i in range(30)]
    trials.append(progress('now', RUNNING, epoch=1, top1=88.75, seconds_left=90.0))
    with Display(1, console) as display:
        display.show(trials)
    text = out.getvalue()
    row = next(line for line in text.splitlines() if 'now_seed0' in line)
    assert all(word in row for word in ('running', '1/2', '88.75 %', '1 min 30 s'))
    assert '30 of 31 finished' in text and live_table(trials, 1, 12).row_count == 5


def test_time_left_counts_epochs_and_divides_by_the_jobs(progress):
    waiting = [progress(name, WAITING) for name in 'abcd']
    assert seconds_left(waiting, 2) is None
    done = progress('z', FINISHED, time_s=20.0)  # two epochs: 10 s each
    assert seconds_left([done, *waiting], 1) == 80.0
    assert seconds_left([done, *waiting], 2) == 40.0
    assert seconds_left([done, waiting[0]], 2) == 20.0  # one trial is no faster on two
    running = progress('r', RUNNING, epoch=1)
    running.begin()
    running.seconds_left = 4.0  # two epochs in 4 s: all four took 24 s
    assert seconds_left([done, running, waiting[0]], 1) == pytest.approx(4.0 + 2 * 6.0, abs=0.1)
    assert seconds_left([done], 1) is None


def test_an_epoch_takes_what_it_took_the_start_that_ran_it(progress):
    resumed = progress('z', FINISHED, time_s=10.0, epochs=1)  # the other of its two epochs is of an earlier start
    assert seconds_left([resumed, progress('a', WAITING)], 1) == 20.0
    only_ended = progress('y', FINISHED, time_s=10.0, epochs=0)
    assert seconds_left([only_ended, progress('a', WAITING)], 1) is None
