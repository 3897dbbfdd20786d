"""The rows of the results table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from geocsp.demo.settings import DemoSettings
from geocsp.presets import BEST, PAPER, Component, Preset
from geocsp.train.finetune import FinetuneSettings
from geocsp.train.settings import PretrainSettings

IMAGE_ONLY = "image"
IMAGE_ALIGNED = "image-aligned"
SUPERVISED = "sup-grid"
PAPER_MC = "csp-mc"
OURS = "best"
"""Names of the rows that comparisons refer to."""

GRID = {"frequencies": 16, "min_radius": 5.0}
"""Scales of the grid encoder for tiles 2 degrees wide; the rest is the paper's."""
WRAP = Component("wrap", {"dim": 256})
PRETRAIN = PretrainSettings(batch_size=512, learning_rate=2e-3, warmup=0.05, cosine=True)
FINETUNE = FinetuneSettings(steps=150, batch_size=256, learning_rate=2e-3)


IMAGE_LABELS = {IMAGE_ONLY: "Img.Only", IMAGE_ALIGNED: "Img (ours)"}
"""Labels of the rows that look at the image alone; the second has the image head of the last row,
on image features that pre-training has aligned with places."""


@dataclass(frozen=True)
class Method:
    """A row: a name for files, a label for people, and how to train.

    Attributes:
        name: short name.
        label: as it stands in the table.
        preset: how to train.
    """

    name: str
    label: str
    preset: Preset


def methods(settings: DemoSettings, feature_dim: int) -> tuple[Method, ...]:
    """All rows but the image alone.

    The paper's objectives with scales and rates retuned for tiles 2 degrees wide, in its own order
    (section A.4): first on Sup.Only (grid), then, all else frozen, pre-training. The tuning fold
    is :data:`geocsp.demo.settings.VALIDATION_FOLD`.
    """
    grid = replace(PAPER.location, settings=PAPER.location.settings | GRID)
    base = Preset(
        location=grid,
        objective=None,
        pretrain=replace(PRETRAIN, epochs=settings.epochs),
        finetune=FINETUNE,
        standardise=True,
    )
    regression = Component("mse", {"dim": grid.settings["dim"], "feature_dim": feature_dim})
    best = replace(BEST, pretrain=replace(BEST.pretrain, epochs=settings.epochs))
    return (
        Method("sup-wrap", "Sup.Only (wrap)", replace(base, location=WRAP)),
        Method(SUPERVISED, "Sup.Only (grid)", base),
        Method("mse", "MSE", replace(base, objective=regression)),
        Method("csp-nce", "CSP-NCE-BLD", replace(base, objective=Component("csp-nce"))),
        Method(PAPER_MC, "CSP-MC-BLD", replace(base, objective=Component("csp-mc"))),
        Method(OURS, "best (ours)", best),
    )
