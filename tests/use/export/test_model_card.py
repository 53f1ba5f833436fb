"""The model card: hubs read it, figures come with their intervals, and no name breaks it."""

import copy
import re

import pytest
import yaml

from flowercls.core.errors import CheckpointError
from flowercls.use.export.licences import weights_licence
from flowercls.use.export.model_card import card_text

FIGURES = {
    'top1': 87.5, 'top1_interval': [64.0, 96.5], 'n': 16, 'nll': 0.4, 'ece': 5.0, 'split': 'val',
    'per_class': {
        'daisy': {'precision': 80.0, 'recall': 100.0, 'f1': 88.9, 'support': 8},
        'rose': {'precision': None, 'recall': 75.0, 'f1': 85.7, 'support': 8},
    },
}  # fmt: skip
FACTS = {
    'name': 'net_flower', 'classes': ['daisy', 'rose'], 'architecture': 'ResNet 50', 'parameters': 1234567,
    'image_size': [192, 224], 'precision': 'fp32', 'figures': FIGURES, 'test_figures': None,
    'optimism': {'points': 1.6, 'clause': 'expect about 1.6 points less on other photos'},
    'training': {
        'epoch': 8, 'epochs': 10, 'seed': 3, 'frozen_stages': 0, 'starting_weights': 'own.pth', 'data': 'flower',
        'data_manifest': 'ab12', 'photos': {'daisy': 30, 'rose': 34}, 'command': 'python tools/train.py net.py',
        'torch_version': '2.14',
    },
    'checkpoint': 'best.pth', 'sha256': 'cd34', 'flowercls_version': '0.1.0',
}  # fmt: skip
CALIBRATION = {
    'temperature': 1.25, 'ece': {'before': 6.0, 'after': 2.0}, 'threshold_reason': '',
    'threshold': {'confidence': 0.83, 'right': 0.99, 'right_interval': [0.97, 1.0], 'answered': 0.87},
}  # fmt: skip
STRANGE = [
    ': #{}',
    'yes',
    '🌼',
    'a\n---\nlicense: mit',
    '|x|',
    '<script>',
    '`',
    '[a](b)',
    '- x',
    '"',
    "'",
    '=cmd',
    '~',
    '\x1b[2J',
]


def metadata_in(card):
    return yaml.safe_load(card.split('---\n')[1])


def named(facts, names):
    """Facts with other names in all places that hold names of the user."""
    facts = copy.deepcopy(facts)
    facts |= {'name': names[0], 'classes': list(names), 'architecture': names[0], 'checkpoint': names[0]}
    facts['figures']['per_class'] = dict.fromkeys(names, FIGURES['per_class']['daisy'])
    photos = dict.fromkeys(names, 3)
    facts['training'] |= {'starting_weights': names[0], 'data': names[0], 'photos': photos, 'command': names[0]}
    return facts


def test_the_block_that_hubs_read_has_the_accuracy_with_its_interval():
    block = metadata_in(card_text(FACTS, None, None))
    (entry,) = block['model-index']
    (result,) = entry['results']
    assert block['pipeline_tag'] == result['task']['type'] == 'image-classification'
    assert block['license'] == 'unknown' and 'base_model' not in block and 'datasets' not in block
    assert result['dataset'] == {'type': 'imagefolder', 'name': 'flower', 'split': 'validation'}
    assert result['metrics'] == [
        {'type': 'accuracy', 'value': 0.875, 'name': 'Accuracy (95 % interval 0.640 to 0.965, 16 photos)'}
    ]


@pytest.mark.parametrize('name', STRANGE)
def test_no_name_breaks_the_block_or_the_page(name):
    facts = named(FACTS, [name, 'rose'])
    card = card_text(facts, CALIBRATION, None)
    block = metadata_in(card) if '\n---\n' not in name else yaml.safe_load(re.split('^---$', card, flags=re.M)[1])
    assert block['model-index'][0]['name'] == name and block['license'] == 'unknown'
    body = card[card.index('\n# ') :]
    body = re.sub(r'`[^`\n]+`', '', body)  # code is shown as it is
    assert '<script>' not in body and '[a](' not in body and '\n---\n' not in body
    assert '\x1b' not in card
    tables = [line for line in body.splitlines() if line.startswith('|')]
    assert {line.count('|') - line.count(r'\|') for line in tables} == {6, 4}  # five columns, and three


