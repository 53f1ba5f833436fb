"""All words of a comparison: the verdict as sentences, and the tables as Markdown."""

from flowercls.compare.comparison import Comparison
from flowercls.compare.rows import EffectRow, SettingRow, effect_rows, setting_rows
from flowercls.evaluate.intervals import INTERVAL
from flowercls.evaluate.significance.power import POWER, ROUNDING, SampleSize
from flowercls.evaluate.significance.settings import ERROR_RATE

ORDINALS = ('', 'First', 'Second', 'Third', 'Fourth', 'Fifth', 'Sixth', 'Seventh', 'Eighth', 'Ninth', 'Tenth')
NUM_NAMED = 3  # runs in a sentence
# A verdict of a table, as tables, pictures and pages call it.
VERDICT_WORDS = {'best': 'best', 'tied': 'tied for best', 'worse': 'worse', None: 'no verdict'}


def verdict_lines(comparison: Comparison) -> list[str]:
    """Return the verdict, a line each: the best, the tied, the worse, what would tell more apart, how sure it is."""
    return [
        _look_number(comparison) + _best_and_tied(comparison),
        *(
            f'{d.name} is worse than {d.best}: {d.points:+.2f} points ({_p_equation(d.p_value)}), '
            + ('a minimum cannot be given.' if d.at_least is None else f'at least {d.at_least:.2f} points worse.')
            for d in comparison.differences
            if not d.tied
        ),
        *(_how_to_tell_apart(size, comparison) for size in comparison.sample_sizes),
        *_how_sure(comparison),
        *_test_result(comparison),
    ]


def _look_number(comparison: Comparison) -> str:
    """Return what stands before a verdict whose error rate depends on other verdicts; nothing before a first one."""
    look = comparison.look
    if not comparison.differences or (look.number == 1 and look.declared is None):
        return ''
    ordinal = ORDINALS[look.number] if look.number < len(ORDINALS) else f'Look {look.number}'
    if look.is_declared:
        return f'{ordinal} look of the {len(look.declared)} that were declared. '
    reasons = []
    if look.declared:
        reasons.append(f'declared are looks at {_listed(look.declared)} seeds a setting')
    if look.late:
        reasons.append(f'looks at {_listed(look.late)} seeds were declared only after a verdict')
    return f'{ordinal} look: its error rate is not controlled{"".join(f"; {reason}" for reason in reasons)}. '


def _listed(numbers: tuple[int, ...]) -> str:
    return ', '.join(map(str, numbers))


def _best_and_tied(comparison: Comparison) -> str:
    best = comparison.best
    if not comparison.differences:
        return f'There is only one setting, {best.name}, so there is nothing to compare it with.'
    highest = f'{best.name} has the highest top-1, {best.top1:.2f} %'
    tied = [difference for difference in comparison.differences if difference.tied]
    if not tied:
        return f'{highest}, and is better than every other setting.'
    equal = [difference.name for difference in tied if abs(difference.points) < ROUNDING]
    if equal:
        highest += f', and so {"has" if len(equal) == 1 else "have"} {", ".join(equal)}'
    listed = '; '.join(f'{d.name} ({d.points:+.2f} points, {_p_equation(d.p_value)})' for d in tied)
    return f'{highest}. Tied with it, as the difference may be chance: {listed}.'


def _how_to_tell_apart(size: SampleSize, comparison: Comparison) -> str:
    difference = next(d for d in comparison.differences if d.name == size.name)
    if abs(difference.points) < ROUNDING:
        return f'{size.name} and {difference.best} are right equally often, so no sample can tell them apart.'
    photos = f'about {_two_digits(size.photos)} photos (now {comparison.num_photos:,})' if size.photos else ''
    seeds = f'{size.seeds:,} seeds a setting' if size.seeds else ''
    if not size.seeds_seen:
        need = f'{photos or "no number of photos"} would be enough for these very models; seed noise is unknown.'
    elif photos and seeds:
        need = f'{photos} would be enough, or {seeds} on the present photos.'
    elif photos:
        need = f'{photos} would be enough; more seeds alone would not.'
    elif seeds:
        need = f'{seeds} on the present photos would be enough; more photos alone would not.'
    else:
        need = 'it takes more photos and more seeds together; neither alone would be enough.'
    return f'To tell {size.name} from {difference.best}, if they differ by {abs(difference.points):.2f} points: {need}'


def _two_digits(number: int) -> str:
    return f'{float(f"{number:.1e}"):,.0f}'


def _how_sure(comparison: Comparison) -> list[str]:
    one_photo = f'One photo is {100 / comparison.num_photos:.2f} points.'
    selected = ['the best epoch of each run'] * bool(comparison.best_epoch_only)
    if not comparison.differences:
        optimism = [f'The figure is optimistic: {name} was chosen by these same photos.' for name in selected]
        return [one_photo, *optimism, *_assumptions(comparison)]
    at_most = f'at most {100 * ERROR_RATE:.0f}'  # over all declared looks
    error_rate = f'If all settings were equally good, {at_most} of 100 such comparisons would call one worse'
    if comparison.has_seeds:
        error_rate += f', and {at_most} a level of a factor' * bool(comparison.effects)
        error_rate += ' (assuming equal seed variance)'
    lines = [f'{one_photo} {error_rate}.' if comparison.look.is_controlled else one_photo]
    if comparison.sample_sizes:
        lines[0] += f' Numbers of photos and seeds are rough; they find the difference in {100 * POWER:.0f} % of cases.'
    if not comparison.has_seeds:
        lines.append(
            'Note: with one seed a setting, the verdict is about these very models; another seed may reverse it. Three '
            'seeds a setting would show that.'
        )
    selected.append('the best setting')
    were_chosen = f'{" and ".join(selected)} {"were" if len(selected) > 1 else "was"} chosen by these same photos'
    lines.append(f'These figures are optimistic: {were_chosen}.')
    lines += _assumptions(comparison)
    if comparison.num_folds:
        lines.append(
            f'{comparison.num_folds} folds: every photo counts once, classified by a model that was not trained on it.'
        )
    return lines


