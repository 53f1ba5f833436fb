"""What test_golden.py compares with, and the command that writes it again: python tests/golden/make.py [PART ...].

Parts: weights, help, configs, variants, sweeps, shapes, names; all of them if none is named. What is another one then
shows in `git diff`: a change that was not meant is mended in the code, not here. `made_by_49a770b/` stays as it is.

Only `resolve` and `registered_names` know modules of flowercls; all else goes through tools/.
"""

import contextlib
import csv
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parent
REPOSITORY = GOLDEN.parent.parent
CONFIGS = REPOSITORY / 'configs'
TOOLS = ('prepare_data', 'train', 'test', 'predict', 'export', 'sweep', 'compare', 'plan', 'report', 'benchmark')
CLASSES = ('daisy', 'dandelion', 'rose', 'sunflower', 'tulip')
# Architectures that are tested.
TORCHVISION = ['convnext_tiny', 'densenet121', 'efficientnet_b0', 'inception_v3', 'mobilenet_v3_large', 'resnet18']
TORCHVISION += ['resnet50', 'resnext50_32x4d', 'swin_t', 'vgg11', 'vit_b_16']
README = (CONFIGS / 'README.md').read_text(encoding='utf-8')
PATTERN_OF_A_MODEL = 'resnet50_flower'  # the experiment that README's pattern for another backbone is compared with


# The two places that know modules of flowercls.


def resolve(path, options=()):
    """The resolved config as text, for any machine, and the notes about it; data are looked for from the cwd."""
    from flowercls.config import resolve_config
    from flowercls.config.dump import dump_config

    cfg, notes = resolve_config(path, list(options))
    return dump_config(cfg), notes


def registered_names():
    """Registry name -> the names of flowercls' classes in it."""
    import mmengine.registry
    import mmpretrain.registry

    import flowercls.registration  # noqa: F401

    found = {}
    for module in (mmengine.registry, mmpretrain.registry):
        for name, registry in vars(module).items():
            if isinstance(registry, mmengine.registry.Registry):
                ours = [key for key, cls in registry.module_dict.items() if cls.__module__.startswith('flowercls')]
                found[name] = sorted({*found.get(name, []), *ours})
    return {name: ours for name, ours in sorted(found.items()) if ours}


# Weights: what the demo's training comes to, bit for bit.

STOP_HOOK = """
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class StopAtStepHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if os.environ.get('STOP_AT_STEP') == str(runner.iter):
            os.kill(os.getpid(), signal.SIGTERM)
"""
DEMO = """
_base_ = ['{root}/configs/demo_flower.py']
drawn = dict(num_per_class=40)
train_cfg = dict(max_epochs=3)
train_dataloader = dict(num_workers=0)
val_dataloader = dict(num_workers=0)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_imports = dict(imports=['stop_hook', 'flowercls.registration'])
custom_hooks = [dict(type='StopAtStepHook')]
"""
CASES = {
    'demo': '',
    'demo with frozen stages and kept features': """
model = dict(frozen_stages=2)
feature_cache = dict(views=2)
train_cfg = dict(max_epochs=2)
""",
    'demo with AdamW, mixup, averaged weights, accumulated and clipped gradients': """
model = dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]))
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.003), accumulative_counts=2, clip_grad=dict(max_norm=1.0)
)
train_cfg = dict(max_epochs=2)
""",
}
STOPPED_AT = 7  # of 15 steps, five an epoch
DRIVER = """
import json, os, runpy, sys
if hasattr(os, 'sched_setaffinity'):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})  # so a run takes one thread
for code, stop, argv in json.loads(sys.argv[1]):
    os.environ['STOP_AT_STEP'] = str(stop)
    sys.argv = argv
    try:
        runpy.run_path(argv[0], run_name='__main__')
        left = 0
    except SystemExit as end:
        left = end.code or 0
    assert left == code, f'{argv}: exit code {left}, expected {code}'
    print(chr(12), end='', flush=True)
import torch
print(f'threads {torch.get_num_threads()}')
"""


