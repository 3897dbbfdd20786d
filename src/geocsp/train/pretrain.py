"""Pre-training without labels: bring each image and its place together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager

import torch
from torch import Tensor, nn

from geocsp.data.samplers import Sampler, Uniform
from geocsp.errors import DataError
from geocsp.images.features import Features
from geocsp.model import GeoModel
from geocsp.objectives import Objective, Views
from geocsp.process import Process
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.feeds import DiskFeed, Feed, Loaded, MemoryFeed, NoFeed, feed_of
from geocsp.train.identity import identity_of
from geocsp.train.ledger import Ledger
from geocsp.train.optimizer import gradient_norm, set_rate, trainable
from geocsp.train.plan import Plan
from geocsp.train.randomness import random_state_kept
from geocsp.train.settings import PretrainSettings
from geocsp.train.state import TrainingState
from geocsp.train.towers import Batch, Towers
from geocsp.train.validation import Validation
from geocsp.train.watching import Watcher


def pretrain(
    model: GeoModel,
    objective: Objective,
    images: Tensor | Features | Feed | None,
    lonlat: Tensor,
    settings: PretrainSettings,
    *,
    seed: int,
    time: Tensor | None = None,
    labels: Tensor | None = None,
    groups: Tensor | None = None,
    sampler: Sampler | None = None,
    validation: Validation | None = None,
    checkpoints: Checkpoints | None = None,
    watchers: Sequence[Watcher] = (),
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train the location encoder and the image side of ``model`` in place.

    Called by every process of a running ``torch.distributed`` group with the same arguments, it
    splits each batch among them. What comes out depends on the seed and the settings, and not on
    interruptions, nor, beyond rounding, dropout and augmentation, on the number of processes.

    Args:
        model: the model to train, on the device to train on.
        objective: the loss, on the same device; its own parameters, if any, are trained along.
        images: ``(N, F)`` image features, in memory or, if that is too small, on disk as
            :func:`geocsp.compute_features` leaves them; a feed of pixels for models that have an
            image encoder; None for objectives that use no images.
        lonlat: ``(N, 2)`` places of the images, degrees.
        settings: length, rates and precision.
        seed: fixes batches, random places, augmentation and dropout masks.
        time: ``(N, 2)`` date and hour of each image, for encoders made with harmonics of time;
            random places are taken at the times of the images they are compared with.
        labels: ``(N,)`` int64 classes, -1 where unknown, for objectives that use them.
        groups: ``(N,)`` int64 photographers or sites, -1 where unknown, likewise.
        sampler: which images an epoch shows, fitted to these places; all of them if left out.
        validation: held-out images to find the places of while training, and when to stop.
        checkpoints: where to keep the state; a run that finds its own state there goes on from it
            and ends with the same weights, bit for bit on a CPU, as one never interrupted.
        watchers: are told of every step and epoch, in the first process.
        on_epoch: called after each epoch with its number and mean losses.

    Returns:
        Mean loss and parts of every epoch, and what validation measured.

    Raises:
        DataError: images, places, labels and sampler do not fit together, a feature or the loss is
            not finite, or the checkpoints are of another run.
        ValueError: a place or a time is missing or out of range.
    """
    process, device = Process.current(), model.log_scale.device
    model.location.check(lonlat, time)
    feed = feed_of(images, len(lonlat))
    _check(model, feed, objective, lonlat, labels, groups)
    if validation is not None:
        validation.check(model, objective)
    sampler = Uniform().fit(lonlat) if sampler is None else sampler
    plan = Plan.of(sampler, len(feed), settings.batch_size, settings.epochs, process, seed)
    state = TrainingState.new(model, objective, settings)
    if checkpoints is not None:
        data: dict[str, object] = {"lonlat": lonlat, "time": time, "labels": labels}
        data |= {"groups": groups, "images": feed, "validation": validation}
        checkpoints.resume(state, identity_of(model, objective, settings, plan, data), process)
    for module in (model, objective):  # drawn differently in each process, or moved since
        process.spread(module.state_dict().values())
    progress = state.progress
    ledger = Ledger(plan, process, device, watchers, state.scaler)
    step = _Step(state, settings, plan, process, ledger)
    stopped = validation is not None and validation.stops(progress)
    left = plan.batches(plan.steps if stopped else progress.step)
    batches = _with_images((rows.sort().values for rows in left), feed, process)
    with random_state_kept(device), _compiled(model, settings.compile), closing(batches):
        model.train()
        ledger.start(progress)
        try:
            for rows, loaded in ledger.waiting_for(batches):
                batch = Batch(
                    loaded, lonlat[rows], _of(time, rows), _of(labels, rows), _of(groups, rows)
                )
                step(rows, batch)
                if progress.step % plan.steps_per_epoch == 0:
                    ledger.settle(progress)
                    measured = {} if validation is None else validation.judge(state, process)
                    means = ledger.close_epoch(progress, measured)
                    if on_epoch:
                        on_epoch(len(progress.history) - 1, means)
                    stopped = validation is not None and validation.stops(progress)
                last = stopped or progress.step == plan.steps
                if checkpoints is not None and checkpoints.due(progress.step, last=last):
                    ledger.close_for_saving(progress)
                    checkpoints.save(state, process)
                if stopped:
                    break
        finally:
            ledger.finish()
    state.finish()
    model.eval()
    return progress.history


