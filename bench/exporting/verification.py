"""The check of an export: transformers loads it, and it computes the same numbers.

Differences are taken in float32 on the CPU. They were 0.0 for `tiny`. For 22 layers x 768 with
three times the initial weights they were 3.4e-5 on values up to 16, from the order of sums alone,
so a difference may be 1e-5 of the largest value (at least 1).
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import BenchError, RefusedError
from bench.pretraining.batch import Attention
from bench.probing.reader.reader import RunReader
from bench.probing.task import POOLINGS

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Run
    from bench.exporting.model import ExportedModel
    from bench.exporting.sentence_embeddings import Embedding

TOLERANCE = 1e-5
_STRIDE = 7_919
"""A prime, so that the texts have tokens from all over the vocabulary."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest difference between bench's own numbers and those of the export."""

    name: str
    largest: float
    allowed: float

    @classmethod
    def of(cls, name: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> Difference:
        """The difference of pairs of tensors (bench's own, the export's)."""
        largest = torch.stack([(own - other).abs().max() for own, other in pairs]).max()
        size = torch.stack([own.abs().max() for own, _ in pairs]).max()
        return cls(name, float(largest), TOLERANCE * max(1.0, float(size)))

    @property
    def is_allowed(self) -> bool:
        """False for NaN as well."""
        return self.largest <= self.allowed

    def __str__(self) -> str:
        return f"{self.name} {self.largest:.1e} (allowed {self.allowed:.1e})"


def import_library(name: str, why: str) -> Any:
    """An installed library.

    Raises:
        BenchError: It is not installed.
    """
    package = name.replace("-", "_")
    if importlib.util.find_spec(package) is None:
        raise BenchError(
            f"{why} needs {name}, which is not installed; pip install {name}, or leave {why} out"
        )
    return importlib.import_module(package)


@torch.inference_mode()
def differences_of(model: ExportedModel, folder: Path) -> list[Difference]:
    """Load an export and compare it with its run on texts of several lengths.

    Args:
        model: The exported model.
        folder: The export.

    Raises:
        BenchError: transformers or sentence-transformers is missing or too old.
        RefusedError: Tokens, hidden states, logits or sentence embeddings differ.
    """
    own = model.run
    encoder, head = (copy.deepcopy(module).cpu() for module in (own.encoder, own.head))
    model = dataclasses.replace(model, run=dataclasses.replace(own, encoder=encoder, head=head))
    differences = [*_model_differences(model, folder)]
    if model.embedding is not None:
        differences.append(_embedding_difference(model, model.embedding, folder))
    wrong = [str(difference) for difference in differences if not difference.is_allowed]
    if wrong:
        raise RefusedError(
            f"the export of {model.run.id} as {model.architecture.class_name} differs from bench's "
            f"own numbers: {'; '.join(wrong)}; nothing was written (versions: {_versions()})"
        )
    return differences


def sample_texts(run: Run) -> list[str]:
    """Texts of several lengths from the run's own tokens, up to the length of the encoder."""
    vocabulary, room = run.tokenizer.vocabulary, run.encoder.shape.max_length - 2
    special = set(vocabulary.special_ids)
    ordinary = [i for i in range(vocabulary.size) if i not in special]
    lengths = sorted({0, 1, min(5, room), room // 2, room})
    return [
        run.tokenizer.decode(
            ordinary[(length + i) * _STRIDE % len(ordinary)] for i in range(length)
        )
        for length in lengths
    ]


def _model_differences(model: ExportedModel, folder: Path) -> Iterator[Difference]:
    run, architecture = model.run, model.architecture
    transformers = import_library("transformers", "--verify")
    model_class = getattr(transformers, architecture.class_name, None)
    if model_class is None:
        raise BenchError(
            f"transformers {transformers.__version__} has no {architecture.class_name}; "
            "pip install --upgrade transformers, or leave --verify out"
        )
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = sample_texts(run)
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    is_token = batch["attention_mask"].bool()
    own_rows = own_tokens(run, texts, architecture.is_causal)
    for text, row, ids, real in zip(texts, own_rows, batch["input_ids"], is_token, strict=True):
        if ids[real].tolist() != row:
            raise RefusedError(
                f"the exported tokenizer of {run.id} gives {ids[real].tolist()[:8]}... for "
                f"{text[:40]!r}, where bench gives {row[:8]}...; nothing was written"
            )
    theirs = model_class.from_pretrained(folder).eval()(**batch, output_hidden_states=True)
    attention = Attention(architecture.pattern, is_token)
    states = run.encoder.hidden_states(batch["input_ids"], attention)
    pairs = zip(states, theirs.hidden_states, strict=True)
    yield Difference.of("hidden states", [(a[is_token], b[is_token]) for a, b in pairs])
    if architecture.has_head:
        logits = run.head(states[-1], run.encoder.token_table)
        yield Difference.of("logits", [(logits[is_token], theirs.logits[is_token])])


def own_tokens(run: Run, texts: Sequence[str], is_causal: bool) -> list[list[int]]:
    """The rows of texts as bench builds them: [CLS], the tokens that fit, and [SEP]."""
    vocabulary = run.tokenizer.vocabulary
    end = [] if is_causal else [vocabulary.sep_id]
    room = run.encoder.shape.max_length - 1 - len(end)
    return [
        [vocabulary.cls_id, *encoded.ids[:room].tolist(), *end]
        for encoded in run.tokenizer.encode(texts)
    ]


def _embedding_difference(model: ExportedModel, embedding: Embedding, folder: Path) -> Difference:
    """Of texts in one window: bench reads longer ones in several, and the export cuts them."""
    library = import_library("sentence-transformers", "--verify")
    run = model.run
    room = run.encoder.shape.max_length - 2
    encoded = run.tokenizer.encode(texts := sample_texts(run))
    texts = [text for text, one in zip(texts, encoded, strict=True) if len(one.ids) <= room]
    reader = RunReader(run.encoder, None, run.tokenizer, None, model.architecture.pattern)
    pooled = reader.features(texts).pooled[:, embedding.layer, POOLINGS.index(embedding.pooling)]
    loaded = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    theirs = loaded.encode(texts, convert_to_tensor=True, show_progress_bar=False)
    return Difference.of("sentence embeddings", [(torch.from_numpy(pooled), theirs)])


def _versions() -> str:
    names = ("torch", "transformers", "sentence_transformers")
    installed = [name for name in names if importlib.util.find_spec(name) is not None]
    return ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in installed)
