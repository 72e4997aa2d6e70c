"""Collocations: runs of 2 to 5 words that go together, found in the training text and found again.

A word is a run of tokens and a collocation a run of words, both known by a 64-bit hash, so that
any tokenizer will do and a table of them is one sorted tensor. Words are counted in runs of up to
`LONGEST` within a sentence; each length has a table (hash, count, the hashes of its first and of
its last n - 1 words), from which every segmentation of a run can be looked up.

Memory is bounded: a table beyond `MOST_RUNS` forgets its rarest runs, as in lossy counting, so a
run that is common only in the last part of a very large text may be counted short.

Legend: W words of a row (padded to L), n words of a run, N runs in a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from bench.pretraining.corruption.spans import ordered_positions

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from bench.pretraining.batch import Batch

LONGEST = 5
SHARES = {2: 0.5, 3: 0.25, 4: 0.125, 5: 0.125}
"""Of the collocations kept, by length: scores of unlike lengths do not compare (Levine et al.)."""
MOST_RUNS = 1 << 21
"""Runs of one length that are remembered: 64 MB a length."""


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """The words of a batch, and the runs that begin at each."""

    ordinal: Int[Tensor, "B L"]
    """For each ordinary token the number of its word in the row; L for the others."""
    runs: list[tuple[Int[Tensor, "B W"], Bool[Tensor, "B W"]]]
    """For n = 1, 2, ...: hashes of the runs of n words, and which stand within a sentence."""

    @classmethod
    def of(cls, batch: Batch) -> Words:
        """Hash every word of a batch and every run of up to `LONGEST`."""
        rows, length = batch.tokens.shape
        at = torch.arange(length, device=batch.tokens.device)
        starts = batch.word_start & batch.real
        ordinal = starts.long().cumsum(1) - 1
        ordinal = torch.where(batch.real & (ordinal >= 0), ordinal, length)
        place = at - torch.where(starts, at, 0).cummax(1).values
        hashes = batch.tokens.new_zeros(rows, length + 1)
        hashes.scatter_add_(1, ordinal, _mix((batch.tokens << 20) + place + 1))
        # A sentence, and a gap in the text, ends what may be one run.
        part = ((~batch.real) | batch.sentence_start).long().cumsum(1)
        part = torch.nn.functional.pad(part, (0, 1), value=-1)
        part = part.gather(1, ordered_positions(starts))
        first = hashes[:, :length]
        runs = [(first, part >= 0)]
        for n in range(1, LONGEST):
            shorter, fits = runs[-1]
            last = torch.nn.functional.pad(first[:, n:], (0, min(n, length)))
            end = torch.nn.functional.pad(part[:, n:], (0, min(n, length)), value=-1)
            runs.append((_mix(_mix(shorter) + last), fits & (end == part)))
        return cls(ordinal, runs)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Runs of one length: distinct, sorted by hash."""

    hashes: Int[Tensor, " N"]
    counts: Int[Tensor, " N"]
    first: Int[Tensor, " N"]
    """The hash of all but the last word; of a single word, its own."""
    last: Int[Tensor, " N"]
    """The hash of all but the first word."""

    @classmethod
    def merged(cls, tables: Iterable[Table]) -> Table:
        """Add up counts of the same runs."""
        hashes, counts, first, last = (
            torch.cat(column)
            for column in zip(*(vars(table).values() for table in tables), strict=True)
        )
        distinct, which = torch.unique(hashes, return_inverse=True)
        total = torch.zeros_like(distinct).index_add_(0, which, counts)
        one = torch.empty_like(distinct)  # whichever writes last: equal runs have equal parts
        return cls(distinct, total, one.scatter(0, which, first), one.scatter(0, which, last))

    def where(self, kept: Bool[Tensor, " N"]) -> Table:
        """Some of its runs."""
        return Table(self.hashes[kept], self.counts[kept], self.first[kept], self.last[kept])

    def bounded(self, most: int) -> Table:
        """Without its rarest runs, where it is too large."""
        found, fewest = self, 1
        while len(found.hashes) > most:
            fewest += 1
            found = found.where(found.counts >= fewest)
        return found


def collocations(batches: Iterable[Batch], size: int, fewest: int) -> Int[Tensor, " N"]:
    """Hashes of the runs of words that go together best, sorted.

    Args:
        batches: The text.
        size: How many to keep, at most.
        fewest: Occurrences below which a run is no candidate.
    """
    tables, totals = count_runs(batches)
    if not tables:
        return torch.empty(0, dtype=torch.long)
    # A run occurs no more often than its parts do, so these are there, unless they were forgotten.
    for n in range(1, len(tables)):
        table, shorter = tables[n], tables[n - 1].hashes
        has_parts = torch.isin(table.first, shorter) & torch.isin(table.last, shorter)
        tables[n] = table.where((table.counts >= fewest) & has_parts)
    kept = []
    for n, scores in enumerate(pointwise_mutual_information(tables, totals), start=2):
        hashes = tables[n - 1].hashes
        best = scores.sort(descending=True, stable=True).indices[: int(size * SHARES[n])]
        kept.append(hashes[best[scores[best] > 0]])
    return torch.cat(kept).sort().values