def _assumptions(comparison: Comparison) -> list[str]:
    lines, runs = [], comparison.best_epoch_only
    if runs:
        num_runs = sum(len(setting.all_runs) for setting in comparison.settings)
        named = ', '.join(run.name for run in runs[:NUM_NAMED])
        named += f' and {len(runs) - NUM_NAMED} more' * (len(runs) > NUM_NAMED)
        lines.append(
            f'{len(runs)} of {num_runs} runs count with their best epoch, as they have no predictions of the last one: '
            f'{named}.'
        )
    lines += [
        f'{path}: cannot be read, so the looks that it may tell of are not counted.' for path in comparison.look.unread
    ]
    if comparison.groups_unknown:
        lines.append(f'Each photo counts by itself, as groups of look-alikes are unknown: {comparison.groups_unknown}')
    return lines


def _test_result(comparison: Comparison) -> list[str]:
    best = comparison.best.name
    score = next((score for score in comparison.test_scores if score.name == best), None)
    if score is not None:
        low, high = score.interval
        num_runs = len(next(setting for setting in comparison.settings if setting.name == best).all_runs)
        tested = f', {score.num_seeds} of its {num_runs} runs tested' if score.num_seeds < num_runs else ''
        return [
            f'Confirmed on the test set, whose photos took no part in the choice: {best} has top-1 {score.top1:.2f} % '
            f'({comparison.num_test_photos:,} photos, {INTERVAL} {low:.1f}-{high:.1f}{tested}).'
        ]
    if comparison.test_scores:
        return [f'{best} was not tested on the test set; only tested settings have a confirmed figure.']
    if comparison.num_folds:
        return []
    return [
        'No test set has confirmed the figures. Test the setting that you choose, once, on photos that took no part in '
        'the choice (prepare with --test-ratio, then test), or validate in folds.'
    ]


def as_markdown(comparison: Comparison, picture: str | None = None) -> str:
    """Return the tables and the verdict as Markdown, with the name of a ``picture`` to show."""
    photos = f'{comparison.num_photos:,} validation photos'
    photos += f' in {comparison.num_folds} folds' if comparison.num_folds else ''
    several = len(comparison.settings) > 1
    title = f'Comparison of {len(comparison.settings)} settings' if several else comparison.best.name
    parts = [
        f'# {title} on {photos}',
        _settings_table(setting_rows(comparison), with_test=bool(comparison.test_scores)),
        '± is the standard deviation over seeds; differences are on the same photos, their intervals hold together.',
        '\n'.join(f'- {line}' for line in verdict_lines(comparison)),
    ]
    if comparison.effects:
        head = ['factor', 'level', 'top-1 (%)', 'to its best level (points)', 'its interval', 'p', 'verdict']
        rows = [[row.factor, row.level, f'{row.top1:.2f}', *_difference_cells(row)] for row in effect_rows(comparison)]
        parts += ['## Each factor by itself, averaged over the others', _table(head, rows)]
    if also := comparison.settings[0].also:
        head = ['key', *(setting.name for setting in comparison.settings)]
        rows = [[f'`{key}`', *(setting.also[key] for setting in comparison.settings)] for key in also]
        parts += ['## What else differs between the settings', _table(head, rows)]
    if comparison.left_out:
        parts += ['## Left out', '\n'.join(f'- {line}' for line in comparison.left_out)]
    if picture:
        parts.append(f'![accuracy, differences and learning curves]({picture})')
    return '\n\n'.join(parts) + '\n'


def _settings_table(rows: list[SettingRow], *, with_test: bool) -> str:
    head = ['setting', 'top-1 (%)', 'seeds', INTERVAL, 'to the best (points)', 'its interval', 'p', 'verdict']
    cells = []
    for row in rows:
        spread = '' if row.top1_spread is None else f' ± {row.top1_spread:.2f}'
        accuracy = [f'{row.top1:.2f}{spread}', str(row.seeds), f'{row.top1_low:.1f}-{row.top1_high:.1f}']
        test = ['-' if row.test_top1 is None else f'{row.test_top1:.2f}'] * with_test
        cells.append([row.setting, *accuracy, *_difference_cells(row), *test])
    return _table(head + ['test top-1 (%)'] * with_test, cells)


def _difference_cells(row: SettingRow | EffectRow) -> list[str]:
    return [
        '-' if row.difference is None else f'{row.difference:+.2f}',
        '-' if row.difference_low is None else f'{row.difference_low:+.2f} to {row.difference_high:+.2f}',
        '-' if row.p_value is None else p_text(row.p_value),
        _verdict_cell(row.verdict),
    ]


def _verdict_cell(verdict: str | None) -> str:
    if verdict is None:
        return '-'
    return VERDICT_WORDS[verdict] if verdict == 'worse' else f'**{VERDICT_WORDS[verdict]}**'


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(cell.replace("|", "/") for cell in line)} |' for line in lines)


def p_text(p_value: float) -> str:
    """Return a p-value for a table: ``0.16``, or the bound ``< 0.001``."""
    return '< 0.001' if p_value < 0.001 else f'{p_value:.2g}'


def _p_equation(p_value: float) -> str:
    """Return a p-value for a sentence: ``p = 0.16`` or ``p < 0.001``."""
    text = p_text(p_value)
    return f'p {text}' if text.startswith('<') else f'p = {text}'
