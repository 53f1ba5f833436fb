"""Heat maps: where in a photo the network finds its evidence for a class (Grad-CAM on the last stage)."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from flowercls.core import palette
from flowercls.core.errors import ConfigError
from flowercls.models.classifier import StagedClassifier, as_float32
from flowercls.use.torch_model import TorchModel

MAX_LEVELS_OFF = 4  # of 255: what rounding may do to a ramp
OPACITY, OPAQUE_FROM = 0.65, 0.7  # of the colours of a drawing; below this heat they fade away
UNSEEN_LIGHT = 0.35  # share of its light that a pixel keeps where the network does not see it


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
    do not count, nor do patches behind the last block of a ViT whose head reads the class token alone.

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
    opacity = OPACITY * np.minimum(known / OPAQUE_FROM, 1)[..., None]
    drawn = np.where(np.isnan(heat)[..., None], UNSEEN_LIGHT * grey, grey + opacity * (colour - grey))
    return drawn.astype(np.uint8)
