"""Files that ship inside other installed packages, found without importing those packages."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from geocsp.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class PackagedFile:
    """One file of an installed package.

    Attributes:
        package: name of the package on PyPI.
        path: path of the file under site-packages.
        extra: the extra of geocsp that installs the package.
    """

    package: str
    path: str
    extra: str = "demo"

    @property
    def version(self) -> str:
        """Installed version of the package."""
        return self._distribution().version

    def locate(self) -> Path:
        """Where the file is.

        Raises:
            MissingExtraError: the package is not installed.
            DataError: the package is installed without this file.
        """
        place = Path(str(self._distribution().locate_file(self.path)))
        if not place.is_file():
            raise DataError(
                f"{self.package} {self.version} has no file {self.path}; "
                f"pip install --force-reinstall 'geocsp[{self.extra}]' repairs that"
            )
        return place

    def _distribution(self) -> Distribution:
        try:
            return distribution(self.package)
        except PackageNotFoundError:
            raise MissingExtraError(self.package, self.extra) from None
