"""What is probed: location encoders by name, file or folder, and coordinates as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from geocsp.coords import unit_vectors
from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError, MissingExtraError
from geocsp.interop import import_checkpoint
from geocsp.location import LocationEncoder
from geocsp.model import GeoModel, GeoPrior
from geocsp.registry import available, create
from geocsp.saved import CONFIG_FILE

GEOCLIP = "geoclip"
"""The published location encoder of GeoCLIP (Vivanco Cepeda et al., NeurIPS 2023)."""
GEOCLIP_CREDIT = "GeoCLIP: Vivanco Cepeda, Nayak and Shah (NeurIPS 2023), MIT, via geoclip."
_GEOCLIP_FILE = PackagedFile("geoclip", "geoclip/model/weights/location_encoder_weights.pth")
_MODELS: dict[str, type[GeoModel] | type[GeoPrior] | type[LocationEncoder]] = {
    model.kind: model for model in (GeoModel, GeoPrior, LocationEncoder)
}


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
        model: GeoModel | GeoPrior | LocationEncoder,
        *,
        trained: bool = True,
        attribution: str = "",
    ) -> ProbedEncoder:
        """The location encoder of a model, frozen."""
        encoder = model if isinstance(model, LocationEncoder) else model.location
        count = sum(weight.numel() for weight in encoder.parameters())
        digest = _digest(encoder)
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
        return ProbedEncoder.of(
            GEOCLIP, import_checkpoint(_geoclip_weights()), attribution=GEOCLIP_CREDIT
        )
    path = Path(source)
    if path.is_file():
        return ProbedEncoder.of(path.stem, import_checkpoint(path))
    if (path / CONFIG_FILE).is_file():
        return ProbedEncoder.of(path.name or str(path), _saved(path))
    if source in available("location"):
        return ProbedEncoder.of(f"{source} (untrained)", _untrained(source, seed), trained=False)
    raise DataError(
        f"{source} is no saved folder, checkpoint file or encoder; encoders: {GEOCLIP} (published "
        f"weights), {', '.join(RAW)}, and untrained {', '.join(available('location'))}"
    )


def _saved(folder: Path) -> GeoModel | GeoPrior | LocationEncoder:
    try:
        kind = json.loads((folder / CONFIG_FILE).read_text())["model"]
        model = _MODELS[kind]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / CONFIG_FILE} is damaged: {error!r}") from error
    if model is LocationEncoder:
        return LocationEncoder.from_pretrained(folder)
    return model.from_pretrained(folder)


def _untrained(name: str, seed: int) -> LocationEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            encoder: LocationEncoder = create("location", name)
        except ValueError as error:
            raise DataError(f"{name} cannot be made without settings: {error}") from error
    return encoder.eval()


def _geoclip_weights() -> Path:
    try:
        return _GEOCLIP_FILE.locate()
    except MissingExtraError:
        raise DataError(
            "geoclip is not installed; pip install --no-deps geoclip==1.3.0 brings its weights"
        ) from None


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(
            tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
