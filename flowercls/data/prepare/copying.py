"""One photo from the raw folder into the prepared one: under which name, and byte for byte or converted.

A photo that every program reads the same way is copied untouched. Any other becomes plain RGB, so that the prepared
folder holds nothing but upright, opaque, 8-bit photos with true extensions.
"""

import hashlib
import io
import unicodedata
from pathlib import Path

from PIL import Image

from flowercls.core.errors import DataError
from flowercls.core.files import disk_errors
from flowercls.data.decode import read_photo
from flowercls.data.image_formats import UnreadablePhoto, read_content
from flowercls.data.prepare.scan import RawPhoto

EXTENSIONS = {'JPEG': '.jpg'}  # all other formats become PNG
PHOTO_SUFFIXES = {
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.apng', '.gif', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.avif'),
    *('.jp2', '.j2k', '.ppm', '.pgm', '.pbm', '.pnm', '.mpo', '.heic'),
}
MAX_NAME_BYTES = 200  # file systems take 255; the rest is for those who add a suffix


def extension_of(photo: RawPhoto) -> str:
    """Extension of the photo in the prepared folder, true whatever the raw file is called."""
    return EXTENSIONS.get(photo.format, '.png')


def conversions_of(photo: RawPhoto) -> tuple[str, ...]:
    """What happens to the photo on its way; nothing for one that is copied byte for byte."""
    if photo.format in ('JPEG', 'PNG'):
        return photo.conversions
    return (*photo.conversions, f'{photo.format} to PNG')


def name_in_class(photo: RawPhoto, taken: set[str]) -> str:
    """The photo's own name where that is possible, else as close as a name can be that is valid and not yet taken.

    Args:
        photo: The photo; of a path below its class folder only the last part counts.
        taken: Names in the class so far, case folded, as some file systems take ``A.jpg`` and ``a.jpg`` for one.
            The new name is added.
    """
    stem, extension = _clean_stem(photo.path.rsplit('/', 1)[1]), extension_of(photo)
    name = _shortened(stem, extension, photo.sha256)
    digits = 8
    while _folded(name) in taken:
        name = _shortened(stem, f'-{photo.sha256[:digits]}{extension}', photo.sha256)
        digits += 8
    taken.add(_folded(name))
    return name


def _folded(name: str) -> str:
    return unicodedata.normalize('NFC', name.casefold())


def _clean_stem(name: str) -> str:
    name = unicodedata.normalize('NFC', name)
    stem, dot, suffix = name.rpartition('.')
    stem = stem if f'{dot}{suffix}'.lower() in PHOTO_SUFFIXES else name
    # Line breaks would break the lists of photos, half characters (not UTF-8) cannot be written at all.
    bad = ('Cc', 'Zl', 'Zp', 'Cs')
    return ''.join('_' if unicodedata.category(letter) in bad or letter == '\\' else letter for letter in stem)


def _shortened(stem: str, ending: str, sha256: str) -> str:
    if len(f'{stem}{ending}'.encode()) <= MAX_NAME_BYTES:
        return f'{stem}{ending}'
    mark = '' if sha256[:8] in ending else f'-{sha256[:8]}'
    room = MAX_NAME_BYTES - len(f'{mark}{ending}')
    return f'{stem.encode()[:room].decode(errors="ignore")}{mark}{ending}'


def copy_photo(raw_dir: Path, photo: RawPhoto, target: Path) -> str:
    """Bring a photo to ``target``; returns the SHA-256 of what was written.

    Raises:
        DataError: if the raw file is not what it was when the folder was scanned.
        DiskError: if the target cannot be written.
    """
    content, digest = _unchanged_content(raw_dir, photo), photo.sha256
    if conversions_of(photo):
        content = _encode(read_photo(content).rgb, extension_of(photo))
        digest = hashlib.sha256(content).hexdigest()
    with disk_errors(target):
        target.write_bytes(content)
    return digest


def _unchanged_content(raw_dir: Path, photo: RawPhoto) -> bytes:
    try:
        content = read_content(raw_dir / photo.path)
    except UnreadablePhoto as error:
        content, cause = b'', error
    else:
        cause = None
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise DataError(
            f'{raw_dir / photo.path}: changed between reading and copying. Nothing was kept. '
            'Fix: run again when no other program writes to the raw folder.'
        ) from cause
    return content


def _encode(rgb, extension: str) -> bytes:
    buffer = io.BytesIO()
    # 95 and full colour resolution: no loss that could be seen or learnt.
    options = {'format': 'JPEG', 'quality': 95, 'subsampling': 0} if extension == '.jpg' else {'format': 'PNG'}
    Image.fromarray(rgb).save(buffer, **options)
    return buffer.getvalue()
