"""What can be read from a Python config without running it: which variables it sets and which it uses.

Config files and their bases, read by mmengine, with every failure answered by file and line.

Three traps of mmengine 0.10.7 are closed here, and only while a file is being read, so that other users of mmengine in
the same process see it unchanged:

- `mmpretrain::…` bases need `pkg_resources`, which setuptools 82 dropped, and are found by reading 85 metafiles;
  here the path is put together from where the package lies.
- Dicts from such bases get a `_scope_` stamp that breaks `Class(**dict)`; no stamp is made for mmpretrain.
- `import os` in a config makes mmengine take it for its pure-Python style when it runs in a virtual environment.

A config file and overrides → one checked config; every mistake is reported, before anything heavy is imported.
"""

import ast
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from flowercls.config.data_keys import follow_data_root, move_datasets
from flowercls.config.overrides import fresh_types, replaced_in_mmengine, strip_leftovers
from flowercls.config.schema import (
    TOP,
    at_path,
    misplaced_helpers,
    misspelt_keys,
    unknown_overrides,
    unused_names,
    wrong_values,
)
from flowercls.config.suggest import did_you_mean, raise_mistakes
from flowercls.core.errors import ConfigError

PACKAGE = Path(__file__).parent.parent
PLAIN = (ast.Module, ast.Assign, ast.Expr, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.keyword)
PLAIN += (ast.JoinedStr, ast.FormattedValue, ast.UnaryOp, ast.USub, ast.expr_context)
BASE_NAME = re.compile(r'_base_\.(\w+)')  # `{{_base_.name}}` and `_base_.name`


@dataclass(frozen=True)
class Source:
    """One Python config file.

    Attributes:
        shown: Its path as messages name it.
        assigned: Variables it sets at the top level.
        used: Variables its expressions read, its own and its bases'.
    """

    shown: str
    assigned: frozenset[str]
    used: frozenset[str]


def read_source(filename: str, shown: str) -> Source:
    """Parse a config file.

    Raises:
        ConfigError: with the line, if it is not UTF-8 or not Python, or is in mmengine's pure-Python style.
    """
    try:
        text = Path(filename).read_text(encoding='utf-8')
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f'{shown}, line {error.lineno}: {error.msg}: {(error.text or "").strip()}') from error
    except ValueError as error:  # not UTF-8, or null bytes
        raise ConfigError(f'{shown}: is not UTF-8 text ({error}).') from error
    _check_imports(tree, shown)
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return Source(
        shown=shown,
        assigned=frozenset(target.id for target in targets if isinstance(target, ast.Name)),
        used=frozenset(node.id for node in names if isinstance(node.ctx, ast.Load)) | set(BASE_NAME.findall(text)),
    )


def is_plain(filename: str | os.PathLike) -> bool:
    """Whether a config file only gives names to values, so that reading it cannot do anything else.

    Less is called plain than could be: no calls but ``dict(...)``, no arithmetic, and nothing that mmengine would put
    in the place of ``{{...}}``.
    """
    try:
        text = Path(filename).read_text(encoding='utf-8')
        return '{{' not in text and (Path(filename).suffix != '.py' or all(map(_is_plain, ast.walk(ast.parse(text)))))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == 'dict'
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == '_base_'
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id != 'dict'  # it would be another function
    return isinstance(node, PLAIN)


def _check_imports(tree: ast.Module, shown: str) -> None:
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ''] if not node.level else ['.']
        if any(module.partition('.')[0] not in sys.stdlib_module_names for module in modules):
            raise ConfigError(
                f"{shown}, line {node.lineno}: `{ast.unparse(node)}`: only Python's own modules are imported here; "
                "mmengine's pure-Python style is not read. Fix: name classes as text, type='ClassName', and configs to "
                "inherit as _base_ = ['file.py']."
            )


pass


SUFFIXES = ('.py', '.json')
# Until the eleven files became one, each network of torchvision had a file.
REMOVED_BASE = re.compile(r'(.*models/torchvision)_(\w+)\.py')
REMOVED_FIX = (
    "was joined with others. Fix: write '{0}.py' there, and below _base_: model = dict(backbone=dict(arch='{1}'))"
)
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


def find_config(path: str | os.PathLike) -> Path:
    """Return ``path``, or the config of that name that is shipped with the package where no such file exists.

    Example:
        >>> find_config('resnet50_flower.py').parts[-2:]  # in a folder without such a file
        ('configs', 'resnet50_flower.py')
    """
    path = Path(path)
    if path.exists() or path.is_absolute():
        return path
    inside = Path(*path.parts[1:]) if path.parts[:1] == ('configs',) else path
    for folder in (PACKAGE / 'configs', PACKAGE.parent / 'configs'):  # installed, or in a checkout
        if (folder / inside).is_file():
            return folder / inside
    return path


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
        removed = REMOVED_BASE.fullmatch(base)
        raise ConfigError(
            f"{shorten(child)}: the _base_ file '{base}' "
            + (REMOVED_FIX.format(*removed.groups()) if removed else f'does not exist{_near_file(path, base)}.')
        )
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
    near = did_you_mean(path.name, names)
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


pass


Overrides = Mapping[str, Any] | Iterable[str]
# Taken as written: mmengine drops blanks and splits at commas.
PATHS = ('data_root', 'load_from', 'work_dir', 'cache_dir')


