"""A made-up data set and rows so small that a whole evaluation takes seconds."""

from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from geocsp.data.table import Categories
from geocsp.evaluate.benchmark import Benchmark, Fold, Source
from geocsp.evaluate.fewshot import Shot
from geocsp.evaluate.rows import SIMCLR, rows_named
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.units import Workspace
from geocsp.presets import BEST, Component, Preset
from geocsp.train.finetune import FinetuneSettings
from geocsp.train.settings import PretrainSettings
from geocsp.train.simclr import SimCLRSettings

FEATURES = 12
GRID = Component("space2vec-grid", {"dim": 16, "frequencies": 6, "min_radius": 5.0, "hidden": 32})
SHORT = PretrainSettings(epochs=3, batch_size=64, learning_rate=2e-3)
PAPER = Preset(
    location=GRID,
    objective=Component("csp-mc"),
    pretrain=SHORT,
    finetune=FinetuneSettings(steps=25, batch_size=64, learning_rate=5e-3),
    standardise=True,
)
OURS = replace(BEST, location=GRID, pretrain=SHORT)
SHOTS = (Shot(per_class=3), Shot(ratio=0.2))
NAMES = ("image", "frequency", "sup-grid", "csp-mc-bld", "best")


@dataclass(frozen=True)
class ToySource(Source):
    """Classes and images that go by the place; folds are strips of longitude."""

    points: int = 400
    unplaced: int = 12
    views: int = 0
    tasks: tuple[str, ...] = ("land", "tone")

    def load(self):
        return _toy(self)


@dataclass(frozen=True, eq=False)
class Given(Source):
    """A benchmark as it is, for work in this process."""

    benchmark: Benchmark

    def load(self):
        return self.benchmark


@cache
def _toy(source):
    generator = np.random.default_rng(0)
    count = source.points
    lonlat = generator.uniform((-180.0, -60.0), (180.0, 70.0), (count, 2))
    land = (np.floor((lonlat[:, 0] + 180) / 40) + (lonlat[:, 1] > 0)).astype(np.int64) % 3
    light = ((lonlat[:, 1] > 10) & (generator.random(count) < 0.7)).astype(np.int64)
    strip = np.floor((lonlat[:, 0] + 180) / 22.5).astype(np.int64) % 4
    angle = np.deg2rad(lonlat)
    told = np.concatenate([np.eye(3)[land], np.sin(angle), np.cos(angle)], axis=1)
    mix = generator.normal(size=(told.shape[1], FEATURES))
    noise = generator.normal(size=(source.views + 1, count, FEATURES))
    features = torch.from_numpy(told @ mix + 1.5 * noise).float()
    lonlat[generator.choice(count, source.unplaced, replace=False)] = np.nan
    land[::23] = -1
    folds = {
        str(test): Fold(
            train=np.flatnonzero((strip != test) & (strip != 0)),
            validation=np.flatnonzero(strip == 0),
            test=np.flatnonzero(strip == test),
        )
        for test in (1, 2)
    }
    tasks = {
        "land": Categories(land, ("bog", "dune", "fell")),
        "tone": Categories(light, ("dark", "light")),
    }
    return Benchmark(
        "toy",
        f"toy {source}",
        features[0],
        lonlat,
        {name: tasks[name] for name in source.tasks},
        folds,
        features[1:] if source.views else None,
    )


def small_rows(*names):
    """Rows of a table, pre-trained for a moment."""
    rows = rows_named(names, PAPER, FEATURES, OURS)
    short = SimCLRSettings(epochs=2, batch_size=64, dim=8)
    return tuple(replace(r, simclr=short) if r.name == SIMCLR else r for r in rows)


def small_settings(names=NAMES, **changes):
    """Two amounts of labels, one seed."""
    return EvaluateSettings(**({"rows": names, "shots": SHOTS, "seeds": 1, "draws": 200} | changes))


def workspace(folder, names=NAMES, source=ToySource(), **changes):
    """Where units of work can be called one by one."""
    return Workspace(small_settings(names, **changes), source, small_rows(*names), folder)


class _Here:
    """Does work at once, in this process."""

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def in_this_process(workers):
    """In place of worker processes."""
    yield _Here()
