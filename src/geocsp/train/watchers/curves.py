"""Names of curves, which TensorBoard and W&B group by what is before the slash."""

from __future__ import annotations

from collections.abc import Mapping

from geocsp.train.watching import StepReport

_VALIDATION = "validation."


def of_step(report: StepReport) -> dict[str, float]:
    """A point of each curve of steps: loss, its parts, and how the run does."""
    numbers = {
        **report.parts,
        "learning_rate": report.learning_rate,
        "gradient_norm": report.gradient_norm,
        "images_per_second": report.images_per_second,
        "wait_share": report.wait_share,
        "peak_memory": report.peak_memory,
    }
    return {f"step/{name}": value for name, value in numbers.items()}


def of_epoch(means: Mapping[str, float]) -> dict[str, float]:
    """A point of each curve of epochs: means of the losses, and validation."""
    return {
        f"validation/{name.removeprefix(_VALIDATION)}"
        if name.startswith(_VALIDATION)
        else f"epoch/{name}": value
        for name, value in means.items()
    }
