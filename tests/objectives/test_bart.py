from __future__ import annotations

import collections
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bench.corpus.store import StoreWriter, TokenStore
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.trainer import char_tokenizer, train_tokenizer
from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Batch, Example
from bench.pretraining.corruption.drafts import nearest
from bench.pretraining.corruption.units import cut_units
from bench.pretraining.noise import Noise
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import Scripted, build

RATES = ("permute", "infill", "delete", "mask", "replace", "rotate")
SEP, MASK = VOCABULARY.sep_id, VOCABULARY.mask_id


def bart(**rates: Any) -> Any:
    """The objective with only these corruptions."""
    values = {f"{name}_rate": rates.pop(name, 0.0) for name in RATES}
    return build("bart_denoise", **(values | rates))


#       [CLS] the cat sat .  it  r- an .  [SEP] a  dog [SEP]
TOKENS = (2, 10, 11, 12, 13, 14, 15, 16, 13, 3, 20, 21, 3)
WORDS = (0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0)
SENTENCES = (0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0)


def by_hand(length: int = len(TOKENS)) -> Batch:
    padding = [0] * (length - len(TOKENS))
    tokens = torch.tensor([[*TOKENS, *padding]])
    words, sentences = (torch.tensor([[*bits, *padding]]) > 0 for bits in (WORDS, SENTENCES))
    return Batch(tokens, tokens > 4, words, sentences, torch.tensor([0]), attention_mask=tokens > 0)


def corrupt(objective: Any, batch: Batch, **draws: list[float]) -> Example:
    streams = {name.replace("_", " "): values for name, values in draws.items()}
    noise = Scripted(0, 0, batch.example_ids, streams)
    example: Example = objective.corrupt(batch, VOCABULARY, noise)
    return example


def shown(objective: Any, **draws: list[float]) -> list[int]:
    example = corrupt(objective, by_hand(), **draws)
    assert example.attention.attention_mask is not None
    return example.inputs[example.attention.attention_mask].tolist()


def test_by_hand_nothing_is_corrupted() -> None:
    example = corrupt(bart(), by_hand())
    assert example.inputs.tolist() == [list(TOKENS)]
    assert example.labels.tolist() == [[t if t > 4 else IGNORED for t in TOKENS]]
    assert example.extras["written"].tolist() == [[SEP, *TOKENS[:-1]]]


def test_by_hand_sentences_are_permuted_within_their_document() -> None:
    draws = [0.0] * 13
    draws[1], draws[5] = 7.0, 3.0  # the second of the first document comes first
    example = corrupt(bart(permute=1.0), by_hand(), sentences=draws)
    assert example.inputs.tolist() == [[2, 14, 15, 16, 13, 10, 11, 12, 13, 3, 20, 21, 3]]
    assert example.origins is not None
    assert example.origins.tolist() == [[0, 5, 6, 7, 8, 1, 2, 3, 4, 9, 10, 11, 12]]
    assert example.labels.tolist() == [[t if t > 4 else IGNORED for t in TOKENS]]


def test_by_hand_sentences_not_chosen_stay() -> None:
    draws = [0.0] * 13
    draws[1], draws[5] = 7.0, 3.0
    moved = [99.0] * 13
    moved[1], moved[10] = (
        0.0,
        1.0,
    )  # two of three, in different documents: no permutation is possible
    result = shown(bart(permute=0.67), sentences=draws, sentences_moved=moved)
    assert result == list(TOKENS)


# Words: the cat sat . it r-an . a dog: nine. Poisson(3): u < .0498 gives 0, < .1991 1, < .4232 2.
def test_by_hand_spans_of_words_become_one_mask() -> None:
    lengths = [0.3, 0.1]  # a span of two, a span of one: the quota round(0.3 x 9) = 3
    places = [99.0] * 100
    places[0], places[1] = 50.0, 80.0
    num_draws = 15  # spans come first, then the visible words: six of them
    for word, key in enumerate((10, 20, 30, 40, 60, 90)):
        places[num_draws + word] = key
    result = shown(bart(infill=0.3), span_lengths=lengths, span_places=places)
    #  the cat sat . [it r-an] . [a] dog
    assert result == [2, 10, 11, 12, 13, MASK, 13, 3, MASK, 21, 3]


def test_by_hand_a_span_over_a_separator_is_cut_in_two() -> None:
    places = [99.0] * 100
    places[0] = 65.0
    for word, key in enumerate((10, 20, 30, 40, 50, 60)):
        places[15 + word] = key
    example = corrupt(bart(infill=0.3), by_hand(), span_lengths=[0.5], span_places=places)
    #  the cat sat . it r-an [. | a dog]
    expected = [2, 10, 11, 12, 13, 14, 15, 16, MASK, 3, MASK, 3]
    assert example.inputs.tolist() == [[*expected, 0]]
    assert example.origins is not None
    assert example.origins[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, -1, 9, -1, 12, -1]


