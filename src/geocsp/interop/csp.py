"""Files of CSP, TorchSpatial and Sphere2Vec: position encoding, feed-forward network, classes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from geocsp.checkpoints import Checkpoint, shown
from geocsp.errors import DataError
from geocsp.interop.fcnet import read_geo_prior
from geocsp.interop.parts import Network, Position, assemble, prior_of
from geocsp.location.angles import geometric_radii
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head
from geocsp.model import GeoPrior

_ACTIVATIONS = {
    "leakyrelu": "leaky_relu",
    "relu": "relu",
    "gelu": "gelu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
}


def is_csp(file: Checkpoint) -> bool:
    """Whether this is a file of CSP, TorchSpatial or Sphere2Vec."""
    return "spa_enc_type" in file.settings


def read_csp(file: Checkpoint, training_locations: Tensor | None) -> GeoPrior | LocationEncoder:
    """A prior, or the encoder alone where the file has no classes (regression, whose head is lost).

    Where a model was saved with its image side, its tensors are there twice; the location side's
    own copy counts.

    Args:
        file: what was read.
        training_locations: ``(N, 2)`` degrees, needed for rbf: the training places in their order.

    Raises:
        DataError: an encoder that cannot be rebuilt, or a file that does not fit itself.
    """
    if any(name.startswith("loc_enc.") for name in file.tensors):
        file = file.below("loc_enc.")
    has_classes = "num_classes" in file.settings or "user_emb.weight" in file.tensors
    if "feats.0.weight" in file.tensors:
        prior = read_geo_prior(file)
        return prior if has_classes else prior.location
    kind = file.setting("spa_enc_type", str)
    if kind not in _ENCODERS:
        raise DataError(f"{file.path}: encoder {shown(kind)} cannot be imported; can: {_known()}")
    position, network = _ENCODERS[kind](file.below("spa_enc."))
    if position.name == "rbf":
        position = _with_anchors(file, position, training_locations)
    encoder = assemble(file, position, network)
    return prior_of(file, encoder, file.tensor("class_emb.weight", 2)) if has_classes else encoder


def _known() -> str:
    return ", ".join(sorted([*_ENCODERS, "geo_net", "wrap"]))


_Parts = tuple[Position, Network]


def _feed_forward(file: Checkpoint) -> Network:
    count = file.count("ffn.layers.{}.linear.weight")
    if not count:
        raise DataError(f"{file.path} lacks the tensor ffn.layers.0.linear.weight")
    weights = {}
    norm = "ffn.layers.0.layernorm.weight" in file.tensors
    for number in range(count):
        theirs = f"ffn.layers.{number}"
        last = number == count - 1
        linear = "output" if last else f"hidden.{number}.linear"
        weights[f"{linear}.weight"] = file.tensor(f"{theirs}.linear.weight", 2)
        weights[f"{linear}.bias"] = file.tensor(f"{theirs}.linear.bias", 1)
        if norm and not last:
            for part in ("weight", "bias"):
                weights[f"hidden.{number}.norm.{part}"] = file.tensor(
                    f"{theirs}.layernorm.{part}", 1
                )
    first = "output.weight" if count == 1 else "hidden.0.linear.weight"
    settings = {
        "layers": count - 1,
        "hidden": len(weights[first]),
        "layer_norm": norm,
        "skip": file.setting("skip_connection", bool, True),
        "legacy_output": True,
    }
    dim = len(weights["output.weight"])
    return Network(Head.FEED_FORWARD, dim, settings | _regularised(file), weights, first)


def _regularised(file: Checkpoint) -> dict[str, object]:
    activation = file.setting("spa_f_act", str, "leakyrelu")
    if activation not in _ACTIVATIONS:
        raise DataError(f"{file.path}: activation {shown(activation)} is not known")
    dropout = file.setting("dropout", float, 0.5)
    return {"activation": _ACTIVATIONS[activation], "dropout": dropout}


def _frequencies(file: Checkpoint, network: Network, per_radius: int) -> int:
    if network.in_dim % per_radius or not network.in_dim:
        raise DataError(
            f"{file.path}: {network.in_dim} position features are no multiple of {per_radius}"
        )
    return network.in_dim // per_radius


def radii_of(file: Checkpoint, count: int) -> Tensor:
    """The radii r_i of a file with ``count`` frequencies 1 / r_i, in its own order."""
    schedule = file.setting("freq_init", str, "geometric")
    if schedule == "nerf":
        return 1 / (math.pi * 2.0 ** torch.arange(count, dtype=torch.float64))
    if schedule != "geometric":
        raise DataError(f"{file.path}: its {shown(schedule)} frequencies were not saved with it")
    largest, smallest = file.setting("max_radius", float), file.setting("min_radius", float)
    if not 0 < smallest <= largest:
        raise DataError(f"{file.path}: radii from {smallest} to {largest} make no scales")
    return geometric_radii(count, smallest, largest)


def _broken_radii(file: Checkpoint, count: int) -> Tensor:
    """Radii as TorchSpatial computes them for sphereM+ and dfs: the smallest is ignored."""
    step = torch.arange(count, dtype=torch.float64)
    return file.setting("max_radius", float) ** (step / max(1, count - 1))


def _scaled(
    name: str,
    per_radius: int,
    radii: Callable[[Checkpoint, int], Tensor] = radii_of,
) -> Callable[[Checkpoint], _Parts]:
    def read(file: Checkpoint) -> _Parts:
        network = _feed_forward(file)
        count = _frequencies(file, network, per_radius)
        return at_radii(name, radii(file, count)), network

    return read


def at_radii(name: str, radii: Tensor) -> Position:
    """One of our encodings at many scales, with radii in any order.

    Raises:
        ValueError: there are none.
    """
    if not len(radii):
        raise ValueError(f"too few position features for {name}")
    settings = {
        "frequencies": len(radii),
        "min_radius": float(radii.min()),
        "max_radius": float(radii.max()),
    }
    return Position(name, settings, {"radii": radii})


def _dfs(radii: Callable[[Checkpoint, int], Tensor]) -> Callable[[Checkpoint], _Parts]:
    def read(file: Checkpoint) -> _Parts:
        network = _feed_forward(file)
        count = (math.isqrt(network.in_dim + 1) - 1) // 2  # 4 F^2 + 4 F = (2 F + 1)^2 - 1
        if 4 * count * (count + 1) != network.in_dim:
            raise DataError(f"{file.path}: {network.in_dim} features are no double Fourier series")
        return at_radii("sphere2vec-dfs", radii(file, count)), network

    return read


def _plain(name: str, width: int) -> Callable[[Checkpoint], _Parts]:
    def read(file: Checkpoint) -> _Parts:
        network = _feed_forward(file)
        if network.in_dim != width:
            raise DataError(f"{file.path}: {network.in_dim} position features, {name} has {width}")
        return Position(name), network

    return read


def _hexagonal(file: Checkpoint) -> _Parts:
    weights = {
        "output.weight": file.tensor("post_linear.weight", 2),
        "output.bias": file.tensor("post_linear.bias", 1),
    }
    settings = {"layers": 0, "legacy_output": True} | _regularised(file)
    dim = len(weights["output.weight"])
    network = Network(Head.FEED_FORWARD, dim, settings, weights, "output.weight")
    count = _frequencies(file, network, 6)
    return at_radii("space2vec-hexagonal", _broken_radii(file, count)), network


def _theorydiag(file: Checkpoint) -> _Parts:
    parts = file.tensor("post_mat", 3)
    mix = "post_linear.weight" in file.tensors
    weights = {"parts": parts}
    if mix:
        weights["mix.weight"] = file.tensor("post_linear.weight", 2)
        weights["mix.bias"] = file.tensor("post_linear.bias", 1)
    settings = {"blocks": len(parts), "mix": mix} | _regularised(file)
    dim = parts.shape[0] * parts.shape[2]
    network = Network(Head.BLOCK_DIAGONAL, dim, settings, weights, "parts")
    return at_radii("space2vec-theorydiag", radii_of(file, len(parts))), network


def _map_range(file: Checkpoint) -> tuple[Tensor, Tensor]:
    """Scale and shift from our (lon / 180, lat / 90) to a file's range of the map, -1 to 1."""
    west, east, south, north = file.numbers("map_range", [-180.0, 180.0, -90.0, 90.0])
    if not (west < east and south < north):
        raise DataError(f"{file.path}: map_range from {west}, {south} to {east}, {north} is empty")
    scale = torch.tensor([360.0 / (east - west), 180.0 / (north - south)])
    shift = torch.tensor([(east + west) / (east - west), (north + south) / (north - south)])
    return scale, -shift


