"""Names that look like copies of one photo: x_flip.jpg, x_rot90.jpg, x (1).jpg, x_jpg.rf.<hash>.jpg.

Start reading at `find_copies`. Only names are looked at. "images (1).jpg", "images (2).jpg", … are numbered downloads,
so numbers alone make copies only beside the original, and a name that most photos of a class share makes none.
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flowercls.core.prepared_folder import PHOTO_SUFFIXES
from flowercls.data.prepare.raw.listing import last_part, nfc
from flowercls.data.prepare.raw.raw_folder import RawFile

_WORDS = (
    r'(?:h|v|lr|ud|horizontal(?:ly)?|vertical(?:ly)?|horiz|vert|left|right)?[-_ ]?(?:flip(?:ped|s)?|mirror(?:ed)?)'
    r'(?:[-_ ]?(?:h|v|hv|vh|x|y|lr|ud|horizontal(?:ly)?|vertical(?:ly)?|horiz|vert|left|right))?'
    r'|fliplr|flipud|rot(?:at(?:e|ed|ion))?|(?:r|cw|ccw)(?=90|180|270)|turn(?:ed)?|transpose[d]?'
    r'|(?:center|centre|random|rand)?[-_ ]?crop(?:ped)?|zoom(?:ed)?(?:[-_ ]?(?:in|out))?|scaled?|resized?|rescaled?'
    r'|shear(?:ed)?|shift(?:ed)?|translat(?:e|ed|ion)|affine|elastic|warp(?:ed)?|perspective|distort(?:ed|ion)?'
    r'|bright(?:er|en|ened|ness)?|dark(?:er|en|ened)?|contrast|gamma|satur(?:at(?:e|ed|ion))?|hue|exposure'
    r'|(?:colou?r)?[-_ ]?jitter(?:ed)?|gr[ae]y(?:scale)?|invert(?:ed)?|equali[sz]ed?|clahe|solari[sz]ed?|posteri[sz]ed?'
    r'|(?:gauss(?:ian)?|motion|median)?[-_ ]?blur(?:red|ry)?|(?:gauss(?:ian)?|salt[-_ ]?pepper)?[-_ ]?nois[ey]'
    r'|sharp(?:en|ened)?|cut[-_ ]?out|random[-_ ]?erasing|erased?|(?:coarse)?dropout|mixup|cutmix'
    r'|aug(?:m|ment|mented|mentation)?|albu?(?:mentations?)?|transform(?:ed)?|synth(?:etic)?|variant|version|ver'
    r'|copy|copie|kopie|copia|c[oó]pia|kopia|kopya|копия|副本|コピー|dup(?:licate)?|edit(?:ed)?|original|orig'
)
_AMOUNT = r'(?:[-_ ]?[-+]?\d+(?:\.\d+)?(?:deg|px|pct|%|x|°)?| ?\(\d+\)){0,3}'
_AFTER = re.compile(rf'(?:[-_. ]+\d{{0,3}}(?:{_WORDS}){_AMOUNT}|[ _]?[(\[](?:{_WORDS}){_AMOUNT}[)\]])$')
_BEFORE = re.compile(
    r'^(?:(?:copy|copie|kopie|copia|c[oó]pia|kopia)[-_ ](?:\d+[-_ ])?(?:of|von|de|van|di)[-_ ]'
    rf'|(?:{_WORDS}){_AMOUNT}[-_ ]+)(?=.)'
)
_UUID = r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
_ROBOFLOW = re.compile(r'(?:[_.](?:jpe?g|png|bmp|webp|tiff?))?\.rf\.[0-9a-z]{6,}$')
_AUGMENTOR = re.compile(rf'^(?:.*?_)?original_(.+?)(?:\.[a-z]+)?_{_UUID}$')
_ENDS_IN_UUID = re.compile(rf'[-_.]{_UUID}$')
# Numbers alone: x (1), x-1, x_1, x 2, x_180, and x_0_1234 as Keras writes it. They count only beside x itself.
_IN_BRACKETS = re.compile(r'\s*\(\d{1,3}\)$|~\d$')
_BY_KERAS = re.compile(r'_\d{1,5}_\d{1,7}$')
_NUMBER = re.compile(r'[-_ ](?:[1-9]\d?|180|270|hf|vf|lr|ud)$')
_IDENTITY = re.compile(r'\d{2}')  # IMG_1234_1 belongs to IMG_1234, but rose_1 and rose_2 are a series
MAX_NUMBERED = 9  # copies of one photo by number alone; more are a series
MAX_SHARE, MIN_SERIES = 0.5, 5  # of a class that share one name: they are numbered photos


@dataclass(frozen=True)
class CopyNames:
    """What names of photos tell.

    Attributes:
        original_of: Path → class and name of the photo it seems to be a version of; only where there are several.
        series: Class and name that many photos share, with a number each → one of their paths; no copies.
    """

    original_of: dict[str, str]
    series: dict[str, str]

    def without_groups(self, files: Sequence[RawFile]) -> 'CopyNames':
        """Return the copies that do not lie in one group of the user already."""
        groups = defaultdict(set)
        for file in files:
            if file.path in self.original_of:
                groups[self.original_of[file.path]].add(file.group)
        apart = {original for original, of in groups.items() if len(of) > 1 or None in of}
        return replace(self, original_of={path: name for path, name in self.original_of.items() if name in apart})

    def notes(self, are_grouped: bool) -> list[str]:
        """Return lines for the summary."""
        lines = []
        if self.original_of:
            photos_of = defaultdict(list)
            for path, original in self.original_of.items():
                photos_of[original].append(path)
            largest = max(photos_of.values(), key=len)
            text = (
                f'{len(self.original_of):,} photos look like copies of {len(photos_of):,} by their names, such as '
                f'{", ".join(largest[:3])}'
            )
            lines.append(
                f'{text}; they are kept in one set (--group-copies)'
                if are_grouped
                else f'{text}. On both sides of a split they make figures too good: add --group-copies to keep them in '
                'one set'
            )
        if self.series and (self.original_of or are_grouped):
            lines.append(f'numbered, and taken for different photos: {", ".join(list(self.series.values())[:5])}')
        return lines


def find_copies(files: Sequence[RawFile]) -> CopyNames:
    """Return which files of one class look like copies of one photo, by their names."""
    by_class = defaultdict(list)
    for file in files:
        by_class[file.class_name].append(file.path)
    original_of, series = {}, {}
    for class_name, paths in by_class.items():
        for original, members in _families(paths, series, class_name).items():
            if len(members) >= MIN_SERIES and len(members) > MAX_SHARE * len(paths):
                series[f'{class_name}/{original}'] = members[-1]
            else:
                for folder, versions in _by_folder(members).items():
                    if len(versions) > 1:
                        original_of |= dict.fromkeys(versions, f'{class_name}/{folder}{original}')
    return CopyNames(original_of, series)


def _by_folder(members: Sequence[str]) -> dict[str, list[str]]:
    """Return photos of one name by their folder if two of them are called the same: 1.jpg of each folder is another."""
    if len({last_part(path) for path in members}) == len(members):
        return {'': list(members)}
    by_folder = defaultdict(list)
    for path in members:
        by_folder[path.removesuffix(last_part(path))].append(path)
    return by_folder


def _families(paths: Sequence[str], series: dict[str, str], class_name: str) -> dict[str, list[str]]:
    """Return the photos of one class by the name of their original; names that are only numbered go to ``series``."""
    members = defaultdict(list)
    for path in paths:
        members[original_name(path)].append(path)
    numbered = defaultdict(list)
    for name in members:
        for pattern in (_IN_BRACKETS, _BY_KERAS, _NUMBER):
            base = pattern.sub('', name)
            if base != name and base in members and (pattern is not _NUMBER or _IDENTITY.search(base)):
                numbered[base, pattern].append(name)
                break
    base_of = {}
    for (base, pattern), names in numbered.items():
        if len(names) > MAX_NUMBERED and pattern is not _BY_KERAS:
            series[f'{class_name}/{base}'] = members[names[-1]][0]
        else:
            base_of |= dict.fromkeys(names, base)
    families = defaultdict(list)
    for name, of_name in members.items():
        while name in base_of:  # a base is shorter, so this ends
            name = base_of[name]
        families[name] += of_name
    return families


def original_name(path: str) -> str:
    """Return the name of the photo that a photo seems to be a version of: its own, without what marks a version.

    Example:
        >>> [original_name(name) for name in ('a/x_rot90_flip.jpg', 'IMG_1 - Copy (2).png', 'x_jpg.rf.0a1b2c3d.jpg')]
        ['x', 'img_1', 'x']
    """
    name = nfc(path.rpartition('/')[2]).casefold()
    stem, suffix = posixpath.splitext(name)
    stem = stem if suffix in PHOTO_SUFFIXES else name
    while True:
        shorter = stem
        for pattern in (_ROBOFLOW, _ENDS_IN_UUID, _AFTER, _BEFORE):
            shorter = pattern.sub('', shorter) or shorter
        if augmented := _AUGMENTOR.match(stem):
            shorter = augmented[1]
        if shorter == stem:
            return stem
        stem = shorter