@pytest.mark.parametrize('name', ['net_flower', *STRANGE])
def test_huggingface_hub_reads_it_without_complaint(name, caplog):
    hub = pytest.importorskip('huggingface_hub')
    card = hub.ModelCard(card_text(named(FACTS, [name, 'rose']), None, None))
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ('accuracy', 0.875, 'validation')
    again = hub.ModelCard(f'---\n{card.data.to_yaml()}\n---\n')
    assert again.data.model_name == name and again.data.eval_results == [result] and not caplog.records
    assert card.text.lstrip().startswith('# ')


def test_figures_come_with_their_interval_and_optimism():
    text = card_text(FACTS, CALIBRATION, None)
    assert '**87.5 %**' in text and '64.0 to 96.5 %' in text and 'xpect about 1.6 points less' in text
    row = next(line for line in text.splitlines() if line.startswith('| daisy') and '100.0' in line)
    assert '67.6 to 100.0' in row  # Wilson, 8 of 8: 8 / (8 + 1.96²)
    assert re.search(r'\| rose +\| 34 +\| 8 +\|', text) and re.search(r'\| all +\| 64 +\| 16 +\|', text)
    assert 'is 2.0 points, before 6.0' in text and '0.830' in text and '87.0 % of the photos' in text
    assert '224 x 192' in text and '1,234,567' in text


def test_a_test_set_is_preferred_as_it_chose_nothing():
    tested = FACTS | {'test_figures': FIGURES | {'top1': 81.0, 'split': 'test', 'n': 100}}
    text = card_text(tested, None, None)
    assert '100 test photos' in text and '**81.0 %**' in text and 'chose nothing' in text and '1.6 points' not in text
    assert metadata_in(text)['model-index'][0]['results'][0]['dataset']['split'] == 'test'


def test_what_is_not_known_is_not_said():
    unknown = dict.fromkeys(FACTS['training'])
    text = card_text(FACTS | {'figures': None, 'optimism': None, 'training': unknown}, None, None)
    assert 'model-index' not in metadata_in(text) and 'No figures are known' in text
    assert 'None' not in text.replace('photo[None]', '') and '## Confidence' not in text and 'random weights' in text


def test_a_calibration_may_hold_reasons_instead_of_figures():
    text = card_text(FACTS, {'n': 16, 'threshold': None, 'threshold_reason': '16 photos are too few'}, None)
    assert '16 photos are too few' in text and 'calibration error is' not in text
    found = {'found': {'drawn things': [58, 60]}, 'false_alarms': 0.012}
    assert '58 of 60 drawn things, and 1.2 %' in card_text(FACTS, {'none_of_these': found}, None)


def test_the_card_of_a_file_in_8_bits_says_so_with_its_loss():
    parity = {'measured': True, 'photos': 16, 'same_answer': 16, 'max_difference': 0.001}
    parity['top1'] = {'checkpoint': 87.5, 'onnx': 87.5}
    int8 = {'top1': {'fp32': 87.5, 'int8': 81.2}, 'loss': 6.3, 'loss_interval': [-3.0, 15.0]}
    text = card_text(FACTS, None, {'parity': parity, 'int8': int8})
    assert '16 answers are the same' in text and '6.3 points worse, 95 % interval -3.0 to 15.0' in text
    assert '8 bits' not in card_text(FACTS, None, {'parity': parity})


@pytest.mark.parametrize('change', [{'classes': 7}, {'training': None}, {'figures': {'top1': 'x'}}, {'image_size': []}])
def test_facts_of_a_stranger_may_be_nonsense(change):
    with pytest.raises(CheckpointError, match='Fix: '):
        card_text(FACTS | change, None, None)
    with pytest.raises(CheckpointError, match='Fix: '):
        card_text({}, None, None)


@pytest.mark.parametrize(
    ('name', 'keyword'),
    [
        ('resnet50_8xb32_in1k_20210831-ea4938fc.pth', 'Apache-2.0'),
        ('efficientnet-b0_3rdparty_8xb32_in1k_20220119-a7e2a0b1.pth', 'another project'),
        ('resnet18-f37072fd.pth', 'BSD-3-Clause'),
        ('mobilenet_v2_tf_in1k.pth', 'TensorFlow'),
        ('best_accuracy_top1_epoch_3.pth', 'not known'),
        (None, 'random weights'),
    ],
)
def test_the_licence_of_starting_weights_is_told_as_far_as_it_is_known(name, keyword):
    text = weights_licence(name)
    assert keyword in text and ('Check' in text) == (name is not None)
