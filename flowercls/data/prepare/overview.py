"""overview.png: a few photos of each class of each set, and the counts. One look shows swapped or spoilt classes."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from flowercls.core.files import atomic_write
from flowercls.data.decode import decode_rgb
from flowercls.data.prepare.split import TEST, TITLES, TRAIN, VAL
from flowercls.data.prepare.split_plan import Plan, PlannedPhoto

TILE_PX, GAP_PX, MARGIN_PX, LABEL_PX, HEAD_PX = 96, 4, 16, 200, 56
PHOTOS_SHOWN = {TRAIN: 5, VAL: 3, TEST: 3}
COLOURS = {TRAIN: '#4878a8', VAL: '#e08a3c', TEST: '#5a9a5a'}
MAX_ROWS = 60  # of more classes the first ones are drawn: a picture of thousands of rows helps nobody


def draw_overview(folder: Path, plan: Plan, path: Path) -> None:
    """Draw the contact sheet of a prepared folder.

    Args:
        folder: Where the prepared photos lie.
        plan: Which photos these are.
        path: PNG file to write.
    """
    classes = plan.classes[:MAX_ROWS]
    columns = _columns(plan.set_names)
    width = max(columns[name] + _block_width(name) for name in plan.set_names) + MARGIN_PX
    height = HEAD_PX + len(classes) * (TILE_PX + GAP_PX) + 2 * MARGIN_PX
    sheet = Image.new('RGB', (width, height), 'white')
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, plan, columns)
    shown, counts = _choose(plan), plan.counts()
    most = max(sum(of[label] for of in counts.values()) for label in classes)
    for row, label in enumerate(classes):
        top = HEAD_PX + row * (TILE_PX + GAP_PX)
        _draw_label(draw, label, counts, top, most)
        for name in plan.set_names:
            for place, planned in enumerate(shown.get((name, label), ())):
                left = columns[name] + place * (TILE_PX + GAP_PX)
                sheet.paste(_tile(folder / planned.file), (left, top))
    if len(plan.classes) > MAX_ROWS:
        draw.text((MARGIN_PX, height - 24), f'… and {len(plan.classes) - MAX_ROWS} more classes', 'black', _font(13))
    buffer = io.BytesIO()
    sheet.save(buffer, 'PNG', compress_level=1)  # photos hardly get smaller by more
    with atomic_write(path, 'wb') as file:
        file.write(buffer.getvalue())


def _block_width(name: str) -> int:
    return PHOTOS_SHOWN[name] * (TILE_PX + GAP_PX)


def _columns(names: Sequence[str]) -> dict[str, int]:
    columns, left = {}, MARGIN_PX + LABEL_PX
    for name in names:
        columns[name] = left
        left += _block_width(name) + MARGIN_PX
    return columns


def _font(size_px: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _draw_head(draw: ImageDraw.ImageDraw, plan: Plan, columns: dict[str, int]) -> None:
    draw.text((MARGIN_PX, 16), f'{len(plan.photos):,} photos', 'black', _font(18))
    for name, left in columns.items():
        total = len(plan.of(name))
        draw.text((left, 16), f'{TITLES[name]}  {total:,}', COLOURS[name], _font(18))


def _draw_label(draw: ImageDraw.ImageDraw, label: str, counts: dict[str, dict[str, int]], top: int, most: int) -> None:
    draw.text((MARGIN_PX, top + 10), _fitting(draw, label), 'black', _font(16))
    said = ' + '.join(f'{of[label]:,}' for of in counts.values())
    draw.text((MARGIN_PX, top + 34), said, '#666666', _font(13))
    left = MARGIN_PX
    for name, of in counts.items():  # one bar a class, as long as it has photos, in the colours of the sets
        right = left + (LABEL_PX - 2 * MARGIN_PX) * of[label] / max(most, 1)
        if of[label]:
            draw.rectangle((left, top + 58, max(right, left + 1), top + 68), COLOURS[name])
        left = right


def _fitting(draw: ImageDraw.ImageDraw, label: str) -> str:
    text = label
    while len(text) > 1 and draw.textlength(text, _font(16)) > LABEL_PX - MARGIN_PX:
        text = text[:-2] + '…'
    return text


def _choose(plan: Plan) -> dict[tuple[str, str], list[PlannedPhoto]]:
    """Evenly spaced photos of each set and class, as neighbours by name are often neighbours in time."""
    found = {}
    for planned in plan.photos:
        found.setdefault((planned.set_name, planned.photo.class_name), []).append(planned)
    shown = {}
    for key, photos in found.items():
        number = min(PHOTOS_SHOWN[key[0]], len(photos))
        shown[key] = [photos[place * len(photos) // number] for place in range(number)]
    return shown


def _tile(path: Path) -> Image.Image:
    return ImageOps.fit(Image.fromarray(decode_rgb(path)), (TILE_PX, TILE_PX))
