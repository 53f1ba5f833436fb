"""File names of every language, whatever the locale says.

A leaf like ``errors``: every room may use it, it uses none.
"""

import os
import sys


def use_utf8() -> None:
    """Start this script anew in Python's UTF-8 mode if file names would be read in another encoding.

    A locale such as ISO-8859-1, or PYTHONUTF8=0 in the C locale, would make other texts of the same file names: the
    lists of a prepared folder would depend on it, and names that it has no letters for could not be written.
    """
    if sys.getfilesystemencoding().replace('-', '').lower() == 'utf8' or sys.flags.utf8_mode:
        return
    os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
