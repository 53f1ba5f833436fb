"""Where starting weights come from: a path, a name, an address or torchvision's zoo, checked before they are used.

A path is that file. A bare name, or the name in an address, is looked for in the folder ``FLOWERCLS_WEIGHTS``, then
in torch's download cache; only then is an address downloaded. Where a file of that name is known to come from another
address, as there are many ``pytorch_model.bin``, the name gets a few digits of the address in front. A file whose
name ends in ``-<hex digits>.pth``, as those of OpenMMLab and torchvision do, must have that SHA-256; of others the
digest is noted beside them at the first download, and must stay the same.
"""

import hashlib
import os
import re
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from flowercls.errors import CheckpointError, ConfigError
from flowercls.files import DownloadError, download, sha256_of, write_whole

WEIGHTS_VARIABLE = 'FLOWERCLS_WEIGHTS'
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.pth$')
_SCRATCH = '`load_from=None` trains from scratch.'


def find_weights(spec: str) -> Path:
    """The checked file that ``spec`` names; downloaded if it is an address and in no place yet.

    Args:
        spec: A path, a file name, ``http://…``, ``https://…``, ``file://…``, or ``torchvision://resnet50``
            (``torchvision://resnet50.imagenet1k_v2`` for other than the first version).

    Raises:
        ConfigError: if torchvision has no such network or weights.
        CheckpointError: if there is no such file, it cannot be downloaded, or its SHA-256 is not the one
            in its name or noted beside it.
        DiskError: if a download cannot be written.
    """
    source = _torchvision_url(spec) if spec.startswith('torchvision://') else spec
    if source.startswith('file://'):
        source = url2pathname(urlsplit(source).path)
    is_address = source.startswith(('http://', 'https://'))
    name = _name_in(source) if is_address else Path(source).name
    places = [folder / name for folder in _weight_folders()]
    if is_address:
        places = [path if _may_be_of(source, path) else _own_place(source, path) for path in places]
    else:
        given = Path(source).expanduser()
        # A path that leads nowhere is a mistake, not a wish for another file of the same name.
        places = [given] if given.parent.name else [given, *places]
    for path in places:
        if path.is_file():
            _check_digest(path)
            return path
    if not is_address:
        if given.is_dir():
            raise CheckpointError(_is_folder(given))
        fix = _where_to_put(name) if len(places) > 1 else f'Fix: correct the path, or give the name alone: {name}.'
        raise CheckpointError(f'starting weights {spec} not found. {fix} {_SCRATCH}')
    return _download_checked(source, places[0])


def _is_folder(given: Path) -> str:
    there = ', '.join(sorted(path.name for path in given.glob('*.pth'))) or 'no .pth file'
    return f'starting weights {given}: is a folder, with {there}. Fix: name a file as `load_from`. {_SCRATCH}'


def _name_in(address: str) -> str:
    name = unquote(urlsplit(address).path).rsplit('/', 1)[-1]
    if not name.strip('.') or '\\' in name or '\0' in name:
        raise ConfigError(f'{address}: names no file. Fix: the full address of a file of weights.')
    return name


def _may_be_of(address: str, path: Path) -> bool:
    """Whether a file by the name in ``address`` is that one, as far as anything is known of it."""
    noted = _recorded_address(_sidecar(path))
    return hash_in_name(path.name) is not None or noted is None or noted == address


def _own_place(address: str, path: Path) -> Path:
    return path.with_name(f'{hashlib.sha256(address.encode()).hexdigest()[:8]}_{path.name}')


def hash_in_name(name: str) -> str | None:
    """The first hex digits of the SHA-256 that a file's name promises; None if it promises nothing."""
    match = _HASH_IN_NAME.search(name)
    return None if match is None or _is_date(match[1]) else match[1]


def _weight_folders() -> list[Path]:
    """Where weights are kept; a download goes to the first."""
    import torch.hub  # here: finding a file by its path needs no torch

    own = os.environ.get(WEIGHTS_VARIABLE)
    return [*([Path(own).expanduser()] if own else []), Path(torch.hub.get_dir()) / 'checkpoints']


def _download_checked(url: str, destination: Path) -> Path:
    promised, record = hash_in_name(destination.name), _sidecar(destination)
    known = promised or _recorded_digest(record)

    def note(digest: str) -> None:  # before the weights appear: they are never there without it
        with write_whole(record) as file:
            file.write(f'{digest}  {destination.name}\n# {url}\n')  # as sha256sum writes it, and reads it

    try:
        download(url, destination, sha256=known, before_publishing=None if promised else note)
    except DownloadError as error:
        if known and not promised and 'SHA-256' in str(error):
            raise CheckpointError(
                f'starting weights: {error} It was another file at the first download. '
                f'Fix: if the new one is known to be right, delete {record}.'
            ) from error
        raise CheckpointError(f'starting weights: {error} {_where_to_put(destination.name)} {_SCRATCH}') from error
    return destination


def _check_digest(path: Path) -> None:
    """Raise a `CheckpointError` unless the file has the digest in its name, or else the one noted beside it."""
    promised, by = hash_in_name(path.name), 'its name'
    if promised is None:
        promised, by = _recorded_digest(_sidecar(path)), _sidecar(path).name
    if promised is None:
        return
    digest = sha256_of(path)
    if not digest.startswith(promised):
        raise CheckpointError(
            f'{path}: is damaged or another file: it has SHA-256 {digest}, {by} says {promised}. '
            'Fix: delete it and download it again.'
        )


def _recorded_digest(record: Path) -> str | None:
    """What was noted at the first download; None where nothing was.

    Raises:
        CheckpointError: if there is a note that says nothing.
    """
    if not record.is_file():
        return None
    digest = record.read_text(encoding='utf-8', errors='replace').partition(' ')[0].strip()
    if not re.fullmatch('[0-9a-f]{64}', digest):
        raise CheckpointError(f'{record}: holds no SHA-256. Fix: delete it to accept the weights as they are now.')
    return digest


def _recorded_address(record: Path) -> str | None:
    lines = record.read_text(encoding='utf-8', errors='replace').splitlines() if record.is_file() else []
    return next((line.removeprefix('# ') for line in lines if line.startswith('# ')), None)


def _sidecar(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _where_to_put(name: str) -> str:
    folders = ' or '.join(str(folder) for folder in _weight_folders())
    hint = '' if os.environ.get(WEIGHTS_VARIABLE) else f' (or a folder that the variable {WEIGHTS_VARIABLE} names)'
    return f'Fix: put the file {name} into {folders}{hint}, or give its path as `load_from`.'


def _torchvision_url(spec: str) -> str:
    """Address of torchvision's weights, ``torchvision://<model>[.<version>]``; the first ImageNet version if none."""
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


def _is_date(digits: str) -> bool:
    """Whether eight digits read as a day of this century, as in ``my_model-20260131.pth``, and not as a hash."""
    try:
        return digits.startswith('20') and bool(datetime.strptime(digits, '%Y%m%d'))
    except ValueError:
        return False
