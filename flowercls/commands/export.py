"""Write a trained model as a file for other programs. An ONNX file is compared with the checkpoint first."""

import argparse
import os
from collections.abc import Sequence

from flowercls.core import signals

EXAMPLES = (
    'work_dirs/resnet50_flower                   # export/resnet50_flower.onnx in the run folder',
    'work_dirs/resnet50_flower --format package card slim',
    'work_dirs/resnet50_flower --data /mnt/flower --out model.onnx',
)
FORMATS = {
    'onnx': 'photos in, probabilities out',
    'package': 'a .zip with the ONNX file and all that its user needs',
    'slim': 'the checkpoint without the state of its training',
    'safetensors': 'the weights',
    'card': 'the model card, README.md',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('model', help='a run folder (its best checkpoint is taken), or a .pth')
    parser.add_argument(
        '--format',
        nargs='+',
        choices=FORMATS,
        default=['onnx'],
        help='; '.join(f'{name}: {text}' for name, text in FORMATS.items()) + ' (default: onnx)',
    )
    parser.add_argument('--out', metavar='PATH', help='a folder, or a file (default: export/ in the run folder)')
    parser.add_argument(
        '--data',
        metavar='FOLDER',
        help='the prepared folder, if it is not where the run found it: the validation photos',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist')
    parser.add_argument(
        '--allow-mismatch',
        action='store_true',
        help='write also if the export answers otherwise, or cannot be compared',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='use a checkpoint whose config imports code of its own: only if you trust its source',
    )


def run(options: argparse.Namespace) -> int:
    """Export, print where the files are, return the exit code."""
    arguments = dict(vars(options))
    print(export(arguments.pop('model'), arguments.pop('format'), **arguments))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'files that were written are whole'


def export(
    model: str | os.PathLike,
    format: str | Sequence[str] = 'onnx',  # noqa: A002  the flag's name
    *,
    out: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
    overwrite: bool = False,
    allow_mismatch: bool = False,
    trust_checkpoint: bool = False,
) -> str:
    """Write a trained model in other formats; an ONNX graph is compared with the checkpoint on validation photos first.

    Args:
        model: A run folder, whose best checkpoint is taken, or a checkpoint.
        format: One format or several.
        out: A folder, or the file of one format; None is ``export/`` in the run folder.
        data: The prepared folder with the validation photos, where the run's own has moved.
        overwrite: Replace files that exist.
        allow_mismatch: Write also if the export answers otherwise, or cannot be compared.
        trust_checkpoint: Use a checkpoint whose config imports code of its own.

    Returns:
        The last block to show: the files, and how to use them.

    Raises:
        ConfigError: if a file exists, the network cannot be exported, or the export answers otherwise.
        CheckpointError: if the model cannot be used.
        DataError: if a validation photo cannot be read.
        DiskError: if the disk is full or may not be written to.
    """
    from flowercls.core.terminal import as_size, tool_command
    from flowercls.use.export import exporter

    formats = [format] if isinstance(format, str) else list(format)
    exported = exporter.export(
        model,
        formats,
        out=out,
        data=data,
        overwrite=overwrite,
        allow_mismatch=allow_mismatch,
        trusted=trust_checkpoint,
    )
    lines = []
    for name, path in exported.paths.items():
        record = exported.records[name]
        before = f' (checkpoint: {as_size(record["checkpoint_bytes"])})' if name == 'slim' else ''
        lines.append(f'{name:<11} {path}  {as_size(record["bytes"])}{before}')
    if 'onnx' in exported.paths:
        lines.append(f'use it      {tool_command("predict", exported.paths["onnx"], "PHOTOS")}')
    return '\n'.join(lines)
