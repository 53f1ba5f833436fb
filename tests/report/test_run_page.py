import json
import shutil

import numpy as np
import pytest
from PIL import Image

from flowercls.core.files import sha256_of
from flowercls.evaluate.optimism import best_epoch_optimism
from flowercls.evaluate.predictions import Predictions
from flowercls.report.run_page import write_run_report
from helpers.run_folders import write_run, write_test
from report.conftest import LOG

SECTIONS = [
    'mistakes', 'curves', 'metrics', 'confusion', 'use', 'data', 'config', 'comparison', 'commands', 'environment',
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


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'extends': {'known': 3}}, ' --extend OLD_MANIFEST --seed 5'),
        ({'near_duplicates': {'action': 'group', 'method': 'hash', 'distance': 0.5}}, '--near-duplicate-distance 0.5'),
        (
            {'near_duplicates': {'action': 'drop', 'method': 'features', 'distance': 0.4}},
            '--near-duplicates drop --near-duplicate-method features --weights FILE --near-duplicate-distance 0.4',
        ),
        ({'near_duplicates': {'action': 'off', 'method': 'hash', 'distance': 0.5}}, '--near-duplicates off'),
    ],
)
def test_the_command_that_prepares_the_data_has_its_options(page, tmp_path, changes, words):
    path = tmp_path / 'flower' / 'manifest.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert words in page().text


def test_groups_that_look_alike_are_shown_if_they_were_drawn(page, tmp_path):
    title = 'Photos that look alike'
    assert title not in page().text  # prepared by an older version
    Image.new('RGB', (40, 30)).save(tmp_path / 'flower' / 'near_duplicates.png')
    assert title in page().text
    manifest = tmp_path / 'flower' / 'manifest.json'
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {'images': [{'duplicate_group': None}]}))
    assert title not in page().text  # the picture is of something else


def test_a_split_that_was_given_is_told_with_its_leaks(page, tmp_path):
    path = tmp_path / 'flower' / 'manifest.json'
    given = {'split': 'given', 'leaks': 'allow', 'leaked': {'the same file': 2, 'look alike': 1}, 'val_ratio': None}
    path.write_text(json.dumps(json.loads(path.read_text()) | given))
    text = page().text
    assert '--split keep --leaks allow' in text and 'split given' in text and '--val-ratio' not in text
    assert '3 photos of one set are also in another' in text


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


def test_a_test_of_a_folder_names_it_and_says_what_was_trained_on(page, run_folder):
    (run_folder / 'test_best_Held Out').mkdir()
    metrics = json.loads((run_folder / 'metrics.json').read_text())
    seen = dict(trained_on=2, chose_epoch=0, n=4, hits=3)
    content = json.dumps({**metrics, 'split': 'data', 'data': 'Held Out', 'seen': seen})
    (run_folder / 'test_best_Held Out' / 'metrics.json').write_text(content)
    text = page().text
    assert 'Folder Held Out, 6 photos' in text
    assert 'of 6 photos 2 were trained on; without them top-1 75.00 % (3 of 4' in text


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


READ = ['metrics.json', 'mistakes.csv', 'scalars.json', 'config.py', 'best_2.pth.json', 'calibration.json']


@pytest.mark.parametrize('name', READ)
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
    Image.effect_noise((900, 900), 100).save(run_folder / 'mistakes_heatmaps.png')
    assert (run_folder / 'mistakes_heatmaps.png').stat().st_size > 400_000
    assert page().pictures[0][1].startswith('data:image/jpeg;base64,')


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


# --- the answer first -------------------------------------------------------------------------------------------------


def test_the_page_begins_with_the_answer_and_ends_with_the_digests(page, run_folder):
    with (run_folder / 'config.py').open('a') as file:
        file.write("model = dict(backbone=dict(type='ResNet', depth=50))\nload_from = '/a/weights of/resnet.pth'\n")
    (run_folder / '20261121_151945.log').write_text(
        f'2026/11/21 15:19:45 - mmengine - INFO - {LOG}2026/11/21 15:21:50 - mmengine - INFO - end\n'
    )
    text = page().text
    answer, _, rest = text.partition('Mistakes Curves Metrics')  # the links to the sections
    for words in ('model ResNet 50', 'starting weights resnet.pth', 'time 2 min 05 s for 1 epoch',
                  'mistakes 1 of 6 validation photos'):  # fmt: skip
        assert words in answer
    before, _, digests = rest.partition('PyTorch 2.15.0')
    for digest in (f'SHA-256 {"0" * 64}', 'abcdef'):
        assert digest in digests and digest not in before
    assert '/a/weights of' not in answer
    assert '#mistakes' in page().links


