"""The verbs: prepare, train, test, compare. Each takes what a command line gives and returns what it prints last.

Heavy packages are imported inside, so that ``--help`` and a misspelt key are answered at once.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config

    from flowercls.datasets.prepare import PreparedReport
    from flowercls.engine.run_folder import RunPlan

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
    return describe.describe_result(result) if the_runner.rank == 0 else ''


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
        overrides: As ``--cfg-options``.
        **flags: ``amp`` and ``launcher``, as `flowercls.engine.ready.Flags`.

    Returns:
        The last block to show: figures and where they are.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, of another model or of other classes.
    """
    from flowercls.engine.ready import Flags, ready_config
    from flowercls.engine.run_folder import check_checkpoint_exists
    from flowercls.evaluation.output import check_output, write_output

    checkpoint = Path(checkpoint)
    check_output(out, out_item)
    check_checkpoint_exists(checkpoint)
    cfg = ready_config(config, overrides, Flags(**flags))

    from flowercls.engine import describe, training
    from flowercls.engine.distributed import decide_once
    from flowercls.engine.run_folder import results_folder

    folder = decide_once(lambda: results_folder(Path(work_dir or checkpoint.parent), checkpoint))
    cfg.work_dir = str(folder)
    result = training.run_test(cfg, checkpoint)
    if result is None:
        return ''
    write_output(out, *result)
    return describe.describe_test(result[1], folder)


def compare(paths: Sequence[str | Path], *, out: str | Path | None = None) -> str:
    """Compare runs on the photos they share: which settings are best, which cannot be told apart.

    Args:
        paths: Run folders and sweep folders.
        out: Folder for ``comparison.md``, ``.csv``, ``.json`` and ``.png``; the default is that of the sweep, if one
            sweep is all that is named, else ``comparison``.

    Returns:
        What is in comparison.md, and where the files are.

    Raises:
        ConfigError: if a path is neither a run nor a sweep folder.
        DataError: if results are missing or unreadable, or the runs do not share photos and labels.
    """
    from flowercls.sweep.comparison_files import as_markdown, comparison_stem, write_comparison
    from flowercls.sweep.summary import compare_runs
    from flowercls.visualization.comparison_plots import plot_comparison
    from flowercls.visualization.scalars import read_epochs

    folders = [Path(path) for path in paths]
    comparison = compare_runs(folders)
    scalars = {
        setting.name: [run.folder / 'scalars.json' for runs in setting.runs.values() for run in runs]
        for setting in comparison.settings
    }
    curves = {name: [read_epochs(path) for path in found if path.is_file()] for name, found in scalars.items()}
    stem = comparison_stem(folders, out)
    write_comparison(comparison, stem)
    picture = stem.with_name(f'{stem.name}.png')
    plot_comparison(picture, comparison.scores, comparison.differences, comparison.num_photos, curves)
    return f'{as_markdown(comparison)}\nwritten     {stem}.md, .csv, .json, .png'


def _starting_weights(cfg: 'Config') -> Path | None:
    from flowercls.models.weights import find_weights

    return find_weights(cfg.load_from) if cfg.get('load_from') else None


def _draw_curves(folder: Path, runner) -> None:
    from flowercls.visualization.curves import plot_curves

    if runner.rank == 0:
        plot_curves(folder, runner.message_hub.runtime_info.get('best_epoch'))
