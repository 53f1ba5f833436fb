"""Figures over time, in one file."""

from mmengine.visualization import LocalVisBackend
from mmpretrain.registry import VISBACKENDS


@VISBACKENDS.register_module()
class ScalarsBackend(LocalVisBackend):
    """Writes ``scalars.json``, one JSON object a line, and only that: the run folder has its own config.py."""

    def add_config(self, config, **kwargs) -> None:
        """Nothing: see the run folder's config.py."""

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs) -> None:
        """Append one line; ``file_path``, where mmengine would put a second copy, is left aside."""
        super().add_scalars(scalar_dict, step)
