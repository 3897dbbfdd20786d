"""The adapter against a stand-in for torchgeo-bench, written from its interface's description.

There, a base class keeps ``device`` and ``batch_size``, and ``encode(lon, lat, year=None)`` takes
one-dimensional arrays, hands chunks of float64 to ``_encode(lon, lat, year)`` and returns
``(N, D)`` float32; runs accept instances of the base class alone.
"""

import abc
import importlib
import sys
import types

import numpy as np
import pytest
import torch

from geocsp.errors import DataError
from geocsp.evaluate.probes import probed_encoder

MODULE = "geocsp.evaluate.probes.torchgeo_bench"


class Base(abc.ABC):
    name = "location_encoder"

    def __init__(self, device="cpu", batch_size=8192):
        self.device, self.batch_size = device, int(batch_size)
        self.chunks = []

    @abc.abstractmethod
    def _encode(self, lon, lat, year): ...

    def encode(self, lon, lat, year=None):
        lon, lat = (np.asarray(values, dtype=np.float64) for values in (lon, lat))
        parts = []
        for start in range(0, len(lon), self.batch_size):
            part = slice(start, start + self.batch_size)
            years = None if year is None else np.asarray(year)[part]
            answer = self._encode(lon[part], lat[part], years)
            assert isinstance(answer, np.ndarray)
            assert answer.dtype == np.float32
            self.chunks.append(len(answer))
            parts.append(answer)
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


@pytest.fixture
def adapter(monkeypatch):
    names = ("torchgeo_bench", "torchgeo_bench.coordbench", "torchgeo_bench.coordbench.models")
    for name in names:
        module = types.ModuleType(name)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules[names[-1]].LocationEncoder = Base
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE).TorchGeoBenchEncoder
    sys.modules.pop(MODULE, None)


LON, LAT = np.array([0.0, -180.0, 13.4, 179.5, 7.0]), np.array([0.0, 90.0, 52.5, -45.0, -90.0])


@pytest.mark.parametrize("year", [None, np.full(5, 2021)], ids=["always", "2021"])
def test_the_benchmark_gets_our_embeddings_row_by_row(adapter, year):
    encoder = adapter(model="space2vec-grid", seed=3, device="cpu", batch_size=2)
    assert isinstance(encoder, Base)
    assert encoder.name == "space2vec-grid (untrained)"
    found = encoder.encode(LON, LAT, year)
    assert encoder.chunks == [2, 2, 1]
    places = torch.from_numpy(np.stack([LON, LAT], axis=1))
    expected = probed_encoder("space2vec-grid", seed=3).embed(places)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.dtype == np.float32


def test_longitude_comes_first(adapter):
    found = adapter("raw-lonlat").encode(LON, LAT)
    np.testing.assert_array_equal(found, np.stack([LON, LAT], axis=1).astype(np.float32))


def test_a_saved_folder_is_a_model_and_another_text_is_not(adapter, tmp_path):
    model = probed_encoder("wrap").module
    model.save_pretrained(tmp_path / "ours")
    assert adapter(str(tmp_path / "ours")).name == "ours"
    with pytest.raises(DataError, match="is no saved folder"):
        adapter("no-such-model")


def test_no_points_are_fine(adapter):
    assert adapter("raw-xyz").encode([], []).shape == (0, 0)


def test_without_torchgeo_bench_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchgeo_bench", None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(ImportError, match="torchgeo-bench with its coordbench track"):
        importlib.import_module(MODULE)
