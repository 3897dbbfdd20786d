"""The members of a tar file, found by its headers alone and with distrust."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from tarfile import TarInfo
from typing import Any, BinaryIO, cast

from geocsp.errors import DataError

_LARGEST_HEADER = 1 << 20
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


class CutError(DataError):
    """A tar file that ends within a member.

    Attributes:
        member: name of that member.
    """

    def __init__(self, member: TarInfo, size: int) -> None:
        needed = member.offset_data + member.size
        super().__init__(
            f"ends within {member.name}, at byte {size:,} of at least {needed:,}; copy it again"
        )
        self.member = member.name


class _Frugal:
    """A file for :mod:`tarfile` that gives it headers but never a large piece.

    Sizes in hostile headers would otherwise fill the memory.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        if offset < 0:
            raise tarfile.ReadError("a header before the start")
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def members(file: BinaryIO, size: int) -> Iterator[TarInfo]:
    """Members of a tar file in their order, without reading what is in them.

    The caller may move in the file between two members. Names are text; undecodable bytes in them
    are surrogates.

    Args:
        file: seekable.
        size: bytes in the file.

    Raises:
        DataError: after the last usable member, if the file is damaged, ends too early (a
            :class:`CutError` if within a member), or is no tar file at all.
    """
    start = file.read(8)
    file.seek(0)
    packing = next((name for mark, name in _PACKED.items() if start.startswith(mark)), None)
    if packing:
        raise DataError(
            f"is compressed ({packing}), so its images cannot be reached one by one; decompress it "
            "to a plain .tar"
        )
    offset = -1
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Frugal(file)), mode="r:") as archive:
            while (member := archive.next()) is not None:
                if archive.offset <= offset or member.size < 0:
                    raise tarfile.ReadError("a member of negative size")
                offset = archive.offset
                if member.offset_data + member.size > size and not member.issparse():
                    raise CutError(member, size)
                yield member
                cast(Any, archive).members.clear()  # it would remember every header
            offset = archive.offset
    except (tarfile.TarError, ValueError, OverflowError, LookupError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        what = "is no tar file" if offset < 0 else "is damaged"
        raise DataError(f"{what} ({error})") from error
    _check_end(file, offset)


def _check_end(file: BinaryIO, offset: int) -> None:
    """A tar file ends with a block of zeros; :mod:`tarfile` takes anything else for the end too."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if not block.strip(b"\0") and len(block) == tarfile.BLOCKSIZE:
        return
    if len(block) < tarfile.BLOCKSIZE:
        raise DataError("has no end mark, so it may have been cut short; copy it again")
    raise DataError(f"is damaged at byte {offset:,}; what follows is not read")
