"""Presets with some settings changed, by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geocsp.config import settings_of, values_of
from geocsp.errors import DataError
from geocsp.presets.preset import Preset

_FREE = "settings"
"""Settings of a component may be named that are left at their defaults."""


def changed(preset: Preset, values: Mapping[str, Any]) -> Preset:
    """A preset with other values of some settings.

    Args:
        preset: the preset.
        values: by path, such as ``pretrain.epochs`` or ``location.settings.dropout``.

    Raises:
        DataError: there is no such setting, or a value of the wrong type or out of range.
    """
    plain = values_of(preset)
    for path, value in values.items():
        group, name = _place(plain, path)
        group[name] = value
    return settings_of(plain, Preset, "the settings")


def value_at(preset: Preset, path: str) -> Any:
    """The value of a setting, None where a component leaves it at its default.

    Raises:
        DataError: there is no such setting.
    """
    group, name = _place(values_of(preset), path)
    return group.get(name)


def _place(plain: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The group of settings that a path leads to, and the name in it."""
    *groups, name = path.split(".")
    group: Any = plain
    for step in groups:
        group = group.get(step) if isinstance(group, dict) else None
    free = bool(groups) and groups[-1] == _FREE
    if not isinstance(group, dict) or not (free or name in group):
        raise DataError(f"there is no setting {path!r}")
    return group, name
