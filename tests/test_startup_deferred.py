from __future__ import annotations

import sys

from bench._startup import _Deferred, without


def test_a_stand_in_can_be_hidden_and_a_loaded_module_cannot() -> None:
    stand_in = sys.modules["nobodys_module"] = _Deferred("nobodys_module")
    with without("nobodys_module", "json", "unheard_of"):
        assert "nobodys_module" not in sys.modules
        assert "json" in sys.modules
    assert sys.modules.pop("nobodys_module") is stand_in
    assert "unheard_of" not in sys.modules
