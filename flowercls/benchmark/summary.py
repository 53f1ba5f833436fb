"""What the rounds come to: medians, spreads and ratios, as a table and for a JSON file."""

import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from flowercls.benchmark.cases import BARE, OURS, STOCK

GIB = 2**30


def summarise(answers: dict[str, list[dict]]) -> dict[str, Any]:
    """One case: by contestant its figures, and how ours compares.

    Args:
        answers: Of `contest.measure`.

    Returns:
        ``contestants`` with photos per second of every round, their median, lowest and highest, the median share of
        time spent waiting for data, seconds to import and to the first step, peak memory in bytes; ``to_stock`` and
        ``to_bare``, the medians of the ratios of rounds that ran one after the other, None without that contestant.
    """
    rates = {name: [found['photos'] / found['seconds'] for found in rounds] for name, (_, *rounds) in answers.items()}
    return {
        'contestants': {name: _figures(rates[name], *answers[name]) for name in answers},
        'to_stock': _ratio(rates, STOCK),
        'to_bare': _ratio(rates, BARE),
    }


def _figures(rates: list[float], first: dict, *rounds: dict) -> dict[str, Any]:
    return {
        **first,
        'photos_per_s': rates,
        'median': statistics.median(rates),
        'lowest': min(rates),
        'highest': max(rates),
        'waiting': statistics.median(found['waited'] / found['seconds'] for found in rounds),
        **{key: rounds[-1][key] for key in ('memory', 'worker_memory', 'gpu_memory')},
    }


def _ratio(rates: dict[str, list[float]], other: str) -> float | None:
    if OURS not in rates or other not in rates:
        return None
    return statistics.median(ours / theirs for ours, theirs in zip(rates[OURS], rates[other], strict=True))


def hardware() -> dict[str, Any]:
    """On what, and with which versions, was measured."""
    import mmengine
    import mmpretrain
    import torchvision

    from flowercls.core.workers import usable_cpus

    modules = {'torch': torch, 'torchvision': torchvision, 'mmengine': mmengine, 'mmpretrain': mmpretrain}
    return {
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'cpu': _cpu_name(),
        'cores': usable_cpus(),
        'python': platform.python_version(),
        **{name: module.__version__ for name, module in modules.items()},
    }


def _cpu_name() -> str:
    if sys.platform != 'linux':
        return platform.processor()
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), '')


def as_table(cases: dict[str, dict]) -> Table:
    """All cases for a terminal."""
    table = Table(caption='medians, in brackets lowest and highest; ratios are medians over rounds run in turns')
    for column in ('case', STOCK, OURS, BARE, 'ours / stock', 'ours / bare', 'waiting', 'first step, then', 'memory'):
        table.add_column(column, justify='left' if column == 'case' else 'right')
    for name, case in cases.items():
        found = case['contestants']
        table.add_row(
            name,
            *(_rate(found.get(who)) for who in (STOCK, OURS, BARE)),
            *(f'{case[key]:.2f}' if case[key] else '-' for key in ('to_stock', 'to_bare')),
            *_own_figures(found.get(OURS)),
        )
    return table


def _rate(figures: dict | None) -> str:
    return f'{figures["median"]:.1f} ({figures["lowest"]:.1f}-{figures["highest"]:.1f})' if figures else '-'


def _own_figures(figures: dict | None) -> tuple[str, str, str]:
    if figures is None:
        return '-', '-', '-'
    memory = figures['gpu_memory'] or figures['memory']
    first = f'{figures["first_step_s"]:.1f} s, {figures["again_s"]:.1f} s'
    return f'{100 * figures["waiting"]:.1f} %', first, f'{memory / GIB:.1f} GiB'