def count_runs(batches: Iterable[Batch]) -> tuple[list[Table], list[int]]:
    """A table for each length from one word on, and how many runs of that length were read."""
    pieces: list[list[Table]] = [[] for _ in range(LONGEST)]
    totals = [0] * LONGEST
    for batch in batches:
        runs = Words.of(batch).runs
        for n, (hashes, fits) in enumerate(runs):
            shorter = runs[max(n - 1, 0)][0]
            after = shorter if n == 0 else shorter.roll(-1, 1)
            found, first, last = (column[fits] for column in (hashes, shorter, after))
            totals[n] += len(found)
            pieces[n].append(Table(found, torch.ones_like(found), first, last))
            # Merging what is half new at least costs a logarithm, not a table for each batch.
            if sum(len(piece.hashes) for piece in pieces[n]) > 2 * max(
                len(pieces[n][0].hashes), MOST_RUNS // 4
            ):
                pieces[n] = [Table.merged(pieces[n]).bounded(MOST_RUNS)]
    return [Table.merged(found) for found in pieces if found], totals


def pointwise_mutual_information(
    tables: list[Table], totals: list[int]
) -> list[Float[Tensor, " N"]]:
    """For n = 2, 3, ...: how much likelier each run is than its likeliest segmentation, in nats.

    Its logarithm over the best of log p(s1) + log p(s2) + ... for any cut into parts: a run of
    which some part alone is common ("of the united states") scores no higher than that cut lets it.
    """
    best: list[Tensor] = []  # of each run, whole or cut
    parts: list[tuple[list[Tensor], list[Tensor]]] = []  # where its first k and last k words stand
    scores = []
    for n, (table, total) in enumerate(zip(tables, totals, strict=True), start=1):
        whole = (table.counts.double() / max(total, 1)).log()
        if n == 1:
            best.append(whole)
            parts.append(([], []))
            continue
        shorter = tables[n - 2].hashes
        first, last = (
            torch.searchsorted(shorter, ends).clamp(max=max(len(shorter) - 1, 0))
            for ends in (table.first, table.last)
        )
        firsts = [*(k[first] for k in parts[-1][0]), first]
        lasts = [*(k[last] for k in parts[-1][1]), last]
        cuts = [best[k][firsts[k]] + best[n - 2 - k][lasts[n - 2 - k]] for k in range(n - 1)]
        cut = torch.stack(cuts).amax(0)
        scores.append(whole - cut)
        best.append(torch.maximum(whole, cut))
        parts.append((firsts, lasts))
    return scores


def joined_words(batch: Batch, table: Int[Tensor, " N"]) -> Bool[Tensor, "B L"]:
    """The tokens that begin a word, without those in the middle of a collocation.

    Longer collocations are taken before shorter ones, and from left to right.
    """
    starts = batch.word_start & batch.real
    if not len(table):
        return starts
    words = Words.of(batch)
    taken = torch.zeros_like(starts)
    joined = torch.zeros_like(starts)
    for n in range(LONGEST, 1, -1):
        hashes, fits = words.runs[n - 1]
        place = torch.searchsorted(table, hashes).clamp(max=len(table) - 1)
        is_free = ~_within(taken.flip(1), n).flip(1)  # none of the n words from here on is taken
        begins = _leftmost(fits & (table[place] == hashes) & is_free, n)
        covered = _within(begins, n)
        taken |= covered
        joined |= covered & ~begins
    is_joined = torch.nn.functional.pad(joined, (0, 1)).gather(1, words.ordinal)
    return starts & ~is_joined


def _within(marked: Bool[Tensor, "B W"], n: int) -> Bool[Tensor, "B W"]:
    """Where one of the last n words, this one included, is marked."""
    counts = torch.nn.functional.pad(marked.long().cumsum(1), (n, 0))
    return counts[:, n:] > counts[:, :-n]


def _leftmost(matches: Bool[Tensor, "B W"], n: int) -> Bool[Tensor, "B W"]:
    """Of matches n words long those that a reader from the left takes, skipping overlaps.

    Each word knows where the reader goes next; doubling the step visits a row of W words in log W
    rounds, the same on every device.
    """
    rows, length = matches.shape
    at = torch.arange(length + 1, device=matches.device)
    ahead = torch.nn.functional.pad(matches, (0, 1)).long() * (n - 1) + 1
    target = (at + ahead).clamp(max=length)
    visited = (at == 0).expand(rows, -1)
    for _ in range(length.bit_length()):
        reached = torch.where(visited, target, length)
        visited = visited | torch.zeros_like(visited).scatter(1, reached, True)
        target = target.gather(1, target)
    return matches & visited[:, :length]


def _mix(x: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
    """Scramble 64-bit integers (the finaliser of SplitMix64, in wrapping arithmetic)."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = ((x >> shift & (1 << 64 - shift) - 1) ^ x) * factor
    return x >> 31 & (1 << 33) - 1 ^ x
