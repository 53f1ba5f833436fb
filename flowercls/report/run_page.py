"""``report.html`` of a run folder."""

import shlex
from pathlib import Path

import numpy as np

from flowercls.config.diff import flatten
from flowercls.config.overrides import parse_overrides
from flowercls.core import layout
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.terminal import tool_command
from flowercls.evaluate.intervals import wilson_interval
from flowercls.evaluate.metrics import SCALARS, most_confused, photos_title
from flowercls.evaluate.optimism import best_epoch_optimism, chose_the_epoch, seen_clause, selection_clause
from flowercls.evaluate.predictions import Answers, unescaped
from flowercls.evaluate.scalars import read_epochs
from flowercls.report import page
from flowercls.report.facts import answer_card, data_card, environment_of, exports_of

REQUIRED = {'top1', 'top1_interval', 'n', 'per_class', 'confusion'}  # of a metrics.json
MAX_MISTAKES, MAX_CONFUSED, MAX_CLASSES = 24, 10, 30
PICTURES = {
    'curves': layout.CURVES_PICTURE,
    'confusion': layout.CONFUSION_PICTURE,
    'reliability': layout.RELIABILITY_PICTURE,
    'mistakes': layout.MISTAKES_PICTURE,
    'heatmaps': layout.MISTAKES_HEATMAPS_PICTURE,
}


def write_run_report(folder: str | Path) -> Path:
    """Write or replace ``report.html`` of a run, from what its folder holds; returns its path.

    Nothing that lies in the folder is run. `draw_run` makes the pictures.

    Args:
        folder: A run folder, finished or not.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(folder)
    config, metrics = page.read_config(folder), page.read_json(folder / layout.METRICS_FILE) or {}
    source = min(folder.glob(f'{layout.SOURCE_PREFIX}*'), default=None)
    checkpoint = metrics.get('checkpoint')
    if not isinstance(checkpoint, str) or Path(checkpoint).name != checkpoint:  # a file of the run folder
        checkpoint = None
    weights = page.read_json(folder / f'{checkpoint}.json') if checkpoint else None
    config_path, epochs = str(folder / layout.CONFIG_FILE), read_epochs(folder / layout.SCALARS_FILE)
    return page.write_page(
        folder,
        'run.html.j2',
        config=config,
        config_text=page.read_text(folder / layout.CONFIG_FILE),
        source_name=source.name.removeprefix(layout.SOURCE_PREFIX) if source else '',
        source_text=page.read_text(source) if source else '',
        options=_options(page.read_text(folder / layout.COMMAND_FILE), config),
        card=data_card(config),
        answer=answer_card(folder, config, metrics, epochs),
        epochs=epochs,
        scalars=SCALARS,
        evaluations=_evaluations(folder, metrics),
        mistakes=_mistakes(folder),
        max_mistakes=MAX_MISTAKES,
        max_classes=MAX_CLASSES,
        pictures=_pictures(folder),
        is_validated=config.get('val_dataloader', True) is not None,
        weights={'name': checkpoint, **weights} if weights else {},
        environment=environment_of(folder, config),
        calibration=page.read_json(folder / layout.CALIBRATION_FILE) or {},
        exports=exports_of(folder),
        predict=tool_command('predict', folder, 'PHOTOS') if checkpoint else '',
        calibrate=tool_command('predict', '--calibrate', folder),
        export=tool_command('export', folder, '--format', 'onnx') if checkpoint else '',
        resolved=tool_command('train', config_path),
        test=tool_command('test', config_path, folder / checkpoint) if checkpoint else '',
        finish=tool_command('train', config_path, '--resume', '--work-dir', folder),
        compare=tool_command('compare', folder, 'OTHER_RUN'),
        sweep=_sweep_report(folder),
    )


def _options(commands: str, config: dict) -> list[tuple[str, object]]:
    """Return the keys that the last start set with ``--cfg-options``, each with its value in the run's config."""
    try:
        words = shlex.split(commands.splitlines()[-1])
        values = words[words.index('--cfg-options') + 1 :]
        number = next((i for i, word in enumerate(values) if word.startswith('--')), len(values))
        overrides = flatten(parse_overrides(values[:number]))
    except (LookupError, ValueError, ConfigError):  # no such command
        return []
    in_run = flatten(config)
    return [(key, in_run.get(key, value)) for key, value in overrides.items()]


def _pictures(folder: Path) -> dict[str, Path | None]:
    return {name: page.existing_picture(folder / file) for name, file in PICTURES.items()}


def _evaluations(folder: Path, metrics: dict) -> list[dict]:
    """Return the figures of the validation set, then of each test, as the page shows them."""
    tests = folder.glob(f'{layout.TEST_PREFIX}*/{layout.METRICS_FILE}')
    results, clause = [(folder, metrics)], selection_clause(best_epoch_optimism(folder))
    results += [
        (path.parent, page.read_json(path) or {}) for path in sorted(tests, key=lambda path: path.stat().st_mtime_ns)
    ]
    evaluations = []
    for place, content in results:
        if content.keys() >= REQUIRED:
            try:
                is_selected = place == folder or _is_test_selected(place, content, folder)
                evaluations.append(
                    {**_evaluation(place, content), 'clause': clause if is_selected else seen_clause(content)}
                )
            except page.MALFORMED:
                continue
    return evaluations


def _is_test_selected(folder: Path, metrics: dict, run: Path) -> bool:
    try:
        return chose_the_epoch(Answers.read_csv(folder / layout.PREDICTIONS_FILE).images, metrics, run)
    except DataError:
        return False


def _evaluation(folder: Path, metrics: dict) -> dict:
    confusion, names = metrics['confusion'], list(metrics['per_class'])
    hits = sum(row[i] for i, row in enumerate(confusion))
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    return {
        'title': photos_title(metrics).removeprefix('the ')
        + ', with test-time augmentation' * bool(metrics.get('tta')),
        'folder': folder.name,
        'is_test': folder.name.startswith(layout.TEST_PREFIX),
        'pictures': _pictures(folder),
        'metrics': {**metrics, 'top1_interval': wilson_interval(hits, metrics['n'])},
        'hits': hits,
        'names': names,
        'classes': [
            {
                **metrics['per_class'][name],
                'name': name,
                'photos': sum(confusion[i]),
                'predicted': predicted[i],
                'recall_interval': wilson_interval(confusion[i][i], sum(confusion[i])) if sum(confusion[i]) else None,
                'precision_interval': wilson_interval(confusion[i][i], predicted[i]) if predicted[i] else None,
            }
            for i, name in enumerate(names)
        ],
        'confused': [
            (names[true], names[pred], photos, sum(confusion[true]))
            for true, pred, photos in most_confused(np.array(confusion))[:MAX_CONFUSED]
        ],
    }


def _mistakes(folder: Path) -> list[tuple] | None:
    """Return the rows of mistakes.csv; None without a usable file."""
    table = page.read_table(folder / layout.MISTAKES_FILE)
    if table is None:
        return None
    try:
        return [
            (unescaped(image), unescaped(label), unescaped(pred), 100 * float(score))
            for image, label, pred, score in table[1]
        ]
    except ValueError:  # not a file of ours
        return None


def _sweep_report(folder: Path) -> str | None:
    """Return the link to the report of the sweep that the run is a trial of."""
    parent = folder.absolute().parent
    is_trial = parent.name == layout.TRIALS_DIR and (parent.parent / layout.LEDGER_FILE).is_file()
    return f'../../{layout.REPORT_FILE}' if is_trial else None
