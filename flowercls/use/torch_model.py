"""A model from a checkpoint of a run. The file carries all that is needed: config, class names, pipeline, precision."""

import contextlib
import json
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from mmengine import registry
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import Registry
from mmengine.utils import import_modules_from_strings
from mmpretrain.registry import MODELS, TRANSFORMS
from mmpretrain.structures import DataSample
from torch import Tensor
from torchvision.transforms import v2

import flowercls
import flowercls.registration  # noqa: F401  registers our classes
from flowercls.config.data_keys import IMAGE_FOLDER, datasets_in
from flowercls.config.dump import PARSE_ERRORS, parse_dumped
from flowercls.config.model_keys import architecture_name, weights_name
from flowercls.config.schema import LOADERS
from flowercls.core import layout
from flowercls.core.errors import CheckpointError, DataError, FlowerclsError
from flowercls.core.files import sha256_of
from flowercls.core.hardware import resolve_precision
from flowercls.core.prepared_folder import checked_ranges, class_names, read_annotations
from flowercls.core.terminal import tool_command
from flowercls.core.workers import num_threads
from flowercls.data.photo_cache import cache_size, dicts_in
from flowercls.data.transforms import LoadImage, shrunk
from flowercls.evaluate.calibration import FeatureSpace, class_distances
from flowercls.evaluate.optimism import best_epoch_optimism, selection_clause
from flowercls.models.checkpoint_reader import class_names_in, read_checkpoint
from flowercls.models.classifier import StagedClassifier
from flowercls.models.weights import load_strictly
from flowercls.use.model import Model

LOADING_STEPS = ('LoadImage', 'LoadImageFromFile')
OUR_IMPORTS = {'flowercls.registration'}
DEFAULT_BATCH_SIZE = 64  # of a checkpoint whose run was not validated
_VALUE = re.compile(r"""[^\s=()\[\]{},'"][^=()\[\]{},'"]*""")  # in a word of a command
UNUSED = ('init_cfg', 'pretrained', 'train_cfg')  # of a model: its weights come from the checkpoint
LEFT_OUT = ('confusion', 'reliability')  # of metrics.json in `facts`: large, or drawn elsewhere


