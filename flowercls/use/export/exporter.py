"""The story of ``export``: one graph is made and measured, then every format is written from it.

``export.json`` lies beside the files and has an entry for each format::

    "onnx" | "onnx_int8" | "html" | "html_int8" | "package" | "package_int8" | "slim" | "safetensors" | "card": {
        "file": name in the folder, "bytes": size, "sha256": of the file,
        "checkpoint": name, "checkpoint_sha256": of the checkpoint, "checkpoint_bytes": size of the file exported,
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
            "loss_interval", "p_value", "worst", "problems", "bytes": {"fp32", "int8"},
            "ms": {"fp32", "int8"}                    # of one photo, median
        } | null
    }
"""

import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import flowercls
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.files import atomic_write, disk_errors, sha256_of, write_json
from flowercls.core.layout import EXPORT_DIR, EXPORT_FILE, SPLIT_TITLES
from flowercls.use.export.onnx_file import CALIBRATION_KEY, CLASSES_KEY, FACTS_KEY, PIPELINE_KEY
from flowercls.use.load import ONNX_SUFFIXES, load, model_file
from flowercls.use.model import Model
from flowercls.use.onnx_model import OnnxModel, read_content
from flowercls.use.photos import spread_over_classes

WITH_GRAPH, WITH_WEIGHTS = ('onnx', 'html', 'package'), ('slim', 'safetensors')
# Format -> how its file's name ends.
SUFFIXES = {
    'onnx': '.onnx',
    'html': '.html',
    'package': '.zip',
    'slim': '.pth',
    'safetensors': '.safetensors',
    'card': '.md',
}
GRAPH_NEEDS = ('onnx', 'onnxscript', 'onnxruntime')
NEEDS = {**dict.fromkeys(WITH_GRAPH, GRAPH_NEEDS), 'safetensors': ('safetensors',)}
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


@dataclass(frozen=True)
class Graph:
    """An ONNX file before it is written.

    Attributes:
        content: Of the file.
        calibration: Content of calibration.json, if it holds for this graph.
        steps: See `onnx_graph.described`.
        measured: ``parity`` and ``int8`` of its entries in export.json.
    """

    content: bytes
    calibration: dict | None
    steps: list[dict]
    measured: dict


def export(
    source: str | Path,
    formats: Sequence[str],
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    int8: bool = False,
    overwrite: bool = False,
    allow_mismatch: bool = False,
    trusted: bool = False,
    report: Callable[[str], object] = print,
) -> Exported:
    """Write a model in other formats, and what was measured of them into export.json.

    Args:
        source: A run folder or a checkpoint; for formats that need no weights also an .onnx file or a package.
        formats: Names in `SUFFIXES`.
        out: A folder, or the file of a single format; None is ``export/`` beside the checkpoint.
        data: The prepared folder of the run, where it has moved.
        int8: Compute in 8 bits, in the formats that hold a graph.
        overwrite: Replace files that exist.
        allow_mismatch: Write also where a gate says no.
        trusted: Open a checkpoint whose config imports modules of its own, which can run code.
        report: Called with each line for the user, before the files are written.

    Raises:
        ConfigError: if a file exists, the network cannot be exported, or a gate says no.
        CheckpointError: if the model cannot be used.
        DataError: if a photo cannot be read.
        DiskError: if the disk is full or may not be written to.
    """
    formats = list(dict.fromkeys(formats))
    file = model_file(source)
    if file.suffix.lower() not in ONNX_SUFFIXES:
        _check_packages(formats)
    _check_fits(formats, file, out, int8)
    model = load(file) if file.suffix.lower() in ONNX_SUFFIXES else load(file, device='cpu', trusted=trusted)
    targets = _targets(model, formats, out, int8)
    _check_free(targets, overwrite)

    graph = None
    if isinstance(model, OnnxModel):
        reason = f'made from {file.name}, which was compared when it was written'
        measured = {'parity': {'measured': False, 'reason': reason}}
        graph = Graph(read_content(file), model.calibration, model.steps, measured)
    elif {*formats} & {*WITH_GRAPH}:
        graph = _measured_graph(model, data, int8, allow_mismatch, trusted, report)

    exported = Exported()
    for name, path in sorted(targets.items(), key=lambda item: item[0] == 'card'):  # the card tells of the others
        _make_folder(path.parent)
        _write(name, path, model, graph)
        key = f'{name}_int8' if int8 and name in WITH_GRAPH else name
        exported.paths[name] = path
        exported.records[name] = {
            'file': path.name,
            'bytes': path.stat().st_size,
            'sha256': sha256_of(path),
            'checkpoint': model.facts.get('checkpoint'),
            'checkpoint_bytes': file.stat().st_size,
            'checkpoint_sha256': model.facts.get('sha256'),
            'flowercls_version': flowercls.__version__,
            **(graph.measured if name in WITH_GRAPH else {'parity': None}),
        }
        record = path.with_name(EXPORT_FILE)
        write_json(record, {**_read_record(record), key: exported.records[name]})
    return exported


