"""Rows 1, 4-10: what is resumed is what was started, to the bit, or is refused."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from bench.corpus.preparation import PreparedCorpus, prepare_corpus
from bench.corpus.tokenizer import TextTokenizer
from bench.errors import BenchError, RefusedError, StoppedError
from bench.pretraining.checkpoint import checkpoints
from bench.pretraining.checkpoints.source import open_checkpoint
from bench.pretraining.tensors import read_tensors, write_tensors
from bench.records.run_folder import UNFINISHED, execute, load_run
from bench.spec import Budget, EncoderShape, Init, RunSpec, Training
from bench.storage import file_sha256, write_manifest
from tests.helpers.corpora import ListCorpus, numbered_sentences
from tests.helpers.runs import MakeSpec, ignore_progress, stop_after


@pytest.mark.parametrize("name", ["causal", pytest.param("span", marks=pytest.mark.slow)])
def test_fault_01_resumed_run_is_bit_equal_to_an_uninterrupted_run(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(name)
    whole = execute(spec, objective, corpus, tmp_path / "a", ignore_progress)
    for steps in (1, 4, 6):
        with pytest.raises(StoppedError):
            execute(spec, objective, corpus, tmp_path / "b", ignore_progress, stop_after(steps))
    assert not (tmp_path / "b" / spec.id).exists()
    resumed = execute(spec, objective, corpus, tmp_path / "b", ignore_progress)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)
    curves = [pq.read_table(f / "curve.parquet").to_pylist() for f in (whole, resumed)]
    for a, b in zip(*curves, strict=True):
        a.pop("seconds"), b.pop("seconds")
        assert repr(a) == repr(b)
    assert not list((tmp_path / "b" / UNFINISHED).glob("*/step-*"))


@pytest.fixture(scope="module")
def whole(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished run. Tests copy it and do not change it."""
    return execute(*make_spec(), corpus, tmp_path_factory.mktemp("whole"), ignore_progress)


