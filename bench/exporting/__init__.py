"""Export: a finished run as a folder that transformers or sentence-transformers loads.

The folder holds plain JSON, safetensors and a model card. Nothing is computed and no library but
bench's own is imported; `verify` loads the export with transformers and compares the numbers.
"""

from __future__ import annotations

import dataclasses
import os
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from bench.api import Run, load_run
from bench.errors import BenchError, checked_keywords
from bench.exporting.card import model_card
from bench.exporting.model import ExportedModel
from bench.exporting.verification import differences_of, import_library
from bench.storage import new_folder

Library = Literal["transformers", "sentence-transformers"]
Attention = Literal["native", "bidirectional"]


@dataclasses.dataclass(frozen=True)
class Export:
    """The result of `bench.export`."""

    folder: Path
    name: str
    """The name of the model, `bench/` and the run's id; it stands in the card, for mteb."""
    class_name: str
    """The class of transformers."""
    notes: tuple[str, ...]
    """Facts for the user, in sentences; the card has them too."""
    differences: tuple[str, ...] = ()
    """With `verify`: the largest difference to bench's own numbers, by quantity."""


@checked_keywords
def export(
    run: Run | str | PathLike[str],
    folder: str | PathLike[str],
    *,
    library: Library = "transformers",
    attention: Attention = "native",
    verify: bool = False,
    text_license: str | None = None,
    out: str | PathLike[str] = "results",
) -> Export:
    """Write a finished run as a model that transformers or sentence-transformers loads.

    A masked objective becomes `ModernBertForMaskedLM`, a causal one `ModernBertDecoderForCausalLM`.
    Where ModernBERT has no head that predicts the same, only the encoder is written.

    Args:
        run: From `load_run`, or what `load_run` takes.
        folder: The new folder; it may exist if it is empty.
        library: `"transformers"`, or `"sentence-transformers"` for sentence embeddings.
        attention: `"bidirectional"` writes a causal run with full attention, without its head.
        verify: Load the export with its library and compare tokens, hidden states, logits and
            sentence embeddings with bench's own; nothing is written if they differ.
        text_license: Licence of the text, for the card.
        out: Folder of the records, where `run` is not loaded yet.

    Raises:
        BenchError: No such run, the folder is not empty, or `verify` misses a library.
        RefusedError: The export differs from the run, or a file of the run was changed.

    Examples:
        >>> import bench
        >>> exported = bench.export("token", "exported", out=folder)
        >>> exported.class_name
        'ModernBertForMaskedLM'
        >>> sorted(path.name for path in exported.folder.iterdir())[:3]
        ['README.md', 'config.json', 'model.safetensors']
    """
    for name, value, kinds in (("library", library, Library), ("attention", attention, Attention)):
        if value not in get_args(kinds):
            known = ", ".join(map(repr, get_args(kinds)))
            raise BenchError(f"{name}: {value!r} is none of {known}")
    target = Path(folder).absolute()
    _refuse_used(target)
    if verify:
        for name in dict.fromkeys(("transformers", library)):
            import_library(name, "--verify")
    loaded = run if isinstance(run, Run) else load_run(run, out=out)
    model = ExportedModel.of(loaded, attention, is_sentence=library == "sentence-transformers")
    differences: tuple[str, ...] = ()
    with new_folder(target) as temporary:
        model.write(temporary)
        card = model_card(model, target.name, text_license)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if verify:
            differences = tuple(map(str, differences_of(model, temporary)))
    return Export(target, model.name, model.architecture.class_name, model.notes, differences)


def _refuse_used(target: Path) -> None:
    """Refuse a folder that holds something, or that cannot be made."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BenchError(f"{target} exists and is not an empty folder; name a new one")
    parent = next(folder for folder in target.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise BenchError(f"{target} cannot be made: {parent} is not a folder that you may write to")