def load_config(path: str | os.PathLike, overrides: Overrides = (), *, plain_only: bool = False) -> Config:
    """Read a config with its bases, lay the overrides over it and check what can be checked without importing torch.

    Args:
        path: A `.py` or `.json` file.
        overrides: `KEY=VALUE` texts as given to --cfg-options, or a dict with dotted keys.
        plain_only: Refuse a file, or a base of it, that does more than give names to values; it is not run then.

    Raises:
        ConfigError: naming every mistake found, one a line.
    """
    return load_with_notes(path, overrides, plain_only=plain_only)[0]


def load_with_notes(
    path: str | os.PathLike, overrides: Overrides = (), *, plain_only: bool = False
) -> tuple[Config, list[str]]:
    """As `load_config`, and sentences about what is legal and yet perhaps not meant."""
    overrides = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    reading = Reading(path, plain_only)
    cfg = reading.config()
    _drop_helper_objects(cfg)
    strip_leftovers(cfg._cfg_dict)
    notes, mistakes = _judge_keys(cfg._cfg_dict, reading)
    mistakes += unknown_overrides(cfg._cfg_dict, overrides)
    if not mistakes:
        mistakes = _merge_overrides(cfg, overrides)
    raise_mistakes(mistakes + wrong_values(cfg._cfg_dict), path)
    for name in misplaced_helpers(cfg._cfg_dict):
        del cfg._cfg_dict[name]  # used up; in a dump, where nothing uses it any more, it would look like a typo
    return cfg, notes


def _judge_keys(cfg: dict, reading: Reading) -> tuple[list[str], list[str]]:
    """(notes, mistakes) about the keys of the files."""
    used = reading.used_names
    mistakes = misspelt_keys(cfg, used)
    # Nobody can mend a typo in an installed package (mmpretrain's Twins configs have one): mentioned and dropped.
    packaged = {path for content in reading.packaged for path in misspelt_keys(content, used)} & set(mistakes)
    notes = [f'{mistakes.pop(path)}: dropped; it comes from an installed package.' for path in sorted(packaged)]
    for path in packaged:
        section, _, key = path.rpartition('.')
        del at_path(cfg, section)[key]
    notes += [f"'{name}' in {reading.path} is read by nothing." for name in unused_names(cfg, used)]
    notes += [
        f"'{name}' in {shown} changes nothing: the _base_ file has used its own value. Fix: set what it is used for."
        for shown, name in reading.overwritten_in_vain()
    ]
    return notes, list(mistakes.values())


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts as a dict; values are read as mmengine's tools read them, paths are kept as they are.

    Example:
        >>> parse_overrides(['optim_wrapper.optimizer.lr=1e-3', 'model.frozen_stages=all', 'load_from=None'])
        {'optim_wrapper.optimizer.lr': 0.001, 'model.frozen_stages': 'all', 'load_from': None}

    Raises:
        ConfigError: naming every text that is not KEY=VALUE or whose value cannot be read.
    """
    parsed, mistakes = {}, []
    for item in items:
        key, equals, value = item.partition('=')
        if not equals or not all(key.split('.')):
            mistakes.append(f"--cfg-options: '{item}' is not KEY=VALUE, as in optim_wrapper.optimizer.lr=0.001")
            continue
        try:
            parsed[key] = _parse_value(key, value)
        except ConfigError as error:
            mistakes.append(f"--cfg-options: '{item}': {error}")
    raise_mistakes(mistakes, 'the command line')
    return parsed


def _parse_value(key: str, value: str) -> Any:
    if key.rpartition('.')[2] in PATHS:
        return None if value == 'None' else value
    try:
        if 'dict(' not in value and '{' not in value:
            return DictAction._parse_iterable(value)
    except AssertionError as error:
        raise ConfigError('brackets do not match') from error
    except RecursionError:
        pass  # what mmengine makes of a comma in brackets that follow a name
    raise ConfigError(
        'cannot be read: a value is text, a number or a list of them. Fix: write it into a config file; '
        'single values in what is there can be given, as in custom_hooks.0.momentum=0.001'
    )


def _merge_overrides(cfg: Config, overrides: dict[str, Any]) -> list[str]:
    old_root = cfg.get('data_root')
    with fresh_types():
        for key, value in _grouped(overrides).items():
            try:
                cfg.merge_from_dict(value)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                return [f"--cfg-options: '{key}' does not fit the config: {error.args[0] if error.args else error}"]
    strip_leftovers(cfg._cfg_dict)
    if 'data_root' in overrides and isinstance(old_root, str):
        move_datasets(cfg, old_root)
        follow_data_root(cfg, old_root)
    return []


def _grouped(overrides: dict[str, Any]) -> dict[str, dict[str, Any]]:
    # One merge for each top-level name: keys of one dict must be merged together, so that a new `type` and its
    # arguments arrive as one, and an error names its key.
    groups: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        groups.setdefault(key.partition('.')[0], {})[key] = ConfigDict._hook(value)
    return groups


def _drop_helper_objects(cfg: Config) -> None:
    # `from functools import partial` leaves a class at the top level; it has done its work and is no setting.
    for name in [name for name, value in cfg.items() if callable(value) and not isinstance(value, dict)]:
        del cfg._cfg_dict[name]
