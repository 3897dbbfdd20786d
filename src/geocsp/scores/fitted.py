"""Fusions fitted on labelled rows of scores, and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geocsp.data.quarantine import Problem
from geocsp.errors import DataError
from geocsp.files import write_atomically
from geocsp.fusion import (
    Calibration,
    GuardedFusion,
    Mixture,
    Support,
    fit_calibration,
    fit_guarded_fusion,
)
from geocsp.linear_prior import LinearPrior
from geocsp.model import GeoPrior
from geocsp.models import fingerprint_of
from geocsp.scores.blocks import ScoreBlock, Scores

_CELLS = 2**24
_SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class FittedFusion:
    """A fusion and what it belongs to.

    Attributes:
        fusion: joins image and place.
        prior: fingerprint of the location prior that it was fitted with.
        support: ``(M, 2)`` places that the prior was trained on, degrees; none for a calibration.
        rows: how many labelled rows it was fitted on.
    """

    fusion: Calibration | Mixture | GuardedFusion
    prior: str
    support: Tensor
    rows: int

    def save(self, path: Path) -> Path:
        """Write it as JSON, places to six decimals.

        Raises:
            DataError: the file cannot be written.
        """
        joins = self.fusion
        values = {
            "format": 1,
            "fusion": joins.to_dict() if isinstance(joins, GuardedFusion) else asdict(joins),
            "prior": self.prior,
            "rows": self.rows,
            "support": [[round(lon, 6), round(lat, 6)] for lon, lat in self.support.tolist()],
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return write_atomically(path, json.dumps(values).encode())
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> FittedFusion:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: it is missing, or no such file.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            support = torch.tensor(values["support"], dtype=torch.float64).reshape(-1, 2)
            fusion = _fusion_of(values["fusion"], support)
            return cls(fusion, str(values["prior"]), support, int(values["rows"]))
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist") from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no fusion that was fitted here: {error}") from error

    def check(self, prior: GeoPrior | LinearPrior, path: Path) -> None:
        """Raise a DataError if it was fitted with another prior."""
        if fingerprint_of(prior) != self.prior:
            raise DataError(f"{path} was fitted with another location prior; fit it again")


def _fusion_of(values: dict[str, Any], support: Tensor) -> Calibration | Mixture | GuardedFusion:
    if "guard" in values:
        return GuardedFusion.from_dict(values, Support(support))
    return Mixture(**values) if "place_weight" in values else Calibration(**values)


def fit_on(
    scores: Scores,
    prior: GeoPrior | LinearPrior,
    *,
    support: Tensor | None = None,
    seed: int = 0,
    report: Callable[[Iterable[Problem]], None],
    on_rows: Callable[[int], None] | None = None,
) -> FittedFusion:
    """Fit what joins image and place on the labelled rows of a source of scores.

    Take rows that neither the classifier nor the prior was trained on. Of more rows than fit into
    128 MiB, as many are drawn at random.

    Args:
        scores: with labels.
        prior: the location prior.
        support: ``(M, 2)`` places that the prior was trained on, degrees; with them the fusion is
            guarded (:func:`geocsp.fusion.fit_guarded_fusion`), else calibrated
            (:func:`geocsp.fusion.fit_calibration`).
        seed: of the draw.
        report: told of rows that cannot be used.
        on_rows: told how many rows have been read.

    Raises:
        DataError: no row has a label and a place.
    """
    drawn = _Drawn(_CELLS // len(prior.class_names), seed)
    seen = 0
    for block in scores.blocks(report):
        drawn.add(block)
        seen += block.seen
        if on_rows is not None:
            on_rows(seen)
    image, lonlat, labels, time = drawn.rows()
    log_image = image.clamp_min(_SMALLEST).log()
    place = prior.class_scores(lonlat, time)
    fusion: Calibration | GuardedFusion
    if support is None or not len(support):
        support = torch.empty(0, 2, dtype=torch.float64)
        fusion = fit_calibration(log_image, place, labels)
    else:
        fusion = fit_guarded_fusion(log_image, place, labels, lonlat, Support(support))
    return FittedFusion(fusion, fingerprint_of(prior), support, len(labels))


class _Drawn:
    """At most so many rows with a label and a place, each with the same chance."""

    def __init__(self, most: int, seed: int) -> None:
        self._most = max(most, 1)
        self._generator = torch.Generator().manual_seed(seed)
        self._parts: list[list[Tensor]] = []
        self._timed = False

    def add(self, block: ScoreBlock) -> None:
        """Look at the rows of a block."""
        if block.labels is None:
            return
        time = torch.full_like(block.lonlat, torch.nan) if block.time is None else block.time
        self._timed |= block.time is not None
        chosen = (block.labels >= 0) & block.placed
        keys = torch.rand(int(chosen.sum()), generator=self._generator, dtype=torch.float64)
        columns = (block.image, block.lonlat, block.labels, time)
        self._parts.append([keys, *(column[chosen] for column in columns)])
        if sum(len(part[0]) for part in self._parts) > 2 * self._most:
            self._parts = [self._fewer()]

    def _fewer(self) -> list[Tensor]:
        keys, *columns = (torch.cat(parts) for parts in zip(*self._parts, strict=True))
        kept = keys.argsort()[: self._most].sort().values
        return [keys[kept], *(column[kept] for column in columns)]

    def rows(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Probabilities, places, labels, and times if any are known.

        Raises:
            DataError: there are none.
        """
        columns = self._fewer()[1:] if self._parts else []
        if not columns or not len(columns[0]):
            raise DataError(
                "no row has a label and a place; a fusion is fitted on rows with both (a column "
                "named label or species, or say which: --label-column)"
            )
        image, lonlat, labels, time = columns
        return image, lonlat, labels, time if self._timed else None
