"""Validation while pre-training: do held-out images find their places?"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_finite_rows
from geocsp.coords import check_lonlat
from geocsp.data.splitters import Buffered, SpatialBlocks, Splitter
from geocsp.data.splitters.base import Integers
from geocsp.errors import DataError
from geocsp.evaluate.retrieval import retrieve
from geocsp.images.features import Features
from geocsp.location.angles import KM_PER_DEGREE
from geocsp.model import GeoModel
from geocsp.objectives.base import Objective
from geocsp.passes import evaluating
from geocsp.process import Process
from geocsp.times import check_time
from geocsp.train.feeds import Feed, feed_of
from geocsp.train.randomness import random_state_kept
from geocsp.train.state import Progress, TrainingState

_FOLDS = 4096
"""So many that few blocks share one, so that any share can be met."""
_UNKNOWN = 1e9
"""Stands for an unknown time, which does not equal itself, where times are compared."""


class Metric(StrEnum):
    """What is to get better from one validation to the next.

    See :class:`geocsp.evaluate.retrieval.Retrieval`.
    """

    RECALL_AT_1 = "R@1"
    RECALL_AT_5 = "R@5"
    RECALL_AT_10 = "R@10"
    MEDIAN_RANK = "median_rank"
    MEDIAN_KM = "median_km"
    MEAN_KM = "mean_km"

    def better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one: higher recalls, lower ranks and errors."""
        return value > other if self.value.startswith("R@") else value < other


@dataclass(eq=False)
class Validation:
    """Held-out images that look for their places after an epoch.

    Every image looks among all places of held-out images, each counted once, as
    :func:`geocsp.evaluate.retrieval.retrieve` does; the epoch's means then have
    ``validation.R@1`` and so on. The model is in evaluation mode, and is the average of the
    weights if the run keeps one.

    Attributes:
        images: ``(N, F)`` features, or what else :func:`geocsp.pretrain` takes; a feed of pixels
            should be one without augmentation.
        lonlat: ``(N, 2)`` their places, degrees; :func:`hold_out` chooses them.
        time: ``(N, 2)`` their date and hour, for encoders made with harmonics of time; a place is
            then looked for at the times of its images, any of which is right.
        every: epochs between two validations.
        patience: stop after so many validations in a row that were not better than the best one
            before, and end with the weights of the best; None: never stop, and keep the last.
        metric: what is to get better.
        gallery: ``(M, 2)`` further places to look among, degrees.
        both_ways: also let places look for their images, as ``validation.image.R@1`` and so on.
        batch: images read at once.

    Raises:
        DataError: sizes do not fit, or there are fewer than two places.
        ValueError: a place is missing or out of range, or a setting is.
    """

    images: Tensor | Features | Feed
    lonlat: Tensor
    time: Tensor | None = None
    every: int = 1
    patience: int | None = None
    metric: Metric = Metric.MEDIAN_KM
    gallery: Tensor | None = None
    both_ways: bool = False
    batch: int = field(default=1024, compare=False)

    def __post_init__(self) -> None:
        self.metric = Metric(self.metric)
        if self.every < 1 or self.batch < 1 or (self.patience is not None and self.patience < 1):
            raise ValueError(
                "every, patience and batch of a validation must be at least 1, got "
                f"{self.every}, {self.patience} and {self.batch}"
            )
        check_lonlat(self.lonlat, "lonlat of validation")
        self._feed = feed_of(self.images, len(self.lonlat))
        if len(self._feed) != len(self.lonlat):
            raise DataError(
                f"validation has {len(self._feed)} images and {len(self.lonlat)} places; give a "
                "place for each image"
            )
        self._places, self._times, self._own = self._distinct()
        if len(self._places.unique(dim=0)) < 2:
            raise DataError("validation needs at least 2 different places to tell apart")

    def check(self, model: GeoModel, objective: Objective) -> None:
        """Refuse an objective that does not bring images and places together.

        Raises:
            DataError: the objective uses no image embeddings.
            ValueError: the location encoder cannot take these places or times.
        """
        if not objective.uses_images:
            raise DataError(
                f"validation lets images find their places, which {type(objective).__name__} does "
                "not train; leave validation out"
            )
        model.location.check(self.lonlat, self.time)

    def judge(self, state: TrainingState, process: Process) -> dict[str, float]:
        """Measure at the end of an epoch, if it is due; the first process does it for all.

        Changes what the state knows of the best validation, and nothing else.

        Raises:
            DataError: an embedding is not finite.
        """
        progress = state.progress
        if (len(progress.history) + 1) % self.every:
            return {}
        found = process.share(self.measure(state.evaluated()) if process.is_first else None)
        value = found[self.metric.value]
        if progress.best is None or self.metric.better(value, progress.best):
            progress.best, progress.waited = value, 0
            if self.patience is not None:
                state.keep_best()
        else:
            progress.waited += 1
        return {f"validation.{name}": number for name, number in found.items()}

    def stops(self, progress: Progress) -> bool:
        """Whether the last validations, as many as ``patience`` says, did not get better."""
        return self.patience is not None and progress.waited >= self.patience

    def measure(self, model: GeoModel) -> dict[str, float]:
        """R@1, R@5, R@10, median_rank, median_km and mean_km of a model.

        Raises:
            DataError: an embedding is not finite.
        """
        device = model.log_scale.device
        with torch.no_grad(), evaluating(model), random_state_kept(device):
            images = self._embedded(model)
            check_finite_rows(images, "held-out image embeddings")
            times = None if self._times is None else self._times.to(device)
            places = F.normalize(model.embed(self._places.to(device), times), dim=-1)
        found = retrieve(images, self.lonlat, places, self._places).metrics()
        if self.both_ways:
            back = retrieve(places[: self._own], self._places[: self._own], images, self.lonlat)
            found |= {f"image.{name}": value for name, value in back.metrics().items()}
        return found

    def _embedded(self, model: GeoModel) -> Tensor:
        """Embeddings of all images, ``(N, D)``."""
        rows, device = torch.arange(len(self.lonlat)).split(self.batch), model.log_scale.device
        parts = [
            model.embed_images(loaded.take(slice(0, len(part)), 0).to(device))
            for part, loaded in zip(rows, self._feed.stream(rows), strict=True)
        ]
        return torch.cat(parts)

    def _distinct(self) -> tuple[Tensor, Tensor | None, int]:
        """All places and their times, each once, and how many of them are of images."""
        further = self.lonlat.new_empty(0, 2) if self.gallery is None else self.gallery
        places = torch.cat([self.lonlat, check_lonlat(further, "gallery").to(self.lonlat)])
        if self.time is None:
            times, keys = None, places
        else:
            check_time(self.time, len(self.lonlat))
            unknown = self.time.new_full((len(further), 2), torch.nan)
            times = torch.cat([self.time, unknown])
            keys = torch.cat([places.double(), times.double().nan_to_num(_UNKNOWN)], dim=1)
        first = np.sort(np.unique(keys.cpu().numpy(), axis=0, return_index=True)[1])
        rows = torch.from_numpy(first)
        own = int((rows < len(self.lonlat)).sum())
        return places[rows], None if times is None else times[rows], own


