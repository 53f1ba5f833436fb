"""The mmengine Runner of a run: built from a checked config, its files in one folder, its checkpoints verified."""

import contextlib
import functools
import gc
import logging
import textwrap
import traceback
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from mmengine.registry.build_functions import build_from_cfg
from mmengine.runner import Runner
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmpretrain.registry import LOOPS
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from flowercls.config.data_keys import IMAGE_FOLDER, datasets_in
from flowercls.config.dump import dump_config
from flowercls.core import signals
from flowercls.core.distributed import print_once, unwrapped
from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.core.terminal import num_bytes
from flowercls.core.workers import num_threads, usable_cpus
from flowercls.data.photo_cache import prepare_photo_cache
from flowercls.models.checkpoint_reader import read_checkpoint
from flowercls.models.weights import verified_initialisation
from flowercls.train.checkpoint import RunState, WholeCheckpointHook
from flowercls.train.hooks import close_progress
from flowercls.train.loop import ResumableTrainLoop
from flowercls.train.optimizer import effective_batch_size
from flowercls.train.resume import FromCheckpoint, FromWeights, RandomInit, load_weights

PACKAGE = Path(__file__).parent.parent
MAX_VALUE_LENGTH = 60  # characters of one value in a message
# What constructors of torch, mmengine and mmpretrain raise about their arguments; the last two about huge ones.
REFUSALS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError),
    *(OverflowError, MemoryError),
)


@contextlib.contextmanager
def config_error_for(
    section: str, *more_refusals: type[Exception], fix: str = 'correct the value', about: str = ''
) -> Iterator[None]:
    """Turn an error while ``section`` of a config is built into a `ConfigError` that names the section.

    A value that a class refuses is a mistake in the config. An error raised by our own code passes through.

    Args:
        section: Dotted path in the config.
        more_refusals: Further exceptions that mean a refusal here, e.g. RuntimeError where shapes have to match.
        fix: What to do about it.
        about: The values in question; if empty, those of the innermost part that was being built.
    """
    try:
        yield
    except (*REFUSALS, *more_refusals) as error:
        last_frame = traceback.extract_tb(error.__traceback__)[-1]
        if Path(last_frame.filename).is_relative_to(PACKAGE):  # our classes raise a ConfigError where it is one
            raise
        reason = ' '.join(str(error).split())[:400] or type(error).__name__
        values = about or _values_of_innermost_part(error)
        these = f'these values ({values})' if values else 'these values'
        raise ConfigError(f'{section}: cannot be built with {these}: {reason}. Fix: {fix}.') from error


def _values_of_innermost_part(error: Exception) -> str:
    part = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        names = frame.f_locals
        if frame.f_code is build_from_cfg.__code__ and 'obj_type' in names:
            part = show_part(names['cfg'])
        elif isinstance(names.get('self'), v2.Transform):
            part = repr(names['self'])
    return part


def show_part(part: dict) -> str:
    """Return a part of a config on one line.

    Example:
        >>> show_part(dict(type='ResNet', depth=17, style='pytorch'))
        "ResNet: depth=17, style='pytorch'"
    """
    values = [
        f'{key}={textwrap.shorten(repr(value), MAX_VALUE_LENGTH)}' for key, value in part.items() if key != 'type'
    ]
    return f'{part.get("type")}: {", ".join(values)}' if values else str(part.get('type'))


