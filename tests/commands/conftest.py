"""A prepared folder that may be damaged."""

import shutil

import pytest


@pytest.fixture
def broken_data(drawn_root, tmp_path):
    return shutil.copytree(drawn_root, tmp_path / 'flower')
