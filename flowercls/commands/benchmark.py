"""Measure how fast a config trains: mmpretrain's own Runner, ours, and a bare loop, in turns."""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides
from flowercls.core import signals
from flowercls.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 150  # of a table that no terminal limits
EXAMPLES = (
    'configs/resnet50_flower.py --out benchmark.json',
    'configs/resnet50_flower.py --cases full frozen-3 --repeats 3',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('config', help='a config file')
    parser.add_argument('--repeats', type=int, default=5, help='rounds of each (default: 5)')
    parser.add_argument('--out', metavar='FILE', help='a JSON file to write, with every round, versions and hardware')
    cases = ['full', *(f'frozen-{n}{kind}' for kind in ('', '-cached') for n in (1, 2, 3, 'all'))]
    parser.add_argument('--cases', nargs='+', choices=cases, metavar='CASE', help=f'of {", ".join(cases)}')
    parser.add_argument('--contestants', nargs='+', choices=['stock', 'ours', 'bare'], help='default: all three')
    parser.add_argument('--seconds', type=float, default=8.0, help='least duration of a round (default: 8)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, return the exit code."""
    from rich.console import Console

    arguments = dict(vars(options))
    arguments['overrides'] = arguments.pop('cfg_options')
    table = benchmark(arguments.pop('config'), **arguments)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'nothing was written for the case that was measured'


def benchmark(
    config: str | Path,
    *,
    repeats: int = 5,
    out: str | None = None,
    cases: Sequence[str] | None = None,
    contestants: Sequence[str] | None = None,
    seconds: float = 8.0,
    overrides: Overrides = (),
) -> 'Table':
    """Train with mmpretrain's own Runner, ours and a bare loop in turns, and compare photos per second.

    Args:
        config: Path of the config file.
        repeats: Rounds of each.
        out: A JSON file to write, with every round, versions and hardware.
        cases: Names of `flowercls.benchmark.cases.CASES`; None is all of them.
        contestants: Some of ``'stock'``, ``'ours'``, ``'bare'``; None is all.
        seconds: A round takes at least these, and three steps.
        overrides: As ``--cfg-options``.

    Raises:
        ConfigError: if the config is wrong, there is such a file already, or a number makes no sense.
    """
    from flowercls.config.loader import find_config, parse_overrides
    from flowercls.train.run_dir import make_folder

    if repeats < 1 or seconds <= 0:
        raise ConfigError(f'--repeats {repeats} --seconds {seconds}: expected at least one round that takes time.')
    if out is not None and Path(out).exists():
        raise ConfigError(f'--out {out}: exists already. Fix: name another file, or remove this one.')
    if out is not None:
        make_folder(Path(out).absolute().parent)
    extra = dict(overrides) if isinstance(overrides, dict) else parse_overrides(overrides)

    from flowercls.benchmark.cases import CONTESTANTS, cases_named
    from flowercls.benchmark.contest import measure
    from flowercls.benchmark.pace import Round
    from flowercls.benchmark.summary import as_table, hardware, summarise
    from flowercls.core.files import write_json

    who, say = list(contestants or CONTESTANTS), functools.partial(print, flush=True)
    order, results = Round(lead=1, steps=3, seconds=seconds), {}
    for case in cases_named(cases):
        answers = measure(str(find_config(config)), extra, case, who, repeats, order, say)
        results[case.name] = summarise(answers)
        if out is not None:
            write_json(out, {'config': str(config), 'overrides': extra, 'hardware': hardware(), 'cases': results})
    return as_table(results)
