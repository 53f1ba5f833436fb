"""The report tool as a user meets it."""

import shutil

import pytest


@pytest.fixture
def run_copy(trained_run, tmp_path):
    def copy(name, without='*.pth'):
        shutil.copytree(trained_run[1], tmp_path / name, ignore=shutil.ignore_patterns(without, 'report.html'))
        return tmp_path / name

    return copy


def test_reports_are_written_into_the_folders_named(tool, run_copy, tmp_path, capsys):
    run, trial = run_copy('run'), run_copy('sweep/trials/a_seed0')
    assert tool('report', run, tmp_path / 'sweep') == 0
    out = capsys.readouterr().out
    assert out == f'report      {run}/report.html\nreport      {tmp_path}/sweep/report.html\n'
    assert 'only one setting' in (tmp_path / 'sweep' / 'report.html').read_text()
    assert not (trial / 'report.html').exists()


def test_a_sweep_that_cannot_be_compared_has_a_report_that_says_why(tool, tmp_path, capsys):
    (tmp_path / 'sweep' / 'trials').mkdir(parents=True)
    assert tool('report', tmp_path / 'sweep') == 0
    assert 'no finished run to compare' in (tmp_path / 'sweep' / 'report.html').read_text()


def test_another_folder_is_refused_and_nothing_written(tool, run_copy, tmp_path, capsys):
    run = run_copy('run')
    assert tool('report', run, tmp_path / 'nothing') == 2
    assert 'neither a run folder' in capsys.readouterr().err and not (run / 'report.html').exists()


@pytest.mark.parametrize('verb', ['report', 'compare', 'train', 'benchmark'])
def test_a_path_that_the_system_refuses_is_named_without_a_traceback(tool, verb, capsys):
    assert tool(verb, 'x' * 300) == 2
    assert 'File name too long. Fix: ' in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_file_is_named(tool, run_copy, capsys):
    run = run_copy('run')
    (run / 'report.html').mkdir()
    assert tool('report', run) == 2
    assert f'{run}/report.html: Is a directory. Fix: ' in capsys.readouterr().err


def test_a_report_lacks_nothing_and_draws_the_pictures_that_are_missing(tool, run_copy, capsys):
    run = run_copy('run', without='.lock')
    pictures = [run / f'{name}.png' for name in ('curves', 'confusion', 'reliability', 'mistakes', 'mistakes_heatmaps')]
    for picture in pictures:
        picture.unlink(missing_ok=True)
    assert tool('report', run) == 0
    text = (run / 'report.html').read_text()
    assert all(picture.is_file() for picture in pictures) and text.count('<img') == 5  # with the overview of the data
    assert 'There is no' not in text and 'changed since' not in text


@pytest.mark.slow  # a training that draws all its pictures and heat maps
def test_training_says_where_its_report_is(tool, write_config, tmp_path, capsys):
    config = write_config(tmp_path, extra='train_cfg = dict(max_epochs=1)\n')
    assert tool('train', config, '--work-dir', tmp_path / 'run', pictures=True) == 0
    assert f'next        {tmp_path}/run/report.html  ' in capsys.readouterr().out
    assert 'There is no' not in (tmp_path / 'run' / 'report.html').read_text()
