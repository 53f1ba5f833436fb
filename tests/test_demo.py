"""The first command of the README keeps its promise."""

import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_demo_reaches_ninety_percent(tool, tmp_path):
    run, data = tmp_path / 'run', tmp_path / 'drawn_flower'
    config = REPOSITORY / 'configs' / 'demo_flower.py'
    assert tool('train', config, '--work-dir', run, '--cfg-options', f'data_root={data}') == 0
    metrics = json.loads((run / 'metrics.json').read_text())
    assert metrics['top1'] >= 90 and metrics['n'] == 80
