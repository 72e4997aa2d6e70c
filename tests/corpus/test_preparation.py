import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.corpus import partition, preparation
from bench.corpus.opening import open_corpus
from bench.corpus.preparation import (
    PreparedCorpus,
    default_cache,
    find_prepared,
    open_prepared,
    prepare_corpus,
)
from bench.corpus.trainer import char_tokenizer
from bench.errors import BenchError, RefusedError
from bench.storage import file_sha256
from tests.helpers.corpora import ListCorpus, numbered_sentences
from tests.helpers.paths import ROOT


def test_stores_are_built_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    corpus, cache = ListCorpus(numbered_sentences(40)), tmp_path / "cache"
    assert not find_prepared(corpus, None, 300, cache)
    assert not cache.exists()
    stages: list[str] = []
    prepared = prepare_corpus(
        corpus, None, 300, cache, lambda stage, documents: stages.append(stage)
    )
    assert list(dict.fromkeys(stages)) == [
        "choosing the words",
        "choosing the held-out documents",
        "training the tokenizer",
        "encoding the documents",
    ]
    num_passes = corpus.num_passes
    assert find_prepared(corpus, None, 300, cache) == prepared.folder
    again = prepare_corpus(corpus, None, 300, cache)
    assert corpus.num_passes == num_passes
    assert _identity(again) == _identity(prepared)
    assert _identity(open_prepared(prepared.folder)) == _identity(prepared)
    assert prepared.corpus_sha256 == corpus.fingerprint()
    assert prepared.tokenizer_sha256 == open_prepared(prepared.folder).tokenizer.sha256
    elsewhere = prepare_corpus(
        ListCorpus(numbered_sentences(40)), None, 300, tmp_path / "elsewhere"
    )
    assert _identity(elsewhere) == _identity(prepared)


def _identity(prepared: PreparedCorpus) -> tuple[Any, ...]:
    parts = (prepared.train, prepared.heldout)
    tokens = [part and (part.tokens.tobytes(), part.flags.tobytes()) for part in parts]
    return (
        *tokens,
        prepared.tokenizer_sha256,
        prepared.corpus_sha256,
        prepared.documents,
        prepared.skipped,
    )


def test_other_text_or_another_tokenizer_gets_its_own_store(tmp_path: Path) -> None:
    texts = numbered_sentences(40)
    prepared = prepare_corpus(ListCorpus(texts), None, 300, tmp_path)
    assert not find_prepared(ListCorpus([*texts, "more"]), None, 300, tmp_path)
    assert not find_prepared(ListCorpus(texts), None, 301, tmp_path)
    assert not find_prepared(ListCorpus(texts), "char", 300, tmp_path)
    prepared.tokenizer.save(tmp_path / "mine.json")
    assert find_prepared(ListCorpus(texts), tmp_path / "mine.json", 0, tmp_path)
    mine = prepare_corpus(ListCorpus(texts), str(tmp_path / "mine.json"), 0, tmp_path)
    assert _identity(mine) == _identity(prepared)


def test_a_corpus_without_text_is_an_error(tmp_path: Path) -> None:
    for texts in ([], ["", " \n"]):
        with pytest.raises(BenchError, match="no text in the corpus list"):
            prepare_corpus(ListCorpus(texts), None, 300, tmp_path / "cache")
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": null}\n')
    corpus = open_corpus([str(tmp_path / "a.jsonl")], {})
    with pytest.raises(BenchError, match=r"no text in the corpus a.jsonl \(left out: .*2"):
        prepare_corpus(corpus, None, 300, tmp_path / "cache")


def test_a_small_corpus_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for memory_characters, num_passes in ((40, 3), (10**6, 1)):
        monkeypatch.setattr(partition, "_MEMORY_CHARACTERS", memory_characters)
        corpus = ListCorpus(numbered_sentences(9))
        prepared = prepare_corpus(corpus, "char", 100, tmp_path / str(memory_characters))
        hashes.add(file_sha256(prepared.folder / "train" / "tokens.bin"))
        assert corpus.num_passes == num_passes
    assert len(hashes) == 1


