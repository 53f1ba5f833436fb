import json
import shutil

import pytest
from PIL import Image

from flowercls.core.files import sha256_of
from flowercls.evaluate.optimism import best_epoch_optimism
from flowercls.report.run_page import write_run_report
from helpers.run_folders import write_run, write_test

SECTIONS = [
    'data', 'config', 'curves', 'metrics', 'confusion', 'mistakes', 'comparison', 'environment', 'commands',
]  # fmt: skip


@pytest.fixture
def page(run_folder, read_page):
    return lambda **options: read_page(write_run_report(run_folder, **options))


def test_the_page_has_every_section_and_loads_nothing(page, run_folder):
    content = page()
    assert content.ids == SECTIONS
    assert [alt for alt, _ in content.pictures if not alt] == [] and len(content.pictures) == 4
    assert all(address.startswith('data:image/png;base64,') for _, address in content.pictures)
    assert all(link.startswith('#') for link in content.links)
    loading = {'script', 'link', 'iframe', 'object', 'video', 'base'}
    assert loading.isdisjoint(content.tags)
    source = (run_folder / 'report.html').read_text()
    assert '@import' not in source and 'url(' not in source


def test_names_are_shown_as_they_are(page, run_folder):
    (run_folder / 'source_<i>.py').write_text("name = '</style><script>'\n")
    content = page()
    assert '<b>& predicted as rose: 1 of 4 photos' in content.text and '<b>&/1.jpg' in content.text
    assert 'Great <Card>' in content.text and "name = '</style><script>'" in content.text
    assert {'b', 'i', 'script', 'card'}.isdisjoint(content.tags)


def test_figures_come_with_n_and_interval(page):
    text = page().text
    assert '83.33 %' in text and '5 of 6 photos, 95 % interval 43.6-97.0 %' in text
    assert 'Epoch 2 of 3' in text and 'seed 7' in text and 'less on other photos' in text
    # Recall 3 of 4 and precision 3 of 3, with the intervals of Wilson worked out by hand.
    assert '<b>& 4 75.00 30.1-95.4 3 100.00 43.9-100.0 85.71' in text
    assert '0.5123 nats' in text and '12.35 %' in text
    assert '1 0.003 1.235 60.00 - 81.73' in text  # an epoch without a validation loss
    assert '<b>&/1.jpg <b>& rose 98.76' in text or '<b>&/1.jpg <b>& rose 98.77' in text


def test_the_data_card_counts_and_says_that_the_folder_has_changed(page):
    text = page().text
    assert '1,234 = 1,225 copied + 2 converted + 3 left out + 4 duplicates' in text
    assert 'label conflict: 2, unreadable: 1' in text and '5 photos in 2 groups' in text
    assert '<b>& 1,000 4 rose 21 2 all 1,021 6' in text and 'seed 5, val ratio 0.2, test ratio 0.0' in text
    assert f'SHA-256 {"0" * 64}' in text and 'changed since' in text


def test_an_unchanged_folder_needs_no_word(page, run_folder, tmp_path):
    config = run_folder / 'config.py'
    config.write_text(config.read_text().replace('0' * 64, sha256_of(tmp_path / 'flower' / 'manifest.json')))
    assert 'changed since' not in page().text


def test_commands_lead_to_the_run_again(page, run_folder, tmp_path):
    text = page().text
    assert f'python tools/prepare_data.py RAW_DIR {tmp_path}/flower --seed 5 --val-ratio 0.2' in text
    assert (
        f"Command: not recorded. config.py holds every option of this run: python tools/train.py '{run_folder}" in text
    )
    assert f"python tools/test.py '{run_folder}/config.py' '{run_folder}/best_2.pth'" in text


def test_the_command_is_shown_as_typed_with_its_options(page, run_folder):
    typed = 'python tools/train.py my.py --cfg-options train_cfg.max_epochs=3 optim_wrapper.optimizer.lr=0.01 --amp'
    (run_folder / 'command.txt').write_text(f'python tools/train.py my.py --dry-run\n{typed}\n')
    text = page().text
    assert typed in text and 'not recorded' not in text
    assert 'key in this run train_cfg.max_epochs 3 optim_wrapper.optimizer.lr 0.01' in text
    (run_folder / 'command.txt').write_text('python tools/train.py my.py\n')
    assert 'set no options' in page().text


@pytest.mark.parametrize(
    'command', ['"', '--cfg-options', 'x --cfg-options =1 a==b c=[', '\x00', '--cfg-options a=1 a.b=2']
)
def test_a_strange_command_is_shown_all_the_same(page, run_folder, command):
    (run_folder / 'command.txt').write_text(command)
    assert page().ids == SECTIONS


def test_drawn_flowers_are_drawn_by_the_training_or_by_their_own_command(page, run_folder, tmp_path):
    path = tmp_path / 'flower' / 'manifest.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'drawn': {'num_per_class': 9}}))
    command = f'python tools/prepare_data.py {tmp_path}/flower --demo --seed 5 --val-ratio 0.2'
    text = page().text
    assert 'no photos: num per class 9' in text and command in text and 'Training draws' not in text
    with (run_folder / 'config.py').open('a') as file:
        file.write('drawn = dict(num_per_class=9)\n')
    text = page().text
    assert command not in text and 'Training draws and prepares' in text


