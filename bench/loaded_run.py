"""Finished runs in Python: load one, read its features, fill in its [MASK]s."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, checked_keywords
from bench.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.objective import Objective
    from bench.probing.reader.filling import FillResult
    from bench.records.store import RunRecord

DEFAULT_OUT = Path("results")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run, loaded: `bench.load_run` returns it.

    Examples:
        >>> import bench
        >>> run = bench.load_run("token", out=folder)
        >>> run.record.data["objective"]
        'token'
        >>> sum(parameter.numel() for parameter in run.encoder.parameters()) > 0
        True
    """

    id: str
    encoder: SharedEncoder
    """The pretrained encoder, in evaluation mode."""
    tokenizer: TextTokenizer
    objective: Objective
    head: Any
    """The module that predicted tokens beside the encoder (a `torch.nn.Module`)."""
    record: RunRecord
    """The contents of run.json, and the scores."""

    @property
    def attention(self) -> Any:
        """The attention pattern of its features; of an untouched checkpoint, as it was trained."""
        return self.record.data.get("attention", self.objective.attention)

    def __repr__(self) -> str:
        data = self.record.data
        shape = self.encoder.shape
        return (
            f"<bench run {self.id}: {data['display_name']}, seed {data['seed']}, {data['size']}, "
            f"{shape.num_layers} layers x {shape.hidden_size}, {len(self.record.scores)} scores>"
        )


@checked_keywords
def load_run(
    run: str | PathLike[str], *, out: str | PathLike[str] = DEFAULT_OUT, device: str = "cpu"
) -> Run:
    """Load a finished run: encoder, tokenizer and record.

    Args:
        run: The id, a prefix of it that no other run has, or the run's folder.
        out: Folder of the records.
        device: Where the weights go, for example `"cuda"`.

    Raises:
        BenchError: No such run, or several.
        RefusedError: A file of the run was changed after it was written.

    Examples:
        >>> import bench
        >>> bench.load_run("token-tiny-s0", out=folder).id[:13]
        'token-tiny-s0'
    """
    from bench.experiment.experiment import choose_device
    from bench.records.run_folder import load_run as load
    from bench.reporting.run_summary import run_named
    from bench.settings import from_mapping

    record = run_named(records_folder(out), str(run))
    name = record.data["objective"]
    objective = from_mapping(Registry().get("objective", name), record.data["settings"], name)
    encoder, head, tokenizer = load(record.folder, objective, choose_device(device))
    return Run(record.data["id"], encoder, tokenizer, objective, head, record)


@checked_keywords
def features(
    run: Run | str | PathLike[str],
    texts: str | Sequence[str],
    *,
    out: str | PathLike[str] = DEFAULT_OUT,
    device: str = "cpu",
) -> dict[tuple[int, str], Float[np.ndarray, "N D"]]:
    """The frozen features of texts, as probes read them.

    Args:
        run: From `load_run`, or what `load_run` takes.
        texts: One text or a list of N texts; each is cut to the encoder's length.
        out: Folder of the records, where `run` is not loaded yet.
        device: Where the encoder runs, where `run` is not loaded yet.

    Returns:
        For each layer (0: the embeddings) and pooling (`mean`, `first` or `last` over the tokens of
        a text) an array of shape [N, D], float32.

    Raises:
        BenchError: No such run, or something that is not text.
        RefusedError: A file of the run was changed after it was written.

    Examples:
        >>> import bench
        >>> features = bench.features("token", ["the old gate", "a red wall"], out=folder)
        >>> features[0, "mean"].shape
        (2, 64)
    """
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import POOLINGS

    loaded = run if isinstance(run, Run) else load_run(run, out=out, device=device)
    listed = [texts] if isinstance(texts, str) else list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise BenchError(f"texts: give text or a list of texts, got {text!r}")
    if not listed:
        raise BenchError("texts: the list is empty; give one text or more")
    reader = RunReader(loaded.encoder, None, loaded.tokenizer, None, loaded.attention)
    pooled = reader.features(listed).pooled
    return {
        (layer, pooling): pooled[:, layer, place].copy()
        for layer in range(pooled.shape[1])
        for place, pooling in enumerate(POOLINGS)
    }


@checked_keywords
def fill(
    run: Run | str | PathLike[str], text: str, *, k: int = 5, out: str | PathLike[str] = DEFAULT_OUT
) -> FillResult:
    """Predict the tokens at each [MASK] of a text; a causal run continues the text.

    Args:
        run: From `load_run`, or what `load_run` takes.
        text: Text with [MASK] where a token is missing.
        k: Number of predictions at each [MASK].
        out: Folder of the records, where `run` is not loaded yet.

    Raises:
        BenchError: No such run, no [MASK] in the text, or the objective predicts no tokens.
        RefusedError: A file of the run was changed after it was written.

    Examples:
        >>> import bench
        >>> filled = bench.fill("token", "the [MASK] was old .", k=3, out=folder)
        >>> len(filled.places[0])
        3
    """
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import NotApplicableError

    loaded = run if isinstance(run, Run) else load_run(run, out=out)
    scoring = loaded.record.data["scoring"]
    reader = RunReader(loaded.encoder, loaded.head, loaded.tokenizer, scoring, loaded.attention)
    try:
        return reader.fill(text, k)
    except NotApplicableError as reason:
        raise BenchError(
            f"{loaded.id} cannot fill in tokens: {reason}; runs of masked and causal objectives "
            "can (bench list objectives)"
        ) from None


def records_folder(out: Any) -> Path:
    """The argument `out` as a path.

    Raises:
        BenchError: It is no path.
    """
    if not isinstance(out, str | PathLike) or not str(out):
        raise BenchError(f"--out: give a folder, got {out!r}")
    return Path(out)
