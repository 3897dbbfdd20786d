"""Presets in YAML files: those that come with the library, and others."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from geocsp.config import parse_config, read_config
from geocsp.errors import DataError
from geocsp.presets.preset import Preset

_NAMES = (
    "best",
    "inat2018-paper",
    "inat2018-release",
    "fmow-paper",
    "fmow-release",
    "satclip",
    "geoclip",
    "sinr",
)


def _packaged(name: str) -> Preset:
    text = files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return parse_config(text, Preset, f"preset {name}")


PRESETS = {name: _packaged(name) for name in _NAMES}
"""All presets by name."""
BEST = PRESETS["best"]
PAPER = PRESETS["inat2018-paper"]
RELEASE = PRESETS["inat2018-release"]


def read_preset(path: Path) -> Preset:
    """Read a preset from a YAML file; what the file leaves out keeps its default.

    Raises:
        DataError: no such file, not YAML, an unknown setting, a value of the wrong type, or a
            component that there is not or that does not take its settings.
    """
    preset = read_config(path, Preset)
    try:
        preset.check()
    except ValueError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    return preset
