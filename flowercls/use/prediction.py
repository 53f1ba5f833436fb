"""The answer for one photo: its classes with probabilities, and how a notebook shows them."""

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flowercls.core import palette

THUMBNAIL_PX, JPEG_QUALITY = 240, 85
BARS_SHOWN, NAMES_SHOWN = 5, 3


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
