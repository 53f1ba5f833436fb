"""The names of a sweep's factors and of their choices: short, fit for a folder, and different where the values are."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

UNSAFE = r'[^A-Za-z0-9_.+-]+'  # in names of files, somewhere
HASH_DIGITS = 6


def factor_names(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of each key, as many as it takes to tell the keys apart.

    Example:
        >>> factor_names(['model.frozen_stages', 'train_dataloader.batch_size', 'val_dataloader.batch_size'])
        {'model.frozen_stages': 'frozen_stages', 'train_dataloader.batch_size': 'train_dataloader.batch_size', \
'val_dataloader.batch_size': 'val_dataloader.batch_size'}
    """
    names = {}
    for key in keys:
        parts = key.split('.')
        tails = ['.'.join(parts[-n:]) for n in range(1, len(parts) + 1)]
        names[key] = next(
            (tail for tail in tails if not any(f'.{other}'.endswith(f'.{tail}') for other in keys if other != key)), key
        )
    return names


def value_names(factor: str, texts: Sequence[str]) -> list[str]:
    """``factor=text`` for each text.

    Example:
        >>> value_names('seesaw', ['-1', '(0.1,1)', 'a/b', 'a:b'])
        ['seesaw=-1', 'seesaw=0.1-1', 'seesaw=a-b~c14cdd', 'seesaw=a-b~6783a3']
    """
    return _told_apart([f'{_safe(factor)}={_safe(text)}' for text in texts], texts)


def config_names(paths: Sequence[str]) -> list[str]:
    """The stem of each config file; of several with one stem, with the folder's name in front.

    Example:
        >>> config_names(['a/net.py', 'b/net.py', 'a/other.py'])
        ['a-net', 'b-net', 'other']
    """
    full = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - takes out '..', which Path.absolute leaves
    stems = [_safe(Path(path).stem) for path in full]
    with_folder = [f'{_safe(Path(path).parent.name)}-{stem}' for path, stem in zip(full, stems, strict=True)]
    shared = _shared(stems, full)
    names = [longer if stem in shared else stem for stem, longer in zip(stems, with_folder, strict=True)]
    return _told_apart(names, full)


def _safe(text: str) -> str:
    inside = re.sub(f'^{UNSAFE}|{UNSAFE}$', '', text)  # and not every '-' there: it may be a sign
    return re.sub(UNSAFE, '-', inside) or 'none'


def _told_apart(names: list[str], meant: Sequence[str]) -> list[str]:
    """Names that stand for several things get a hash of what they stand for."""
    shared = _shared(names, meant)
    return [
        f'{name}~{hashlib.sha256(what.encode()).hexdigest()[:HASH_DIGITS]}' if name in shared else name
        for name, what in zip(names, meant, strict=True)
    ]


def _shared(names: Sequence[str], meant: Sequence[str]) -> set[str]:
    """The names that stand for several things, also where a file system does not tell capitals from small letters."""
    things: dict[str, set[str]] = {}
    for name, what in zip(names, meant, strict=True):
        things.setdefault(name.casefold(), set()).add(what)
    return {name for name in names if len(things[name.casefold()]) > 1}
