"""Turn a folder of photos per class into a verified, de-duplicated and split data set.

The raw folder is only read. Every file in it is accounted for: copied, converted, skipped with a reason, or left out as
a duplicate.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core import signals
from flowercls.core.errors import ConfigError

if TYPE_CHECKING:
    from flowercls.data.prepare.preparation import PrepareResult

EXAMPLES = (
    'my_photos data/flower            # my_photos/daisy/..., my_photos/rose/..., split 8:2',
    'my_photos data/flower --dry-run  # only say what would be done',
    'my_photos data/flower --test-ratio 0.1 --folds 5',
    'my_sets data/flower --leaks drop # my_sets/train/daisy/..., my_sets/val/daisy/...: the split stays',
    'my_photos data/flower --labels labels.csv   # image,label: classes from a table',
    'my_photos data/flower --group-by "plant\\d+" # all photos of plant7 in one set',
    'my_photos data/flower2 --extend data/flower  # more photos: those of data/flower keep their set',
    'data/drawn --demo                # draw flowers, no photos needed',
    'data/flower --download https://example.org/flowers.zip --sha256 1f5c...',
)
USAGE = """%(prog)s RAW OUT [options]
       %(prog)s OUT --demo [options]
       %(prog)s OUT --download URL [--sha256 HEX] [options]"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    from flowercls.core.prepared_folder import VAL_RATIO  # here: other verbs do without

    parser.add_argument(
        'folders', nargs='+', metavar='RAW OUT', help='folder with one folder per class; folder to make'
    )
    parser.add_argument(
        '--split',
        choices=('auto', 'keep', 'new', 'ignore'),
        default='auto',
        help='sets that RAW has (train, val, ...): keep them, merge them into a new split, or ignore them and take the '
        'top folders for classes (default: auto, which keeps sets that are plain, and else asks)',
    )
    parser.add_argument(
        '--leaks',
        choices=('error', 'drop', 'allow'),
        default='error',
        help='photos in two sets of RAW: refuse them, drop them from training (against test also from validation), or '
        'allow them (default: error)',
    )
    parser.add_argument(
        '--labels',
        metavar='FILE',
        help='table (.csv, .tsv, .xlsx, .parquet) that says the class of each photo below RAW, instead of folders',
    )
    parser.add_argument(
        '--image-column',
        metavar='NAME',
        help='column of the table that names the photos; its name or number (default: guessed where obvious)',
    )
    parser.add_argument('--label-column', metavar='NAME', help='column of the classes, likewise')
    parser.add_argument('--set-column', metavar='NAME', help='column of the sets, likewise; none: there is none')
    parser.add_argument('--group-column', metavar='NAME', help='column of the groups, likewise; none: there is none')
    parser.add_argument(
        '--groups',
        metavar='FILE',
        help='table that says the group (plant, patient, camera, ...) of each photo; photos of one group stay in one '
        'set',
    )
    parser.add_argument(
        '--group-by',
        metavar='REGEX',
        help="photos are one group if this finds the same in their paths below RAW, such as 'plant\\d+' (what it "
        'captures in brackets, if anything)',
    )
    parser.add_argument(
        '--group-copies',
        action='store_true',
        help='photos that look like copies of one by their names (x_flip.jpg, x (1).jpg) stay in one set',
    )
    parser.add_argument('--val-ratio', type=float, help=f'share of each class for validation (default: {VAL_RATIO})')
    parser.add_argument('--test-ratio', type=float, help='share of each class for a test set (default: none)')
    parser.add_argument('--seed', type=int, help='seed of the split (default: 0)')
    parser.add_argument('--folds', type=int, metavar='K', help='also write lists for K-fold cross-validation')
    parser.add_argument(
        '--extend',
        metavar='MANIFEST',
        help='manifest.json of an old prepared folder, or the folder: its photos keep their set, new ones are split by '
        'its seed and shares',
    )
    parser.add_argument('--workers', type=int, help='processes that decode photos (default: one a CPU; 0: none)')
    parser.add_argument('--overwrite', action='store_true', help='move an existing OUT to OUT.bak-<time>')
    parser.add_argument(
        '--allow-tiny-classes', action='store_true', help='accept a class with a single photo, which only trains'
    )
    parser.add_argument(
        '--near-duplicates',
        choices=('group', 'drop', 'off'),
        default='group',
        help='photos that look alike: keep them in one set, keep one of them, or do not look for any (default: group)',
    )
    parser.add_argument(
        '--near-duplicate-method', choices=('hash',), default='hash', help='how they are found (default: %(default)s)'
    )
    parser.add_argument(
        '--near-duplicate-distance',
        type=float,
        metavar='D',
        help='the largest distance of two photos that look alike, 0: the same picture (default of hash: 0.6)',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='read and report, but write nothing (a download is removed again)',
    )
    parser.add_argument('--demo', action='store_true', help='draw flowers instead of reading RAW')
    parser.add_argument('--download', metavar='URL', help='fetch an archive of photos instead of reading RAW')
    parser.add_argument('--sha256', metavar='HEX', help='expected SHA-256 of the archive')


