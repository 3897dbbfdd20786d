"""Run a frozen image encoder over a data set once, into the feature cache."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.data.cache import ABOUT_FILE, FeatureCache, Storage, cache_folder
from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.passes import evaluating

Integers = NDArray[np.int64]
BATCH = 32
"""Images that go through the encoder together."""
_Batch = tuple[int, Integers]
"""A shard and some of its rows."""
_Output = TypeVar("_Output")


class ImageSource(Protocol):
    """A data set that hands out RGB images by row."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image changes."""
        ...

    def __len__(self) -> int: ...

    def images(self, rows: Integers) -> NDArray[Any]:
        """Images of some rows, ``(n, height, width, channels)``."""
        ...


class Loaded(NamedTuple):
    """A batch of images.

    Attributes:
        images: ``(n, height, width, channels)``; anything where the image could not be used.
        failed: rows whose image could not be used, and why.
    """

    images: NDArray[Any]
    failed: dict[int, str]


@runtime_checkable
class FallibleSource(Protocol):
    """A data set some of whose images may turn out to be unusable."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image changes."""
        ...

    def __len__(self) -> int: ...

    def load(self, rows: Integers) -> Loaded:
        """Images of some rows, with what is wrong with the others."""
        ...


@dataclass(frozen=True)
class ExtractProgress:
    """How far an extraction is.

    Attributes:
        done: images done, those found in the cache included.
        total: all images.
        failed: images that could not be used so far.
        rate: images per second of this run, 0 before the first batch.
        wait_share: share of the time in which the encoder waited for images to be loaded.
    """

    done: int
    total: int
    failed: int = 0
    rate: float = 0.0
    wait_share: float = 0.0


def extract(
    encoder: ImageEncoder,
    source: ImageSource,
    *,
    cache: Path | None = None,
    bfloat16: bool | None = None,
    on_progress: Callable[[ExtractProgress], None] | None = None,
) -> Tensor:
    """Features of every image of ``source``, from the cache as far as they are there.

    The cache folder is named by a fingerprint of encoder, transform, precision and data, so a
    change of any of them never reads stale features. An interrupted run goes on where it was.

    Args:
        encoder: frozen image encoder.
        source: the images.
        cache: folder of all feature caches; by default under :func:`cache_folder`.
        bfloat16: compute in bfloat16; by default where the device multiplies it natively.
        on_progress: called after every batch, first with what is cached.

    Returns:
        ``(N, dim)`` float32, exactly as a cached read would give them.

    Raises:
        DataError: a damaged cache, a full disk, features that are not finite.
    """
    plan = ExtractionPlan.make(encoder, source, cache=cache, bfloat16=bfloat16)
    plan.run(encoder, source, on_progress=on_progress)
    return plan.store.read()


