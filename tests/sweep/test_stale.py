"""Why finished trials run again: an edited config, other photos, a lost ledger."""

import shutil

import pytest

from flowercls.config.dump import dump_config
from flowercls.core.files import sha256_of
from flowercls.sweep.ledger import FAILED, FINISHED, Entry, Ledger
from flowercls.sweep.scheduler import plan_trials
from flowercls.sweep.spec import read_spec
from flowercls.sweep.stale import describe_stale_trials
from flowercls.sweep.trials import make_trials


@pytest.fixture
def note(write_sweep, tmp_path):
    """Return the notes at the second start of a sweep, with more options; one of its two trials has ended."""
    folder, path = tmp_path / 'sweep', write_sweep(tmp_path)
    ledger = Ledger(folder / 'ledger.jsonl')

    def planned(**extra):
        trials, _ = make_trials(read_spec(path), {key.replace('__', '.'): value for key, value in extra.items()})
        return plan_trials(trials, folder, ledger)

    def say(settled=(), state=FINISHED, **extra):
        first = planned()[0]
        first.folder.mkdir(parents=True)
        cfg = first.trial.cfg
        cfg.merge_from_dict(dict(settled))  # by the run itself
        (first.folder / 'config.py').write_text(dump_config(cfg), encoding='utf-8')
        run = first.folder.relative_to(folder).as_posix()
        ledger.append(Entry(first.trial.key, first.trial.setting.name, 0, state, run))
        return '\n'.join(describe_stale_trials(planned(**extra), ledger, folder))

    return say


def test_what_differs_is_named_and_what_a_run_settles_itself_is_no_edit(note):
    text = note({'model.channels_last': True}, train_cfg__max_epochs=7)
    assert 'another config (train_cfg.max_epochs: 2 -> 7' in text and 'channels_last' not in text


@pytest.mark.parametrize('is_recorded', [False, True])
def test_photos_prepared_anew_are_named_and_nothing_else(note, drawn_root, tmp_path, is_recorded):
    other = shutil.copytree(drawn_root, tmp_path / 'other')
    settled = {'data_manifest': sha256_of(other / 'manifest.json'), 'model.channels_last': True} if is_recorded else {}
    with (other / 'manifest.json').open('a') as file:
        file.write('\n')
    text = note(settled, data_root=str(other))
    assert 'differently prepared photos, ' + ('so it is not compared' if is_recorded else 'or a config') in text


@pytest.mark.parametrize('more', [{}, {'state': FAILED, 'train_cfg__max_epochs': 7}])
def test_no_note_if_nothing_runs_again_or_a_trial_had_failed(note, more):
    assert note(**more) == ''


def test_runs_that_a_lost_ledger_does_not_list_are_named(tmp_path):
    folder = tmp_path / 'sweep'
    for name in ('a_seed0', 'b_seed0'):
        (folder / 'trials' / name).mkdir(parents=True)
        (folder / 'trials' / name / 'metrics.json').touch()
    (note,) = describe_stale_trials([], Ledger(folder / 'ledger.jsonl'), folder)
    assert '2 of the runs' in note and 'first trials/a_seed0' in note
