"""What of a model an ONNX file can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from geocsp.classifier import GeoClassifier
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.export.graphs import ClassifierGraph, ImageGraph, LocationGraph, PriorGraph
from geocsp.linear_prior import LinearPrior
from geocsp.location import LocationEncoder
from geocsp.model import GeoModel, GeoPrior
from geocsp.models import LocationModel

_HARD = (
    (0.0, 90.0),
    (-123.4, 90.0),
    (0.0, -90.0),
    (180.0, -90.0),
    (-180.0, 12.5),
    (180.0, 12.5),
    (179.9999, -45.0),
    (-0.0, 0.0),
    (10.0, 89.9999),
)
_UNKNOWN = (torch.nan, 10.0)
_MANY, _FEW = 256, 16


class Part(StrEnum):
    """What of a model to export."""

    LOCATION = "location"
    """Places to embeddings."""
    PRIOR = "prior"
    """Places to class scores and probabilities."""
    IMAGE = "image"
    """Images to class logits and probabilities, or of a model without classes, to embeddings."""
    CLASSIFIER = "classifier"
    """Images and places to class probabilities."""


@dataclass(frozen=True)
class Traced:
    """A part of a model, ready to become a graph.

    Attributes:
        graph: module with the inputs and outputs of the file.
        inputs: names of inputs and examples of them, with places that are hard to get right.
        outputs: names of the outputs.
        expected: what the model itself says to such inputs, output by output.
    """

    graph: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    expected: Callable[..., tuple[Tensor, ...]]


def default_part(model: LocationModel) -> Part:
    """The part that has all that a model says."""
    if isinstance(model, GeoClassifier):
        return Part.CLASSIFIER
    return Part.PRIOR if isinstance(model, (GeoPrior, LinearPrior)) else Part.LOCATION


def trace(model: LocationModel, part: Part) -> Traced:
    """Take a part out of a model.

    Raises:
        DataError: the model has no such part.
    """
    traced = {
        Part.LOCATION: _location,
        Part.PRIOR: _prior,
        Part.IMAGE: _image,
        Part.CLASSIFIER: _classifier,
    }[part](model)
    if traced is None:
        has = [each.value for each in Part if _has(model, each)]
        raise DataError(f"a {model.kind} has no part {part.value!r}; it has {', '.join(has)}")
    return traced


def location_of(model: LocationModel) -> LocationEncoder:
    """The location encoder that embeds places."""
    if isinstance(model, GeoClassifier):
        return model.model.location
    return model if isinstance(model, LocationEncoder) else model.location


def geo_model_in(model: LocationModel) -> GeoModel | None:
    """The part with an image side, if there is one."""
    whole = model.model if isinstance(model, GeoClassifier) else model
    return whole if isinstance(whole, GeoModel) else None


def prior_in(model: LocationModel) -> GeoPrior | LinearPrior | None:
    """The part that knows classes by their places, if there is one."""
    prior = model.prior if isinstance(model, GeoClassifier) else model
    return prior if isinstance(prior, (GeoPrior, LinearPrior)) else None


def _has(model: LocationModel, part: Part) -> bool:
    if part is Part.PRIOR:
        return prior_in(model) is not None
    if part is Part.IMAGE:
        return geo_model_in(model) is not None
    return part is Part.LOCATION or isinstance(model, GeoClassifier)


def _location(model: LocationModel) -> Traced:
    location = location_of(model)

    def expected(lonlat: Tensor, time: Tensor | None = None) -> tuple[Tensor, ...]:
        return (_at_known(lonlat, time, location.embed),)

    return Traced(LocationGraph(location), _places(location, _MANY), ("embedding",), expected)


def _prior(model: LocationModel) -> Traced | None:
    prior = prior_in(model)
    if prior is None:
        return None

    def expected(lonlat: Tensor, time: Tensor | None = None) -> tuple[Tensor, ...]:
        questions = (prior.class_scores, prior.class_probabilities)
        return tuple(_at_known(lonlat, time, each) for each in questions)

    names = ("scores", "probabilities")
    return Traced(PriorGraph(prior), _places(prior.location, _MANY), names, expected)


def _image(model: LocationModel) -> Traced | None:
    geo_model = geo_model_in(model)
    if geo_model is None:
        return None
    inputs = {"images": _images(geo_model, _FEW)}
    if not isinstance(model, GeoClassifier):
        return Traced(
            ImageGraph(geo_model), inputs, ("embedding",), lambda x: (geo_model.embed_images(x),)
        )

    def expected(images: Tensor) -> tuple[Tensor, ...]:
        return model.image_logits(images), model.image_probabilities(images)

    return Traced(ImageGraph(model), inputs, ("logits", "probabilities"), expected)


def _classifier(model: LocationModel) -> Traced | None:
    if not isinstance(model, GeoClassifier):
        return None

    def expected(images: Tensor, lonlat: Tensor, time: Tensor | None = None) -> tuple[Tensor, ...]:
        return (model.probabilities(images, lonlat, time),)

    places = _places(model.prior.location, _FEW)
    inputs = {"images": _images(model.model, len(places["lonlat"]))} | places
    return Traced(ClassifierGraph(model), inputs, ("probabilities",), expected)


def _places(location: LocationEncoder, count: int) -> dict[str, Tensor]:
    """Random places, hard ones and one that is not known; and times, if they count."""
    random = sample_sphere(count, torch.Generator().manual_seed(0))
    lonlat = torch.cat([random, torch.tensor([*_HARD, _UNKNOWN])])
    if not location.time.dim:
        return {"lonlat": lonlat}
    share = torch.rand(len(lonlat), 2, generator=torch.Generator().manual_seed(1))
    time = share * torch.tensor([1.0, 24.0])
    time[::5, 0] = torch.nan
    return {"lonlat": lonlat, "time": time}


def _images(model: GeoModel, count: int) -> Tensor:
    """Random features that are about as large as those trained on, or random pixels."""
    generator = torch.Generator().manual_seed(2)
    if model.image is None:
        random = torch.randn(count, len(model.feature_mean), generator=generator)
        return (model.feature_mean + model.feature_deviation * random).float()
    pixels, channels = model.image.pixels, model.image.framing.channels
    return torch.randn(count, channels, pixels, pixels, generator=generator)


def _at_known(
    lonlat: Tensor, time: Tensor | None, question: Callable[[Tensor, Tensor | None], Tensor]
) -> Tensor:
    """Answers at known places; NaN where none is."""
    known = ~lonlat.isnan().any(dim=1)
    answer = question(lonlat[known], None if time is None else time[known])
    whole = answer.new_full((len(lonlat), answer.shape[1]), torch.nan)
    whole[known] = answer
    return whole
