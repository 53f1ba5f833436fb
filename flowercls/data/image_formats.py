"""Formats of photos: read a file, refuse what is not a photo or too large, open the rest without decoding it.

Only headers are looked at, and a PNG's checksums. The pixels are decoded in `flowercls.data.decode`.
"""

import contextlib
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import (
    AvifImagePlugin,  # noqa: F401  importing a plugin registers its format
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

from flowercls.core.errors import DataError

MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 512 << 20
FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'AVIF', 'JPEG2000', 'PPM')
# Files that people take for photos: first bytes, what the file is, reason for the refusal.
_FOREIGN = (
    (rb'.{4}ftyp(hei|hev|mif1|msf1)', 'a HEIC photo', 'unsupported format'),
    (rb'%PDF', 'a PDF', 'unsupported format'),
    (rb'8BPS', 'a Photoshop file', 'unsupported format'),
    (rb'\x00\x00\x01\x00', 'an icon', 'unsupported format'),
    (rb'\s*(<\?xml.*)?<svg', 'an SVG drawing', 'unsupported format'),
    (rb'\s*<(!doctype html|html)', 'a web page', 'not an image'),
)
# Reason for a refusal -> fix. The keys are all possible reasons.
FIXES = {
    'missing file': 'check the path',
    'not a file': 'give the path of one photo',
    'unreadable file': 'allow reading it (chmod +r)',
    'empty file': 'copy or download it again',
    'not an image': 'remove it, or put the photo itself in its place',
    'unsupported format': 'save it as JPEG or PNG',
    'too large': f'save it with at most {MAX_PIXELS // 1_000_000} megapixels',
    'too narrow': 'cut out the part that matters',  # for a network, which sees a square; `prepare` takes it
    'truncated': 'copy or download it again, the end of the file is missing',
    'damaged': 'copy or download it again, or open and save it in an image editor',
}


class UnreadablePhoto(DataError):  # noqa: N818  reads as what it is
    """A file that cannot be decoded; ``reason`` is a key of `FIXES`, ``detail`` says more."""

    def __init__(self, message: str, reason: str = 'damaged', detail: str = '') -> None:
        # A DataLoader rebuilds the error from its worker's traceback; only the message itself is for the user.
        super().__init__(message.rpartition('UnreadablePhoto: ')[2].strip())
        self.reason = reason
        self.detail = detail


def unreadable(name: str, reason: str, detail: object) -> UnreadablePhoto:
    """Return the error for the file ``name``; ``reason`` is a key of `FIXES`."""
    return UnreadablePhoto(f'{name}: {reason} ({detail}). Fix: {FIXES[reason]}.', reason, str(detail))


@contextlib.contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Turn every error that Pillow raises about the file ``name`` into an `UnreadablePhoto`."""
    # Hostile bytes make Pillow's plugins raise many types: OSError, SyntaxError, ValueError, struct.error, ...
    try:
        yield
    except (UnreadablePhoto, MemoryError):
        raise
    except Exception as error:
        cut = isinstance(error, EOFError | struct.error) or 'truncat' in str(error).lower()
        raise unreadable(name, 'truncated' if cut else 'damaged', error) from error


def read_content(path: str | os.PathLike) -> bytes:
    """Read the bytes of a photo; a file that is too large is refused without reading it."""
    name = os.fspath(path)
    try:
        status = Path(name).stat()  # before opening: a pipe would block
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise unreadable(name, 'not a file', 'a pipe, a socket or a device')
        with Path(name).open('rb', buffering=0) as file:
            if status.st_size > MAX_FILE_BYTES:
                raise unreadable(name, 'too large', f'{status.st_size >> 20} MiB, at most {MAX_FILE_BYTES >> 20}')
            return file.read()
    except FileNotFoundError as error:
        raise unreadable(name, 'missing file', 'no such file') from error
    except IsADirectoryError as error:
        raise unreadable(name, 'not a file', 'a folder') from error
    except OSError as error:
        raise unreadable(name, 'unreadable file', error.strerror or error) from error


def open_checked(content: bytes, name: str) -> tuple[Image.Image, str, tuple[str, ...]]:
    """Open a photo without decoding it; returns the image, its real format and the conversions it will need."""
    if not content:
        raise unreadable(name, 'empty file', '0 bytes')
    image = _open(content, name)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise unreadable(name, 'too large', f'{width}x{height} pixels, at most {MAX_PIXELS // 1_000_000} megapixels')
    if image.format == 'PNG':
        _check_png_pixels(content)
    # Phones store JPEGs with an extra picture behind the first ("MPO"); every reader takes the file for a JPEG.
    image_format = 'JPEG' if content.startswith(b'\xff\xd8') else image.format
    return image, image_format, _conversions(image)


def _open(content: bytes, name: str) -> Image.Image:
    # As Image.open, but without its warning on large photos (its filter is global to the process), without formats
    # that start other programs (EPS), and with the plugin's own error instead of "cannot identify".
    head = content[:16]
    for image_format in FORMATS:
        factory, accepts = Image.OPEN[image_format]
        accepted = accepts(head)
        if isinstance(accepted, str):  # the plugin says that its library is missing
            raise unreadable(name, 'unsupported format', accepted)
        if accepted:
            return factory(io.BytesIO(content), name)
    for first_bytes, description, reason in _FOREIGN:
        if re.match(first_bytes, content[:1024], re.IGNORECASE | re.DOTALL):
            raise unreadable(name, reason, description)
    raise unreadable(name, 'not an image', f'starts with {content[:12]!r}')


def _check_png_pixels(content: bytes) -> None:
    # Pillow skips the checksums of pixel data, so a flipped bit would become a photo with wrong colours.
    start = 8
    while start + 12 <= len(content):
        size = int.from_bytes(content[start : start + 4])
        checked = zlib.crc32(memoryview(content)[start + 4 : start + 8 + size])
        stored = content[start + 8 + size : start + 12 + size]
        if content[start + 4 : start + 8] == b'IDAT' and len(stored) == 4 and checked != int.from_bytes(stored):
            raise ValueError(f'wrong checksum at byte {start}')
        start += 12 + size


def _conversions(image: Image.Image) -> tuple[str, ...]:
    # To be called before load(), which drops how the pixels were stored.
    frames = 1 if image.format in ('JPEG', 'MPO') else getattr(image, 'n_frames', 1)
    needed = {
        f'first of {frames} frames': frames > 1,
        'CMYK to RGB': image.mode == 'CMYK',
        # Pillow reads 16-bit colour as mode RGB and scales it itself; only the layout of the raw data shows it.
        '16-bit scaled': image.mode.startswith('I') or any(';16' in str(tile[3]) for tile in image.tile),
        'palette to RGB': image.mode in ('P', 'PA'),
        'alpha on white': image.has_transparency_data,
    }
    return tuple(conversion for conversion, is_needed in needed.items() if is_needed)
