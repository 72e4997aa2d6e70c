"""What transformers, sentence-transformers and mteb compute with an export: bench's own numbers."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import bench
from bench.errors import RefusedError
from bench.exporting.model import ExportedModel
from bench.exporting.verification import differences_of
from bench.pretraining.checkpoint import read_tensors
from bench.probing.reader.reader import RunReader
from tests.docs.pages import blocks
from tests.exporting.conftest import FinishedRun
from tests.helpers.paths import ROOT
from tests.records.test_store import make_score

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of other libraries
transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()
TEXTS = ["the old gate near a red wall", "a", "the horse was sold and found by the lake", ""]
TOLERANCE = 1e-5
OBJECTIVES = ("token", "span", "causal", "mntp", "replaced_token", "prefix_lm", "biphasic")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_export_is_verified(
    finished_run: FinishedRun, tmp_path: Path, objective: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(objective)
    exported = bench.export(run, tmp_path / "model", verify=True)
    names = [difference.split(" ")[0] for difference in exported.differences]
    has_head = "For" in exported.class_name
    assert names == (["hidden", "logits"] if has_head else ["hidden"])
    with capsys.disabled():
        print(f"\n{objective}: {exported.class_name}: {'; '.join(exported.differences)}")


@pytest.mark.parametrize(
    ("objective", "attention"),
    [(name, "native") for name in OBJECTIVES if name != "prefix_lm"]
    + [("causal", "bidirectional"), ("prefix_lm", "bidirectional")],
)
def test_hidden_states_are_the_features_of_bench(
    finished_run: FinishedRun, tmp_path: Path, objective: str, attention: Any
) -> None:
    run = finished_run(objective)
    folder = bench.export(run, tmp_path / "model", attention=attention).folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    batch = tokenizer(TEXTS[:3], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch, output_hidden_states=True).hidden_states
    pattern = run.objective.attention if attention == "native" else "full"
    features = RunReader(run.encoder, None, run.tokenizer, None, pattern).features(TEXTS[:3])
    ends = 1 if "Decoder" in type(model).__name__ else 2
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        for layer, state in enumerate(states):
            own = features.pooled[row, layer]
            tokens = state[row, 1 : length + 1 - ends].numpy()
            theirs = np.stack([tokens.mean(0), tokens[0], tokens[-1]])
            np.testing.assert_allclose(theirs, own, atol=TOLERANCE)


@pytest.mark.parametrize("objective", ["token", "span", "biphasic"])
def test_the_fill_mask_pipeline_predicts_as_bench_fill(
    finished_run: FinishedRun, tmp_path: Path, objective: str
) -> None:
    run = finished_run(objective)
    folder = bench.export(run, tmp_path / "model").folder
    fill = transformers.pipeline("fill-mask", model=str(folder))
    vocabulary = run.tokenizer.vocabulary
    for text in ("the [MASK] was old .", "[MASK] gate near a red wall"):
        theirs = {each["token"]: each["score"] for each in fill(text, top_k=vocabulary.size)}
        (own,) = bench.fill(run, text, k=20).places
        ordinary = {i: score for i, score in theirs.items() if i not in vocabulary.special_ids}
        best = sorted(ordinary, key=lambda i: -ordinary[i])[:20]
        assert [run.tokenizer.token(i) for i in best] == [token for token, _ in own]
        np.testing.assert_allclose([ordinary[i] for i in best], [p for _, p in own], atol=TOLERANCE)


def test_a_causal_export_scores_and_continues_as_bench(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    run = finished_run("causal")
    folder = bench.export(run, tmp_path / "model").folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    reader = RunReader(run.encoder, run.head, run.tokenizer, "causal", "causal")
    for text, (nats, count) in zip(TEXTS[:3], reader.log_likelihood(TEXTS[:3]), strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert ids.shape[1] == count + 1
        with torch.inference_mode():
            log_p = model(input_ids=ids).logits.log_softmax(-1)[0, :-1]
        total = log_p.gather(1, ids[0, 1:, None]).double().sum()
        assert float(total) == pytest.approx(nats, abs=TOLERANCE * count)
    generate = transformers.pipeline("text-generation", model=str(folder))
    (said,) = generate(TEXTS[0], max_new_tokens=12, do_sample=False)
    assert said["generated_text"].strip() == bench.fill(run, TEXTS[0]).text


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda config, weights: config["rope_parameters"]["full_attention"].update(rope_theta=9.0),
         "hidden states"),
        (lambda config, weights: config.update(hidden_activation="relu"), "hidden states"),
        (lambda config, weights: weights["decoder.bias"].add_(1e-3), "logits"),
    ],
)  # fmt: skip
def test_verification_finds_a_fault(
    finished_run: FinishedRun, tmp_path: Path, fault: Any, message: str
) -> None:
    from safetensors.torch import save_file

    model = ExportedModel.of(finished_run(), "native", is_sentence=False)
    model.write(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    values, tensors = json.loads(config.read_text()), read_tensors(weights)
    fault(values, tensors)
    config.write_text(json.dumps(values))
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(RefusedError, match=rf"differs from bench's own numbers: {message}"):
        differences_of(model, tmp_path)


def test_verification_finds_other_tokens(finished_run: FinishedRun, tmp_path: Path) -> None:
    model = ExportedModel.of(finished_run(), "native", is_sentence=False)
    model.write(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": {"type": "Lowercase"},
                                                               "pre_tokenizer": None}))  # fmt: skip
    with pytest.raises(RefusedError, match="the exported tokenizer"):
        differences_of(model, tmp_path)


@pytest.mark.parametrize(
    ("objective", "layer", "pooling"),
    [
        ("token", 2, "mean"), ("token", 1, "mean"), ("token", 0, "mean"),
        ("causal", 2, "mean"), ("causal", 1, "last"), ("replaced_token", 2, "mean"),
    ],
)  # fmt: skip
def test_sentence_embeddings_are_the_features_of_bench(
    finished_run: FinishedRun, tmp_path: Path, objective: str, layer: int, pooling: str
) -> None:
    library = pytest.importorskip("sentence_transformers")
    run = finished_run(objective, seed=10 + layer)
    grid = np.zeros((3, 3))
    grid[layer, ("mean", "first", "last").index(pooling)] = 1.0
    make_score(run.record.folder, details={"grid": grid.tolist()})
    exported = bench.export(
        run.record.folder, tmp_path / "model", library="sentence-transformers", verify=True
    )
    assert exported.differences[-1].startswith("sentence embeddings")
    model = library.SentenceTransformer(str(exported.folder), device="cpu", local_files_only=True)
    reader = RunReader(run.encoder, None, run.tokenizer, None, run.objective.attention)
    place = ("mean", "first", "last").index(pooling)
    own = reader.features(TEXTS).pooled[:, layer, place]
    np.testing.assert_allclose(model.encode(TEXTS), own, atol=TOLERANCE)
    assert model.max_seq_length == 32
    assert model.similarity_fn_name == "cosine"


@pytest.mark.parametrize(
    ("objective", "library"),
    [("token", "transformers"), ("causal", "transformers"), ("mntp", "transformers"),
     ("token", "sentence-transformers")],
)  # fmt: skip
def test_the_code_of_the_card_runs(
    finished_run: FinishedRun, tmp_path: Path, objective: str, library: Any
) -> None:
    if library != "transformers":
        pytest.importorskip("sentence_transformers")
    exported = bench.export(finished_run(objective), tmp_path / "model", library=library)
    card = (exported.folder / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    with contextlib.chdir(tmp_path):
        exec(compile(code, "README.md", "exec"), {})


def test_the_code_of_the_documentation_runs(finished_run: FinishedRun, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    run = finished_run()
    bench.export(run, tmp_path / "my_model")
    bench.export(run, tmp_path / "my_embeddings", library="sentence-transformers")
    examples = blocks("py", [ROOT / "docs" / "export.md"])
    assert len(examples) == 2
    with contextlib.chdir(tmp_path):
        for block in examples:
            exec(compile(block.text, block.name, "exec"), {})


def test_mteb_scores_an_export_and_keeps_two_exports_apart(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    library = pytest.importorskip("sentence_transformers")
    mteb = pytest.importorskip("mteb")
    datasets = pytest.importorskip("datasets")
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.models import ModelMeta

    words = ["old", "gate", "near", "a", "red", "wall", "by", "lake", "horse", "found"]
    draw = np.random.default_rng(0)
    pairs = [[" ".join(draw.choice(words, 6)) for _ in range(2)] for _ in range(40)]
    numbers = draw.random(40) * 5

    class InMemory(AbsTaskSTS):
        metadata = mteb.TaskMetadata(
            name="InMemory", description="made here", type="STS", category="t2t",
            modalities=["text"], reference="https://example.org", eval_splits=["test"],
            eval_langs=["eng-Latn"], main_score="cosine_spearman",
            dataset={"path": "none/none", "revision": "1"}, date=("2020-01-01", "2020-01-02"),
            domains=["Written"], task_subtypes=[], license="cc0-1.0",
            annotations_creators="derived", dialect=[], sample_creation="created",
            bibtex_citation="",
        )  # fmt: skip

        def load_data(self, **kwargs: Any) -> None:
            columns = {
                "sentence1": [a for a, _ in pairs],
                "sentence2": [b for _, b in pairs],
                "score": numbers.tolist(),
            }
            self.dataset = {"test": datasets.Dataset.from_dict(columns)}
            self.data_loaded = True

    cache, names = mteb.ResultCache(tmp_path / "cache"), set()
    for seed in (20, 21):
        run = finished_run("token", seed=seed)
        exported = bench.export(run, tmp_path / f"{seed}", library="sentence-transformers")
        model = library.SentenceTransformer(str(exported.folder), device="cpu")
        card = (exported.folder / "README.md").read_text()
        for line in re.findall(r"^model\.model_card_data\..*$", card, re.MULTILINE):
            exec(line, {"model": model})
        meta = ModelMeta.from_sentence_transformer_model(model)
        assert meta.name == f"bench/{run.id}"
        names.add((meta.name, meta.revision))
        result = mteb.evaluate(model, InMemory(), cache=cache, show_progress_bar=False)
        (scores,) = result.task_results[0].scores["test"]
        u, v = (bench.features(run, [pair[side] for pair in pairs])[2, "mean"] for side in (0, 1))
        cosines = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        own = scipy.stats.spearmanr(cosines, numbers).statistic
        assert scores["cosine_spearman"] == pytest.approx(own, abs=TOLERANCE)
    assert len(names) == 2
