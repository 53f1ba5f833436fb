"""The command ``test`` as a user meets it: what it leaves, and what a mistake is answered with."""

import json
import shutil

import pytest
import torch

from flowercls.evaluate import optimism
from flowercls.evaluate.predictions import Predictions


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


@pytest.mark.parametrize('model', ['run folder', 'checkpoint', 'config and run folder'])
def test_a_model_alone_is_tested_on_the_photos_of_its_run(trained_run, tool, tmp_path, said, monkeypatch, model):
    config, folder = trained_run
    (best,) = folder.glob('best_*.pth')
    monkeypatch.chdir(tmp_path)
    words = {'run folder': [folder], 'checkpoint': [best], 'config and run folder': [config, folder]}[model]
    assert tool('test', *words, '--work-dir', tmp_path) == 0, said()
    found = tmp_path / f'test_{best.stem}'
    assert (found / 'predictions.csv').read_bytes() == (folder / 'predictions_val.csv').read_bytes()
    figures, run = (json.loads((place / 'metrics.json').read_text()) for place in (found, folder))
    assert {key: figures[key] for key in run} == run and (found / 'mistakes.png').is_file()


def test_photos_of_a_run_are_found_from_its_folder_if_they_are_the_same(trained_run, drawn_root, tool, tmp_path, said,
                                                                       monkeypatch):  # fmt: skip
    """A project with relative paths, called from somewhere else."""
    shutil.copytree(drawn_root, tmp_path / 'project/data/flower')
    checkpoint = torch.load(trained_run[1] / 'epoch_2.pth', weights_only=True)
    checkpoint['meta']['cfg'] = checkpoint['meta']['cfg'].replace(str(drawn_root), 'data/flower') + '\ndrawn = None\n'
    (tmp_path / 'project/work_dirs/run').mkdir(parents=True)
    torch.save(checkpoint, tmp_path / 'project/work_dirs/run/epoch_2.pth')
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert tool('test', '../project/work_dirs/run') == 0, said()
    found = tmp_path / 'project/work_dirs/run/test_epoch_2/metrics.json'
    assert json.loads(found.read_text())['n'] == 15
    (tmp_path / 'project/data/flower/manifest.json').write_text('{}')
    assert tool('test', '../project/work_dirs/run') == 3
    assert 'data_root data/flower, seen from' in (text := said()) and '--data FOLDER' in text


def test_a_checkpoint_of_a_stranger_runs_no_code(trained_run, tool, tmp_path, said):
    checkpoint = torch.load(trained_run[1] / 'epoch_2.pth', weights_only=True)
    harm = f"custom_hooks = [dict(type='builtins.open', file='{tmp_path}/harm', mode='w')]\n"
    checkpoint['meta']['cfg'] = f"{checkpoint['meta']['cfg']}\n{harm}_base_ = ['{tmp_path}/evil.py']\n"
    (tmp_path / 'evil.py').write_text(f"open('{tmp_path}/harm', 'w')")
    torch.save(checkpoint, tmp_path / 'epoch_2.pth')
    assert tool('test', tmp_path / 'epoch_2.pth') == 4
    assert 'builtins.open' in said() and not (tmp_path / 'harm').exists()


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['{config}'], 2, 'flowercls test {run}'),
        (['{config}', '--data', 'x'], 2, 'flowercls test {run} --data x'),
        (['{run}', '{config}'], 2, 'flowercls test {run}'),
        (['{run}', '{run}/epoch_2.pth'], 2, 'flowercls test {run}/epoch_2.pth'),
        (['model.onnx'], 2, 'add --data FOLDER'),
        (['model.onnx', '--data', '{tmp}', '--amp'], 2, '--amp'),
        (['{config}', '{run}', '--data', 'x'], 2, 'flowercls test {run} --data x'),
        (['{run}', '--data', 'x', '--cfg-options', 'a=1'], 2, '--cfg-options'),
        (['{run}', '--data', 'x', '--launcher', 'pytorch'], 2, '--launcher'),
        (['{run}', '--data', 'x'], 3, 'x: is no folder'),
        (['{run}', '--data', 'model.onnx'], 3, 'model.onnx: is no folder'),
        (['{run}', '--labels', 'x.csv'], 2, 'give both'),
        (['{run}', '--data', '{tmp}', '--label-column', 'x'], 2, 'give both'),
        (['{run}', '--data', '{tmp}'], 3, 'no photos'),
        (['{run}/gone.pth', '--data', '{tmp}'], 4, 'gone.pth: no such'),
    ],
)
def test_mistakes_with_models_and_folders(trained_run, tool, tmp_path, said, monkeypatch, arguments, code, words):
    config, run = trained_run
    places = dict(config=tmp_path / 'config.py', run=tmp_path / 'run', tmp=tmp_path / 'empty')
    shutil.copy(config, places['config'])
    places['run'].symlink_to(run)
    places['tmp'].mkdir()
    (tmp_path / 'model.onnx').touch()
    if arguments[0] == '{config}':  # a run folder's own config
        places = {**places, 'config': places['run'] / 'config.py'}
    monkeypatch.chdir(tmp_path)
    assert tool('test', *(word.format(**places) for word in arguments)) == code
    assert words.format(**places) in said()


