"""One canonical form for any `tokenizer.json`.

The file is rewritten as JSON, before the tokenizers library reads it, so that the sha256 of a
tokenizer does not depend on the version of the library.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bench.errors import BenchError, RefusedError

ROLES = {
    "pad": ("[PAD]", "<pad>", "<|padding|>", "<|pad|>", "<|endofpad|>"),
    "unk": ("[UNK]", "<unk>", "<|unk|>"),
    "cls": ("[CLS]", "<s>", "<bos>", "<|startoftext|>", "<|begin_of_text|>", "<|endoftext|>"),
    "sep": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
"""The five roles that an encoder needs, and their usual spellings; bench writes the first one."""


def tokenizer_sha256(path: Path) -> str:
    """The `sha256` of a `TextTokenizer` from this file, without building the tokenizer.

    Raises:
        BenchError: There is no such file.
        RefusedError: The file is not a tokenizer in JSON.
    """
    return hashlib.sha256(canonical_payload(read_payload(path), str(path)).encode()).hexdigest()


def read_payload(path: Path) -> bytes:
    """The bytes of a tokenizer file.

    Raises:
        BenchError: There is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise BenchError(f"no tokenizer file {path} (--tokenizer takes a tokenizer.json)")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchError(f"tokenizer file {path} cannot be read ({error.strerror})") from None


def canonical_payload(payload: bytes, origin: str) -> str:
    """The canonical form: sorted JSON with all five roles, and without what adds or draws tokens.

    Raises:
        RefusedError: The payload is not a tokenizer in JSON.
    """
    try:
        data: Any = json.loads(payload)
        model, added = data["model"], data.setdefault("added_tokens", [])
        vocabulary = model["vocab"]
        ids = dict(vocabulary) if isinstance(vocabulary, dict) else {
            str(token[0]): i for i, token in enumerate(vocabulary)
        }  # fmt: skip
        by_content = {token["content"]: token for token in added}
        ids |= {content: int(token["id"]) for content, token in by_content.items()}
        next_id = max(ids.values(), default=-1) + 1
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise RefusedError(
            f"{origin} is not a tokenizer in JSON form (got {payload[:12]!r}...); "
            f"--tokenizer takes the tokenizer.json that the tokenizers library saves"
        ) from None
    for spellings in ROLES.values():
        content = next((spelling for spelling in spellings if spelling in ids), spellings[0])
        if content not in ids:
            ids[content], next_id = next_id, next_id + 1
        if content not in by_content:
            by_content[content] = _added_token(ids[content], content)
            added.append(by_content[content])
        by_content[content]["special"] = True
    data.update(truncation=None, padding=None, post_processor=None)
    if "dropout" in model:
        model["dropout"] = None  # BPE dropout draws from the library's random generator
    added.sort(key=lambda token: token["id"])
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _added_token(token_id: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": True, **flags}
