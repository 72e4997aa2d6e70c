"""From a corpus to token stores in the cache: built once, then shared by all runs that use it.

The tokenizer is trained on the training part alone (see `bench.corpus.partition`). The keys of the
cache are hashes of content (corpus, tokenizer, format), so the stores of an edited corpus are built
anew, beside the old ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.corpus.files import Files
from bench.corpus.partition import PartitionedCorpus, Progress
from bench.corpus.parts.divided import PART_BYTES, DividedCorpus
from bench.corpus.parts.work import STORES, encode, open_writer
from bench.corpus.sources import Corpus
from bench.corpus.store import TokenStore
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.tokenizer_json import tokenizer_sha256
from bench.corpus.trainer import char_tokenizer, train_tokenizer
from bench.corpus.words.choice import WordChoice, choose_words, from_json, recall_words
from bench.corpus.words.models import MODELS
from bench.errors import BenchError, RefusedError
from bench.machine import cores, stoppable
from bench.settings import sha256_json
from bench.storage import (
    MANIFEST,
    disk_errors,
    exclusive,
    new_folder,
    sweep_leftovers,
    verify_manifest,
    write_manifest,
)

_FORMAT = 3
_STOPPED = (
    "the preparation of the corpus was stopped; the same command resumes it (what was half built "
    "is removed, the finished parts of a large corpus stay)"
)
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """The token stores and the tokenizer of a corpus, as pretraining needs them."""

    folder: Path
    """Folder of the stores in the cache."""
    train: TokenStore
    heldout: TokenStore | None
    """None if the corpus has fewer than two different documents."""
    tokenizer: TextTokenizer
    corpus_sha256: str
    tokenizer_sha256: str
    name: str
    documents: int
    """In both parts; a document of over 100,000 characters counts as several."""
    skipped: dict[str, int]
    """Counts of what was left out or repaired (see `Corpus.skipped`)."""
    copies: int = 0
    """Documents with the text of an earlier one."""
    words: WordChoice | None = None
    """The words of the corpus; None in stores of an earlier version."""


def default_cache() -> Path:
    """$BENCH_CACHE, else bench/ in the user's cache folder.

    Raises:
        BenchError: The user has no home folder.
    """
    if folder := os.environ.get("BENCH_CACHE"):
        return Path(folder)
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "bench"
    try:
        return Path.home() / ".cache" / "bench"
    except RuntimeError:
        raise BenchError("no home folder for the cache; set BENCH_CACHE to a folder") from None


def prepare_corpus(
    corpus: Corpus,
    tokenizer: str | Path | None,
    vocab_size: int,
    cache: Path,
    on_progress: Progress | None = None,
    words: str = "auto",
    num_processes: int | None = None,
) -> PreparedCorpus:
    """The token stores of a corpus, read from the cache or built there.

    Many processes can call this at once: one of them builds, the others wait. Large files are read
    by several processes; the stores have the same bytes for any number of them.

    Args:
        corpus: The corpus to read.
        tokenizer: A tokenizer.json, or "char", or None: train byte-level BPE on the corpus.
        vocab_size: Largest vocabulary size of a tokenizer that is trained here.
        cache: Folder to build in (see `default_cache`).
        on_progress: Called with the stage and the number of documents read.
        words: The word model: a name of `bench.corpus.words.models`, or a segmented file.
        num_processes: Processes that read a large corpus of files; None: one for each core.

    Raises:
        BenchError: No text in the corpus, no such word model, or the cache cannot be written.
        RefusedError: A file of the cache was changed, or the corpus changed while it was read.
        FailedError: The disk is full.
        StoppedError: ^C or SIGTERM; only finished parts of a large corpus stay in the cache.
    """
    with stoppable(_STOPPED), _cache_errors(cache):
        on_progress = on_progress or (lambda stage, documents: None)
        has_sample = tokenizer is None or tokenizer == "char"
        num_processes = num_processes or cores()
        parts = PartitionedCorpus(corpus, on_progress, has_sample)
        if isinstance(corpus, Files) and num_processes > 1 and _is_large(corpus, words):
            parts = DividedCorpus(corpus, on_progress, has_sample, cache, num_processes)
        fingerprint = _fingerprint(parts, cache)
        sample = parts.documents("choosing the words")
        choice = choose_words(sample, fingerprint, words, cache)
        content = choice.content_sha256(fingerprint)
        if tokenizer is None or tokenizer == "char":
            folder = _tokenizer_folder(cache, content, tokenizer, vocab_size)
            with _build_lock(folder) as is_missing:
                if is_missing:
                    _build_tokenizer(folder, parts, tokenizer, vocab_size, choice)
            verify_manifest(folder)
            text_tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
        else:
            text_tokenizer = TextTokenizer.from_file(Path(tokenizer))
        folder = _store_folder(cache, content, text_tokenizer.sha256)
        with _build_lock(folder) as is_missing:
            if is_missing:
                _build_stores(folder, parts, text_tokenizer, fingerprint, choice)
    return open_prepared(folder)


def open_prepared(folder: Path) -> PreparedCorpus:
    """Open the folder that `prepare_corpus` built; the corpus itself is not read again.

    Raises:
        RefusedError: A file of the folder was changed.
    """
    manifest = verify_manifest(folder)
    return PreparedCorpus(
        folder=folder,
        train=TokenStore.open(folder / "train"),
        heldout=TokenStore.open(folder / "heldout") if manifest["has_heldout"] else None,
        tokenizer=TextTokenizer.from_file(folder / "tokenizer.json"),
        corpus_sha256=manifest["corpus_sha256"],
        tokenizer_sha256=manifest["tokenizer_sha256"],
        name=manifest["corpus"],
        documents=manifest["documents"],
        skipped=manifest["skipped"],
        copies=manifest.get("copies", 0),
        words=from_json(manifest["words"]) if "words" in manifest else None,
    )


def find_prepared(
    corpus: Corpus,
    tokenizer: str | Path | None,
    vocab_size: int,
    cache: Path,
    words: str = "auto",
) -> Path | None:
    """The folder of the stores if they are in the cache already, else None; writes nothing."""
    fingerprint = corpus.fingerprint()
    choice = recall_words(fingerprint, words, cache)
    if choice is None:
        return None
    fingerprint = choice.content_sha256(fingerprint)
    if tokenizer is None or tokenizer == "char":
        folder = _tokenizer_folder(cache, fingerprint, tokenizer, vocab_size)
        if not (folder / MANIFEST).is_file():
            return None
        tokenizer = folder / "tokenizer.json"
    return stores_of(cache, fingerprint, tokenizer_sha256(Path(tokenizer)))


def stores_of(cache: Path, corpus_sha256: str, tokenizer: str) -> Path | None:
    """The folder of the stores with these two hashes, which records contain; None if not cached."""
    stores = _store_folder(cache, corpus_sha256, tokenizer)
    return stores if (stores / MANIFEST).is_file() else None


def stores_named(name: str) -> Path:
    """The folder of stores in the cache of this machine, by its name, which is a hash.

    Raises:
        BenchError: This machine does not have them.
    """
    folder = default_cache() / "stores" / Path(name).name
    if not (folder / MANIFEST).is_file():
        raise BenchError(
            f"this machine has no prepared corpus {name} in {folder.parent}; set BENCH_CACHE to a "
            "folder that the machines share, or run `bench prepare` here with the options of "
            "`bench run`"
        )
    return folder


def _is_large(corpus: Files, words: str) -> bool:
    """Whether processes are started for a corpus; a segmented file is read in order by one."""
    has_model = words == "auto" or words in MODELS
    return has_model and sum(size for _, size in corpus.sizes()) > 2 * PART_BYTES


def _fingerprint(parts: PartitionedCorpus, cache: Path) -> str:
    """The fingerprint of a corpus: of the first pass where the cache cannot have its stores.

    Files of other sizes are another corpus. Only for sizes that were seen before are all files
    hashed first, to find the stores.
    """
    corpus = parts.corpus
    sizes = corpus.sizes()
    if not sizes:
        return corpus.fingerprint()
    seen = cache / "sizes" / _cache_key("sizes", sizes)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # the cache cannot be written
            stack.enter_context(exclusive(seen.with_suffix(".lock")))
        if seen.is_file():
            return corpus.fingerprint()
        parts.choose_held_out()
        with contextlib.suppress(OSError):
            seen.touch()
    return parts.scanned


def _build_tokenizer(
    folder: Path, parts: PartitionedCorpus, kind: str | Path | None, size: int, words: WordChoice
) -> None:
    parts.choose_held_out()
    texts = parts.training_texts()
    if kind == "char":
        tokenizer = char_tokenizer(texts, size)
    else:
        tokenizer = train_tokenizer(texts, size, words.has_marks)
    with new_folder(folder) as building:
        tokenizer.save(building / "tokenizer.json")
        write_manifest(building, ["tokenizer.json"], vocabulary=tokenizer.vocabulary.size)


def _build_stores(
    folder: Path,
    parts: PartitionedCorpus,
    tokenizer: TextTokenizer,
    fingerprint: str,
    words: WordChoice,
) -> None:
    parts.choose_held_out()
    assert parts.threshold is not None
    corpus, finished = parts.corpus, None
    with new_folder(folder) as building, contextlib.ExitStack() as stack:
        tokenizer.save(building / "tokenizer.json")
        writers = [stack.enter_context(open_writer(building, name, tokenizer)) for name in STORES]
        if isinstance(parts, DividedCorpus):
            file = building / "tokenizer.json"
            finished = parts.encode(tokenizer, file, words.model, folder.name, writers)
        else:
            texts = parts.documents("encoding the documents")
            encode(texts, corpus, tokenizer, words.model, parts.threshold, writers)
        if not writers[0].num_tokens:
            raise BenchError(
                f"the tokenizer gives no tokens for the corpus {corpus.display_name}; choose "
                f"another --tokenizer"
            )
        after = parts.scanned if finished else corpus.fingerprint_read()
        if after != fingerprint:
            raise RefusedError(
                f"the corpus {corpus.display_name} was changed while it was read: fingerprint "
                f"{fingerprint} before, {after} after; repeat the command"
            )
        for writer in writers:
            writer.close()
        write_manifest(
            building,
            ["tokenizer.json", *(f"{name}/{MANIFEST}" for name in STORES)],
            corpus=corpus.display_name,
            corpus_sha256=words.content_sha256(fingerprint),
            tokenizer_sha256=tokenizer.sha256,
            documents=sum(writer.num_documents for writer in writers),
            has_heldout=writers[1].num_tokens > 0,
            skipped=dict(corpus.skipped),
            copies=parts.held_out.copies,
            words=vars(words),
        )
    if finished is not None:
        shutil.rmtree(finished, ignore_errors=True)


def _tokenizer_folder(cache: Path, fingerprint: str, kind: str | Path | None, size: int) -> Path:
    return cache / "tokenizers" / _cache_key("tokenizer", kind or "bpe", fingerprint, size)


def _store_folder(cache: Path, fingerprint: str, tokenizer: str) -> Path:
    return cache / "stores" / _cache_key("store", fingerprint, tokenizer)


def _cache_key(*parts: Any) -> str:
    return sha256_json([_FORMAT, *map(str, parts)])[:32]


@contextlib.contextmanager
def _build_lock(folder: Path) -> Iterator[bool]:
    """Whether a folder of the cache is missing; if so, no other process builds it meanwhile."""
    if folder.exists():
        yield False
        return
    with exclusive(folder.parent / f"{folder.name}.lock"):
        sweep_leftovers(folder.parent)
        yield not folder.exists()


@contextlib.contextmanager
def _cache_errors(cache: Path) -> Iterator[None]:
    """Turn errors of a full or read-only disk into a `BenchError` with a way out."""
    try:
        with disk_errors(cache):
            yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        raise BenchError(
            f"the cache folder {cache} cannot be written ({error.strerror}: {error.filename}); "
            f"set BENCH_CACHE to a writable folder"
        ) from None
