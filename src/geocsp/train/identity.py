"""What makes two runs the same run, so that one may go on where the other stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geocsp.images.features import Features
from geocsp.model import GeoModel
from geocsp.objectives.base import Objective
from geocsp.train.feeds import DiskFeed, MemoryFeed
from geocsp.train.plan import Plan
from geocsp.train.settings import PretrainSettings

_SAMPLED = 256
"""Rows of image features that are looked at."""


def identity_of(
    model: GeoModel,
    objective: Objective,
    settings: PretrainSettings,
    plan: Plan,
    data: Mapping[str, object],
) -> dict[str, str]:
    """All that decides on the numbers of a run, as a text for each thing.

    These are the settings but ``compile``, the seed, which rows are shown in the first epoch, the
    settings of location encoder and objective, names and shapes of all weights and which of them
    are trained, and the data. Of image features, some rows stand for all.

    Args:
        model: the model.
        objective: the loss.
        settings: how to train.
        plan: which rows are shown.
        data: tensors, feeds and the like by name; None for what is not given.
    """
    named = {f"settings.{f.name}": repr(getattr(settings, f.name)) for f in fields(settings)}
    del named["settings.compile"]
    named |= {"seed": str(plan.seed), "rows of the first epoch": _hash(plan.order(0))}
    named |= dict(_modules("model.location", model.location))
    named |= dict(_modules("objective", objective))
    for part, module in (("model", model), ("objective", objective)):
        named |= {f"{part}.{n}": _shape(t) for n, t in module.state_dict(keep_vars=True).items()}
    for name, value in data.items():
        named |= dict(_described(name, value))
    return named


def differences(there: Mapping[str, str], here: Mapping[str, str], most: int = 3) -> str:
    """What differs between two identities, a line; empty if nothing does."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    shown = [f"{name} was {there.get(name)} and is {here.get(name)}" for name in names[:most]]
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return "; ".join(shown + more)


def _modules(name: str, module: nn.Module) -> Iterator[tuple[str, str]]:
    """Class and plain attributes of a module and all its parts."""
    for path, part in module.named_modules(prefix=name):
        public = {k: v for k, v in vars(part).items() if k[0] != "_" and k != "training"}
        plain = ", ".join(f"{k}={v!r}" for k, v in sorted(public.items()) if _is_plain(v))
        yield f"{path} (settings)", f"{type(part).__name__}({plain})"


def _described(name: str, value: object) -> Iterator[tuple[str, str]]:
    """A value, and the fields of a dataclass that take part in comparisons."""
    value = value.features if isinstance(value, MemoryFeed | DiskFeed) else value
    yield name, _text(value)
    if is_dataclass(value) and not isinstance(value, Features):
        for field in fields(value):
            if field.compare:
                yield f"{name}.{field.name}", _text(getattr(value, field.name))


def _text(value: object) -> str:
    """What a value is, but not where it is: files may move."""
    if isinstance(value, Features) or (isinstance(value, Tensor) and _is_wide_table(value)):
        # the same numbers, in memory or on disk
        return f"{tuple(value.shape)} {_hash(value[_some(len(value))].double())}"
    if isinstance(value, Tensor):
        whole = value.shape[1:].numel() <= 2
        return f"{_shape(value)} {_hash(value if whole else value[_some(len(value))])}"
    own = [getattr(value, f.name) for f in fields(value)] if is_dataclass(value) else [value]
    return repr(value) if all(_is_plain(part) for part in own) else type(value).__name__


def _is_wide_table(value: Tensor) -> bool:
    """Whether a tensor may be image features; places and times have two columns."""
    return value.ndim == 2 and value.shape[1] > 2


def _some(count: int) -> Tensor:
    """Some rows of so many, evenly spaced."""
    return torch.linspace(0, count - 1, min(count, _SAMPLED), dtype=torch.float64).long()


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)


def _shape(tensor: Tensor) -> str:
    trained = " trained" if tensor.requires_grad else ""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}{trained}"


def _hash(values: Tensor) -> str:
    whole = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(whole.numpy().data).hexdigest()[:16]
