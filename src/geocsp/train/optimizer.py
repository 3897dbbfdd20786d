"""The optimiser: which weights move, how fast, and how they decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from geocsp.model import GeoModel
from geocsp.objectives.base import Objective
from geocsp.train.schedule import learning_rate_factor
from geocsp.train.settings import PretrainSettings


def build_optimizer(
    model: GeoModel, objective: Objective, settings: PretrainSettings
) -> torch.optim.AdamW:
    """AdamW over all weights of both towers and the objective that require gradients.

    Matrices decay, vectors and scalars (biases, norms, the temperature) do not; an image encoder
    that is trained along has its own rate.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    encoder = {id(p) for p in model.image.parameters()} if model.image is not None else set()
    for parameter in trainable(model, objective):
        rate = settings.learning_rate * (settings.image_rate if id(parameter) in encoder else 1.0)
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    options: list[dict[str, Any]] = [
        {"params": parameters, "lr": 0.0, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(options, fused=True)


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """All parameters of some modules that require gradients, each once."""
    unique = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return list(unique.values())


def set_rate(
    optimizer: torch.optim.Optimizer, progress: float, settings: PretrainSettings
) -> float:
    """Set the learning rates for a step at ``progress`` in [0, 1) of all steps.

    Returns:
        The rate of the first group of weights, those of the location encoder.
    """
    factor = learning_rate_factor(
        progress, settings.warmup, settings.cosine, settings.decay, settings.epochs
    )
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return float(optimizer.param_groups[0]["lr"])


def gradient_norm(parameters: Iterable[Tensor], longest: float | None) -> Tensor:
    """Length of the gradient over all parameters; one longer than ``longest`` is scaled to it."""
    used = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in used if p.grad is not None])
    if longest is not None:
        torch.nn.utils.clip_grads_with_norm_(used, longest, norm)
    return norm
