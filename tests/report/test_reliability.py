from matplotlib.figure import Figure
from pytest import approx

from flowercls.report.reliability import plot_reliability


def test_error_units_and_photos_are_written(metrics, tmp_path, texts):
    plot_reliability(metrics, tmp_path / 'reliability.png')
    # Confidences 0.9, 0.6, 0.7, 0.8, 0.55 lie in five bins; right are the first, third and last: gaps 0.1, 0.6, 0.3,
    # 0.8 and 0.45, a fifth of each is 45 %.
    assert any('Expected calibration error 45.00 %' in text and '5 photos' in text for text in texts)
    assert {'accuracy (%)', 'confidence: score of the predicted class (%)', 'photos'} <= set(texts)
    assert (tmp_path / 'reliability.png').read_bytes().startswith(b'\x89PNG')


def test_bars_are_the_bins(metrics, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, 'savefig', lambda figure, *args, **kwargs: figures.append(figure))
    plot_reliability(metrics, tmp_path / 'reliability.png')
    accuracy, photos = (list(axes.patches) for axes in figures[0].axes)
    assert [bar.get_height() for bar in photos] == [row['photos'] for row in metrics['reliability']]
    assert [bar.get_height() for bar in accuracy] == [row['accuracy'] for row in metrics['reliability']]
    assert [bar.get_x() for bar in accuracy] == approx([row['low'] for row in metrics['reliability']])
