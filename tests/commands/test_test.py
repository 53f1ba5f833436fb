"""The command ``test`` as a user meets it: what it leaves, and what a mistake is answered with."""

import json

import pytest

from flowercls.evaluate import optimism


def test_a_folder_of_results_that_may_not_be_written_to_is_named(trained_run, tool, tmp_path, said, monkeypatch):
    config, folder = trained_run
    (tmp_path / 'test_epoch_2').mkdir()

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, 'Permission denied', path)

    monkeypatch.setattr('logging.FileHandler', refuse)
    assert tool('test', config, folder / 'epoch_2.pth', '--work-dir', tmp_path) == 5
    assert 'test_epoch_2: may not be written' in said()


def test_testing_a_checkpoint_of_other_classes_is_refused(trained_run, tool, tmp_path, said, write_config, broken_data):
    for folder in ('training_set', 'val_set'):
        (broken_data / folder / 'tulip').rename(broken_data / folder / 'zinnia')
    for name in ('classes.txt', 'train.txt', 'val.txt'):
        path = broken_data / name
        path.write_text(path.read_text().replace('tulip', 'zinnia', 999).replace('zinnia_', 'tulip_'))
    config = write_config(tmp_path, data_root=broken_data)
    assert tool('test', config, trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path) == 4
    error = said()
    assert 'tulip' in error and 'zinnia' in error


def test_testing_a_checkpoint_of_another_model_is_refused(trained_run, tool, tmp_path, said):
    config, folder = trained_run
    options = ('--work-dir', tmp_path, '--cfg-options', 'model.backbone.depth=34')
    assert tool('test', config, folder / 'epoch_2.pth', *options) == 4
    error = said()
    assert 'another model' in error and 'Fix: ' in error


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (('gone.pth',), 4, 'no such checkpoint'),
        (('epoch_2.pth', '--out', 'x.pkl'), 2, '.csv (predictions) or .json (metrics)'),
        (('epoch_2.pth', '--out', f'{__file__}/x.csv'), 2, 'test_test.py is not a folder'),
        (('epoch_2.pth', '--show-dir', f'{__file__}/x'), 2, 'test_test.py is not a folder'),
        (('epoch_2.pth', '--out-item', 'pred'), 2, '--out FILE'),
    ],
)
def test_mistakes_with_the_test_tool(trained_run, tool, said, arguments, code, words):
    config, folder = trained_run
    assert tool('test', config, folder / arguments[0], *arguments[1:]) == code
    assert words in said()


def test_a_test_leaves_figures_mistakes_and_pictures(trained_run, tool, tmp_path, capsys, said, monkeypatch):
    monkeypatch.setattr(optimism, 'best_epoch_optimism', lambda folder: 1.23)
    config, folder = trained_run
    (best,) = folder.glob('best_*.pth')
    options = ('--work-dir', tmp_path, '--show-dir', tmp_path / 'show', '--tta')
    assert tool('test', config, best, *options) == 0
    out, found = capsys.readouterr().out, tmp_path / f'test_{best.stem}'
    metrics = json.loads((found / 'metrics.json').read_text())
    assert 'about 1.2 points less on other photos' in out  # these photos have chosen this epoch
    assert metrics['tta'] is True and 'test-time augmentation' in out
    (macro,) = [line.split() for line in out.splitlines() if line.startswith('macro average')]
    assert macro[2:] == [f'{metrics["macro"][key]:.2f}' for key in ('precision', 'recall', 'f1')] + ['15']
    pair = metrics['most_confused'][0]
    assert f'most confused: {pair["true"]} as {pair["pred"]} ({pair["photos"]})' in out
    num_mistakes = sum(pair['photos'] for pair in metrics['most_confused'])
    assert len((found / 'mistakes.csv').read_text().splitlines()) == 1 + num_mistakes
    for name in ('confusion', 'reliability', 'mistakes'):
        assert (found / f'{name}.png').read_bytes().startswith(b'\x89PNG')
    assert sum('wrong' in path.name for path in (tmp_path / 'show').iterdir()) == num_mistakes
    assert len(list((tmp_path / 'show').iterdir())) == 15
    assert tool('test', config, best, *options) == 2
    assert 'not an empty folder' in said()


def test_what_is_written_on_request_replaces_nothing(trained_run, tool, tmp_path, said):
    config, folder = trained_run
    (tmp_path / 'mine.csv').write_text('mine')
    assert tool('test', config, folder / 'epoch_2.pth', '--out', tmp_path / 'mine.csv') == 2
    assert 'mine.csv: exists already' in said() and (tmp_path / 'mine.csv').read_text() == 'mine'
