import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import geocsp
from geocsp.errors import DataError, MissingExtraError
from geocsp.maps.export import CellType, Embedding, Engine, blocks, embed_grid
from geocsp.maps.grid import Grid

ray = pytest.importorskip("ray", reason="pip install 'geocsp[ray]'")
pytest.importorskip("rasterio", reason="pip install 'geocsp[geo]'")
pytest.importorskip("zarr", reason="pip install 'geocsp[geo]'")

WINDOW = Grid.of(0.25, "0,-40,100,40")


class Marking(Embedding):
    """Takes a moment, and leaves its process number where the test looks."""

    def __init__(self, model, folder):
        super().__init__(model)
        object.__setattr__(self, "folder", folder)

    def of(self, lonlat):
        (self.folder / f"{os.getpid()}.pid").touch()
        time.sleep(0.1 if len(lonlat) > 1000 else 0)
        return super().of(lonlat)


class Broken:
    def of(self, lonlat):
        return torch.where(lonlat[:, 1] > 39.8, float("nan"), 1.0) * (len(lonlat) > 1000)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return geocsp.create("location", "sphere2vec-spherec", dim=6, hidden=16, frequencies=8).eval()


@pytest.fixture(scope="module")
def cluster():
    tests = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_BYTES", 0)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("name", "dtype"), [("out.tif", CellType.INT8), ("out.zarr", CellType.FLOAT16)]
)
def test_two_workers_leave_the_same_file_bit_for_bit(tmp_path, model, cluster, name, dtype):
    embed_grid(model, WINDOW, tmp_path / "local" / name, dtype=dtype)
    seen = []
    report = embed_grid(
        model,
        WINDOW,
        tmp_path / "ray" / name,
        dtype=dtype,
        engine=Engine.RAY,
        workers=2,
        on_progress=seen.append,
    )
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert (report.computed, report.clipped) == (320 * 400, 0)
    assert max(state.done for state in seen) == 320 * 400
    assert ray.is_initialized()  # the cluster of the caller stays


def test_a_killed_worker_loses_nothing(tmp_path, model, cluster, monkeypatch):
    (tmp_path / "pids").mkdir()
    monkeypatch.chdir(tmp_path)  # workers are elsewhere, yet find a relative path
    killed = []

    def kill_a_worker(progress):
        if progress.done > 20_000 and not killed:
            pids = {int(path.stem) for path in (tmp_path / "pids").iterdir()} - {os.getpid()}
            killed.append(pids.pop())
            threading.Thread(target=os.kill, args=(killed[0], signal.SIGKILL)).start()

    embed_grid(
        model,
        WINDOW,
        "out.zarr",
        quantity=Marking(model, tmp_path / "pids"),
        engine=Engine.RAY,
        workers=2,
        on_progress=kill_a_worker,
    )
    assert killed
    assert len(list((tmp_path / "pids").iterdir())) > 3  # this process, two, and one in its place
    embed_grid(model, WINDOW, tmp_path / "whole" / "out.zarr")
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole" / "out.zarr")


def test_a_local_job_goes_on_with_what_ray_did(tmp_path, model, cluster):
    class EnoughError(Exception):
        pass

    def stop(progress):
        if progress.done > 50_000:
            raise EnoughError

    with pytest.raises(EnoughError):
        embed_grid(model, WINDOW, tmp_path / "out.tif", engine=Engine.RAY, on_progress=stop)
    report = embed_grid(model, WINDOW, tmp_path / "out.tif")
    assert report.found > 50_000
    embed_grid(model, WINDOW, tmp_path / "whole" / "out.tif")
    whole = (tmp_path / "whole" / "out.tif").read_bytes()
    assert (tmp_path / "out.tif").read_bytes() == whole


def test_a_value_that_cannot_be_written_is_the_callers_error(tmp_path, model, cluster):
    with pytest.raises(DataError, match=r"lat 39\.875 is not finite"):
        embed_grid(model, WINDOW, tmp_path / "out.tif", quantity=Broken(), engine=Engine.RAY)
    assert not (tmp_path / "out.tif").exists()


def test_without_ray_the_extra_is_named(tmp_path, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[ray\]"):
        embed_grid(model, WINDOW, tmp_path / "out.tif", engine=Engine.RAY)
    assert np.isfinite(embed_grid(model, WINDOW, tmp_path / "out.tif").seconds)
