"""Every Python example of the documentation runs, page by page, in one namespace."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

import bench
from tests.docs.pages import PAGES, Block, blocks
from tests.helpers.paths import ROOT

pytestmark = [  # the pipe to a worker is closed by the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SMALL = {"budget": "20k", "seeds": 2, "limit": 60, "device": "cpu", "progress": False}
ENCODER = {"hidden_size": 32, "num_layers": 2}
WITH_EXAMPLES = [page for page in PAGES if blocks("python", [page])]


def trains(page: Path) -> bool:
    return any("bench.run(" in block.text for block in blocks("python", [page]))


def run_examples(examples: list[Block], folder: Path, patch: pytest.MonkeyPatch) -> None:
    whole = bench.run

    def small(objectives: Any, **arguments: Any) -> Any:
        given = arguments.pop("settings", {})
        settings = {**given, "encoder": {**given.get("encoder", {}), **ENCODER}}
        return whole(objectives, **(arguments | SMALL), settings=settings)

    patch.setattr(bench, "run", small, raising=False)
    namespace: dict[str, Any] = {"__name__": "example"}
    with contextlib.chdir(folder):
        for block in examples:
            exec(compile(block.text, block.name, "exec"), namespace)


def parameters(is_slow: bool) -> list[Any]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in WITH_EXAMPLES
        if trains(page) is is_slow
    ]


@pytest.mark.parametrize("page", parameters(is_slow=False))
def test_examples_run(page: Path, user_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_examples(blocks("python", [page]), user_files, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", parameters(is_slow=True))
def test_examples_that_train_run(
    page: Path, user_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in user_files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    run_examples(blocks("python", [page]), tmp_path, monkeypatch)


def test_the_example_of_a_task_is_the_task() -> None:
    (block,) = blocks("python", [ROOT / "docs" / "write_a_task.md"])
    source = (ROOT / "tasks" / "sst2.py").read_text()
    assert block.text[block.text.index("class SST2") :] in source
