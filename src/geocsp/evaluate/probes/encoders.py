"""What is probed: location encoders by name, file or folder, and coordinates as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from geocsp.coords import unit_vectors
from geocsp.embed.encoders import untrained_encoder
from geocsp.errors import DataError
from geocsp.hub import is_address
from geocsp.models import GEOCLIP, LocationModel, fingerprint_of, load, location_of
from geocsp.registry import available

GEOCLIP_CREDIT = "GeoCLIP: Vivanco Cepeda, Nayak and Shah (NeurIPS 2023), MIT, via geoclip."


@dataclass(frozen=True, eq=False)
class ProbedEncoder:
    """A frozen encoder.

    Attributes:
        name: as it stands in tables.
        embed: ``(N, 2)`` degrees to ``(N, D)``.
        trained: whether its weights were trained; false for random weights and for none.
        parameters: number of weights.
        fingerprint: SHA-256 of weights and buffers; empty where there are none.
        attribution: whom a report has to credit; empty if nobody.
        module: what holds the weights; None where there are none.
    """

    name: str
    embed: Callable[[Tensor], Tensor]
    trained: bool = False
    parameters: int = 0
    fingerprint: str = ""
    attribution: str = ""
    module: nn.Module | None = None

    @classmethod
    def of(
        cls,
        name: str,
        model: LocationModel,
        *,
        trained: bool = True,
        attribution: str = "",
    ) -> ProbedEncoder:
        """The location encoder of a model, frozen."""
        encoder = location_of(model)
        count = sum(weight.numel() for weight in encoder.parameters())
        digest = fingerprint_of(encoder)
        return cls(name, encoder.embed, trained, count, digest, attribution, encoder)

    def to(self, device: str) -> Self:
        """Move the weights to a device, in place."""
        if self.module is not None:
            self.module.to(device)
        return self


def _raw_lonlat(lonlat: Tensor) -> Tensor:
    return lonlat


def _nothing(lonlat: Tensor) -> Tensor:
    return torch.ones_like(lonlat[:, :1])


RAW: dict[str, Callable[[Tensor], Tensor]] = {
    "raw-lonlat": _raw_lonlat,
    "raw-xyz": unit_vectors,
    "constant": _nothing,
}
"""Baselines without weights: degrees, points on the unit sphere, and nothing, with which a probe
knows the mean or the most frequent class alone."""


def probed_encoder(source: str, *, seed: int = 0) -> ProbedEncoder:
    """An encoder to probe.

    Args:
        source: a saved folder, a checkpoint file as :func:`geocsp.import_checkpoint` takes it,
            "geoclip" for the published encoder in the package of that name, one of :data:`RAW`, or
            the name of a registered location encoder, which then has random weights.
        seed: of random weights.

    Raises:
        DataError: it is none of these, cannot be read, or geoclip is not installed.
    """
    if source in RAW:
        return ProbedEncoder(source, RAW[source])
    if source == GEOCLIP:
        return ProbedEncoder.of(GEOCLIP, load(GEOCLIP), attribution=GEOCLIP_CREDIT)
    path = Path(source)
    if source in available("location") and not path.exists():
        encoder = untrained_encoder(source, {}, seed=seed)
        return ProbedEncoder.of(f"{source} (untrained)", encoder, trained=False)
    if path.exists() or is_address(source):
        name = path.stem if path.is_file() else path.name or str(path)
        return ProbedEncoder.of(name, load(source))
    raise DataError(
        f"{source} is no saved folder, checkpoint file or encoder; encoders: {GEOCLIP} (published "
        f"weights), {', '.join(RAW)}, and untrained {', '.join(available('location'))}"
    )