def test_by_hand_an_empty_span_inserts_a_mask() -> None:
    places = [99.0] * 100
    places[0], places[1] = 5.0, 45.0
    for word, key in enumerate((10, 20, 30, 40, 50, 60)):
        places[15 + word] = key
    result = shown(bart(infill=0.3), span_lengths=[0.0, 0.5], span_places=places)
    #  [] the cat sat . [it r-an .] a dog
    assert result == [2, MASK, 10, 11, 12, 13, MASK, 3, 20, 21, 3]


def test_by_hand_the_words_are_a_circle() -> None:
    places = [99.0] * 100
    places[0] = 25.0
    for word, key in enumerate((10, 20, 30, 40, 50, 60)):
        places[15 + word] = key
    draws: dict[str, list[float]] = {"span_lengths": [0.5], "span_places": places}
    #  the cat [sat . it] r-an . a dog, and so that the span lies over the row's ends
    assert shown(bart(infill=0.3), **draws) == [2, 10, 11, MASK, 15, 16, 13, 3, 20, 21, 3]
    result = shown(bart(infill=0.3), cut=[0.6], **draws)  # by five: the span is cut by [CLS]
    assert result == [2, MASK, 11, 12, 13, 14, 15, 16, 13, 3, MASK, 3]


def test_by_hand_masks_are_inserted_while_there_is_room() -> None:
    lengths = [0.0] * 4 + [0.1]  # four empty spans before one of a single word, quota 1
    places = [85.0, 86.0, 87.0, 88.0, 5.0]
    draws: dict[str, list[float]] = {"span_lengths": lengths, "span_places": places}
    with_room = corrupt(bart(infill=0.1), by_hand(15), **draws)
    assert with_room.inputs.tolist() == [
        [2, MASK, MASK, MASK, 11, 12, 13, 14, 15, 16, 13, 3, 20, 21, 3]
    ]
    full = corrupt(bart(infill=0.1), by_hand(13), **draws)
    assert full.inputs.tolist() == [[2, MASK, 11, 12, 13, 14, 15, 16, 13, 3, 20, 21, 3]]


def test_by_hand_deletion() -> None:
    keys = [99.0] * 13
    keys[2] = keys[6] = keys[7] = 0.0
    example = corrupt(bart(delete=0.3), by_hand(), deleted=keys)
    assert example.inputs.tolist() == [[2, 10, 12, 13, 14, 13, 3, 20, 21, 3, 0, 0, 0]]


def test_by_hand_masking_then_replacement() -> None:
    masked, replaced = [99.0] * 13, [99.0] * 13
    masked[1] = masked[2] = masked[3] = 0.0
    replaced[1] = replaced[4] = replaced[11] = 0.0  # the first is masked and cannot be replaced
    example = corrupt(
        bart(mask=0.3, replace=0.3),
        by_hand(),
        masked=masked,
        replaced=replaced,
        replacement=[0.5] * 13,
    )
    drawn = int(VOCABULARY.draw_ordinary(torch.tensor(0.5)))
    expected = [2, MASK, MASK, MASK, drawn, 14, 15, 16, 13, 3, 20, drawn, 3]
    assert example.inputs.tolist() == [expected]
    assert example.origins is not None
    assert example.origins.tolist() == [list(range(13))]


def test_by_hand_rotation_is_of_documents() -> None:
    rotated = [0.9] * 100
    rotated[1] = 0.0  # the first document, known by its first place
    turns = [0.0] * 100
    turns[1] = 0.3  # floor(0.3 x 8) = 2
    result = shown(bart(rotate=0.5), rotated=rotated, turns=turns)
    assert result == [2, 12, 13, 14, 15, 16, 13, 10, 11, 3, 20, 21, 3]


def test_all_corruptions_in_sequence() -> None:
    """The docstring's example: A B . C D E . through all six."""
    tokens = torch.tensor([[2, 10, 11, 12, 20, 21, 22, 12, 3]])
    real = tokens > 4
    sentences = torch.tensor([[0, 1, 0, 0, 1, 0, 0, 0, 0]]) > 0
    batch = Batch(tokens, real, real, sentences, torch.tensor([0]))
    places = [99.0] * 100
    num_draws = 15
    places[:2] = [40.0, 15.0]  # an empty span behind the full stop, then a span of two
    for word, key in enumerate((10, 30, 50, 60, 70)):
        places[num_draws + word] = key
    deleted, masked, replaced = [99.0] * 9, [99.0] * 9, [99.0] * 9
    deleted[3] = masked[4] = replaced[5] = 0.0
    example = corrupt(
        bart(permute=1.0, infill=0.3, delete=0.2, mask=0.25, replace=0.25, rotate=1.0),
        batch,
        sentences=[0.0, 7.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0],
        span_lengths=[0.01, 0.3],
        span_places=places,
        deleted=deleted,
        masked=masked,
        replaced=replaced,
        replacement=[0.5] * 9,
        turns=[0.5] * 100,
    )
    drawn = int(VOCABULARY.draw_ordinary(torch.tensor(0.5)))
    # C [M] . [M] A B .  ->  C [M] [M] A B .  ->  ... [M] B  ->  ... X .  ->  rotated by three
    assert example.inputs.tolist() == [[2, MASK, drawn, 12, 20, MASK, MASK, 3, 0]]
    assert example.origins is not None
    assert example.origins.tolist() == [[0, 1, 2, 3, 4, -1, -1, 8, -1]]


