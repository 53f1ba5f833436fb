"""What many tests start from: a prepared folder of drawn flowers, a tiny config, one finished run."""

import importlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest

# Before torch is imported, here and in child processes: tests run side by side, and their networks are tiny.
QUIET_THREADS = dict(OMP_NUM_THREADS='1', OMP_WAIT_POLICY='PASSIVE', GOMP_SPINCOUNT='0', KMP_BLOCKTIME='0')
for _name, _value in QUIET_THREADS.items():
    os.environ.setdefault(_name, _value)

REPOSITORY = Path(__file__).parent.parent

TINY_CONFIG = """
_base_ = ['{configs}/demo_flower.py']
data_root = '{data_root}'
cache_dir = '{cache_dir}'
# Not fewer: torch 2.15's channels_last gradient of a strided 1x1 convolution of 8 or 12 channels corrupts memory.
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
train_dataloader = dict(batch_size=8, num_workers=0)
val_dataloader = dict(batch_size=8, num_workers=0)
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=2))
"""


@pytest.fixture(scope='session')
def tool():
    """Run a tool in this process: ``tool('train', 'configs/x.py', '--dry-run')`` returns its exit code.

    A training draws its pictures, half of its time here, only with ``pictures=True``.
    """
    from flowercls.commands._cli import run

    def call(name, *arguments, pictures=False):
        quick = ['--no-pictures'] if name == 'train' and not pictures else []
        return run(name, [*map(str, arguments), *quick])

    return call


@pytest.fixture(scope='session')
def drawn_root(tmp_path_factory):
    """A prepared folder of 60 drawn flowers: 45 to train with, 15 to validate."""
    from flowercls.data.drawn_flowers.drawn import draw_flowers
    from flowercls.data.prepare.preparation import prepare

    folder = tmp_path_factory.mktemp('drawn')
    draw_flowers(folder / 'raw', num_per_class=12, image_size=48, seed=0)
    prepare(folder / 'raw', folder / 'flower', val_ratio=0.25, workers=0)
    return folder / 'flower'


@pytest.fixture(scope='session')
def write_config(drawn_root):
    """Write a tiny config into a folder; extra text comes last and so overrides."""

    def write(folder, extra='', name='tiny_flower.py', data_root=drawn_root):
        path = Path(folder) / name
        places = dict(configs=REPOSITORY / 'configs', data_root=data_root, cache_dir=drawn_root.parent / 'cache')
        path.write_text(TINY_CONFIG.format(**places) + extra)
        return path

    return write


@pytest.fixture(scope='session')
def trained_run(tmp_path_factory, write_config, tool):
    """A finished run of two epochs: (config file, run folder). Look, do not touch."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder)
    assert tool('train', config, '--work-dir', folder / 'run', pictures=True) == 0
    return config, folder / 'run'


@pytest.fixture
def server():
    """A server on the loopback; ``server.files`` maps paths to bytes, ``server.asked`` lists the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.server.asked.append(self.path)
            content = self.server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            if self.server.announces_size:
                self.send_header('Content-Length', str(len(content or b'') + self.server.promised_too_much))
            self.end_headers()
            self.wfile.write(content or b'')

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        running.files, running.asked = {}, []
        running.announces_size, running.promised_too_much = True, 0
        running.url = f'http://127.0.0.1:{running.server_address[1]}'
        threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def said(capsys):
    """What was printed so far; never a traceback."""

    def read():
        captured = capsys.readouterr()
        assert 'Traceback' not in captured.err + captured.out
        return captured.out + captured.err

    return read


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch):
    """No setting of the machine, and no run before, may change what a test sees."""
    for name in ('FLOWERCLS_WEIGHTS', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    yield
    os.environ.pop('LOCAL_RANK', None)


# --- how the suite is run -------------------------------------------------------------------------------------------

MAX_WORKERS = 4
TIMEOUT_S = {'exhaustive': 6 * 3600, 'slow': 1800}
# Set by `.ci/run`: a default test that takes more CPU time fails. CPU time, as the machine may be busy.
MAX_CPU_S = float(os.environ.get('FLOWERCLS_MAX_TEST_CPU_S', 0))
HEAVY_IMPORTS = (
    *('flowercls.registration', 'flowercls.commands', 'flowercls.train.trainer', 'flowercls.features'),
    *('flowercls.report.page', 'matplotlib.pyplot', 'mmpretrain.engine', 'mmpretrain.visualization', 'BaseDT.dataset'),
)


def pytest_xdist_auto_num_workers(config):
    """For the whole suite a process a core; none beside this one where files are named on the command line."""
    is_whole = config.args_source == config.ArgsSource.TESTPATHS
    return min(MAX_WORKERS, len(os.sched_getaffinity(0))) if is_whole and hasattr(os, 'sched_getaffinity') else 0


def pytest_collection_modifyitems(items):
    for item in items:
        for marker, seconds in TIMEOUT_S.items():
            if item.get_closest_marker(marker) and not item.get_closest_marker('timeout'):
                item.add_marker(pytest.mark.timeout(seconds))


@pytest.fixture(scope='session')
def heavy_imports():
    """Import what trainings need: before the first test, so that no test's CPU time depends on its place, or a fork."""
    for name in HEAVY_IMPORTS:
        importlib.import_module(name)


@pytest.fixture(scope='session', autouse=True)
def quick_start(request):
    """Let mmengine not lay out the text of configs, which takes 0.35 CPU seconds, a third of a tiny training."""
    if MAX_CPU_S:
        request.getfixturevalue('heavy_imports')
    with mock.patch('mmengine.config.config.FormatCode', lambda text, **_: (text, True)):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    before = sum(os.times()[:4])  # of this process and of its children that have ended
    result = yield
    seconds = sum(os.times()[:4]) - before
    if (
        MAX_CPU_S
        and seconds > MAX_CPU_S
        and not any(map(item.get_closest_marker, ('slow', 'exhaustive', 'gpu', 'real')))
    ):
        pytest.fail(f'{seconds:.1f} CPU seconds, more than {MAX_CPU_S:g}. Fix: make it smaller, or mark it slow.')
    return result
