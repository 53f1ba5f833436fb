"""The verbs: each takes what a command line gives and returns what it prints last.

Heavy packages are imported inside, so that ``--help`` and a misspelt key are answered at once.
"""

from flowercls.apis.benchmarking import benchmark
from flowercls.apis.comparing import compare
from flowercls.apis.preparing import prepare
from flowercls.apis.reporting import report
from flowercls.apis.sweeping import sweep
from flowercls.apis.testing import test
from flowercls.apis.training import train

__all__ = ['benchmark', 'compare', 'prepare', 'report', 'sweep', 'test', 'train']
