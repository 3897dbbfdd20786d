"""Fitting a fusion together with the trust in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.fusion.fitting import bounded, fit_image_temperature, fusion_of, least, numbers_of
from geocsp.fusion.trust import Trust, decay, reach
from geocsp.fusion.variants import Calibration, Fusion, Mixture, Variant

_FARTHEST_HALF = 2.0


@dataclass(frozen=True, eq=False)
class Rows:
    """Held-out rows with a place, all in float64.

    Attributes:
        log_image: ``(V, Q)`` log P(y | I), finite.
        scores: ``(V, Q)`` presence scores before the sigmoid.
        labels: ``(V,)`` classes.
        signals: ``(V, S)`` of :func:`geocsp.fusion.trust.signals_of`.
    """

    log_image: Tensor
    scores: Tensor
    labels: Tensor
    signals: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> Rows:
        return Rows(*(column[chosen] for column in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Guard:
    """A fusion, the image alone, and how to go from one to the other.

    Attributes:
        fusion: where the place is trusted.
        image_temperature: of the image alone.
        trust: by the signals of a row.
        point: where the search for all this ended, to start a similar one from.
    """

    fusion: Calibration | Mixture
    image_temperature: float
    trust: Trust
    point: Tensor

    def losses(self, rows: Rows) -> Tensor:
        """Negative log-likelihood of each row, ``(V,)``."""
        trust = self.trust.of(rows.signals)
        logits = backed_off(self.fusion, self.image_temperature, trust, rows.log_image, rows.scores)
        return F.cross_entropy(logits, rows.labels, reduction="none")

    def losses_alone(self, rows: Rows) -> Tensor:
        """The same of the image alone, ``(V,)``."""
        logits = rows.log_image / self.image_temperature
        return F.cross_entropy(logits, rows.labels, reduction="none")


def backed_off(
    fusion: Fusion, image_temperature: float, trust: Tensor, log_image: Tensor, scores: Tensor
) -> Tensor:
    """Logits between those of the fusion, at trust 1, and of the image alone, at trust 0.

    What is not asked for does not count, whatever it is: scores at trust 0 may be NaN.

    Args:
        fusion: joins image and place.
        image_temperature: of the image alone.
        trust: ``(N,)``.
        log_image: ``(N, Q)``.
        scores: ``(N, Q)``.
    """
    share = trust.unsqueeze(1)
    alone, fused = log_image / image_temperature, fusion.logits(log_image, scores)
    between = share * fused + (1 - share) * alone
    return torch.where(share > 0, torch.where(share < 1, between, fused), alone)


def fit_guard(rows: Rows, variant: Variant, start: Tensor | None = None) -> Guard:
    """Choose fusion and trust by the negative log-likelihood, with a weak pull.

    The pull is towards the plain product, and trust that halves at twice the signals seen.

    Args:
        rows: held-out rows.
        variant: of the fusion.
        start: the ``point`` of a similar guard.
    """
    temperature = fit_image_temperature(rows.log_image, rows.labels)
    count, unit = numbers_of(variant), _FARTHEST_HALF * reach(rows.signals)

    def loss(freely: Tensor) -> Tensor:
        trust = decay(rows.signals, unit * bounded(freely[count:]).exp())
        fusion = fusion_of(variant, freely[:count])
        logits = backed_off(fusion, temperature, trust, rows.log_image, rows.scores)
        return F.cross_entropy(logits, rows.labels)

    point = least(loss, torch.zeros(count + len(unit)) if start is None else start)
    halves = unit * bounded(point[count:]).exp()
    trust = Trust.within(rows.signals, halves)
    return Guard(fusion_of(variant, point[:count]), temperature, trust, point)
