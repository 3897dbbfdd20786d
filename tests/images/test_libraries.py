import sys

import pytest
import torch

from geocsp.errors import DataError, MissingExtraError
from geocsp.images.libraries import library, one_line, transformers_library


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package whose import runs some code."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, code):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(code)

    return make


def test_a_library_is_imported():
    assert library("json.decoder", "vision").JSONDecoder


def test_a_missing_library_names_the_extra_that_brings_it():
    with pytest.raises(MissingExtraError, match=r"no_such is not .*'geocsp\[vision\]' brings it"):
        library("no_such.models", "vision")


def test_a_torchvision_that_does_not_fit_torch_is_named_as_the_cause(package):
    package("towers", "raise RuntimeError('operator torchvision::nms does not exist')")
    with pytest.raises(DataError) as caught:
        library("towers", "vision")
    message = str(caught.value)
    assert message.startswith(
        "towers cannot be imported (operator torchvision::nms does not exist)"
    )
    assert f"does not fit torch {torch.__version__}: their releases belong together" in message
    assert "\n" not in message


def test_a_library_that_misses_another_says_which(package):
    package("towers", "import no_such_dependency")
    with pytest.raises(
        DataError, match=r"No module named 'no_such_dependency'\); .*geocsp\[onnx\]"
    ):
        library("towers", "onnx")


def test_transformers_is_not_blamed_for_a_broken_torchvision(package):
    package("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    with pytest.raises(DataError, match=r"^torchvision cannot be imported"):
        transformers_library()


def test_an_error_becomes_one_short_line():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 500))) == 200
