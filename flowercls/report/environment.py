"""On what a run was computed, from its log."""

import re
from datetime import datetime
from pathlib import Path

from flowercls.report.reading import newest_log

# mmengine writes a block of these at the start of every log.
SPOKEN_OF = ('sys.platform', 'Python', 'CUDA available', 'CUDA_HOME', 'NVCC', 'PyTorch', 'TorchVision', 'MMEngine')
LINE = re.compile(r'^    (?P<name>[\w .,]+): (?P<value>.+)$')
BLOCK_BEGINS, BLOCK_ENDS = 'System environment:', 'Runtime environment:'
LONGEST_BLOCK = 200  # lines


def environment_of(folder: Path, config: dict) -> dict[str, str]:
    """Versions and device of the newest start of a run; empty without a log."""
    log = newest_log(folder)
    if log is None:
        return {}
    found = {'started': started_at(log)} | _versions(log)
    model = config.get('model') or {}
    if 'precision' in model:
        found['computed in'] = f'{model["precision"]}, channels {"last" if model.get("channels_last") else "first"}'
    return {name: value for name, value in found.items() if value}


def started_at(log: Path) -> str:
    """From the name of a log."""
    try:
        return f'{datetime.strptime(log.stem, "%Y%m%d_%H%M%S"):%Y-%m-%d %H:%M}'
    except ValueError:
        return ''


def _versions(log: Path) -> dict[str, str]:
    found, inside = {}, False
    with log.open(encoding='utf-8', errors='replace') as file:
        for _, line in zip(range(LONGEST_BLOCK), file, strict=False):
            inside = inside or BLOCK_BEGINS in line
            if BLOCK_ENDS in line:
                break
            match = LINE.match(line)
            if inside and match and (match['name'] in SPOKEN_OF or match['name'].startswith('GPU ')):
                found[match['name'].removeprefix('sys.')] = match['value'].strip()
    return found