def test_finished_run_is_reused(whole: Path, make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    before = (whole / "run.json").stat().st_mtime_ns
    assert execute(*make_spec(), corpus, whole.parent, ignore_progress) == whole
    assert (whole / "run.json").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def stopped(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that stopped after five steps. Tests copy it and do not change it."""
    runs = tmp_path_factory.mktemp("stopped")
    with pytest.raises(StoppedError):
        execute(*make_spec(), corpus, runs, ignore_progress, stop_after(5))
    return runs


@pytest.fixture
def interrupted(stopped: Path, make_spec: MakeSpec, tmp_path: Path) -> tuple[Any, Path]:
    """A copy of the stopped run in the folder of the test, as (arguments of `execute`, folder)."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    arguments = make_spec()
    return arguments, tmp_path / UNFINISHED / arguments[0].unfinished_id


@pytest.mark.parametrize("file", ["encoder", "optimizer", "head"])
@pytest.mark.parametrize("fault", ["flip", "cut", "empty", "missing", "pickle"])
def test_fault_05_damaged_checkpoint_is_refused(
    file: str, fault: str, interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    arguments, work = interrupted
    path = checkpoints(work)[-1] / f"{file}.safetensors"
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    damaged = {
        "flip": bytes(payload), "cut": bytes(payload[:100]), "empty": b"",
        "pickle": b"\x80\x04cos\nsystem\n(S'false'\ntR.",
    }  # fmt: skip
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[fault])
    with pytest.raises(RefusedError, match=path.name):
        execute(*arguments, corpus, tmp_path, ignore_progress)


CHOICES = {"tokens": "predictions", "dynamic": "static", "exact": "bernoulli", "token": "word",
           "bounded": "joined"}  # fmt: skip
"""Of values that have few choices, another one."""


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value * 2 + 2  # an even width stays divisible
    if isinstance(value, float):
        return value / 2 + 0.125
    return CHOICES.get(value, "f" * 64 if len(value) == 64 else value + "x")


def fields(value: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The places of all numbers and texts in a mapping."""
    if not isinstance(value, dict):
        return [above]
    return [place for key, inner in value.items() for place in fields(inner, (*above, key))]


def with_other(identity: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(identity)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other(inner[place[-1]])
    return changed


@pytest.fixture
def bounded(make_spec: MakeSpec) -> tuple[RunSpec, Any]:
    """A specification without a value that its identity leaves out."""
    spec, objective = make_spec()
    training = dataclasses.replace(spec.training, packing="bounded")
    return dataclasses.replace(spec, training=training), objective


def test_every_field_is_in_the_identity(bounded: tuple[RunSpec, Any]) -> None:
    spec, objective = bounded
    places = fields(spec.identity())
    owners = {"encoder": spec.encoder, "training": spec.training, "budget": spec.budget,
              "settings": objective}  # fmt: skip
    for owner, value in owners.items():
        names = {field.name for field in dataclasses.fields(value)}
        assert names == {place[1] for place in places if place[0] == owner}
    own = {field.name for field in dataclasses.fields(spec)} - owners.keys()
    assert own - {"display_name", "tuned", "init"} == {p[0] for p in places if len(p) == 1} - {
        "recipe"
    }


FIELDS = [
    ("recipe",), ("objective",), ("settings", "rate"), ("settings", "masking"), ("seed",),
    ("objective_code",), ("size",), ("device",), ("budget", "axis"), ("budget", "amount"),
    *(("encoder", field.name) for field in dataclasses.fields(EncoderShape)),
    *(("training", field.name) for field in dataclasses.fields(Training)),
]  # fmt: skip
FIELDS.remove(("training", "threads"))  # it may change where the user allows it
FIELDS.remove(("training", "packing"))  # the identity leaves its default out


def with_field(spec: RunSpec, place: tuple[str, ...]) -> RunSpec:
    """A specification with another value, which need not fit the other values."""
    value = getattr(spec, place[0])
    if len(place) == 1:
        return dataclasses.replace(spec, **{place[0]: other(value)})
    plain = value if isinstance(value, dict) else dict(vars(value))
    plain = plain | {place[1]: other(plain[place[1]])}
    if not isinstance(value, dict):
        changed = copy.copy(value)
        object.__setattr__(changed, place[1], plain[place[1]])
        plain = changed
    return dataclasses.replace(spec, **{place[0]: plain})


def test_fault_08_every_changed_field_is_another_run(bounded: tuple[RunSpec, Any]) -> None:
    """So the command with the change does not find the finished run."""
    spec, _ = bounded
    init = Init("bert", "1" * 64, "some", "folder", True)
    specs = [spec, dataclasses.replace(spec, init=init), dataclasses.replace(spec, tuned=("x",))]
    specs += [dataclasses.replace(spec, init=dataclasses.replace(init, sha256="2" * 64))]
    specs += [with_field(spec, place) for place in fields(spec.identity()) if place != ("recipe",)]
    known = {one.id for one in specs}
    assert len(known) == len(specs) > 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.spec.RECIPE", -1)
        assert spec.id not in known


@pytest.mark.parametrize("place", FIELDS, ids=".".join)
def test_fault_08_resuming_with_another_value_is_refused(
    place: tuple[str, ...], interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    """Also where the value is part of the name of the unfinished work, and was edited there."""
    arguments, work = interrupted
    identity = json.loads((work / "identity.json").read_text())
    (work / "identity.json").write_text(json.dumps(with_other(identity, place)))
    values = [identity, with_other(identity, place)]
    for key in place:
        values = [value[key] for value in values]
    with pytest.raises(RefusedError, match="changed since this run was started") as refused:
        execute(*arguments, corpus, tmp_path, ignore_progress)
    assert all(str(value) in str(refused.value) for value in values)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        pytest.param("corpus_sha256", "the corpus changed.*f{64}", id="fault 8"),
        pytest.param("tokenizer_sha256", "the tokenizer changed.*f{64}", id="fault 9"),
        ("objective_code", "the code of objective token changed.*f{64}"),
    ],
)
def test_fault_09_resuming_from_something_else_is_refused(
    field: str, message: str, interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    (spec, objective), _ = interrupted
    changed = dataclasses.replace(spec, **{field: "f" * 64})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("step-*/*")}
    with pytest.raises(RefusedError, match=message):
        execute(changed, objective, corpus, tmp_path, ignore_progress)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("step-*/*")}


@pytest.mark.parametrize("what", ["torch version was .* and is 9.9", "thread count was 1 .* is 2"])
def test_fault_10_a_resume_that_is_not_exact_is_refused_unless_allowed(
    what: str, interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    (spec, objective), _ = interrupted
    changed = dataclasses.replace(spec, torch_version="9.9")
    if "thread" in what:
        training = dataclasses.replace(spec.training, threads=2)
        changed = dataclasses.replace(spec, training=training)
    with pytest.raises(RefusedError, match=f"not bit-exact: {what}.*--allow-inexact"):
        execute(changed, objective, corpus, tmp_path, ignore_progress)


class _Payload:
    """A pickle that makes a folder where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_fault_06_a_pickle_is_never_loaded(
    interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    """As a checkpoint with a manifest that fits, as a tokenizer, and as weights to continue."""
    arguments, work = interrupted
    payload = pickle.dumps(_Payload(tmp_path / "was run"))
    folder = checkpoints(work)[-1]
    names = [path.name for path in folder.iterdir() if path.name != "manifest.json"]
    for name in ("encoder.safetensors", "state.json"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(payload)
        write_manifest(folder, names)
        with pytest.raises((RefusedError, ValueError)):
            execute(*arguments, corpus, tmp_path, ignore_progress)
        (folder / name).write_bytes(kept)
    (tmp_path / "tokenizer.json").write_bytes(payload)
    with pytest.raises(BenchError):
        TextTokenizer.from_file(tmp_path / "tokenizer.json")
    (tmp_path / "model.safetensors").write_bytes(payload)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BenchError):
        open_checkpoint(str(tmp_path))
    assert not (tmp_path / "was run").exists()
    pickle.loads(payload)
    assert (tmp_path / "was run").exists()  # so the payload works where it is loaded


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda tensor: tensor.double(), "torch.float64"),
        (lambda tensor: tensor[:-1], "torch.float32"),
    ],
)
@pytest.mark.parametrize("file", ["encoder", "head", "optimizer"])
def test_fault_07_another_dtype_or_shape_is_refused(
    file: str, change: Callable[[torch.Tensor], torch.Tensor], shown: str,
    interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path,
) -> None:  # fmt: skip
    arguments, work = interrupted
    folder = checkpoints(work)[-1]
    tensors = read_tensors(folder / f"{file}.safetensors")
    name = max(tensors, key=lambda name: tensors[name].dim())
    tensors[name] = change(tensors[name]).contiguous()
    write_tensors(folder / f"{file}.safetensors", tensors)
    write_manifest(folder, [path.name for path in folder.iterdir() if "manifest" not in path.name])
    with pytest.raises(RefusedError, match=rf"does not fit the model: expected .*got {shown}"):
        execute(*arguments, corpus, tmp_path, ignore_progress)


def test_fault_07_a_record_of_a_huge_encoder_is_refused_at_once(
    whole: Path, make_spec: MakeSpec, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / whole.name)
    record = json.loads((folder / "run.json").read_text())
    record["spec"]["encoder"]["num_layers"] = 10**5
    (folder / "run.json").write_text(json.dumps(record))
    names = [path.name for path in folder.iterdir() if path.name != "manifest.json"]
    write_manifest(folder, names)
    with pytest.raises(RefusedError, match=r"names an encoder of \d{3},\d{3},\d{3} parameters"):
        load_run(folder, make_spec()[1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """A corpus whose epoch ends after a few steps."""
    texts = ListCorpus(numbered_sentences(120))
    return prepare_corpus(texts, "char", 100, tmp_path_factory.mktemp("small"))


EXACT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("token", {"rate": "0.3->0.1"}, {"warmup": 0.5, "decay": 0.5}),
    ("causal", {}, {"warmup": 0.0, "decay": 0.0}),
    ("span", {}, {"warmup": 0.0, "decay": 1.0}),
    ("gpt_bert", {}, {"dropout": 0.1}),
    *((name, {}, {}) for name in ("biphasic", "mixture", "pmi", "replaced_token", "retromae")),
    *((name, {}, {}) for name in ("bart_denoise", "simcse", "t5_infilling", "tsdae")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "training"), EXACT, ids=[one[0] for one in EXACT])
def test_fault_01_resume_is_exact_with_every_schedule_and_head_and_over_epochs(
    name: str, settings: dict[str, Any], training: dict[str, Any], small: PreparedCorpus,
    make_spec: MakeSpec, tmp_path: Path,
) -> None:  # fmt: skip
    spec, objective = make_spec(name, **settings)
    spec = dataclasses.replace(
        spec,
        training=dataclasses.replace(spec.training, **training),
        encoder=dataclasses.replace(
            spec.encoder, vocab_size=small.tokenizer.vocabulary.size, num_heads=2
        ),
        corpus_sha256=small.corpus_sha256,
        tokenizer_sha256=small.tokenizer_sha256,
    )
    tokens = 2.5 * small.train.num_tokens
    spec = dataclasses.replace(spec, budget=Budget("tokens", tokens))
    whole = execute(spec, objective, small, tmp_path / "whole", ignore_progress)
    stops = 0
    for steps in (1, 9, 14):
        with contextlib.suppress(StoppedError):
            execute(spec, objective, small, tmp_path / "part", ignore_progress, stop_after(steps))
            continue
        stops += 1
    assert stops == 3
    resumed = execute(spec, objective, small, tmp_path / "part", ignore_progress)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)


def test_fault_04_damaged_finished_run_is_refused(
    whole: Path, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec()
    path = shutil.copytree(whole, tmp_path / whole.name) / "encoder.safetensors"
    payload = bytearray(path.read_bytes())
    payload[-7] ^= 1
    path.write_bytes(payload)
    with pytest.raises(RefusedError, match=r"encoder\.safetensors was changed"):
        execute(spec, objective, corpus, tmp_path, ignore_progress)


def test_fault_10_inexact_run_stays_inexact(
    interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    (spec, objective), _ = interrupted
    other = dataclasses.replace(spec, torch_version="9.9")
    with pytest.raises(StoppedError):
        execute(
            other, objective, corpus, tmp_path, ignore_progress, stop_after(2), allow_inexact=True
        )
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress, allow_inexact=True)
    assert json.loads((folder / "run.json").read_text())["is_inexact"] is True


@pytest.mark.slow
def test_fault_01_dropout_is_resumed_exactly_and_leaves_validation_alone(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec("token")
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, dropout=0.2))
    whole = execute(spec, objective, corpus, tmp_path / "whole", ignore_progress)
    with pytest.raises(StoppedError):
        execute(spec, objective, corpus, tmp_path / "part", ignore_progress, stop_after(5))
    resumed = execute(spec, objective, corpus, tmp_path / "part", ignore_progress)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)
    plain = execute(*make_spec("token"), corpus, tmp_path / "plain", ignore_progress)
    first, other = (
        pq.read_table(run / "curve.parquet").column("validation_loss").to_pylist()
        for run in (whole, plain)
    )
    assert first[0] == other[0]  # before the first step: dropout is off in validation
    assert first[-1] != other[-1]
