"""Tasks that fit something: the one protocol behind classification, pairs, tagging, similarity.

A family says what its examples are and what answers are worth; how they are read off the encoder
(`Task.probe`) is the same for all. Fine-tuning gives as many answers as it has seeds; their scores
are averaged example by example, and a collapsed seed is told and left out.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.probes import Criterion, ProbeSettings, chosen_units
from bench.probing.task import PROBES, Probe, Reader, Score, Splits, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples

CRITERIA: dict[str, Criterion] = {"accuracy": "accuracy", "spearman": "spearman"}
"""What a metric's choices are made by; `matthews` for those that look past frequent labels."""


class FittedTask(Task):
    """A task that is read off features by a probe, or by training the encoder on it."""

    probe_settings: ClassVar[ProbeSettings] = ProbeSettings()
    probes: ClassVar[tuple[Probe, ...]] = PROBES

    @abstractmethod
    def examples(self, frame: pd.DataFrame) -> Examples:
        """What a split asks."""

    @abstractmethod
    def answered(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """What answers to the test split are worth."""

    def sizes(self, frame: pd.DataFrame) -> np.ndarray:
        """How many labels each row has."""
        import numpy as np

        return np.ones(len(frame), dtype=np.int64)

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Read the training split, at most `max_train_examples` labels of it; answer the test."""
        self.check(splits)
        limit = self.probe_settings.max_train_examples
        rows = chosen_units(self.sizes(splits.train), noise, "probe.train", limit)
        train, test = self.examples(splits.train.iloc[rows]), self.examples(splits.test)
        criterion = CRITERIA.get(self.metric, "matthews")
        if self.probe == "finetune":
            from bench.probing.finetuning import finetune

            tuned, details = finetune(reader, train, test, noise, self.probe_settings, criterion)
            return mean_score([self.answered(splits, found, details) for found in tuned])
        from bench.probing.methods import method_of
        from bench.probing.probes import probe

        (read, cut), (asked, cut_test) = train.read(reader), test.read(reader)
        predicted, details = probe(
            read,
            asked,
            train.poolings,
            noise,
            self.probe_settings,
            method_of(self.probe),
            criterion,
        )
        return self.answered(splits, predicted, details | {"truncated_texts": cut + cut_test})


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean over seeds of fine-tuning; its error is of the examples' mean outcomes."""
    import numpy as np

    from bench.probing.metrics import standard_error

    columns = [name for name in scores[0].outcomes if name != "example"]
    numbers = [c for c in columns if scores[0].outcomes[c].dtype.kind in "biuf"]
    outcomes = scores[0].outcomes.copy()
    for name in numbers:
        outcomes[name] = np.mean([score.outcomes[name] for score in scores], axis=0)
    value = float(np.mean([score.value for score in scores]))
    stderr = standard_error(outcomes["outcome"].to_numpy())
    metrics = {
        name: (
            float(np.mean([score.metrics[name][0] for score in scores])),
            standard_error(outcomes[name if place else "outcome"].to_numpy()),
        )
        for place, name in enumerate(scores[0].metrics)  # the headline's outcomes come first
    }
    details = scores[0].details | {
        "seed_values": [score.value for score in scores],
        "seeds_averaged": len(scores),
    }
    return dataclasses.replace(
        scores[0],
        value=value,
        stderr=stderr,
        outcomes=outcomes,
        metrics=metrics,
        details=details,
    )
