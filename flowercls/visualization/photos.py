"""``test.py --show-dir``: a picture of every photo with what the model said about it, mistakes first."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from flowercls.evaluation.predictions import Predictions
from flowercls.files import disk_errors, write_whole
from flowercls.visualization.figures import font_file, shortened
from flowercls.visualization.gallery import LoadPhoto, caption

SIDE_PX, STRIP_PX, FONT_PX = 384, 64, 14
JPEG_QUALITY = 90
MOST_BYTES, SHORT = 200, 50  # a name may have 255 bytes nearly everywhere, and a letter up to four


def draw_photos(predictions: Predictions, load_photo: LoadPhoto, folder: str | Path) -> None:
    """Draw every photo under its true class, predicted class, score and file name.

    Names start with a number, so that a file browser shows the most confident mistakes first, then the hits, the least
    confident first: ``00001_wrong_<file>.jpg``.

    Args:
        predictions: Of all photos.
        load_photo: Gives the pixels of a photo by its number.
        folder: Made if missing.

    Raises:
        DiskError: if the disk is full or may not be written to.
        DataError: if a photo cannot be read.
    """
    with disk_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    mistakes = predictions.mistakes()
    hits = sorted(set(range(len(predictions.images))) - set(mistakes), key=lambda i: predictions.scores[i].max())
    for place, number in enumerate([*mistakes, *hits]):
        said = 'wrong' if place < len(mistakes) else 'right'
        name = f'{place + 1:05d}_{said}_{_stem(predictions.images[number])}.jpg'
        picture = _draw(load_photo(number), caption(predictions, number))
        with write_whole(Path(folder, name), 'wb') as file:
            picture.save(file, 'JPEG', quality=JPEG_QUALITY)


def _stem(image: str) -> str:
    """A photo's name without its ending; of a very long one, which leaves no room for a number, both ends."""
    stem = Path(image).stem
    return stem if len(os.fsencode(stem)) <= MOST_BYTES else shortened(stem, SHORT)


def _draw(photo: np.ndarray, text: str) -> Image.Image:
    tile = ImageOps.contain(Image.fromarray(np.ascontiguousarray(photo)), (SIDE_PX, SIDE_PX))
    picture = Image.new('RGB', (SIDE_PX, tile.height + STRIP_PX), 'white')
    picture.paste(tile, ((SIDE_PX - tile.width) // 2, STRIP_PX))
    font = ImageFont.truetype(font_file(text), FONT_PX)
    ImageDraw.Draw(picture).multiline_text((6, 4), text, 'black', font, spacing=3)
    return picture
