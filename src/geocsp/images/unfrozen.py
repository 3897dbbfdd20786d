"""Image encoders that are trained along: which weights move, and in which mode they run."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder

_SHOWN = 4


def unfreeze(encoder: ImageEncoder, patterns: Sequence[str]) -> tuple[str, ...]:
    """Let the weights move whose names match one of the patterns, and hold all others.

    Args:
        encoder: the encoder.
        patterns: as for file names, ``*`` for anything: "layer4.*", or "*" for all. A leading
            "module.", as :class:`geocsp.images.ModuleEncoder` gives it, can be left out.

    Returns:
        The names that match.

    Raises:
        DataError: a pattern matches nothing; then all stays as it was.
    """
    weights = dict(encoder.named_parameters())
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in weights if _matches(name, pattern)}
        if not found:
            raise DataError(f"no weight is named {pattern!r}; {_listed(list(weights))}")
        chosen |= found
    for name, weight in weights.items():
        weight.requires_grad_(name in chosen)
    return tuple(name for name in weights if name in chosen)


def is_frozen(encoder: ImageEncoder) -> bool:
    """Whether no weight of the encoder moves."""
    return not any(weight.requires_grad for weight in encoder.parameters())


def set_training(encoder: ImageEncoder, mode: bool) -> None:
    """Training mode, as of dropout, in the parts all of whose weights move; elsewhere none.

    Norms over the batch always use the statistics that the encoder came with: those of a batch
    would tie its images to each other, so that passes and processes could no longer share it out.
    """
    encoder.eval()
    if not mode:
        return
    for part in encoder.modules():
        weights = list(part.parameters())
        if weights and all(weight.requires_grad for weight in weights):
            part.train()
    for part in encoder.modules():
        if any(name == "running_mean" for name, _ in part.named_buffers(recurse=False)):
            part.eval()


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(n, pattern) for n in (name, name.removeprefix("module.")))


def _listed(names: list[str]) -> str:
    if not names:
        return "the encoder has no weights that could be trained"
    if len(names) <= 2 * _SHOWN:
        return f"there are {', '.join(names)}"
    first, last = ", ".join(names[:_SHOWN]), ", ".join(names[-_SHOWN:])
    return f"there are {len(names)}: {first}, ..., {last}"
