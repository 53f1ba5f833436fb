"""What a person wrote into the list of doubtful labels outlives the next list."""

import csv

import pytest

from flowercls.sweep.doubtful_labels import OURS, write_review

HEADER = [*OURS, 'review']


def row(rank, image, margin='-50.00'):
    return [str(rank), image, 'daisy', 'rose', '20.00', '70.00', margin]


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'doubtful_labels.csv'


@pytest.fixture
def write(path):
    """Write a list of these photos; returns its lines as cells, without the header."""

    def write(*images):
        where, unread = write_review(path, [row(rank, image) for rank, image in enumerate(images, start=1)])
        assert (where, unread) == (path, [])
        return read(path)[1:]

    return write


def read(path, delimiter=','):
    with path.open(encoding='utf-8-sig', newline='') as file:
        return list(csv.reader(file, delimiter=delimiter))


def save(path, rows, *, encoding='utf-8', delimiter=',', line_end='\n'):
    with path.open('w', encoding=encoding, newline='') as file:
        csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows(rows)


def test_a_new_list_has_an_empty_column_to_fill_in(write, path):
    assert write('a/1.jpg', 'b/2.jpg') == [[*row(1, 'a/1.jpg'), ''], [*row(2, 'b/2.jpg'), '']]
    assert path.read_text().splitlines()[0] == 'rank,image,label,suggested,score_label,score_suggested,margin,review'


def test_reviews_follow_their_photos(write, path):
    write('a/1.jpg', 'b/2.jpg', 'c/3.jpg')
    save(path, [HEADER, [*row(1, 'a/1.jpg'), 'wrong'], [*row(2, 'b/2.jpg'), ''], [*row(3, 'c/3.jpg'), 'fine']])
    assert write('c/3.jpg', 'd/4.jpg') == [
        [*row(1, 'c/3.jpg'), 'fine'],
        [*row(2, 'd/4.jpg'), ''],
        [*row('', 'a/1.jpg'), 'wrong'],  # not doubtful any more; the review stays
    ]
    assert write('a/1.jpg')[0] == [*row(1, 'a/1.jpg'), 'wrong']  # and comes back with it
    assert [cells[1] for cells in write('a/1.jpg')] == ['a/1.jpg', 'c/3.jpg']


@pytest.mark.parametrize(
    'saved',
    [
        dict(encoding='utf-8-sig', line_end='\r\n'),
        dict(delimiter=';', line_end='\r\n'),
        dict(delimiter='\t', line_end='\r'),
    ],
)
def test_as_spreadsheets_save_it(write, path, saved):
    save(path, [[*HEADER, 'why, and who'], [*row(1, 'a/1.jpg'), 'it is a "rose", I\nthink; 样', 'me']], **saved)
    write_review(path, [row(1, 'b/2.jpg'), row(2, 'a/1.jpg')])
    assert path.read_bytes().startswith(b'\xef\xbb\xbf')  # for what is not ASCII, the next spreadsheet needs the mark
    lines = read(path, saved.get('delimiter', ','))
    assert [cells[7:] for cells in lines] == [
        ['review', 'why, and who'],
        ['', ''],
        ['it is a "rose", I\nthink; 样', 'me'],
    ]


def test_own_columns_in_any_order_and_remarks_beside_and_below_stay(write, path):
    mine = ['by', 'image', 'review', 'rank']
    save(path, [mine, ['me', 'a/1.jpg', 'wrong', '1', 'look again'], ['you', 'b/2.jpg'], [], ['', '', '', '2 done']])
    assert write('b/2.jpg', 'a/1.jpg') == [
        [*row(1, 'b/2.jpg'), '', 'you', ''],
        [*row(2, 'a/1.jpg'), 'wrong', 'me', 'look again'],
        ['2 done', *[''] * 9],
    ]
    assert read(path)[0] == [*HEADER, 'by', '']
    assert len(write('b/2.jpg', 'a/1.jpg')) == 3  # nothing grows


def test_a_photo_that_stands_there_twice_keeps_both_reviews(write, path):
    save(path, [HEADER, [*row(1, 'a/1.jpg'), 'wrong'], [*row(2, 'a/1.jpg'), 'no, fine']])
    assert [cells[-1] for cells in write('a/1.jpg')] == ['wrong', 'no, fine']


def test_an_emptied_file_is_filled_again(write, path):
    path.write_text('\n')
    assert len(write('a/1.jpg')) == 1


@pytest.mark.parametrize(
    'content',
    [
        'rank,image,review\n1,a/1.jpg,schön\n'.encode('cp1252'),
        'rank,image,review\n1,a/1.jpg,wrong\n'.encode('utf-16'),
        b'PK\x03\x04 a workbook under this name',
        b'number,file,review\n1,a/1.jpg,wrong\n',
        b'rank,image,review\n1,a/1.jpg,"wrong\n2,b/2.jpg,fine\n',
    ],
)
def test_what_cannot_be_read_stays_and_the_new_list_goes_beside_it(path, content):
    path.write_bytes(content)
    where, unread = write_review(path, [row(1, 'a/1.jpg')])
    assert where == path.with_name('doubtful_labels-2.csv') and unread == [path] and path.read_bytes() == content
    save(where, [HEADER, [*row(1, 'a/1.jpg'), 'wrong']])
    write_review(path, [row(1, 'b/2.jpg'), row(2, 'a/1.jpg')])
    assert [cells[-1] for cells in read(where)] == ['review', '', 'wrong']
    assert sorted(file.name for file in path.parent.iterdir()) == ['doubtful_labels-2.csv', 'doubtful_labels.csv']
