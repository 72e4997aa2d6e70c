"""The model of `transformers` that a run becomes: its class, its configuration, its weights.

The encoder has ModernBERT's modules, so an export renames tensors and computes nothing. A head is
exported only where ModernBERT has the same one at the same position. Every other head would load
without an error and give wrong logits.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError
from bench.pretraining.encoder import NORM_EPSILON, Encoder
from bench.pretraining.heads import TokenHead

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Run


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A model class of `transformers`, with or without the run's head."""

    class_name: str
    is_causal: bool
    """Attention covers the positions to the left only, and no [SEP] ends a text."""
    has_head: bool
    notes: tuple[str, ...] = ()
    """Facts for the user, in sentences."""

    @property
    def pattern(self) -> Literal["full", "causal"]:
        """The attention pattern of bench's encoder that computes the same."""
        return "causal" if self.is_causal else "full"


def architecture_of(run: Run, attention: str, encoder_only: bool) -> Architecture:
    """The model class of a run.

    Args:
        run: The run, loaded.
        attention: `native`, or `bidirectional` for a causal run with full attention.
        encoder_only: Leave the head out in any case.

    Raises:
        BenchError: The encoder is not bench's own, or the attention is `bidirectional` and the run
            has full attention anyway.
    """
    objective = run.objective
    if type(run.encoder) is not Encoder:
        raise BenchError(
            f"{run.id} has the encoder of a public checkpoint ({type(run.encoder).__name__}); only "
            "bench's own encoder can be exported"
        )
    is_bidirectional = attention == "bidirectional"
    if is_bidirectional and "causal" not in (objective.attention, objective.scoring):
        raise BenchError(
            f"--as bidirectional: {run.id} has full attention already (objective "
            f"{objective.name}); leave the option out"
        )
    reason = None if encoder_only else _reason_without_head(run, is_bidirectional)
    has_head = not encoder_only and reason is None
    predicts_next = has_head and objective.scoring == "causal"
    is_causal = not is_bidirectional and (predicts_next or objective.attention == "causal")
    notes = [] if reason is None else [f"Only the encoder is exported: {reason}."]
    if is_causal and objective.attention == "full":
        notes.append(
            f"The head of {objective.name} predicts under causal attention, and its features are "
            "read under full attention: export it with --as bidirectional for features."
        )
    suffix = "Model" if not has_head else "ForCausalLM" if is_causal else "ForMaskedLM"
    family = "ModernBertDecoder" if is_causal else "ModernBert"
    return Architecture(family + suffix, is_causal, has_head, tuple(notes))


def scored_attention(run: Run, architecture: Architecture) -> str:
    """The attention of the run's scores that belong to the exported model.

    `native` is the attention under which probes read the objective's features: full for a prefix
    language model, although its head predicts under causal attention.
    """
    is_other = architecture.pattern == "full" and run.objective.attention == "causal"
    return "bidirectional" if is_other else "native"


def _reason_without_head(run: Run, is_bidirectional: bool) -> str | None:
    """Why ModernBERT has no head that predicts the same; None if it has one."""
    objective = run.objective
    if objective.scoring is None:
        return f"{objective.name} predicts no tokens"
    if objective.scoring == "shifted":
        return (
            f"{objective.name} predicts each token at the position to its left, where ModernBERT's "
            "head would be read one place off"
        )
    if objective.scoring == "causal" and is_bidirectional:
        return "with full attention the head would see the tokens that it predicts"
    if type(run.head) is not TokenHead:
        return f"ModernBERT has no head like the {type(run.head).__name__} of {objective.name}"
    return None


def model_config(run: Run, architecture: Architecture) -> dict[str, Any]:
    """The contents of `config.json`.

    Layer types and rotary theta are written under the keys of transformers 5 and of earlier
    versions: a version that reads other keys would use a local window and its own theta in silence.
    """
    shape, vocabulary = run.encoder.shape, run.tokenizer.vocabulary
    rotary = {"rope_type": "default", "rope_theta": shape.rotary_theta}
    return {
        "architectures": [architecture.class_name],
        "model_type": "modernbert-decoder" if architecture.is_causal else "modernbert",
        "dtype": "float32",
        "vocab_size": len(run.encoder.token_table),
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.mlp_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "max_position_embeddings": shape.max_length,
        "layer_types": ["full_attention"] * shape.num_layers,
        "global_attn_every_n_layers": 1,
        "local_attention": 2 * shape.max_length,
        "rope_parameters": {"full_attention": rotary, "sliding_attention": rotary},
        "global_rope_theta": shape.rotary_theta,
        "local_rope_theta": shape.rotary_theta,
        "norm_eps": NORM_EPSILON,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "hidden_activation": "gelu",
        "classifier_activation": "gelu",
        "tie_word_embeddings": True,
        "embedding_dropout": 0.0,
        "attention_dropout": 0.0,
        "mlp_dropout": 0.0,
        "classifier_dropout": 0.0,
        "pad_token_id": vocabulary.pad_id,
        "cls_token_id": vocabulary.cls_id,
        "sep_token_id": vocabulary.sep_id,
        "bos_token_id": vocabulary.cls_id,
        "eos_token_id": vocabulary.sep_id,
        "mask_token_id": vocabulary.mask_id,
    }


def generation_config(run: Run) -> dict[str, Any]:
    """The contents of `generation_config.json`: no special token is generated, as in `fill`."""
    vocabulary = run.tokenizer.vocabulary
    return {
        "bos_token_id": vocabulary.cls_id,
        "eos_token_id": vocabulary.sep_id,
        "pad_token_id": vocabulary.pad_id,
        "suppress_tokens": list(vocabulary.special_ids),
    }


def model_tensors(run: Run, architecture: Architecture) -> dict[str, Tensor]:
    """The weights by their names in `transformers`; the tied output embedding is left out."""
    prefix = "model." if architecture.has_head else ""
    tensors: dict[str, Tensor] = {}
    for name, tensor in run.encoder.state_dict().items():
        if architecture.is_causal and name.endswith(".Wqkv.weight"):
            stem = name.removesuffix("Wqkv.weight")
            for part, weights in zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3), strict=True):
                tensors[f"{prefix}{stem}{part}.weight"] = weights
        else:
            tensors[prefix + name] = tensor
    if architecture.has_head:
        head, state = "lm_head" if architecture.is_causal else "head", run.head.state_dict()
        for name in ("dense.weight", "norm.weight"):
            tensors[f"{head}.{name}"] = state[name]
        tensors["decoder.bias"] = state["bias"]
    return tensors
