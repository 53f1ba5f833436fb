"""A resumed run with another schedule, or for more epochs."""

import json

import pytest
import torch

from flowercls.compare.runs import read_run
from flowercls.config.resolve import Flags
from flowercls.data.prepare.preparation import prepare
from flowercls.train import tester
from flowercls.train.trainer import resolve_for_run

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


@pytest.mark.slow
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


def test_a_changed_rate_holds_from_where_the_run_goes_on(copied_run, write_config, tool, tmp_path):
    constant = write_config(tmp_path, f'param_scheduler = {SCHEDULES["constant"]}\n')
    assert resume(tool, constant, copied_run, 'train_cfg.max_epochs=3', 'optim_wrapper.optimizer.lr=0.002') == 0
    assert {rate for number, rate in rates(copied_run).items() if number > 12} == {0.002}


def test_another_metric_to_judge_by_begins_without_a_best(copied_run, trained_run, tool):
    # The best accuracy so far, in percent, is above any such loss: compared with it, no epoch would be better.
    judge = ('default_hooks.checkpoint.save_best=nll', 'default_hooks.checkpoint.rule=greater')
    assert resume(tool, trained_run[0], copied_run, 'train_cfg.max_epochs=3', *judge) == 0
    found = json.loads((copied_run / 'metrics.json').read_text())
    assert (found['checkpoint'], found['epoch']) == ('best_nll_epoch_3.pth', 3)
    assert (copied_run / 'best_nll_epoch_3.pth').is_file()


@pytest.mark.slow
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


def group_of(path):
    return torch.load(path, weights_only=True)['optimizer']['param_groups'][0]


def resume(tool, config, folder, *options):
    changed = ('--resume', '--allow-config-change', '--cfg-options', *options)
    return tool('train', config, '--work-dir', folder, *changed)


def test_new_values_of_the_optimizer_hold_from_where_the_run_goes_on(copied_run, trained_run, tool):
    options = [f'optim_wrapper.optimizer.{value}' for value in ('weight_decay=0.3', 'momentum=0.5', 'lr=0.02')]
    assert resume(tool, trained_run[0], copied_run, 'train_cfg.max_epochs=3', *options) == 0
    before, after = group_of(copied_run / 'epoch_2.pth'), group_of(copied_run / 'epoch_3.pth')
    assert (after['weight_decay'], after['momentum'], after['initial_lr']) == (0.3, 0.5, 0.02)
    assert before['weight_decay'] != 0.3 and before['momentum'] != 0.5


@pytest.mark.parametrize(('kind', 'lacks'), [('AdamW', 'betas'), ('RMSprop', 'alpha')])
def test_an_optimizer_of_another_kind_is_refused(copied_run, trained_run, tool, said, kind, lacks):
    options = (f'optim_wrapper.optimizer.type={kind}', 'optim_wrapper.optimizer.lr=0.001', 'train_cfg.max_epochs=3')
    assert resume(tool, trained_run[0], copied_run, *options) == 4
    assert lacks in said()
    assert not (copied_run / 'epoch_3.pth').exists()


def test_results_are_not_written_over_for_want_of_checkpoints(copied_run, trained_run, tool, said):
    for path in copied_run.glob('*.pth'):
        path.unlink()
    before = {path: path.read_bytes() for path in copied_run.glob('*.*') if path.suffix != '.log'}
    assert tool('train', trained_run[0], '--work-dir', copied_run, '--resume') == 4
    assert 'no checkpoint' in said()
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_saved_nothing_begins_anew_with_its_own_config_only(copied_run, trained_run, tool, said):
    for path in (*copied_run.glob('*.pth'), copied_run / 'metrics.json'):
        path.unlink()
    start = ('train', trained_run[0], '--work-dir', copied_run, '--resume')
    assert tool(*start, '--cfg-options', 'randomness.seed=7') == 2
    assert 'randomness.seed: 0 -> 7' in said()
    assert tool(*start) == 0 and 'from the beginning' in said()


def test_a_run_of_two_configs_keeps_both_and_is_not_compared(copied_run, trained_run, tool, said, tmp_path):
    before = (copied_run / 'config.py').read_text()
    longer = ('train_cfg.max_epochs=3',)
    assert resume(tool, trained_run[0], copied_run, *longer) == 0
    assert (copied_run / 'config_until_epoch_2.py').read_text() == before
    assert tool('compare', copied_run, trained_run[1], '--out', tmp_path / 'longer') == 0
    assert resume(tool, trained_run[0], copied_run, 'train_cfg.max_epochs=4', 'optim_wrapper.optimizer.lr=1e-5') == 0
    said()
    assert tool('compare', copied_run, trained_run[1], '--out', tmp_path / 'other') == 3
    assert 'optim_wrapper.optimizer.lr' in said()


def test_what_was_best_on_other_photos_does_not_count(copied_run, trained_run, tool, drawn_root, tmp_path):
    root = tmp_path / 'again'
    prepare(drawn_root.parent / 'raw', root, val_ratio=0.25, workers=0, seed=1)
    # The best so far cannot be surpassed.
    for path in copied_run.glob('epoch_2.pth'):
        content = torch.load(path, weights_only=True)
        content['run_state']['best_score'] = 101.0
        torch.save(content, path)
        path.with_name('epoch_2.pth.json').unlink()
    options = ('train_cfg.max_epochs=3', f'data_root={root}')
    assert resume(tool, trained_run[0], copied_run, *options) == 0
    assert json.loads((copied_run / 'metrics.json').read_text())['epoch'] == 3


def test_an_interrupted_run_is_not_compared(copied_run, trained_run, tool, said, tmp_path):
    (copied_run / 'epoch_2.pth').unlink()
    (copied_run / 'last_checkpoint').write_text('epoch_1.pth')
    assert tool('compare', copied_run, trained_run[1], '--out', tmp_path / 'c') == 3
    assert 'epoch_1.pth' in said()


def test_a_kill_before_the_last_checkpoint_was_named_is_made_good(copied_run, trained_run, tool):
    (copied_run / 'last_checkpoint').write_text('epoch_1.pth')
    assert read_run(copied_run).metrics == read_run(trained_run[1]).metrics  # it is taken for finished
    assert tool('train', trained_run[0], '--work-dir', copied_run, '--resume') == 0
    assert (copied_run / 'last_checkpoint').read_text() == 'epoch_2.pth'


def test_a_test_on_photos_that_were_prepared_again_is_warned_of(trained_run, said, drawn_root, tmp_path):
    root = tmp_path / 'again'
    prepare(drawn_root.parent / 'raw', root, val_ratio=0.25, workers=0, seed=1)
    for options, is_warned in (([], False), ([f'data_root={root}'], True)):
        cfg = resolve_for_run(trained_run[0], options, Flags())
        tester.test(cfg, trained_run[1] / 'epoch_2.pth', work_dir=tmp_path)
        assert ('trained on photos that were prepared otherwise' in said()) == is_warned
