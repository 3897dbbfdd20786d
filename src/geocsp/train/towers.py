"""The towers' part of a step: images and places in, views out, and the way back.

A batch that is too large for one pass goes through in several (gradient caching, Gao et al.,
RepL4NLP 2021): embeddings are first computed without a graph, the loss gives the gradient of every
embedding, and a second pass over each part carries it into the weights. Dropout masks and
augmentation of a part follow from its seed, so both passes see the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.model import GeoModel
from geocsp.objectives.base import Objective, Places, Views, at_least_float32
from geocsp.process import Process
from geocsp.train.feeds import Loaded
from geocsp.train.randomness import Stream, derived_seed, generator
from geocsp.train.settings import PretrainSettings


class Passes:
    """One tower over the rows of a batch, in one pass or in several.

    Args:
        tower: embeds a part of the batch, ``(n, D)``, given the part and a seed.
        count: rows of the batch.
        rows: most rows in a pass.
        seed: of this tower in this step.
        device: where the tower draws random numbers.
    """

    def __init__(
        self,
        tower: Callable[[slice, int], Tensor],
        count: int,
        rows: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._tower, self._seed, self._device = tower, seed, device
        starts = range(0, count, rows)
        self._parts = [slice(start, min(start + rows, count)) for start in starts]
        self._cached: Tensor | None = None

    def forward(self) -> Tensor:
        """Embeddings of all rows, ``(count, D)``, that gradients can flow into."""
        if len(self._parts) == 1:
            return self._pass(0)
        with torch.no_grad():
            embeddings = [self._pass(number) for number in range(len(self._parts))]
        self._cached = torch.cat(embeddings).requires_grad_()
        return self._cached

    def backward(self) -> None:
        """Carry the gradients of the embeddings into the weights, where autograd has not."""
        if self._cached is None or self._cached.grad is None:
            return
        for number, part in enumerate(self._parts):
            embeddings = self._pass(number)
            if not embeddings.requires_grad:  # a frozen tower
                return
            embeddings.backward(self._cached.grad[part])

    def _pass(self, number: int) -> Tensor:
        seed = self._seed + number
        _set_seed(seed, self._device)
        return self._tower(self._parts[number], seed)


@dataclass(frozen=True, eq=False)
class Batch:
    """What one process gets for one step.

    Attributes:
        images: the images of its rows.
        lonlat: ``(B, 2)`` places of the whole batch, degrees.
        time: ``(B, 2)`` date and hour of the whole batch.
        labels: ``(B,)`` classes of the whole batch.
        groups: ``(B,)`` groups of the whole batch.
    """

    images: Loaded
    lonlat: Tensor
    time: Tensor | None = None
    labels: Tensor | None = None
    groups: Tensor | None = None


class Towers:
    """Both towers of a model, and what an objective asks of them.

    Args:
        model: image and location tower.
        objective: what to show.
        settings: rows of a pass and precision.
        seed: fixes places, dropout masks and augmentation of every step.
        process: this process.
    """

    def __init__(
        self,
        model: GeoModel,
        objective: Objective,
        settings: PretrainSettings,
        *,
        seed: int,
        process: Process,
    ) -> None:
        self._model, self._objective = model, objective
        self._settings, self._seed, self._process = settings, seed, process
        self._device = model.log_scale.device
        self._passes: list[Passes] = []

    def look(self, batch: Batch, step: int) -> Views:
        """Embed the images and places of this process, and the places the objective asks for."""
        own = self._process.own(len(batch.lonlat))
        lonlat = batch.lonlat[own].to(self._device)
        asked = self._asked(batch.lonlat, step, own)
        raw = self._locations(lonlat, _of(batch.time, own, self._device), asked, step)
        sizes = [len(lonlat), *(places[..., 0].numel() for places in asked.values())]
        (true, *others), (unit, *units) = raw.split(sizes), F.normalize(raw, dim=-1).split(sizes)
        extra = {
            name: Places(places, *(part.view(*places.shape[:-1], -1) for part in parts))
            for (name, places), *parts in zip(asked.items(), others, units, strict=True)
        }
        uses = self._objective
        views = Views(
            lonlat=lonlat,
            location=unit,
            raw_location=true,
            scale=self._model.scale(),
            features=self._features(batch.images, lonlat, step) if uses.uses_features else None,
            image=self._images(batch.images, len(lonlat), step) if uses.uses_images else None,
            extra=extra,
            labels=_of(batch.labels, own, self._device) if uses.uses_labels else None,
            groups=_of(batch.groups, own, self._device) if uses.uses_groups else None,
            process=self._process,
        )
        if self._device.type == "cpu":
            _keep_gradients(views)
        return views

    def finish(self) -> None:
        """After the loss's own backward: carry gradients on into the weights."""
        for passes in self._passes:
            passes.backward()
        self._passes.clear()

    def _asked(self, lonlat: Tensor, step: int, own: slice) -> dict[str, Tensor]:
        asked = self._objective.places(lonlat, generator(self._seed, Stream.PLACES, step))
        share = {name: p[own] if p.ndim == 3 else p for name, p in asked.items()}
        return {name: places.to(self._device, lonlat.dtype) for name, places in share.items()}

    def _locations(
        self, lonlat: Tensor, time: Tensor | None, asked: dict[str, Tensor], step: int
    ) -> Tensor:
        places = torch.cat([lonlat, *(p.reshape(-1, 2) for p in asked.values())])
        times = None if time is None else _times(time, asked)

        def tower(part: slice, seed: int) -> Tensor:
            with self._settings.precision.autocast(self._device):
                embedded: Tensor = self._model.location(
                    places[part], None if times is None else times[part]
                )
            return at_least_float32(embedded)

        return self._run(tower, len(places), Stream.LOCATION, step)

    def _images(self, images: Loaded, count: int, step: int) -> Tensor:
        def tower(part: slice, seed: int) -> Tensor:
            given = images.take(part, seed).to(self._device, non_blocking=True)
            with self._settings.precision.autocast(self._device):
                projected = self._model.project_image(given)
            return F.normalize(at_least_float32(projected), dim=-1)

        return self._run(tower, count, Stream.IMAGE, step)

    def _features(self, images: Loaded, lonlat: Tensor, step: int) -> Tensor:
        seed = derived_seed(self._seed, Stream.IMAGE, step, self._process.rank)
        return self._model.standardised(images.take(slice(0, len(lonlat)), seed).to(self._device))

    def _run(
        self, tower: Callable[[slice, int], Tensor], count: int, stream: Stream, step: int
    ) -> Tensor:
        seed = derived_seed(self._seed, stream, step, self._process.rank)
        rows = self._settings.micro_batch or count
        passes = Passes(tower, count, rows, seed, self._device)
        self._passes.append(passes)
        return passes.forward()


def _keep_gradients(views: Views) -> None:
    """Let embeddings keep their gradients, which tell whose is not finite."""
    for embeddings in (views.raw_location, views.image, *(p.raw for p in views.extra.values())):
        if embeddings is not None and embeddings.requires_grad:
            embeddings.retain_grad()


def _set_seed(seed: int, device: torch.device) -> None:
    """Like ``torch.manual_seed``, which without a GPU takes a stack trace every time."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def _of(values: Tensor | None, own: slice, device: torch.device) -> Tensor | None:
    return None if values is None else values[own].to(device)


def _times(time: Tensor, asked: dict[str, Tensor]) -> Tensor:
    """Times of all places: those of the image, unknown for places of no image."""
    parts = [time]
    for places in asked.values():
        if places.ndim == 3:
            parts.append(time.repeat_interleave(places.shape[1], dim=0))
        else:
            parts.append(time.new_full((len(places), 2), torch.nan))
    return torch.cat(parts)
