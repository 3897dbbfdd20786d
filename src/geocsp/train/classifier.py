"""From few labels to a whole classifier: image head, location prior, and what joins them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_labels
from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.fusion import (
    Calibration,
    GuardedFusion,
    Support,
    fit_calibration,
    fit_guarded_fusion,
    fused_logits,
)
from geocsp.fusion.blocks import equal_blocks
from geocsp.fusion.trust import signals_of
from geocsp.images.features import Features
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel, GeoPrior
from geocsp.presets import Preset
from geocsp.train.examples import Examples, Pixels
from geocsp.train.finetune import ImageHead, train_image_head
from geocsp.train.priors import teach, train_prior

_FOLDS = 5
_MOST_HALVINGS, _ROWS_PER_BLOCK = 6, 4


@dataclass(frozen=True)
class ClassifierReport:
    """What few labels gave.

    Attributes:
        labelled: labelled images that head and prior learned from.
        unlabelled: images without label that helped.
        held_out: labelled images that calibrate, each by what was not trained on it but on its
            class; the only image of a class is not among them.
        folds: parts in which they were held out in turn; 1 if they were held out for good.
        aligned: whether the image head takes embeddings that the places have shaped.
        gain: nats that the place takes off the loss of a held-out image, by cross-fitting.
        error: its standard error; the place is trusted only if the gain is above it.
        top1: accuracy on the held-out images, by "image", "location", "product" and "guarded"; the
            kind of head was chosen, and the last fitted, on these images.
    """

    labelled: int
    unlabelled: int
    held_out: int
    folds: int
    aligned: bool
    gain: float
    error: float
    top1: dict[str, float]


def train_classifier(
    preset: Preset,
    model: GeoModel,
    examples: Examples,
    *,
    seed: int,
    held_out: Tensor | None = None,
    penalty: float = 100.0,
) -> tuple[GeoClassifier, ClassifierReport]:
    """Train P(class | image, place) with few labels on a pre-trained model.

    Labelled images in spatial blocks are held out in turn, so that all of them calibrate, and all
    of them are trained on in the end (stacking, Wolpert, Neural Networks 1992). What is said about
    them while they are held out chooses whether the image head takes image features or the
    embeddings that places have shaped, by the likelihood of the labels; it calibrates the product;
    and it says where and whether the place is to be trusted.

    Args:
        preset: how the location prior is trained.
        model: pre-trained; it becomes part of the classifier.
        examples: N images as features, with classes for some of them (-1: none), and places, NaN
            where unknown.
        seed: of the prior's training.
        held_out: ``(V,)`` labelled rows that are held out for good, and others never; for many
            labels.
        penalty: L2 penalty of the image head.

    Returns:
        The classifier, in evaluation mode, and what happened.

    The model may have seen the held-out images and their places, without labels, when it was
    pre-trained; where nothing of them may be known, pre-train on others and give ``held_out``.

    Raises:
        DataError: no classes or features, labels out of range, too few of them with a place, or
            values that are not finite.
    """
    if not model.location.time.dim:
        examples = replace(examples, time=None)
    rows = _Rows.of(examples, held_out)
    job = _Job(preset, model, rows, seed, penalty)
    aligned, said = job.best_images()
    first = job.place_scores(said, None)
    scores = job.place_scores(said, first) if job.self_trains else first
    held = torch.cat([fold.held for fold in rows.folds])
    labels, places = rows.labels[held], rows.lonlat[held]
    logs = torch.cat([logs[fold.held] for logs, fold in zip(said, rows.folds, strict=True)])
    final = rows.whole()
    head, everything = job.image_head(final, aligned=aligned)
    calibration = _calibrated(rows, logs, first, torch.ones(len(held), dtype=torch.bool))
    prior = job.prior(final, everything, calibration)
    support = rows.support(final)
    fusion = fit_guarded_fusion(
        logs, scores, labels, places, Support(support), signals=_signals(rows)
    )
    classifier = GeoClassifier(
        model, prior, head, aligned=aligned, fusion=fusion, support=support
    ).eval()
    report = ClassifierReport(
        labelled=len(final.taught),
        unlabelled=int((final.rest & (rows.labels == -1)).sum()),
        held_out=len(held),
        folds=len(rows.folds),
        aligned=aligned,
        gain=fusion.evidence.gain,
        error=fusion.evidence.error,
        top1=_accuracies(logs, scores, labels, rows.placed[held], fusion, _signals(rows)),
    )
    return classifier, report


@dataclass(frozen=True, eq=False)
class _Fold:
    """Which rows are held out.

    Attributes:
        held: labelled rows that are held out and of a class that others are of, too; nobody could
            tell the class of the rest.
        rest: ``(N,)`` all that are not held out.
        taught: labelled rows among these.
    """

    held: Tensor
    rest: Tensor
    taught: Tensor

    @classmethod
    def of(cls, held: Tensor, labels: Tensor) -> Self:
        rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, held, False)
        taught = (rest & (labels != -1)).nonzero()[:, 0]
        return cls(held[torch.isin(labels[held], labels[taught])], rest, taught)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The images, and how they are held out.

    Attributes:
        features: ``(N, F)``.
        lonlat: ``(N, 2)`` degrees, NaN where unknown.
        labels: ``(N,)``, -1 where there is none.
        classes: Q names.
        time: ``(N, 2)`` date and hour, or None.
        placed: ``(N,)`` which have a place.
        folds: what is held out in turn.
    """

    features: Tensor
    lonlat: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    time: Tensor | None
    placed: Tensor
    folds: tuple[_Fold, ...]

    @classmethod
    def of(cls, examples: Examples, held: Tensor | None) -> Self:
        features, labels, lonlat = _features(examples), examples.labels, examples.lonlat
        if labels is None or examples.label is None:
            raise DataError("the images have no classes; give a column or sub-folders of them")
        classes = examples.label.names
        check_labels(torch.where(labels == -1, 0, labels), len(features), len(classes))
        if len(labels[labels != -1].unique()) < 2:
            raise DataError(
                "the labels are of fewer than 2 classes; there is nothing to tell apart"
            )
        placed = lonlat.isfinite().all(dim=1)
        parts = [held] if held is not None else _parts(lonlat, labels, placed)
        folds = tuple(_Fold.of(part, labels) for part in parts)
        for fold in folds:
            if not bool(placed[fold.taught].any()) or not len(fold.held):
                raise DataError(
                    f"{int(placed[fold.taught].sum())} labelled images with a place are left to "
                    f"train on and {len(fold.held)} to hold out; label more images that have a "
                    "place"
                )
        return cls(features, lonlat, labels, classes, examples.time, placed, folds)

    def whole(self) -> _Fold:
        """What is trained on in the end: all labels, or all but those held out for good."""
        if len(self.folds) == 1:
            return self.folds[0]
        return _Fold.of(torch.zeros(0, dtype=torch.int64), self.labels)

    def support(self, fold: _Fold) -> Tensor:
        """Places of the labels that are trained on, ``(M, 2)`` float64."""
        return self.lonlat[fold.taught[self.placed[fold.taught]]].double()

    def moments(self, rows: Tensor) -> Tensor | None:
        """Date and hour of some rows."""
        return None if self.time is None else self.time[rows]


