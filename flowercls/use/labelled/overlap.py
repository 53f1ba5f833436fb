"""Photos that a model has seen: those it was trained on, and those that chose its epoch. Told by their SHA-256."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.files import sha256_of
from flowercls.core.layout import MANIFEST_FILE, TRAIN_DIR, VAL_DIR
from flowercls.core.prepared_folder import manifest_hash, photo_rows
from flowercls.use.model import Model
from flowercls.use.photos import Photos

DATA_DIR = 'data'  # where prepared folders lie in a project; an export knows no more than the folder's name
DIGESTS = ('raw_sha256', 'sha256')  # of a manifest: of the file that was prepared, and of what became of it


@dataclass(frozen=True)
class Seen:
    """What a model has seen of some photos.

    Attributes:
        trained_on: Numbers of the photos that it was trained on.
        chose_epoch: Numbers of the validation photos of its training, if these chose its epoch.
        unknown: Why nobody can tell; None where it was checked.
    """

    trained_on: list[int] = field(default_factory=list)
    chose_epoch: list[int] = field(default_factory=list)
    unknown: str | None = None

    @property
    def all(self) -> set[int]:
        """The photos that make a figure too good."""
        return {*self.trained_on, *self.chose_epoch}


def seen_photos(model: Model, folder: Path, photos: Photos) -> Seen:
    """Return which photos a model has seen.

    Args:
        model: Its record names the manifest of its training.
        folder: Where the photos lie. If it is, or lies in, a prepared folder, the files that its photos were made from
            are compared as well.
        photos: Found in that folder.
    """
    training = training_of(model)
    root, digest = model.data_root or training.get('data'), training.get('data_manifest')
    if not (digest and isinstance(root, str)):
        return Seen(unknown='the model does not say what it was trained on')
    if (training_folder := find_data(model.source, root, digest, folder)) is None:
        return Seen(unknown=f'the prepared folder of its training ({root}) was not found from here, or has changed')
    try:
        rows = photo_rows(training_folder, *DIGESTS, digest=digest)
    except DataError as error:
        return Seen(unknown=str(error))
    trained, validated = _sets(model, training_folder, [file for file, *_ in rows])
    trained_on = {each for file, *digests in rows if file in trained for each in digests if each}
    chose_epoch = set()
    if str(model.facts.get('checkpoint')).startswith('best_'):
        chose_epoch = {each for file, *digests in rows if file in validated for each in digests if each} - trained_on
    raw = _raw_digests(folder)
    seen = Seen()
    for number, (path, image) in enumerate(zip(photos.paths, photos.images, strict=True)):
        digests = {sha256_of(path), raw.get(folder.resolve() / image)}
        if digests & trained_on:
            seen.trained_on.append(number)
        elif digests & chose_epoch:
            seen.chose_epoch.append(number)
    return seen


def training_of(model: Model) -> dict:
    """Return what a model tells of its training; nothing for a stranger's export without such facts."""
    training = model.facts.get('training')
    return training if isinstance(training, dict) else {}


def find_data(source: Path, root: str | None, digest: str | None, *others: Path) -> Path | None:
    """Return the prepared folder whose manifest has a SHA-256; None if there is none, or it is not known.

    It is looked for from the working folder and from each folder above the model's file.

    Args:
        source: The model's file.
        root: The folder as its config names it, or its bare name.
        digest: In hex.
        others: More folders that may be it.
    """
    if digest is None:
        return None
    names = [root, Path(DATA_DIR, Path(root).name), Path(root).name] if root else []
    places = [Path(), *source.absolute().parents]
    candidates = [*others, *(Path(place, name) for place in places for name in names)]
    for path in candidates:
        with contextlib.suppress(OSError):  # a folder that may not be entered, a name that is too long
            if manifest_hash(path) == digest:
                return path
    return None


def _sets(model: Model, root: Path, files: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return the photos to train and to validate with: as the model's config lists them, else as they were prepared."""
    sets = []
    for split, folder in (('train', TRAIN_DIR), ('val', VAL_DIR)):
        try:
            listed = {path.relative_to(root).as_posix() for path, _ in model.photos_of(split, root)}
        except DataError:
            listed = set()
        sets.append(listed or {file for file in files if file.startswith(f'{folder}/')})
    return sets[0], sets[1]


def _raw_digests(folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of what each photo of a prepared folder was made from; nothing for other folders."""
    folder = folder.resolve()
    for root in (folder, *folder.parents[:2]):  # a set, or a class of one, is a part of it
        if (root / MANIFEST_FILE).is_file():
            try:
                return {root / file: digest for file, digest in photo_rows(root, 'raw_sha256') if digest}
            except DataError:
                return {}
    return {}
