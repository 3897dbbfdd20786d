"""Applying a model to many rows in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@torch.no_grad()
def in_passes(
    model: nn.Module,
    function: Callable[..., Tensor],
    *inputs: Tensor | None,
    rows: int = 65_536,
) -> Tensor:
    """Apply a part of ``model`` to equally long inputs, ``rows`` at a time, in evaluation mode.

    Beside the result, memory is bounded by one pass. An input that is None stays None.
    """
    count = next(len(given) for given in inputs if given is not None)
    with evaluating(model):
        if count <= rows:
            return function(*inputs)
        result = function(*(None if given is None else given[:rows] for given in inputs))
        whole = result.new_empty(count, *result.shape[1:])
        whole[:rows] = result
        for start in range(rows, count, rows):
            part = slice(start, start + rows)
            whole[part] = function(*(None if given is None else given[part] for given in inputs))
    return whole


_EVALUATED: dict[nn.Module, tuple[int, bool]] = {}
_LOCK = threading.Lock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, the former mode of every part after it.

    Several threads may be inside for the same parts; the last one out restores them.
    """
    with _LOCK:
        parts = [part for part in model.modules() if part.training or part in _EVALUATED]
        for part in parts:
            inside, training = _EVALUATED.get(part, (0, part.training))
            _EVALUATED[part] = inside + 1, training
            part.training = False
    try:
        yield
    finally:
        with _LOCK:
            for part in parts:
                inside, training = _EVALUATED.pop(part)
                if inside > 1:
                    _EVALUATED[part] = inside - 1, training
                else:
                    part.training = training
