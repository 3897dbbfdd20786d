"""Residual networks on wrapped coordinates: geo_prior, SINR, and the same inside CSP's files."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.checkpoints import Checkpoint, shown
from geocsp.errors import DataError
from geocsp.interop.parts import Network, Position, assemble, prior_of, residual
from geocsp.location.heads import Head
from geocsp.location.sinr import bands_of
from geocsp.model import GeoPrior

_LOCATIONS = {
    "encode_cos_sin": (4, "wrap", {}),
    "encode_3D": (3, "xyz", {"legacy_double_latitude": True}),
    "encode_none": (2, "naive", {}),
}


def is_geo_prior(file: Checkpoint) -> bool:
    """Whether this is a file of geo_prior (Mac Aodha et al., ICCV 2019), or CSP's geo_net."""
    return "feats.0.weight" in file.tensors and "loc_encode" in file.settings


def read_geo_prior(file: Checkpoint) -> GeoPrior:
    """A prior of geo_prior, with its date input if it has one.

    Raises:
        DataError: the file does not fit its own settings.
    """
    network = residual(file)
    location = file.setting("loc_encode", str)
    if location not in _LOCATIONS:
        raise DataError(
            f"{file.path}: loc_encode {shown(location)} is not known: {', '.join(_LOCATIONS)}"
        )
    width, name, settings = _LOCATIONS[location]
    time = {}
    date = file.setting("date_encode", str, "encode_none")
    if file.setting("use_date_feats", bool, False):
        # date d in [0, 1] enters as pi (2 d - 1): half a turn from our 2 pi d
        signs = torch.ones(width + (2 if date == "encode_cos_sin" else 1))
        if date == "encode_cos_sin":
            time = {"date_harmonics": 1}
            signs[width:] = -1
        elif date == "encode_none":
            time = {"legacy_linear_date": True}
        else:
            raise DataError(f"{file.path}: date_encode {shown(date)} is not known")
        _check_width(file, network, len(signs))
        network = network.on(scale=signs)
    else:
        _check_width(file, network, width)
    encoder = assemble(file, Position(name, {**settings, **time}), network)
    return prior_of(file, encoder, file.tensor("class_emb.weight", 2))


def is_sinr(file: Checkpoint) -> bool:
    """Whether this is a file of SINR (Cole et al., ICML 2023)."""
    return "input_enc" in file.settings and "class_emb.weight" in file.tensors


def read_sinr(file: Checkpoint, environment: Tensor | None) -> GeoPrior:
    """A prior of SINR, its class names the taxa of the file.

    Args:
        file: what was read.
        environment: ``(rows, columns, bands)``, the raster that the model was trained with.

    Raises:
        DataError: the file needs the raster and it was not passed, or it does not fit.
    """
    matrix = file.tensor("class_emb.weight", 2)
    coding = file.setting("input_enc", str)
    if coding not in ("sin_cos", "env", "sin_cos_env"):
        raise DataError(f"{file.path}: input_enc {shown(coding)} is not known")
    coordinates = coding != "env"
    linear = "feats.0.weight" not in file.tensors
    width = (matrix if linear else file.tensor("feats.0.weight", 2)).shape[1]
    bands = width - 4 * coordinates
    if bands != 0 if coding == "sin_cos" else bands < 1:
        raise DataError(f"{file.path}: input_enc {coding} does not mean {width} inputs")
    settings: dict[str, object] = {"coordinates": coordinates}
    buffers = {}
    if coding != "sin_cos":
        if environment is None:
            raise DataError(
                f"{file.path} takes {bands} bands of environment, which the file does not hold; "
                "pass environment=, the raster (rows, columns, bands) that it was trained with"
            )
        if environment.ndim != 3 or environment.shape[2] != bands or not environment.numel():
            raise DataError(
                f"{file.path} needs {bands} bands of environment, got a raster of shape "
                f"{tuple(environment.shape)}"
            )
        settings["environment"] = list(environment.shape)
        buffers["raster"] = bands_of(environment)
    network = _identity(width) if linear else residual(file)
    encoder = assemble(file, Position("sinr", settings, buffers), network)
    taxa = file.settings.get("class_to_taxa")
    names = [str(taxon) for taxon in taxa] if isinstance(taxa, list) else None
    return prior_of(file, encoder, matrix, names)


def _identity(dim: int) -> Network:
    weights = {"output.weight": torch.eye(dim), "output.bias": torch.zeros(dim)}
    return Network(Head.FEED_FORWARD, dim, {"layers": 0}, weights, "output.weight")


def _check_width(file: Checkpoint, network: Network, width: int) -> None:
    if network.in_dim != width:
        raise DataError(
            f"{file.path}: its settings mean {width} inputs, its first layer has {network.in_dim}"
        )
