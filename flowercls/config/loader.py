"""A config file, its bases and overrides as one checked config, without importing torch.

Three traps of mmengine 0.10.7 are closed here, and only while a file is being read, so that other users of mmengine in
the same process see it unchanged:

- `mmpretrain::…` bases need `pkg_resources`, which setuptools 82 dropped, and are found by reading 85 metafiles;
  here the path is put together from where the package lies.
- Dicts from such bases get a `_scope_` stamp that breaks `Class(**dict)`; no stamp is made for mmpretrain.
- `import os` in a config makes mmengine take it for its pure-Python style when it runs in a virtual environment.
"""

import ast
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from flowercls.config.data_keys import follow_data_root
from flowercls.config.overrides import (
    Overrides,
    merge,
    merge_overrides,
    parse_overrides,
    replaced_in_mmengine,
    strip_leftovers,
    unknown_names,
)
from flowercls.config.schema import HELPERS, SECTIONS, at_path, is_misspelt, misspelt_keys, wrong_values
from flowercls.config.suggest import did_you_mean, raise_mistakes
from flowercls.core.errors import ConfigError

PACKAGE = Path(__file__).parent.parent
CONFIGS = (
    PACKAGE / 'configs' if (PACKAGE / 'configs').is_dir() else PACKAGE.parent / 'configs'
)  # the latter: a checkout
SUFFIXES = ('.py', '.json')
TOP = frozenset(SECTIONS[''])
BASE_NAME = re.compile(r'_base_\.(\w+)')  # `{{_base_.name}}` and `_base_.name`
# Until the eleven files became one, each network of torchvision had a file.
REMOVED_BASE = re.compile(r'(.*models/torchvision)_(\w+)\.py')
REMOVED_FIX = "was removed. Fix: write '{0}.py' instead, and below _base_: model = dict(backbone=dict(arch='{1}'))"
_mmengine_file2dict = Config._file2dict


def load_config(path: str | os.PathLike, overrides: Overrides = ()) -> Config:
    """Load a config with its bases and overrides, and check all that can be checked without importing torch.

    Args:
        path: A `.py` or `.json` file.
        overrides: `KEY=VALUE` texts as given to --cfg-options, or a dict with dotted keys.

    Raises:
        ConfigError: naming every mistake found, one a line.
    """
    return load_with_notes(path, overrides)[0]


def load_with_notes(path: str | os.PathLike, overrides: Overrides = ()) -> tuple[Config, list[str]]:
    """Return the config of `load_config`, and notes on lines that are legal but perhaps mistakes."""
    overrides = parse_overrides(overrides)
    loader = ConfigLoader(path)
    cfg = loader.load()
    content = cfg._cfg_dict
    for name in [name for name, value in cfg.items() if callable(value) and not isinstance(value, dict)]:
        del content[name]  # `from functools import partial` leaves a function
    strip_leftovers(content)
    unknown, old_root = unknown_names(content, overrides), cfg.get('data_root')
    unfit = merge_overrides(cfg, {key: value for key, value in overrides.items() if key not in unknown})
    content = cfg._cfg_dict  # mmengine merges into a new dict
    misspelt = misspelt_keys(content, loader.used_names)
    notes = loader.notes(content, misspelt)
    for key in misspelt:
        if any(f'{override}.'.startswith(f'{key}.') for override in overrides):
            misspelt[key] = f'--cfg-options: {misspelt[key]}'
    raise_mistakes([*unknown.values(), *unfit, *misspelt.values(), *wrong_values(content)], path)
    if 'data_root' in overrides and isinstance(old_root, str):
        follow_data_root(cfg, old_root)
    for name in [name for name in content if is_misspelt('', name, TOP | HELPERS)]:
        del content[name]  # a variable that the file has used; in a dump, where nothing uses it, it would be a typo
    return cfg, notes


def default_runtime() -> dict[str, Any]:
    """Return the content of ``configs/_base_/default_runtime.py``, the values of a config that leaves them out."""
    return ConfigLoader(CONFIGS / '_base_' / 'default_runtime.py').load().to_dict()


# ---------------------------------------------------------------- files


