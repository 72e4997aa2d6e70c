"""The choice of a word model for a corpus, from a sample of its text, with the reason for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus.words import patterns
from bench.corpus.words.models import CHOICES, MODELS, WITHOUT_ICU, has_icu, word_model
from bench.settings import sha256_json
from bench.storage import exclusive, write_atomic

if TYPE_CHECKING:
    from bench.corpus.encoding import EncodedText

SAMPLE_CHARACTERS = 100_000
ABSURD_CHARACTERS = 20.0
"""Words that are longer than this in the mean are no words; German has 6 characters a word."""
UNSPACED_SHARE = 0.05
MARKS_SHARE = 0.005
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class WordChoice:
    """The words of a prepared corpus."""

    setting: str
    """The value of `--words`."""
    model: str
    """Name of the word model, or the segmented file."""
    reason: str
    """Why `auto` chose the model, or empty."""
    identity: tuple[str, ...]
    """The part of the words in the identity of the stores: nothing for ordinary spaced text."""
    has_marks: bool
    """Whether the script writes combining marks, which a trained tokenizer then keeps in words."""
    mean_characters: float
    """Mean length of a word in the sample, without punctuation marks."""
    unspaced_share: float
    """Share of the letters of scripts that are written without spaces."""

    @property
    def label(self) -> str:
        """The choice in one line."""
        name = "characters where there are no spaces" if self.model == "mixed" else self.model
        reason = f" ({self.reason})" if self.reason else ""
        return f"words: {name}{reason}; {self.mean_characters:.1f} characters a word"

    def mark(self, text: str, encoded: EncodedText) -> EncodedText:
        """The tokens of a text outside the corpus, with the starts of its words.

        A segmented file knows the words of its own text only.
        """
        model = word_model(self.model if self.model in MODELS else "mixed")
        return dataclasses.replace(encoded, word_start=model.mark(text, encoded))

    def warnings(self) -> list[str]:
        """Reasons to doubt the words."""
        if self.mean_characters > ABSURD_CHARACTERS:
            return [
                f"a word of this corpus has {self.mean_characters:.0f} characters in the mean, so "
                "these are hardly words; choose --words characters, or give a segmented text"
            ]
        if self.model == "spaces" and self.unspaced_share > UNSPACED_SHARE:
            return [
                f"{self.unspaced_share:.0%} of the letters are of scripts without spaces, so these "
                "words are whole phrases; choose --words icu or characters"
            ]
        return []

    def content_sha256(self, fingerprint: str) -> str:
        """The identity of the corpus with these words."""
        return sha256_json(["words", fingerprint, *self.identity]) if self.identity else fingerprint


def choose_words(pieces: Iterable[str], fingerprint: str, setting: str, cache: Path) -> WordChoice:
    """The word model for a corpus; remembered in the cache, so that text is sampled once.

    Args:
        pieces: The texts of the corpus in order; only the first are read.
        fingerprint: The corpus' own.
        setting: The value of `--words`.
        cache: Folder of the cache.

    Raises:
        BenchError: The setting is no model and no file, the file is not this corpus segmented, or
            a package is missing.
    """
    known = recall_words(fingerprint, setting, cache)
    if known is not None:
        return known
    memo = _memo(fingerprint, setting, cache)
    with exclusive(memo.with_suffix(".lock")):
        known = recall_words(fingerprint, setting, cache)
        if known is not None:
            return known
        choice = _choose(list(_sample(pieces)), setting)
        write_atomic(memo, json.dumps(vars(choice)).encode())
        return choice


def recall_words(fingerprint: str, setting: str, cache: Path) -> WordChoice | None:
    """The earlier choice of `choose_words`; None if it was never called."""
    try:
        return from_json(json.loads(_memo(fingerprint, setting, cache).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def from_json(plain: dict[str, Any]) -> WordChoice:
    """The inverse of `vars`, from JSON."""
    return WordChoice(**{**plain, "identity": tuple(plain["identity"])})


def _choose(texts: list[str], setting: str) -> WordChoice:
    own = patterns()
    letters = marks = unspaced = num_runs = 0
    for text in texts:
        unspaced += len(own.unspaced.findall(text))
        marks += len(own.mark.findall(text))
        runs = [run for run in own.run.findall(text) if run[0].isalnum()]
        num_runs += len(runs)
        letters += sum(map(len, runs))
    share = unspaced / max(letters, 1)
    reason, name = "", setting
    if setting == "auto":
        name, reason = _automatic(share, letters / max(num_runs, 1))
    model = word_model(name)
    has_marks = marks > MARKS_SHARE * letters
    is_ordinary = name == "spaces" and not has_marks
    num_words = sum(
        int(text[at].isalnum()) for text in texts for at in model.starts(text).nonzero()[0]
    )
    return WordChoice(
        setting=setting,
        model=name,
        reason=reason,
        identity=() if is_ordinary else (*model.identity, *(["marks"] if has_marks else [])),
        has_marks=has_marks,
        mean_characters=letters / max(num_words, 1),
        unspaced_share=share,
    )


def _automatic(unspaced_share: float, mean_run: float) -> tuple[str, str]:
    """The model of `auto`, with the reason."""
    if unspaced_share > UNSPACED_SHARE:
        reason = f"{unspaced_share:.0%} of the letters are of scripts without spaces"
        return ("icu", reason) if has_icu() else ("mixed", f"{reason}; {WITHOUT_ICU}")
    if mean_run > ABSURD_CHARACTERS:
        return "characters", f"{mean_run:.0f} characters stand between two spaces in the mean"
    return "spaces", ""


def _sample(pieces: Iterable[str]) -> Iterator[str]:
    """The beginning of a corpus, in whole pieces."""
    remaining = SAMPLE_CHARACTERS
    for piece in pieces:
        yield piece
        remaining -= len(piece)
        if remaining <= 0:
            return


def _memo(fingerprint: str, setting: str, cache: Path) -> Path:
    """The file of the cache; what decides a choice of `auto` or of a file is in its name."""
    decides = [has_icu()] if setting in CHOICES else word_model(setting).identity
    return cache / "words" / f"{sha256_json([_FORMAT, fingerprint, setting, decides])[:32]}.json"
