"""Writing the values of all cells of a grid to a file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocsp.errors import DataError
from geocsp.images.features import Engine
from geocsp.maps.export.blocks import Journal
from geocsp.maps.export.cells import Cells, CellType, Embedding, Quantity
from geocsp.maps.export.cog import CogStore
from geocsp.maps.export.content import Content
from geocsp.maps.export.folder import WorkFolder
from geocsp.maps.export.progress import Meter, OnProgress, Stage
from geocsp.maps.export.settings import settings_of
from geocsp.maps.export.store import Store
from geocsp.maps.export.work import BlockWork, run_here
from geocsp.maps.export.zarr_store import ZarrStore
from geocsp.maps.grid import Grid
from geocsp.models import LocationModel
from geocsp.process import ALONE
from geocsp.train.folder import alone

_STORES: dict[str, type[Store]] = {
    ".tif": CogStore,
    ".tiff": CogStore,
    ".zarr": ZarrStore,
}
_JOURNAL_FILE = "blocks.done"


@dataclass(frozen=True)
class ExportReport:
    """What was done.

    Attributes:
        output: the file or store.
        shape: rows and columns.
        bands: numbers in a cell.
        dtype: numbers in the file.
        computed: cells that this run computed.
        found: cells that were there from earlier runs; all of them if the output was.
        clipped: numbers that had to be cut to the range of 8 bits; None if the output was there.
        seconds: time this run took.
        bytes: size of the output.
    """

    output: Path
    shape: tuple[int, int]
    bands: int
    dtype: CellType
    computed: int
    found: int
    clipped: int | None
    seconds: float
    bytes: int


def embed_grid(
    model: LocationModel,
    grid: Grid,
    output: Path | str,
    *,
    quantity: Quantity | None = None,
    dtype: CellType | None = None,
    engine: Engine = Engine.LOCAL,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the embedding, or another quantity, of every cell of a grid to a file.

    The work is done in blocks, in bounded memory, in a folder beside the output whose name ends
    with ``.partial``. Blocks that are done stay done: the same call goes on after an interruption,
    and does nothing if the output is there. The output takes its name when it is whole.

    Args:
        model: whose embedding is written, or of which the quantity is.
        grid: the cells; values are those of their centres.
        output: ``.tif`` for a Cloud-Optimised GeoTIFF, ``.zarr`` for a zarr store of version 3.
        quantity: what to write; by default ``Embedding(model)``. If it has a ``title``,
            that goes into the file.
        dtype: numbers in the file; by default float16 for embeddings, uint8 for colours, float32
            for the rest. int8, for GeoTIFF only, keeps values as steps of a scale for each band.
        engine: where the work is done; the values are the same bit for bit.
        workers: threads, or processes of the Ray cluster; by default one for each CPU core, but
            at most 16 threads. Each holds a block, some 8 MB, a few times over.
        on_progress: called after every block.

    Raises:
        DataError: a name of another kind; the output or work in progress is there with other
            settings; another process is at work on it; too little space; values that are not
            finite or do not fit the type.
        MissingExtraError: rasterio, zarr or Ray is not installed.
        RuntimeError: the disk, workers of Ray, or putting the file together failed.
    """
    start = time.perf_counter()
    output = Path(output).expanduser()
    kind = _STORES.get(output.suffix.lower())
    if kind is None:
        raise DataError(f"{output} must end with .tif or .zarr, which says what to write")
    cells = Cells.of(quantity or Embedding(model), grid, dtype)
    content = Content(grid, cells, settings_of(model, grid, cells))
    folder = WorkFolder.beside(output.absolute())
    store = kind(folder.path, content)
    computed, clipped = 0, None
    try:
        if folder.path.exists() or not store.is_finished(output):
            with alone(folder.path, ALONE):
                if not store.is_finished(output):  # by another process, meanwhile
                    store = kind(folder.path, content.as_begun(folder.claim(content.settings)))
                    journal = _started(store, folder)
                    computed = _fill(store, journal, engine, workers, on_progress)
                    clipped = int((journal.entries() - 1).sum())
                    store.finish(on_progress).replace(output)
                folder.remove()
    except OSError as error:
        path = error.filename or folder.path
        raise RuntimeError(
            f"cannot write {path}: {error.strerror or error}; the same call goes on from here"
        ) from error
    return ExportReport(
        output=output,
        shape=grid.shape,
        bands=cells.bands,
        dtype=cells.type,
        computed=computed,
        found=grid.shape[0] * grid.shape[1] - computed,
        clipped=clipped,
        seconds=time.perf_counter() - start,
        bytes=_size(output),
    )


def _started(store: Store, folder: WorkFolder) -> Journal:
    """Make a place for blocks if there is none; which of them are done.

    Raises:
        DataError: the disk has too little room for the rest.
    """
    journal = Journal(folder.path / _JOURNAL_FILE, len(store.content.blocks))
    folder.check_space(store.needed_bytes)
    if not (store.exists and journal.path.exists()):
        journal.path.unlink(missing_ok=True)  # first: it must not speak of a new store
        store.create()
        journal.create()
    return journal


def _fill(
    store: Store,
    journal: Journal,
    engine: Engine,
    workers: int | None,
    on_progress: OnProgress | None,
) -> int:
    """Compute the blocks that are missing; the number of cells in them."""
    content = store.content
    missing = np.flatnonzero(journal.entries() == 0).tolist()
    todo = sum(map(content.blocks.cells, missing))
    total = content.grid.shape[0] * content.grid.shape[1]
    meter = Meter(Stage.CELLS, total - todo, total, on_progress)
    work = BlockWork(content.grid, content.blocks, content.cells, store.writer())

    def done(block: int, clipped: int) -> None:
        journal.enter(block, clipped)
        meter.advance(content.blocks.cells(block))

    if missing and engine is Engine.RAY:
        from geocsp.maps.export.ray_engine import run_on_ray

        run_on_ray(work, missing, workers, done)
    elif missing:
        run_here(work, missing, workers, done)
    return todo


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