def drive(commands, cwd, root, path=()):
    """Run commands one after another in one process, as a shell would run each; returns what each one printed.

    Args:
        commands: The exit code to expect, at which step to stop, and a tool with its arguments.
        cwd: Where.
        root: The checkout whose flowercls is used.
        path: More folders to import from.
    """
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(map(str, [root, *path])),
        'CUDA_VISIBLE_DEVICES': '',
        'FLOWERCLS_WEIGHTS': '',
    }
    command = [sys.executable, '-c', DRIVER, json.dumps(commands)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *said, threads = done.stdout.split(chr(12))
    assert threads == 'threads 1\n', threads
    return said


def environment_key():
    """What the bits of a training hang on, beside the code."""
    import torch

    return f'torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, 1 thread'


def digest(checkpoint):
    """SHA-256 over names, types, shapes and bytes of a checkpoint's weights."""
    import torch

    state, found = torch.load(checkpoint, weights_only=True, map_location='cpu')['state_dict'], hashlib.sha256()
    for name, tensor in sorted(state.items()):
        found.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def train_cases(root, folder, interrupted=False):
    """Train the demo and its variants with the tools in ``root``, inside ``folder``; returns name -> digest.

    ``interrupted``: the demo again, stopped in the middle of an epoch and resumed; and resumed from its first epoch.
    """
    (folder / 'stop_hook.py').write_text(STOP_HOOK)
    tool, commands = str(root / 'tools' / 'train.py'), []
    runs = {name: f'run{number}' for number, name in enumerate(CASES)}
    for name, extra in CASES.items():
        (folder / f'{runs[name]}.py').write_text(DEMO.format(root=root.as_posix()) + extra)
        commands.append((0, '', [tool, f'{runs[name]}.py', '--work-dir', runs[name]]))
    if interrupted:
        demo = [tool, f'{runs["demo"]}.py', '--work-dir']
        commands += [
            (143, STOPPED_AT - 1, [*demo, 'stopped']),
            (0, '', [*demo, 'stopped', '--resume']),
            (0, '', [*demo, 'from_epoch_1', '--resume', f'{runs["demo"]}/epoch_1.pth']),
        ]
        runs |= {'stopped': 'stopped', 'from epoch 1': 'from_epoch_1'}
    said = drive(commands, folder, root, [folder])
    if interrupted:
        assert f'resumed from iter_{STOPPED_AT}.pth' in said[-2], said[-2]
        assert f'resumed from {runs["demo"]}/epoch_1.pth' in said[-1], said[-1]
    return {name: digest(folder / run / (folder / run / 'last_checkpoint').read_text()) for name, run in runs.items()}


# Help: what each tool says of itself.


def help_of(name):
    """What ``tools/<name>.py --help`` prints, a hundred columns wide."""
    environment = {**os.environ, 'COLUMNS': '100', 'PYTHONPATH': str(REPOSITORY), 'NO_COLOR': '1'}
    command = [sys.executable, str(REPOSITORY / 'tools' / f'{name}.py'), '--help']
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


# Configs: every value that a run would get.


@contextlib.contextmanager
def data_folders():
    """A temporary cwd where the configs' data folders hold what a config reads of them: lists, no photos."""
    with tempfile.TemporaryDirectory() as folder:
        for data in ('data/flower', 'data/drawn_flower', 'data/mine'):
            path = Path(folder, data)
            path.mkdir(parents=True)
            (path / 'classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
            lines = [f'{name}/{i}.jpg {label}\n' for label, name in enumerate(CLASSES) for i in range(4 + 2 * label)]
            folds = [f'folds/fold_{k}_{name}.txt' for k in range(5) for name in ('train', 'val')]
            for name in ('train.txt', 'val.txt', *folds):
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).write_text(''.join(lines))
        with contextlib.chdir(folder):
            yield Path(folder)


def as_lines(path, options=()):
    """A resolved config, a value a line, sorted by its dotted key; notes first. In `data_folders`."""
    text, notes = resolve(path, options)
    content = {}
    exec(text, content)  # as mmengine reads it; so the layout of the text, which is yapf's, plays no part
    del content['__builtins__']
    notes = [f'# {note.replace(f"{CONFIGS.as_posix()}/", "configs/")}' for note in notes]
    return [*notes, *(f'{key} = {value!r}' for key, value in sorted(flat(content)))]


def flat(value, key=''):
    """Every value with its dotted key; lists of plain values stay whole."""
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        items = enumerate(value)
    else:
        return [(key, value)]
    return [pair for name, item in items for pair in flat(item, f'{key}.{name}' if key else str(name))]


def differing_lines(base, lines):
    """What has to be taken from ``base`` (-) and added to it (+) to come to ``lines``."""
    gone, new = [line for line in base if line not in lines], [line for line in lines if line not in base]
    return [*(f'- {line}' for line in gone), *(f'+ {line}' for line in new)]


def commands_of_the_readme():
    """The commands in the table of reports of configs/README.md, as a shell makes them of its loops, without python."""
    lines = [line for line in README.splitlines() if line.startswith('|') and 'tools/train.py' in line]
    script = '\n'.join(['python() { printf "%s\\n" "$*"; }', *(re.search(r'`(.*)`', line)[1] for line in lines)])
    return subprocess.run(['bash', '-euc', script], capture_output=True, text=True, check=True).stdout.splitlines()


def recipes_of_the_readme():
    """What to get -> what to write."""
    table = README.partition('| to get | write |')[2].partition('\n\n')[0]
    return dict(re.findall(r'^\| ([^|`]+) \| `(.+)` \|$', table, re.MULTILINE))


def models_by_the_pattern():
    """Every model -> the text of a config by the README's pattern for another backbone; bases start at configs/."""
    (pattern,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    files = {path.stem: (path.stem, '') for path in (CONFIGS / '_base_' / 'models').glob('*.py')}
    del files['torchvision']
    for arch in TORCHVISION:
        files[f'torchvision_{arch}'] = 'torchvision', f"model = dict(backbone=dict(arch='{arch}'))\n"
    pattern = pattern.replace("'_base_/", "'configs/_base_/")
    return {name: pattern.replace('/convnext_tiny.py', f'/{file}.py') + more for name, (file, more) in files.items()}


def variants_of_the_readme():
    """What configs/README.md offers: the reports' commands, its recipes, and every model by its pattern.

    Each a dict: its ``name``, the experiment it is compared ``with``, and ``options``, or the ``text`` of a config.
    """
    for command in sorted(set(commands_of_the_readme())):
        _, config, *rest = shlex.split(command)
        yield {'name': command, 'with': Path(config).stem, 'options': rest[1:]}
    texts = {f'recipe: {name}': f"_base_ = ['configs/{PATTERN_OF_A_MODEL}.py']\n{text}\n"
             for name, text in recipes_of_the_readme().items()}  # fmt: skip
    texts |= {f'model: {name}': text for name, text in sorted(models_by_the_pattern().items())}
    yield from ({'name': name, 'with': PATTERN_OF_A_MODEL, 'text': text} for name, text in texts.items())


def differences(variants):
    """How the resolved config of each variant differs from its experiment's. In `data_folders`."""
    bases = {name: as_lines(CONFIGS / f'{name}.py') for name in {variant['with'] for variant in variants}}
    for variant in variants:
        path, options = CONFIGS / f'{variant["with"]}.py', variant.get('options', ())
        if 'text' in variant:
            path = Path('mine.py')
            path.write_text(variant['text'].replace("'configs/", f"'{CONFIGS.as_posix()}/"))
        yield differing_lines(bases[variant['with']], as_lines(path, options))


def sweep_listings(names):
    """What ``tools/sweep.py configs/sweeps/<name>.py --dry-run`` lists for each name. In `data_folders`."""
    tool, options = str(REPOSITORY / 'tools' / 'sweep.py'), ['--dry-run', '--cfg-options', 'load_from=None']
    Path('configs').symlink_to(CONFIGS)  # a sweep file names its base from the cwd
    commands = [(0, '', [tool, f'configs/sweeps/{name}.py', *options]) for name in names]
    said = drive(commands, Path.cwd(), REPOSITORY)
    return dict(zip(names, said, strict=True))


# Shapes: keys and types of the files that other programs read.


def shape(value):
    """Sorted keys and types of a value of a JSON file; of a list one for all items, or all where they differ."""
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    if not isinstance(value, list):
        return {type(None): 'null', bool: 'true or false', int: 'int', float: 'float', str: 'text'}[type(value)]
    shapes = [shape(item) for item in value]
    if shapes and all(isinstance(item, dict) for item in shapes):
        keys = sorted({key for item in shapes for key in item})
        return [{key: _either(item.get(key, 'absent') for item in shapes) for key in keys}]
    return [_either(shapes)] if shapes else []


def _either(shapes):
    """One shape, or all of them where they differ."""
    texts = sorted({json.dumps(item) for item in shapes})
    return json.loads(texts[0]) if len(texts) == 1 else ' or '.join(text.strip('"') for text in texts)


def run_shapes(run):
    """Of the files of a run folder, beside its photos' names."""
    import torch

    scalars = [json.loads(line) for line in (run / 'scalars.json').read_text().splitlines()]
    with (run / 'predictions_val.csv').open(newline='') as file:
        header = next(csv.reader(file))
    (best,) = run.glob('best_*.pth')
    checkpoint = torch.load(best, weights_only=True, map_location='cpu')
    return {
        'files': sorted(re.sub(r'\d{8}_\d{6}', 'TIME', path.name) for path in run.iterdir()),
        'metrics.json': shape(json.loads((run / 'metrics.json').read_text())),
        'scalars.json': shape(scalars),
        'predictions_val.csv': header,
        'checkpoint': {key: type(value).__name__ for key, value in sorted(checkpoint.items())},
        'checkpoint meta': {key: type(value).__name__ for key, value in sorted(checkpoint['meta'].items())},
        'checkpoint.json': shape(json.loads(best.with_name(f'{best.name}.json').read_text())),
    }


def sweep_shapes(folder):
    """Of the files of a sweep's folder."""
    ledger = [json.loads(line) for line in (folder / 'ledger.jsonl').read_text().splitlines()]
    return {
        'ledger.jsonl': {
            state: shape([line for line in ledger if line['state'] == state]) for state in ('started', 'finished')
        },
        'comparison.json': shape(json.loads((folder / 'comparison.json').read_text())),
        'comparison.csv': (folder / 'comparison.csv').read_text().splitlines()[0].split(','),
    }


def manifest_shape(data_root):
    """Of the manifest of a prepared folder."""
    return shape(json.loads((data_root / 'manifest.json').read_text()))


# Writing all that.


def write_weights():
    with tempfile.TemporaryDirectory() as folder:
        digests = train_cases(REPOSITORY, Path(folder))
    path = GOLDEN / 'weights.json'
    known = json.loads(path.read_text()) if path.exists() else {}
    write_json('weights.json', {**known, environment_key(): digests})


def write_help():
    for name in TOOLS:
        write(f'help/{name}.txt', help_of(name))


def write_configs():
    with data_folders():
        for path in sorted(CONFIGS.glob('*.py')):
            write(f'configs/{path.stem}.txt', '\n'.join(as_lines(path)) + '\n')


def write_variants():
    with data_folders():
        variants = list(variants_of_the_readme())
        found = differences(variants)
        write_json('variants.json', [{**one, 'differs': lines} for one, lines in zip(variants, found, strict=True)])


def write_sweeps():
    with data_folders():
        for name, text in sweep_listings(sorted(path.stem for path in (CONFIGS / 'sweeps').glob('*.py'))).items():
            write(f'sweeps/{name}.txt', text)


def write_shapes():
    made = GOLDEN / 'made_by_49a770b'
    shapes = run_shapes(made / 'work_dirs' / 'tiny_flower')
    shapes['files'] += ['mistakes.png', 'report.html']  # too large to be kept there
    shapes['files'] += ['predictions_val_last.csv']  # since that commit, as are the next two
    shapes['checkpoint'] = dict(sorted({**shapes['checkpoint'], 'epoch_summary': 'dict', 'run_state': 'dict'}.items()))
    shapes |= sweep_shapes(made / 'work_dirs' / 'tiny_sweep')
    write_json('shapes.json', {**shapes, 'manifest.json': manifest_shape(made / 'data' / 'drawn_flower')})


def write_names():
    write_json('registered_names.json', registered_names())


def write(name, text):
    path = GOLDEN / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding='utf-8', newline='\n')


def write_json(name, value):
    write(name, json.dumps(value, indent=1) + '\n')


if __name__ == '__main__':
    sys.path.insert(0, str(REPOSITORY))
    for part in sys.argv[1:] or ('weights', 'help', 'configs', 'variants', 'sweeps', 'shapes', 'names'):
        globals()[f'write_{part}']()
