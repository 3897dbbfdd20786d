"""How the paper's rows are trained on Blue Marble tiles, which are two degrees wide.

The paper's objectives with scales and rates retuned for such tiles, in its own order (Mai et al.,
ICML 2023, section A.4): first for Sup.Only (grid), then, all else frozen, for pre-training. Tuned
on :data:`geocsp.evaluate.sources.bluemarble.VALIDATION_FOLD`.
"""

from __future__ import annotations

from dataclasses import replace

from geocsp.presets import PAPER, Component, Preset
from geocsp.train.finetune import FinetuneSettings
from geocsp.train.settings import PretrainSettings

PAPER_ON_TILES = Preset(
    location=replace(
        PAPER.location, settings=PAPER.location.settings | {"frequencies": 16, "min_radius": 5.0}
    ),
    objective=Component("csp-mc"),
    pretrain=PretrainSettings(
        epochs=30, batch_size=512, learning_rate=2e-3, warmup=0.05, cosine=True
    ),
    finetune=FinetuneSettings(steps=150, batch_size=256, learning_rate=2e-3),
    standardise=True,
)
"""CSP-MC-BLD."""
