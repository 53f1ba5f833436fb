"""Result files → pictures and ``report.html``, one page that needs no other file and no network.

Only files are read, so any run can get its pictures and its report later. Missing results are named on the page.
"""
