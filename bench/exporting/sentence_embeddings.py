"""Sentence embeddings as bench reads them, with the stock modules of sentence-transformers.

bench's mean leaves [CLS] and [SEP] out. `WordWeights` gives these two the weight 0, and `Pooling`
divides by the sum of the weights, so no code has to be shipped. A layer below the last one is read
before the final norm; `WeightedLayerPooling` with one weight of 1 selects it, where a model with
fewer layers would apply the final norm to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.exporting.architecture import scored_attention
from bench.exporting.json_files import write_json
from bench.pretraining.tensors import write_tensors
from bench.probing.task import POOLINGS

if TYPE_CHECKING:
    from bench.api import Run
    from bench.exporting.architecture import Architecture
    from bench.records.scores import ScoreRecord

CLS_WEIGHT = 1e-8
"""The weight of [CLS] in a mean: lost in rounding beside any token, and all of a text without
tokens, for which bench reads the [CLS]. (`Pooling` divides by 1e-9 at least.)"""

_COSINE_FAMILIES = ("similarity", "retrieval", "clustering")
_PROBED_FAMILY = "text classification"


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Which features are a sentence's embedding."""

    layer: int
    """0: the embeddings; the number of layers: the last one, after the final norm."""
    pooling: str
    """`mean` or `last`, over the text's own tokens."""
    tasks: tuple[str, ...]
    """The tasks on whose dev parts they were chosen; empty: the default."""

    def describe(self, num_layers: int) -> str:
        """The embedding and where the choice comes from, in sentences."""
        layer = "the embeddings" if self.layer == 0 else f"layer {self.layer} of {num_layers}"
        kind = "mean" if self.pooling == "mean" else "last"
        reason = "the default, because no task of the run chose a layer for whole texts"
        if self.tasks:
            reason = f"the highest mean over the dev parts of {', '.join(self.tasks)}"
        return (
            f"A sentence embedding is the {kind} of the text's own tokens at {layer}, without "
            f"[CLS] and [SEP], as in bench. Layer and pooling: {reason}."
        )


def chosen_embedding(run: Run, architecture: Architecture) -> Embedding:
    """The layer and pooling with the highest mean dev score on the run's own tasks.

    The cosines of similarity, retrieval and clustering tasks decide; without them, the probes of
    text classification. `last` is possible only where no [SEP] ends the text; `first` never is.
    """
    attention = scored_attention(run, architecture)
    poolings = ("mean", "last") if architecture.is_causal else ("mean",)
    scores = [
        score
        for score in run.record.scores
        if score.data["attention"] == attention
        and "contrastive" not in score.data["details"]  # that is another encoder
    ]
    for families in (_COSINE_FAMILIES, (_PROBED_FAMILY,)):
        grids = {
            score.data["task"]: grid
            for score in scores
            if score.data["family"] in families and (grid := _grid(score)) is not None
        }
        if grids:
            mean = np.mean(list(grids.values()), axis=0)
            own = mean[:, [POOLINGS.index(pooling) for pooling in poolings]]
            layer, pooling = (int(i) for i in np.unravel_index(own.argmax(), own.shape))
            return Embedding(layer, poolings[pooling], tuple(sorted(grids)))
    return Embedding(run.encoder.shape.num_layers, "mean", ())


def _grid(score: ScoreRecord) -> np.ndarray | None:
    """The dev score of every layer and pooling; of cosines, where the task has them.

    The exported embeddings are raw, so scores of centred or whitened ones do not count.
    """
    details = score.data["details"]
    details = details.get("cosine", details)
    grid = details.get("grids", {"raw": details.get("grid")}).get("raw")
    return None if grid is None else np.asarray(grid, dtype=float)


def write_modules(folder: Path, run: Run, embedding: Embedding) -> dict[str, Any]:
    """Write the modules after the encoder, which lies in the folder itself.

    Returns:
        Keys that the encoder's own configuration needs.
    """
    modules = [{"idx": 0, "name": "0", "path": "", "type": _type("Transformer")}]
    for kind, config in _configs(run, embedding):
        index = len(modules)
        path = folder / f"{index}_{kind}"
        path.mkdir()
        write_json(path / "config.json", config)
        modules.append({"idx": index, "name": str(index), "path": path.name, "type": _type(kind)})
        if kind == "WeightedLayerPooling":
            weights = torch.zeros(config["num_hidden_layers"] + 1)
            weights[embedding.layer] = 1.0
            write_tensors(path / "model.safetensors", {"layer_weights": weights})
    write_json(folder / "modules.json", modules)
    lengths = {"max_seq_length": run.encoder.shape.max_length, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", lengths)
    similarity: dict[str, Any] = {
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    write_json(folder / "config_sentence_transformers.json", similarity)
    is_last = embedding.layer == run.encoder.shape.num_layers
    return {} if is_last else {"output_hidden_states": True}


def _configs(run: Run, embedding: Embedding) -> Iterator[tuple[str, dict[str, Any]]]:
    """The modules after the encoder, with key names that old and new versions read."""
    shape, vocabulary = run.encoder.shape, run.tokenizer.vocabulary
    width = {"word_embedding_dimension": shape.hidden_size}
    if embedding.layer < shape.num_layers:
        layers = {"layer_start": 0, "num_hidden_layers": shape.num_layers}
        yield "WeightedLayerPooling", width | layers
    if embedding.pooling == "mean":
        weights = {vocabulary.sep_id: 0.0, vocabulary.cls_id: CLS_WEIGHT}
        yield (
            "WordWeights",
            {
                # Words are looked up in lower case as well, so the ids stand for them.
                "vocab": [str(i) for i in range(vocabulary.size)],
                "word_weights": {str(i): weight for i, weight in weights.items()},
                "unknown_word_weight": 1.0,
            },
        )
    yield (
        "Pooling",
        width
        | {
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": embedding.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_lasttoken": embedding.pooling == "last",
        },
    )


def _type(kind: str) -> str:
    return f"sentence_transformers.models.{kind}"
