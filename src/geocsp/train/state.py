"""Everything that training changes, as tensors and numbers that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from geocsp.errors import DataError
from geocsp.model import GeoModel
from geocsp.objectives.base import Objective
from geocsp.train.optimizer import build_optimizer
from geocsp.train.settings import Precision, PretrainSettings


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: steps done.
        sums: sums of loss parts over the steps of the epoch so far.
        history: mean loss and parts of every epoch, and what validation measured.
        best: best value of the validation metric so far.
        waited: validations since then.
    """

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    waited: int = 0


@dataclass(eq=False)
class TrainingState:
    """Model, objective, optimiser, average and progress of one run.

    Attributes:
        model: both towers.
        objective: the loss, with what it learns and remembers.
        optimizer: AdamW.
        scaler: of the loss, for float16.
        average: exponential moving average of the weights of model and objective, if wanted.
        best: weights of model and objective at the best validation, if there was one.
        progress: how far the run has come.
    """

    model: GeoModel
    objective: Objective
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    best: dict[str, Tensor] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    @classmethod
    def new(cls, model: GeoModel, objective: Objective, settings: PretrainSettings) -> Self:
        """The state at the start of a run."""
        scaler = torch.amp.GradScaler(
            model.log_scale.device.type, enabled=settings.precision is Precision.FLOAT16
        )
        optimizer = build_optimizer(model, objective, settings)
        return cls(model, objective, optimizer, scaler, averaged(model, objective, settings.ema))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        parts: dict[str, nn.Module | None] = {
            "model": self.model,
            "objective": self.objective,
            "average": self.average,
        }
        named = {
            f"{part}.{name}": tensor
            for part, module in parts.items()
            if module is not None
            for name, tensor in module.state_dict().items()
        }
        for number, entries in self.optimizer.state_dict()["state"].items():
            named |= {f"optimizer.{number}.{name}": value for name, value in entries.items()}
        return named | {f"best.{name}": tensor for name, tensor in self.best.items()}

    def facts(self) -> dict[str, Any]:
        """All numbers that are no tensors."""
        return {"progress": asdict(self.progress), "scaler": self.scaler.state_dict()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go back to a state that :meth:`tensors` and :meth:`facts` described.

        Raises:
            DataError: it is the state of another model, objective or optimiser.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        entries: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts.get("optimizer", {}).items():
            number, _, rest = name.partition(".")
            entries.setdefault(int(number), {})[rest] = tensor
        try:
            self.model.load_state_dict(parts.get("model", {}))
            self.objective.load_state_dict(parts.get("objective", {}))
            if self.average is not None:
                self.average.load_state_dict(parts.get("average", {}))
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": entries, "param_groups": groups})
            self.scaler.load_state_dict(facts["scaler"])
            self.progress = Progress(**facts["progress"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"the checkpoint does not fit this run: {reason}") from error
        self.best = parts.get("best", {})

    def evaluated(self) -> GeoModel:
        """The model to judge: the average of the weights if there is one."""
        model = self._weights_to_keep()["model"]
        assert isinstance(model, GeoModel)
        return model

    def update_average(self) -> None:
        """Let the average follow the weights, after a step."""
        if self.average is not None:
            self.average.update_parameters(_both(self.model, self.objective))

    def keep_best(self) -> None:
        """Remember the weights that the last validation found best so far."""
        states = self._weights_to_keep().state_dict()
        self.best = {name: tensor.detach().clone() for name, tensor in states.items()}

    @torch.no_grad()
    def finish(self) -> None:
        """Give model and objective the weights to keep: the best, else the average, else the last.

        A class matrix that an objective has learned then fits the location encoder.
        """
        kept = self.best or self._weights_to_keep().state_dict()
        _both(self.model, self.objective).load_state_dict(kept)

    def _weights_to_keep(self) -> nn.ModuleDict:
        if self.average is None or self.progress.step == 0:
            return _both(self.model, self.objective)
        assert isinstance(self.average.module, nn.ModuleDict)
        return self.average.module


def averaged(model: GeoModel, objective: Objective, decay: float | None) -> AveragedModel | None:
    """An exponential moving average of all weights; the first update copies them."""
    if decay is None:
        return None
    both = _both(model, objective)
    return AveragedModel(both, multi_avg_fn=get_ema_multi_avg_fn(decay))


def _both(model: GeoModel, objective: Objective) -> nn.ModuleDict:
    return nn.ModuleDict({"model": model, "objective": objective})
