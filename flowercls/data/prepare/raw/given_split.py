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
from flowercls.core.terminal import listed, tool_command
from flowercls.data.prepare.raw.listing import Listing, last_part, nfc

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
NO_SET, NO_CLASSES, OWN_PHOTOS = 'its name says no set', 'holds no class folders', 'holds photos of its own'
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
                f'{raw_dir}: --split keep, but no name of a folder says that it is a set ({listed(top)}). '
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
        others = ''.join(f'; {path} {why}' for path, why in found.beside.items())
        own = 'move photos into class folders; or ' * (OWN_PHOTOS in found.beside.values())
        raise DataError(
            f'{raw_dir}: holds no training set ({described(found.sets)}{others}). Fix: {own}split these photos anew:\n'
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


def _key(path: str) -> str:
    return nfc(last_part(path)).casefold()


# --- three ways to tell that folders are sets -------------------------------------------------------------------------


def _find_sets(listing: Listing) -> Layout | None:
    base = ''
    while True:
        folders = listing.folders_of_photos(base)
        found = _sets_below_classes(listing, folders) or _sets_by_name(listing, folders) or _alike(listing, folders)
        # A single folder around everything, as archives have it, says nothing.
        if found or len(folders) != 1 or listing.photos(base):
            return found or _split_folders(listing, folders)
        base = folders[0]


def _split_folders(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise flowers/train, flowers/val beside other folders, split or not."""
    inside = {}
    for path in folders:
        below = listing.folders_of_photos(path)
        while len(below) == 1 and not listing.photos(path) and not set_of(last_part(below[0])):
            below = listing.folders_of_photos(below[0])
        found = _sets_by_name(listing, below)
        if found and found.folders and len({*found.sets.values()}) > 1:
            inside[path] = found
    others = [path for path in folders if path not in inside]
    if not inside or len(others) > MAX_BESIDE:
        return None
    doubt = f'{listed(inside)} hold sets ({listed([last_part(path) for path in inside[min(inside)].sets])})'
    doubt += f', but not {listed(others)}' if others else '; one of them may be the raw folder'
    layouts = inside.values()
    return Layout(
        tuple(folder for found in layouts for folder in found.folders),
        {path: set_name for found in layouts for path, set_name in found.sets.items()},
        dict.fromkeys(others, NO_SET) | {path: why for found in layouts for path, why in found.beside.items()},
        doubt,
    )


def _sets_below_classes(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise rose/train, rose/val, daisy/train, daisy/val."""
    below = {path: listing.folders_of_photos(path) for path in folders}
    sets = {path: {sub: set_of(last_part(sub)) for sub in subs} for path, subs in below.items()}
    full = [path for path in folders if len({*sets[path].values()} - {None}) > 1]
    if len(full) < 2 or 2 * len(full) < len(folders):
        return None
    if any(_classes_in(listing, sub, known=('',)) for sub in below[full[0]]):
        return None  # the sets hold class folders: see `_split_folders`
    doubt = ''
    if other := [path for path in folders if not any(sets[path].values()) or listing.photos(path)]:
        doubt = f'most folders hold sets (such as {listed(below[full[0]])}), but not {listed(other)}'
    found = [ClassFolder(sub, last_part(path), set_name) for path in folders for sub, set_name in sets[path].items()]
    found += [ClassFolder(path, path) for path in folders if not sets[path]]
    named = {f'<class>/{last_part(folder.path)}': folder.set_name for folder in found if folder.set_name}
    return Layout(tuple(found), named, doubt=doubt)


def _sets_by_name(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise train/rose, train/daisy, val/rose, val/daisy, also with other folders beside train and val."""
    if not (named := _names_of_sets(folders)):
        return None
    for path in named:  # train/train, train/val
        if len(inner := _names_of_sets(listing.folders_of_photos(path))) > 1:
            folders = [*(other for other in folders if other != path), *inner]
    named = _names_of_sets(folders)
    many = [_classes_in(listing, path, known=()) for path in named]
    known = {_key(sub) for subs in many if len(subs) > 1 for sub in subs}
    classes = {path: subs for path in named if (subs := _classes_in(listing, path, known))}
    strange = [path for path in folders if path not in named and not _says_annotations(last_part(path))]
    roles, is_plainly_named = {*named.values()}, any(not _rest(last_part(path)) for path in named)
    if not classes:
        return _flat_sets(named, strange, is_plainly_named) if len(roles) > 1 and len(strange) <= MAX_BESIDE else None
    found = [ClassFolder(sub, last_part(sub), named[path]) for path, subs in classes.items() for sub in subs]
    same = {_key(folder.path) for folder in found} & {_key(path) for path in strange}
    if len(same) > 1:  # daisy, rose, test/daisy, test/rose: what lies beside the set is another set
        doubt = f'{listed(classes)} holds folders that are called like those beside it ({listed(sorted(same))})'
        found += [ClassFolder(path, last_part(path), TRAIN_DIR) for path in strange]
        sets = {path: named[path] for path in classes} | {'the folders beside': TRAIN_DIR}
        return Layout(tuple(found), sets, doubt=doubt)
    doubt = ''
    if len(roles) < 2 and not is_plainly_named:
        return None  # steam_train and toy_train; or alike, see below
    if len(roles) < 2 and strange:
        if len(strange) > MAX_BESIDE:
            return None  # a class of that name among others
        doubt = f'{listed(named)} may be a set or a class beside {listed(strange)}'
    elif len(strange) > MAX_BESIDE:
        doubt = f'{listed(named)} are called as sets, but not {listed(strange)}'
    beside = {
        path: OWN_PHOTOS if listing.folders_of_photos(path) and listing.photos(path) else NO_CLASSES
        for path in named
        if path not in classes
    }
    beside |= {
        copy: 'a second copy of the folders beside it' for path in classes for copy in _second_copies(listing, path)
    }
    for path in folders:
        if path in named:
            continue
        again = [last_part(sub) for sub in listing.folders(path) if set_of(last_part(sub))]
        beside[path] = f'holds sets again: {listed(again)}' if again else NO_SET
    return Layout(tuple(found), {path: named[path] for path in classes}, beside, doubt)


def _names_of_sets(folders: Iterable[str]) -> dict[str, str]:
    named = {path: set_name for path in folders if (set_name := set_of(last_part(path)))}
    evaluated = [path for path in named if {*_words(last_part(path))} & {'eval', 'evaluation'}]
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
        copies = _second_copies(listing, folder)
        below = [path for path in listing.folders(folder) if path not in copies]
        full = [path for path in below if listing.holds_photos(path)]
        below = [path for path in below if path in full or not _says_annotations(last_part(path))]
        num_inside = sum(len(listing.photos(path)) for path in full)
        if len(listing.photos(folder)) >= max(len(full), 1, num_inside // 10):
            return []
        if len(full) != 1 or _key(full[0]) in known:
            break
        if not listing.folders_of_photos(full[0]):  # test/unknown/1.jpg, train/images/1.jpg: no class
            is_no_class = known or set_of(last_part(full[0])) or _NO_CLASS.fullmatch(_key(full[0]))
            return [] if is_no_class else full
        folder = full[0]
    return below


def _second_copies(listing: Listing, folder: str) -> list[str]:
    """Return train/train where train/rose and train/train/rose are there: archives often hold everything twice."""
    inner = [path for path in listing.folders(folder) if _key(path) == _key(folder)]
    names = {_key(path) for path in listing.folders(folder)}
    return [path for path in inner if (subs := listing.folders(path)) and {*map(_key, subs)} <= names]


def _flat_sets(named: dict[str, str], strange: Sequence[str], is_plainly_named: bool) -> Layout | None:
    """Judge folders that are called as sets, but hold photos and no class folders."""
    rests = Counter((_rest(last_part(path)).casefold(), set_name) for path, set_name in named.items())
    sets_of_rest = Counter(rest for rest, _ in rests)
    if is_plainly_named or len(sets_of_rest) == 1:
        return Layout(sets=named, is_unlabelled=True, beside=dict.fromkeys(strange, ''))
    if strange or min(sets_of_rest.values()) < 2:
        return None  # steam_train and crash_test
    folders = tuple(ClassFolder(path, _rest(last_part(path)), set_name) for path, set_name in named.items())
    return Layout(folders, named, doubt=f'the names {listed(named)} seem to say class and set')


def _alike(listing: Listing, folders: Sequence[str]) -> Layout | None:
    """Recognise siteA/rose, siteA/daisy, siteB/rose, siteB/daisy: every folder holds the same names, and no photos."""
    names = {path: _classes_in(listing, path, known=()) for path in folders if not listing.photos(path)}
    names = {path: subs for path, subs in names.items() if len(subs) > 1}
    counts = Counter(_key(sub) for subs in names.values() for sub in subs)
    shared = {name for name, count in counts.items() if count > 1}
    shared = {name for name in shared if set_of(name) is None}
    is_alike = len(shared) > 1 and 2 * sum(counts[name] for name in shared) >= counts.total()
    if not is_alike or 2 * len(names) <= len(folders) or all(map(_NO_CLASS.fullmatch, shared)):
        return None
    doubt = f'{listed(names)} hold folders of the same names ({listed(sorted(shared))})'
    found = tuple(ClassFolder(sub, last_part(sub)) for subs in names.values() for sub in subs)
    beside = {path: 'holds other folders than most' for path in folders if path not in names}
    return Layout(found, dict.fromkeys(names), beside, doubt)


# --- messages ---------------------------------------------------------------------------------------------------------


def described(sets: dict[str, str]) -> str:
    """Return the sets as text: ``train → training_set, train_aug → training_set, valid → val_set``."""
    in_order = sorted(sets.items(), key=lambda item: (list(SET_TITLES).index(item[1]), item[0]))
    return ', '.join(f'{path} → {set_name}' for path, set_name in in_order)


def where_labels_are(raw_dir: Path, out_dir: str | Path, inside: str = '') -> str:
    """Return the remedy for photos that lie in no class folder: the table beside them, or how to write one.

    Args:
        raw_dir: The raw folder.
        out_dir: The folder to make.
        inside: The folder in it that holds the photos, or the sets.
    """
    tables = []
    for folder in (raw_dir / inside, raw_dir, raw_dir.absolute().parent):
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
    ignore = f'\nIf {listed(folders)} are the classes:\n  {_command(raw_dir, out_dir, "ignore")}'
    return (
        f'{raw_dir}: {listed(found.sets)} hold photos and no class folders, so nothing says the class of a photo. '
        f'{where_labels_are(raw_dir, out_dir, folders[0].rpartition("/")[0])}' + ignore * ('/' not in folders[0])
    )


def _doubt_message(found: Layout, top: Sequence[str], raw_dir: Path, out_dir: str | Path) -> str:
    augmented = [path for path in found.sets if re.search('aug(?!ust)', last_part(path).casefold())]
    plain = [path for path in found.sets if path not in augmented]
    if augmented and len(plain) == 1 and None in found.sets.values():  # as sets the copies would leak
        return (
            f'{raw_dir}: {listed(augmented)} seems to hold copies of the photos in {plain[0]}. Fix: leave the copies '
            f'out, as training augments photos itself:\n  {_command(raw_dir / plain[0], out_dir, None)}\n'
            'or keep each photo and its copies in one set, as far as their names tell:\n'
            f'  {_command(raw_dir, out_dir, None, "--split", "new", "--group-copies")}'
        )
    keep = ''
    if None in found.sets.values():
        names = [f'{name}_{last_part(path)}' for name, path in zip(('train', 'val', 'test'), found.sets, strict=False)]
        keep = f' Before, rename them so that they say which is which, such as {", ".join(names)}.'
    kept = listed(sorted({folder.class_name for folder in found.folders if folder.set_name or keep}))
    merged = listed(sorted({folder.class_name for folder in found.folders}))
    return (
        f'{raw_dir}: may be split already: {found.doubt}. Fix: say what they are.\n'
        f'- Sets, which stay as they are (classes: {kept}).{keep}\n  {_command(raw_dir, out_dir, "keep")}\n'
        f'- Sets, to be merged and split anew (classes: {merged}).\n  {_command(raw_dir, out_dir, "new")}'
        + f'\n- No sets (classes: {listed(top)}).\n  {_command(raw_dir, out_dir, "ignore")}'
        * (len(top) > 1)
    )


def _command(raw_dir: Path, out_dir: str | Path, split: str | None, *words: object) -> str:
    return tool_command('prepare', raw_dir, out_dir, *(['--split', split] if split else words))
