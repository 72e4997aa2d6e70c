"""Tokenizers that are trained on the training part of a corpus: byte-level BPE, and characters.

BPE is byte-level because its training is deterministic (8 of 8 runs were identical); the training
of WordPiece and Unigram in `tokenizers` 0.23 differs from run to run. Both tokenizers give the five
special tokens the ids 0 to 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.tokenizer_json import ROLES
from bench.errors import BenchError
from bench.machine import in_thread

_SPECIAL_TOKENS = [spellings[0] for spellings in ROLES.values()]
_LONGEST_WORD = 2_000
_PIECE_CHARACTERS = 100
_CUT_CHARACTERS = 2_000_000
_CHAR_WORDS = r" ?[\p{L}\p{M}\p{N}]+(?:['\x{2019}][\p{L}\p{M}]+)*| ?[^\s\p{L}\p{M}\p{N}]|\s"

_WORDS_WITH_MARKS = (  # the pattern of GPT-2, with marks and joiners beside the letters
    r"'(?:[st]|re|ve|m|ll|d)| ?[\p{L}\p{M}\x{200c}\x{200d}]+| ?\p{N}+"
    r"| ?[^\s\p{L}\p{M}\p{N}\x{200c}\x{200d}]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, keeps_marks: bool = False
) -> TextTokenizer:
    """Train byte-level BPE on texts.

    Args:
        texts: The training part of a corpus, or a sample of it.
        vocab_size: Largest vocabulary size, including the five special tokens.
        keeps_marks: Keep combining marks in their words. The usual pre-tokenizer cuts at each one,
            so that no token has a vowel sign together with its consonant.

    Raises:
        BenchError: `vocab_size` leaves no room for the 256 bytes.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    least = len(_SPECIAL_TOKENS) + len(alphabet)
    if vocab_size < least:
        raise BenchError(
            f"encoder.vocab_size is {vocab_size}; a byte-level tokenizer needs at least {least} "
            f"(256 bytes and {len(_SPECIAL_TOKENS)} special tokens)"
        )
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    if keeps_marks:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS_WITH_MARKS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=_SPECIAL_TOKENS,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    in_thread(lambda until: tokenizer.train_from_iterator(until(_cut_words(texts)), trainer))
    return TextTokenizer(tokenizer.to_str().encode())


def char_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """A tokenizer whose tokens are Unicode characters.

    It is BPE without merges, so that word ids still come from the pre-tokenizer: a word is a run of
    letters with the space before it. Characters that occur once, or that are not among the
    `vocab_size` most frequent, become [UNK].

    Args:
        texts: The training part of a corpus, or a sample of it.
        vocab_size: Largest vocabulary size, including the five special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    room = vocab_size - len(_SPECIAL_TOKENS)
    characters = sorted(character for character, count in ranked[: max(room, 0)] if count > 1)
    vocabulary = {token: i for i, token in enumerate([*_SPECIAL_TOKENS, *characters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_CHAR_WORDS), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(_SPECIAL_TOKENS)
    return TextTokenizer(tokenizer.to_str().encode())


def _cut_words(texts: Iterable[str]) -> Iterator[str]:
    """The texts, cut where a word is longer than `_LONGEST_WORD`; of such words the first 2 MB.

    Each merge of BPE goes through all words with its pair, so that the time of the training grows
    with the length of a word. Words of that length (a line without a space) have no parts that a
    cut could hide. Their pieces are all different, each is a word of its own for the training, and
    20 MB of them take 25 s and 1.5 GB of memory.
    """
    room = _CUT_CHARACTERS
    for text in texts:
        words = text.split()
        if max(map(len, words), default=0) <= _LONGEST_WORD:
            yield text
            continue
        for word in words:
            if len(word) > _LONGEST_WORD:
                if room <= 0:
                    continue
                room -= len(word)
            for at in range(0, len(word), _PIECE_CHARACTERS):
                yield word[at : at + _PIECE_CHARACTERS]
