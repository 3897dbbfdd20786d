"""WebDataset shards: tar files of images, each beside a small file that says where it was taken."""

from __future__ import annotations

import glob
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geocsp.data.columns.coordinates import LonLat, PlaceColumns, Places
from geocsp.data.columns.fields import ROLES, Fields, split_named
from geocsp.data.images import Bands, Images, Integers, Raw, RowTexts, is_url, stamp_of
from geocsp.data.options import ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.readers.columnar import Beside, Layout
from geocsp.data.readers.samples import Samples
from geocsp.data.table import GeoTable
from geocsp.errors import DataError
from geocsp.images.pictures import quiet

_BLOCK, _BLOCKS = 4 << 20, 4
_THREADS = 8
_MOST_SHARDS = 1_000_000
_ENDINGS = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, eq=False)
class TarImages(Images):
    """Images in tar files, read from where they start; nothing is unpacked.

    Attributes:
        names: ``(N,)`` shard and member, as ``shards/000.tar/0001.jpg``.
        shards: ``(S,)`` paths or URLs.
        shard: ``(N,)`` int32 shard of each image.
        start: ``(N,)`` int64 first byte in the shard.
        size: ``(N,)`` int64 bytes.
        bands: how rasters become channels.
    """

    names: pa.ChunkedArray
    shards: tuple[str, ...]
    shard: NDArray[np.int32]
    start: Integers
    size: Integers
    bands: Bands

    def load(self, row: int) -> Raw:
        """The bytes of one member."""
        shard = self.shards[self.shard[row]]
        start, size = int(self.start[row]), int(self.size[row])
        if is_url(shard):
            system, inner = fsspec.url_to_fs(shard)
            content: bytes = system.cat_file(inner, start=start, end=start + size)
        else:
            with Path(shard).open("rb", buffering=0) as file:
                file.seek(start)
                content = file.read(size)
        if len(content) != size:
            raise DataError(f"{shard} has become shorter since it was read; read it again")
        return content

    def stamps(self) -> Sequence[str]:
        """Size and time of change of the shard, and the place in it."""
        used = np.unique(self.shard).tolist()
        stamps = {number: stamp_of(self.shards[number]) for number in used}

        def stamp(row: int) -> str:
            return f"{stamps[int(self.shard[row])]} {self.start[row]} {self.size[row]}"

        return RowTexts(len(self), stamp)

    def take(self, rows: Integers) -> TarImages:
        """The images of some rows."""
        return replace(
            self,
            names=self.names.take(pa.array(rows)),
            shard=self.shard[rows],
            start=self.start[rows],
            size=self.size[rows],
        )


def read_shards(source: str, options: ReadOptions) -> GeoTable:
    """Read WebDataset shards: headers and small files now, each image when it is needed.

    Places are taken from the ``.json`` of a sample, or else from the EXIF data of its image; the
    class from its ``.cls`` or ``.json``. ``options.columns`` names fields of the ``.json`` (those
    in others with dots, as "location.lat"), or the ending of the images. Where no sample tells a
    split, names of shards such as ``train-000.tar`` do. A damaged shard is used up to the damage.

    Args:
        source: a ``.tar``, a folder of them, ``shards-{000..127}.tar``, a pattern with ``*``, or a
            URL of any of these that fsspec can open.
        options: how to read.

    Raises:
        DataError: no shard can be read, or one cannot be reached.
    """
    shards = find_shards(source)
    fields = Fields(options.columns)
    threads = _THREADS if is_url(shards[0]) else 1  # local ones wait for nothing but each other
    with quiet(), ThreadPoolExecutor(threads, "geocsp-shards") as pool:
        indices = list(pool.map(lambda shard: _index(shard, fields, options.crs), shards))
    parts = [batches for batches, _, _ in indices]
    problems = [problem for _, found, _ in indices for problem in found]
    more = sum(count for _, _, count in indices)
    if len(shards) == 1 and not parts[0] and [problem.file for problem in problems] == shards:
        raise DataError(f"{shards[0]} {problems[0].reason}")
    if any(parts):
        fields.check(source)
    images = _images(shards, parts, options.bands)
    parts, notes = _with_splits(shards, parts)
    if more:
        notes.append(f"{more} images beside the first of their samples; name an ending to use them")
    beside = Beside(options)
    for batch in itertools.chain.from_iterable(parts):
        known = {role: role for role in ROLES if batch.column(role).null_count < len(batch)}
        beside.add(batch, Layout(known, _InSample(options.crs)))
    name_of = images.names
    return beside.table(
        images, lambda row: (name_of[row].as_py(), None), problems, [*fields.notes, *notes]
    )


