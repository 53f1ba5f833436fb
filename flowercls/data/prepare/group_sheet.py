"""near_duplicates.png: the groups of photos that look alike. One look shows whether they really belong together."""

from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from flowercls.core import palette
from flowercls.core.layout import SET_TITLES
from flowercls.data.prepare.overview import COLOURS, HEAD_PX, MARGIN_PX, TILE_PX, font, save_sheet, tile
from flowercls.data.prepare.raw.scan import RawPhoto
from flowercls.data.prepare.split_plan import Plan, PlannedPhoto

MAX_GROUPS, MAX_PHOTOS = 40, 10  # of more the largest groups, and the first photos of a group
LINE_PX = 14
COLUMN_PX, ROW_PX = TILE_PX + 24, TILE_PX + 24 + 4 * LINE_PX  # below a photo stand its class and its path
TEXT_PX = COLUMN_PX - 8
HEAD_COLUMN_PX = 136
SHEET_PX = MARGIN_PX + HEAD_COLUMN_PX + (MAX_PHOTOS + 1) * COLUMN_PX + MARGIN_PX
BAR_PX = 4  # below a photo, in the colour of its set


def near_duplicate_groups(plan: Plan) -> list[list[PlannedPhoto]]:
    """Return the groups of near-duplicates in the order of the sheet: largest first, then by number."""
    groups = defaultdict(list)
    for planned in plan.photos:
        if planned.group is not None:
            groups[planned.group].append(planned)
    photos_of = [sorted(groups[number], key=lambda planned: planned.photo.path) for number in sorted(groups)]
    return sorted(photos_of, key=len, reverse=True)


def draw_near_duplicates(folder: Path, plan: Plan, path: Path) -> None:
    """Draw the groups of near-duplicates, small ones beside each other; without a group nothing is drawn.

    Args:
        folder: Where the prepared photos lie.
        plan: Which photos these are.
        path: PNG file to write.
    """
    groups = near_duplicate_groups(plan)
    if not groups:
        return
    shown = groups[:MAX_GROUPS]
    places, left, row = [], MARGIN_PX, 0
    for group in shown:
        size = HEAD_COLUMN_PX + min(len(group), MAX_PHOTOS + 1) * COLUMN_PX
        if left > MARGIN_PX and left + size > SHEET_PX:
            left, row = MARGIN_PX, row + 1
        places.append((left, HEAD_PX + row * ROW_PX))
        left += size
    sheet = Image.new('RGB', (SHEET_PX, HEAD_PX + (row + 1) * ROW_PX + 2 * MARGIN_PX), palette.WHITE)
    draw = ImageDraw.Draw(sheet)
    title = f'photos that look alike: groups {len(groups):,}, photos {sum(map(len, groups)):,}'
    draw.text((MARGIN_PX, 16), title, palette.BLACK, font(18))
    for group, (left, top) in zip(shown, places, strict=True):
        _draw_label(draw, group, left, top)
        for column, planned in enumerate(group[:MAX_PHOTOS]):
            tile_left, bottom = left + HEAD_COLUMN_PX + column * COLUMN_PX, top + TILE_PX
            sheet.paste(tile(folder / planned.file), (tile_left, top))
            bar = (tile_left, bottom, tile_left + TILE_PX - 1, bottom + BAR_PX - 1)
            draw.rectangle(bar, COLOURS[planned.set_name])
            for number, line in enumerate(_caption(planned.photo)):
                colour = palette.GREY if number else palette.BLACK
                draw.text((tile_left, bottom + 6 + LINE_PX * number), line, colour, font(11))
        if len(group) > MAX_PHOTOS:
            place = left + HEAD_COLUMN_PX + MAX_PHOTOS * COLUMN_PX, top + 40
            draw.text(place, f'… and {len(group) - MAX_PHOTOS:,} more', palette.BLACK, font(13))
    if len(groups) > MAX_GROUPS:
        note = f'… and {len(groups) - MAX_GROUPS:,} more groups'
        draw.text((MARGIN_PX, sheet.height - 24), note, palette.BLACK, font(13))
    save_sheet(sheet, path)


def _draw_label(draw: ImageDraw.ImageDraw, group: list[PlannedPhoto], left: int, top: int) -> None:
    """Draw the size of a group, its sets, and a mark if its photos have different classes."""
    draw.text((left, top + 10), f'{len(group):,} photos', palette.BLACK, font(16))
    sets = Counter(planned.set_name for planned in group)
    for line, (name, title) in enumerate((name, title) for name, title in SET_TITLES.items() if name in sets):
        text = title if len(sets) == 1 else f'{sets[name]:,} {title}'
        draw.text((left, top + 34 + 16 * line), text, COLOURS[name], font(13))
    if len({planned.photo.class_name for planned in group}) > 1:
        draw.text((left, top + 84), 'different classes', palette.VERMILLION, font(13))
        draw.rectangle((left - 14, top, left - 11, top + TILE_PX), palette.VERMILLION)


def _caption(photo: RawPhoto) -> list[str]:
    """Return class and path in lines that a column holds: the folder where it is not the class, and the name in two."""
    folder, _, name = photo.path.rpartition('/')
    first = name
    while len(first) > 1 and font(11).getlength(first) > TEXT_PX:
        first = first[:-1]
    lines = [photo.class_name, *([folder] if folder != photo.class_name else []), first, name[len(first) :]]
    return [_end(line) for line in lines]


def _end(text: str) -> str:
    """Return the end of a text, as much as a column holds; the beginning of a path is the same for many."""
    shortened = text
    while len(shortened) > 2 and font(11).getlength(shortened) > TEXT_PX:
        shortened = f'…{shortened[2:]}'
    return shortened
