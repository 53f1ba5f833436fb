"""The answer for one photo: sorted names, a short text, and HTML in which names stay text."""

import numpy as np

from flowercls.use.model import Prediction, PredictionList, thumbnail_of


def answer(scores, image='a.jpg'):
    return Prediction(image, scores, thumbnail_of(np.full((300, 600, 3), 200, np.uint8)))


def test_the_most_likely_classes_come_first():
    one = answer({'daisy': 0.2, 'rose': 0.7, 'tulip': 0.1})
    assert (one.pred, one.score, one.top(2)) == ('rose', 0.7, [('rose', 0.7), ('daisy', 0.2)])
    assert repr(one) == 'rose 70.0 %, daisy 20.0 %, tulip 10.0 %'
    assert answer({'b': 0.5, 'a': 0.5}).pred == 'b'


def test_a_notebook_shows_photo_and_bars_and_no_markup_of_names():
    page = PredictionList([answer({'<b>': 0.9, 'x': 0.1}, image='"><script>')])._repr_html_()
    assert 'data:image/jpeg;base64,' in page and 'width:90.0%' in page
    assert '<script>' not in page and '<b>' not in page and '&lt;b&gt;' in page


def test_a_thumbnail_is_small():
    assert answer({'a': 1.0}).thumbnail.size == (240, 120)
