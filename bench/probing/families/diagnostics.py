"""Diagnostics of an objective on held-out text: they describe an encoder and rank nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.task import NotApplicableError, Reader, Score, Splits, Task

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from bench.pretraining.noise import Noise

MASK_SHARE = 0.15
"""Share of the tokens that are replaced by [MASK], as masked objectives do in training."""


class JointPrediction(Task):
    """The loss from filling several hidden tokens at once. Columns as in `FillIn`.

    Masked objectives predict the tokens of a hidden unit independently: for "New York" and "Los
    Angeles" both, "New Angeles" may be as likely. The score is the log-probability of the unit's
    tokens filled from left to right minus that of all filled at once, from the same head, in nats
    per token. A column `bucket` divides the units.
    """

    family: ClassVar[str] = "diagnostic"
    metric: ClassVar[str] = "nats_per_token"
    chance: ClassVar[float | None] = None
    is_diagnostic: ClassVar[bool] = True

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, units inside their texts, enough rows.

        Raises:
            BenchError: The examples are unusable; names the row.
        """
        from bench.probing.validation import check_frame

        check_frame(self.name, "test", splits.test, ("text", "start", "end", "bucket"))
        rows = zip(*(splits.test[column] for column in ("text", "start", "end")), strict=True)
        for i, (text, start, end) in enumerate(rows):
            if not 0 <= start < end <= len(text):
                raise BenchError(
                    f"{self.name}: row {i} of test hides [{start}, {end}), but its text has "
                    f"{len(text)} characters; give a range inside the text"
                )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Nats per token that filling one by one gains over filling at once.

        Raises:
            NotApplicableError: The reader predicts no tokens, or next tokens only.
        """
        import numpy as np
        import pandas as pd

        from bench.probing.metrics import outcome_of, ratio, standard_error

        self.check(splits)
        if reader.scoring == "causal":
            raise NotApplicableError(
                "a causal objective predicts one token after the other and fills nothing at once"
            )
        spans = list(zip(splits.test["start"].tolist(), splits.test["end"].tolist(), strict=True))
        nats = reader.joint_nats(list(splits.test["text"]), spans)
        at_once, one_by_one, counts = nats.T
        long = np.flatnonzero(counts > 1)  # one token has nothing to be joint with
        if not len(long):
            raise NotApplicableError("every hidden unit is one token, so nothing is joint")
        gain, sizes = (one_by_one - at_once)[long], counts[long]
        outcomes = outcome_of(gain, sizes)
        buckets = pd.Series(splits.test["bucket"].to_numpy()[long]).astype(str)
        return Score(
            value=ratio(gain, sizes),
            stderr=standard_error(outcomes),
            outcomes=pd.DataFrame(
                {"example": long, "outcome": outcomes, "numerator": gain, "denominator": sizes}
            ),
            details={
                "meaning": (
                    "nats per token by which filling a hidden unit at once is worse than filling "
                    "its tokens from left to right, from one head; 0: nothing is lost at once, "
                    "higher: the tokens depend on each other, below 0: shown tokens mislead"
                ),
                "at_once_nats_per_token": -ratio(at_once[long], sizes),
                "one_by_one_nats_per_token": -ratio(one_by_one[long], sizes),
                "units": len(long),
                "units_of_one_token": int((counts == 1).sum()),
                "buckets": {
                    name: [ratio(gain[rows], sizes[rows]), len(rows)]
                    for name, rows in buckets.groupby(buckets).indices.items()
                },
            },
        )


class MaskMismatch(Task):
    """How far do [MASK]s move the features of a text? The test split has the column `text`.

    Encoders of masked objectives are trained on inputs with [MASK] and probed on inputs without
    any. The score is the squared distance between the features of a text with and without [MASK]s,
    over the variance of the features between texts. The same tokens are also removed: that change
    is what the tokens themselves are worth.
    """

    family: ClassVar[str] = "diagnostic"
    metric: ClassVar[str] = "mask_change"
    chance: ClassVar[float | None] = None
    is_diagnostic: ClassVar[bool] = True

    def check(self, splits: Splits) -> None:
        """Check the column, missing values, enough rows.

        Raises:
            BenchError: The examples are unusable; names the row.
        """
        from bench.probing.validation import check_frame

        check_frame(self.name, "test", splits.test, ("text",))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """The change of the last layer by [MASK]s and by removal; by layer in the details.

        Raises:
            NotApplicableError: All texts have the same features.
        """
        import numpy as np
        import pandas as pd

        from bench.probing.metrics import outcome_of, standard_error

        self.check(splits)
        texts = [str(text) for text in splits.test["text"]]
        states = reader.mean_states(texts, "none", MASK_SHARE, noise)
        changed = {
            "mask_change": reader.mean_states(texts, "mask", MASK_SHARE, noise),
            "removal_change": reader.mean_states(texts, "remove", MASK_SHARE, noise),
        }
        spread = ((states - states.mean(0)) ** 2).sum(2)
        if not spread[:, -1].sum() > 0:
            raise NotApplicableError("all texts have the same features")
        columns: dict[str, Float[np.ndarray, " N"]] = {}
        by_layer: dict[str, Any] = {}
        for name, others in changed.items():
            moved = ((others - states) ** 2).sum(2)
            columns[name] = outcome_of(moved[:, -1], spread[:, -1])
            totals = np.maximum(spread.sum(0), 1e-300)
            by_layer[name] = (moved.sum(0) / totals).tolist()
        outcomes = pd.DataFrame({"example": np.arange(len(texts)), "outcome": columns[self.metric]})
        return Score(
            value=float(columns[self.metric].mean()),
            stderr=standard_error(columns[self.metric]),
            outcomes=outcomes.assign(removal_change=columns["removal_change"]),
            metrics={
                name: (float(values.mean()), standard_error(values))
                for name, values in columns.items()
            },
            details={
                "meaning": (
                    f"squared change of a text's last-layer features where {MASK_SHARE:.0%} "
                    "of its tokens become [MASK], over the variance between texts (x 100 where all "
                    "are below 1): 0 is no change, 2 the distance to another text; "
                    "removal_change is that of removing the same tokens, and a larger mask_change "
                    "comes from [MASK] itself"
                ),
                "by_layer": by_layer,
                "mask_share": MASK_SHARE,
            },
        )
