"""What commit 49a770b left on the disk is still of use: its prepared folder, its run, its sweep.

`tests/golden/made_by_49a770b/` was written by that commit's tools and stays as it is: `train.py tiny_flower.py`, then
`sweep.py tiny_sweep.py`, in an empty folder with configs/ in it. Superfluous pictures and checkpoints were left out.
Each test works in a copy, with the repository's configs beside it.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest

from golden import make

REPOSITORY = Path(__file__).parent.parent
MADE = REPOSITORY / 'tests' / 'golden' / 'made_by_49a770b'
RUN = Path('work_dirs/tiny_flower')
SWEEP = Path('work_dirs/tiny_sweep')


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A copy of the folder, which is the cwd."""
    shutil.copytree(MADE, tmp_path / 'made')
    shutil.copytree(REPOSITORY / 'configs', tmp_path / 'made' / 'configs')
    monkeypatch.chdir(tmp_path / 'made')


def read(path):
    return json.loads(Path(path).read_text(encoding='utf-8'))


def rows(path):
    with Path(path).open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def almost(value):
    """Figures as near as another machine's rounding may bring them; all else exactly."""
    if isinstance(value, dict):
        return {key: almost(item) for key, item in value.items()}
    if isinstance(value, list):
        return [almost(item) for item in value]
    return pytest.approx(value, rel=1e-6) if isinstance(value, float) else value


@pytest.mark.parametrize('config', ['tiny_flower.py', RUN / 'config.py'], ids=['its source', 'its config.py'])
def test_its_best_checkpoint_has_the_same_scores(tool, made, config):
    stored = read(RUN / 'metrics.json')
    assert tool('test', config, RUN / stored['checkpoint'], '--out', 'scores.csv') == 0
    found = read(RUN / f'test_{Path(stored["checkpoint"]).stem}' / 'metrics.json')
    for key in ('top1', 'top1_interval', 'n', 'confusion', 'per_class', 'seed', 'data_manifest'):
        assert found[key] == almost(stored[key]), key
    for new, old in zip(rows('scores.csv'), rows(RUN / 'predictions_val.csv'), strict=True):
        assert list(new) == list(old)
        for key, value in old.items():
            if key.startswith('score_'):
                assert float(new[key]) == pytest.approx(float(value), abs=1e-4)
            else:
                assert new[key] == value


def test_its_run_goes_on_for_another_epoch(tool, made, capsys):
    before, options = files_in(RUN), ('--cfg-options', 'train_cfg.max_epochs=3')
    assert tool('train', 'tiny_flower.py', '--resume', *options) == 2  # another length: only if it is allowed
    assert 'max_epochs' in capsys.readouterr().err and files_in(RUN).keys() - before.keys() <= {RUN / '.lock'}
    assert tool('train', 'tiny_flower.py', '--resume', '--allow-config-change', *options) == 0
    out = capsys.readouterr().out
    assert 'resumed from epoch_2.pth' in out and 'epoch 3/3' in out and 'epoch 2/3' not in out
    assert (RUN / 'epoch_3.pth').is_file() and (RUN / 'config_until_epoch_2.py').is_file()
    epochs = [json.loads(line).get('epoch') for line in (RUN / 'scalars.json').read_text().splitlines()]
    assert {1, 2, 3} <= set(epochs)


def test_its_run_needs_no_change_to_be_resumed(tool, made, capsys):
    """Complete as it is; a key that a config now has and had not then would be refused here."""
    weights = (RUN / 'epoch_2.pth').read_bytes()
    assert tool('train', 'tiny_flower.py', '--resume') == 0
    out = capsys.readouterr().out
    assert 'the config differs' not in out and 'resumed from epoch_2.pth' in out
    assert (RUN / 'epoch_2.pth').read_bytes() == weights and not (RUN / 'epoch_3.pth').exists()


def test_its_prepared_folder_trains(tool, made, capsys):
    before = files_in(Path('data'))
    assert tool('train', 'tiny_flower.py', '--cfg-options', 'train_cfg.max_epochs=1') == 0
    assert 'run folder: work_dirs/tiny_flower-2' in capsys.readouterr().out
    assert files_in(Path('data')) == before
    old, new = read(RUN / 'metrics.json'), read('work_dirs/tiny_flower-2/metrics.json')
    assert new['data_manifest'] == old['data_manifest'] and new['n'] == old['n']


