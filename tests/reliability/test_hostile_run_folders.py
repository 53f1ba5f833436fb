"""Run folders of other people: looking at them, comparing them or going on with them runs nothing that lies in them.

Cells of a .csv that begin with ``=`` are left as they are: the files are read by programs, by names that must match,
and escaping would change the names. A spreadsheet asks before it runs a formula that does more than count.
"""

import json
import shutil
from html.parser import HTMLParser

import pytest
from mmengine.config import Config

from flowercls.config.dump import load_dumped
from flowercls.core.errors import ConfigError
from flowercls.report.page import read_config
from flowercls.report.run_page import write_run_report
from flowercls.sweep.ledger import Ledger

MARKUP = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
METRICS = {
    'top1': 50.0, 'top1_interval': [1.0, 99.0], 'n': 2, 'nll': 0.5, 'ece': 1.0, 'split': 'val', 'epoch': 1, 'seed': 0,
    'per_class': {name: {'precision': 50.0, 'recall': 50.0, 'f1': 50.0, 'support': 1} for name in (MARKUP, 'rose')},
    'confusion': [[0, 1], [0, 1]], 'checkpoint': 'epoch_1.pth',
}  # fmt: skip


class Tags(HTMLParser):
    """What a page would load or run."""

    def __init__(self, path):
        super().__init__()
        self.active = []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name.startswith('on') or (
                name in ('src', 'href') and not (value or '').startswith(('data:image/', '#'))
            ):
                self.active.append((tag, name, value))
        if tag in ('script', 'iframe', 'object', 'embed', 'base', 'link'):
            self.active.append(tag)


def programs(canary):
    touch = f"open({str(canary)!r}, 'w').close()"
    return [
        f'{touch}\n',
        f'x = {touch}\n',
        f'import os\nos.mkdir({str(canary)!r})\n',
        f'x = [{touch} for _ in (1,)]\n',
        f"x = dict(a=__import__('os').mkdir({str(canary)!r}))\n",
        f'dict = eval\nx = dict({touch!r})\n',
        f'_base_ = [{touch}]\n',
        f'def f(x={touch}):\n    pass\n',
        "x = f'{" + touch.replace("'", '"') + "}'\n",
    ]


@pytest.mark.parametrize('number', range(9))
def test_a_config_that_is_a_program_is_not_run_to_look_at_its_run(copied_run, canary, tmp_path, number):
    (copied_run / 'config.py').write_text(text := programs(canary)[number])
    with pytest.raises(ConfigError, match='is not the config.py of a run.*Fix: '):
        load_dumped(copied_run / 'config.py')
    (copied_run / 'source_evil.py').write_text(text)
    (copied_run / 'command.txt').write_text(f'python tools/train.py source_evil.py --cfg-options x="$({text})"\n')
    assert read_config(copied_run) == {} and write_run_report(copied_run).is_file()


def test_a_name_of_a_file_is_no_program(copied_run, canary):
    name = f"source_'+str(__import__('os').mkdir('{canary.name}'))+'.py"
    (copied_run / name).write_text("x = '{{ fileBasename }}'\n")
    assert write_run_report(copied_run).is_file()


def test_what_a_training_wrote_is_read_as_mmengine_reads_it(trained_run):
    path = trained_run[1] / 'config.py'
    assert load_dumped(path) == Config.fromfile(path, import_custom_modules=False).to_dict()


@pytest.mark.parametrize(
    'text', ["x = dict({'a b': (1, -2.5, None)}, c=[True])\n", "x = {'a b': 1e-3, 'c': ('d', )}\n"]
)
def test_odd_keys_are_read(tmp_path, text):
    (tmp_path / 'config.py').write_text(text)
    assert load_dumped(tmp_path / 'config.py') == Config.fromfile(tmp_path / 'config.py').to_dict()


@pytest.mark.parametrize(
    'text', ['x = ' + '[' * 5000 + ']' * 5000, 'x = dict(**{1: 2})', 'x = dict(5)', 'x = \0', 'x =']
)
def test_what_is_no_config_of_a_run_is_said(tmp_path, text):
    (tmp_path / 'config.py').write_text(text)
    with pytest.raises(ConfigError, match='is not the config.py of a run'):
        load_dumped(tmp_path / 'config.py')


def test_the_tools_say_so(trained_run, copied_run, tool, canary, said):
    (copied_run / 'config.py').write_text(programs(canary)[1])
    assert tool('report', copied_run) == 0
    assert tool('compare', copied_run, '--out', copied_run / 'compared') == 2
    assert tool('train', trained_run[0], '--work-dir', copied_run, '--resume') == 2
    assert said().count('is not the config.py of a run') == 2


@pytest.fixture
def sweep(copied_run, tmp_path):
    """A sweep's folder with one trial, every text in it markup."""
    folder = tmp_path / 'sweep'
    shutil.copytree(copied_run, folder / 'trials/a_seed0')
    entry = {'key': 'a', 'setting': MARKUP, 'seed': 0, 'state': MARKUP, 'run': 'trials/a_seed0', 'error': MARKUP}
    more = [
        {**entry, 'key': key, 'state': 'failed', 'run': run}
        for key, run in (('b', 'javascript:alert(1)'), ('c', MARKUP))
    ]
    (folder / 'ledger.jsonl').write_text('\n'.join(map(json.dumps, [entry, *more])))
    (folder / 'command.txt').write_text(MARKUP)
    (folder / 'doubtful_labels.csv').write_text(f'image,label\n"{MARKUP.replace(chr(34), "")}",=1+1\n')
    row = {'setting': MARKUP, 'verdict': MARKUP, 'also_differ': {MARKUP: MARKUP}}
    content = {'settings': [row], 'effects': [], 'verdict': [MARKUP], 'left_out': [MARKUP]}
    (folder / 'comparison.json').write_text(json.dumps(content))
    return folder


