"""Curves: ``curves.png``, loss and accuracy of every epoch of a run; ``plan.png``, what a comparison could find."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from flowercls.core import palette
from flowercls.core.layout import CURVES_PICTURE, SCALARS_FILE
from flowercls.core.terminal import number_of_points
from flowercls.evaluate.optimism import best_epoch_optimism, selection_clause
from flowercls.evaluate.plan import Plan, curve_name
from flowercls.evaluate.scalars import read_epochs
from flowercls.evaluate.significance.power import POWER
from flowercls.report.figures import DASHES, new_picture

TRAINING_STYLE = {'color': palette.TRAINING, 'linestyle': '--', 'marker': 'o', 'markersize': 3}
VALIDATION_STYLE = {'color': palette.VALIDATION, 'linestyle': '-', 'marker': 's', 'markersize': 3}


def plot_curves(run_folder: str | Path, best_epoch: int | None = None) -> Path | None:
    """Draw losses and accuracies of every epoch of a run.

    Args:
        run_folder: A run folder; its ``scalars.json`` is read.
        best_epoch: Epoch to ring in the accuracy plot.

    Returns:
        The picture's path, or None if no epoch was finished.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(run_folder)
    epochs = read_epochs(folder / SCALARS_FILE)
    if not epochs:
        return None
    path = folder / CURVES_PICTURE
    with new_picture(path, 10, 4) as figure:
        losses, accuracies = figure.subplots(1, 2)
        _draw(losses, epochs, 'train_loss', 'nll', ylabel='loss (nats)')
        _draw(accuracies, epochs, 'train_top1', 'accuracy/top1', ylabel='top-1 accuracy (%)')
        best = next((r['accuracy/top1'] for r in epochs if r['step'] == best_epoch and 'accuracy/top1' in r), None)
        if best is not None:
            ring = {'marker': 'o', 'markersize': 12, 'markerfacecolor': 'none', 'color': palette.BEST}
            accuracies.plot(best_epoch, best, **ring)
            title = f'best validation top-1: {best:.2f} % at epoch {best_epoch}'
            clause = selection_clause(best_epoch_optimism(folder)).replace(', ', ',\n')
            accuracies.set_title(f'{title}\n{clause}'.strip(), fontsize='medium')
        figure.suptitle(folder.absolute().name)
    return path


def _draw(axes: Axes, epochs: list[dict], train_key: str, val_key: str, ylabel: str) -> None:
    # Label smoothing and augmentation are in the training loss, if the config has them.
    styles = ((train_key, TRAINING_STYLE, 'training, as optimised'), (val_key, VALIDATION_STYLE, 'validation'))
    for key, style, label in styles:
        points = [(record['step'], record[key]) for record in epochs if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), **style, label=label)
    first, last = epochs[0]['step'], epochs[-1]['step']
    axes.set(xlabel='epoch', ylabel=ylabel, xlim=(first - 0.5, last + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend()


def plot_powers(path: Path, plan: Plan) -> None:
    """Draw how often each difference is found, for each number of seeds, into the PNG file ``path``.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    question = plan.question
    with new_picture(path, 12, 4.5) as figure:
        worse, ruled_out = figure.subplots(1, 2, sharey=True)
        for number, findings in enumerate(plan.curves):
            style = {'color': palette.BLACK, 'linestyle': ':'}  # of models
            if findings[0].about == 'settings':
                style = {'color': palette.SETTINGS[(number - 1) % len(palette.SETTINGS)]}
                style['linestyle'] = DASHES[(number - 1) % len(DASHES)]
            style['linewidth'] = 3 if (findings[0].about, findings[0].seeds) == ('settings', question.seeds) else 1.5
            differences = [finding.difference for finding in findings]
            worse.plot(differences, [100 * f.found_worse for f in findings], label=curve_name(findings[0]), **style)
            if findings[0].ruled_out is not None:
                ruled_out.plot(differences, [100 * f.ruled_out for f in findings], **style)
        for axes, title in ((worse, 'found worse than the best'), (ruled_out, 'ruled out as the best')):
            axes.axhline(100 * POWER, color=palette.GREY, linewidth=0.8)
            axes.axvline(question.difference, color=palette.GREY, linewidth=0.8)
            axes.set(xlabel='true difference to the best setting (percentage points)', ylim=(0, 100))
            axes.set_title(title, fontsize='medium')
            axes.grid(alpha=0.3)
        worse.set_ylabel('share of comparisons (%)')
        figure.legend(loc='outside right center', frameon=False)
        figure.suptitle(
            f'{question.settings} settings, {question.photos:,} photos, accuracy {question.accuracy:g} %, seed scatter '
            f'{number_of_points(question.seed_scatter)}'
        )
