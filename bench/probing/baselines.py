"""Baselines without an encoder, which are shown beside every score.

They are fitted on the whole training split, although a probe caps its own: an objective is worth
its pretraining only where it beats these baselines. Words are split at spaces, as tagging tasks
give them. The bag of words counts punctuation marks as words too; without them TF-IDF loses about a
point on SST-2 (83.1 and 84.0).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.machine import beat

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float

Labels = Sequence[str]
Row = Sequence[str | None]

C = 3.0
"""The inverse regularisation of bags of words: 84.0 on SST-2, as published with the data."""
C_GRID = (1.0, 10.0, 100.0)
"""Those of a window of words, of which the best is chosen: with 1 alone, UPOS of English EWT is
90.0 instead of 90.8, because rare words need large weights."""
MAX_CHOICE_ROWS = 10_000
"""Rows on which one is chosen: a fifth of them as dev part, the rest for the fits."""
BM25_K1, BM25_B = 1.2, 0.75
"""Saturation of word counts and weight of a document's length: the defaults of Lucene."""
CHARACTER_GRAM = 3
"""The longest run of characters that counts where words make no sense."""
SAMPLE_TEXTS = 500
"""Texts by which that is decided."""
BOUNDARY = "\n"
"""The neighbour left of the first word and right of the last; no word contains it."""


def majority(train: Labels) -> str:
    """The most frequent label; of equally frequent labels the first in order."""
    counts = Counter(train)
    return min(counts, key=lambda label: (-counts[label], label))


def bag_of_words(train_texts: Sequence[str], train: Labels, texts: Sequence[str]) -> list[str]:
    """TF-IDF of words and word pairs, then logistic regression: 84.0 on SST-2, 89.1 on SUBJ."""
    vectors = vectorizer(train_texts, num_words=2)
    return _predict(vectors.fit_transform(train_texts), train, vectors.transform(texts), C)


