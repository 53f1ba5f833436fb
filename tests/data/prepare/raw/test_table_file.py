"""Tables as they come: delimiters, encodings, quotes, cells of workbooks, limits, files that are no tables."""

import datetime
import io
import re
import sys
import zipfile

import pytest

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.prepare.raw import table_file
from flowercls.data.prepare.raw.table_file import read_table

ROWS = [('image', 'label'), ('a.jpg', 'rose'), ('b.jpg', 'daisy')]


def read(tmp_path, content, name='labels.csv'):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path)


@pytest.mark.parametrize(
    'content',
    [
        *(f'image{sign}label\na.jpg{sign}rose\nb.jpg{sign}daisy' for sign in ',;\t|'),
        'image,label\r\na.jpg,rose\r\n\r\nb.jpg,daisy\r\n',
        'image,label\ra.jpg,rose\rb.jpg,daisy',
        '\ufeffimage,label\na.jpg,rose\nb.jpg,daisy\n',
        ' image , label \na.jpg,\trose\n b.jpg,daisy\xa0\n',
        'image,label,,\na.jpg,rose,,\nb.jpg,daisy,\n,,,\n',
        '"image","label"\n"a.jpg","rose"\n"b.jpg","daisy"\n',
        'sep=;\nimage;label\na.jpg;rose\nb.jpg;daisy\n',
        *('image\tlabel\r\na.jpg\trose\r\nb.jpg\tdaisy\r\n'.encode(f'utf-16{order}') for order in ('', '-le', '-be')),
    ],
)  # fmt: skip
def test_a_text_table_is_read_whatever_program_wrote_it(tmp_path, content):
    assert read(tmp_path, content).rows == ROWS


def test_titles_and_comments_above_the_header_are_left_out_and_told(tmp_path):
    table = read(tmp_path, '# my labels\nof 2024,,\nimage,label,\na.jpg,rose,\nb.jpg,daisy,\n')
    assert table.rows == ROWS and table.numbers == [3, 4, 5]
    assert "'# my labels', 'of 2024'" in table.notes[0]
    assert read(tmp_path, 'a.jpg,\nb.jpg,rose\n').rows == [('a.jpg', ''), ('b.jpg', 'rose')]


def test_zeros_that_a_spreadsheet_keeps_by_a_formula_stay(tmp_path):
    assert read(tmp_path, 'image,label\n"=""001""",rose\n="002",x\n').rows[1:] == [('001', 'rose'), ('002', 'x')]


def test_quotes_hold_delimiters_and_line_breaks_and_rows_keep_their_numbers(tmp_path):
    table = read(tmp_path, 'image,label\n"a,1.jpg","wild\nrose"\n\n"b ""2"".jpg",x\n')
    assert table.rows[1:] == [('a,1.jpg', 'wild\nrose'), ('b "2".jpg', 'x')]
    assert table.numbers == [1, 2, 5]


def test_a_comma_in_labels_does_not_win_over_the_delimiter(tmp_path):
    table = read(tmp_path, 'image;label\na.jpg;red, wild\nb.jpg;red\nc.jpg;red, tame\n')
    assert {len(row) for row in table.rows} == {2} and table.rows[1] == ('a.jpg', 'red, wild')


def test_lines_of_photo_and_label_with_a_space_are_a_table(tmp_path):
    assert read(tmp_path, 'my rose 1.jpg 0\nb.jpg 1\n', 'train.txt').rows == [('my rose 1.jpg', '0'), ('b.jpg', '1')]


def test_western_letters_are_read_and_told_and_other_encodings_refused(tmp_path):
    table = read(tmp_path, 'bild;art\na.jpg;Gänseblümchen\nb.jpg;Ação\n'.encode('cp1252'))
    assert table.rows[1][1] == 'Gänseblümchen' and 'Windows-1252' in table.notes[0]
    for text, code in (('a.jpg,玫瑰\n', 'gbk'), ('a.jpg,роза\n', 'cp1251'), ('a.jpg,バラ\n', 'shift-jis')):
        with pytest.raises(DataError, match='row 2: is not UTF-8.*Fix: save it as CSV'):
            read(tmp_path, b'image,label\n' + text.encode(code))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'holds no rows'),
        (b'\n \n', 'holds no rows'),
        (b'one\ntwo\n', 'one column'),
        (b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'old .xls workbook, or one with a password.*Fix: save it as .xlsx'),
        (b'\x1f\x8b\x08', 'packed.*Fix: unpack'),
        (b'<html><table>', 'HTML'),
        (b'{"a": 1}', 'JSON'),
        (b'\xff\xd8\xff\xe0', 'a photo'),
        (b'a,b\0,c\n', 'zero bytes'),
        (b'PK\x03\x04 and no more', 'cannot be read as .xlsx'),
        (b'PAR1 and no more', 'cannot be read as parquet'),
        (b'a,"' + b'x' * 40_000, 'row 1: a cell of 40,000 characters.*quotation marks'),
        (b'a,b\n' + b'1,' * 5_001, 'at most .* 5,000 columns'),
    ],
)
def test_what_is_no_table_is_refused_with_the_remedy(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / 'none.csv', tmp_path / ('x' * 300), f'{tmp_path}/a\0b'):
        with pytest.raises(DataError, match='Fix'):
            read_table(path)


