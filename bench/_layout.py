"""The place of `objectives/` and `tasks/`: beside `bench/` (a checkout) or inside it (a wheel).

The wheel nests them because top-level packages with these names would silently collide with other
distributions. The repository has them at the top level, where readers look for the list of
objectives and tasks.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve().parent
_IS_CHECKOUT = (_HERE.parent / "objectives" / "__init__.py").is_file()


def part_folder(name: str) -> Path:
    """The folder of a part ("objectives", "tasks") or of the committed results."""
    return (_HERE.parent if _IS_CHECKOUT else _HERE) / name


def import_part(name: str) -> ModuleType:
    """Import a part, and never another package with the same name.

    In a checkout the part is loaded from its file, under the name that it has in the wheel. So a
    top-level package `tasks` of another distribution is never imported instead.
    """
    qualified = f"bench.{name}"
    if qualified in sys.modules:
        return sys.modules[qualified]
    init = part_folder(name) / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        qualified, init, submodule_search_locations=[str(init.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{qualified} has no loader at {init}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    spec.loader.exec_module(module)
    return module
