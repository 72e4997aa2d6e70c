"""Clustering: do the clusters of the features agree with the labels? Nothing is fitted to labels.

Texts are clustered by k-means on their pooled features, with as many clusters as there are labels,
and compared with the labels by the V-measure (Rosenberg & Hirschberg 2007), as in MTEB (Muennighoff
et al. 2023). Layer, pooling and embedding (raw, centred or whitened by the texts that are
clustered) are chosen on the training split, whose texts are clustered for that choice alone.

Features have length one, so that near texts are those with a high cosine, as in retrieval. K-means
ends in a local optimum, so it starts `initializations` times, from the seeds 0, 1, 2, ..., and the
score is the mean over all of them: the best start could be known only by its labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.contrastive.task import CosineTask
from bench.probing.protocol import CosineSettings, Embedding
from bench.probing.task import Reader, Score, Splits
from bench.settings import PositiveInt, settings

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int

    from bench.pretraining.noise import Noise

PART_TEXTS = 4_096
"""Texts that are encoded together; of their features only one layer and pooling is kept."""
CHANCE_DRAWS = 20
"""Random clusterings whose mean is the chance level."""


@settings
class ClusteringSettings(CosineSettings):
    """The numbers of k-means, the same for every objective."""

    initializations: PositiveInt = 10
    """Starts of k-means on the reported texts; the score is their mean."""
    screen_examples: PositiveInt = 2_000
    """Maximum number of training texts on which layer and pooling are chosen."""
    screen_initializations: PositiveInt = 3
    """Starts of k-means in that choice."""
    max_iterations: PositiveInt = 100
    """Maximum number of iterations of one start."""
    full_examples: PositiveInt = 20_000
    """Up to this number of texts, k-means reads all of them in each iteration; beyond it, a batch
    of 4,096 of them (mini-batch k-means)."""


class Clustering(CosineTask):
    """A task with the columns `text` and `label`; layer and pooling are chosen on `train`.

    The metric is the V-measure, the harmonic mean of homogeneity (a cluster has texts of one label)
    and completeness (a label has its texts in one cluster). It is not adjusted for chance, so the
    chance level is measured: random clusters score more, the more of them and the fewer texts.
    """

    family: ClassVar[str] = "clustering"
    metric: ClassVar[str] = "v_measure"
    chance: ClassVar[float | None] = None
    """The mean of random clusterings, unless a task declares it."""
    probe_settings: ClusteringSettings = ClusteringSettings()

    def chance_of(self, splits: Splits) -> float | None:
        """The declared chance level, or the mean V-measure of random clusters of the test texts."""
        import numpy as np

        from bench.probing.metrics import ratio, v_counts

        declared = super().chance_of(splits)
        if declared is not None:
            return declared
        labels = _labels(splits.test)
        count = len(set(labels))
        draws = (np.random.default_rng(seed) for seed in range(CHANCE_DRAWS))
        clusterings = (draw.integers(0, count, len(labels)) for draw in draws)
        return float(np.mean([ratio(*v_counts(labels, one)) for one in clusterings]))

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, at least two labels and two texts per label.

        Raises:
            BenchError: The examples are unusable; names the split, and the row where there is one.
        """
        from bench.probing.validation import check_frame

        for split, frame in (("train", splits.train), ("test", splits.test)):
            check_frame(self.name, split, frame, ("text", "label"))
            labels = _labels(frame)
            count = len(set(labels))
            if count < 2:
                raise BenchError(
                    f"{self.name}: all {len(labels)} labels of the {split} split are "
                    f"{labels[0]!r}; clustering needs at least two labels"
                )
            if 2 * count > len(labels):
                raise BenchError(
                    f"{self.name}: the {split} split has {len(labels)} texts with {count} "
                    "different labels, less than two texts per label, so clusters say nothing; "
                    "give more texts, or labels with more texts"
                )
            blank = [i for i, text in enumerate(frame["text"]) if not str(text).strip()]
            if blank:
                raise BenchError(
                    f"{self.name}: {len(blank)} of {len(frame)} rows of the {split} split have a "
                    f"blank text, the first is row {blank[0]}; remove or complete them"
                )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Cluster the test texts at the layer and pooling that are best on train."""
        import numpy as np

        from bench.probing.embeddings import choose_embedding, fit_transform
        from bench.probing.metrics import ratio, v_counts
        from bench.probing.sampling import chosen_units

        self.check(splits)
        reader, report = self.reader_of_probe(reader)
        own = self.probe_settings
        sizes = np.ones(len(splits.train), dtype=np.int64)
        train = splits.train.iloc[
            chosen_units(sizes, noise, "clustering.screen", own.screen_examples)
        ]
        labels = _labels(train)
        features = reader.features([str(text) for text in train["text"]])

        def dev_score(name: Embedding, layer: int, pooling: int) -> float:
            x = features.pooled[:, layer, pooling]
            x = fit_transform(name, x)(x)
            clusterings = self._clusterings(x, len(set(labels)), own.screen_initializations)
            return float(np.mean([ratio(*v_counts(labels, one)) for one in clusterings]))

        layers, poolings = features.pooled.shape[1:3]
        choice = choose_embedding(own.embeddings, (layers, poolings), dev_score)
        texts = [str(text) for text in splits.test["text"]]
        parts, truncated = [], features.truncated
        for start in range(0, len(texts), PART_TEXTS):
            part = reader.features(texts[start : start + PART_TEXTS])
            parts.append(part.pooled[:, choice.layer, choice.pooling].copy())
            truncated += part.truncated
        details = (
            report
            | choice.describe()
            | {
                "dev_texts": len(train),
                "texts": len(train) + len(texts),
                "truncated_texts": truncated,
            }
        )
        x = np.concatenate(parts)
        return self._result(fit_transform(choice.embedding, x)(x), splits, details)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """One cluster for all texts, and k-means on TF-IDF vectors."""
        import numpy as np

        from bench.probing.baselines import tfidf

        self.check(splits)
        labels = _labels(splits.test)
        (x,) = tfidf([str(text) for text in splits.test["text"]])
        return {
            "majority": clustering_score(labels, [np.zeros(len(labels), dtype=np.int64)], {}),
            "bag_of_words": self._result(x, splits, {}),
        }

    def _result(self, x: Any, splits: Splits, details: dict[str, Any]) -> Score:
        """The score of k-means on the features of the test texts."""
        labels = _labels(splits.test)
        count = len(set(labels))
        clusterings = self._clusterings(x, count, self.probe_settings.initializations)
        return clustering_score(labels, clusterings, details | {"clusters": count})

    def _clusterings(self, x: Any, count: int, starts: int) -> list[Int[np.ndarray, " N"]]:
        """The cluster of each text, for each start of k-means.

        Raises:
            BenchError: The features are not finite.
        """
        import numpy as np
        from scipy.sparse import issparse
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        if not issparse(x):
            if not np.isfinite(x).all():
                raise BenchError("the encoder's features are not finite: they have no clusters")
            x = x.astype(np.float64)
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            x = x / np.where(lengths > 0, lengths, 1.0)
        own = self.probe_settings
        options = {"n_clusters": count, "n_init": 1, "max_iter": own.max_iterations}
        is_full = x.shape[0] <= own.full_examples
        clusterings = []
        # One thread: several would add up the members of a cluster in a random order.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different texts
            for seed in range(starts):
                if is_full:
                    model = KMeans(random_state=seed, **options)
                else:
                    model = MiniBatchKMeans(random_state=seed, batch_size=4_096, **options)
                clusterings.append(model.fit_predict(x).astype(np.int64))
        return clusterings


def clustering_score(
    labels: Sequence[str], clusterings: Sequence[Int[np.ndarray, " N"]], details: dict[str, Any]
) -> Score:
    """The mean V-measure of some clusterings, with an outcome for each text."""
    import numpy as np

    from bench.probing.metrics import outcome_of, outcome_score, ratio, v_counts

    counts = [v_counts(labels, one) for one in clusterings]
    outcomes: Float[np.ndarray, " N"] = np.mean([outcome_of(*each) for each in counts], axis=0)
    values = [ratio(*each) for each in counts]
    return outcome_score(outcomes, details | {"start_values": values})


def _labels(frame: Any) -> list[str]:
    return [str(label) for label in frame["label"]]
