"""Formats of photos: read a file, refuse what is not a photo or too large, open the rest without decoding it.

Only headers are looked at, and a PNG's checksums. The pixels are decoded in `flowercls.data.decode`.
"""

import contextlib
import io
import math
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
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
from flowercls.data.photo_kinds.deep_pixels import deep_kind
from flowercls.data.photo_kinds.foreign_files import (
    HEAD_BYTES,
    camera_raw_kind,
    describe_unknown,
    foreign_kind,
    is_heif,
)

# Pillow warns of odd metadata without the file's name. What counts is whether the photo decodes, and that is reported.
warnings.filterwarnings('ignore', category=UserWarning, module=r'PIL\.')
MAX_PIXELS = 250_000_000  # of a file
MAX_DECODED_PIXELS = 50_000_000  # a photo of more is decoded reduced
MAX_FILE_BYTES = 1 << 30  # 250 megapixels without compression
_BY_PILLOW = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'AVIF', 'JPEG2000', 'PPM')
FORMATS = (*_BY_PILLOW, 'HEIF')
# Pillow and libheif say so of a file whose end is missing.
_CUT = re.compile('truncat|unexpected end of file|cannot read full|file size too small', re.IGNORECASE)
_WAVELETS = b'\xff\x52\x00\x0c'  # marker COD of a JPEG 2000; behind it how it is compressed (ISO/IEC 15444-1, A.6.1)
# Reason for a refusal -> fix. The keys are all possible reasons.
FIXES = {
    'missing file': 'check the path',
    'not a file': 'give the path of one photo',
    'unreadable file': 'allow reading it (chmod +r)',
    'empty file': 'copy or download it again',
    'not an image': 'remove it, or put the photo itself in its place',
    'unsupported format': 'save it as JPEG or PNG',
    'HEIC': 'pip install "flowercls[heic]", or save it as JPEG',
    'camera raw': 'export it as JPEG with the program of the camera',
    'DICOM': 'export it as PNG of 16 bits with a DICOM viewer',
    'video': 'save its frames as JPEG',
    'too large': f'save it with at most {MAX_PIXELS // 1_000_000} megapixels',
    'unknown range': 'save it with 8 bits a colour, or train on photos of this kind: `prepare` measures their range',
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
        if 'unknown pixel mode' in str(error):
            raise unreadable(name, 'unsupported format', 'a TIFF with pixels of a rare type') from error
        cut = isinstance(error, EOFError | struct.error) or _CUT.search(str(error))
        raise unreadable(name, 'truncated' if cut else 'damaged', str(error).strip()) from error


def read_content(path: str | os.PathLike) -> bytes:
    """Read the bytes of a photo; a file that is too large is refused without reading it."""
    name = os.fspath(path)
    try:
        status = Path(name).stat()  # before opening: a pipe would block
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise unreadable(name, 'not a file', 'a pipe, a socket or a device')
        with Path(name).open('rb', buffering=0) as file:
            if status.st_size > MAX_FILE_BYTES:
                if foreign := foreign_kind(file.read(HEAD_BYTES)):
                    raise unreadable(name, *foreign)
                raise unreadable(name, 'too large', f'{status.st_size >> 20} MiB, at most {MAX_FILE_BYTES >> 20}')
            return file.read()
    except FileNotFoundError as error:
        raise unreadable(name, 'missing file', 'no such file') from error
    except IsADirectoryError as error:
        raise unreadable(name, 'not a file', 'a folder') from error
    except OSError as error:
        raise unreadable(name, 'unreadable file', error.strerror or error) from error


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo whose header was read.

    Attributes:
        image: Not decoded yet.
        format: The file's real format, whatever its name says: one of `FORMATS`.
        conversions: Those it will need, see `flowercls.data.decode.Photo`.
        is_lossy: Whether its pixels were compressed with a loss, as a JPEG's are.
        deep_kind: See `flowercls.data.photo_kinds.deep_pixels.deep_kind`.
    """

    image: Image.Image
    format: str
    conversions: tuple[str, ...]
    is_lossy: bool
    deep_kind: str | None


def open_checked(content: bytes, name: str) -> OpenedPhoto:
    """Open a photo without decoding it."""
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
    is_lossy, kind = _is_lossy(image, image_format, content), deep_kind(image)
    return OpenedPhoto(image, image_format, _conversions(image, kind), is_lossy, kind)


def _is_lossy(image: Image.Image, image_format: str, content: bytes) -> bool:
    if image_format == 'WEBP':
        return _webp_pixels(content) == b'VP8 '
    if image_format in ('AVIF', 'HEIF'):  # only without a loss the planes hold RGB itself: matrix 0 of ISO/IEC 23091-2
        start = content.find(b'colrnclx')
        return start < 0 or content[start + 12 : start + 14] != bytes(2)
    if image_format == 'JPEG2000':  # the wavelet 9-7 instead of 5-3, a byte of marker COD (ISO/IEC 15444-1, A.6.1)
        start = content.find(_WAVELETS)
        return start >= 0 and content[start + 13 : start + 14] == b'\x00'
    return image_format == 'JPEG' or image.info.get('compression') in ('jpeg', 'webp')  # a TIFF may hold those


def _webp_pixels(content: bytes) -> bytes:
    """Return the name of the chunk with the pixels of the first picture: ``VP8 `` with a loss, ``VP8L`` without."""
    start = 12
    while start + 8 <= len(content):
        kind, size = content[start : start + 4], int.from_bytes(content[start + 4 : start + 8], 'little')
        if kind in (b'VP8 ', b'VP8L'):
            return kind
        # A frame of an animation holds further chunks behind 16 bytes of its own.
        start += 24 if kind == b'ANMF' else 8 + size + size % 2
    return b''


def reduction(size: tuple[int, int]) -> int:
    """Return the factor by which the sides of a photo of ``size`` are reduced: the smallest power of 2 that will do."""
    factor = 1
    while math.prod(-(-side // factor) for side in size) > MAX_DECODED_PIXELS:
        factor *= 2
    return factor


def wavelet_levels(content: bytes) -> int:
    """Return how many times a JPEG 2000 can be halved while it is decoded."""
    start = content.find(_WAVELETS)
    return content[start + 9] if 0 <= start < len(content) - 9 else 0


def begins_as_photo(path: str | os.PathLike) -> bool:
    """Return whether the first bytes of a file, whatever its name, are those of a photo that can be read."""
    try:
        if not Path(path).is_file():  # a pipe would wait for ever
            return False
        with Path(path).open('rb') as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return is_heif(head) or any(Image.OPEN[image_format][1](head[:16]) is True for image_format in _BY_PILLOW)


def _open(content: bytes, name: str) -> Image.Image:
    # As Image.open, but without its warning on large photos (its filter is global to the process), without formats
    # that start other programs (EPS), and with the plugin's own error instead of "cannot identify".
    head = content[:HEAD_BYTES]
    if is_heif(head):
        return _open_heif(content, name)
    for image_format in _BY_PILLOW:
        factory, accepts = Image.OPEN[image_format]
        accepted = accepts(head[:16])
        if isinstance(accepted, str):  # the plugin says that its library is missing
            raise unreadable(name, 'unsupported format', accepted)
        if accepted:
            if image_format == 'TIFF' and (camera_raw := camera_raw_kind(content)):
                raise unreadable(name, 'camera raw', camera_raw)
            return factory(io.BytesIO(content), name)
    raise unreadable(name, *(foreign_kind(head) or ('not an image', describe_unknown(head))))


def _open_heif(content: bytes, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile  # here: an extra, and only HEIC files need it
    except ImportError as error:
        raise unreadable(name, 'HEIC', 'pillow-heif is not installed') from error
    return HeifImageFile(io.BytesIO(content), name)  # upright: libheif turns it, and the EXIF tag says so


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


def _conversions(image: Image.Image, kind: str | None) -> tuple[str, ...]:
    # To be called before load(), which drops how the pixels were stored.
    frames = 1 if image.format in ('JPEG', 'MPO') else getattr(image, 'n_frames', 1)
    needed = {
        f'first of {frames} frames': frames > 1,
        'CMYK to RGB': image.mode == 'CMYK',
        f'{kind or "16-bit"} scaled': kind is not None or any(';16' in str(tile[3]) for tile in image.tile),
        'palette to RGB': image.mode in ('P', 'PA'),
        'alpha on white': image.has_transparency_data,
        f'reduced by {reduction(image.size)}': reduction(image.size) > 1,
    }
    return tuple(conversion for conversion, is_needed in needed.items() if is_needed)
