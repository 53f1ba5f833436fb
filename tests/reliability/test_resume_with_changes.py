"""A resumed run with another schedule, or for more epochs."""

import json

import pytest

SCHEDULES = {
    'constant': "[dict(type='ConstantLR', factor=1.0)]",
    'cosine': "[dict(type='CosineAnnealingLR', eta_min_ratio=0.01, convert_to_iter_based=True)]",
    'warm-up, by epoch': "[dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True), "
    "dict(type='CosineAnnealingLR', begin=1, eta_min_ratio=0.01)]",
}


def rates(folder):
    """The rate of every epoch's last step, as logged."""
    lines = [json.loads(line) for line in (folder / 'scalars.json').read_text().splitlines()]
    return {line['iter']: line['lr'] for line in lines if 'iter' in line and 'lr' in line}


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_a_run_that_is_made_longer_has_the_rates_of_the_longer_schedule(schedule, write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path, f'param_scheduler = {SCHEDULES[schedule]}\n')
    longer = ('--cfg-options', 'train_cfg.max_epochs=4')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', *longer) == 2
    assert 'train_cfg.max_epochs: 2 -> 4' in capsys.readouterr().err
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', '--allow-config-change', *longer) == 0
    assert 'train_cfg.max_epochs: 2 -> 4' in capsys.readouterr().out
    assert tool('train', config, '--work-dir', tmp_path / 'long', *longer) == 0
    found, expected = rates(tmp_path / 'run'), rates(tmp_path / 'long')
    second_half = [number for number in expected if number > 12]
    assert second_half and {n: found[n] for n in second_half} == pytest.approx({n: expected[n] for n in second_half})


def test_a_changed_rate_holds_from_where_the_run_goes_on(write_config, tool, tmp_path):
    config = write_config(tmp_path, f'param_scheduler = {SCHEDULES["constant"]}\n')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    options = ('--cfg-options', 'train_cfg.max_epochs=3', 'optim_wrapper.optimizer.lr=0.002')
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', '--allow-config-change', *options) == 0
    found = rates(tmp_path / 'run')
    assert {found[number] for number in found if number <= 12} == {0.05}
    assert {found[number] for number in found if number > 12} == {0.002}


def test_another_metric_to_judge_by_begins_without_a_best(write_config, tool, tmp_path):
    config = write_config(tmp_path)
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    # The best accuracy so far, in percent, is above any such loss: compared with it, no epoch would be better.
    judge = ('default_hooks.checkpoint.save_best=nll', 'default_hooks.checkpoint.rule=greater')
    options = ('--cfg-options', 'train_cfg.max_epochs=3', *judge)
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', '--allow-config-change', *options) == 0
    found = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert (found['checkpoint'], found['epoch']) == ('best_nll_epoch_3.pth', 3)
    assert (tmp_path / 'run' / 'best_nll_epoch_3.pth').is_file()


def test_more_patience_lets_a_run_go_on_that_has_stopped_early(write_config, tool, tmp_path):
    hook = "custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top1', rule='greater', patience={})]\n"
    still = 'train_cfg = dict(max_epochs=5)\noptim_wrapper = dict(optimizer=dict(lr=1e-12))\n'
    config = write_config(tmp_path, still + hook.format(1))
    start = ('train', config, '--work-dir', tmp_path / 'run', '--resume')
    for _ in range(2):  # the second has nothing to do
        assert tool(*start) == 0
        assert (tmp_path / 'run' / 'last_checkpoint').read_text() == 'epoch_2.pth'
    write_config(tmp_path, still + hook.format(3))
    assert tool(*start, '--allow-config-change') == 0
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == 'epoch_4.pth'
