from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import BenchError, RefusedError
from bench.records.scores import read_baselines, score_key, write_score
from bench.records.store import make_store, read_runs
from bench.settings import sha256_json
from bench.storage import write_manifest

HASH = "ab" * 32


def make_run(
    out: Path,
    objective: str = "token",
    seed: int = 0,
    display_name: str | None = None,
    settings: dict[str, Any] | None = None,
    size: str = "tiny",
    tokens: int = 2_000_000,
    code: str = HASH,
    **keys: Any,
) -> Path:
    """The folder of a run as `bench run` writes it, without the weights."""
    shared = {
        "size": size,
        "training": {"learning_rate": keys.pop("learning_rate", 4e-3)},
        "budget": {"axis": "tokens", "amount": keys.pop("budget_tokens", 2e6)},
        "corpus_sha256": keys.get("corpus_sha256", HASH),
    }
    own = {"objective": objective, "settings": settings or {}, "objective_code": code}
    spec = shared | own | {"seed": seed}
    run_id = f"{objective}-{size}-s{seed}-{sha256_json(spec)[:8]}"
    data: dict[str, Any] = {
        "format": 2,
        "id": run_id,
        "status": "finished",
        "objective": objective,
        "settings": settings or {},
        "display_name": display_name or objective,
        "seed": seed,
        "size": size,
        "spec": spec,
        "scoring": "masked",
        "budget": shared["budget"],
        "spent": {
            "tokens": tokens,
            "predictions": tokens // 10,
            "flops": 6.5e5 * tokens,
            "seconds": tokens / 20_000,
        },
        "parameters": {"encoder": 250_000, "extra": 4_224},
        "tokens_per_second": 20_000.0,
        "corpus": "micro",
        "corpus_sha256": HASH,
        "tokenizer_sha256": HASH,
        "comparison": sha256_json(shared),
    }
    folder = out / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(data | keys))
    write_manifest(folder, ["run.json"])
    return folder


def make_score(
    folder: Path,
    task: str = "sense",
    outcomes: Any = (1.0, 0.0, 1.0, 1.0),
    baseline: str | None = None,
    second: Any = None,
    **keys: Any,
) -> Path:
    """A score with these per-example outcomes (None: it does not apply)."""
    frame, value, stderr, metrics = None, None, None, {}
    if outcomes is not None:
        outcomes = np.asarray(outcomes, dtype=float)
        frame = pd.DataFrame({"example": np.arange(len(outcomes)), "outcome": outcomes})
        value, stderr = float(outcomes.mean()), float(outcomes.std(ddof=1) / len(outcomes) ** 0.5)
        if second is not None:
            frame["word_l2r"] = second
            metrics = {"original": [value, stderr], "word_l2r": [float(np.mean(second)), stderr]}
    record = {
        "format": 2,
        "task": task,
        "family": "text classification",
        "metric": "accuracy",
        "chance": 0.5,
        "run": None if baseline else folder.name,
        "baseline": baseline,
        "attention": "native",
        "status": "not_applicable" if outcomes is None else "ok",
        "value": value,
        "stderr": stderr,
        "metrics": metrics,
        "details": {},
        "data_sha256": HASH,
        "probe_settings": {},
        "task_code_sha256": HASH,
        "seconds": 1.5,
        "examples": 0 if outcomes is None else len(outcomes),
    }
    return write_score(folder, record | keys, frame)


def rewrite(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_a_score_comes_back_with_its_outcomes(tmp_path: Path) -> None:
    path = make_score(make_run(tmp_path))
    (run,) = read_runs(tmp_path)
    (score,) = run.scores
    assert score.path == path
    assert score.data["value"] == 0.75
    frame = score.outcomes()
    assert frame is not None
    assert frame["outcome"].tolist() == [1, 0, 1, 1]


def test_a_baseline_is_stored_beside_the_runs(tmp_path: Path) -> None:
    path = make_score(tmp_path, baseline="majority")
    assert path.parent == tmp_path / "baselines"
    assert path.name.startswith("majority-sense-")
    assert [score.data["baseline"] for score in read_baselines(tmp_path)] == ["majority"]


def test_a_score_that_does_not_apply_has_no_outcomes(tmp_path: Path) -> None:
    path = make_score(make_run(tmp_path), outcomes=None)
    assert not path.with_suffix(".parquet").exists()
    assert read_runs(tmp_path)[0].scores[0].outcomes() is None


def test_the_key_changes_with_everything_that_could_change_the_score() -> None:
    known = ("sense", HASH, {"c": 1}, HASH, "native")
    changed = [
        ("agreement", *known[1:]),
        (known[0], "cd" * 32, *known[2:]),
        (*known[:2], {"c": 2}, *known[3:]),
        (*known[:3], "cd" * 32, known[4]),
        (*known[:4], "bidirectional"),
    ]
    assert len({score_key(*parts) for parts in [known, *changed]}) == 6  # type: ignore[arg-type]


def test_selection_by_id_prefix_folder_and_root(tmp_path: Path) -> None:
    first, second = make_run(tmp_path, seed=1), make_run(tmp_path, seed=10)
    other = make_run(tmp_path / "elsewhere", "span")
    assert len(read_runs(tmp_path)) == 2

    def names(*selection: str) -> list[str]:
        return [run.folder.name for run in read_runs(tmp_path, selection)]

    assert names(second.name, first.name, second.name) == [second.name, first.name]
    assert names("token") == [first.name, second.name]
    assert names("token-tiny-s10") == [second.name]
    assert names(str(other)) == names(str(tmp_path / "elsewhere")) == [other.name]
    with pytest.raises(BenchError, match=f"did you mean '{first.name}'"):
        names(first.name.replace("token", "tokem"))


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "../../etc", "a/b", "-s0"])
def test_a_hostile_selection_selects_nothing(tmp_path: Path, name: str) -> None:
    make_run(tmp_path)
    with pytest.raises(BenchError, match="no run named"):
        read_runs(tmp_path, [name])


