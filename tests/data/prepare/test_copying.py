"""Photos of other formats: small where they were small, and their pixels stay."""

import numpy as np
import pytest
from PIL import Image

from flowercls.data.decode import decode_rgb
from flowercls.data.prepare.preparation import prepare
from helpers.odd_photos import encoded


def photo_like(number):
    """Smooth shapes with some noise, as a camera takes them."""
    draw = np.random.default_rng(number)
    blocks = Image.fromarray(draw.integers(0, 255, (9, 12, 3), dtype=np.uint8)).resize((240, 180), Image.BICUBIC)
    return Image.fromarray(np.clip(blocks + draw.normal(0, 3, (180, 240, 3)), 0, 255).astype(np.uint8))


@pytest.mark.parametrize(('kind', 'most'), [('WEBP', 5), ('AVIF', 5)])
def test_photos_compressed_with_a_loss_do_not_swell(tmp_path, kind, most):
    # As PNG, as which they were kept before, they take more than 10 times their bytes.
    for name in 'ab':
        (tmp_path / 'raw' / name).mkdir(parents=True)
        for number in range(4):
            path = tmp_path / 'raw' / name / f'{number}.{kind.lower()}'
            path.write_bytes(encoded(photo_like(ord(name) + 9 * number), kind))
    prepared = prepare(tmp_path / 'raw', tmp_path / 'out', workers=0)
    raw = sum(path.stat().st_size for path in (tmp_path / 'raw').rglob('*.*'))
    files = [
        (tmp_path / 'raw' / planned.photo.path, tmp_path / 'out' / planned.file) for planned in prepared.plan.photos
    ]
    assert {file.suffix for _, file in files} == {'.jpg'} and len(files) == 8
    assert sum(file.stat().st_size for _, file in files) < most * raw
    for source, file in files:
        error = np.square(decode_rgb(source).astype(float) - decode_rgb(file)).mean()
        assert 10 * np.log10(255**2 / error) > 38  # dB
