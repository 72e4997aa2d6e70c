"""Span extraction: which words of a text answer a question?

Text and question are encoded separately, so a text goes through the encoder once for all questions
about it; a linear scorer then compares every word with the question. This tests whether frozen
features are enough to recognise an answer, and costs a hundredth of fine-tuning.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench.corpus.words import has_unspaced, plain_words, word_spans
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
"""Words on either side of a candidate where the overlap baseline looks for the question's words."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@settings
class SpanSettings:
    """The numbers of the span scorer's protocol."""

    max_train_examples: PositiveInt = 1_000
    """Maximum number of questions that the scorer is fitted on."""
    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of them on which layer and number of epochs are chosen."""
    screen_examples: PositiveInt = 150
    """Number of questions by which the layer is chosen: all layers of their texts are in memory."""
    screen_penalty: PositiveFloat = 1_000.0
    """The ridge penalty of that choice."""
    max_answer_words: PositiveInt = 15
    """Longer answers are never predicted (98 % of SQuAD's are not longer)."""


class SpanExtraction(Task):
    """A task with the columns `question`, `context` and `answers`.

    `answers` is a list of {"text": ..., "start": ...}; each is a right answer, and `start` is the
    character of the context at which it begins. The metrics are `f1` of the words and
    `exact_match`, both after SQuAD's normalisation (no case, punctuation or articles), the best
    over all answers.
    """

    family: ClassVar[str] = "span extraction"
    metric: ClassVar[str] = "f1"
    chance: ClassVar[float | None] = 0.0
    probe_settings: SpanSettings = SpanSettings()
    probes: ClassVar[tuple[Probe, ...]] = ("linear",)

    def check(self, splits: Splits) -> None:
        """Check columns, missing values, the place of each answer, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.validation import check_columns

        check_columns(self.name, splits, COLUMNS)
        for split, frame in (("train", splits.train), ("test", splits.test)):
            for i, (context, answers) in enumerate(
                zip(frame["context"], frame["answers"], strict=True)
            ):
                if not len(answers):
                    raise BenchError(
                        f"{self.name}: row {i} of {split} has no answer; remove questions without "
                        "an answer, this family does not support them"
                    )
                for answer in answers:
                    start, text = int(answer["start"]), str(answer["text"])
                    passage = context[max(start, 0) : start + len(text)]
                    if passage != text or not words_within(context, start, len(text)):
                        raise BenchError(
                            f"{self.name}: row {i} of {split} has {passage!r} at character {start} "
                            f"of its context, but its answer is {text!r}"
                        )

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Choose a layer, fit the scorer on train, answer the test questions.

        Raises:
            NotApplicableError: The probe is not `linear`.
        """
        import numpy as np

        from bench.probing.families.span_scorer import best_spans, fit_spans
        from bench.probing.sampling import chosen_units

        if self.probe != "linear":
            raise NotApplicableError(f"span extraction has a linear probe only, not {self.probe}")
        self.check(splits)
        ones = np.ones(len(splits.train), dtype=np.int64)
        rows = chosen_units(ones, noise, "probe.train", self.probe_settings.max_train_examples)
        train = splits.train.iloc[rows].reset_index(drop=True)
        layer, by_layer = self._layer(reader, train, noise)
        questions, test = (read_questions(reader, f, layer) for f in (train, splits.test))
        standardise(questions, test)
        is_dev = self._dev(questions, noise)
        scorer, losses = fit_spans(questions, is_dev, noise)
        spans = best_spans(scorer, test, self.probe_settings.max_answer_words)
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
        return self._score_answers(splits, texts_of(splits.test, spans), details)

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """The text's first words; and the words with most of the question's words around them."""
        import numpy as np

        self.check(splits)
        length = int(np.median([len(normalise(a[0]["text"])) for a in splits.train["answers"]]))
        length = max(length, 1)
        weights = rarity(list(splits.train["context"]))
        first, overlap = [], []
        for question, context in zip(splits.test["question"], splits.test["context"], strict=True):
            at = best_overlap(question, context, length, weights)
            overlap.append((at, at + length - 1))
            first.append((0, length - 1))
        return {
            name: self._score_answers(splits, texts_of(splits.test, np.array(spans)), {})
            for name, spans in (("majority", first), ("bag_of_words", overlap))
        }

    def _score_answers(
        self, splits: Splits, predicted: Sequence[str], details: dict[str, Any]
    ) -> Score:
        import numpy as np

        from bench.probing.metrics import outcome_score, standard_error
        from bench.probing.validation import leak_mask

        answers = [[str(a["text"]) for a in own] for own in splits.test["answers"]]
        pairs = list(zip(answers, predicted, strict=True))
        f1 = np.array([max(overlap_f1(answer, guess) for answer in own) for own, guess in pairs])
        exact = np.array(
            [float(any(normalise(a) == normalise(guess) for a in own)) for own, guess in pairs]
        )
        is_leaked = leak_mask(list(splits.train["context"]), list(splits.test["context"]))
        clean = float(f1[~is_leaked].mean()) if not is_leaked.all() else None
        leak = {"leak": {"share": float(is_leaked.mean()), "clean_value": clean}}
        score = outcome_score(f1, details | leak)
        return dataclasses.replace(
            score,
            outcomes=score.outcomes.assign(exact_match=exact),
            metrics={
                "f1": (score.value, score.stderr),
                "exact_match": (float(exact.mean()), standard_error(exact)),
            },
        )

    def _dev(self, questions: Questions, noise: Noise) -> Bool[np.ndarray, " N"]:
        """The questions that choices are made on: all about a text, or none."""
        import numpy as np

        from bench.probing.sampling import dev_part

        one_class = np.zeros(len(questions.texts), dtype=np.int64)
        return dev_part(questions.texts, one_class, noise, self.probe_settings.dev_fraction)

    def _layer(self, reader: Reader, train: pd.DataFrame, noise: Noise) -> tuple[int, list[float]]:
        """The layer that ranks the beginnings of a few questions' answers best, and all values."""
        import numpy as np

        from bench.probing.families.span_scorer import rank_of_beginning

        few = train[: self.probe_settings.screen_examples]
        everything = read_questions(reader, few, None)
        is_dev = self._dev(everything, noise)
        by_layer = []
        for layer in range(everything.words.shape[1]):
            one = dataclasses.replace(
                everything,
                words=everything.words[:, layer],
                vectors=everything.vectors[:, layer],
            )
            standardise(one)
            by_layer.append(rank_of_beginning(one, is_dev, self.probe_settings.screen_penalty))
        return int(np.argmax(by_layer)), by_layer


def read_questions(reader: Reader, frame: pd.DataFrame, layer: int | None) -> Questions:
    """Questions and their texts as vectors of one layer; None: all layers, as a further axis."""
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
        vectors=(pooled if layer is None else pooled[:, layer]).copy(),  # `standardise` changes it
        answers=np.array([(own[0], own[-1]) for own in answers]),
    )


