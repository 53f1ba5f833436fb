"""What happens around the training loop; each hook is one class in one file."""

from flowercls.engine.hooks.early_stopping_hook import EarlyStoppingHook
from flowercls.engine.hooks.norm_statistics_hook import NormStatisticsHook
from flowercls.engine.hooks.progress_hook import ProgressHook
from flowercls.engine.hooks.randomness_hook import CounterRandomnessHook
from flowercls.engine.hooks.results_hook import ResultsHook
from flowercls.engine.hooks.runtime_info_hook import LazyRuntimeInfoHook
from flowercls.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'CounterRandomnessHook',
    'EarlyStoppingHook',
    'LazyRuntimeInfoHook',
    'NormStatisticsHook',
    'ProgressHook',
    'ResultsHook',
    'WholeCheckpointHook',
]
