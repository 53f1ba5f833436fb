"""Write report.html for runs and sweeps that have none, or that were tested or went on since: one file, offline."""

import argparse
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

EXAMPLES = """examples:
  python tools/report.py work_dirs/resnet50_flower                   # after tools/test.py: its figures are in it then
  python tools/report.py work_dirs/frozen_stages                     # a sweep; its trials are compared first
  python tools/report.py work_dirs/frozen_stages/trials/*
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('paths', nargs='+', metavar='RUN_OR_SWEEP', help='a run folder, or the folder of a sweep')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the reports, say where they are, return the exit code."""
    options = parse_args(argv)

    from flowercls import commands
    from flowercls.core.errors import FlowerclsError

    try:
        print(commands.report(options.paths))
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
