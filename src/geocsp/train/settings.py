"""How to pre-train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import torch


class Precision(StrEnum):
    """Numbers in the towers' matrix products; weights and coordinates keep theirs."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Half the memory; two to three times as fast where the device multiplies it natively."""
    FLOAT16 = "float16"
    """For GPUs without bfloat16; the loss is scaled so that gradients do not vanish."""

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the towers and the loss run."""
        return torch.autocast(
            device.type,
            torch.float16 if self is Precision.FLOAT16 else torch.bfloat16,
            enabled=self is not Precision.FLOAT32,
        )


@dataclass(frozen=True)
class PretrainSettings:
    """How long and how fast to pre-train.

    Attributes:
        epochs: passes over all images.
        batch_size: images in a step, over all processes; the last, smaller batch of an epoch is
            left out.
        learning_rate: peak rate of Adam (AdamW where there is weight decay).
        weight_decay: decoupled weight decay of matrices; biases, norms and the temperature have
            none.
        warmup: share of all steps over which the rate climbs from zero.
        cosine: let the rate fall to zero along a cosine; otherwise it stays constant.
        decay: factor on the rate after every epoch.
        image_rate: factor on the rate for an image encoder that is trained along.
        micro_batch: most images, and places, that go through a tower at once; the gradient is
            that of the whole batch (gradient caching), for the price of a second forward pass.
            None: all.
        precision: numbers in matrix products.
        clip_norm: longest gradient; a longer one is scaled down to it.
        ema: decay of the exponential moving average of the weights that the model ends with, such
            as 0.999; None: the last weights.
        compile: compile the networks with torch.compile.
    """

    epochs: int = 30
    batch_size: int = 1024
    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    warmup: float = 0.0
    cosine: bool = False
    decay: float = 1.0
    image_rate: float = 1.0
    micro_batch: int | None = None
    precision: Precision = Precision.FLOAT32
    clip_norm: float | None = None
    ema: float | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.epochs < 0:
            raise ValueError(
                f"need a batch_size of at least 1 and no fewer than 0 epochs, got "
                f"{self.batch_size} and {self.epochs}"
            )
        if not 0 <= self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be at least 0, got {self.learning_rate}")
        if not (0 <= self.weight_decay < math.inf and 0 <= self.image_rate < math.inf):
            raise ValueError(
                f"weight_decay and image_rate must be at least 0, got {self.weight_decay} and "
                f"{self.image_rate}"
            )
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the steps in [0, 1), got {self.warmup}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch must be at least 1, got {self.micro_batch}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be positive, got {self.clip_norm}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be between 0 and 1, got {self.ema}")
