"""Fusion that asks the place only where that has been seen to help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from geocsp.checks import check_finite_rows
from geocsp.errors import DataError
from geocsp.fusion.evidence import Evidence, can_judge, evidence_of
from geocsp.fusion.fitting import check_rows, comparable, fit_image_temperature
from geocsp.fusion.guard import Rows, backed_off, fit_guard
from geocsp.fusion.support import Support
from geocsp.fusion.trust import Trust, signals_of
from geocsp.fusion.variants import Calibration, Mixture, Variant


@dataclass(frozen=True, eq=False)
class GuardedFusion:
    """Fusion that backs off to the image where the place is not to be trusted.

    With trust t in a row, ``P(y|I,x)`` is proportional to ``fused^t * image^(1-t)``, the fused and
    the image's calibrated probabilities: of a product, the place's power times t.

    Attributes:
        fusion: where the place is trusted.
        image_temperature: calibrates the image alone.
        guard: trust in a row by its place.
        evidence: whether the place helps at all; if not enough, no place is trusted.
        support: where the prior was trained.
    """

    fusion: Calibration | Mixture
    image_temperature: float
    guard: Trust
    evidence: Evidence
    support: Support

    def trust(self, lonlat: Tensor, disagreement: Tensor | None = None) -> Tensor:
        """Trust in each row's place, ``(N,)`` float64 in [0, 1].

        0 without a place, beyond the range of the held-out rows it was fitted to, and everywhere
        if these do not show that the place helps.

        Args:
            lonlat: ``(N, 2)`` degrees, NaN where there is no place.
            disagreement: ``(N,)`` of :func:`geocsp.fusion.ensemble`, if it was fitted with one.

        Raises:
            DataError: a disagreement is given though fitted without one, or the reverse, or of
                another length.
            ValueError: a place is out of range.
        """
        signals = signals_of(self.support, lonlat, disagreement)
        return self.guard.of(signals) * float(self.evidence.enough)

    def logits(
        self,
        log_image: Tensor,
        scores: Tensor,
        lonlat: Tensor,
        disagreement: Tensor | None = None,
    ) -> Tensor:
        """Unnormalised log P(y | I, x), ``(N, Q)``.

        In float64, so that a temperature makes no two answers alike: at trust 0 the classes of a
        row have the order that the image gives them.

        Args:
            log_image: ``(N, Q)`` log P(y | I).
            scores: ``(N, Q)`` presence scores before the sigmoid; where there is no place they
                do not count and may be NaN.
            lonlat: ``(N, 2)`` degrees, NaN where there is no place.
            disagreement: as in :meth:`trust`.

        Raises:
            DataError: shapes that do not fit, or as in :meth:`trust`.
            ValueError: a place is out of range.
        """
        if log_image.shape != scores.shape or len(lonlat) != len(scores):
            raise DataError(
                "log_image, scores and lonlat must be (N, Q), (N, Q) and (N, 2), got "
                f"{tuple(log_image.shape)}, {tuple(scores.shape)} and {tuple(lonlat.shape)}"
            )
        trust = self.trust(lonlat, disagreement).to(scores.device)
        return backed_off(
            self.fusion, self.image_temperature, trust, log_image.double(), scores.double()
        )

    def to_dict(self) -> dict[str, Any]:
        """The fitted numbers, for JSON; the support is not among them."""
        return {
            "fusion": asdict(self.fusion),
            "image_temperature": self.image_temperature,
            "guard": {name: list(values) for name, values in vars(self.guard).items()},
            "evidence": asdict(self.evidence),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], support: Support) -> Self:
        """Rebuild it.

        Args:
            values: from :meth:`to_dict`.
            support: where the prior was trained.

        Raises:
            DataError: these are not the values of a guarded fusion.
        """
        try:
            kind = Mixture if "place_weight" in values["fusion"] else Calibration
            return cls(
                kind(**values["fusion"]),
                float(values["image_temperature"]),
                Trust(**{name: tuple(each) for name, each in values["guard"].items()}),
                Evidence(**values["evidence"]),
                support,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"these are not the values of a guarded fusion: {error}") from error


def fit_guarded_fusion(
    log_image: Tensor,
    scores: Tensor,
    labels: Tensor,
    lonlat: Tensor,
    support: Support,
    variant: Variant = Variant.POWER,
    disagreement: Tensor | None = None,
    signals: Tensor | None = None,
) -> GuardedFusion:
    """Fit fusion and trust in the place to held-out labels, and test whether the place helps.

    Fit it on a validation split whose places are as far from the training places as those that it
    will be asked for; where these are farther, it does not trust the place. Trust falls with the
    distance to the nearest training place, with how sparse these are around, and with the
    disagreement of an ensemble, as fast as suits the labels. Then the whole is fitted to three
    quarters of the spatial blocks and judged by the fourth, in turn: unless it makes labels
    likelier than the calibrated image alone by more than the standard error, no place is trusted.
    Fewer than 16 rows with a place are too few to tell.

    Args:
        log_image: ``(V, Q)`` log P(y | I).
        scores: ``(V, Q)`` presence scores before the sigmoid; they do not count in rows without
            a place.
        labels: ``(V,)`` classes.
        lonlat: ``(V, 2)`` degrees, NaN where there is no place.
        support: where the prior was trained.
        variant: how image and place are joined.
        disagreement: ``(V,)`` of :func:`geocsp.fusion.ensemble`.
        signals: ``(V, S)`` of :func:`geocsp.fusion.trust.signals_of`, where the rows were held out
            in turn, each from another part of the support; by ``support`` if left out.

    Raises:
        DataError: shapes that do not fit, no rows, a label out of range, or values that are not
            finite.
        ValueError: a place is out of range.
    """
    check_rows(log_image, scores, labels)
    if lonlat.shape != (len(labels), 2):
        raise DataError(f"lonlat must be ({len(labels)}, 2), got {tuple(lonlat.shape)}")
    image = comparable(log_image)
    if signals is None:
        signals = signals_of(support, lonlat, disagreement)
    placed = ~lonlat.isnan().any(dim=1)
    here = placed.unsqueeze(1)
    check_finite_rows(torch.where(here, scores, 0.0), "presence scores")
    check_finite_rows(torch.where(here, signals, 0.0), "disagreements")
    temperature = fit_image_temperature(image, labels)
    rows = Rows(image, scores.double(), labels, signals)[placed]
    if not can_judge(len(rows)):
        nowhere = Trust.nowhere(signals.shape[1])
        return GuardedFusion(Calibration(), temperature, nowhere, Evidence(0.0, 0.0), support)
    guard = fit_guard(rows, variant)
    evidence = evidence_of(rows, lonlat[placed], variant, guard)
    return GuardedFusion(guard.fusion, temperature, guard.trust, evidence, support)
