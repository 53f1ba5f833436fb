"""The table that shows what a model is made of and what of it will be trained."""

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
    """Parts of a model in the order that an image takes, with their sizes.

    Output shapes are found by running one black image in evaluation mode. Weights, buffers, the training flags and
    the random state stay as they were.

    Args:
        model: The classifier; if its backbone cannot be cut into stages it takes one row.
        image_size: Pixels, (height, width) or one number for both.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    like = next(model.parameters())
    training = {module: module.training for module in model.modules()}
    total = sum(parameter.numel() for parameter in model.parameters())
    try:
        model.eval()
        with torch.no_grad():
            outputs = list(_run_parts(model, like.new_zeros(1, 3, height, width)))
    finally:
        for module, mode in training.items():
            module.training = mode
    rows = []
    for part, modules, parameters, output in outputs:
        count = sum(p.numel() for p in parameters)
        trainable = sum(p.numel() for p in parameters if p.requires_grad)
        rows.append(StageRow(part, modules, count, trainable, 100 * count / max(total, 1), _shape(output)))
    return rows


def render_stage_table(rows: list[StageRow], lr_mult: Mapping[str, float] | None = None) -> str:
    """The rows as a text table with a line of totals below, for a log or a terminal.

    Args:
        rows: As `stage_table` makes them.
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
    # A width of its own: a log must not depend on the size of somebody's window.
    Console(file=text, width=120, color_system=None).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return '\n'.join([*lines, _totals(rows)])


def parameters_by_part(model: StagedClassifier) -> dict[str, list[nn.Parameter]]:
    """The parameters of every part, by its name in the stage table."""
    if model.stages is None:
        parts = {'backbone': list(model.backbone.parameters())}
    else:
        parts = {part: list(model.stages.parameters_of(part).values()) for part in PARTS}
    parts['neck'] = list(model.neck.parameters()) if model.with_neck else []
    parts['classifier'] = list(model.head.parameters()) if model.with_head else []
    return parts


def _run_parts(model: StagedClassifier, images: Tensor) -> Iterator[tuple[str, str, list[nn.Parameter], Any]]:
    """Name, modules, parameters and output of each part, running one after the other."""
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


def _shape(output: Any) -> tuple[int, ...]:
    while isinstance(output, tuple | list):
        output = output[-1]
    return tuple(output.shape[1:])


def _totals(rows: list[StageRow]) -> str:
    total = sum(row.parameters for row in rows)
    trainable = sum(row.trainable for row in rows)
    return f'trainable {trainable:,} of {total:,} parameters ({100 * trainable / max(total, 1):.1f} %)'
