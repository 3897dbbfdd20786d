"""All files below a folder, each once, whatever links and oddities there are."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

from geocsp.data.quarantine import QUARANTINE_FILE, Problem

_OWN = {"about.json", "000000.npy"}
"""Files of a folder of features that is not complete yet."""
_SKIPPED_FOLDERS = ("__MACOSX", "@eaDir")
"""Where macOS and network storage put thumbnails and attributes of the files beside."""


class Walk:
    """The regular files below a folder, in the order of their names.

    Links are followed, but no file and no folder is taken twice, so that loops end; a link counts
    only if what it leads to is not below the folder anyway. Names that start with a dot are
    skipped. A file whose name is not Unicode is a problem: no column of text could hold it.

    Args:
        folder: where to start.
        ignore: tells which names of files are no problem, whatever they are.

    Attributes:
        names: paths relative to the folder, with "/".
        ignored: the same of files that were to be ignored.
        problems: what is there but is no file that can be read.
        repeated: number of links, also hard ones, to what is there already.

    Raises:
        OSError: the folder itself cannot be listed.
    """

    def __init__(self, folder: Path, ignore: Callable[[str], bool] = lambda name: False) -> None:
        self.names: list[str] = []
        self.ignored: list[str] = []
        self.problems: list[Problem] = []
        self.repeated = 0
        self._root, self._ignore = folder, ignore
        self._folders, self._links = deque([""]), deque[str]()
        self._seen = {_identity(folder.stat())}
        while self._folders or self._links:
            if self._folders:
                self._list(self._folders.popleft())
            else:
                self._visit(self._links.popleft())
        self.names.sort()
        self.problems.sort(key=lambda problem: problem.file)

    def _list(self, inner: str) -> None:
        try:
            with os.scandir(self._root / inner) as entries:
                found = sorted((entry.name, entry.is_symlink()) for entry in entries)
        except OSError as error:
            if not inner:
                raise
            self._refuse(inner, f"cannot be listed: {error.strerror}")
            return
        names = {name for name, _ in found}
        if inner and (QUARANTINE_FILE in names or names >= _OWN):
            return  # what a command left here
        for name, is_link in found:
            if name.startswith(".") or name in _SKIPPED_FOLDERS:
                continue
            path = f"{inner}/{name}" if inner else name
            if is_link:
                self._links.append(path)
            else:
                self._visit(path)

    def _visit(self, path: str) -> None:
        ignored = self._ignore(path.rpartition("/")[2])
        try:
            status = (self._root / path).stat()
        except OSError as error:
            if not ignored:
                self._refuse(path, _why_lost(error))
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        if ignored and not is_folder:
            if stat.S_ISREG(status.st_mode):
                self.ignored.append(path)
            return
        if _identity(status) in self._seen:
            self.repeated += 1
        elif is_folder:
            self._folders.append(path)
        elif not stat.S_ISREG(status.st_mode):
            self._refuse(path, "is a pipe, socket or device, not a file")
        elif printable(path) != path:
            self._refuse(path, "has a name that is not Unicode (UTF-8); rename it")
        else:
            self.names.append(path)
        self._seen.add(_identity(status))

    def _refuse(self, path: str, reason: str) -> None:
        self.problems.append(Problem(printable(path), None, reason))


def printable(name: str) -> str:
    """A file name with escapes for what is not Unicode in it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _why_lost(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "is a link to a file that is not there"
    if error.errno == errno.ELOOP:
        return "is a link that leads nowhere but to itself"
    return f"cannot be reached: {error.strerror}"
