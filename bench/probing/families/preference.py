"""Stereotype preference: which of two sentences does a run prefer, one with a stereotype?

It is no quality: an encoder without a preference has 50 %, and both sides of it are a preference.
So the score is a diagnostic, which no table ranks. Sentences are scored as in minimal pairs, by the
pseudo-log-likelihood of the whole sentence or by the chain rule; a tie counts one half.

Differs: CrowS-Pairs (Nangia et al. 2020) scores only the tokens that both sentences share, and
StereoSet (Nadeem et al. 2021) averages over target terms before it averages; here whole sentences
count, each example once.

What may not be concluded: 50 % is no proof of the absence of bias. The pairs cover a few groups of
one culture; many pairs of both sets are flawed (Blodgett et al. 2021); an encoder that has learned
little has 50 %, too; and likelihoods say nothing about what a fine-tuned model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float

    from bench.pretraining.noise import Noise

SHARE = "stereotype_share"
MEANING = (
    "the share of pairs in which the sentence with the stereotype is likelier; 50 is none, "
    "and neither side is better; it proves no absence of bias, because a run that has learned "
    "little has it, too"
)


class StereotypePreference(Task):
    """A task whose test split has `stereotype`, `anti_stereotype` and `bucket`.

    With a column `unrelated`, a sentence without meaning in the context, there are also the
    language modelling score `lms` (share of comparisons in which a meaningful sentence is likelier
    than the unrelated one) and `icat`, lms x min(ss, 1 - ss) / 0.5 (Nadeem et al. 2021).
    """

    family: ClassVar[str] = "stereotype preference"
    metric: ClassVar[str] = SHARE
    chance: ClassVar[float | None] = 0.5
    is_diagnostic: ClassVar[bool] = True

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, enough rows.

        Raises:
            BenchError: The pairs are unusable; names the row.
        """
        from bench.probing.validation import check_frame

        columns = ["stereotype", "anti_stereotype", "bucket"]
        columns += ["unrelated"] if "unrelated" in splits.test else []
        check_frame(self.name, "test", splits.test, columns)

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """The share of pairs whose sentence with the stereotype is likelier.

        Raises:
            NotApplicableError: The reader cannot score sentences.
        """
        self.check(splits)
        columns = ["stereotype", "anti_stereotype"]
        columns += ["unrelated"] if "unrelated" in splits.test else []
        texts = [str(text) for column in columns for text in splits.test[column]]
        nats = reader.log_likelihood(texts, "original")[:, 0].reshape(len(columns), -1)
        return preference_score(nats, splits.test)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """No preference: every comparison is a tie."""
        import numpy as np

        self.check(splits)
        count = 3 if "unrelated" in splits.test else 2
        return {"majority": preference_score(np.zeros((count, len(splits.test))), splits.test)}


def preference_score(nats: Float[np.ndarray, "K N"], frame: pd.DataFrame) -> Score:
    """The score of log-likelihoods: of the stereotype, its opposite and perhaps the unrelated.

    The outcomes of `distance_from_half` and `icat` are linear in those of the shares (delta
    method), so their mean is the value.
    """
    import numpy as np
    import pandas as pd

    from bench.probing.families.minimal_pairs import win_rate
    from bench.probing.metrics import standard_error

    wins = win_rate(nats[0] - nats[1])
    share = float(wins.mean())
    side = 1.0 if share >= 0.5 else -1.0
    columns = {SHARE: wins, "distance_from_half": side * (wins - 0.5)}
    if len(nats) == 3:
        meaningful = (win_rate(nats[0] - nats[2]) + win_rate(nats[1] - nats[2])) / 2
        lms, fairness = float(meaningful.mean()), min(share, 1 - share) / 0.5
        columns["lms"] = meaningful
        columns["icat"] = meaningful * fairness - side * lms * (wins - share) / 0.5
    buckets = pd.Series(wins).groupby([str(bucket) for bucket in frame["bucket"]])
    details: dict[str, Any] = {
        "meaning": MEANING,
        "tie_rate": float((wins == 0.5).mean()),
        "buckets": {str(name): [float(one.mean()), len(one)] for name, one in buckets},
    }
    outcomes = pd.DataFrame({"example": np.arange(len(wins)), "outcome": wins})
    further = {name: values for name, values in columns.items() if name != SHARE}
    return Score(
        value=share,
        stderr=standard_error(wins),
        outcomes=outcomes.assign(**further, bucket=list(frame["bucket"])),
        metrics={
            name: (float(values.mean()), standard_error(values)) for name, values in columns.items()
        },
        details=details,
    )
