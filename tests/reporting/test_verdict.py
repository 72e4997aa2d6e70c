from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.reporting import verdict as module
from tests.records.test_store import make_score
from tests.reporting.figures.test_figures import compare
from tests.reporting.test_text import answers, small


def verdict_of(out: Path, **keys: Any) -> str:
    return module.verdict(compare(out, **keys).tables[0])


def test_verdicts_agree_with_the_annotations_of_the_table(tmp_path: Path) -> None:
    clear = small(tmp_path / "a", {"token": 0.2, "span": 0.9, "untrained": 0.1})
    assert verdict_of(clear) == "span is significantly better than all others on the one task."
    even = small(tmp_path / "b", {"token": 0.5, "span": 0.505, "untrained": 0.1})
    assert verdict_of(even).startswith("None of the 2 objectives is significantly better")
    alone = small(tmp_path / "c", {"span": 0.9, "untrained": 0.1})
    assert verdict_of(alone) == "span is significantly above untrained on the one task."
    one_seed = small(tmp_path / "d", {"token": 0.1, "span": 0.9, "untrained": 0.1}, seeds=1)
    assert verdict_of(one_seed).startswith("With one seed, no difference")
    untrained = small(tmp_path / "e", {"untrained": 0.1})
    assert verdict_of(untrained).startswith("No pretrained objective finished")
    for run in clear.glob("runs/*"):
        name = run.name.split("-")[0]
        level = 0.5 if name != "untrained" else 0.1
        make_score(run, "other", answers(level, "other", name, 0))
    assert verdict_of(clear) == (
        "span is significantly better than all others on 1 of 2 tasks (sense); on the other 1, "
        "no objective is."
    )
