"""The one decoder: every photo that is prepared, trained on, tested or predicted becomes pixels here.

Two decoders disagree on rotated, transparent, 16-bit and damaged files, and then a model is tested on other pixels than
it was trained on. So there is one, with one rule for each odd case: the EXIF orientation is applied, transparency is
laid on white, 16 bits are scaled to 8 (never cut off), an animation gives its first frame, and a file that does not
decode to its very last row is an error. The size is checked in the header, before any pixel is decoded.

Where no pixels are needed, but only whether a photo is whole and what it looks like from afar, `glance` is faster.
"""

import io
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import (
    AvifImagePlugin,  # noqa: F401  importing a plugin is what makes its format known
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from flowercls.datasets.unreadable import MAX_PIXELS, pillow_errors, unreadable

MAX_FILE_BYTES = 512 << 20
FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'AVIF', 'JPEG2000', 'PPM')

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
# How files begin that people take for photos: start, what it is, reason.
_FOREIGN = (
    (rb'.{4}ftyp(hei|hev|mif1|msf1)', 'a HEIC photo', 'unsupported format'),
    (rb'%PDF', 'a PDF', 'unsupported format'),
    (rb'8BPS', 'a Photoshop file', 'unsupported format'),
    (rb'\x00\x00\x01\x00', 'an icon', 'unsupported format'),
    (rb'\s*(<\?xml.*)?<svg', 'an SVG drawing', 'unsupported format'),
    (rb'\s*<(!doctype html|html)', 'a web page', 'not an image'),
)


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
        image, kind, conversions = _open_checked(content, name)
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
        image, kind, conversions = _open_checked(content, name)
        size, is_small = image.size, _make_small(image, least_px)
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


def _open_checked(content: bytes, name: str) -> tuple[Image.Image, str, tuple[str, ...]]:
    """(photo whose pixels are not decoded yet, what the file really is, what will be done to it)."""
    if not content:
        raise unreadable(name, 'empty file', '0 bytes')
    image = _open(content, name)
    _check_size(image, name)
    _check_png_pixels(image, content)
    return image, _true_format(content, image), _conversions(image)


def _with_turn(conversions: tuple[str, ...], orientation: int) -> tuple[str, ...]:
    return (*conversions, 'orientation applied') if orientation != 1 else conversions


def read_content(path: str | os.PathLike) -> bytes:
    """Read the bytes of a photo; refuse, without reading it, a file that is too big to be one."""
    name = os.fspath(path)
    try:
        with Path(name).open('rb', buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise unreadable(name, 'too large', f'{size >> 20} MiB, at most {MAX_FILE_BYTES >> 20}')
            return file.read()
    except FileNotFoundError as error:
        raise unreadable(name, 'missing file', 'no such file') from error
    except IsADirectoryError as error:
        raise unreadable(name, 'not a file', 'a folder') from error
    except OSError as error:
        raise unreadable(name, 'unreadable file', error.strerror or error) from error


def _open(content: bytes, name: str) -> Image.Image:
    # What Image.open does, without its warning on large photos (the filter for it is global to the process), without
    # formats that start other programs (EPS), and with the plugin's own error instead of "cannot identify".
    head = content[:16]
    for known in FORMATS:
        factory, accepts = Image.OPEN[known]
        accepted = accepts(head)
        if isinstance(accepted, str):  # the plugin says that its library is missing
            raise unreadable(name, 'unsupported format', accepted)
        if accepted:
            return factory(io.BytesIO(content), name)
    for start, what, reason in _FOREIGN:
        if re.match(start, content[:1024], re.IGNORECASE | re.DOTALL):
            raise unreadable(name, reason, what)
    raise unreadable(name, 'not an image', f'starts with {content[:12]!r}')


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise unreadable(name, 'too large', f'{width}x{height} pixels')


def _check_png_pixels(image: Image.Image, content: bytes) -> None:
    # Pillow skips the checksums of pixel data, so a flipped bit would become a photo with wrong colours.
    if image.format != 'PNG':
        return
    start = 8
    while start + 12 <= len(content):
        size = int.from_bytes(content[start : start + 4])
        checked = zlib.crc32(memoryview(content)[start + 4 : start + 8 + size])
        stored = content[start + 8 + size : start + 12 + size]
        if content[start + 4 : start + 8] == b'IDAT' and len(stored) == 4 and checked != int.from_bytes(stored):
            raise ValueError(f'wrong checksum at byte {start}')
        start += 12 + size


def _conversions(image: Image.Image) -> tuple[str, ...]:
    # Before load, which forgets how the pixels were stored.
    frames = 1 if image.format in ('JPEG', 'MPO') else getattr(image, 'n_frames', 1)
    said = {
        f'first of {frames} frames': frames > 1,
        'CMYK to RGB': image.mode == 'CMYK',
        '16-bit scaled': _has_16_bits(image),
        'palette to RGB': image.mode in ('P', 'PA'),
        'alpha on white': image.has_transparency_data,
    }
    return tuple(what for what, happened in said.items() if happened)


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


def _true_format(content: bytes, image: Image.Image) -> str:
    # Phones store JPEGs with an extra picture behind the first one ("MPO"); for every reader it is a JPEG.
    return 'JPEG' if content.startswith(b'\xff\xd8') else image.format


def _has_16_bits(image: Image.Image) -> bool:
    # Pillow reads 16-bit colour as the mode RGB and scales it itself; only the layout of the raw data tells.
    return image.mode.startswith('I') or any(';16' in str(tile[3]) for tile in image.tile)


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
