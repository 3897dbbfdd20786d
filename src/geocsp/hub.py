"""Models on the Hugging Face hub (extra "hub"): fetched at a pinned commit, shared in one commit.

Only the three files of a saved model are ever fetched or sent, and no code in them is run.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from geocsp.errors import DataError
from geocsp.images.libraries import library, one_line
from geocsp.saved import Saved
from geocsp.saved_files import CONFIG_FILE, FILES, WEIGHTS_FILE, digest_of

SCHEME = "hf://"
MAX_BYTES = 8 * 2**30
_NAME = r"[\w][\w.-]*"
_ADDRESS = re.compile(rf"hf://({_NAME}/{_NAME})(?:@([\w][\w./-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNREACHABLE = ("ConnectionError", "LocalEntryNotFoundError", "Timeout", "TransportError")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where on the hub a model is.

    Attributes:
        repo_id: "owner/name".
        revision: a commit, which pins the model, or a branch or tag; None: the newest commit.
    """

    repo_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "hf://owner/name" or "hf://owner/name@revision".

        Raises:
            DataError: it is neither.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise DataError(f"{text!r} must be hf://owner/name or hf://owner/name@revision")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo_id}" + (f"@{self.revision}" if self.revision else "")


def is_address(source: str | Path) -> bool:
    """Whether a source is on the hub."""
    return str(source).startswith(SCHEME)


def download(address: str, *, max_bytes: int = MAX_BYTES) -> Path:
    """Fetch a saved model, or take it from the cache of the Hugging Face hub.

    A revision that is a commit is taken from the cache without asking the hub. Without a
    connection the newest model in the cache is taken. Where the address names no commit, the log
    says which one it is.

    Args:
        address: "hf://owner/name" or "hf://owner/name@revision".
        max_bytes: refuse more than this.

    Returns:
        The folder in the cache, named by the commit.

    Raises:
        DataError: there is no such model or revision, it is no model of ours or too large, or
            it is not in the cache and the hub cannot be reached.
        MissingExtraError: huggingface-hub is not installed.
    """
    hub = library("huggingface_hub", "hub")
    where = Address.parse(address)
    folder = _cached(hub, where) if _COMMIT.fullmatch(where.revision or "") else None
    if folder is None:
        with _explained(where):
            folder = _fetched(hub, where, max_bytes)
    if folder.name != where.revision:
        _LOG.warning("%s is %s today; that address stays the same", address, address_of(folder))
    return folder


def address_of(folder: Path) -> str:
    """The address, with the commit, of a folder that :func:`download` returned."""
    repository = folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return str(Address(repository, folder.name))


def push(
    model: Saved | str | Path,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str = "Upload a geocsp model",
) -> str:
    """Put a model on the hub in one commit, with the token of ``hf auth login`` or HF_TOKEN.

    Args:
        model: a model, or the folder it was saved to.
        repo_id: "owner/name"; the repository is made if there is none.
        private: of a repository that is made.
        revision: branch, made if there is none; the main one by default.
        message: of the commit.

    Returns:
        The address with the commit, for :func:`download`.

    Raises:
        DataError: the folder holds no whole model, the model names files of this computer, or
            the hub refuses or cannot be reached.
        MissingExtraError: huggingface-hub is not installed.
    """
    hub = library("huggingface_hub", "hub")
    where = Address.parse(f"{SCHEME}{repo_id}" + (f"@{revision}" if revision else ""))
    if isinstance(model, Saved):
        with tempfile.TemporaryDirectory() as temporary:
            return push(
                model.save_pretrained(temporary),
                repo_id,
                private=private,
                revision=revision,
                message=message,
            )
    folder = Path(model).expanduser()
    _check(folder)
    api = hub.HfApi(library_name="geocsp")
    with _explained(where):
        api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        files = [hub.CommitOperationAdd(name, folder / name) for name in FILES]
        commit = api.create_commit(repo_id, files, commit_message=message, revision=revision)
    return str(Address(repo_id, commit.oid))


def _check(folder: Path) -> None:
    """Refuse to share what others could not load."""
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing; save_pretrained writes it")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        digest = config["weights"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder / CONFIG_FILE} does not name its weights; load and save the model again"
        ) from error
    if digest_of(folder / WEIGHTS_FILE) != digest:
        raise DataError(f"{folder / WEIGHTS_FILE} is not the file that its config was written with")
    for text in _texts({name: value for name, value in config.items() if name != "card"}):
        if Path(text).is_absolute():
            raise DataError(
                f"{folder / CONFIG_FILE} names {text}, which others do not have; share the model "
                "without its image encoder"
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _cached(hub: Any, where: Address) -> Path | None:
    """The model in the cache, if it is there with config and weights."""
    found = [
        hub.try_to_load_from_cache(where.repo_id, name, revision=where.revision)
        for name in (CONFIG_FILE, WEIGHTS_FILE)
    ]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def _fetched(hub: Any, where: Address, max_bytes: int) -> Path:
    try:
        facts = hub.HfApi().model_info(
            where.repo_id, revision=where.revision, files_metadata=True, timeout=30
        )
    except Exception as error:
        folder = _cached(hub, where) if _is_unreachable(error) else None
        if folder is None:
            raise
        _LOG.warning("the hub cannot be reached; taking %s from the cache", where)
        return folder
    sizes = {file.rfilename: file.size for file in facts.siblings if file.rfilename in FILES}
    if not {CONFIG_FILE, WEIGHTS_FILE} <= sizes.keys():
        raise DataError(f"{where} has no {CONFIG_FILE} and {WEIGHTS_FILE}; it is no model of ours")
    total = sum(size or 0 for size in sizes.values())
    if total > max_bytes:
        raise DataError(f"{where} has {total:,} bytes, above the limit of {max_bytes:,}")
    folder = Path(
        hub.snapshot_download(
            where.repo_id, revision=where.revision, allow_patterns=[*sizes], library_name="geocsp"
        )
    )
    for name, size in sizes.items():
        if size is not None and (folder / name).stat().st_size != size:
            raise DataError(f"{folder / name} is not whole; delete it and try again")
    return folder


@contextmanager
def _explained(where: Address) -> Iterator[None]:
    """What goes wrong with the hub as one line."""
    errors = library("huggingface_hub.errors", "hub")
    try:
        yield
    except DataError:
        raise
    except errors.GatedRepoError as error:
        raise DataError(f"{where} is gated: ask for access on its page, then log in") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"{where}: there is no such model, or it is private; hf auth login logs in"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{where}: the model has no such revision") from error
    except Exception as error:
        if _is_unreachable(error):
            raise DataError(
                f"{where} is not in the cache, and the hub cannot be reached: {one_line(error)}"
            ) from error
        if isinstance(error, (OSError, ValueError)):
            raise DataError(f"{where}: {one_line(error)}") from error
        raise


def _is_unreachable(error: Exception) -> bool:
    """Whether an error is the connection's, or the hub is down; not an answer of the hub."""
    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code >= 500)
    names = {kind.__name__ for kind in type(error).__mro__}  # of requests or httpx, by version
    return not names.isdisjoint(_UNREACHABLE)
