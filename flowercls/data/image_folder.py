"""One set of a prepared folder as samples: the end of the data line before the model."""

import os
from pathlib import Path, PurePosixPath

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.photo_cache import StoredPhotos
from flowercls.data.randomness import AUGMENTATION, SampleKey, seeded
from flowercls.data.transforms import LoadImage, TorchvisionTransforms


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """The photos of ``train.txt``, ``val.txt`` or ``test.txt`` with their labels, checked before the first is opened.

    Args:
        data_root: A prepared folder, with its ``classes.txt``.
        ann_file: Annotation file in it, lines ``<class>/<file> <label>``.
        data_prefix: The folder in it that the annotated paths start from.
        views: How many augmented views of a photo there are; epoch e shows view e mod ``views``, so with 1 every epoch
            is trained on the same pixels. None: a new view each epoch.
        photo_store: Where decoded photos of the folder are, as arguments of `StoredPhotos`; a photo that is not among
            them is made of its file, the same. Given by the engine, which has them decoded; not for configs.
        **kwargs: ``pipeline``, ``metainfo`` and the rest, as mmpretrain's ``BaseDataset``.

    Raises:
        ConfigError: if ``views`` is no positive whole number.
        DataError: if a file is missing, a line cannot be read, a label is out of range or names another class than
            the photo's folder, or a path leads out of the folder.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        data_prefix: str | dict,
        views: int | None = None,
        photo_store: dict | None = None,
        **kwargs,
    ) -> None:
        if views is not None and (not isinstance(views, int) or isinstance(views, bool) or views < 1):
            raise ConfigError(
                f'views={views!r}: expected a whole number of at least 1, or None. Fix: views=1 for one view of each '
                'photo drawn once, None for a new one each epoch.'
            )
        self.views = views
        self.photo_store = photo_store
        self._stored = StoredPhotos(**photo_store) if photo_store else None
        super().__init__(data_root=data_root, ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def __getitem__(self, idx: int) -> dict:
        """The sample ``idx``; with a `SampleKey` its augmentation depends on (seed, view, idx) only."""
        if not isinstance(idx, SampleKey):
            return super().__getitem__(idx)
        with seeded(idx.seed, AUGMENTATION, *self._view(idx)):
            return super().__getitem__(int(idx))

    def prepare_data(self, idx: int) -> dict:
        """The sample ``idx`` through the pipeline, with its pixels if they are in the photo store."""
        info = self.get_data_info(idx)
        if self._stored is not None:
            found = self._stored.find(info['img_path'].removeprefix(f'{Path(self.data_root)}{os.sep}'))
            if found is None:
                found = self._stored.read(info['img_path'])
            elif not self._only_reads():
                found['img'] = found['img'].copy()
            info.update(found)
        return self.pipeline(info)

    def _only_reads(self) -> bool:
        """Whether the first step to take the pixels can do with what must not be written to."""
        steps = self.pipeline.transforms
        return len(steps) > 1 and isinstance(steps[0], LoadImage) and isinstance(steps[1], TorchvisionTransforms)

    def _view(self, key: SampleKey) -> tuple[int, ...]:
        """The counters that a view of a photo is drawn from."""
        if self.views is not None:
            return key.epoch % self.views, int(key)
        return (key.epoch, int(key), key.repeat) if key.repeat else (key.epoch, int(key))

    def load_data_list(self) -> list[dict]:
        """Read and check the annotation file; one dict a photo with ``img_path`` and ``gt_label``."""
        class_names = self._checked_class_names()
        folder = Path(self.img_prefix)
        samples = []
        for number, line in enumerate(_read_lines(self.ann_file, self.data_root), start=1):
            if line.strip():
                name, label = _parse_line(line, class_names, where=f'{self.ann_file}, line {number}')
                samples.append({'img_path': str(folder / name), 'gt_label': label})
        _check_photos_exist(samples, self.ann_file, self.data_root)
        return samples

    def _checked_class_names(self) -> list[str]:
        file = Path(self.data_root, 'classes.txt')
        class_names = [line.strip() for line in _read_lines(file, self.data_root) if line.strip()]
        expected = self._metainfo.setdefault('classes', class_names)
        if list(expected) != class_names:
            raise DataError(
                f'{file} lists the classes {", ".join(class_names)}; the config or checkpoint expects '
                f'{", ".join(expected)}. Fix: point data_root at the folder it was made for.'
            )
        return class_names


def _read_lines(path: str | Path, data_root: str) -> list[str]:
    try:
        return Path(path).read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError as error:
        folds = ' --folds 5' if Path(path).parent.name == 'folds' else ''
        there = sorted(file.name for file in Path(path).parent.glob('*.txt'))
        beside = f' (beside it: {", ".join(there)})' if there else ''
        raise DataError(f'{path}: no such file{beside}. {_prepare_again(data_root)}{folds}') from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot be read ({error}). {_prepare_again(data_root)}') from error


def _parse_line(line: str, class_names: list[str], where: str) -> tuple[str, int]:
    name, _, label_text = line.rpartition(' ')
    if not name or not label_text.lstrip('-').isdecimal():
        raise DataError(f'{where}: {line!r} is not "<class>/<file> <label>". Fix: correct the line or prepare again.')
    label, path = int(label_text), PurePosixPath(name)
    if not 0 <= label < len(class_names):
        raise DataError(
            f'{where}: label {label} is outside 0..{len(class_names) - 1} ({len(class_names)} classes in classes.txt). '
            'Fix: correct the label or prepare again.'
        )
    if path.is_absolute() or '..' in path.parts:
        raise DataError(f'{where}: {name} leads out of the data folder. Fix: name files inside it.')
    if path.parent.name != class_names[label]:
        raise DataError(
            f'{where}: {name} has label {label}, which is {class_names[label]} in classes.txt, not {path.parent.name}. '
            'Fix: correct the label, or prepare again so that classes.txt and the annotations agree.'
        )
    return name, label


def _check_photos_exist(samples: list[dict], ann_file: str, data_root: str) -> None:
    if not samples:
        raise DataError(f'{ann_file}: no photos listed. {_prepare_again(data_root)}')
    missing = [sample['img_path'] for sample in samples if not Path(sample['img_path']).is_file()]
    if missing:
        raise DataError(
            f'{ann_file}: {len(missing)} of {len(samples)} photos are missing, first {missing[0]}. '
            f'{_prepare_again(data_root)}; or correct `data_prefix`, the folder that the listed paths start from.'
        )


def _prepare_again(data_root: str) -> str:
    return f'Fix: python tools/prepare_data.py RAW_DIR {data_root} --overwrite'
