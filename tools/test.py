"""Evaluate a checkpoint: top-1 with its interval, and precision, recall and F1 of each class."""

import argparse
import os
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

EXAMPLES = """examples:
  python tools/test.py configs/demo_flower.py work_dirs/demo_flower/epoch_20.pth
  python tools/test.py work_dirs/demo_flower/config.py work_dirs/demo_flower/epoch_20.pth --out scores.csv
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; the names are mmpretrain's."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file')
    parser.add_argument('checkpoint', help='a .pth file of a run of this config')
    parser.add_argument('--work-dir', help='where test_<checkpoint>/ is put (default: beside the checkpoint)')
    parser.add_argument(
        '--out', metavar='FILE', help='write the predictions (.csv) or the metrics (.json) here as well'
    )
    parser.add_argument('--out-item', choices=['metrics', 'pred'], help='what --out gets (default: by its ending)')
    parser.add_argument('--show-dir', metavar='DIR', help='draw every photo with its prediction here, mistakes first')
    parser.add_argument(
        '--tta', action='store_true', help='average the scores of each photo and its mirror image (or as tta_pipeline)'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16, also on a CPU')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='open the checkpoint even if it could run code, as pickles of strangers can',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Test, print the figures, return the exit code."""
    options = vars(parse_args(argv))
    os.environ.setdefault('LOCAL_RANK', str(options.pop('local_rank')))
    options['overrides'] = options.pop('cfg_options')

    from flowercls import commands
    from flowercls.core.errors import FlowerclsError

    try:
        print(commands.test(options.pop('config'), options.pop('checkpoint'), **options))
    except FlowerclsError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    set_up_console()
    signals.exit_fast(main())