def standardise(train: Questions, *others: Questions) -> None:
    """Standardise words and questions by the statistics of `train`, in place."""
    for part in ("words", "vectors"):
        mean, scale = (getattr(train, part).mean(0), getattr(train, part).std(0))
        scale[scale < 1e-12] = 1.0
        for questions in (train, *others):
            values = getattr(questions, part)
            values -= mean
            values /= scale


def words_within(context: str, start: int, length: int) -> list[int]:
    """The words of a text that an answer covers, also in part."""
    words = enumerate(word_spans(context))
    return [i for i, (begin, end) in words if begin < start + length and end > start]


def texts_of(frame: pd.DataFrame, spans: Int[np.ndarray, "N 2"]) -> list[str]:
    """The text from the first to the last word of each span, cut to the words there are."""
    texts = []
    for context, (first, last) in zip(frame["context"], spans, strict=True):
        words = word_spans(context)
        texts.append(
            context[words[min(first, len(words) - 1)][0] : words[min(last, len(words) - 1)][1]]
        )
    return texts


def normalise(answer: str) -> list[str]:
    """Words without case, punctuation and articles, as in SQuAD's scorer.

    In scripts without spaces the words are characters, and their punctuation does not count, as in
    the scorer of CMRC (Cui et al. 2019).
    """
    if has_unspaced(answer):
        return plain_words(answer.lower())
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def overlap_f1(answer: str, guess: str) -> float:
    """F1 of the words; 1 if both have none."""
    true, predicted = normalise(answer), normalise(guess)
    common = sum((Counter(true) & Counter(predicted)).values())
    if not true or not predicted:
        return float(true == predicted)
    return 2 * common / (len(true) + len(predicted))


def rarity(contexts: Sequence[str]) -> dict[str, float]:
    """log(texts / texts that have the word): the weight of a shared word."""
    import numpy as np

    distinct = list(dict.fromkeys(contexts))
    counts = Counter(word for text in distinct for word in set(normalise(text)))
    return {word: float(np.log(len(distinct) / count)) + 0.1 for word, count in counts.items()}


def best_overlap(question: str, context: str, length: int, weights: dict[str, float]) -> int:
    """First of the `length` words with most of the question's words beside and not among them."""
    import numpy as np

    targets = set(normalise(question))
    words = [context[begin:end].lower() for begin, end in word_spans(context)]
    default = max(weights.values(), default=1.0)
    weight = np.array([weights.get(word, default) if word in targets else 0.0 for word in words])
    total = np.concatenate(([0.0], weight.cumsum()))
    first = np.arange(max(1, len(words) - length + 1))
    stop = np.minimum(first + length, len(words))
    around = total[np.minimum(stop + NEARBY, len(words))] - total[np.maximum(first - NEARBY, 0)]
    inside = total[stop] - total[first]
    return int((around - 3 * inside).argmax())
