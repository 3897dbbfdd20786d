"""How embeddings came about: model, fingerprint, version and settings."""

from __future__ import annotations

from typing import Any

from geocsp import __version__
from geocsp.embed.settings import EmbedSettings
from geocsp.embed.sources import Points
from geocsp.location import LocationEncoder
from geocsp.models import fingerprint_of


def describe(
    encoder: LocationEncoder, model: str, source: str, settings: EmbedSettings, points: Points
) -> dict[str, Any]:
    """The record of an output, ready for JSON.

    Args:
        encoder: what embedded the places.
        model: what to call the model.
        source: the table of places.
        settings: how embeddings are written.
        points: the open source.
    """
    return {
        "geocsp": __version__,
        "model": model,
        "fingerprint": fingerprint_of(encoder),
        "encoder": type(encoder).__name__,
        "dim": encoder.dim,
        "source": source,
        "places": list(points.places.names),
        "times": list(points.times.columns) if points.times and encoder.time.dim else [],
        "normalise": settings.normalise,
        "dtype": str(settings.dtype),
        "name": settings.name,
        "as_list": settings.as_list,
    }
