"""A checkpoint → its figures."""

import contextlib
from pathlib import Path

from flowercls.commands.shared import Overrides, draw_evaluation, warn_of_trust


def test(
    config: str | Path,
    checkpoint: str | Path,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    out_item: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    trust_checkpoint: bool = False,
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
        trust_checkpoint: Open the checkpoint even if it holds more than plain data, and so could run code.
        overrides: As ``--cfg-options``.
        **flags: ``amp`` and ``launcher``, as `flowercls.train.run_config.Flags`.

    Returns:
        The last block to show: figures and where they are.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, of another model or of other classes.
    """
    from flowercls.evaluate.output import check_output, check_show_dir, write_output
    from flowercls.train.run_config import Flags, ready_config
    from flowercls.train.run_dir import check_checkpoint_exists

    checkpoint = Path(checkpoint)
    check_output(out, out_item)
    check_show_dir(show_dir)
    check_checkpoint_exists(checkpoint)
    cfg = ready_config(config, overrides, Flags(**flags))

    from flowercls.core.distributed import decide_once
    from flowercls.train import run_summary, tester
    from flowercls.train.run_dir import results_folder

    with contextlib.ExitStack() as stack:  # the main process alone makes the folder, and clears it away
        place = results_folder(Path(work_dir or checkpoint.parent), checkpoint)
        folder = decide_once(lambda: stack.enter_context(place))
        cfg.work_dir = str(folder)
        if trust_checkpoint:
            warn_of_trust(checkpoint)
        found = tester.run_test(cfg, checkpoint, tta=tta, trusted=trust_checkpoint)
        if found is None:
            return ''
        write_output(out, found.predictions, found.metrics)
        draw_evaluation(folder, found, show_dir)
        return run_summary.describe_test(found.metrics, folder)
