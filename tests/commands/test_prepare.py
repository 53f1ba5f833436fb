"""The command ``prepare``: its command line, its exit codes, what it prints where."""

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowercls.commands.prepare import add_arguments, photo_vectors_of
from helpers.odd_photos import scene, textured

TOOL = Path(__file__).parents[2] / 'tools' / 'prepare_data.py'


@pytest.fixture
def main(tool):
    return lambda arguments: tool('prepare', *arguments)


@pytest.fixture
def raw(tmp_path):
    for number in range(10):
        path = tmp_path / 'raw' / ('rose' if number < 5 else 'tulip') / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        textured(number).save(path)
    return tmp_path / 'raw'


def test_a_good_run_prints_the_counts_and_returns_0(main, raw, tmp_path, capsys):
    assert main([str(raw), str(tmp_path / 'out'), '--workers', '0', '--folds', '2', '--seed', '3']) == 0
    printed = capsys.readouterr().out
    assert '10 photos of 2 classes' in printed and 'seed 3' in printed
    assert '10 files scanned = 10 copied' in printed
    assert (tmp_path / 'out/folds/fold_1_val.txt').is_file()


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        ('{tmp}/nowhere {tmp}/out', 3, 'DataError: {tmp}/nowhere: the raw folder does not exist'),
        ('{tmp}/raw {tmp}/raw/out', 2, 'ConfigError: {tmp}/raw/out'),
        ('{tmp}/raw {tmp}/out --val-ratio 1.5', 2, 'ConfigError: --val-ratio 1.5'),
        ('{tmp}/raw/rose {tmp}/out', 3, 'DataError: {tmp}/raw/rose: the raw folder holds no class folder'),
        ('raw', 2, 'expected RAW and OUT, got raw'),
        ('raw out third', 2, 'expected RAW and OUT, got raw out third'),
        ('raw out --demo', 2, 'with --demo only OUT'),
        ('raw out --download file:///x.zip', 2, 'with --download only OUT'),
        ('out --demo --download file:///x.zip', 2, 'exclude each other'),
        ('raw out --sha256 00', 2, 'digest of a download'),
    ],
)
def test_a_mistake_is_one_message_without_traceback(main, raw, tmp_path, capsys, arguments, code, message):
    assert main(arguments.format(tmp=tmp_path).split()) == code
    captured = capsys.readouterr()
    assert message.format(tmp=tmp_path) in captured.err
    assert 'Traceback' not in captured.err and captured.out == ''


