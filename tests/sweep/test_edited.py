"""A sweep whose config or photos were changed in between says why finished trials are run again."""

import shutil

import pytest

from flowercls.config import resolve_config
from flowercls.config.dump import dump_config
from flowercls.core.files import sha256_of
from flowercls.sweep.ledger import FAILED, FINISHED, Ledger
from flowercls.sweep.scheduler import plan_trials
from flowercls.sweep.spec import read_sweep_file
from flowercls.sweep.stale import notes_of_others
from flowercls.sweep.trials import make_trials


@pytest.fixture
def note(write_sweep, tmp_path):
    """What is said of a sweep, one of whose two trials ended, at the next start, to which more may be given."""
    folder, path = tmp_path / 'sweep', write_sweep(tmp_path)
    ledger = Ledger(folder / 'ledger.jsonl')

    def planned(**extra):
        trials, _ = make_trials(read_sweep_file(path), {key.replace('__', '.'): value for key, value in extra.items()})
        return plan_trials(trials, folder, ledger)

    def say(settled=(), state=FINISHED, **extra):
        first = planned()[0]
        first.folder.mkdir(parents=True)
        cfg = resolve_config(first.trial.config, first.trial.overrides)[0]
        cfg.merge_from_dict(dict(settled))  # by the run itself
        (first.folder / 'config.py').write_text(dump_config(cfg), encoding='utf-8')
        ledger.append(first.entry(state, folder))
        return '\n'.join(notes_of_others(planned(**extra), ledger, folder))

    return say


def test_what_differs_is_named(note):
    said = note(train_cfg__max_epochs=7)
    assert 'a finished trial was of the same settings and seeds, but of another config' in said
    assert '(train_cfg.max_epochs: 2 -> 7' in said


def test_other_photos_are_named(note, drawn_root, tmp_path):
    shutil.copytree(drawn_root, tmp_path / 'other')
    manifest = tmp_path / 'other' / 'manifest.json'
    manifest.write_text(manifest.read_text() + '\n')
    assert 'of photos prepared otherwise' in note(data_root=str(tmp_path / 'other'))


def test_what_a_run_settles_itself_is_no_edit(note):
    said = note({'model.channels_last': True}, train_cfg__max_epochs=7)
    assert 'train_cfg.max_epochs: 2 -> 7' in said and 'channels_last' not in said


def test_photos_prepared_anew_are_named_and_nothing_else(note, drawn_root, tmp_path):
    manifest = sha256_of(shutil.copytree(drawn_root, tmp_path / 'other') / 'manifest.json')
    with (tmp_path / 'other' / 'manifest.json').open('a') as file:
        file.write('\n')
    said = note({'data_manifest': manifest, 'model.channels_last': True}, data_root=str(tmp_path / 'other'))
    assert 'of photos prepared otherwise, so they are not compared' in said


def test_nothing_is_said_where_nothing_is_trained_again(note):
    assert note() == ''


def test_a_failed_trial_is_no_loss(note):
    assert note(state=FAILED, train_cfg__max_epochs=7) == ''


def test_runs_that_a_lost_ledger_does_not_know_are_told_of(write_sweep, tmp_path):
    folder = tmp_path / 'sweep'
    for name in ('a_seed0', 'b_seed0'):
        (folder / 'trials' / name).mkdir(parents=True)
        (folder / 'trials' / name / 'metrics.json').touch()
    (note,) = notes_of_others([], Ledger(folder / 'ledger.jsonl'), folder)
    assert 'does not know 2 of the runs' in note and 'first trials/a_seed0' in note
