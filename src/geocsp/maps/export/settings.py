"""All that an export is made with, by which a file or work in progress is known again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from geocsp.errors import DataError
from geocsp.maps.export.cells import Cells
from geocsp.maps.grid import Grid
from geocsp.models import LocationModel, fingerprint_of
from geocsp.train.folder import different

_SAMPLE = 16
_TOLERANCE = 1e-3
"""Of the largest value. Another processor may round otherwise; another model differs by more."""
_MEASURED = ("sample", "scale")


def settings_of(model: LocationModel, grid: Grid, cells: Cells) -> dict[str, Any]:
    """Settings as they go into JSON: grid, numbers, quantity, model, and a few of the values."""
    sample = cells.sample(grid, _SAMPLE).mean(axis=1, dtype=np.float64)
    return {
        "grid": asdict(grid),
        "dtype": cells.type.value,
        "quantity": cells.title,
        "bands": cells.bands,
        "model": {"kind": model.kind, "fingerprint": fingerprint_of(model)},
        "sample": sample.tolist(),
        "scale": None if cells.scale is None else cells.scale.tolist(),
    }


def check_same(there: dict[str, Any] | None, here: dict[str, Any], path: Path) -> None:
    """Raise a DataError unless what is at ``path`` was made with these settings."""
    advice = "delete it, or choose another output"
    if there is None:
        raise DataError(f"{path} is there and was not written by geocsp; {advice}")
    first, second = (
        {name: value for name, value in settings.items() if name not in _MEASURED}
        for settings in (there, here)
    )
    if differing := different(first, second):
        raise DataError(f"{path} is there with other settings ({differing}); {advice}")
    limit = _TOLERANCE * np.abs(here["sample"]).max()
    if not np.allclose(there["sample"], here["sample"], rtol=0.0, atol=limit):
        raise DataError(f"{path} is there with values of another quantity or model; {advice}")
