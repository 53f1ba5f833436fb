"""What tools write to: a terminal or a file that may know few letters.

A leaf like ``errors``, for the tools.
"""

import sys


def accept_all_letters() -> None:
    r"""Let what is printed come out as ``\u732b`` where the stream has no such letter, instead of ending the tool."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
