"""Figures over time, in one file."""

from pathlib import Path

from mmengine.visualization import LocalVisBackend
from mmpretrain.registry import VISBACKENDS

from flowercls.files import disk_errors


@VISBACKENDS.register_module()
class ScalarsBackend(LocalVisBackend):
    """Writes ``scalars.json``, one JSON object a line, and only that: the run folder has its own config.py."""

    def add_config(self, config, **kwargs) -> None:
        """Nothing: see the run folder's config.py."""

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs) -> None:
        """Append one line; ``file_path``, where mmengine would put a second copy, is left aside."""
        with disk_errors(Path(self._save_dir, 'scalars.json')):
            super().add_scalars(scalar_dict, step)
