"""Location encoder of GeoCLIP (Vivanco Cepeda et al., NeurIPS 2023)."""

from __future__ import annotations

import torch

from geocsp.checkpoints import Checkpoint
from geocsp.errors import DataError
from geocsp.interop.parts import Network, Position, assemble
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head

_FIRST = "LocEnc0.capsule.0.b"


def is_geoclip(file: Checkpoint) -> bool:
    """Whether this holds GeoCLIP's location encoder, alone or with the whole model."""
    return any(name.endswith(_FIRST) for name in file.tensors)


def read_geoclip(file: Checkpoint) -> LocationEncoder:
    """The location encoder; embeddings are not normalised, as in the package.

    Raises:
        DataError: tensors are missing or do not fit.
    """
    prefix = next(name for name in file.tensors if name.endswith(_FIRST)).removesuffix(_FIRST)
    inner = file.below(prefix)
    count = inner.count("LocEnc{}.capsule.0.b")
    directions = [inner.tensor(f"LocEnc{i}.capsule.0.b", 2) for i in range(count)]
    if len({tuple(matrix.shape) for matrix in directions}) != 1:
        raise DataError(f"{file.path}: its scales have different numbers of waves")
    weights = {}
    layers = 0
    for capsule in range(count):
        layers = 0
        while f"LocEnc{capsule}.capsule.{2 * layers + 1}.weight" in inner.tensors:
            layers += 1
        names = [(f"capsule.{2 * i + 1}", 2 * i) for i in range(layers)] + [("head.0", 2 * layers)]
        for theirs, ours in names:
            for part, ndim in (("weight", 2), ("bias", 1)):
                name = f"LocEnc{capsule}.{theirs}.{part}"
                weights[f"capsules.{capsule}.{ours}.{part}"] = inner.tensor(name, ndim)
    first = "capsules.0.0.weight"
    settings = {"blocks": count, "layers": layers, "hidden": len(weights[first])}
    dim = len(inner.tensor("LocEnc0.head.0.weight", 2))
    network = Network(Head.CAPSULES, dim, settings, weights, first)
    scales = [float(matrix.square().mean().sqrt()) for matrix in directions]
    position = Position(
        "geoclip",
        {"scales": scales, "waves": len(directions[0]), "legacy_float32": True},
        {"directions": torch.stack(directions)},
    )
    return assemble(file, position, network)
