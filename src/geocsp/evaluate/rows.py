"""The rows of the results table: what is trained, and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geocsp import registry
from geocsp.errors import DataError
from geocsp.presets import BEST, PRESETS, Component, Preset, Sizes, read_preset
from geocsp.train.simclr import SimCLRSettings

IMAGE_ONLY = "image"
IMAGE_ALIGNED = "image-aligned"
SIMCLR = "simclr"
SUPERVISED = "sup-grid"
PAPER_MC = "csp-mc-bld"
OURS = "best"
"""Names of rows that others refer to."""

_ABLATIONS: dict[str, dict[str, float]] = {
    "bld": {},
    "bd": {"random_location": 0.0},
    "bl": {"dropout": 0.0},
    "b": {"random_location": 0.0, "dropout": 0.0},
}
"""Weights of the parts of CSP's objectives: in-Batch, random Location, Dropout views."""
_SUPERVISED = "sup-"
_TOWER_FIELDS = (
    "location",
    "objective",
    "pretrain",
    "sampler",
    "temperature",
    "standardise",
    "image_hidden",
)


@dataclass(frozen=True)
class Row:
    """A row: what says P(y | I) and what says P(y | x).

    Attributes:
        name: short name, for files and the command line.
        label: as it stands in the table.
        preset: how a location prior is trained, and whether the image head sees image features or
            the image embedding that the places have shaped.
        prior: name of a registered prior without weights, in place of a trained one.
        simclr: pre-train on images alone, and train the image head on that embedding.
        image_only: leave the location prior out.
        pretrain_images: pre-train on at most so many images, drawn by the seed; None: on all.
    """

    name: str
    label: str
    preset: Preset | None = None
    prior: str | None = None
    simclr: SimCLRSettings | None = None
    image_only: bool = False
    pretrain_images: int | None = None

    @property
    def has_place(self) -> bool:
        """Whether it has a location prior."""
        return self.prior is not None or (self.preset is not None and not self.image_only)

    @property
    def pretrains(self) -> bool:
        """Whether images without labels are trained on."""
        return self.simclr is not None or (
            self.preset is not None and self.preset.objective is not None
        )

    @property
    def raw_images(self) -> bool:
        """Whether the image head sees image features as they are."""
        aligned = self.preset is not None and self.preset.aligned_image and self.pretrains
        return self.simclr is None and not aligned

    @property
    def learns_from_answers(self) -> bool:
        """Whether its prior learns from what image and place say about images without labels."""
        linear = None if self.preset is None or self.image_only else self.preset.linear
        return self.pretrains and linear is not None and linear.self_training is not None

    @property
    def tower(self) -> str:
        """Key of its pre-training, which rows that differ in other ways share."""
        settings: dict[str, Any] = {}
        if self.simclr is not None:
            settings = {"simclr": asdict(self.simclr)}
        elif self.preset is not None:
            whole = asdict(self.preset)
            settings = {name: whole[name] for name in _TOWER_FIELDS}
        settings["images"] = self.pretrain_images
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def check(self, feature_dim: int) -> None:
        """Build all parts once, to find before long work what cannot be trained here.

        Args:
            feature_dim: size of the image features.

        Raises:
            DataError: a part cannot be built, pre-training looks at labels or photographers, or it
                needs more than the features of all training images.
        """
        if self.preset is None:
            return
        try:
            self.preset.check()
            if self.pretrains:
                _check_unlabelled(self.preset, feature_dim)
        except ValueError as error:
            raise DataError(f"row {self.name}: {error}") from error


