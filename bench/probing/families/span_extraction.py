"""Span extraction: which words of a text answer a question?

Text and question are read each by itself, so that a text goes through the encoder once for all
questions about it; a linear scorer then compares every word with the question. That asks whether a
frozen encoder keeps what an answer is recognised by, and costs a hundredth of fine-tuning.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench.errors import BenchError
from bench.probing.task import NotApplicableError, Probe, Reader, Score, Splits, Task
from bench.settings import PositiveFloat, PositiveInt, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from jaxtyping import Bool, Int

    from bench.pretraining.noise import Noise
    from bench.probing.families.span_scorer import Questions

COLUMNS = ("question", "context", "answers")
NEARBY = 8
"""Words on either side of a candidate in which the overlap baseline looks for the question's."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@settings
class SpanSettings:
    """The numbers of the scorer's protocol."""

    max_train_examples: PositiveInt = 1_000
    """Questions the scorer is fitted on at most."""
    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of them on which layer and number of epochs are chosen."""
    screen_examples: PositiveInt = 150
    """Questions by which the layer is chosen: each layer's words of their texts are held."""
    screen_penalty: PositiveFloat = 1_000.0
    """The ridge penalty of that choice."""
    max_answer_words: PositiveInt = 15
    """Longer answers are never given (98 % of SQuAD's have no more)."""


class SpanExtraction(Task):
    """A task whose splits have the columns `question`, `context` and `answers`.

    `answers` is a list of {"text": ..., "start": ...}, all of them right, `start` the character of
    the context at which one begins. The metrics are `f1` of the words and `exact_match`, both
    after SQuAD's normalisation (no case, punctuation or articles), the best over all answers.
    """

    family: ClassVar[str] = "span extraction"
    metric: ClassVar[str] = "f1"
    chance: ClassVar[float] = 0.0
    probe_settings: ClassVar[SpanSettings] = SpanSettings()
    probes: ClassVar[tuple[Probe, ...]] = ("linear",)

    def check(self, splits: Splits) -> None:
        """Columns, missing values, answers that stand where they say, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.data.validation import check_columns

        check_columns(self.name, splits, COLUMNS)
        for split, frame in (("train", splits.train), ("test", splits.test)):
            for i, (context, answers) in enumerate(
                zip(frame["context"], frame["answers"], strict=True)
            ):
                if not len(answers):
                    raise BenchError(
                        f"{self.name}: row {i} of {split} has no answer; questions without one "
                        "are not asked here, leave them out"
                    )
                for answer in answers:
                    start, text = int(answer["start"]), str(answer["text"])
                    found = context[max(start, 0) : start + len(text)]
                    if found != text or not words_within(context, start, len(text)):
                        raise BenchError(
                            f"{self.name}: row {i} of {split} has {found!r} at character {start} "
                            f"of its context, its answer is {text!r}"
                        )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Choose a layer, fit the scorer on train, answer test.

        Raises:
            NotApplicableError: Read otherwise than linearly.
        """
        import numpy as np

        from bench.probing.families.span_scorer import best_spans, fit_spans
        from bench.probing.probes import chosen_units

        if self.probe != "linear":
            raise NotApplicableError(f"span extraction is read linearly, not by {self.probe}")
        self.check(splits)
        ones = np.ones(len(splits.train), dtype=np.int64)
        rows = chosen_units(ones, noise, "probe.train", self.probe_settings.max_train_examples)
        train = splits.train.iloc[rows].reset_index(drop=True)
        layer, by_layer = self._layer(reader, train, noise)
        asked, asked_test = (read_questions(reader, f, layer) for f in (train, splits.test))
        standardise(asked, asked_test)
        is_dev = self._dev(asked, noise)
        scorer, losses = fit_spans(asked, is_dev, noise)
        spans = best_spans(scorer, asked_test, self.probe_settings.max_answer_words)
        details = {
            "layer": layer,
            "poolings": ["words"],
            "grid": [[value] for value in by_layer],
            "criterion": "reciprocal rank of the first word",
            "epochs": int(np.argmin(losses)) + 1,
            "dev_nats": losses,
            "train_labels": len(train),
            "dev_labels": int(is_dev.sum()),
        }
        return self._answered(splits, texts_of(splits.test, spans), details)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """The text's first words; and the words with most of the question's around them."""
        import numpy as np

        self.check(splits)
        length = int(np.median([len(normalised(a[0]["text"])) for a in splits.train["answers"]]))
        length = max(length, 1)
        weights = rarity(list(splits.train["context"]))
        first, overlap = [], []
        for question, context in zip(splits.test["question"], splits.test["context"], strict=True):
            at = best_overlap(question, context, length, weights)
            overlap.append((at, at + length - 1))
            first.append((0, length - 1))
        return {
            name: self._answered(splits, texts_of(splits.test, np.array(spans)), {})
            for name, spans in (("majority", first), ("bag_of_words", overlap))
        }

    def _answered(self, splits: Splits, predicted: Sequence[str], details: dict[str, Any]) -> Score:
        import numpy as np

        from bench.probing.data.validation import leaked
        from bench.probing.metrics import outcome_score, standard_error

        right = [[str(a["text"]) for a in answers] for answers in splits.test["answers"]]
        pairs = list(zip(right, predicted, strict=True))
        f1 = np.array([max(overlap_f1(answer, found) for answer in own) for own, found in pairs])
        exact = np.array(
            [float(any(normalised(a) == normalised(found) for a in own)) for own, found in pairs]
        )
        known = leaked(list(splits.train["context"]), list(splits.test["context"]))
        clean = float(f1[~known].mean()) if not known.all() else None
        told = details | {"leak": {"share": float(known.mean()), "clean_value": clean}}
        score = outcome_score(f1, told)
        return dataclasses.replace(
            score,
            outcomes=score.outcomes.assign(exact_match=exact),
            metrics={
                "f1": (score.value, score.stderr),
                "exact_match": (float(exact.mean()), standard_error(exact)),
            },
        )

    def _dev(self, questions: Questions, noise: Noise) -> Bool[np.ndarray, " N"]:
        """Which questions choices are made on: all about a text, or none."""
        import numpy as np

        from bench.probing.probes import dev_part

        alike = np.zeros(len(questions.texts), dtype=np.int64)
        return dev_part(questions.texts, alike, noise, self.probe_settings.dev_fraction)

    def _layer(self, reader: Reader, train: pd.DataFrame, noise: Noise) -> tuple[int, list[float]]:
        """The layer at which a few questions find the beginnings of their answers best."""
        import numpy as np

        from bench.probing.families.span_scorer import rank_of_beginning

        few = train[: self.probe_settings.screen_examples]
        everything = read_questions(reader, few, None)
        is_dev = self._dev(everything, noise)
        found = []
        for layer in range(everything.words.shape[1]):
            one = dataclasses.replace(
                everything,
                words=everything.words[:, layer],
                vectors=everything.vectors[:, layer],
            )
            standardise(one)
            found.append(rank_of_beginning(one, is_dev, self.probe_settings.screen_penalty))
        return int(np.argmax(found)), found


