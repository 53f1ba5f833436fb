"""Errors have the agreed exit codes, and their message survives a loader worker."""

from flowercls.core.errors import CheckpointError, ConfigError, DataError, DiskError, DivergedError, FlowerclsError


def test_exit_codes_are_the_agreed_ones():
    codes = {error: error.exit_code for error in FlowerclsError.__subclasses__()}
    assert {codes[e] for e in (ConfigError, DataError, CheckpointError, DiskError, DivergedError)} == {2, 3, 4, 5, 6}


def test_of_a_workers_error_only_the_message_is_kept():
    text = (
        'Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1\nflowercls.core.errors.DataError: rose/1.jpg: truncated.\n'
    )
    assert str(DataError(text)) == 'rose/1.jpg: truncated.'
