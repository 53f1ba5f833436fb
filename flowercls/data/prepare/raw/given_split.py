"""Sets that a raw folder has already: recognised by the names of its folders, or by folders that hold the same names.

Start reading at `class_folders`. Only names are looked at, no file is opened. Where they leave a doubt, nothing is
guessed: the error shows a command for each reading.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flowercls.core.errors import ConfigError, DataError
from flowercls.core.layout import SET_TITLES, TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.core.terminal import tool_command
from flowercls.data.prepare.raw.listing import Listing, nfc

SPLIT_CHOICES = ('auto', 'keep', 'new', 'ignore')
# Usual names, whole or as one word of several: seg_train, TrainSet, images_val, test1, train2017.
_SET_NAMES = {
    TRAIN_DIR: 'train|trainings?|trn|trainval|entrenamiento|entra[iî]nement|apprentissage|treino|treinamento|训练集?',
    VAL_DIR: 'val|valid|validation|validate|dev|eval|evaluation|validierungs?|validaci[oó]n|valida[cç][aã]o|验证集?',
    TEST_DIR: 'tests?|testing|tst|holdout|heldout|pruebas?|teste|测试集?',
}
_SHORT_NAMES = {'tr': TRAIN_DIR, 'va': VAL_DIR, 'te': TEST_DIR, 'ts': TEST_DIR}
_CONTENT = 'sets?|data|dataset|images?|imgs?|photos?|pics|pictures|samples|split|files|folder|dir|raw|originals?'
_CONTENT += '|daten|bilder'
_SET_WORDS = {
    set_name: re.compile(f'(?:{_CONTENT})?(?:{names})(?:{_CONTENT})?') for set_name, names in _SET_NAMES.items()
}
_WORD = re.compile(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+')
_ANNOTATIONS = re.compile('masks?|labels?|annot|annotations?|groundtruth|xmls?')
_NO_CLASS = re.compile(
    rf'{_CONTENT}|{_ANNOTATIONS.pattern}|(19|20)\d\d([-_. ]?\d\d){{0,2}}'
)  # images, masks, years, dates
_TABLES = {'.csv', '.tsv', '.xlsx', '.parquet'}
NO_SET = 'its name says no set'
MAX_BESIDE = 2  # more folders of photos whose names say no set leave a doubt


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """A folder with photos of one class, at any depth below it.

    Attributes:
        path: Relative to the raw folder, with ``/``.
        class_name: As the folder is called.
        set_name: ``training_set``, ``val_set`` or ``test_set``; None if the split is still to be made.
    """

    path: str
    class_name: str
    set_name: str | None = None


@dataclass(frozen=True)
class Layout:
    """How the folders of a raw folder are read.

    Attributes:
        folders: The class folders; of a split also those that are in no set.
        sets: Folder of a set → which set it is, None if its name does not say it; empty without sets.
        beside: Folder with photos that is no part of it → why.
        doubt: Why this may be wrong; empty if it is plain.
        is_unlabelled: Whether the sets hold photos, and no class folders.
    """

    folders: tuple[ClassFolder, ...] = ()
    sets: dict[str, str | None] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    doubt: str = ''
    is_unlabelled: bool = False


def class_folders(listing: Listing, split: str, raw_dir: Path, out_dir: str | Path) -> Layout:
    """Return the class folders of a raw folder, each with its set if the folder is split already and stays so.

    Args:
        listing: The raw folder.
        split: ``'auto'`` keeps a split that is plain; ``'keep'`` expects one; ``'new'`` merges the sets; ``'ignore'``
            takes the top folders for classes, whatever they are called.
        raw_dir: Its path, for messages.
        out_dir: The folder to make, for messages.

    Raises:
        DataError: if it is not plain what the folders are, or the sets have no class folders.
        ConfigError: if there is no split to keep.
    """
    found = None if split == 'ignore' else _find_sets(listing)
    if found is None:
        top = listing.folders('')
        if split == 'keep':
            raise ConfigError(
                f'{raw_dir}: --split keep, but no name of a folder says that it is a set ({_some(top)}). '
                'Expected folders such as train, val and test. Fix: leave --split out.'
            )
        return Layout(tuple(ClassFolder(path, path) for path in top))
    if found.is_unlabelled:
        raise DataError(_unlabelled_message(found, raw_dir, out_dir))
    if split == 'new':
        return replace(found, folders=tuple(replace(folder, set_name=None) for folder in found.folders))
    if found.doubt and (split == 'auto' or None in found.sets.values()):
        raise DataError(_doubt_message(found, listing.folders(''), raw_dir, out_dir))
    if TRAIN_DIR not in found.sets.values():
        raise DataError(
            f'{raw_dir}: holds no training set ({described(found.sets)}). Fix: split these photos anew:\n'
            f'  {_command(raw_dir, out_dir, "new")}'
        )
    in_sets = tuple(folder for folder in found.folders if folder.set_name)
    beside = {folder.path: NO_SET for folder in found.folders if not folder.set_name}
    return replace(found, folders=in_sets, beside=found.beside | beside)


def set_of(name: str) -> str | None:
    """Return which set a folder of this name is; None if the name does not say it.

    Example:
        >>> [set_of(name) for name in ('seg_train', 'Testing', 'images_val', 'station')]
        ['training_set', 'test_set', 'val_set', None]
    """
    words = _words(name)
    if _says_annotations(name):
        return None
    found = {set_name for word in [*words, ''.join(words)] if (set_name := _set_of_word(word))}
    if (short := ''.join(word for word in words if not re.fullmatch(_CONTENT, word))) in _SHORT_NAMES:
        return _SHORT_NAMES[short]
    if found == {TRAIN_DIR, VAL_DIR}:  # trainval: what is left of it after validation trains
        return TRAIN_DIR
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(nfc(name))]


def _says_annotations(name: str) -> bool:
    return any(map(_ANNOTATIONS.fullmatch, _words(name)))


def _set_of_word(word: str) -> str | None:
    return next((set_name for set_name, pattern in _SET_WORDS.items() if pattern.fullmatch(word)), None)


def _rest(name: str) -> str:
    """Return a name without the words that say the set: ``'cat'`` of ``'cat_train'``, nothing of ``'train2017'``."""
    parts = [] if _set_of_word(''.join(_words(name))) else re.split(r'[\W_]+', nfc(name))
    kept = [part for part in parts if set_of(part) is None and not re.fullmatch(rf'\d*|{_CONTENT}', part.casefold())]
    return '_'.join(kept)


def _last(path: str) -> str:
    return path.rpartition('/')[2]


def _key(path: str) -> str:
    return nfc(_last(path)).casefold()


# --- three ways to tell that folders are sets -------------------------------------------------------------------------


def _find_sets(listing: Listing) -> Layout | None:
    base = ''
    while True:
        folders = [path for path in listing.folders(base) if listing.holds_photos(path)]
        found = _sets_below_classes(listing, folders) or _sets_by_name(listing, folders) or _alike(listing, folders)
        # A single folder around everything, as archives have it, says nothing.
        if found or len(folders) != 1 or listing.photos(base):
            return found or _one_split_folder(listing, folders)
        base = folders[0]


def _one_split_folder(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise flowers/train, flowers/val beside other folders."""
    inside = {
        path: _sets_by_name(listing, list(filter(listing.holds_photos, listing.folders(path)))) for path in folders
    }
    split = [path for path, found in inside.items() if found and len({*found.sets.values()}) > 1 and found.folders]
    if len(split) != 1 or len(folders) > 1 + MAX_BESIDE:
        return None
    others = [path for path in folders if path not in split]
    doubt = f'{split[0]} holds sets ({_some(inside[split[0]].sets)}), but not {_some(others)}'
    return replace(inside[split[0]], beside=dict.fromkeys(others, NO_SET), doubt=doubt)