def bag_of_words_numbers(
    train_texts: Sequence[str], train: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
    """TF-IDF of words and word pairs, then ridge regression, for one number per text."""
    import numpy as np
    from sklearn.linear_model import Ridge

    vectors = vectorizer(train_texts, num_words=2)
    model = Ridge(solver="lsqr").fit(vectors.fit_transform(train_texts), train)
    return np.asarray(model.predict(vectors.transform(texts)))


def bag_of_words_labels(
    train_texts: Sequence[str], train: Sequence[tuple[str, ...]], texts: Sequence[str]
) -> pd.DataFrame:
    """The probability of each label: a logistic regression of its own on TF-IDF."""
    import pandas as pd

    vectors = vectorizer(train_texts, num_words=2)
    x, x_test = vectors.fit_transform(train_texts), vectors.transform(texts)
    columns = {}
    for name in sorted({label for row in train for label in row}):
        has_label = [name in row for row in train]
        columns[name] = 1.0
        if not all(has_label):
            beat()
            model = _logistic(C)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a baseline need not fully converge
                columns[name] = model.fit(x, has_label).predict_proba(x_test)[:, 1]
    return pd.DataFrame(columns, index=range(len(texts)))


def vectorizer(texts: Sequence[str], num_words: int = 1) -> Any:
    """TF-IDF of up to `num_words` words in a row; of characters where words make no sense.

    They make none in scripts without spaces, and in texts of long runs such as DNA.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    from bench.corpus.words import split_words

    if not are_words_divided(texts):
        return TfidfVectorizer(analyzer="char", ngram_range=(1, CHARACTER_GRAM))
    return TfidfVectorizer(ngram_range=(1, num_words), tokenizer=split_words, token_pattern=None)


def are_words_divided(texts: Sequence[str]) -> bool:
    """Whether spaces divide the words of most of the letters of some texts."""
    from bench.corpus.words import has_unspaced, plain_words

    words = [word for text in texts[:SAMPLE_TEXTS] for word in plain_words(text)]
    divided = sum(len(word) for word in words if len(word) > 1 and not has_unspaced(word))
    return 2 * divided >= sum(map(len, words))


def bag_of_pairs(
    train_pairs: Sequence[tuple[str, str]], train: Labels, pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """The TF-IDF vectors u, v of both texts as [u, v, |u - v|, u * v], then logistic regression.

    Single words only: word pairs would make four times as many columns.
    """
    from scipy.sparse import hstack

    train_texts = [text for pair in train_pairs for text in pair]
    vectors = vectorizer(train_texts).fit(train_texts)

    def pair_vectors(of: Sequence[tuple[str, str]]) -> Any:
        u, v = (vectors.transform([pair[side] for pair in of]) for side in (0, 1))
        return hstack((u, v, abs(u - v), u.multiply(v)), format="csr")

    return _predict(pair_vectors(train_pairs), train, pair_vectors(pairs), C)


def tfidf(known: Sequence[str], *others: Sequence[str]) -> list[Any]:
    """TF-IDF vectors of length one, with the vocabulary and weights of `known`.

    Returns:
        The vectors of `others` in their order, then those of `known`.
    """
    vectors = vectorizer(known)
    own = vectors.fit_transform(known)
    return [*(vectors.transform(texts) for texts in others), own]


def bm25(
    documents: Sequence[str], queries: Sequence[str]
) -> Callable[[slice], Float[np.ndarray, "Q N"]]:
    """The BM25 scores of all documents for a slice of the queries (Robertson & Zaragoza 2009).

    The formula is that of Lucene, with the words of `vectorizer`. Documents whose query words are
    all unknown score 0.
    """
    import bm25s
    import numpy as np

    words_of = vectorizer(documents).build_analyzer()
    index = bm25s.BM25(k1=BM25_K1, b=BM25_B, method="lucene")
    index.index([words_of(text) for text in documents], show_progress=False)
    known = index.vocab_dict
    words = [[word for word in words_of(text) if word in known] for text in queries]
    nothing = np.zeros(len(documents), dtype=np.float32)

    def scores(rows: slice) -> Float[np.ndarray, "Q N"]:
        return np.stack([index.get_scores(row) if row else nothing for row in words[rows]])

    return scores


def most_frequent_label(
    train_words: Sequence[str], train: Labels, words: Sequence[str]
) -> list[str]:
    """The most frequent label of each word in train; for unseen words the majority."""
    by_word: dict[str, list[str]] = {}
    for word, label in zip(train_words, train, strict=True):
        by_word.setdefault(word, []).append(label)
    known = {word: majority(labels) for word, labels in by_word.items()}
    unseen = majority(train)
    return [known.get(word, unseen) for word in words]


def window_of_words(
    train_windows: Sequence[tuple[str, str, str]],
    train: Labels,
    windows: Sequence[tuple[str, str, str]],
) -> list[str]:
    """Logistic regression on the previous, this and the next word."""
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(handle_unknown="ignore")
    x = encoder.fit_transform([list(window) for window in train_windows])
    x_test = encoder.transform([list(window) for window in windows])
    return _predict(x, train, x_test, _best_c(x, train))


def windows_of(
    sentences: Sequence[Sequence[str]], labels: Sequence[Row]
) -> list[tuple[str, str, str]]:
    """The three-word window of every word that has a label."""
    windows = []
    for words, row in zip(sentences, labels, strict=True):
        padded = [BOUNDARY, *words, BOUNDARY]
        around = zip(padded, padded[1:], padded[2:], strict=False)
        windows += [window for window, label in zip(around, row, strict=True) if label is not None]
    return windows


def _best_c(x: Any, labels: Labels) -> float:
    """The inverse regularisation with the best accuracy on a part of train."""
    import numpy as np

    y = np.asarray(labels, dtype=str)
    few = np.random.default_rng(0).permutation(len(y))[:MAX_CHOICE_ROWS]
    dev, rest = np.split(few, [len(few) // 5])
    if not len(dev) or len(set(y[rest])) < 2:
        return C_GRID[0]
    scores = {
        c: float((np.asarray(_predict(x[rest], y[rest].tolist(), x[dev], c)) == y[dev]).mean())
        for c in C_GRID
    }
    return max(scores, key=lambda c: scores[c])


def _predict(x: Any, labels: Labels, x_test: Any, c: float) -> list[str]:
    """Logistic regression on sparse counts, one label against the rest.

    The weights of a label are discarded once the test rows are scored. All labels at once would
    need their number times that of the columns, twenty times over: 25 GiB for many labels and long
    texts. With two labels the result is the same.
    """
    import numpy as np

    names, y = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(names) == 1:
        return [str(names[0])] * x_test.shape[0]
    if len(names) == 2:
        best = (_margins(x, y == 1, x_test, c) > 0).astype(int)
    else:
        scores = [_margins(x, y == k, x_test, c) for k in range(len(names))]
        best = np.argmax(scores, axis=0)
    return [str(name) for name in names[best]]


def _margins(x: Any, is_label: Any, x_test: Any, c: float) -> Any:
    """The log-odds of one label for each test row."""
    beat()
    model = _logistic(c).fit(x, is_label)
    return model.decision_function(x_test)


def _logistic(c: float) -> Any:
    """A logistic regression for two classes whose memory is one weight per column.

    The dual problem has the same solution. For 10,000 texts of 250 words it takes half the time
    (0.4 instead of 1.0 s a label), but three times as much if weights may be large (C = 100).
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, solver="liblinear", dual=c <= C, random_state=0)
