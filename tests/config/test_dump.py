"""A resolved config as text, and back."""

import mmengine.config.config
from mmengine.config import Config
from yapf.yapflib.yapf_api import FormatCode

from flowercls.config.dump import dump_config, load_dumped

INF = float('inf')


def test_what_is_written_is_read_again_as_a_program_and_as_data(tmp_path, monkeypatch):
    monkeypatch.setattr(mmengine.config.config, 'FormatCode', FormatCode)  # tests/conftest.py replaces it
    values = dict(clip=dict(norm_type=INF), least=-INF, sizes=[1, (2.5, INF)], name='inf', nothing=None)
    (tmp_path / 'config.py').write_text(dump_config(Config({**values, 'work_dir': 'here'})))
    assert load_dumped(tmp_path / 'config.py') == values
    assert Config.fromfile(tmp_path / 'config.py').to_dict() == values
    (tmp_path / 'config.py').write_text(dump_config(Config(dict(lr=float('nan')))))
    assert str(load_dumped(tmp_path / 'config.py')['lr']) == 'nan'