class TorchModel(Model):
    """A checkpoint, ready to classify: the network in evaluation mode and the pipeline of its validation.

    With the run's device, threads, precision, batch size and order, its scores are those of predictions_val.csv bit for
    bit.

    Attributes:
        network: The classifier.
        config: The run's resolved config.
        meta: The checkpoint's record of its run.
        device: Where the network computes.
        pipeline: The transforms of the validation, built; they take decoded photos.
        cache_size: Short side in pixels that the run's photo cache shrank larger photos to; None if it did not.
    """

    def __init__(
        self, source: Path, *, precision: str = 'auto', device: str | None = None, trusted: bool = False
    ) -> None:
        self.source = source
        checkpoint = read_checkpoint(source, trusted=trusted)
        self.meta = checkpoint.get('meta') or {}
        self.config = _config_in(self.meta, source)
        self.data_root = self.config.get('data_root')
        self.class_names = class_names_in(checkpoint)
        if not isinstance(checkpoint.get('state_dict'), dict) or not self.class_names:
            raise _no_checkpoint_of_a_run(source, 'it holds no weights, or names no classes')
        if len(set(self.class_names)) < len(self.class_names):
            raise _no_checkpoint_of_a_run(source, 'it names a class twice')
        _check_shared(self.meta, self.class_names, source)
        if trusted:
            import_modules_from_strings(**(self.config.get('custom_imports') or {}))
        else:
            _refuse_foreign_code(self.config, source)
        if precision != 'auto':
            self.config.model.precision = resolve_precision(precision)
        torch.set_num_threads(num_threads())
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.network = self._build_network()
        load_strictly(self.network, checkpoint['state_dict'], source)
        num_classes = getattr(self.network.head, 'num_classes', len(self.class_names))
        if num_classes != len(self.class_names):
            raise CheckpointError(
                f'{source}: names {len(self.class_names)} classes, and its network tells {num_classes} apart. '
                'Fix: use another checkpoint of the run.'
            )
        self.network.to(self.device).eval()
        loader = self.config.get('val_dataloader') or self.config.get('test_dataloader') or {}
        self.batch_size = loader.get('batch_size') or DEFAULT_BATCH_SIZE
        self.pipeline = self._build_pipeline()
        self.cache_size = self._photo_cache_size()

    def _build_network(self) -> StagedClassifier:
        settings = self.config.model
        settings.setdefault('data_preprocessor', self.config.get('data_preprocessor'))
        with _built_from(self.source, 'model'):
            return MODELS.build(settings)

    def _build_pipeline(self) -> Compose:
        steps = list(self.test_pipeline)
        if steps and str(steps[0].get('type')).rpartition('.')[2] in LOADING_STEPS:
            steps = steps[1:]  # photos come decoded
        with _built_from(self.source, 'test pipeline'):
            return Compose([LoadImage(), *(TRANSFORMS.build(step) for step in steps)])

    @property
    def test_pipeline(self) -> list[dict]:
        """The transforms of the run's validation, as in its config."""
        for name in ('val_dataloader', 'test_dataloader'):
            for _, dataset in datasets_in(self.config.get(name) or {}, ''):
                if dataset.get('pipeline'):
                    return dataset['pipeline']
        return self.config.get('test_pipeline') or []

    def _photo_cache_size(self) -> int | None:
        """Return the short side that the run's photo cache shrank larger photos to; None if it did not."""
        if not (self.config.get('photo_cache') and self.meta.get('data_manifest')):
            return None
        loaders = [self.config[name] for name in LOADERS if self.config.get(name)]
        datasets = [dataset for loader in loaders for _, dataset in datasets_in(loader, '')]
        return cache_size([dataset['pipeline'] for dataset in datasets if dataset.get('pipeline')])

    def photos_of(self, split: str, data_root: str | os.PathLike | None = None) -> list[tuple[Path, int]]:
        """Return the files of a set of the run, with their labels, in the order of its lists.

        Args:
            split: ``'train'``, ``'val'`` or ``'test'``.
            data_root: The prepared folder, where it is not (or no longer) where the run found it.

        Raises:
            DataError: if the folder or a list cannot be read, or has other classes.
        """
        photos = []
        for _, dataset in datasets_in(self.config.get(f'{split}_dataloader') or {}, ''):
            if str(dataset.get('type')).rpartition('.')[2] != IMAGE_FOLDER:
                continue
            folder = Path(data_root or dataset.data_root)
            if (names := class_names(folder)) != self.class_names:
                raise DataError(
                    f'{folder}: has the classes {", ".join(names)}; the model was trained for '
                    f'{", ".join(self.class_names)}. Fix: name the folder that it was trained on.'
                )
            prefix = folder / (dataset.get('data_prefix') or '')
            photos += [
                (prefix / name, label) for name, label in read_annotations(folder / dataset.ann_file, folder, names)
            ]
        return photos

    def prepare(self, rgb: np.ndarray) -> Tensor:
        """Return a photo after the test pipeline: uint8, shape (3, H, W), as the network's preprocessor takes it."""
        if self.cache_size is not None:
            rgb = shrunk(rgb, self.cache_size)
        return self.pipeline({'img': rgb[..., ::-1], 'img_path': ''})['inputs']

    def mirrored(self, prepared: Tensor) -> Tensor:
        """Return the mirror image of a photo of `prepare`."""
        return prepared.flip(-1)

    @torch.no_grad()
    def classify(self, prepared: Sequence[Tensor]) -> np.ndarray:
        """Return probabilities as `Model.classify`."""
        samples = self.network.val_step(_batch(prepared))
        return torch.stack([sample.pred_score for sample in samples]).float().cpu().numpy()

    def classify_with_distances(self, prepared: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and distances as `Model.classify_with_distances`; the network computes once."""
        head, features = self.network.head, []

        def pre_logits(inputs: Any) -> Tensor:
            features.append(type(head).pre_logits(head, inputs))
            return features[-1]

        head.pre_logits = pre_logits
        try:
            scores = self.classify(prepared)
        finally:
            del head.pre_logits
        return scores, class_distances(features[0].flatten(1).cpu().numpy(), self.feature_space).min(axis=1)

    @cached_property
    def feature_space(self) -> FeatureSpace:
        """Where the classes lie, from the calibration.

        Raises:
            CheckpointError: if the calibration holds no such arrays, or damaged ones.
        """
        try:
            return FeatureSpace.from_json(self.calibration['none_of_these']['space'])
        except (ValueError, LookupError, TypeError) as error:
            raise CheckpointError(
                f'{self.source}: its calibration cannot tell the distance to the classes ({error}). '
                f'Fix: {tool_command("predict", "--calibrate", "RUN_FOLDER")}'
            ) from error

    def images(self, prepared: Sequence[Tensor]) -> Tensor:
        """Return photos of `prepare` as the network takes them: normalised, float32, shape (N, 3, H, W)."""
        return self.network.data_preprocessor(_batch(prepared), False)['inputs']

    @torch.no_grad()
    def features(self, prepared: Sequence[Tensor]) -> np.ndarray:
        """Return the input of the last linear layer for photos of `prepare`: float32, shape (N, D)."""
        features = self.network.extract_feat(self.images(prepared), stage='pre_logits')
        return features.flatten(1).cpu().numpy()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the network gets."""
        return tuple(self.prepare(np.zeros((512, 512, 3), np.uint8)).shape[1:])

    @cached_property
    def calibration(self) -> dict | None:
        """The calibration in the checkpoint, or in the run folder if it is of this very file."""
        if isinstance(recorded := self.meta.get('calibration'), dict):
            return recorded
        path = self.source.with_name(layout.CALIBRATION_FILE)
        recorded = _read_json(path)
        if not recorded or recorded.get('sha256') == self.digest:
            return recorded or None
        if recorded.get('checkpoint') == self.source.name:  # beside other checkpoints of the run it says nothing
            again = tool_command('predict', '--calibrate', path.parent)
            print(f'warning: {path} is of another checkpoint and is not used. Fix: {again}', file=sys.stderr)
        return None

    @cached_property
    def value_range(self) -> dict[str, list[float]]:
        """As in `Model`; read without the other facts, which take a while."""
        return checked_ranges(self.meta.get('value_range') or {})

    @cached_property
    def facts(self) -> dict:
        """Origin and figures of the model as plain values, without any absolute path; exports and pages carry them.

        ``name``, ``classes``, ``architecture``, ``parameters``, ``image_size``, ``precision``, ``checkpoint``,
        ``sha256``, ``flowercls_version``; ``training`` (epoch, epochs, seed, frozen_stages, starting_weights, data,
        data_manifest, photos of each class, command, torch_version); ``figures`` (of the validation set),
        ``test_figures`` and ``optimism``, None if not known; ``value_range`` where it was trained on deep pixels.
        """
        if isinstance(recorded := self.meta.get('facts'), dict):  # in a slim checkpoint
            return recorded
        config, folder, name = self.config, self.source.absolute().parent, self.source.name
        figures = _figures(folder / layout.METRICS_FILE, name)
        tests = sorted(folder.glob(f'{layout.TEST_PREFIX}*/{layout.METRICS_FILE}'), key=lambda p: p.stat().st_mtime_ns)
        of_test_set = [
            metrics for path in tests if (metrics := _figures(path, name)) and metrics.get('split') == 'test'
        ]
        points = best_epoch_optimism(folder) if figures else None
        facts = {
            'name': folder.name,
            'classes': list(self.class_names),
            'architecture': architecture_name(config.model),
            'parameters': sum(parameter.numel() for parameter in self.network.parameters()),
            'image_size': list(self.image_size),
            'precision': self.network.precision,
            'figures': figures,
            'test_figures': of_test_set[-1] if of_test_set else None,
            'optimism': {'points': points, 'clause': selection_clause(points)} if figures else None,
            'training': {
                'epoch': self.meta.get('epoch'),
                'epochs': (config.get('train_cfg') or {}).get('max_epochs'),
                'seed': self.meta.get('seed'),
                'frozen_stages': config.model.get('frozen_stages', 0),
                'starting_weights': weights_name(config.get('load_from')),
                'data': PureWindowsPath(str(config.get('data_root') or '')).name or None,
                'data_manifest': self.meta.get('data_manifest'),
                'photos': self._training_photos(),
                'command': _last_command(folder),
                'torch_version': self.meta.get('torch_version'),
            },
            **({'value_range': self.value_range} if self.value_range else {}),
            'checkpoint': name,
            'sha256': self.digest,
            'flowercls_version': flowercls.__version__,
        }
        # Names of folders and files need not be UTF-8.
        return json.loads(json.dumps(facts, ensure_ascii=False).encode(errors='replace'))

    def _training_photos(self) -> dict[str, int] | None:
        """Return the number of training photos of each class; None where the folder is not the one of the run."""
        manifest = Path(str(self.config.get('data_root')), layout.MANIFEST_FILE)
        try:
            if sha256_of(manifest) != self.meta.get('data_manifest'):
                return None
            labels = Counter(label for _, label in self.photos_of('train'))
        except (OSError, DataError):
            return None
        return {name: labels[label] for label, name in enumerate(self.class_names)}


def carried_config(source: Path, *, trusted: bool = False) -> tuple[Config, dict]:
    """Return the resolved config that a checkpoint carries, and its record of the run; no network is built.

    Raises:
        CheckpointError: if it carries none, or one that asks for code of its own.
    """
    meta = read_checkpoint(source, trusted=trusted).get('meta') or {}
    config = _config_in(meta, source)
    config._cfg_dict.pop('_base_', None)  # a resolved config has none; another one would name a file to run
    if not trusted:
        _refuse_foreign_code(config, source, is_whole=True)
    return config, meta


def without_folder(text: str) -> str:
    """Return ``text``, and of an absolute path or a file's address only the last name."""
    path = PureWindowsPath(text)  # it reads both kinds of slashes
    return path.name if path.root or text.startswith(('~', 'file:')) else text


def _last_command(folder: Path) -> str | None:
    """Return how a run was started last, without folders of the machine."""
    try:
        words = shlex.split((folder / layout.COMMAND_FILE).read_text(encoding='utf-8').strip().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return None
    # Paths also stand in lists and dicts: key=['/home/me/a.pth'].
    return shlex.join(_VALUE.sub(lambda value: without_folder(value[0]), word) for word in words)


def _batch(prepared: Sequence[Tensor]) -> dict:
    return {'inputs': torch.stack(list(prepared)), 'data_samples': [DataSample() for _ in prepared]}


def _config_in(meta: Any, source: Path) -> Config:
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        raise _no_checkpoint_of_a_run(source, 'it carries no config')
    try:
        config = Config(parse_dumped(text))
        for key in UNUSED:
            config.model.pop(key, None)
            config.model.backbone.pop(key, None)
        is_ours = config.model.type.rpartition('.')[2] == StagedClassifier.__name__ and config.model.backbone.type
    except (*PARSE_ERRORS, AttributeError, KeyError) as error:
        raise _no_checkpoint_of_a_run(source, f'its config cannot be read ({error})') from error
    if not is_ours:
        raise _no_checkpoint_of_a_run(source, f'its model is a {config.model.type}')
    return config


def _check_shared(meta: dict, class_names: list[str], source: Path) -> None:
    """Refuse a slim checkpoint whose facts or calibration cannot be written into another file."""
    facts = meta.get('facts')
    if isinstance(facts, dict) and (facts.get('classes') != class_names or not isinstance(facts.get('name'), str)):
        raise _no_checkpoint_of_a_run(source, 'its facts are of another model')
    try:
        checked_ranges(meta.get('value_range') or {})
    except ValueError as error:
        raise _no_checkpoint_of_a_run(source, str(error)[:200]) from error
    for key in ('facts', 'calibration'):
        try:
            json.dumps(meta.get(key), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise _no_checkpoint_of_a_run(source, f'its {key} hold more than texts and numbers ({error})') from error


def _no_checkpoint_of_a_run(source: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f'{source}: is no checkpoint of a finished run: {reason}. Fix: use a checkpoint that tools/train.py wrote.'
    )


@contextlib.contextmanager
def _built_from(source: Path, part: str) -> Iterator[None]:
    """Look names up as mmpretrain does, and turn what a class says of its arguments into a `CheckpointError`."""
    try:
        with MODELS.switch_scope_and_registry('mmpretrain'):
            yield
    except FlowerclsError:
        raise
    except Exception as error:
        raise CheckpointError(
            f'{source}: its {part} cannot be built ({type(error).__name__}: {str(error)[:200]}). '
            'Fix: use the versions of the packages that the run was trained with.'
        ) from error


def _refuse_foreign_code(config: Config, source: Path, *, is_whole: bool = False) -> None:
    """Refuse a config that names code outside of the registries: the checkpoint may be a stranger's.

    Args:
        config: From the checkpoint.
        source: The checkpoint.
        is_whole: Whether more than the model and its pipeline will be built from it: also hooks, metrics and so on.

    Raises:
        CheckpointError: if the config imports modules, or a ``type`` is not registered and so would be imported.
    """
    foreign = {*(config.get('custom_imports') or {}).get('imports', [])} - OUR_IMPORTS
    known = {*dir(v2), *_registered_names(MODELS), *_registered_names(TRANSFORMS)}
    built = [config.model, config.get('data_preprocessor'), config.get('test_pipeline')]
    built += [dataset.get('pipeline') for key in LOADERS for _, dataset in datasets_in(config.get(key) or {}, '')]
    for part in dicts_in(built):
        name = str(part.get('type', 'StagedClassifier'))
        if name not in known or part.get('trust_remote_code'):
            foreign.add(name)
    if is_whole:  # a name that no registry has is imported if it has a dot
        names = {str(part['type']) for part in dicts_in(config._cfg_dict) if part.get('type')} - known
        if dotted := {name for name in names if '.' in name}:
            all_kinds = [kind for kind in vars(registry).values() if isinstance(kind, Registry)]
            foreign |= dotted.difference(*map(_registered_names, all_kinds))
    if foreign:
        raise CheckpointError(
            f'{source}: its config asks for code outside of flowercls and mmpretrain '
            f'({", ".join(sorted(foreign)[:3])}), which could do anything. Fix: if you trust its source as you trust a '
            'program, add --trust-checkpoint.'
        )


def _registered_names(registry: Registry) -> set[str]:
    """Return the names in all registries of one kind, also as ``mmpretrain.Name``; another prefix is imported."""
    while registry.parent is not None:
        registry = registry.parent
    registries, names = [registry], set()
    for each in registries:
        each.import_from_location()
        names |= {*each.module_dict, *(f'{each.scope}.{name}' for name in each.module_dict)}
        registries += each.children.values()
    return names


def _figures(path: Path, checkpoint: str) -> dict | None:
    """Return the figures of a metrics.json, if they are of this checkpoint."""
    metrics = _read_json(path)
    if metrics.get('checkpoint') != checkpoint:
        return None
    return {key: value for key, value in metrics.items() if key not in LEFT_OUT}


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
