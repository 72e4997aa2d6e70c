from __future__ import annotations

import contextlib
import gc
import subprocess
import sys

from bench._startup import leave, paused_collection


def test_nothing_is_collected_meanwhile() -> None:
    assert gc.isenabled()
    with contextlib.suppress(KeyError), paused_collection():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_a_process_of_one_s_own_is_left_with_what_it_said_and_promised() -> None:
    leave()  # this one is not
    script = """
import atexit
from bench._startup import leave, own_process
class Slow:
    def __del__(self):
        print("taken apart")
kept = Slow()
atexit.register(print, "promised")
own_process()
print("said")
leave()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "said\npromised\n", "")
