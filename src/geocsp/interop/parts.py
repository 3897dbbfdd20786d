"""Pieces of other projects' networks, as weights of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from geocsp.checkpoints import Checkpoint
from geocsp.errors import DataError
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head
from geocsp.model import GeoPrior
from geocsp.registry import create


@dataclass(frozen=True)
class Network:
    """Settings and weights of one of our networks, checked to fit each other.

    Attributes:
        head: which network.
        dim: size of its output.
        settings: its settings.
        weights: its state dict.
        first: name of the weight that gets the position features.

    Raises:
        ValueError: a weight is missing or has another shape.
    """

    head: Head
    dim: int
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    first: str

    def __post_init__(self) -> None:
        """Compare with the network that the settings mean, without making it."""
        if min(self.weights[self.first].shape) < 1:
            raise ValueError(f"{self.first} is empty")
        with torch.device("meta"):
            wanted = self.head.network(self.in_dim, self.dim, **self.settings).state_dict()
        for name in sorted(wanted.keys() | self.weights.keys()):
            shapes = [tuple(t[name].shape) if name in t else None for t in (wanted, self.weights)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"its tensors do not fit: {name} is {shapes[1]}, not {shapes[0]}")

    @property
    def in_dim(self) -> int:
        """Size of its input."""
        blocks = self.settings.get("blocks", 1) if self.head in _BLOCKED else 1
        return blocks * self.weights[self.first].shape[1]

    def on(
        self,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
        source: Tensor | None = None,
    ) -> Network:
        """The network for features x when it was trained on ``scale * x[source] + shift``.

        Args:
            scale: ``(in_dim,)``; None for one.
            shift: ``(in_dim,)``; None for zero.
            source: ``(in_dim,)`` which of our features each trained feature is; None for the same.
        """
        trained = self.weights[self.first]
        weights = dict(self.weights)
        scaled = trained if scale is None else trained * scale
        if source is not None:
            width = int(source.max()) + 1
            scaled = scaled.new_zeros(len(scaled), width).index_add(1, source, scaled)
        weights[self.first] = scaled
        if shift is not None:
            bias = self.first.removesuffix("weight") + "bias"
            weights[bias] = self.weights[bias] + trained @ shift
        return Network(self.head, self.dim, self.settings, weights, self.first)


_BLOCKED = (Head.BLOCK_DIAGONAL, Head.CAPSULES)
"""Networks that belong to one encoding, which makes them itself."""


@dataclass(frozen=True)
class Position:
    """One of our position encodings: its name, settings and buffers."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)


def assemble(file: Checkpoint, position: Position, network: Network) -> LocationEncoder:
    """A location encoder with the weights of a file, in evaluation mode.

    Raises:
        DataError: the weights do not fit each other.
    """
    settings = {"dim": network.dim} | position.settings | network.settings
    if network.head in _BLOCKED:
        del settings["blocks"]
    else:
        settings["head"] = network.head.value
    encoder: LocationEncoder = create("location", position.name, **settings)
    if encoder.feature_dim + encoder.time.dim != network.in_dim:
        raise DataError(
            f"{file.path}: {position.name} has {encoder.feature_dim} features with these settings, "
            f"the first layer takes {network.in_dim}"
        )
    state = encoder.state_dict() | position.buffers
    state |= {f"network.{name}": weight for name, weight in network.weights.items()}
    load_weights(file, encoder, state)
    encoder.eval()
    return encoder


def load_weights(file: Checkpoint, module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state dict.

    Raises:
        DataError: names or shapes do not fit.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file.path}: tensors do not fit together: {reason}") from error


def prior_of(
    file: Checkpoint, encoder: LocationEncoder, matrix: Tensor, names: list[str] | None = None
) -> GeoPrior:
    """A prior of an encoder and a class matrix ``(classes, dim)``.

    Raises:
        DataError: sizes do not fit, or the names are not as many as the classes.
    """
    if not len(matrix):
        raise DataError(f"{file.path} has no classes")
    if names is not None and len(names) != len(matrix):
        raise DataError(f"{file.path} names {len(names)} classes and has {len(matrix)}")
    prior = GeoPrior(encoder, len(matrix) if names is None else names)
    state = prior.state_dict() | {"class_matrix.weight": matrix}
    load_weights(file, prior, state)
    return prior.eval()


def residual(file: Checkpoint) -> Network:
    """The residual network of geo-prior models: ``feats.0``, ``feats.2``, ``feats.3``, ...

    Raises:
        DataError: a tensor is missing.
    """
    weights = {
        "input.weight": file.tensor("feats.0.weight", 2),
        "input.bias": file.tensor("feats.0.bias", 1),
    }
    blocks = 0
    while f"feats.{blocks + 2}.w1.weight" in file.tensors:
        for theirs, ours in (("w1", "first"), ("w2", "second")):
            name = f"feats.{blocks + 2}.{theirs}"
            weights[f"blocks.{blocks}.{ours}.weight"] = file.tensor(f"{name}.weight", 2)
            weights[f"blocks.{blocks}.{ours}.bias"] = file.tensor(f"{name}.bias", 1)
        blocks += 1
    dim = len(weights["input.weight"])
    return Network(Head.RESIDUAL, dim, {"blocks": blocks}, weights, "input.weight")
