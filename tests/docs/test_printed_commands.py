"""Every command that the program prints can be pasted: in its tables, on its page, in its messages.

The lines are split as a shell splits them. A printed `bench run` is planned, not run: `plan` takes
its flags and refuses what `run` refuses. The records are made by hand, with the options of a
command whose paths have spaces.
"""

from __future__ import annotations

import ast
import html
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

import bench.plan
from bench import api
from bench.cli import app
from bench.engines.execution import RunResult
from bench.experiment import Experiment
from bench.reporting import directions
from bench.reporting.commands import commands
from bench.reporting.conclusions.next_step import NextStep
from bench.reporting.conclusions.verdict import verdict
from bench.reporting.curves import whole_command
from bench.reporting.figures.workers import ReportFigures
from bench.reporting.page import page
from bench.settings import as_mapping
from tests.docs.test_commands import output_of
from tests.helpers.by_hand import REGISTRY
from tests.helpers.paths import ROOT
from tests.records.test_store import make_run, make_score

OUT = "my results"
FILES = "my files é"
LABELS = f"classify:{FILES}/reviews.csv,text=review,label=stars"
RUN = [
    "--objective", "span(rate=0.3)", "--objective", "token",
    "--corpus", f"{FILES}/my_texts/a.txt", "--tasks", "word_class,sense_left",
    "--budget", "2M", "--seeds", "0-2", "--device", "cpu", "--out", OUT,
]  # fmt: skip
"""The options of a run whose records are below."""


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of these tests: fsync, and a registry for each command."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    for module in ("bench.registry", "bench.api", "bench.catalog"):
        monkeypatch.setattr(f"{module}.Registry", lambda: REGISTRY)


@pytest.fixture
def folder(user_files: Path, tmp_path: Path) -> Path:
    """A working folder with the user's files in a folder of their own."""
    (tmp_path / FILES).symlink_to(user_files)
    return tmp_path


def planned(words: Sequence[str], folder: Path) -> tuple[dict[str, Any], Experiment]:
    """What `bench plan` says about the options of a `bench run`, and the experiment behind it."""
    seen: list[Experiment] = []
    make_plan = bench.plan.make_plan

    def watched(experiment: Experiment, *rest: Any) -> bench.plan.Plan:
        seen.append(experiment)
        return make_plan(experiment, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.plan, "make_plan", watched)
        plan = json.loads(output_of(["bench", "plan", *words, "--json"], folder))
    return plan, seen[0]


def words_of(line: str, command: str) -> list[str]:
    """The words after `bench COMMAND` in a printed line."""
    words = shlex.split(line)
    assert words[:2] == ["bench", command]
    return words[2:]


Draw = Callable[[str, int, str], Any]
"""(objective, seed, task) -> outcomes, None for no score."""


def levels(**shares: float) -> Draw:
    """Outcomes that are correct on these shares of 100 examples, the same for every seed."""

    def draw(objective: str, seed: int, task: str) -> Any:
        order = np.random.default_rng(seed).permutation(100)
        return (order < 100 * shares[objective]).astype(float)

    return draw


SKILLS = levels(span=0.6, token=0.5, causal=0.4, whole_word=0.3, untrained=0.1)


def record(
    folder: Path,
    words: Sequence[str],
    draw: Draw = SKILLS,
    **keys: Any,
) -> tuple[dict[str, Any], Experiment]:
    """Records as the runs of these options leave them, without weights; the plan of the options."""
    plan, experiment = planned(words, folder)
    for budget in experiment.budgets:
        for name, objective in experiment.objectives.items():
            for seed in experiment.seeds if objective.trains or budget is experiment.budget else ():
                run = make_run(
                    folder / OUT, objective.name, seed, name, as_mapping(objective),
                    experiment.size.name, 2_000_000 if objective.trains else 0,
                    budget_tokens=budget.amount, corpus=experiment.corpus.display_name,
                    budget={"axis": budget.axis, "amount": budget.amount},
                    options=[list(pair) for pair in experiment.options], **keys,
                )  # fmt: skip
                for task, cls in experiment.tasks.items():
                    outcomes = draw(objective.name, seed, task)
                    if outcomes is not None:
                        make_score(run, task, outcomes, is_own=cls.is_own)
    return plan, experiment