@pytest.fixture
def held_out(tmp_path, drawn_root):
    """30 new photos and 2 known ones in class folders, one that cannot be read, and others of no class."""
    from flowercls.data.drawn_flowers.drawn import draw_flowers

    folder = tmp_path / 'held out'
    draw_flowers(folder, num_per_class=6, image_size=48, seed=9)
    (known,) = [next((drawn_root / name / 'tulip').iterdir()) for name in ('training_set',)]
    shutil.copy(known, folder / 'tulip/seen.jpg')
    shutil.copy(next((drawn_root / 'val_set/tulip').iterdir()), folder / 'tulip/chose.jpg')
    (folder / 'rose/broken.jpg').write_text('no photo')
    (folder / 'rose').rename(folder / 'Rose')
    (folder / 'dandelion').rename(folder / 'more')
    (folder / 'more').rename(folder / 'tulip/dandelion')  # any depth
    shutil.rmtree(folder / 'sunflower')
    return folder


def test_a_labelled_folder_is_tested_as_it_is(trained_run, held_out, tool, tmp_path, capsys):
    _, run = trained_run
    (best,) = run.glob('best_*.pth')
    (held_out / 'daisy/broken.jpg').write_text('no photo')
    earlier = tmp_path / 'out' / f'test_{best.stem}_held out' / 'metrics.json'
    earlier.parent.mkdir(parents=True)
    earlier.write_text('of an earlier test')
    options = ('--data', held_out, '--work-dir', tmp_path / 'out')
    assert tool('test', run, *options, '--out', tmp_path / 'x.csv', '--show-dir', tmp_path / 'show') == 3
    out, error = capsys.readouterr()
    found = tmp_path / 'out' / f'test_{best.stem}_held out-2'
    metrics, predictions = json.loads((found / 'metrics.json').read_text()), Predictions.read_csv(tmp_path / 'x.csv')
    assert [row['support'] for row in metrics['per_class'].values()] == [6, 6, 0, 0, 8]
    assert (metrics['n'], metrics['split'], metrics['data'], metrics['checkpoint']) == (
        20,
        'data',
        'held out',
        best.name,
    )
    assert metrics['left_out'] == {'Rose': 7} and '7 of 28 photos' in out and "did you mean 'rose'" in out
    assert '1 of 21 photos cannot be read' in error and 'daisy/broken.jpg' in error
    new = [i for i, image in enumerate(predictions.images) if not image.endswith(('seen.jpg', 'chose.jpg'))]
    assert metrics['seen'] == dict(trained_on=1, chose_epoch=1, n=18, hits=int(predictions.hits[new].sum()))
    assert 'of 20 photos 1 were trained on and 1 chose the epoch; without them top-1' in out
    assert (found / 'seen_in_training.csv').read_text() == (
        'image,seen\ntulip/chose.jpg,chose the epoch\ntulip/seen.jpg,trained on\n'
    )
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:6]}
    assert rows['rose'] == rows['sunflower'] == ['-', '-', '-', '0'] and rows['tulip'][-1] == '8'
    assert 'no photos   of: rose, sunflower' in out
    assert {'confusion.png', 'mistakes.png', 'mistakes.csv'} <= {path.name for path in found.iterdir()}
    assert len(list((tmp_path / 'show').iterdir())) == 20
    assert earlier.read_text() == 'of an earlier test' and len(list(earlier.parent.iterdir())) == 1


