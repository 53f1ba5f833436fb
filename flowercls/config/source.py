"""What can be read from a Python config without running it: which variables it sets and which it uses."""

import ast
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from flowercls.errors import ConfigError

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
