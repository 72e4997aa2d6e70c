"""The families of encoders in transformers that bench can continue, and how each one runs.

The layers are called one by one, with a mask of bench's own, because the models of transformers
know no causal or prefix pattern. Under full attention the hidden states equal theirs exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.pretraining.encoder import Mask

TESTED_VERSION = (5, 24)
"""The first version of transformers whose layers are called as below."""


@dataclasses.dataclass(frozen=True)
class Family:
    """One architecture of transformers."""

    class_name: str
    """Its masked language model."""
    states: Callable[[Any, Tensor, Mask], list[Tensor]]
    """(model, output of the embeddings [B L D], mask) -> that output, and those of all layers."""
    head_parts: Callable[[Any], tuple[Any, Any, Any, Tensor]]
    """(masked language model) -> dense layer, activation, norm and bias of its token head."""
    head_weight: str
    """A weight that a checkpoint has if and only if it has a token head."""
    dropped: str = "output.dense"
    """The end of the names of the modules whose outputs are dropped in training."""
    reserved_positions: Callable[[Any], int] = lambda config: 0
    """The number of positions of the table that no text uses."""
    is_gated: bool = False
    relative_flops: Callable[[Any, int, int], float] = lambda config, rows, length: 0.0
    """(config, rows, length) -> forward FLOPs of relative positions in one layer."""


def mask_of(x: Tensor, mask: Mask) -> Tensor | None:
    """The mask as a tensor of booleans, [B or 1, 1, L or 1, L]; None if everything is visible."""
    if not mask.is_causal:
        return mask.allowed
    length = x.shape[1]
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=x.device).tril()


def _post_norm_states(model: Any, x: Tensor, mask: Mask) -> list[Tensor]:
    """BERT, RoBERTa, XLM-R and ELECTRA."""
    states, allowed = [x], mask_of(x, mask)
    for layer in model.encoder.layer:
        states.append(layer(states[-1], allowed))
    return states


def _deberta_states(model: Any, x: Tensor, mask: Mask) -> list[Tensor]:
    """DeBERTa v2 and v3; its own forward pass would apply the mask to the embeddings, too."""
    allowed = mask_of(x, mask)
    if allowed is None:
        allowed = torch.ones(1, 1, 1, x.shape[1], dtype=torch.bool, device=x.device)
    relative = {
        "relative_pos": model.encoder.get_rel_pos(x),
        "rel_embeddings": model.encoder.get_rel_embedding(),
    }
    states = [x]
    for layer in model.encoder.layer:
        states.append(layer(states[-1], allowed, **relative)[0])
    return states


def _modernbert_states(model: Any, x: Tensor, mask: Mask) -> list[Tensor]:
    """ModernBERT: two thirds of its layers see only a window around each token."""
    allowed, at = mask_of(x, mask), torch.arange(x.shape[1], device=x.device)
    distance = (at[:, None] - at[None, :]).abs()
    window = (distance <= model.config.sliding_window)[None, None]
    # A padded position sees at least itself: attention to nothing would be NaN.
    local = window if allowed is None else (window & allowed) | (distance == 0)
    is_whole = x.shape[1] <= model.config.sliding_window + 1
    masks = {"full_attention": allowed, "sliding_attention": allowed if is_whole else local}
    kinds = dict.fromkeys(layer.attention_type for layer in model.layers)
    rotary = {kind: model.rotary_emb(x, at[None], kind) for kind in kinds}
    states = [x]
    for layer in model.layers:
        kind = layer.attention_type
        x = layer(states[-1], attention_mask=masks[kind], position_embeddings=rotary[kind])
        states.append(x)
    states[-1] = model.final_norm(states[-1])
    return states


def _deberta_relative_flops(config: Any, rows: int, length: int) -> float:
    """Scores of content against positions, and the projections of the positions, once a batch."""
    if not config.relative_attention:
        return 0.0
    span = getattr(config, "position_buckets", -1)
    if span < 1:
        span = config.max_relative_positions
    if span < 1:
        span = config.max_position_embeddings
    width, kinds = config.hidden_size, len(set(config.pos_att_type or ()) & {"c2p", "p2c"})
    num_projected = 2 * span
    return float(kinds * 2 * num_projected * width * (width + rows * length))


def _bert_head(model: Any) -> tuple[Any, Any, Any, Tensor]:
    predictions = model.cls.predictions
    transform = predictions.transform
    return transform.dense, transform.transform_act_fn, transform.LayerNorm, predictions.bias


def _roberta_head(model: Any) -> tuple[Any, Any, Any, Tensor]:
    head = model.lm_head
    return head.dense, torch.nn.functional.gelu, head.layer_norm, head.bias


def _electra_head(model: Any) -> tuple[Any, Any, Any, Tensor]:
    head = model.generator_predictions
    return head.dense, head.activation, head.LayerNorm, model.generator_lm_head.bias


def _deberta_head(model: Any) -> tuple[Any, Any, Any, Tensor]:
    if model.legacy:
        return _bert_head(model)
    head = model.lm_predictions.lm_head
    return head.dense, head.transform_act_fn, head.LayerNorm, head.bias


def _modernbert_head(model: Any) -> tuple[Any, Any, Any, Tensor]:
    return model.head.dense, model.head.act, model.head.norm, model.decoder.bias


_BERT_WEIGHT = "cls.predictions.transform.dense.weight"


def _roberta(class_name: str) -> Family:
    return Family(
        class_name,
        _post_norm_states,
        _roberta_head,
        "lm_head.dense.weight",
        reserved_positions=lambda config: int(config.pad_token_id or 0) + 1,  # they follow padding
    )


FAMILIES = {
    "bert": Family("BertForMaskedLM", _post_norm_states, _bert_head, _BERT_WEIGHT),
    "roberta": _roberta("RobertaForMaskedLM"),
    "xlm-roberta": _roberta("XLMRobertaForMaskedLM"),
    "electra": Family(
        "ElectraForMaskedLM",
        _post_norm_states,
        _electra_head,
        "generator_predictions.dense.weight",
    ),
    "deberta-v2": Family(
        "DebertaV2ForMaskedLM",
        _deberta_states,
        _deberta_head,
        _BERT_WEIGHT,
        relative_flops=_deberta_relative_flops,
    ),
    "modernbert": Family(
        "ModernBertForMaskedLM",
        _modernbert_states,
        _modernbert_head,
        "head.dense.weight",
        dropped=".Wo",
        is_gated=True,
    ),
}
"""By the `model_type` of config.json."""


def family_named(model_type: Any, origin: str) -> Family:
    """The family of a `model_type`.

    Raises:
        BenchError: Bench cannot continue this architecture.
    """
    if model_type not in FAMILIES:
        raise BenchError(
            f"{origin} has the architecture {model_type!r}; bench can continue "
            f"{', '.join(FAMILIES)} (code that comes with a checkpoint is never run)"
        )
    return FAMILIES[model_type]


def masked_model_class(family: Family) -> Any:
    """The class of a family's masked language model.

    Raises:
        BenchError: transformers is missing or too old.
    """
    way_out = "pip install 'objective-bench[hf]'"
    try:
        import transformers
    except ImportError:
        raise BenchError(f"checkpoints need the package transformers: {way_out}") from None
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if version < TESTED_VERSION:
        needed = ".".join(map(str, TESTED_VERSION))
        raise BenchError(
            f"checkpoints need transformers {needed} or later, and this one is "
            f"{transformers.__version__}: {way_out}"
        )
    return getattr(transformers, family.class_name)


def base_model(model: Any) -> nn.Module:
    """The encoder of a masked language model."""
    base: nn.Module = getattr(model, model.base_model_prefix)
    return base
