"""Which trials run, and what the ledger says then; with a fake launcher."""

import json
import subprocess
import sys

import pytest

from flowercls.core.errors import DiskError
from flowercls.sweep import scheduler
from flowercls.sweep.ledger import FAILED, FINISHED, STARTED, Ledger
from flowercls.sweep.scheduler import IN_USE, RUNNING, TrialScheduler, TrialState, plan_trials


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / 'ledger.jsonl')


@pytest.fixture
def sweep(ledger, tmp_path):
    """Run trials with a launcher, as one start of the tool does; returns their states."""

    def start(trials, launcher, show=lambda states: None, give_up_s=60, **options):
        states = plan_trials(trials, tmp_path, ledger, **options)
        times = dict(poll_s=0, retry_s=0.001, give_up_s=give_up_s)
        TrialScheduler(tmp_path, ledger, launcher, show, **times).run(states)
        return states

    return start


def test_each_trial_runs_once_in_a_folder_named_after_it(sweep, ledger, make_trial, fake_launcher, tmp_path):
    launcher = fake_launcher()
    ended = sweep([make_trial('a'), make_trial('a', 1), make_trial('b')], launcher)
    assert launcher.started == ['a_seed0', 'a_seed1', 'b_seed0']
    assert (ended[0].status, ended[0].top1, ended[0].folder) == (FINISHED, 90.0, tmp_path / 'trials' / 'a_seed0')
    assert [(e.state, e.run) for e in ledger.entries()[:2]] == [(s, 'trials/a_seed0') for s in (STARTED, FINISHED)]
    again = fake_launcher()  # values added to the grid are all that is run
    trials = [make_trial('c'), make_trial('a'), make_trial('b'), make_trial('b', 1)]
    assert [state.top1 for state in sweep(trials, again)] == [90.0] * 4 and again.started == ['c_seed0', 'b_seed1']


def test_a_dead_trial_costs_only_itself_and_is_tried_again_only_when_asked(sweep, ledger, make_trial, fake_launcher):
    trials = [make_trial('a'), make_trial('b')]
    ended = sweep(trials, fake_launcher({'a': [3]}))
    assert [(s.status, s.error) for s in ended] == [(FAILED, 'exit code 3: DataError: no photos'), (FINISHED, None)]
    assert ledger.latest()['a/0'].error == 'exit code 3: DataError: no photos'
    again, asked = fake_launcher(), fake_launcher()
    assert sweep(trials, again)[0].status == FAILED and again.started == []
    assert sweep(trials, asked, retry_failed=True)[0].status == FINISHED and asked.started == ['a_seed0']
    assert [entry.run for entry in ledger.entries() if entry.key == 'a/0'] == ['trials/a_seed0'] * 4


def test_a_trial_under_way_goes_on_in_its_folder(sweep, ledger, make_trial, fake_launcher):
    def interrupt(states):
        raise KeyboardInterrupt

    launcher = fake_launcher({'a': ['forever']})
    with pytest.raises(KeyboardInterrupt):
        sweep([make_trial('a'), make_trial('b')], launcher, interrupt)
    assert launcher.handles[0].was_asked
    assert [entry.state for entry in ledger.entries()] == [STARTED]
    (first, second) = plan_trials([make_trial('a'), make_trial('b')], ledger.path.parent, ledger)
    assert first.folder == launcher.handles[0].folder and not first.can_resume and not second.can_resume
    (first.folder / 'last_checkpoint').touch()
    assert first.can_resume
    assert {s.status for s in sweep([make_trial('a'), make_trial('b')], fake_launcher())} == {FINISHED}


def test_a_trial_whose_results_were_deleted_runs_again_until_it_has_ended(sweep, make_trial, fake_launcher, tmp_path):
    trials = [make_trial('a')]
    sweep(trials, fake_launcher())
    (tmp_path / 'trials' / 'a_seed0' / 'metrics.json').unlink()
    launcher = fake_launcher({'a': [5]})
    with pytest.raises(DiskError):
        sweep(trials, launcher)
    (tmp_path / 'trials' / 'a_seed0' / 'metrics.json').write_text('{"top1": 1.0}')  # of its first epoch
    again = fake_launcher()
    assert sweep(trials, again)[0].top1 == 90.0 and again.started == ['a_seed0']


def test_a_process_that_met_another_in_its_folder_is_started_again(sweep, ledger, make_trial, fake_launcher):
    launcher = fake_launcher({'a': [8, 8]})
    ended = sweep([make_trial('a'), make_trial('b')], launcher)
    assert {s.status for s in ended} == {FINISHED} and launcher.started.count('a_seed0') == 3
    assert ledger.latest()['a/0'].state == FINISHED


locked = pytest.mark.skipif(sys.platform == 'win32', reason='folders are not locked there')