def test_the_image_size_is_what_the_validation_pipeline_ends_with(page, run_folder):
    for steps, words in (
        ("dict(type='T', transforms=[dict(type='Resize', size=256), dict(type='CenterCrop', size=224)])", '224 px'),
        ("dict(type='Resize', scale=(64, 96))", '64 × 96 px'),
    ):
        with (run_folder / 'config.py').open('a') as file:
            file.write(f'val_dataloader = dict(dataset=dict(pipeline=[{steps}]))\n')
        assert f'image size {words}' in page().text


@pytest.mark.parametrize(
    ('last_nll', 'last_loss', 'words'),
    [
        (3.0, 0.2, 'Yes, after epoch 1. By epoch 2, the last, the training loss fell'),
        (3.0, 0.9, 'No sign of it from epoch 1'),  # training got worse, too
        (0.7, 0.2, 'No sign of it from epoch 1'),
    ],
)
def test_overfitting_is_told_with_its_figures(tmp_path, read_page, last_nll, last_loss, words):
    labels = np.arange(100) % 2
    sure = np.exp(-np.where(np.arange(100) % 3, 0.5, 0.8))  # the score of the right class
    run = write_run(tmp_path / 'run', (), num_photos=100)
    names = [f'a/{number}.jpg' for number in range(100)]
    scatter = np.where(np.arange(100) % 4 < 2, 0.55, -0.55)  # a standard error of 0.055
    later = sure * np.exp(0.6 - last_nll + scatter)
    for name, right in (('predictions_val', sure), ('predictions_val_last', later)):
        scores = np.where(np.arange(2) == labels[:, None], right[:, None], 1 - right[:, None]).astype(np.float32)
        Predictions(names, labels, scores, ['daisy', 'rose']).write_csv(run / f'{name}.csv')
    metrics = json.loads((run / 'metrics.json').read_text())
    (run / 'metrics.json').write_text(json.dumps({**metrics, 'epoch': 1}))
    epochs = [dict(step=1, train_loss=0.5, train_top1=90.0), dict(step=2, train_loss=last_loss, train_top1=91.0)]
    epochs += [{'step': 1, 'nll': 0.6, 'accuracy/top1': 93.0}, {'step': 2, 'nll': last_nll, 'accuracy/top1': 92.5}]
    (run / 'scalars.json').write_text('\n'.join(map(json.dumps, epochs)))
    text = read_page(write_run_report(run)).text
    assert words in text and f'Training loss 0.500 → {last_loss:.3f}, validation loss 0.600 → {last_nll:.3f}' in text
    assert 'Training top-1 90.00 → 91.00 % (on augmented photos), validation top-1 93.00 → 92.50 %' in text


def test_the_last_epoch_as_the_best_shows_no_overfitting(page, run_folder):
    epoch = {'step': 2, 'train_loss': 0.5, 'train_top1': 90.0}
    (run_folder / 'scalars.json').write_text(
        json.dumps(epoch) + '\n' + json.dumps({'step': 2, 'nll': 0.6, 'accuracy/top1': 83.0})
    )
    assert 'No sign of it: the last epoch is the best. Training loss 0.500' in page().text


# --- use --------------------------------------------------------------------------------------------------------------


def test_heat_maps_are_shown_below_the_mistakes_or_in_their_place_where_they_are_all(page, run_folder):
    def alts():
        return [alt.partition(',')[2] for alt, _ in page().pictures if 'mistakes' in alt]

    assert alts() == [' each beside its heat map']
    rows = [f'rose/{number}.jpg,rose,daisy,0.9' for number in range(13)]
    (run_folder / 'mistakes.csv').write_text('\n'.join(['image,label,pred,score', *rows]))
    assert alts() == [' each with true class, predicted class and score', ' each beside its heat map']
    (run_folder / 'mistakes_heatmaps.png').unlink()
    assert 'No heat maps: they need the best checkpoint' in page().text


def test_commands_to_use_the_model_are_ready_to_paste(page, run_folder):
    text = page().text
    for verb, rest in (('predict', 'PHOTOS'), ('export', '--format onnx')):
        assert f"{verb} '{run_folder}' {rest}" in text or f"{verb}.py '{run_folder}' {rest}" in text


