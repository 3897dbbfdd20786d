"""Supervised stage: P(y | x) from labelled places, P(y | I) from labelled image features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.checks import check_finite_rows, check_labels
from geocsp.errors import DataError
from geocsp.model import GeoPrior
from geocsp.objectives import NegativeSampling, presence_absence
from geocsp.train.schedule import learning_rate_factor


@dataclass(frozen=True)
class FinetuneSettings:
    """How to fine-tune the location prior.

    Attributes:
        steps: optimisation steps, or None to count ``epochs``.
        epochs: passes over the labels, or None to count ``steps``.
        batch_size: labelled places in a step, drawn in shuffled passes.
        learning_rate: peak rate of Adam.
        weight_decay: decoupled weight decay.
        cosine: let the rate fall to zero along a cosine.
        decay: factor on the rate after every pass over the labels.
        freeze_location: train the class matrix only.
        location_rate: factor on the rate for the location encoder.
        negatives: how random places are drawn.
    """

    steps: int | None = 300
    epochs: int | None = None
    batch_size: int = 512
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    cosine: bool = True
    decay: float = 1.0
    freeze_location: bool = False
    location_rate: float = 1.0
    negatives: NegativeSampling = NegativeSampling.SPHERE

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"give steps or epochs, got {self.steps} and {self.epochs}")
        if min(self.steps or self.epochs or 0, self.batch_size) < 1:
            raise ValueError(
                f"steps or epochs and batch_size must be at least 1, got {self.steps}, "
                f"{self.epochs} and {self.batch_size}"
            )

    def length(self, labels: int) -> int:
        """Optimisation steps on so many labels."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return math.ceil(self.epochs * labels / min(self.batch_size, labels))


def finetune(
    prior: GeoPrior,
    lonlat: Tensor,
    labels: Tensor,
    settings: FinetuneSettings,
    *,
    seed: int,
    time: Tensor | None = None,
) -> list[float]:
    """Train ``prior`` in place with the presence-absence loss on labelled places.

    Args:
        prior: location encoder, pre-trained or not, and class matrix.
        lonlat: ``(N, 2)`` labelled places, degrees.
        labels: ``(N,)`` classes, int64.
        settings: length, rates and sampling.
        seed: fixes batches, random places and dropout masks.
        time: ``(N, 2)`` date and hour of each label, for encoders made with harmonics of time;
            random places are taken at the times of the labels.

    Returns:
        The loss of every step.

    Raises:
        DataError: no labels, a label out of range, lengths that differ, or a loss that is not
            finite.
        ValueError: a place or a time is missing or out of range.
    """
    prior.location.check(lonlat, time)
    check_labels(labels, len(lonlat), len(prior.class_names))
    groups = [{"params": prior.class_matrix.parameters(), "peak": settings.learning_rate}]
    if not settings.freeze_location:
        peak = settings.learning_rate * settings.location_rate
        groups.append({"params": prior.location.parameters(), "peak": peak})
    optimizer = torch.optim.AdamW(groups, lr=0.0, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior.train()
        batches = _batches(len(labels), settings, generator)
        for step, rows in enumerate(batches):
            factor = learning_rate_factor(step / len(batches), 0.0, settings.cosine)
            factor *= settings.decay ** (step * len(batches[0]) // len(labels))
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            random = settings.negatives.sample(len(rows), generator).to(lonlat)
            moments = None if time is None else time[rows].repeat(2, 1)
            logits = prior(torch.cat([lonlat[rows], random]), moments)
            loss = presence_absence(logits[: len(rows)], labels[rows], logits[len(rows) :])
            if not bool(loss.isfinite()):
                raise DataError(f"loss is {loss.item()} in step {step}; try a lower learning rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    prior.eval()
    return losses


def _batches(count: int, settings: FinetuneSettings, generator: torch.Generator) -> list[Tensor]:
    """Row numbers of every step, in shuffled passes over all rows."""
    batch, steps = min(settings.batch_size, count), settings.length(count)
    passes = -(-steps * batch // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])
    return list(order[: steps * batch].split(batch))


@dataclass(frozen=True)
class ImageHead:
    """P(y | I): a linear classifier of standardised image features.

    Attributes:
        mean: ``(F,)`` mean of the training features.
        deviation: ``(F,)`` standard deviation of the training features.
        linear: the classifier.
    """

    mean: Tensor
    deviation: Tensor
    linear: nn.Linear

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """Class logits of image features: ``(N, F)`` to ``(N, Q)``."""
        scores: Tensor = self.linear((features - self.mean) / self.deviation)
        return scores


def train_image_head(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    penalty: float = 1.0,
    unlabelled: Tensor | None = None,
    iterations: int = 200,
) -> ImageHead:
    """Fit a linear head by cross-entropy with an L2 penalty; convex, so no seed is involved.

    Args:
        features: ``(N, F)`` frozen image features.
        labels: ``(N,)`` classes, int64.
        classes: Q, number of classes.
        penalty: the penalty added to the summed cross-entropy is penalty / 2 * |W|^2.
        unlabelled: ``(M, F)`` features to standardise by; the labelled ones if left out.
        iterations: most L-BFGS iterations.

    Raises:
        DataError: no labels, a label out of range, lengths that differ, or a feature that is not
            finite.
    """
    check_labels(labels, len(features), classes)
    check_finite_rows(features, "features")
    mean, deviation = standardising(features if unlabelled is None else unlabelled)
    standard = (features - mean) / deviation
    linear = fit_linear(standard, labels, classes, penalty, iterations=iterations)
    return ImageHead(mean, deviation, linear)


def standardising(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of features ``(N, F)``, ``(F,)`` each, the latter not zero."""
    return features.mean(0), features.std(0, correction=0).clamp_min(1e-6)


def fit_linear(
    features: Tensor,
    targets: Tensor,
    classes: int,
    penalty: float,
    *,
    weights: Tensor | None = None,
    iterations: int = 200,
) -> nn.Linear:
    """Linear classifier with the least cross-entropy and L2 penalty, by L-BFGS from zero weights.

    Args:
        features: ``(N, F)`` standardised features.
        targets: ``(N,)`` classes, or ``(N, Q)`` probabilities of each.
        classes: Q.
        penalty: what is added to the summed cross-entropy is penalty / 2 * |W|^2; the bias is free.
        weights: ``(N,)`` weight of each row in the sum; ones if left out.
        iterations: most L-BFGS iterations.
    """
    linear = nn.Linear(features.shape[1], classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(
        linear.parameters(), max_iter=iterations, line_search_fn="strong_wolfe"
    )
    total = len(features) if weights is None else float(weights.sum())

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = linear(features)
        if weights is None:
            loss = F.cross_entropy(logits, targets)
        else:
            each = F.cross_entropy(logits, targets, reduction="none")
            loss = (each * weights).sum() / total
        loss = loss + penalty / (2 * total) * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return linear
