"""The Python API as a researcher uses it: right calls, wrong calls, and what they say."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from bench.objectives.span import Span
from bench.objectives.token import Token
from bench.tasks.agreement import Agreement

import bench
from bench.corpus.microworld import Micro
from bench.engines.execution import RunResult
from bench.engines.jobs import BaselinesJob, Evaluation, JobState, RunJob
from bench.errors import BenchError
from bench.experiment import Experiment, resolve
from bench.probing.task import DataRoot
from bench.spec import Budget
from tests.conftest import REGISTRY, MakeSpec


@bench.settings
class Unknown(bench.MaskedObjective):
    """A class of a script: no worker process can load it."""

    name: ClassVar[str] = "unknown"
    summary: ClassVar[str] = "hides nothing"
    source: ClassVar[str] = "tests"

    def choose(self, batch: Any, noise: Any) -> Any:
        return batch.real & False


def experiment(objectives: Any, **options: Any) -> Experiment:
    return resolve(objectives, REGISTRY, **({"tasks": "none", "device": "cpu"} | options))


def names(objectives: Any, **options: Any) -> list[str]:
    return list(experiment(objectives, **options).objectives)


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ("token", ["token"]),
        ("token,span", ["token", "span"]),
        (["token", "whole-word"], ["token", "whole_word"]),
        (Token, ["token"]),
        (Token(rate=0.4), ["token[rate=0.4]"]),
        ([Token, Span(mean_length=4)], ["token", "span[mean_length=4.0]"]),
        ("span(rate=0.15|0.3|0.4)", ["span", "span[rate=0.3]", "span[rate=0.4]"]),
        ("span(rate=0.3,mean_length=2|4),token", [
            "span[rate=0.3,mean_length=2.0]", "span[rate=0.3,mean_length=4.0]", "token"]),
        ("mixture(components=0.5*span(rate=0.3)+0.5*token)", [
            "mixture[components=0.5*span(rate=0.3)+0.5*token]"]),
        ([bench.variants("token", rate=[0.15, 0.4]), "causal"], [
            "token", "token[rate=0.4]", "causal"]),
        ((name for name in ["token"]), ["token"]),
    ],
)  # fmt: skip
def test_objectives_as_a_person_passes_them(objectives: Any, expected: list[str]) -> None:
    assert names(objectives) == [*expected, "untrained"]


def test_all_objectives() -> None:
    assert set(names("all")) == set(REGISTRY.of("objective"))


def test_settings_apply_to_every_variant() -> None:
    found = names("span(rate=0.3|0.4)", settings={"span": {"mean_length": 4}})
    assert found[:2] == ["span[rate=0.3,mean_length=4.0]", "span[rate=0.4,mean_length=4.0]"]


@pytest.mark.parametrize(
    ("options", "field", "expected"),
    [
        ({"seeds": 3}, "seeds", [0, 1, 2]),
        ({"seeds": [0, 1]}, "seeds", [0, 1]),
        ({"seeds": "0-2"}, "seeds", [0, 1, 2]),
        ({"seeds": range(2, 4)}, "seeds", [2, 3]),
        ({"budget": 2_000_000}, "budget", Budget("tokens", 2e6)),
        ({"budget": "2M"}, "budget", Budget("tokens", 2e6)),
        ({"budget": 5e5}, "budget", Budget("tokens", 5e5)),
        ({"budget": Budget("seconds", 60)}, "budget", Budget("seconds", 60)),
        ({"tasks": ["agreement", "micro"]}, "tasks", 6),
        ({"tasks": Agreement}, "tasks", 1),
        ({"tasks": [Agreement()]}, "tasks", 1),
        ({"tasks": []}, "tasks", 0),
        ({"probe": ["linear", "knn"]}, "probes", ("linear", "knn")),
        ({"corpus": Micro(num_words=20_000)}, "corpus", Micro(num_words=20_000)),
    ],
)
def test_arguments_as_a_person_passes_them(options: Any, field: str, expected: Any) -> None:
    value = getattr(experiment("token", **options), field)
    assert (len(value) if field == "tasks" else value) == expected


def test_settings_as_a_mapping_and_as_text(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("some text of a user\n" * 40)
    for settings in ({"encoder": {"num_layers": 6}}, ["encoder.num_layers=6"]):
        found = experiment("token", settings=settings, corpus=tmp_path / "a b.txt")
        assert found.shape.num_layers == 6
        assert found.corpus.display_name == "a b.txt"
    listed = experiment("token", corpus=[str(tmp_path)]).corpus
    assert listed.fingerprint() == experiment("token", corpus=tmp_path).corpus.fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objectives": "spam"}, "did you mean 'span'"),
        ({"objectives": []}, "name an objective"),
        ({"objectives": None}, "objectives: None is not an objective"),
        ({"objectives": 3}, "objectives: 3 is not an objective"),
        ({"objectives": dict}, "is not an objective"),
        ({"objectives": Unknown}, "bench new objective unknown"),
        ({"objectives": Unknown()}, "worker processes load objectives by name"),
        ({"objectives": bench.MaskedObjective}, "is not an objective"),
        ({"objectives": "span(rate=7)"}, "span.rate"),
        ({"objectives": "span(ratio=0.3)"}, "did you mean 'rate'"),
        ({"objectives": "span(0.3)"}, "write SETTING=VALUE"),
        ({"objectives": "span(rate=0.3", }, "no objective named 'span(rate=0.3'"),
        ({"objectives": "span(rate=0.3)", "settings": {"span": {"rate": 0.2}}}, "a second time"),
        ({"seeds": 0}, "seeds 0: give the number of seeds"),
        ({"seeds": 2.5}, "seeds 2.5: give the number"),
        ({"seeds": ["a"]}, "seeds ['a']"),
        ({"seeds": True}, "seeds True"),
        ({"budget": -1}, "budget -1"),
        ({"budget": "lots"}, "2M (tokens)"),
        ({"budget": [1]}, "budget [1]"),
        ({"settings": {"encoder": 6}}, 'as {"encoder": {"num_layers": 6}}'),
        ({"settings": {"encoder": {"layers": 6}}}, "no setting of encoder named 'layers'"),
        ({"settings": "encoder"}, "write OWNER.SETTING=VALUE"),
        ({"settings": {"spam": {"rate": 1}}}, "training, probe, finetune, contrastive, token"),
        ({"settings": {"probe": {"rate": 1}}}, "no setting of probe named 'rate'"),
        ({"settings": ["probe.dev_fraction=0.1|2"]}, "probe.dev_fraction"),
        ({"size": "tinny"}, "did you mean 'tiny'"),
        ({"size": 3}, "size"),
        ({"corpus": "no_such.txt"}, "no_such.txt"),
        ({"corpus": 7}, "corpus: give a name, files or folders, got 7"),
        ({"corpus": [7]}, "corpus: give a path or a name as text, got 7"),
        ({"corpus": "micro2"}, "did you mean 'micro'"),
        ({"tasks": "sst3"}, "did you mean 'sst2'"),
        ({"tasks": 5}, "tasks: 5 is not a task"),
        ({"tasks": Token}, "is not a task"),
        ({"task": "classify:none.csv"}, "none.csv"),
        ({"tasks": "sst2", "data": "nowhere"}, "no such folder"),
        ({"data": 5}, "data: give a path"),
        ({"tokenizer": "none.json"}, "no such file"),
        ({"device": "tpu"}, "none of auto, cpu, cuda, mps"),
        ({"limit": 0}, "limit: give a whole number above 0, got 0"),
        ({"limit": "all"}, "limit: give a whole number"),
        ({"probe": "lineer"}, "--probe 'lineer' is none of"),
        ({"curve": 0}, "curve: give a whole number above 0"),
        ({"out": None}, "--out: give a folder"),
        ({"out": ""}, "--out: give a folder"),
        ({"seed": 3}, "no argument of bench.run named 'seed'; did you mean 'seeds'?"),
        ({"objective": "token"}, "did you mean 'objectives'?"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_argument_and_the_way_out(
    arguments: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"objectives": "token", "tasks": "none", "progress": False, "device": "cpu"}
    with pytest.raises(BenchError) as caught:
        bench.run(**(known | arguments))
    assert message in str(caught.value)
    assert not (tmp_path / "results" / "runs").exists()


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(BenchError, match="missing a required argument: 'objectives'"):
        bench.run()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: bench.compare(out=out / "none"), "no finished runs under"),
        (lambda out: bench.compare("spam", out=out), "no run named 'spam'"),
        (lambda out: bench.compare(out=out, tasks="sst2"), "no run has a score on any of them"),
        (lambda out: bench.compare(out=out, baseline="spam"), "no objective to compare with"),
        (lambda out: bench.compare(out=3), "--out: give a folder, got 3"),
        (lambda out: bench.compare(outt=out), "did you mean 'out'?"),
        (lambda out: bench.load_run("spam", out=out), "no run named 'spam'"),
        (lambda out: bench.features("token", [], out=out), "the list is empty"),
        (lambda out: bench.features("token", [3], out=out), "texts: give text"),
        (lambda out: bench.fill("token", "no mask", out=out), "[MASK]"),
        (lambda out: bench.variants("spam"), "did you mean 'span'"),
        (lambda out: bench.variants("span", rate=[0.1, 7]), "span.rate"),
        (lambda out: bench.variants("span", rat=0.1), "did you mean 'rate'"),
    ],
)
def test_mistakes_with_finished_runs(results: Path, call: Any, message: str) -> None:
    with pytest.raises(BenchError) as caught:
        call(results)
    assert message in str(caught.value)


def test_variants_are_objectives() -> None:
    found = bench.variants("span", rate=[0.15, 0.3], mean_length=[2, 4])
    assert len(found) == 4
    assert bench.variants(Span, rate=0.3) == [Span(rate=0.3)]


def test_a_loaded_run_has_encoder_tokenizer_and_record(results: Path) -> None:
    run = bench.load_run("t", out=results)  # a prefix of one run alone
    assert run.record.data["objective"] == run.objective.name == "token"
    assert run.encoder.shape.hidden_size == 64
    assert run.tokenizer.encode(["the old gate"])[0].ids.size
    assert len(repr(run).splitlines()) == 1


def test_features_are_an_array_per_layer_and_pooling(results: Path) -> None:
    run = bench.load_run("token", out=results)
    found = bench.features(run, ["the old gate", "a red wall by the lake"])
    layers, poolings = {layer for layer, _ in found}, {pooling for _, pooling in found}
    assert layers == set(range(run.encoder.shape.num_layers + 1))
    assert poolings == {"mean", "first", "last"}
    assert {one.shape for one in found.values()} == {(2, 64)}
    again = bench.features("token", "the old gate", out=results)
    # Another batch pads differently, which changes the last bits.
    np.testing.assert_allclose(again[3, "mean"][0], found[3, "mean"][0], atol=1e-5)


def test_the_comparison_of_a_run_is_a_screen(results: Path) -> None:
    comparison = bench.compare(out=results, baseline="untrained")
    text = repr(comparison)
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 100
    assert "token" in text
    assert "<table" in comparison._repr_html_()
    assert comparison.verdict
    long, wide = comparison.to_dataframe(), comparison.to_dataframe(format="wide")
    assert {"display_name", "task", "mean", "low", "high"} <= set(long.columns)
    assert "token" in wide.to_string()
    assert not comparison.fail_if("token.agreement > 0.99").failed


@pytest.mark.slow
def test_progress_is_shown_or_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for progress in (True, False):
        bench.run("token", budget="20k", seeds=1, tasks="none", out=tmp_path / str(progress),
                  progress=progress, device="cpu")  # fmt: skip
        shown = "".join(capfd.readouterr())
        assert bool(shown) is progress, shown
        assert ("tokens/s" in shown) is progress


@pytest.mark.slow
def test_a_run_from_another_thread(tmp_path: Path) -> None:
    """A notebook server or a GUI calls from where no signal handler can be installed."""
    import threading

    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(
            bench.run("token", budget="20k", seeds=1, tasks="none", out=tmp_path, progress=False)
        )
    )
    thread.start()
    thread.join()
    assert len(found) == 1


def test_dir_lists_the_public_names() -> None:
    public = [name for name in bench.__all__ if name != "__version__"]
    assert dir(bench) == sorted(bench.__all__)
    for name in public:
        assert getattr(bench, name) is not None
    with pytest.raises(AttributeError, match=r"did you mean 'bench\.compare'"):
        bench.compere  # noqa: B018


@pytest.mark.parametrize(
    "name",
    [
        *sorted(set(bench.__all__) - {"__version__", "Observer"}),
        pytest.param("Observer", marks=pytest.mark.slow),  # it trains
    ],
)
def test_examples_of_public_names_run(
    name: str, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = getattr(bench, name)
    text = inspect.getdoc(item) or ""
    assert re.search(r"^Examples:$", text, re.MULTILINE), f"bench.{name} has no Examples"
    monkeypatch.chdir(tmp_path)
    namespace = {"folder": results}
    parsed = doctest.DocTestParser().get_doctest(text, namespace, name, None, 0)
    assert parsed.examples
    if name == "run":
        pytest.skip("it trains: see the slow test")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    runner.run(parsed, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.slow
def test_the_example_of_run_runs(results: Path) -> None:
    parsed = doctest.DocTestParser().get_doctest(
        inspect.getdoc(bench.run) or "", {"folder": results}, "run", None, 0
    )
    runner, said = doctest.DocTestRunner(), []
    runner.run(parsed, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.fixture
def make_state(make_spec: MakeSpec) -> Any:
    evaluation = Evaluation(Path("out"), DataRoot())

    def make(status: str, exit_code: int = 0, objective: str = "span", kind: str = "run") -> Any:
        spec = dataclasses.replace(make_spec("span")[0], objective=objective)
        job = RunJob(spec, evaluation) if kind == "run" else BaselinesJob(evaluation)
        return JobState(job, status=status, exit_code=exit_code)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([("finished",)], 0),
        ([("failed", 1), ("finished",)], 4),
        ([("diverged",), ("finished",)], 4),
        ([("diverged",)], 4),
        ([("failed", 1)], 1),
        ([("failed", 3), ("failed", 3)], 3),  # all refused: that is the answer
        ([("failed", 3), ("failed", 1)], 1),
        ([("stopped", 75), ("failed", 1)], 75),
        ([("stopped", 130)], 130),
        ([("finished",), ("failed", 1, "span", "baselines")], 4),
    ],
)
def test_exit_code(states: list[Any], code: int, make_state: Any) -> None:
    others = [make_state("finished", 0, "untrained"), make_state("finished", kind="baselines")]
    result = RunResult([*(make_state(*state) for state in states), *others], [])
    assert result.exit_code == code


def test_the_baseline_counts_where_nothing_else_was_run(make_state: Any) -> None:
    assert RunResult([make_state("failed", 3, "untrained")], []).exit_code == 3


def test_jobs_and_events_survive_json(make_spec: MakeSpec, tmp_path: Path) -> None:
    from bench.engines import events
    from bench.engines.jobs import read_job

    evaluation = Evaluation(
        tmp_path, DataRoot(tmp_path, 5, "tiny"), ("agreement",), ("linear", "knn")
    )
    for job in (RunJob(make_spec("span")[0], evaluation, True, True), BaselinesJob(evaluation)):
        assert read_job(job.to_json(), tmp_path) == job
    for event in (
        events.Progress(0.5, 3, 2.0, 100, 10.0),
        events.Scoring("agreement"),
        events.Done("id", "finished"),
        events.Failure("why", 3),
        events.Note('a\n"b"'),
    ):
        assert events.read_event(event.to_line()) == event  # fmt: skip
    for line in ("", "{", "[]", '{"event": "spam"}', '{"event": "note"}'):
        with pytest.raises(ValueError, match=r"no event|Expecting"):
            events.read_event(line)
