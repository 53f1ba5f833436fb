"""The contact sheet shows photos of every class and set, in their own colours and places."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from flowercls.data.prepare import overview
from flowercls.data.prepare.preparation import prepare

COLOURS = {'red': (200, 30, 30), 'yellow': (210, 200, 40)}


def prepared(tmp_path, colours=COLOURS, num_photos=10, brighter=0, **options):
    """The sheet of a prepared folder of nearly plain photos: a colour for each class, brighter from name to name."""
    rng = np.random.default_rng(0)
    for label, colour in colours.items():
        (tmp_path / 'raw' / label).mkdir(parents=True)
        for number in range(num_photos):
            pixels = np.array(colour) + brighter * number + rng.integers(-20, 20, (24, 32, 1))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f'raw/{label}/{number}.png')
    prepare(tmp_path / 'raw', tmp_path / 'out', workers=0, **options)
    return np.asarray(Image.open(tmp_path / 'out/overview.png').convert('RGB')).astype(int)


def tiles(sheet, row, columns):
    """Mean colour of the tile at each column of a row."""
    top = overview.HEAD_PX + row * (overview.TILE_PX + overview.GAP_PX)
    return [sheet[top : top + overview.TILE_PX, left : left + overview.TILE_PX].mean(axis=(0, 1)) for left in columns]


def test_each_class_has_a_row_with_its_own_photos_of_each_set(tmp_path):
    sheet = prepared(tmp_path)
    start = overview.MARGIN_PX + overview.LABEL_PX
    step = overview.TILE_PX + overview.GAP_PX
    validation = start + 5 * step + overview.MARGIN_PX
    for row, colour in enumerate(COLOURS.values()):
        for mean in tiles(sheet, row, [start, start + 4 * step, validation, validation + step]):
            assert np.abs(mean - colour).max() < 12
        # Two validation photos of each class: the third place stays white.
        assert (tiles(sheet, row, [validation + 2 * step])[0] == 255).all()


def test_the_bars_grow_with_the_counts(tmp_path):
    sheet = prepared(tmp_path)
    colours = [ImageColor.getrgb(overview.COLOURS[name]) for name in ('training_set', 'val_set')]
    middle_of_bar = sheet[overview.HEAD_PX + 63]
    train, val = ((np.abs(middle_of_bar - colour).max(axis=1) == 0).sum() for colour in colours)
    assert train / val == pytest.approx(8 / 2, rel=0.1)


def test_a_test_set_widens_the_sheet(tmp_path):
    with_test = prepared(tmp_path, test_ratio=0.2)
    assert with_test.shape[1] == prepared(tmp_path / 'other').shape[1] + 3 * 100 + overview.MARGIN_PX


def test_very_many_classes_and_long_names_still_make_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(overview, 'MAX_ROWS', 2)
    colours = dict.fromkeys(('a' * 120, '猫 🌻', 'third', 'fourth'), (90, 90, 90))
    sheet = prepared(tmp_path, colours, num_photos=2)
    assert sheet.shape[0] == overview.HEAD_PX + 2 * 100 + 2 * overview.MARGIN_PX
    bottom = sheet[-overview.MARGIN_PX - 20 :]
    assert (bottom < 100).any(), 'the note about further classes'


def test_the_photos_shown_are_spread_over_the_whole_list(tmp_path):
    sheet = prepared(tmp_path, {'dark to bright': (20, 20, 20), 'other': (20, 30, 20)}, brighter=20)
    start = overview.MARGIN_PX + overview.LABEL_PX
    step = overview.TILE_PX + overview.GAP_PX
    brightness = [mean.mean() for mean in tiles(sheet, 0, range(start, start + 5 * step, step))]
    assert all(later - earlier > 15 for earlier, later in zip(brightness, brightness[1:], strict=False))
    assert brightness[-1] - brightness[0] >= 6 * 19