@pytest.mark.parametrize('options', [(), ('--tta',)])
def test_a_folder_of_the_runs_own_photos_gives_the_runs_own_scores(
    trained_run, drawn_root, tool, tmp_path, said, monkeypatch, options
):
    """The same decoder and transforms; also with mirror images."""
    monkeypatch.setattr('flowercls.report.run_pictures.draw_evaluation', lambda *_: None)
    (best,) = trained_run[1].glob('best_*.pth')
    assert tool('test', best, '--work-dir', tmp_path, *options) == 0
    assert tool('test', best, '--work-dir', tmp_path, '--data', drawn_root / 'val_set', *options) == 0
    files = [tmp_path / f'test_{best.stem}{name}' / 'predictions.csv' for name in ('', '_val_set')]
    own, folder = map(Predictions.read_csv, files)
    assert folder.images == own.images and folder.scores == pytest.approx(own.scores, abs=1e-6)
    assert 'of 15 photos 15 chose the epoch; no photo is left' in said()


def test_a_flat_folder_is_tested_with_a_table(trained_run, drawn_root, tool, tmp_path, said, monkeypatch):
    monkeypatch.setattr('flowercls.report.run_pictures.draw_evaluation', lambda *_: None)
    (tmp_path / 'flat').mkdir()
    rows = ['photo;kind']
    for number, photo in enumerate(sorted((drawn_root / 'val_set').rglob('*.*'))):
        shutil.copy(photo, tmp_path / 'flat' / f'{number}.png')
        rows.append(f'{number};{photo.parent.name}')
    (tmp_path / 'table.csv').write_text('\n'.join(rows))
    options = ('--data', tmp_path / 'flat', '--labels', tmp_path / 'table.csv', '--label-column', 'kind')
    assert tool('test', trained_run[1], *options, '--work-dir', tmp_path) == 0, said()
    (found,) = tmp_path.glob('test_*_flat/metrics.json')
    figures, run = json.loads(found.read_text()), json.loads((trained_run[1] / 'metrics.json').read_text())
    assert (figures['confusion'], figures['seen']['chose_epoch']) == (run['confusion'], 15)


def test_a_folder_without_any_readable_photo(trained_run, tool, tmp_path, said):
    (tmp_path / 'rose').mkdir()
    (tmp_path / 'rose/a.jpg').write_text('no photo')
    assert tool('test', trained_run[1], '--data', tmp_path, '--work-dir', tmp_path / 'out') == 3
    assert 'none of its 1 photos can be read' in said() and not list((tmp_path / 'out').iterdir())


def test_a_class_without_photos_in_the_test_set_is_named(trained_run, tool, tmp_path, said, write_config, broken_data):
    lines = (broken_data / 'val.txt').read_text().splitlines(keepends=True)
    (broken_data / 'test.txt').write_text(''.join(line for line in lines if not line.startswith('tulip')))
    (broken_data / 'test_set').symlink_to(broken_data / 'val_set')
    config = write_config(tmp_path, data_root=broken_data)
    assert tool('test', config, trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path) == 0
    assert 'no photos   of: tulip;' in said()
    figures = json.loads((tmp_path / 'test_epoch_2/metrics.json').read_text())
    recalls = [row['recall'] for row in figures['per_class'].values() if row['support']]
    assert figures['n'] == 12 and figures['macro']['recall'] == pytest.approx(sum(recalls) / 4)
