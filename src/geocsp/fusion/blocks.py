"""Neighbouring rows in blocks: what is drawn or left out together."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.coords import unit_vectors


def equal_blocks(lonlat: Tensor, halvings: int) -> Tensor:
    """Divide places into ``2^halvings`` blocks of equally many, ``(N,)`` int64.

    Places are halved again and again along the axis in which they spread most, as in a k-d tree
    (Bentley, Communications of the ACM 1975), so blocks are small where places are dense.

    Args:
        lonlat: ``(N, 2)`` degrees.
        halvings: how often; blocks may be empty where there are fewer places than blocks.
    """
    block = torch.zeros(len(lonlat), dtype=torch.int64)
    _halve(unit_vectors(lonlat.cpu().double()), torch.arange(len(lonlat)), halvings, block)
    return block


def _halve(vectors: Tensor, rows: Tensor, halvings: int, block: Tensor) -> None:
    if halvings == 0 or not len(rows):
        return
    spread = vectors[rows].amax(0) - vectors[rows].amin(0)
    order = rows[vectors[rows, int(spread.argmax())].argsort(stable=True)]
    lower, upper = order.tensor_split(2)
    block[upper] += 2 ** (halvings - 1)
    _halve(vectors, lower, halvings - 1, block)
    _halve(vectors, upper, halvings - 1, block)