class ConfigSource(NamedTuple):
    """One Python config file.

    Attributes:
        display_path: Its path as messages name it.
        assigned: Variables it sets at the top level.
        used: Variables its expressions read, its own and its bases'.
    """

    display_path: str
    assigned: frozenset[str]
    used: frozenset[str]


class ConfigLoader:
    """Loads one config with its bases, and remembers which variables its files set and use.

    Args:
        path: The config file, as the user gave it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = str(path)
        self._sources: list[ConfigSource] = []  # a child before its bases
        self._packaged: list[dict] = []  # the content of files inside installed packages
        self._open: list[Path] = []

    @property
    def used_names(self) -> set[str]:
        """Variables that some expression in the files reads."""
        return set().union(*(source.used for source in self._sources))

    def load(self) -> Config:
        """Return the merged config.

        Raises:
            ConfigError: if a file is missing, cannot be parsed or run, or does not fit its bases.
        """
        check_exists(self.path)
        with (
            replaced_in_mmengine('_merge_a_into_b', merge),
            replaced_in_mmengine('_file2dict', self._read_file),
            replaced_in_mmengine('_get_cfg_path', base_path),
        ):
            return Config.fromfile(self.path, import_custom_modules=False, lazy_import=False)

    def _read_file(self, filename: str, *args, **options) -> tuple[dict, str, dict]:
        path = Path(filename).resolve()
        display_path = self.path if path == Path(self.path).resolve() else shorten(filename)
        if path in self._open:
            raise ConfigError(f'{shorten(self._open[-1])}: its _base_ {display_path} inherits from this file.')
        is_packaged = '.mim' in path.parts
        if path.suffix == '.py':
            self._sources.append(parse_source(filename, display_path, any_import=is_packaged))
        self._open.append(path)
        with _config_errors(filename, display_path):
            content = _mmengine_file2dict(filename, *args, **options)
        self._open.pop()
        if is_packaged:
            self._packaged.append(content[0])
        return content

    def notes(self, cfg: dict, mistakes: dict[str, str]) -> list[str]:
        """Return notes on keys of the files; those of installed packages leave ``cfg`` and ``mistakes``."""
        used, notes = self.used_names, []
        # Nobody can correct a typo in an installed package; mmpretrain's Twins configs have one.
        packaged = {path for content in self._packaged for path in misspelt_keys(content, used)}
        for path in sorted(packaged & mistakes.keys()):
            notes.append(f'{mistakes.pop(path)}: dropped; it comes from an installed package.')
            section, _, key = path.rpartition('.')
            del at_path(cfg, section)[key]
        notes += [f"'{name}' in {self.path} is not used." for name in cfg if name not in TOP | HELPERS | used]
        files = [source for source in self._sources if '.mim' not in Path(source.display_path).parts]
        for i, source in enumerate(files):
            for name in sorted(source.assigned - source.used - TOP - {'_base_'}):
                if any(name in base.assigned & base.used for base in files[i + 1 :]):
                    notes.append(
                        f"'{name}' in {source.display_path} has no effect: the _base_ file has used its own value. "
                        'Fix: set the keys that use it.'
                    )
        return notes


def parse_source(filename: str, display_path: str, any_import: bool) -> ConfigSource:
    """Parse a config file.

    Args:
        filename: The file.
        display_path: Its path as messages name it.
        any_import: Whether it may import more than Python's own modules; mmpretrain's RepLKNet imports mmpretrain.

    Raises:
        ConfigError: with the line, if it is not UTF-8 or not Python, or is in mmengine's pure-Python style.
    """
    try:
        text = Path(filename).read_text(encoding='utf-8')
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f'{display_path}, line {error.lineno}: {error.msg}: {(error.text or "").strip()}') from error
    except ValueError as error:  # not UTF-8, or null bytes
        raise ConfigError(f'{display_path}: is not UTF-8 text ({error}).') from error
    assigned, used = set(), set(BASE_NAME.findall(text))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ['.' if node.level else node.module]
        if not any_import and any(module.partition('.')[0] not in sys.stdlib_module_names for module in modules):
            raise ConfigError(
                f"{display_path}, line {node.lineno}: `{ast.unparse(node)}`: a config imports only Python's own "
                "modules; mmengine's pure-Python style is not supported. Fix: name classes as text, "
                "type='ClassName', and configs to inherit as _base_ = ['file.py']."
            )
    for node in tree.body:
        if isinstance(node, ast.Assign):
            assigned |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return ConfigSource(display_path, frozenset(assigned), frozenset(used))


@contextmanager
def _config_errors(filename: str, display_path: str) -> Iterator[None]:
    """Within the block, turn whatever a config's own code raises into a `ConfigError` with its line."""
    try:
        yield
    except ConfigError:
        raise  # of a base, with its path
    except json.JSONDecodeError as error:
        raise ConfigError(f'{display_path}, line {error.lineno}: not valid JSON: {error.msg}.') from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == Path(filename).absolute()]
        where = f'{display_path}, line {lines[-1]}' if lines else display_path
        text = str(error.args[0]) if error.args else ''
        if 'Duplicate keys:' in text:
            names = text.rpartition('Duplicate keys:')[2].strip(' {}')
            raise ConfigError(f'{where}: several of its _base_ files set {names}. Fix: keep one of them.') from error
        raise ConfigError(f'{where}: {type(error).__name__}: {text}') from error


