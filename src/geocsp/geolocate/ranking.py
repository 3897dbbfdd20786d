"""From the scores of places to ranked answers that are well apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geocsp.coords import EARTH_RADIUS_KM
from geocsp.evaluate.geolocation import ROUNDING, Guesses, ranked


@dataclass(frozen=True, eq=False)
class Scores:
    """Places of a gallery with their similarity to one image.

    Attributes:
        rows: ``(m,)`` int64 rows of the gallery, those of answers in its order; None: all of it.
        values: ``(m,)`` cosine similarity of image and place.
        stands_for: ``(m,)`` how many places of the gallery each stands for; None: one. Those that
            stand for more than one are no answers, but count in the probabilities.
        scale: inverse temperature.
    """

    rows: Tensor | None
    values: Tensor
    scale: float
    stands_for: Tensor | None = None

    def probabilities(self) -> Tensor:
        """P(place | image), of each with those that it stands for, ``(m,)`` float64."""
        logits = self.scale * self.values.double()
        if self.stands_for is not None:
            logits = logits + self.stands_for.double().log()
        return logits.softmax(dim=0)


@dataclass(frozen=True, eq=False)
class Regions:
    """The most likely places of one image that are well apart, with what lies around them.

    Attributes:
        rows: ``(k,)`` int64 rows of the gallery.
        scores: ``(k,)`` similarity of image and place.
        probabilities: ``(k,)`` float64, of all places around.
    """

    rows: Tensor
    scores: Tensor
    probabilities: Tensor


def regions(scores: Scores, vectors: Tensor, count: int, apart_km: float) -> Regions:
    """The best places, each with all that is nearer than ``apart_km`` and not in a better one's.

    Takes the most similar place, then the most similar of those at least ``apart_km`` from it, and
    so on (greedy non-maximum suppression); then sorts them by the probability of what lies around,
    the sum over its places. With 0 km these are the most similar places, each on its own.

    Args:
        scores: of one image.
        vectors: ``(M, 3)`` float64 unit vectors of the gallery.
        count: K; there are fewer if there are fewer so far apart.
        apart_km: smallest distance of two answers.
    """
    probabilities = scores.probabilities()
    answers = torch.ones_like(scores.values, dtype=torch.bool)
    if scores.stands_for is not None:
        answers = scores.stands_for == 1
    open_scores = torch.where(answers, scores.values, -torch.inf)
    if apart_km <= 0:
        best, found = (t[0] for t in ranked(open_scores[None], min(count, int(answers.sum()))))
        return Regions(_rows(scores, found), best, probabilities[found])
    places = vectors if scores.rows is None else vectors[scores.rows]
    peaks, shares = _apart(open_scores, probabilities, places, count, apart_km)
    order = shares.argsort(descending=True, stable=True)
    peaks = peaks[order]
    return Regions(_rows(scores, peaks), scores.values[peaks], shares[order])


def _apart(
    open_scores: Tensor, probabilities: Tensor, places: Tensor, count: int, apart_km: float
) -> tuple[Tensor, Tensor]:
    """Positions of the peaks and the probabilities around them, in the order they are found."""
    slack = ROUNDING * torch.finfo(open_scores.dtype).eps
    nearest = math.cos(min(apart_km / EARTH_RADIUS_KM, math.pi))
    left, open_scores = probabilities.clone(), open_scores.clone()
    peaks: list[int] = []
    shares: list[Tensor] = []
    while len(peaks) < count and bool((best := open_scores.max()) > -torch.inf):
        peak = int((open_scores >= best - slack).nonzero()[0])  # of equals, the first
        around = places @ places[peak] > nearest
        around[peak] = True  # also where rounding hides a distance of nothing
        peaks.append(peak)
        shares.append(left[around].sum())
        left[around] = 0
        open_scores[around] = -torch.inf
    return torch.tensor(peaks), torch.stack(shares)


def guesses(found: list[Regions], lonlat: Tensor, count: int) -> Guesses:
    """Answers for N images side by side; NaN where an image has fewer than ``count``."""
    places = torch.full((len(found), count, 2), torch.nan, dtype=torch.float64)
    scores = torch.full((len(found), count), torch.nan)
    probabilities = torch.zeros(len(found), count, dtype=torch.float64)
    for image, some in enumerate(found):
        known = slice(0, len(some.rows))
        places[image, known] = lonlat[some.rows]
        scores[image, known] = some.scores
        probabilities[image, known] = some.probabilities
    return Guesses(places, scores, probabilities)


def _rows(scores: Scores, positions: Tensor) -> Tensor:
    return positions if scores.rows is None else scores.rows[positions]
