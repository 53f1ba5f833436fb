"""From a config file to a complete, checked config: load, derive, check.

Only `check_components` imports torch and mmpretrain.
"""

from flowercls.config.components import check_components
from flowercls.config.loader import load_config
from flowercls.config.overrides import parse_overrides
from flowercls.config.resolve import derive_config, resolve_config

__all__ = ['check_components', 'derive_config', 'load_config', 'parse_overrides', 'resolve_config']
