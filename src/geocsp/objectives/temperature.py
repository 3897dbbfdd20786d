"""Temperatures: fixed ones, and the model's learnable one."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.base import Objective, Views


class Tempered(Objective):
    """An objective over similarities that are divided by a temperature.

    Args:
        temperature: fixed temperature; if None, the model's learnable one is used.

    Raises:
        ValueError: the temperature is not positive.
    """

    def __init__(self, temperature: float | None) -> None:
        super().__init__()
        if temperature is not None and temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature
        self.learns_scale = temperature is None

    def scale(self, views: Views) -> Tensor | float:
        """Inverse temperature, a scalar."""
        return views.scale if self.temperature is None else 1 / self.temperature
