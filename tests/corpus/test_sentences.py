# ruff: noqa: RUF001 (the tests need letters of other scripts)
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus.sentences import sentence_starts


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One. ", "Two! ", "Three? ", "Four"]),
        ('He said "No." Then (he left.) She', ['He said "No." ', "Then (he left.) ", "She"]),
        ("approx. five e.g. this... and so on", ["approx. five e.g. this... and so on"]),
        ("It cost 3.50 in 1990. 12 people paid.", ["It cost 3.50 in 1990. ", "12 people paid."]),
        ("A title\n\nsome text\nin lines", ["A title\n\n", "some text\nin lines"]),
        ("我喜欢。今天很好！真的", ["我喜欢。", "今天很好！", "真的"]),
        ("First.\n\nsecond", ["First.\n\n", "second"]),
        ("Ναι. Όχι.", ["Ναι. ", "Όχι."]),
        ("Wait... \u201cWhat?\u201d Yes", ["Wait... ", "\u201cWhat?\u201d ", "Yes"]),
        ("", []),
        (" \n ", []),
        ("End. ", ["End. "]),
    ],
)
def test_sentence_starts(text: str, sentences: list[str]) -> None:
    starts = sentence_starts(text)
    assert [text[low:high] for low, high in itertools.pairwise([*starts, len(text)])] == sentences


@settings(max_examples=100)
@given(st.text(alphabet=list("aA.!? \n\"')。"), max_size=60))
def test_sentence_starts_are_increasing_and_never_blank(text: str) -> None:
    starts = sentence_starts(text)
    assert starts == sorted(set(starts))
    assert not any(text[start].isspace() for start in starts)


def test_sentence_starts_take_linear_time() -> None:
    draw = random.Random(0)
    for hostile in ("." * 200_000, " " * 200_000, "\n \n" * 70_000, ". " * 100_000):
        sentence_starts(hostile + draw.choice("ab"))
