"""Retrieval: does an image find its place among many, or a place its images?

Answers with equal scores share their ranks (McSherry and Najork, ECIR 2008), so a model that gives
all places the same embedding does as well as one that guesses, and not better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.coords import check_lonlat, great_circle_km
from geocsp.data.splitters.base import Integers
from geocsp.errors import DataError

_SCORES = 2**24
"""Scores in memory at once: 64 MiB in float32."""
_ROUNDING = 8
"""Scores of unit vectors that differ by less, in units of the last place of 1, are equal."""


@dataclass(frozen=True, eq=False)
class Retrieval:
    """How well N queries found a right answer.

    Attributes:
        above: ``(N,)`` int64 wrong answers with a higher score than the best right one.
        level: ``(N,)`` int64 wrong answers with the same score as it.
        km: ``(N,)`` float64 great-circle distance from the place of the query to that of the best
            answer; of several equally good ones, that of the first.
    """

    above: Tensor
    level: Tensor
    km: Tensor

    @property
    def rank(self) -> Tensor:
        """Rank of the best right answer, ``(N,)`` float64: mean over all orders of equals."""
        return 1 + self.above + self.level.double() / 2

    def recall(self, count: int) -> float:
        """Share of queries with a right answer among the first ``count``, in [0, 1].

        Among equals it is as likely to come first as any wrong one.
        """
        left = (count - self.above).double() / (1 + self.level)
        return float(left.clamp(0, 1).mean())

    def metrics(self) -> dict[str, float]:
        """R@1, R@5, R@10, median_rank, median_km and mean_km."""
        recalls = {f"R@{count}": self.recall(count) for count in (1, 5, 10)}
        return recalls | {
            "median_rank": float(np.median(self.rank.numpy())),
            "median_km": float(np.median(self.km.numpy())),
            "mean_km": float(self.km.mean()),
        }


@torch.no_grad()
def retrieve(
    queries: Tensor, query_lonlat: Tensor, answers: Tensor, answer_lonlat: Tensor
) -> Retrieval:
    """Rank all answers for every query by the dot product of their embeddings.

    Every answer at the very place of a query is right, so answers at one place do not compete with
    each other; the best of them counts. Each wrong answer counts, also several at one place: give
    every place once where that is not wanted. Images as queries and places as answers tell whether
    images find their places; the other way round, whether places find their images.

    Exact, in memory for a few million scores at a time.

    Args:
        queries: ``(N, D)`` embeddings, unit length.
        query_lonlat: ``(N, 2)`` places of the queries, degrees.
        answers: ``(M, D)`` embeddings, unit length, on the same device.
        answer_lonlat: ``(M, 2)`` places of the answers, degrees.

    Raises:
        DataError: sizes do not fit, an embedding is not finite, or a query has no right answer.
        ValueError: a place is missing or out of range.
    """
    for name, rows, lonlat in (
        ("queries", queries, query_lonlat),
        ("answers", answers, answer_lonlat),
    ):
        if len(rows) != len(lonlat) or len(rows) == 0:
            raise DataError(f"need a place for each of the {name}: {len(rows)} and {len(lonlat)}")
        check_lonlat(lonlat, f"lonlat of {name}")
        check_finite_rows(rows, name)
    right = _RightAnswers.of(query_lonlat, answer_lonlat)
    above, level, best = torch.empty(3, len(queries), dtype=torch.int64)
    # one buffer for all parts: new ones each time would scatter the memory
    shape = min(len(queries), max(1, _SCORES // len(answers))), len(answers)
    scores, mask = queries.new_empty(shape), queries.new_empty(shape, dtype=torch.bool)
    for start in range(0, len(queries), len(scores)):
        part = slice(start, min(start + len(scores), len(queries)))
        size = part.stop - start
        torch.mm(queries[part], answers.T, out=scores[:size])
        ranked = _ranked(scores[:size], mask[:size], right.pairs(part))
        above[part], level[part], best[part] = ranked
    found = answer_lonlat.cpu().double()[best]
    return Retrieval(above, level, great_circle_km(query_lonlat.cpu().double(), found))


@dataclass(frozen=True, eq=False)
class _RightAnswers:
    """Answers in order of place, and where in that order those of each query are."""

    order: Integers
    first: Integers
    after: Integers

    @classmethod
    def of(cls, query_lonlat: Tensor, answer_lonlat: Tensor) -> _RightAnswers:
        queries, answers = _keys(query_lonlat), _keys(answer_lonlat)
        order = np.argsort(answers, kind="stable")
        answers = answers[order]
        first, after = (answers.searchsorted(queries, side) for side in ("left", "right"))
        if bool((first == after).any()):
            row = int((first == after).argmax())
            lon, lat = query_lonlat[row].tolist()
            raise DataError(
                f"no answer is at the place of query {row} (lon {lon:g}, lat {lat:g}); add it to "
                "the answers"
            )
        return cls(order, first, after)

    def pairs(self, part: slice) -> tuple[Tensor, Tensor]:
        """Query, counted from the start of the part, and answer of every right pair."""
        first, counts = self.first[part], (self.after - self.first)[part]
        rows = np.arange(len(first)).repeat(counts)
        along = np.arange(len(rows)) - (counts.cumsum() - counts).repeat(counts)
        return torch.from_numpy(rows), torch.from_numpy(self.order[first.repeat(counts) + along])


def _keys(lonlat: Tensor) -> NDArray[np.complex128]:
    """One number for each place: over the antimeridian, at the poles, with zeros of any sign."""
    lon, lat = lonlat.detach().cpu().double().numpy().T
    lon = np.where((lon == 180) | (np.abs(lat) == 90), -180.0, lon) + 0.0
    return np.stack([lon, lat + 0.0], axis=1).view(np.complex128)[:, 0]


def _ranked(
    scores: Tensor, mask: Tensor, right: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Wrong answers above and level with the best right one, and the best answer, ``(n,)`` each.

    Args:
        scores: ``(n, M)`` of all answers.
        mask: ``(n, M)`` bool, to write to.
        right: query and answer of every right pair.
    """
    slack = _ROUNDING * torch.finfo(scores.dtype).eps
    rows, columns = (index.to(scores.device) for index in right)
    own = scores[rows, columns]
    best = scores.new_full((len(scores),), -torch.inf).scatter_reduce(0, rows, own, "amax")
    own_level = torch.bincount(rows[own >= best[rows] - slack], minlength=len(best)).cpu()
    above = _count(torch.gt(scores, (best + slack)[:, None], out=mask))
    level = _count(torch.ge(scores, (best - slack)[:, None], out=mask)) - above - own_level
    return above, level, _first(torch.ge(scores, (scores.amax(1) - slack)[:, None], out=mask))


def _count(mask: Tensor) -> Tensor:
    """True values of each row, ``(n,)`` int64 on the CPU."""
    if mask.device.type == "cpu":  # some fifteen times as fast as PyTorch
        return torch.from_numpy(np.count_nonzero(mask.numpy(), axis=1))
    return mask.sum(1).cpu()


def _first(mask: Tensor) -> Tensor:
    """Column of the first true value of each row, ``(n,)`` int64 on the CPU."""
    return mask.view(torch.uint8).argmax(1).cpu()
