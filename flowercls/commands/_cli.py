"""Running a verb from a command line: its parser, what interrupts it, and the exit code."""

import argparse
import errno
import importlib
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from flowercls.core import signals
from flowercls.core.errors import ConfigError, FlowerclsError
from flowercls.core.terminal import set_up_console

VERBS = {
    'prepare': 'raw photos -> a verified, de-duplicated, split data folder',
    'train': 'a config -> a fine-tuned model in a run folder',
    'test': 'a model and labelled photos -> its accuracy, class by class',
    'predict': 'a model and photos -> what they show',
    'export': 'a model -> ONNX and other files',
    'sweep': 'a sweep file -> many runs, and which setting is better',
    'compare': 'finished runs -> which setting is better',
    'plan': 'photos and seeds -> what a comparison could find',
    'report': 'a run or a sweep -> one page',
    'benchmark': 'a config -> how fast it trains',
}
# What the system says of a path that a user has typed.
WRONG_PATH = (errno.EACCES, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR)


def flowercls() -> NoReturn:
    """Run ``flowercls VERB ...``."""
    parser = argparse.ArgumentParser(
        prog='flowercls',
        description='Fine-tune an image classifier on your own photos, and know which setting is really better.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='verbs:\n' + '\n'.join(f'  {verb:<10} {text}' for verb, text in VERBS.items()),
    )
    parser.add_argument('verb', choices=VERBS, metavar='VERB', help='see below; flowercls VERB --help says more')
    main(parser.parse_args(sys.argv[1:2]).verb, sys.argv[2:], is_tool=False)


def main(verb: str, argv: Sequence[str] | None = None, *, is_tool: bool = True) -> NoReturn:
    """Run a verb as the whole program; ``argv`` is ``sys.argv[1:]`` if None."""
    set_up_console()
    signals.exit_fast(run(verb, argv, is_tool=is_tool))


def run(verb: str, argv: Sequence[str] | None = None, *, is_tool: bool = True) -> int:
    """Run a verb in this process.

    Args:
        verb: A name in `VERBS`, which is also that of its module.
        argv: The words after the verb; those of this process if None.
        is_tool: Whether the user typed ``python tools/<verb>.py`` rather than ``flowercls <verb>``.

    Returns:
        The exit code.
    """
    module = importlib.import_module(f'flowercls.commands.{verb}')
    command = f'python tools/{"prepare_data" if verb == "prepare" else verb}.py' if is_tool else f'flowercls {verb}'
    examples = '\n'.join(f'  {command} {line}' for line in module.EXAMPLES)
    parser = argparse.ArgumentParser(
        prog=command.removeprefix('python tools/'),
        description=module.__doc__,
        epilog=f'examples:\n{examples}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=getattr(module, 'USAGE', None),
    )
    module.add_arguments(parser)
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        keys = '; keys of a config follow --cfg-options, as in --cfg-options train_cfg.max_epochs=10'
        hint = f'Fix: see --help for the flags{keys if hasattr(options, "cfg_options") else ""}'
        parser.error(f'unrecognized arguments: {" ".join(unknown)}. {hint}')
    import logging  # here: --help does without

    logging.raiseExceptions = False  # a log line that cannot be written (disk full) is dropped, without a traceback
    if verb == 'train':  # for command.txt in the run folder
        options.command = shlex.join([*command.split(), *(sys.argv[1:] if argv is None else argv)])
    try:
        with signals.handle_signals(getattr(options, 'launcher', 'none')):
            return module.run(options)
    except FlowerclsError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return error.exit_code
    except OSError as error:
        path = error.filename2 or error.filename  # the latter may be a temporary file
        if path is None or error.errno not in WRONG_PATH:
            raise  # a bug of ours
        message = f'{path}: {error.strerror}. Fix: correct the path or its permissions.'
        print(f'{ConfigError.__name__}: {message}', file=sys.stderr)
        return ConfigError.exit_code
    except (signals.Interrupted, KeyboardInterrupt) as error:  # the latter in one of several processes of a run
        interruption = error if isinstance(error, signals.Interrupted) else signals.Interrupted(signal.SIGINT)
        print(f'interrupted by {interruption}: {module.after_interruption(interruption, options)}', file=sys.stderr)
        return interruption.exit_code
