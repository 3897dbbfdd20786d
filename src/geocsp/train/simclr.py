"""Pre-training on images alone, after SimCLR: two views of an image find each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.errors import DataError
from geocsp.objectives.pairs import softmax_pairs
from geocsp.passes import in_passes
from geocsp.saved import Saved
from geocsp.train.randomness import Stream, generator
from geocsp.train.schedule import learning_rate_factor

_ROWS = 16_384


@dataclass(frozen=True)
class SimCLRSettings:
    """How long and how fast to pre-train on images alone.

    Attributes:
        epochs: passes over all images.
        batch_size: images in a step, B; the last, smaller batch of an epoch is left out.
        learning_rate: peak rate of AdamW.
        weight_decay: decoupled weight decay of the matrix.
        temperature: what cosine similarities are divided by.
        warmup: share of all steps over which the rate climbs from zero.
        cosine: then let the rate fall to zero along a cosine; otherwise it stays constant.
        dim: size of an embedding.
    """

    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    temperature: float = 0.1
    warmup: float = 0.1
    cosine: bool = True
    dim: int = 256

    def __post_init__(self) -> None:
        if self.batch_size < 2 or self.epochs < 0 or self.dim < 1:
            raise ValueError(
                "need a batch_size of at least 2, no fewer than 0 epochs and a dim of at least 1, "
                f"got {self.batch_size}, {self.epochs} and {self.dim}"
            )
        if not (0 <= self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                "learning_rate and weight_decay must be at least 0, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )
        if not (0 < self.temperature < math.inf and 0 <= self.warmup < 1):
            raise ValueError(
                "temperature must be positive and warmup in [0, 1), got "
                f"{self.temperature} and {self.warmup}"
            )


class ImageProjection(Saved):
    """A linear map of standardised image features to embeddings.

    The same as the image side of :class:`geocsp.GeoModel`, so that embeddings which images have
    shaped and those which places have shaped compare.

    Args:
        feature_dim: F, size of the image features.
        dim: D, size of an embedding.

    Attributes:
        feature_mean: ``(F,)`` subtracted from the features.
        feature_deviation: ``(F,)`` what they are then divided by.
        linear: the map.
    """

    kind = "ImageProjection"

    def __init__(self, feature_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_dim, dim)
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_deviation", torch.ones(feature_dim))
        self.feature_mean: Tensor
        self.feature_deviation: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Unit length embeddings of image features: ``(N, F)`` to ``(N, D)``."""
        standard = (features - self.feature_mean) / self.feature_deviation
        return F.normalize(self.linear(standard), dim=-1)

    def embed(self, features: Tensor) -> Tensor:
        """Unit length embeddings without gradient: ``(N, F)`` to ``(N, D)``.

        Memory beside the result is bounded.
        """
        return in_passes(self, self, features, rows=_ROWS)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the module."""
        return {"feature_dim": self.linear.in_features, "dim": self.linear.out_features}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained module from its settings."""
        return cls(config["feature_dim"], config["dim"])


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Contrastive loss between two views of B images (Chen et al., ICML 2020, eq. 1): a scalar.

    Each of the 2 B views picks the other view of its image by a softmax over cosine similarities
    divided by the temperature, among all views but itself: against 2 B - 2 negatives. The mean
    over all views.

    Args:
        first: ``(B, D)`` unit length embeddings.
        second: ``(B, D)`` those of the other views, row by row.
        temperature: above 0.
    """
    count = 2 * len(first)
    views, partners = torch.cat([first, second]), torch.cat([second, first])

    def itself(rows: slice) -> Tensor:
        every = torch.arange(count, device=first.device)
        return (every[rows, None] + len(first)) % count == every

    return softmax_pairs(views, partners, 1 / temperature, excluded=itself)


def pretrain_images(
    views: Tensor,
    settings: SimCLRSettings,
    *,
    seed: int,
    rows: Tensor | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> ImageProjection:
    """Train a projection of image features in which views of an image are alike.

    Chen et al. (ICML 2020) train a whole network, and drop a perceptron between the embedding and
    the loss. Here the network is frozen, its features of changed images come from
    :func:`geocsp.images.augmented.augmented_features`, and the embedding itself goes into the
    loss.

    Args:
        views: ``(V, N, F)`` features of V views of N images; each step draws two of them for
            each image.
        settings: length, rates and temperature.
        seed: fixes the first weights, batches, and which views meet.
        rows: ``(n,)`` images to train on, int64; all of them if left out.
        on_epoch: called after each epoch with its number and mean loss.

    Returns:
        The projection, which standardises features by mean and deviation over all these views.

    Raises:
        DataError: fewer than two views or images, a feature or the loss is not finite.
    """
    rows = torch.arange(views.shape[1]) if rows is None else rows
    if views.ndim != 3 or len(views) < 2 or len(rows) < 2:
        raise DataError(
            f"need at least 2 views of at least 2 images, (V, N, F), got {tuple(views.shape)} "
            f"and {len(rows)} rows"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = ImageProjection(views.shape[2], settings.dim)
    mean, deviation = _moments(views, rows)
    projection.feature_mean.copy_(mean)
    projection.feature_deviation.copy_(deviation.clamp_min(1e-6))
    optimizer = torch.optim.AdamW(
        [
            {"params": [projection.linear.weight], "weight_decay": settings.weight_decay},
            {"params": [projection.linear.bias], "weight_decay": 0.0},
        ],
        lr=0.0,
        fused=True,
    )
    batch = min(settings.batch_size, len(rows))
    per_epoch = len(rows) // batch
    for epoch in range(settings.epochs):
        total = 0.0
        for number, (first, second) in enumerate(_pairs(views, rows, batch, seed, epoch)):
            progress = (epoch + number / per_epoch) / settings.epochs
            factor = learning_rate_factor(progress, settings.warmup, settings.cosine)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * factor
            loss = nt_xent(projection(first), projection(second), settings.temperature)
            value = float(loss.detach())
            if not math.isfinite(value):
                step = epoch * per_epoch + number
                raise DataError(f"loss is {value} in step {step}; try a lower learning rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += value
        if on_epoch:
            on_epoch(epoch, total / per_epoch)
    return projection.eval()


def _pairs(
    views: Tensor, rows: Tensor, batch: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Two views of every image of each batch of an epoch, ``(B, F)`` each."""
    drawn = generator(seed, Stream.ORDER, epoch)
    order = torch.randperm(len(rows), generator=drawn)
    first = torch.randint(len(views), (len(rows),), generator=drawn)
    apart = torch.randint(1, len(views), (len(rows),), generator=drawn)
    second = (first + apart) % len(views)
    for part in order[: len(rows) // batch * batch].split(batch):
        yield views[first[part], rows[part]], views[second[part], rows[part]]


def _moments(views: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over all views, ``(F,)`` float64."""
    parts = [(view, part) for view in views for part in rows.split(_ROWS)]
    total = torch.zeros(views.shape[2], dtype=torch.float64)
    for view, part in parts:
        features = view[part]
        _check_finite(features, part)
        total += features.double().sum(0)
    count = len(views) * len(rows)
    mean = total / count
    squares = sum(((view[part].double() - mean).square().sum(0) for view, part in parts), total * 0)
    return mean, (squares / count).sqrt()


def _check_finite(features: Tensor, rows: Tensor) -> None:
    finite = features.isfinite().all(dim=1)
    if not bool(finite.all()):
        row = int(rows[~finite][0])
        raise DataError(f"features of image {row} are not finite in some view; leave it out")
