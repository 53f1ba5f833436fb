"""Reading ``scalars.json``: what happened in each epoch.

``curves.png``: how a run went, at a glance.
"""

import json
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from flowercls.report.figures import new_figure, save_png


def read_epochs(path: str | Path) -> list[dict]:
    """One dict an epoch, in order, from a run's ``scalars.json``.

    Keys, where they were measured: ``epoch``, ``lr``, ``train_loss``, ``train_top1``, ``nll`` (the validation loss) and
    ``accuracy/top1``. Of an epoch that was run twice, after a resume, the later figures count. A half-written last
    line, as a crash leaves it, is passed over.
    """
    epochs: dict[int, dict] = {}
    for line in Path(path).read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict) or not isinstance(record.get('step'), int):
            continue
        if 'train_loss' in record:
            epochs[record['step']] = record
        elif 'accuracy/top1' in record:
            epochs.setdefault(record['step'], {'epoch': record['step']}).update(record)
    return [epochs[step] for step in sorted(epochs)]


pass

# Two colours that stay apart in grey print and for colour-blind eyes (Okabe and Ito); the line style differs too.
TRAIN = {'color': '#E69F00', 'linestyle': '--', 'marker': 'o', 'markersize': 3}
VAL = {'color': '#0072B2', 'linestyle': '-', 'marker': 's', 'markersize': 3}


def plot_curves(run_folder: str | Path, best_epoch: int | None = None) -> Path | None:
    """Draw losses and accuracies of every epoch of a run.

    Args:
        run_folder: A run folder; its ``scalars.json`` is read.
        best_epoch: Ringed in the accuracy plot.

    Returns:
        The picture's path, or None where no epoch was finished.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(run_folder)
    scalars = folder / 'scalars.json'
    epochs = read_epochs(scalars) if scalars.is_file() else []
    if not epochs:
        return None
    with new_figure(10, 4) as figure:
        losses, accuracies = figure.subplots(1, 2)
        _draw(losses, epochs, 'train_loss', 'nll', ylabel='loss (nats)')
        _draw(accuracies, epochs, 'train_top1', 'accuracy/top1', ylabel='top-1 accuracy (%)')
        _mark_best(accuracies, epochs, best_epoch)
        figure.suptitle(folder.name)
        save_png(figure, folder / 'curves.png')
    return folder / 'curves.png'


def _draw(axes, epochs: list[dict], train_key: str, val_key: str, ylabel: str) -> None:
    # The training loss is what is optimised: with label smoothing and augmentation, where the config has them.
    for key, style, label in ((train_key, TRAIN, 'training, as optimised'), (val_key, VAL, 'validation')):
        points = [(record['step'], record[key]) for record in epochs if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), **style, label=label)
    first, last = epochs[0]['step'], epochs[-1]['step']
    axes.set(xlabel='epoch', ylabel=ylabel, xlim=(first - 0.5, last + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()


def _mark_best(axes, epochs: list[dict], best_epoch: int | None) -> None:
    best = next((r['accuracy/top1'] for r in epochs if r['step'] == best_epoch and 'accuracy/top1' in r), None)
    if best is not None:
        axes.plot(best_epoch, best, marker='o', markersize=12, markerfacecolor='none', color='black')
        axes.set_title(f'best validation top-1: {best:.2f} % at epoch {best_epoch}', fontsize='medium')
