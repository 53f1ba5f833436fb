"""Groups of the user: from a table, a pattern of paths, names of copies; a pattern cannot hang the program."""

import threading
import time

import pytest

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.prepare.raw import group_rules
from flowercls.data.prepare.raw.group_rules import with_groups
from flowercls.data.prepare.raw.raw_folder import RawFile, RawFolder

PATHS = ['rose/plant1_a.jpg', 'rose/plant1_b.jpg', 'tulip/plant1_c.jpg', 'tulip/plant2_a.jpg', 'tulip/other.jpg']


def grouped(paths=PATHS, raw_dir='raw', **options):
    files = tuple(RawFile(path, path.split('/')[0]) for path in paths)
    folder = with_groups(RawFolder(('rose', 'tulip'), files, ()), raw_dir, **options)
    return {file.path: file.group for file in folder.files}, '\n'.join(folder.notes)


@pytest.mark.parametrize(
    ('pattern', 'expected'),
    [
        (r'plant\d+', ['plant1', 'plant1', 'plant1', 'plant2', None]),
        (r'plant(\d+)', ['1', '1', '1', '2', None]),
        (r'(\w+)/plant(\d+)', ['rose, 1', 'rose, 1', 'tulip, 1', 'tulip, 2', None]),
        (r'^[^/]+', ['rose', 'rose', 'tulip', 'tulip', 'tulip']),
        (r'(?P<plant>plant\d)?.*(_a)?', ['plant1', 'plant1', 'plant1', 'plant2', None]),
        (r'plant(\d+)_(?:a|(b))', ['1, ', '1, b', None, '2, ', None]),
    ],
)
def test_what_a_pattern_captures_is_the_group(pattern, expected):
    if pattern.startswith('(?P'):
        pattern = r'(plant\d)?_?\w*\.jpg'
    assert list(grouped(group_by=pattern)[0].values()) == expected


def test_groups_are_told_with_those_that_have_none():
    notes = grouped(group_by=r'plant\d+')[1]
    assert "2 groups, the largest 'plant1' with 3 photos" in notes
    assert 'groups of several classes (1' in notes and 'photos without a group (1): tulip/other.jpg' in notes


@pytest.mark.parametrize(
    ('pattern', 'message'),
    [
        ('plant(', r'(?s)missing \), .*position 5.*\n  plant\(\n       \^'),
        ('[z-a]', 'bad character range .*position 1'),
        ('*', 'nothing to repeat at position 0'),
        ('(?<n', 'position'),
        ('(' * 5000 + ')' * 5000, 'no regular expression'),
        ('x{99999999999999999999}', 'no regular expression'),
        ('tree', r'matches no path of raw, such as rose/plant1_a.jpg, rose/plant1_b.jpg, tulip/plant1_c.jpg'),
        ('()', 'matches no path'),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern, message):
    with pytest.raises(ConfigError, match=message):
        grouped(group_by=pattern)


@pytest.mark.parametrize('pattern', [r'(a+)+$', r'(a|aa)*c', r'(.*)*x(.*)*y'])
def test_a_pattern_without_end_is_stopped_also_in_a_thread(monkeypatch, pattern):
    monkeypatch.setattr(group_rules, 'MAX_REGEX_S', 0.5)
    errors = []

    def run():
        try:
            grouped([f'rose/{"a" * 60}!.jpg', 'tulip/b.jpg'], group_by=pattern)
        except ConfigError as error:
            errors.append(str(error))

    start = time.monotonic()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert time.monotonic() - start < 30 and 'takes more than 0.5 s' in errors[0]


def test_a_table_gives_groups(tmp_path):
    (tmp_path / 'groups.csv').write_text('photo,patient\nplant1_a,p1\nplant2_a.jpg,p1\ngone.jpg,p2\nother,\n')
    found, notes = grouped(raw_dir=tmp_path, groups=tmp_path / 'groups.csv')
    assert list(found.values()) == ['p1', None, None, 'p1', None]
    assert "images from 'photo', groups from 'patient'" in notes and 'gone.jpg' in notes
    assert 'photos without a group (3)' in notes and 'groups of several classes (1' in notes
    (tmp_path / 'groups.csv').write_text('photo,patient\nplant1_a,p1\nplant1_a,p2\n')
    with pytest.raises(DataError, match='several groups'):
        grouped(raw_dir=tmp_path, groups=tmp_path / 'groups.csv')


def test_copies_join_the_groups_of_the_user():
    paths = [f'rose/{name}.jpg' for name in ('x_t1', 'x_t2_flip', 'x_t2', 'y_t1', 'z', 'z_flip', *'abcdefgh')]
    alone = grouped(paths, group_copies=True)[0]
    assert alone['rose/x_t2'[:9] + '.jpg'] == alone['rose/x_t2_flip.jpg'] == 'rose/x_t2'
    assert alone['rose/z.jpg'] == alone['rose/z_flip.jpg'] == 'rose/z' and alone['rose/a.jpg'] is None
    both = grouped(paths, group_copies=True, group_by=r't\d(?=\.)|x_t2_flip')[0]
    assert both['rose/x_t2.jpg'] == both['rose/x_t2_flip.jpg'] == 't2 + x_t2_flip'
    assert both['rose/x_t1.jpg'] == both['rose/y_t1.jpg'] == 't1' and both['rose/z_flip.jpg'] == 'rose/z'


def test_without_a_word_nothing_is_grouped_and_copies_are_offered():
    found, notes = grouped(['rose/x.jpg', 'rose/x_flip.jpg', 'rose/y.jpg', 'rose/z.jpg', 'tulip/1.jpg'])
    assert set(found.values()) == {None} and 'add --group-copies' in notes
    assert 'copies' not in grouped(['rose/x.jpg', 'rose/x_flip.jpg', 'rose/y.jpg', 'tulip/1.jpg'], group_by='x|y|1')[1]