class _Step:
    """One step: from a batch to moved weights.

    Args:
        state: what moves.
        settings: how to train.
        plan: seed and number of steps.
        process: this process.
        ledger: the books.
    """

    def __init__(
        self,
        state: TrainingState,
        settings: PretrainSettings,
        plan: Plan,
        process: Process,
        ledger: Ledger,
    ) -> None:
        self._state, self._settings, self._plan = state, settings, plan
        self._process, self._ledger = process, ledger
        self._device = state.model.log_scale.device
        self._parameters = trainable(state.model, state.objective)
        self._towers = Towers(
            state.model, state.objective, settings, seed=plan.seed, process=process
        )

    def __call__(self, rows: Tensor, batch: Batch) -> None:
        """Train on a batch of these rows.

        Raises:
            NotFiniteError: the loss or the gradient is not finite.
        """
        state, progress = self._state, self._state.progress
        rate = set_rate(state.optimizer, progress.step / self._plan.steps, self._settings)
        views, parts = self._backward(batch)
        state.scaler.unscale_(state.optimizer)
        norm = gradient_norm(self._parameters, self._settings.clip_norm)
        self._ledger.enter(progress, parts, norm, rate, rows, views)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.model.limit_scale()
        state.update_average()
        state.objective.remember(batch.lonlat.to(self._device))
        progress.step += 1

    def _backward(self, batch: Batch) -> tuple[Views, dict[str, Tensor]]:
        """Leave the gradient of the batch in the weights."""
        state = self._state
        state.optimizer.zero_grad(set_to_none=True)
        views = self._towers.look(batch, state.progress.step)
        with self._settings.precision.autocast(self._device):
            parts: dict[str, Tensor] = state.objective(views)
        state.scaler.scale(parts["loss"]).backward()
        self._towers.finish()
        self._process.average_gradients(self._parameters)
        return views, parts


def _check(
    model: GeoModel,
    feed: Feed,
    objective: Objective,
    lonlat: Tensor,
    labels: Tensor | None,
    groups: Tensor | None,
) -> None:
    if len(feed) != len(lonlat) or len(lonlat) < 2:
        raise DataError(
            f"need as many places as feature rows, at least 2: got {len(lonlat)} places and "
            f"{len(feed)} rows"
        )
    width = feed.width if isinstance(feed, MemoryFeed | DiskFeed) else None
    if width not in (None, len(model.feature_mean)):
        raise DataError(
            f"the model is made for {len(model.feature_mean)} features of an image, got {width}"
        )
    if (objective.uses_images or objective.uses_features) and isinstance(feed, NoFeed):
        raise DataError(f"{type(objective).__name__} needs images, but none are given")
    for name, column, used in (
        ("labels", labels, objective.uses_labels),
        ("groups", groups, objective.uses_groups),
    ):
        if used and column is None:
            raise DataError(f"{type(objective).__name__} needs {name}, but none are given")
        if column is not None and (column.shape != (len(lonlat),) or column.dtype != torch.int64):
            raise DataError(
                f"{name} must be one int64 number for each of {len(lonlat)} images, got "
                f"{column.dtype} of shape {tuple(column.shape)}"
            )


def _with_images(
    batches: Iterator[Tensor], feed: Feed, process: Process
) -> Generator[tuple[Tensor, Loaded]]:
    """The rows of each batch over all processes, and the images of this process."""
    every, shown = itertools.tee(batches)
    own = (rows[process.own(len(rows))] for rows in shown)
    with closing(feed.stream(own)) as images:
        yield from zip(every, images, strict=True)


def _of(column: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if column is None else column[rows]


@contextmanager
def _compiled(model: GeoModel, wanted: bool) -> Iterator[None]:
    """Compile the networks inside the block."""
    networks: list[nn.Module] = [model.location.network] if wanted else []
    if wanted and model.image is not None:
        networks.append(model.image)
    for network in networks:
        network.compile()
    try:
        yield
    finally:
        for network in networks:
            network._compiled_call_impl = None
