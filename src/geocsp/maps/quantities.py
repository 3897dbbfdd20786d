"""What a model says of places, as numbers that a map can show."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocsp.classifier import GeoClassifier
from geocsp.coords import EARTH_RADIUS_KM, check_lonlat, sample_sphere
from geocsp.errors import DataError
from geocsp.fusion import Support
from geocsp.linear_prior import LinearPrior
from geocsp.maps.natural_earth import Detail, on_land
from geocsp.maps.principal import PrincipalColours
from geocsp.model import GeoPrior
from geocsp.models import LocationModel, prior_of
from geocsp.times import check_time

_NUMBERS = 2**24
"""Scores or embeddings in memory at once: 64 MiB in float32."""
_PLACES = 4096
"""Places on land that colours are fitted on."""

_Function = Callable[[Tensor, Tensor | None], Tensor]


class Scale(StrEnum):
    """How values are to be seen."""

    MORE = "more"
    """From nothing to a lot."""
    DOUBT = "doubt"
    """From good to bad."""
    OPPOSITES = "opposites"
    """From one end over zero to the other."""
    NAMES = "names"
    """Numbers of names."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """A number for every place.

    Attributes:
        title: what it is, for people.
        scale: how its values are to be seen.
        limits: least and largest value it can have.
        device: where its function computes.
        function: values of ``(N, 2)`` places and times, there.
        unit: of its values; empty if they have none.
        names: of a quantity that is a number of a class: what the classes mean.
        width: numbers that are computed for one place, which bounds the memory.
    """

    title: str
    scale: Scale
    limits: tuple[float, float]
    device: torch.device
    function: _Function = field(repr=False)
    unit: str = ""
    names: tuple[str, ...] = ()
    width: int = 1

    def of(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Values of ``(N, 2)`` places, on the CPU: ``(N,)`` float32, or int64 if it has names.

        Args:
            lonlat: degrees.
            time: ``(N, 2)`` date and hour, for models that take them.

        Raises:
            ValueError: a place is missing or out of range, or the model takes no time.
        """
        return _in_parts(self.function, lonlat, time, self.width, self.device)


