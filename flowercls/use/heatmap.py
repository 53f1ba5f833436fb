"""Heat maps: where in a photo the network finds its evidence for a class (Grad-CAM on the last stage)."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from flowercls.core import palette
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write, disk_errors
from flowercls.core.layout import MAX_NAME_BYTES
from flowercls.data.decode import decode_rgb
from flowercls.models.classifier import StagedClassifier, as_float32
from flowercls.use.model import Model
from flowercls.use.photos import Photos
from flowercls.use.torch_model import TorchModel

if TYPE_CHECKING:
    from flowercls.use.predict import Row

MAX_LEVELS_OFF = 4  # of 255: what rounding may do to a ramp
SIDE_PX = 640  # of a photo in a file; its heat map stands beside it
PHOTOS_AT_ONCE = 8  # decoded in full


def heatmaps(
    model: TorchModel, photos: Sequence[np.ndarray], class_numbers: Sequence[int] | None = None
) -> list[np.ndarray]:
    """Return where in each photo the evidence for a class is.

    The network computes in fp32, and is left as it was.

    Args:
        model: The model of a checkpoint.
        photos: N photos, each of shape (H, W, 3), uint8, RGB.
        class_numbers: The class to explain in each photo; the predicted class if None.

    Returns:
        One map for each photo, float32, shape (H, W): 0 is no evidence, 1 the strongest in this photo. A map is 0
        everywhere if nothing speaks for the class. Pixels that the test pipeline crops away are NaN.

    Raises:
        ConfigError: if the backbone has no stages, or the test pipeline does more than resize, crop, pad and mirror.
    """
    maps, axes = [], {}
    for start in range(0, len(photos), model.batch_size):
        batch = photos[start : start + model.batch_size]
        numbers = None if class_numbers is None else class_numbers[start : start + model.batch_size]
        images = model.images([model.prepare(rgb) for rgb in batch])
        for rgb, evidence in zip(batch, grad_cam(model.network, images, numbers), strict=True):
            height, width = rgb.shape[:2]
            if (height, width) not in axes:
                axes[height, width] = [_places(model, height, width, axis) for axis in (0, 1)]
            rows, columns = axes[height, width]
            heat = _weights(rows, evidence.shape[0]) @ evidence @ _weights(columns, evidence.shape[1]).T
            heat[np.isnan(rows)] = heat[:, np.isnan(columns)] = np.nan
            maps.append(heat.astype(np.float32))
    return maps


def grad_cam(network: StagedClassifier, images: Tensor, class_numbers: Sequence[int] | None = None) -> np.ndarray:
    """Return the Grad-CAM of each image on the last stage's last map, divided by its highest value.

    The last map is the one nearest to the output on which the score depends at more than one place. So pooled features
    do not count. Nor do patches behind the last block of a ViT, where the head reads the class token alone.

    Args:
        network: In evaluation mode.
        images: Normalised, float32, shape (N, 3, H, W).
        class_numbers: As in `heatmaps`.

    Returns:
        Shape (N, h, w), float32, 0-1.

    Raises:
        ConfigError: if the backbone has no stages.

    Source:
        Selvaraju et al. 2017, equations 1 and 2, on the logits.
    """
    stages = network.stages
    if stages is None:
        raise ConfigError(
            f'no heat map: the backbone {type(network.backbone).__name__} is not cut into stages, so its last map is '
            'not known. Fix: do without heat maps, or add the backbone to flowercls/models/cut_points.py.'
        )
    with torch.no_grad():
        x = stages.prefix(images, 3)
    with torch.enable_grad():
        outputs = [x := x.detach().requires_grad_()]  # frozen parameters alone would give no gradient
        for step in stages.parts['stage4']:
            outputs.append(x := step.run(stages.backbone, x))
        features = stages.run_part(x, 'head')
        features = network.neck(features) if network.with_neck else features
        logits = network.head(as_float32(features))
        numbers = logits.argmax(1) if class_numbers is None else torch.as_tensor(class_numbers, device=logits.device)
        score = logits.gather(1, numbers[:, None]).sum()  # a photo's score depends on its own map alone
        for output in reversed(outputs):
            if output.ndim < 3 or output[0].numel() == output.shape[1 if output.ndim == 4 else 2]:
                continue  # one place: pooled
            # `autograd.grad` leaves the gradients of parameters alone.
            (gradient,) = torch.autograd.grad(score, output, retain_graph=True)
            gradient, values = (_as_map(tensor, images.shape[2:]) for tensor in (gradient, output.detach()))
            if gradient.any():
                break
    maps = (gradient.mean((2, 3), keepdim=True) * values).sum(1).relu()
    highest = maps.amax((1, 2), keepdim=True)
    return (maps / torch.where(highest > 0, highest, 1)).float().cpu().numpy()


def _as_map(values: Tensor, image_size: Sequence[int]) -> Tensor:
    """Return (N, C, h, w); tokens (N, tokens, C) are the patches row by row, after a class token if there is one."""
    if values.ndim == 4:
        return values
    height, width = image_size
    for num_extra in (0, 1):
        rows = round(((values.shape[1] - num_extra) * height / width) ** 0.5)
        columns = round(rows * width / height)
        if rows * columns == values.shape[1] - num_extra:
            return values[:, num_extra:].mT.unflatten(2, (rows, columns))
    raise ConfigError(
        f'no heat map: {values.shape[1]} tokens are no grid over an image of {height} x {width} px. '
        'Fix: do without heat maps.'
    )


def _places(model: TorchModel, height: int, width: int, axis: int) -> np.ndarray:
    """Return where each row (``axis`` 0) or column (1) of a photo lies in the network's image, 0-1; NaN: outside.

    A ramp from black to white goes through the test pipeline. So it is asked itself, whatever its transforms are.
    """
    length = (height, width)[axis]
    levels = (np.arange(length) + 0.5) / length  # of the centre of each pixel
    ramp = np.expand_dims(np.round(255 * levels).astype(np.uint8), (1 - axis, 2))
    seen = model.prepare(np.ascontiguousarray(np.broadcast_to(ramp, (height, width, 3))))[0].float().numpy()
    seen = seen.take(seen.shape[1 - axis] // 2, axis=1 - axis) / 255  # through the centre
    if np.ptp(seen) == 0:  # one pixel wide
        return np.full(length, 0.5)
    centres = (np.arange(len(seen)) + 0.5) / len(seen)
    middle = slice(len(seen) // 3, -(len(seen) // 3))  # edges may be padded, or lie beyond the outermost centres
    slope, start = np.polyfit(centres[middle], seen[middle], 1)
    if 255 * np.abs(start + slope * centres - seen)[middle].max() > MAX_LEVELS_OFF:
        raise ConfigError(
            'no heat map: the test pipeline does more than resize, crop, pad and mirror, so a map cannot be laid over '
            'the photo. Fix: do without heat maps.'
        )
    places = (levels - start) / slope
    return np.where((places >= 0) & (places <= 1), places, np.nan)


def _weights(places: np.ndarray, count: int) -> np.ndarray:
    """Return the weights of linear interpolation between ``count`` cells, shape (places, count); constant beyond."""
    centres = (np.arange(count) + 0.5) / count
    return np.stack([np.interp(np.nan_to_num(places), centres, cell) for cell in np.eye(count)], axis=1)


def overlay(rgb: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw a heat map over its photo, which turns grey; what the network does not see is dark.

    Args:
        rgb: The photo, shape (H, W, 3), uint8.
        heat: As from `heatmaps`, shape (H, W).

    Returns:
        Shape (H, W, 3), uint8, RGB.
    """
    grey = np.asarray(Image.fromarray(rgb).convert('L'), np.float32)[..., None]
    colours = np.array([ImageColor.getrgb(colour) for colour in palette.HEAT], np.float32)
    levels, known = np.linspace(0, 1, len(colours)), np.nan_to_num(heat)
    colour = np.stack([np.interp(known, levels, channel) for channel in colours.T], axis=-1)
    opacity = palette.HEAT_OPACITY * np.minimum(known / palette.HEAT_OPAQUE_FROM, 1)[..., None]
    drawn = np.where(np.isnan(heat)[..., None], palette.UNSEEN_LIGHT * grey, grey + opacity * (colour - grey))
    return drawn.astype(np.uint8)


