"""How embeddings came about: model, fingerprint, version and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geocsp import __version__
from geocsp.embed.settings import EmbedSettings
from geocsp.embed.sources import Points
from geocsp.files import write_atomically
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


def record_path(output: Path) -> Path:
    """Where the record of an output without metadata is: ``out.csv`` has ``out.csv.json``."""
    return output.with_name(f"{output.name}.json")


def write_record(output: Path, about: Mapping[str, Any]) -> Path:
    """Write the record beside an output.

    Raises:
        OSError: it cannot be written.
    """
    return write_atomically(record_path(output), json.dumps(about, indent=1).encode())
