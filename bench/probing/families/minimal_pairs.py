"""Minimal pairs: which of two sentences is likelier under the run? Nothing is fitted.

A masked run is scored under both policies of pseudo-log-likelihood, because the policy changes the
ranking of objectives (Kauf & Ivanova 2023). A tie counts one half: with ties given to either side,
an encoder without information would score 0 or 100 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from bench.pretraining.noise import Noise

TIE_NATS = 1e-4
"""Sentences closer than this are tied: float32 sums over batches of other shapes differ so much."""

POLICIES: tuple[Literal["original", "word_l2r"], ...] = ("original", "word_l2r")


class MinimalPairs(Task):
    """A task whose test split has the columns `good`, `bad` and `bucket`; `train` is not used."""

    family: ClassVar[str] = "minimal pairs"
    metric: ClassVar[str] = "accuracy"
    chance: ClassVar[float | None] = 0.5

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, enough rows.

        Raises:
            BenchError: The pairs are unusable; names the row.
        """
        from bench.probing.validation import check_frame

        check_frame(self.name, "test", splits.test, ("good", "bad", "bucket"))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """The share of pairs whose good sentence is likelier.

        Raises:
            NotApplicableError: The reader cannot score sentences.
        """
        import numpy as np
        import pandas as pd

        from bench.probing.metrics import MARGIN, MOST_NATS, standard_error

        self.check(splits)
        good, bad = list(splits.test["good"]), list(splits.test["bad"])
        by_policy = {
            policy: reader.log_likelihood([*good, *bad], policy)
            for policy in (POLICIES[:1] if reader.scoring == "causal" else POLICIES)
        }
        metrics: dict[str, tuple[float, float]] = {}
        details: dict[str, Any] = {"policies_coincide": reader.scoring == "causal"}
        outcomes: dict[str, Float[np.ndarray, " N"]] = {}
        for policy in POLICIES:
            nats, num_tokens = by_policy.get(policy, by_policy["original"]).T
            wins = win_rate(nats[: len(good)] - nats[len(good) :])
            per_token = nats / np.maximum(num_tokens, 1)
            wins_per_token = win_rate(per_token[: len(good)] - per_token[len(good) :])
            if policy == "original":
                margins = np.clip(nats[: len(good)] - nats[len(good) :], -MOST_NATS, MOST_NATS)
            outcomes[policy] = wins
            metrics[policy] = float(wins.mean()), standard_error(wins)
            details[policy] = {
                "tie_rate": float((wins == 0.5).mean()),
                "per_token": [float(wins_per_token.mean()), standard_error(wins_per_token)],
                "buckets": self._buckets(splits, wins),
            }
        metrics[MARGIN] = float(margins.mean()), standard_error(margins)
        value, stderr = metrics["original"]
        frame = pd.DataFrame({"example": np.arange(len(good)), "outcome": outcomes["original"]})
        return Score(
            value=value,
            stderr=stderr,
            outcomes=frame.assign(
                word_l2r=outcomes["word_l2r"], margin=margins, bucket=list(splits.test["bucket"])
            ),
            metrics=metrics,
            details=details,
        )

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Guessing alone: a bag of words has no likelihood to compare."""
        import numpy as np
        import pandas as pd

        self.check(splits)
        count = len(splits.test)
        frame = pd.DataFrame({"example": np.arange(count), "outcome": np.full(count, 0.5)})
        return {"majority": Score(value=0.5, stderr=0.0, outcomes=frame)}

    def _buckets(self, splits: Splits, wins: Float[np.ndarray, " N"]) -> dict[str, Any]:
        """[value, pairs] of each bucket."""
        import pandas as pd

        groups = pd.Series(wins).groupby([str(b) for b in splits.test["bucket"]])
        return {str(name): [float(group.mean()), len(group)] for name, group in groups}


def win_rate(difference: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """1 where the difference favours the good sentence, 0 the bad one, 0.5 for neither."""
    import numpy as np

    return np.where(np.abs(difference) < TIE_NATS, 0.5, (difference > 0).astype(float))
