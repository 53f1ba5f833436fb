"""What a model does not answer: photos below a confidence, and photos that are far from all its classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.core.terminal import tool_command
from flowercls.evaluate.calibration import confidences
from flowercls.use.model import Model

UNKNOWN, NONE_OF_THESE = 'unknown', 'none of these'


@dataclass(frozen=True)
class Doubts:
    """When a model does not answer.

    Attributes:
        temperature: Of the calibration; 1 where there is none.
        min_confidence: Below it the answer is "unknown", 0-1; None answers always.
        limit: Beyond this distance the answer is "none of these"; None does not look at distances.
    """

    temperature: float = 1.0
    min_confidence: float | None = None
    limit: float | None = None

    def answers(self, model: Model, prepared: Sequence[Any]) -> tuple[np.ndarray, list[str], list[dict[str, float]]]:
        """Classify N photos of `Model.prepare` as one batch.

        Returns:
            Probabilities, float32, shape (N, C), which no doubt changes; the answers; and the figures behind each:
            ``confidence``, ``distance``.
        """
        figures = {}
        if self.limit is None:
            scores = model.classify(prepared)
        else:
            scores, figures['distance'] = model.classify_with_distances(prepared)
        names = [model.class_names[i] for i in scores.argmax(axis=1)]
        if self.min_confidence is not None:
            figures = {'confidence': confidences(scores, self.temperature), **figures}
            is_unsure = figures['confidence'] < self.min_confidence
            names = [UNKNOWN if unsure else name for name, unsure in zip(names, is_unsure, strict=True)]
        if self.limit is not None:
            is_far = figures['distance'] > self.limit
            names = [NONE_OF_THESE if far else name for name, far in zip(names, is_far, strict=True)]
        rows = [{name: float(f'{values[i]:.9g}') for name, values in figures.items()} for i in range(len(names))]
        return scores, names, rows


def doubts_of(model: Model, min_confidence: float | str | None, none_of_these: bool) -> Doubts:
    """Return when a model does not answer, as the user asks for it.

    Args:
        model: With its calibration.
        min_confidence: From 0 to 1; ``'auto'`` is the calibration's threshold; None answers always.
        none_of_these: Whether to look at distances.

    Raises:
        ConfigError: if the calibration does not say what is asked for.
        CheckpointError: if it, which may come from a stranger's file, holds something else than numbers.
    """
    calibration = model.calibration or {}
    threshold, entry = calibration.get('threshold'), calibration.get('none_of_these')
    taken = {*model.class_names} & {UNKNOWN, NONE_OF_THESE}
    if taken and (min_confidence is not None or none_of_these):
        raise ConfigError(
            f'{model.source}: has a class called {taken.pop()!r}, so such an answer would say nothing. '
            'Fix: leave out --min-confidence and --none-of-these, or rename the class and train again.'
        )
    if min_confidence == 'auto' and not threshold:
        reason = calibration.get('threshold_reason') or 'the model is not calibrated'
        raise ConfigError(f'--min-confidence auto: {reason}. Fix: {_fix(model)}a number such as --min-confidence 0.8')
    if none_of_these and not entry:
        reason = calibration.get('none_of_these_reason') or 'the model is not calibrated'
        raise ConfigError(f'--none-of-these: {reason}. Fix: {_fix(model)}leave --none-of-these out.')
    try:
        doubts = Doubts(
            temperature=float(calibration.get('temperature') or 1.0),
            min_confidence=float(threshold['confidence']) if min_confidence == 'auto' else min_confidence,
            limit=float(entry['limit']) if none_of_these else None,
        )
        if not doubts.temperature > 0:
            raise ValueError(f'a temperature of {doubts.temperature:g}')
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{model.source}: its calibration is damaged ({error}). Fix: use another file, or leave out '
            '--min-confidence and --none-of-these.'
        ) from error
    return doubts


def _fix(model: Model) -> str:
    """Return how to calibrate a checkpoint that is not calibrated, with what follows it; nothing for others."""
    if model.calibration or model.source.suffix.lower() != '.pth':
        return ''
    return f'{tool_command("predict", "--calibrate", model.source.parent)}\nor '
