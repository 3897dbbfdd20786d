"""How far a place's part in the answer is to be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.errors import DataError
from geocsp.fusion.support import Support

_STEEPNESS = 4
_MARGIN = 1.25
_SPARE = 0.02
_LEAST = 1e-9


@dataclass(frozen=True)
class Trust:
    """Trust in the place, from 1 down to 0 as any of some signals grows.

    It is the product of ``1 / (1 + (signal / half)^4)`` over the signals, and 0 where one of them
    is beyond its limit.

    Attributes:
        halves: at which each of the S signals, on its own, halves the trust.
        limits: up to which held-out labels say anything.
    """

    halves: tuple[float, ...]
    limits: tuple[float, ...]

    @classmethod
    def within(cls, seen: Tensor, halves: Tensor) -> Self:
        """Trust with limits of 1.25 times the :func:`reach` of held-out rows.

        Args:
            seen: ``(V, S)`` signals of held-out rows.
            halves: ``(S,)``.
        """
        return cls(tuple(halves.tolist()), tuple((_MARGIN * reach(seen)).tolist()))

    @classmethod
    def nowhere(cls, signals: int) -> Self:
        """No trust, whatever the signals are."""
        return cls((1.0,) * signals, (-1.0,) * signals)

    def of(self, signals: Tensor) -> Tensor:
        """Trust of rows, ``(N,)`` float64: ``signals`` are ``(N, S)``.

        Raises:
            DataError: there are more signals or fewer.
        """
        if signals.shape[1] != len(self.limits):
            raise DataError(
                f"trust goes by {len(self.limits)} signals, got {signals.shape[1]}; give a "
                "disagreement exactly if it was fitted with one"
            )
        known = (signals <= signals.new_tensor(self.limits)).all(dim=1)
        return torch.where(known, decay(signals, signals.new_tensor(self.halves)), 0.0)


def decay(signals: Tensor, halves: Tensor) -> Tensor:
    """Trust without limits, ``(N,)``, of signals ``(N, S)`` that halve it at ``(S,)``."""
    return (1 / (1 + (signals / halves) ** _STEEPNESS)).prod(dim=1)


def reach(seen: Tensor) -> Tensor:
    """How far signals ``(V, S)`` go, each but for 2 % of the rows: ``(S,)``, above 0.

    It does not hang on one row far from all others.
    """
    spare = math.floor(_SPARE * len(seen))
    return seen.kthvalue(len(seen) - spare, dim=0).values.clamp_min(_LEAST)


def signals_of(support: Support, lonlat: Tensor, disagreement: Tensor | None) -> Tensor:
    """What speaks against trusting a place, ``(N, S)`` float64, the more the larger.

    The distance to the nearest training place; the side of the square that each training place
    has for itself around there; and the disagreement of an ensemble, if given.

    Raises:
        DataError: the disagreement is not that of as many rows.
        ValueError: a place is out of range.
    """
    signals = [support.km(lonlat), (-support.density(lonlat) / 2).exp()]
    if disagreement is not None:
        if disagreement.shape != lonlat.shape[:1]:
            raise DataError(
                f"disagreement must be ({len(lonlat)},), got {tuple(disagreement.shape)}"
            )
        signals.append(disagreement.cpu().double())
    return torch.stack(signals, dim=1)


def ensemble(scores: Tensor) -> tuple[Tensor, Tensor]:
    """What several priors say together, and how much they differ about it.

    The difference is the Jensen-Shannon divergence of their P(y | x), ``sigmoid(score)`` scaled to
    sum to one over the classes: the entropy of their mean less their mean entropy, from 0 to the
    logarithm of the number of priors (Lin, IEEE Transactions on Information Theory 1991).
    Members that differ in their seeds alone tell where the labels leave the answer open
    (Lakshminarayanan et al., NeurIPS 2017).

    Args:
        scores: ``(E, N, Q)`` presence scores before the sigmoid of E priors.

    Returns:
        The mean score ``(N, Q)``, and the disagreement ``(N,)`` in nats, float64.

    Raises:
        DataError: another shape, or no priors.
    """
    if scores.ndim != 3 or not len(scores):
        raise DataError(
            f"scores of priors must be (priors, rows, classes), got {tuple(scores.shape)}"
        )
    logs = F.logsigmoid(scores.double()).log_softmax(dim=2)
    together = logs.logsumexp(dim=0) - math.log(len(scores))
    disagreement = (logs.exp() * (logs - together)).sum(dim=2).mean(dim=0)
    return scores.mean(dim=0), disagreement.clamp_min(0.0)
