"""Write a trained model as a file for other programs. An ONNX file is compared with the checkpoint first."""

import argparse
import os
from collections.abc import Sequence

from flowercls.commands.shared import check_parents
from flowercls.core import signals

EXAMPLES = (
    'work_dirs/resnet50_flower                   # export/resnet50_flower.onnx in the run folder',
    'work_dirs/resnet50_flower --format onnx html package card',
    'work_dirs/resnet50_flower --int8 --out model.onnx',
)
FORMATS = {
    'onnx': 'photos in, probabilities out',
    'html': 'a page to try it',
    'package': 'a .zip with the ONNX file and a program for it',
    'slim': 'the checkpoint without the state of training',
    'safetensors': 'the weights',
    'card': 'the model card',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        'model', help='a run folder (its best checkpoint is taken), a .pth, or an export for html, package and card'
    )
    parser.add_argument(
        '--format',
        nargs='+',
        choices=FORMATS,
        metavar='FORMAT',
        default=['onnx'],
        help=f'one or several (default: onnx). {"; ".join(f"{name}: {text}" for name, text in FORMATS.items())}',
    )
    parser.add_argument('--out', metavar='PATH', help='a folder, or a file (default: export/ in the run folder)')
    parser.add_argument(
        '--data',
        metavar='FOLDER',
        help='the prepared folder of the run, if it is not where the run found it',
    )
    parser.add_argument(
        '--int8', action='store_true', help='compute in 8 bits: smaller, faster, a little less accurate'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist')
    parser.add_argument(
        '--allow-mismatch',
        action='store_true',
        help='write also if the answers differ too much, or cannot be compared',
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
    int8: bool = False,
    overwrite: bool = False,
    allow_mismatch: bool = False,
    trust_checkpoint: bool = False,
) -> str:
    """Write a trained model in other formats; an ONNX graph is compared with the checkpoint on validation photos first.

    Args:
        model: A run folder, whose best checkpoint is taken; a checkpoint; for html, package and card also an export.
        format: One format or several.
        out: A folder, or the file of one format; None is ``export/`` in the run folder.
        data: The prepared folder of the run, where it has moved.
        int8: Compute in 8 bits, in the formats that hold an ONNX graph.
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

    if out is not None:
        check_parents('--out', out)
    formats = [format] if isinstance(format, str) else list(format)
    exported = exporter.export(
        model,
        formats,
        out=out,
        data=data,
        int8=int8,
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
