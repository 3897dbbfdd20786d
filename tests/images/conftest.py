from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from PIL import Image
from skimage import data as photographs

from geocsp.images.decode import decode

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


@pytest.fixture(scope="session")
def photo():
    return Image.fromarray(photographs.coffee())  # 600 x 400


@pytest.fixture(scope="session")
def levels_apart(photo):
    """The largest difference to a library's own transform of a photo, in levels of a byte."""

    def measure(encoder, expected):
        pixels = decode(photo, replace(encoder.framing, draft=False))
        ours = encoder.transform(torch.from_numpy(pixels)[None])[0]
        assert ours.shape == expected.shape
        return float(((ours - expected) * encoder.deviation.view(-1, 1, 1)).abs().max())

    return measure


@pytest.fixture
def no_network(monkeypatch):
    """Any connection fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError("something tried to reach the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
