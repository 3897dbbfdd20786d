"""From few labels to a whole classifier: image head, location prior, and what joins them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_labels
from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.fusion import Calibration, GuardedFusion, Support, fit_guarded_fusion, fused_logits
from geocsp.images.features import Features
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoModel, GeoPrior
from geocsp.presets import Preset
from geocsp.train.examples import Examples, Pixels
from geocsp.train.finetune import ImageHead, train_image_head
from geocsp.train.priors import ImageTeacher, train_prior
from geocsp.train.validation import hold_out

_BLOCKS = (5.0, 1.0, 0.2, 0.05, 0.01, 0.002)
"""Widths of blocks to hold out, degrees: the first that leaves enough rows on both sides."""


@dataclass(frozen=True)
class ClassifierReport:
    """What few labels gave.

    Attributes:
        labelled: labelled images that head and prior were trained on.
        unlabelled: images without label that helped.
        held_out: labelled images that chose the head and fitted the fusion.
        blocks: width of the blocks that were held out, degrees; 0 if the rows were given.
        aligned: whether the image head takes embeddings that the places have shaped.
        gain: nats that the place takes off the loss of a held-out image, by cross-fitting.
        error: its standard error; the place is trusted only if the gain is above it.
        top1: accuracy on the held-out images, by "image", "location", "product" and "guarded"; the
            first was chosen and the last fitted on these images.
    """

    labelled: int
    unlabelled: int
    held_out: int
    blocks: float
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
    share: float = 0.2,
    penalty: float = 100.0,
) -> tuple[GeoClassifier, ClassifierReport]:
    """Train P(class | image, place) with few labels on a pre-trained model.

    Labelled images in whole spatial blocks are held out. They choose whether the image head takes
    image features or the embeddings that places have shaped, by the likelihood of their labels;
    they calibrate the product; and they say where and whether the place is to be trusted.

    Args:
        preset: how the location prior is trained.
        model: pre-trained; it becomes part of the classifier.
        examples: N images as features, with classes for some of them (-1: none), and places, NaN
            where unknown.
        seed: of blocks and of the prior's training.
        held_out: ``(V,)`` labelled rows to hold out; chosen by the seed if left out.
        share: of the labelled images to hold out, in (0, 1), if they are not given.
        penalty: L2 penalty of the image head.

    Returns:
        The classifier, in evaluation mode, and what happened.

    Raises:
        DataError: no classes or features, labels out of range, too few of them with a place, or
            values that are not finite.
    """
    if not model.location.time.dim:
        examples = replace(examples, time=None)
    rows = _Rows.of(examples, held_out, share, seed)
    aligned, head, said = _best_head(model, rows, penalty)
    prior = _prior(preset, model, rows, said, seed)
    scores = _scores(prior, rows)
    support = rows.support()
    held = said[rows.held]
    fusion = fit_guarded_fusion(
        held, scores, rows.labels[rows.held], rows.lonlat[rows.held], Support(support)
    )
    classifier = GeoClassifier(
        model, prior, head, aligned=aligned, fusion=fusion, support=support
    ).eval()
    report = ClassifierReport(
        labelled=len(rows.taught),
        unlabelled=int((rows.rest & (rows.labels == -1)).sum()),
        held_out=len(rows.held),
        blocks=rows.blocks,
        aligned=aligned,
        gain=fusion.evidence.gain,
        error=fusion.evidence.error,
        top1=_accuracies(rows, held, scores, fusion),
    )
    return classifier, report


@dataclass(frozen=True, eq=False)
class _Rows:
    """The images, and which of them do what.

    Attributes:
        features: ``(N, F)``.
        lonlat: ``(N, 2)`` degrees, NaN where unknown.
        labels: ``(N,)``, -1 where there is none.
        classes: Q names.
        time: ``(N, 2)`` date and hour, or None.
        placed: ``(N,)`` which have a place.
        held: ``(V,)`` labelled rows that are held out.
        rest: ``(N,)`` all others.
        taught: labelled rows to train on.
        blocks: width of the blocks that are held out, degrees.
    """

    features: Tensor
    lonlat: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    time: Tensor | None
    placed: Tensor
    held: Tensor
    rest: Tensor
    taught: Tensor
    blocks: float

    @classmethod
    def of(cls, examples: Examples, held: Tensor | None, share: float, seed: int) -> Self:
        features, labels, lonlat = _features(examples), examples.labels, examples.lonlat
        if labels is None or examples.label is None:
            raise DataError("the images have no classes; give a column or sub-folders of them")
        classes = examples.label.names
        check_labels(torch.where(labels == -1, 0, labels), len(features), len(classes))
        placed = lonlat.isfinite().all(dim=1)
        blocks = 0.0
        if held is None:
            held, blocks = _held_out(lonlat, (placed & (labels != -1)).nonzero()[:, 0], share, seed)
        rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, held, False)
        taught = (rest & (labels != -1)).nonzero()[:, 0]
        if not bool(placed[taught].any()) or not len(held):
            raise DataError(
                f"{int(placed[taught].sum())} labelled images with a place are left to train on "
                f"and {len(held)} to hold out; label more images that have a place"
            )
        return cls(
            features, lonlat, labels, classes, examples.time, placed, held, rest, taught, blocks
        )

    def support(self) -> Tensor:
        """Places of the labels that are trained on, ``(M, 2)`` float64."""
        return self.lonlat[self.taught[self.placed[self.taught]]].double()

    def moments(self, rows: Tensor) -> Tensor | None:
        """Date and hour of some rows."""
        return None if self.time is None else self.time[rows]


def _features(examples: Examples) -> Tensor:
    images = examples.images
    if images is None or isinstance(images, Pixels):
        raise DataError("a classifier is trained on image features; compute them first")
    return images.read() if isinstance(images, Features) else images


def _held_out(lonlat: Tensor, rows: Tensor, share: float, seed: int) -> tuple[Tensor, float]:
    """Labelled rows in whole blocks, as large as the places allow, and the width of the blocks."""
    most = len(rows) * min(2 * share, (1 + share) / 2)
    for blocks in _BLOCKS:
        try:
            _, held = hold_out(lonlat[rows].numpy(), share=share, blocks=blocks, seed=seed)
        except DataError:
            continue
        if len(held) < most:
            return rows[torch.from_numpy(np.asarray(held))], blocks
    raise DataError(
        f"the {len(rows)} labelled images with a place cannot be divided into blocks to train on "
        "and to hold out; label images at more places"
    )


def _best_head(model: GeoModel, rows: _Rows, penalty: float) -> tuple[bool, ImageHead, Tensor]:
    """Whether the better head takes embeddings, that head, and log P(class | image), ``(N, Q)``."""
    found = {}
    for aligned in (False, True):
        seen = model.embed_images(rows.features) if aligned else rows.features
        head = train_image_head(
            seen[rows.taught],
            rows.labels[rows.taught],
            len(rows.classes),
            penalty=penalty,
            unlabelled=seen[rows.rest],
        )
        said = head.logits(seen).log_softmax(dim=1)
        loss = F.nll_loss(said[rows.held], rows.labels[rows.held])
        found[aligned] = float(loss), head, said
    best = min(found, key=lambda aligned: found[aligned][0])
    return best, *found[best][1:]


def _prior(
    preset: Preset, model: GeoModel, rows: _Rows, said: Tensor, seed: int
) -> GeoPrior | LinearPrior:
    pool = (rows.rest & rows.placed).nonzero()[:, 0]
    teacher = None
    if preset.linear is not None and preset.linear.self_training is not None:
        held = rows.held[rows.placed[rows.held]]
        labels, moments = rows.labels[held], rows.moments(held)
        teacher = ImageTeacher(said[pool], said[held], rows.lonlat[held], labels, moments)
    return train_prior(
        preset,
        rows.classes,
        rows.lonlat[pool],
        rows.labels[pool],
        seed=seed,
        pretrained=model,
        teacher=teacher,
        time=rows.moments(pool),
    )


def _scores(prior: GeoPrior | LinearPrior, rows: _Rows) -> Tensor:
    """Presence scores of the held-out rows, zeros without a place, ``(V, Q)``."""
    here = rows.placed[rows.held]
    placed = rows.held[here]
    scores = torch.zeros(len(rows.held), len(rows.classes))
    scores[here] = prior.class_scores(rows.lonlat[placed], rows.moments(placed))
    return scores


def _accuracies(
    rows: _Rows, said: Tensor, scores: Tensor, fusion: GuardedFusion
) -> dict[str, float]:
    """Shares of right answers to the held-out rows."""
    here, labels = rows.placed[rows.held], rows.labels[rows.held]
    product = torch.where(here[:, None], fused_logits(said, scores, Calibration()), said)
    guarded = fusion.logits(said, scores, rows.lonlat[rows.held])
    right = {
        "image": said.argmax(1) == labels,
        "location": (scores.argmax(1) == labels)[here],
        "product": product.argmax(1) == labels,
        "guarded": guarded.argmax(1) == labels,
    }
    return {name: float(hits.double().mean()) for name, hits in right.items() if len(hits)}
