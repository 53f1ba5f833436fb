"""The story of ``export``: one graph is made and measured, then every format is written from it.

``export.json`` lies beside the files and has an entry for each format::

    "onnx" | "onnx_int8" | "html" | "html_int8" | "package" | "package_int8" | "slim" | "safetensors" | "card": {
        "file": name in the folder, "bytes": size, "sha256": of the file,
        "checkpoint": name, "checkpoint_sha256": of the checkpoint, "checkpoint_bytes": size,
        "flowercls_version": that wrote it,
        "parity": {                                   # of formats that hold an ONNX graph; null for the others
            "measured": true, "photos": n, "max_difference": of a probability, "mean_difference": same,
            "same_answer": k, "top1": {"checkpoint": percent, "onnx": percent}, "loss": points,
            "loss_interval": [low, high], "p_value": of the paired test, "worst": [{"image", "max_difference"}, ...],
            "problems": [text, ...],                  # why it would be refused without --allow-mismatch
            "run_precision": {"precision": "bf16", "max_difference", "mean_difference", "same_answer"} | null
        } | {"measured": false, "reason": text},
        "int8": {                                     # only with --int8: fp32 ONNX against int8 ONNX
            "photos": n, "max_difference", "mean_difference", "same_answer", "top1": {"fp32", "int8"}, "loss",
            "loss_interval", "p_value", "bytes": {"fp32", "int8"}, "ms": {"fp32", "int8"}, "problems": [text, ...]
        }
    }
"""

import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import flowercls
from flowercls.core import layout
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.files import atomic_write, disk_errors, sha256_of, write_json
from flowercls.use.export.model_card import card_text
from flowercls.use.export.package_zip import CARD_FILE, write_package
from flowercls.use.export.slim import write_safetensors, write_slim
from flowercls.use.load import load, model_file
from flowercls.use.model import Model

ONNX, PACKAGE, SAFETENSORS, SLIM, CARD = 'onnx', 'package', 'safetensors', 'slim', 'card'
# Format -> how its file's name ends, and the packages that writing it needs.
SUFFIXES = {ONNX: '.onnx', PACKAGE: '.zip', SAFETENSORS: '.safetensors', SLIM: '.pth', CARD: '.md'}
_GRAPH_NEEDS = ('onnx', 'onnxscript', 'onnxruntime')
NEEDS = {ONNX: _GRAPH_NEEDS, PACKAGE: _GRAPH_NEEDS, SAFETENSORS: ('safetensors',)}
WITH_GRAPH = (ONNX, PACKAGE)
_UNFIT = re.compile(r'[\x00-\x1f<>:"/\\|?*]')  # in the name of a file, on any system


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        paths: By format.
        records: The formats' entries in export.json.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    records: dict[str, dict] = field(default_factory=dict)


def export(
    source: str | Path,
    formats: Sequence[str],
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    overwrite: bool = False,
    allow_mismatch: bool = False,
    trusted: bool = False,
    report: Callable[[str], object] = print,
) -> Exported:
    """Write a model in other formats, and what was measured of them into export.json.

    Args:
        source: A run folder or a checkpoint.
        formats: Names in `SUFFIXES`.
        out: A folder, or the file of a single format; None is ``export/`` beside the checkpoint.
        data: The prepared folder with the validation photos, where the run's own has moved.
        overwrite: Replace files that exist.
        allow_mismatch: Write also where the gate says no.
        trusted: Open a checkpoint whose config imports modules of its own, which can run code.
        report: Called with each line for the user, before the files are written.

    Raises:
        ConfigError: if a file exists, the network cannot be exported, or the gate says no.
        CheckpointError: if the model cannot be used.
        DataError: if a validation photo cannot be read.
        DiskError: if the disk is full or may not be written to.
    """
    formats = list(dict.fromkeys(formats))
    _check_packages(formats)
    file = model_file(source)
    model = load(file, device='cpu', trusted=trusted)
    targets = _targets(model, formats, file.absolute().parent if out is None else Path(out), is_default=out is None)
    _check_free(targets, overwrite)

    parity, content = None, b''
    if set(formats) & {*WITH_GRAPH}:
        content, parity = _graph(model, trusted, data, allow_mismatch, report)

    exported = Exported()
    for name, path in targets.items():
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        _write(name, path, model, content, parity)
        exported.paths[name] = path
        exported.records[name] = {
            'file': path.name,
            'bytes': path.stat().st_size,
            'sha256': sha256_of(path),
            'checkpoint': model.facts['checkpoint'],
            'checkpoint_bytes': model.source.stat().st_size,
            'checkpoint_sha256': model.facts['sha256'],
            'flowercls_version': flowercls.__version__,
            'parity': parity if name in WITH_GRAPH else None,
        }
        _add_to_record(path.with_name(layout.EXPORT_FILE), {name: exported.records[name]})
    return exported


def _write(name: str, path: Path, model: Model, content: bytes, parity: dict | None) -> None:
    """Write the file of one format."""
    if name == ONNX:
        with atomic_write(path, 'wb') as stream:
            stream.write(content)
    elif name == SLIM:
        write_slim(model, path)
    elif name == SAFETENSORS:
        write_safetensors(model, path)
    else:
        card = card_text(model.facts, model.calibration, parity or _recorded_parity(model, path))
        if name == PACKAGE:
            write_package(path, content, model.facts, card)
        else:
            with atomic_write(path) as stream:
                stream.write(card)


