"""One canonical form for any `tokenizer.json`.

The file is rewritten as JSON, before the tokenizers library reads it, so that the sha256 of a
tokenizer does not depend on the version of the library. A file of a stranger may ask for any amount
of memory (one id of 2^40 is a table of 2^40 tokens), so that its size, its depth and its ids are
checked first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bench.corpus.raw_files import open_regular, read_errors
from bench.errors import BenchError, RefusedError

LONGEST_BYTES = 128_000_000
"""Size of the largest file that is read; the largest published ones have about 40 MB."""
DEEPEST = 64
"""Levels of nested lists and objects in a file; published ones have fewer than 10."""
HIGHEST_ID = 4_000_000
"""The highest id of a token; the largest published vocabularies have about a million tokens."""
MOST_UNUSED = 100_000
"""The number of ids below the highest one that no token may have."""
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

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
    canonical, _ = canonical_form(read_payload(path), str(path))
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_payload(path: Path) -> bytes:
    """The bytes of a tokenizer file.

    Raises:
        BenchError: There is no such file, or it cannot be read.
        RefusedError: The file is larger than `LONGEST_BYTES`.
    """
    if not path.is_file():
        raise BenchError(f"no tokenizer file {path} (--tokenizer takes a tokenizer.json)")
    with read_errors(path), open_regular(path) as file:
        payload = file.read(LONGEST_BYTES + 1)
    _refuse_large(len(payload), str(path))
    return payload


def canonical_form(payload: bytes, origin: str) -> tuple[str, dict[str, str]]:
    """The canonical form, and how it spells each role.

    It is sorted JSON with all five roles, and without what adds or draws tokens. The canonical form
    of a canonical form is itself, with the same spellings.

    Raises:
        RefusedError: The payload is not a tokenizer in JSON, or it is beyond one of the limits.
    """
    _refuse_large(len(payload), origin)
    try:
        text = payload.decode(json.detect_encoding(payload)).removeprefix("\ufeff")
        _refuse_deep(text, origin)
        data = json.loads(text, parse_constant=_refuse_constant)
        spellings = _make_canonical(data, origin)
        canonical = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        canonical.encode()  # half of a surrogate pair cannot be written
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise RefusedError(
            f"{origin} is not a tokenizer in JSON form (got {payload[:12]!r}...); "
            f"--tokenizer takes the tokenizer.json that the tokenizers library saves"
        ) from None
    return canonical, spellings


def _make_canonical(data: dict[str, Any], origin: str) -> dict[str, str]:
    """Bring a tokenizer into the canonical form, and return how it spells each role."""
    model, added = data["model"], data.setdefault("added_tokens", [])
    vocabulary = model["vocab"]
    ids = dict(vocabulary) if isinstance(vocabulary, dict) else {
        str(token[0]): i for i, token in enumerate(vocabulary)
    }  # fmt: skip
    by_content = {token["content"]: token for token in added}
    ids |= {content: token["id"] for content, token in by_content.items()}
    _refuse_ids(ids, origin)
    next_id = max(ids.values(), default=-1) + 1
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
    return own


def _refuse_large(num_bytes: int, origin: str) -> None:
    if num_bytes > LONGEST_BYTES:
        raise RefusedError(
            f"{origin} is larger than {LONGEST_BYTES // 10**6} MB, the limit of a tokenizer; "
            "--tokenizer takes the tokenizer.json that the tokenizers library saves"
        )


def _refuse_deep(text: str, origin: str) -> None:
    """Count the open brackets at each place outside the strings, before anything is built."""
    brackets = re.sub(r"[^\[\]{}]+", "", _STRING.sub("", text)).encode("ascii")
    opens = np.isin(np.frombuffer(brackets, dtype=np.uint8), np.frombuffer(b"[{", dtype=np.uint8))
    deepest = int(np.where(opens, 1, -1).cumsum(dtype=np.int32).max(initial=0))
    if deepest > DEEPEST:
        raise RefusedError(
            f"{origin} has {deepest} levels of nested lists and objects, and a tokenizer may have "
            f"{DEEPEST}; --tokenizer takes the tokenizer.json that the tokenizers library saves"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no number {name}")


def _refuse_ids(ids: Mapping[str, Any], origin: str) -> None:
    """Refuse ids that are no whole numbers, or that would need a much larger table than tokens."""
    highest = len(ids) - 1
    for content, token_id in ids.items():
        if type(token_id) is not int or not 0 <= token_id <= HIGHEST_ID:
            raise RefusedError(
                f"{origin}: the id of the token {content[:40]!r} is {str(token_id)[:40]}, and it "
                f"must be a whole number from 0 to {HIGHEST_ID:,}; number the tokens from 0"
            )
        highest = max(highest, token_id)
    if highest + 1 - len(ids) > MOST_UNUSED:
        raise RefusedError(
            f"{origin}: the highest id is {highest:,}, but there are only {len(ids):,} tokens, and "
            f"at most {MOST_UNUSED:,} ids may have no token; number the tokens from 0"
        )


def _added_token(token_id: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": True, **flags}


def _is_unigram(model: dict[str, Any]) -> bool:
    return not isinstance(model["vocab"], dict)


def _own_spellings(data: dict[str, Any], ids: dict[str, int]) -> dict[str, str]:
    """How the tokenizer spells each role: as it says itself, as usual, or in our own spelling."""
    model = data["model"]
    says: dict[str, Any] = {"unk": model.get("unk_token")}
    if _is_unigram(model) and model.get("unk_id") is not None:
        says["unk"] = model["vocab"][model["unk_id"]][0]
    added = sorted(data["added_tokens"], key=lambda token: token["id"])
    special = [token["content"] for token in added if token.get("special")]
    spellings = {}
    for role, usual in ROLES.items():
        hints: list[str] = [says[role]] if says.get(role) in ids else []
        hints += [spelling for spelling in usual if spelling in ids]
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
