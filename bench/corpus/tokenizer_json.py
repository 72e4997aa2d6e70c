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
    "pad": ("[PAD]", "<pad>", "<|padding|>", "<|pad|>", "<|endofpad|>", "<PAD>", "[pad]"),
    "unk": ("[UNK]", "<unk>", "<|unk|>", "<UNK>", "[unk]", "<|unknown|>", "<unknown>", "<oov>"),
    "cls": (
        *("[CLS]", "<s>", "<bos>", "<|startoftext|>", "<|begin_of_text|>", "<|endoftext|>"),
        *("<cls>", "<CLS>", "[BOS]", "[bos]", "<|bos|>", "<|cls|>", "[cls]", "<sos>"),
    ),
    "sep": (
        *("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
        *("<sep>", "<SEP>", "[EOS]", "[eos]", "<|eos|>", "<|sep|>", "[sep]", "<EOS>"),
    ),
    "mask": ("[MASK]", "<mask>", "<|mask|>", "<MASK>", "[mask]", "[M]"),
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
    own = _own_spellings(data, ids)
    _set_unknown(data, own["unk"], ids, origin)
    next_id = max(next_id, ids.get(own["unk"], -1) + 1)
    for content in own.values():
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


def _is_unigram(model: dict[str, Any]) -> bool:
    return not isinstance(model["vocab"], dict)


def _own_spellings(data: dict[str, Any], ids: dict[str, int]) -> dict[str, str]:
    """How the tokenizer spells each role: as it says itself, as usual, or in our own spelling."""
    model, processor = data["model"], data.get("post_processor") or {}
    says: dict[str, Any] = {"unk": model.get("unk_token")}
    if _is_unigram(model) and model.get("unk_id") is not None:
        says["unk"] = model["vocab"][model["unk_id"]][0]
    special = [token["content"] for token in data["added_tokens"] if token.get("special")]
    spellings = {}
    for role, usual in ROLES.items():
        pair = processor.get(role)  # ["[CLS]", 101] in the processors of BERT and RoBERTa
        hints: list[str] = [says[role]] if says.get(role) in ids else []
        hints += [spelling for spelling in usual if spelling in ids]
        hints += [pair[0]] if isinstance(pair, list) and pair[0] in ids else []
        hints += [content for content in special if role in content.lower()]
        spellings[role] = hints[0] if hints else usual[0]
    return spellings


def _set_unknown(data: dict[str, Any], content: str, ids: dict[str, int], origin: str) -> None:
    """Make the model write unknown text as its unknown token.

    Models without one raise an error in the middle of a text (WordPiece, WordLevel, Unigram), or
    leave the text out in silence (BPE).
    """
    model = data["model"]
    vocabulary, is_unigram = model["vocab"], _is_unigram(model)
    tokens = [token[0] for token in vocabulary] if is_unigram else vocabulary
    has_unknown = (
        model.get("unk_id") is not None if is_unigram else model.get("unk_token") in tokens
    )
    if has_unknown or (not is_unigram and _knows_all_bytes(data)):
        return
    if content not in tokens:
        end = len(vocabulary)
        if ids.setdefault(content, max(ids.values(), default=-1) + 1) != end:
            if model.get("type") == "BPE":  # what it drops is counted
                return
            raise RefusedError(
                f"{origin} has no unknown token, and no place for one because tokens were added "
                "behind its vocabulary; add <unk> to the vocabulary of the model"
            )
        if is_unigram:
            vocabulary.append([content, 0.0])
        else:
            vocabulary[content] = end
    if is_unigram:
        model["unk_id"] = [token[0] for token in vocabulary].index(content)
    else:
        model["unk_token"] = content


def _knows_all_bytes(data: dict[str, Any]) -> bool:
    """Whether nothing is unknown: the vocabulary has a token for each byte."""
    model, steps = data["model"], json.dumps([data.get("pre_tokenizer"), data.get("normalizer")])
    if model.get("byte_fallback"):
        return all(f"<0x{byte:02X}>" in model["vocab"] for byte in range(256))
    return '"ByteLevel"' in steps and all(letter in model["vocab"] for letter in _byte_letters())


def _byte_letters() -> list[str]:
    """The characters that stand for the 256 bytes in byte-level tokenizers (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(code) for code in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]