def heatmap_writer(model: Model, photos: Photos, target: Path) -> Callable[[Sequence['Row']], None]:
    """Return a function that writes a PNG file for each row: the photo, and beside it the heat map of its answer.

    Args:
        model: Its maps are drawn.
        photos: The photos of the rows.
        target: A folder, which gets ``<image>.png`` for each photo; or a file that ends in .png, for a single photo.

    Raises:
        ConfigError: if there are no heat maps of the model, or one file is named for several photos.
    """
    if not isinstance(model, TorchModel):
        raise ConfigError(
            f'--heatmap: {model.source} is an export, which has no gradients. Fix: name the run folder or checkpoint.'
        )
    is_file = target.suffix.lower() == '.png'
    if is_file and len(photos.paths) > 1:
        raise ConfigError(f'--heatmap {target}: is one file, for {len(photos.paths)} photos. Fix: name a folder.')
    heatmaps(model, [np.zeros((256, 256, 3), np.uint8)])  # what is against heat maps shows now, not after a batch

    def write(rows: Sequence['Row']) -> None:
        for start in range(0, len(rows), PHOTOS_AT_ONCE):
            some = rows[start : start + PHOTOS_AT_ONCE]
            pixels = [decode_rgb(photos.paths[row.number], value_range=model.value_range) for row in some]
            maps = heatmaps(model, pixels, [int(row.scores.argmax()) for row in some])
            for row, rgb, heat in zip(some, pixels, maps, strict=True):
                path = target if is_file else target / _drawing_name(photos.images[row.number], row.number)
                with disk_errors(path):
                    path.absolute().parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(np.concatenate([rgb, overlay(rgb, heat)], axis=1))
                picture.thumbnail((2 * SIDE_PX, SIDE_PX))
                with atomic_write(path, 'wb') as file:
                    picture.save(file, 'PNG')

    return write


def _drawing_name(image: str, number: int) -> str:
    """Return ``<image>.png``, with a number instead of the folders where these would lead out of the folder."""
    path = PurePath(image)
    name = path.name if len(os.fsencode(path.name)) <= MAX_NAME_BYTES else 'photo'
    if path.is_absolute() or '..' in path.parts or name != path.name:
        return f'{number:06d}_{name}.png'
    return f'{image}.png'
