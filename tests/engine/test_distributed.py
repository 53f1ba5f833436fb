"""How the processes of one run meet and part."""

import os
import subprocess
import sys

ALONE = """
import atexit, torch.distributed as dist
from mmengine.config import Config
from flowercls.engine.distributed import join

atexit.register(lambda: print('still together:', dist.is_initialized()))  # runs last: handlers run in reverse order
join(Config(dict(launcher='pytorch', env_cfg=dict())))
print('together:', dist.is_initialized())
"""


def test_a_process_leaves_the_group_before_it_ends():
    """Left to the end of the interpreter, a thread of gloo now and then aborts the process."""
    meeting = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    hidden_gpus = dict(CUDA_VISIBLE_DEVICES='')
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', ALONE],
        env={**os.environ, **meeting, **hidden_gpus},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ['together: True', 'still together: False']