@pytest.mark.parametrize(('arguments', 'message'), [([], 'required'), (['raw', 'out', '--vall-ratio'], 'unrecognized')])
def test_argparse_refuses_what_it_does_not_know(main, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_every_flag_reaches_the_verb(main, monkeypatch, capsys):
    calls = []

    def prepare(*folders, **options):
        calls.append((*folders, options))
        return SimpleNamespace(summary=lambda: 'the summary', dry_run=True)

    monkeypatch.setattr(sys.modules['flowercls.commands.prepare'], 'prepare', prepare)
    flags = '--val-ratio 0.3 --test-ratio 0.1 --seed 4 --folds 5 --workers 6 --overwrite --allow-tiny-classes --dry-run'
    flags += ' --split new --leaks drop --labels l.csv --image-column i --label-column l --set-column s'
    flags += ' --group-column g --groups g.csv --group-by plant --group-copies --extend old'
    flags += ' --near-duplicates drop --near-duplicate-method features --near-duplicate-distance 0.2 --weights w.pth'
    assert main(['raw', 'out', *flags.split()]) == 0
    assert main(['out', '--demo']) == 0
    assert main(['out', '--download', 'file:///x.zip', '--sha256', 'ab']) == 0
    switches = ('overwrite', 'allow_tiny_classes', 'dry_run', 'group_copies')
    tables = dict(extend='old', labels='l.csv', groups='g.csv', group_by='plant')
    tables |= dict(image_column='i', label_column='l', set_column='s', group_column='g')
    plain = dict(val_ratio=None, test_ratio=None, seed=None, folds=None, workers=None, **dict.fromkeys(switches, False))
    plain |= dict(near_duplicates='group', near_duplicate_method='hash', near_duplicate_distance=None, weights=None)
    plain |= dict(demo=False, download=None, sha256=None, split='auto', leaks='error', **dict.fromkeys(tables))
    chosen = dict(val_ratio=0.3, test_ratio=0.1, seed=4, folds=5, workers=6, **dict.fromkeys(switches, True))
    chosen |= dict(split='new', leaks='drop', **tables, near_duplicates='drop', weights='w.pth')
    chosen |= dict(near_duplicate_method='features', near_duplicate_distance=0.2)
    assert calls == [
        ('raw', 'out', {**plain, **chosen}),
        (None, 'out', {**plain, 'demo': True}),
        (None, 'out', {**plain, 'download': 'file:///x.zip', 'sha256': 'ab'}),
    ]
    assert capsys.readouterr().out == 'the summary\n' * 3


def test_ctrl_c_is_one_line_and_130(main, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules['flowercls.commands.prepare'], 'prepare', interrupt)
    assert main(['raw', 'out']) == 130
    assert capsys.readouterr().err == 'interrupted by SIGINT: nothing half-written is left\n'


def test_help_shows_examples(main, capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    printed = capsys.readouterr().out
    assert 'examples:' in printed and '--allow-tiny-classes' in printed


@pytest.fixture
def archive_url(raw, tmp_path):
    """Address of an archive of the photos; the folder itself is gone."""
    (tmp_path / 'served').mkdir()
    url = Path(shutil.make_archive(tmp_path / 'served/photos', 'tar', tmp_path, 'raw')).as_uri()
    shutil.rmtree(raw)
    return url


def test_a_downloaded_archive_is_prepared_and_its_digest_shown(main, archive_url, tmp_path, capsys):
    options = ('--download', archive_url, '--workers', '0')
    assert main([tmp_path / 'out', *options]) == 0
    digest = hashlib.sha256((tmp_path / 'served/photos.tar').read_bytes()).hexdigest()
    printed = capsys.readouterr().out
    assert f'{digest} (recorded now' in printed and '10 photos of 2 classes' in printed
    assert main([tmp_path / 'again', *options, '--sha256', digest]) == 0
    assert (tmp_path / 'again/val.txt').read_text() == (tmp_path / 'out/val.txt').read_text()


@pytest.mark.slow
def test_demo_draws_the_five_species(main, tmp_path):
    assert main([tmp_path / 'flower', '--demo', '--workers', '2']) == 0
    assert (tmp_path / 'flower/classes.txt').read_text().split() == ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']
    assert len((tmp_path / 'flower/train.txt').read_text().splitlines()) == 320


def test_a_dry_run_of_a_download_keeps_nothing(main, archive_url, tmp_path, capsys):
    assert main([str(tmp_path / 'out'), '--download', archive_url, '--dry-run', '--workers', '0']) == 0
    printed = capsys.readouterr().out
    assert '10 photos of 2 classes' in printed and 'not recorded in a dry run' in printed
    assert [path.name for path in tmp_path.iterdir()] == ['served']


@pytest.mark.parametrize('arguments', [['--val-ratio', '2'], ['--seed', '-1'], []])
def test_nothing_is_fetched_for_a_command_that_cannot_succeed(main, tmp_path, monkeypatch, arguments):
    (tmp_path / 'out').mkdir()
    if not arguments:
        (tmp_path / 'out/thesis.txt').write_text('my only copy')
    monkeypatch.setattr('flowercls.core.download.fetch_archive', lambda *_, **__: pytest.fail('it was fetched'))
    assert main([str(tmp_path / 'out'), '--download', 'http://127.0.0.1:1/x.zip', *arguments]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_an_interrupt_after_a_download_says_what_is_kept(main, archive_url, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr('flowercls.data.prepare.preparation.scan_photos', interrupt)
    out = str(tmp_path / 'out')
    assert main([out, '--download', archive_url]) == 130
    assert capsys.readouterr().err.endswith(f'what was fetched whole stays in {out}-raw and {out}-raw.download\n')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out-raw', 'out-raw.download', 'served']


@pytest.mark.skipif(os.name != 'posix', reason='signals as on POSIX')
@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_in_the_middle_leaves_nothing_behind(raw, tmp_path, number, code):
    (raw / 'rose/slow.jpg').touch()  # holds the run in the middle: the signal always arrives while photos are read
    blocker = (
        'import runpy, sys, time, flowercls.data.prepare.raw.scan as scan\n'
        'def read(path, real=scan.read_content):\n'
        '    return time.sleep(600) if str(path).endswith("slow.jpg") else real(path)\n'
        'scan.read_content = read\n'
        f'sys.argv[1:] = [{str(raw)!r}, {str(tmp_path / "out")!r}, "--workers", "0"]\n'
        f'runpy.run_path({str(TOOL)!r}, run_name="__main__")\n'
    )
    # Whoever starts the tests may ignore SIGINT, as shells do for background work; children would inherit that.
    default = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731
    running = subprocess.Popen([sys.executable, '-c', blocker], stderr=subprocess.PIPE, text=True, preexec_fn=default)
    deadline = time.monotonic() + 500
    while not list(tmp_path.glob('.out.preparing-*')) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    running.send_signal(number)
    _, said = running.communicate()
    assert running.returncode == code and 'Traceback' not in said
    assert [path.name for path in tmp_path.iterdir()] == ['raw']


# --- near-duplicates by features ------------------------------------------------------------------------------------


def test_turned_and_cropped_copies_are_found_with_a_trained_network(main, trained_run, tmp_path, capsys):
    raw = tmp_path / 'raw'
    for number in range(8):
        photo = scene(number)
        versions = {'': photo}
        if number == 0:
            versions |= {'x': photo.rotate(12), 'y': photo.crop((0, 0, 180, 135))}  # names that tell nothing
        for name, version in versions.items():
            path = raw / ('rose' if number < 4 else 'tulip') / f'{number}{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            version.save(path)
    arguments = [raw, tmp_path / 'out', '--workers', '0', '--near-duplicate-distance', '1', '--near-duplicate-method']
    assert main([*arguments, 'features', '--weights', trained_run[1]]) == 0
    assert 'rose/0.png  rose/0x.png  rose/0y.png' in capsys.readouterr().out
    assert main([*arguments, 'hash', '--overwrite', '--near-duplicate-distance', '0.6']) == 0
    assert 'rose/0x.png' not in capsys.readouterr().out
    assert main([*arguments, 'features', '--overwrite']) == 2
    assert 'Fix: add --weights FILE.' in capsys.readouterr().err
    assert main([*arguments, 'hash', '--overwrite', '--weights', trained_run[1]]) == 2
    assert 'Fix: add --near-duplicate-method features.' in capsys.readouterr().err


@pytest.fixture(scope='module')
def mobilenet():
    """Random weights of the network of configs/_base_/models/mobilenet_v2.py."""
    from helpers.model_configs import build_real

    return build_real('mobilenet_v2', num_classes=4)


@pytest.mark.parametrize('given', ['named by a shipped config', 'a config', 'a config in the cache of weights'])
def test_a_file_of_weights_becomes_the_network_of_the_config_that_names_it(mobilenet, tmp_path, monkeypatch, given):
    import torch

    name = 'any.pth' if given == 'a config' else 'mobilenet_v2_tf_in1k.pth'
    torch.save({'state_dict': mobilenet.state_dict()}, tmp_path / name)
    config = tmp_path / 'my.py'
    config.write_text(f"_base_ = ['mobilenet_v2_flower.py']\nload_from = {str(tmp_path / name)!r}\n")
    if given == 'a config in the cache of weights':
        monkeypatch.setenv('FLOWERCLS_WEIGHTS', str(tmp_path))
        config = 'mobilenet_v2_flower.py'
    network = photo_vectors_of(tmp_path / name if given == 'named by a shipped config' else config)._network
    state = network.state_dict()
    assert all((state[key] == value).all() for key, value in mobilenet.state_dict().items() if 'head' not in key)
    # This config's own padding and pixels, not those of the other file that a MobileNetV2 is shipped with.
    assert type(network.backbone.conv1.conv).__name__ == 'Conv2dAdaptivePadding'
    assert network.data_preprocessor.mean.flatten().tolist() == [127.5] * 3


@pytest.mark.parametrize(
    ('weights', 'code', 'message'),
    [
        ('missing/x.pth', 4, 'no such file or folder'),
        ('model.onnx', 2, 'an export tells classes'),
        ('unknown.pth', 4, 'not known. Fix: name a config'),
        ('text.pth', 4, 'not a checkpoint'),
        ('no_weights.py', 2, 'names no weights'),
        ('empty', 4, 'holds no checkpoint of a run'),
    ],
)
def test_weights_that_cannot_be_used_are_named(main, raw, tmp_path, capsys, weights, code, message):
    import torch

    torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'unknown.pth')
    (tmp_path / 'text.pth').write_text('text')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'no_weights.py').write_text("_base_ = ['mobilenet_v2_flower.py']\nload_from = None\n")
    arguments = [raw, tmp_path / 'out', '--near-duplicate-method', 'features', '--weights', tmp_path / weights]
    assert main(arguments) == code
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / 'out').exists()


def test_the_readme_has_a_row_for_each_flag():
    readme = (Path(add_arguments.__code__.co_filename).parents[1] / 'data/README.md').read_text(encoding='utf-8')
    table = readme.partition('| flag | effect |')[2].partition('\n\n')[0]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings} - {'-h', '--help'}
    assert flags == {*re.findall(r'--[a-z][a-z0-9-]*', ''.join(row.split('|')[1] for row in table.splitlines()[2:]))}
