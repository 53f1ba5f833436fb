"""The package: one .zip with an exported model and all that a stranger needs to use it.

A package from a stranger is only read. Nothing in it is unpacked to the disk or run. Of its files only the model is
read, after a check of its limits.
"""

import stat
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from flowercls.core.errors import CheckpointError
from flowercls.core.files import atomic_write
from flowercls.core.layout import CLASSES_FILE
from flowercls.use.export.licences import weights_licence

MODEL_FILE, CARD_FILE, LICENCE_FILE, SCRIPT_FILE = 'model.onnx', 'README.md', 'LICENSE-NOTES.txt', 'predict.py'
MAX_MODEL_BYTES = 2 << 30  # an ONNX file is a protobuf message, which cannot be larger
MAX_OTHER_BYTES, MAX_FILES, MAX_DIRECTORY_BYTES = 64 << 20, 64, 64 << 10
MAX_RATIO, SMALL_BYTES = 20, 1 << 20  # weights shrink by a few percent; small files may shrink to nothing
_DIRECTORY_END = struct.Struct('<4s4H2LH')  # the last 22 bytes of a zip without a comment (APPNOTE.TXT, 4.3.16)
_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)  # that a zip can hold: the same content gives the same bytes
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of an entry: encrypted, strongly encrypted, names hidden
_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks the others without a limit
_FIX = 'Fix: use a package that `export --format package` wrote, or ask its author for it again.'


def write_package(path: str | Path, model: bytes, facts: dict, card: str) -> None:
    """Write a package; the same content gives the same bytes.

    Args:
        path: The .zip.
        model: The content of the ONNX file.
        facts: Of the model, see `TorchModel.facts`.
        card: The model card.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    files = {
        MODEL_FILE: model,
        CLASSES_FILE: ''.join(f'{name}\n' for name in facts['classes']).encode(),
        CARD_FILE: card.encode(),
        LICENCE_FILE: _licence_notes(facts).encode(),
        SCRIPT_FILE: Path(__file__).with_name('package_predict.py').read_bytes(),
    }
    with atomic_write(path, 'wb') as file, zipfile.ZipFile(file, 'w') as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _OLDEST_DATE)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # Unix, readable
            archive.writestr(entry, content)


def _licence_notes(facts: dict) -> str:
    return f"""Licences of what is in this package, as far as they are known

{MODEL_FILE}: trained from {facts['training'].get('starting_weights') or 'random weights'}.
  {weights_licence(facts['training'].get('starting_weights'))}
  Whoever trained it chooses its licence. None is recorded in this package.
Photos: none are in this package. The photos that it was trained on have licences of their own.
{SCRIPT_FILE}: an example that comes with flowercls.
It needs onnxruntime (MIT), numpy (BSD-3-Clause) and Pillow (MIT-CMU); for HEIC photos pillow-heif (BSD-3-Clause,
with libheif, LGPL-3.0). None of them is in this package.
"""


def read_model(path: str | Path) -> bytes:
    """Return the content of the ONNX file in a package.

    Raises:
        CheckpointError: if there is none, or the package is damaged or unlike any that this program writes.
    """
    path = Path(path)
    try:
        _check_frame(path)
        with zipfile.ZipFile(path) as archive:
            entry = _check_entries(archive.infolist())
            content = archive.read(entry)  # at most its declared size, and its checksum is verified
    except FileNotFoundError as error:
        raise CheckpointError(f'{path}: no such file. Fix: check the path.') from error
    except _Refused as error:
        raise CheckpointError(f'{path}: {error}. {_FIX}') from None
    except OSError as error:
        raise CheckpointError(f'{path}: cannot be read ({error.strerror or error}). Fix: allow reading it.') from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise CheckpointError(f'{path}: is damaged ({error}). {_FIX}') from error
    if content.startswith(b'PK'):
        raise CheckpointError(f'{path}: its {MODEL_FILE} is a zip itself. {_FIX}')
    return content


class _Refused(Exception):  # noqa: N818  reads as what it is
    """What is wrong with a package."""


def _check_frame(path: Path) -> None:
    """Refuse a file that is not one zip from its first byte to its last, or has a long list of entries."""
    with path.open('rb') as file:
        size = file.seek(0, 2)
        if size > MAX_MODEL_BYTES + MAX_OTHER_BYTES:
            raise _Refused(f'is too large ({size >> 20} MiB)')
        file.seek(0)
        begins_as_zip = file.read(4) == b'PK\x03\x04'
        file.seek(max(0, size - _DIRECTORY_END.size))
        end = file.read()
    if not begins_as_zip:
        raise _Refused('is no package: it does not begin as a zip')
    if len(end) < _DIRECTORY_END.size or not end.startswith(b'PK\x05\x06'):
        raise _Refused('is cut off, or something was added at its end')
    _, _, _, _, num_files, directory_bytes, directory_start, _ = _DIRECTORY_END.unpack(end)
    if num_files > MAX_FILES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise _Refused(f'holds too many files ({num_files})')
    if directory_start + directory_bytes + _DIRECTORY_END.size != size:
        raise _Refused('holds data that belong to no file')


def _check_entries(entries: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """Return the entry of the model; refuse a package that would do harm, here or where it is unpacked."""
    names = [unicodedata.normalize('NFC', entry.filename).casefold() for entry in entries]
    for entry in entries:
        name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
        if not name.isprintable() or '\\' in name or ':' in name or name.startswith('/') or '..' in name.split('/'):
            raise _Refused(f'holds a file with an unsafe name, {name[:80]!r}')
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _Refused(f'holds {name!r}, which is a link or a device')
        if entry.flag_bits & _ENCRYPTED:
            raise _Refused(f'is encrypted ({name!r})')
        if entry.compress_type not in _PLAIN_METHODS:
            raise _Refused(f'holds {name!r}, which is compressed in an unusual way')
        if entry.file_size > max(SMALL_BYTES, MAX_RATIO * entry.compress_size):
            raise _Refused(f'holds {name!r}, which would become {entry.file_size >> 20} MiB when unpacked')
    if len(set(names)) < len(names):
        raise _Refused('holds two files of one name')
    models = [entry for entry in entries if PurePosixPath(entry.filename).name == MODEL_FILE]
    if len(models) != 1:
        raise _Refused(f'holds {"no" if not models else "more than one"} {MODEL_FILE}')
    if (total := sum(entry.file_size for entry in entries)) > MAX_MODEL_BYTES + MAX_OTHER_BYTES:
        raise _Refused(f'would become {total >> 20} MiB when unpacked')
    return models[0]
