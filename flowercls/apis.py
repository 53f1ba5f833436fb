"""The verbs: prepare, train, test, sweep. Each takes what a command line gives and returns what it prints last.

Heavy packages are imported inside, so that ``--help`` and a misspelt key are answered at once.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config

    from flowercls.config.sweep_file import SweepFile
    from flowercls.datasets.prepare import PreparedReport
    from flowercls.engine.run_folder import RunPlan
    from flowercls.engine.training import Evaluation
    from flowercls.sweep.grid import Trial
    from flowercls.sweep.run import Progress
    from flowercls.sweep.sweep_folder import SweepReport

Overrides = Sequence[str] | dict


def prepare(
    raw_dir: str | Path | None,
    out_dir: str | Path,
    *,
    demo: bool = False,
    download: str | None = None,
    sha256: str | None = None,
    **options,
) -> 'PreparedReport':
    """Make a prepared folder from a folder of photos per class.

    Args:
        raw_dir: Folder with one sub-folder of photos per class; None with ``demo`` or ``download``.
        out_dir: Folder to make.
        demo: Draw flowers and prepare them.
        download: Address of an archive to fetch and prepare.
        sha256: Digest the archive must have; without it the digest is recorded at the first download.
        **options: As `flowercls.datasets.prepare.prepare`.

    Raises:
        DataError: if the photos cannot be used.
        ConfigError: if ``out_dir`` is not free to be written.
    """
    if demo:
        from flowercls.datasets.demo import prepare_drawn

        return prepare_drawn(out_dir, **options)
    if download:
        return _prepare_download(download, out_dir, sha256, options)
    from flowercls.datasets.prepare import prepare as prepare_folder

    return prepare_folder(raw_dir, out_dir, **options)


def _prepare_download(url: str, out_dir: str | Path, sha256: str | None, options: dict) -> 'PreparedReport':
    """Keep the photos in ``<out_dir>-raw``; in a dry run nothing stays, not even what was fetched."""
    from flowercls.datasets.archive import fetch_archive
    from flowercls.datasets.prepare import prepare as prepare_folder

    dry_run = options.get('dry_run', False)
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') if dry_run else contextlib.nullcontext() as folder:
        raw_dir = Path(folder, 'raw') if dry_run else Path(f'{Path(out_dir)}-raw')

        def bring() -> Path:
            archive = fetch_archive(url, raw_dir, sha256=sha256)
            new = 'not recorded in a dry run' if dry_run else 'recorded now, checked from now on'
            known = new if archive.recorded else 'as expected'
            print(f'photos in {archive.path}, SHA-256 of the archive {archive.sha256} ({known})', flush=True)
            return archive.path

        return prepare_folder(raw_dir, out_dir, bring=bring, **options)


def train(
    config: str | Path,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    overrides: Overrides = (),
    allow_config_change: bool = False,
    dry_run: bool = False,
    **flags,
) -> str:
    """Fine-tune the model of a config and leave a run folder.

    Args:
        config: Path of the config file.
        work_dir: Folder of the run; the default is ``work_dirs/<config stem>``.
        resume: ``'auto'`` continues the newest run of this config (or the one in ``work_dir``), a path that checkpoint.
        overrides: As ``--cfg-options``: a list of ``key=value``, or a dict with dotted keys.
        allow_config_change: Resume although the config is not the one the run was started with.
        dry_run: Check everything and try one batch; write nothing.
        **flags: ``amp``, ``no_validate``, ``auto_scale_lr``, ``deterministic`` and ``launcher``, as
            `flowercls.engine.ready.Flags`.

    Returns:
        The last block to show: result, time and where things are.
    """
    from flowercls.engine.ready import Flags, ready_config

    if dry_run:
        with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') as folder:
            cfg = ready_config(config, overrides, Flags(**flags), drawn_folder=folder)
            cfg.work_dir = f'{folder}/run'
            return _dry_run(cfg)
    cfg = ready_config(config, overrides, Flags(**flags))
    return _train(cfg, config, work_dir, resume, allow_config_change)


def _train(cfg: 'Config', config: str | Path, work_dir: str | None, resume: str | None, allow_change: bool) -> str:
    from flowercls.engine.distributed import decide_once
    from flowercls.engine.run_folder import check_unchanged, stem_of
    from flowercls.engine.run_lock import occupied_run_folder

    work_dir = work_dir or cfg.get('work_dir')
    resume = resume or ('auto' if cfg.get('resume') else None)
    cfg.resume = False  # a wish of this start, as --resume: it does not belong to the run
    with contextlib.ExitStack() as stack:
        plan = decide_once(lambda: stack.enter_context(occupied_run_folder(stem_of(config), work_dir, resume)))
        if plan.checkpoint and not allow_change:
            check_unchanged(plan.checkpoint.parent, cfg)
        weights = None if plan.checkpoint else decide_once(lambda: _starting_weights(cfg))
        return _train_in(plan, cfg, config, weights)


def _train_in(plan: 'RunPlan', cfg: 'Config', config: str | Path, weights: Path | None) -> str:
    from flowercls.engine import describe, loading, run_folder, runner, training

    cfg.work_dir = str(plan.folder)
    the_runner = runner.build_runner(cfg)
    if weights is not None:
        loading.load_starting_weights(the_runner, weights)  # a try: what does not fit is said before the run begins
    if the_runner.rank == 0:
        print(plan.announcement)
        print(describe.describe_run(the_runner, weights, plan.checkpoint), flush=True)
        the_runner.begun = lambda: run_folder.write_config(plan.folder, cfg, config)
    try:
        result = training.run_training(the_runner, weights, plan.checkpoint)
    except BaseException:
        with contextlib.suppress(Exception):  # what ended the run is what has to be told
            _draw_curves(plan.folder, the_runner)
        raise
    _draw_curves(plan.folder, the_runner)
    if the_runner.rank != 0:
        return ''
    _draw_evaluation(plan.folder, training.evaluation_of_best(the_runner, result))
    return describe.describe_result(result)


def _dry_run(cfg: 'Config') -> str:
    from mmengine.dist import barrier

    from flowercls.engine import describe, runner, training
    from flowercls.engine.distributed import decide_once

    weights = decide_once(lambda: _starting_weights(cfg))
    the_runner = runner.build_runner(cfg)
    if the_runner.rank == 0:
        print(describe.describe_run(the_runner, weights), flush=True)
    tried = training.try_one_batch(the_runner, weights)
    barrier()  # flowers drawn for a dry run lie in the main process's temporary folder
    return tried if the_runner.rank == 0 else ''


def test(
    config: str | Path,
    checkpoint: str | Path,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    out_item: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    overrides: Overrides = (),
    **flags,
) -> str:
    """Evaluate a checkpoint on the test set, or on the validation set where there is no test set.

    Args:
        config: Path of the config file.
        checkpoint: The checkpoint to evaluate.
        work_dir: Folder of the run; the results go to ``<work_dir>/test_<checkpoint stem>/``, or ``-2``, ``-3``, ...
            where it holds results already. The default is the folder the checkpoint lies in.
        out: One more file to write: .csv gets the predictions, .json the metrics.
        out_item: ``'pred'`` or ``'metrics'``, which must fit the ending of ``out``.
        show_dir: An empty or new folder for a picture of every photo with its prediction, mistakes first.
        tta: Average the scores of each photo and its mirror image, or do what the config's ``tta_pipeline`` and
            ``tta_model`` say.
        overrides: As ``--cfg-options``.
        **flags: ``amp`` and ``launcher``, as `flowercls.engine.ready.Flags`.

    Returns:
        The last block to show: figures and where they are.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, of another model or of other classes.
    """
    from flowercls.engine.ready import Flags, ready_config
    from flowercls.engine.run_folder import check_checkpoint_exists
    from flowercls.evaluation.output import check_output, check_show_dir, write_output

    checkpoint = Path(checkpoint)
    check_output(out, out_item)
    check_show_dir(show_dir)
    check_checkpoint_exists(checkpoint)
    cfg = ready_config(config, overrides, Flags(**flags))

    from flowercls.engine import describe, training
    from flowercls.engine.distributed import decide_once
    from flowercls.engine.run_folder import results_folder

    folder = decide_once(lambda: results_folder(Path(work_dir or checkpoint.parent), checkpoint))
    cfg.work_dir = str(folder)
    found = training.run_test(cfg, checkpoint, tta=tta)
    if found is None:
        return ''
    write_output(out, found.predictions, found.metrics)
    _draw_evaluation(folder, found, show_dir)
    return describe.describe_test(found.metrics, folder)


def sweep(
    sweep_file: str | Path,
    *,
    jobs: int = 1,
    work_dir: str | None = None,
    overrides: Overrides = (),
    retry_failed: bool = False,
    dry_run: bool = False,
) -> 'SweepReport':
    """Train every setting of a sweep file with every seed; started again, go on where it stopped.

    Args:
        sweep_file: Path of the sweep file.
        jobs: How many trials run at once, each with its share of the cores, or a GPU.
        work_dir: Folder of the sweep; the default is ``work_dirs/<name of the file>``.
        overrides: As ``--cfg-options``, for all trials.
        retry_failed: Try failed trials again.
        dry_run: List the trials and check their configs; write nothing.

    Raises:
        ConfigError: naming the mistakes in the sweep file and in the configs of all its settings.
        DataError: if a prepared folder is missing or is none.
        CheckpointError: if starting weights are missing or damaged.
        RunInUseError: if another process works on this sweep.
    """
    from flowercls.config.load import parse_overrides
    from flowercls.config.sweep_file import read_sweep_file
    from flowercls.sweep.sweep_folder import SweepReport, check_jobs, list_trials, run_folder_of

    check_jobs(jobs)
    sweep = read_sweep_file(sweep_file)
    extra = dict(overrides) if isinstance(overrides, dict) else parse_overrides(overrides)

    from flowercls.sweep.grid import make_trials

    folder = Path(work_dir) if work_dir else run_folder_of(sweep_file)
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') if dry_run else contextlib.nullcontext() as drawn:
        trials, notes = make_trials(sweep, extra, drawn)
        for load_from in dict.fromkeys(trial.load_from for trial in trials if trial.load_from):
            _find_weights(load_from)  # once, before several trials fetch or miss the same file
    print(*(f'{note}\n' for note in notes), sep='', end='', flush=True)
    if dry_run:
        return SweepReport(list_trials(trials, folder, retry_failed=retry_failed))
    return _run_sweep(sweep, trials, folder, jobs, retry_failed)


def _run_sweep(sweep: 'SweepFile', trials: list['Trial'], folder: Path, jobs: int, retry_failed: bool) -> 'SweepReport':
    from flowercls.sweep.display import Display
    from flowercls.sweep.launch import LocalLauncher
    from flowercls.sweep.ledger import Ledger
    from flowercls.sweep.run import SweepRun, plan_trials
    from flowercls.sweep.sweep_folder import LEDGER_FILE, occupied_sweep_folder
    from flowercls.visualization.scalars import read_epochs

    with occupied_sweep_folder(folder):
        ledger = Ledger(folder / LEDGER_FILE)
        all_progress = plan_trials(trials, folder, ledger, retry_failed=retry_failed)
        with Display(jobs) as display:
            SweepRun(folder, ledger, LocalLauncher(jobs), read_epochs, display.show).run(all_progress)
        return _after_the_last_trial(sweep, all_progress, folder)


def _after_the_last_trial(sweep: 'SweepFile', all_progress: list['Progress'], folder: Path) -> 'SweepReport':
    """What is made of a sweep's trials: this is the place for whatever looks at all of them."""
    from flowercls.sweep.out_of_fold import collect_out_of_fold
    from flowercls.sweep.sweep_folder import describe_sweep

    return describe_sweep(all_progress, folder, collect_out_of_fold(sweep, all_progress, folder))


