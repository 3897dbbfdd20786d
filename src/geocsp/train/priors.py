"""P(y | x) as a preset says: fine-tuned, or a linear head that images without labels may teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geocsp.checks import check_labels
from geocsp.errors import DataError
from geocsp.fusion import Calibration, fit_calibration, fused_logits
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel, GeoPrior
from geocsp.train.finetune import finetune
from geocsp.train.linear import SelfTraining, fit_linear_prior, self_train

if TYPE_CHECKING:
    from geocsp.presets import Preset


@dataclass(frozen=True, eq=False)
class ImageTeacher:
    """What an image classifier says, so that image and place together teach the prior.

    Attributes:
        train: ``(M, Q)`` log P(y | I) of the training images, with and without a label.
        held_out: ``(V, Q)`` log P(y | I) of held-out images, which tell how far to trust image and
            place.
        lonlat: ``(V, 2)`` places of the held-out images, degrees.
        labels: ``(V,)`` classes of the held-out images, int64.
        time: ``(V, 2)`` date and hour of the held-out images, for encoders that take them.
    """

    train: Tensor
    held_out: Tensor
    lonlat: Tensor
    labels: Tensor
    time: Tensor | None = None


def train_prior(
    preset: Preset,
    classes: Sequence[str],
    lonlat: Tensor,
    labels: Tensor,
    *,
    seed: int,
    pretrained: GeoModel | None = None,
    teacher: ImageTeacher | None = None,
    time: Tensor | None = None,
) -> GeoPrior | LinearPrior:
    """Train the location prior that a preset describes.

    A preset with ``linear`` gets a linear head on the pre-trained location encoder, which stays as
    it is; any other is fine-tuned.

    Args:
        preset: how.
        classes: Q class names.
        lonlat: ``(M, 2)`` places of the training images, degrees.
        labels: ``(M,)`` their classes, int64, -1 where there is no label. Places without one only
            count for a linear head.
        seed: of weights, batches and random places.
        pretrained: whose location encoder is copied; None: a new one is trained with labels alone.
        teacher: what an image classifier says, for self-training; None: from labels alone, also if
            the preset has self-training.
        time: ``(M, 2)`` date and hour of the training images, for encoders that take them.

    Returns:
        A prior for :func:`geocsp.fuse`, in evaluation mode.

    Raises:
        DataError: no labels, a label out of range, lengths that differ, or answers of the image
            classifier that are not finite.
        ValueError: a linear head without a pre-trained model, a teacher without self-training, or
            a place or a time that is missing or out of range.
    """
    check_labels(torch.where(labels == -1, 0, labels), len(lonlat), len(classes))
    if teacher is not None and (preset.linear is None or preset.linear.self_training is None):
        raise ValueError("this preset has no self-training, so it takes no teacher")
    rows = (labels != -1).nonzero()[:, 0]
    moments = None if time is None else time[rows]
    if preset.linear is None:
        prior = preset.build_prior(tuple(classes), seed, pretrained)
        prior.location.check(lonlat, time)
        finetune(prior, lonlat[rows], labels[rows], preset.finetune, seed=seed, time=moments)
        return prior
    if pretrained is None:
        raise ValueError("this preset puts a linear head on a pre-trained model: give pretrained")
    pretrained.location.check(lonlat, time)
    linear = fit_linear_prior(
        pretrained.location,
        lonlat[rows],
        labels[rows],
        classes,
        preset.linear,
        time=moments,
        unlabelled=lonlat,
        unlabelled_time=time,
    )
    if teacher is None:
        return linear
    assert preset.linear.self_training is not None
    return _taught(linear, lonlat, labels, rows, teacher, preset.linear.self_training, time)


def _taught(
    prior: LinearPrior,
    lonlat: Tensor,
    labels: Tensor,
    rows: Tensor,
    teacher: ImageTeacher,
    settings: SelfTraining,
    time: Tensor | None,
) -> LinearPrior:
    """Self-training by the calibrated product of the image classifier and the prior so far."""
    if teacher.train.shape != (len(lonlat), len(prior.class_names)):
        raise DataError(
            f"the teacher must answer for every training place and class, "
            f"({len(lonlat)}, {len(prior.class_names)}), got {tuple(teacher.train.shape)}"
        )
    held_out = prior.class_scores(teacher.lonlat, teacher.time)
    calibration = fit_calibration(teacher.held_out, held_out, teacher.labels)
    return teach(prior, lonlat, teacher.train, calibration, rows, labels[rows], settings, time)


def teach(
    prior: LinearPrior,
    lonlat: Tensor,
    log_image: Tensor,
    calibration: Calibration,
    labelled: Tensor,
    labels: Tensor,
    settings: SelfTraining,
    time: Tensor | None = None,
) -> LinearPrior:
    """Self-train a prior on what image and place together say.

    Args:
        prior: the prior so far.
        lonlat: ``(M, 2)`` places of images with and without a label, degrees.
        log_image: ``(M, Q)`` log P(y | I) there.
        calibration: joins image and place.
        labelled: ``(N,)`` numbers of the places that have a label.
        labels: ``(N,)`` their classes, int64.
        settings: penalty and weight of the labels.
        time: ``(M, 2)`` date and hour, for encoders that take them.
    """
    together = fused_logits(log_image, prior.class_scores(lonlat, time), calibration)
    answers = together.softmax(dim=1)
    return self_train(prior, lonlat, answers, labelled, labels, settings, time=time)
