"""Compare runs on the photos they share: which settings are best, which cannot be told apart, what would tell more."""

import argparse
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

EXAMPLES = """examples:
  python tools/compare.py work_dirs/frozen_stages                               # a sweep; written into its folder
  python tools/compare.py work_dirs/resnet50_flower work_dirs/resnet50_flower-2 --out comparison
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('paths', nargs='+', metavar='RUN_OR_SWEEP', help='a run folder, or the folder of a sweep')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help="folder for comparison.md, .csv, .json and .png (default: the sweep's, if it is one, else ./comparison)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Compare, print the tables and the verdict, return the exit code."""
    options = parse_args(argv)

    from flowercls import commands
    from flowercls.core.errors import FlowerclsError

    try:
        print(commands.compare(options.paths, out=options.out))
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
