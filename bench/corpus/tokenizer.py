"""Text to token ids, with the start of each word (see `bench.corpus.encoding`).

Any `tokenizer.json` is accepted and brought into one form (see `bench.corpus.tokenizer_json`).
Special tokens that are spelled out in a text ("[MASK]" in a web page) are read as ordinary text.
Models that have such a spelling among their pieces (Unigram, WordLevel) would read it as one token;
the text is then cut inside the spelling and both parts are read alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.corpus.encoding import EncodedText, join, to_arrays, token_lengths
from bench.corpus.tokenizer_json import canonical_form, read_payload
from bench.errors import RefusedError
from bench.machine import in_thread
from bench.storage import write_atomic

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Int
    from tokenizers import Tokenizer
    from torch import Tensor

_CHUNK_CHARACTERS = 1_000_000
_TRIAL = ["", "a\u2603 \U0001f600\ufffd[x] \u4e00"]
"""Text with characters that a small vocabulary lacks, to find a useless tokenizer at once."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tokens as objectives see them: their number, and which of them are not text."""

    size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    special_ids: tuple[int, ...]
    """Sorted; never hidden, predicted or drawn. They include ids that no token has."""

    @property
    def num_ordinary(self) -> int:
        """The number of tokens that `draw_ordinary` chooses from."""
        return self.size - len(self.special_ids)

    def draw_ordinary(self, uniform: Float[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Turn uniform draws from [0, 1) into ordinary tokens, each equally likely.

        Computed in integers, because `uniform * n` in float32 is sometimes rounded up to the next
        token.
        """
        ids = ((uniform * 2**24).long() * self.num_ordinary) >> 24
        if self._num_leading:
            ids += self._num_leading
        if self._num_leading == len(self.special_ids):
            return ids
        import torch

        return ids + torch.searchsorted(_thresholds(self, uniform.device), ids, right=True)

    def is_special(self, tokens: Int[Tensor, "*s"]) -> Bool[Tensor, "*s"]:
        """True at tokens that are never hidden, predicted or drawn."""
        if self._num_leading == len(self.special_ids):
            return tokens < self._num_leading
        return _special_table(self, tokens.device)[tokens]

    @functools.cached_property
    def _num_leading(self) -> int:
        """The number of special ids at the start of the vocabulary (five in bench's tokenizers)."""
        return sum(1 for position, i in enumerate(self.special_ids) if position == i)


@functools.lru_cache(maxsize=16)
def _thresholds(vocabulary: Vocabulary, device: torch.device) -> Tensor:
    """For each special id after the leading ones: the lowest draw that must be shifted past it."""
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


class TextTokenizer:
    """A `tokenizer.json` adapted to an encoder: it has five roles, and adds and draws nothing.

    Args:
        payload: The contents of a `tokenizer.json`.
        origin: Path or description of the file, for messages.

    Raises:
        RefusedError: The payload is not a tokenizer in JSON. Pickles are never loaded.
    """

    def __init__(self, payload: bytes, origin: str = "tokenizer.json") -> None:
        from tokenizers import Tokenizer

        self.json, spellings = canonical_form(payload, origin)
        self.sha256 = hashlib.sha256(self.json.encode()).hexdigest()
        with _library_errors(f"{origin} is not a tokenizer.json"):
            self._tokenizer: Tokenizer = Tokenizer.from_str(self.json)
        self._tokenizer.encode_special_tokens = True
        self._lengths = token_lengths(self.json)
        self._origin = origin
        self.vocabulary = _vocabulary(self._tokenizer, spellings, origin)
        self._encode(_TRIAL)

    @classmethod
    def from_file(cls, path: Path) -> TextTokenizer:
        """Read a `tokenizer.json`.

        Raises:
            BenchError: There is no such file.
            RefusedError: The file is not a tokenizer in JSON.
        """
        return cls(read_payload(path), str(path))

    @property
    def mask_spelling(self) -> str:
        """The mask token as this tokenizer spells it."""
        return str(self._tokenizer.id_to_token(self.vocabulary.mask_id))

    def save(self, path: Path) -> None:
        """Write the canonical form; its sha256 is `self.sha256`."""
        write_atomic(path, self.json.encode())

    def encode(self, texts: Sequence[str], parse_special: bool = False) -> list[EncodedText]:
        """Tokens of each text, without [CLS] or [SEP].

        Args:
            texts: Any strings.
            parse_special: Read "[MASK]" in a text as the mask token (for text typed by a user).
        """
        return [encoded for _, encoded in self.stream(texts, parse_special)]

    def stream(
        self, texts: Iterable[str], parse_special: bool = False
    ) -> Iterator[tuple[str, EncodedText]]:
        """Each text with its tokens; encodes about a million characters at a time, on all cores."""
        for chunk in _chunks(texts):
            for text, encoded in zip(chunk, self._encode(chunk, parse_special), strict=True):
                yield text, encoded if parse_special else self._as_text(text, encoded)

    def _encode(self, texts: list[str], parse_special: bool = False) -> Iterator[EncodedText]:
        """Encode texts as the library does.

        Raises:
            RefusedError: The tokenizer cannot encode a text.
        """
        self._tokenizer.encode_special_tokens = not parse_special
        try:
            with _library_errors(f"{self._origin} cannot encode text"):
                encodings = in_thread(
                    lambda _: self._tokenizer.encode_batch(texts, add_special_tokens=False)
                )
        finally:
            self._tokenizer.encode_special_tokens = True
        return to_arrays(texts, encodings, None if parse_special else self._lengths)

    def _as_text(self, text: str, encoded: EncodedText) -> EncodedText:
        """The text again without special tokens, if the model took a spelling for one."""
        places = np.flatnonzero(self._is_spelled[encoded.ids])
        if not len(places):
            return encoded
        middles = (encoded.starts[places] + encoded.ends[places] + 1) // 2
        bounds = sorted({0, len(text), *middles.tolist()})
        pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
        joined = join(list(self._encode(pieces)), bounds)
        left = self._is_spelled[joined.ids]  # a spelling of one character cannot be cut
        return dataclasses.replace(joined, ids=np.where(left, self.vocabulary.unk_id, joined.ids))

    @functools.cached_property
    def _is_spelled(self) -> np.ndarray:
        """True at the special tokens, without the unknown one, which stands for text."""
        is_spelled = np.zeros(self.vocabulary.size, dtype=bool)
        is_spelled[list(self.vocabulary.special_ids)] = True
        is_spelled[self.vocabulary.unk_id] = False
        return is_spelled

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens, special ones included."""
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False))

    def token(self, token_id: int) -> str:
        """One token in readable form."""
        return self.decode([token_id])


@contextlib.contextmanager
def _library_errors(message: str) -> Iterator[None]:
    """Turn an error of the tokenizers library into a `RefusedError`.

    The library raises plain `Exception`. Where its Rust code meets a case that it does not expect,
    it raises a `PanicException`, which is a `BaseException`.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise RefusedError(f"{message} ({error})") from None


def _vocabulary(tokenizer: Tokenizer, spellings: dict[str, str], origin: str) -> Vocabulary:
    ids = tokenizer.get_vocab(with_added_tokens=True)
    taken = set(ids.values())
    if len(taken) < len(ids):
        raise RefusedError(
            f"{origin}: two tokens have the same id, so the encoding of texts is ambiguous"
        )
    size = max(taken) + 1
    for role, spelling in spellings.items():
        if spelling not in ids:
            raise RefusedError(
                f"{origin}: the tokenizers library drops the {role} token {spelling!r}; give it "
                "another spelling"
            )
    roles = {f"{role}_id": ids[spelling] for role, spelling in spellings.items()}
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    special.update(roles.values(), (i for i in range(size) if i not in taken))
    if len(special) == size:
        raise RefusedError(f"{origin} has no ordinary tokens, only {size} special ones")
    return Vocabulary(size=size, special_ids=tuple(sorted(special)), **roles)


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
