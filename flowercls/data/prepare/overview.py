"""overview.png: a few photos of each class of each set, and the counts. One look shows swapped or spoilt classes."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from flowercls.core import palette
from flowercls.core.files import atomic_write
from flowercls.core.layout import SET_TITLES, TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.data.decode import decode_rgb
from flowercls.data.prepare.split_plan import Plan, PlannedPhoto

TILE_PX, GAP_PX, MARGIN_PX, LABEL_PX, HEAD_PX = 96, 4, 16, 200, 56
NUM_SHOWN = {TRAIN_DIR: 5, VAL_DIR: 3, TEST_DIR: 3}
COLOURS = {TRAIN_DIR: palette.TRAINING, VAL_DIR: palette.VALIDATION, TEST_DIR: palette.TEST}
MAX_ROWS = 60  # of more classes the first are drawn


def draw_overview(folder: Path, plan: Plan, path: Path) -> None:
    """Draw the contact sheet of a prepared folder.

    Args:
        folder: Where the prepared photos lie.
        plan: Which photos these are.
        path: PNG file to write.
    """
    classes, counts, shown = plan.classes[:MAX_ROWS], plan.counts(), _choose(plan)
    columns, width = {}, MARGIN_PX + LABEL_PX
    for name in plan.set_names:
        columns[name] = width
        width += NUM_SHOWN[name] * (TILE_PX + GAP_PX) + MARGIN_PX
    height = HEAD_PX + len(classes) * (TILE_PX + GAP_PX) + 2 * MARGIN_PX
    sheet = Image.new('RGB', (width, height), palette.WHITE)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, 16), f'{len(plan.photos):,} photos', palette.BLACK, font(18))
    for name, left in columns.items():
        total = sum(counts[name].values())
        draw.text((left, 16), f'{SET_TITLES[name]}  {total:,}', COLOURS[name], font(18))
    largest = max(sum(of_set[label] for of_set in counts.values()) for label in classes)
    for row, label in enumerate(classes):
        top = HEAD_PX + row * (TILE_PX + GAP_PX)
        _draw_label(draw, label, {name: of_set[label] for name, of_set in counts.items()}, top, largest)
        for name, first_left in columns.items():
            for column, planned in enumerate(shown.get((name, label), ())):
                sheet.paste(tile(folder / planned.file), (first_left + column * (TILE_PX + GAP_PX), top))
    if len(plan.classes) > MAX_ROWS:
        note = f'… and {len(plan.classes) - MAX_ROWS} more classes'
        draw.text((MARGIN_PX, height - 24), note, palette.BLACK, font(13))
    save_sheet(sheet, path)


def tile(photo: Path) -> Image.Image:
    """Return a photo as a square of `TILE_PX`; of a long photo the middle."""
    return ImageOps.fit(Image.fromarray(decode_rgb(photo)), (TILE_PX, TILE_PX))


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet of photos as PNG."""
    buffer = io.BytesIO()
    sheet.save(buffer, 'PNG', compress_level=1)  # more hardly makes photos smaller
    with atomic_write(path, 'wb') as file:
        file.write(buffer.getvalue())


def font(size_px: int) -> ImageFont.ImageFont:
    """Return the font of all sheets."""
    return ImageFont.load_default(size_px)


def _draw_label(draw: ImageDraw.ImageDraw, label: str, counts: dict[str, int], top: int, largest: int) -> None:
    """Draw the name of a class, its counts, and a bar as long as its share of the largest class."""
    text = label
    while len(text) > 1 and draw.textlength(text, font(16)) > LABEL_PX - MARGIN_PX:
        text = text[:-2] + '…'
    draw.text((MARGIN_PX, top + 10), text, palette.BLACK, font(16))
    draw.text((MARGIN_PX, top + 34), ' + '.join(f'{count:,}' for count in counts.values()), palette.GREY, font(13))
    left = MARGIN_PX
    for name, count in counts.items():
        right = left + (LABEL_PX - 2 * MARGIN_PX) * count / max(largest, 1)
        if count:
            draw.rectangle((left, top + 58, max(right, left + 1), top + 68), COLOURS[name])
        left = right


def _choose(plan: Plan) -> dict[tuple[str, str], list[PlannedPhoto]]:
    """Choose evenly spaced photos of each set and class: neighbours by name are often neighbours in time."""
    candidates = {}
    for planned in plan.photos:
        candidates.setdefault((planned.set_name, planned.photo.class_name), []).append(planned)
    shown = {}
    for key, photos in candidates.items():
        number = min(NUM_SHOWN[key[0]], len(photos))
        shown[key] = [photos[i * len(photos) // number] for i in range(number)]
    return shown
