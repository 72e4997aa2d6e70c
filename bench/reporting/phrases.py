"""How a sentence names many things."""

from __future__ import annotations

from collections.abc import Sequence


def listing(names: Sequence[str], most: int = 4) -> str:
    """Names as a sentence has them, the rest counted; `causal, bidirectional` is one name."""
    shown = [f'"{name}"' if ", " in name else name for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
