"""Every row of a table with the embedding of its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geocsp.data.assemble import Sieve
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Quarantine, quarantine_beside, quarantine_path
from geocsp.data.table import Floats
from geocsp.embed.formats import Format
from geocsp.embed.layout import Layout
from geocsp.embed.record import describe
from geocsp.embed.settings import EmbedSettings
from geocsp.embed.sources import Block, Points, open_points
from geocsp.embed.vectors import embed_places
from geocsp.embed.writers.geojson import write_geojson
from geocsp.embed.writers.parquet import write_parquet
from geocsp.embed.writers.text import write_text
from geocsp.errors import DataError
from geocsp.files import replacing, write_record
from geocsp.location import LocationEncoder

OnProgress = Callable[[int, int], None]
"""Told how many rows are done, of how many."""
_NUMBERS = 1 << 23
_DEFAULTS = ReadOptions()


@dataclass(frozen=True)
class Embedded:
    """What was written.

    Attributes:
        output: the file.
        rows: how many rows it has.
        left_out: how many rows of the source are not in it.
        about: the record of model and settings.
        notes: what was guessed or repaired.
    """

    output: Path
    rows: int
    left_out: int
    about: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def quarantine(self) -> Path | None:
        """The report about the rows that were left out, if there are any."""
        return quarantine_path(self.output) if self.left_out else None


def embed_table(
    source: str | Path,
    encoder: LocationEncoder,
    output: Path,
    *,
    model: str = "",
    settings: EmbedSettings | None = None,
    options: ReadOptions = _DEFAULTS,
    on_progress: OnProgress | None = None,
) -> Embedded:
    """Write a table with all its columns and the embeddings of its places, block by block.

    Rows without a usable place are left out and listed in a report beside the output, or kept
    without an embedding. A record of model and settings is in the metadata of Parquet, else in a
    JSON file beside the output. The output appears when all is written.

    Args:
        source: a table of places: CSV, TSV, Parquet (a file or a folder), GeoParquet, GeoJSON or
            another vector file; a path or a URL.
        encoder: from :func:`geocsp.models.location_of`.
        output: ``.csv``, ``.tsv``, ``.parquet``, ``.geoparquet`` or ``.geojson``.
        model: what the record calls the model.
        settings: how embeddings are written.
        options: which columns are places and times, and the crs; ``keep_unplaced`` keeps rows
            without a usable place.
        on_progress: called after every block.

    Raises:
        DataError: the source cannot be read, has no usable place, or the output cannot hold it.
        MissingExtraError: a format or crs needs an extra that is not installed.
        OSError: the output cannot be written.
    """
    settings, source = settings or EmbedSettings(), str(source)
    kind = Format.of(output)
    if kind.is_text and settings.as_list:
        raise DataError(f"{output}: a table of text has no lists; write .parquet, or columns")
    if options.columns.time is not None and not encoder.time.dim:
        raise DataError(f"this {type(encoder).__name__} takes no time; name no column of times")
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise DataError(f"{output} is the source itself; name another output")
    with open_points(source, options, typed=not kind.is_text) as points:
        layout = Layout.of(points, kind, encoder.dim, settings, options, source)
        with replacing(output) as temporary, quarantine_beside(output) as left_out:
            job = _Job(encoder, points, layout, settings, options, left_out, on_progress)
            about = describe(encoder, model, source, settings, points)
            _write(kind, temporary, job, about)
            if not job.rows:
                temporary.unlink()
            elif not kind.is_parquet:
                write_record(output, about)
    if not job.rows:
        first = f"; the first row left out: {left_out.first}" if left_out.first else ""
        raise DataError(f"{source} holds no usable place{first}")
    return Embedded(output, job.rows, left_out.count, about, job.notes)


def _write(kind: Format, path: Path, job: _Job, about: dict[str, Any]) -> None:
    layout, blocks = job.layout, job.blocks()
    if kind.is_text:
        delimiter = "\t" if kind is Format.TSV else ","
        shapes = None if layout.geometry is None else layout.geometry.name
        write_text(path, layout.schema, blocks, delimiter=delimiter, geometry=shapes)
    elif layout.geometry is not None and kind is Format.GEOJSON:
        write_geojson(path, layout.schema, blocks, layout.geometry)
    else:
        write_parquet(path, layout.schema, blocks, about, layout.kept, layout.undescribed)


@dataclass
class _Job:
    """Makes the blocks of the output, one after the other."""

    encoder: LocationEncoder
    points: Points
    layout: Layout
    settings: EmbedSettings
    options: ReadOptions
    left_out: Quarantine
    on_progress: OnProgress | None
    rows: int = 0
    _unread: int = 0
    _noted: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sieve = Sieve(self.options.keep_unplaced)

    @property
    def notes(self) -> tuple[str, ...]:
        times = f"{self._unread} times could not be read and count as unknown"
        told = [times] if self._unread else []
        return (*self.points.notes, *self._noted, *self._sieve.notes, *told)

    def blocks(self) -> Iterator[pa.RecordBatch]:
        size = max(256, _NUMBERS // self.encoder.dim)
        read = 0
        for block in self.points.blocks():
            for part in block.parts(size):
                yield self._block(part)
                read += len(part.rows)
                if self.on_progress is not None:
                    self.on_progress(read, self.points.count)

    def _block(self, block: Block) -> pa.RecordBatch:
        rows, places = block.rows, self.points.places
        found = places.read({name: rows.column(name) for name in places.names})
        lonlat, kept = self._sieve.sift(found.lonlat, None, block.origin, found.unreadable)
        self.left_out.add([*block.problems, *self._sieve.problems])
        self._sieve.problems.clear()
        self._noted |= dict.fromkeys(found.notes)
        time = self._times(rows, lonlat)
        if not kept.all():
            rows, lonlat = rows.filter(pa.array(kept)), lonlat[kept]
            time = None if time is None else time[kept]
        self.rows += len(rows)
        vectors = self._vectors(lonlat, time)
        return self.layout.block(self.points.typed(rows), lonlat, vectors)

    def _times(self, rows: pa.RecordBatch, lonlat: Floats) -> Floats | None:
        if self.points.times is None or not self.encoder.time.dim:
            return None
        time, unread = self.points.times.read(rows, lonlat[:, 0])
        self._unread += unread
        return time

    def _vectors(self, lonlat: Floats, time: Floats | None) -> Any:
        """Embeddings, NaN where there is no place."""
        placed = ~np.isnan(lonlat).any(axis=1)
        vectors = embed_places(
            self.encoder,
            lonlat[placed],
            None if time is None else time[placed],
            normalise=self.settings.normalise,
            dtype=self.settings.dtype,
        )
        if placed.all():
            return vectors
        whole = np.full((len(lonlat), self.encoder.dim), np.nan, vectors.dtype)
        whole[placed] = vectors
        return whole