def _naive(file: Checkpoint) -> _Parts:
    position, network = _plain("naive", 2)(file)
    scale, shift = _map_range(file)
    return position, network.on(scale=scale, shift=shift)


def _rff(file: Checkpoint) -> _Parts:
    inner = "position_encoder." if "position_encoder.dirvec" in file.tensors else ""
    directions, phases = file.tensor(f"{inner}dirvec", 2), file.tensor(f"{inner}shift", 1)
    if directions.shape != (2, len(phases)) or not bool(directions.any()):
        raise DataError(f"{file.path}: dirvec {tuple(directions.shape)} are no random directions")
    scale, shift = _map_range(file)
    buffers = {
        "directions": scale.double().unsqueeze(1) * directions.double(),
        "phases": phases.double() + shift.double() @ directions.double(),
    }
    settings = {"waves": len(phases), "variance": float(buffers["directions"].square().mean())}
    return Position("rff", settings, buffers), _feed_forward(file)


def _rbf(file: Checkpoint) -> _Parts:
    network = _feed_forward(file)
    spelled = "rbf_kernel_size" if "rbf_kernel_size" in file.settings else "rbf_kernal_size"
    width = file.setting(spelled, float)
    settings = {"anchors": network.in_dim, "width": width, "legacy_distance": True}
    return Position("rbf", settings), network


