from flowercls.report import figures
from flowercls.report.figures import font_file


def test_the_font_fits_the_letters(monkeypatch):
    monkeypatch.setattr(figures, 'FALLBACK_FONTS', ('No Such Font', 'DejaVu Serif'))
    assert font_file('tulip').endswith('DejaVuSans.ttf')
    assert font_file('郁金香').endswith('DejaVuSerif.ttf')
    monkeypatch.setattr(figures, 'FALLBACK_FONTS', ('No Such Font',))
    assert font_file('郁金香').endswith('DejaVuSans.ttf')
