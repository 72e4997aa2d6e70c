"""The model that an export holds, and the files of its weights, configuration and tokenizer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from bench.exporting.architecture import (
    Architecture,
    architecture_of,
    generation_config,
    model_config,
    model_tensors,
)
from bench.exporting.json_files import write_json
from bench.exporting.sentence_embeddings import Embedding, chosen_embedding, write_modules
from bench.exporting.tokenizer_files import tokenizer_config, tokenizer_json
from bench.reporting.formatting import printable
from bench.storage import MANIFEST, file_sha256

if TYPE_CHECKING:
    from bench.api import Run


@dataclasses.dataclass(frozen=True, eq=False)
class ExportedModel:
    """A run as a model of another library."""

    run: Run
    attention: str
    """`native`, or `bidirectional` for a causal run with full attention."""
    architecture: Architecture
    embedding: Embedding | None
    """The features of a sentence, in an export for sentence-transformers."""

    @classmethod
    def of(cls, run: Run, attention: str, is_sentence: bool) -> ExportedModel:
        """The model of a run.

        Raises:
            BenchError: The encoder is not bench's own, or the attention is `bidirectional` and the
                run has full attention anyway.
        """
        architecture = architecture_of(run, attention, encoder_only=is_sentence)
        embedding = chosen_embedding(run, architecture) if is_sentence else None
        return cls(run, attention, architecture, embedding)

    @property
    def name(self) -> str:
        """`bench/` and the run's id, with a suffix if it is not the default export."""
        name = f"bench/{self.run.id}"
        if self.attention != "native":
            name += f"-{self.attention}"
        if self.embedding is not None and self.embedding != self.default_embedding:
            name += f"-layer{self.embedding.layer}-{self.embedding.pooling}"
        return name

    @property
    def default_embedding(self) -> Embedding:
        """The mean of the last layer."""
        return Embedding(self.run.encoder.shape.num_layers, "mean", ())

    @property
    def revision(self) -> str:
        """The sha256 of the run's manifest, which covers every file of the run."""
        return file_sha256(self.run.record.folder / MANIFEST)

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts for the user, in sentences."""
        length, status = self.run.encoder.shape.max_length, self.run.record.status
        notes = [] if status == "finished" else [f"The status of the run is: {printable(status)}."]
        notes += self.architecture.notes
        if self.embedding is not None:
            notes.append(self.embedding.describe(self.run.encoder.shape.num_layers))
        notes.append(
            f"A text of more than {length} tokens, [CLS] and [SEP] included, is cut, where bench's "
            "probes read all of it in windows that overlap."
        )
        notes.append(
            "A special token that is spelled out in a text is read as that token, where bench "
            "reads it as ordinary text."
        )
        return tuple(notes)

    def write(self, folder: Path) -> None:
        """Write everything but the card into a folder that exists."""
        from safetensors.torch import save_file

        run, architecture = self.run, self.architecture
        config = model_config(run, architecture)
        if self.embedding is not None:
            config |= write_modules(folder, run, self.embedding)
        write_json(folder / "config.json", config)
        if architecture.has_head and architecture.is_causal:
            write_json(folder / "generation_config.json", generation_config(run))
        tensors = model_tensors(run, architecture)
        # transformers refuses a file that does not name its format
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        is_causal, length = architecture.is_causal, run.encoder.shape.max_length
        write_json(folder / "tokenizer.json", tokenizer_json(run.tokenizer, is_causal))
        write_json(
            folder / "tokenizer_config.json", tokenizer_config(run.tokenizer, length, is_causal)
        )