@pytest.fixture
def held_folder(tmp_path):
    """The run folder of trial "a", in which another process works; and how to end that."""
    folder = tmp_path / 'trials' / 'a_seed0'
    folder.mkdir(parents=True)
    script = 'import fcntl, sys; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); '
    script += 'print("process 7", file=file, flush=True); print("held", flush=True); sys.stdin.read()'
    other = subprocess.Popen(
        [sys.executable, '-c', script, str(folder / '.lock')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == 'held\n'
    yield other.communicate
    other.kill()
    other.communicate()


@locked
def test_a_trial_waits_without_a_start_until_its_folder_is_free(sweep, make_trial, fake_launcher, held_folder):
    launcher, seen = fake_launcher(), []

    def show(states):
        first, second = states
        if second.status == FINISHED and first.status == IN_USE and launcher.started == ['b_seed0']:
            seen.append(first.status)
            if len(seen) == 5:
                held_folder()

    ended = sweep([make_trial('a'), make_trial('b')], launcher, show)
    assert seen[:5] == [IN_USE] * 5 and launcher.started == ['b_seed0', 'a_seed0']
    assert {s.status for s in ended} == {FINISHED}


@locked
def test_a_folder_that_stays_in_use_fails_its_trial(sweep, ledger, make_trial, fake_launcher, held_folder):
    launcher = fake_launcher()
    ended = sweep([make_trial('a'), make_trial('b')], launcher, give_up_s=0.01)
    assert [s.status for s in ended] == [FAILED, FINISHED] and launcher.started == ['b_seed0']
    error = ledger.latest()['a/0'].error
    assert error.startswith('exit code 8: RunInUseError: ') and 'process 7 is working in this run folder' in error


def test_a_full_disk_ends_the_sweep_and_fails_no_trial(sweep, ledger, make_trial, fake_launcher):
    trials = [make_trial(name) for name in 'abc']
    launcher = fake_launcher({'a': ['forever'], 'b': [5]}, slots=2)
    with pytest.raises(DiskError, match='trial b_seed0: exit code 5: .*The same command') as caught:
        sweep(trials, launcher)
    assert caught.value.exit_code == 5 and launcher.started == ['a_seed0', 'b_seed0'] and launcher.handles[0].was_asked
    assert {key: entry.state for key, entry in ledger.latest().items()} == {'a/0': STARTED, 'b/0': STARTED}
    assert {s.status for s in sweep(trials, fake_launcher())} == {FINISHED}


def test_no_more_run_at_once_than_there_are_slots(sweep, make_trial, fake_launcher):
    seen = []
    trials = [make_trial(name) for name in 'abcde']
    sweep(trials, fake_launcher(slots=2), lambda states: seen.append(sum(s.status == RUNNING for s in states)))
    assert max(seen) == 2


def test_a_setting_with_other_data_gets_a_folder_of_its_own(sweep, make_trial, fake_launcher, tmp_path):
    sweep([make_trial('a')], fake_launcher())
    (tmp_path / 'trials' / 'a_seed0-2').mkdir()
    (tmp_path / 'trials' / 'a_seed0-2' / 'config.py').touch()  # a run that no ledger knows
    ended = sweep([make_trial('a', key='other')], fake_launcher())
    assert ended[0].folder == tmp_path / 'trials' / 'a_seed0-3'


def write_epochs(folder, *top1):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({'accuracy/top1': figure, 'step': step}) for step, figure in enumerate(top1, 1)]
    (folder / 'scalars.json').write_text('\n'.join(lines))


def test_a_pace_counts_epochs_of_this_start_only(make_trial, tmp_path, monkeypatch):
    state = TrialState(make_trial('a', max_epochs=10), tmp_path)
    write_epochs(tmp_path, 50.0)
    monkeypatch.setattr('time.monotonic', lambda: 100.0)
    state.begin()
    assert (state.epoch, state.top1, state.pace) == (1, 50.0, (0, 0.0))
    write_epochs(tmp_path, 50.0, 70.0, 60.0)
    for now in (120.0, 125.0):  # two epochs in 20 s, and a part of the next
        monkeypatch.setattr('time.monotonic', lambda now=now: now)
        state.update()
        assert (state.epoch, state.top1, state.pace) == (3, 70.0, (2, 20.0))


def test_figures_are_read_again_only_if_there_are_new_ones(make_trial, tmp_path, monkeypatch):
    state, paths = TrialState(make_trial('a'), tmp_path), []
    monkeypatch.setattr(scheduler, 'read_epochs', lambda path: paths.append(path) or [])
    write_epochs(tmp_path, 50.0)
    for _ in range(3):
        state.update()
    write_epochs(tmp_path, 50.0, 60.0)
    state.update()
    assert len(paths) == 2


def test_a_time_is_kept_with_the_epochs_it_took(sweep, ledger, make_trial, fake_launcher, tmp_path):
    trial = make_trial('a', max_epochs=10)
    write_epochs(tmp_path / 'trials' / trial.name, *[50.0] * 7)  # an earlier start came that far
    sweep([trial], fake_launcher())
    assert ledger.latest()['a/0'].epochs == 3
    (known,) = plan_trials([trial], tmp_path, ledger)
    assert (known.epochs, known.epoch) == (3, 0)
