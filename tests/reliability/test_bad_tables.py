"""Tables of labels as they are found in the world: good ones, mutated at random.

Whatever a table holds, preparing succeeds or says why not; photos and table stay as they are; every file is accounted
for, with the class that its row gives.
"""

import hashlib
import io
import json
import random
import shutil

import pytest

from flowercls.core.errors import FlowerclsError
from flowercls.data.prepare.preparation import prepare
from helpers.odd_photos import textured

NUM_RANDOM = 300
NAMES = [f'{folder}{number:03}.jpg' for folder in ('', 'a/', 'a/b c/') for number in range(1, 9)]
ODD_CELLS = [
    *('', 'nan', '0', '1.0', '../x.jpg', '/etc/passwd', 'C:\\x', '..', '.', 'a/b', 'x' * 300, 'ro\nse', '\u2028', '"'),
    *('rose|tulip', 'rose tulip', 'Rose', '=1+1', '001', '1', 'label', 'image', '\ufeff', '花', 'e\u0301', "'", '\t'),
    *('001.jpg', 'a', 'a/001', 'train', 'val', 'test', 'None', '#N/A', '-1', '1e400', '\x00', 'x' * 40_000),
]


def random_table(draw):
    """Rows about the photos: a header or none, columns in any order, then mutations of cells, rows and columns."""
    columns = {'image': list(NAMES), 'label': [draw.choice(['rose', 'tulip', 'wild daisy']) for _ in NAMES]}
    if draw.random() < 0.4:
        columns['split'] = [draw.choice(['train', 'train', 'val', 'test']) for _ in NAMES]
    if draw.random() < 0.4:
        columns['plant'] = [f'p{draw.randrange(8)}' for _ in NAMES]
    if draw.random() < 0.3:
        columns['width'] = [draw.randrange(100) for _ in NAMES]
    order = draw.sample(list(columns), len(columns))
    rows = [order] * (draw.random() < 0.8) + [[columns[name][place] for name in order] for place in range(len(NAMES))]
    rows = [list(row) for row in rows]
    for _ in range(draw.choice([0, 1, 2, 4, 8])):
        row = draw.choice(rows)
        if not row:
            continue
        place = draw.randrange(len(row))
        change = draw.randrange(7)
        if change == 0:
            row[place] = draw.choice(ODD_CELLS)
        elif change == 1:
            row.pop(place)
        elif change == 2:
            row.insert(place, draw.choice(ODD_CELLS))
        elif change == 3:
            rows.remove(row)
        elif change == 4:
            rows.insert(draw.randrange(len(rows)), list(row))
        elif change == 5:
            row[place] = draw.choice(rows)[0]
        else:
            row[place] = str(row[place]).rpartition('.')[0] or row[place]
        rows = rows or [['image', 'label']]
    return rows


def as_csv(draw, rows):
    delimiter = draw.choice(',,,;\t|')
    cells = [
        ['"' + str(cell).replace('"', '""') + '"' if draw.random() < 0.2 else str(cell) for cell in row] for row in rows
    ]
    text = draw.choice(['\n', '\r\n', '\r']).join(delimiter.join(row) for row in cells)
    return text.encode(draw.choice(['utf-8', 'utf-8', 'utf-8-sig', 'utf-16']), 'surrogatepass')


def as_workbook(draw, rows):
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub('', str(cell)) for cell in row])
    book.save(buffer := io.BytesIO())
    return buffer.getvalue()


def as_parquet(draw, rows):
    pa = pytest.importorskip('pyarrow')
    import pyarrow.parquet as pq

    width = max(map(len, rows))
    names = [f'{name}{"" if draw.random() < 0.9 else place}' for place, name in enumerate(rows[0] + [''] * width)]
    columns = [[str(row[place]) if place < len(row) else None for row in rows[1:]] for place in range(width)]
    pq.write_table(pa.table(columns, names=names[:width]), buffer := io.BytesIO())
    return buffer.getvalue()


def damaged(draw, content):
    content = bytearray(content)
    for _ in range(draw.choice([0, 0, 0, 1, 5])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content[: draw.randrange(len(content))] if draw.random() < 0.1 else content)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        textured(number, (32, 24)).save(folder / name)
    return folder


def snapshot(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob('*') if path.is_file()}


BLOCKS = 30
SLOW = [pytest.param(block, marks=pytest.mark.slow) for block in range(1, 10)]  # with block 0, 100 tables
EXHAUSTIVE = [pytest.param(block, marks=pytest.mark.exhaustive) for block in range(10, BLOCKS)]


@pytest.mark.parametrize('block', [0, *SLOW, *EXHAUSTIVE])
def test_mutated_tables_are_prepared_or_refused_and_lose_nothing(tmp_path, photos, block):
    before, outcomes = snapshot(photos), []
    for seed in range(block, NUM_RANDOM, BLOCKS):
        outcomes.append(try_table(tmp_path / str(seed), photos, seed))
    assert {'prepared', 'refused'} == set(outcomes)  # else the tables are all too good, or all too bad
    assert snapshot(photos) == before


def try_table(folder, photos, seed):
    draw = random.Random(seed)
    rows = random_table(draw)
    suffix, write = draw.choice([('.csv', as_csv), ('.csv', as_csv), ('.xlsx', as_workbook), ('.parquet', as_parquet)])
    table, out = folder / f'table{suffix}', folder / 'out'
    folder.mkdir()
    table.write_bytes(damaged(draw, write(draw, rows)))
    content = table.read_bytes()
    options = dict(leaks=draw.choice(['error', 'drop', 'allow']), allow_tiny_classes=draw.random() < 0.5)
    options |= dict(group_copies=True) if draw.random() < 0.2 else {}
    options |= dict(group_by=r'(\d)\.jpg') if draw.random() < 0.2 else {}
    try:
        prepare(photos, out, labels=table, workers=0, **options).summary().encode()
    except FlowerclsError as error:
        assert error.exit_code in (2, 3) and not out.exists(), seed
        outcome = 'refused'
    else:
        check(json.loads((out / 'manifest.json').read_text(encoding='utf-8')), out, seed)
        outcome = 'prepared'
    assert table.read_bytes() == content
    shutil.rmtree(folder)
    return outcome


def check(manifest, out, seed):
    counts = manifest['counts']
    assert counts['scanned'] == sum(counts[name] for name in ('copied', 'converted', 'skipped', 'duplicates')), seed
    answered = [row['raw'] for key in ('images', 'skipped', 'duplicates') for row in manifest[key]]
    assert sorted(answered) == sorted(NAMES), seed
    classes = (out / 'classes.txt').read_text(encoding='utf-8').removesuffix('\n').split('\n')
    assert classes == manifest['classes'] and all(image['class'] in classes for image in manifest['images']), seed
    sets = {}
    for image in manifest['images']:
        assert (out / image['file']).is_file() and image['file'].split('/')[1] == image['class'], seed
        if image.get('group') is not None and manifest['leaks'] != 'allow':
            sets.setdefault(image['group'], set()).add(image['set'])
    assert all(len(of) == 1 for of in sets.values()), seed