def test_large_tables_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, 'MAX_FILE_BYTES', 100)
    with pytest.raises(DataError, match='MiB'):
        read(tmp_path, 'a,b\n' * 30)
    monkeypatch.undo()
    for limit in ('MAX_ROWS', 'MAX_CELLS', 'MAX_TEXT_LENGTH'):
        with monkeypatch.context() as patch, pytest.raises(DataError, match='too large'):
            patch.setattr(table_file, limit, 20)
            read(tmp_path, 'a,b\n' * 30)


# --- workbooks --------------------------------------------------------------------------------------------------------


def workbook(rows, **sheets):
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    for name, more in {'Sheet': rows, **sheets}.items():
        sheet = book.active if name == 'Sheet' else book.create_sheet(name)
        for row in more:
            sheet.append(row)
    book.save(buffer := io.BytesIO())
    return buffer.getvalue()


def changed(content, name, change):
    """A workbook with one part changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer := io.BytesIO(), 'w', 8) as new:
        for part in old.namelist():
            new.writestr(part, change(old.read(part)) if part == name else old.read(part))
    return buffer.getvalue()


def test_cells_of_a_workbook_become_the_text_that_is_seen(tmp_path):
    cells = [7, 1.0, 0.5, True, None, ' rose ', datetime.datetime(2024, 5, 1), '007']
    table = read(tmp_path, workbook([['h'] * 8, cells]), 'labels.xlsx')
    assert table.rows[1] == ('7', '1', '0.5', 'True', '', 'rose', '2024-05-01', '007')


def test_the_first_sheet_is_read_and_told_whatever_the_file_is_called(tmp_path):
    table = read(tmp_path, workbook(ROWS, notes=[['x', 'y']]), 'labels.csv')
    assert table.rows == ROWS and "'Sheet'" in table.notes[0]


def test_a_sheet_with_a_cell_at_its_far_end_is_read_in_moments(tmp_path):
    content = workbook(ROWS)
    far = b'<row r="900000"><c r="XFD900000" t="inlineStr"><is><t>x</t></is></c></row></sheetData>'
    wide = changed(content, 'xl/worksheets/sheet1.xml', lambda part: part.replace(b'</sheetData>', far))
    with pytest.raises(DataError, match='columns'):
        read(tmp_path, wide, 'labels.xlsx')


def test_a_formula_without_a_value_is_refused_and_one_with_a_value_read(tmp_path):
    content = workbook([['image', 'label'], ['a.jpg', '="ro"&"se"'], ['b.jpg', 'daisy']])
    with pytest.raises(DataError, match='row 2, column 2: the formula .*Fix: open and save'):
        read(tmp_path, content, 'labels.xlsx')

    def stored(part):
        return re.sub(rb'<c r="B2"[^>]*>(<f>.*?</f>)<v.*?</c>', rb'<c r="B2" t="str">\1<v>rose</v></c>', part)

    with_value = changed(content, 'xl/worksheets/sheet1.xml', stored)
    assert read(tmp_path, with_value, 'labels.xlsx').rows == ROWS


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_entities_in_a_workbook_are_refused_before_they_grow(tmp_path, encoding):
    laughs = ''.join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(9))
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE worksheet [{laughs}]><worksheet>&l8;</worksheet>'
    bomb = changed(workbook(ROWS), 'xl/worksheets/sheet1.xml', lambda part: text.encode(encoding))
    with pytest.raises(DataError, match='entities'):
        read(tmp_path, bomb, 'labels.xlsx')


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, 'MAX_UNPACKED_BYTES', 1 << 20)
    bomb = changed(workbook(ROWS), 'xl/styles.xml', lambda part: b' ' * (2 << 20))
    assert len(bomb) < 20_000
    with pytest.raises(DataError, match='unpacks to 2 MiB'):
        read(tmp_path, bomb, 'labels.xlsx')


def test_other_packed_files_are_no_workbooks(tmp_path):
    with zipfile.ZipFile(buffer := io.BytesIO(), 'w') as packed:
        packed.writestr('content.xml', '<office/>')
    with pytest.raises(DataError, match='cannot be read as .xlsx'):
        read(tmp_path, buffer.getvalue(), 'labels.ods')


# --- parquet ----------------------------------------------------------------------------------------------------------


def parquet(columns):
    pa = pytest.importorskip('pyarrow')
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), buffer := io.BytesIO())
    return buffer.getvalue()


def test_parquet_gives_texts_and_whole_numbers(tmp_path):
    content = parquet({'image': ['a.jpg', 'b.jpg', None], 'label': [1.0, 0.0, None], 'pixels': [{'x': 1}] * 3})
    table = read(tmp_path, content, 'labels.parquet')
    assert table.rows == [('image', 'label'), ('a.jpg', '1'), ('b.jpg', '0')] and 'pixels' in table.notes[0]


def test_a_small_parquet_file_of_huge_texts_is_refused(tmp_path):
    content = parquet({'image': ['x' * 100_000] * 2_000, 'label': ['rose'] * 2_000})
    assert len(content) < 20_000
    with pytest.raises(DataError, match='a cell of'):
        read(tmp_path, content, 'labels.parquet')


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    for name, package, content in (
        ('a.xlsx', 'openpyxl', workbook(ROWS)),
        ('a.parquet', 'pyarrow', parquet({'a': [1]})),
    ):
        remedy = rf'{package}.*pip install .flowercls\[tables\]'
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match=remedy):
            patch.setitem(sys.modules, package, None)
            read(tmp_path, content, name)
