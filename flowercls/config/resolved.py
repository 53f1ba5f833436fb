"""The resolved config as text: complete, runs by itself, and says nothing of one particular start."""

from mmengine.config import Config

# Where this start writes to, and how it was launched.
OF_ONE_START = ('work_dir', 'launcher', 'experiment_name')


def resolved_text(cfg: Config) -> str:
    """``cfg`` as a config file that makes a new run of the same kind."""
    return Config({key: value for key, value in cfg.to_dict().items() if key not in OF_ONE_START}).pretty_text
