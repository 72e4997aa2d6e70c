"""Choosing whole units (tokens, words, collocations) at random until a quota of tokens is met.

The rule is sequential: take units in random order, skip one that would overshoot, go on. Done a
unit at a time it costs a thousand small operations a batch; here each round settles all units up
to the first that overshoots, and all later ones too long for what is left, in every row at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.noise import Noise

ROUNDS = 4
"""Each round leaves less room than the one before. Four gave what forty give in all of 64,119 rows
of English (byte-level BPE of 2,048 entries, length 64 to 512); a row they fail falls short."""
_NEVER = 2**62
_SPARE = 32  # units looked at beyond the quota, for those that are skipped


def choose_units(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    noise: Noise,
) -> Bool[Tensor, "B L"]:
    """Mark the tokens of randomly chosen whole units.

    Args:
        starts: The first token of each unit; the unit reaches to the next start.
        real: Tokens that may be chosen; only they count.
        quota: Tokens to choose in each row, not exceeded.
        largest_quota: An upper bound of `quota` known without looking at it.
        noise: The draws; stream "units".
    """
    rows, length = real.shape
    starts = starts & real
    unit = starts.long().cumsum(1)  # 0: before the first start
    sizes = unit.new_zeros(rows, length + 1).scatter_add_(1, unit, real.long())
    at = torch.arange(length, device=real.device)
    # The position in the low bits makes keys distinct, so that the order is the same everywhere.
    keys = torch.where(starts, noise.bits("units", (rows, length)) * length + at, _NEVER)
    drawn = keys.topk(min(length, largest_quota + _SPARE), dim=1, largest=False)
    unit = torch.where(real, unit, 0)
    candidate = unit.gather(1, drawn.indices)
    size = sizes.gather(1, candidate)
    alive = drawn.values < _NEVER
    taken = alive
    for _ in range(ROUNDS):
        taken = alive & ((size * alive).cumsum(1) <= quota[:, None])
        if not real.is_cuda and torch.equal(taken, alive):  # on a GPU looking costs more
            break
        room = quota - (size * taken).sum(1)
        alive = taken | (alive & (size <= room[:, None]))
    chosen = torch.zeros(rows, length + 1, dtype=torch.bool, device=real.device)
    chosen.scatter_(1, candidate * taken, taken)
    chosen[:, 0] = False
    return chosen.gather(1, unit)
