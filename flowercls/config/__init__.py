"""From a config file to a complete, checked config: load, derive, check.

`load_config`, `derive_config` and `resolve_config` are light (no torch); `check_components` imports what is named.
"""

from flowercls.config.components import check_components
from flowercls.config.derive import derive_config, resolve_config
from flowercls.config.load import load_config, parse_overrides

__all__ = ['check_components', 'derive_config', 'load_config', 'parse_overrides', 'resolve_config']
