"""Named ways of training: what papers state, what their releases do, and ours.

Each is a YAML file in this folder that says where its numbers come from.
"""

from geocsp.presets.changes import changed, value_at
from geocsp.presets.files import BEST, PAPER, PRESETS, RELEASE, read_preset
from geocsp.presets.parts import Component, HoldOut, ImageTower, Sizes
from geocsp.presets.preset import Preset
from geocsp.presets.ranges import Range

__all__ = [
    "BEST",
    "PAPER",
    "PRESETS",
    "RELEASE",
    "Component",
    "HoldOut",
    "ImageTower",
    "Preset",
    "Range",
    "Sizes",
    "changed",
    "read_preset",
    "value_at",
]
