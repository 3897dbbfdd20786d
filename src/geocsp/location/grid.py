"""Space2Vec-grid: sines and cosines of each coordinate at geometric scales."""

from __future__ import annotations

import torch
from torch import Tensor

from geocsp.location.base import LocationEncoder, geometric_radii, sin_cos
from geocsp.location.networks import Activation, FeedForward
from geocsp.registry import register


@register("location", "space2vec-grid")
class Space2VecGrid(LocationEncoder):
    """Space2Vec grid encoder (Mai et al., ICLR 2020) with a feed-forward network.

    For each coordinate c in (lon, lat), in degrees, and each radius r_i of a geometric series
    from ``min_radius`` to ``max_radius``: sin(c / r_i), cos(c / r_i). That is 4 features per
    radius, longitude first. It is a chart of the plate carree plane: not periodic over the
    antimeridian and not single-valued at the poles.

    Args:
        dim: size of the embedding.
        frequencies: number of radii.
        min_radius: finest radius, degrees (1 degree is about 111 km at the equator).
        max_radius: coarsest radius, degrees.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        activation: non-linearity.
        dropout: probability of dropping a unit.
        legacy_output: activation and dropout on the embedding, as in the released code.
    """

    periodic = False
    single_pole = False

    def __init__(
        self,
        dim: int = 256,
        *,
        frequencies: int = 32,
        min_radius: float = 0.1,
        max_radius: float = 360.0,
        hidden: int = 512,
        layers: int = 1,
        activation: Activation = Activation.LEAKY_RELU,
        dropout: float = 0.5,
        legacy_output: bool = False,
    ) -> None:
        network = FeedForward(
            4 * frequencies,
            dim,
            hidden=hidden,
            layers=layers,
            activation=Activation(activation),
            dropout=dropout,
            legacy_output=legacy_output,
        )
        super().__init__(network, dim)
        self.register_buffer("radii", geometric_radii(frequencies, min_radius, max_radius))
        self.radii: Tensor

    def features(self, lonlat: Tensor) -> Tensor:
        """Return ``(N, 4 * frequencies)``: lon then lat, radius by radius, sin then cos."""
        angle = lonlat.unsqueeze(-1) / self.radii.to(torch.float64)
        return sin_cos(angle).flatten(1)
