"""A model to use, from whatever file: what it knows, its answers for photos, and how a notebook shows them."""

import base64
import html
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flowercls.core import palette
from flowercls.core.errors import CheckpointError, DataError
from flowercls.core.files import sha256_of
from flowercls.core.prepared_folder import checked_ranges
from flowercls.data.decode import decode_rgb, image_to_rgb
from flowercls.data.image_formats import unreadable
from flowercls.data.photo_kinds.deep_pixels import Ranges

MAX_RATIO = 200  # of a photo's sides: a strip of a few pixels would be scaled up to gigabytes
THUMBNAIL_PX, JPEG_QUALITY = 240, 85
BARS_SHOWN, NAMES_SHOWN = 5, 3
PhotoLike = str | os.PathLike | Image.Image | np.ndarray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one photo.

    Attributes:
        image: The photo's path as it was given; ``''`` for pixels.
        scores: Probability of each class, 0-1, in the order of classes.txt.
        thumbnail: The photo, small, for a notebook.
    """

    image: str
    scores: dict[str, float]
    thumbnail: Image.Image

    @property
    def pred(self) -> str:
        """The most likely class; of equal ones the first."""
        return max(self.scores, key=self.scores.__getitem__)

    @property
    def score(self) -> float:
        """The probability of the most likely class, 0-1."""
        return self.scores[self.pred]

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` most likely classes with their probabilities, the most likely first."""
        return sorted(self.scores.items(), key=lambda item: -item[1])[:k]

    def __repr__(self) -> str:
        return ', '.join(f'{name} {100 * score:.1f} %' for name, score in self.top(NAMES_SHOWN))

    def _repr_html_(self) -> str:
        """Return the photo and its bars, as a notebook shows it."""
        buffer = io.BytesIO()
        self.thumbnail.save(buffer, 'JPEG', quality=JPEG_QUALITY)
        picture = base64.b64encode(buffer.getvalue()).decode()
        bars = ''.join(
            f'<tr><td style="text-align:left">{html.escape(name)}</td><td style="text-align:left;width:12em">'
            f'<div style="width:{100 * score:.1f}%;height:1em;background:{palette.BLUE}"></div></td>'
            f'<td>{100 * score:.1f} %</td></tr>'
            for name, score in self.top(BARS_SHOWN)
        )
        alt = html.escape(self.image or 'photo')
        return (
            f'<div style="display:flex;gap:1em;align-items:center"><img alt="{alt}" title="{alt}" '
            f'src="data:image/jpeg;base64,{picture}"><table>{bars}</table></div>'
        )


class PredictionList(list[Prediction]):
    """The answers for several photos, in the order of the photos."""

    def _repr_html_(self) -> str:
        return ''.join(prediction._repr_html_() for prediction in self)


def thumbnail_of(rgb: np.ndarray) -> Image.Image:
    """Return a photo, shape (H, W, 3), uint8, as a small picture."""
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return image