@dataclass(frozen=True, eq=False)
class Colours:
    """The embedding of every place as a colour, see :class:`PrincipalColours`.

    Attributes:
        title: what it is, for people.
        model: whose embeddings they are.
        principal: what makes colours of them.
    """

    title: str
    model: LocationModel
    principal: PrincipalColours

    @classmethod
    def fit(cls, model: LocationModel, seed: int = 0, places: Tensor | None = None) -> Self:
        """Find the colours' components on places spread over all land, each area alike.

        Args:
            model: whose embeddings to show.
            seed: of the places.
            places: ``(M, 2)`` degrees to fit on in their stead.
        """
        places = land_places(_PLACES, seed) if places is None else places
        embedding = model.embed(places.to(_device(model)))
        principal = PrincipalColours.fit(embedding.double().cpu().numpy())
        return cls("Location embedding, principal components as RGB", model, principal)

    def of(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Colours of ``(N, 2)`` places, on the CPU: ``(N, 3)`` uint8."""

        def colours(lonlat: Tensor, time: Tensor | None) -> Tensor:
            embedding = self.model.embed(lonlat, time).double().cpu().numpy()
            return torch.from_numpy(np.rint(255 * self.principal.of(embedding)).astype(np.uint8))

        width = 2 * self.principal.axes.shape[1]
        return _in_parts(colours, lonlat, time, width, _device(self.model))


def land_places(count: int, seed: int = 0) -> Tensor:
    """Places on land, uniform by area: ``(count, 2)`` float32 degrees."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.empty(0, 2)
    while len(found) < count:
        drawn = sample_sphere(4 * count, generator)
        found = torch.cat([found, drawn[torch.from_numpy(on_land(drawn.numpy(), Detail.LOW))]])
    return found[:count]


def class_probability(model: LocationModel, name: str) -> Quantity:
    """P(class | place), as the prior says it: a range map.

    Of a :class:`geocsp.GeoPrior` it is presence of that class on its own, of a
    :class:`geocsp.LinearPrior` the share among all classes.

    Raises:
        DataError: the model knows no classes, or not this one.
    """
    prior = prior_of(model, "the model")
    number = class_number(prior.class_names, name)
    alone = _alone(prior, number) if isinstance(prior, GeoPrior) else prior
    column = 0 if isinstance(prior, GeoPrior) else number

    def share(lonlat: Tensor, time: Tensor | None) -> Tensor:
        return alone.class_probabilities(lonlat, time)[:, column]

    title, width = f"P({name} | place)", len(alone.class_names)
    return Quantity(title, Scale.MORE, (0.0, 1.0), _device(model), share, width=width)


def uncertainty(model: LocationModel) -> Quantity:
    """How little the place says about the class, from 0 (one class is certain) to 1 (any is).

    The entropy of the Q classes' probabilities, made to sum to one, over its largest value log Q.
    It says nothing about places unlike all that the prior was trained on, where a model may be
    certain and wrong; :func:`support_distance` shows these.

    Raises:
        DataError: the model knows no classes.
    """
    prior = prior_of(model, "the model")
    count = len(prior.class_names)

    def entropy(lonlat: Tensor, time: Tensor | None) -> Tensor:
        logs = _log_shares(prior, lonlat, time)
        whole = -(logs.exp() * logs).sum(dim=1)
        return (whole / math.log(count)).clamp(0.0, 1.0) if count > 1 else torch.zeros_like(whole)

    title = "Uncertainty of the class (normalised entropy)"
    return Quantity(title, Scale.DOUBT, (0.0, 1.0), _device(model), entropy, width=4 * count)


def support_distance(model: LocationModel) -> Quantity:
    """Distance to the nearest place that the prior was trained on, kilometres.

    Raises:
        DataError: the model does not know these places.
    """
    if not isinstance(model, GeoClassifier) or not len(model.support):
        raise DataError(
            "the model does not know where its prior was trained; a GeoClassifier made with "
            "support does"
        )
    support = Support(model.support)

    def km(lonlat: Tensor, time: Tensor | None) -> Tensor:
        return support.km(lonlat)

    title, limits = "Distance to the nearest training place", (0.0, math.pi * EARTH_RADIUS_KM)
    return Quantity(title, Scale.DOUBT, limits, torch.device("cpu"), km, unit="km")


def best_class(model: LocationModel) -> Quantity:
    """The most likely class of every place, as its number.

    Raises:
        DataError: the model knows no classes.
    """
    prior = prior_of(model, "the model")
    names = tuple(prior.class_names)

    def best(lonlat: Tensor, time: Tensor | None) -> Tensor:
        return prior.class_scores(lonlat, time).argmax(dim=1)

    title, limits, width = "Most likely class", (0.0, len(names) - 1.0), len(names)
    return Quantity(title, Scale.NAMES, limits, _device(model), best, names=names, width=width)


def similarity(model: LocationModel, lon: float, lat: float) -> Quantity:
    """Cosine of the location embeddings of every place and one, in [-1, 1].

    Args:
        model: whose embeddings to compare.
        lon: of the one place, degrees.
        lat: of the one place, degrees.

    Raises:
        DataError: the place is out of range.
    """
    if not (abs(lon) <= 180 and abs(lat) <= 90):
        raise DataError(
            f"there is no place at lon {lon:g}, lat {lat:g}: longitude is in [-180, 180] and comes "
            "first, latitude in [-90, 90]"
        )
    place = torch.tensor([[lon, lat]], dtype=torch.float64)
    like = F.normalize(model.embed(place.to(_device(model))), dim=1)[0]

    def cosine(lonlat: Tensor, time: Tensor | None) -> Tensor:
        return (F.normalize(model.embed(lonlat, time), dim=1) @ like).clamp(-1.0, 1.0)

    title = f"Likeness to lon {lon:g}, lat {lat:g} (cosine of embeddings)"
    limits, width = (-1.0, 1.0), 2 * len(like)
    return Quantity(title, Scale.OPPOSITES, limits, _device(model), cosine, width=width)


def embedding_colours(model: LocationModel, seed: int = 0) -> Colours:
    """The embedding as colours, see :meth:`Colours.fit`."""
    return Colours.fit(model, seed)


def class_number(names: tuple[str, ...], name: str) -> int:
    """Which class has this name.

    Raises:
        DataError: none; the message names those that are written alike.
    """
    if name in names:
        return names.index(name)
    by_folded = {known.casefold(): known for known in reversed(names)}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.5)
    close = close or [folded for folded in by_folded if name.casefold() in folded][:3]
    likely = ", ".join(repr(by_folded[folded]) for folded in close)
    shown = ", ".join(repr(known) for known in names[:5]) + (", ..." if len(names) > 5 else "")
    hint = f"did you mean {likely}?" if close else f"the {len(names)} classes are {shown}"
    raise DataError(f"the model has no class {name!r}; {hint}")


def _alone(prior: GeoPrior, number: int) -> GeoPrior:
    """A prior over one of the classes, which shares everything else."""
    alone = GeoPrior(prior.location, [prior.class_names[number]])
    row = prior.class_matrix.weight[number : number + 1].detach()
    alone.class_matrix.weight = nn.Parameter(row, requires_grad=False)
    return alone


def _log_shares(prior: GeoPrior | LinearPrior, lonlat: Tensor, time: Tensor | None) -> Tensor:
    """Logarithms of the probabilities, made to sum to one, ``(N, Q)`` float64."""
    return F.logsigmoid(prior.class_scores(lonlat, time).double()).log_softmax(dim=1)


def _device(model: LocationModel) -> torch.device:
    return next(model.parameters()).device


def _in_parts(
    function: _Function, lonlat: Tensor, time: Tensor | None, width: int, device: torch.device
) -> Tensor:
    """Values on the CPU, computed for so many places at once that memory is bounded."""
    check_lonlat(lonlat)
    if time is not None:
        check_time(time, len(lonlat))
    rows = max(1, _NUMBERS // width)
    values = torch.cat(
        [
            function(
                lonlat[start : start + rows].to(device),
                None if time is None else time[start : start + rows].to(device),
            ).cpu()
            for start in range(0, max(len(lonlat), 1), rows)
        ]
    )
    return values.float() if values.is_floating_point() else values
