"""The files of an export, without the libraries that load them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from tokenizers import Tokenizer
from typer.testing import CliRunner

import bench
from bench.api import Run
from bench.cli import app
from bench.errors import BenchError, RefusedError
from bench.exporting.architecture import architecture_of
from bench.exporting.sentence_embeddings import chosen_embedding
from bench.pretraining.checkpoint import read_tensors
from bench.probing.reader.batching import read_rows
from bench.storage import file_sha256
from tests.exporting.conftest import FinishedRun
from tests.records.test_store import make_score

TEXTS = ["the old gate near a red wall", "a", ""]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def front_matter(folder: Path) -> Any:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---")[1])


@pytest.mark.parametrize(
    ("objective", "settings", "options", "class_name", "note"),
    [
        ("token", {}, {}, "ModernBertForMaskedLM", None),
        ("span", {}, {}, "ModernBertForMaskedLM", None),
        ("span", {"boundary": True}, {}, "ModernBertModel", "BoundaryHead"),
        ("causal", {}, {}, "ModernBertDecoderForCausalLM", None),
        ("causal", {}, {"attention": "bidirectional"}, "ModernBertModel", "would see the tokens"),
        ("prefix_lm", {}, {}, "ModernBertDecoderForCausalLM", "--as bidirectional"),
        ("mntp", {}, {}, "ModernBertModel", "one place off"),
        ("replaced_token", {}, {}, "ModernBertModel", "predicts no tokens"),
        ("token", {}, {"library": "sentence-transformers"}, "ModernBertModel", None),
        ("causal", {}, {"library": "sentence-transformers"}, "ModernBertDecoderModel", None),
    ],
)
def test_the_class_follows_from_head_and_attention(
    finished_run: FinishedRun,
    tmp_path: Path,
    objective: str,
    settings: dict[str, Any],
    options: dict[str, Any],
    class_name: str,
    note: str | None,
) -> None:
    run = finished_run(objective, **settings)
    exported = bench.export(run, tmp_path / "model", **options)
    assert exported.class_name == class_name
    config = read(exported.folder / "config.json")
    assert config["architectures"] == [class_name]
    is_causal = "Decoder" in class_name
    assert config["model_type"] == ("modernbert-decoder" if is_causal else "modernbert")
    notes = " ".join(exported.notes)
    assert note is None or note in notes
    assert ("Only the encoder is exported" in notes) is (
        note is not None and "For" not in class_name
    )
    assert all(
        sentence in (exported.folder / "README.md").read_text() for sentence in exported.notes
    )
    names = {name.partition(".")[0] for name in tensors(exported.folder)}
    head = {"lm_head", "decoder"} if is_causal else {"head", "decoder"}
    expected = {"model", *head} if "For" in class_name else {"embeddings", "layers", "final_norm"}
    assert names == expected


def test_the_configuration_names_what_transformers_would_assume(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    run = finished_run()
    config = read(bench.export(run, tmp_path / "model").folder / "config.json")
    shape, vocabulary = run.encoder.shape, run.tokenizer.vocabulary
    assert config["layer_types"] == ["full_attention"] * shape.num_layers
    assert config["global_attn_every_n_layers"] == 1
    for kind in ("full_attention", "sliding_attention"):
        assert config["rope_parameters"][kind]["rope_theta"] == shape.rotary_theta
    assert config["global_rope_theta"] == config["local_rope_theta"] == shape.rotary_theta
    assert config["max_position_embeddings"] == shape.max_length
    assert config["vocab_size"] == vocabulary.size
    for role in ("pad", "cls", "sep", "mask"):
        assert config[f"{role}_token_id"] == getattr(vocabulary, f"{role}_id")
    assert not any(value for key, value in config.items() if "dropout" in key)
    assert [key for key, value in config.items() if "bias" in key and value] == ["decoder_bias"]
    assert config["dtype"] == "float32"
    assert config["tie_word_embeddings"] is True


def test_the_weights_are_those_of_the_run(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = finished_run()
    exported = tensors(bench.export(run, tmp_path / "token").folder)
    own = {f"model.{name}": tensor for name, tensor in run.encoder.state_dict().items()}
    head = run.head.state_dict()
    own |= {f"head.{name}": head[name] for name in ("dense.weight", "norm.weight")}
    own |= {"decoder.bias": head["bias"]}
    assert exported.keys() == own.keys()
    assert all(torch.equal(tensor, own[name]) for name, tensor in exported.items())

    run = finished_run("causal")
    exported = tensors(bench.export(run, tmp_path / "causal").folder)
    assert not any("Wqkv" in name for name in exported)
    for index, layer in enumerate(run.encoder.layers):
        parts = [exported[f"model.layers.{index}.attn.{part}_proj.weight"] for part in "qkv"]
        assert torch.equal(torch.cat(parts), layer.attn.Wqkv.weight)


def test_the_tokenizer_builds_the_rows_of_bench(finished_run: FinishedRun, tmp_path: Path) -> None:
    for objective in ("token", "causal"):
        run = finished_run(objective)
        folder = bench.export(run, tmp_path / objective).folder
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for text, row in zip(TEXTS, read_rows(run.tokenizer, TEXTS, 32), strict=True):
            own = row.tokens.tolist()
            assert tokenizer.encode(text).ids == (own[:-1] if objective == "causal" else own)
        config = read(folder / "tokenizer_config.json")
        assert config["model_max_length"] == 32
        assert config["model_input_names"] == ["input_ids", "attention_mask"]
        assert config["mask_token"]["lstrip"] is True
        assert ("eos_token" in config) is (objective == "causal")


def test_mask_takes_the_space_before_it_in_the_export_only(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    run = finished_run()
    folder = bench.export(run, tmp_path / "model").folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (own,) = run.tokenizer.encode(["the[MASK] gate"], parse_special=True)
    assert tokenizer.encode("the [MASK] gate").ids[1:-1] == own.ids.tolist()
    (spaced,) = run.tokenizer.encode(["the [MASK] gate"], parse_special=True)
    assert len(spaced.ids) == len(own.ids) + 1


@pytest.mark.slow
def test_the_card_names_the_model_and_its_revision(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    run = finished_run("span", rate=0.3)
    exported = bench.export(run, tmp_path / "model", text_license="cc-by-4.0")
    front = front_matter(exported.folder)
    assert front["library_name"] == "transformers"
    assert front["pipeline_tag"] == "fill-mask"
    assert front["license"] == "cc-by-4.0"
    facts = front["bench"]
    assert facts["name"] == exported.name == f"bench/{run.id}"
    assert facts["revision"] == file_sha256(run.record.folder / "manifest.json")
    assert facts["settings"]["rate"] == 0.3
    assert facts["budget"] == {"axis": "tokens", "amount": 1024}
    text = (exported.folder / "README.md").read_text()
    assert 'pipeline("fill-mask", model="model")' in text
    assert "span[rate=0.3]" in text
    assert "## Licence of the text\n\ncc-by-4.0" in text
    assert "## Scores" not in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_the_card_shows_a_standard_error_for_one_seed_and_an_interval_for_several(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    run = finished_run("whole_word")
    make_score(run.record.folder, "sense", draw.random(50) < 0.7)
    text = (
        bench.export(finished_run("whole_word"), tmp_path / "one").folder / "README.md"
    ).read_text()
    row = re.search(r"^\| sense \| none \| accuracy \| (\S+) \| (\S+) \| 0.500 \|$", text, re.M)
    assert row is not None
    assert 0 < float(row[2]) < 0.1
    for seed in (1, 2):
        make_score(finished_run("whole_word", seed).record.folder, "sense", draw.random(50) < 0.7)
    text = (
        bench.export(finished_run("whole_word"), tmp_path / "two").folder / "README.md"
    ).read_text()
    row = re.search(
        r"^\| sense \| accuracy \| (\S+) \| (\S+) to (\S+) \| 3 \| 0.500 \|$", text, re.M
    )
    assert row is not None
    assert float(row[2]) < float(row[1]) < float(row[3])
    assert "this is seed 0" in text


def chosen(run: Run, *scores: dict[str, Any], attention: str = "native") -> tuple[int, str]:
    """The layer and pooling of a run that has these scores instead of its own."""
    shared = {"attention": "native", "task": "mine"}
    records = [SimpleNamespace(data=shared | score) for score in scores]
    run = dataclasses.replace(run, record=dataclasses.replace(run.record, scores=records))  # type: ignore[arg-type]
    embedding = chosen_embedding(run, architecture_of(run, attention, encoder_only=True))
    return embedding.layer, embedding.pooling


def test_the_embedding_is_what_the_tasks_chose(finished_run: FinishedRun) -> None:
    run = finished_run()
    low, high = [[0.1] * 3, [0.3, 0.9, 0.9], [0.2] * 3], [[0.5] * 3, [0.1] * 3, [0.2] * 3]
    classes: dict[str, Any] = {"family": "text classification", "details": {"grid": low}}
    cosine = {"family": "similarity", "details": {"grid": low, "cosine": {"grid": high}}}
    words = {"family": "tagging", "details": {"grid": high}}
    assert chosen(run) == (2, "mean")
    assert chosen(run, classes) == (1, "mean")
    assert chosen(run, classes, cosine) == (0, "mean")
    assert chosen(run, words) == (2, "mean")
    both = {"grid": low, "grids": {"raw": high, "whitened": low}}  # the export is raw
    assert chosen(run, {"family": "retrieval", "details": both}) == (0, "mean")
    trained = {"family": "retrieval", "details": {"grid": high, "contrastive": {"steps": 1}}}
    assert chosen(run, trained, classes) == (1, "mean")
    assert chosen(run, classes | {"attention": "bidirectional"}) == (2, "mean")
    assert chosen(finished_run("causal"), classes) == (1, "last")
    assert chosen(finished_run("causal"), classes, attention="bidirectional") == (2, "mean")
    assert chosen(finished_run("prefix_lm"), classes, attention="bidirectional") == (1, "mean")


@pytest.mark.slow
def test_the_modules_leave_out_the_special_tokens(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    grid = [[0.0] * 3, [1.0] * 3, [0.0] * 3]
    make_score(finished_run(rate=0.2).record.folder, details={"grid": grid})
    run = finished_run(rate=0.2)
    exported = bench.export(run, tmp_path / "model", library="sentence-transformers")
    folder = exported.folder
    assert exported.name == f"bench/{run.id}-layer1-mean"
    modules = [
        (each["path"], each["type"].rpartition(".")[2]) for each in read(folder / "modules.json")
    ]
    assert modules == [
        ("", "Transformer"),
        ("1_WeightedLayerPooling", "WeightedLayerPooling"),
        ("2_WordWeights", "WordWeights"),
        ("3_Pooling", "Pooling"),
    ]
    weights = read(folder / "2_WordWeights" / "config.json")
    vocabulary = run.tokenizer.vocabulary
    assert weights["word_weights"] == {str(vocabulary.sep_id): 0.0, str(vocabulary.cls_id): 1e-8}
    assert len(weights["vocab"]) == vocabulary.size
    layers = read_tensors(folder / "1_WeightedLayerPooling" / "model.safetensors")
    assert layers["layer_weights"].tolist() == [0, 1, 0]
    assert read(folder / "config.json")["output_hidden_states"] is True
    assert read(folder / "3_Pooling" / "config.json")["pooling_mode_mean_tokens"] is True
    assert front_matter(folder)["pipeline_tag"] == "sentence-similarity"


def test_a_used_folder_is_refused_and_an_empty_one_is_filled(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    run = finished_run()
    bench.export(run, tmp_path)
    files = sorted(tmp_path.iterdir())
    with pytest.raises(BenchError, match="is not an empty folder; name a new one"):
        bench.export(run, tmp_path)
    with pytest.raises(BenchError, match="is not an empty folder"):
        bench.export(run, tmp_path / "config.json")
    with pytest.raises(BenchError, match=r"cannot be made: .*config.json is not a folder"):
        bench.export(run, tmp_path / "config.json" / "model")
    assert sorted(tmp_path.iterdir()) == files


def test_mistakes_are_refused(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = finished_run(), tmp_path / "model"
    with pytest.raises(BenchError, match="has full attention already"):
        bench.export(run, folder, attention="bidirectional")
    with pytest.raises(BenchError, match="library: 'onnx' is none of 'transformers'"):
        bench.export(run, folder, library="onnx")  # type: ignore[arg-type]
    other = dataclasses.replace(run, encoder=torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="only bench's own encoder can be exported"):
        bench.export(other, folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="pip install transformers"):
        bench.export(run, folder, verify=True)
    assert not any(tmp_path.iterdir())


def test_an_export_that_differs_is_not_written(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise RefusedError("differs")

    monkeypatch.setattr("bench.exporting.import_library", lambda *arguments: None)
    monkeypatch.setattr("bench.exporting.differences_of", refuse)
    with pytest.raises(RefusedError):
        bench.export(finished_run(), tmp_path / "model", verify=True)
    assert not any(tmp_path.iterdir())


def test_the_command_writes_and_says_what_to_know(
    finished_run: FinishedRun, out: Path, tmp_path: Path
) -> None:
    run = finished_run("mntp")
    arguments = ["export", run.id, str(tmp_path / "model"), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert f"ModernBertModel, bench/{run.id}" in done.output
    assert "one place off" in done.output
    assert (tmp_path / "model" / "model.safetensors").is_file()