def _sets_below_classes(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise rose/train, rose/val, daisy/train, daisy/val."""
    below = {path: [sub for sub in listing.folders(path) if listing.holds_photos(sub)] for path in folders}
    sets = {path: {sub: set_of(_last(sub)) for sub in subs} for path, subs in below.items()}
    full = [path for path in folders if len({*sets[path].values()} - {None}) > 1]
    if len(full) < 2 or 2 * len(full) < len(folders):
        return None
    doubt = ''
    if other := [path for path in folders if not any(sets[path].values()) or listing.photos(path)]:
        doubt = f'most folders hold sets (such as {_some(below[full[0]])}), but not {_some(other)}'
    elif deep := [sub for sub in below[full[0]] if len(listing.folders(sub)) > 1 and not listing.photos(sub)]:
        doubt = f'{_some(folders)} hold sets, and these hold folders again (such as {deep[0]})'
    found = [ClassFolder(sub, _last(path), set_name) for path in folders for sub, set_name in sets[path].items()]
    found += [ClassFolder(path, path) for path in folders if not sets[path]]
    named = {f'<class>/{_last(folder.path)}': folder.set_name for folder in found if folder.set_name}
    return Layout(tuple(found), named, doubt=doubt)


def _sets_by_name(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise train/rose, train/daisy, val/rose, val/daisy, also with other folders beside train and val."""
    if not (named := _names_of_sets(folders)):
        return None
    for path in named:  # train/train, train/val
        if len(inner := _names_of_sets(filter(listing.holds_photos, listing.folders(path)))) > 1:
            folders = [*(other for other in folders if other != path), *inner]
    named = _names_of_sets(folders)
    many = [_classes_in(listing, path, known=()) for path in named]
    known = {_key(sub) for subs in many if len(subs) > 1 for sub in subs}
    classes = {path: subs for path in named if (subs := _classes_in(listing, path, known))}
    strange = [path for path in folders if path not in named and not _says_annotations(_last(path))]
    roles, is_plainly_named = {*named.values()}, any(not _rest(_last(path)) for path in named)
    if not classes:
        return _flat_sets(named, strange, is_plainly_named) if len(roles) > 1 and len(strange) <= MAX_BESIDE else None
    doubt = ''
    if len(roles) < 2 and not is_plainly_named:
        return None  # steam_train and toy_train; or alike, see below
    if len(roles) < 2 and strange:
        if len(strange) > MAX_BESIDE:
            return None  # a class of that name among others
        doubt = f'{_some(named)} may be a set or a class beside {_some(strange)}'
    elif len(strange) > MAX_BESIDE:
        doubt = f'{_some(named)} are called as sets, but not {_some(strange)}'
    found = [ClassFolder(sub, _last(sub), named[path]) for path, subs in classes.items() for sub in subs]
    beside = {path: 'holds no class folders' for path in named if path not in classes}
    beside |= {
        copy: 'a second copy of the folders beside it' for path in classes for copy in _second_copies(listing, path)
    }
    for path in folders:
        if path in named:
            continue
        again = [_last(sub) for sub in listing.folders(path) if set_of(_last(sub))]
        beside[path] = f'holds sets again: {_some(again)}' if again else NO_SET
    return Layout(tuple(found), {path: named[path] for path in classes}, beside, doubt)


def _names_of_sets(folders: Iterable[str]) -> dict[str, str]:
    named = {path: set_name for path in folders if (set_name := set_of(_last(path)))}
    evaluated = [path for path in named if {*_words(_last(path))} & {'eval', 'evaluation'}]
    others = {set_name for path, set_name in named.items() if path not in evaluated}
    if VAL_DIR in others and TEST_DIR not in others:  # train, val, eval
        named |= dict.fromkeys(evaluated, TEST_DIR)
    return named


def _classes_in(listing: Listing, folder: str, known: Collection[str]) -> list[str]:
    """Return the class folders of a set; none if it holds photos itself.

    Args:
        listing: The raw folder.
        folder: The set. Folders in it that hold nothing but one folder are passed, as in seg_train/seg_train/rose.
        known: Names of classes in other sets: a folder of such a name is one class, also alone.
    """
    while True:
        below = [path for path in listing.folders(folder) if path not in _second_copies(listing, folder)]
        full = [path for path in below if listing.holds_photos(path)]
        below = [path for path in below if path in full or not _says_annotations(_last(path))]
        if len(listing.photos(folder)) >= max(len(full), 1):
            return []
        if len(full) != 1 or _key(full[0]) in known:
            break
        if not any(map(listing.holds_photos, listing.folders(full[0]))):
            return [] if known else full  # test/unknown/1.jpg: no class
        folder = full[0]
    return below


def _second_copies(listing: Listing, folder: str) -> list[str]:
    """Return train/train where train/rose and train/train/rose are there: archives often hold everything twice."""
    inner = [path for path in listing.folders(folder) if _key(path) == _key(folder)]
    names = {_key(path) for path in listing.folders(folder)}
    return [path for path in inner if (subs := listing.folders(path)) and {*map(_key, subs)} <= names]


def _flat_sets(named: dict[str, str], strange: Sequence[str], is_plainly_named: bool) -> Layout | None:
    """Judge folders that are called as sets, but hold photos and no class folders."""
    rests = Counter((_rest(_last(path)).casefold(), set_name) for path, set_name in named.items())
    sets_of_rest = Counter(rest for rest, _ in rests)
    if is_plainly_named or len(sets_of_rest) == 1:
        return Layout(sets=named, is_unlabelled=True, beside=dict.fromkeys(strange, ''))
    if strange or min(sets_of_rest.values()) < 2:
        return None  # steam_train and crash_test
    folders = tuple(ClassFolder(path, _rest(_last(path)), set_name) for path, set_name in named.items())
    return Layout(folders, named, doubt=f'the names {_some(named)} seem to say class and set')


def _alike(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise siteA/rose, siteA/daisy, siteB/rose, siteB/daisy: every folder holds the same names, and no photos."""
    names = {path: _classes_in(listing, path, known=()) for path in folders if not listing.photos(path)}
    names = {path: subs for path, subs in names.items() if len(subs) > 1}
    counts = Counter(_key(sub) for subs in names.values() for sub in subs)
    shared = {name for name, count in counts.items() if count > 1}
    is_alike = len(shared) > 1 and 2 * sum(counts[name] for name in shared) >= counts.total()
    if not is_alike or 2 * len(names) <= len(folders) or all(map(_NO_CLASS.fullmatch, shared)):
        return None
    doubt = f'{_some(names)} hold folders of the same names ({_some(sorted(shared))})'
    found = tuple(ClassFolder(sub, _last(sub)) for subs in names.values() for sub in subs)
    beside = {path: 'holds other folders than most' for path in folders if path not in names}
    return Layout(found, dict.fromkeys(names), beside, doubt)


# --- messages ---------------------------------------------------------------------------------------------------------


def described(sets: dict[str, str]) -> str:
    """Return the sets as text: ``train → training_set, train_aug → training_set, valid → val_set``."""
    in_order = sorted(sets.items(), key=lambda item: (list(SET_TITLES).index(item[1]), item[0]))
    return ', '.join(f'{path} → {set_name}' for path, set_name in in_order)


def where_labels_are(raw_dir: Path, out_dir: str | Path) -> str:
    """Return the remedy for photos that lie in no class folder: the table beside them, or how to write one."""
    tables = []
    for folder in (raw_dir, raw_dir.absolute().parent):
        try:
            found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _TABLES)
        except OSError:
            continue
        tables += [path for path in found if 'submission' not in path.name.casefold()]
    if tables:
        labels = min(
            tables, key=lambda path: ('label' not in path.name.casefold(), 'train' not in path.name.casefold())
        )
        return (
            f'Fix: if {labels} says the class of each photo:\n  {_command(raw_dir, out_dir, None, "--labels", labels)}'
        )
    return (
        'Fix: make a folder for each class; or write a table with a line for each photo (image,label) and name it with '
        '--labels FILE.'
    )


def _unlabelled_message(found: Layout, raw_dir: Path, out_dir: str | Path) -> str:
    folders = [*found.sets, *found.beside]
    ignore = f'\nIf {_some(folders)} are the classes:\n  {_command(raw_dir, out_dir, "ignore")}'
    return (
        f'{raw_dir}: {_some(found.sets)} hold photos and no class folders, so nothing says the class of a photo. '
        f'{where_labels_are(raw_dir, out_dir)}' + ignore * ('/' not in folders[0])
    )


def _doubt_message(found: Layout, top: Sequence[str], raw_dir: Path, out_dir: str | Path) -> str:
    keep = ''
    if None in found.sets.values():
        names = [f'{name}_{_last(path)}' for name, path in zip(('train', 'val', 'test'), found.sets, strict=False)]
        keep = f' Before, rename them so that they say which is which, such as {", ".join(names)}.'
    kept = _some(sorted({folder.class_name for folder in found.folders if folder.set_name or keep}))
    merged = _some(sorted({folder.class_name for folder in found.folders}))
    return (
        f'{raw_dir}: may be split already: {found.doubt}. Fix: say what they are.\n'
        f'- Sets, which stay as they are (classes: {kept}).{keep}\n  {_command(raw_dir, out_dir, "keep")}\n'
        f'- Sets, to be merged and split anew (classes: {merged}).\n  {_command(raw_dir, out_dir, "new")}\n'
        f'- No sets (classes: {_some(top)}).\n  {_command(raw_dir, out_dir, "ignore")}'
    )


def _command(raw_dir: Path, out_dir: str | Path, split: str | None, *words: object) -> str:
    return tool_command('prepare', raw_dir, out_dir, *(['--split', split] if split else words))


def _some(names: Collection[str]) -> str:
    names = list(names)
    return ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')
