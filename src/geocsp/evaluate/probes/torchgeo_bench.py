"""Any encoder of ours in the location-encoder track of torchgeo-bench (CoordBench).

That benchmark (https://github.com/torchgeo/torchgeo-bench, after version 0.4.0) builds a subclass
of its ``torchgeo_bench.coordbench.models.LocationEncoder`` from the target and the options of a
model preset, passes ``device``, and calls ``encode(lon, lat, year)`` with one-dimensional arrays of
degrees; chunks of ``batch_size`` reach ``_encode``, which answers ``(B, D)`` float32. A preset has
``geocsp.evaluate.probes.torchgeo_bench.TorchGeoBenchEncoder`` as its target and ``model`` as an
option.

Importing this module needs torchgeo-bench.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from geocsp.evaluate.probes.encoders import probed_encoder

try:
    from torchgeo_bench.coordbench.models import (  # type: ignore[import-not-found, unused-ignore]
        LocationEncoder,
    )
except ImportError as error:
    raise ImportError(
        "torchgeo-bench with its coordbench track is not installed; it is newer than version 0.4.0"
    ) from error


class TorchGeoBenchEncoder(LocationEncoder):  # type: ignore[misc, unused-ignore]
    """An encoder of ours as torchgeo-bench wants it; years do not matter to it.

    Args:
        model: what :func:`~geocsp.evaluate.probes.encoders.probed_encoder` takes: a saved folder, a
            checkpoint file, "geoclip", or a registered name.
        seed: of random weights.
        device: as in torchgeo-bench; places are embedded there.
        batch_size: places at once.

    Attributes:
        name: of the model, for the rows of results.

    Raises:
        DataError: there is no such model, or it cannot be read.
    """

    def __init__(
        self, model: str, seed: int = 0, device: str = "cpu", batch_size: int = 8192
    ) -> None:
        super().__init__(device=device, batch_size=batch_size)
        self.encoder = probed_encoder(model, seed=seed).to(self.device)
        self.name = self.encoder.name

    def _encode(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], year: NDArray[np.generic] | None
    ) -> NDArray[np.float32]:
        places = torch.from_numpy(np.stack([lon, lat], axis=1)).to(self.device)
        embedding = self.encoder.embed(places)
        return embedding.detach().float().cpu().numpy()
