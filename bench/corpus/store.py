"""Tokens on disk, memory-mapped: what the loop reads rows from.

A store is the packed stream of a corpus (each document ended by [SEP]) with a byte of flags beside
each token, because the fast encoders drop word ids and nobody can find words in tokens afterwards.
It is built in one streaming pass and never changed. On opening, everything up to 1 GB is hashed
against its manifest (about a second a GB); above that sizes alone are compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bench.corpus.tokenizer import Encoded, Vocabulary, sentence_starts
from bench.errors import RefusedError
from bench.storage import verify_manifest, write_manifest

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

WORD_START, SENTENCE_START, SPECIAL = 1, 2, 4
"""Bits of a token's flags. Only ordinary tokens begin words and sentences."""

_FILES = ("tokens.bin", "flags.bin", "documents.bin", "counts.bin")
_HASHED_BYTES = 1_000_000_000
_PIECE_TOKENS = 1 << 19


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the stream, each begun by [CLS]. B rows, L positions."""

    tokens: Int64[np.ndarray, "B L"]
    real: Bool[np.ndarray, "B L"]
    """An ordinary token: neither padding nor special."""
    word_start: Bool[np.ndarray, "B L"]
    """True too at a row's first ordinary token, where the row begins amid a word."""
    sentence_start: Bool[np.ndarray, "B L"]
    attention_mask: Bool[np.ndarray, "B L"] | None
    """Where a token stands, special ones too; None when no row is padded."""


