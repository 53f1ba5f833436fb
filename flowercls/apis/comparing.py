"""Finished runs → which setting is better."""

from collections.abc import Sequence
from pathlib import Path


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
    from flowercls.comparison.comparison_files import as_markdown, comparison_stem, write_comparison
    from flowercls.comparison.summary import compare_runs
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