def read_questions(reader: Reader, frame: pd.DataFrame, layer: int | None) -> Questions:
    """Questions and their texts as vectors of one layer; of all (None), with one axis more."""
    import numpy as np

    from bench.probing.families.span_scorer import Questions
    from bench.probing.reader.passages import read_passages

    contexts = list(dict.fromkeys(frame["context"]))
    place = {context: i for i, context in enumerate(contexts)}
    passages = read_passages(reader, contexts, layer)
    pooled = reader.features(list(frame["question"])).pooled[:, :, 0]
    answers = [
        words_within(context, int(own[0]["start"]), len(str(own[0]["text"])))
        for context, own in zip(frame["context"], frame["answers"], strict=True)
    ]
    return Questions(
        words=passages.vectors if layer is None else passages.vectors[:, 0],
        begin=passages.begin,
        texts=np.array([place[context] for context in frame["context"]]),
        vectors=pooled if layer is None else pooled[:, layer],
        answers=np.array([(own[0], own[-1]) for own in answers]),
    )


def standardise(train: Questions, *others: Questions) -> None:
    """Words and questions, each by the statistics of `train`, in place."""
    for part in ("words", "vectors"):
        mean, scale = (getattr(train, part).mean(0), getattr(train, part).std(0))
        scale[scale < 1e-12] = 1.0
        for questions in (train, *others):
            values = getattr(questions, part)
            values -= mean
            values /= scale


def words_within(context: str, start: int, length: int) -> list[int]:
    """The words of a text that an answer covers, if only in part."""
    from bench.probing.reader.passages import words_of

    words = enumerate(words_of(context))
    return [i for i, (begin, end) in words if begin < start + length and end > start]


def texts_of(frame: pd.DataFrame, spans: Int[np.ndarray, "N 2"]) -> list[str]:
    """From the beginning of the first to the end of the last word, as far as there are words."""
    from bench.probing.reader.passages import words_of

    found = []
    for context, (first, last) in zip(frame["context"], spans, strict=True):
        words = words_of(context)
        found.append(
            context[words[min(first, len(words) - 1)][0] : words[min(last, len(words) - 1)][1]]
        )
    return found


def normalised(answer: str) -> list[str]:
    """Words without case, punctuation and articles, as SQuAD's scorer compares them."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def overlap_f1(right: str, found: str) -> float:
    """F1 of the words; 1 if both have none."""
    wanted, given = normalised(right), normalised(found)
    common = sum((Counter(wanted) & Counter(given)).values())
    if not wanted or not given:
        return float(wanted == given)
    return 2 * common / (len(wanted) + len(given))


def rarity(contexts: Sequence[str]) -> dict[str, float]:
    """log(texts / texts that have the word): what a word in common is worth."""
    import numpy as np

    distinct = list(dict.fromkeys(contexts))
    counts = Counter(word for text in distinct for word in set(normalised(text)))
    return {word: float(np.log(len(distinct) / count)) + 0.1 for word, count in counts.items()}


def best_overlap(question: str, context: str, length: int, weights: dict[str, float]) -> int:
    """First word of the `length` words with most of the question's beside them, none among them."""
    import numpy as np

    from bench.probing.reader.passages import words_of

    wanted = set(normalised(question))
    words = [context[begin:end].lower() for begin, end in words_of(context)]
    default = max(weights.values(), default=1.0)
    worth = np.array([weights.get(word, default) if word in wanted else 0.0 for word in words])
    total = np.concatenate(([0.0], worth.cumsum()))
    first = np.arange(max(1, len(words) - length + 1))
    stop = np.minimum(first + length, len(words))
    around = total[np.minimum(stop + NEARBY, len(words))] - total[np.maximum(first - NEARBY, 0)]
    inside = total[stop] - total[first]
    return int((around - 3 * inside).argmax())
