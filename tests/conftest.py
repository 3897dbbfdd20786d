from importlib.util import find_spec

import pytest
import torch

from geocsp.data.named.bluemarble import bluemarble

_OPERATORS = ("nms", "qnms")


def _declare_missing_operators():
    """Let torchvision be imported where its compiled part does not fit torch; nothing calls it."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _is_broken():
    if find_spec("torchvision") is None:
        return False
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        return "torchvision::" in str(error)
    return False


_LIBRARY = _declare_missing_operators() if _is_broken() else None


torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCSP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data():
    return bluemarble(points=2000)