def _write(name: str, path: Path, model: Model, graph: Graph | None) -> None:
    """Write the file of one format."""
    from flowercls.use.export import demo_page, model_card, package_zip

    if name == 'onnx':
        with atomic_write(path, 'wb') as file:
            file.write(graph.content)
    elif name in WITH_WEIGHTS:
        from flowercls.use.export import slim  # needs torch, which an export does without

        {'slim': slim.write_slim, 'safetensors': slim.write_safetensors}[name](model, path)
    elif name == 'card':
        with atomic_write(path) as file:
            file.write(model_card.card_text(model.facts, model.calibration, _recorded(model, path)))
    else:
        card = model_card.card_text(model.facts, graph.calibration, graph.measured)
        if name == 'html':
            demo_page.write_page(graph.content, model.facts, graph.calibration, card, path, graph.steps)
        else:
            package_zip.write_package(path, graph.content, model.facts, card)


# ---------------------------------------------------------------- what was asked for


def _check_packages(formats: list[str]) -> None:
    missing = [name for each in formats for name in NEEDS.get(each, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'--format {" ".join(formats)}: needs {", ".join(dict.fromkeys(missing))}. '
            'Fix: pip install "flowercls[export]", in a checkout pip install -e ".[export]"'
        )


def _check_fits(formats: list[str], file: Path, out: str | Path | None, int8: bool) -> None:
    """Refuse options that do not go together, before anything heavy is done."""
    asked = f'--format {" ".join(formats)}'
    if int8 and not {*formats} & {*WITH_GRAPH}:
        raise ConfigError(f'{asked} --int8: holds no ONNX graph. Fix: leave --int8 out, or add onnx.')
    if file.suffix.lower() in ONNX_SUFFIXES and (int8 or {*formats} - {'html', 'package', 'card'}):
        raise ConfigError(
            f'{asked}{" --int8" * int8}: needs the checkpoint; {file} is an export. Fix: name the run folder.'
        )
    suffix = Path(out or '').suffix
    if suffix and not Path(out).is_dir() and [suffix.lower()] != [SUFFIXES[name] for name in formats]:
        wanted = 'a folder' if len(formats) > 1 else f'a folder, or a name that ends in {SUFFIXES[formats[0]]}'
        raise ConfigError(f'--out {out}: does not fit {asked}. Fix: name {wanted}.')


def _targets(model: Model, formats: list[str], out: str | Path | None, int8: bool) -> dict[str, Path]:
    """Return the file of each format."""
    if out is None:
        folder = model.source.parent
        out = folder if isinstance(model, OnnxModel) else folder / EXPORT_DIR
    out = Path(out)
    if out.suffix and not out.is_dir():
        return {formats[0]: out}
    # A name in a stranger's file must not lead out of the folder.
    stem = _UNFIT.sub('_', str(model.facts.get('name') or '')).strip('. ') or 'model'
    stems = {**dict.fromkeys(WITH_GRAPH, f'{stem}_int8' if int8 else stem), 'safetensors': stem}
    stems |= {'slim': f'{model.source.stem.removesuffix("_slim")}_slim', 'card': 'README'}
    return {name: out / f'{stems[name]}{SUFFIXES[name]}' for name in formats}


def _check_free(targets: dict[str, Path], overwrite: bool) -> None:
    records = {path.with_name(EXPORT_FILE) for path in targets.values()}
    foreign = [path for path in records if path.exists() and not _read_record(path)]
    existing = [str(path) for path in (*targets.values(), *foreign) if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f'{", ".join(existing)}: exists already. Fix: add --overwrite, or name another --out.')


def _make_folder(folder: Path) -> None:
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--out {folder}: cannot be made ({error.strerror}). Fix: name another folder.') from error


def _read_record(path: Path) -> dict:
    """Return the content of an export.json; empty if there is none, or a file of somebody else."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    is_ours = isinstance(content, dict) and all(isinstance(entry, dict) for entry in content.values())
    return content if is_ours else {}


def _recorded(model: Model, path: Path) -> dict | None:
    """Return what was measured of an ONNX graph of this checkpoint in a file beside ``path``."""
    record = _read_record(path.with_name(EXPORT_FILE))
    names = [f'{name}{suffix}' for suffix in ('', '_int8') for name in WITH_GRAPH]
    entries = [record[name] for name in names if name in record]
    own = [entry for entry in entries if entry.get('checkpoint_sha256') == model.facts.get('sha256')]
    return next((entry for entry in own if entry.get('parity')), None)


# ---------------------------------------------------------------- the graph and its gates


def _measured_graph(
    model: Model, data: str | Path | None, in_int8: bool, allow_mismatch: bool, trusted: bool, report: Callable
) -> Graph:
    """Make the graph, and compare its answers with those of the checkpoint on all validation photos.

    Raises:
        ConfigError: if a gate says no, or photos that are needed are not there.
    """
    from flowercls.use.export import onnx_graph

    photos, reason = _photos(model, 'val', data)
    if not photos and not allow_mismatch:
        raise ConfigError(
            f'{reason} So it cannot be shown that the export answers as the checkpoint. Fix: --data FOLDER names the '
            'prepared folder of the run; --allow-mismatch writes without the proof.'
        )
    steps = onnx_graph.described(onnx_graph.pipeline_steps(model))
    preprocessing = onnx_graph.preprocessing_graph(model)
    # In 8 bits features change too much for a distance that was measured on the checkpoint.
    network = onnx_graph.network_graph(
        model,
        class_maps=onnx_graph.has_class_maps(model),
        distance=onnx_graph.has_distance(model) and not in_int8,
    )
    metadata = {FACTS_KEY: model.facts, CLASSES_KEY: model.class_names, PIPELINE_KEY: steps}
    calibration = model.calibration
    with_calibration = metadata
    if calibration is not None and not in_int8:
        with_calibration = {**metadata, CALIBRATION_KEY: _without_space(calibration)}
    content = onnx_graph.joined_graph(preprocessing, network, with_calibration).SerializeToString()
    exported = OnnxModel(model.source, content)
    if photos:
        parity = _parity(model, exported, photos, trusted, report)
        _refuse(parity['problems'], parity['worst'], 'the ONNX graph does not answer as the checkpoint', allow_mismatch)
    else:
        without_folders = re.split(': |, first ', reason)[0]  # of this machine
        parity = {'measured': False, 'reason': without_folders}
        report(f'parity      not measured: {reason}')
    if not in_int8:
        return Graph(content, calibration, steps, {'parity': parity})

    from flowercls.use.export import int8

    training, reason = _photos(model, 'train', data)
    if not training:
        raise ConfigError(f'--int8: {reason} The ranges of values are taken from them. Fix: --data FOLDER.')
    chosen = [path for path, _ in spread_over_classes(training, int8.NUM_PHOTOS)]
    small = int8.quantized(preprocessing, network, chosen)
    small_content = onnx_graph.joined_graph(preprocessing, small, metadata).SerializeToString()
    record = None
    if photos:
        record = int8.int8_record(exported, OnnxModel(model.source, small_content), photos)
        record['bytes'] = {'fp32': len(content), 'int8': len(small_content)}
        report(f'int8        {int8.int8_text(record)}')
        _refuse(record['problems'], record['worst'], 'in 8 bits it does not answer well enough', allow_mismatch)
    if calibration is not None:
        report('calibration left out: it was measured on the checkpoint, and 8 bits change the scores')
    return Graph(small_content, None, steps, {'parity': parity, 'int8': record})


def _without_space(calibration: dict) -> dict:
    """Return a calibration without the arrays of ``none_of_these``, which the graph holds."""
    none = calibration.get('none_of_these')
    return {**calibration, 'none_of_these': none and {key: none[key] for key in none if key != 'space'}}


def _photos(model: Model, split: str, data: str | Path | None) -> tuple[list[tuple[Path, int]], str]:
    """Return the photos of a set of the run, with labels; or none, and why."""
    title = SPLIT_TITLES[split]
    try:
        photos = model.photos_of(split, data)
    except DataError as error:
        if data is not None:
            raise
        return [], f'The {title} photos are not here: {str(error).partition(" Fix: ")[0]}'
    missing = [path for path, _ in photos if not path.is_file()]
    if missing:
        return [], f'{len(missing)} of {len(photos)} {title} photos are missing, first {missing[0]}.'
    return photos, '' if photos else f'The run has no {title} photos.'


def _parity(model: Model, exported: OnnxModel, photos: list[tuple[Path, int]], trusted: bool, report: Callable) -> dict:
    """Compare in fp32, and the run's own precision with fp32; tells the user."""
    from flowercls.use.export.parity import distance, distance_text, loss_text, parity_record, scores_of

    labels, paths = np.array([label for _, label in photos]), [path for path, _ in photos]
    precision, models = model.network.precision, [model, exported]
    if precision != 'fp32':
        models.append(load(model.source, precision='fp32', device='cpu', trusted=trusted))
    own, other, *in_fp32 = scores_of(models, paths, 'comparing')
    reference = in_fp32[0] if in_fp32 else own
    record = {'measured': True, **parity_record(reference, other, labels, paths), 'run_precision': None}
    top1 = record['top1']
    report(f'parity      {distance_text(record, len(labels))} validation photos')
    shares = f'checkpoint {top1["checkpoint"]:.2f} %, ONNX {top1["onnx"]:.2f} %'
    report(f'accuracy    in fp32: {shares}: {loss_text(record)}')
    if in_fp32:
        record['run_precision'] = {'precision': precision, **distance(reference, own)}
        text = distance_text(record['run_precision'], len(labels))
        report(f'{precision:<11} the checkpoint as it was trained, against its fp32: {text}')
    return record


def _refuse(problems: list[str], worst: list[dict], what: str, allow_mismatch: bool) -> None:
    if problems and not allow_mismatch:
        photos = ', '.join(f'{photo["image"]} ({photo["max_difference"]:.4f})' for photo in worst)
        raise ConfigError(
            f'{what}: {"; ".join(problems)}. Photos that differ most: {photos}. Nothing was written. '
            'Fix: use the checkpoint, or add --allow-mismatch.'
        )
