"""Collocations: runs of 2 to 5 words that often occur together, collected from the training text.

A word is a run of tokens and a collocation is a run of words. Each is identified by a 64-bit hash,
so any tokenizer works and a table of runs is one sorted tensor. Runs of up to `LONGEST` words
within a sentence are counted. Each length has a table (hash, count, and the hashes of the run's
first and last n - 1 words), from which every segmentation of a run can be looked up.

Memory is bounded: a table with more than `MOST_RUNS` runs drops its rarest runs, as in lossy
counting. The count of a run that is common only in the last part of a very large text may therefore
be too low.

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
"""Share of the collocations by length, because scores of different lengths are not comparable
(Levine et al.)."""
MOST_RUNS = 1 << 21
"""Maximum number of runs of one length in memory: 64 MB per length."""


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """The words of a batch, and the runs of words that begin at each word."""

    ordinal: Int[Tensor, "B L"]
    """Index of each ordinary token's word in its row; L for all other tokens."""
    runs: list[tuple[Int[Tensor, "B W"], Bool[Tensor, "B W"]]]
    """For n = 1, 2, ...: hashes of the runs of n words; True where a run lies in one sentence."""

    @classmethod
    def of(cls, batch: Batch) -> Words:
        """Hash every word of a batch and every run of up to `LONGEST` words."""
        rows, length = batch.tokens.shape
        at = torch.arange(length, device=batch.tokens.device)
        starts = batch.word_start & batch.real
        ordinal = starts.long().cumsum(1) - 1
        ordinal = torch.where(batch.real & (ordinal >= 0), ordinal, length)
        place = at - torch.where(starts, at, 0).cummax(1).values
        hashes = batch.tokens.new_zeros(rows, length + 1)
        hashes.scatter_add_(1, ordinal, _mix((batch.tokens << 20) + place + 1))
        # The end of a sentence and a gap in the text end a run.
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
    """Distinct runs of one length, sorted by hash."""

    hashes: Int[Tensor, " N"]
    counts: Int[Tensor, " N"]
    first: Int[Tensor, " N"]
    """Hash of all words but the last; for a single word, its own hash."""
    last: Int[Tensor, " N"]
    """Hash of all words but the first; for a single word, its own hash."""

    @classmethod
    def merge(cls, tables: Iterable[Table]) -> Table:
        """Merge tables and add up the counts of equal runs."""
        hashes, counts, first, last = (
            torch.cat(column)
            for column in zip(*(vars(table).values() for table in tables), strict=True)
        )
        distinct, which = torch.unique(hashes, return_inverse=True)
        total = torch.zeros_like(distinct).index_add_(0, which, counts)
        one = torch.empty_like(distinct)  # the last write wins: equal runs have equal parts
        return cls(distinct, total, one.scatter(0, which, first), one.scatter(0, which, last))

    def select(self, runs: Bool[Tensor, " N"]) -> Table:
        """A table of the marked runs."""
        return Table(self.hashes[runs], self.counts[runs], self.first[runs], self.last[runs])

    def drop_rarest(self, most: int) -> Table:
        """Raise the minimum count until at most `most` runs are left."""
        table, fewest = self, 1
        while len(table.hashes) > most:
            fewest += 1
            table = table.select(table.counts >= fewest)
        return table


def collocations(batches: Iterable[Batch], size: int, fewest: int) -> Int[Tensor, " N"]:
    """Sorted hashes of the collocations with the highest scores (Levine et al. 2021, sec. 3).

    Args:
        batches: The training text.
        size: Maximum number of collocations.
        fewest: Minimum number of occurrences of a collocation.
    """
    tables, totals = count_runs(batches)
    if not tables:
        return torch.empty(0, dtype=torch.long)
    # A run is never more frequent than its parts, so the parts are there unless dropped as rare.
    for n in range(1, len(tables)):
        table, shorter = tables[n], tables[n - 1].hashes
        has_parts = torch.isin(table.first, shorter) & torch.isin(table.last, shorter)
        tables[n] = table.select((table.counts >= fewest) & has_parts)
    selected = []
    for n, scores in enumerate(pointwise_mutual_information(tables, totals), start=2):
        hashes = tables[n - 1].hashes
        best = scores.sort(descending=True, stable=True).indices[: int(size * SHARES[n])]
        selected.append(hashes[best[scores[best] > 0]])
    return torch.cat(selected).sort().values


def count_runs(batches: Iterable[Batch]) -> tuple[list[Table], list[int]]:
    """One table per length from 1 to `LONGEST`, and the number of runs of each length read."""
    pieces: list[list[Table]] = [[] for _ in range(LONGEST)]
    totals = [0] * LONGEST
    for batch in batches:
        runs = Words.of(batch).runs
        for n, (hashes, fits) in enumerate(runs):
            shorter = runs[max(n - 1, 0)][0]
            after = shorter if n == 0 else shorter.roll(-1, 1)
            whole, first, last = (column[fits] for column in (hashes, shorter, after))
            totals[n] += len(whole)
            pieces[n].append(Table(whole, torch.ones_like(whole), first, last))
            # Merging only when at least half of the runs are new takes a logarithmic number of
            # merges instead of one per batch.
            if sum(len(piece.hashes) for piece in pieces[n]) > 2 * max(
                len(pieces[n][0].hashes), MOST_RUNS // 4
            ):
                pieces[n] = [Table.merge(pieces[n]).drop_rarest(MOST_RUNS)]
    return [Table.merge(tables) for tables in pieces if tables], totals


def pointwise_mutual_information(
    tables: list[Table], totals: list[int]
) -> list[Float[Tensor, " N"]]:
    """For n = 2, 3, ...: log p(run) minus that of the run's most probable segmentation, in nats.

    The log probability of a segmentation is log p(s1) + log p(s2) + ..., and the maximum is over
    all cuts into parts. A run with a common part ("of the united states") therefore scores only as
    much as the best cut leaves.
    """
    best: list[Tensor] = []  # best log probability of each run, whole or cut
    parts: list[
        tuple[list[Tensor], list[Tensor]]
    ] = []  # indices of the run's first k and last k words
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
    """First tokens of words, except of words inside a collocation after its first.

    Longer collocations take precedence over shorter ones; equal lengths match from left to right.
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
    """True where this word or one of the n - 1 words before it is marked."""
    counts = torch.nn.functional.pad(marked.long().cumsum(1), (n, 0))
    return counts[:, n:] > counts[:, :-n]


def _leftmost(matches: Bool[Tensor, "B W"], n: int) -> Bool[Tensor, "B W"]:
    """The non-overlapping matches of n words that a scan from the left selects.

    Each word stores the next word of the scan. Doubling the step visits all W words of a row in
    log W rounds, and the result is the same on every device.
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
