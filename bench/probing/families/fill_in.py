"""Fill in: which word is hidden in a text? Nothing is fitted.

The candidates are the distinct words that the test split hides, so every run chooses from the same
list, whatever its vocabulary. `bench.probing.reader.filling` scores each candidate: a masked run
reads as many [MASK]s as the candidate has tokens, and a causal run reads the left side only and
follows the chain rule. Candidates with equal scores share their ranks.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.task import Reader, Score, Splits, Task
from bench.settings import PositiveInt, settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float, Int

    from bench.pretraining.noise import Noise
    from bench.probing.reader.batching import Span

COLUMNS = ("text", "start", "end")


@settings
class FillInSettings:
    """The number of test examples."""

    max_examples: PositiveInt = 500
    """Maximum: each costs a pass for every number of tokens that candidates have (masked), or about
    twenty passes (causal). The candidates come from all test examples."""


class FillIn(Task):
    """A task whose test split has the columns `text`, `start` and `end`; `train` is not needed.

    `text[start:end]` is the hidden word, in place. The metrics are `accuracy`, `accuracy_5` and
    `reciprocal_rank` of the hidden word among all words that the test split hides.
    """

    family: ClassVar[str] = "fill in"
    metric: ClassVar[str] = "accuracy"
    probe_settings: FillInSettings = FillInSettings()

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, words inside their texts, enough rows, two words.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_frame

        check_frame(self.name, "test", splits.test, COLUMNS)
        for i, (text, (start, end)) in enumerate(zip(*texts_and_places(splits.test), strict=True)):
            if not 0 <= start < end <= len(text):
                raise BenchError(
                    f"{self.name}: row {i} of test hides [{start}, {end}), but its text has "
                    f"{len(text)} characters; give a range inside the text"
                )
        if len(set(hidden_words(splits.test))) < 2:
            raise BenchError(
                f"{self.name}: every row of test hides the same word; at least two different words "
                "are needed"
            )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """The rank of each hidden word among the candidates.

        Raises:
            NotApplicableError: The reader predicts no tokens.
        """
        import numpy as np

        from bench.probing.sampling import chosen_units

        self.check(splits)
        candidates = sorted(set(hidden_words(splits.test)))
        ones = np.ones(len(splits.test), dtype=np.int64)
        rows = chosen_units(ones, noise, "fill_in.test", self.probe_settings.max_examples)
        chosen = splits.test.iloc[rows]
        scores = reader.word_scores(*texts_and_places(chosen), candidates)
        return self._rank_score(scores, chosen, candidates, rows)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """The word that `train` hides most often; without `train` all words are equal."""
        import numpy as np

        self.check(splits)
        candidates = sorted(set(hidden_words(splits.test)))
        counts = dict.fromkeys(candidates, 0)
        for word in hidden_words(splits.train) if len(splits.train) else ():
            counts[word] = counts.get(word, 0) + 1
        scores = np.tile([float(counts[word]) for word in candidates], (len(splits.test), 1))
        rows = np.arange(len(splits.test))
        return {"majority": self._rank_score(scores, splits.test, candidates, rows)}

    def _rank_score(
        self,
        scores: Float[np.ndarray, "N C"],
        frame: pd.DataFrame,
        candidates: list[str],
        rows: Int[np.ndarray, " N"],
    ) -> Score:
        import numpy as np

        from bench.probing.metrics import MARGIN, outcome_score, standard_error

        place = {word: i for i, word in enumerate(candidates)}
        targets = np.array([place[word] for word in hidden_words(frame)])
        outcomes = rank_outcomes(scores, targets)
        details: dict[str, Any] = {
            "candidates": len(candidates),
            "guessing": 1 / len(candidates),
            "asked_of": [len(rows), int(rows.max()) + 1],
            "never_scored": float(np.isneginf(scores[np.arange(len(targets)), targets]).mean()),
        }
        outcomes[MARGIN] = margins_of(scores, targets)
        score = outcome_score(outcomes["accuracy"], details, rows)
        return dataclasses.replace(
            score,
            outcomes=score.outcomes.assign(**outcomes),
            metrics={name: (float(x.mean()), standard_error(x)) for name, x in outcomes.items()},
        )


def rank_outcomes(
    scores: Float[np.ndarray, "N C"], targets: Int[np.ndarray, " N"]
) -> dict[str, Float[np.ndarray, " N"]]:
    """Accuracy at 1 and 5 and reciprocal rank, as expected with ties in random order."""
    import numpy as np

    own = scores[np.arange(len(targets)), targets][:, None]
    above = (scores > own).sum(1)
    equal = (scores == own).sum(1)  # the target included
    harmonic = np.append(0.0, (1 / np.arange(1, scores.shape[1] + 1)).cumsum())
    return {
        "accuracy": np.clip((1 - above) / equal, 0, 1),
        "accuracy_5": np.clip((5 - above) / equal, 0, 1),
        "reciprocal_rank": (harmonic[above + equal] - harmonic[above]) / equal,
    }


def margins_of(
    scores: Float[np.ndarray, "N C"], targets: Int[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """How much likelier the hidden word is than the likeliest other one, in nats, bounded."""
    import numpy as np

    from bench.probing.metrics import MOST_NATS

    places = np.arange(len(targets))
    others = scores.copy()
    others[places, targets] = -np.inf
    with np.errstate(invalid="ignore"):
        margins = scores[places, targets] - others.max(axis=1)
    return np.asarray(np.clip(np.nan_to_num(margins, nan=0.0), -MOST_NATS, MOST_NATS))


def texts_and_places(frame: pd.DataFrame) -> tuple[list[str], list[Span]]:
    """The texts, and the character range of the hidden word in each."""
    spans = zip(frame["start"], frame["end"], strict=True)
    return list(frame["text"]), [(int(start), int(end)) for start, end in spans]


def hidden_words(frame: pd.DataFrame) -> list[str]:
    """The hidden word of each row."""
    return [text[start:end] for text, (start, end) in zip(*texts_and_places(frame), strict=True)]
