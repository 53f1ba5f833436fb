"""Copy of one photo into the prepared folder: its name there, and whether it is converted.

A photo that every program reads the same way is copied byte for byte. Any other becomes plain RGB, so that the prepared
folder holds only upright, opaque, 8-bit photos with true extensions.
"""

import hashlib
import io
import unicodedata
from pathlib import Path

from PIL import Image

from flowercls.core.errors import DataError
from flowercls.core.files import disk_errors
from flowercls.core.prepared_folder import PHOTO_SUFFIXES
from flowercls.data.decode import read_photo
from flowercls.data.image_formats import UnreadablePhoto, read_content
from flowercls.data.prepare.scan import RawPhoto, nfc

# Format -> its extension, then others of the same meaning. Photos of other formats become PNG.
EXTENSIONS = {'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'), 'PNG': ('.png', '.apng')}
MAX_NAME_BYTES = 200  # file systems take 255; the rest is for programs that add a suffix
# Line breaks would break the lists of photos; surrogates (not UTF-8) cannot be written at all.
_BAD_CATEGORIES = ('Cc', 'Zl', 'Zp', 'Cs')


def conversions_of(photo: RawPhoto) -> tuple[str, ...]:
    """Return the conversions of a photo on its way; empty if it is copied byte for byte."""
    if photo.format in EXTENSIONS:
        return photo.conversions
    return (*photo.conversions, f'{photo.format} to PNG')


def name_in_class(photo: RawPhoto, taken: set[str]) -> str:
    """Return the photo's own name if possible, else the closest name that is valid and not taken.

    Args:
        photo: The photo; of a path below its class folder only the last part counts.
        taken: Names in the class so far, case folded, because some file systems take ``A.jpg`` and ``a.jpg`` for one.
            The new name is added.
    """
    extension = EXTENSIONS.get(photo.format, EXTENSIONS['PNG'])[0]  # true, whatever the raw file is called
    stem = ''.join(
        '_' if unicodedata.category(letter) in _BAD_CATEGORIES or letter == '\\' else letter
        for letter in _stem_and_suffix(photo)[0]
    )
    name, digits = _shortened(stem, extension, photo.sha256), 8
    while nfc(name.casefold()) in taken:
        name = _shortened(stem, f'-{photo.sha256[:digits]}{extension}', photo.sha256)
        digits += 8
    taken.add(nfc(name.casefold()))
    return name


def rename_reason(photo: RawPhoto, name: str) -> str | None:
    """Return why a photo has the new ``name``; None if it has its own stem, and its suffix told the true format."""
    stem, suffix = _stem_and_suffix(photo)
    if name.rpartition('.')[0] != stem:
        return 'name taken, too long or not valid everywhere'
    if suffix and photo.format in EXTENSIONS and suffix.lower() not in EXTENSIONS[photo.format]:
        return f'really a {photo.format}'
    return None


def _stem_and_suffix(photo: RawPhoto) -> tuple[str, str]:
    """Split the name of a raw file; the suffix is empty if it is not one of photos."""
    name = nfc(photo.path.rsplit('/', 1)[1])
    stem, dot, suffix = name.rpartition('.')
    return (stem, f'{dot}{suffix}') if f'{dot}{suffix}'.lower() in PHOTO_SUFFIXES else (name, '')


def _shortened(stem: str, ending: str, sha256: str) -> str:
    if len(f'{stem}{ending}'.encode()) <= MAX_NAME_BYTES:
        return f'{stem}{ending}'
    mark = '' if sha256[:8] in ending else f'-{sha256[:8]}'
    room = MAX_NAME_BYTES - len(f'{mark}{ending}')
    return f'{stem.encode()[:room].decode(errors="ignore")}{mark}{ending}'


def copy_photo(raw_dir: Path, photo: RawPhoto, target: Path) -> str:
    """Copy or convert a photo to ``target``; returns the SHA-256 of the written file.

    Raises:
        DataError: if the raw file has changed since the scan.
        DiskError: if the target cannot be written.
    """
    content, digest = _unchanged_content(raw_dir, photo), photo.sha256
    if conversions_of(photo):
        buffer = io.BytesIO()
        # Quality 95 and full colour resolution: no loss that could be seen or learnt.
        options = {'format': 'JPEG', 'quality': 95, 'subsampling': 0} if photo.format == 'JPEG' else {'format': 'PNG'}
        Image.fromarray(read_photo(content).rgb).save(buffer, **options)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
    with disk_errors(target):
        target.write_bytes(content)
    return digest


def _unchanged_content(raw_dir: Path, photo: RawPhoto) -> bytes:
    try:
        content, cause = read_content(raw_dir / photo.path), None
    except UnreadablePhoto as error:
        content, cause = b'', error
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise DataError(
            f'{raw_dir / photo.path}: changed between reading and copying. Nothing was kept. '
            'Fix: run again when no other program writes to the raw folder.'
        ) from cause
    return content
