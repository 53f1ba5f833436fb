"""Letters of every language, in file names and in what is printed, whatever the locale says.

A leaf like ``errors``, for the tools.
"""

import os
import sys


def accept_all_letters() -> None:
    r"""Start this tool anew in Python's UTF-8 mode if file names would be read in another encoding.

    A locale such as ISO-8859-1, or PYTHONUTF8=0 in the C locale, would make other texts of the same file names: the
    lists of a prepared folder would depend on it, and names that it has no letters for could not be written. What is
    printed comes out as ``\u732b`` where the terminal has no such letter, instead of ending the tool.
    """
    is_utf8 = sys.getfilesystemencoding().replace('-', '').lower() == 'utf8'
    if not (is_utf8 or sys.flags.utf8_mode):
        os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
