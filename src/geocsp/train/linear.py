"""P(y | x) from a frozen location encoder: a linear head, and images without labels as teachers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_finite_rows, check_labels
from geocsp.errors import DataError
from geocsp.linear_prior import LinearPrior
from geocsp.location.base import LocationEncoder
from geocsp.train.finetune import fit_linear, standardising

_ROUNDING = 1e-3
_NOISE = 1e-5
"""A dimension of unit length embeddings that varies by less is the same everywhere."""


@dataclass(frozen=True)
class SelfTraining:
    """How images without labels teach the prior.

    Attributes:
        penalty: L2 penalty, as of the head.
        labelled_share: weight of all labelled places together, as a share of that of all places;
            they weigh no less than others.
    """

    penalty: float = 100.0
    labelled_share: float = 0.25

    def __post_init__(self) -> None:
        if self.penalty <= 0 or self.labelled_share < 0:
            raise ValueError(
                f"need a penalty > 0 and a share >= 0, got {self.penalty} and {self.labelled_share}"
            )


@dataclass(frozen=True)
class LinearSettings:
    """How the linear head is fitted.

    Attributes:
        penalty: the penalty added to the summed cross-entropy is penalty / 2 * |W|^2.
        self_training: also learn from what image and place together say about images without
            labels; None: from labels alone.
    """

    penalty: float = 30.0
    self_training: SelfTraining | None = None

    def __post_init__(self) -> None:
        if self.penalty <= 0:
            raise ValueError(f"penalty must be positive, got {self.penalty}")


def fit_linear_prior(
    location: LocationEncoder,
    lonlat: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    settings: LinearSettings,
    *,
    time: Tensor | None = None,
    unlabelled: Tensor | None = None,
    unlabelled_time: Tensor | None = None,
) -> LinearPrior:
    """Fit a linear head on a location encoder that stays as it is.

    With few labels this keeps what pre-training has learned, where fine-tuning moves away from it
    (linear probing, see Kumar et al., ICLR 2022). Convex, so no seed is involved.

    Args:
        location: pre-trained location encoder; it is copied.
        lonlat: ``(N, 2)`` labelled places, degrees.
        labels: ``(N,)`` classes, int64.
        classes: Q class names.
        settings: the penalty; self-training is a step of its own, see :func:`self_train`.
        time: ``(N, 2)`` date and hour of each label, for encoders made with harmonics of time.
        unlabelled: ``(M, 2)`` places to standardise the embedding by, so that the penalty means
            the same for any number of labels; the labelled ones if left out.
        unlabelled_time: ``(M, 2)`` date and hour there.

    Raises:
        DataError: no labels, a label out of range, or lengths that differ.
        ValueError: a place or a time is missing or out of range.
    """
    check_labels(labels, len(lonlat), len(classes))
    prior = LinearPrior(copy.deepcopy(location), classes)
    embedded = _embedded(prior, lonlat, time)
    basis = embedded if unlabelled is None else _embedded(prior, unlabelled, unlabelled_time)
    return _fitted(prior, embedded, labels, basis, settings.penalty)


def self_train(
    prior: LinearPrior,
    lonlat: Tensor,
    probabilities: Tensor,
    labelled: Tensor,
    labels: Tensor,
    settings: SelfTraining,
    *,
    time: Tensor | None = None,
) -> LinearPrior:
    """Fit the head anew on places without labels, with a teacher's probabilities as targets.

    The teacher is any classifier that sees the images, such as the calibrated product of image and
    prior. What it says about thousands of places, right or wrong, the head averages over space, so
    the new prior knows regions that no label came from (self-training, Scudder 1965; noisy student
    and co-training of two views are its relatives).

    Args:
        prior: its location encoder is kept, its head is not.
        lonlat: ``(M, 2)`` places of images, with and without labels, degrees.
        probabilities: ``(M, Q)`` the teacher's.
        labelled: ``(N,)`` numbers of the places that have a label, each once.
        labels: ``(N,)`` their classes, int64, which replace the teacher's answer.
        settings: penalty and weight of the labels.
        time: ``(M, 2)`` date and hour of the images, for encoders made with harmonics of time.

    Returns:
        A new prior.

    Raises:
        DataError: lengths that differ, no labels, a label or a labelled place out of range or
            named twice, or rows that are no probabilities.
        ValueError: a place or a time is missing or out of range.
    """
    classes = len(prior.class_names)
    check_labels(labels, len(labelled), classes)
    if probabilities.shape != (len(lonlat), classes):
        raise DataError(
            f"probabilities must be (places, classes) = ({len(lonlat)}, {classes}), got "
            f"{tuple(probabilities.shape)}"
        )
    _check_probabilities(probabilities)
    _check_labelled(labelled, len(lonlat))
    targets = probabilities.clone().to(torch.float32)
    targets[labelled] = F.one_hot(labels, classes).to(targets)
    weights = torch.ones(len(lonlat))
    weights[labelled] = max(1.0, settings.labelled_share * len(lonlat) / len(labelled))
    student = LinearPrior(copy.deepcopy(prior.location), prior.class_names)
    embedded = _embedded(student, lonlat, time)
    return _fitted(student, embedded, targets, embedded, settings.penalty, weights)


def _check_probabilities(probabilities: Tensor) -> None:
    check_finite_rows(probabilities, "probabilities")
    wrong = (probabilities < 0).any(dim=1) | ((probabilities.sum(dim=1) - 1).abs() > _ROUNDING)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"probabilities of row {row} must be >= 0 and sum to 1; if these are logits, apply "
            "softmax first"
        )


def _check_labelled(labelled: Tensor, places: int) -> None:
    if labelled.dtype != torch.int64:
        raise DataError(f"labelled must be int64 numbers of places, got {labelled.dtype}")
    wrong = (labelled < 0) | (labelled >= places)
    if bool(wrong.any()):
        row = int(labelled[wrong][0])
        raise DataError(f"labelled names place {row}, not in 0..{places - 1}")
    if len(labelled.unique()) < len(labelled):
        raise DataError("labelled names a place twice")


def _embedded(prior: LinearPrior, lonlat: Tensor, time: Tensor | None) -> Tensor:
    return F.normalize(prior.embed(lonlat, time), dim=-1)


def _fitted(
    prior: LinearPrior,
    embedded: Tensor,
    targets: Tensor,
    basis: Tensor,
    penalty: float,
    weights: Tensor | None = None,
) -> LinearPrior:
    """Fit on standardised embeddings and fold the standardising into the head.

    A dimension that is the same at all places of the basis tells nothing, and gets no weight.
    """
    mean, deviation = standardising(basis)
    standard = (embedded - mean) / deviation
    linear = fit_linear(standard, targets, len(prior.class_names), penalty, weights=weights)
    with torch.no_grad():
        weight = torch.where(deviation > _NOISE, linear.weight / deviation, 0.0)
        prior.class_matrix.weight.copy_(weight)
        prior.class_matrix.bias.copy_(linear.bias - weight @ mean)
    return prior.eval()
