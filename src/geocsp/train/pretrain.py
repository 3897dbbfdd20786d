"""Pre-training without labels: bring each image and its place together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geocsp.checks import check_finite_rows
from geocsp.data.samplers import Sampler, Uniform
from geocsp.errors import DataError
from geocsp.images.features import Features
from geocsp.model import GeoModel
from geocsp.objectives import NegativeSampling, Objective, Views
from geocsp.train.schedule import learning_rate_factor


@dataclass(frozen=True)
class PretrainSettings:
    """How long and how fast to pre-train.

    Attributes:
        epochs: passes over all images.
        batch_size: images in a step; the last, smaller batch of an epoch is left out.
        learning_rate: peak rate of Adam (AdamW where there is weight decay).
        weight_decay: decoupled weight decay.
        warmup: share of all steps over which the rate climbs from zero.
        cosine: let the rate fall to zero along a cosine; otherwise it stays constant.
        negatives: how random places are drawn.
    """

    epochs: int = 30
    batch_size: int = 1024
    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    warmup: float = 0.0
    cosine: bool = False
    negatives: NegativeSampling = NegativeSampling.SPHERE

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.epochs < 0:
            raise ValueError(
                f"need a batch_size of at least 1 and no fewer than 0 epochs, got "
                f"{self.batch_size} and {self.epochs}"
            )


def pretrain(
    model: GeoModel,
    objective: Objective,
    features: Tensor | Features,
    lonlat: Tensor,
    settings: PretrainSettings,
    *,
    seed: int,
    time: Tensor | None = None,
    sampler: Sampler | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train the location encoder and the image projection of ``model`` in place.

    Args:
        model: the model to train.
        objective: the loss; its own parameters, if any, are trained along.
        features: ``(N, F)`` image features, in memory or, if that is too small, on disk as
            :func:`geocsp.compute_features` leaves them.
        lonlat: ``(N, 2)`` places of the images, degrees.
        settings: length, rates and sampling.
        seed: fixes batches, random places and dropout masks.
        time: ``(N, 2)`` date and hour of each image, for encoders made with harmonics of time;
            random places are taken at the times of the images they are compared with.
        sampler: which images an epoch shows, fitted to these places; all of them if left out.
        on_epoch: called after each epoch with its number and mean losses.

    Returns:
        Mean loss and parts of every epoch.

    Raises:
        DataError: features, places and sampler do not fit together, a feature or the loss is not
            finite.
    """
    model.location.check(lonlat, time)
    if len(features) != len(lonlat) or len(lonlat) < 2:
        raise DataError(
            f"need as many places as feature rows, at least 2: got {len(lonlat)} places and "
            f"{len(features)} rows"
        )
    if isinstance(features, Tensor):
        check_finite_rows(features, "features")
    sampler = Uniform().fit(lonlat) if sampler is None else sampler
    if sampler.rows != len(features) or len(sampler) < 2:
        raise DataError(
            f"need a sampler fitted to the {len(features)} images that shows at least 2 an epoch: "
            f"{sampler} is fitted to {sampler.rows} and shows {len(sampler)}"
        )
    batch = min(settings.batch_size, len(sampler))
    steps_per_epoch = len(sampler) // batch
    parameters = [p for p in [*model.parameters(), *objective.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    generator = torch.Generator().manual_seed(seed)
    history = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.train()
        for epoch in range(settings.epochs):
            order = sampler.order(generator)
            sums: dict[str, float] = {}
            for step in range(steps_per_epoch):
                rows = order[step * batch : (step + 1) * batch]
                progress = (epoch * steps_per_epoch + step) / (settings.epochs * steps_per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * learning_rate_factor(
                        progress, settings.warmup, settings.cosine
                    )
                views = make_views(
                    model,
                    objective,
                    features[rows],
                    lonlat[rows],
                    settings.negatives,
                    generator,
                    None if time is None else time[rows],
                )
                parts = objective(views)
                if not bool(parts["loss"].isfinite()):
                    raise DataError(
                        f"loss is {parts['loss'].item()} in epoch {epoch}, step {step}; rows "
                        f"{rows[:5].tolist()}...; try a lower learning rate"
                    )
                optimizer.zero_grad(set_to_none=True)
                parts["loss"].backward()
                optimizer.step()
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach())
            means = {name: value / steps_per_epoch for name, value in sums.items()}
            history.append(means)
            if on_epoch:
                on_epoch(epoch, means)
    model.eval()
    return history


def make_views(
    model: GeoModel,
    objective: Objective,
    features: Tensor,
    lonlat: Tensor,
    negatives: NegativeSampling,
    generator: torch.Generator,
    time: Tensor | None = None,
) -> Views:
    """Run the model on one batch: only the passes that the objective asks for, all in one.

    The true places, their second dropout view and the random places go through the location
    encoder together; dropout masks are independent for every row, so this equals separate passes.
    """
    count, per_image = len(lonlat), objective.negatives_per_image
    places, times = [lonlat], [time]
    if objective.second_view:
        places.append(lonlat)
        times.append(time)
    if per_image:
        random = negatives.sample(count * per_image, generator).to(lonlat)
        places.append(random)
        times.append(None if time is None else time.repeat_interleave(per_image, dim=0))
    known = [part for part in times if part is not None]
    raw = model.location(torch.cat(places), torch.cat(known) if known else None)
    unit = F.normalize(raw, dim=-1)
    again = unit[count : 2 * count] if objective.second_view else None
    return Views(
        features=model.standardised(features),
        image=model.encode_image(features),
        location=unit[:count],
        raw_location=raw[:count],
        lonlat=lonlat,
        scale=model.scale(),
        location_again=again,
        negatives=unit[-count * per_image :].view(count, per_image, -1) if per_image else None,
        negative_lonlat=random.view(count, per_image, 2) if per_image else None,
    )