def test_exports_are_shown_with_their_distance_to_the_checkpoint(page, run_folder):
    parity = {
        'measured': True, 'photos': 6, 'max_difference': 0.00123, 'mean_difference': 0.0001, 'same_answer': 5,
        'top1': {'checkpoint': 83.333, 'onnx': 66.667}, 'loss': 16.667, 'loss_interval': [-1.25, 30.0], 'problems': [],
        'run_precision': {'precision': 'bf16', 'max_difference': 0.0876, 'mean_difference': 0.002, 'same_answer': 6},
    }  # fmt: skip
    entries = {
        'onnx': {'file': '<i>.onnx', 'bytes': 2_900_000, 'checkpoint_sha256': 'abcdef', 'parity': parity},
        'onnx_int8': {'file': 'b', 'bytes': 9, 'checkpoint_sha256': 'abcdef', 'parity': parity,
                      'int8': {**parity, 'top1': {'fp32': 66.667, 'int8': 50.0}, 'problems': ['16 points worse']}},
        'html': {'file': 'c', 'bytes': 9, 'parity': {'measured': False, 'reason': 'The photos are not here.'}},
        'slim': {'file': 'd', 'bytes': 9, 'checkpoint_sha256': 'abcdef', 'parity': None},
    }  # fmt: skip
    (run_folder / 'export').mkdir()
    (run_folder / 'export' / 'export.json').write_text(json.dumps(entries))
    text = page().text
    assert '<i>.onnx 2.90 MB. The same answer as the checkpoint for 5 of 6 validation photos. A probability' in text
    assert '0.0012, in the mean by 0.0001. Top-1 66.67 % against 83.33 %: 16.67 points' in text
    assert '(95 % interval -1.2 to 30.0)' in text and 'in bf16 as in this run, differs from its own fp32 by' in text
    assert 'the fp32 export' in text and 'Top-1 50.00 % against 66.67 %' in text and ': 16 points worse' in text
    assert 'of another checkpoint. Not compared with the checkpoint: The photos are not here.' in text


def test_calibration_is_shown(page, run_folder):
    found = {
        'sha256': 'abcdef', 'fitted_on': 'val', 'n': 1234, 'temperature': 1.234, 'ece': {'before': 9.0, 'after': 2.0},
        'threshold': {'confidence': 0.832, 'right': 0.99, 'right_interval': [0.9, 1.0], 'answered': 0.5,
                      'answered_interval': [0.4, 0.6]},
        'none_of_these': {'false_alarms': 0.02, 'false_alarms_interval': [0.01, 0.05], 'found': {'textures': [49, 50]}},
    }  # fmt: skip
    (run_folder / 'calibration.json').write_text(json.dumps(found))
    text = page().text
    assert '1.23, fitted on 1,234 validation photos. Calibration error 9.00 % before, 2.00 % after' in text
    assert '0.832. Of the answers above it 99.0 % are right (95 % interval 90.0-100.0 %); 50.0 % of the photos' in text
    assert '2.0 % false alarms' in text and '49 of 50 textures.' in text and 'another checkpoint' not in text
    without = {
        **found,
        'temperature': None,
        'ece': None,
        'sha256': 'x',
        'threshold': None,
        'threshold_reason': 'too few',
        'none_of_these': None,
    }
    (run_folder / 'calibration.json').write_text(json.dumps(without))
    text = page().text
    assert (
        'no threshold: too few' in text
        and 'temperature' not in text
        and 'of another checkpoint' in text
        and '--calibrate' in text
    )


@pytest.mark.parametrize(
    'content', ['[]', '{"onnx": 1}', '{"onnx": {"parity": [1], "int8": "x"}}', '{"a": {"parity": {}}}']
)
def test_a_strange_record_of_exports_is_no_obstacle(page, run_folder, content):
    (run_folder / 'export').mkdir()
    (run_folder / 'export' / 'export.json').write_text(content)
    assert page().ids == SECTIONS


@pytest.mark.parametrize('value', [1, [], 'x', {'found': 3}, {'right_interval': 4, 'found': {'a': 1}}])
def test_a_strange_calibration_is_no_obstacle(page, run_folder, value):
    strange = {'temperature': value, 'threshold': value, 'none_of_these': value, 'ece': value}
    (run_folder / 'calibration.json').write_text(json.dumps(strange))
    assert page().ids == SECTIONS
