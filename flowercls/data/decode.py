"""The one decoder: every photo that is prepared, trained on, tested or predicted becomes pixels here.

Two decoders disagree on rotated, transparent, 16-bit and damaged files; a model would be tested on other pixels than it
was trained on. So each odd case has one rule here: the EXIF orientation is applied, transparency is laid on white,
deep pixels are scaled to 8 bits, an animation gives its first frame, a photo above 50 megapixels is reduced, and a file
that does not decode to its last row is an error. The size is checked in the header, before any pixel is decoded.

`read_thumbnail` is faster: it checks the whole file too, but makes only a small grey picture.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flowercls.data.image_formats import (
    open_checked,
    pillow_errors,
    read_content,
    reduction,
    unreadable,
    wavelet_levels,
)
from flowercls.data.photo_kinds.deep_pixels import (
    FULL_RANGE,
    DeepValues,
    Ranges,
    deep_kind,
    measure,
    read_values,
    to_8_bits,
)

OWN_ENDS = 'own'  # as a value range
# EXIF orientation -> the transpose that turns the stored pixels upright (EXIF 2.32, table 4, tag 0x0112).
_ORIENTATION_TAG = 0x0112
_MIN_SIDEWAYS = 5  # from this orientation on, width and height are swapped
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND_PX = 512  # rows that are reduced at once, a multiple of every factor
# Pillow's name of a PNG's grey of 2 or 4 bits -> the factor it applies to pixels, but not to the transparent value.
_GREY_STEPS = {'L;2': 85, 'L;4': 17}


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        rgb: Pixels, shape (H, W, 3), uint8, upright.
        format: The file's real format, whatever its name says: one of `FORMATS`.
        conversions: Steps that another decoder might do otherwise, in the order in which they were done.
        is_lossy: As in `OpenedPhoto`.
    """

    rgb: np.ndarray
    format: str
    conversions: tuple[str, ...] = ()
    is_lossy: bool = False


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A small grey picture of a photo.

    Attributes:
        grey: The whole photo, small, upright, in mode L.
        size: Width and height of the photo in pixels, upright.
        format: As in `Photo`.
        conversions: As in `Photo`.
        is_lossy: As in `OpenedPhoto`.
        deep: The values of deep pixels, which its own ends show from black to white; None for 8 bits.
    """

    grey: Image.Image
    size: tuple[int, int]
    format: str
    conversions: tuple[str, ...] = ()
    is_lossy: bool = False
    deep: DeepValues | None = None


def decode_rgb(
    source: str | os.PathLike | bytes, name: str | None = None, value_range: Ranges | str | None = None
) -> np.ndarray:
    """Decode a photo to RGB.

    Args:
        source: Path of a file, or its content.
        name: How errors name the photo; None: by its path, or the length of its content.
        value_range: Least and greatest value of each kind of deep pixels, see `deep_pixels`; or `OWN_ENDS`, for those
            of the photo itself. For a kind without, 16 bits become 8 by their high byte, and others are refused.

    Returns:
        Array of shape (H, W, 3), uint8, C-contiguous and writable.

    Raises:
        UnreadablePhoto: if the file is missing, not an image, damaged, or too large.
    """
    return read_photo(source, name, value_range).rgb


def read_photo(
    source: str | os.PathLike | bytes, name: str | None = None, value_range: Ranges | str | None = None
) -> Photo:
    """Decode a photo, with its format and conversions. Arguments and errors as in `decode_rgb`."""
    content = source if isinstance(source, bytes) else read_content(source)
    name = name or (f'<{len(source)} bytes>' if isinstance(source, bytes) else os.fspath(source))
    with pillow_errors(name):
        opened = open_checked(content, name)
        image = opened.image
        load = _deep_loader(opened.deep_kind, value_range, content, name)
        factor = reduction(image.size) // _decode_small(image, content)
        if load is None:
            _apply_transparent_colour(image, content, name)
        image, orientation = _load_upright(image, name, factor, load)
        rgb = _to_rgb(image, opened.format, name)
    return Photo(rgb, opened.format, _with_turn(opened.conversions, orientation), opened.is_lossy)


def image_to_rgb(image: Image.Image, value_range: Ranges | str | None = None) -> np.ndarray:
    """Return the pixels of an opened image by the same rules as `decode_rgb`; errors as there."""
    with pillow_errors('the image'):
        name, kind = 'the image', deep_kind(image) if image.mode[0] in 'IF' else None
        load = _deep_loader(kind, value_range, b'', name)
        upright, _ = _load_upright(image, name, reduction(image.size), load)
        return _to_rgb(upright, image.format or 'image', name)


def read_thumbnail(content: bytes, min_px: tuple[int, int]) -> Thumbnail:
    """Read a photo to its last row, but make only a small grey picture; errors as in `decode_rgb`.

    Of a JPEG all data are unpacked, but only the coarse part becomes pixels: half the time.

    Args:
        content: Of the file.
        min_px: Minimal width and height of the thumbnail, unless the photo is smaller.
    """
    name = f'<{len(content)} bytes>'
    with pillow_errors(name):
        opened = open_checked(content, name)
        image = opened.image
        factor = reduction(image.size)
        size = tuple(-(-side // factor) for side in image.size)
        is_draft = image.format == 'JPEG' and image.mode in ('L', 'RGB') and image.draft('L', min_px) is not None
        factor = 1 if is_draft else factor // _decode_small(image, content)
        deep: list[DeepValues] = []
        load = _deep_loader(opened.deep_kind, OWN_ENDS, content, name, deep.append)
        if load is None:
            _apply_transparent_colour(image, content, name)
        grey, orientation = _load_upright(image, name, factor, load)
        if not is_draft:
            grey = Image.fromarray(_to_rgb(grey, opened.format, name)).convert('L')
            size = grey.size
        elif orientation >= _MIN_SIDEWAYS:
            size = size[::-1]
    factor = min(grey.width // min_px[0], grey.height // min_px[1])
    grey = grey.reduce(factor) if factor > 1 else grey
    return Thumbnail(grey, size, opened.format, _with_turn(opened.conversions, orientation), opened.is_lossy, *deep)


def _with_turn(conversions: tuple[str, ...], orientation: int) -> tuple[str, ...]:
    return (*conversions, 'orientation applied') if orientation != 1 else conversions


def _apply_transparent_colour(image: Image.Image, content: bytes, name: str) -> None:
    """Lay a PNG's transparent colour on white where Pillow would search it among values scaled to 8 bits."""
    transparent = image.info.get('transparency')
    if image.format != 'PNG' or transparent is None or not image.tile:
        return
    raw = image.tile[0].args
    if raw in _GREY_STEPS:
        image.info['transparency'] = transparent * _GREY_STEPS[raw]
    if raw == 'RGB;16B':
        # The pixels hold the high bytes; reading the same data in the other byte order gives the low bytes.
        low_bytes = open_checked(content, name).image
        low_bytes.tile = [tile._replace(args='RGB;16L') for tile in low_bytes.tile]
        values = np.array(image, np.uint16) << 8 | np.array(low_bytes)
        del image.info['transparency']
        image.paste((255, 255, 255), mask=Image.fromarray((values == transparent).all(axis=2)))


