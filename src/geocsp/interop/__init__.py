"""Other projects' checkpoints as our modules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from geocsp.checkpoints import Checkpoint, read_checkpoint, shown
from geocsp.coords import check_lonlat
from geocsp.errors import DataError
from geocsp.interop.csp import is_csp, read_csp
from geocsp.interop.fcnet import is_geo_prior, is_sinr, read_geo_prior, read_sinr
from geocsp.interop.geoclip import is_geoclip, read_geoclip
from geocsp.interop.inputs import checked_names
from geocsp.interop.parts import prior_of
from geocsp.interop.satclip import is_satclip, read_satclip
from geocsp.location.base import LocationEncoder
from geocsp.model import GeoPrior

__all__ = ["import_checkpoint"]


def import_checkpoint(
    path: str | Path,
    *,
    training_locations: Tensor | None = None,
    environment: Tensor | None = None,
    class_names: Sequence[str] | None = None,
) -> GeoPrior | LocationEncoder:
    """Import a file of CSP, TorchSpatial, Sphere2Vec, SatCLIP, GeoCLIP, SINR or geo_prior.

    Nothing in the file is executed. Settings come from the file; where they contradict its
    tensors, the tensors count. ``save_pretrained`` of the result keeps it as a folder of ours.

    Args:
        path: the file (``.pth.tar``, ``.pth``, ``.pt``, ``.ckpt``, ``.safetensors``).
        training_locations: ``(N, 2)`` degrees, lon first; rbf encoders need the places they were
            trained on.
        environment: ``(rows, columns, bands)``; SINR models with environment need their raster.
        class_names: names in the order of the file's classes, which files do not hold (SINR's hold
            taxa); numbers otherwise.

    Returns:
        A :class:`GeoPrior` if the file knows classes, otherwise a :class:`LocationEncoder`, in
        evaluation mode.

    Raises:
        DataError: the file is missing, damaged, asks to run code, is none of these, or needs
            something that was not passed.
    """
    file = read_checkpoint(Path(path))
    try:
        if training_locations is not None:
            check_lonlat(training_locations, "training_locations")
        names = None if class_names is None else checked_names(class_names)
    except ValueError as error:
        raise DataError(str(error)) from error
    try:
        model = _read(file, training_locations, environment)
    except DataError:
        raise
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file.path} does not fit itself: {reason}") from error
    if names is None:
        return model
    if not isinstance(model, GeoPrior):
        raise DataError(f"{file.path} has no classes to name")
    if len(names) != len(model.class_names):
        raise DataError(
            f"{len(names)} class names, and {file.path} has {len(model.class_names)} classes"
        )
    return prior_of(file, model.location, model.class_matrix.weight.detach(), names)


def _read(
    file: Checkpoint, training_locations: Tensor | None, environment: Tensor | None
) -> GeoPrior | LocationEncoder:
    if is_csp(file):
        return read_csp(file, training_locations)
    if is_satclip(file):
        return read_satclip(file)
    if is_geoclip(file):
        return read_geoclip(file)
    if is_sinr(file):
        return read_sinr(file, environment)
    if is_geo_prior(file):
        return read_geo_prior(file)
    some = ", ".join(shown(name) for name in sorted(file.tensors)[:3])
    raise DataError(
        f"{file.path} is no checkpoint of CSP, TorchSpatial, Sphere2Vec, SatCLIP, GeoCLIP, SINR or "
        f"geo_prior; its tensors are {some}, ..."
    )
