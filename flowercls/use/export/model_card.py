"""The model card: a README.md that says what a model is, how good it is, on what, and how to use it.

It begins with the block of YAML that model hubs read:
https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import math
import re

import yaml

from flowercls.core.errors import CheckpointError
from flowercls.core.layout import SPLIT_TITLES
from flowercls.core.terminal import markdown_table
from flowercls.evaluate.intervals import INTERVAL, wilson_interval
from flowercls.use.export.licences import weights_licence
from flowercls.use.export.parity import loss_text

_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f]')
_MARKUP = re.compile(r'([\\`*_\[\]<>~&$#])')
_USE = """With flowercls (`model.onnx` may also be a run folder, a checkpoint or a package):

```python
import flowercls

model = flowercls.load('model.onnx')
print(model.predict('photo.jpg'))
```

With onnxruntime, numpy and Pillow alone (resizing, cropping and normalising are inside the ONNX file):

```python
import json
import numpy, onnxruntime
from PIL import Image, ImageOps

model = onnxruntime.InferenceSession('model.onnx')
classes = json.loads(model.get_modelmeta().custom_metadata_map['classes'])
photo = numpy.asarray(ImageOps.exif_transpose(Image.open('photo.jpg')).convert('RGB'))
probabilities = model.run(['probabilities'], {'photos': photo[None]})[0][0]
print(classes[probabilities.argmax()], probabilities.max())
```
"""


def card_text(facts: dict, calibration: dict | None, measured: dict | None) -> str:
    """Return the model card as Markdown.

    Args:
        facts: Of the model, see `TorchModel.facts`.
        calibration: Content of its calibration.json.
        measured: ``parity`` and ``int8`` of a file with the exported graph, as in export.json.

    Raises:
        CheckpointError: if the facts, which may come from a stranger's file, are not as this program writes them.
    """
    try:
        return _card(facts, calibration, measured)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f'the model card cannot be written, as the file of the model records something else than it should '
            f'({type(error).__name__}: {error}). Fix: export it again from its run folder.'
        ) from error


def _card(facts: dict, calibration: dict | None, measured: dict | None) -> str:
    sections = {
        'Figures': _figures(facts),
        'Use': _USE,
        'Data': _data(facts),
        'Limits': _limits(facts),
        'Confidence': _confidence(calibration),
        'Agreement of the ONNX file': _agreement(measured or {}),
        'Licence': _licence(facts),
        'How it was made': _origin(facts),
    }
    body = [f'## {title}\n\n{text.strip()}\n' for title, text in sections.items() if text]
    return '\n'.join([f'---\n{_metadata(facts)}---\n', f'# {_text(facts["name"])}\n', _summary(facts), *body])


def _metadata(facts: dict) -> str:
    """Return the block of YAML. Names of classes and folders are data in it, whatever they look like."""
    name, measured = facts['name'], _measured(facts)
    fields = {
        'license': 'unknown',  # one of the hub's own words; the owner of the model decides
        'library_name': 'flowercls',
        'pipeline_tag': 'image-classification',
        'tags': ['image-classification', 'flowercls', 'onnx'],
        'metrics': ['accuracy'],
    }
    if measured:
        low, high = measured['top1_interval']
        dataset = {
            'type': 'imagefolder',
            'name': str(facts['training'].get('data') or 'own photos'),
            'split': SPLIT_TITLES.get(measured['split'], str(measured['split'])),
        }
        accuracy = {
            'type': 'accuracy',
            'value': round(measured['top1'] / 100, 4),
            'name': f'Accuracy ({INTERVAL} {low / 100:.3f} to {high / 100:.3f}, {measured["n"]} photos)',
        }
        result = {
            'task': {'type': 'image-classification', 'name': 'Image Classification'},
            'dataset': dataset,
            'metrics': [accuracy],
        }
        fields['model-index'] = [{'name': name, 'results': [result]}]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=math.inf)


def _measured(facts: dict) -> dict | None:
    """Return the figures of the test set, which chose nothing; else those of the validation set."""
    return facts.get('test_figures') or facts.get('figures')


def _summary(facts: dict) -> str:
    height, width = facts['image_size']
    names = ', '.join(map(_text, facts['classes'][:20])) + (', …' if len(facts['classes']) > 20 else '')
    return (
        f'A network that sorts photos into {len(facts["classes"])} classes: {names}.\n'
        f'It is a {_text(facts["architecture"])} with {facts["parameters"]:,} parameters. '
        f'It sees each photo as {width} x {height} pixels.\n'
    )


def _figures(facts: dict) -> str:
    measured = _measured(facts)
    if not measured:
        return 'No figures are known: the run folder of the checkpoint was not at hand when this card was written.'
    title = SPLIT_TITLES.get(measured['split'], measured['split'])
    low, high = measured['top1_interval']
    lines = [
        f'Of {measured["n"]} {title} photos it classifies **{measured["top1"]:.1f} %** correctly ({INTERVAL} '
        f'{low:.1f} to {high:.1f} %).'
    ]
    clause = (facts.get('optimism') or {}).get('clause')
    if measured is facts.get('figures') and clause:
        lines.append(f'{clause[0].upper()}{clause[1:]}.')
    if measured is not facts.get('figures'):
        lines.append('These photos chose nothing, neither the epoch nor a setting that this program knows of.')
    lines.append(
        f'Negative log-likelihood {measured["nll"]:.3f}; expected calibration error {measured["ece"]:.1f} points.'
    )
    rows = []
    for name, row in measured['per_class'].items():
        support = row['support']
        low, high = wilson_interval(row['recall'] * support / 100, support) if support else (math.nan, math.nan)
        interval = f'{low:.1f} to {high:.1f}' if support else ''
        rows.append([_text(name), str(support), *(_percent(row[key]) for key in ('recall', 'precision')), interval])
    head = ['class', 'photos', 'recall in %', 'precision in %', f'{INTERVAL} of recall']
    return '\n'.join(lines) + '\n\n' + markdown_table(head, rows)


def _percent(value: float | None) -> str:
    return '' if value is None or math.isnan(value) else f'{value:.1f}'


def _data(facts: dict) -> str:
    training = facts['training']
    lines = [f'Folder: {_text(training["data"])}.'] if training.get('data') else []
    if manifest := training.get('data_manifest'):
        lines.append(f'SHA-256 of its manifest, which lists each photo and its set: `{manifest}`')
    photos = {'training': training.get('photos')}
    for title, figures in (('validation', facts.get('figures')), ('test', facts.get('test_figures'))):
        photos[title] = {name: row['support'] for name, row in figures['per_class'].items()} if figures else None
    photos = {title: numbers for title, numbers in photos.items() if numbers}
    if photos:
        rows = [[_text(name), *(str(numbers[name]) for numbers in photos.values())] for name in facts['classes']]
        rows.append(['all', *(str(sum(numbers.values())) for numbers in photos.values())])
        lines += ['', markdown_table(['class', *(f'{title} photos' for title in photos)], rows)]
    return '\n'.join(lines) or 'Nothing is recorded about the photos.'


def _limits(facts: dict) -> str:
    lines = [
        f'- It knows {len(facts["classes"])} classes only. A photo of anything else gets one of them, too.',
        '- The figures hold for photos like those it was measured on. Another camera, place or season can cost much.',
    ]
    if measured := _measured(facts):
        smallest = min(row['support'] for row in measured['per_class'].values())
        lines.append(f'- It was measured on {measured["n"]} photos. The smallest class has {smallest} of them.')
    if (facts.get('optimism') or {}).get('clause') and not facts.get('test_figures'):
        lines.append('- The validation photos chose the epoch, so the figure is a little too high.')
    return '\n'.join(lines)


def _confidence(calibration: dict | None) -> str:
    if not calibration:
        return ''
    lines = ['Probabilities are as the network gives them.']
    if temperature := calibration.get('temperature'):
        ece = calibration['ece']
        lines.append(
            f'The confidence divides their logarithms by {temperature:.3g} first. Measured on photos that did not '
            f'choose this number, the calibration error is {ece["after"]:.1f} points, before {ece["before"]:.1f}.'
        )
    if threshold := calibration.get('threshold'):
        low, high = threshold['right_interval']
        lines.append(
            f'Where the confidence is at least {threshold["confidence"]:.3f}, {100 * threshold["right"]:.1f} % of the '
            f'answers are right ({INTERVAL} {100 * low:.1f} to {100 * high:.1f} %). They are '
            f'{100 * threshold["answered"]:.1f} % of the photos.'
        )
    elif reason := calibration.get('threshold_reason'):
        lines.append(f'No threshold is given: {_text(reason)}.')
    if found := (calibration.get('none_of_these') or {}).get('found'):
        shares = ', '.join(f'{k} of {n} {_text(kind)}' for kind, (k, n) in found.items())
        alarms = calibration['none_of_these']['false_alarms']
        lines.append(
            f'Photos that show none of the classes are told by their distance to the training photos. It found '
            f'{shares}, and {100 * alarms:.1f} % of the validation photos by mistake.'
        )
    return '\n'.join(lines)


def _agreement(measured: dict) -> str:
    lines, parity, int8 = [], measured.get('parity') or {}, measured.get('int8')
    if parity.get('measured'):
        top1 = parity['top1']
        lines.append(
            f'Checkpoint (fp32) and ONNX graph answered {parity["photos"]} validation photos before the file was '
            f'written. {parity["same_answer"]} answers are the same. A probability differs by at most '
            f'{parity["max_difference"]:.4f}. {top1["checkpoint"]:.1f} % and {top1["onnx"]:.1f} % are right.'
        )
    if int8:
        top1 = int8['top1']
        lines.append(
            f'The file itself computes in 8 bits: {top1["int8"]:.1f} % are right, {top1["fp32"]:.1f} % in fp32 '
            f'({loss_text(int8)}). The other figures here are of the checkpoint.'
        )
    return '\n'.join(lines)


def _licence(facts: dict) -> str:
    weights = facts['training'].get('starting_weights')
    return (
        f'No licence is recorded. Who owns the model chooses one and writes it into the first lines of this file.\n\n'
        f'Starting weights: {_code(weights) or "none"}. {weights_licence(weights)}\n'
        'The photos have licences of their own.'
    )


def _origin(facts: dict) -> str:
    training = facts['training']
    rows = {
        'command': _code(training.get('command')),
        'seed': training.get('seed'),
        'epoch': f'{training["epoch"]} of {training["epochs"]}' if training.get('epoch') else None,
        'frozen stages': training.get('frozen_stages'),
        'precision': facts['precision'],
        'flowercls': facts['flowercls_version'],
        'torch': training.get('torch_version'),
        'checkpoint': _code(facts['checkpoint']),
        'SHA-256 of the checkpoint': _code(facts['sha256']),
    }
    return '\n'.join(f'- {name}: {value}' for name, value in rows.items() if value is not None)


def _text(value: object) -> str:
    """Return a value as Markdown that shows it as it is, on one line."""
    return _MARKUP.sub(r'\\\1', _one_line(value))


def _code(value: str | None) -> str | None:
    """Return a value as code in Markdown, on one line; None stays None."""
    return value and f'`{_one_line(value).replace("`", "")}`'


def _one_line(value: object) -> str:
    return ' '.join(_CONTROL.sub(' ', str(value)).split())
