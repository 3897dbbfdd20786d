"""Settings in YAML files, checked against the dataclass they fill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from geocsp.errors import DataError

_Settings = TypeVar("_Settings")


def read_config(path: Path, kind: type[_Settings]) -> _Settings:
    """Fill a settings dataclass from a YAML file; what the file leaves out keeps its default.

    Raises:
        DataError: no such file, not YAML, an unknown field, or a value of the wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    strict = with_config(ConfigDict(extra="forbid"))(kind)
    try:
        return TypeAdapter(strict).validate_python({} if values is None else values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {field}: {first['msg']}") from error


def write_config(settings: Any) -> str:
    """A settings dataclass as YAML."""
    values = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    text: str = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False)
    return text
