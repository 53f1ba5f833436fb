"""Turn a folder of photos per class into a verified, de-duplicated and split data set.

The raw folder is only read. Every file in it is accounted for: copied, converted, skipped with a reason, or left out as
a duplicate.
"""

import argparse
import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core import signals
from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.core.layout import OVERVIEW_FILE
from flowercls.core.terminal import next_steps, tool_command

if TYPE_CHECKING:
    from flowercls.data.prepare.preparation import PrepareResult
    from flowercls.features.photo_vectors import PhotoVectors
    from flowercls.models.classifier import StagedClassifier

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
        '--near-duplicate-method',
        choices=('hash', 'features'),
        default='hash',
        help='how they are found: hash knows mirrored and quarter-turned copies, features of a network also other '
        'turns and crops, and needs --weights (default: %(default)s)',
    )
    parser.add_argument(
        '--near-duplicate-distance',
        type=float,
        metavar='D',
        help='the largest distance of two photos that look alike, 0: the same picture (default: 0.6 of hash, 0.4 of '
        'features)',
    )
    parser.add_argument(
        '--weights',
        metavar='FILE',
        help='network for --near-duplicate-method features: a file of weights that a shipped config names, a config, a '
        'run folder or a checkpoint',
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
    result = prepare(raw, out, **arguments)
    print(result.summary())
    if not result.dry_run:
        config = ('configs/resnet50_flower.py', '--cfg-options', f'data_root={out}')
        steps = {str(Path(out, OVERVIEW_FILE)): 'look at it', tool_command('train', *config): 'or another config'}
        print(f'\n{next_steps(steps)}')
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
    weights: str | os.PathLike | None = None,
    **options,
) -> 'PrepareResult':
    """Make a prepared folder from a folder of photos per class.

    Args:
        raw_dir: Folder with one sub-folder of photos per class; None with ``demo`` or ``download``.
        out_dir: Folder to make.
        demo: Draw flowers and prepare them.
        download: Address of an archive to fetch and prepare.
        sha256: Digest the archive must have; without it the digest is recorded at the first download.
        weights: Network for ``near_duplicate_method='features'``, see `photo_vectors_of`.
        **options: As `flowercls.data.prepare.preparation.prepare`.

    Raises:
        DataError: if the photos cannot be used.
        ConfigError: if ``out_dir`` is not free to be written.
    """
    if weights is not None:
        if options.get('near_duplicate_method') != 'features':
            raise ConfigError(f'--weights {weights}: nothing uses it. Fix: add --near-duplicate-method features.')
        options['photo_vectors'] = photo_vectors_of(weights)
    if demo:
        from flowercls.data.drawn_flowers.drawn import prepare_drawn

        return prepare_drawn(out_dir, **options)
    if download:
        return _prepare_download(download, out_dir, sha256, options)
    from flowercls.data.prepare.preparation import prepare as prepare_folder

    return prepare_folder(raw_dir, out_dir, **options)


def photo_vectors_of(weights: str | os.PathLike) -> 'PhotoVectors':
    """Return the network of ``--weights`` as a function: photos → vectors.

    Args:
        weights: A run folder, a checkpoint of a run, a file of starting weights that a shipped config names, or a
            config, whose ``load_from`` is taken.

    Raises:
        CheckpointError: if there is no such file, it is damaged, or its network is not known.
        ConfigError: if it is an export, or a config that cannot be read.
    """
    from flowercls.core.terminal import silence_false_alarms

    path = Path(weights)
    if path.suffix.lower() in ('.onnx', '.zip'):
        raise ConfigError(
            f'--weights {path}: an export tells classes and no features. Fix: name a run folder or a checkpoint (.pth).'
        )
    if (
        path.suffix != '.py' and path.parent.name and not path.exists()
    ):  # a bare name may lie in the folder FLOWERCLS_WEIGHTS
        raise CheckpointError(f'--weights {path}: no such file or folder. Fix: correct the path.')
    silence_false_alarms()
    from flowercls.features.photo_vectors import PhotoVectors
    from flowercls.models.checkpoint_reader import read_checkpoint
    from flowercls.models.weight_files import find_weights
    from flowercls.use.load import load

    if path.suffix == '.py':
        return PhotoVectors(*_network_of(path))
    if path.is_dir():
        model = load(path)
        return PhotoVectors(model.network, model.image_size)
    file = find_weights(str(weights))
    content = read_checkpoint(file)
    if isinstance(content.get('meta'), dict) and 'cfg' in content['meta']:
        model = load(file)
        return PhotoVectors(model.network, model.image_size)
    return PhotoVectors(*_network_of(_config_naming(file), file))


def _config_naming(file: Path) -> Path:
    """Return the shipped config that starts from a file of this name; complete experiments come first."""
    from flowercls.config.loader import CONFIGS

    for config in (*sorted(CONFIGS.glob('*.py')), *sorted(CONFIGS.glob('_base_/models/*.py'))):
        if re.search(rf"^load_from = .*\b{re.escape(file.name)}'", config.read_text(encoding='utf-8'), re.MULTILINE):
            return config
    raise CheckpointError(
        f'--weights {file}: no shipped config starts from a file of this name, so its network is not known. Fix: name '
        'a config (.py) whose load_from is this file, or a run folder or checkpoint of your own.'
    )


def _network_of(config: Path, file: Path | None = None) -> tuple['StagedClassifier', tuple[int, int]]:
    """Return the network of a config with its starting weights or those of ``file``, and the size of its images."""
    from mmpretrain.registry import MODELS

    import flowercls.registration  # noqa: F401  registers our classes
    from flowercls.config.data_keys import derive_num_classes
    from flowercls.config.loader import find_config, load_config
    from flowercls.config.model_keys import derive_starting_weights
    from flowercls.models.checkpoint_reader import read_checkpoint
    from flowercls.models.weight_files import find_weights
    from flowercls.models.weights import apply_weights

    cfg = load_config(find_config(config))
    derive_starting_weights(cfg)
    derive_num_classes(cfg, 1000)  # any number: the classification layer is not used
    settings = {key: value for key, value in cfg.model.items() if key not in ('train_cfg', 'init_cfg', 'pretrained')}
    settings.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    if file is None:
        if not cfg.get('load_from'):
            raise ConfigError(f'--weights {config}: names no weights. Fix: set `load_from` in it.')
        file = find_weights(cfg.load_from)
    with MODELS.switch_scope_and_registry('mmpretrain'):
        network = MODELS.build(settings)
    apply_weights(network, read_checkpoint(file), source=str(file), class_names=[])
    size = cfg.get('input_size', 224)
    return network, (size, size)


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