def test_markup_in_names_is_text_in_the_pages(copied_run, sweep, tool, said):
    manifest = {'classes': [MARKUP], 'counts': {'sets': {MARKUP: {MARKUP: 1}}}, 'skipped': [{'reason': MARKUP}]}
    (copied_run / 'manifest.json').write_text(json.dumps(manifest))
    with (copied_run / 'config.py').open('a') as file:
        file.write(f'\ndata_root = {str(copied_run)!r}\ndata_manifest = {MARKUP!r}\n')
    (copied_run / 'metrics.json').write_text(json.dumps(METRICS))
    (copied_run / 'mistakes.csv').write_text('image,label,pred,score\n<script>,<script>,=1+1,0.5\n')
    (copied_run / 'source_<script>.py').write_text(MARKUP)
    (copied_run / '<script>.log').write_text(f'System environment:\n    Python: {MARKUP}\n')
    assert tool('report', copied_run, sweep) == 0
    for folder, links in ((copied_run, []), (sweep, [('a', 'href', 'trials/a_seed0/report.html')])):
        assert Tags(folder / 'report.html').active == links and 'alert(1)' in (folder / 'report.html').read_text()


BROKEN = {
    'per_class': [3, {}, {MARKUP: 3, 'rose': {}}],
    'confusion': ['text', [[1]], [[1, 2], 3], [['1', '2'], [3, 4]], {}],
    'top1_interval': [3, [1], ['a', 'b'], {}, None],
    'checkpoint': [3, ['x'], {'x': 1}, '../../etc/passwd'],
    'n': ['many', None],
    'top1': ['<b>', None, [1]],
}


@pytest.mark.parametrize(('key', 'value'), [(key, value) for key, values in BROKEN.items() for value in values])
def test_metrics_that_are_nonsense_end_no_report(copied_run, key, value):
    (copied_run / 'metrics.json').write_text(json.dumps({**METRICS, key: value}))
    assert write_run_report(copied_run).is_file()


@pytest.mark.parametrize('content', ['[]', '3', '{"seed": []}', '[' * 100_000, '{"data_manifest": {}}'])
def test_metrics_that_are_nonsense_are_not_compared(copied_run, tool, said, content):
    (copied_run / 'metrics.json').write_text(content)
    assert tool('compare', copied_run, '--out', copied_run / 'compared') in (0, 3)
    said()


@pytest.mark.parametrize('row', ['a/1.jpg,daisy', 'a/1.jpg,daisy,rose,1', 'a/1.jpg,daisy,rose,nan,1', 'a,x,y,1,2', '"'])
def test_predictions_that_are_nonsense_are_not_compared(copied_run, tool, said, row):
    (copied_run / 'predictions_val_last.csv').write_text(
        f'image,label,pred,score_daisy,score_rose\na/0.jpg,rose,rose,0,1\n{row}\n'
    )
    assert tool('compare', copied_run, '--out', copied_run / 'compared') == 3
    assert 'is not a predictions file' in said()


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('metrics.json', json.dumps({**METRICS, 'checkpoint': ['x'], 'epoch': 'x', 'split': {}, 'n': None})),
        ('manifest.json', '{"classes": 3}'),
        ('manifest.json', '{"counts": [1], "images": {"a": 1}}'),
        ('manifest.json', '{"classes": [[1]], "counts": {"sets": {"a": {"b": "c"}}}, "drawn": 3}'),
        ('config.py', 'model = 3\ntrain_dataloader = 4\n'),
        ('config.py', 'val_dataloader = dict(dataset=[1])\ndata_root = 5\n'),
        ('scalars.json', '3\n{"train_loss": 1, "step": []}\n{"accuracy/top1": 1, "step": "a"}\n'),
        ('curves.png', 'no picture'),
    ],
)
def test_other_nonsense_ends_no_report(copied_run, tool, said, name, content):
    with (copied_run / 'config.py').open('a') as file:
        file.write(f'\ndata_root = {str(copied_run)!r}\n')
    (copied_run / name).write_text(content)
    assert tool('report', copied_run) == 0
    said()


@pytest.mark.parametrize(
    'change',
    [
        *({'run': run} for run in ('/etc', '../../out', 3, None)),
        *({'time_s': seconds} for seconds in ('1', float('inf'), float('nan'), 1e300, -1)),
        *({'key': []}, {'state': {}}, {'error': [1]}, {'top1': 'much'}, {'seed': 'a'}),
    ],
)
def test_lines_of_a_ledger_that_nobody_wrote_here_are_passed_over(sweep, tool, said, change):
    entry = {'key': 'z', 'setting': 'a', 'seed': 0, 'state': 'finished', 'run': 'trials/z', **change}
    with (sweep / 'ledger.jsonl').open('a') as file:
        file.write('\n' + json.dumps(entry))
    assert [one.key for one in Ledger(sweep / 'ledger.jsonl').entries()] == ['a', 'b', 'c']
    if 'run' in change:
        assert tool('report', sweep) == 0
        said()
