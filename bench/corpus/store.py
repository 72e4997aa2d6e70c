"""The token store: the tokens of a corpus on disk, memory-mapped, from which the loop reads rows.

A store is the packed stream of all documents, each followed by [SEP], with one byte of flags per
token: the fast methods of `tokenizers` drop word ids, and words cannot be recovered from tokens
afterwards. It is built in one streaming pass and never changed. When a store of up to 1 GB is
opened, its files are hashed and compared with the manifest (about one second per GB); for larger
ones only the sizes are compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bench.corpus.encoding import EncodedText
from bench.corpus.sentences import sentence_starts
from bench.corpus.tokenizer import Vocabulary
from bench.errors import RefusedError
from bench.storage import verify_manifest, write_manifest

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

WORD_START, SENTENCE_START, SPECIAL = 1, 2, 4
"""Bits of a token's flags. Only ordinary tokens start words and sentences."""

_FILES = ("tokens.bin", "flags.bin", "documents.bin", "counts.bin")
_HASHED_BYTES = 1_000_000_000
_PIECE_TOKENS = 1 << 19


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the stream, each starting with [CLS]. B rows, L positions."""

    tokens: Int64[np.ndarray, "B L"]
    real: Bool[np.ndarray, "B L"]
    """Ordinary tokens: neither padding nor special."""
    word_start: Bool[np.ndarray, "B L"]
    """Also true at the first ordinary token of a row that starts in the middle of a word."""
    sentence_start: Bool[np.ndarray, "B L"]
    attention_mask: Bool[np.ndarray, "B L"] | None
    """True at all tokens, special ones included, false at padding; None if no row is padded."""


@dataclasses.dataclass(frozen=True, eq=False)
class TokenStore:
    """A stream of tokens on disk. V is the vocabulary size."""

    tokens: np.ndarray
    flags: np.ndarray
    documents: Int64[np.ndarray, " documents+1"]
    """Position of each document's first token in the stream, and the length of the stream."""
    counts: Int64[np.ndarray, " V"]
    """How often each token occurs, special ones included."""

    @classmethod
    def open(cls, path: Path) -> TokenStore:
        """Memory-map a store and verify it.

        Raises:
            RefusedError: A file is missing or changed, or contains an id beyond the vocabulary.
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
            raise RefusedError(
                f"{path} is not a token store: its manifest does not describe one; remove the "
                f"folder and repeat the command"
            ) from None
        if list(sizes.values()) != expected or num_tokens < 1:
            raise RefusedError(
                f"{path} is a damaged token store: manifest.json says {num_tokens} tokens and a "
                f"vocabulary of {vocabulary_size}, but the files have these sizes in bytes: "
                f"{sizes}; remove the folder and repeat the command"
            )
        tokens = np.memmap(path / "tokens.bin", dtype=dtype, mode="r")
        if sum(sizes.values()) <= _HASHED_BYTES:
            _refuse_unknown_ids(tokens, vocabulary_size, path / "tokens.bin")
        return cls(
            tokens=tokens,
            flags=np.memmap(path / "flags.bin", dtype=np.uint8, mode="r"),
            documents=np.memmap(path / "documents.bin", dtype="<i8", mode="r"),
            counts=np.fromfile(path / "counts.bin", dtype="<i8"),
        )

    @property
    def num_tokens(self) -> int:
        """Tokens of the stream, including the [SEP] after each document."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """Documents of the stream."""
        return len(self.documents) - 1

    @property
    def vocabulary_size(self) -> int:
        """V of the tokenizer that encoded the documents."""
        return len(self.counts)

    def num_rows(self, length: int, include_partial: bool = False) -> int:
        """The number of rows of `length` positions in the stream.

        Args:
            length: Positions of a row, including the leading [CLS].
            include_partial: Also count a last, padded row. A stream shorter than one row always
                has one row.
        """
        full, rest = divmod(self.num_tokens, length - 1)
        return full + 1 if rest and (include_partial or not full) else full

    def rows(self, row_ids: Int64[np.ndarray, " B"], length: int, cls_id: int, pad_id: int) -> Rows:
        """Rows by number: row r is [CLS] and the next length - 1 tokens from r * (length - 1) on.

        Raises:
            IndexError: A row number beyond the stream.
        """
        row_ids = np.asarray(row_ids, dtype=np.int64)
        if row_ids.size and not 0 <= row_ids.min() <= row_ids.max() < self.num_rows(length, True):
            raise IndexError(f"rows {row_ids.min()}..{row_ids.max()} of {self.num_rows(length)}")
        positions = row_ids[:, None] * (length - 1) + np.arange(length - 1)
        is_padded = bool(row_ids.size) and bool(positions[:, -1].max() >= self.num_tokens)
        inside = positions < self.num_tokens if is_padded else np.ones(positions.shape, dtype=bool)
        positions = np.minimum(positions, self.num_tokens - 1)
        flags = np.where(inside, self.flags[positions], SPECIAL)
        body = np.where(inside, self.tokens[positions].astype(np.int64), pad_id)
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

    def documents_of(
        self, row_ids: Int64[np.ndarray, " B"], length: int
    ) -> Int64[np.ndarray, "B L"]:
        """The document of each position of rows, counted within its row from 0.

        [CLS] belongs to the first document of its row, and padding to the last one.
        """
        starts = np.asarray(row_ids, dtype=np.int64) * (length - 1)
        first = np.searchsorted(self.documents, starts, side="right")
        stop = np.searchsorted(self.documents, starts + length - 1)
        counts = np.maximum(stop - first, 0)
        rows = np.repeat(np.arange(len(starts)), counts)
        within = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        begins = np.asarray(self.documents)[first[rows] + within]
        is_start = np.zeros((len(starts), length), dtype=np.int64)
        inside = begins < self.num_tokens  # the last entry is the end of the stream
        is_start[rows[inside], (begins - starts[rows] + 1)[inside]] = 1
        return is_start.cumsum(1)


class StoreWriter:
    """Builds a store in a folder, document by document, in bounded memory.

    Args:
        folder: An existing folder; `close` writes the manifest that completes the store.
        vocabulary: Vocabulary of the tokenizer that encodes the documents.
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
        self._pending: list[tuple[str, EncodedText]] = []
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

    def add(self, text: str, encoded: EncodedText) -> None:
        """Append a document and its [SEP]; a document without tokens is left out."""
        if not len(encoded.ids):
            return
        self._pending.append((text, encoded))
        self.num_documents += 1
        self.num_tokens += len(encoded.ids) + 1
        self._num_pending += len(encoded.ids) + 1
        if self._num_pending >= _PIECE_TOKENS:
            self._flush()

    def append(self, part: Path) -> None:
        """Append the documents of a finished store of the same tokenizer.

        Raises:
            RefusedError: A file of the part was changed.
        """
        self._flush()
        manifest = verify_manifest(part)
        for name, file in (("tokens.bin", self._tokens), ("flags.bin", self._flags)):
            with (part / name).open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        ends = np.fromfile(part / "documents.bin", dtype="<i8")[1:]
        _write(self._documents, ends + self.num_tokens)
        self._counts += np.fromfile(part / "counts.bin", dtype="<i8")
        self.num_tokens += manifest["tokens"]
        self.num_documents += manifest["documents"]

    def close(self, **facts: Any) -> None:
        """Write the pending documents, and the manifest with additional facts."""
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
        """Write all pending documents at once, which is ten times faster than one by one."""
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
        starts[1:] |= special[:-1]  # an unknown character separates words, as [SEP] does
        flags = np.where(special, SPECIAL, np.where(starts, WORD_START, 0)).astype(np.uint8)
        tokens, owners = self._sentences()
        ordinary = np.flatnonzero(~special)  # an unknown first character: flag the token after it
        after = np.searchsorted(ordinary, np.flatnonzero(is_text)[tokens])
        place = np.append(ordinary, len(ids))[after]
        flags[place[place < bounds[owners]]] |= SENTENCE_START  # never in the next document
        self._counts += np.bincount(ids, minlength=self.vocabulary.size)
        _write(self._tokens, ids.astype(self._dtype))
        _write(self._flags, flags)
        _write(self._documents, bounds.astype("<i8") + (self.num_tokens - self._num_pending))
        self._pending.clear()
        self._num_pending = 0

    def _sentences(self) -> tuple[np.ndarray, np.ndarray]:
        """The text tokens that start sentences, and their documents, by index among the pending.

        It is the first token to end after the start.
        """
        ends, starts, owners, base = [], [], [], 0
        for number, (text, encoded) in enumerate(self._pending):
            own = sentence_starts(text)
            ends.append(encoded.ends + np.int64(base))
            starts += [base + start for start in own]
            owners += [number] * len(own)
            base += len(text)
        tokens = np.searchsorted(np.concatenate(ends), starts, side="right")
        owner = np.array(owners, dtype=np.int64)
        is_inside = tokens < np.cumsum([len(each) for each in ends])[owner]
        return tokens[is_inside], owner[is_inside]


def _write(file: BinaryIO, values: np.ndarray) -> None:
    """Write an array; `ndarray.tofile` would hide errno on a full disk."""
    file.write(np.ascontiguousarray(values).data)


def _prepend(values: np.ndarray, first: int | bool) -> np.ndarray:
    return np.insert(values, 0, first, axis=1)


def _refuse_unknown_ids(tokens: np.ndarray, vocabulary_size: int, path: Path) -> None:
    for low in range(0, len(tokens), _PIECE_TOKENS):
        highest = int(tokens[low : low + _PIECE_TOKENS].max())
        if highest >= vocabulary_size:
            raise RefusedError(
                f"{path} contains the token {highest}, but the vocabulary ends at "
                f"{vocabulary_size - 1}; remove {path.parent} and repeat the command"
            )
