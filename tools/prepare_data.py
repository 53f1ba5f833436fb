"""Turn a folder of photos per class into a verified, de-duplicated and split data set.

The raw folder is only read. Every file in it is accounted for: copied, converted, skipped with a reason, or left out as
a duplicate.
"""

import argparse
import signal
import sys

from flowercls.core import signals
from flowercls.core.terminal import set_up_console

EXAMPLES = """examples:
  python tools/prepare_data.py my_photos data/flower            my_photos/daisy/..., my_photos/rose/..., split 8:2
  python tools/prepare_data.py my_photos data/flower --dry-run  only say what would be done
  python tools/prepare_data.py my_photos data/flower --test-ratio 0.1 --folds 5
  python tools/prepare_data.py data/drawn --demo                draw flowers, no photos needed
  python tools/prepare_data.py data/flower --download https://example.org/flowers.zip --sha256 1f5c...
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='%(prog)s RAW OUT [options]\n       %(prog)s OUT --demo [options]\n'
        '       %(prog)s OUT --download URL [--sha256 HEX] [options]',
    )
    parser.add_argument(
        'folders', nargs='+', metavar='RAW OUT', help='folder with one folder per class; folder to make'
    )
    parser.add_argument('--val-ratio', type=float, default=0.2, help='share of each class (default: %(default)s)')
    parser.add_argument('--test-ratio', type=float, default=0.0, help='share of each class (default: none)')
    parser.add_argument('--seed', type=int, default=0, help='of the split (default: %(default)s)')
    parser.add_argument('--folds', type=int, metavar='K', help='also write lists for K-fold cross-validation')
    parser.add_argument('--workers', type=int, help='processes that decode photos (default: one a CPU; 0: none)')
    parser.add_argument('--overwrite', action='store_true', help='move an existing OUT to OUT.bak-<time>')
    parser.add_argument(
        '--allow-tiny-classes', action='store_true', help='a class with a single photo is no error, it only trains'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='read and report, write nothing (what --download brings is removed again)',
    )
    parser.add_argument('--demo', action='store_true', help='draw flowers instead of reading RAW')
    parser.add_argument('--download', metavar='URL', help='fetch an archive of photos instead of reading RAW')
    parser.add_argument('--sha256', metavar='HEX', help='what the archive must be')
    args = parser.parse_args(argv)
    _check_folders(parser, args)
    return args


def _check_folders(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.demo and args.download:
        parser.error('--demo and --download exclude each other')
    if args.sha256 and not args.download:
        parser.error('--sha256 belongs to --download')
    source = '--demo' if args.demo else '--download' if args.download else None
    if len(args.folders) != (1 if source else 2):
        expected = f'with {source} only OUT' if source else 'RAW and OUT'
        parser.error(f'expected {expected}, got {" ".join(args.folders) or "neither"}')
    args.raw, args.out = (None, *args.folders) if source else args.folders


def main(argv: list[str] | None = None) -> int:
    args = vars(parse_args(argv))
    raw, out = args.pop('raw'), args.pop('out')
    del args['folders']

    from flowercls import commands  # only now, so that --help and a misspelt flag are answered at once
    from flowercls.core.errors import FlowerclsError

    try:
        report = commands.prepare(raw, out, **args)
    except FlowerclsError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print('interrupted: nothing half-written is left', end='', file=sys.stderr)
        fetched = args['download'] and not args['dry_run']
        print(f'; what was fetched whole stays in {out}-raw and {out}-raw.download' if fetched else '', file=sys.stderr)
        return 130
    print(report.summary())
    return 0


if __name__ == '__main__':
    set_up_console()
    # A polite kill cleans up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if signals.HANGUP and signal.getsignal(signals.HANGUP) is not signal.SIG_IGN:
        signal.signal(signals.HANGUP, lambda *_: sys.exit(129))
    sys.exit(main())
