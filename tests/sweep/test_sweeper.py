"""A whole sweep with a fake launcher: from its file to its last lines."""

import json
import shlex

import pytest

from flowercls.commands import sweep
from flowercls.core.errors import ConfigError
from flowercls.sweep.sweeper import describe_dry_run, plan_sweep, run_sweep


@pytest.fixture
def plan(write_sweep, tmp_path):
    overrides = {'train_cfg.max_epochs': 3}
    return plan_sweep(write_sweep(tmp_path), tmp_path / 'sweep', overrides, trust_checkpoint=True)


def test_a_sweep_leaves_its_command_and_a_ledger(plan, fake_launcher):
    result = run_sweep(plan, fake_launcher())
    assert [state.top1 for state in result.states] == [90.0, 90.0] and not result.error
    events = [json.loads(line) for line in (plan.folder / 'ledger.jsonl').read_text().splitlines()]
    assert [event['state'] for event in events] == ['started', 'finished'] * 2
    words = shlex.split((plan.folder / 'command.txt').read_text())
    assert words[1:] == [
        'tools/sweep.py', plan.spec.path, '--work-dir', str(plan.folder), '--trust-checkpoint',
        '--cfg-options', 'train_cfg.max_epochs=3',
    ]  # fmt: skip


def test_looks_are_recorded_before_a_trial_runs_and_change_no_trial(write_sweep, fake_launcher, tmp_path):
    keys = []
    for extra in ('looks = [2, 3]\n', 'looks = [2, 5]\n'):
        plan = plan_sweep(write_sweep(tmp_path, extra=extra), tmp_path / 'sweep')
        run_sweep(plan, fake_launcher())
        keys.append([trial.key for trial in plan.trials])
    assert keys[0] == keys[1]
    events = [json.loads(line) for line in (tmp_path / 'sweep' / 'ledger.jsonl').read_text().splitlines()]
    assert [event.get('looks') for event in events] == [[2, 3], *[None] * 4, [2, 5]]  # the trials had finished


def test_a_dry_run_tells_finished_trials_from_others(plan, fake_launcher):
    run_sweep(plan, fake_launcher({'frozen_stages=all': [1]}))
    first, second, last = describe_dry_run(plan).splitlines()
    assert first.split() == ['frozen_stages=0_seed0', 'finished'] and second.split()[1] == 'failed'
    assert describe_dry_run(plan, retry_failed=True).splitlines()[1].split()[1:] == ['to', 'run']
    assert last.startswith('dry run: 2 trials')


def test_a_failed_trial_is_named_at_the_end_and_gives_its_own_exit_code(write_sweep, fake_launcher, tmp_path):
    launcher = fake_launcher({'frozen_stages=0': [3], 'frozen_stages=all': [3]})
    report = sweep(write_sweep(tmp_path), work_dir=str(tmp_path / 'sweep'), launcher=launcher)
    assert report.exit_code == 9
    assert 'failed: frozen_stages=0_seed0, frozen_stages=all_seed0: exit code 3: DataError' in report.text
    assert '--retry-failed' in report.text and 'report.html' in report.text


def test_runs_that_cannot_be_compared_give_the_exit_code_of_the_reason(write_sweep, fake_launcher, tmp_path):
    report = sweep(write_sweep(tmp_path), work_dir=str(tmp_path / 'sweep'), launcher=fake_launcher())
    assert report.exit_code == 3 and 'not compared: ' in report.text  # the fake runs have no predictions


def test_the_folder_of_a_run_is_refused(plan, fake_launcher):
    plan.folder.mkdir()
    (plan.folder / 'config.py').touch()
    for start in (describe_dry_run, lambda plan: run_sweep(plan, fake_launcher())):
        with pytest.raises(ConfigError, match='holds a run'):
            start(plan)
