"""Two hundred places with features, classes and people, and a preset for them."""

import numpy as np
import torch

from geocsp.coords import sample_sphere, unit_vectors
from geocsp.data.table import Categories
from geocsp.presets import Component, Preset
from geocsp.train.examples import Examples
from geocsp.train.settings import PretrainSettings

PLACES = sample_sphere(200, torch.Generator().manual_seed(0))
FEATURES = unit_vectors(PLACES) @ torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
CLASSES = Categories(np.arange(200) % 5 - 1, ("a", "b", "c", "d"))
PEOPLE = Categories(np.arange(200) % 3, ("x", "y", "z"))
EXAMPLES = Examples(FEATURES, PLACES, label=CLASSES, group=PEOPLE, key="toy")
PRESET = Preset(
    Component("wrap", {"dim": 16}),
    Component("clip"),
    PretrainSettings(epochs=3, batch_size=40, learning_rate=5e-3),
)
"""Five steps an epoch."""