def _check_packages(formats: list[str]) -> None:
    missing = [name for each in formats for name in NEEDS.get(each, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'--format {" ".join(formats)}: needs {", ".join(dict.fromkeys(missing))}. '
            'Fix: pip install "flowercls[export]", in a checkout pip install -e ".[export]"'
        )


# ---------------------------------------------------------------- where to


def _targets(model: Model, formats: list[str], out: Path, *, is_default: bool) -> dict[str, Path]:
    """Return the file of each format."""
    if is_default:
        out = out / layout.EXPORT_DIR
    elif out.suffix and not out.is_dir():
        if len(formats) > 1 or out.suffix.lower() != SUFFIXES[formats[0]]:
            wanted = 'a folder' if len(formats) > 1 else f'a folder, or a name that ends in {SUFFIXES[formats[0]]}'
            raise ConfigError(f'--out {out}: does not fit --format {" ".join(formats)}. Fix: name {wanted}.')
        return {formats[0]: out}
    # A name in a stranger's file must not lead out of the folder.
    stem = _UNFIT.sub('_', str(model.facts.get('name') or '')).strip('. ') or 'model'
    names = {SLIM: f'{model.source.stem.removesuffix("_slim")}_slim.pth', CARD: CARD_FILE}
    return {name: out / names.get(name, f'{stem}{SUFFIXES[name]}') for name in formats}


def _check_free(targets: dict[str, Path], overwrite: bool) -> None:
    existing = [str(path) for path in targets.values() if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f'{", ".join(existing)}: exists already. Fix: add --overwrite, or name another --out.')


def _add_to_record(path: Path, entries: dict) -> None:
    """Put entries into an export.json; those of other formats stay."""
    write_json(path, {**_read_record(path), **entries})


def _read_record(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _recorded_parity(model: Model, path: Path) -> dict | None:
    """Return what was measured of an ONNX file of this checkpoint that lies beside ``path``."""
    entry = _read_record(path.with_name(layout.EXPORT_FILE)).get(ONNX, {})
    return entry.get('parity') if entry.get('checkpoint_sha256') == model.facts['sha256'] else None


# ---------------------------------------------------------------- the graph and its gate


def _graph(
    model: Model, trusted: bool, data: str | Path | None, allow_mismatch: bool, report: Callable[[str], object]
) -> tuple[bytes, dict]:
    """Return the ONNX file's content and its parity record."""
    from flowercls.use.export import onnx_graph
    from flowercls.use.export.onnx_file import CALIBRATION_KEY, CLASSES_KEY, FACTS_KEY, PIPELINE_KEY
    from flowercls.use.onnx_model import OnnxModel

    photos, reason = _validation_photos(model, data)
    if not photos and not allow_mismatch:
        raise ConfigError(
            f'{reason} So it cannot be shown that the export answers as the checkpoint. Fix: --data FOLDER names the '
            'prepared folder of the run; --allow-mismatch writes without the proof.'
        )
    metadata = {FACTS_KEY: model.facts, CLASSES_KEY: model.class_names, PIPELINE_KEY: model.test_pipeline}
    if model.calibration is not None:
        metadata[CALIBRATION_KEY] = model.calibration
    graph = onnx_graph.joined_graph(
        onnx_graph.preprocessing_graph(model),
        onnx_graph.network_graph(model, class_maps=onnx_graph.has_class_maps(model)),
        metadata,
    )
    content = graph.SerializeToString()
    if not photos:
        report(f'parity      not measured: {reason}')
        return content, {'measured': False, 'reason': reason}
    parity = _measure(model, OnnxModel(model.source.with_suffix('.onnx'), content), photos, trusted, report)
    if parity['problems'] and not allow_mismatch:
        worst = ', '.join(f'{photo["image"]} ({photo["max_difference"]:.4f})' for photo in parity['worst'])
        raise ConfigError(
            f'{model.source}: the ONNX graph does not answer as the checkpoint: {"; ".join(parity["problems"])}. '
            f'Worst photos: {worst}. Nothing was written. Fix: use the checkpoint, or add --allow-mismatch.'
        )
    return content, parity


def _validation_photos(model: Model, data: str | Path | None) -> tuple[list[tuple[Path, int]], str]:
    """Return the validation photos with labels; or none, and why."""
    try:
        photos = model.photos_of('val', data)
    except DataError as error:
        if data is not None:
            raise
        return [], f'The validation photos are not here ({str(error).partition(" Fix: ")[0]}).'
    missing = [path for path, _ in photos if not path.is_file()]
    if missing:
        return [], f'{len(missing)} of {len(photos)} validation photos are missing, first {missing[0]}.'
    return photos, '' if photos else 'The run has no validation photos.'


def _measure(
    model: Model, onnx_model: Model, photos: list[tuple[Path, int]], trusted: bool, report: Callable[[str], object]
) -> dict:
    import numpy as np

    from flowercls.use.export.parity import distance, distance_text, loss_text, parity_record, scores_of

    labels, paths = np.array([label for _, label in photos]), [path for path, _ in photos]
    precision = model.network.precision
    models = [model, onnx_model]
    if precision != 'fp32':
        models.append(load(model.source, precision='fp32', device='cpu', trusted=trusted))
    own, exported, *rest = scores_of(models, paths, 'comparing')
    reference = rest[0] if rest else own
    images = [f'{path.parent.name}/{path.name}' for path in paths]
    parity = {'measured': True, **parity_record(reference, exported, labels, images), 'run_precision': None}
    top1 = parity['top1']
    report(f'parity      {distance_text(parity, len(labels))} validation photos')
    report(f'accuracy    checkpoint {top1["checkpoint"]:.2f} %, ONNX {top1["onnx"]:.2f} %: {loss_text(parity)}')
    if rest:
        parity['run_precision'] = {'precision': precision, **distance(reference, own)}
        text = distance_text(parity['run_precision'], len(labels))
        report(f'{precision}        the checkpoint itself, to fp32: {text}')
    return parity
