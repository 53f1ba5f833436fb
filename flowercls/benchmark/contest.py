"""Contestants in processes of their own, which train in turns: what slows the machine down meets all of them alike."""

import contextlib
import functools
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from flowercls.benchmark.cases import BARE, OURS, STOCK, Case
from flowercls.benchmark.pace import Round
from flowercls.core.errors import FlowerclsError

Say = Callable[[str], object]
NOTHING_BUT_STEPS = {'train_cfg.max_epochs': 100_000, 'default_hooks.checkpoint': None}


def measure(
    config: str, overrides: Mapping[str, Any], case: Case, contestants: list[str], repeats: int, order: Round, say: Say
) -> dict[str, list[dict]]:
    """Let contestants train in turns.

    Args:
        config: A config file.
        overrides: Laid over it.
        case: What is frozen and cached.
        contestants: Some of `cases.CONTESTANTS`.
        repeats: Rounds of each.
        order: Of every round.
        say: Is told how far this is.

    Returns:
        By contestant: the answer to its first step, then to each round; see `Pace`. Ours starts once more in the end,
        with all that it has kept: ``again_s`` of its first answer is how long that first step took.

    Raises:
        FlowerclsError: what a contestant has met.
    """
    with tempfile.TemporaryDirectory(prefix='flowercls-benchmark-') as cache:
        start = functools.partial(_started, config=config, overrides=dict(overrides), case=case, cache=cache)
        answers = _rounds(start, case, contestants, repeats, order, say)
        if OURS in contestants:
            with start(OURS) as pipe:
                answers[OURS][0]['again_s'] = _answer_of(OURS, pipe)['first_step_s']
    return answers


def _rounds(
    start: Callable[[str], contextlib.AbstractContextManager[Connection]],
    case: Case,
    contestants: list[str],
    repeats: int,
    order: Round,
    say: Say,
) -> dict[str, list[dict]]:
    answers: dict[str, list[dict]] = {}
    with contextlib.ExitStack() as stack:
        pipes = {}
        for name in contestants:  # one after the other: a first step is timed alone
            say(f'{case.name}: {name} starts')
            pipes[name] = stack.enter_context(start(name))
            answers[name] = [_answer_of(name, pipes[name])]
        for number in range(repeats):
            for name, pipe in pipes.items():
                pipe.send(order)
                answers[name].append(_answer_of(name, pipe))
                rate = answers[name][-1]['photos'] / answers[name][-1]['seconds']
                say(f'{case.name}: round {number + 1}/{repeats}, {name} {rate:.1f} photos/s')
    return answers


@contextlib.contextmanager
def _started(name: str, config: str, overrides: dict, case: Case, cache: str) -> Iterator[Connection]:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context('spawn')
    process = context.Process(target=_compete, args=(theirs, time.time(), name, config, overrides, case, cache))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()  # which ends it at its next step
        process.join(30)
        process.kill()
        process.join()


def _answer_of(name: str, pipe: Connection) -> dict:
    try:
        answer = pipe.recv()
    except EOFError as error:
        raise RuntimeError(f'{name} has failed; its traceback is above') from error
    if isinstance(answer, FlowerclsError):
        raise answer
    return answer


def _compete(pipe: Connection, created: float, name: str, config: str, overrides: dict, case: Case, cache: str) -> None:
    """What runs in the process of a contestant."""
    if name == STOCK:
        os.environ['THP_MEM_ALLOC_ENABLE'] = '0'  # torch's own choice; `flowercls.train` makes another one
    warnings.simplefilter('ignore')

    from flowercls.benchmark.pace import Pace
    from flowercls.train.run_config import Flags, ready_config

    overrides = {**overrides, 'model.frozen_stages': case.frozen}
    overrides['feature_cache.views'] = int(name == OURS and case.cached)
    run = {STOCK: _run_stock, OURS: _run_ours, BARE: _run_bare}[name]
    with tempfile.TemporaryDirectory(prefix='flowercls-benchmark-') as folder, contextlib.redirect_stdout(None):
        try:
            cfg = ready_config(config, {**overrides, **NOTHING_BUT_STEPS}, Flags(no_validate=True))
            cfg.cache_dir = cache
            run(cfg, case, Pace(pipe, created), folder)
        except FlowerclsError as error:
            pipe.send(error)


def _run_stock(cfg, case: Case, pace, folder: str) -> None:
    from flowercls.benchmark.pace import PaceHook
    from flowercls.benchmark.stock import stock_runner

    runner = stock_runner(cfg, case.frozen, folder)
    runner.register_hook(PaceHook(pace))
    runner.train()


def _run_ours(cfg, case: Case, pace, folder: str) -> None:
    from flowercls.benchmark.pace import PaceHook
    from flowercls.train.decoded_photos import use_photo_store
    from flowercls.train.runner import build_runner
    from flowercls.train.training import run_training

    cfg.work_dir = folder
    runner = build_runner(cfg)
    use_photo_store(runner)
    runner.register_hook(PaceHook(pace))
    run_training(runner)


def _run_bare(cfg, case: Case, pace, folder: str) -> None:
    from flowercls.benchmark.bare import run_bare

    run_bare(cfg, case, pace)
