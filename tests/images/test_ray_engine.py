import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from toys import ToyEncoder, toy_photos

from geocsp.data import cache as cache_module
from geocsp.errors import DataError, MissingExtraError
from geocsp.images import ray_engine
from geocsp.images.extract import ExtractionPlan
from geocsp.images.table_source import TableImages

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'geocsp[ray]'")


class SlowEncoder(ToyEncoder):
    """Waits in front of every batch, and leaves its process number where the test looks."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def forward(self, image):
        (self.folder / f"{os.getpid()}.pid").touch()
        time.sleep(0.1)
        return super().forward(image)


@pytest.fixture(scope="module")
def cluster():
    tests = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
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
def _small_shards(monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 10)


def plan_for(folder, encoder, table):
    source = TableImages(table.images, table.images_fingerprint, encoder.framing)
    return ExtractionPlan.make(encoder, source, folder=folder, bfloat16=False), source


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_workers_leave_the_same_files_bit_for_bit(tmp_path, cluster):
    encoder, table = ToyEncoder(), toy_photos(tmp_path / "photos", 95, broken=(7, 94))
    local, source = plan_for(tmp_path / "local", encoder, table)
    local.run(encoder, source)
    seen = []
    remote, _ = plan_for(tmp_path / "ray", encoder, table)
    ray_engine.run_on_ray(remote, encoder, source, workers=2, on_progress=seen.append)
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert remote.store.failures().keys() == {7, 94}
    done = [state.done for state in seen]
    assert done == sorted(done)
    assert (done[0], done[-1], seen[-1].failed) == (0, 95, 2)
    assert ray.is_initialized()  # the cluster of the caller stays


def test_a_killed_worker_loses_nothing(tmp_path, cluster):
    table = toy_photos(tmp_path / "photos", 120)
    encoder = SlowEncoder(tmp_path / "pids")
    encoder.folder.mkdir()
    plan, source = plan_for(tmp_path / "ray", encoder, table)
    killed = []

    def kill_the_first_worker():
        while not killed:
            if len(list((tmp_path / "ray").glob("*.npy"))) >= 2:
                killed.append(int(next(iter(encoder.folder.glob("*.pid"))).stem))
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_the_first_worker, daemon=True)
    killer.start()
    ray_engine.run_on_ray(plan, encoder, source, workers=2)
    killer.join(10)
    assert killed
    assert len(list(encoder.folder.glob("*.pid"))) > 2  # a worker came in its place
    whole, _ = plan_for(tmp_path / "local", ToyEncoder(), table)
    whole.run(ToyEncoder(), source)
    assert torch.equal(plan.store.read(), whole.store.read())


def test_only_what_is_missing_is_computed(tmp_path, cluster):
    encoder, table = ToyEncoder(), toy_photos(tmp_path / "photos", 30)
    plan, source = plan_for(tmp_path / "ray", encoder, table)
    plan.run(encoder, source)
    before = files(tmp_path / "ray")
    stamp = (tmp_path / "ray" / "000000.npy").stat().st_mtime_ns
    (tmp_path / "ray" / "000001.npy").unlink()
    ray_engine.run_on_ray(plan, encoder, source, workers=2)
    assert files(tmp_path / "ray") == before
    assert (tmp_path / "ray" / "000000.npy").stat().st_mtime_ns == stamp


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    encoder, table = ToyEncoder(), toy_photos(tmp_path / "photos", 3)
    plan, source = plan_for(tmp_path / "ray", encoder, table)
    with pytest.raises(MissingExtraError, match=r"geocsp\[ray\]"):
        ray_engine.run_on_ray(plan, encoder, source)


def test_a_cluster_that_is_not_there_is_one_clear_error(tmp_path, monkeypatch):
    def nowhere(**settings):
        assert settings["num_cpus"] is None  # Ray refuses a number where it joins a cluster
        raise ConnectionError("could not connect\nto any node")

    monkeypatch.setenv("RAY_ADDRESS", "10.1.1.1:6379")
    monkeypatch.setattr(ray, "init", nowhere)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    encoder, table = ToyEncoder(), toy_photos(tmp_path / "photos", 3)
    plan, source = plan_for(tmp_path / "ray", encoder, table)
    with pytest.raises(DataError, match=r"at 10.1.1.1:6379: could not connect to any node$"):
        ray_engine.run_on_ray(plan, encoder, source, workers=2)


class WildEncoder(ToyEncoder):
    def forward(self, image):
        return super().forward(image) * 1e9


def test_what_goes_wrong_in_a_worker_is_told_as_it_is_here(tmp_path, cluster):
    encoder, table = WildEncoder(), toy_photos(tmp_path / "photos", 3)
    plan, source = plan_for(tmp_path / "ray", encoder, table)
    with pytest.raises(DataError, match=r"^the features of image 0 are not finite in float16"):
        ray_engine.run_on_ray(plan, encoder, source, workers=2)
