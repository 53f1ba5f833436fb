"""What stays as it was at commit 49a770b: trained weights, help, resolved configs, shapes of files, registered names.

`tests/golden/` holds what is expected; `python tests/golden/make.py` writes it again where a change is meant.
"""

import io
import json
import subprocess
import tarfile
import warnings
from pathlib import Path

import pytest

from golden import make

REPOSITORY = Path(__file__).parent.parent
GOLDEN = REPOSITORY / 'tests' / 'golden'
PINNED = '49a770b'
VARIANTS = json.loads((GOLDEN / 'variants.json').read_text(encoding='utf-8'))


def stored(folder):
    return sorted(path.stem for path in (GOLDEN / folder).glob('*.txt'))


def text_of(name):
    return (GOLDEN / name).read_text(encoding='utf-8')


def pinned_checkout(folder):
    """The pinned commit's tools, package and configs in ``folder``; None where git does not have it."""
    command = ['git', '-C', str(REPOSITORY), 'archive', PINNED, 'flowercls', 'tools', 'configs']
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter='data')
    return folder


@pytest.mark.slow
def test_training_comes_to_the_same_weights(tmp_path):
    """Whole, stopped in mid-epoch and resumed, and resumed from an epoch: all as stored.

    Where nothing is stored for this torch and CPU, or this CPU computes other bits all the same, the pinned commit is
    trained here and now, and its weights count.
    """
    (tmp_path / 'now').mkdir()
    found = make.train_cases(REPOSITORY, tmp_path / 'now', interrupted=True)
    assert found.pop('stopped') == found['demo'], 'stopped in mid-epoch and resumed: other weights'
    assert found.pop('from epoch 1') == found['demo'], 'resumed from epoch 1: other weights'
    key = make.environment_key()
    expected = json.loads(text_of('weights.json')).get(key)
    if found == expected:
        return
    checkout = pinned_checkout(tmp_path / 'checkout')
    if checkout is None and expected is None:
        pytest.skip(f'no weights are stored for {key}, and git has no commit {PINNED} to measure them with')
    if checkout is not None:
        (tmp_path / 'then').mkdir()
        measured = make.train_cases(checkout, tmp_path / 'then')
        assert found == measured, f'other weights than commit {PINNED} comes to here ({key})'
        if expected is not None:
            warnings.warn(f'{PINNED} itself comes to other weights here than stored for {key}', stacklevel=1)
        return
    assert found == expected


@pytest.mark.parametrize('name', stored('help'))
def test_help_says_the_same(name):
    assert make.help_of(name) == text_of(f'help/{name}.txt')


@pytest.mark.parametrize('name', stored('configs'))
def test_an_experiment_resolves_to_the_same(name):
    with make.data_folders():
        found = make.as_lines(make.CONFIGS / f'{name}.py')
    assert found == text_of(f'configs/{name}.txt').splitlines()


@pytest.mark.slow
def test_commands_recipes_and_models_resolve_to_the_same():
    with make.data_folders():
        found = make.differences(VARIANTS)
        other = [
            f'{variant["name"]}:\n' + '\n'.join(make.differing_lines(variant['differs'], lines))
            for variant, lines in zip(VARIANTS, found, strict=True)
            if lines != variant['differs']
        ]
    assert not other, '\n\n'.join(other)


@pytest.mark.slow
def test_sweeps_list_the_same_trials():
    with make.data_folders():
        found = make.sweep_listings(stored('sweeps'))
    for name, text in found.items():
        assert text == text_of(f'sweeps/{name}.txt')


def test_registered_names_are_still_there():
    """They stand in saved configs; new ones may come."""
    found = make.registered_names()
    gone = {
        f'{registry}: {name}'
        for registry, names in json.loads(text_of('registered_names.json')).items()
        for name in names
        if name not in found.get(registry, [])
    }
    assert not gone


def test_files_of_a_run_have_the_same_keys(trained_run, drawn_root):
    expected = json.loads(text_of('shapes.json'))
    found = make.run_shapes(trained_run[1])
    gone = {name.replace('tiny_flower', '') for name in expected.pop('files')} - {
        name.replace('tiny_flower', '') for name in found.pop('files')
    }
    assert not gone
    for name, shape in found.items():
        assert shape == expected[name], name
    manifest = make.manifest_shape(drawn_root)
    assert {**manifest, 'drawn': None} == {**expected['manifest.json'], 'drawn': None}
