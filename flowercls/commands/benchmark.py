"""A config → how fast it is trained, beside mmpretrain and beside a bare loop."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides
from flowercls.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table


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
    from flowercls.config.loader import parse_overrides
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
        answers = measure(str(config), extra, case, who, repeats, order, say)
        results[case.name] = summarise(answers)
        if out is not None:
            write_json(out, {'config': str(config), 'overrides': extra, 'hardware': hardware(), 'cases': results})
    return as_table(results)
