"""Stereotype pairs from a user's file: both shapes, every number by hand, all faults.

The sentences are invented and are about seats and shoes.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.data.user_tasks import user_task
from bench.probing.task import DataRoot, NotApplicableError

NOISE = Noise(0, 0, torch.arange(1))


class Likes:
    """Log-likelihoods by the last word of a sentence."""

    scoring = "masked"

    def __init__(self, by_word):
        self.by_word = by_word

    def log_likelihood(self, texts, policy):
        assert policy == "original"
        return np.array([[self.by_word[text.rstrip(" .").split()[-1]], 3.0] for text in texts])


def crows(path: Path, rows=None, header=("", "sent_more", "sent_less", "bias_type")) -> Path:
    if rows is None:
        kinds = ("shoes", "seats")
        rows = [
            [
                i,
                f"Row {i} likes more.",
                f"Row {i} likes {('less', 'same')[i % 3 == 0]}.",
                kinds[i % 2],
            ]
            for i in range(12)
        ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def stereoset(path: Path, change=lambda examples: None) -> Path:
    gold = ("anti-stereotype", "stereotype", "unrelated")
    words = ("anti", "stereo", "none")

    def example(number, part):
        ends = words if number % 4 else ("anti", "weak", "none")
        sentences = [
            {
                "id": f"{number}{label}",
                "sentence": f"Sentence {number} ends {end}.",
                "gold_label": label,
            }
            for label, end in zip(gold, ends, strict=True)
        ]
        return {
            "bias_type": "shoes",
            "context": f"Context {part} {number}.",
            "sentences": sentences,
        }

    data = {
        part: [example(i, part) for i in range(8)] for part in ("intrasentence", "intersentence")
    }
    change(data["intrasentence"])
    path.write_text(json.dumps({"version": "1", "data": data}))
    return path


def task_of(path: Path, options: str = ""):
    task = user_task(f"bias:{path}{options}")()
    task.require(DataRoot())
    splits = task.load(DataRoot())
    task.check(splits)
    return task, splits


def test_crows_pairs_by_hand(tmp_path: Path) -> None:
    """12 pairs: in 4 both are equally likely (one half each), in 8 the stereotype is likelier."""
    task, splits = task_of(crows(tmp_path / "pairs.csv"))
    reader = Likes({"more": -3.0, "less": -5.0, "same": -3.0})
    score = task.score(reader, splits, NOISE)
    wins = np.array([0.5, 1, 1] * 4)
    assert score.value == pytest.approx(10 / 12) == wins.mean()
    assert score.stderr == pytest.approx(wins.std(ddof=1) / math.sqrt(12))
    assert score.metrics["distance_from_half"][0] == pytest.approx(10 / 12 - 0.5)
    assert list(score.metrics) == ["stereotype_share", "distance_from_half"]
    assert score.details["tie_rate"] == pytest.approx(4 / 12)
    even = [wins[i] for i in range(0, 12, 2)]
    assert score.details["buckets"]["shoes"] == [pytest.approx(np.mean(even)), 6]
    assert "50 is none" in score.details["meaning"]
    assert (task.is_diagnostic, splits.chance, len(splits.train)) == (True, 0.5, 0)
    reverse = Likes({"more": -5.0, "less": -3.0, "same": -5.0})
    score = task.score(reverse, splits, NOISE)
    assert score.value == pytest.approx(2 / 12)
    assert score.metrics["distance_from_half"][0] == pytest.approx(4 / 12)
    assert task.baselines(splits, NOISE)["majority"].value == 0.5


def test_other_names_of_columns(tmp_path: Path) -> None:
    path = crows(tmp_path / "pairs.csv", header=("", "a", "b", "kind"))
    _, splits = task_of(path, ",sent_more=a,sent_less=b,bias_type=kind,name=mine")
    assert splits.test["stereotype"][2] == "Row 2 likes more."
    with pytest.raises(BenchError, match="no column 'sent_more'"):
        task_of(path)


def test_stereoset_by_hand(tmp_path: Path) -> None:
    """16 examples; a quarter has `weak`, which is less likely than `anti` and than `none`."""
    task, splits = task_of(stereoset(tmp_path / "dev.json"))
    assert splits.test["stereotype"][9] == "Context intersentence 1. Sentence 1 ends stereo."
    assert splits.test["unrelated"][1] == "Sentence 1 ends none."
    reader = Likes({"stereo": -1.0, "anti": -2.0, "none": -3.0, "weak": -4.0})
    score = task.score(reader, splits, NOISE)
    ss = 12 / 16
    lms = (12 * 2 + 4 * 1) / 32  # of `weak` examples only the anti-stereotype is above
    assert score.value == ss
    assert score.metrics["lms"][0] == pytest.approx(lms)
    assert score.metrics["icat"][0] == pytest.approx(lms * min(ss, 1 - ss) / 0.5)
    assert score.metrics["distance_from_half"][0] == pytest.approx(0.25)
    for name in ("lms", "icat", "distance_from_half"):
        assert score.outcomes[name].mean() == pytest.approx(score.metrics[name][0])
    neutral = task.baselines(splits, NOISE)["majority"]
    assert neutral.metrics["icat"][0] == pytest.approx(0.5)


def test_the_error_of_icat_agrees_with_a_bootstrap(tmp_path: Path) -> None:
    from bench.probing.families.preference import preference_score

    generator = np.random.default_rng(0)
    import pandas as pd

    frame = pd.DataFrame({"bucket": ["x"] * 400})
    nats = generator.normal(size=(3, 400)) + np.array([[0.9], [0.5], [-0.6]])
    score = preference_score(nats, frame)
    drawn = []
    for _ in range(400):
        rows = generator.integers(0, 400, 400)
        drawn.append(preference_score(nats[:, rows], frame).metrics["icat"][0])
    assert score.metrics["icat"][1] == pytest.approx(np.std(drawn), rel=0.2)


def test_a_perfect_and_a_stereotyping_encoder_have_the_published_extremes(tmp_path: Path) -> None:
    import pandas as pd

    from bench.probing.families.preference import preference_score

    frame = pd.DataFrame({"bucket": ["x"] * 4})
    ideal = np.array([[2.0, 1, 2, 1], [1, 2, 1, 2], [0, 0, 0, 0]])
    assert preference_score(ideal, frame).metrics["icat"][0] == pytest.approx(1.0)
    biased = np.array([[2.0] * 4, [1.0] * 4, [0.0] * 4])
    assert preference_score(biased, frame).metrics["icat"][0] == pytest.approx(0.0)
    guessing = np.array([[0.0, 1, 0, 1], [1, 0, 1, 0], [2, -1, 2, -1]])
    assert preference_score(guessing, frame).metrics["icat"][0] == pytest.approx(0.5)


def test_a_run_without_a_head_is_not_applicable(tmp_path: Path) -> None:
    task, splits = task_of(crows(tmp_path / "pairs.csv"))

    class Headless(Likes):
        def log_likelihood(self, texts, policy):
            raise NotApplicableError("no head")

    with pytest.raises(NotApplicableError):
        task.score(Headless({}), splits, NOISE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[2]["sentences"].pop(), "intrasentence, example 3: 'unrelated' is missing"),
        (lambda e: e[2].pop("bias_type"), "intrasentence, example 3: 'bias_type' is missing"),
        (
            lambda e: e[2]["sentences"][0].__setitem__("gold_label", "odd"),
            "intrasentence, example 3: 'odd' is missing or unknown",
        ),
        (
            lambda e: e[2]["sentences"].append(e[2]["sentences"][0]),
            "intrasentence, example 3 has 4 sentences",
        ),
        (lambda e: e.__setitem__(2, "text"), "intrasentence, example 3: "),
    ],
)
def test_a_faulty_example_of_stereoset_is_named(tmp_path: Path, change, message) -> None:
    with pytest.raises(BenchError, match=message):
        task_of(stereoset(tmp_path / "dev.json", change))


def test_faulty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is a folder, and one file of pairs is needed"):
        task_of(tmp_path)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(BenchError, match="cannot be read as JSON"):
        task_of(broken)
    rows = [[i, f"Row {i} more.", "" if i == 4 else "Less.", "shoes"] for i in range(12)]
    with pytest.raises(BenchError, match="row 5"):
        task_of(crows(tmp_path / "gap.csv", rows))
    with pytest.raises(BenchError, match="3 rows, but at least 10"):
        task_of(crows(tmp_path / "few.csv", rows[:3]))
    with pytest.raises(BenchError, match="metric 'accuracy' is unknown"):
        user_task(f"bias:{crows(tmp_path / 'a.csv')},metric=accuracy")
    with pytest.raises(BenchError, match="no option of bias named 'split'"):
        user_task(f"bias:{crows(tmp_path / 'a.csv')},split=part")
