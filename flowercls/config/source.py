"""What can be read from a Python config without running it: which variables it sets and which it uses."""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from flowercls.errors import ConfigError

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
