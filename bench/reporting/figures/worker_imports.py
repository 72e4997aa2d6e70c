"""What a painter loads before it is given anything to draw; imported in processes of its own only.

seaborn does without scipy where it is not installed: no figure here needs it, and it takes as long
to load as all the rest.
"""

from __future__ import annotations

import sys

sys.modules["scipy"] = None  # type: ignore[assignment]

import seaborn  # noqa: E402, F401

from bench.reporting.figures import training as figures_training  # noqa: E402, F401