def test_no_folder_is_no_runs(tmp_path: Path) -> None:
    assert read_runs(tmp_path / "none") == []
    assert read_baselines(tmp_path / "none") == []


def test_a_folder_whose_name_is_not_utf_8_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not UTF-8"):
        make_store(tmp_path / "half\udcf0")
    assert not list(tmp_path.iterdir())


def test_incomplete_files_are_ignored(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    make_score(folder)
    (folder / "scores" / ".tmp-1-2-3-4").write_text("{")
    (folder / "scores" / "sense-0123abcd.json.part").write_text("{")
    (folder / "scores" / "sense-0123abcd.parquet").write_text("orphan")
    (tmp_path / "runs" / ".work-token-tiny-s0-01234567").mkdir()
    unclosed = make_run(tmp_path, seed=1)
    (unclosed / "manifest.json").unlink()
    (run,) = read_runs(tmp_path)
    assert len(run.scores) == 1


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "not JSON"),
        (b'{"format": 2', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"value": NaN}', "NaN"),
        (b"[]", "format 2"),
        (b'{"format": 1}', "format: Input should be 2"),
    ],
)
def test_a_corrupt_score_is_refused_by_name(tmp_path: Path, payload: bytes, message: str) -> None:
    path = make_score(make_run(tmp_path))
    path.write_bytes(payload)
    with pytest.raises(RefusedError, match=message) as error_info:
        read_runs(tmp_path)
    assert str(path) in str(error_info.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "../../x"),
        ("status", "perfect"),
        ("value", None),
        ("stderr", -1),
        ("chance", "half"),
        ("baseline", "majority"),
        ("examples", 2.5),
        ("metrics", {"original": 0.5}),
    ],
)
def test_a_malformed_score_is_refused_with_its_key(tmp_path: Path, key: str, value: Any) -> None:
    path = make_score(make_run(tmp_path))
    rewrite(path, **{key: value})
    with pytest.raises(RefusedError, match="format 2") as error_info:
        read_runs(tmp_path)
    named_by_rule = {"value": "stderr", "baseline": "to a baseline"}
    assert named_by_rule.get(key, key) in str(error_info.value).split("format 2")[1]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = make_score(make_run(tmp_path))
    record = json.loads(path.read_text())
    del record["metric"]
    path.write_text(json.dumps(record))
    with pytest.raises(RefusedError, match="metric: Field required"):
        read_runs(tmp_path)


def test_a_record_that_was_edited_renamed_or_moved_is_refused(tmp_path: Path) -> None:
    folder, other = make_run(tmp_path), make_run(tmp_path, seed=1)
    path = make_score(folder)
    stray = path.with_name("sense-00000000.json")
    path.rename(stray)
    with pytest.raises(RefusedError, match="renamed or edited"):
        read_runs(tmp_path)
    (other / "scores").mkdir()
    stray.rename(other / "scores" / path.name)
    with pytest.raises(RefusedError, match="is a score of run"):
        read_runs(tmp_path)
    (other / "scores" / path.name).unlink()
    rewrite(folder / "run.json", seed=7)
    with pytest.raises(RefusedError, match=r"run\.json was changed"):
        read_runs(tmp_path)


def test_a_renamed_run_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.rename(folder.with_name("span-tiny-s0-01234567"))
    with pytest.raises(RefusedError, match="is the record of run token"):
        read_runs(tmp_path)


def test_a_flipped_byte_in_the_outcomes_is_refused(tmp_path: Path) -> None:
    path = make_score(make_run(tmp_path)).with_suffix(".parquet")
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)
    (run,) = read_runs(tmp_path)
    with pytest.raises(RefusedError, match="was changed"):
        run.scores[0].outcomes()
    path.unlink()
    with pytest.raises(RefusedError, match="cannot be read"):
        run.scores[0].outcomes()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"value": float("nan")}, "value"),
        ({"task": "Sense"}, "task"),
        ({"run": "span-tiny-s0-01234567"}, "belongs to run span"),
        ({"details": {"layer": np.int64(3)}}, "JSON"),
    ],
)
def test_a_malformed_score_is_not_written(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    folder = make_run(tmp_path)
    with pytest.raises(BenchError, match=message):
        make_score(folder, **keys)
    assert not list(folder.rglob("*.json.*"))
    assert read_runs(tmp_path)[0].scores == []
