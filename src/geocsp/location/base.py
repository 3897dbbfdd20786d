"""What every location encoder shares: validation, precise trigonometry, then a network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, Unpack

import torch
from torch import Tensor

from geocsp.coords import check_lonlat
from geocsp.errors import DataError
from geocsp.location.heads import Head, Shared
from geocsp.passes import in_passes
from geocsp.registry import create
from geocsp.saved import Saved
from geocsp.times import TimeFeatures, check_time

_NUMBERS_PER_PASS = 2**26


class LocationEncoder(Saved):
    """A position encoding followed by a network: places in, embeddings out.

    A subclass writes only :meth:`features`. It gets float64 degrees and returns the position
    features, before the network.

    Args:
        feature_dim: size of the position features.
        dim: size of the embedding.
        **shared: settings of the network and of time, see :class:`geocsp.location.heads.Shared`.

    Raises:
        ValueError: a setting that the network does not take, or a size below one.

    Attributes:
        dim: size of the embedding.
        feature_dim: size of the position features.
        periodic: whether the encoding is continuous over the antimeridian.
        single_pole: whether every longitude gives the same value at a pole.
        resolution_km: finest scale in kilometres: the shortest wave along the equator (of random
            waves, that of one standard deviation), or the width of a cell or kernel.
    """

    kind = "LocationEncoder"
    default_head: ClassVar[Head] = Head.FEED_FORWARD
    periodic: bool
    single_pole: bool
    resolution_km: float

    def __init__(self, feature_dim: int, dim: int, **shared: Unpack[Shared]) -> None:
        if min(feature_dim, dim) < 1:
            raise ValueError(
                f"{type(self).__name__} needs features and a dim of at least 1, got {feature_dim} "
                f"features, dim {dim}"
            )
        super().__init__()
        self.dim = dim
        self.feature_dim = feature_dim
        settings: dict[str, Any] = dict(shared)
        self.time = TimeFeatures(
            settings.pop("date_harmonics", 0),
            settings.pop("hour_harmonics", 0),
            linear_date=settings.pop("legacy_linear_date", False),
        )
        head = Head(settings.pop("head", self.default_head))
        try:
            self.network = head.network(feature_dim + self.time.dim, dim, **settings)
        except (TypeError, RuntimeError) as error:
            raise ValueError(f"{type(self).__name__} with head {head.value!r}: {error}") from error

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move buffers between devices, but keep their type: scales stay exact in any precision."""
        exact = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            moved = getattr(self, name)
            exactly = moved.to(buffer.dtype) if buffer.is_meta else buffer.to(moved.device)
            setattr(self, name, exactly)
        return self

    @abstractmethod
    def features(self, lonlat: Tensor) -> Tensor:
        """Position features of ``(N, 2)`` float64 degrees: ``(N, feature_dim)``."""

    def forward(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Embed places.

        Args:
            lonlat: ``(N, 2)`` degrees, longitude first, any floating point type.
            time: ``(N, 2)`` date (fraction of the year) and hour, NaN where unknown, if the encoder
                was made with harmonics of them; None for unknown throughout.

        Returns:
            ``(N, dim)`` in the type of the network's weights (or of autocast).

        Raises:
            ValueError: a row is missing, out of range, or a shape is wrong.
        """
        if not torch.compiler.is_compiling():
            self.check(lonlat, time)
        return self._embedded(lonlat, time)

    def _embedded(self, lonlat: Tensor, time: Tensor | None) -> Tensor:
        with torch.autocast(lonlat.device.type, enabled=False):
            features = self.features(lonlat.double())
            if self.time.dim:
                time = torch.full_like(lonlat, torch.nan) if time is None else time
                features = torch.cat([features, self.time(time).to(features.dtype)], dim=1)
        weight = next(self.network.parameters())
        embedding: Tensor = self.network(features.to(weight.dtype))
        return embedding

    def check(self, lonlat: Tensor, time: Tensor | None) -> None:
        """Raise ValueError for input that :meth:`forward` cannot embed."""
        check_lonlat(lonlat)
        if time is None:
            return
        if not self.time.dim:
            raise ValueError(
                f"this {type(self).__name__} takes no time; create it with date_harmonics or "
                "hour_harmonics"
            )
        check_time(time, len(lonlat))

    @property
    def rows_per_pass(self) -> int:
        """How many places to embed at once: what fits a CPU's cache, or fills a GPU."""
        on_cpu = next(self.network.parameters()).device.type == "cpu"
        return 2048 if on_cpu else max(2048, _NUMBERS_PER_PASS // self.feature_dim)

    def embed(self, lonlat: Tensor, time: Tensor | None = None) -> Tensor:
        """Embeddings without gradient or dropout, any number of places in bounded memory.

        Args:
            lonlat: ``(N, 2)`` degrees.
            time: ``(N, 2)`` as in :meth:`forward`.

        Returns:
            ``(N, dim)``.
        """
        self.check(lonlat, time)
        return in_passes(self, self._embedded, lonlat, time, rows=self.rows_per_pass)

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the encoder.

        Raises:
            DataError: the encoder was not made by :func:`geocsp.create`.
        """
        recipe: dict[str, Any] | None = getattr(self, "recipe", None)
        if recipe is None:
            raise DataError(
                f"{type(self).__name__} was not made by geocsp.create('location', name, ...), so a "
                "folder could not rebuild it"
            )
        return {"location": recipe}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an untrained encoder from its settings.

        Raises:
            ValueError: the settings belong to an encoder of another class.
        """
        recipe = config["location"]
        encoder = create("location", recipe["name"], **recipe["settings"])
        if not isinstance(encoder, cls):
            raise ValueError(f"{recipe['name']} is no {cls.__name__}")
        return encoder
