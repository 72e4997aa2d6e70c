"""Every row of the list of faults that the program must survive has a test."""

from __future__ import annotations

import re
from pathlib import Path

NUM_ROWS = 30


def test_every_row_has_a_test() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rows = {int(row) for row in re.findall(r"^def test_fault_(\d\d)_\w+\(", text, re.MULTILINE)}
    assert rows == set(range(1, NUM_ROWS + 1))
