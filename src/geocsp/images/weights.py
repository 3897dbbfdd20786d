"""Weights of networks: where they are, when they are downloaded, how they are read.

Nothing is downloaded unless the caller allows it. Files are read as plain tensors; no code in them
is run.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from geocsp.checkpoints import read_checkpoint
from geocsp.errors import DataError
from geocsp.images.libraries import library, one_line

_NAMED = 4
"""So many tensors are named in a message,"""
_SHOWN = 80
"""with so many letters of their names."""


def hub_file(repository: str, names: Sequence[str], *, allow_download: bool) -> Path:
    """A file of a Hugging Face repository: out of the local cache, or downloaded if allowed.

    Args:
        repository: "organisation/name".
        names: files that would do, the best first.
        allow_download: fetch it if it is not in the cache.

    Raises:
        DataError: it is not there and may not or cannot be downloaded.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub, errors = library("huggingface_hub", "hub"), library("huggingface_hub.errors", "hub")
    reason: Exception | None = None
    for name in names:
        try:
            return Path(hub.hf_hub_download(repository, name, local_files_only=not allow_download))
        except errors.EntryNotFoundError as error:
            reason = reason or error
        except Exception as error:  # of whatever it uses below: no network, no such repository
            reason = error
            break
    raise _unavailable(f"{names[0]} of {repository}", reason if allow_download else None)


def source_file(source: str, names: Sequence[str], *, allow_download: bool) -> Path:
    """A file of a local folder or of a Hugging Face repository.

    Args:
        source: the folder, or "organisation/name"; "local-dir:" or "hf-hub:" may stand before it.
        names: files that would do, the best first.
        allow_download: see :func:`hub_file`.

    Raises:
        DataError: it is not there and may not or cannot be downloaded.
        MissingExtraError: huggingface_hub is not installed.
    """
    where = source.removeprefix("hf-hub:").removeprefix("local-dir:")
    if not Path(where).is_dir() and not source.startswith("local-dir:"):
        return hub_file(where, names, allow_download=allow_download)
    for name in names:
        if (Path(where) / name).is_file():
            return Path(where) / name
    raise DataError(f"{where} is no folder with {' or '.join(names)}")


def url_file(url: str, *, allow_download: bool) -> Path:
    """A file of the web: out of the cache of torch.hub, or downloaded into it if allowed.

    Raises:
        DataError: it is not there and may not or cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if path.is_file():
        return path
    if not allow_download:
        raise _unavailable(path.name, None)
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(path), digest[1] if digest else None, progress=False
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _unavailable(path.name, error) from error
    return path


def _unavailable(what: str, reason: Exception | None) -> DataError:
    if reason is None:
        return DataError(
            f"{what} is not on this computer, and nothing is downloaded unasked: --allow-download "
            "(in Python allow_download=True) fetches it, or name a local file of weights"
        )
    return DataError(
        f"{what} cannot be downloaded ({one_line(reason)}); check the name and the network, or "
        "name a local file of weights"
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, float32.

    Of a training checkpoint, those of its ``state_dict``. Settings of argparse beside them are
    harmless and are skipped.

    Raises:
        DataError: no such file, damaged, not plain data, or without tensors.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):
        return read_checkpoint(path).tensors


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        DataError: it is damaged or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no settings")
    return content


def below(tensors: dict[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The tensors under the first of some prefixes that occurs, without it; all if none does."""
    for prefix in prefixes:
        found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if found:
            return found
    return tensors


def load_tensors(
    module: nn.Module,
    tensors: dict[str, Tensor],
    source: str,
    *,
    unused: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
) -> None:
    """Put tensors into a module: all that it has, and no others.

    Args:
        module: the network.
        tensors: float32, by the names of the network.
        source: where they come from, for messages.
        unused: starts of names that may be in the file and are not used, as of a classifier.
        optional: starts of names that may be missing in the file.

    Raises:
        DataError: tensors are missing, are unknown or have other shapes; the message names some.
    """
    state = module.state_dict()
    own = {n: t for n, t in state.items() if t.is_floating_point()}
    given = {n: t for n, t in tensors.items() if n in own or not n.startswith(unused)}
    faults = {
        "lacks": [n for n in own if n not in given and not n.startswith(optional)],
        "has no use for": [n for n in given if n not in own],
        "has other shapes of": [n for n in own if n in given and own[n].shape != given[n].shape],
    }
    found = [f"{what} {_list(names)}" for what, names in faults.items() if names]
    if found:
        raise DataError(f"{source} does not fit the network: it {'; '.join(found)}")
    state.update(given)  # keeps the versions of the modules, which some ask for
    module.load_state_dict(state)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(" ".join(name.split())[:_SHOWN] for name in names[:_NAMED]) + more
