"""Evaluating a checkpoint, also with test-time augmentation."""

import contextlib
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from flowercls.core.distributed import on_main_process, print_once
from flowercls.core.errors import ConfigError
from flowercls.core.files import write_json
from flowercls.core.layout import METRICS_FILE, MISTAKES_FILE, PREDICTIONS_FILE
from flowercls.core.terminal import tool_command
from flowercls.evaluate.mm_metric import CompactEvaluator
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.train.checkpoint import provenance, report_of
from flowercls.train.loop import translate_evaluation_errors, translate_worker_errors
from flowercls.train.resume import warn_of_trust
from flowercls.train.run_dir import results_folder
from flowercls.train.runner import ClassifierRunner, build_runner, config_error_for, use_photo_cache


@dataclass(frozen=True)
class Evaluation:
    """What a pass over a set leaves.

    Attributes:
        predictions: Of every photo.
        metrics: The content of metrics.json.
        folder: Where the results are.
        photos: Their files in the same order; empty where they are not the ones that were predicted.
    """

    predictions: Predictions
    metrics: dict
    folder: Path
    photos: list[str] = field(default_factory=list)


def test(
    cfg: Config, checkpoint: Path, *, work_dir: str | Path | None = None, tta: bool = False, trusted: bool = False
) -> Evaluation | None:
    """Evaluate a checkpoint on the config's test set; write ``predictions.csv``, ``mistakes.csv``, ``metrics.json``.

    Args:
        cfg: The resolved config.
        checkpoint: A checkpoint of the config's model and classes.
        work_dir: The results go to ``<work_dir>/test_<checkpoint stem>/``, or ``-2``, ``-3``, ... where it holds
            results already. The default is the folder of the checkpoint.
        tta: Whether to augment at test time.
        trusted: Open the checkpoint even if it needs pickle, which can run code.

    Returns:
        The evaluation; None in all but the main process.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or is of another model or of other classes.
    """
    with contextlib.ExitStack() as stack:  # the main process alone makes the folder, and removes it after an error
        stack.enter_context(translate_worker_errors(['test_dataloader']))
        folder = results_folder(Path(work_dir or checkpoint.parent), checkpoint)
        cfg.work_dir = str(on_main_process(lambda: stack.enter_context(folder)))
        if trusted:
            warn_of_trust(checkpoint)
        if tta:
            use_tta_pipeline(cfg)
        runner = stack.enter_context(contextlib.closing(build_runner(cfg)))
        use_photo_cache(runner)
        runner.test_loop.evaluator = CompactEvaluator(runner.test_evaluator.metrics)
        runner.call_hook('before_run')  # now: an EMAHook copies the model before its weights are loaded
        meta = runner.load_checkpoint(checkpoint, trusted=trusted).get('meta', {})
        _warn_of_other_data(runner, checkpoint, meta.get('data_manifest'))
        if tta:
            runner.model = averaging_model(cfg, runner.model)
        with translate_evaluation_errors('test_dataloader', runner.test_dataloader.batch_size):
            runner.test_loop.run()
        runner.call_hook('after_run')
        if runner.rank != 0:
            return None

        split = Path(cfg.test_dataloader.dataset.get('ann_file', 'val.txt')).stem
        predictions, folder = report_of(runner.test_evaluator).predictions, Path(runner.work_dir)
        origin = provenance(runner, split, meta.get('epoch'), checkpoint.name)
        metrics = {**predictions.metrics(), **origin, 'seed': meta.get('seed'), 'tta': tta}
        predictions.write_csv(folder / PREDICTIONS_FILE)
        predictions.write_mistakes_csv(folder / MISTAKES_FILE)
        write_json(folder / METRICS_FILE, metrics)
        return Evaluation(predictions, metrics, folder, _photos(runner.test_dataloader.dataset, predictions))


def _photos(dataset, predictions: Predictions) -> list[str]:
    files = [dataset.get_data_info(number)['img_path'] for number in range(len(dataset))]
    return files if [image_name(file) for file in files] == predictions.images else []


def _warn_of_other_data(runner: ClassifierRunner, checkpoint: Path, trained_on: str | None) -> None:
    """Warn if the model may have seen the photos in training: then a test of it says nothing."""
    if trained_on and trained_on != runner.cfg.get('data_manifest'):
        print_once(
            f'warning: {checkpoint.name} was trained on photos that were prepared otherwise than those in '
            f'{runner.cfg.data_root}. If both come from one collection, some test photos were trained on, and the '
            'figures are too high. Fix: test it on the folder it was trained on, or on photos that it never saw. This '
            f'says how many were trained on: {tool_command("test", checkpoint, "--data", runner.cfg.data_root)}',
            file=sys.stderr,
        )


def use_tta_pipeline(cfg: Config) -> None:
    """Give the test set the config's ``tta_pipeline``, or its own pipeline with a flip before the last transform."""
    cfg.test_dataloader = deepcopy(cfg.test_dataloader)
    dataset = cfg.test_dataloader.dataset
    if cfg.get('tta_pipeline'):
        dataset.pipeline = cfg.tta_pipeline
        return
    if not dataset.get('pipeline'):
        raise ConfigError(
            '--tta: test_dataloader.dataset has no pipeline of its own to add a flip to. '
            'Fix: name the transforms in tta_pipeline = [...], with a TestTimeAug among them.'
        )
    flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (0.0, 1.0)]
    *before, last = dataset.pipeline
    dataset.pipeline = [*before, {'type': 'TestTimeAug', 'transforms': [flips, [last]]}]


def averaging_model(cfg: Config, model: torch.nn.Module) -> torch.nn.Module:
    """Return ``model`` in the config's ``tta_model``, or in mmpretrain's average of the scores."""
    settings = {'type': 'AverageClsScoreTTA', **(cfg.get('tta_model') or {}), 'module': model}
    with config_error_for('tta_model'):
        return MODELS.build(settings)