class Model:
    """A trained classifier; `TorchModel` and `OnnxModel` compute.

    Attributes:
        source: The file that was opened.
        class_names: In the order of classes.txt; length C.
        facts: Origin and figures as plain values, see `TorchModel`; holds no absolute path.
        calibration: Content of the calibration.json of this very checkpoint; None without one.
        batch_size: Photos that are computed at once; a run's validation had the same number.
        data_root: The prepared folder as its config names it; None for an export, which carries no paths.
    """

    source: Path
    class_names: list[str]
    facts: dict
    calibration: dict | None
    batch_size: int
    data_root: str | None = None

    @cached_property
    def value_range(self) -> dict[str, list[float]]:
        """The range of deep pixels in the photos that it was trained on, see `flowercls.data.decode.decode_rgb`."""
        return checked_ranges(self.facts.get('value_range', {}))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return sha256_of(self.source)

    def prepare(self, rgb: np.ndarray) -> Any:
        """Return a photo as `classify` takes it; may be called in several threads.

        Args:
            rgb: Shape (H, W, 3), uint8.
        """
        raise NotImplementedError

    def mirrored(self, prepared: Any) -> Any:
        """Return the mirror image of a photo of `prepare`."""
        raise NotImplementedError

    def photos_of(self, split: str, data_root: str | os.PathLike | None = None) -> list[tuple[Path, int]]:
        """Return files and labels as `TorchModel.photos_of`; none where the model's file does not list them."""
        return []

    def classify(self, prepared: Sequence[Any]) -> np.ndarray:
        """Return probabilities, float32, shape (N, C), for N photos of `prepare`, computed as one batch."""
        raise NotImplementedError

    def classify_with_distances(self, prepared: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return what `classify` does, and the distance of each photo to the nearest class, shape (N,).

        Only for a model whose calibration has ``none_of_these``; beyond its ``limit`` a photo shows no class.
        """
        raise NotImplementedError

    def scores(self, photos: Iterable[np.ndarray]) -> np.ndarray:
        """Return probabilities, float32, shape (N, C).

        Args:
            photos: N photos of any sizes, each of shape (H, W, 3), uint8, RGB.

        Raises:
            CheckpointError: if a probability is NaN.
        """
        batches = [self.classify([self.prepare(rgb) for rgb in batch]) for batch in _batches(photos, self.batch_size)]
        return check_finite(np.concatenate(batches), self.source) if batches else np.empty((0, len(self.class_names)))

    def predict(self, photos: PhotoLike | Iterable[PhotoLike]) -> Prediction | PredictionList:
        """Classify photos.

        Args:
            photos: One photo or several. A photo is a path, a PIL image, or an RGB array, uint8, shape (H, W, 3).

        Returns:
            A `Prediction` for one photo, a list of them for several.

        Raises:
            DataError: if a photo cannot be read, or is none.

        Example:
            >>> model = flowercls.load('work_dirs/resnet50_flower')  # doctest: +SKIP
            >>> model.predict('photo.jpg')  # doctest: +SKIP
            rose 97.3 %, tulip 1.9 %, daisy 0.5 %
        """
        is_one = isinstance(photos, str | os.PathLike | Image.Image) or not isinstance(photos, Iterable)
        if is_one or (isinstance(photos, np.ndarray) and photos.ndim < 4):
            return self._predict_batch([photos])[0]
        return PredictionList(
            prediction for batch in _batches(photos, self.batch_size) for prediction in self._predict_batch(batch)
        )

    def _predict_batch(self, photos: Sequence[PhotoLike]) -> list[Prediction]:
        pixels = [to_rgb(photo, self.value_range) for photo in photos]
        names = [os.fspath(photo) if isinstance(photo, str | os.PathLike) else '' for photo in photos]
        rows = [dict(zip(self.class_names, map(float, row), strict=True)) for row in self.scores(pixels)]
        return [Prediction(name, row, thumbnail_of(rgb)) for name, row, rgb in zip(names, rows, pixels, strict=True)]

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.source)!r}, {len(self.class_names)} classes)'


def _batches(items: Iterable, size: int) -> Iterator[list]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def to_rgb(photo: PhotoLike, value_range: Ranges | None = None) -> np.ndarray:
    """Return a photo as RGB pixels, uint8, shape (H, W, 3).

    Args:
        photo: A path, a PIL image, or pixels.
        value_range: See `Model`.

    Raises:
        UnreadablePhoto: if it cannot be read, or is too narrow.
        DataError: if it is no photo.
    """
    is_pixels = isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.size
    if isinstance(photo, str | os.PathLike):
        rgb = decode_rgb(photo, value_range=value_range)
    elif isinstance(photo, Image.Image):
        rgb = image_to_rgb(photo, value_range)
    elif is_pixels and photo.ndim == 2:
        rgb = np.repeat(photo[:, :, None], 3, axis=2)
    elif is_pixels and photo.ndim == 3 and photo.shape[2] == 3:
        rgb = np.require(photo, requirements=['C', 'W'])  # torch takes no other arrays
    else:
        kind = f'an array of {photo.dtype}, shape {photo.shape}' if isinstance(photo, np.ndarray) else repr(type(photo))
        raise DataError(
            f'{kind} is no photo. Expected a path, a PIL image, or an RGB array of uint8 (0-255), shape (H, W, 3). '
            'Fix: convert it, for instance with PIL.Image.fromarray.'
        )
    short, long = sorted(rgb.shape[:2])
    if long > MAX_RATIO * short:
        name = os.fspath(photo) if isinstance(photo, str | os.PathLike) else 'the image'
        raise unreadable(name, 'too narrow', f'{short} by {long} pixels')
    return rgb


def check_finite(scores: np.ndarray, source: str | os.PathLike) -> np.ndarray:
    """Return ``scores``.

    Raises:
        CheckpointError: if one is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise CheckpointError(f'{source}: gives NaN as probabilities. Fix: use another checkpoint of the run.')
    return scores
