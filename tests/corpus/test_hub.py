import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.corpus import hub
from bench.corpus.hub import Hub
from bench.errors import BenchError


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fakes of the two libraries and of the network."""
    calls: dict[str, Any] = {"loads": 0}
    rows = [{"text": "one two"}, {"text": " "}, {"text": None}, {"text": "th\0ree\ud800"}] * 3

    def load_dataset(name: str, config: str | None, **options: Any) -> Iterator[dict[str, Any]]:
        calls.update(name=name, config=config, options=options, loads=calls["loads"] + 1)
        return iter(rows)

    class Api:
        def dataset_info(self, name: str, revision: str | None, timeout: float) -> Any:
            return types.SimpleNamespace(sha="c" * 40 if revision is None else "d" * 40)

    datasets = types.ModuleType("datasets")
    datasets.load_dataset = load_dataset  # type: ignore[attr-defined]
    library = types.ModuleType("huggingface_hub")
    library.HfApi = Api  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(hub, "require_network", lambda display_name: None)
    return calls


def test_a_dataset_is_streamed_once_from_a_fixed_commit(fake_hub: dict[str, Any]) -> None:
    corpus = Hub("org/name:part")
    documents = list(corpus.documents())
    assert documents == ["one two", "three?"] * 3
    assert list(corpus.documents()) == documents
    assert corpus.skipped == {"blank": 6, "NUL": 3}
    assert fake_hub == {
        "loads": 1,
        "name": "org/name",
        "config": "part",
        "options": {"split": "train", "streaming": True, "revision": "c" * 40},
    }


def test_fingerfingerprints_depend_on_commit_and_num_words(fake_hub: dict[str, Any]) -> None:
    addresses = ("a", "a:b", "a@v1", f"a@{'e' * 40}", "b")
    fingerprints = {Hub(address).fingerprint() for address in addresses}
    fingerprints.add(Hub("a", num_words=5).fingerprint())
    assert len(fingerprints) == 6
    assert Hub("a").fingerprint() in fingerprints


def test_reading_stops_at_num_words(fake_hub: dict[str, Any]) -> None:
    assert len(list(Hub("a", num_words=2).documents())) == 2
    with pytest.raises(BenchError, match="no column 'body'; it has 'text'"):
        list(Hub("a", text_column="body").documents())


def test_a_folder_with_the_name_of_the_dataset_is_refused(
    fake_hub: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(BenchError, match=r"give --corpus \./org/name"):
        next(Hub("org/name").documents())


def test_a_missing_extra_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'objective-bench\[hf\]'"):
        next(Hub("a").documents())


def test_the_offline_switch_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BenchError, match="HF_HUB_OFFLINE is set"):
        Hub("a").fingerprint()
    corpus = Hub(f"a@{'e' * 40}")
    assert len(corpus.fingerprint()) == 64  # a full commit needs no network