def _decode_small(image: Image.Image, content: bytes) -> int:
    """Have a large photo decoded small where its format allows; returns the factor, 1 where it does not."""
    factor = reduction(image.size)
    if factor > 1 and image.format in ('JPEG', 'MPO'):
        factor = min(factor, 8)
        image.draft(None, tuple(max(1, side // factor) for side in image.size))
        return factor
    if factor > 1 and image.format == 'JPEG2000':
        # Of the sides Pillow rounds the halves and the decoder rounds them up; where they disagree it refuses.
        agree = all((side + factor // 2) // factor == -(-side // factor) for side in image.size)
        levels = factor.bit_length() - 1
        if agree and levels <= wavelet_levels(content):
            image.reduce = levels
            return factor
    return 1


def _deep_loader(
    kind: str | None,
    value_range: Ranges | str | None,
    content: bytes,
    name: str,
    tell: Callable[[DeepValues], object] = lambda values: None,
) -> Callable[[Image.Image], Image.Image] | None:
    """Return what loads a photo of deep pixels with 8 bits; None for others, and where the high byte of 16 bits is it.

    Args:
        kind: Of the pixels.
        value_range: As in `decode_rgb`.
        content: Of the file.
        name: How errors name the photo.
        tell: Called with what the values are, with `OWN_ENDS`.
    """
    if kind is None:
        return None
    is_own = value_range == OWN_ENDS
    ends = None if is_own else (value_range or {}).get(kind, FULL_RANGE if kind == '16-bit' else None)
    if kind == '16-bit' and not is_own and tuple(ends) == FULL_RANGE:
        return None
    if ends is None and not is_own:
        raise unreadable(name, 'unknown range', f'pixels of {kind} values, whose range is not known')

    def load(image: Image.Image) -> Image.Image:
        values = read_values(image, content, lambda: open_checked(content, name).image)
        if not is_own:
            return _shallow(image, values, ends)
        tell(measured := measure(values, kind))
        return _shallow(image, values, (measured.low, measured.high))

    return load


def _shallow(image: Image.Image, values: np.ndarray, ends: Sequence[float]) -> Image.Image:
    """Return a photo of deep pixels with 8 bits; of alpha the high byte counts, a transparent colour becomes white."""
    has_alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    pixels = to_8_bits(values, ends)
    if has_alpha:
        pixels[..., -1] = values[..., -1] >> 8
    if (transparent := image.info.get('transparency')) is not None:
        is_clear = values == transparent
        pixels[is_clear.all(axis=2) if values.ndim == 3 else is_clear] = 255
    return Image.fromarray(pixels)


def _load_upright(
    image: Image.Image, name: str, factor: int, load: Callable[[Image.Image], Image.Image] | None = None
) -> tuple[Image.Image, int]:
    """Load the pixels; returns them reduced and upright, and the EXIF orientation that was undone or 1.

    Args:
        image: Not loaded.
        name: How errors name the photo.
        factor: By which its sides are reduced.
        load: Loads the image and returns what is to be seen of it; None: all of it.
    """
    is_tiff = image.format == 'TIFF'  # Pillow turns a TIFF upright while it loads, and drops the tag
    orientation = _orientation(image) if is_tiff else 1
    loaded = load(image) if load is not None else image
    image.load()
    orientation = orientation if is_tiff else _orientation(image)
    image = loaded
    image = _reduced(image, name, factor) if factor > 1 else image
    if orientation not in _UPRIGHT:
        return image, 1
    return image if is_tiff else image.transpose(_UPRIGHT[orientation]), orientation


def _reduced(image: Image.Image, name: str, factor: int) -> Image.Image:
    """Return a loaded photo in RGB with its sides reduced, made band by band: the whole in RGB would be far larger."""
    small = Image.new('RGB', tuple(-(-side // factor) for side in image.size))
    for top in range(0, image.height, _BAND_PX):
        band = image.crop((0, top, image.width, min(top + _BAND_PX, image.height)))
        rgb = Image.fromarray(_to_rgb(band, image.format or 'image', name))
        small.paste(rgb.reduce(factor), (0, top // factor))
    return small


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a photo with broken EXIF is still a photo
        return 1


def _to_rgb(image: Image.Image, image_format: str, name: str) -> np.ndarray:
    if image.mode == 'RGB' and 'transparency' not in image.info:
        return np.array(image)
    if image.mode.startswith('I;16') or (image.mode == 'I' and image_format in ('PNG', 'PPM')):
        values = np.array(image)
        grey = (values >> 8).astype(np.uint8)
        if isinstance(transparent := image.info.get('transparency'), int):
            grey[values == transparent] = 255
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode not in ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'CMYK', 'YCbCr'):
        raise unreadable(name, 'unsupported format', f'{image_format} with pixels of type {image.mode}')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.array(image.convert('RGB'))
