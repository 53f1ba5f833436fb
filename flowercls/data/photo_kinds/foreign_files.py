"""Files that people take for photos: what such a file is, by its first bytes, and why it cannot be read.

Only files that no photo format of `flowercls.data.image_formats` accepts are looked at here, and TIFF files, as most
cameras' raw files begin like them.
"""

import io
import re
import unicodedata

from PIL import TiffImagePlugin

HEAD_BYTES = 1024  # of a file, enough for all patterns
# First bytes, what the file is, reason for the refusal. The first that matches counts.
_FOREIGN = (
    (rb'.{128}DICM', 'a DICOM file', 'DICOM'),
    (rb'[\x02\x08]\x00.\x00(UL|UI|CS|SH)', 'a DICOM file', 'DICOM'),  # without the usual preamble
    (rb'.{4}ftypcrx ', 'a Canon raw photo', 'camera raw'),
    (rb'FUJIFILMCCD-RAW', 'a Fujifilm raw photo', 'camera raw'),
    (rb'IIR[OS]|MMOR', 'an Olympus raw photo', 'camera raw'),
    (rb'IIU\x00', 'a Panasonic raw photo', 'camera raw'),
    (rb'FOVb', 'a Sigma raw photo', 'camera raw'),
    (rb'\x00MRM', 'a Minolta raw photo', 'camera raw'),
    (rb'.{4}ftypM4[ABP]', 'a sound', 'not an image'),
    (rb'.{4}ftyp', 'an MP4 or QuickTime video', 'video'),
    (rb'.{4}(moov|mdat|wide|pnot)', 'a QuickTime video', 'video'),
    (rb'RIFF.{4}AVI ', 'an AVI video', 'video'),
    (rb'\x1aE\xdf\xa3', 'a Matroska or WebM video', 'video'),
    (rb'\x00\x00\x01[\xb3\xba]|G.{187}G.{187}G', 'an MPEG video', 'video'),
    (rb'0&\xb2u\x8ef\xcf\x11', 'a Windows Media video', 'video'),
    (rb'FLV\x01', 'a Flash video', 'video'),
    (rb'\xff\n|\x00{3}\x0cJXL ', 'a JPEG XL photo', 'unsupported format'),
    (rb'%PDF', 'a PDF', 'unsupported format'),
    (rb'8BPS', 'a Photoshop file', 'unsupported format'),
    (rb'gimp xcf', 'a GIMP file', 'unsupported format'),
    (rb'%!PS|\xc5\xd0\xd3\xc6', 'a PostScript drawing', 'unsupported format'),
    (rb'\x00\x00\x01\x00', 'an icon', 'unsupported format'),
    (rb'v/1\x01', 'an OpenEXR photo', 'unsupported format'),
    (rb'#\?R(ADIANCE|GBE)', 'a Radiance photo', 'unsupported format'),
    (rb'\s*(<\?xml.*)?<svg', 'an SVG drawing', 'unsupported format'),
    (rb'SIMPLE  =', 'a FITS file', 'unsupported format'),
    (rb'\x89HDF\r\n', 'an HDF5 file', 'unsupported format'),
    (rb'\x93NUMPY', 'a NumPy array', 'unsupported format'),
    (rb'MATLAB 5.0 MAT', 'a MATLAB file', 'unsupported format'),
    (rb'.{344}(n\+1|ni1)\x00', 'a NIfTI volume', 'unsupported format'),
    (rb'NRRD000', 'an NRRD volume', 'unsupported format'),
    (rb'ZISRAWFILE', 'a Zeiss microscope file', 'unsupported format'),
    (rb'\xda\xce\xbe\n', 'a Nikon microscope file', 'unsupported format'),
    (rb'\s*(<!doctype html|<html)', 'a web page', 'not an image'),
    (rb'version https://git-lfs', 'a placeholder of Git LFS: `git lfs pull` fetches the photo', 'not an image'),
    (rb'PK\x03\x04', 'a zip archive or an Office document', 'not an image'),
    (rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!', 'an archive', 'not an image'),
    (rb'\x00+$', 'it begins with zero bytes alone', 'not an image'),
)
_HEIF_BRANDS = {b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs', b'mif1', b'msf1'}
_AVIF_BRANDS = {b'avif', b'avis'}
_MAKE, _BIG_TIFF = 271, 43
_REDUCED, _SUB_IFDS, _DNG_VERSION, _SUBFILE_TYPE, _PHOTOMETRIC = 1, 330, 50706, 254, 262
_SENSOR_COLOURS = (32803, 34892)  # DNG 1.7, PhotometricInterpretation: one colour a pixel; linear


def is_heif(head: bytes) -> bool:
    """Return whether a file is HEIC or another HEIF that is not AVIF, by the brands in its first box."""
    if head[4:8] != b'ftyp':
        return False
    end = min(len(head), int.from_bytes(head[:4]))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, end, 4))}
    return head[8:12] in _HEIF_BRANDS and not brands & _AVIF_BRANDS


def foreign_kind(head: bytes) -> tuple[str, str] | None:
    """Return the reason to refuse a file and what it is; None if its first bytes are of no known kind."""
    for first_bytes, description, reason in _FOREIGN:
        if re.match(first_bytes, head[:HEAD_BYTES], re.IGNORECASE | re.DOTALL):
            return reason, description
    return None


def describe_unknown(head: bytes) -> str:
    """Return what a file of no known kind looks like, in plain words."""
    text = head[:40].decode('utf-8', 'ignore').strip()
    if text and all(letter.isspace() or unicodedata.category(letter)[0] != 'C' for letter in text):
        return f'a text: "{" ".join(text.split())[:24]}..."'
    return 'a file of an unknown kind'


def camera_raw_kind(content: bytes) -> str | None:
    """Return what a camera's raw photo in the form of a TIFF is; None for every other TIFF.

    Such a file begins with a small preview or with the values of the sensor, and neither is the photo.
    """
    if content[8:10] == b'CR':
        return 'a Canon raw photo'
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if content[2] == _BIG_TIFF else 8])
        file = io.BytesIO(content)
        file.seek(directory.next)
        directory.load(file)
        is_preview = directory.get(_SUBFILE_TYPE, 0) & _REDUCED and _SUB_IFDS in directory
        if _DNG_VERSION in directory:
            return 'a DNG raw photo'
        if is_preview or directory.get(_PHOTOMETRIC) in _SENSOR_COLOURS:
            return f'a raw photo {directory.get(_MAKE, "")}'.strip()
    except Exception:  # damaged: the decoder will say more
        return None
    return None
