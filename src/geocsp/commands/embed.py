"""``geocsp embed``: location features for any model, of a table of places or of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocsp.commands.devices import Device
from geocsp.commands.sources import Crs, LatColumn, Layer, LonColumn, TimeColumn
from geocsp.data.options import Columns, ReadOptions
from geocsp.images.features import Engine
from geocsp.maps.export.cells import CellType

_POINTS, _GRID = "Tables of places", "Grids"


def embed(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="Table of places: CSV, TSV, Parquet (a file or a folder), GeoParquet, GeoJSON, "
            "GeoPackage, shapefile or FlatGeobuf; a path or a URL.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Run folder, saved folder, checkpoint file, or geoclip (its published weights).",
        ),
    ] = "runs/pretrain",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A table's .csv, .tsv, .parquet, .geoparquet or .geojson; a grid's .tif or .zarr.",
            show_default=False,
        ),
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Scale every embedding to unit length.")
    ] = False,
    dtype: Annotated[
        CellType | None,
        typer.Option(
            help="Numbers in the file; default: float32 in tables, float16 in grids; int8 is for "
            ".tif alone."
        ),
    ] = None,
    as_list: Annotated[
        bool,
        typer.Option(
            "--as-list",
            help="One column of lists, not one for each number; not in CSV.",
            rich_help_panel=_POINTS,
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="What columns are called before their number; default: embedding.",
            rich_help_panel=_POINTS,
        ),
    ] = None,
    lon_column: LonColumn = None,
    lat_column: LatColumn = None,
    time_column: TimeColumn = None,
    crs: Crs = None,
    layer: Layer = None,
    keep_unplaced: Annotated[
        bool,
        typer.Option(
            "--keep-unplaced",
            help="Keep rows without a usable place, with an empty embedding.",
            rich_help_panel=_POINTS,
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit code 2 if any row had to be left out.",
            rich_help_panel=_POINTS,
        ),
    ] = False,
    grid: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES",
            help="Embed the centres of cells of this size.",
            show_default=False,
            rich_help_panel=_GRID,
        ),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="W,S,E,N",
            help="Window in degrees, west above east over the antimeridian; default: the globe.",
            show_default=False,
            rich_help_panel=_GRID,
        ),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option(help="Where the work is done; default: local.", rich_help_panel=_GRID),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads, or processes of the Ray cluster; default: CPU cores.",
            rich_help_panel=_GRID,
        ),
    ] = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Embed the places of a table, or of every cell of a grid.

    A table keeps all its columns and gets those of the embedding. Rows without a usable place are
    left out and listed in a report beside the output (out.quarantine.csv). Model, fingerprint and
    settings are in the metadata of Parquet, else in a JSON file beside the output. A grid becomes a
    Cloud-Optimised GeoTIFF or a zarr store, block by block; after an interruption the same command
    goes on.

    **Examples**

        geocsp embed points.csv --model runs/pretrain -o out.parquet

        geocsp embed sites.gpkg --model geoclip --normalise --dtype float16 --as-list -o out.parquet

        geocsp embed stations.csv --lon-column x --lat-column y --crs EPSG:32632 -o out.geojson

        geocsp embed --grid 0.1 --bounds -10,35,5,44 -o iberia.tif

        geocsp embed --grid 0.05 --engine ray --workers 64 -o globe.zarr
    """
    from geocsp.commands.embed_work import GridJob, PointsJob, embed_cells, embed_rows
    from geocsp.embed import NAME, Dtype, EmbedSettings

    for_points = {
        "--as-list": as_list,
        "--name": name,
        "--lon-column": lon_column,
        "--lat-column": lat_column,
        "--time-column": time_column,
        "--crs": crs,
        "--layer": layer,
        "--keep-unplaced": keep_unplaced,
        "--strict": strict,
    }
    for_grids = {"--bounds": bounds, "--engine": engine, "--workers": workers}
    if (source is None) is (grid is None):
        raise typer.BadParameter("name a table of places, or the size of cells with --grid")
    kind, others = ("tables", for_points) if source is None else ("grids", for_grids)
    if wrong := [option for option, given in others.items() if given]:
        raise typer.BadParameter(f"{wrong[0]} is for {kind} alone")
    if output is None:
        raise typer.BadParameter("name the output", param_hint="--output")
    if source is None:
        assert grid is not None
        cells = GridJob(grid, bounds, normalise, dtype, engine or Engine.LOCAL, workers)
        embed_cells(cells, model, output, device=device, as_json=as_json)
        return
    if dtype not in (None, *Dtype):
        raise typer.BadParameter(f"{dtype} is for grids alone", param_hint="--dtype")
    settings = EmbedSettings(normalise, Dtype(dtype or Dtype.FLOAT32), as_list, name or NAME)
    columns = Columns(lon=lon_column, lat=lat_column, time=time_column)
    options = ReadOptions(columns, crs, keep_unplaced=keep_unplaced, layer=layer)
    rows = PointsJob(source, settings, options)
    embed_rows(rows, model, output, device=device, as_json=as_json, strict=strict)
