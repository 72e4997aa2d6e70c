"""Runs that did not learn are named first and do not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.records.store import read_runs
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, compare


def flat(compared: TableSet) -> str:
    return " ".join(render(compared).split())


LEVELS = {"token": 0.8, "detect": 0.5, "untrained": 0.55}


def build(out: Path, losses: dict[str, Any], task: str = "one") -> Path:
    for objective, level in LEVELS.items():
        for seed in range(2):
            keys = {}
            if objective in losses:
                keys = {"validation_loss": losses[objective][seed], "unigram_loss": 6.3}
            tokens = 0 if objective == "untrained" else 1000
            folder = make_run(out, objective, seed, tokens=tokens, **keys)
            make_score(folder, task, answers(level, task, objective, seed))
    return out


def test_a_loss_at_the_frequency_of_tokens_is_no_learning(tmp_path: Path) -> None:
    build(tmp_path, {"token": [5.0, 6.25]})
    text = flat(compare(tmp_path))
    assert text.index("Did not learn, so not counted: token (1 of 2 seeds)") < text.index("one: ")
    assert text.index("DID NOT LEARN: token (seed 1)") < text.index("scores")
    assert "its validation loss is 6.25 nats, and predicting every token by its frequency" in text
    assert "Raise --budget, or try other learning rates: --set training.learning_rate=" in text
    table = compare(tmp_path).tables[0]
    assert [len(row.finished) for row in table.rows if row.name == "token"] == [1]


def test_an_objective_of_which_no_seed_learned_is_out_of_the_ranking(tmp_path: Path) -> None:
    compared = compare(build(tmp_path, {"token": [6.4, 6.21]}))
    assert "DID NOT LEARN: token (every seed)" in flat(compared)
    assert "did not learn" in render(compared)
    (table,) = compared.tables
    assert [row.is_ranked for row in table.rows if row.name == "token"] == [False]
    assert table.cells["token", "one"].interval is not None  # it is shown
    assert not table.best


def test_seeds_that_lie_far_apart_are_called_so(tmp_path: Path) -> None:
    text = flat(compare(build(tmp_path, {"token": [4.8, 5.9]})))
    assert "SEEDS FAR APART: token ended at validation losses of 4.80, 5.90 nats" in text
    other = flat(compare(build(tmp_path / "near", {"token": [4.8, 4.9]})))
    assert "FAR APART" not in other


def test_features_decide_where_the_loss_has_no_floor(tmp_path: Path) -> None:
    build(tmp_path, {"token": [5.0, 5.1]}, task="self_shift")
    runs = read_runs(tmp_path)
    compared = TableSet.from_records(runs, suites={"self": ["self_shift"]})
    text = flat(compared)
    assert "DID NOT LEARN: detect (every seed)" in text
    assert "points below those of the untrained encoder on the self-supervised tasks" in text
    assert "DID NOT LEARN: token" not in text
    elsewhere = flat(TableSet.from_records(runs, suites={"self": ["self_other"]}))
    assert "DID NOT LEARN" not in elsewhere


def test_a_diverged_seed_did_not_learn(tmp_path: Path) -> None:
    for seed, status in enumerate(("finished", "diverged", "finished")):
        loss = {"validation_loss": None if status == "diverged" else 2.0, "unigram_loss": 4.0}
        folder = make_run(tmp_path, "token", seed, status=status, **loss)
        if status == "finished":
            make_score(folder, "one", answers(0.8, "one", "token", seed))
    assert "token 2 of 3 2.00 - 2.00" in flat(compare(tmp_path, baseline=None))


def test_two_versions_of_a_task_do_not_decide_who_learned(tmp_path: Path) -> None:
    task = "self_shift"
    for objective, level, data in (("detect", 0.6, "cd"), ("untrained", 0.7, "ab")):
        for seed in range(2):
            tokens = 0 if objective == "untrained" else 1000
            folder = make_run(tmp_path, objective, seed, tokens=tokens)
            make_score(folder, task, answers(level, task, objective, seed), data_sha256=data * 32)
    found = TableSet.from_records(read_runs(tmp_path), suites={"self": [task]})
    assert "DID NOT LEARN" not in flat(found)
    assert all(
        row.finished and row.is_ranked for row in found.tables[0].rows if row.name == "detect"
    )


def continued(out: Path, name: str, seed: int = 0, **keys: Any) -> None:
    """A run that continues a checkpoint, with its loss on a second corpus."""
    init = {"name": "old", "has_head": True, "keeps_head": True, "start_loss": 2.0}
    forgetting = {"corpus": "wiki", "corpus_sha256": "ab" * 32, "before": 3.0, "after": 3.5}
    init, forgetting = init | keys.pop("init", {}), forgetting | keys.pop("forgetting", {})
    folder = make_run(out, name, seed, init=init, forgetting=forgetting, **keys)
    make_score(folder, "sense", answers(0.6, "sense", name, seed))


def test_a_checkpoint_that_knows_the_text_already_is_ranked_and_named(tmp_path: Path) -> None:
    for seed in range(2):
        continued(tmp_path, "token", seed, validation_loss=2.1)
        continued(tmp_path, "span", seed, validation_loss=1.5)
    (table,) = compare(tmp_path).tables
    assert all(row.is_ranked for row in table.rows)
    warnings = [text for text in table.warnings if "NO LOWER LOSS" in text]
    assert len(warnings) == 1
    assert "NO LOWER LOSS: token predicts" in warnings[0]
    assert "2.00 -> 2.10, 2.00 -> 2.10 nats" in warnings[0]


def test_forgetting_is_shown_only_of_a_head_that_was_kept(tmp_path: Path) -> None:
    continued(tmp_path, "token", validation_loss=1.5)
    continued(tmp_path, "causal", validation_loss=1.5, init={"keeps_head": False})
    other = {"corpus": "books", "corpus_sha256": "cd" * 32}
    for seed, forgetting in enumerate(({}, other)):
        continued(tmp_path, "span", seed, validation_loss=1.5, forgetting=forgetting)
    text = " ".join(render(compare(tmp_path)).split())
    assert "3.00 -> 3.50" in text
    assert text.count("3.00 -> 3.50") == 1
    assert "of books and wiki" in text
    assert "the text of --forget (books and wiki)" in text