def _features(examples: Examples) -> Tensor:
    images = examples.images
    if images is None or isinstance(images, Pixels):
        raise DataError("a classifier is trained on image features; compute them first")
    return images.read() if isinstance(images, Features) else images


def _parts(lonlat: Tensor, labels: Tensor, placed: Tensor) -> list[Tensor]:
    """Labelled rows in folds of spatial blocks; one place is in one block."""
    rows = (labels != -1).nonzero()[:, 0]
    here = placed[rows]
    different, place = lonlat[rows[here]].unique(dim=0, return_inverse=True)
    if len(different) < _FOLDS * _ROWS_PER_BLOCK:
        raise DataError(
            f"labelled images are at {len(different)} different places, and at least "
            f"{_FOLDS * _ROWS_PER_BLOCK} are needed; label images at more places"
        )
    halvings = min(_MOST_HALVINGS, int(math.log2(len(different) / _ROWS_PER_BLOCK)))
    folds = min(_FOLDS, 2**halvings)
    fold = torch.arange(len(rows)) % folds
    fold[here] = equal_blocks(different, halvings)[place] % folds
    return [rows[fold == part] for part in range(folds)]


@dataclass(frozen=True, eq=False)
class _Job:
    """Training on what a fold leaves."""

    preset: Preset
    model: GeoModel
    rows: _Rows
    seed: int
    penalty: float

    @property
    def self_trains(self) -> bool:
        """Whether images teach the prior."""
        return self.preset.linear is not None and self.preset.linear.self_training is not None

    def best_images(self) -> tuple[bool, list[Tensor]]:
        """Whether the better head takes embeddings, and its log P(class | image) in each fold."""
        losses, answers = {}, {}
        for aligned in (False, True):
            said = [self.image_head(fold, aligned=aligned)[1] for fold in self.rows.folds]
            each = [
                F.nll_loss(logs[fold.held], self.rows.labels[fold.held], reduction="sum")
                for logs, fold in zip(said, self.rows.folds, strict=True)
            ]
            losses[aligned], answers[aligned] = float(torch.stack(each).sum()), said
        best = min(losses, key=lambda aligned: losses[aligned])
        return best, answers[best]

    def image_head(self, fold: _Fold, *, aligned: bool) -> tuple[ImageHead, Tensor]:
        """An image head, and log P(class | image) of all rows."""
        rows = self.rows
        seen = self.model.embed_images(rows.features) if aligned else rows.features
        head = train_image_head(
            seen[fold.taught],
            rows.labels[fold.taught],
            len(rows.classes),
            penalty=self.penalty,
            unlabelled=seen[fold.rest],
        )
        return head, head.logits(seen).log_softmax(dim=1)

    def place_scores(self, said: list[Tensor], before: Tensor | None) -> Tensor:
        """Presence scores of all held-out rows in turn, zeros without a place, ``(V, Q)``.

        Args:
            said: log P(class | image) in each fold.
            before: the scores of a prior that was not self-trained, which calibrate the teacher of
                a fold by the other folds; None: not self-trained.
        """
        found, start = [], 0
        for fold, logs in zip(self.rows.folds, said, strict=True):
            calibration = None
            if before is not None:
                others = torch.ones(len(before), dtype=torch.bool)
                if len(self.rows.folds) > 1:
                    others[start : start + len(fold.held)] = False
                held = [a[f.held] for a, f in zip(said, self.rows.folds, strict=True)]
                calibration = _calibrated(self.rows, torch.cat(held), before, others)
            found.append(self._scores(self.prior(fold, logs, calibration), fold.held))
            start += len(fold.held)
        return torch.cat(found)

    def prior(
        self, fold: _Fold, said: Tensor, calibration: Calibration | None
    ) -> GeoPrior | LinearPrior:
        """The location prior, self-trained if the preset says so and there is a calibration."""
        rows, settings = self.rows, self.preset.linear
        pool = (fold.rest & rows.placed).nonzero()[:, 0]
        places, labels, moments = rows.lonlat[pool], rows.labels[pool], rows.moments(pool)
        prior = train_prior(
            self.preset,
            rows.classes,
            places,
            labels,
            seed=self.seed,
            pretrained=self.model,
            time=moments,
        )
        if calibration is None or settings is None or settings.self_training is None:
            return prior
        assert isinstance(prior, LinearPrior)
        known = (labels != -1).nonzero()[:, 0]
        return teach(
            prior,
            places,
            said[pool],
            calibration,
            known,
            labels[known],
            settings.self_training,
            moments,
        )

    def _scores(self, prior: GeoPrior | LinearPrior, held: Tensor) -> Tensor:
        here = self.rows.placed[held]
        scores = torch.zeros(len(held), len(self.rows.classes))
        placed = held[here]
        if len(placed):
            scores[here] = prior.class_scores(self.rows.lonlat[placed], self.rows.moments(placed))
        return scores


