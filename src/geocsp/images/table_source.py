"""The images of a table, decoded for an encoder."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocsp.data.images import Images, Integers
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.extract import Loaded
from geocsp.images.framing import Framing

_OF_ONE_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


@dataclass(frozen=True, eq=False)
class TableImages:
    """Hands out the images of a table as squares of one size.

    Attributes:
        images: where the images are.
        fingerprint: of the images, as :attr:`geocsp.data.table.GeoTable.images_fingerprint`.
        framing: the square that the encoder takes.
    """

    images: Images
    fingerprint: str
    framing: Framing

    def __len__(self) -> int:
        return len(self.images)

    def load(self, rows: Integers) -> Loaded:
        """Images of some rows, ``(n, pixels, pixels, channels)``; zeros where one is unusable.

        Raises:
            OSError: the disk or the network failed, which says nothing about the image.
        """
        square = (self.framing.pixels, self.framing.pixels, self.framing.channels)
        kind = np.uint8 if self.framing.as_bytes else np.float32
        batch = np.zeros((len(rows), *square), dtype=kind)
        failed = {}
        for place, row in enumerate(rows.tolist()):
            found = self._decoded(row)
            if isinstance(found, str):
                failed[row] = found
            else:
                batch[place] = found
        return Loaded(batch, failed)

    def _decoded(self, row: int) -> NDArray[Any] | str:
        try:
            return decode(self.images.load(row), self.framing, self.images.bands)
        except DataError as error:
            return str(error)
        except _OF_ONE_FILE as error:
            return f"cannot be read: {error.strerror or error}"
        except OSError as error:
            if error.errno in _NAMES:
                return f"cannot be read: {error.strerror}"
            raise
