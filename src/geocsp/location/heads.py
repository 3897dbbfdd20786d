"""Which network turns position features into the embedding, and the settings all encoders share."""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict

from torch import nn

from geocsp.location.networks import (
    Activation,
    BlockDiagonal,
    Capsules,
    FeedForward,
    ResidualFC,
)
from geocsp.location.siren import ResidualSiren, Siren


class Head(StrEnum):
    """The network after the position encoding."""

    FEED_FORWARD = "feed-forward"
    RESIDUAL = "residual"
    SIREN = "siren"
    RESIDUAL_SIREN = "residual-siren"
    BLOCK_DIAGONAL = "block-diagonal"
    CAPSULES = "capsules"

    @classmethod
    def _missing_(cls, value: object) -> Head:
        raise ValueError(f"no head {value!r}; available: {', '.join(cls)}")

    @property
    def network(self) -> type[nn.Module]:
        """The class of the network."""
        return _NETWORKS[self]


_NETWORKS: dict[Head, type[nn.Module]] = {
    Head.FEED_FORWARD: FeedForward,
    Head.RESIDUAL: ResidualFC,
    Head.SIREN: Siren,
    Head.RESIDUAL_SIREN: ResidualSiren,
    Head.BLOCK_DIAGONAL: BlockDiagonal,
    Head.CAPSULES: Capsules,
}


class HeadSettings(TypedDict, total=False):
    """Settings of the networks; each takes those that its class documents."""

    hidden: int
    layers: int
    blocks: int
    activation: Activation | str
    dropout: float
    layer_norm: bool
    skip: bool
    legacy_output: bool
    mix: bool
    first_frequency: float
    shared: int


class Shared(HeadSettings, total=False):
    """Keyword settings that location encoders take beside their own.

    ``head`` chooses the network, to which the settings of :class:`HeadSettings` are handed.
    ``date_harmonics`` and ``hour_harmonics`` (default 0: unused) add time as a second, periodic
    input: so many waves of the year and of the day. ``legacy_linear_date`` adds the date
    as a number from -1 to 1, with a jump at the new year.
    """

    head: Head | str
    date_harmonics: int
    hour_harmonics: int
    legacy_linear_date: bool
