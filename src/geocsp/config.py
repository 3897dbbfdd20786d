"""Settings in YAML files, checked against the dataclass they fill."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from geocsp.errors import DataError

_Settings = TypeVar("_Settings")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """What checks a dataclass; making it takes longer than using it."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind))
    return _ADAPTERS[kind]


def read_config(path: Path, kind: type[_Settings]) -> _Settings:
    """Fill a settings dataclass from a YAML file; what the file leaves out keeps its default.

    Raises:
        DataError: no such file, not YAML, an unknown field, or a value of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    return parse_config(text, kind, str(path))


def parse_config(text: str, kind: type[_Settings], where: str) -> _Settings:
    """Fill a settings dataclass from YAML; ``where`` names it in messages.

    Raises:
        DataError: not YAML, an unknown field, or a value of the wrong type.
    """
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise DataError(f"cannot read {where}: {' '.join(str(error).split())}") from error
    return settings_of({} if values is None else values, kind, where)


def settings_of(values: Any, kind: type[_Settings], where: str) -> _Settings:
    """Fill a settings dataclass from plain values; ``where`` names them in messages.

    Raises:
        DataError: an unknown field, or a value of the wrong type.
    """
    try:
        settings: _Settings = _adapter(kind).validate_python(values)
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "unexpected_keyword_argument":
            message = "there is no such setting"
        raise DataError(f"{where}: {field}: {message}") from error


def values_of(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain texts, numbers, lists and dictionaries."""
    values = _adapter(type(settings)).dump_python(settings, mode="json")
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def write_config(settings: Any) -> str:
    """A settings dataclass as YAML."""
    text: str = yaml.safe_dump(values_of(settings), sort_keys=False)
    return text
