"""Rows 6, 29 and 30: no pickle, no code of a file, no network unasked, no markup in names."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from bench.corpus.hub import Hub
from bench.errors import BenchError
from bench.reporting.text import render
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT
from tests.reporting.test_text import FORMATS, HOSTILE, hostile
from tests.test_cli import BLOCK_NETWORK, bench, finished  # noqa: F401

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
EVALUATORS = {"eval", "exec", "compile"}


def doors(source: str) -> list[str]:
    """The calls and imports of a program that could run what is in a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            found += [f"imports {name}" for name in names if name.split(".")[0] in UNPICKLERS]
        if not isinstance(node, ast.Call):
            continue
        keywords = {one.arg: ast.unparse(one.value) for one in node.keywords}
        name = ast.unparse(node.func)
        if name in EVALUATORS or name.endswith("read_pickle") or name == "os.system":
            found.append(name)
        if name in ("torch.load", "load") and keywords.get("weights_only", "True") != "True":
            found.append(f"{name} without weights_only")
        if name == "torch.load" and "weights_only" not in keywords:
            found.append("torch.load without weights_only")
        for keyword in ("trust_remote_code", "allow_pickle", "shell"):
            if keywords.get(keyword, "False") != "False":
                found.append(f"{name} with {keyword}")
    return found


def test_fault_06_no_code_loads_pickles_or_runs_what_a_file_says() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {door}"
        for part in ("bench", "objectives", "tasks")
        for path in (ROOT / part).rglob("*.py")
        for door in doors(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import joblib.numpy_pickle", "eval('1')",
        "exec(text)", "torch.load(path)", "torch.load(path, weights_only=False)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)", "np.load(p, allow_pickle=True)",
        "pd.read_pickle(path)", "subprocess.run(x, shell=True)", "os.system(x)",
    ],
)  # fmt: skip
def test_fault_06_a_door_would_be_found(line: str) -> None:
    assert doors(line)
    assert not doors("torch.load(p, weights_only=True); model.eval(); np.load(p); x.compile()")


@pytest.mark.slow
def test_fault_29_the_default_run_completes_without_network(finished: Path) -> None:  # noqa: F811
    table = (finished / "stdout.txt").read_text()
    for row in ("span", "untrained", "bag_of_words", "majority", "window_of_words"):
        assert row in table
    for part in ("sense_left", "agreement", "predictions", "FLOPs", "significantly"):
        assert part in table
    progress = (finished / "stderr.txt").read_text()
    assert "loss" in progress
    assert "tokens/s" in progress


def test_fault_29_hub_without_network_fails_at_once(tmp_path: Path) -> None:
    import time

    (tmp_path / "sitecustomize.py").write_text(BLOCK_NETWORK)
    started = time.monotonic()
    done = bench(
        "run", "--objective", "span", "--corpus", "hf:some/corpus", "--tasks", "none", cwd=tmp_path,
        check=2, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
    )  # fmt: skip
    assert time.monotonic() - started < 30  # the wait is not on a socket; start-up alone is seconds
    assert "objective-bench[hf]" in done.stderr or "needs the network" in done.stderr


def _refuse(*args: Any, **options: Any) -> Any:
    raise RuntimeError("no sockets in tests")


def _hang(*args: Any, **options: Any) -> Any:
    time.sleep(3)
    return []


@pytest.mark.parametrize("answer", [_refuse, _hang])
def test_fault_29_a_missing_network_is_an_error_within_a_second(
    monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "socket", _refuse)
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    start = time.monotonic()
    with pytest.raises(BenchError, match=r"hf:a needs the network.*--corpus FILE"):
        Hub("a").fingerprint()
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("name", HOSTILE)
def test_fault_30_names_are_escaped_in_every_format(tmp_path: Path, name: str) -> None:
    compared = hostile(tmp_path, name)
    texts = {format: render(compared, format) for format in FORMATS}
    assert not any(char in "\x1b\u202e" for text in texts.values() for char in text)
    assert "<script" not in texts["markdown"]
    assert "](" not in texts["markdown"].replace("\\](", "")
    rows = [line for line in texts["markdown"].splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} <= {4, 8}
    assert "\\input" not in texts["latex"]
    assert json.loads(texts["json"])[0]["display_name"] == name
    for row in csv.reader(io.StringIO(texts["csv"])):
        texts_only = [cell for cell in row if not re.fullmatch(r"-?[\d.e-]+", cell)]
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in texts_only)
    if name.startswith("[red]"):
        assert "[red]x[/red]" in texts["table"]


def test_fault_30_a_home_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """With a locale of ASCII, in a folder with a space and letters beyond it."""
    folder = tmp_path / "a folder é 中"
    folder.mkdir()
    write_text(folder)
    done = bench(
        "plan", "--objective", "span", "--corpus", "text.txt", "--tasks", "none", cwd=folder,
        HOME="/proc", XDG_CACHE_HOME="", BENCH_CACHE=str(folder / "cache é"), LC_ALL="C",
    )  # fmt: skip
    assert "span" in done.stdout
