"""The demo's pictures: label-efficiency curves, maps, and tiles that location put right."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geocsp.data.named.bluemarble import BlueMarble, land_mask, truth_grid
from geocsp.data.named.labels import grid
from geocsp.evaluate.answers import Answers
from geocsp.evaluate.results import Measure, Regime, Results, Run
from geocsp.evaluate.rows import IMAGE_ALIGNED, IMAGE_ONLY, OURS, PAPER_MC, SUPERVISED
from geocsp.files import write_atomically
from geocsp.linear_prior import LinearPrior
from geocsp.maps.world import draw_grid, principal_colours, world_axes
from geocsp.predict import Calibration, fused_logits

Cell = dict[str, Any]
COLOURS = {
    IMAGE_ONLY: "#6b7280",
    IMAGE_ALIGNED: "#f472b6",
    "sup-wrap": "#d97706",
    SUPERVISED: "#b45309",
    "mse": "#7c3aed",
    "csp-nce-bld": "#0891b2",
    PAPER_MC: "#2563eb",
    OURS: "#dc2626",
}
"""Colour of each row."""
MAP_STEP = 0.5
"""Degrees between map pixels."""
SHOWN_SHOT = "10 %"
"""Amount of labels of the tiles that are shown, where it is in the table."""
SHOWN_CLASSES = 4
SHOWN_TILES = 8


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": "geocsp"})
    return write_atomically(path, buffer.getvalue())


def label_efficiency(results: Results, task: str) -> Figure:
    """Accuracy against the number of labels, one panel per measure, bands of 95 % intervals."""
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    axes = figure.subplots(2, 2)
    ours = [cell for cell in results.facts["table"] if cell["task"] == task]
    columns = (
        ("a share of the labels", [cell for cell in ours if cell["shot"].endswith("%")]),
        ("some labels per class", [cell for cell in ours if not cell["shot"].endswith("%")]),
    )
    lines = (
        (Measure.LOCATION, "location alone"),
        (Measure.FUSED, "image × location, calibrated"),
    )
    labels = {name: row["label"] for name, row in results.facts["rows"].items()}
    for column, (amount, cells) in enumerate(columns):
        for line, (measure, title) in enumerate(lines):
            _curves(axes[line, column], cells, labels, measure)
            axes[line, column].set_title(f"{title}: {amount}", fontsize=11)
    figure.suptitle(f"Top-1 accuracy on unseen 5 degree blocks: {task}", fontsize=14)
    axes[1, 0].legend(fontsize=9, frameon=False)
    return figure


def _curves(axes: Axes, cells: list[Cell], labels: dict[str, str], measure: Measure) -> None:
    for name, label in labels.items():
        mine = [c for c in cells if c["row"] == name and c["regime"] != Regime.TRANSDUCTIVE]
        mine.sort(key=lambda cell: float(cell["labels"]))
        alone = bool(mine) and measure not in mine[0]
        if not mine or (alone and measure is Measure.LOCATION):
            continue
        found = [cell[Measure.IMAGE if alone else measure]["top1"] for cell in mine]
        x = [cell["labels"] for cell in mine]
        line = "o--" if alone else "o-"
        mean, low, high = (
            np.array([f[key] for f in found]) * 100 for key in ("mean", "low", "high")
        )
        axes.plot(x, mean, line, color=COLOURS[name], label=label, markersize=4, linewidth=1.6)
        axes.fill_between(x, low, high, color=COLOURS[name], alpha=0.12)
    shots = {cell["labels"]: cell["shot"] for cell in cells}
    axes.set_xscale("log")
    axes.set_xticks(list(shots), [f"{shot}\n{n:.0f}" for n, shot in shots.items()], fontsize=8)
    axes.minorticks_off()
    axes.set_ylabel("Top-1, %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def shown_run(results: Results, task: str, shot: str) -> Run:
    """Our row on the first fold with the first seed, pre-trained on training tiles alone."""
    return next(
        run
        for run in results.runs
        if (run.task, run.row, run.shot) == (task, OURS, shot) and run.regime is Regime.INDUCTIVE
    )


def shown_prior(results: Results, task: str) -> LinearPrior:
    """Our prior of that run with the most labels."""
    run = shown_run(results, task, results.facts["data"]["shots"][-1])
    return LinearPrior.from_pretrained(results.prior_folder(run))


def embedding_map(prior: LinearPrior) -> Figure:
    """The location embedding of all land, its first three principal components as RGB."""
    land = land_mask(MAP_STEP)
    places = torch.from_numpy(grid(MAP_STEP)[land]).float()
    colours = np.full((*land.shape, 3), np.nan)
    colours[land] = principal_colours(prior.embed(places).numpy())
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = world_axes(figure)
    draw_grid(axes, colours)
    axes.set_title("What the location encoder learned from images without labels")
    return figure


def class_maps(results: Results, data: BlueMarble, task: str) -> Figure:
    """Share of a few classes in P(class | place), beside where the classes are."""
    names, prior = data.tasks[task].class_names, shown_prior(results, task)
    run = shown_run(results, task, results.facts["data"]["shots"][-1])
    calibration = Calibration(**run.fusion[Measure.FUSED])
    land = land_mask(MAP_STEP)
    places = torch.from_numpy(grid(MAP_STEP)[land]).float()
    scores = prior.class_scores(places)
    share = fused_logits(torch.zeros_like(scores), scores, calibration).softmax(dim=1)
    truth = truth_grid(task, MAP_STEP)
    labels = data.tasks[task].labels
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


def fixed_tiles(results: Results, data: BlueMarble, task: str) -> Figure:
    """Test tiles that the image alone got wrong and image x location right.

    At most one tile per class, those whose true class gained the most probability.
    """
    shots = results.facts["data"]["shots"]
    run = shown_run(results, task, SHOWN_SHOT if SHOWN_SHOT in shots else shots[-1])
    rows = results.test_rows(run)
    image, fused = (results.answers(run, measure) for measure in (Measure.IMAGE, Measure.FUSED))
    before, after = image.predicted == image.labels, fused.predicted == fused.labels
    fixed = ~before & after
    gain = np.where(fixed, fused.truth - image.truth, -1.0)
    chosen: dict[int, int] = {}
    for index in (-gain).argsort(kind="stable")[: int(fixed.sum())].tolist():
        chosen.setdefault(int(image.labels[index]), index)
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    for axes in figure.subplots(2, SHOWN_TILES // 2).flat:
        axes.set_axis_off()
    names = data.tasks[task].class_names
    for axes, index in zip(figure.axes, list(chosen.values())[:SHOWN_TILES], strict=False):
        axes.imshow(data.images(rows[index : index + 1])[0], interpolation="nearest")
        place = data.lonlat[int(rows[index])]
        axes.set_title(_caption(place, image, fused, index, names), fontsize=8)
    wrong = int((before & ~after).sum())
    figure.suptitle(
        f"{task}, {run.shot}: the place put {int(fixed.sum())} of {len(rows)} test tiles right "
        f"and {wrong} wrong",
        fontsize=13,
    )
    return figure


def _caption(
    place: NDArray[np.float64], image: Answers, fused: Answers, index: int, names: tuple[str, ...]
) -> str:
    lon, lat = place
    said, label = int(image.predicted[index]), int(image.labels[index])
    return (
        f"{abs(lat):.1f}°{'N' if lat >= 0 else 'S'} {abs(lon):.1f}°{'E' if lon >= 0 else 'W'}\n"
        f"image: {names[said]} ({image.confidence[index]:.0%})\n"
        f"with the place, right:\n{names[label]} ({fused.confidence[index]:.0%})"
    )


def write_figures(results: Results, data: BlueMarble, output: Path) -> dict[str, str]:
    """Draw everything as PNGs in ``output``; returns file names by title."""
    tasks = list(results.facts["data"]["tasks"])
    figures = {f"label-efficiency-{task}": label_efficiency(results, task) for task in tasks}
    figures["embedding"] = embedding_map(shown_prior(results, tasks[0]))
    for task in tasks:
        figures[f"classes-{task}"] = class_maps(results, data, task)
        figures[f"fixed-{task}"] = fixed_tiles(results, data, task)
    return {name: save(figure, output / f"{name}.png").name for name, figure in figures.items()}