def _with_anchors(file: Checkpoint, position: Position, training: Tensor | None) -> Position:
    count = position.settings["anchors"]
    if training is None:
        raise DataError(
            f"{file.path} measures distances to {count} training places that it does not hold; "
            "pass training_locations=, the (N, 2) degrees of the training set in its order, lon "
            f"first, or the {count} anchors themselves"
        )
    anchors = training
    if len(training) != count:
        chosen = file.settings.get("rbf_anchor_pt_ids")
        if not isinstance(chosen, list) or len(chosen) != count:
            raise DataError(f"{file.path} does not say which training places; pass {count} anchors")
        chosen = file.numbers("rbf_anchor_pt_ids", [math.nan] * count)
        wrong = [row for row in chosen if row not in range(len(training))]
        if wrong:
            raise DataError(
                f"{file.path} picks row {wrong[0]:g} of the training places, training_locations "
                f"has {len(training)} rows"
            )
        anchors = training[[int(row) for row in chosen]]
    return Position(position.name, position.settings, {"anchors": anchors.double()})


def _nerf(file: Checkpoint) -> _Parts:
    network = _feed_forward(file)
    return Position("nerf", {"frequencies": _frequencies(file, network, 6)}), network


def _tile(file: Checkpoint) -> _Parts:
    cells = file.tensor("position_encoder.embedding.weight", 2)
    if len(cells) != 1:
        raise DataError(f"{file.path}: a table of {len(cells)} cells whose layout it does not say")
    settings = {"degrees": 360.0, "cell_dim": cells.shape[1]}
    return Position("tile", settings, {"cells": cells}), _feed_forward(file)


_ENCODERS: dict[str, Callable[[Checkpoint], _Parts]] = {
    # CSP and Sphere2Vec
    "gridcell": _scaled("space2vec-grid", 4),
    "gridcellnorm": _scaled("space2vec-grid", 4),  # the released class never converts to radians
    "theory": _scaled("space2vec-theory", 6),
    "theorynorm": _scaled("space2vec-theorynorm", 6),
    "hexagridcell": _hexagonal,
    "theorydiag": _theorydiag,
    "naive": _naive,
    "rbf": _rbf,
    "rff": _rff,
    "geo_net_fft": _plain("wrap-ffn", 4),
    "sphere": _scaled("sphere2vec-spherec", 3),
    "spheregrid": _scaled("sphere2vec-spherec+", 6),
    "spheremixscale": _scaled("sphere2vec-spherem", 5),
    "spheregridmixscale": _scaled("sphere2vec-spherem+", 8),
    "dft": _dfs(radii_of),
    "xyz": _plain("xyz", 3),
    "nerf": _nerf,
    # TorchSpatial
    "Space2Vec-grid": _scaled("space2vec-grid", 4),
    "Space2Vec-theory": _scaled("space2vec-theory", 6),
    "Sphere2Vec-sphereC": _scaled("sphere2vec-spherec", 3),
    "Sphere2Vec-sphereC+": _scaled("sphere2vec-spherec+", 6),
    "Sphere2Vec-sphereM": _scaled("sphere2vec-spherem", 5),
    "Sphere2Vec-sphereM+": _scaled("sphere2vec-spherem+", 8, _broken_radii),
    "Sphere2Vec-dfs": _dfs(_broken_radii),
    "NeRF": _nerf,
    "wrap_ffn": _plain("wrap-ffn", 4),
    "tile_ffn": _tile,
}
