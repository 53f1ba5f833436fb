"""Test-time augmentation: the scores of a photo averaged with those of its mirror image, or as the config says.

Evaluating a checkpoint, and what a pass over a set leaves.
"""

import contextlib
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from flowercls.core.distributed import decide_once
from flowercls.core.errors import ConfigError
from flowercls.core.files import write_json
from flowercls.evaluate.mm_metric import CompactEvaluator
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.train.config_errors import building
from flowercls.train.decoded_photos import use_photo_cache
from flowercls.train.hooks import provenance, report_of
from flowercls.train.loading import warn_of_trust
from flowercls.train.run_dir import results_folder
from flowercls.train.runner import ClassifierRunner, build_runner


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
    """``model`` in the config's ``tta_model``, or in mmpretrain's average of the scores."""
    settings = {'type': 'AverageClsScoreTTA', **(cfg.get('tta_model') or {}), 'module': model}
    with building('tta_model'):
        return MODELS.build(settings)


pass


if TYPE_CHECKING:
    from flowercls.train.training import TrainResult


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


def evaluation_of_best(runner: ClassifierRunner, result: 'TrainResult') -> Evaluation | None:
    """What a training found about its best checkpoint; ``mistakes.csv`` is written from it. None without validation."""
    if result.best_checkpoint is None:
        return None
    predictions = Predictions.read_csv(result.folder / 'predictions_val.csv')
    predictions.write_mistakes_csv(result.folder / 'mistakes.csv')
    # A run that was begun by an earlier version may lack some of the figures.
    metrics = {**result.metrics(), **predictions.metrics()}
    return Evaluation(predictions, metrics, result.folder, _photos(runner.val_dataloader.dataset, predictions))


def _photos(dataset, predictions: Predictions) -> list[str]:
    files = [dataset.get_data_info(number)['img_path'] for number in range(len(dataset))]
    return files if [image_name(file) for file in files] == predictions.images else []


def test(
    cfg: Config, checkpoint: Path, *, work_dir: str | Path | None = None, tta: bool = False, trusted: bool = False
) -> Evaluation | None:
    """Evaluate ``checkpoint`` on the config's test set; write ``predictions.csv``, ``mistakes.csv``, ``metrics.json``.

    Args:
        cfg: The resolved config.
        checkpoint: A checkpoint of the config's model and classes.
        work_dir: The results go to ``<work_dir>/test_<checkpoint stem>/``, or ``-2``, ``-3``, ... where it holds
            results already. The default is the folder of the checkpoint.
        tta: Whether to augment at test time.
        trusted: Whether ``checkpoint`` may hold more than plain data, see `read_checkpoint`.

    Returns:
        None in all but the main process.
    """
    with contextlib.ExitStack() as stack:  # the main process alone makes the folder, and clears it away
        folder = results_folder(Path(work_dir or checkpoint.parent), checkpoint)
        cfg.work_dir = str(decide_once(lambda: stack.enter_context(folder)))
        if trusted:
            warn_of_trust(checkpoint)
        return _test(cfg, checkpoint, tta, trusted)


def _test(cfg: Config, checkpoint: Path, tta: bool, trusted: bool) -> Evaluation | None:
    if tta:
        use_tta_pipeline(cfg)
    runner = build_runner(cfg)
    runner.trusted = checkpoint if trusted else None
    use_photo_cache(runner)
    meta: dict = {}

    def load(runner: ClassifierRunner) -> None:
        meta.update(runner.load_checkpoint(str(checkpoint), strict=True).get('meta', {}))
        _tell_of_other_data(runner, checkpoint, meta.get('data_manifest'))
        if tta:
            runner.model = averaging_model(cfg, runner.model)

    runner.start = load
    runner.test_loop.evaluator = CompactEvaluator(runner.test_evaluator.metrics)
    runner.test()
    if runner.rank != 0:
        return None
    split = Path(cfg.test_dataloader.dataset.get('ann_file', 'val.txt')).stem
    origin = provenance(runner, split, meta.get('epoch'), checkpoint.name)
    return _write_test(runner, {**origin, 'seed': meta.get('seed'), 'tta': tta})


def _tell_of_other_data(runner: ClassifierRunner, checkpoint: Path, trained_on: str | None) -> None:
    """A network that has seen a photo in training knows its class: then a test of it says nothing."""
    if trained_on and trained_on != runner.cfg.get('data_manifest') and runner.rank == 0:
        print(
            f'warning: {checkpoint.name} was trained on photos that were prepared otherwise than those in '
            f'{runner.cfg.data_root}. If they come from one collection, some of those tested were trained on, and the '
            'figures are too high. Fix: test it on the folder it was trained on, or on photos that it never saw.',
            file=sys.stderr,
            flush=True,
        )


def _write_test(runner: ClassifierRunner, origin: dict) -> Evaluation:
    predictions, folder = report_of(runner.test_evaluator).predictions, Path(runner.work_dir)
    metrics = {**predictions.metrics(), **origin}
    predictions.write_csv(folder / 'predictions.csv')
    predictions.write_mistakes_csv(folder / 'mistakes.csv')
    write_json(folder / 'metrics.json', metrics)
    return Evaluation(predictions, metrics, folder, _photos(runner.test_dataloader.dataset, predictions))
