"""The error for a file that does not become pixels: why, and what to do about it."""

import contextlib
import struct
from collections.abc import Iterator

from flowercls.errors import DataError

MAX_PIXELS = 50_000_000
# Reason for a refusal -> what the user can do about it. The keys are all the reasons there are.
FIXES = {
    'missing file': 'check the path',
    'not a file': 'give the path of one photo',
    'unreadable file': 'allow reading it (chmod +r)',
    'empty file': 'copy or download it again',
    'not an image': 'remove it, or put the photo itself in its place',
    'unsupported format': 'save it as JPEG or PNG',
    'too large': f'save it with at most {MAX_PIXELS // 1_000_000} megapixels',
    'truncated': 'copy or download it again, the end of the file is missing',
    'damaged': 'copy or download it again, or open and save it in an image editor',
}


class UnreadablePhoto(DataError):  # noqa: N818  reads as what it is
    """A file that does not become pixels; ``reason`` is one of the keys of `FIXES`, ``detail`` says more."""

    def __init__(self, message: str, reason: str = 'damaged', detail: str = '') -> None:
        # A DataLoader builds the error anew from its worker's traceback; only the message itself is for the user.
        super().__init__(message.rpartition('UnreadablePhoto: ')[2].strip())
        self.reason = reason
        self.detail = detail


def unreadable(name: str, reason: str, detail: object) -> UnreadablePhoto:
    """The error for the file ``name``; ``reason`` is one of the keys of `FIXES`."""
    return UnreadablePhoto(f'{name}: {reason} ({detail}). Fix: {FIXES[reason]}.', reason, str(detail))


@contextlib.contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises about the file ``name`` into an `UnreadablePhoto`."""
    # Hostile bytes make Pillow's plugins raise nearly anything: OSError, SyntaxError, ValueError, struct.error, ...
    try:
        yield
    except (UnreadablePhoto, MemoryError):
        raise
    except Exception as error:
        cut = isinstance(error, EOFError | struct.error) or 'truncat' in str(error).lower()
        raise unreadable(name, 'truncated' if cut else 'damaged', error) from error
