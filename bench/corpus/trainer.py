"""A tokenizer of one's own, from the training part of a corpus.

Byte-level BPE, because it is the one whose training is deterministic (8 of 8 runs were identical;
WordPiece and Unigram training in `tokenizers` 0.23 differ from run to run), and characters. Both
give the five special tokens the ids 0 to 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from bench.corpus.tokenizer import ROLES, TextTokenizer
from bench.errors import BenchError

_OURS = [spellings[0] for spellings in ROLES.values()]
_TRAINING_BYTES = 64_000_000
_CHAR_WORDS = r" ?[\p{L}\p{M}\p{N}]+(?:['\x{2019}][\p{L}\p{M}]+)*| ?[^\s\p{L}\p{M}\p{N}]|\s"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """Byte-level BPE from (at most the first 64 MB of) some texts.

    Args:
        texts: The training part of a corpus.
        vocab_size: Entries at most, the five special ones included.

    Raises:
        BenchError: `vocab_size` leaves no room for the 256 bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < len(_OURS) + len(alphabet):
        raise BenchError(
            f"encoder.vocab_size is {vocab_size}; a byte-level tokenizer needs at least "
            f"{len(_OURS) + len(alphabet)} (256 bytes and {len(_OURS)} special tokens)"
        )
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=_OURS,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_first_bytes(texts), trainer)
    return TextTokenizer(tokenizer.to_str().encode())


def char_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """A token is one Unicode character; words are runs of letters with the space before them.

    BPE without merges, so that word ids still come from the pre-tokenizer. Characters seen less
    than twice, or beyond the `vocab_size` most frequent, are [UNK].
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts: Counter[str] = Counter()
    for text in _first_bytes(texts):
        counts.update(text)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    room = vocab_size - len(_OURS)
    kept = sorted(character for character, count in ranked[: max(room, 0)] if count > 1)
    vocabulary = {token: i for i, token in enumerate([*_OURS, *kept])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_CHAR_WORDS), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(_OURS)
    return TextTokenizer(tokenizer.to_str().encode())


def _first_bytes(texts: Iterable[str]) -> Iterator[str]:
    left = _TRAINING_BYTES
    for text in texts:
        left -= len(text.encode())
        if left < 0:
            return
        yield text