def test_the_environment_is_the_logs(page):
    text = page().text
    assert 'started 2026-11-21 15:19 platform linux Python 3.11.7 (main) GPU 0 Great <Card> PyTorch 2.15.0' in text
    assert 'bf16, channels last' in text and 'abcdef' in text and 'not read any more' not in text


def test_a_test_adds_its_figures(page, run_folder):
    (run_folder / 'test_best').mkdir()
    metrics = json.loads((run_folder / 'metrics.json').read_text())
    test_metrics = {**metrics, 'split': 'test', 'top1': 66.666, 'n': 60}
    (run_folder / 'test_best' / 'metrics.json').write_text(json.dumps(test_metrics))
    for name in ('confusion', 'reliability'):
        Image.new('RGB', (9, 9)).save(run_folder / 'test_best' / f'{name}.png')
    content = page()
    titles = [alt for alt, _ in content.pictures]
    assert {'Confusion matrix of the test set', 'Accuracy against confidence on the test set'} <= set(titles)
    assert 'Test set, 60 photos' in content.text and '66.67 %' in content.text
    assert 'results in test_best/' in content.text and 'n = 6 validation photos' in content.text
    (run_folder / 'metrics.json').unlink()
    assert 'validation photos' not in page().text


def test_a_folder_with_nothing_says_what_is_missing(tmp_path, read_page):
    (tmp_path / 'run').mkdir()
    content = read_page(write_run_report(tmp_path / 'run'))
    assert content.ids == SECTIONS and content.pictures == []
    for what in ('config.py', 'curves.png', 'metrics.json', 'confusion.png', 'mistakes.png', 'log'):
        assert f'no {what}' in content.text
    assert f'python tools/train.py {tmp_path}/run/config.py --resume --work-dir {tmp_path}/run' in content.text


def test_a_run_without_validation_is_not_told_to_make_what_it_cannot(page, run_folder):
    figures = (run_folder / 'metrics.json').read_text()
    for name in ('metrics.json', 'confusion.png', 'reliability.png', 'mistakes.png', 'mistakes.csv'):
        (run_folder / name).unlink()
    assert 'There is no confusion.png. To make it' in page().text
    with (run_folder / 'config.py').open('a') as file:
        file.write('val_dataloader = None\n')
    assert 'There is no confusion.png: the run was not validated.' in page().text
    (run_folder / 'test_last').mkdir()
    (run_folder / 'test_last' / 'metrics.json').write_text(figures)
    assert 'top-1 on the validation set' in page().text and 'too high' not in page().text  # no epoch was chosen


@pytest.mark.parametrize('name', ['metrics.json', 'mistakes.csv', 'scalars.json', 'config.py', 'best_2.pth.json'])
@pytest.mark.parametrize('content', ['', '{"top1": 1', '[]', 'a,b\n1,2\n', '\x00'])
def test_broken_files_count_as_missing(page, run_folder, name, content):
    (run_folder / name).write_text(content)
    assert page().ids == SECTIONS


def test_a_broken_picture_counts_as_missing(page, run_folder):
    (run_folder / 'curves.png').write_bytes(b'no picture')
    assert 'There is no curves.png' in page().text


def test_a_vanished_prepared_folder_is_said(page, tmp_path):
    (tmp_path / 'flower' / 'manifest.json').unlink()
    assert f'no manifest in the prepared folder {tmp_path}/flower' in page().text


def test_a_large_picture_is_embedded_as_jpeg(page, run_folder):
    Image.effect_noise((900, 900), 100).save(run_folder / 'mistakes.png')
    assert (run_folder / 'mistakes.png').stat().st_size > 400_000
    assert page().pictures[-1][1].startswith('data:image/jpeg;base64,')


def test_a_trial_points_to_its_sweep(sweep_folder, read_page):
    content = read_page(write_run_report(sweep_folder / 'trials' / 'lr=0.1 #_seed0'))
    assert '../../report.html' in content.links


def test_the_size_of_the_optimism_is_told_where_an_epoch_was_chosen(page, run_folder, tmp_path, read_page):
    assert 'Expect less on other photos' in page().text  # nothing is known: there are no predictions
    run = write_run(tmp_path / 'run', range(40), num_photos=500)  # 92 %, after 91 %
    clause = f'xpect about {best_epoch_optimism(run):.1f} points less on other photos'
    assert f'E{clause}, as these chose the epoch.' in read_page(write_run_report(run)).text

    # A test of the best epoch on these photos is no fairer; one of another epoch is, and one on other photos.
    write_test(run, range(40), split='val', name='test_best', epoch=2)
    for name, epoch in (('test_again', 2), ('test_first', 1)):
        write_test(run, range(40), split='val', name=name, epoch=epoch)
        shutil.copy(run / 'predictions_val.csv', run / name / 'predictions.csv')
    text = read_page(write_run_report(run)).text
    assert text.count(clause) == 2 and f'results in test_again/ ; e{clause}' in text

    (run / 'scalars.json').write_text('{"accuracy/top1": 92.0, "step": 2}')
    assert 'less on other photos' not in read_page(write_run_report(run)).text