def compared(folder: Path, *options: str) -> list[str]:
    """The lines that `bench compare` prints."""
    return output_of(["bench", "compare", "--out", OUT, *options], folder).splitlines()


def next_command(folder: Path) -> tuple[str, list[str]]:
    """The text of the next step, and the words of the command below it."""
    lines = compared(folder)
    (place,) = (i for i, line in enumerate(lines) if line.startswith("  bench run "))
    text = " ".join(lines[:place])
    return text[text.index("Next: ") :], words_of(lines[place], "run")


def options_of(words: Sequence[str], name: str) -> list[str]:
    return [value for option, value in zip(words[::2], words[1::2], strict=True) if option == name]


# --- the next step, one kind after the other


def normal(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without the order of objectives and tasks, and without what follows from the rest."""
    derived = ("pretraining_seconds", "disk_megabytes", "encoder_flops_per_run")
    plan = {key: value for key, value in plan.items() if key not in derived}
    return plan | {"runs": sorted(plan["runs"]), "tasks": sorted(plan["tasks"])}


def check_same(before: dict[str, Any], words: Sequence[str], folder: Path, **changes: Any) -> None:
    """The words plan the same as before, but for these keys of the plan."""
    assert normal(planned(words, folder)[0]) == normal(before | changes)
    assert options_of(words, "--out") == [OUT]


def test_a_clear_lead_asks_for_a_run_with_more_training(folder: Path) -> None:
    before, _ = record(folder, RUN, levels(span=0.9, token=0.3, untrained=0.1))
    text, words = next_command(folder)
    assert text.startswith("Next: 4 x the budget, to see whether the lead holds")
    check_same(before, words, folder, budget="8,000,000 tokens", tokens_per_run=8e6)


def test_no_lead_over_the_untrained_encoder_asks_for_more_training(folder: Path) -> None:
    record(folder, RUN, levels(span=0.3, token=0.2, untrained=0.9))
    text, words = next_command(folder)
    assert text.startswith(
        "Next: 4 x the budget, because on sense_left nothing is significantly above untrained"
    )
    runs = planned(words, folder)[0]["runs"]
    assert runs[0] == "span[rate=0.3]"


def test_objectives_that_did_not_learn_ask_for_more_training(folder: Path) -> None:
    before, _ = record(folder, RUN, validation_loss=4.8, unigram_loss=4.8)
    text, words = next_command(folder)
    assert text.startswith("Next: 4 x the budget, until the objectives learn")
    check_same(before, words, folder, budget="8,000,000 tokens", tokens_per_run=8e6)


def test_one_seed_asks_for_two_more(folder: Path) -> None:
    before, _ = record(folder, [*RUN, "--seeds", "0"])
    text, words = next_command(folder)
    assert text.startswith("Next: two more seeds of each objective")
    check_same(before, words, folder, seeds=[0, 1, 2])


def tie(objective: str, seed: int, task: str) -> Any:
    """Two objectives of the same skill, whose seeds differ by some points."""
    draw = np.random.default_rng([len(objective), seed])
    level = 0.1 if objective == "untrained" else 0.5 + 0.01 * draw.normal()
    return np.random.default_rng(seed).random(4_000) < level


def test_a_tie_asks_for_the_seeds_that_would_decide_it(folder: Path) -> None:
    before, _ = record(folder, RUN, tie)
    text, words = next_command(folder)
    (count,) = re.findall(r"^Next: (\d+) more seeds of ", text)
    check_same(before, words, folder, seeds=list(range(3 + int(count))))


def test_leaders_without_common_seeds_ask_for_the_same_ones(folder: Path) -> None:
    before, _ = record(folder, RUN, lambda *_: None)
    for run in (folder / OUT / "runs").iterdir():
        name, _, seed, _ = run.name.split("-")
        if (name, seed) not in (("token", "s0"), ("span", "s2")):
            make_score(run, "word_class", tie(name, int(seed[1:]), ""))
    text, words = next_command(folder)
    assert text.startswith("Next: the same seeds for")
    check_same(before, words, folder, tasks=["word_class"])


def test_a_tie_of_seeds_that_differ_too_much_asks_for_more_training(folder: Path) -> None:
    shares = {("span", 0): 0.95, ("span", 1): 0.3, ("span", 2): 0.9, ("token", 0): 0.3,
              ("token", 1): 0.9, ("token", 2): 0.5}  # fmt: skip
    record(folder, RUN, lambda name, seed, _: levels(x=shares.get((name, seed), 0))("x", 0, ""))
    text, words = next_command(folder)
    assert text.startswith("Next: 4 x the budget, because")
    assert options_of(words, "--budget") == ["8000000"]
    assert planned(words, folder)[0]["budget"] == "8,000,000 tokens"


@pytest.mark.parametrize(
    ("budget", "four_times"),
    [
        ("2M", "8,000,000 tokens"),
        ("300kpred", "1,200,000 predictions"),
        ("1e15flop", "4e+15 FLOPs"),
        ("1.5s", "6 seconds"),
    ],
)
def test_four_times_a_budget_is_a_budget_on_every_axis(
    folder: Path, budget: str, four_times: str
) -> None:
    record(folder, [*RUN, "--budget", budget], levels(span=0.9, token=0.3, untrained=0.1))
    assert planned(next_command(folder)[1], folder)[0]["budget"] == four_times


# --- the commands that repeat runs

OPTIONS = [
    ["--corpus", f"{FILES}/my_texts"],
    ["--corpus", f"{FILES}/my_texts/a.txt", "--corpus", f"{FILES}/my_texts/b.txt"],
    ["--corpus", f"{FILES}/table.csv", "--text-column", "body"],
    ["--corpus", "micro"],
    ["--objective", "mixture(components=0.7*span(rate=0.3,boundary=true)+0.3*causal)"],
    ["--objective", "span(rate=0.30->0.15,trim=token)", "--objective", "t5-infilling(roll=false)"],
    ["--objective", "span", "--set", "span.rate=0.3", "--set", "span.boundary=true"],
    ["--objective", "whole-word", "--set", "whole-word.rate=0.3", "--seeds", "1,4"],
    ["--task", LABELS],
    ["--task", LABELS, "--tasks", "none"],
    ["--tasks", "sst2,word_class", "--data", f"{FILES}/task_data"],
    ["--size", "mini"],
    ["--budget", "1e15flop"],
    ["--probe", "linear,knn", "--limit", "60"],
    ["--probe", "finetune", "--set", "finetune.learning_rates=0.001,0.01|0.1,0.2"],
    ["--set", "probe.c_grid=0.1,1", "--set", "probe.readouts=mix"],
    ["--set", "encoder.hidden_size=128", "--set", "training.batch_tokens=1024"],
    ["--tokenizer", "char"],
    ["--tune", "training.learning_rate=1e-3,2e-3,4e-3"],
    ["--tune", "span.rate=0.15,0.3", "--tune-on", "self"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_the_commands_of_a_report_plan_the_same_runs_again(
    folder: Path, options: list[str]
) -> None:
    words = ["--objective", "token", "--seeds", "0-1", "--budget", "2M", "--device", "cpu"]
    if "--corpus" not in options:
        words += ["--corpus", f"{FILES}/my_texts/a.txt"]
    if "--tasks" not in options:
        words += ["--tasks", "word_class,sense_left"]
    words += [*options, "--objective", "span"]
    before, _ = record(folder, words, lambda *_: [1.0, 0.0, 1.0])
    (table,) = api.compare(out=folder / OUT).tables
    (line,) = commands(table, OUT)
    check_same(before, words_of(line, "run"), folder)


def test_an_override_of_an_absent_objective_is_not_printed(folder: Path) -> None:
    """Of three objectives, the next step names the two leaders, and neither is `span`."""
    words = [*RUN[2:], "--objective", "span", "--objective", "causal", "--set", "span.rate=0.3"]
    record(folder, words, levels(span=0.2, token=0.6, causal=0.5, untrained=0.1))
    _, words = next_command(folder)
    assert planned(words, folder)[0]["runs"] == ["token", "causal", "untrained"]


def test_an_objective_whose_setting_was_tuned_stays_in_the_command(folder: Path) -> None:
    """What was tuned is part of the identity of every run, so `token` alone would not be compared
    with the `token` of the records."""
    words = [*RUN[2:], "--objective", "span", "--objective", "causal"]
    words += ["--tune", "span.rate=0.15,0.3", "--tune-on", "self"]
    record(folder, words, levels(span=0.2, token=0.6, causal=0.5, untrained=0.1))
    _, words = next_command(folder)
    plan, experiment = planned(words, folder)
    assert plan["runs"] == ["token", "causal", "span", "untrained"]
    assert experiment.tuning is not None
    assert experiment.tuning.labels == ("span.rate=0.15,0.3",)


def test_the_command_of_a_curve_has_its_points(folder: Path) -> None:
    before, _ = record(folder, [*RUN, "--curve", "3"])
    compared = api.compare(out=folder / OUT)
    assert len(compared.tables) == 3
    for table in compared.tables:
        whole, flag = whole_command(compared.curves, table)
        (line,) = commands(whole, OUT)
        check_same(before, words_of(line + flag, "run"), folder)


CURVE = [
    "--objective", "span", "--objective", "token", "--corpus", "micro", "--tasks", "word_class",
    "--seeds", "0-2", "--budget", "2M", "--curve", "3", "--device", "cpu",
]  # fmt: skip


def step_of(folder: Path, title: str) -> NextStep:
    """The next step of the only table with this in its title."""
    tables = api.compare(out=folder / OUT).tables
    (table,) = (table for table in tables if title in table.title)
    return verdict(table, OUT).next_step


@pytest.mark.parametrize(
    ("point", "budgets"), [("budget 2.0M", [2e6]), ("budget 500k", [2e6, 1e6, 5e5])]
)
def test_more_seeds_of_a_point_of_a_curve_read_the_same_corpus(
    folder: Path, point: str, budgets: list[float]
) -> None:
    """A generated corpus has the size that the longest run of its command needs."""
    _, experiment = record(folder, CURVE, tie)
    step = step_of(folder, point)
    assert "more seeds of" in step.text
    _, again = planned(words_of(step.command, "run"), folder)
    assert again.corpus == experiment.corpus
    assert [budget.amount for budget in again.budgets] == budgets


def test_more_seeds_of_a_point_of_a_curve_cost_all_of_its_points(folder: Path) -> None:
    record(folder, CURVE, tie, spent={"tokens": 1, "predictions": 1, "flops": 1, "seconds": 3600})

    def hours_of_a_seed(point: str) -> float:
        text = step_of(folder, point).text
        ((seeds, amount, unit),) = re.findall(
            r"^(\d+) more .* \(about ([\d.]+) (hours|days) of", text
        )
        return float(amount) * {"hours": 1, "days": 24}[unit] / int(seeds)

    assert hours_of_a_seed("budget 2.0M") == pytest.approx(2, rel=0.05)  # an hour of each leader
    assert hours_of_a_seed("budget 500k") == pytest.approx(2 * (4 + 2 + 1), rel=0.05)


def test_more_seeds_of_a_curve_on_files_are_of_its_point_alone(folder: Path) -> None:
    words = list(CURVE)
    words[words.index("micro")] = f"{FILES}/my_texts/a.txt"
    record(folder, words, tie)
    words = words_of(step_of(folder, "budget 500k").command, "run")
    assert options_of(words, "--budget") == ["500000"]
    assert options_of(words, "--curve") == []


def test_records_without_options_give_their_encoder_and_training_again(folder: Path) -> None:
    """Those of older versions: the command is put together from the facts."""
    words = ["--objective", "token", "--tasks", "word_class", "--seeds", "0", "--device", "cpu"]
    words += ["--set", "encoder.hidden_size=128", "--set", "encoder.mlp_size=96"]
    words += ["--set", "training.learning_rate=2e-3", "--set", "training.batch_tokens=1024"]
    words += ["--set", "encoder.max_length=128", "--set", "encoder.rotary_theta=256"]
    _, experiment = planned(words, folder)
    spec = {"encoder": as_mapping(experiment.shape), "training": as_mapping(experiment.training)}
    make_score(make_run(folder / OUT, spec=spec), "word_class")
    (line,) = commands(api.compare(out=folder / OUT).tables[0], OUT)
    _, again = planned(words_of(line, "run"), folder)
    assert (again.shape, again.training) == (experiment.shape, experiment.training)


# --- the end of a run, the page, and the published directions


def test_the_end_of_a_run_names_a_command_that_compares(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(folder, RUN)
    ids = [path.name for path in (folder / OUT / "runs").iterdir()]

    def finished(*_: Any, **__: Any) -> RunResult:
        return RunResult([], [])

    monkeypatch.setattr("bench.engines.running.run_experiment", finished)
    monkeypatch.setattr(RunResult, "run_ids", ids)
    said: list[str] = []
    monkeypatch.setattr("bench.engines.progress.log", said.append)
    output_of(["bench", "run", *RUN], folder)
    (line,) = (line for line in said if "bench compare" in line)
    words = shlex.split(line[line.index("bench compare") :])
    assert "span[rate=0.3]" in output_of(words, folder)


def line_of_page(folder: Path, command: str) -> str:
    """The line of the page with this command, as a browser shows it."""
    compared = api.compare(out=folder / OUT, baseline="span[rate=0.3]")
    sections = page.make_sections(compared, OUT, figures=ReportFigures(lambda _: []))
    text = page.render_page(sections, [], compared, OUT)
    lines = html.unescape(re.sub(r"<[^>]+>", "", text)).splitlines()
    starts = f"bench {command} --"
    return next(line.strip() for line in reversed(lines) if line.startswith(starts))


def test_the_page_names_a_command_that_repeats_its_runs(folder: Path) -> None:
    before, _ = record(folder, RUN)
    check_same(before, words_of(line_of_page(folder, "run"), "run"), folder)


def test_the_page_names_a_command_that_compares(folder: Path) -> None:
    record(folder, RUN)
    words = shlex.split(line_of_page(folder, "compare"))
    assert "difference to span[rate=0.3]" in output_of(words, folder)


@pytest.mark.slow
def test_the_page_names_a_command_that_makes_it_again(folder: Path) -> None:
    record(folder, RUN)
    output_of(shlex.split(line_of_page(folder, "report")), folder)
    assert (folder / OUT / "report" / "report.html").is_file()


def data_of_squad(folder: Path) -> list[str]:
    """The option for a data folder with the one task that published directions need."""
    rows = [
        json.loads(line) for line in (folder / FILES / "answers.jsonl").read_text().splitlines()
    ]
    for row in rows:
        start = row["context"].index(row["answers"])
        row["answers"] = {"text": [row["answers"]], "answer_start": [start]}
    (folder / "data" / "squad").mkdir(parents=True)
    for split in ("train", "validation"):
        pd.DataFrame(rows).to_parquet(folder / "data" / "squad" / f"{split}.parquet")
    return ["--data", "data"]


def test_the_commands_of_published_directions_can_be_planned(folder: Path) -> None:
    (folder / "TEXTS").symlink_to(folder / FILES / "my_texts")  # the user's text
    known = directions.read_directions()
    record(folder, [*RUN, "--objective", "causal"], lambda *_: None)  # runs without any score
    text = directions.render(directions.verify(api.compare(out=folder / OUT), known), OUT)
    lines = set(re.findall(r"bench run [^;\n]*?(?=; bench| \[published)", text))
    assert len(lines) > 5
    for line in lines:
        if "CHECKPOINT" in line:  # the user's
            continue
        words = words_of(line, "run")
        data = data_of_squad(folder) if "squad" in words and not (folder / "data").exists() else []
        planned([*words, *(["--data", "data"] if "squad" in words else data)], folder)
        assert words[-2:] == ["--out", OUT]


@pytest.mark.parametrize("parent", [".", "my packages"])
def test_the_next_steps_after_new_name_the_folder(folder: Path, parent: str) -> None:
    (folder / parent).mkdir(exist_ok=True)
    text = output_of(["bench", "new", "objective", "mine_alone", "--dir", parent], folder)
    install, test, _ = (shlex.split(line) for line in text.splitlines()[1:])
    assert install[:3] == ["pip", "install", "-e"]
    assert [len(install), len(test)] == [4, 2]
    assert (folder / install[3] / "pyproject.toml").is_file()
    assert (folder / test[1] / "tests").is_dir()


# --- the way out of an error

MISTAKES = [
    ["run", "--objective", "spam"],
    ["run", "--objective", ""],
    ["run", "--objective", "span", "--size", "tinny"],
    ["run", "--objective", "span", "--set", "span.rate=2"],
    ["run", "--objective", "whole-word", "--set", "whole-word.rat=2"],
    ["run", "--objective", "span(rate=2)"],
    ["run", "--objective", "mixture(components=span(rate=2)+token)"],
    ["run", "--objective", "span", "--set", "encoder.width=2"],
    ["run", "--objective", "span", "--set", "training.batch_tokens=0"],
    ["run", "--objective", "span", "--set", "probe.cs=2"],
    ["run", "--objective", "span", "--set", "probe.c_grid=0"],
    ["run", "--objective", "span", "--set", "finetune.rates=2"],
    ["run", "--objective", "span", "--tune", "training.rate=1,2"],
    ["run", "--objective", "span", "--corpus", "mikro"],
    ["run", "--objective", "span", "--corpus", ""],
    ["run", "--objective", "span", "--corpus", f"{FILES}/my_texts"],
    ["run", "--objective", "span", "--tasks", "sst3"],
    ["check", "spam"],
    ["show", "spam"],
    ["describe", "spam", "--out", OUT],
    ["compare", "--out", OUT, "--baseline", "tokn"],
    ["compare", "--out", OUT, "--only", "scoers"],
    ["compare", "--out", OUT, "--fail-if", "tokn < token"],
    ["compare", "--out", OUT, "--fail-if", "sens: span[rate=0.3] < token"],
    ["compare", "--out", OUT, "--fail-if", "aggregate sens: span[rate=0.3] < token"],
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_the_way_out_of_a_mistake_runs(
    folder: Path, mistake: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if OUT in mistake:
        record(folder, [*RUN, "--seeds", "0"])
    message = error_of(mistake, folder)
    found = re.search(
        r"[(;] ?(bench [^;()]*?)(?: and .*?/runs)? (?:shows|every)|\((bench list)\)", message
    )
    assert found is not None, message
    assert output_of(shlex.split(found[1] or found[2]), folder).strip()


def error_of(words: list[str], folder: Path) -> str:
    """The error message of a command."""
    with pytest.raises(AssertionError) as failed:
        output_of(["bench", *words], folder)
    return str(failed.value)


NAMED = r"(?:[(`]|(?:^|: )(?=bench [a-z]+ ?(?:--|$)))bench ([a-z]+)\b"
"""A command, and not prose as in `bench knows no such positions`."""


def test_every_command_in_a_message_of_the_program_exists() -> None:
    """Also those without their options, as in `bench run makes them`."""
    names = {*typer.main.get_command(app).commands}  # type: ignore[attr-defined]
    found: dict[str, str] = {}
    for path in (ROOT / "bench").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "bench " in text else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for word in re.findall(NAMED, node.value):
                    found.setdefault(word, str(path))
    assert {"run", "compare", "list", "describe", "new"} <= {*found}
    assert {word: path for word, path in found.items() if word not in names} == {}