@dataclasses.dataclass(frozen=True, eq=False)
class TokenStore:
    """A stream of tokens on disk. V entries in the vocabulary."""

    tokens: np.ndarray
    flags: np.ndarray
    documents: Int64[np.ndarray, " documents+1"]
    """Where each document begins in the stream, and at last where the stream ends."""
    counts: Int64[np.ndarray, " V"]
    """How often each token occurs, special ones too."""

    @classmethod
    def open(cls, path: Path) -> TokenStore:
        """Map a store and verify it.

        Raises:
            RefusedError: A file is missing or was changed, or holds an id beyond the vocabulary.
        """
        manifest = verify_manifest(path, _HASHED_BYTES)
        try:
            sizes = {name: manifest["files"][name]["bytes"] for name in _FILES}
            dtype = np.dtype({2: "<u2", 4: "<u4"}[manifest["token_bytes"]])
            num_tokens, num_documents = manifest["tokens"], manifest["documents"]
            vocabulary_size = manifest["vocabulary"]
            lengths = (num_tokens, num_tokens, num_documents + 1, vocabulary_size)
            widths = (dtype.itemsize, 1, 8, 8)
            expected = [length * width for length, width in zip(lengths, widths, strict=True)]
        except (KeyError, TypeError):
            raise RefusedError(f"{path} is not a token store (by its manifest)") from None
        if list(sizes.values()) != expected or num_tokens < 1:
            raise RefusedError(
                f"{path}: manifest.json promises {num_tokens} tokens and {vocabulary_size} "
                f"entries, which is not what its files hold: {sizes}"
            )
        tokens = np.memmap(path / "tokens.bin", dtype=dtype, mode="r")
        if sum(sizes.values()) <= _HASHED_BYTES:
            _refuse_beyond(tokens, vocabulary_size, path / "tokens.bin")
        return cls(
            tokens=tokens,
            flags=np.memmap(path / "flags.bin", dtype=np.uint8, mode="r"),
            documents=np.memmap(path / "documents.bin", dtype="<i8", mode="r"),
            counts=np.fromfile(path / "counts.bin", dtype="<i8"),
        )

    @property
    def num_tokens(self) -> int:
        """Tokens of the stream, the [SEP] after each document included."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """Documents of the stream."""
        return len(self.documents) - 1

    @property
    def vocabulary_size(self) -> int:
        """V of the tokenizer that made it."""
        return len(self.counts)

    def num_rows(self, length: int, include_partial: bool = False) -> int:
        """How many rows of `length` positions the stream gives.

        Args:
            length: Positions of a row, the leading [CLS] included.
            include_partial: Count a last, padded row too. A stream shorter than one row always
                gives one.
        """
        full, rest = divmod(self.num_tokens, length - 1)
        return full + 1 if rest and (include_partial or not full) else full

    def rows(self, row_ids: Int64[np.ndarray, " B"], length: int, cls_id: int, pad_id: int) -> Rows:
        """Rows by number: row r is [CLS] and the tokens r * (length - 1) onwards.

        Raises:
            IndexError: A row beyond the stream.
        """
        row_ids = np.asarray(row_ids, dtype=np.int64)
        if row_ids.size and not 0 <= row_ids.min() <= row_ids.max() < self.num_rows(length, True):
            raise IndexError(f"rows {row_ids.min()}..{row_ids.max()} of {self.num_rows(length)}")
        places = row_ids[:, None] * (length - 1) + np.arange(length - 1)
        is_padded = bool(row_ids.size) and bool(places[:, -1].max() >= self.num_tokens)
        inside = places < self.num_tokens if is_padded else np.ones(places.shape, dtype=bool)
        places = np.minimum(places, self.num_tokens - 1)
        flags = np.where(inside, self.flags[places], SPECIAL)
        body = np.where(inside, self.tokens[places].astype(np.int64), pad_id)
        real = (flags & SPECIAL) == 0
        word_start = (flags & WORD_START) != 0
        word_start[:, :1] |= real[:, :1]
        sentence_start = (flags & SENTENCE_START) != 0
        return Rows(
            tokens=_prepend(body, cls_id),
            real=_prepend(real, False),
            word_start=_prepend(word_start, False),
            sentence_start=_prepend(sentence_start, False),
            attention_mask=_prepend(inside, True) if is_padded else None,
        )


class StoreWriter:
    """Builds a store in a folder, document by document, in bounded memory.

    Args:
        folder: An existing folder; the manifest that makes it a store is written by `close`.
        vocabulary: Of the tokenizer that encodes the documents.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self.folder = folder
        self.vocabulary = vocabulary
        self.num_tokens = 0
        self.num_documents = 0
        self._dtype = np.dtype("<u2" if vocabulary.size <= 1 << 16 else "<u4")
        self._is_special = np.zeros(vocabulary.size, dtype=bool)
        self._is_special[list(vocabulary.special_ids)] = True
        self._counts = np.zeros(vocabulary.size, dtype=np.int64)
        self._pending: list[tuple[str, Encoded]] = []
        self._num_pending = 0
        self._open_files = contextlib.ExitStack()
        self._tokens, self._flags, self._documents = (
            self._open_files.enter_context((folder / name).open("wb")) for name in _FILES[:3]
        )
        _write(self._documents, np.zeros(1, dtype="<i8"))

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._open_files.close()

    def add(self, text: str, encoded: Encoded) -> None:
        """Append a document and its [SEP]; one without tokens is left out."""
        if not len(encoded.ids):
            return
        self._pending.append((text, encoded))
        self.num_documents += 1
        self.num_tokens += len(encoded.ids) + 1
        self._num_pending += len(encoded.ids) + 1
        if self._num_pending >= _PIECE_TOKENS:
            self._flush()

    def close(self, **facts: Any) -> None:
        """Write what is left, and the manifest with some facts beside its own."""
        self._flush()
        with (self.folder / "counts.bin").open("wb") as file:
            _write(file, self._counts.astype("<i8"))
        self._open_files.close()
        write_manifest(
            self.folder,
            _FILES,
            **facts,
            tokens=self.num_tokens,
            documents=self.num_documents,
            vocabulary=self.vocabulary.size,
            token_bytes=self._dtype.itemsize,
        )

    def _flush(self) -> None:
        """Write the pending documents, all in one sweep: a sweep a document costs ten times it."""
        if not self._pending:
            return
        bounds = np.cumsum([len(encoded.ids) + 1 for _, encoded in self._pending])
        is_text = np.ones(self._num_pending, dtype=bool)
        is_text[bounds - 1] = False
        ids = np.full(self._num_pending, self.vocabulary.sep_id, dtype=np.uint32)
        ids[is_text] = np.concatenate([encoded.ids for _, encoded in self._pending])
        special = self._is_special[ids]
        starts = np.zeros(self._num_pending, dtype=bool)
        starts[is_text] = np.concatenate([encoded.word_start for _, encoded in self._pending])
        starts[0] = True
        starts[1:] |= special[:-1]  # after an unknown character as after [SEP]: a word of its own
        flags = np.where(special, SPECIAL, np.where(starts, WORD_START, 0)).astype(np.uint8)
        sentences = np.flatnonzero(is_text)[self._sentences()]
        ordinary = np.flatnonzero(~special)  # begun by an unknown character: the token after it
        after = np.searchsorted(ordinary, sentences)
        flags[ordinary[after[after < len(ordinary)]]] |= SENTENCE_START
        self._counts += np.bincount(ids, minlength=self.vocabulary.size)
        _write(self._tokens, ids.astype(self._dtype))
        _write(self._flags, flags)
        _write(self._documents, bounds.astype("<i8") + (self.num_tokens - self._num_pending))
        self._pending.clear()
        self._num_pending = 0

    def _sentences(self) -> np.ndarray:
        """Which of the pending text tokens begin sentences: the first to end beyond the start."""
        ends, starts, base = [], [], 0
        for text, encoded in self._pending:
            ends.append(encoded.ends + np.int64(base))
            starts += [base + start for start in sentence_starts(text)]
            base += len(text)
        found = np.searchsorted(np.concatenate(ends), starts, side="right")
        return found[found < sum(map(len, ends))]


def _write(file: BinaryIO, values: np.ndarray) -> None:
    """`ndarray.tofile` hides errno on a full disk; a file's own write does not."""
    file.write(np.ascontiguousarray(values).data)


def _prepend(values: np.ndarray, first: int | bool) -> np.ndarray:
    return np.insert(values, 0, first, axis=1)


def _refuse_beyond(tokens: np.ndarray, vocabulary_size: int, path: Path) -> None:
    for low in range(0, len(tokens), _PIECE_TOKENS):
        highest = int(tokens[low : low + _PIECE_TOKENS].max())
        if highest >= vocabulary_size:
            raise RefusedError(
                f"{path} holds the token {highest}, but the vocabulary ends at "
                f"{vocabulary_size - 1}; remove {path.parent} and repeat the command"
            )
