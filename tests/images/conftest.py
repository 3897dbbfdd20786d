from dataclasses import replace

import pytest
import torch
from PIL import Image
from skimage import data as photographs

from geocsp.images.decode import decode


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
