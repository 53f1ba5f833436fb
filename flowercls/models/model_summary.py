"""The printed stage table: the parts of a model, their sizes, and how much of each is trained."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.box import ASCII_DOUBLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from flowercls.models.classifier import StagedClassifier, as_float32
from flowercls.models.stages import PARTS


@dataclass(frozen=True)
class StageRow:
    """One part of a model: a stem, a stage, a neck or a head."""

    part: str
    modules: str  # paths in the backbone, or the class name
    parameters: int
    trainable: int
    share: float  # of all parameters of the model, in percent
    shape: tuple[int, ...]  # of the output for one image, without the batch


def stage_table(model: StagedClassifier, image_size: int | tuple[int, int]) -> list[StageRow]:
    """Return the parts of a model in the order that an image takes, with their sizes.

    Runs one black image in evaluation mode to see the output shapes. Weights, buffers, training flags and the random
    state stay the same.

    Args:
        model: The classifier; a backbone that cannot be cut into stages takes one row.
        image_size: Pixels, (height, width) or one number for both.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    images = next(model.parameters()).new_zeros(1, 3, height, width)
    training = {module: module.training for module in model.modules()}
    total = sum(parameter.numel() for parameter in model.parameters())
    rows = []
    try:
        model.eval()
        with torch.no_grad():
            for part, modules, parameters, output in _run_parts(model, images):
                while isinstance(output, tuple | list):
                    output = output[-1]
                count = sum(p.numel() for p in parameters)
                trainable = sum(p.numel() for p in parameters if p.requires_grad)
                share = 100 * count / max(total, 1)
                rows.append(StageRow(part, modules, count, trainable, share, tuple(output.shape[1:])))
    finally:
        for module, mode in training.items():
            module.training = mode
    return rows


def _run_parts(model: StagedClassifier, images: Tensor) -> Iterator[tuple[str, str, list[nn.Parameter], Any]]:
    """Yield name, modules, parameters and output of each part; each part runs on the output of the one before."""
    parameters = parameters_by_part(model)
    with model.body_precision(images):
        if model.stages is None:
            x = model.backbone(images)
            yield 'backbone', type(model.backbone).__name__, parameters['backbone'], x
        else:
            x = images
            for part in PARTS:
                x = model.stages.run_part(x, part)
                modules = model.stages.modules_of(part)
                if modules:
                    yield part, ' '.join(modules), parameters[part], x
        if model.with_neck:
            x = model.neck(x)
            yield 'neck', type(model.neck).__name__, parameters['neck'], x
    if model.with_head:
        yield 'classifier', type(model.head).__name__, parameters['classifier'], model.head(as_float32(x))


def parameters_by_part(model: StagedClassifier) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of every part by its name in the stage table."""
    if model.stages is None:
        parts = {'backbone': list(model.backbone.parameters())}
    else:
        parts = {part: list(model.stages.parameters_of(part).values()) for part in PARTS}
    parts['neck'] = list(model.neck.parameters()) if model.with_neck else []
    parts['classifier'] = list(model.head.parameters()) if model.with_head else []
    return parts


def render_stage_table(rows: list[StageRow], lr_mult: Mapping[str, float] | None = None) -> str:
    """Return the rows as a text table with a line of totals below, for a log or a terminal.

    Args:
        rows: Of `stage_table`.
        lr_mult: Factors of the learning rate by part, shown in a column of their own if there are any.
    """
    table = Table(box=ASCII_DOUBLE_HEAD)
    for title in ('part', 'modules'):
        table.add_column(title)
    for title in ('parameters', 'share', 'trainable', *(['lr'] if lr_mult else []), 'output'):
        table.add_column(title, justify='right')
    for row in rows:
        shape = ' x '.join(map(str, row.shape))
        rate = [f'x {lr_mult.get(row.part, 1):g}' if row.trainable else ''] if lr_mult else []
        figures = [f'{row.parameters:,}', f'{row.share:.1f} %', f'{row.trainable:,}', *rate, shape]
        table.add_row(row.part, row.modules, *figures)
    text = io.StringIO()
    Console(file=text, width=120, color_system=None).print(table)  # the same table in a window of any width
    total, trainable = sum(row.parameters for row in rows), sum(row.trainable for row in rows)
    share = 100 * trainable / max(total, 1)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return '\n'.join([*lines, f'trainable {trainable:,} of {total:,} parameters ({share:.1f} %)'])
