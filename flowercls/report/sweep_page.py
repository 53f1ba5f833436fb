"""``report.html`` of a sweep folder."""

import shlex
from pathlib import Path

from flowercls.compare import rows as words
from flowercls.compare.comparison_files import table_notes
from flowercls.compare.phrases import p_text
from flowercls.core import layout
from flowercls.core.errors import DataError
from flowercls.core.terminal import as_duration, tool_command
from flowercls.evaluate.optimism import mean_optimism, selection_clause
from flowercls.evaluate.predictions import Predictions
from flowercls.report import page
from flowercls.report.facts import data_card, environment_of
from flowercls.sweep.ledger import FINISHED, STARTED, Entry, Ledger

MAX_DOUBTFUL = 20
STATES = {STARTED: 'not finished'}
OLD_WORDS = {True: words.NOT_TOLD_APART, False: words.WORSE, None: None}  # by what older versions call ``tied``


def write_sweep_report(folder: str | Path, problem: str = '') -> Path:
    """Write or replace ``report.html`` of a sweep, from what its folder holds; returns its path.

    Args:
        folder: The sweep folder.
        problem: The reason why its trials could not be compared, if there is one.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(folder)
    trials = _trials(folder)
    validated = [trial['folder'] for trial in trials if trial['state'] == FINISHED and trial['top1'] is not None]
    first = next((trial['folder'] for trial in trials if (trial['folder'] / layout.CONFIG_FILE).is_file()), folder)
    config = page.read_config(first)
    source = _sweep_file(folder)
    comparison, ledger = folder / f'{layout.COMPARISON_STEM}.json', folder / layout.LEDGER_FILE
    is_old = comparison.is_file() and ledger.is_file() and comparison.stat().st_mtime_ns < ledger.stat().st_mtime_ns
    return page.write_page(
        folder,
        'sweep.html.j2',
        trials=trials,
        clause=selection_clause(mean_optimism(validated), 'the epochs') if validated else '',
        finished=sum(trial['state'] == FINISHED for trial in trials),
        comparison=_comparison(comparison),
        words=words,
        notes=table_notes,
        is_old=is_old,
        problem=problem,
        picture=page.existing_picture(comparison.with_suffix('.png')),
        out_of_fold=_out_of_fold(folder),
        doubtful=page.read_table(folder / layout.DOUBTFUL_LABELS_FILE),
        doubtful_picture=page.existing_picture(folder / layout.DOUBTFUL_LABELS_PICTURE),
        max_doubtful=MAX_DOUBTFUL,
        source=source,
        source_text=page.read_text(source) if source else '',
        first=first,
        card=data_card(config),
        environment=environment_of(first, config),
        compare=tool_command('compare', folder),
        reports=f'{tool_command("report", folder)}/{layout.TRIALS_DIR}/* {shlex.quote(str(folder))}',
    )


def _sweep_file(folder: Path) -> Path | None:
    """Return the sweep file that the recorded command names; None if it is not found from the current folder."""
    try:
        path = Path(shlex.split(page.read_text(folder / layout.COMMAND_FILE))[2])  # python tools/sweep.py SWEEP_FILE
    except (IndexError, ValueError):  # no such command
        return None
    return path if path.is_file() else None


def _trials(folder: Path) -> list[dict]:
    """Return every trial of the ledger; without a ledger, of the folders there are."""
    entries = list(Ledger(folder / layout.LEDGER_FILE).latest().values())
    if not entries:
        for path in sorted((folder / layout.TRIALS_DIR).glob(f'*/{layout.CONFIG_FILE}')):
            metrics = page.read_json(path.with_name(layout.METRICS_FILE))
            name, state = path.parent.name, FINISHED if metrics else STARTED
            entries.append(Entry('', name, 0, state, f'{layout.TRIALS_DIR}/{name}', (metrics or {}).get('top1')))
    return [
        {
            'name': Path(entry.run).name,
            'folder': folder / entry.run,
            'state': entry.state,
            'state_text': STATES.get(entry.state, entry.state),
            'top1': entry.top1,
            'time': '-' if entry.time_s is None else as_duration(entry.time_s),
            'error': entry.error or '',
            'report': report if (folder / (report := Path(entry.run, layout.REPORT_FILE))).is_file() else None,
        }
        for entry in entries
    ]


def _comparison(path: Path) -> dict | None:
    content = page.read_json(path)
    if content is None or not content.get('settings'):
        return None
    try:
        for row in content['settings']:
            row['model_p'] = '-' if row.get('model_p_value') is None else p_text(row['model_p_value'])
            if row.get('verdict') == 'tied':
                row['verdict'] = OLD_WORDS[True]
        for row in [*content['settings'], *content.get('effects', [])]:
            row['p'] = '-' if row.get('p_value') is None else p_text(row['p_value'])
        for effect in content.get('effects', []):
            _ = effect['points'] - (effect['half_width'] or 0)
            if 'tied' in effect:
                effect['verdict'] = words.BEST if effect['level'] == effect['best'] else OLD_WORDS[effect['tied']]
        if cells := content.get('cells'):
            rows = {row['setting']: row for row in content['settings']}
            cells['found'] = [[rows.get(name) for name in line] for line in cells['settings']]
            cells['levels'] = [list(levels.values()) for levels in cells['rows']]
        _ = [*content['verdict'], *content.get('left_out', [])]
    except page.MALFORMED:
        return None
    return content


def _out_of_fold(folder: Path) -> list[dict]:
    """Return the figures over all folds, for each file of predictions."""
    figures = []
    for path in sorted(folder.glob(f'{layout.OOF_PREDICTIONS_STEM}*.csv')):
        try:
            metrics = Predictions.read_csv(path).metrics()
        except DataError as error:
            figures.append({'file': path.name, 'error': str(error)})
        else:
            hits = sum(row[i] for i, row in enumerate(metrics['confusion']))
            figures.append({'file': path.name, 'metrics': metrics, 'hits': hits})
    return figures
