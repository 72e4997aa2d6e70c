"""Runs that continue a checkpoint: every objective, resumable, and named after its bytes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.corpus.preparation import PreparedCorpus, prepare_corpus
from bench.errors import BenchError, RefusedError, StoppedError
from bench.experiment import resolve
from bench.pretraining.checkpoints.adapter import CheckpointEncoder, CheckpointHead
from bench.pretraining.checkpoints.modules import initial_modules, load_checkpoint_modules
from bench.pretraining.checkpoints.source import open_checkpoint
from bench.pretraining.heads import TokenHead
from bench.records.run_folder import execute, load_run
from bench.spec import RunSpec
from bench.storage import file_sha256
from tests.helpers.checkpoints import FAMILIES, WORDS, saved_model
from tests.helpers.corpora import ListCorpus
from tests.helpers.registry import REGISTRY

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

TEXTS = [
    " ".join(WORDS[(7 * i + 3 * j) % len(WORDS)] for j in range(12 + i % 9)) for i in range(120)
]


def continuing(
    init: Path, name: str, cache: Path, seed: int = 0, tokens: int = 1280
) -> tuple[RunSpec, Any, PreparedCorpus]:
    """A run of 20 steps of two rows: its specification, its objective and its corpus."""
    experiment = resolve(
        name, REGISTRY, corpus=ListCorpus(TEXTS), tasks="none", budget=tokens, seeds=[seed],
        init=init, settings={"training": {"batch_tokens": 64, "threads": 1}}, device="cpu",
    )  # fmt: skip
    prepared = prepare_corpus(
        experiment.corpus, experiment.tokenizer, experiment.shape.vocab_size, cache
    )
    spec = next(one for one in experiment.specs(prepared) if one.objective == name)
    return spec, experiment.objectives[name], prepared


def stop_after(steps: int) -> Any:
    left = [steps]

    def should_stop() -> BaseException | None:
        left[0] -= 1
        return StoppedError("stopped") if left[0] <= 0 else None

    return should_stop


ALL = ("token", "span", "causal", "replaced_token", "tsdae", "simcse", "retromae")
CASES = [
    (name, family)
    for family in FAMILIES
    for name in (ALL if family in ("bert", "modernbert") else ("span", "replaced_token"))
]


@pytest.mark.parametrize(("name", "family"), CASES)
def test_every_objective_continues_and_resumes_bit_exactly(
    name: str, family: str, tmp_path: Path
) -> None:
    init = saved_model(family, tmp_path)[1]
    spec, objective, corpus = continuing(init, name, tmp_path / "cache")
    whole = execute(spec, objective, corpus, tmp_path / "a", lambda progress: None)
    with pytest.raises(StoppedError):
        execute(spec, objective, corpus, tmp_path / "b", lambda progress: None, stop_after(7))
    resumed = execute(spec, objective, corpus, tmp_path / "b", lambda progress: None)
    for file in ("encoder.safetensors", "head.safetensors", "architecture.json"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)
    record = json.loads((whole / "run.json").read_text())
    assert record["spent"]["steps"] >= 20
    assert record["init"]["name"] == init.name
    encoder, head, _ = load_run(whole, objective)
    assert isinstance(encoder, CheckpointEncoder)
    start = load_checkpoint_modules(open_checkpoint(str(init)).init, spec.encoder)[0].state_dict()
    changed = [key for key, value in encoder.state_dict().items() if not value.equal(start[key])]
    assert len(changed) == len(start)
    is_own = name in ("token", "span", "causal") and family != "electra_small"
    assert isinstance(head, CheckpointHead) == is_own
    if name == "retromae":  # its token head is a part of its head
        assert isinstance(head.token, CheckpointHead)


def test_a_run_of_a_run_starts_from_its_weights_and_its_head(tmp_path: Path) -> None:
    init = saved_model("bert", tmp_path)[1]
    first = execute(*continuing(init, "token", tmp_path / "cache"), tmp_path, lambda progress: None)
    spec, objective, corpus = continuing(first, "span", tmp_path / "cache")
    assert spec.size == "bert_3x24"
    encoder, head = initial_modules(spec, objective, corpus.tokenizer.vocabulary)
    for module, file in ((encoder, "encoder.safetensors"), (head, "head.safetensors")):
        saved = load_file(first / file)
        assert saved.keys() == module.state_dict().keys()
        for key, value in module.state_dict().items():
            assert torch.equal(saved[key], value)


def test_a_run_of_bench_is_continued_with_its_own_encoder(
    make_spec: Any, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    first = execute(*make_spec("token"), corpus, tmp_path, lambda progress: None)
    checkpoint = open_checkpoint(str(first))
    assert checkpoint.init.family == "bench"
    spec, objective, own = continuing(first, "causal", tmp_path / "cache")
    assert spec.encoder.rotary_theta == checkpoint.shape.rotary_theta
    encoder, head = initial_modules(spec, objective, own.tokenizer.vocabulary)
    saved = load_file(first / "encoder.safetensors")
    assert all(torch.equal(saved[key], value) for key, value in encoder.state_dict().items())
    assert type(head) is TokenHead
    assert torch.equal(head.dense.weight, load_file(first / "head.safetensors")["dense.weight"])
    spec, objective, own = continuing(first, "mixture", tmp_path / "cache")
    _, head = initial_modules(spec, objective, own.tokenizer.vocabulary)
    weights = [child.dense.weight for child in head.modules() if type(child) is TokenHead]
    assert weights
    assert torch.equal(weights[0], load_file(first / "head.safetensors")["dense.weight"])


def test_the_untouched_checkpoint_is_a_run_of_no_steps_for_one_seed(tmp_path: Path) -> None:
    model, init = saved_model("modernbert", tmp_path)
    experiment = resolve(
        "token", REGISTRY, corpus=ListCorpus(TEXTS), tasks="none", budget=640, seeds=3,
        init=init, device="cpu",
    )  # fmt: skip
    prepared = prepare_corpus(
        experiment.corpus, experiment.tokenizer, experiment.shape.vocab_size, tmp_path / "cache"
    )
    untouched = [one for one in experiment.specs(prepared) if one.objective == "untrained"]
    assert [(one.seed, one.display_name) for one in untouched] == [(0, "not continued")]
    assert len({one.comparison for one in experiment.specs(prepared)}) == 1
    objective = experiment.objectives["untrained"]
    folder = execute(untouched[0], objective, prepared, tmp_path, lambda progress: None)
    saved = load_file(folder / "encoder.safetensors")
    own = model.model.layers[1].attn.Wqkv.weight
    assert torch.equal(saved["model.layers.1.attn.Wqkv.weight"], own)


def test_the_identity_changes_with_the_bytes_and_changed_bytes_are_refused(
    tmp_path: Path,
) -> None:
    init = saved_model("bert", tmp_path)[1]
    spec, objective, corpus = continuing(init, "token", tmp_path / "cache")
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    path = init / "model.safetensors"
    weights = load_file(path)
    name = "bert.embeddings.word_embeddings.weight"
    weights[name] = weights[name] + 1e-3
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(RefusedError, match="was changed"):
        execute(spec, objective, corpus, tmp_path, lambda progress: None)
    changed, *_ = continuing(init, "token", tmp_path / "cache")
    assert changed.id != spec.id
    assert changed.comparison != spec.comparison
    moved = init.rename(tmp_path / "elsewhere")
    assert continuing(moved, "token", tmp_path / "cache")[0].id == changed.id


def test_the_loss_on_a_second_corpus_is_measured_before_and_after(tmp_path: Path) -> None:
    init = saved_model("roberta", tmp_path)[1]
    spec, objective, corpus = continuing(init, "token", tmp_path / "cache")
    second = prepare_corpus(
        ListCorpus([" ".join(reversed(text.split())) for text in TEXTS]),
        corpus.folder / "tokenizer.json", spec.encoder.vocab_size, tmp_path / "cache",
    )  # fmt: skip
    folder = execute(spec, objective, corpus, tmp_path, lambda progress: None, forget=second)
    forgetting = json.loads((folder / "run.json").read_text())["forgetting"]
    losses = pq.read_table(folder / "curve.parquet").column("forget_loss").to_pylist()
    assert (forgetting["before"], forgetting["after"]) == (losses[0], losses[-1])
    assert losses[0] != losses[-1]


def record_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text()))


def still(spec: RunSpec) -> RunSpec:
    """The specification with a learning rate that moves no weight."""
    return dataclasses.replace(
        spec, training=dataclasses.replace(spec.training, learning_rate=1e-30)
    )


def test_an_objective_that_changes_with_progress_is_compared_with_itself(tmp_path: Path) -> None:
    init = saved_model("bert", tmp_path)[1]
    spec, objective, corpus = continuing(init, "biphasic", tmp_path / "cache")
    folder = execute(still(spec), objective, corpus, tmp_path, lambda progress: None, forget=corpus)
    record = record_of(folder)
    losses = pq.read_table(folder / "curve.parquet").column("validation_loss").to_pylist()
    assert losses[0] != pytest.approx(losses[-1], abs=0.01)  # causal at first, masked at the end
    assert record["forgetting"]["before"] == pytest.approx(record["forgetting"]["after"], abs=1e-4)
    assert record["init"]["start_loss"] == pytest.approx(losses[-1], abs=1e-4)
    assert record["init"]["keeps_head"]


@pytest.mark.parametrize("name", ["causal", "replaced_token", "t5_infilling", "mntp"])
def test_another_head_or_another_prediction_is_not_the_checkpoints(
    name: str, tmp_path: Path
) -> None:
    spec, objective, corpus = continuing(
        saved_model("bert", tmp_path)[1], name, tmp_path / "cache", tokens=256
    )
    folder = execute(spec, objective, corpus, tmp_path, lambda progress: None)
    assert record_of(folder)["init"]["keeps_head"] is False


def test_another_second_corpus_is_said_and_never_mixed(tmp_path: Path) -> None:
    spec, objective, corpus = continuing(
        saved_model("bert", tmp_path)[1], "token", tmp_path / "cache"
    )
    second = prepare_corpus(
        ListCorpus([f"{text} red gate" for text in TEXTS]),
        corpus.folder / "tokenizer.json", spec.encoder.vocab_size, tmp_path / "cache",
    )  # fmt: skip
    done = lambda progress: None  # noqa: E731
    with pytest.raises(StoppedError):
        execute(spec, objective, corpus, tmp_path, done, stop_after(7), forget=second)
    with pytest.raises(RefusedError, match="--forget changed since this run was started"):
        execute(spec, objective, corpus, tmp_path, done, forget=corpus)
    notes: list[str] = []
    execute(spec, objective, corpus, tmp_path, done, forget=second)
    execute(spec, objective, corpus, tmp_path, done, on_note=notes.append, forget=second)
    assert notes == []
    execute(spec, objective, corpus, tmp_path, done, on_note=notes.append, forget=corpus)
    assert "was finished with --forget" in notes[0]


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    folder = saved_model("bert", tmp_path)[1]
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("[MASK]", "[HIDE]"))
    with pytest.raises(BenchError, match=r"has no \[MASK\]"):
        open_checkpoint(str(folder))


def _without_head_norm(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "predictions.transform.LayerNorm" in name]:
        del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _with(key: str, value: Any) -> Any:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {key: value}))

    return change


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _without_a_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _load(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    load_checkpoint_modules(checkpoint.init, checkpoint.shape)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_head_norm, "do not fit its config.json: cls.predictions.transform.LayerNorm"),
        (_with("num_hidden_layers", 1), r"do not fit its config.json: .*layer\."),
        (_with("intermediate_size", 60), "do not fit its config.json"),
        (_with("hidden_size", "24"), "no configuration of bert|fit no encoder|hidden_size"),
        (_with("num_attention_heads", 5), "fit no encoder"),
        (_with("max_position_embeddings", -1), "fit no encoder"),
        (_cut, "is cut off"),
        (_without_a_shard, "lacks model-2.safetensors"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    folder = saved_model("bert", tmp_path)[1]
    change(folder)
    with pytest.raises((BenchError, RefusedError), match=words):
        _load(folder)
