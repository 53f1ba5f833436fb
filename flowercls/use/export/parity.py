"""Does the export say what the checkpoint says? Measured on the validation photos before anything is written.

The usual export resizes photos otherwise than the training pipeline, and so answers otherwise. The gate here is on real
photos, from decoded pixels to probabilities. It compares fp32 with fp32; the distance of a bf16 run to its own fp32 is
reported beside it, as that can be the larger one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from flowercls.core.workers import with_progress
from flowercls.data.decode import decode_rgb
from flowercls.evaluate.intervals import CONFIDENCE, INTERVAL
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.single_runs import compare_models
from flowercls.use.model import Model, check_finite

MAX_DIFFERENCE = 0.01  # of one probability; 0.001 was seen with MobileNetV2 on real photos
MAX_MEAN_DIFFERENCE = 0.001
CLEAR_MARGIN = 0.01  # between the two best scores: above it another answer is no tie
WORST_SHOWN = 3


def scores_of(models: Sequence[Model], photos: Sequence[Path], title: str) -> list[np.ndarray]:
    """Return the probabilities of each model for the same photos, float32 (N, C); each photo is decoded once."""
    starts = range(0, len(photos), max(model.batch_size for model in models))

    def batches() -> Iterator[list[np.ndarray]]:
        for start in starts:
            pixels = [decode_rgb(path) for path in photos[start : start + starts.step]]
            yield [
                check_finite(model.classify([model.prepare(rgb) for rgb in pixels]), model.source) for model in models
            ]

    rows = list(with_progress(batches(), len(starts), title))
    return [np.concatenate(scores) for scores in zip(*rows, strict=True)]


def distance(reference: np.ndarray, other: np.ndarray) -> dict:
    """Return how far probabilities are from those of a reference, both (N, C)."""
    differences = np.abs(reference.astype(np.float64) - other)
    return {
        'max_difference': float(differences.max()),
        'mean_difference': float(differences.mean()),
        'same_answer': int((reference.argmax(axis=1) == other.argmax(axis=1)).sum()),
    }


def parity_record(reference: np.ndarray, other: np.ndarray, labels: np.ndarray, photos: Sequence[Path]) -> dict:
    """Return how well an export agrees with its checkpoint.

    Args:
        reference: Probabilities of the checkpoint in fp32, shape (N, C).
        other: Those of the export.
        labels: Shape (N,).
        photos: Their files.

    Returns:
        ``photos``, `distance`, `paired_record` with the names ``checkpoint`` and ``onnx``, `worst_photos`, and
        ``problems``: why the export is refused; empty if it is not.
    """
    record = {'photos': len(labels), **distance(reference, other)}
    ordered = np.sort(reference, axis=1)
    margins = ordered[:, -1] - ordered[:, -2] if reference.shape[1] > 1 else np.ones(len(labels))
    flipped = np.flatnonzero((reference.argmax(axis=1) != other.argmax(axis=1)) & (margins > CLEAR_MARGIN))
    problems = []
    if record['max_difference'] > MAX_DIFFERENCE:
        problems.append(f'a probability differs by {record["max_difference"]:.4f}, above {MAX_DIFFERENCE}')
    if record['mean_difference'] > MAX_MEAN_DIFFERENCE:
        problems.append(
            f'probabilities differ by {record["mean_difference"]:.5f} on average, above {MAX_MEAN_DIFFERENCE}'
        )
    if len(flipped):
        get = 'photo gets' if len(flipped) == 1 else 'photos get'
        problems.append(
            f'{len(flipped)} {get} another answer although the two best scores are more than {CLEAR_MARGIN} apart'
        )
    return {
        **record,
        **paired_record(reference, other, labels, ('checkpoint', 'onnx')),
        'worst': worst_photos(reference, other, photos),
        'problems': problems,
    }


def worst_photos(reference: np.ndarray, other: np.ndarray, photos: Sequence[Path]) -> list[dict]:
    """Return ``image`` and ``max_difference`` of the photos that differ most, those with another answer first."""
    largest = np.abs(reference.astype(np.float64) - other).max(axis=1)
    is_same = reference.argmax(axis=1) == other.argmax(axis=1)
    worst = np.lexsort((-largest, is_same))[:WORST_SHOWN]
    return [{'image': f'{photos[i].parent.name}/{photos[i].name}', 'max_difference': float(largest[i])} for i in worst]


def paired_record(first: np.ndarray, second: np.ndarray, labels: np.ndarray, names: tuple[str, str]) -> dict:
    """Return the accuracies of two models on the same photos, and what the second loses.

    Returns:
        ``top1`` by name in percent; ``loss`` in points, positive if the second is worse, with ``loss_interval`` and
        ``p_value`` of the paired test.
    """
    right = {name: scores.argmax(axis=1) == labels for name, scores in zip(names, (first, second), strict=True)}
    hits = Hits({name: answers[None] for name, answers in right.items()})
    (difference,) = compare_models(hits, best=names[0], error_rate=1 - CONFIDENCE)
    low, high = difference.interval
    top1 = {name: 100 * float(answers.mean()) for name, answers in right.items()}
    return {
        'top1': top1,
        'loss': top1[names[0]] - top1[names[1]],
        'loss_interval': [0.0 - high, 0.0 - low],  # not -high: 0 would become -0
        'p_value': difference.p_value,
    }


def loss_text(record: dict) -> str:
    """Return what a `paired_record` says: ``0.6 points worse, 95 % interval -0.4 to 1.6``."""
    low, high = record['loss_interval']
    if record['loss'] == 0:
        return f'as many right, {INTERVAL} of the difference {low:.1f} to {high:.1f} points'
    if record['loss'] < 0:
        return f'{-record["loss"]:.1f} points better, {INTERVAL} {-high:.1f} to {-low:.1f}'
    return f'{record["loss"]:.1f} points worse, {INTERVAL} {low:.1f} to {high:.1f}'


def distance_text(record: dict, photos: int) -> str:
    """Return what a `distance` says."""
    return (
        f'probabilities differ by at most {record["max_difference"]:.4f}, by {record["mean_difference"]:.5f} on '
        f'average; the same answer for {record["same_answer"]} of {photos}'
    )
