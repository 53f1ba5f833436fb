"""From a checked config to an mmengine Runner, and what training and testing do with it."""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from flowercls.core import signals
from flowercls.core.distributed import unwrapped
from flowercls.core.files import disk_errors, sha256_of
from flowercls.core.workers import usable_cpus
from flowercls.features.hook import use_cached_features
from flowercls.models.precision import resolve_channels_last, resolve_precision
from flowercls.train.checkpoint import position_in, read_checkpoint, restore_gradients
from flowercls.train.config_errors import building
from flowercls.train.loading import check_classes, checked_initialisation, class_names, load_strictly
from flowercls.train.loop import ResumableTrainLoop
from flowercls.train.optimizer import photos_a_step
from flowercls.train.resume import check_fits, check_resumable

OWN_LOOP = 'EpochBasedTrainLoop'  # mmengine's, in whose place ours stands


class ClassifierRunner(Runner):
    """mmengine's Runner with everything of a run in one folder, a quiet console, and checked loading.

    ``start`` is called once the model is built and initialised; it loads starting weights, a checkpoint to test, or
    one to continue from. ``begun`` is called once the first step is done. ``trusted`` is the one file that may hold
    more than plain data, see `read_checkpoint`. Everything else is mmengine's.
    """

    start: Callable[['ClassifierRunner'], object] | None = None
    begun: Callable[[], object] | None = None
    trusted: Path | None = None
    first_epoch = 0  # complete epochs when this start began

    @property
    def _log_dir(self) -> str:
        return self.work_dir

    @_log_dir.setter
    def _log_dir(self, value: str) -> None:
        """Ignore mmengine's folder per start: log and scalars of a run belong together, also when it is resumed."""

    def build_logger(self, *args, **kwargs):
        """The log file gets everything, the console only warnings: progress is shown by the ProgressHook."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(max(handler.level, logging.WARNING))
        return logger

    def setup_env(self, env_cfg):
        """As mmengine's; a refused value is the config's mistake. So for all that follow."""
        with building('env_cfg', about=str(env_cfg)):
            super().setup_env(env_cfg)

    def build_visualizer(self, visualizer=None):
        """Put scalars.json into the run folder itself."""
        for backend in (visualizer or {}).get('vis_backends') or []:
            if backend['type'] == 'ScalarsBackend':
                backend.setdefault('save_dir', self.work_dir)
        with building('visualizer'):
            return super().build_visualizer(visualizer)

    def build_model(self, model):
        with building('model', RuntimeError):  # shapes and sizes
            return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg, model):
        """As mmengine's, which would give every process a GPU also where there is none."""
        if model_wrapper_cfg is None and self.distributed and not torch.cuda.is_available():
            model_wrapper_cfg = {
                'device_ids': None,
                'broadcast_buffers': False,
                'find_unused_parameters': self.cfg.get('find_unused_parameters', False),
            }
        return super().wrap_model(model_wrapper_cfg, model)

    def build_optim_wrapper(self, optim_wrapper):
        with building('optim_wrapper'):
            return super().build_optim_wrapper(optim_wrapper)

    def build_train_loop(self, loop):
        """Ours, which counts epochs as every config here does, and can be left and entered at any step."""
        if not isinstance(loop, dict) or str(loop.get('type', OWN_LOOP)).rpartition('.')[2] != OWN_LOOP:
            return super().build_train_loop(loop)
        options = {key: value for key, value in loop.items() if key not in ('type', 'by_epoch')}
        return ResumableTrainLoop(runner=self, dataloader=self._train_dataloader, **options)

    def scale_lr(self, optim_wrapper, auto_scale_lr=None) -> None:
        """As mmengine's, for all photos behind one step: it would leave accumulated batches out."""
        if not (auto_scale_lr or {}).get('enable'):
            return
        ratio = photos_a_step(self) / auto_scale_lr['base_batch_size']
        self.logger.info(f'learning rates are scaled by {ratio:g}')
        for group in optim_wrapper.param_groups:  # with the rate that is shown, where groups have others
            group['lr'] *= ratio

    def build_param_scheduler(self, scheduler):
        with building('param_scheduler'):
            return super().build_param_scheduler(scheduler)

    def build_evaluator(self, evaluator):
        with building('val_evaluator or test_evaluator'):
            return super().build_evaluator(evaluator)

    @staticmethod
    def build_dataloader(dataloader, seed=None, diff_rank_seed=False):
        with building('a dataloader'):
            return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        with building('default_hooks or custom_hooks'):
            super().register_hooks(default_hooks, custom_hooks)

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """As mmengine's; a hook that refuses its arguments only at the start is the config's mistake, ours is a bug."""
        if fn_name in ('before_run', 'before_train'):
            for hook in self.hooks:
                ours = type(hook).__module__.startswith('flowercls.')
                with contextlib.nullcontext() if ours else building(f'the hook {type(hook).__name__}'):
                    getattr(hook, fn_name)(self)
            return
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'after_val_iter':
            signals.check()
        if fn_name == 'after_train_iter' and self.begun is not None:
            self.begun()
            self.begun = None

    def dump_config(self) -> None:
        """Nothing: the run folder's config.py is written before training, whole."""

    def _init_model_weights(self) -> None:
        with checked_initialisation():
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Do what ``start`` says, once."""
        if not self._has_loaded and self.start is not None:
            self.start(self)
        self._has_loaded = True

    def load_checkpoint(self, filename, map_location='cpu', strict=True, revise_keys=()) -> dict:
        """Load a checkpoint of this very model; mmengine's `resume` goes on from what this returns.

        Raises:
            CheckpointError: if the file cannot be used, or is of another model or of other classes.
        """
        checkpoint = read_checkpoint(filename, map_location, trusted=Path(filename) == self.trusted)
        checkpoint = checkpoint if 'state_dict' in checkpoint else {'state_dict': checkpoint}
        if self._resume:
            check_resumable(checkpoint, filename)
        check_classes(checkpoint, class_names(self), filename)
        model = unwrapped(self.model)
        load_strictly(model, checkpoint['state_dict'], filename)
        if self._resume:
            check_fits(checkpoint, self, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_strictly(model, checkpoint['state_dict'], filename)  # again: an EMAHook exchanges weights, once they fit
        if self._resume:
            self.train_loop.position = position_in(checkpoint)
            restore_gradients(model, checkpoint.get('gradients', {}))
        self._has_loaded = True
        self.logger.info(f'loaded {filename}')
        return checkpoint


class _FeatureCacheAtStart(Hook):
    """Calls `use_cached_features` before the first epoch, until the training recipe does."""

    priority = 'VERY_HIGH'
    _was_cached = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume:
            self._was_cached = checkpoint.get('features_kept')

    def before_train(self, runner) -> None:
        use_cached_features(runner, runner.cfg.feature_cache, was_cached=self._was_cached)


def build_runner(cfg: Config) -> ClassifierRunner:
    """Build the Runner of a derived and checked config, for this machine.

    Args:
        cfg: With ``work_dir``; ``load_from`` stays for the record, what is loaded is up to ``runner.start``.

    Raises:
        DiskError: if ``work_dir`` may not be written to.
    """
    use_all_cores()
    # mmengine keeps loggers and message hubs by name for the life of the process: two runs must not meet.
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{uuid.uuid4().hex[:8]}'
    with disk_errors(cfg.work_dir):
        runner = ClassifierRunner.from_cfg(cfg)
    if (cfg.get('feature_cache') or {}).get('views') and cfg.model.get('frozen_stages'):
        runner.register_hook(_FeatureCacheAtStart())
    runner._load_from, runner._resume = None, False
    return runner


def fit_to_machine(cfg: Config) -> None:
    """Settle what depends on the hardware, so that the run folder's config says what was really used."""
    on_gpu = torch.cuda.is_available()
    if on_gpu and cfg.randomness.get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS refuses to be deterministic without
    if cfg.model.type == 'StagedClassifier':
        cfg.model.precision = resolve_precision(cfg.model.get('precision', 'auto'))
        cfg.model.channels_last = resolve_channels_last(cfg.model.get('channels_last', 'auto'))
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('pin_memory', on_gpu)
            # More only wait for each other, and torch warns of it at length. How many there are changes no result.
            cfg[name].num_workers = min(cfg[name].get('num_workers', 0), usable_cpus())
    # None switches a hook off; mmengine understands that of its own hooks only.
    own = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
    for name in [name for name, hook in cfg.default_hooks.items() if hook is None and name not in own]:
        del cfg.default_hooks[name]
    manifest = Path(cfg.get('data_root', '.'), 'manifest.json')
    cfg.data_manifest = sha256_of(manifest) if manifest.is_file() else None


def use_all_cores() -> None:
    """Compute on every core this process may use; several processes share them.

    Loader workers run one thread each whatever is set here. Without this, OMP_NUM_THREADS=1 in the environment (as
    launchers and mmengine's distributed mode set it) would leave all but one core idle.
    """
    torch.set_num_threads(max(1, usable_cpus() // get_world_size()))
