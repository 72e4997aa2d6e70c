"""Imports of the fork server, so that its workers can draw at once. Import it in no other process.

The module exists because a fork server can only preload modules by name. seaborn works without
scipy where scipy is not installed. No figure here needs scipy, and importing it takes as long as
all other imports together, so it is marked as missing.
"""

from __future__ import annotations

import sys

sys.modules["scipy"] = None  # type: ignore[assignment]

import seaborn  # noqa: E402, F401

from bench.reporting.figures import training  # noqa: E402, F401