def _calibrated(rows: _Rows, said: Tensor, scores: Tensor, chosen: Tensor) -> Calibration:
    """What joins image and place, by those of the held-out rows that are chosen."""
    held = torch.cat([fold.held for fold in rows.folds])
    chosen = chosen & rows.placed[held]
    return fit_calibration(said[chosen], scores[chosen], rows.labels[held[chosen]])


def _signals(rows: _Rows) -> Tensor:
    """What speaks against trusting each held-out row's place, by what it was held out from."""
    parts = [
        signals_of(Support(rows.support(fold)), rows.lonlat[fold.held], None) for fold in rows.folds
    ]
    return torch.cat(parts)


def _accuracies(
    said: Tensor,
    scores: Tensor,
    labels: Tensor,
    placed: Tensor,
    fusion: GuardedFusion,
    signals: Tensor,
) -> dict[str, float]:
    """Shares of right answers to the held-out rows."""
    product = torch.where(placed[:, None], fused_logits(said, scores, Calibration()), said)
    trust = fusion.guard.of(signals) * float(fusion.evidence.enough)
    share = trust.unsqueeze(1)
    fused = fusion.fusion.logits(said.double(), scores.double())
    guarded = share * fused + (1 - share) * said / fusion.image_temperature
    right = {
        "image": said.argmax(1) == labels,
        "location": (scores.argmax(1) == labels)[placed],
        "product": product.argmax(1) == labels,
        "guarded": guarded.argmax(1) == labels,
    }
    return {name: float(hits.double().mean()) for name, hits in right.items() if len(hits)}
