"""Result files of a run or a sweep → ``report.html``, one file that tells all of it and needs nothing else.

Only files are read, so that any finished run can have a report later; what is missing is said where it would stand.
"""
