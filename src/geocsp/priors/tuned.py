"""Settings of priors, chosen on held-out labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from geocsp import registry
from geocsp.checks import check_labels
from geocsp.errors import DataError
from geocsp.priors.base import PlacePrior

Settings = Mapping[str, Any]
"""Settings of a prior by name."""


class TunedPrior(NamedTuple):
    """A fitted prior and what was chosen for it.

    Attributes:
        prior: the prior, fitted to the training labels.
        settings: the chosen settings.
    """

    prior: PlacePrior
    settings: Settings


def default_grid(name: str) -> tuple[Settings, ...]:
    """Settings of a registered prior that are worth a try.

    Raises:
        ValueError: there is no such prior.
    """
    return cast(PlacePrior, registry.create("prior", name)).grid


def fit_prior(
    name: str,
    grid: Sequence[Settings],
    lonlat: Tensor | ArrayLike,
    labels: Tensor | ArrayLike,
    class_names: Sequence[str],
    validation_lonlat: Tensor,
    validation_labels: Tensor,
) -> TunedPrior:
    """Fit a registered prior with each of some settings, and keep the best.

    The best has the smallest negative log-likelihood of held-out labels; the first of equals.

    Args:
        name: of the prior.
        grid: settings to choose from, such as :func:`default_grid` has.
        lonlat: ``(N, 2)`` labelled places, degrees.
        labels: ``(N,)`` their classes, int64.
        class_names: what the Q classes mean.
        validation_lonlat: ``(V, 2)`` held-out places, degrees.
        validation_labels: ``(V,)`` their classes, int64.

    Raises:
        DataError: the grid is empty, there are no labels, a label is out of range, or lengths
            differ.
        ValueError: a place is missing or out of range, or there is no such prior or setting.
    """
    if not grid:
        raise DataError(f"the grid of settings for {name} is empty; default_grid has some")
    check_labels(validation_labels, len(validation_lonlat), len(class_names))
    best, least = None, torch.inf
    for settings in grid:
        prior: PlacePrior = registry.create("prior", name, **settings)
        prior.fit(lonlat, labels, class_names)
        scores = prior.class_scores(validation_lonlat)
        own = scores.gather(1, validation_labels.unsqueeze(1))
        loss = -float(F.logsigmoid(own.double()).mean())
        if loss < least:
            best, least = TunedPrior(prior, dict(settings)), loss
    assert best is not None
    return best
