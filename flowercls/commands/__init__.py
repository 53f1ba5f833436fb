"""The verbs: each takes what a command line gives and returns what it prints last.

Heavy packages are imported inside, so that ``--help`` and a misspelt key are answered at once.
"""

from flowercls.commands.benchmark import benchmark
from flowercls.commands.compare import compare
from flowercls.commands.export import export
from flowercls.commands.plan import plan
from flowercls.commands.predict import predict
from flowercls.commands.prepare import prepare
from flowercls.commands.report import report
from flowercls.commands.sweep import sweep
from flowercls.commands.test import test
from flowercls.commands.train import train

__all__ = ['benchmark', 'compare', 'export', 'plan', 'predict', 'prepare', 'report', 'sweep', 'test', 'train']
