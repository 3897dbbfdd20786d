"""What ``geocsp evaluate`` does once its options are read."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from geocsp.commands.sources import prepare, read_source
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import QUARANTINE_FILE, write_quarantine
from geocsp.errors import DataError
from geocsp.evaluate.benchmark import Source
from geocsp.evaluate.bluemarble_rows import PAPER_ON_TILES
from geocsp.evaluate.results import Measure, Results
from geocsp.evaluate.rows import rows_named
from geocsp.evaluate.run import evaluate
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.sources import (
    BlueMarbleSource,
    Division,
    FeaturesSource,
    PublishedSource,
)
from geocsp.evaluate.sources.tables import has_published
from geocsp.images.features import compute_features
from geocsp.images.names import parse_encoder
from geocsp.presets import PAPER, PRESETS, Preset, read_preset
from geocsp.train.examples import is_features

FEATURES_FOLDER = "features"
TITLES = {
    Measure.IMAGE: "image",
    Measure.LOCATION: "place",
    Measure.PRODUCT: "product",
    Measure.FUSED: "calibrated",
    Measure.GUARDED: "guarded",
}
"""What the measures are called in narrow columns."""


def check_rows(settings: EvaluateSettings, preset: str | None) -> None:
    """Find wrong names before long work.

    Raises:
        DataError: there is no such row, preset or file, or the baseline is no row of the table.
    """
    names = [row.name for row in rows_named(settings.rows, _paper(None, preset), 1)]
    if settings.baseline not in (*names, EvaluateSettings.baseline):
        raise DataError(
            f"the baseline {settings.baseline} is no row of the table; add it with --row"
        )


def bluemarble_source(points: int, views: int) -> Source:
    """Blue Marble tiles."""
    return BlueMarbleSource(points=points, views=views)


def table_source(
    source: str,
    options: ReadOptions,
    output: Path,
    division: Division,
    settings: EvaluateSettings,
    encoder: str,
) -> Source:
    """Features that are there, published features, or features computed into the run folder.

    Raises:
        DataError: the source cannot be read, nothing in it can be used, or it comes with a division
            of its own and another one is asked for.
        MissingExtraError: reading it needs an extra that is not installed.
    """
    if is_features(source):
        return FeaturesSource(Path(source).expanduser(), division)
    prepare(output)
    table = read_source(source, options, output)
    if has_published(source, table):
        if division != Division():
            raise DataError(
                f"{source} comes with features and splits of its own; leave --folds, --blocks and "
                "--buffer out"
            )
        dataset, _, root = source.partition(":")
        return PublishedSource(dataset, Path(root).expanduser(), settings.shots)
    if table.label is None:
        raise DataError(f"{source} has no labels; name their column with --label-column")
    features = compute_features(parse_encoder(encoder), table, output / FEATURES_FOLDER)
    if features.table.problems:
        listed = write_quarantine(output / QUARANTINE_FILE, features.table.problems)
        Console(stderr=True).print(f"{len(features.table.problems):,} left out; see {listed}")
    return FeaturesSource(output / FEATURES_FOLDER, division)


def run(
    source: Source,
    preset: str | None,
    settings: EvaluateSettings,
    output: Path,
    workers: int | None,
) -> Results:
    """Evaluate and write the report.

    Raises:
        DataError: the settings or the data cannot be used.
        MissingExtraError: a package of the extra "evaluate" is not installed.
    """
    from geocsp.evaluate.report import write_report, write_tables

    paper = _paper(source, preset)
    rows = rows_named(settings.rows, paper, source.load().features.shape[1])
    results = evaluate(source, rows, settings, output, workers=workers)
    write_tables(results, output)
    write_report(results, output)
    return results


def _paper(source: Source | None, name: str | None) -> Preset:
    if name is None:
        return PAPER_ON_TILES if isinstance(source, BlueMarbleSource) else PAPER
    if name in PRESETS:
        return PRESETS[name]
    return read_preset(Path(name))


def show(results: Results) -> None:
    """Print Top-1 of every row, one table for each task and amount of labels."""
    console, facts = Console(), results.facts
    for task in facts["data"]["tasks"]:
        title = f"{task}: Top-1 in % ±95 % interval, {len(facts['data']['folds'])} fold(s)"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("", *TITLES.values()):
            table.add_column(heading)
        for shot in facts["data"]["shots"]:
            table.add_row(f"[bold]{shot}[/bold]")
            for cell in facts["table"]:
                if (cell["task"], cell["shot"]) == (task, shot):
                    label = facts["rows"][cell["row"]]["label"]
                    regime = " (all images)" if cell["regime"] == "transductive" else ""
                    values = [_cell(cell.get(measure)) for measure in TITLES]
                    table.add_row(f" {label}{regime}", *values)
            table.add_section()
        console.print(table)
    console.print(f"[bold]{results.folder / 'report.html'}[/bold] has the figures and all tables.")


def _cell(metrics: dict[str, dict[str, float]] | None) -> str:
    if metrics is None:
        return "-"
    top1 = metrics["top1"]
    half = top1["mean"] - top1["low"]
    return f"{100 * top1['mean']:.1f}" + (f" ±{100 * half:.1f}" if half else "")