def run(options: argparse.Namespace) -> int:
    """Prepare, print the summary, return the exit code."""
    raw, out = _raw_and_out(options)
    arguments = {name: value for name, value in vars(options).items() if name != 'folders'}
    print(prepare(raw, out, **arguments).summary())
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what is left, and so what the user may do next."""
    if not options.download or options.dry_run:
        return 'nothing half-written is left'
    out = options.folders[0]
    return f'nothing half-written is left; what was fetched whole stays in {out}-raw and {out}-raw.download'


def _raw_and_out(options: argparse.Namespace) -> tuple[str | None, str]:
    if options.demo and options.download:
        raise ConfigError('--demo and --download exclude each other. Fix: leave one out.')
    if options.sha256 and not options.download:
        raise ConfigError('--sha256 is the digest of a download. Fix: add --download URL, or leave --sha256 out.')
    source = '--demo' if options.demo else '--download' if options.download else None
    if len(options.folders) != (1 if source else 2):
        expected = f'with {source} only OUT' if source else 'RAW and OUT'
        raise ConfigError(f'expected {expected}, got {" ".join(options.folders)}. Fix: see --help for examples.')
    return (None, options.folders[0]) if source else tuple(options.folders)


def prepare(
    raw_dir: str | Path | None,
    out_dir: str | Path,
    *,
    demo: bool = False,
    download: str | None = None,
    sha256: str | None = None,
    **options,
) -> 'PrepareResult':
    """Make a prepared folder from a folder of photos per class.

    Args:
        raw_dir: Folder with one sub-folder of photos per class; None with ``demo`` or ``download``.
        out_dir: Folder to make.
        demo: Draw flowers and prepare them.
        download: Address of an archive to fetch and prepare.
        sha256: Digest the archive must have; without it the digest is recorded at the first download.
        **options: As `flowercls.data.prepare.preparation.prepare`.

    Raises:
        DataError: if the photos cannot be used.
        ConfigError: if ``out_dir`` is not free to be written.
    """
    if demo:
        from flowercls.data.drawn_flowers.drawn import prepare_drawn

        return prepare_drawn(out_dir, **options)
    if download:
        return _prepare_download(download, out_dir, sha256, options)
    from flowercls.data.prepare.preparation import prepare as prepare_folder

    return prepare_folder(raw_dir, out_dir, **options)


def _prepare_download(url: str, out_dir: str | Path, sha256: str | None, options: dict) -> 'PrepareResult':
    """Keep the photos in ``<out_dir>-raw``; in a dry run nothing stays, not even what was fetched."""
    from flowercls.core.download import fetch_archive
    from flowercls.data.prepare.preparation import prepare as prepare_folder

    dry_run = options.get('dry_run', False)
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') if dry_run else contextlib.nullcontext() as folder:
        raw_dir = Path(folder, 'raw') if dry_run else Path(f'{Path(out_dir)}-raw')

        def fetch_raw() -> Path:
            archive = fetch_archive(url, raw_dir, sha256=sha256)
            new = 'not recorded in a dry run' if dry_run else 'recorded now, checked from now on'
            known = new if archive.recorded else 'as expected'
            print(f'photos in {archive.path}, SHA-256 of the archive {archive.sha256} ({known})', flush=True)
            return archive.path

        return prepare_folder(raw_dir, out_dir, fetch_raw=fetch_raw, **options)
