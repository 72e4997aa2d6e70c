"""The tokenizer of an export: it adds [CLS] and [SEP] as bench's reader does.

bench keeps a `tokenizer.json` that adds nothing, and builds rows itself. The export has a template
that builds the same rows. Where tokens include the space before them, [MASK] takes that space in,
as in `bench fill`: a token for the space alone would tell the model which words do not follow.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.probing.reader.filling import tokens_include_spaces

if TYPE_CHECKING:
    from bench.corpus.tokenizer import TextTokenizer

ROLES = ("pad", "unk", "cls", "sep", "mask")


def tokenizer_json(tokenizer: TextTokenizer, is_causal: bool) -> dict[str, Any]:
    """The contents of `tokenizer.json`.

    Args:
        tokenizer: The run's own.
        is_causal: No [SEP] ends a text, because the text may be continued.
    """
    data: dict[str, Any] = json.loads(tokenizer.json)
    spelling = _spellings(data, tokenizer)
    for token in data["added_tokens"]:
        if token["content"] == spelling["mask"]:
            token["lstrip"] = tokens_include_spaces(tokenizer)
    start, end = ({"SpecialToken": {"id": spelling[role], "type_id": 0}} for role in ("cls", "sep"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    ends = [] if is_causal else [end]
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, first, *ends],
        "pair": [start, first, end, second, *ends],
        "special_tokens": {
            spelling[role]: {
                "id": spelling[role],
                "ids": [getattr(tokenizer.vocabulary, f"{role}_id")],
                "tokens": [spelling[role]],
            }
            for role in ("cls", "sep")
        },
    }
    return data


def tokenizer_config(tokenizer: TextTokenizer, max_length: int, is_causal: bool) -> dict[str, Any]:
    """The contents of `tokenizer_config.json`.

    Args:
        tokenizer: The run's own.
        max_length: Positions of a row.
        is_causal: A text begins with [CLS] as its first token, and [SEP] ends it.
    """
    data = tokenizer_json(tokenizer, is_causal)
    spelling = _spellings(data, tokenizer)
    mask = next(token for token in data["added_tokens"] if token["content"] == spelling["mask"])
    flags = {key: value for key, value in mask.items() if key != "id"}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        **{f"{role}_token": spelling[role] for role in ROLES},
        "mask_token": {"__type": "AddedToken", **flags},
        **({"bos_token": spelling["cls"], "eos_token": spelling["sep"]} if is_causal else {}),
    }


def _spellings(data: dict[str, Any], tokenizer: TextTokenizer) -> dict[str, str]:
    """The spelling of the token in each role."""
    content = {token["id"]: str(token["content"]) for token in data["added_tokens"]}
    return {role: content[getattr(tokenizer.vocabulary, f"{role}_id")] for role in ROLES}