KEPT = ('settings', 'effects', 'num_photos', 'num_test_photos', 'num_folds', 'left_out')
FIGURES = ('setting', 'seeds', 'photos', 'top1', 'top1_spread', 'difference', 'factors', 'also_differ', 'runs')


# The verdict on its sweep, which a younger procedure gives. Chance explains all that photos show, so nothing lasts. The
# variances over seeds are 2/225 and 0, so that of the difference is 1/225, with 2 degrees of freedom: t is 1.
VERDICT = ('top1_low', 'top1_high', 'difference_low', 'difference_high', 'p_value', 'verdict')
EXPECTED = [
    (2.6015648, 71.521922, None, None, None, 'best'),
    (2.9115856, 67.575595, -35.351018, 22.017685, 1 - 3**-0.5, 'may be best'),
]


def figures(comparison):
    """What a comparison.json measures; intervals, p-values, plans and words are those of a younger procedure."""
    settings = [{key: row[key] for key in FIGURES} for row in comparison['settings']]
    return {**{key: comparison[key] for key in KEPT}, 'settings': settings}


def check_verdict(comparison):
    for row, expected in zip(comparison['settings'], EXPECTED, strict=True):
        numbers = [pytest.approx(value, rel=1e-4) if isinstance(value, float) else value for value in expected]
        assert [row[key] for key in VERDICT] == numbers
    plan = {'name': 'frozen_stages=all', 'points': 100 / 15, 'photos': None, 'seeds': None, 'assumed_scatter': None}
    assert comparison['to_tell_apart'] == almost([plan])
    assert len(comparison['best_epoch_only']) == 4 and comparison['num_groups'] == 15
    assert (comparison['seed_scatter'], comparison['scatter_more']) == (0, [])


@pytest.mark.slow  # a comparison and a page of eight trials
def test_its_sweep_is_compared_as_then_and_shown(tool, made):
    stored = read(SWEEP / 'comparison.json')
    assert tool('compare', SWEEP) == 0
    assert figures(read(SWEEP / 'comparison.json')) == almost(figures(stored))
    check_verdict(read(SWEEP / 'comparison.json'))
    assert tool('report', RUN, SWEEP) == 0
    assert f'{read(RUN / "metrics.json")["top1"]:.2f}' in (RUN / 'report.html').read_text(encoding='utf-8')
    page = (SWEEP / 'report.html').read_text(encoding='utf-8')
    assert all(row['setting'] in page and f'{row["top1"]:.2f}' in page for row in stored['settings'])


def test_nothing_of_its_sweep_is_repeated(tool, made, capsys):
    stored, ledger = read(SWEEP / 'comparison.json'), (SWEEP / 'ledger.jsonl').read_bytes()
    assert tool('sweep', 'tiny_sweep.py', '--dry-run') == 0
    assert capsys.readouterr().out.count(' finished') == 4
    assert tool('sweep', 'tiny_sweep.py') == 0
    assert 'started' not in capsys.readouterr().out and (SWEEP / 'ledger.jsonl').read_bytes() == ledger
    assert figures(read(SWEEP / 'comparison.json')) == almost(figures(stored))


@pytest.mark.slow
def test_a_value_added_to_its_sweep_runs_alone_and_leaves_files_of_the_same_keys(tool, made):
    sweep = Path('tiny_sweep.py')
    sweep.write_text(sweep.read_text().replace('seeds = [0, 1]', 'seeds = [0]').replace("[0, 'all']", "[0, 'all', 2]"))
    before = (SWEEP / 'ledger.jsonl').read_text()
    assert tool('sweep', sweep) == 0
    added = (SWEEP / 'ledger.jsonl').read_text().removeprefix(before)
    states = [(line['setting'], line['seed'], line['state']) for line in map(json.loads, added.splitlines())]
    assert states == [('frozen_stages=2', 0, 'started'), ('frozen_stages=2', 0, 'finished')]
    expected = read(REPOSITORY / 'tests' / 'golden' / 'shapes.json')
    (SWEEP / 'ledger.jsonl').write_text(added)
    found = make.sweep_shapes(SWEEP)
    assert found['ledger.jsonl'] == expected['ledger.jsonl']
    assert (
        found['comparison.csv'][: len(expected['comparison.csv'])] == expected['comparison.csv']
    )  # younger ones follow
    found, expected = found['comparison.json'], expected['comparison.json']
    assert found.keys() >= expected.keys()
    assert found['settings'][0].keys() >= expected['settings'][0].keys()
