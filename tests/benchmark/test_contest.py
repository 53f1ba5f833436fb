"""The whole benchmark on a tiny network: its figures mean nothing, that there are any does."""

import json

import pytest


@pytest.mark.slow
def test_all_contestants_train_in_turns(write_config, tool, tmp_path, capsys):
    options = (
        '--repeats',
        2,
        '--seconds',
        0.01,
        '--cases',
        'frozen-2',
        'frozen-2-cached',
        '--out',
        tmp_path / 'found.json',
    )
    assert tool('benchmark', write_config(tmp_path), *options) == 0
    found = json.loads((tmp_path / 'found.json').read_text())
    assert found['hardware']['cores'] >= 1 and list(found['cases']) == ['frozen 2', 'frozen 2 cached']
    for case in found['cases'].values():
        assert list(case['contestants']) == ['stock', 'ours', 'bare']
        for figures in case['contestants'].values():
            assert len(figures['photos_per_s']) == 2 and figures['median'] > 0 and figures['memory'] > 2**20
        assert case['to_stock'] > 0 and case['to_bare'] > 0
        assert case['contestants']['ours']['again_s'] > 0
    assert 'frozen 2 cached' in capsys.readouterr().out


def test_a_mistake_in_the_config_is_told_as_anywhere(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path)
    assert tool('benchmark', config, '--cases', 'full', '--cfg-options', 'optim_wrapper.optimiser.lr=1') == 2
    assert "'optim_wrapper.optimizer.lr'" in capsys.readouterr().err
    assert tool('benchmark', config, '--repeats', 0) == 2
    (tmp_path / 'there.json').write_text('mine')
    assert tool('benchmark', config, '--out', tmp_path / 'there.json') == 2
    assert (tmp_path / 'there.json').read_text() == 'mine'
