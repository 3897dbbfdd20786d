"""The demo's pictures: label-efficiency curves, maps, and tiles that location put right."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geocsp.data.named.bluemarble import land_mask, truth_grid
from geocsp.data.named.labels import grid
from geocsp.demo.methods import IMAGE_ALIGNED, IMAGE_LABELS, IMAGE_ONLY
from geocsp.demo.settings import VALIDATION_FOLD
from geocsp.demo.summary import Record
from geocsp.demo.work import INDUCTIVE, PARTS, SUPERVISED_ONLY, Workspace, task_rows, tower_of
from geocsp.files import write_atomically
from geocsp.maps.world import draw_grid, principal_colours, world_axes
from geocsp.model import GeoModel, GeoPrior
from geocsp.predict import Calibration, fit_calibration, fused_logits

COLOURS = {
    IMAGE_ONLY: "#6b7280",
    IMAGE_ALIGNED: "#f472b6",
    "sup-wrap": "#d97706",
    "sup-grid": "#b45309",
    "mse": "#7c3aed",
    "csp-nce": "#0891b2",
    "csp-mc": "#2563eb",
    "best": "#dc2626",
}
"""Colour of each row."""
MAP_STEP = 0.5
"""Degrees between map pixels."""
SHOWN_CLASSES = 4
SHOWN_TILES = 8


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": "geocsp"})
    return write_atomically(path, buffer.getvalue())


def label_efficiency(table: list[Record], labels: dict[str, str], task: str) -> Figure:
    """Accuracy against the number of labels, one panel per measure, bands of 95 % intervals."""
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    axes = figure.subplots(2, 2)
    ours = [row for row in table if row["task"] == task]
    columns = (
        ("a share of the labels", [row for row in ours if row["shot"].endswith("%")]),
        ("some labels per class", [row for row in ours if not row["shot"].endswith("%")]),
    )
    lines = (("location", "location alone"), ("fused", "image × location, calibrated"))
    for column, (amount, rows) in enumerate(columns):
        for line, (measure, title) in enumerate(lines):
            _curves(axes[line, column], rows, labels, measure)
            axes[line, column].set_title(f"{title}: {amount}", fontsize=11)
    figure.suptitle(f"Top-1 accuracy on unseen 5 degree blocks: {task}", fontsize=14)
    axes[1, 0].legend(fontsize=9, frameon=False)
    return figure


def _curves(axes: Axes, rows: list[Record], labels: dict[str, str], measure: str) -> None:
    for name, label in labels.items():
        regime = (INDUCTIVE, SUPERVISED_ONLY)
        mine = [row for row in rows if row["method"] == name and row["regime"] in regime]
        key = "image" if name in IMAGE_LABELS else measure
        mine.sort(key=lambda row: row["labels"])
        if not mine or (key == "image" and measure == "location"):
            continue
        x = [row["labels"] for row in mine]
        mean = np.array([row[key]["mean"] for row in mine]) * 100
        half = np.array([row[key]["half_width"] or 0.0 for row in mine]) * 100
        line = "o--" if key == "image" else "o-"
        axes.plot(x, mean, line, color=COLOURS[name], label=label, markersize=4, linewidth=1.6)
        axes.fill_between(x, mean - half, mean + half, color=COLOURS[name], alpha=0.12)
    shots = {row["labels"]: row["shot"] for row in rows}
    axes.set_xscale("log")
    axes.set_xticks(list(shots), [f"{shot}\n{n:.0f}" for n, shot in shots.items()], fontsize=8)
    axes.minorticks_off()
    axes.set_ylabel("Top-1, %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def embedding_map(workspace: Workspace) -> Figure:
    """The location embedding of all land, its first three principal components as RGB."""
    tower = GeoModel.from_pretrained(workspace.tower(tower_of(workspace.showcase())))
    land = land_mask(MAP_STEP)
    places = torch.from_numpy(grid(MAP_STEP)[land]).float()
    colours = np.full((*land.shape, 3), np.nan)
    colours[land] = principal_colours(tower.embed(places).numpy())
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = world_axes(figure)
    draw_grid(axes, colours)
    axes.set_title("What the location encoder learned from images without labels")
    return figure


def class_maps(workspace: Workspace, task: str) -> Figure:
    """Share of a few classes in P(class | place), beside where the classes are."""
    names = workspace.data().tasks[task].class_names
    prior = GeoPrior.from_pretrained(workspace.showcase_prior(task))
    land = land_mask(MAP_STEP)
    places = torch.from_numpy(grid(MAP_STEP)[land]).float()
    scores = prior.class_scores(places)
    share = fused_logits(
        torch.zeros_like(scores), scores, Showcase(workspace, task).calibration
    ).softmax(dim=1)
    truth = truth_grid(task, MAP_STEP)
    labels = workspace.data().tasks[task].labels
    common = np.bincount(labels[labels >= 0]).argsort()[::-1][:SHOWN_CLASSES]
    figure = Figure(figsize=(12, 2.9 * SHOWN_CLASSES), layout="constrained")
    for line, number in enumerate(common):
        values = np.full(land.shape, np.nan)
        values[land] = share[:, number].numpy()
        left = world_axes(figure, SHOWN_CLASSES, 2, 2 * line + 1)
        shown = draw_grid(left, values, cmap="YlGnBu", vmin=0, vmax=1)
        left.set_title(f"P({names[number]} | place)", fontsize=10)
        figure.colorbar(shown, ax=left, shrink=0.6, pad=0.02)
        right = world_axes(figure, SHOWN_CLASSES, 2, 2 * line + 2)
        here = np.where(land, 0.12, np.nan)
        here[(truth == number) & land] = 1.0
        draw_grid(right, here, cmap="YlGnBu", vmin=0, vmax=1)
        right.set_title("where it is", fontsize=10)
    return figure


class Showcase:
    """The answers of one run on its test tiles, for pictures.

    Attributes:
        rows: ``(T,)`` test tiles.
        labels: ``(T,)`` their classes.
        image: ``(T, Q)`` P(y | I).
        fused: ``(T, Q)`` P(y | I, x).
        calibration: fitted on the validation fold.
    """

    def __init__(self, workspace: Workspace, task: str) -> None:
        unit, data = workspace.showcase(), workspace.data()
        assert unit.fold is not None
        rows = task_rows(data, task, data.split(unit.fold, VALIDATION_FOLD))
        prior = GeoPrior.from_pretrained(workspace.showcase_prior(task))
        stored = np.load(workspace.showcase_image(task), allow_pickle=False)
        image = {part: torch.from_numpy(stored[part]) for part in PARTS}
        places = torch.from_numpy(data.lonlat).float()
        validation = prior.class_scores(places[rows.validation])
        test = prior.class_scores(places[rows.test])
        self.calibration: Calibration = fit_calibration(
            image["validation"], validation, rows.labels[rows.validation]
        )
        self.rows = rows.test
        self.labels = rows.labels[rows.test]
        self.image = image["test"].exp()
        self.fused = fused_logits(image["test"], test, self.calibration).softmax(dim=1)

    def changed(self) -> tuple[int, int]:
        """How many test tiles the place put right, and how many it put wrong."""
        right_before = self.image.argmax(dim=1) == self.labels
        right_after = self.fused.argmax(dim=1) == self.labels
        return int((~right_before & right_after).sum()), int((right_before & ~right_after).sum())


def fixed_tiles(workspace: Workspace, task: str) -> Figure:
    """Test tiles that the image alone got wrong and image x location right.

    At most one tile per class, those whose true class gained the most probability.
    """
    data, run = workspace.data(), Showcase(workspace, task)
    names = data.tasks[task].class_names
    own = torch.arange(len(run.labels))
    gain = run.fused[own, run.labels] - run.image[own, run.labels]
    fixed = (run.image.argmax(1) != run.labels) & (run.fused.argmax(1) == run.labels)
    order = torch.where(fixed, gain, gain.new_tensor(-1.0)).argsort(descending=True)
    chosen: dict[int, int] = {}
    for index in order[: int(fixed.sum())].tolist():
        chosen.setdefault(int(run.labels[index]), index)
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    panels = figure.subplots(2, SHOWN_TILES // 2).flat
    for axes in panels:
        axes.set_axis_off()
    for axes, index in zip(figure.axes, list(chosen.values())[:SHOWN_TILES], strict=False):
        axes.imshow(data.images(run.rows[index : index + 1].numpy())[0], interpolation="nearest")
        axes.set_title(_caption(data.lonlat[int(run.rows[index])], run, index, names), fontsize=8)
    right, wrong = run.changed()
    figure.suptitle(
        f"{task}: the place put {right} of {len(run.labels)} test tiles right and {wrong} wrong",
        fontsize=13,
    )
    return figure


def _caption(place: NDArray[np.float64], run: Showcase, index: int, names: tuple[str, ...]) -> str:
    lon, lat = place
    label = int(run.labels[index])
    said = int(run.image[index].argmax())
    return (
        f"{abs(lat):.1f}°{'N' if lat >= 0 else 'S'} {abs(lon):.1f}°{'E' if lon >= 0 else 'W'}\n"
        f"image: {names[said]} ({float(run.image[index, said]):.0%})\n"
        f"with the place, right:\n{names[label]} ({float(run.fused[index, label]):.0%})"
    )


def write_figures(
    table: list[Record], labels: dict[str, str], workspace: Workspace, output: Path
) -> dict[str, str]:
    """Draw everything as PNGs in ``output``; returns file names by title."""
    figures = {}
    for task in workspace.settings.tasks:
        figures[f"label-efficiency-{task}"] = label_efficiency(table, labels, task)
    figures["embedding"] = embedding_map(workspace)
    for task in workspace.settings.tasks:
        figures[f"classes-{task}"] = class_maps(workspace, task)
        figures[f"fixed-{task}"] = fixed_tiles(workspace, task)
    return {name: save(figure, output / f"{name}.png").name for name, figure in figures.items()}
