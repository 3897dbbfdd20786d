"""Text of whatever encoding as UTF-8, so that one odd byte does not end the reading of a table."""

from __future__ import annotations

import codecs
from typing import BinaryIO

MARK = "\x1a"
"""What stands for a byte that is not UTF-8: ASCII's own character for that, SUB."""


class Utf8:
    """A binary file in which every byte that is not UTF-8 is replaced by :data:`MARK`.

    Attributes:
        replaced: whether that has happened so far.
        closed: as of other files.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.replaced = False
        self.closed = False
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")(_MARKING)
        self._pending = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as many as asked for or a few less, none at the end."""
        # A character may be cut at the end of what was read before: three bytes at most.
        content = self._file.read(size - 4 if size > 8 else size)
        if content.isascii() and content and not self._pending:
            return content
        text = self._decoder.decode(content, final=not content)
        self._pending = bool(self._decoder.getstate()[0])
        if text.count(MARK) > content.count(MARK.encode()):
            self.replaced = True
        if content and not text:
            return self.read(size)
        return text.encode()

    def close(self) -> None:
        """Say that no more is read; whoever opened the file closes it."""
        self.closed = True


def first_bad_line(file: BinaryIO) -> int | None:
    """Number, from 1, of the first line that is not UTF-8; None if all are."""
    for number, line in enumerate(file, start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return None


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return MARK * (error.end - error.start), error.end


_MARKING = "geocsp-mark"
codecs.register_error(_MARKING, _mark)
