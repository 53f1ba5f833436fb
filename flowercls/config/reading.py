"""Config files and their bases, read by mmengine, with every failure answered by file and line.

Three traps of mmengine 0.10.7 are closed here, and only while a file is being read, so that other users of mmengine in
the same process see it unchanged:

- `mmpretrain::…` bases need `pkg_resources`, which setuptools 82 dropped, and are found by reading 85 metafiles;
  here the path is put together from where the package lies.
- Dicts from such bases get a `_scope_` stamp that breaks `Class(**dict)`; no stamp is made for mmpretrain.
- `import os` in a config makes mmengine take it for its pure-Python style when it runs in a virtual environment.
"""

import importlib.util
import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from flowercls.config.known_keys import TOP
from flowercls.config.merging import fresh_types, replaced_in_mmengine
from flowercls.config.nearest import hint
from flowercls.config.source import Source, is_plain, read_source
from flowercls.errors import ConfigError

SUFFIXES = ('.py', '.json')
_mmengine_file2dict = Config._file2dict


class Reading:
    """One reading of a config with its bases; remembers what its files say besides their values.

    Args:
        path: The config file, as the user gave it.
        plain_only: Whether a file that does more than give names to values is refused instead of run.
    """

    def __init__(self, path: str | os.PathLike, plain_only: bool = False) -> None:
        self.path, self._plain_only = str(path), plain_only
        self.sources: list[Source] = []  # a child before its bases
        self.packaged: list[dict] = []  # what files inside installed packages say
        self._open: list[Path] = []

    @property
    def used_names(self) -> set[str]:
        """Variables that some expression in the files reads."""
        return set().union(*(source.used for source in self.sources))

    def overwritten_in_vain(self) -> list[tuple[str, str]]:
        """(file, variable) where a file sets a variable anew that only its base has used, and used already."""
        own = [source for source in self.sources if '.mim' not in Path(source.shown).parts]
        return [
            (source.shown, name)
            for i, source in enumerate(own)
            for name in sorted(source.assigned - source.used - TOP - {'_base_'})
            if any(name in base.assigned & base.used for base in self.sources[i + 1 :])
        ]

    def config(self) -> Config:
        """The merged config.

        Raises:
            ConfigError: if a file is missing, cannot be parsed or run, or does not fit its bases.
        """
        check_exists(self.path)
        with (
            fresh_types(),
            replaced_in_mmengine('_file2dict', self._read_one),
            replaced_in_mmengine('_get_cfg_path', base_path),
        ):
            return Config.fromfile(self.path, import_custom_modules=False, lazy_import=False)

    def _read_one(self, filename: str, *args, **options) -> tuple[dict, str, dict]:
        path = Path(filename).resolve()
        shown = self.path if path == Path(self.path).resolve() else shorten(filename)
        if path in self._open:
            raise ConfigError(f'{shorten(self._open[-1])}: its _base_ {shown} inherits from it in turn.')
        if self._plain_only and not is_plain(path):
            raise ConfigError(f'{shown}: is a program, and whether it may be trusted is not known.')
        if path.suffix == '.py':
            self.sources.append(read_source(filename, shown))
        self._open.append(path)
        with _answered(filename, shown):
            content = _mmengine_file2dict(filename, *args, **options)
        self._open.pop()
        if '.mim' in path.parts:
            self.packaged.append(content[0])
        return content


@contextmanager
def _answered(filename: str, shown: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise  # from a base, which is named in it
    except json.JSONDecodeError as error:
        raise ConfigError(f'{shown}, line {error.lineno}: not valid JSON: {error.msg}.') from error
    except Exception as error:  # whatever the config's own code raises
        raise ConfigError(f'{shown}{_line_in(filename, error)}: {_reason(error)}') from error


def check_exists(path: str) -> None:
    """Raise `ConfigError` unless ``path`` is a config file of a kind that can be read."""
    suffix = Path(path).suffix
    if not Path(path).is_file():
        raise ConfigError(f'{path}: no such config file{_near_file(path)}.')
    if suffix not in SUFFIXES:
        raise ConfigError(f'{path}: a config is a .py or .json file, not {suffix or "one without a suffix"}.')


def base_path(base: str, child: str) -> tuple[str, str | None]:
    """Where the `_base_` entry ``base`` of the file ``child`` lies, and the scope to stamp on what comes from it."""
    package, colons, inside = str(base).rpartition('::')
    folder = _configs_of(package, child) if colons else Path(child).parent
    path = folder / inside
    if not path.is_file():
        raise ConfigError(f"{shorten(child)}: the _base_ file '{base}' does not exist{_near_file(path, base)}.")
    check_exists(str(path))
    return str(path), (package if colons and package != 'mmpretrain' else None)


def _configs_of(package: str, child: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ConfigError(f"{shorten(child)}: _base_ names the package '{package}', which is not installed.")
    return Path(spec.origin).parent / '.mim' / 'configs'


def _near_file(path: str | os.PathLike, written: str | None = None) -> str:
    # Compared by name in the same folder; if even the folder is missing, nothing is near.
    path = Path(path)
    names = [entry.name for entry in path.parent.iterdir() if entry.suffix in SUFFIXES] if path.parent.is_dir() else []
    start = str(written or path).removesuffix(path.name)
    near = hint(path.name, names)
    return near.replace("mean '", f"mean '{start}") if near else ''


def _line_in(filename: str, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == Path(filename).absolute()]
    return f', line {lines[-1]}' if lines else ''


def _reason(error: Exception) -> str:
    text = str(error.args[0]) if error.args else ''
    if 'Duplicate keys:' in text:
        names = text.rpartition('Duplicate keys:')[2].strip(' {}')
        return f'more than one of its _base_ files sets {names}. Fix: keep one of them.'
    return f'{type(error).__name__}: {text}'


def shorten(path: str | os.PathLike) -> str:
    """``path`` relative to the working folder where it lies inside it."""
    path = Path(os.path.normpath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
