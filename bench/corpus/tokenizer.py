"""Text to token ids, with the two bitmaps the objectives live on: word starts, sentence starts.

Any `tokenizer.json` is accepted; it is brought into one form as JSON, before the library sees it,
so that the sha256 of a tokenizer does not depend on the library's version. Words are the
pre-tokenizer's, read off `Encoding.word_ids`: gaps between offsets, which others use, find no words
in byte-level tokens (a script written without spaces has the words its pre-tokenizer cuts).
Special tokens written out in a text ("[MASK]" in a web page) are read as ordinary text.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError, RefusedError
from bench.storage import write_atomic

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Int, Int32
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

ROLES = {
    "pad": ("[PAD]", "<pad>", "<|padding|>", "<|pad|>", "<|endofpad|>"),
    "unk": ("[UNK]", "<unk>", "<|unk|>"),
    "cls": ("[CLS]", "<s>", "<bos>", "<|startoftext|>", "<|begin_of_text|>", "<|endoftext|>"),
    "sep": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
"""The five roles an encoder needs and their usual spellings; the first is ours."""

_CHUNK_CHARACTERS = 1_000_000
_SENTENCE_END = re.compile(  # possessive (`++`): a million full stops must not take for ever
    r"(?<![.?!\u2026])[.?!\u2026]++[\"'\u201d\u2019\u00bb)\]]*+(?P<space>\s++)"
    r"|[\u3002\uff01\uff1f]++[\u300d\u300f\u201d\u2019\uff09]*+\s*+"  # full-width: no space needed
    r"|\n[^\S\n]*+\n\s*+"
)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What an objective knows about tokens: how many there are, and which are not text."""

    size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    special_ids: tuple[int, ...]
    """Sorted; never hidden, predicted or drawn. Ids that no token has are among them."""

    @property
    def num_ordinary(self) -> int:
        """How many tokens `draw_ordinary` chooses from."""
        return self.size - len(self.special_ids)

    def draw_ordinary(self, uniform: Float[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Turn draws from [0, 1) into ordinary tokens, each equally likely.

        In integers throughout: `uniform * n` in float32 rounds up to the next token now and then.
        """
        ids = ((uniform * 2**24).long() * self.num_ordinary) >> 24
        if self._num_leading:
            ids += self._num_leading
        if self._num_leading == len(self.special_ids):
            return ids
        import torch

        return ids + torch.searchsorted(_thresholds(self, uniform.device), ids, right=True)

    def is_special(self, tokens: Int[Tensor, "*s"]) -> Bool[Tensor, "*s"]:
        """Where a token is never hidden, predicted or drawn."""
        if self._num_leading == len(self.special_ids):
            return tokens < self._num_leading
        return _special_table(self, tokens.device)[tokens]

    @functools.cached_property
    def _num_leading(self) -> int:
        """How many special ids stand at the very beginning (all five, in our own tokenizers)."""
        return sum(1 for position, i in enumerate(self.special_ids) if position == i)


@functools.lru_cache(maxsize=16)
def _thresholds(vocabulary: Vocabulary, device: torch.device) -> Tensor:
    """For each special id beyond the leading ones: the draw from which on it must be jumped."""
    import torch

    lead = vocabulary._num_leading
    later = vocabulary.special_ids[lead:]
    return torch.tensor([special - i for i, special in enumerate(later)], device=device)


@functools.lru_cache(maxsize=16)
def _special_table(vocabulary: Vocabulary, device: torch.device) -> Tensor:
    import torch

    table = torch.zeros(vocabulary.size, dtype=torch.bool)
    table[list(vocabulary.special_ids)] = True
    return table.to(device)


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of one text, with nothing added before or after. N tokens."""

    ids: Int32[np.ndarray, " N"]
    word_start: np.ndarray
    """Bool: the token begins a word."""
    starts: Int32[np.ndarray, " N"]
    """First character of the token in the text; tokens of one character share it."""
    ends: Int32[np.ndarray, " N"]
    """One past its last character."""


class TextTokenizer:
    """A `tokenizer.json` made fit for an encoder: five roles, nothing random, nothing added.

    Args:
        payload: The contents of a `tokenizer.json`.
        origin: Where it came from, for messages.

    Raises:
        RefusedError: It is no tokenizer in JSON. A pickle is never loaded: no such path exists.
    """

    def __init__(self, payload: bytes, origin: str = "tokenizer.json") -> None:
        from tokenizers import Tokenizer

        self.json = _canonical(payload, origin)
        self.sha256 = hashlib.sha256(self.json.encode()).hexdigest()
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_str(self.json)
        except Exception as error:  # the library raises plain Exception
            raise RefusedError(f"{origin} is not a tokenizer.json ({error})") from None
        self._tokenizer.encode_special_tokens = True
        self.vocabulary = _vocabulary(self._tokenizer, origin)

    @classmethod
    def from_file(cls, path: Path) -> TextTokenizer:
        """Read a `tokenizer.json`.

        Raises:
            BenchError: There is no such file.
            RefusedError: It is no tokenizer in JSON.
        """
        return cls(_read(path), str(path))

    def save(self, path: Path) -> None:
        """Write the canonical form; its sha256 is `self.sha256`."""
        write_atomic(path, self.json.encode())

    def encode(self, texts: Sequence[str], parse_special: bool = False) -> list[Encoded]:
        """Tokens of each text; no [CLS] or [SEP] is added.

        Args:
            texts: Any strings.
            parse_special: Read "[MASK]" in a text as the mask (for what a person types).
        """
        return [encoded for _, encoded in self.stream(texts, parse_special)]

    def stream(
        self, texts: Iterable[str], parse_special: bool = False
    ) -> Iterator[tuple[str, Encoded]]:
        """Each text with its tokens; about a million characters at a time, on all cores."""
        for chunk in _chunks(texts):
            self._tokenizer.encode_special_tokens = not parse_special
            encodings = self._tokenizer.encode_batch(chunk, add_special_tokens=False)
            self._tokenizer.encode_special_tokens = True
            yield from zip(chunk, _encoded(chunk, encodings), strict=True)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of some tokens, special ones included."""
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False))

    def token(self, token_id: int) -> str:
        """One token as a person can read it."""
        return self.decode([token_id])


def tokenizer_sha256(path: Path) -> str:
    """The `sha256` that `TextTokenizer` would have, without making one.

    Raises:
        BenchError: There is no such file.
        RefusedError: It is no tokenizer in JSON.
    """
    return hashlib.sha256(_canonical(_read(path), str(path)).encode()).hexdigest()


def sentence_starts(text: str) -> list[int]:
    """Characters at which a sentence begins, in order; the first one of the text included.

    After . ? ! (and closing quotes), white space and then no lower-case letter; after a full-width
    stop; after an empty line. A title ("Dr. Who") is taken for an end: rare, and no model needed.
    """
    first = len(text) - len(text.lstrip())
    starts = [first] if first < len(text) else []
    for match in _SENTENCE_END.finditer(text, first):
        end, space = match.end(), match["space"] or "\n\n"
        if end < len(text) and (space.count("\n") > 1 or not text[end].islower()):
            starts.append(end)
    return starts


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise BenchError(f"no tokenizer file {path} (--tokenizer takes a tokenizer.json)")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchError(f"tokenizer file {path} cannot be read ({error.strerror})") from None


def _canonical(payload: bytes, origin: str) -> str:
    """One spelling for one tokenizer, as sorted JSON: roles present, nothing random or added."""
    try:
        data: Any = json.loads(payload)
        model, added = data["model"], data.setdefault("added_tokens", [])
        entries = model["vocab"]
        ids = dict(entries) if isinstance(entries, dict) else {
            str(entry[0]): i for i, entry in enumerate(entries)
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
        model["dropout"] = None  # BPE dropout would draw from a generator of its own
    added.sort(key=lambda token: token["id"])
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _added_token(token_id: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": True, **flags}


def _vocabulary(tokenizer: Tokenizer, origin: str) -> Vocabulary:
    ids = tokenizer.get_vocab(with_added_tokens=True)
    taken = set(ids.values())
    if len(taken) < len(ids):
        raise RefusedError(f"{origin}: two tokens share one id, so texts cannot be told apart")
    size = max(taken) + 1
    roles = {
        f"{role}_id": next(ids[spelling] for spelling in spellings if spelling in ids)
        for role, spellings in ROLES.items()
    }
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    special.update(roles.values(), (i for i in range(size) if i not in taken))
    if len(special) == size:
        raise RefusedError(f"{origin} has no ordinary tokens, only {size} special ones")
    return Vocabulary(size=size, special_ids=tuple(sorted(special)), **roles)


def _encoded(texts: Sequence[str], encodings: Sequence[Encoding]) -> Iterator[Encoded]:
    """The library's lists as arrays, and where words begin; all texts in one sweep.

    A token begins a word if the pre-tokenizer says so, or if white space stands at its beginning
    or was dropped right before it (tokenizers that do not cut at white space beforehand). A token
    that begins inside the character of the one before it is the rest of that character.
    """
    flat = itertools.chain.from_iterable
    bounds = np.cumsum([0, *(len(encoding) for encoding in encodings)])
    total = int(bounds[-1])
    ids = np.fromiter(flat(e.ids for e in encodings), dtype=np.int32, count=total)
    pairs = np.fromiter(flat(flat(e.offsets for e in encodings)), np.int32, 2 * total)
    starts, ends = pairs[::2].copy(), pairs[1::2].copy()
    words = np.array([*flat(e.word_ids for e in encodings)], dtype=np.float64)  # None: NaN
    first = bounds[:-1][bounds[:-1] < bounds[1:]]
    is_start = np.append(True, words[1:] != words[:-1])[:total]
    is_start[first] = True
    ends_before = np.append(0, ends)[:total]
    blank = _is_blank("\0".join(["", *texts, ""]))
    lengths = [len(text) + 1 for text in texts]
    here = starts + np.repeat(np.cumsum([1, *lengths])[:-1], np.diff(bounds))
    is_start |= (starts >= ends_before) & (blank[here] | ((starts > ends_before) & blank[here - 1]))
    for low, high in itertools.pairwise(bounds):
        # Copies: a view would keep the arrays of all texts alive for as long as one is wanted.
        yield Encoded(*(part[low:high].copy() for part in (ids, is_start, starts, ends)))


def _is_blank(text: str) -> np.ndarray:
    """Which characters are white space."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    return _BLANKS[np.minimum(codes, len(_BLANKS) - 1)]


_BLANKS = np.array([chr(code).isspace() for code in range(0x3002)])  # U+3000 is the last one


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists of about a million characters."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= _CHUNK_CHARACTERS or len(chunk) >= 4096:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
