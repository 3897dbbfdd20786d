"""A small model, its data and what tests ask of a run."""

import torch

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import sample_sphere, unit_vectors
from geocsp.objectives import CspMc

PLACES = sample_sphere(300, torch.Generator().manual_seed(0))
FEATURES = unit_vectors(PLACES) @ torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
SETTINGS = PretrainSettings(epochs=4, batch_size=64, learning_rate=5e-3)
"""Four steps an epoch."""


def model(dropout=0.5, **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        location = geocsp.create(
            "location",
            "space2vec-grid",
            dim=8,
            frequencies=4,
            min_radius=20.0,
            hidden=32,
            dropout=dropout,
        )
        return GeoModel(location, feature_dim=6, **more)


def weights(trained):
    return torch.cat([p.detach().flatten() for p in trained.parameters()])


def run(trained, objective=None, settings=SETTINGS, features=FEATURES, places=PLACES, **more):
    objective = CspMc() if objective is None else objective
    return pretrain(trained, objective, features, places, settings, **{"seed": 0} | more)
