import importlib.metadata

import pytest

from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError, MissingExtraError


def test_a_file_is_found_in_its_package():
    file = PackagedFile("numpy", "numpy/__init__.py")
    assert file.locate().read_text()
    assert file.version == importlib.metadata.version("numpy")


@pytest.mark.parametrize("extra", ["demo", "maps"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(extra):
    file = PackagedFile("no-such-package", "no_such_package/data.bin", extra)
    for use in (file.locate, lambda: file.version):
        with pytest.raises(MissingExtraError) as raised:
            use()
        assert str(raised.value) == (
            f"no-such-package is not installed; pip install 'geocsp[{extra}]' brings it"
        )
        assert isinstance(raised.value, ImportError)


@pytest.mark.parametrize("path", ["numpy/no_such_file.bin", "numpy"])
def test_a_file_missing_from_an_installed_package_is_named(path):
    with pytest.raises(DataError, match=rf"numpy [\d.]+ has no file {path}; pip install"):
        PackagedFile("numpy", path).locate()