class ClassifierRunner(Runner):
    """mmengine's Runner with everything of a run in one folder, a quiet console, and verified loading.

    Attributes:
        checkpoints: Writes the run's checkpoints and results; None where the config switches it off.
    """

    build_model = config_error_for('model', RuntimeError)(Runner.build_model)  # RuntimeError: shapes and sizes
    build_optim_wrapper = config_error_for('optim_wrapper')(Runner.build_optim_wrapper)
    build_param_scheduler = config_error_for('param_scheduler')(Runner.build_param_scheduler)
    build_evaluator = config_error_for('val_evaluator or test_evaluator')(Runner.build_evaluator)

    @staticmethod
    def build_dataloader(*args, **kwargs) -> DataLoader:
        """Build a loader as mmengine does; a batch that its workers cannot hand over becomes an error here."""
        with config_error_for('a dataloader'):
            loader = Runner.build_dataloader(*args, **kwargs)
        loader.worker_init_fn = functools.partial(_start_worker, loader.worker_init_fn)
        return loader

    @property
    def _log_dir(self) -> str:
        return self.work_dir

    @_log_dir.setter
    def _log_dir(self, value: str) -> None:
        """Ignore mmengine's folder per start: log and scalars of a run belong together, also when it is resumed."""

    def build_logger(self, *args, **kwargs):
        """Build a log file that gets everything, and a console that gets warnings: the ProgressHook shows progress."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(max(handler.level, logging.WARNING))
        return logger

    def setup_env(self, env_cfg):
        """Set up processes and libraries as mmengine does."""
        with config_error_for('env_cfg', about=str(env_cfg)):
            super().setup_env(env_cfg)

    def build_visualizer(self, visualizer=None):
        """Build a visualizer that writes scalars.json into the run folder itself."""
        for backend in (visualizer or {}).get('vis_backends') or []:
            if backend['type'] == 'ScalarsBackend':
                backend.setdefault('save_dir', self.work_dir)
        with config_error_for('visualizer'):
            return super().build_visualizer(visualizer)

    def wrap_model(self, model_wrapper_cfg, model):
        """Wrap the model as mmengine does, which would give every process a GPU also where there is none."""
        if model_wrapper_cfg is None and self.distributed and not torch.cuda.is_available():
            model_wrapper_cfg = {
                'device_ids': None,
                'broadcast_buffers': False,
                'find_unused_parameters': self.cfg.get('find_unused_parameters', False),
            }
        return super().wrap_model(model_wrapper_cfg, model)

    def build_train_loop(self, loop):
        """Build our training loop in place of mmengine's, or a registered class that is derived from ours."""
        if not isinstance(loop, dict):
            return super().build_train_loop(loop)
        name = str(loop.get('type', 'EpochBasedTrainLoop'))
        loop_class = ResumableTrainLoop if name.rpartition('.')[2] == 'EpochBasedTrainLoop' else LOOPS.get(name)
        if not (isinstance(loop_class, type) and issubclass(loop_class, ResumableTrainLoop)):
            raise ConfigError(
                f'train_cfg.type is {name!r}, which cannot save and resume as runs here do. Fix: leave type out, or '
                'derive the class from flowercls.train.loop.ResumableTrainLoop.'
            )
        options = {key: value for key, value in loop.items() if key not in ('type', 'by_epoch')}
        with config_error_for('train_cfg'):
            return loop_class(runner=self, dataloader=self._train_dataloader, **options)

    def scale_lr(self, optim_wrapper, auto_scale_lr=None) -> None:
        """Scale the rates for all photos behind one step; mmengine would leave accumulated batches out."""
        if not (auto_scale_lr or {}).get('enable'):
            return
        ratio = effective_batch_size(self) / auto_scale_lr['base_batch_size']
        self.logger.info(f'learning rates are scaled by {ratio:g}')
        for group in optim_wrapper.param_groups:  # with the rate that is shown, where groups have others
            group['lr'] *= ratio

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """Register all hooks but the `WholeCheckpointHook`, which our training loop calls itself."""
        with config_error_for('default_hooks or custom_hooks'):
            super().register_hooks(default_hooks, custom_hooks)
        writers = [hook for hook in self._hooks if isinstance(hook, WholeCheckpointHook)]
        self._hooks = [hook for hook in self._hooks if hook not in writers]
        self.checkpoints = writers[0] if writers else None

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call hooks as mmengine does. Arguments that a hook refuses only at the start are the config's mistake."""
        if fn_name in ('before_run', 'before_train'):
            for hook in self.hooks:
                is_ours = type(hook).__module__.startswith('flowercls.')
                with contextlib.nullcontext() if is_ours else config_error_for(f'the hook {type(hook).__name__}'):
                    getattr(hook, fn_name)(self)
            return
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'after_val_iter':
            signals.check()

    def _log_env(self, env_cfg) -> None:
        """Log the environment as mmengine does, and the cached text of the config, which mmengine would make again."""
        cfg, self.cfg = self.cfg, Config()
        super()._log_env(env_cfg)
        self.cfg = cfg
        self.logger.info(f'Config:\n{dump_config(cfg)}')

    def dump_config(self) -> None:
        """Write nothing: `begin_run` writes the run folder's config.py."""

    def prepare(self, start: RandomInit | FromWeights | FromCheckpoint, changed: tuple[str, ...] = ()) -> None:
        """Build all that a training needs, in mmengine's order, initialise the weights and load ``start`` once.

        Args:
            start: What the training starts from.
            changed: Keys of the config that have other values than in the run that is resumed.

        Raises:
            ConfigError: naming the section of the config that cannot be built.
            CheckpointError: if ``start`` cannot be read or does not fit.
        """
        if start.seed not in (None, self.seed):  # before the loaders are built, which order the photos by it
            self.logger.warning(f'the run goes on with the seed {start.seed} of its checkpoint, not with {self.seed}')
            self._randomness_cfg.update(seed=start.seed)
            self.set_randomness(**self._randomness_cfg)
        self._train_loop = self.build_train_loop(self._train_loop)
        if len(loader := self.train_dataloader) == 0:
            raise ConfigError(
                f'train_dataloader.drop_last: {len(loader.dataset)} photos do not fill a batch of {loader.batch_size}, '
                'so an epoch has no step. Fix: a smaller train_dataloader.batch_size, or drop_last=False.'
            )
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.scale_lr(self.optim_wrapper, self.auto_scale_lr)
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
        if self._val_loop is not None:
            self._val_loop = self.build_val_loop(self._val_loop)
        self.call_hook('before_run')
        with verified_initialisation():
            self._init_model_weights()
        if modules := self.cfg.get('activation_checkpointing'):
            turn_on_activation_checkpointing(unwrapped(self.model), modules)
        if modules := self.cfg.get('efficient_conv_bn_eval'):
            turn_on_efficient_conv_bn_eval(unwrapped(self.model), modules)
        start.load(self, changed)
        self.optim_wrapper.initialize_count_status(self.model, self.iter, self.max_iters)
        self._maybe_compile('train_step')

    def train(self, on_first_step: Callable[[], object] | None = None) -> torch.nn.Module:
        """Train what `prepare` has built.

        Args:
            on_first_step: As in `ResumableTrainLoop.run`.
        """
        try:
            model = self.train_loop.run(on_first_step)
        finally:
            close_progress(self)
        self.call_hook('after_run')
        return model

    def close(self) -> None:
        """End the loader workers. Python's garbage collection would wait 5 seconds for each loader's workers."""
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            loader = getattr(loop, 'dataloader', None)  # a loop that was not built is a dict
            iterator = getattr(loader, '_iterator', None)  # of persistent workers
            if iterator is not None:
                loader._iterator = None
                iterator._shutdown_workers()

    @property
    def state(self) -> RunState:
        """What the run knows of its validated epochs."""
        return self.checkpoints.state if self.checkpoints is not None else RunState()

    def load_checkpoint(self, filename, map_location='cpu', strict=True, revise_keys=(), *, trusted=False) -> dict:
        """Load the weights of a checkpoint of this very model, and return its content.

        Raises:
            CheckpointError: if the file cannot be used, or is of another model or of other classes.
        """
        checkpoint = read_checkpoint(filename, map_location, trusted=trusted)
        load_weights(self, checkpoint, filename)
        return checkpoint


