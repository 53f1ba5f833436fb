"""A run folder → its ``report.html``."""

import shlex
from pathlib import Path

from flowercls.evaluate.intervals import wilson_interval
from flowercls.report import rerun
from flowercls.report.curves import read_epochs
from flowercls.report.facts import data_card, environment_of
from flowercls.report.page import REPORT_FILE, existing_picture, read_config, read_json, read_table, write_page
from flowercls.report.rerun import config_changes

NEEDED = {'top1', 'top1_interval', 'n', 'per_class', 'confusion'}  # of a metrics.json
MOST_MISTAKES, MOST_CONFUSED, MOST_CLASSES = 24, 10, 30
PICTURES = ('curves', 'confusion', 'reliability', 'mistakes')
SPLITS = {'train': 'training', 'val': 'validation', 'test': 'test'}


def write_run_report(folder: str | Path, source: str | Path | None = None) -> Path:
    """Write ``report.html`` of a run from what its folder holds; one that is there is renewed.

    Args:
        folder: A run folder, finished or not.
        source: The config file the run was started with, where the caller knows it.

    Returns:
        The file's path.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(folder)
    config = read_config(folder)
    metrics = read_json(folder / 'metrics.json')
    card, changes = data_card(config), config_changes(folder, config, source)
    return write_page(
        folder / REPORT_FILE,
        'run.html.j2',
        title=folder.absolute().name,
        folder=folder,
        config=config,
        config_text=_text(folder / 'config.py'),
        changes=changes,
        card=card,
        epochs=_epochs(folder),
        evaluations=_evaluations(folder, metrics),
        mistakes=_mistakes(folder),
        pictures=_pictures(folder),
        is_validated=config.get('val_dataloader', True) is not None,
        weights=_weights(folder, metrics),
        environment=environment_of(folder, config),
        prepare=rerun.prepare_command(card, config),
        train=rerun.train_command(folder, changes),
        test=rerun.test_command(folder, _checkpoint_in(metrics)),
        finish=rerun.finish_command(folder),
        compare=f'{shlex.join(["python", "tools/compare.py", str(folder)])} OTHER_RUN',
        renew=shlex.join(['python', 'tools/report.py', str(folder)]),
        sweep=_sweep_of(folder),
    )


def _text(path: Path) -> str:
    return path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''


def _pictures(folder: Path) -> dict[str, Path | None]:
    return {name: existing_picture(folder / f'{name}.png') for name in PICTURES}


def _epochs(folder: Path) -> list[dict]:
    path = folder / 'scalars.json'
    return read_epochs(path) if path.is_file() else []


def _evaluations(folder: Path, metrics: dict | None) -> list[dict]:
    """Of the validation set, then of each test, as the page shows them."""
    tests = sorted(folder.glob('test_*/metrics.json'), key=lambda path: path.stat().st_mtime_ns)
    found = [(folder, metrics)] + [(path.parent, read_json(path)) for path in tests]
    shown = [_shown(place, content) for place, content in found if content and content.keys() >= NEEDED]
    return [one for one in shown if one is not None]


def _shown(place: Path, metrics: dict) -> dict | None:
    try:
        low, high = metrics['top1_interval']
        return evaluation(place, {**metrics, 'top1_interval': [float(low), float(high)]})
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):  # not what we write
        return None


def evaluation(folder: Path, metrics: dict) -> dict:
    """The figures of a metrics.json, with an interval for each share."""
    confusion = metrics['confusion']
    names = list(metrics['per_class'])
    title = SPLITS.get(metrics.get('split'), metrics.get('split') or 'validation')
    return {
        'title': f'{title} set' + (', with test-time augmentation' if metrics.get('tta') else ''),
        'folder': folder.name,
        'is_test': folder.name.startswith('test_'),
        'pictures': _pictures(folder),
        'metrics': metrics,
        'hits': sum(row[i] for i, row in enumerate(confusion)),
        'names': names,
        'classes': [_class_row(i, name, metrics) for i, name in enumerate(names)],
        'confused': _most_confused(confusion, names),
        'shows_matrix': len(names) <= MOST_CLASSES,
    }


def _class_row(index: int, name: str, metrics: dict) -> dict:
    confusion, scores = metrics['confusion'], metrics['per_class'][name]
    hits, predicted = confusion[index][index], sum(row[index] for row in confusion)
    photos = sum(confusion[index])
    return {
        'name': name,
        'photos': photos,
        'predicted': predicted,
        'recall': scores['recall'],
        'recall_interval': wilson_interval(hits, photos) if photos else None,
        'precision': scores['precision'],
        'precision_interval': wilson_interval(hits, predicted) if predicted else None,
        'f1': scores['f1'],
    }


def _most_confused(confusion: list[list[int]], names: list[str]) -> list[tuple[str, str, int, int]]:
    """(true, predicted, photos, photos of the true class), the most frequent first."""
    pairs = [
        (names[true], names[pred], count, sum(row))
        for true, row in enumerate(confusion)
        for pred, count in enumerate(row)
        if true != pred and count
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MOST_CONFUSED]


def _mistakes(folder: Path) -> dict | None:
    """The first rows of mistakes.csv and how many there are; None without the file."""
    table = read_table(folder / 'mistakes.csv')
    try:
        rows = [(image, label, pred, 100 * float(score)) for image, label, pred, score in table[1]] if table else None
    except ValueError:  # not what we write
        rows = None
    if rows is None:
        return None
    return {'shown': rows[:MOST_MISTAKES], 'number': len(rows)}


def _weights(folder: Path, metrics: dict | None) -> dict[str, str]:
    """File name and SHA-256 of the best checkpoint, as its side file has it."""
    name = _checkpoint_in(metrics)
    side = read_json(folder / f'{name}.json') if name else None
    return {'name': name, 'sha256': side['sha256']} if side and 'sha256' in side else {}


def _checkpoint_in(metrics: dict | None) -> str | None:
    """Name of the best checkpoint, a file of the run folder."""
    name = (metrics or {}).get('checkpoint')
    return name if isinstance(name, str) and Path(name).name == name else None


def _sweep_of(folder: Path) -> str | None:
    """The way to the report of the sweep that the run is a trial of."""
    parent = folder.absolute().parent
    is_trial = parent.name == 'trials' and (parent.parent / 'ledger.jsonl').is_file()
    return f'../../{REPORT_FILE}' if is_trial else None
