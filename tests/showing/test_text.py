from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.trainer import char_tokenizer
from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.showing.corruption_statistics import CorruptionStatistics
from bench.showing.counts import count_lines
from bench.showing.examples import DemonstrationRow
from bench.showing.plot import check_figure, draw
from bench.showing.text import printable, row_lines
from bench.showing.trace import trace


@pytest.fixture(scope="module")
def letters() -> TextTokenizer:
    """A tokenizer with one token for each letter."""
    return char_tokenizer(["abcdefghij"] * 2, 64)


def row(
    tokenizer: TextTokenizer,
    inputs: str,
    target: str,
    origins: list[int] | None = None,
    width: int = 80,
    words: str = "1" * 10,
) -> list[str]:
    """The lines of `abcdefghij`: `_` is the mask, `0` and `1` sentinels, a space is no label."""
    vocabulary = tokenizer.vocabulary
    token_ids = {letter: int(tokenizer.encode([letter])[0].ids[0]) for letter in "abcdefghij"}
    token_ids |= {"_": vocabulary.mask_id, "0": vocabulary.size, "1": vocabulary.size + 1}
    tokens = torch.tensor([[token_ids[letter] for letter in "abcdefghij"]])
    real = torch.ones_like(tokens, dtype=torch.bool)
    starts = torch.tensor([[letter == "1" for letter in words]])
    batch = Batch(tokens, real, starts, starts, torch.zeros(1, dtype=torch.long))
    input_ids = torch.tensor(
        [[token_ids.get(letter, vocabulary.pad_id) for letter in inputs.ljust(10)]]
    )
    attention_mask = torch.tensor([[letter != " " for letter in inputs.ljust(10)]])
    example = Example(
        input_ids,
        Attention(attention_mask=attention_mask),
        torch.tensor([[token_ids.get(letter, IGNORED) for letter in target]]),
        origins=None if origins is None else torch.tensor([origins + [-1] * (10 - len(origins))]),
    )
    shown = DemonstrationRow("a row", trace(batch, example, vocabulary), None)
    return [line.plain.rstrip() for line in row_lines(shown, tokenizer, width)]


def test_columns_keep_text_input_and_target_together(letters: TextTokenizer) -> None:
    assert row(letters, "a_cjefghij", " bcd      ") == [
        "a row (10 ordinary tokens; full attention)",
        "text    a b      c  d  e f g h i j",
        "input   a [MASK] =c *j e f g h i j",
        "target    b      c  d",
        "",
        "1 hidden; 1 replaced (*); 1 predicted but unchanged (=); 3 predicted",
    ]


def test_lines_wrap_at_the_width(letters: TextTokenizer) -> None:
    lines = row(letters, "a_cjefghij", " bcd      ", width=22)
    assert max(map(len, lines[1:-1])) <= 22
    assert lines[1:7] == [
        "text    a b      c  d",
        "input   a [MASK] =c *j",
        "target    b      c  d",
        "",
        "text    e f g h i j",
        "input   e f g h i j",
    ]


def test_the_rest_of_a_word_is_marked(letters: TextTokenizer) -> None:
    lines = row(letters, "abcdefghij", "          ", words="1011111111")
    assert lines[1] == "text    a \u00b7b c d e f g h i j"
    assert (
        lines[-1]
        == "no token is hidden or predicted, so the objective learns nothing from this row"
    )


def test_a_sentinel_is_below_its_span(letters: TextTokenizer) -> None:
    lines = row(letters, "a0de1j", "0bc1fghi", [0, -1, 3, 4, -1, 9])
    assert lines[1:6] == [
        "text    a b            c d e f            g h i j",
        "input   a <extra_id_0> - d e <extra_id_1> - - - j",
        "",
        "target  <extra_id_0> b c <extra_id_1> f g h i",
        "",
    ]
    assert lines[-1] == "6 removed (-); 2 inserted (+); 8 predicted by the decoder"


def test_a_moved_text_is_shown_as_paragraphs(letters: TextTokenizer) -> None:
    lines = row(letters, "ijab_defgh", "abcdefghij", [8, 9, *range(8)])
    assert lines[1:6] == [
        "text    a b c d e f g h i j",
        "",
        "input   ~i ~j a b [MASK] d e f g h",
        "",
        "target  a b c d e f g h i j",
    ]
    assert lines[-1] == "1 hidden; 2 moved (~); every ordinary token is predicted"


def test_a_corpus_cannot_control_the_terminal() -> None:
    assert printable("\x1b[2Jx") == "\\x1b[2Jx"
    assert printable(" \u202ecat") == "\\u202ecat"
    assert printable(" ") == "' '"
    assert printable("\n") == "'\\n'"
    assert printable("") == "''"
    assert printable(" \u4e2d") == "\u4e2d"


STATISTICS = CorruptionStatistics(
    rows=4,
    tokens=100,
    shares={"corrupted": 0.135, "predicted": 0.15, "moved": 0.0, "inserted": 0.02, "words": 0.1},
    row_ranges={"corrupted": (0.1, 0.2), "predicted": (0.15, 0.15)},
    treatment={"mask": 0.8, "random": 0.1, "kept": 0.1, "removed": 0.0},
    nominal={"predicted": 0.15, "mean_length": 3.0, "infill_rate": 0.3},
    run_tokens=[3, 0, 1, *[0] * 8, 1],
    run_words=[5],
    cut_words=0.25,
    profile={"corrupted": [0.1] * 10, "predicted": [0.5, *[0.15] * 9]},
)


def test_realised_and_nominal_values_are_side_by_side() -> None:
    lines = list(count_lines(STATISTICS, "a sample"))
    assert "tokens predicted                 15.0%     15.0%" in lines
    assert f"{'tokens corrupted':<28}{'13.5%':>10}{'':>13}by row: 10.0% to 20.0%" in lines
    assert "setting mean_length                         3.00" in lines
    assert "setting infill_rate                        30.0%" in lines
    assert "10+ #### 20.0%" in [" ".join(line.split()) for line in lines]
    assert "         0-10 %   ## 10.0%                      ########## 50.0%" in lines
    assert not any("moved" in line for line in lines)


def test_a_figure_is_drawn(tmp_path: Path) -> None:
    draw(STATISTICS, "token", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    for name in ("figure.txt", "none/figure.png"):
        with pytest.raises(BenchError, match="--figure"):
            check_figure(tmp_path / name)


def test_each_colour_has_a_mark(letters: TextTokenizer) -> None:
    """Each state with a style also has a mark, or [MASK], or a line of its own."""
    plain = row(letters, "a_cjefghi ", " bcd      ", [*range(9), -1])
    assert [mark in plain[2] for mark in ("[MASK]", "=c", "*j", " -")] == [True] * 4