# -- every tokenizer ------------------------------------------------------------------------------

TEXT = "One cat sat. Two dogs ran home! Three birds flew? Four fish swam."
PARTS = ["One cat sat.", "Two dogs ran home!", "Three birds flew?", "Four fish swam."]


def wordpiece() -> TextTokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".!?", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return TextTokenizer(made.to_str().encode())


TOKENIZERS = {
    "byte_level": lambda: train_tokenizer([TEXT] * 3, 300),
    "char": lambda: char_tokenizer([TEXT] * 2, 300),
    "wordpiece": wordpiece,
    "wordpiece_without_full_stop": wordpiece,
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_permutation_works_with_every_tokenizer(kind: str, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[kind]()
    text = TEXT.replace(".", "…") if kind.endswith("full_stop") else TEXT  # read as [UNK]
    with StoreWriter(tmp_path, tokenizer.vocabulary) as writer:
        ((_, encoded),) = list(tokenizer.stream([text]))
        writer.add(text, encoded)
        writer.close()
    vocabulary = tokenizer.vocabulary
    length = len(encoded.ids) + 2
    rows = TokenStore.open(tmp_path).rows(
        torch.zeros(40, dtype=torch.long).numpy(), length, vocabulary.cls_id, vocabulary.pad_id
    )
    bitmaps = (torch.from_numpy(b) for b in (rows.real, rows.word_start, rows.sentence_start))
    batch = Batch(torch.from_numpy(rows.tokens), *bitmaps, torch.arange(40))
    noise = Noise(0, 0, batch.example_ids)
    example = bart(permute=1.0).corrupt(batch, vocabulary, noise)
    starts = [*batch.sentence_start[0].nonzero().flatten().tolist(), length - 1]
    assert len(starts) == 5
    sentences = [tuple(range(low, high)) for low, high in itertools.pairwise(starts)]
    orders = set()
    for row in example.origins.tolist():
        assert (row[0], row[-1]) == (0, length - 1)
        heads = [at for at in row if at in starts[:-1]]
        order = [sentences[starts.index(at)] for at in heads]
        assert list(itertools.chain.from_iterable(order)) == row[1:-1]
        orders.add(tuple(order))
    assert len(orders) > 10  # of 24, in 40 rows
    if kind == "byte_level":
        result = tokenizer.decode(example.inputs[0, 1:-1].tolist())
        assert all(part in result for part in PARTS)


def test_orders_of_sentences_are_equally_likely() -> None:
    rows = 6_000
    tokens = torch.tensor([[2, 10, 11, 12, 13, 14, 3]]).expand(rows, -1)
    sentences = torch.tensor([[0, 1, 0, 1, 1, 0, 0]]).expand(rows, -1) > 0
    batch = Batch(tokens, tokens > 4, tokens > 4, sentences, torch.arange(rows))
    example = bart(permute=1.0).corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
    result = collections.Counter(map(tuple, example.inputs.tolist()))
    assert len(result) == 6
    assert sum((n - 1000) ** 2 / 1000 for n in result.values()) < 25.7  # one in 10,000


# -- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7])
def test_nominal_rate_of_infilling_is_realised(rate: float) -> None:
    batch = sample_batch(80, 64)
    example = bart(infill=rate).corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
    quota = nearest(batch.real.sum(1), rate)
    words = cut_units(batch.word_start, batch.real, quota, batch.real)
    for row in range(80):
        left = set(example.origins[row].tolist())
        starts = words[row].nonzero().flatten().tolist()
        hidden = [at for at in starts if at not in left]
        assert len(hidden) == round(rate * len(starts))
        for at in hidden:  # whole words
            end = at + 1
            while end < 64 and batch.real[row, end] and not words[row, end]:
                assert end not in left
                end += 1


@pytest.mark.parametrize(("name", "rate"), [("delete", 0.3), ("mask", 0.15), ("replace", 0.2)])
def test_rates_over_tokens_are_exact(name: str, rate: float) -> None:
    batch = sample_batch(60, 64)
    example = bart(**{name: rate}).corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
    expected = [round(rate * n) for n in batch.real.sum(1).tolist()]
    if name == "delete":
        lost = batch.real.sum(1) - (example.origins >= 0).sum(1)
        lost += (~batch.real & (batch.tokens != VOCABULARY.pad_id)).sum(1)
        assert lost.tolist() == expected
    elif name == "mask":
        assert (example.inputs == MASK).sum(1).tolist() == expected
    else:  # a token drawn for itself looks unreplaced, once in 495
        changed = (example.inputs != batch.tokens).sum(1)
        assert (changed <= torch.tensor(expected)).all()
        assert changed.sum() >= 0.97 * sum(expected)


def test_documents_are_rotated_at_the_nominal_rate_to_any_start() -> None:
    rows = 4_000
    tokens = torch.tensor([[2, 10, 11, 12, 13, 3, 14, 15]]).expand(rows, -1)
    batch = Batch(tokens, tokens > 4, tokens > 4, tokens == 10, torch.arange(rows))
    example = bart(rotate=0.5).corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
    counts = torch.bincount(example.inputs[:, 1], minlength=14)[10:14] / rows
    expected = torch.tensor([0.5 + 0.125, 0.125, 0.125, 0.125])
    assert (counts - expected).abs().max() < 4.5 * (0.25 / rows) ** 0.5
    assert (example.inputs[:, 5] == SEP).all()
    assert {tuple(r) for r in example.inputs[:, 6:].tolist()} == {(14, 15), (15, 14)}


ALL_SIX = {"permute": 1.0, "infill": 0.3, "delete": 0.1, "mask": 0.1, "replace": 0.1, "rotate": 0.5}


def test_all_six_keep_row_length_specials_and_origins() -> None:
    batch = sample_batch(64, 48)
    example = bart(**ALL_SIX).corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
    attention_mask = example.attention.attention_mask
    assert (attention_mask.long().diff(dim=1) <= 0).all()  # padding at the right
    assert (example.inputs[~attention_mask] == VOCABULARY.pad_id).all()
    for row in range(64):
        at = example.origins[row]
        known = at[at >= 0].tolist()
        assert len(known) == len(set(known))
        special = (~batch.real[row] & (batch.tokens[row] != 0)).nonzero().flatten().tolist()
        assert [place for place in known if place in special] == special  # all present, in order
        is_new = (at < 0) & attention_mask[row]
        assert (example.inputs[row][is_new] == MASK).all()
    assert torch.equal(example.labels != IGNORED, batch.real)


def test_rows_do_not_depend_on_each_other() -> None:
    batch = sample_batch(9, 40)
    whole = bart(**ALL_SIX).corrupt(batch, VOCABULARY, Noise(0, 1, batch.example_ids))
    some = rows_of(batch, torch.tensor([7, 8, 2]))
    part = bart(**ALL_SIX).corrupt(some, VOCABULARY, Noise(0, 1, some.example_ids))
    assert torch.equal(part.inputs, whole.inputs[[7, 8, 2]])
    assert torch.equal(part.origins, whole.origins[[7, 8, 2]])


@pytest.mark.parametrize("tokens", [(2, 3, 0, 0), (2, 10, 3, 0), (2, 10, 11, 3), (2, 3, 3, 3)])
def test_short_rows_survive(tokens: tuple[int, ...]) -> None:
    row = torch.tensor([tokens])
    batch = Batch(row, row > 4, row > 4, row > 4, torch.tensor([0]), attention_mask=row > 0)
    for seed in range(6):
        noise = Noise(seed, 0, batch.example_ids)
        example = bart(**dict.fromkeys(RATES, 1.0)).corrupt(batch, VOCABULARY, noise)
        special = [t for t in example.inputs[0].tolist() if t in (2, 3)]
        assert special == [t for t in tokens if t in (2, 3)]


def test_rates_follow_their_schedule() -> None:
    batch = sample_batch(40, 64)
    for progress, rate in ((0.0, 0.6), (0.5, 0.4), (1.0, 0.2)):
        moved = dataclasses.replace(batch, progress=progress)
        example = bart(mask="0.6->0.2").corrupt(moved, VOCABULARY, Noise(0, 0, batch.example_ids))
        share = (example.inputs == MASK).sum() / batch.real.sum()
        assert share.item() == pytest.approx(rate, abs=0.01)


def test_settings_out_of_range_are_refused() -> None:
    for name in RATES:
        with pytest.raises(BenchError, match=f"{name}_rate"):
            bart(**{name: 1.5})
    with pytest.raises(BenchError, match="mean_length"):
        bart(mean_length=0)