def find_config(path: str | os.PathLike) -> Path:
    """Return ``path``, or the config of that name that is shipped with the package if no such file exists.

    Example:
        >>> find_config('resnet50_flower.py').parts[-2:]  # in a folder without such a file
        ('configs', 'resnet50_flower.py')
    """
    path = Path(path)
    shipped = _shipped(path)
    return shipped if shipped.is_file() and not path.exists() else path


def _shipped(path: Path) -> Path:
    return CONFIGS / Path(*path.parts[1:] if path.parts[:1] == ('configs',) else path.parts)


def check_exists(path: str) -> None:
    """Raise `ConfigError` unless ``path`` is a config file of a kind that can be read."""
    suffix = Path(path).suffix
    if not Path(path).is_file():
        near = _near_file(path, path) or _near_file(_shipped(Path(path)), path)
        raise ConfigError(f'{path}: no such config file{near}. Fix: name a file that exists.')
    if suffix not in SUFFIXES:
        raise ConfigError(
            f'{path}: a config is a .py or .json file, not {suffix or "one without a suffix"}. Fix: name the config '
            'first, then the checkpoint if the command takes one.'
        )


def base_path(base: str, child: str) -> tuple[str, str | None]:
    """Return where the `_base_` entry ``base`` of the file ``child`` lies, and the scope to stamp on its dicts.

    A file that does not lie beside ``child`` is looked for among the shipped configs, as by `find_config`.
    """
    package, colons, inside = str(base).rpartition('::')
    folder = Path(child).parent
    if colons:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or spec.origin is None:
            raise ConfigError(f"{shorten(child)}: _base_ names the package '{package}', which is not installed.")
        folder = Path(spec.origin).parent / '.mim' / 'configs'
    path, shipped = folder / inside, _shipped(Path(inside))
    if not colons and not path.is_file() and shipped.is_file():
        path = shipped
    if not path.is_file():
        removed = REMOVED_BASE.fullmatch(base)
        near = _near_file(path, base) or (_near_file(shipped, base) if not colons else '')
        fix = 'Fix: name a file beside this one, or a shipped config.'
        answer = REMOVED_FIX.format(*removed.groups()) if removed else f'does not exist{near}. {fix}'
        raise ConfigError(f"{shorten(child)}: the _base_ file '{base}' {answer}")
    check_exists(str(path))
    return str(path), (package if colons and package != 'mmpretrain' else None)


def _near_file(path: str | os.PathLike, written: str | os.PathLike) -> str:
    """Return the nearest name in the same folder, spelled as the path was written."""
    path = Path(path)
    names = [entry.name for entry in path.parent.iterdir() if entry.suffix in SUFFIXES] if path.parent.is_dir() else []
    start = str(written).removesuffix(path.name)
    return did_you_mean(path.name, names).replace("mean '", f"mean '{start}")


def shorten(path: str | os.PathLike) -> str:
    """Return ``path`` relative to the working folder where it lies inside it."""
    path = Path(os.path.normpath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
