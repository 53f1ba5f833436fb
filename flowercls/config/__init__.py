"""From a config file to a complete, checked config: load, derive, check.

`load_config`, `derive_config` and `resolve_config` are light (no torch); `check_components` imports what is named.
"""

from flowercls.config.components import check_components
from flowercls.config.loader import load_config, parse_overrides
from flowercls.config.resolve import derive_config, resolve_config

__all__ = ['check_components', 'derive_config', 'load_config', 'parse_overrides', 'resolve_config']
