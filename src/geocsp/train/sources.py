"""Examples of anything that :func:`geocsp.read` reads, of features, and of published features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from geocsp.data.named.no_images import NoImages
from geocsp.data.quarantine import Problem
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.extract import ExtractProgress
from geocsp.images.features import compute_features, open_features
from geocsp.images.names import parse_encoder
from geocsp.presets import ImageTower, Preset, Sizes
from geocsp.process import Process
from geocsp.train.examples import (
    Examples,
    Pixels,
    is_features,
    published_examples,
    rows_to_train_on,
)
from geocsp.train.folder import in_first
from geocsp.train.pixels import usable_images


@dataclass(frozen=True)
class Extraction:
    """How features of a source of images are computed.

    Attributes:
        folder: where to keep them.
        allow_download: download published weights that are not on this computer.
        workers: threads; by default CPU cores.
        on_progress: called after every batch.
        anew: compute them also where published ones are there.
    """

    folder: Path
    allow_download: bool = False
    workers: int | None = None
    on_progress: Callable[[ExtractProgress], None] | None = None
    anew: bool = False


def read_examples(
    source: str,
    read_table: Callable[[], GeoTable],
    preset: Preset,
    extraction: Extraction,
    device: torch.device,
) -> Examples:
    """What a source has to train on.

    A folder that ``geocsp features`` wrote is opened. Otherwise every process reads the source;
    where images are needed, they are kept as pixels if the preset changes them or trains their
    encoder, and their features are otherwise those that CSP published beside iNaturalist and fMoW,
    or the first process computes them.

    Args:
        source: the source.
        read_table: reads it.
        preset: how to train: which image encoder, and whether images are needed at all.
        extraction: how features are computed.
        device: where the image encoder runs.

    Raises:
        DataError: the source or its features cannot be read, or nothing in them can be used.
        MissingExtraError: a library that is needed is not installed.
        OSError: the disk or the network failed.
    """
    wanted = needs_images(preset)
    if is_features(source):
        if preset.image.from_pixels:
            raise DataError(f"{source} holds features; to train from pixels, name the images")
        examples = Examples.of_features(open_features(Path(source).expanduser()))
        return examples if wanted else replace(examples, images=None)
    table = read_table()
    if wanted and not (extraction.anew or preset.image.from_pixels):
        published = published_examples(source, table)
        if published is not None:
            return published
    rows, notes = rows_to_train_on(table)
    table = table.take(rows)
    if not wanted or isinstance(table.images, NoImages):
        examples = Examples.of(table)
    elif preset.image.from_pixels:
        examples = _with_pixels(table, preset.image, extraction)
    else:
        examples = _with_features(table, preset.image, extraction, device)
    return replace(examples, notes=(*examples.notes, *notes))


def _with_features(
    table: GeoTable, tower: ImageTower, extraction: Extraction, device: torch.device
) -> Examples:
    """The rows whose image can be used, with features that the first process computes."""

    def compute() -> tuple[Problem, ...]:
        return compute_features(
            _encoder(tower, extraction).to(device),
            table,
            extraction.folder,
            workers=extraction.workers,
            on_progress=extraction.on_progress,
        ).table.problems

    problems = in_first(Process.current(), compute)
    examples = Examples.of_features(open_features(extraction.folder))
    return replace(examples, notes=(*table.notes, *examples.notes), problems=problems)


def _with_pixels(table: GeoTable, tower: ImageTower, extraction: Extraction) -> Examples:
    """The rows whose image can be used, which the first process finds out, as pixels."""
    encoder, tell = _encoder(tower, extraction), extraction.on_progress

    def look() -> tuple[Problem, ...]:
        return usable_images(
            table,
            encoder.framing,
            workers=extraction.workers,
            on_progress=tell and (lambda done, total: tell(ExtractProgress(done, total))),
        ).problems

    problems = in_first(Process.current(), look)
    bad = {problem.file for problem in problems[len(table.problems) :]}
    names = table.images.names.to_pylist()
    usable = table.take(np.array([str(name) not in bad for name in names]))
    images = Pixels(usable.images, encoder, tower.augmentation, extraction.workers)
    key = f"{encoder.fingerprint()} {usable.images_fingerprint}"
    return replace(Examples.of(usable, images, key), problems=problems)


def needs_images(preset: Preset) -> bool:
    """Whether the objective of a preset looks at images."""
    objective = preset.build_objective(preset.seed, Sizes(preset.build_location(0).dim, classes=2))
    return objective.uses_images or objective.uses_features


def _encoder(tower: ImageTower, extraction: Extraction) -> ImageEncoder:
    return parse_encoder(
        tower.encoder,
        weights=tower.weights,
        allow_download=extraction.allow_download,
        channels=tower.channels,
        pixels=tower.pixels,
    )
