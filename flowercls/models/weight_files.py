"""Files of starting weights: found by path, name, address or torchvision's name, and verified.

A path is that file. A bare name, or the name in an address, is searched in the folder ``FLOWERCLS_WEIGHTS``, then in
torch's download cache; only then an address is downloaded. Many addresses end in the same name, such as
``pytorch_model.bin``: if a file of that name came from another address, a hash of the address is put before the name.
A name that ends in ``-<hex digits>.pth``, as OpenMMLab's and torchvision's do, gives the file's SHA-256. For others
the SHA-256 is recorded at the first download (`flowercls.core.download`).
"""

import hashlib
import os
import re
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from flowercls.core.download import DownloadError, digest_file, download, recorded_digest, recorded_url
from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.core.files import sha256_of

WEIGHTS_VARIABLE = 'FLOWERCLS_WEIGHTS'
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.pth$')
_FROM_SCRATCH = '`load_from=None` trains from scratch.'


def find_weights(spec: str) -> Path:
    """Return the verified file of starting weights, downloaded if ``spec`` is an address and the file is not here.

    Args:
        spec: A path, a file name, ``http://…``, ``https://…``, ``file://…``, or ``torchvision://resnet50``
            (``torchvision://resnet50.imagenet1k_v2`` for other than the first version).

    Raises:
        ConfigError: if torchvision has no such network or weights.
        CheckpointError: if there is no such file, it cannot be downloaded, or its SHA-256 is not the one in its name
            or in its record.
        DiskError: if a download cannot be written.
    """
    source = _torchvision_url(spec) if spec.startswith('torchvision://') else spec
    try:
        if source.startswith('file://'):
            source = url2pathname(urlsplit(source).path)
        if not source.startswith(('http://', 'https://')):
            return _find_file(spec, Path(source).expanduser())
        name = _file_name(source)
        candidates = [_path_for(source, folder / name) for folder in _weight_folders()]
        for path in candidates:
            if path.is_file():
                return _verified(path)
        download(source, candidates[0], sha256=hash_in_name(name), record=hash_in_name(name) is None)
        return candidates[0]
    except DownloadError as error:
        hint = f'Or {_where_to_put(_file_name(source))}' if 'cannot be downloaded' in str(error) else ''
        raise CheckpointError(f'starting weights: {error} {hint} {_FROM_SCRATCH}') from error
    except (OSError, RuntimeError, ValueError) as error:  # no permission, no such user, not an address
        reason = getattr(error, 'strerror', None) or error
        raise CheckpointError(
            f'starting weights {spec}: cannot be read ({reason}). Fix: correct the path or address. {_FROM_SCRATCH}'
        ) from error


def _find_file(spec: str, path: Path) -> Path:
    # A path to a missing file is a mistake: a file of the same name elsewhere is not taken for it.
    folders = [] if path.parent.name else _weight_folders()
    for candidate in (path, *(folder / path.name for folder in folders)):
        if candidate.is_file():
            return _verified(candidate)
    if path.is_dir():
        checkpoints = ', '.join(sorted(file.name for file in path.glob('*.pth'))) or 'no .pth file'
        raise CheckpointError(
            f'starting weights {path}: is a folder, with {checkpoints}. Fix: name a file as `load_from`. '
            f'{_FROM_SCRATCH}'
        )
    fix = _where_to_put(path.name) if folders else f'correct the path, or give the name alone: {path.name}.'
    raise CheckpointError(f'starting weights {spec} not found. Fix: {fix} {_FROM_SCRATCH}')


def _verified(path: Path) -> Path:
    """Return ``path`` if its digest is the one in its name, or else the recorded one."""
    expected, origin = hash_in_name(path.name), 'its name'
    if expected is None:
        expected, origin = recorded_digest(path), digest_file(path).name
    if expected is not None and not (digest := sha256_of(path)).startswith(expected):
        raise CheckpointError(
            f'{path}: is damaged or another file: it has SHA-256 {digest}, {origin} says {expected}. '
            'Fix: delete it and download it again.'
        )
    return path


def _file_name(url: str) -> str:
    name = unquote(urlsplit(url).path).rsplit('/', 1)[-1]
    if not name.strip('.') or '\\' in name or '\0' in name:
        raise ConfigError(f'{url}: names no file. Fix: give the full address of a file of weights.')
    return name


def _path_for(url: str, path: Path) -> Path:
    """Return ``path``, or a name of its own if the file there is known to come from another address."""
    if hash_in_name(path.name) is not None or recorded_url(path) in (None, url):
        return path
    return path.with_name(f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_{path.name}')


def hash_in_name(name: str) -> str | None:
    """Return the first hex digits of the SHA-256 that a file's name gives, None if it gives none."""
    match = _HASH_IN_NAME.search(name)
    return None if match is None or _is_date(match[1]) else match[1]


def _is_date(digits: str) -> bool:
    """Return whether eight digits are a day of this century, as in ``my_model-20260131.pth``, and not a hash."""
    try:
        return digits.startswith('20') and bool(datetime.strptime(digits, '%Y%m%d'))
    except ValueError:
        return False


def _weight_folders() -> list[Path]:
    """Return the folders of weights; downloads go to the first."""
    import torch.hub  # here: finding a file by its path needs no torch

    folder = os.environ.get(WEIGHTS_VARIABLE)
    return [*([Path(folder).expanduser()] if folder else []), Path(torch.hub.get_dir()) / 'checkpoints']


def _where_to_put(name: str) -> str:
    folders = ' or '.join(str(folder) for folder in _weight_folders())
    hint = '' if os.environ.get(WEIGHTS_VARIABLE) else f' (or the folder in the variable {WEIGHTS_VARIABLE})'
    return f'put the file {name} into {folders}{hint}, or give its path as `load_from`.'


def _torchvision_url(spec: str) -> str:
    """Return the address for ``torchvision://<model>[.<version>]``, by default of the first ImageNet weights."""
    from torchvision.models import get_model_weights, list_models

    model, _, version = spec.removeprefix('torchvision://').partition('.')
    if model not in list_models():
        near = ', '.join(get_close_matches(model, list_models())) or 'see torchvision.models.list_models()'
        raise ConfigError(f'{spec}: torchvision has no model {model!r}. Nearest: {near}.')
    versions = get_model_weights(model).__members__
    wanted = version.upper() or ('IMAGENET1K_V1' if 'IMAGENET1K_V1' in versions else 'DEFAULT')
    if wanted not in versions:
        raise ConfigError(f'{spec}: {model} has no weights {wanted!r}, only {", ".join(versions).lower() or "none"}.')
    return versions[wanted].url
