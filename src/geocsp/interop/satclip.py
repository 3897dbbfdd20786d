"""Location encoders of SatCLIP (Klemmer et al., AAAI 2025)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from geocsp.checkpoints import Checkpoint, shown
from geocsp.errors import DataError
from geocsp.interop.csp import at_radii, radii_of
from geocsp.interop.parts import Network, Position, assemble, residual
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head


def is_satclip(file: Checkpoint) -> bool:
    """Whether this is a Lightning checkpoint of SatCLIP."""
    return "le_type" in file.settings and any("nnet." in name for name in file.tensors)


def read_satclip(file: Checkpoint) -> LocationEncoder:
    """The location encoder of a checkpoint; the image tower stays behind.

    Its spherical harmonics differ from ours by signs, and, as published ("analytic"), by a factor
    pi for m = 0; both go into the first layer. Ours stay exact at high degrees, where the published
    ones lose all digits near the poles: compare at low latitudes beyond degree 20.

    Raises:
        DataError: an encoding or network that cannot be rebuilt.
    """
    prefix = next(name.split("nnet.")[0] for name in file.tensors if "nnet." in name)
    inner = file.below(f"{prefix}nnet.")
    kind = file.setting("pe_type", str)  # in these files the network, and le_type the encoding
    if kind not in _NETWORKS:
        raise DataError(f"{file.path}: network {shown(kind)} is not known: {', '.join(_NETWORKS)}")
    network = _NETWORKS[kind](inner)
    encoding = file.setting("le_type", str)
    if encoding not in _ENCODINGS:
        raise DataError(
            f"{file.path}: encoding {shown(encoding)} is not known: {', '.join(_ENCODINGS)}"
        )
    position, change = _ENCODINGS[encoding](file, network.in_dim)
    misfit = [part for part in change.values() if len(part) != network.in_dim]
    if misfit:
        raise DataError(
            f"{file.path}: {encoding} has {len(misfit[0])} features, the first layer takes "
            f"{network.in_dim}"
        )
    return assemble(file, position, network.on(**change))


def _siren(file: Checkpoint) -> Network:
    layers = file.count("layers.{}.weight")
    weights = {}
    for number in range(layers):
        for part, ndim in (("weight", 2), ("bias", 1)):
            name = f"layers.{number}.{part}"
            weights[f"hidden.{number}.linear.{part}"] = file.tensor(name, ndim)
    for part, ndim in (("weight", 2), ("bias", 1)):
        weights[f"output.{part}"] = file.tensor(f"last_layer.{part}", ndim)
    first = "hidden.0.linear.weight" if layers else "output.weight"
    settings = {"layers": layers, "hidden": len(weights[first]), "dropout": 0.5}
    return Network(Head.SIREN, len(weights["output.weight"]), settings, weights, first)


def _residual(file: Checkpoint) -> Network:
    inner = residual(file)
    matrix = file.tensor("class_emb.weight", 2)
    weights = inner.weights | {"output.weight": matrix, "output.bias": torch.zeros(len(matrix))}
    settings = inner.settings | {"hidden": inner.dim}
    return Network(inner.head, len(matrix), settings, weights, inner.first)


def _perceptron(file: Checkpoint) -> Network:
    numbers = range(0, 2 * file.count("features.{}.weight", step=2), 2)
    if not numbers:
        raise DataError(f"{file.path} lacks the tensor features.0.weight")
    weights = {}
    for place, number in enumerate(numbers):
        ours = "output" if number == numbers[-1] else f"hidden.{place}.linear"
        for part, ndim in (("weight", 2), ("bias", 1)):
            weights[f"{ours}.{part}"] = file.tensor(f"features.{number}.{part}", ndim)
    first = "hidden.0.linear.weight" if len(numbers) > 1 else "output.weight"
    settings = {
        "layers": len(numbers) - 1,
        "hidden": len(weights[first]),
        "activation": "relu",
        "dropout": 0.0,
        "layer_norm": False,
        "skip": False,
    }
    return Network(Head.FEED_FORWARD, len(weights["output.weight"]), settings, weights, first)


def _linear(file: Checkpoint) -> Network:
    weights = {"output.weight": file.tensor("weight", 2), "output.bias": file.tensor("bias", 1)}
    dim = len(weights["output.weight"])
    return Network(Head.FEED_FORWARD, dim, {"layers": 0}, weights, "output.weight")


_NETWORKS: dict[str, Callable[[Checkpoint], Network]] = {
    "siren": _siren,
    "fcnet": _residual,
    "mlp": _perceptron,
    "linear": _linear,
}

_Encoding = tuple[Position, dict[str, Tensor]]
"""One of our encodings, and how the trained features follow from its features (see ``on``)."""

_MOST_DEGREES = 200


def _harmonics(file: Checkpoint, width: int) -> _Encoding:
    """Their angles are longitude + 180 and latitude + 90, degrees, so their z axis points south."""
    degrees = math.isqrt(width)
    way = file.setting("harmonics_calculation", str, "analytic")
    if way not in ("analytic", "closed-form"):
        raise DataError(f"{file.path}: {shown(way)} harmonics cannot be imported; a coarse table")
    if degrees > _MOST_DEGREES:
        raise DataError(f"{file.path}: {degrees} degrees of harmonics, most are {_MOST_DEGREES}")
    factors = []
    for degree in range(degrees):
        for order in range(-degree, degree + 1):
            south = (-1.0) ** (degree + order)  # P_lm(-z)
            half_turn = (-1.0) ** order  # cos m (lon + 180)
            if way == "closed-form":
                factors.append(south * half_turn * (-1.0) ** order)
            else:
                factors.append(south * half_turn * (math.pi if order == 0 else 1.0))
    position = Position("spherical-harmonics", {"degrees": degrees})
    return position, {"scale": torch.tensor(factors)}


def _grid(file: Checkpoint, width: int) -> _Encoding:
    return at_radii("space2vec-grid", radii_of(file, width // 4)), {}


def _theory(file: Checkpoint, width: int) -> _Encoding:
    """Sines and cosines alternate within each half, so they swap in the second half of an odd F."""
    source = torch.arange(width)
    half = width // 2
    if half % 2:
        source[half:] ^= 1  # 2 i and 2 i + 1 change places
    return at_radii("space2vec-theory", radii_of(file, width // 6)), {"source": source}


def _sphere(name: str, per_radius: int) -> Callable[[Checkpoint, int], _Encoding]:
    """Every feature is there twice, and degrees are taken for radians."""

    def read(file: Checkpoint, width: int) -> _Encoding:
        count = width // (2 * per_radius)
        position = at_radii(name, radii_of(file, count) * (math.pi / 180))
        if "spherem" in name:
            position.settings["base_radius"] = math.pi / 180
        return position, {"source": torch.arange(per_radius * count).repeat_interleave(2)}

    return read


def _direct(file: Checkpoint, width: int) -> _Encoding:
    scale = torch.tensor([math.pi, math.pi / 2])
    return Position("naive"), {"scale": scale, "shift": torch.full((2,), -math.pi)}


def _cartesian(file: Checkpoint, width: int) -> _Encoding:
    return Position("xyz"), {}


def _wrap(file: Checkpoint, width: int) -> _Encoding:
    """(cos lon, sin lon, cos lat, sin lat), which is the grid of radians with one radius."""
    radius = torch.ones(1, dtype=torch.float64)
    return at_radii("space2vec-gridnorm", radius), {"source": torch.tensor([1, 0, 3, 2])}


_ENCODINGS: dict[str, Callable[[Checkpoint, int], _Encoding]] = {
    "sphericalharmonics": _harmonics,
    "grid": _grid,
    "theory": _theory,
    "spherec": _sphere("sphere2vec-spherec", 3),
    "spherecplus": _sphere("sphere2vec-spherec+", 6),
    "spherem": _sphere("sphere2vec-spherem", 5),
    "spheremplus": _sphere("sphere2vec-spherem+", 8),
    "direct": _direct,
    "cartesian3d": _cartesian,
    "wrap": _wrap,
}
