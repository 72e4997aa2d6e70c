"""Tasks that fit a probe: one protocol for classification, pairs, tagging and similarity.

A family defines its examples and the score of predictions; the evaluation by any probe
(`Task.probe`) is the same for all families. Fine-tuning gives one set of predictions per seed.
Their scores are averaged example by example; the details name a collapsed seed, and the mean
excludes it.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.protocol import Criterion, FinetuneSettings, ProbeSettings
from bench.probing.sampling import chosen_units
from bench.probing.task import PROBES, NotApplicableError, Probe, Reader, Score, Splits, Task
from bench.settings import as_mapping, changed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd

    from bench.pretraining.noise import Noise
    from bench.probing.examples import Examples

CRITERIA: dict[str, Criterion] = {"accuracy": "accuracy", "spearman": "spearman"}
"""The criterion of choices by metric; `matthews` for metrics that discount frequent labels."""


class ProbedTask(Task):
    """A task that a probe of features predicts, or the encoder after fine-tuning."""

    probe_settings: ProbeSettings = ProbeSettings()
    finetune_settings: FinetuneSettings = FinetuneSettings()
    probes: ClassVar[tuple[Probe, ...]] = PROBES

    @abstractmethod
    def examples(self, frame: pd.DataFrame) -> Examples:
        """The examples of a split."""

    @abstractmethod
    def score_predictions(self, splits: Splits, predicted: Any, details: dict[str, Any]) -> Score:
        """The score of predictions for the test split."""

    def num_labels(self, frame: pd.DataFrame) -> np.ndarray:
        """The number of labels of each row."""
        import numpy as np

        return np.ones(len(frame), dtype=np.int64)

    def configure(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Change settings of the probe and of fine-tuning.

        Raises:
            BenchError: A value is out of range.
        """
        super().configure(settings)
        own = settings.get("finetune", {})
        self.finetune_settings = changed(self.finetune_settings, own, "finetune")

    def identity(self) -> dict[str, Any]:
        """The settings and the probe as plain values, with those of fine-tuning if it is used."""
        return super().identity() | (
            as_mapping(self.finetune_settings) if self.probe == "finetune" else {}
        )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Fit on train, at most `max_train_examples` labels of it; predict test.

        Raises:
            NotApplicableError: The probe is `contrastive`: this family does not compare cosines.
        """
        if self.probe == "contrastive":
            raise NotApplicableError(
                "the contrastive stage is for tasks that cosines of embeddings solve (similarity, "
                f"retrieval, clustering); {self.family} fits a probe: linear, mlp, knn or finetune"
            )
        self.check(splits)
        limit = self.probe_settings.max_train_examples
        rows = chosen_units(self.num_labels(splits.train), noise, "probe.train", limit)
        train, test = self.examples(splits.train.iloc[rows]), self.examples(splits.test)
        criterion = CRITERIA.get(self.metric_of(splits), "matthews")
        texts = {"texts": sum(one.num_texts for one in (train, test))}
        if self.probe == "finetune":
            from bench.probing.finetuning import finetune

            by_seed, details = finetune(
                reader,
                train,
                test,
                noise,
                self.probe_settings,
                criterion,
                self.finetune_settings,
            )
            details |= texts
            return mean_score([self.score_predictions(splits, each, details) for each in by_seed])
        from bench.probing.methods import method_of
        from bench.probing.probes import probe

        (features, cut), (test_features, cut_test) = train.encode(reader), test.encode(reader)
        predicted, details = probe(
            features,
            test_features,
            noise,
            self.probe_settings,
            method_of(self.probe),
            criterion,
        )
        details |= texts | {"truncated_texts": cut + cut_test}
        return self.score_predictions(splits, predicted, details)


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean over seeds of fine-tuning; its error is that of the examples' mean outcomes."""
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
