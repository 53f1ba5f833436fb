"""A report: how many package files a reader meets who follows one small training. Run: python tests/trace_training.py

Trains a tiny network on 50 drawn flowers for 14 steps, notes each first call of a function of flowercls/, and counts

files      with a function that ran, by room
functions  that ran, without lambdas and comprehensions
jumps      changes of file in the order of the first calls; bodies of classes count as calls, those of modules do not

`--root` traces another checkout. Commit 49a770b, from before the rooms were rebuilt, gives 94 files, 570 functions
and 364 jumps here (Python 3.11; later ones inline comprehensions). Another tracer gave 90, 546 and 388 for it.
"""

import argparse
import inspect
import itertools
import os
import runpy
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

CONFIG = """
_base_ = ['{root}/configs/demo_flower.py']
data_root = '{folder}/drawn_flower'
cache_dir = '{folder}/cache{number}'
drawn = dict(num_per_class=12, image_size=48)
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
train_dataloader = dict(batch_size=8, num_workers=0)
val_dataloader = dict(batch_size=8, num_workers=0)
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=2))
"""


def trace(package, main):
    """Run ``main`` and return (file, function, whether it is the body of a class) in the order of the first calls."""
    prefix, calls, seen = f'{package}{os.sep}', [], set()

    def note(frame, event, _):
        code = frame.f_code
        if event == 'call' and code not in seen:
            seen.add(code)
            if code.co_filename.startswith(prefix) and code.co_name != '<module>':
                is_class = not code.co_flags & inspect.CO_NEWLOCALS
                calls.append((code.co_filename.removeprefix(prefix), code.co_qualname, is_class))

    sys.setprofile(note)
    try:
        main()
    finally:
        sys.setprofile(None)
    return calls


def train(root, folder, number):
    """Train in this process by the tool's own main."""
    config = folder / f'tiny_flower_{number}.py'
    config.write_text(CONFIG.format(root=root, folder=folder, number=number))
    sys.argv = [str(root / 'tools' / 'train.py'), str(config), '--work-dir', str(folder / f'run{number}')]
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        assert not end.code, f'the training ended with {end.code}'


def report(calls):
    functions = [(file, name) for file, name, is_class in calls if not is_class and not name.endswith('>')]
    files = {file for file, _ in functions}
    rooms = Counter(Path(file).parts[0].removesuffix('.py') for file in files)
    jumps = sum(one[0] != other[0] for one, other in itertools.pairwise(calls))
    print(f'files      {len(files)}: {", ".join(f"{n} {room}" for room, n in rooms.most_common())}')
    print(f'functions  {len(functions)}')
    print(f'jumps      {jumps}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, default=Path(__file__).parents[1], help='checkout to trace')
    parser.add_argument('--inside', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    root = args.root.resolve()
    if args.inside is None:  # a process that finds the package of that checkout, and no other
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, '--root', root, '--inside', folder]
            return subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(root)}, cwd=folder).returncode
    if os.fork() == 0:  # the flowers are drawn and prepared by a training before
        train(root, args.inside, 0)
        os._exit(0)
    assert os.wait()[1] == 0
    report(trace(root / 'flowercls', lambda: train(root, args.inside, 1)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