@dataclass(frozen=True)
class _InSample(PlaceColumns):
    """Places as :class:`~geocsp.data.readers.samples.Samples` finds them."""

    crs: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to read."""
        return "lon", "lat", "inside_lon", "inside_lat", "reason"

    def read(self, block: Mapping[str, pa.Array]) -> Places:
        """Places of N rows."""
        beside = LonLat("lon", "lat", self.crs).read(block)
        reasons = block["reason"]
        if pa.types.is_null(reasons.type):
            return beside
        inside = np.stack([block[f"inside_{axis}"].to_numpy() for axis in ("lon", "lat")], axis=1)
        rows = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False)).tolist()
        why = beside.unreadable | {row: reasons[row].as_py() for row in rows}
        alone = np.isnan(beside.lonlat).all(axis=1, keepdims=True)
        return Places(np.where(alone, inside, beside.lonlat), why, beside.notes)


def _images(
    shards: Sequence[str], parts: Sequence[Sequence[pa.RecordBatch]], bands: Bands
) -> TarImages:
    batches = list(itertools.chain.from_iterable(parts))
    counts = [sum(map(len, part)) for part in parts]
    start, size = (
        np.concatenate([np.empty(0, np.int64), *(batch.column(name) for batch in batches)])
        for name in ("start", "size")
    )
    return TarImages(
        pa.chunked_array([batch.column("name") for batch in batches], pa.string()),
        tuple(shards),
        np.repeat(np.arange(len(shards), dtype=np.int32), counts),
        start,
        size,
        bands,
    )


def _with_splits(
    shards: Sequence[str], parts: list[list[pa.RecordBatch]]
) -> tuple[list[list[pa.RecordBatch]], list[str]]:
    """Splits by the names of the shards, where all of these tell one and no sample does."""
    splits = [split_named(shard) for shard in shards]
    told = any(len(b) > b.column("split").null_count for part in parts for b in part)
    if told or None in splits:
        return parts, []
    named = [
        [_with_column(batch, "split", split) for batch in part]
        for part, split in zip(parts, splits, strict=True)
    ]
    return named, ["splits are taken from the names of the shards"]


def _with_column(batch: pa.RecordBatch, name: str, value: str | None) -> pa.RecordBatch:
    same = pa.repeat(pa.scalar(value, pa.string()), len(batch))
    return batch.set_column(batch.schema.get_field_index(name), name, same)


def find_shards(source: str) -> list[str]:
    """Paths or URLs of the shards that a text means, sorted but where braces give the order.

    Raises:
        DataError: there are none, or they cannot be listed.
    """
    if not is_url(source) and Path(source).exists():
        return _in_folder(source) if Path(source).is_dir() else [source]
    found = []
    for pattern in expand_braces(source):
        plain = pattern.partition("::")[0].partition("?")[0] if is_url(pattern) else pattern
        if is_url(pattern) and not plain.lower().endswith(_ENDINGS):
            found += _matching(f"{pattern.rstrip('/')}/*.tar")
        else:
            found += _matching(pattern) if "*" in plain else [pattern]
    if not found:
        raise DataError(f"{source}: no such shards")
    return found


def expand_braces(pattern: str) -> Iterator[str]:
    """Every text that a pattern such as ``{train,test}-{000..127}.tar`` stands for, in order.

    As in a shell, numbers keep the zeros that they start with; braces without ".." or "," stay.

    Raises:
        DataError: more than a million.
    """
    parts = re.split(r"\{([^{}]*(?:\.\.|,)[^{}]*)\}", pattern)
    choices: list[Sequence[str]] = [
        _choices(part) if number % 2 else [part] for number, part in enumerate(parts)
    ]
    if math.prod(map(len, choices)) > _MOST_SHARDS:
        raise DataError(f"{pattern} stands for more than {_MOST_SHARDS:,} shards")
    return map("".join, itertools.product(*choices))


def _choices(inner: str) -> Sequence[str]:
    span = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inner)
    if not span:
        return inner.split(",") if "," in inner else [f"{{{inner}}}"]
    first, last = span.groups()
    padded = any(len(number) > 1 and number.startswith("0") for number in span.groups())
    width = max(map(len, span.groups())) if padded else 0
    numbers = range(int(first), int(last) + 1)
    if len(numbers) > _MOST_SHARDS:
        raise DataError(f"{{{inner}}} stands for more than {_MOST_SHARDS:,} shards")
    return [f"{number:0{width}d}" for number in numbers]


def _in_folder(folder: str) -> list[str]:
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
    shards = [str(path) for path in paths if path.name.lower().endswith(_ENDINGS)]
    if not shards:
        raise DataError(f"{folder} holds no .tar file")
    return shards


def _matching(pattern: str) -> list[str]:
    if not is_url(pattern):
        return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  keeps paths relative
    try:
        system, inner = fsspec.url_to_fs(pattern)
        return [system.unstrip_protocol(path) for path in sorted(system.glob(inner))]
    except Exception as error:  # remote systems have errors of their own
        raise DataError(f"{pattern} cannot be listed: {error}") from error


@contextmanager
def _opened(shard: str) -> Iterator[tuple[BinaryIO, int]]:
    """A shard to read in blocks, and its size in bytes."""
    if not is_url(shard):
        with Path(shard).open("rb") as file:
            yield file, Path(shard).stat().st_size
        return
    system, inner = fsspec.url_to_fs(shard)
    size = system.info(inner).get("size")
    if size is None:
        raise OSError("its server tells no size and so gives no parts of it; download it")
    cache = {"cache_type": "blockcache", "cache_options": {"maxblocks": _BLOCKS}}
    with system.open(inner, "rb", block_size=_BLOCK, **cache) as remote:
        yield remote, int(size)


def _index(
    shard: str, fields: Fields, crs: str | None
) -> tuple[list[pa.RecordBatch], list[Problem], int]:
    """Batches of a shard, what was left out, and images beyond the first of their samples."""
    samples = Samples(shard, fields, crs)
    failures = Exception if is_url(shard) else OSError  # remote systems have errors of their own
    try:
        with _opened(shard) as (file, size):
            batches = list(samples.read(file, size))
    except FileNotFoundError:
        return [], [Problem(shard, None, "is not there")], 0
    except failures as error:
        raise DataError(f"{shard} cannot be read: {error or type(error).__name__}") from error
    return [batch for batch in batches if len(batch)], samples.problems, samples.more