def _starting_weights(cfg: 'Config') -> Path | None:
    return _find_weights(cfg.load_from) if cfg.get('load_from') else None


def _find_weights(load_from: str) -> Path:
    from flowercls.models.weights import find_weights

    return find_weights(load_from)


def _draw_curves(folder: Path, runner) -> None:
    from flowercls.visualization.curves import plot_curves

    if runner.rank == 0:
        plot_curves(folder, runner.message_hub.runtime_info.get('best_epoch'))


def _draw_evaluation(folder: Path, found: 'Evaluation | None', show_dir: str | None = None) -> None:
    if found is None:
        return
    from flowercls.datasets.decode import decode_rgb
    from flowercls.visualization.confusion import plot_confusion
    from flowercls.visualization.gallery import plot_mistakes
    from flowercls.visualization.photos import draw_photos
    from flowercls.visualization.reliability import plot_reliability

    plot_confusion(found.metrics, folder / 'confusion.png')
    plot_reliability(found.metrics, folder / 'reliability.png')
    if found.photos:
        plot_mistakes(found.predictions, found.metrics, lambda i: decode_rgb(found.photos[i]), folder / 'mistakes.png')
        if show_dir is not None:
            draw_photos(found.predictions, lambda i: decode_rgb(found.photos[i]), show_dir)
