"""A sweep's folder → its ``report.html``."""

import shlex
from datetime import timedelta
from pathlib import Path

from flowercls.compare.wording import p_text
from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Predictions
from flowercls.report.facts import data_card, environment_of
from flowercls.report.page import REPORT_FILE, existing_picture, read_config, read_json, read_table, write_page
from flowercls.report.rerun import REPOSITORY, prepare_command
from flowercls.sweep.ledger import FINISHED, STARTED, Entry, Ledger

MOST_DOUBTFUL = 20
STATES = {STARTED: 'not finished'}


def write_sweep_report(folder: str | Path, sweep_file: str | Path | None = None, problem: str = '') -> Path:
    """Write ``report.html`` of a sweep from what its folder holds; one that is there is renewed.

    Args:
        folder: Of the sweep.
        sweep_file: Its sweep file, where the caller knows it.
        problem: Why its trials could not be compared, where they could not.

    Returns:
        The file's path.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    folder = Path(folder)
    trials = _trials(folder)
    first = next((trial['folder'] for trial in trials if (trial['folder'] / 'config.py').is_file()), folder)
    config, source = read_config(first), _sweep_file(folder, sweep_file)
    card = data_card(config)
    return write_page(
        folder / REPORT_FILE,
        'sweep.html.j2',
        title=folder.absolute().name,
        folder=folder,
        trials=trials,
        finished=sum(trial['state'] == FINISHED for trial in trials),
        comparison=_comparison(folder),
        is_old=_is_older(folder / 'comparison.json', folder / 'ledger.jsonl'),
        problem=problem,
        picture=existing_picture(folder / 'comparison.png'),
        out_of_fold=_out_of_fold(folder),
        doubtful=read_table(folder / 'doubtful_labels.csv'),
        doubtful_picture=existing_picture(folder / 'doubtful_labels.png'),
        most_doubtful=MOST_DOUBTFUL,
        source=source,
        source_text=source.read_text(encoding='utf-8', errors='replace') if source else '',
        first=first,
        card=card,
        environment=environment_of(first, config),
        prepare=prepare_command(card, config),
        again=_command(folder, source),
        compare=shlex.join(['python', 'tools/compare.py', str(folder)]),
        reports=f'python tools/report.py {shlex.quote(str(folder))}/trials/* {shlex.quote(str(folder))}',
        renew=shlex.join(['python', 'tools/report.py', str(folder)]),
    )


def _trials(folder: Path) -> list[dict]:
    """What became of each, from the ledger; without one, from the folders there are."""
    entries = list(Ledger(folder / 'ledger.jsonl').latest().values()) or _found_trials(folder)
    return [_trial(folder, entry) for entry in entries]


def _found_trials(folder: Path) -> list[Entry]:
    found = []
    for path in sorted((folder / 'trials').glob('*/config.py')):
        metrics = read_json(path.with_name('metrics.json'))
        state = FINISHED if metrics else STARTED
        found.append(Entry('', path.parent.name, 0, state, f'trials/{path.parent.name}', (metrics or {}).get('top1')))
    return found


def _trial(folder: Path, entry: Entry) -> dict:
    report = Path(entry.run, REPORT_FILE)
    return {
        'name': Path(entry.run).name,
        'folder': folder / entry.run,
        'state': entry.state,
        'said': STATES.get(entry.state, entry.state),
        'top1': entry.top1,
        'time': str(timedelta(seconds=round(entry.time_s))) if entry.time_s is not None else '-',
        'error': entry.error or '',
        'report': report if (folder / report).is_file() else None,
    }


def _comparison(folder: Path) -> dict | None:
    content = read_json(folder / 'comparison.json')
    if content is None or not content.get('settings'):
        return None
    try:
        for row in [*content['settings'], *content.get('effects', [])]:
            row['p'] = '-' if row.get('p_value') is None else p_text(row['p_value']).removeprefix('= ')
        for effect in content.get('effects', []):
            _ = effect['points'] - (effect['half_width'] or 0)
        _ = [*content['verdict'], *content.get('left_out', [])]
    except (TypeError, ValueError, LookupError, AttributeError):  # not what we write
        return None
    return content


def _is_older(path: Path, than: Path) -> bool:
    return path.is_file() and than.is_file() and path.stat().st_mtime_ns < than.stat().st_mtime_ns


def _out_of_fold(folder: Path) -> list[dict]:
    """The figures over all folds, one for each file of predictions."""
    found = []
    for path in sorted(folder.glob('oof_predictions*.csv')):
        try:
            metrics = Predictions.read_csv(path).metrics()
        except DataError as error:
            found.append({'file': path.name, 'error': str(error)})
        else:
            hits = sum(row[i] for i, row in enumerate(metrics['confusion']))
            found.append({'file': path.name, 'metrics': metrics, 'hits': hits})
    return found


def _sweep_file(folder: Path, sweep_file: str | Path | None) -> Path | None:
    """The file a sweep's folder is named after, unless the caller knows better."""
    name = Path('configs', 'sweeps', f'{folder.absolute().name}.py')
    places = [Path(sweep_file)] if sweep_file is not None else [name, REPOSITORY / name]
    return next((path for path in places if path.is_file()), None)


def _command(folder: Path, source: Path | None) -> str:
    """The one last typed; guessed from the folder's name where it was not written down."""
    typed = folder / 'command.txt'
    if typed.is_file():
        return typed.read_text(encoding='utf-8', errors='replace').strip()
    if source is None:
        return ''
    shown = source.relative_to(REPOSITORY) if source.is_relative_to(REPOSITORY) else source
    words = ['python', 'tools/sweep.py', str(shown)]
    return shlex.join(words if folder == Path('work_dirs', source.stem) else [*words, '--work-dir', str(folder)])