def build_runner(cfg: Config) -> ClassifierRunner:
    """Build the Runner of a resolved config.

    Args:
        cfg: With ``work_dir``. ``load_from`` and ``resume`` stay for the record; `ClassifierRunner.prepare` loads.

    Raises:
        DiskError: if ``work_dir`` may not be written to.
    """
    gc.collect()  # the model of an earlier run of this process: a Runner refers to itself, and datasets collect nothing
    set_num_threads()
    # mmengine keeps loggers and message hubs by name for the life of the process: two runs must not meet.
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{uuid.uuid4().hex[:8]}'
    with disk_errors(cfg.work_dir):
        runner = ClassifierRunner.from_cfg(cfg)
    runner._load_from, runner._resume = None, False
    return runner


def use_photo_cache(runner: Runner) -> None:
    """Let the loaders of a run read the folder's decoded photos; the photos are decoded now if they are not yet.

    Every process of the run calls it, before the first loader is built.

    Raises:
        DataError: if a photo cannot be read or decoded.
    """
    cfg, datasets = runner.cfg, list(_datasets(runner))
    if not datasets:
        return
    arguments, is_complete = prepare_photo_cache(
        cfg.data_root,
        [dataset.get('pipeline') for dataset in datasets],
        cfg.cache_dir,
        budget=num_bytes(cfg.photo_cache.budget) if cfg.get('photo_cache') else None,
        report=lambda line: print_once(f'photo cache: {line}'),
    )
    if arguments is not None:
        for dataset in datasets:
            dataset['photo_cache'] = arguments
    if is_complete and not torch.cuda.is_available():
        _leave_cores_to_network(runner)


def _leave_cores_to_network(runner: Runner) -> None:
    """Use at most one loader worker for every four cores; the number of workers changes no result.

    On a CPU a worker takes time from compute threads that wait for each other, and one worker reads several hundred
    cached photos a second. ResNet-50 with two frozen stages on two cores, medians of five rounds: 0.87 and 0.92 of a
    bare loop with two workers, 0.95 and 0.99 with one.
    """
    max_workers = max(1, usable_cpus() // 4)
    for loader in _loaders(runner):
        loader['num_workers'] = min(loader.get('num_workers', 0), max_workers)


def _datasets(runner: Runner) -> Iterator[dict]:
    for loader in _loaders(runner):
        for _, dataset in datasets_in(loader, ''):
            if str(dataset.get('type')).rpartition('.')[2] == IMAGE_FOLDER:
                yield dataset


def _loaders(runner: Runner) -> Iterator[dict]:
    """Yield the loaders in the runner's own copy of the config: the config that is written down stays unchanged."""
    for loader in (runner._train_dataloader, runner._val_dataloader, runner._test_dataloader):
        if isinstance(loader, dict):
            yield loader


def _start_worker(init_worker: Callable[[int], object] | None, worker: int) -> None:
    """Set up a loader worker, in its own process."""

    def hand_over_error(queue: Queue, error: Exception, item: tuple) -> None:
        number, _ = item
        queue.put((number, ExceptionWrapper(where=f'in DataLoader worker process {worker}')))

    # Where a batch cannot be sent, as /dev/shm is full, Python would drop it, and the run would wait for it for ever.
    Queue._on_queue_feeder_error = hand_over_error
    if init_worker is not None:
        init_worker(worker)


def set_num_threads() -> None:
    """Compute with `num_threads` threads."""
    torch.set_num_threads(num_threads(get_world_size()))