def test_counts_of_skipped_text_are_stored(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one one\0\n\ntwo two\xff\n\nthree three")
    corpus = open_corpus([str(tmp_path / "a.txt")], {})
    for _ in range(2):
        prepared = prepare_corpus(corpus, "char", 100, tmp_path / "cache")
        assert prepared.skipped == {"NUL": 1, "invalid UTF-8 bytes": 1}
        assert (prepared.name, prepared.documents) == ("a.txt", 3)


def test_a_corpus_edited_while_it_is_read_is_refused(tmp_path: Path) -> None:
    class Edited(ListCorpus):
        def documents(self) -> Iterator[str]:
            yield from super().documents()
            self.texts.append("more")

    with pytest.raises(RefusedError, match=r"changed while it was read.*before.*after"):
        prepare_corpus(
            Edited(numbered_sentences(9)), _tokenizer_file(tmp_path), 0, tmp_path / "cache"
        )
    assert not list((tmp_path / "cache").glob("stores/*/"))


def _tokenizer_file(folder: Path) -> Path:
    char_tokenizer(numbered_sentences(9), 100).save(folder / "tokenizer.json")
    return folder / "tokenizer.json"


@pytest.mark.parametrize(
    "part", ["tokenizer.json", "train/tokens.bin", "heldout/flags.bin", "train/manifest.json"]
)
def test_a_damaged_cache_is_refused(tmp_path: Path, part: str) -> None:
    prepare_corpus(ListCorpus(numbered_sentences(40)), "char", 100, tmp_path)
    path = next(tmp_path.glob(f"stores/*/{part}"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=part):
        prepare_corpus(ListCorpus(numbered_sentences(40)), "char", 100, tmp_path)


def test_a_changed_tokenizer_in_the_cache_is_refused(tmp_path: Path) -> None:
    prepare_corpus(ListCorpus(numbered_sentences(40)), "char", 100, tmp_path)
    path = next(tmp_path.glob("tokenizers/*/tokenizer.json"))
    path.write_text(path.read_text().replace("Fuse", "Fuze"))
    with pytest.raises(RefusedError, match=r"tokenizer\.json"):
        prepare_corpus(ListCorpus(numbered_sentences(40)), "char", 100, tmp_path)


def test_of_many_threads_one_builds(tmp_path: Path) -> None:
    corpora = [ListCorpus(numbered_sentences(300)) for _ in range(4)]
    prepared: list[PreparedCorpus] = []
    workers = [
        threading.Thread(target=lambda c=c: prepared.append(prepare_corpus(c, None, 300, tmp_path)))
        for c in corpora
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({_identity(one)[2:5] for one in prepared}) == 1
    assert len(prepared) == 4
    assert (
        sum(corpus.num_passes > 0 for corpus in corpora) <= 3
    )  # the words', the tokenizer's, the store's
    assert not list(tmp_path.rglob(".tmp-*"))


def test_the_environment_chooses_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "bench"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), None])
def test_the_error_for_a_read_only_cache_has_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    """The superuser ignores permissions, so a file stands in the place of the folder."""
    (tmp_path / "file").touch()
    if error is not None:
        monkeypatch.setattr(preparation, "new_folder", lambda path: _raise(error))
    cache = tmp_path / "file" / "cache" if error is None else tmp_path / "cache"
    with pytest.raises(BenchError, match=r"cache.* cannot be written.*set BENCH_CACHE"):
        prepare_corpus(ListCorpus(numbered_sentences(5)), "char", 100, cache)


def _raise(error: Exception) -> Any:
    raise error


def test_a_full_disk_leaves_no_store(tmp_path: Path) -> None:
    code = f"""
import resource, sys
from pathlib import Path
from bench.corpus.preparation import prepare_corpus
from bench.corpus.opening import open_corpus
from bench.errors import FailedError
folder = Path({str(tmp_path)!r})
(folder / "a.txt").write_text("\\n\\n".join(f"sentence number {{i}} of many" for i in range(5000)))
corpus = open_corpus([str(folder / "a.txt")], {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    prepare_corpus(corpus, None, 300, folder / "cache")
except FailedError as error:
    assert "disk full" in str(error), error
else:
    sys.exit("written")
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    assert list(tmp_path.glob("cache/tokenizers/*/manifest.json"))
    assert not list(tmp_path.glob("cache/stores/*/"))
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.slow
def test_building_a_large_store_takes_little_memory(tmp_path: Path) -> None:
    class Long(ListCorpus):
        def documents(self) -> Iterator[str]:
            for i in range(30_000):
                yield f"Document {i} has {i * 7919 % 1000} words of text and then {i} more. " * 6

    path = _tokenizer_file(tmp_path)
    tracemalloc.start()
    prepared = prepare_corpus(Long([]), path, 0, tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert prepared.train.num_tokens > 8_000_000
    assert peak < 150_000_000  # 10 MB of it are the text; all at once would be 300 MB