def rows_named(
    names: Sequence[str], paper: Preset, feature_dim: int, best: Preset = BEST
) -> tuple[Row, ...]:
    """Rows of a table by name.

    Names are ``image`` (Img.Only), ``image-aligned`` (the image head of ``best`` alone),
    ``simclr``, ``sup-grid`` and ``sup-`` with any other location encoder, ``mse``, ``csp-mc-bld``
    and ``csp-nce-bld`` with their ablations ``-bd``, ``-bl`` and ``-b``, ``best``, the registered
    priors without weights (``frequency``, ``grid-histogram``, ``kde``, ``knn``), a preset's name,
    or a YAML file of one.

    Args:
        names: which ones.
        paper: how the paper's rows are trained; its location encoder and objective are replaced
            where a row has another one.
        feature_dim: size of the image features.
        best: how the row ``best`` is trained.

    Raises:
        DataError: there is no such row, or one is named twice.
    """
    rows = tuple(_row(name, paper, feature_dim, best) for name in names)
    if len({row.name for row in rows}) < len(rows) or not rows:
        raise DataError("name at least one row, and none twice; a YAML file names its row")
    return rows


def _row(name: str, paper: Preset, feature_dim: int, best: Preset) -> Row:
    alone = replace(paper, objective=None, sampler=None)
    kind, _, ablation = name.rpartition("-")
    if name == IMAGE_ONLY:
        return Row(name, "Img.Only", image_only=True)
    if name == IMAGE_ALIGNED:
        return Row(name, "Img (ours)", best, image_only=True)
    if name == SIMCLR:
        return Row(name, "Img (SimCLR)", simclr=SimCLRSettings(), image_only=True)
    if name == OURS:
        return Row(name, "best (ours)", best)
    if name == SUPERVISED:
        return Row(name, "Sup.Only (grid)", alone)
    if name.startswith(_SUPERVISED) and name.removeprefix(_SUPERVISED) in registry.available(
        "location"
    ):
        encoder = name.removeprefix(_SUPERVISED)
        dim = {"dim": paper.location.settings.get("dim", 256)}
        return Row(name, f"Sup.Only ({encoder})", replace(alone, location=Component(encoder, dim)))
    if name == "mse":
        sizes = {"dim": paper.location.settings.get("dim", 256), "feature_dim": feature_dim}
        return Row(name, "MSE", replace(paper, objective=Component("mse", sizes)))
    if kind in ("csp-mc", "csp-nce") and ablation in _ABLATIONS:
        return Row(name, name.upper(), replace(paper, objective=_csp(kind, ablation, paper)))
    if name in registry.available("prior"):
        return Row(name, f"Prior ({name})", prior=name)
    return _own_row(name)


def _csp(objective: str, ablation: str, paper: Preset) -> Component:
    """Another objective of CSP with the paper's settings, as far as it takes them."""
    given = {} if paper.objective is None else paper.objective.settings
    taken = registry.settings_of("objective", objective)
    settings = {name: value for name, value in given.items() if name in taken}
    return Component(objective, settings | _ABLATIONS[ablation])


def _check_unlabelled(preset: Preset, feature_dim: int) -> None:
    """Raise a DataError unless features and places are all that pre-training needs."""
    sizes = Sizes(preset.build_location(0).dim, feature_dim, classes=2)
    objective = preset.build_objective(0, sizes)
    if objective.uses_labels or objective.uses_groups or preset.per_class is not None:
        raise DataError(
            "it pre-trains with labels or photographers of all images, which it must not see here"
        )
    if preset.hold_out.share or preset.image.from_pixels:
        raise DataError(
            "it holds images out or trains the image encoder; here, features of all training "
            "images are trained on, so leave hold_out and the training of the image encoder out"
        )
    preset.build_sampler(np.zeros((2, 2)), None, 0)  # refuses to do without labels if it needs them


def _own_row(name: str) -> Row:
    if name in PRESETS:
        return Row(name, name, PRESETS[name])
    if Path(name).suffix in (".yaml", ".yml"):
        return Row(Path(name).stem, Path(name).stem, read_preset(Path(name)))
    raise DataError(
        f"no row {name!r}; rows are image, image-aligned, simclr, mse, best, csp-mc-bld, "
        f"csp-nce-bld (and -bd, -bl, -b), sup-ENCODER, {', '.join(registry.available('prior'))}, "
        "a preset's name or a YAML file of one"
    )
