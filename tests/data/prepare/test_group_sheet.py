"""The sheet of near-duplicates shows each group in a row, its photos in the colours of their sets, and odd classes."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from flowercls.core import palette
from flowercls.data.prepare import group_sheet
from flowercls.data.prepare.overview import COLOURS, HEAD_PX, MARGIN_PX, TILE_PX
from flowercls.data.prepare.preparation import prepare


def drawn_photo(seed):
    return np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)


@pytest.fixture
def sheet_of(tmp_path):
    """Prepares copies, ``{path: number of the picture}``, and other photos; returns sheet and result."""

    def prepared(copies):
        photos = copies | {f'{label}/other{n}': 50 + n + 10 * (label == 'rose') for label in ('daisy', 'rose')
                           for n in range(6)}  # fmt: skip
        for number, (path, seed) in enumerate(photos.items()):
            file = tmp_path / f'raw/{path}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = drawn_photo(seed)
            pixels[0, 0] = number  # so the bytes differ
            Image.fromarray(pixels).save(file)
        result = prepare(tmp_path / 'raw', tmp_path / 'out', workers=0)
        path = tmp_path / 'out/near_duplicates.png'
        return (np.asarray(Image.open(path).convert('RGB')) if path.exists() else None), result

    return prepared


def tile_at(sheet, before, column, row=0):
    """A photo of the group that stands behind groups of ``before`` photos, and the bar below it."""
    left = MARGIN_PX + sum(group_sheet.HEAD_COLUMN_PX + size * group_sheet.COLUMN_PX for size in before)
    left += group_sheet.HEAD_COLUMN_PX + column * group_sheet.COLUMN_PX
    top = HEAD_PX + row * group_sheet.ROW_PX
    return sheet[top : top + TILE_PX, left : left + TILE_PX].astype(int), sheet[top + TILE_PX + 1, left]


def has_colour(pixels, colour):
    return (pixels == ImageColor.getrgb(colour)).all(axis=-1).any()


def test_the_largest_group_comes_first_each_photo_with_the_colour_of_its_set(sheet_of):
    sheet, result = sheet_of({'daisy/a1': 1, 'daisy/a2': 1, 'rose/b1': 2, 'rose/b2': 2, 'rose/b3': 2})
    set_of = {planned.photo.path: planned.set_name for planned in result.plan.photos}
    for before, path, seed, size in [((), 'rose/b1.png', 2, 3), ((3,), 'daisy/a1.png', 1, 2)]:
        shrunk = np.asarray(Image.fromarray(drawn_photo(seed)[4:68]).resize((TILE_PX, TILE_PX))).astype(int)
        for column in range(size):
            tile, bar = tile_at(sheet, before, column)
            assert np.abs(tile - shrunk).mean() < 20
            assert tuple(bar) == ImageColor.getrgb(COLOURS[set_of[path]])
    assert (tile_at(sheet, (3,), 2)[0] == 255).all(), 'the smaller group has no third photo'


def test_a_group_across_classes_is_marked(sheet_of):
    sheet, _ = sheet_of({'daisy/a1': 1, 'daisy/a2': 1, 'daisy/b1': 2, 'rose/b2': 2})
    half = MARGIN_PX + group_sheet.HEAD_COLUMN_PX + 2 * group_sheet.COLUMN_PX - 16
    halves = sheet[HEAD_PX : HEAD_PX + group_sheet.ROW_PX, :half], sheet[HEAD_PX:, half:]
    assert [has_colour(each, palette.VERMILLION) for each in halves] == [False, True]


def test_without_groups_there_is_no_sheet(sheet_of):
    assert sheet_of({})[0] is None


def test_of_many_photos_and_groups_the_first_are_drawn_and_the_others_counted(sheet_of, monkeypatch):
    monkeypatch.setattr(group_sheet, 'MAX_GROUPS', 2)
    monkeypatch.setattr(group_sheet, 'MAX_PHOTOS', 4)
    monkeypatch.setattr(group_sheet, 'SHEET_PX', 1000)  # the second group has no place beside the first
    copies = {f'daisy/{letter}{n}': ord(letter) for letter, size in (('a', 6), ('b', 3), ('c', 2)) for n in range(size)}
    sheet, _ = sheet_of(copies)
    assert sheet.shape[0] == HEAD_PX + 2 * group_sheet.ROW_PX + 2 * MARGIN_PX
    place_of_fifth, _ = tile_at(sheet, (), 4)
    assert (place_of_fifth < 100).any() and (place_of_fifth == 255).mean() > 0.8, '… and 2 more'
    assert (sheet[-MARGIN_PX - 20 :] < 100).any(), '… and 1 more groups'


def test_long_paths_keep_the_end_of_each_line():
    from flowercls.data.prepare.raw.scan import RawPhoto

    def caption(path, class_name):
        return group_sheet._caption(RawPhoto(path, class_name, '', 0, (8, 8), 'PNG', (), b''))

    assert caption('daisy/a.png', 'daisy') == ['daisy', 'a.png', '']
    assert caption('2024/may/a.png', 'daisy') == ['daisy', '2024/may', 'a.png', '']
    label, folder, first, rest = caption(f'{"deep/" * 20}{"x" * 60}end.png', 'daisy')
    assert folder.startswith('…') and folder.endswith('deep/deep')
    assert first == 'x' * len(first) and rest.startswith('…') and rest.endswith('end.png')
