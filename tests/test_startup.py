from __future__ import annotations

import contextlib
import gc
import subprocess
import sys

from bench._startup import _Deferred, leave, paused_collection, without


def test_a_stand_in_can_be_hidden_and_a_loaded_module_cannot() -> None:
    stand_in = sys.modules["absent_module"] = _Deferred("absent_module")
    with without("absent_module", "json", "unheard_of"):
        assert "absent_module" not in sys.modules
        assert "json" in sys.modules
    assert sys.modules.pop("absent_module") is stand_in
    assert "unheard_of" not in sys.modules


def test_collection_is_paused() -> None:
    assert gc.isenabled()
    with contextlib.suppress(KeyError), paused_collection():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_a_process_that_serves_one_command_flushes_and_runs_its_exit_functions() -> None:
    leave()  # this process serves more than one command
    script = """
import atexit
from bench._startup import leave, own_process
class Slow:
    def __del__(self):
        print("freed")
kept = Slow()
atexit.register(print, "exit function")
own_process()
print("output")
leave()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "output\nexit function\n", "")
