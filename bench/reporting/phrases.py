"""How a sentence names many things."""

from __future__ import annotations

from collections.abc import Sequence


def quoted(name: str) -> str:
    """The name so that a comma in it divides nothing; as it is where it has quotes already."""
    return f'"{name}"' if ", " in name and not name.startswith('"') else name


def listing(names: Sequence[str], most: int = 4) -> str:
    """Names as a sentence has them, the rest counted; `causal, bidirectional` is one name."""
    shown = [quoted(name) for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
