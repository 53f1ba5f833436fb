"""Train every setting of a sweep file with every seed; started again, go on where it stopped."""

import argparse
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

EXAMPLES = """examples:
  python tools/sweep.py configs/sweeps/frozen_stages.py --dry-run       # list the trials, check their configs
  python tools/sweep.py configs/sweeps/frozen_stages.py                 # again after an interruption: goes on
  python tools/sweep.py configs/sweeps/frozen_stages.py --jobs 4        # four at once, a GPU or some cores each
  python tools/sweep.py configs/sweeps/frozen_stages.py --retry-failed
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sweep', help='a sweep file: base, grid, seeds, overrides')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='trials at once (default: %(default)s)')
    parser.add_argument('--work-dir', help='folder of the sweep (default: work_dirs/<name of the sweep file>)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override keys of all trials')
    parser.add_argument('--retry-failed', action='store_true', help='try trials again that have failed')
    parser.add_argument('--dry-run', action='store_true', help='list the trials, check every config, write nothing')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the sweep, print its results, return the exit code."""
    options = vars(parse_args(argv))
    options['overrides'] = options.pop('cfg_options')

    from flowercls import commands
    from flowercls.core.errors import FlowerclsError

    try:
        with signals.handle_signals():
            report = commands.sweep(options.pop('sweep'), **options)
    except FlowerclsError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return error.exit_code
    except signals.Interrupted as signal:
        print(f'interrupted by {signal}: the same command goes on where this stopped', file=sys.stderr)
        return signal.exit_code
    print(report)
    return report.exit_code


if __name__ == '__main__':
    set_up_console()
    signals.exit_fast(main())
