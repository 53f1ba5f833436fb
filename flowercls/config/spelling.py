"""Misspelt keys: in a config file, and in the values given with --cfg-options."""

from collections.abc import Iterator
from typing import Any

from flowercls.config.known_keys import CLOSE_ONLY, HELPERS, SECTIONS, known_keys
from flowercls.config.nearest import hint, nearest_name

# Among the arguments of one class near names are common (in_channels, mid_channels), and `components` knows them all.
LIKE_A_SIBLING = 0.92


def misspelt_keys(cfg: dict, used_names: set[str]) -> dict[str, str]:
    """Every key of a config that no section knows: its dotted path and what to say about it.

    Args:
        cfg: The config, as read from its files.
        used_names: Names its files use as variables; these may be called anything.
    """
    mistakes = {}
    for section in SECTIONS:
        content = at_path(cfg, section)
        known = known_keys(section, content)
        if known is None or not isinstance(content, dict):
            continue
        free = used_names | HELPERS if not section else set()
        for key in content:
            if _is_wrong(section, key, known | free):
                mistakes[f'{section}.{key}'.strip('.')] = _unknown(section, key, known)
    return mistakes


def misplaced_helpers(cfg: dict) -> list[str]:
    """Names of top-level variables that a reader could take for a misspelt key; only the file's own code needs them."""
    known = known_keys('', cfg)
    return [key for key in cfg if _is_wrong('', key, known | HELPERS)]


def unused_names(cfg: dict, used_names: set[str]) -> list[str]:
    """Top-level names that nothing reads: not the Runner, not flowercls, not the file itself."""
    return [key for key in cfg if key not in known_keys('', cfg) | HELPERS | used_names]


def unknown_overrides(cfg: dict, overrides: dict) -> list[str]:
    """One line for each override whose key neither exists in the config nor is known for its section."""
    mistakes = []
    for key in overrides:
        wrong = _unknown_part(cfg, key.split('.'), overrides)
        if wrong is not None:
            mistakes.append(f"--cfg-options: unknown key '{key}'{wrong or _hint_path(cfg, key)}")
        elif key.partition('.')[0] not in known_keys('', cfg):
            mistakes.append(_without_effect(cfg, key))
    return mistakes


def at_path(cfg: Any, path: str) -> Any:
    """What stands at the dotted ``path`` ('' is ``cfg`` itself), or None if nothing does."""
    for part in path.split('.') if path else ():
        if isinstance(cfg, (list, tuple)) and part.isdigit() and int(part) < len(cfg):
            cfg = cfg[int(part)]
        elif isinstance(cfg, dict) and part in cfg:
            cfg = cfg[part]
        else:
            return None
    return cfg


def _is_wrong(section: str, key: str, known: set[str] | frozenset[str]) -> bool:
    if key in known or key in ('_delete_', '_scope_'):
        return False
    return section not in CLOSE_ONLY or nearest_name(key, known) is not None


def _unknown(section: str, key: str, known: frozenset[str]) -> str:
    where = f' in {section}' if section else ''
    return f"unknown key '{key}'{where}{hint(key, known)}"


def _unknown_part(cfg: Any, parts: list[str], overrides: dict) -> str | None:
    """None if the path is fine, else why it is not ('': no such key, and the nearest one is worth naming)."""
    section: list[str] = []
    for i, part in enumerate(parts):
        path = '.'.join(section)
        if isinstance(cfg, (list, tuple)):
            if not part.isdigit() or int(part) >= len(cfg):
                return f": '{path}' is a list of {len(cfg)}, its parts are numbered from 0"
            cfg = cfg[int(part)]
        elif isinstance(cfg, dict) and part in cfg:
            cfg = cfg[part]
        elif cfg is None or isinstance(cfg, dict):
            return _new_key(path, part, cfg or {}, parts[i + 1 :], overrides)
        else:
            return f": '{path}' is {cfg!r} and has no parts"
        section.append(part)
    return None


def _new_key(path: str, part: str, content: dict, rest: list[str], overrides: dict) -> str | None:
    known = known_keys(path, content)
    if known is not None:
        free_hook = path == 'default_hooks' and not _is_wrong(path, part, known)
        if part not in known and not free_hook:
            return ''
        return _inside_new(f'{path}.{part}'.strip('.'), rest) if rest else None
    if f'{path}.type' in overrides:
        return None  # the old type's arguments are no measure for the new type's
    return '' if nearest_name(part, content, cutoff=LIKE_A_SIBLING) else None


def _inside_new(path: str, parts: list[str]) -> str | None:
    # The section does not exist in the config yet; where its keys are fixed they are known all the same.
    known = known_keys(path, {})
    if known is not None and parts[0] not in known and path not in CLOSE_ONLY:
        return ''
    return _inside_new(f'{path}.{parts[0]}', parts[1:]) if parts[1:] else None


def _hint_path(cfg: dict, key: str) -> str:
    paths = set(_paths(cfg)) | {f'{section}.{name}'.strip('.') for section, names in SECTIONS.items() for name in names}
    ends_same = [path for path in paths if path.rpartition('.')[2] == key.rpartition('.')[2]]
    if '.' not in key and len(ends_same) == 1:
        return f" (did you mean '{ends_same[0]}'?)"
    return hint(key, ends_same, cutoff=0.5) or hint(key, paths, cutoff=0.6)


def _paths(node: Any, start: str = '') -> Iterator[str]:
    """Dotted paths of everything in a config, lists by number."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in children:
        path = f'{start}.{key}'.strip('.')
        yield path
        yield from _paths(value, path)


def _without_effect(cfg: dict, key: str) -> str:
    name = key.partition('.')[0]
    uses = [path for path, value in ((p, at_path(cfg, p)) for p in _paths(cfg)) if value == cfg[name]]
    uses = [
        use
        for use in uses
        if use.partition('.')[0] in known_keys('', cfg) and type(at_path(cfg, use)) is type(cfg[name])
    ]
    instead = f' Fix: set {" or ".join(uses[:3])}.' if uses else ''
    return f"--cfg-options: '{key}' only names a variable of the file, which is already used up.{instead}"