@dataclass(frozen=True)
class ExtractionPlan:
    """Which features go where, computed how.

    Attributes:
        store: the cache to fill.
        bfloat16: compute in bfloat16.
        encoder_fingerprint: what the features depend on in the encoder.
        data_fingerprint: what they depend on in the data.
    """

    store: FeatureCache
    bfloat16: bool
    encoder_fingerprint: str
    data_fingerprint: str

    @classmethod
    def make(
        cls,
        encoder: ImageEncoder,
        source: ImageSource | FallibleSource,
        *,
        cache: Path | None = None,
        folder: Path | None = None,
        bfloat16: bool | None = None,
        storage: Storage = Storage.FLOAT16,
    ) -> ExtractionPlan:
        """Plan to fill ``folder``, or one in ``cache`` named by all that the features depend on."""
        fast = has_bfloat16(encoder.mean.device) if bfloat16 is None else bfloat16
        encoder_key, data_key = encoder.fingerprint(), source.fingerprint
        if folder is None:
            key = f"{encoder_key} {data_key} {fast} {storage}"
            name = hashlib.sha256(key.encode()).hexdigest()[:24]
            folder = (cache or cache_folder() / "features") / name
        store = FeatureCache(folder, len(source), encoder.dim, storage)
        return cls(store, fast, encoder_key, data_key)

    def run(
        self,
        encoder: ImageEncoder,
        source: ImageSource | FallibleSource,
        *,
        workers: int | None = None,
        on_progress: Callable[[ExtractProgress], None] | None = None,
    ) -> None:
        """Fill what is missing in the cache; for the arguments see :meth:`fill`.

        Raises:
            DataError: a damaged cache, a full disk, features that are not finite.
        """
        missing = self.start(encoder, source)
        meter = Meter(self.store, missing, on_progress)
        self.fill(missing, encoder, source, workers=workers, meter=meter)

    def start(self, encoder: ImageEncoder, source: ImageSource | FallibleSource) -> list[int]:
        """Describe the cache if it is new; the shards that are missing.

        Images that could not be used before are tried again, since the reason may be gone: a
        right, a server, a decoder. Shards of those that now can be used count as missing.

        Raises:
            DataError: the folder holds other features, damaged ones, or cannot be written to.
        """
        keys = {
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "encoder_fingerprint": self.encoder_fingerprint,
            "data_fingerprint": self.data_fingerprint,
        }
        if self.store.about() is None:
            if len(self.store.missing()) < self.store.shards:
                raise DataError(
                    f"{self.store.folder} holds features without {ABOUT_FILE}, which says what "
                    "they are of; delete the folder"
                )
            self.store.describe(
                encoder=type(encoder).__name__,
                recipe=getattr(encoder, "recipe", None),
                framing=asdict(encoder.framing),
                **keys,
                versions={name: version(name) for name in ("geocsp", "torch", "numpy", "pillow")},
            )
        self.store.about(**keys)  # anew: another run may have been the first
        if isinstance(source, FallibleSource):
            self._try_again(source)
        return self.store.missing()

    def _try_again(self, source: FallibleSource) -> None:
        rows = np.array(sorted(self.store.failures()), dtype=np.int64)
        for some in np.split(rows, range(BATCH, len(rows), BATCH)):
            failed = source.load(some).failed if len(some) else {}
            for row in some.tolist():
                if row not in failed:
                    self.store.forget(row // self.store.shard_rows)

    def fill(
        self,
        shards: Sequence[int],
        encoder: ImageEncoder,
        source: ImageSource | FallibleSource,
        *,
        workers: int | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Compute and store some shards.

        Args:
            shards: their numbers.
            encoder: frozen image encoder.
            source: the images.
            workers: threads; by default as many as PyTorch uses. On a CPU each takes a batch
                through decoding and the network by itself; for a GPU they load ahead.
            meter: told of every batch.

        Raises:
            DataError: a full disk, features that are not finite.
        """
        parts: list[Tensor] = []
        failed: dict[int, str] = {}
        count = workers or torch.get_num_threads()
        batches = self._batches(shards)
        compute = _Compute(encoder, source, self.bfloat16)
        with evaluating(encoder), closing(compute.run(batches, count)) as results:
            for (shard, rows), result in results:
                parts.append(result.features.to(self.store.storage.dtype))
                failed |= result.failed
                if rows[-1] == self.store.span(shard)[-1]:
                    self.store.write(shard, torch.cat(parts), failed)
                    parts, failed = [], {}
                if meter:
                    meter.advance(len(rows), len(result.failed), result.waited)

    def _batches(self, shards: Sequence[int]) -> Iterator[_Batch]:
        """Shard and rows of every batch; no batch is in two shards."""
        for shard in shards:
            span = np.array(self.store.span(shard), dtype=np.int64)
            for rows in np.split(span, range(BATCH, len(span), BATCH)):
                yield shard, rows


class _Result(NamedTuple):
    """What became of a batch: its features, rows that failed, share of the time spent loading."""

    features: Tensor
    failed: dict[int, str]
    waited: float


@dataclass(frozen=True)
class _Compute:
    """Loads and encodes batches, several at a time, and hands the results out in order."""

    encoder: ImageEncoder
    source: ImageSource | FallibleSource
    bfloat16: bool

    def run(
        self, batches: Iterator[_Batch], workers: int
    ) -> Generator[tuple[_Batch, _Result], None, None]:
        """Every batch with its result."""
        if self.encoder.mean.device.type == "cpu":
            yield from self._side_by_side(batches, workers)
        else:
            yield from self._loading_ahead(batches, workers)

    def _side_by_side(
        self, batches: Iterator[_Batch], workers: int
    ) -> Iterator[tuple[_Batch, _Result]]:
        """Each worker computes on one thread of its own.

        Sharing out every operation among threads that others need for decoding would make all of
        them wait for the slowest; and sums would depend on the number of threads.
        """
        threads = torch.get_num_threads()
        try:
            yield from _in_order(self._whole, batches, workers, partial(torch.set_num_threads, 1))
        finally:
            torch.set_num_threads(threads)

    def _loading_ahead(
        self, batches: Iterator[_Batch], workers: int
    ) -> Iterator[tuple[_Batch, _Result]]:
        """Workers load, this thread encodes."""
        ahead = _in_order(partial(_load, self.source), batches, workers, None)
        while True:
            start = time.perf_counter()
            found = next(ahead, None)
            if found is None:
                return
            batch, loaded = found
            waited = time.perf_counter() - start
            features = features_of(self.encoder, loaded.images, bfloat16=self.bfloat16)
            yield batch, _Result(features, loaded.failed, _share(waited, start))

    def _whole(self, batch: _Batch) -> _Result:
        start = time.perf_counter()
        loaded = _load(self.source, batch)
        waited = time.perf_counter() - start
        features = features_of(self.encoder, loaded.images, bfloat16=self.bfloat16)
        return _Result(features, loaded.failed, _share(waited, start))


def _share(part: float, start: float) -> float:
    return part / max(time.perf_counter() - start, 1e-9)


def _in_order(
    work: Callable[[_Batch], _Output],
    batches: Iterator[_Batch],
    workers: int,
    at_start: Callable[[], object] | None,
) -> Iterator[tuple[_Batch, _Output]]:
    """Batches with what ``work`` makes of them, at most twice as many ahead as workers."""
    with ThreadPoolExecutor(workers, "geocsp-images", initializer=at_start) as pool:
        queue: deque[tuple[_Batch, Future[_Output]]] = deque()
        try:
            for batch in batches:
                queue.append((batch, pool.submit(work, batch)))
                if len(queue) > 2 * workers:
                    first, future = queue.popleft()
                    yield first, future.result()
            while queue:
                first, future = queue.popleft()
                yield first, future.result()
        finally:
            for _, future in queue:
                future.cancel()


def _load(source: ImageSource | FallibleSource, batch: _Batch) -> Loaded:
    rows = batch[1]
    if isinstance(source, FallibleSource):
        return source.load(rows)
    return Loaded(source.images(rows), {})


class Meter:
    """Counts images and seconds, and reports them.

    Args:
        store: the cache that is filled.
        missing: shards that are to be filled.
        report: called at once, and whenever it advances.
    """

    def __init__(
        self,
        store: FeatureCache,
        missing: list[int],
        report: Callable[[ExtractProgress], None] | None,
    ) -> None:
        self.total = len(store)
        self.done = self.total - sum(len(store.span(shard)) for shard in missing)
        fresh = set(missing)
        self.failed = sum(row // store.shard_rows not in fresh for row in store.failures())
        self.first, self.waited, self.start = self.done, 0.0, time.perf_counter()
        self.report = report or (lambda progress: None)
        self.report(ExtractProgress(self.done, self.total, self.failed))

    def advance(self, images: int, failed: int, waited: float) -> None:
        """Count a batch: its images, the unusable ones, share of its time spent on loading."""
        self.done += images
        self.failed += failed
        self.waited += waited * images
        computed = self.done - self.first
        rate = computed / max(time.perf_counter() - self.start, 1e-9)
        share = self.waited / computed
        self.report(ExtractProgress(self.done, self.total, self.failed, rate, share))


@torch.inference_mode()
def features_of(encoder: ImageEncoder, images: NDArray[Any], *, bfloat16: bool) -> Tensor:
    """Features of a batch of images: ``(n, height, width, channels)`` to ``(n, dim)`` float32.

    Computed where the encoder is, returned on the CPU.
    """
    device = encoder.mean.device
    image = encoder.transform(torch.from_numpy(images).to(device))
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
        features: Tensor = encoder(image)
    return features.float().cpu()


def has_bfloat16(device: torch.device | None = None) -> bool:
    """Whether a device, by default the CPU, multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    if device is not None and device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    probe: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
