from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flowercls.report import figures
from flowercls.report.figures import font_file, shortened
from flowercls.report.gallery import draw_photos


def test_every_photo_is_drawn_and_mistakes_come_first(predictions, tmp_path):
    photo = np.zeros((50, 100, 3), np.uint8)
    photo[:, :50] = (200, 30, 30)
    draw_photos(predictions, lambda number: photo, tmp_path / 'new' / 'show')
    names = sorted(path.name for path in (tmp_path / 'new' / 'show').iterdir())
    # Mistakes by falling confidence 0.8, 0.6; hits by rising confidence 0.55, 0.7, 0.9.
    assert names == [
        '00001_wrong_3.jpg', '00002_wrong_1.jpg', '00003_right_4.jpg', '00004_right_2.jpg', '00005_right_0.jpg'
    ]  # fmt: skip
    picture = np.asarray(Image.open(tmp_path / 'new' / 'show' / names[0]), int)
    assert picture.shape == (64 + 192, 384, 3)
    assert abs(picture[150, 50] - (200, 30, 30)).max() < 12 and picture[150, 300].max() < 12
    assert (picture[:64] < 128).any()  # the caption


def test_long_names_keep_beginning_and_end():
    assert shortened('abcdefghij', 10) == 'abcdefghij'
    assert shortened('abcdefghijk', 10) == 'abcde…hijk'


@pytest.mark.parametrize('letter', ['x', '向', '🌷'])
def test_photos_with_the_longest_names_are_drawn(predictions, tmp_path, letter):
    photo, stem = np.zeros((8, 8, 3), np.uint8), letter * (251 // len(letter.encode()))
    five = replace(predictions, images=[f'a/{stem}.jpg'] * 5)
    draw_photos(five, lambda number: photo, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 5 and names[0] == f'00001_wrong_{letter * 25}…{letter * 24}.jpg'


def test_the_font_fits_the_letters(monkeypatch):
    monkeypatch.setattr(figures, 'FALLBACK_FONTS', ('No Such Font', 'DejaVu Serif'))
    assert font_file('tulip').endswith('DejaVuSans.ttf')
    assert font_file('郁金香').endswith('DejaVuSerif.ttf')
    monkeypatch.setattr(figures, 'FALLBACK_FONTS', ('No Such Font',))
    assert font_file('郁金香').endswith('DejaVuSans.ttf')
