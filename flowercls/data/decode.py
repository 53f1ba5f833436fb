"""The one decoder: every photo that is prepared, trained on, tested or predicted becomes pixels here.

Two decoders disagree on rotated, transparent, 16-bit and damaged files, and then a model is tested on other pixels than
it was trained on. So there is one, with one rule for each odd case: the EXIF orientation is applied, transparency is
laid on white, 16 bits are scaled to 8 (never cut off), an animation gives its first frame, and a file that does not
decode to its very last row is an error. The size is checked in the header, before any pixel is decoded.

Where no pixels are needed, but only whether a photo is whole and what it looks like from afar, `glance` is faster.
"""

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flowercls.data.image_formats import open_checked, pillow_errors, read_content, unreadable

# EXIF orientation -> what turns the stored pixels upright (EXIF 2.32, table 4, tag 0x0112).
_ORIENTATION_TAG = 0x0112
_SIDEWAYS = 5  # from this one on, width and height change places
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# How a PNG stores grey of 2 and 4 bits, in Pillow's words -> what it multiplies the pixels by, but no transparent one.
_GREY_STEPS = {'L;2': 85, 'L;4': 17}


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        rgb: Pixels, shape (H, W, 3), uint8, upright.
        format: What the file really is, whatever its name says: one of `FORMATS`.
        conversions: What another decoder might have done otherwise, in the order in which it was done.
    """

    rgb: np.ndarray
    format: str
    conversions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Glance:
    """What a photo looks like from afar.

    Attributes:
        grey: The whole photo, small, upright, in mode L.
        size: Width and height of the photo in pixels, upright.
        format: As in `Photo`.
        conversions: As in `Photo`.
    """

    grey: Image.Image
    size: tuple[int, int]
    format: str
    conversions: tuple[str, ...] = ()


def decode_rgb(source: str | os.PathLike | bytes) -> np.ndarray:
    """Decode a photo to RGB.

    Args:
        source: Path of a file, or its content.

    Returns:
        Array of shape (H, W, 3), uint8, C-contiguous and writable.

    Raises:
        UnreadablePhoto: if the file is missing, no image, damaged, or too large.
    """
    return read_photo(source).rgb


def read_photo(source: str | os.PathLike | bytes) -> Photo:
    """Decode a photo and say what was done to it. Arguments and errors as in `decode_rgb`."""
    name = f'<{len(source)} bytes>' if isinstance(source, bytes) else os.fspath(source)
    content = source if isinstance(source, bytes) else read_content(name)
    with pillow_errors(name):
        image, kind, conversions = open_checked(content, name)
        _apply_clear_colour(image, content, name)
        image, orientation = _load_upright(image)
        rgb = _to_rgb(image, kind, name)
    return Photo(rgb, kind, _with_turn(conversions, orientation))


def glance(content: bytes, least_px: tuple[int, int]) -> Glance:
    """Read a photo to its last row, but make only a small grey picture of it; errors as in `decode_rgb`.

    A JPEG's data is unpacked to its end, and then only the coarse part of it becomes pixels, in half the time.

    Args:
        content: Of the file.
        least_px: Width and height that the picture should have at least, where the photo is as large.
    """
    name = f'<{len(content)} bytes>'
    with pillow_errors(name):
        image, kind, conversions = open_checked(content, name)
        size, is_small = image.size, _make_small(image, least_px)
        _apply_clear_colour(image, content, name)
        image, orientation = _load_upright(image)
        if is_small:
            grey, size = image, size[::-1] if orientation >= _SIDEWAYS else size
        else:
            grey = Image.fromarray(_to_rgb(image, kind, name)).convert('L')
            size = grey.size
    factor = min(grey.width // least_px[0], grey.height // least_px[1])
    grey = grey.reduce(factor) if factor > 1 else grey
    return Glance(grey, size, kind, _with_turn(conversions, orientation))


def _make_small(image: Image.Image, least_px: tuple[int, int]) -> bool:
    """Let a plain JPEG be unpacked small and grey; whether it will be."""
    if image.format != 'JPEG' or image.mode not in ('L', 'RGB'):
        return False
    return image.draft('L', least_px) is not None


def _with_turn(conversions: tuple[str, ...], orientation: int) -> tuple[str, ...]:
    return (*conversions, 'orientation applied') if orientation != 1 else conversions


def _apply_clear_colour(image: Image.Image, content: bytes, name: str) -> None:
    """Lay a PNG's transparent colour on white where Pillow would look for it in vain, among values scaled to 8 bits."""
    clear = image.info.get('transparency')
    if image.format != 'PNG' or clear is None or not image.tile:
        return
    raw = image.tile[0].args
    if raw in _GREY_STEPS:
        image.info['transparency'] = clear * _GREY_STEPS[raw]
    if raw == 'RGB;16B':
        # The high bytes are in the pixels; the low ones come to light if the same data is read in the other order.
        other, _, _ = open_checked(content, name)
        other.tile = [tile._replace(args='RGB;16L') for tile in other.tile]
        values = np.array(image, np.uint16) << 8 | np.array(other)
        del image.info['transparency']
        image.paste((255, 255, 255), mask=Image.fromarray((values == clear).all(axis=2)))


def _load_upright(image: Image.Image) -> tuple[Image.Image, int]:
    """(pixels as they should be seen, EXIF orientation that was undone or 1)."""
    if image.format == 'TIFF':  # Pillow turns a TIFF while it loads, and forgets the tag
        orientation = _orientation(image)
        image.load()
        return image, orientation if orientation in _UPRIGHT else 1
    image.load()
    orientation = _orientation(image)
    if orientation not in _UPRIGHT:
        return image, 1
    return image.transpose(_UPRIGHT[orientation]), orientation


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a photo with broken EXIF is still a photo
        return 1


def _to_rgb(image: Image.Image, kind: str, name: str) -> np.ndarray:
    if image.mode == 'RGB' and 'transparency' not in image.info:
        return np.array(image)
    if image.mode.startswith('I;16') or (image.mode == 'I' and kind in ('PNG', 'PPM')):
        return _from_16_bits(image)
    if image.mode not in ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'CMYK', 'YCbCr'):
        raise unreadable(name, 'unsupported format', f'{kind} with pixels of type {image.mode}')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.array(image.convert('RGB'))


def _from_16_bits(image: Image.Image) -> np.ndarray:
    values = np.array(image)
    grey = (values >> 8).astype(np.uint8)
    if isinstance(clear := image.info.get('transparency'), int):
        grey[values == clear] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)
