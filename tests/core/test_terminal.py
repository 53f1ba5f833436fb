import pytest

from flowercls.core.terminal import (
    as_duration,
    as_size,
    is_size,
    listed,
    markdown_table,
    num_bytes,
    number_of_points,
    printable,
    shortened,
    tool_command,
)


@pytest.mark.parametrize(
    ('size', 'number'),
    [
        ('8GB', 8_000_000_000),
        ('500MB', 500_000_000),
        ('1.5 gb', 1_500_000_000),
        ('2KB', 2000),
        ('3TB', 3 * 10**12),
        (7, 7),
    ],
)
def test_sizes_are_text_with_a_unit_or_bytes(size, number):
    assert is_size(size) and num_bytes(size) == number


@pytest.mark.parametrize('size', ['8', 'GB', '8GiB', '-1GB', '8GB ', 'GB8', 1.5, -1, True, None, [8]])
def test_everything_else_is_no_size(size):
    assert not is_size(size)


def test_sizes_are_written_in_the_unit_that_suits_them():
    assert [as_size(number) for number in (710_040_000, 99_000_000, 420_000)] == ['0.71 GB', '99.00 MB', '0.42 MB']


def test_a_command_names_the_tool_of_the_checkout_or_the_installed_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tool_command('prepare', 'my photos', tmp_path) == f"flowercls prepare 'my photos' {tmp_path}"
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/prepare_data.py').touch()
    assert tool_command('prepare', 'raw', 'out') == 'python tools/prepare_data.py raw out'


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0 s'), (59.4, '59 s'), (60, '1 min 00 s'), (125, '2 min 05 s'), (3600, '1 h 00 min'), (7384, '2 h 03 min')],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert as_duration(seconds) == text


def test_a_table_is_markdown_with_aligned_columns():
    table = markdown_table(['setting', 'top-1'], [['a|b', '96.00'], ['a long name', '9']])
    assert table.splitlines() == [
        '| setting     | top-1 |',
        '| ----------- | ----- |',
        '| a/b         | 96.00 |',
        '| a long name | 9     |',
    ]


def test_long_names_keep_beginning_and_end():
    assert shortened('abcdefghij', 10) == 'abcdefghij'
    assert shortened('abcdefghijk', 10) == 'abcde…hijk'


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('a\x1b[31mred', r'a\x1b[31mred'),
        ('two\nlines\r', r'two\nlines\r'),
        ('turned\u202egnp', r'turned\u202egnp'),
        ('latin\udce9', r'latin\udce9'),
        ('ä 郁金香 🌷', 'ä 郁金香 🌷'),
    ],
)
def test_a_name_cannot_steer_a_terminal(name, shown):
    assert printable(name) == shown


def test_points_are_one_or_several():
    assert [number_of_points(number) for number in (1.0, 0.5, 12)] == ['1 point', '0.5 points', '12 points']


def test_of_many_names_the_first_are_listed():
    assert (listed(['a']), listed('abcd', 4), listed([])) == ('a', 'a, b, c, d', '')
    assert listed('abcd', 2) == 'a, b and 2 more'
