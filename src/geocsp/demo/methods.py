"""The rows of the demo's table."""

from __future__ import annotations

from dataclasses import replace

from geocsp.demo.settings import ROWS, DemoSettings
from geocsp.evaluate.bluemarble_rows import PAPER_ON_TILES
from geocsp.evaluate.rows import Row, rows_named
from geocsp.images import EfficientNetLite0
from geocsp.presets import BEST, Preset


def demo_rows(settings: DemoSettings) -> tuple[Row, ...]:
    """All rows, pre-trained for as many epochs as the settings say."""
    paper, best = (_for_epochs(preset, settings.epochs) for preset in (PAPER_ON_TILES, BEST))
    return rows_named(ROWS, paper, EfficientNetLite0.dim, best)


def _for_epochs(preset: Preset, epochs: int) -> Preset:
    return replace(preset, pretrain=replace(preset.pretrain, epochs=epochs))
