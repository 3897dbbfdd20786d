"""Weighted sums of objectives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from geocsp.objectives.base import Objective, Places, Views
from geocsp.registry import create, register

_KEYS = {"name", "settings", "weight"}


@register("objective", "weighted")
class WeightedSum(Objective):
    """Any objectives, each with a weight: the loss is the weighted sum of theirs.

    A member is called by the name of its objective, numbered if there are several of a kind:
    ``clip``, or ``csp-mc-1`` and ``csp-mc-2``. Its places and parts are called ``csp-mc.random``
    or ``csp-mc.B``; its own loss, unweighted, is the part ``csp-mc.loss``. A member of weight zero
    is left out altogether.

    Args:
        members: for each its ``name`` in the registry, its ``settings``, if any, and its
            ``weight``, 1 if left out.

    Attributes:
        members: the objectives by name, a module dictionary.
        weights: their weights by name.

    Raises:
        ValueError: a member that cannot be built, a negative weight, or no member with a weight.
    """

    def __init__(self, *, members: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        given = [_read(number, member) for number, member in enumerate(members)]
        kept = [member for member in given if member["weight"]]
        names = _numbered([member["name"] for member in kept])
        built = {
            name: (create("objective", member["name"], **member["settings"]), member["weight"])
            for name, member in zip(names, kept, strict=True)
        }
        self._take(built)

    @classmethod
    def of(cls, members: Mapping[str, tuple[Objective, float]]) -> Self:
        """The weighted sum of objectives that are built already.

        Args:
            members: objective and weight by a name of your choice, without a dot.

        Raises:
            ValueError: a name with a dot, a negative weight, or no member with a weight.
        """
        total = cls.__new__(cls)
        Objective.__init__(total)
        total._take({name: member for name, member in members.items() if member[1]})
        return total

    def _take(self, members: Mapping[str, tuple[Objective, float]]) -> None:
        self.weights = {name: weight for name, (_, weight) in members.items()}
        if not members or min(self.weights.values()) < 0:
            raise ValueError(f"weights must be >= 0 and not all zero, got {self.weights}")
        if dotted := [name for name in members if "." in name or not name]:
            raise ValueError(f"names of members must have no dot and not be empty, got {dotted}")
        objectives = [objective for objective, _ in members.values()]
        self.members = nn.ModuleDict(dict(zip(members, objectives, strict=True)))
        self.uses_images = any(objective.uses_images for objective in objectives)
        self.uses_features = any(objective.uses_features for objective in objectives)
        self.uses_labels = any(objective.uses_labels for objective in objectives)
        self.uses_groups = any(objective.uses_groups for objective in objectives)
        self.learns_scale = any(objective.learns_scale for objective in objectives)

    def objectives(self) -> dict[str, Objective]:
        """The members by name."""
        return {name: _objective(member) for name, member in self.members.items()}

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The places of all members, each name with the member's before it."""
        return {
            f"{name}.{key}": places
            for name, objective in self.objectives().items()
            for key, places in objective.places(lonlat, generator).items()
        }

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss, and the losses and parts of the members."""
        terms: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        for name, objective in self.objectives().items():
            own = objective(replace(views, extra=_own(views.extra, f"{name}.")))
            terms.append(self.weights[name] * own["loss"])
            parts |= {f"{name}.{part}": value.detach() for part, value in own.items()}
        return {"loss": torch.stack(terms).sum()} | parts

    def remember(self, lonlat: Tensor) -> None:
        """Tell all members."""
        for objective in self.objectives().values():
            objective.remember(lonlat)


def _read(number: int, member: Mapping[str, Any]) -> dict[str, Any]:
    """A member with all its keys, checked."""
    if not isinstance(member, Mapping):
        raise ValueError(
            f"member {number} must be a name with settings and a weight, got {member!r}"
        )
    if "name" not in member or not member.keys() <= _KEYS:
        raise ValueError(
            f"member {number} needs a name and may have settings and a weight, got "
            f"{', '.join(sorted(map(str, member)))}"
        )
    settings = dict(member.get("settings") or {})
    return {"name": member["name"], "settings": settings, "weight": member.get("weight", 1.0)}


def _numbered(names: list[str]) -> list[str]:
    """Names of which those that occur more than once have a number behind."""
    counts, seen = Counter(names), Counter[str]()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name}-{seen[name]}" if counts[name] > 1 else name)
    return numbered


def _own(extra: Mapping[str, Places], prefix: str) -> dict[str, Places]:
    return {
        name.removeprefix(prefix): places
        for name, places in extra.items()
        if name.startswith(prefix)
    }


def _objective(member: nn.Module) -> Objective:
    assert isinstance(member, Objective)
    return member
