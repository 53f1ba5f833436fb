"""Fine-tune a classifier on a prepared folder of photos."""

import argparse
import os
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

EXAMPLES = """examples:
  python tools/train.py configs/demo_flower.py                    # drawn flowers, two minutes on a CPU
  python tools/train.py configs/resnet50_flower.py --dry-run      # check everything, write nothing
  python tools/train.py configs/resnet50_flower.py --cfg-options model.frozen_stages=3 optim_wrapper.optimizer.lr=0.001
  python tools/train.py configs/resnet50_flower.py --resume       # go on with the newest run of this config
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; the names are mmpretrain's, and a few of our own."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file')
    parser.add_argument('--work-dir', help='folder of the run (default: work_dirs/<name of the config>, -2, -3, ...)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='continue the newest run of this config, the one in --work-dir, or this checkpoint',
    )
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16, also on a CPU')
    parser.add_argument('--no-validate', action='store_true', help='do not validate; no best checkpoint then')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    parser.add_argument('--dry-run', action='store_true', help='check everything, try one batch, write nothing')
    parser.add_argument('--deterministic', action='store_true', help='only deterministic operations on a GPU')
    parser.add_argument(
        '--allow-config-change', action='store_true', help='resume although the config differs from the one of the run'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='open the file that load_from names even if it could run code, as pickles of strangers can',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train, print the last block, return the exit code."""
    options = vars(parse_args(argv))
    os.environ.setdefault('LOCAL_RANK', str(options.pop('local_rank')))
    options['overrides'] = options.pop('cfg_options')

    from flowercls import commands
    from flowercls.core.errors import FlowerclsError

    try:
        with signals.handle_signals(options['launcher']):
            print(commands.train(options.pop('config'), **options))
    except FlowerclsError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return error.exit_code
    except signals.Interrupted as signal:
        how = 'nothing was saved yet; the same command starts again'
        if signal.checkpoint:
            how = f'{signal.checkpoint} is saved; add --resume to the same command to go on'
        print(f'interrupted by {signal}: {how}', file=sys.stderr)
        return signal.exit_code
    return 0


if __name__ == '__main__':
    set_up_console()
    signals.exit_fast(main())
