"""Small random models of transformers, saved as a user would have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = [f"{a}{b}" for a in ("the", "old", "red", "gate", "wall") for b in "abcdefgh"]
SPECIAL = {
    "plain": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
_SHAPE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
_BERT = _SHAPE | {"intermediate_size": 42, "max_position_embeddings": 32}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _BERT),
    "roberta": ("Roberta", _BERT | {"pad_token_id": 1}),
    "xlm_roberta": ("XLMRoberta", _BERT | {"pad_token_id": 1}),
    "electra": ("Electra", _BERT | {"embedding_size": 24}),
    "electra_small": ("Electra", _BERT | {"embedding_size": 16}),
    "deberta_v2": (
        "DebertaV2",
        _BERT
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
        | {"position_biased_input": False, "norm_rel_ebd": "layer_norm", "share_att_key": True},
    ),
    "modernbert": (
        "ModernBert",
        _BERT | {"local_attention": 8, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
    ),
}
"""Name -> prefix of the classes in transformers, and the configuration."""
PADDED_ROWS = 3
"""Rows of the token table that no token has."""


def write_tokenizer(folder: Path, special: tuple[str, ...]) -> int:
    """Write a tokenizer.json of whole words; returns the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    unknown = next(token for token in special if "unk" in token.lower())
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


def saved_model(family: str, parent: Path, seed: int = 0) -> tuple[Any, Path]:
    """A random masked language model in evaluation mode, and the folder it was saved to."""
    import transformers

    prefix, settings = FAMILIES[family]
    folder = parent / f"{family}_{seed}"
    folder.mkdir()
    size = write_tokenizer(folder, SPECIAL["roberta" if "Rob" in prefix else "plain"])
    config = getattr(transformers, f"{prefix}Config")(vocab_size=size + PADDED_ROWS, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{prefix}ForMaskedLM")(config).eval()
        for parameter in model.parameters():  # larger than at initialisation, so that leaks show
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    json.loads((folder / "config.json").read_text())
    return model, folder
