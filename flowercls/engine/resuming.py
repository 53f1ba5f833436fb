"""Which checkpoint of a run folder a run goes on from."""

from pathlib import Path

from flowercls.engine.checkpoint import read_checkpoint, stands_at
from flowercls.engine.resumable import check_resumable
from flowercls.errors import CheckpointError

PATTERNS = ('epoch_*.pth', 'iter_*.pth', 'best_*_epoch_*.pth')


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the one that stands furthest first; of equal ones, not the best's second name."""
    found = [path for pattern in PATTERNS for path in folder.glob(pattern)]
    return sorted(found, key=_rank, reverse=True)


def newest_usable(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and why newer ones are not used.

    Returns:
        The file, None where a run has not come that far, and a sentence for each that was rejected.

    Raises:
        CheckpointError: if there are checkpoints and none can be used.
    """
    rejected = []
    for path in checkpoints(folder):
        try:
            check_resumable(read_checkpoint(path), str(path))
        except CheckpointError as error:
            rejected.append(str(error).partition(' Fix:')[0])
            continue
        return path, rejected
    if rejected:
        reasons = '\n'.join(f'  {reason}' for reason in rejected)
        fix = 'start a new run without --resume and with another --work-dir'
        raise CheckpointError(f'{folder}: no checkpoint can be used:\n{reasons}\nFix: {fix}.')
    return None, []


def _rank(path: Path) -> tuple[float, int, bool, str]:
    steps, epochs = stands_at(path)
    return steps, epochs, not path.name.startswith('best_'), path.name
