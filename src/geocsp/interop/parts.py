"""Pieces of other projects' networks, as weights of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from geocsp.errors import DataError
from geocsp.interop.reading import Checkpoint
from geocsp.location.base import LocationEncoder
from geocsp.location.heads import Head
from geocsp.model import GeoPrior
from geocsp.registry import create


@dataclass(frozen=True)
class Network:
    """Settings and weights of one of our networks.

    Attributes:
        head: which network; None for that of the encoder itself.
        dim: size of its output.
        settings: its settings.
        weights: its state dict.
        first: name of the weight that gets the position features.
    """

    head: Head | None
    dim: int
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    first: str

    @property
    def in_dim(self) -> int:
        """Size of its input."""
        return self.weights[self.first].shape[1]

    def on(self, columns: Tensor, shift: Tensor | None = None) -> Network:
        """The network for features x when it was trained on ``columns @ x + shift``.

        Args:
            columns: ``(trained features, our features)``.
            shift: ``(trained features,)``.
        """
        weights = dict(self.weights)
        weights[self.first] = self.weights[self.first] @ columns
        if shift is not None:
            bias = self.first.removesuffix("weight") + "bias"
            weights[bias] = self.weights[bias] + self.weights[self.first] @ shift
        return Network(self.head, self.dim, self.settings, weights, self.first)


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
    if network.head is not None:
        settings["head"] = network.head.value
    encoder: LocationEncoder = create("location", position.name, **settings)
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


def permutation(order: list[int]) -> Tensor:
    """Columns for features in another order: trained feature i is our feature ``order[i]``."""
    return torch.eye(len(order))[order]
