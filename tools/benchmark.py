"""Measure photos per second of training: mmpretrain's own Runner, ours, and a bare loop, in turns."""

import argparse
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

WIDTH = 150  # of a table that no terminal limits
EXAMPLES = """examples:
  python tools/benchmark.py configs/resnet50_flower.py --out benchmark.json
  python tools/benchmark.py configs/resnet50_flower.py --cases full frozen-3 --repeats 3
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file')
    parser.add_argument('--repeats', type=int, default=5, help='rounds of each (default: 5)')
    parser.add_argument('--out', metavar='FILE', help='a JSON file to write, with every round, versions and hardware')
    cases = ['full', *(f'frozen-{n}{kind}' for kind in ('', '-cached') for n in (1, 2, 3, 'all'))]
    parser.add_argument('--cases', nargs='+', choices=cases, metavar='CASE', help=f'of {", ".join(cases)}')
    parser.add_argument('--contestants', nargs='+', choices=['stock', 'ours', 'bare'], help='default: all three')
    parser.add_argument('--seconds', type=float, default=8.0, help='least duration of a round (default: 8)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, return the exit code."""
    options = vars(parse_args(argv))
    options['overrides'] = options.pop('cfg_options')

    from rich.console import Console

    from flowercls import commands
    from flowercls.core.errors import FlowerclsError

    try:
        table = commands.benchmark(options.pop('config'), **options)
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
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
