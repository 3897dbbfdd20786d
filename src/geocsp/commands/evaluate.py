"""``geocsp evaluate``: the few-shot protocol, from image features to a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from geocsp.commands.interrupts import resumable
from geocsp.commands.sources import reads_a_source
from geocsp.config import read_config, write_config
from geocsp.data.options import ReadOptions
from geocsp.errors import DataError
from geocsp.evaluate.fewshot import Shot
from geocsp.evaluate.results import RESULTS_FILE
from geocsp.evaluate.rows import SIMCLR
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.sources.divisions import Division

_DATA = "Which data, and how it is divided"
_BLUEMARBLE = "bluemarble"


@reads_a_source
def evaluate(
    options: ReadOptions,
    source: Annotated[
        str,
        typer.Argument(
            help="bluemarble, a folder of features, anything with labels that geocsp features "
            "reads, or a data set with CSP's published files, such as inat2018:FOLDER."
        ),
    ] = _BLUEMARBLE,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder, made if needed.")
    ] = Path("runs/evaluate"),
    row: Annotated[
        list[str] | None,
        typer.Option(
            help="Row of the table, again for each: image, image-aligned, simclr, sup-ENCODER, "
            "mse, csp-mc-bld, csp-nce-bld (and -bd, -bl, -b), best, frequency, knn, kde, "
            "grid-histogram, a preset or a YAML file of one.",
            metavar="NAME",
        ),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(help="Amounts of labels: 3 per class, or a share of each, as in 1,3,10,5%."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First seed.")] = None,
    transductive: Annotated[
        bool,
        typer.Option("--transductive", help="Also pre-train on all images, the test images too."),
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(help="Row that relative gains refer to.", metavar="NAME")
    ] = None,
    subsets: Annotated[
        Path | None,
        typer.Option(help="Run folder of an evaluation whose labelled rows are used again."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="How the paper's rows are trained: a preset or a YAML file; default: "
            "inat2018-paper, or its scales for two degrees on bluemarble."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings; see --print-config.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(
            min=3,
            rich_help_panel=_DATA,
            help="Folds of spatial blocks; default: the source's own splits, or 5.",
        ),
    ] = None,
    blocks: Annotated[
        float, typer.Option(rich_help_panel=_DATA, help="Width of a block, degrees.")
    ] = 5.0,
    buffer: Annotated[
        float,
        typer.Option(
            "--buffer",
            rich_help_panel=_DATA,
            help="Leave out training images nearer than this to a test image, km.",
        ),
    ] = 0.0,
    points: Annotated[
        int, typer.Option(rich_help_panel=_DATA, help="Number of tiles, on bluemarble.")
    ] = 20_000,
    encoder: Annotated[
        str,
        typer.Option("--encoder", "-e", rich_help_panel=_DATA, help="Network for the features."),
    ] = "efficientnet-lite0",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side; default: CPU cores.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print results.json instead of a table.")
    ] = False,
) -> None:
    """Measure what location is worth with few labels, against everything it should be held to.

    Trains every row with every amount of labels on every fold with every seed, and judges the
    image alone, the place alone, their product, the calibrated and the guarded product. Writes
    results.json, report.html with pages per class, table.md, table.tex, the labelled rows
    (subsets/) and what every row said about every test image (answers/). Run again after an
    interruption, it goes on.

    **Examples**

        geocsp evaluate                                      # NASA's Blue Marble, all rows

        geocsp evaluate --points 4000 --seeds 1 --shots 3,5% --row image --row sup-grid --row best

        geocsp evaluate photos/ --folds 5 --buffer 10 --shots 1,3,10 -o runs/photos

        geocsp evaluate runs/features --row sup-sphere2vec-spherec --row knn --row best

        geocsp evaluate inat2018:/data/inat2018 --shots 5%,10%,20%,100%

        geocsp evaluate --print-config > own.yaml; geocsp evaluate --config own.yaml
    """
    settings = EvaluateSettings() if config is None else read_config(config, EvaluateSettings)
    given = {
        "rows": None if row is None else tuple(row),
        "shots": None if shots is None else tuple(Shot.parse(part) for part in shots.split(",")),
        "seeds": seeds,
        "seed": seed,
        "transductive": transductive or None,
        "baseline": baseline,
        "subsets": subsets,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    settings = replace(settings, **changes)  # type: ignore[arg-type]
    if print_config:
        typer.echo(write_config(settings), nl=False)
        return
    from geocsp.commands import evaluate_work as work
    from geocsp.train.examples import is_features

    work.check_rows(settings, preset)
    if options != ReadOptions() and (source == _BLUEMARBLE or is_features(source)):
        raise DataError(f"{source} is not read as a table; leave the options of reading out")
    division = Division(folds, blocks, buffer)
    with resumable():
        if source == _BLUEMARBLE:
            if division != Division():
                raise DataError(
                    "bluemarble comes with folds of its own; leave --folds, --blocks and --buffer "
                    "out"
                )
            views = 2 if SIMCLR in settings.rows else 0
            made = work.bluemarble_source(points, views)
        else:
            made = work.table_source(source, options, output, division, settings, encoder)
        results = work.run(made, preset, settings, output, workers)
    if as_json:
        typer.echo((results.folder / RESULTS_FILE).read_text(encoding="utf-8"))
    else:
        work.show(results)
