"""Optional libraries of networks: imported when they are needed, explained when they fail."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch

from geocsp.errors import DataError, MissingExtraError


def library(name: str, extra: str) -> Any:
    """Import an optional library.

    Raises:
        MissingExtraError: it is not installed.
        DataError: it is installed and cannot be imported; the message says why and what to do.
    """
    root = name.partition(".")[0]
    try:
        return import_module(name)
    except Exception as error:  # compiled libraries fail in any way
        if find_spec(root) is None:
            raise MissingExtraError(root, extra) from None
        raise DataError(
            f"{root} cannot be imported ({one_line(error)}); {_cure(error, extra)}"
        ) from error


def transformers_library() -> Any:
    """Import transformers, after the torchvision that it would stumble over if that is broken.

    Raises:
        MissingExtraError: it is not installed.
        DataError: it, or the torchvision beside it, cannot be imported.
    """
    if find_spec("torchvision") is not None:
        library("torchvision", "vision")
    return library("transformers", "transformers")


def one_line(error: BaseException) -> str:
    """What an error says, as one short line."""
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__


def _cure(error: Exception, extra: str) -> str:
    if "torchvision" in str(error):
        return (
            f"torchvision {_version('torchvision')} does not fit torch {torch.__version__}: their "
            "releases belong together, so reinstall both in one pip install from one index"
        )
    return f"pip install --upgrade 'geocsp[{extra}]' brings what belongs together"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