def hold_out(
    lonlat: ArrayLike, *, share: float = 0.1, blocks: float | Splitter = 5.0, seed: int = 0
) -> tuple[Integers, Integers]:
    """Choose images for validation that are spatially apart from those for training.

    Whole blocks are held out, chosen at random until the share is met as well as it can be. Images
    of these nearer to a training image than a tenth of a block are left out of both.

    Args:
        lonlat: ``(N, 2)`` degrees.
        share: of the images to hold out, in (0, 1).
        blocks: width of a block in degrees; or a splitter, whose first folds are held out, and
            which says itself which images are too near.
        seed: another seed chooses other blocks.

    Returns:
        Rows to train on and rows to validate on, ascending.

    Raises:
        DataError: a place is missing or out of range, or the places are in too few blocks.
        ValueError: the share is out of range.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to hold out must be between 0 and 1, got {share}")
    if isinstance(blocks, Splitter):
        splitter = blocks
    else:
        squares = SpatialBlocks(degrees=blocks, folds=_FOLDS, seed=seed)
        splitter = Buffered(squares, km=blocks * KM_PER_DEGREE / 10)
    fold = splitter.fold_of(lonlat)
    ends = np.bincount(fold).cumsum()
    partial = np.flatnonzero((ends > 0) & (ends < len(fold)))
    if len(partial) == 0:
        raise DataError(
            f"{splitter} puts all {len(fold)} images into one fold, so none can be held out; use "
            "smaller blocks"
        )
    last = partial[np.abs(ends[partial] - share * len(fold)).argmin()]
    train = np.flatnonzero(fold > last)
    held = splitter.apart(lonlat, np.flatnonzero(fold <= last), train)
    if len(held) == 0:
        raise DataError(f"all images that {splitter} holds out are too near to a training image")
    return train, held
