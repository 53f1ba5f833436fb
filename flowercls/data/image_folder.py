"""One set of a prepared folder as samples for the model."""

import gc
import os
from pathlib import Path

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from flowercls.core.errors import ConfigError, DataError
from flowercls.core.layout import CLASSES_FILE
from flowercls.core.prepared_folder import prepare_command, read_annotations, read_lines
from flowercls.data.photo_cache import PhotoCache
from flowercls.data.randomness import AUGMENTATION, SampleKey, seeded
from flowercls.data.transforms import LoadImage, TorchvisionTransforms


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """The photos of ``train.txt``, ``val.txt`` or ``test.txt`` with their labels, checked before any is opened.

    Args:
        data_root: A prepared folder, with its ``classes.txt``.
        ann_file: Annotation file in it, lines ``<class>/<file> <label>``.
        data_prefix: The folder in it that the annotated paths start from.
        views: Number of augmented views of a photo; epoch e shows view e mod ``views``, so with 1 every epoch is
            trained on the same pixels. None: a new view each epoch.
        photo_cache: Arguments of `PhotoCache`. Set by the run, not by configs. A photo that is not in the cache is
            made from its file, with the same pixels.
        **kwargs: ``pipeline``, ``metainfo`` and the rest, as mmpretrain's ``BaseDataset``.

    Raises:
        ConfigError: if ``views`` is not a positive whole number.
        DataError: if a file is missing, a line cannot be read, a label is out of range or names another class than
            the photo's folder, or a path leads out of the folder.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        data_prefix: str | dict,
        views: int | None = None,
        photo_cache: dict | None = None,
        **kwargs,
    ) -> None:
        if views is not None and (not isinstance(views, int) or isinstance(views, bool) or views < 1):
            raise ConfigError(
                f'views={views!r}: expected a whole number of at least 1, or None. Fix: views=1 for one view of each '
                'photo drawn once, None for a new one each epoch.'
            )
        self.views = views
        self.photo_cache = photo_cache
        self._cached = PhotoCache(**photo_cache) if photo_cache else None
        super().__init__(data_root=data_root, ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def __getitem__(self, idx: int) -> dict:
        """Return the sample ``idx``; with a `SampleKey` its augmentation depends on (seed, view, idx) only."""
        if not isinstance(idx, SampleKey):
            return super().__getitem__(idx)
        if self.views is not None:
            view = (idx.epoch % self.views, int(idx))
        else:
            view = (idx.epoch, int(idx), idx.occurrence) if idx.occurrence else (idx.epoch, int(idx))
        with seeded(idx.seed, AUGMENTATION, *view):
            return super().__getitem__(int(idx))

    def prepare_data(self, idx: int) -> dict:
        """Return the sample ``idx`` after the pipeline, which starts from the pixels if they are cached."""
        info = self.get_data_info(idx)
        if self._cached is not None:
            decoded = self._cached.find(info['img_path'].removeprefix(f'{Path(self.data_root)}{os.sep}'))
            if decoded is None:
                decoded = self._cached.read(info['img_path'])
            elif not self._only_reads():
                decoded['img'] = decoded['img'].copy()
            info.update(decoded)
        return self.pipeline(info)

    def _only_reads(self) -> bool:
        """Return whether the first step that takes the pixels accepts read-only memory."""
        steps = self.pipeline.transforms
        return len(steps) > 1 and isinstance(steps[0], LoadImage) and isinstance(steps[1], TorchvisionTransforms)

    def _serialize_data(self) -> tuple:
        # mmengine calls gc.collect() here, which takes 0.3 s with torch loaded and finds nothing of this data set.
        gc.freeze()
        try:
            return super()._serialize_data()
        finally:
            gc.unfreeze()

    def load_data_list(self) -> list[dict]:
        """Read and check the annotation file; returns a dict for each photo with ``img_path`` and ``gt_label``."""
        class_names = self._checked_class_names()
        folder = Path(self.img_prefix)
        samples = []
        for name, label in read_annotations(self.ann_file, self.data_root, class_names):
            samples.append({'img_path': str(folder / name), 'gt_label': label})
        fix = prepare_command(self.data_root)
        if not samples:
            raise DataError(f'{self.ann_file}: no photos listed. {fix}')
        missing = [sample['img_path'] for sample in samples if not Path(sample['img_path']).is_file()]
        if missing:
            raise DataError(
                f'{self.ann_file}: {len(missing)} of {len(samples)} photos are missing, first {missing[0]}. '
                f'{fix}; or correct `data_prefix`, the folder that the listed paths start from.'
            )
        return samples

    def _checked_class_names(self) -> list[str]:
        file = Path(self.data_root, CLASSES_FILE)
        class_names = [line.strip() for line in read_lines(file, self.data_root) if line.strip()]
        expected = self._metainfo.setdefault('classes', class_names)
        if list(expected) != class_names:
            raise DataError(
                f'{file} lists the classes {", ".join(class_names)}; the config or checkpoint expects '
                f'{", ".join(expected)}. Fix: point data_root at the folder it was made for.'
            )
        return class_names
